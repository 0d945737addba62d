// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity

/// What one connection may cost us.
package struct ConnectionLimits: Hashable, Sendable {
    /// From the socket's first moment to a connection that can carry streams. Progress doesn't extend it.
    package var handshakeTimeout: Duration = .seconds(5)
    /// An inbound connection must say something within this time.
    package var firstByteTimeout: Duration = .seconds(2)
    package var streamNegotiationTimeout: Duration = .seconds(10)
    /// Streams that the peer holds open at once.
    package var streamsInboundMax = 64
    package var streamsOutboundMax = 256
    /// Bytes, as Yamux fixes it for every new stream.
    package var streamWindowInitial = 256 * 1024
    package var streamWindowMax = 16 * 1024 * 1024
    /// The sum of all receive windows of a connection, bytes.
    package var connectionWindowMax = 32 * 1024 * 1024
    /// A stream's bytes queued for sending above which its writer waits, and below which it may go on.
    package var sendQueueHighWater = 1024 * 1024
    package var sendQueueLowWater = 256 * 1024
    /// Control frames (answers to pings, window updates, resets) queued while the peer doesn't read. Over it: closed.
    package var controlFramesMax = 64
    /// All control frames queued while the peer doesn't read, bytes: also those that no single frame of its demanded.
    /// Over it: closed.
    package var controlBytesMax = 64 * 1024
    /// Streams that a peer may open per second, on average over five seconds, before its connection is closed.
    package var streamsOpenedPerSecondMax = 100
    /// A connection that has had nothing to say is pinged after this time.
    package var keepAliveInterval: Duration = .seconds(60)
    /// A ping that stays unanswered this long, or output that makes no progress this long, means the peer is dead.
    package var deadPeerTimeout: Duration = .seconds(30)
    package var protocolsProposedMax = 32

    package init() {}
}

/// Where a connection starts.
package enum ConnectionDoor: Sendable {
    /// Raw bytes: negotiate security, secure, negotiate the muxer.
    case plain
    /// Plaintext of a transport that has secured itself.
    case secured(Establishment)
    /// The transport secures and multiplexes (QUIC): only streams' protocols are negotiated here.
    case multiplexed(Establishment)
}

package struct ConnectionConfiguration: Sendable {
    package var limits = ConnectionLimits()
    /// The security protocol to propose when dialling; listening accepts all of `securityAccepted`.
    package var securityProposed: ProtocolID = .noise
    package var securityAccepted: [ProtocolID] = [.noise, .tls]

    package init() {}
}

extension ProtocolID {
    package static let noise: ProtocolID = "/noise"
    package static let tls: ProtocolID = "/tls/1.0.0"
    package static let yamux: ProtocolID = "/yamux/1.0.0"
    package static let multistream: ProtocolID = "/multistream/1.0.0"
}

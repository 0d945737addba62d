// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import struct NIOCore.ByteBuffer

/// Where a connection starts.
package enum ConnectionDoor: Sendable {
    /// Raw bytes: negotiate security, secure, negotiate the muxer.
    case plain
    /// Plaintext of a transport that has secured itself.
    case secured(Establishment)
    /// The transport secures and multiplexes (QUIC): only streams' protocols are negotiated here.
    case multiplexed(Establishment)
}

/// STUB: bodies follow on branch `h/connection`; the signatures hold.
package struct ConnectionCore: ~Copyable {
    package init(
        direction: Direction, door: ConnectionDoor, configuration: ConnectionConfiguration, identity: KeyPair,
        expectedPeer: PeerID?, protocols: [ProtocolID], keySource: KeySource, at now: Instant
    ) { fatalError("stub") }

    // Inputs of the transport.
    package mutating func receive(_ bytes: consuming ByteBuffer, at now: Instant) {}
    /// The byte stream ended (`failure` nil: cleanly).
    package mutating func transportEnded(_ failure: String?, at now: Instant) {}
    package mutating func tlsEstablished(_ establishment: Establishment, muxer: ProtocolID?, at now: Instant) {}
    package mutating func tlsFailed(_ violation: ConnectionViolation, at now: Instant) {}
    package mutating func handleTimeout(at now: Instant) {}
    package var nextTimeout: Instant? { nil }

    // Inputs of the owner. A stream id that is no longer known is a legal late event and ignored.
    /// Nil when not established, closing, or at `streamsOutboundMax`. With one protocol the negotiation is optimistic:
    /// the caller may send at once.
    package mutating func openStream(_ protocols: [ProtocolID], at now: Instant) -> StreamID? { nil }
    package mutating func send(_ bytes: ByteBuffer, on stream: StreamID, at now: Instant) {}
    /// Bytes queued and not yet produced.
    package func queuedBytes(on stream: StreamID) -> Int { 0 }
    package mutating func closeWriting(_ stream: StreamID, at now: Instant) {}
    package mutating func reset(_ stream: StreamID, at now: Instant) {}
    package mutating func consumed(_ bytes: Int, on stream: StreamID, at now: Instant) {}
    package mutating func grantWindow(_ bytes: Int, on stream: StreamID, at now: Instant) {}
    package mutating func setProtocols(_ protocols: [ProtocolID]) {}
    package mutating func close(at now: Instant) {}
    package var openStreamCount: Int { 0 }

    // Outputs.
    package mutating func nextEffect() -> ConnectionEffect? { nil }
    /// Appends at most about `bytesMax` bytes for the byte stream; false when nothing is left to send now.
    package mutating func produce(into output: inout ByteBuffer, bytesMax: Int, at now: Instant) -> Bool { false }

    // Door `.multiplexed`: what the transport's streams do.
    package mutating func externalOpened(_ stream: StreamID, at now: Instant) {}
    package mutating func externalReceived(_ bytes: ByteBuffer, on stream: StreamID, at now: Instant) {}
    package mutating func externalEnded(_ stream: StreamID, at now: Instant) {}
    package mutating func externalReset(_ stream: StreamID, at now: Instant) {}
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// How far a connection had come. Errors name it.
package enum ConnectionStage: String, Hashable, Sendable {
    case dial
    case negotiate
    case secure
    case multiplex
    case stream
}

/// What the peer did wrong. Each closes the connection and nothing else, and is told to the peer by the protocol's own
/// means where it has one.
package enum ConnectionViolation: Error, Hashable, Sendable {
    /// multistream-select broke its format or a limit.
    case negotiation(DecodeError)
    /// The peer refused the protocol that we proposed, at this stage.
    case refused(ProtocolID)
    case wrongPeer(expected: PeerID, actual: PeerID)
    /// Noise: a frame that doesn't decrypt, a bad payload, key or signature.
    case noise(DecodeError)
    /// TLS: certificate or record; the text is BoringSSL's or ours and holds no remote bytes.
    case tls(String)
    /// Yamux: what broke the rules.
    case multiplexer(StaticText)
    /// The peer made us queue more than it is willing to read, or opened streams faster than allowed.
    case flood(StaticText)
}

/// Why a connection ended.
package enum CloseReason: Hashable, Sendable {
    /// We asked for it.
    case local
    /// The peer said goodbye (GoAway, or a clean end of the byte stream).
    case remote
    case violation(ConnectionViolation, ConnectionStage)
    /// A deadline passed at this stage; at `.stream` the peer was silent or stopped reading.
    case timeout(ConnectionStage)
    /// The byte stream ended or failed in the middle; the text is the system's.
    case transport(String, ConnectionStage)
}

/// Why a single stream ended early.
package enum StreamFault: Hashable, Sendable {
    /// The peer reset it.
    case reset
    /// The peer doesn't speak the protocol.
    case refused
    /// The protocol's negotiation broke its format, or ran into its deadline.
    case negotiation(DecodeError)
    case negotiationTimeout
    /// Its connection is gone.
    case connectionClosed(CloseReason)
}

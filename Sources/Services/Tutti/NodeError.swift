// SPDX-License-Identifier: Apache-2.0
public import TuttiIdentity

/// What went wrong, with whom, how far things had come, and what to do about it.
public struct NodeError: Error, Sendable, CustomStringConvertible {
    /// For programs to decide by.
    public enum Code: String, Hashable, Sendable {
        /// The configuration contradicts itself.
        case invalidConfiguration
        /// The call itself is a mistake, such as two tasks reading one stream.
        case invalidUse
        /// The node was stopped, or stopped while the call was under way.
        case stopped
        /// Another program listens on this address.
        case addressInUse
        /// The address can't be listened on, for another reason.
        case cannotListen
        /// The key file is damaged, unreadable, open to others, or its passphrase is wrong.
        case keyFile
        /// Nothing to dial: no address is known, or none that this node can use.
        case noAddress
        /// The call's deadline passed.
        case deadline
        /// The calling task was cancelled.
        case cancelled
        /// Whoever answered has another key than the peer that was asked for.
        case wrongPeer
        /// The embedder's connection gate said no.
        case refusedByGate
        /// A limit of this node was reached.
        case limit
        /// No address led to a connection.
        case unreachable
        /// The peer does not speak the protocol.
        case protocolRefused
        /// The peer ended the stream before its time.
        case streamReset
        /// The connection was lost.
        case disconnected
        /// The peer broke a protocol's rules.
        case protocolViolation
        /// Those who were asked know nothing of it.
        case notFound
        /// Nobody is known who could be asked.
        case noPeers
        /// Nobody took the record.
        case notStored
    }

    /// How far things had come.
    public enum Stage: String, Hashable, Sendable {
        case start
        case listen
        case dial
        /// Agreeing on how to secure the connection.
        case negotiate
        /// Handshake: proving who is at the other end.
        case secure
        case multiplex
        case identify
        case stream
        /// In the DHT.
        case lookup
        case publish
        /// In the mesh.
        case search
    }

    public let code: Code
    /// The peer it concerns, where one is known.
    public let peer: PeerID?
    public let stage: Stage
    /// A sentence for people: what happened and what to do.
    public let message: String
    /// The error beneath, where there is one.
    public let cause: (any Error)?

    public init(code: Code, peer: PeerID? = nil, stage: Stage, message: String, cause: (any Error)? = nil) {
        self.code = code
        self.peer = peer
        self.stage = stage
        self.message = message
        self.cause = cause
    }

    public var description: String {
        guard let peer else { return message }
        return "\(message) (peer \(peer))"
    }
}

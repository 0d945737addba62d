// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers
import TuttiTransport

// How the errors of the layers below read to an embedder.

extension NodeError {
    static func stopped(_ stage: Stage, peer: PeerID? = nil) -> NodeError {
        NodeError(
            code: .stopped, peer: peer, stage: stage,
            message: "the node is not running: start run() and call again, or make a new node")
    }

    static func cancelled(_ stage: Stage, peer: PeerID? = nil) -> NodeError {
        NodeError(
            code: .cancelled, peer: peer, stage: stage, message: "the calling task was cancelled",
            cause: CancellationError())
    }

    static func deadline(_ stage: Stage, peer: PeerID?, _ duration: Duration) -> NodeError {
        NodeError(
            code: .deadline, peer: peer, stage: stage,
            message: "no answer within \(duration): the peer may be gone or slow; try again or allow more time")
    }

    /// An error of a stream or of `withDeadline`.
    static func stream(
        _ error: any Error, peer: PeerID, protocols: [ProtocolID], deadline: Duration? = nil
    ) -> NodeError {
        switch error {
        case let error as NodeError:
            error
        case let failure as StreamFailure:
            stream(failure, peer: peer, protocols: protocols)
        case let error as TransportError:
            NodeError(
                code: error.code == .streamLimit ? .limit : error.code == .closed ? .disconnected : .invalidUse,
                peer: peer, stage: .stream, message: error.message, cause: error)
        case is DeadlinePassed:
            .deadline(.stream, peer: peer, deadline ?? .zero)
        case is CancellationError:
            .cancelled(.stream, peer: peer)
        default:
            NodeError(
                code: .disconnected, peer: peer, stage: .stream, message: "the stream failed: \(error)", cause: error)
        }
    }

    private static func stream(_ failure: StreamFailure, peer: PeerID, protocols: [ProtocolID]) -> NodeError {
        let names = protocols.map(\.name).joined(separator: ", ")
        switch failure.fault {
        case .reset:
            return NodeError(
                code: .streamReset, peer: peer, stage: .stream,
                message: "the \(names) stream was reset before its end: the other side gave it up", cause: failure)
        case .refused:
            return NodeError(
                code: .protocolRefused, peer: peer, stage: .stream,
                message: "the peer does not speak \(names): it may run other software or an older version",
                cause: failure)
        case .negotiation(let error):
            return NodeError(
                code: .protocolViolation, peer: peer, stage: .stream,
                message: "agreeing on \(names) failed: \(error)", cause: failure)
        case .negotiationTimeout:
            return NodeError(
                code: .deadline, peer: peer, stage: .stream,
                message: "the peer did not answer whether it speaks \(names): try again", cause: failure)
        case .connectionClosed(let reason):
            return closed(reason, peer: peer, cause: failure)
        }
    }

    /// Why a connection that had been established is gone.
    private static func closed(_ reason: CloseReason, peer: PeerID, cause: any Error) -> NodeError {
        let sorted = sort(reason)
        return NodeError(
            code: sorted.code == .unreachable ? .disconnected : sorted.code, peer: peer, stage: .stream,
            message: "the connection was lost, \(sorted.text): dial again", cause: cause)
    }

    /// A dial that led nowhere. One attempt that found the wrong peer says more than several timeouts.
    static func dial(_ error: DialError, peer: PeerID?) -> NodeError {
        let sorted = error.attempts.map { (address: $0.address, reason: sort($0.reason)) }
        let telling = sorted.first { $0.reason.code == .wrongPeer } ?? sorted.last
        let attempts = sorted.map { "\($0.address): \($0.reason.text)" }.joined(separator: "; ")
        let met = attempts.isEmpty ? "" : " (\(attempts))"
        let (code, message): (Code, String)
        switch error.code {
        case .noUsableAddress:
            (code, message) = (.noAddress, "no address that this node can dial: give one")
        case .deadline:
            (code, message) = (.deadline, "no connection in time\(met): check the address or allow more time")
        case .cancelled:
            (code, message) = (.cancelled, "the dial was cancelled")
        case .refusedByGate:
            (code, message) = (.refusedByGate, "the connection gate of this node refuses the address or the peer")
        case .ourselves:
            (code, message) = (.noAddress, "that is this node's own peer id: dial another peer")
        case .limit:
            (code, message) = (.limit, "this node has as many connections as it may: close some")
        case .allAttemptsFailed:
            code = telling?.reason.code ?? .unreachable
            message = "no address led to a connection\(met): check that the peer runs and that its address is right"
        }
        return NodeError(
            code: code, peer: peer, stage: telling?.reason.stage ?? .dial, message: message, cause: error)
    }

    /// Code, stage and words for the end of a connection.
    static func sort(_ reason: CloseReason) -> (code: Code, stage: Stage, text: String) {
        switch reason {
        case .local: (.cancelled, .dial, "closed by this node")
        case .remote: (.unreachable, .dial, "closed by the peer")
        case .timeout(let stage): (.deadline, Stage(stage), "no answer in time at stage \(stage.rawValue)")
        case .transport(let text, let stage): (.unreachable, Stage(stage), text)
        case .violation(.wrongPeer(_, let actual), let stage):
            (.wrongPeer, Stage(stage), "somebody else answers there, peer \(actual)")
        case .violation(.refused(let name), let stage):
            (.protocolRefused, Stage(stage), "the peer refuses \(name.name)")
        case .violation(let violation, let stage):
            (.protocolViolation, Stage(stage), "rules broken at stage \(stage.rawValue), \(words(for: violation))")
        }
    }

    private static func words(for violation: ConnectionViolation) -> String {
        switch violation {
        case .negotiation(let error): "multistream-select: \(error)"
        case .refused(let name): "refused \(name.name)"
        case .wrongPeer(_, let actual): "peer \(actual)"
        case .noise(let error): "Noise: \(error)"
        case .tls(let text): "TLS: \(text)"
        case .multiplexer(let what): "Yamux: \(what.text)"
        case .flood(let what): "flood: \(what.text)"
        }
    }
}

extension NodeError.Stage {
    init(_ stage: ConnectionStage) {
        switch stage {
        case .dial: self = .dial
        case .negotiate: self = .negotiate
        case .secure: self = .secure
        case .multiplex: self = .multiplex
        case .stream: self = .stream
        }
    }
}

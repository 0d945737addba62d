// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiGossip
import TuttiIdentity
import TuttiKademlia
import TuttiMembership
import TuttiNodeCore

/// How a call to one of the cores ended.
enum CallEnd: Sendable {
    case answered(KademliaAnswer)
    case published(sentTo: Int)
    case publishFailed(GossipError)
    case searched([SearchHit])
    case cancelled
    case stopped
}

/// Calls to cores that wait for their ends. Confined to NodeDriver's loop; bounded by the cores, which refuse further ones.
///
/// Who waits hears of the end when what the turn sends has been handed over: whoever is told that something was stored or
/// published may ask others for it at once.
struct NodeCalls {
    private struct Call {
        let continuation: CheckedContinuation<CallEnd, Never>
        var hits: [SearchHit] = []
    }

    private var calls: [RequestID: Call] = [:]
    private var ended: [(continuation: CheckedContinuation<CallEnd, Never>, end: CallEnd)] = []

    mutating func begin(_ request: RequestID, _ continuation: CheckedContinuation<CallEnd, Never>) {
        calls[request] = Call(continuation: continuation)
    }

    func isWaiting(_ request: RequestID) -> Bool { calls[request] != nil }

    mutating func hit(_ request: RequestID, _ hit: SearchHit) {
        calls[request]?.hits.append(hit)
    }

    mutating func searched(_ request: RequestID) {
        guard let call = calls.removeValue(forKey: request) else { return }
        ended.append((call.continuation, .searched(call.hits)))
    }

    mutating func end(_ request: RequestID, _ end: CallEnd) {
        guard let call = calls.removeValue(forKey: request) else { return }
        ended.append((call.continuation, end))
    }

    mutating func turnEnded() {
        guard !ended.isEmpty else { return }
        for (continuation, end) in ended { continuation.resume(returning: end) }
        ended.removeAll()
    }

    mutating func stop() {
        turnEnded()
        for call in calls.values { call.continuation.resume(returning: .stopped) }
        calls.removeAll()
    }
}

extension NodeError {
    /// The core that was asked is not part of this node.
    static func off(_ what: String, _ setting: String, _ stage: Stage) -> NodeError {
        NodeError(
            code: .invalidUse, stage: stage,
            message: "the \(what) is off in this node: set \(setting) in its configuration")
    }

    /// Nil when the call succeeded.
    static func dht(_ status: KademliaOutcome.Status, _ deadline: Duration) -> NodeError? {
        let (code, message): (Code, String)
        switch status {
        case .done: return nil
        case .notFound: (code, message) = (.notFound, "nobody who was asked knows it")
        case .deadline: return .deadline(.lookup, peer: nil, deadline)
        case .cancelled: return .cancelled(.lookup)
        case .noPeers:
            (code, message) = (
                .noPeers, "no peer of the DHT is known: connect to one, for instance to a bootstrap address"
            )
        case .limit: (code, message) = (.limit, "too many lookups at once: wait for some to end")
        case .notStored:
            (code, message) = (.notStored, "no peer took the record: it may be too large, or refused by their rules")
        case .invalidRecord:
            (code, message) = (
                .invalidUse, "the record breaks the rules of its name's namespace: see DHTSettings.accepts"
            )
        }
        return NodeError(code: code, stage: .lookup, message: message)
    }

    static func publish(_ error: GossipError) -> NodeError {
        let (code, message): (Code, String)
        switch error {
        case .messageTooLarge(let limit): (code, message) = (.invalidUse, "the message is over \(limit) bytes")
        case .topicTooLong: (code, message) = (.invalidUse, "the topic's name is too long")
        case .noPeers: (code, message) = (.noPeers, "no peer is known that follows the topic: connect to some")
        case .duplicate: (code, message) = (.invalidUse, "the message was published before")
        case .limit: (code, message) = (.limit, "too many messages at once: wait a little")
        }
        return NodeError(code: code, stage: .publish, message: message)
    }
}

// SPDX-License-Identifier: Apache-2.0
import NIOPosix
import TuttiGossip

/// Says of gossiped messages whether they go on: first their signatures, then the application.
///
/// Some messages are checked where they arrive: a check takes about as long as two visits to another thread. More than
/// `inlineMax` in one turn (0.4 ms, as long as one connection's bulk may hold up a shared loop), and everything when the application is asked too, goes to worker threads, so that a flood
/// keeps those busy and not the node's loop. What waits there is bounded by the gossip core.
struct MessageJudge {
    private static let inlineMax = 8

    private let validator: (@Sendable (PublishedMessage) -> GossipSettings.Verdict)?
    private var inlineCount = 0

    init(_ settings: GossipSettings?) { validator = settings?.validator }

    mutating func turnEnded() { inlineCount = 0 }

    /// Nil: `later` is called with the verdicts, on another thread.
    mutating func judge(
        _ messages: [GossipMessage], later: @escaping @Sendable ([GossipVerdict]) -> Void
    ) -> [GossipVerdict]? {
        let validator = validator
        if validator == nil, inlineCount + messages.count <= Self.inlineMax {
            inlineCount += messages.count
            return messages.map { Self.verdict(on: $0, validator) }
        }
        NIOThreadPool.singleton.submit { state in
            guard case .active = state else { return later(messages.map { _ in .ignore }) }
            later(messages.map { Self.verdict(on: $0, validator) })
        }
        return nil
    }

    private static func verdict(
        on message: GossipMessage, _ validator: (@Sendable (PublishedMessage) -> GossipSettings.Verdict)?
    ) -> GossipVerdict {
        guard GossipSignature.isValid(message) else { return .reject }
        guard let validator, let published = PublishedMessage(message) else { return .accept }
        switch validator(published) {
        case .accept: return .accept
        case .reject: return .reject
        case .ignore: return .ignore
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiGossip
package import TuttiIdentity

/// Messages that wait for the verdict of another core of this node.
package struct UnjudgedMessages: Sendable {
    package let request: RequestID
    package let messages: [GossipMessage]
    package let peer: PeerID
}

/// Keeps topics of the journal among members: for the gossip core, whoever has not shown that it is one neither follows
/// such a topic nor speaks in it. What a peer follows is remembered until it does.
package struct GuardedTopics: Sendable {
    /// Per peer. Beyond: passed over.
    private static let heldMax = 8

    private let families: [GossipTopicFamily]
    private var members: Set<PeerIndex> = []
    private var held: [PeerIndex: [Topic]] = [:]

    package init(families: [GossipTopicFamily]) {
        self.families = families.filter { $0.settings.judge == .journal }
    }

    /// Its connections are gone.
    package mutating func forget(_ peer: PeerIndex) {
        members.remove(peer)
        held[peer] = nil
    }

    /// It no longer speaks here; on another stream it begins anew, as the member that it is.
    package mutating func fallenSilent(_ peer: PeerIndex) { held[peer] = nil }

    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        for peer in members { body(peer) }
        for peer in held.keys where !members.contains(peer) { body(peer) }
    }

    /// Takes out of an RPC what only a member may say.
    package mutating func admit(_ rpc: inout GossipRPC, from peer: PeerIndex) {
        guard !families.isEmpty else { return }
        let isMember = members.contains(peer)
        for (topic, isSubscribed) in rpc.subscriptions where isGuarded(topic) {
            held[peer]?.removeAll { $0 == topic }
            if isSubscribed, held[peer, default: []].count < Self.heldMax { held[peer, default: []].append(topic) }
        }
        guard !isMember else { return }
        rpc.subscriptions.removeAll { isGuarded($0.topic) }
        rpc.messages.removeAll { message in families.contains { $0.contains(message) } }
        rpc.ihave.removeAll { isGuarded($0.topic) }
        rpc.graft.removeAll { isGuarded($0) }
        rpc.prune.removeAll { isGuarded($0.topic) }
    }

    /// What the core is to hear of the peer now; nil when nothing changes.
    package mutating func set(_ peer: PeerIndex, isMember: Bool) -> GossipRPC? {
        guard members.contains(peer) != isMember else { return nil }
        if isMember { members.insert(peer) } else { members.remove(peer) }
        guard let topics = held[peer], !topics.isEmpty else { return nil }
        var rpc = GossipRPC()
        rpc.subscriptions = topics.map { ($0, isMember) }
        return rpc
    }

    private func isGuarded(_ topic: Topic) -> Bool { families.contains { $0.contains(topic) } }
}

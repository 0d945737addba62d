// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiGossip
import TuttiNodeCore

@Suite struct GuardedTopicsTests {
    private let peer = PeerIndex(7)
    private let journal: Topic = "/tutti/journal/1/aa"
    private let open: Topic = "news"

    private func make() -> GuardedTopics {
        GuardedTopics(families: [
            GossipTopicFamily(
                prefix: "/tutti/journal/", settings: GossipTopicConfiguration(signing: .strictNoSign, judge: .journal)),
            GossipTopicFamily(prefix: "other", settings: GossipTopicConfiguration()),
        ])
    }

    private var everything: GossipRPC {
        var rpc = GossipRPC()
        rpc.subscriptions = [(journal, true), (open, true)]
        rpc.graft = [journal, open]
        rpc.prune = [.init(topic: journal, backoffSeconds: nil), .init(topic: open, backoffSeconds: nil)]
        rpc.ihave = [(journal, []), (open, [])]
        rpc.messages = [journal, open].map {
            GossipMessage.signed(topic: $0, data: .init(string: "x"), author: [1], sequence: 1, by: nil)
        }
        return rpc
    }

    @Test("Who isn't a member says nothing in guarded topics, and everything in others")
    func stranger() {
        var topics = make()
        var rpc = everything
        topics.admit(&rpc, from: peer)
        #expect(rpc.subscriptions.map(\.topic) == [open])
        #expect(rpc.graft == [open])
        #expect(rpc.prune.map(\.topic) == [open])
        #expect(rpc.ihave.map(\.topic) == [open])
        #expect(rpc.messages.map(\.topic) == [open])
    }

    @Test("What a peer followed before it was a member counts from then on, and ends with it")
    func becomesMember() {
        var topics = make()
        var rpc = everything
        topics.admit(&rpc, from: peer)
        #expect(topics.set(peer, isMember: true)?.subscriptions.map(\.topic) == [journal])
        #expect(topics.set(peer, isMember: true) == nil)
        var again = everything
        topics.admit(&again, from: peer)
        #expect(again.messages.count == 2 && again.graft.count == 2 && again.subscriptions.count == 2)
        let end = topics.set(peer, isMember: false)
        #expect(end?.subscriptions.first?.topic == journal && end?.subscriptions.first?.isSubscribed == false)
    }

    @Test("A peer that stopped following before it became a member doesn't follow")
    func unsubscribed() {
        var topics = make()
        var rpc = everything
        topics.admit(&rpc, from: peer)
        var end = GossipRPC()
        end.subscriptions = [(journal, false)]
        topics.admit(&end, from: peer)
        #expect(topics.set(peer, isMember: true) == nil)
    }

    @Test("A member whose stream of gossip was lost is one still, and one before its stream is there")
    func fallenSilent() {
        var topics = make()
        #expect(topics.set(peer, isMember: true) == nil)
        topics.fallenSilent(peer)
        var rpc = everything
        topics.admit(&rpc, from: peer)
        #expect(rpc.messages.count == 2 && rpc.subscriptions.count == 2)
        var kept: [PeerIndex] = []
        topics.forEachPeer { kept.append($0) }
        #expect(kept == [peer])
    }

    @Test("A peer that went away is a stranger when it comes back")
    func forgotten() {
        var topics = make()
        _ = topics.set(peer, isMember: true)
        topics.forget(peer)
        var rpc = everything
        topics.admit(&rpc, from: peer)
        #expect(rpc.messages.count == 1)
    }

    @Test("What is remembered of a stranger's wishes is bounded")
    func bounded() {
        var topics = make()
        for number in 0..<100 {
            var rpc = GossipRPC()
            rpc.subscriptions = [(Topic("/tutti/journal/\(number)"), true)]
            topics.admit(&rpc, from: peer)
        }
        #expect(topics.set(peer, isMember: true)?.subscriptions.count == 8)
    }
}

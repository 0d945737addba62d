// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiGossip

import struct NIOCore.ByteBuffer

@Suite(.timeLimit(.minutes(1))) struct GossipNetworkTests {
    /// Forty nodes, eight dials each, all subscribed, five seconds for meshes to settle.
    static func network(
        _ count: Int = 40, seed: UInt64, dials: Int = 8, version: (Int) -> GossipVersion = { _ in .v1_2 },
        configure: (Int, inout GossipConfiguration) -> Void = { _, _ in }
    ) -> GossipNetwork {
        var network = GossipNetwork(count, seed: seed, configure)
        network.connectAtRandom(dials, version: version)
        for node in 0..<count { network.handle(.subscribeRequested("news"), at: node) }
        network.run(for: .seconds(5))
        return network
    }

    static func publishAll(_ network: inout GossipNetwork, count: Int, size: Int = 100) {
        for number in 0..<count {
            network.publish("m\(number) " + String(repeating: "x", count: size), at: number % network.cores.count)
            network.run(for: .milliseconds(200))
        }
        network.run(for: .seconds(4))
    }

    static func expectAll(_ network: GossipNetwork, count: Int) {
        for (node, texts) in network.delivered.enumerated() {
            let own = (0..<count).count { $0 % network.cores.count == node }
            #expect(texts.count == count - own, "node \(node)")
            #expect(Set(texts).count == texts.count, "node \(node) got something twice")
        }
    }

    @Test("every message reaches every node once, and each mesh keeps its size", arguments: [1, 2, 3])
    func delivery(_ seed: UInt64) {
        var network = Self.network(seed: seed)
        Self.publishAll(&network, count: 60)
        Self.expectAll(network, count: 60)
        for core in network.cores {
            let mesh = core.meshPeers(of: "news")
            #expect((5...12).contains(mesh.count))
            for peer in mesh {
                let other = network.cores[Int(peer.value)].meshPeers(of: "news")
                #expect(other.contains { network.cores[Int($0.value)].subscriptions == ["news"] })
            }
            #expect(core.stats.malformed == 0 && core.stats.promisesBroken == 0 && core.stats.backoffViolations == 0)
            #expect(core.stats.rejected == 0 && core.stats.graylisted == 0)
        }
        #expect(network.disconnects.isEmpty)
    }

    @Test("peers that speak 1.1, 1.0 and floodsub get everything too", arguments: [false, true])
    func mixed(_ floodPublish: Bool) {
        let versions: [GossipVersion] = [.v1_2, .v1_1, .v1_0, .floodsub]
        var network = Self.network(seed: 4, version: { versions[$0 % 4] }) { _, configuration in
            configuration.mesh.floodPublish = floodPublish
        }
        Self.publishAll(&network, count: 40, size: 1_100)
        Self.expectAll(network, count: 40)
        for core in network.cores { #expect(core.stats.backoffViolations == 0 && core.stats.malformed == 0) }
    }

    @Test("IDONTWANT spares duplicates of large messages")
    func idontwant() {
        func copies(_ version: GossipVersion) -> Int {
            var network = Self.network(seed: 5, version: { _ in version }) { _, configuration in
                configuration.mesh.floodPublish = false
            }
            network.verdictDelay = .milliseconds(30)
            Self.publishAll(&network, count: 20, size: 2_000)
            Self.expectAll(network, count: 20)
            return network.messagesSent
        }
        let (with, without) = (copies(.v1_2), copies(.v1_1))
        // Every node but the author needs one copy.
        #expect(with < without * 6 / 10, "\(with) of \(without) copies, at least \(20 * 39)")
        #expect(with < 20 * 39 * 9 / 4)
    }

    @Test("under load forwards leave together, and fewer copies of what others bring meanwhile")
    func gathering() {
        func sent(_ interval: Duration) -> (rpcs: UInt64, messages: Int) {
            var network = Self.network(
                seed: 8, configure: { _, configuration in configuration.mesh.gatherInterval = interval })
            let before = network.cores.reduce(0) { $0 + $1.stats.rpcsSent }
            for number in 0..<120 {
                network.publish("m\(number)", at: number % 40)
                network.run(for: .milliseconds(2))
            }
            network.run(for: .seconds(4))
            Self.expectAll(network, count: 120)
            return (network.cores.reduce(0) { $0 + $1.stats.rpcsSent } - before, network.messagesSent)
        }
        let (gathered, atOnce) = (sent(.milliseconds(20)), sent(.zero))
        #expect(gathered.rpcs < atOnce.rpcs * 6 / 10, "\(gathered) against \(atOnce)")
        #expect(gathered.messages < atOnce.messages, "\(gathered) against \(atOnce)")
    }

    @Test("a forward after a pause leaves at once, the next at the interval's end or with a message of our own")
    func gatheringTimes() {
        var network = GossipNetwork(3, seed: 9) { _, configuration in
            configuration.mesh.floodPublish = false
            configuration.mesh.gatherInterval = .milliseconds(20)
        }
        network.connect(0, 1)
        network.connect(0, 2)
        for node in 0..<3 { network.handle(.subscribeRequested("news"), at: node) }
        network.run(for: .seconds(5))
        // From 1 to 0 takes 8.9 ms, a verdict half a millisecond.
        func sent(after duration: Duration) -> Int {
            network.run(for: duration)
            return network.messagesSent
        }
        network.publish("a", at: 1)
        #expect(sent(after: .milliseconds(11)) == 2)
        network.publish("b", at: 1)
        #expect(sent(after: .milliseconds(14)) == 3)
        #expect(sent(after: .milliseconds(5)) == 4)
        network.publish("c", at: 1)
        #expect(sent(after: .milliseconds(12)) == 5)
        network.publish("d", at: 0)
        #expect(network.messagesSent == 8)
        network.run(for: .seconds(1))
        #expect(network.delivered[2] == ["a", "b", "c", "d"])
    }

    @Test("a node with no mesh hears of messages by gossip and asks for them")
    func lazyPull() {
        // A star whose centre has room for nobody: dHigh is reached by peers that we dialled.
        var network = GossipNetwork(14, seed: 6) { _, configuration in
            configuration.mesh.floodPublish = false
            configuration.mesh.d = 2
            configuration.mesh.dLow = 2
            configuration.mesh.dHigh = 2
            configuration.mesh.dOut = 0
            configuration.mesh.dScore = 1
        }
        for node in 1..<14 { network.connect(node, 0) }
        for node in 0..<14 { network.handle(.subscribeRequested("news"), at: node) }
        network.run(for: .seconds(5))
        network.publish("hello", at: 0)
        network.run(for: .milliseconds(100))
        let early = network.delivered.filter { !$0.isEmpty }.count
        #expect(early < 13)
        network.run(for: .seconds(6))
        #expect(network.delivered.dropFirst().allSatisfy { $0.count == 1 })
        #expect(network.cores[0].stats.idsServed > 0)
    }

    @Test("who is not subscribed publishes through the fanout, and is silent about it once idle")
    func fanout() {
        var network = GossipNetwork(20, seed: 7) { _, configuration in configuration.mesh.floodPublish = false }
        network.connectAtRandom(5)
        for node in 1..<20 { network.handle(.subscribeRequested("news"), at: node) }
        network.run(for: .seconds(5))
        network.publish("from outside", at: 0)
        network.run(for: .seconds(3))
        #expect(network.delivered.dropFirst().allSatisfy { $0 == ["from outside"] })
        #expect(network.published.first?.sentTo == 6)
        network.run(for: .seconds(70))
        // Nothing to do: no timer.
        #expect(network.cores[0].nextTimeout == nil)
        network.publish("x", topic: "nobody", at: 0)
        #expect(network.failures == [.noPeers])
    }

    @Test("meshes heal when half of the nodes leave, and who unsubscribes gets nothing")
    func churn() {
        var network = Self.network(seed: 8)
        for node in 20..<40 {
            for other in 0..<40 where other != node {
                network.handle(.peerDisconnected(PeerIndex(UInt32(node))), at: other)
                network.handle(.peerDisconnected(PeerIndex(UInt32(other))), at: node)
            }
        }
        network.handle(.unsubscribeRequested("news"), at: 0)
        network.run(for: .seconds(5))
        network.publish("after", at: 1)
        network.run(for: .seconds(4))
        for node in 2..<20 { #expect(network.delivered[node] == ["after"], "node \(node)") }
        #expect(network.delivered[0].isEmpty && network.cores[0].meshPeers(of: "news").isEmpty)
        #expect(network.cores[25].peerCount == 0)
    }

    @Test("the same seed gives the same effects, another seed others")
    func determinism() {
        func digest(_ seed: UInt64) -> UInt64 {
            var network = Self.network(30, seed: seed)
            Self.publishAll(&network, count: 20, size: 1_500)
            return network.digest
        }
        #expect(digest(9) == digest(9))
        #expect(digest(9) != digest(10))
    }

    @Test("a topic without signatures goes by the digest of the data, another rule by what it says")
    func ids() {
        func configure(_ node: Int, _ configuration: inout GossipConfiguration) {
            configuration.topics["open"] = GossipTopicConfiguration(signing: .strictNoSign)
            configuration.topics["first"] = GossipTopicConfiguration(
                signing: .strictNoSign,
                messageID: { message in
                    MessageID(message.data.readableBytesView.prefix(1)) ?? .ofData(message)
                })
        }
        var network = Self.network(12, seed: 11, dials: 4, configure: configure)
        for node in 0..<12 {
            network.handle(.subscribeRequested("open"), at: node)
            network.handle(.subscribeRequested("first"), at: node)
        }
        network.run(for: .seconds(3))
        network.publish("same", topic: "open", at: 0)
        network.publish("same", topic: "open", at: 0)
        network.publish("apple", topic: "first", at: 0)
        network.run(for: .seconds(2))
        network.publish("avocado", topic: "first", at: 1)
        #expect(network.failures == [.duplicate, .duplicate])
        network.run(for: .seconds(2))
        #expect(network.delivered.dropFirst().allSatisfy { $0.sorted() == ["apple", "same"] })
    }

    @Test("rejected messages go no further and their author is shown the door, ignored ones cost nobody anything")
    func verdicts() {
        var network = Self.network(20, seed: 12, dials: 6)
        network.verdict = { message in
            let text = String(decoding: message.data.readableBytesView, as: UTF8.self)
            return text.hasPrefix("bad") ? .reject : text.hasPrefix("odd") ? .ignore : .accept
        }
        for number in 0..<4 { network.publish("odd\(number)", at: 5) }
        network.run(for: .seconds(3))
        #expect(network.disconnects.isEmpty && network.delivered.allSatisfy { $0.isEmpty })
        for number in 0..<4 { network.publish("bad\(number)", at: 5) }
        network.run(for: .seconds(3))
        #expect(network.delivered.allSatisfy { $0.isEmpty })
        #expect(!network.disconnects.isEmpty && network.disconnects.allSatisfy { $0.peer == PeerIndex(5) })
        for (node, core) in network.cores.enumerated() where node != 5 {
            #expect(!core.meshPeers(of: "news").contains(PeerIndex(5)))
        }
    }
}

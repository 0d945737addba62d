// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiGossip

import struct NIOCore.ByteBuffer

/// One core, and peers that the test plays.
@Suite(.timeLimit(.minutes(1))) struct GossipAttackTests {
    struct Bench {
        var core: GossipCore
        var now = Instant.zero

        init(peers: Int = 1, inbound: Bool = true, _ change: (inout GossipConfiguration) -> Void = { _ in }) {
            var configuration = GossipConfiguration(author: [0xFF])
            change(&configuration)
            core = GossipCore(configuration: configuration, seed: 1, at: now)
            for peer in 1...peers {
                core.handle(
                    .peerConnected(
                        PeerIndex(UInt32(peer)), .v1_2, inbound ? .inbound : .outbound, group: .none,
                        author: [UInt8(peer)]), at: now)
            }
            core.handle(.subscribeRequested("news"), at: now)
            _ = drain()
        }

        mutating func drain() -> [GossipEffect] {
            var effects: [GossipEffect] = []
            while let effect = core.nextEffect() { effects.append(effect) }
            return effects
        }

        mutating func receive(_ peer: UInt32, _ change: (inout GossipRPC) -> Void) -> [GossipEffect] {
            var rpc = GossipRPC()
            change(&rpc)
            core.handle(.received(PeerIndex(peer), rpc), at: now)
            return drain()
        }

        /// Runs timers until `duration` has passed.
        @discardableResult
        mutating func wait(_ duration: Duration) -> [GossipEffect] {
            let end = now + duration
            var effects: [GossipEffect] = []
            while let due = core.nextTimeout, due <= end {
                now = max(now, due)
                core.handleTimeout(at: now)
                effects += drain()
            }
            now = end
            return effects
        }

        /// The effects after a verdict on everything that was asked about.
        mutating func deliver(
            _ peer: UInt32, _ message: GossipMessage, _ verdict: GossipVerdict = .accept
        )
            -> [GossipEffect]
        {
            var effects = receive(peer) { $0.messages = [message] }
            for case .validate(let request, let messages, _, _) in effects {
                core.handle(.validated(request, messages.map { _ in verdict }), at: now)
            }
            effects += drain()
            return effects
        }
    }

    static func message(_ author: UInt8, _ sequence: UInt64, data: String = "x") -> GossipMessage {
        .signed(topic: "news", data: ByteBuffer(string: data), author: [author], sequence: sequence, by: nil)
    }

    static func id(_ number: Int) -> MessageID {
        MessageID([9, UInt8(number >> 16 & 255), UInt8(number >> 8 & 255), UInt8(number & 255)])
            ?? .ofData(message(0, 0))
    }

    static func sent(_ effects: [GossipEffect], to peer: UInt32) -> [GossipRPC] {
        effects.compactMap { effect in
            guard case .send(PeerIndex(peer), let rpc) = effect else { return nil }
            return rpc
        }
    }

    static func delivered(_ effects: [GossipEffect]) -> Int {
        effects.count { if case .deliver = $0 { true } else { false } }
    }

    @Test("an IHAVE flood is asked for at most 5,000 ids of ten IHAVEs a heartbeat, and broken promises tell")
    func ihaveFlood() {
        var bench = Bench()
        var asked = 0
        for round in 0..<1_000 {
            let effects = bench.receive(1) { rpc in
                rpc.ihave = [("news", (0..<1_000).map { Self.id(round * 1_000 + $0) })]
            }
            asked += Self.sent(effects, to: 1).reduce(0) { $0 + $1.iwant.count }
        }
        #expect(asked == 5_000)
        var peers = 0
        bench.core.forEachPeer { _ in peers += 1 }
        #expect(peers <= 12, "what is remembered of it is limited")
        var heartbeats = 0
        while (bench.core.score(of: PeerIndex(1)) ?? 0) >= -400, heartbeats < 30 {
            bench.wait(.seconds(1))
            for round in 0..<10 {
                _ = bench.receive(1) { $0.ihave = [("news", [Self.id(heartbeats << 8 | round | 1 << 23)])] }
            }
            heartbeats += 1
        }
        #expect(heartbeats < 10 && bench.core.stats.promisesBroken >= 10)
        #expect(bench.receive(1) { $0.ihave = [("news", [Self.id(77)])] }.isEmpty)
    }

    @Test("a promise that is kept costs nothing")
    func keptPromise() throws {
        var bench = Bench()
        let message = Self.message(7, 1)
        let id = try #require(MessageID.ofOrigin(message))
        let asked = bench.receive(1) { $0.ihave = [("news", [id])] }
        #expect(Self.sent(asked, to: 1).first?.iwant == [id])
        #expect(Self.delivered(bench.deliver(1, message)) == 1)
        bench.wait(.seconds(10))
        #expect(bench.core.stats.promisesBroken == 0)
    }

    @Test("an id is served three times to one peer, and not at all when it is unwanted, rejected or old")
    func iwant() throws {
        var bench = Bench(peers: 3)
        let message = Self.message(7, 1)
        let id = try #require(MessageID.ofOrigin(message))
        _ = bench.deliver(1, message)
        var served = 0
        for _ in 0..<10 {
            served += Self.sent(bench.receive(2) { $0.iwant = [id, id] }, to: 2).reduce(0) { $0 + $1.messages.count }
        }
        #expect(served == 3)
        _ = bench.receive(3) { $0.idontwant = [id] }
        bench.wait(.seconds(7))
        #expect(bench.receive(3) { $0.iwant = [id] }.isEmpty, "it is out of the cache")
        let rejected = Self.message(7, 2)
        _ = bench.deliver(1, rejected, .reject)
        #expect(bench.receive(2) { $0.iwant = [MessageID.ofOrigin(rejected) ?? id] }.isEmpty)
    }

    @Test("a copy that was pushed counts among those served, even when the peer has left the mesh since")
    func pushedCopy() throws {
        for isLeaving in [false, true] {
            var bench = Bench(peers: 2)
            _ = bench.receive(2) { rpc in
                rpc.subscriptions = [("news", true)]
                rpc.graft = ["news"]
            }
            let message = Self.message(7, 1)
            let id = try #require(MessageID.ofOrigin(message))
            var copies = Self.sent(bench.deliver(1, message), to: 2).reduce(0) { $0 + $1.messages.count }
            #expect(copies == 1)
            if isLeaving { _ = bench.receive(2) { $0.prune = [.init(topic: "news", backoffSeconds: 60)] } }
            for _ in 0..<10 {
                copies += Self.sent(bench.receive(2) { $0.iwant = [id] }, to: 2).reduce(0) { $0 + $1.messages.count }
            }
            #expect(copies == 3)
        }
    }

    @Test("what a heartbeat grafts takes no mesh beyond dHigh")
    func heartbeatGrafts() {
        var bench = Bench(peers: 12)
        for peer in 1...12 as ClosedRange<UInt32> {
            _ = bench.receive(peer) { rpc in
                rpc.subscriptions = [("news", true)]
                rpc.graft = ["news"]
            }
        }
        #expect(bench.core.meshPeers(of: "news").count == 12)
        for peer in 13...16 as ClosedRange<UInt32> {
            bench.core.handle(
                .peerConnected(PeerIndex(peer), .v1_2, .outbound, group: .none, author: [UInt8(peer)]), at: bench.now)
            _ = bench.receive(peer) { $0.subscriptions = [("news", true)] }
        }
        for _ in 0..<3 {
            bench.wait(.seconds(1))
            let mesh = bench.core.meshPeers(of: "news")
            #expect(mesh.count <= 12)
            #expect(mesh.count { $0.value > 12 } >= 2, "peers that we dialled have their places")
        }
    }

    @Test("grafts within a backoff are refused and soon cost the connection; backoffs are kept by us too")
    func graftFlood() {
        var bench = Bench()
        _ = bench.receive(1) { $0.subscriptions = [("news", true)] }
        #expect(bench.core.meshPeers(of: "news") == [PeerIndex(1)])
        _ = bench.receive(1) { $0.prune = [.init(topic: "news", backoffSeconds: 30)] }
        #expect(bench.core.meshPeers(of: "news").isEmpty)
        let first = bench.receive(1) { $0.graft = ["news"] }
        #expect(Self.sent(first, to: 1).first?.prune.first?.backoffSeconds == 60)
        let flood = bench.receive(1) { $0.graft = Array(repeating: "news", count: 1_000) }
        #expect(Self.sent(flood, to: 1).reduce(0) { $0 + $1.prune.count } == 1, "one answer for all of them")
        #expect(flood.contains { if case .disconnect(PeerIndex(1)) = $0 { true } else { false } })
        #expect(bench.core.meshPeers(of: "news").isEmpty)
        // Coming back does not help.
        bench.core.handle(.peerDisconnected(PeerIndex(1)), at: bench.now)
        bench.core.handle(.peerConnected(PeerIndex(1), .v1_2, .inbound, group: .none, author: [1]), at: bench.now)
        #expect((bench.core.score(of: PeerIndex(1)) ?? 0) < -400)
    }

    @Test(
        "a backoff of 2^64 - 1 seconds, or any other, is at most an hour",
        arguments: [3_601, 1 << 63, .max] as [UInt64])
    func endlessBackoff(_ seconds: UInt64) {
        var bench = Bench()
        _ = bench.receive(1) { $0.subscriptions = [("news", true)] }
        _ = bench.receive(1) { $0.prune = [.init(topic: "news", backoffSeconds: seconds)] }
        bench.wait(.seconds(3_590))
        #expect(bench.core.meshPeers(of: "news").isEmpty)
        bench.wait(.seconds(20))
        #expect(bench.core.meshPeers(of: "news") == [PeerIndex(1)])
    }

    @Test("a full mesh takes no more peers that dialled us, but those that we dialled")
    func fullMesh() {
        var bench = Bench(peers: 20)
        for peer in 1...20 as ClosedRange<UInt32> {
            _ = bench.receive(peer) { rpc in
                rpc.subscriptions = [("news", true)]
                rpc.graft = ["news"]
            }
        }
        #expect(bench.core.meshPeers(of: "news").count == 12 && bench.core.stats.graftsRefused == 8)
        bench.core.handle(.peerConnected(PeerIndex(30), .v1_2, .outbound, group: .none, author: [30]), at: bench.now)
        let effects = bench.receive(30) { rpc in
            rpc.subscriptions = [("news", true)]
            rpc.graft = ["news"]
        }
        #expect(Self.sent(effects, to: 30).allSatisfy { $0.prune.isEmpty })
        #expect(bench.core.meshPeers(of: "news").contains(PeerIndex(30)))
        bench.wait(.seconds(2))
        let mesh = bench.core.meshPeers(of: "news")
        #expect(mesh.count == 6 && mesh.contains(PeerIndex(30)), "shrunk to D, with the one that we dialled")
    }

    @Test("silent sybils are out of the mesh within ten heartbeats of P3's activation; without P3 they stay")
    func silentSybils() {
        func sybils(weight: Double) -> (early: Int, left: Int, honest: Int, delivered: Int) {
            var network = GossipNetwork(30, seed: 21) { _, configuration in
                configuration.topic.score.meshDeliveriesWeight = weight
                configuration.topic.score.meshFailureWeight = weight
                configuration.topic.score.meshDeliveriesThreshold = 2
                configuration.topic.score.meshDeliveriesActivation = .seconds(10)
            }
            // Node 0 dials ten honest nodes, and fifteen sybils dial it.
            for node in 1...10 { network.connect(0, node) }
            for node in 11...14 { for other in 1...10 { network.connect(node, other) } }
            for node in 15..<30 {
                network.silent.insert(node)
                network.connect(node, 0)
            }
            for node in (0..<30).reversed() { network.handle(.subscribeRequested("news"), at: node) }
            var early: [PeerIndex] = []
            for second in 0..<21 {
                if second == 1 { early = network.cores[0].meshPeers(of: "news").filter { $0.value >= 15 } }
                for number in 0..<10 {
                    network.publish("m\(second)-\(number)", at: 11 + number % 4)
                    network.run(for: .milliseconds(100))
                }
            }
            let mesh = network.cores[0].meshPeers(of: "news")
            let left = early.count { mesh.contains($0) }
            network.run(for: .seconds(5))
            return (early.count, left, mesh.count { $0.value < 15 }, network.delivered[0].count)
        }
        let guarded = sybils(weight: -1)
        #expect(guarded.early > 0 && guarded.left == 0, "\(guarded)")
        #expect(guarded.honest > 0 && guarded.delivered >= 200, "\(guarded)")
        let unguarded = sybils(weight: 0)
        #expect(unguarded.left == unguarded.early && unguarded.early > 0, "\(unguarded)")
    }

    @Test("a recorded message is refused while its id is known and also long after")
    func replay() {
        var bench = Bench()
        let recorded = Self.message(7, 1_000)
        #expect(Self.delivered(bench.deliver(1, recorded)) == 1)
        var sequence: UInt64 = 1_001
        for minutes in 1...20 {
            bench.wait(.seconds(60))
            #expect(Self.delivered(bench.deliver(1, recorded)) == 0, "minute \(minutes)")
            if minutes % 4 == 0 {
                #expect(Self.delivered(bench.deliver(1, Self.message(7, sequence))) == 1)
                sequence += 1
            }
        }
        #expect(bench.core.stats.replays > 10 && bench.core.stats.duplicates >= 2)
        #expect((bench.core.score(of: PeerIndex(1)) ?? -1) >= 0, "who passes on a replay is not blamed")
    }

    @Test("authors that number at random are heard, and a late message within the minute is")
    func unorderedAuthors() {
        var bench = Bench()
        var random = SeededGenerator(seed: 3)
        var count = 0
        for _ in 0..<50 {
            count += Self.delivered(bench.deliver(1, Self.message(8, random.next())))
            bench.wait(.seconds(70))
        }
        #expect(count == 50)
        _ = bench.deliver(1, Self.message(9, 500))
        bench.wait(.seconds(20))
        #expect(Self.delivered(bench.deliver(1, Self.message(9, 400))) == 1)
    }

    @Test("what waits for verdicts is limited per peer, and dropped messages can come again from others")
    func pendingLimits() {
        var bench = Bench(peers: 2) { configuration in
            configuration.limits.pendingPerPeerMax = 10
            configuration.limits.pendingMax = 15
        }
        func asked(_ effects: [GossipEffect]) -> Int {
            effects.reduce(0) { if case .validate(_, let messages, _, _) = $1 { $0 + messages.count } else { $0 } }
        }
        let messages = (1...40).map { Self.message(7, UInt64($0)) }
        #expect(asked(bench.receive(1) { $0.messages = messages }) == 10)
        #expect(asked(bench.receive(2) { $0.messages = messages }) == 5)
        #expect(bench.core.stats.validationOverflows == 55 && bench.core.stats.duplicates == 10)
        // No verdict ever comes: they are given up.
        bench.wait(.seconds(40))
        #expect(bench.core.stats.validationTimeouts == 15)
        #expect(asked(bench.receive(2) { $0.messages = messages.suffix(5) }) == 5)
        #expect(asked(bench.receive(2) { $0.messages = messages.suffix(10) }) == 0, "its first five are still out")
    }

    @Test("peers that brought a duplicate during validation don't get it back, neither does the author")
    func noEcho() {
        var bench = Bench(peers: 5, inbound: false)
        for peer in 1...5 as ClosedRange<UInt32> { _ = bench.receive(peer) { $0.subscriptions = [("news", true)] } }
        #expect(bench.core.meshPeers(of: "news").count == 5)
        let message = Self.message(4, 1)
        var effects = bench.receive(1) { $0.messages = [message] }
        _ = bench.receive(2) { $0.messages = [message] }
        for case .validate(let request, _, _, _) in effects {
            bench.core.handle(.validated(request, [.accept]), at: bench.now)
        }
        effects = bench.drain()
        let receivers = (1...5).filter { !Self.sent(effects, to: $0).allSatisfy(\.messages.isEmpty) }
        #expect(receivers == [3, 5])
    }

    @Test("messages without the form that their topic asks for cost the sender its place")
    func malformed() {
        var bench = Bench()
        let unsigned = GossipMessage(topic: "news", data: ByteBuffer(string: "x"))
        let short = GossipMessage(
            topic: "news", data: ByteBuffer(), author: [1], sequence: [1, 2], signature: [1])
        let effects = bench.receive(1) { $0.messages = [unsigned, short, unsigned] }
        #expect(bench.core.stats.malformed == 3)
        #expect(effects.contains { if case .disconnect(PeerIndex(1)) = $0 { true } else { false } })
        var other = Bench()
        other.core.handle(.malformed(PeerIndex(1)), at: other.now)
        #expect((other.core.score(of: PeerIndex(1)) ?? 0) < -100)
    }

    @Test("floods of topics, subscriptions and IDONTWANT stay within their tables")
    func tables() {
        var bench = Bench(peers: 30)
        for peer in 1...30 as ClosedRange<UInt32> {
            for round in 0..<3 {
                _ = bench.receive(peer) { rpc in
                    rpc.subscriptions = (0..<300).map { (Topic("t\(peer)-\(round)-\($0)"), true) }
                    rpc.idontwant = (0..<5_000).map { Self.id($0) }
                }
            }
        }
        #expect(bench.core.peers(of: "t1-0-0") == [PeerIndex(1)])
        #expect(bench.core.peers(of: "t30-2-299").isEmpty && bench.core.stats.refusals > 10_000)
        bench.core.handle(.subscribeRequested("mine"), at: bench.now)
        #expect(bench.core.subscriptions.contains("mine"))
        for peer in 1...30 as ClosedRange<UInt32> {
            bench.core.handle(.peerDisconnected(PeerIndex(peer)), at: bench.now)
        }
        #expect(bench.core.peers(of: "t1-0-0").isEmpty)
    }

    @Test("many peers of one address group fall below zero, peers of no group never do")
    func colocation() {
        var bench = Bench()
        for peer in 100..<112 as Range<UInt32> {
            bench.core.handle(
                .peerConnected(PeerIndex(peer), .v1_2, .inbound, group: AddressGroup(5), author: []), at: bench.now)
        }
        bench.wait(.seconds(2))
        #expect((bench.core.score(of: PeerIndex(105)) ?? 0) == -20 && bench.core.score(of: PeerIndex(1)) == 0)
        for peer in 100..<102 as Range<UInt32> { bench.core.handle(.peerDisconnected(PeerIndex(peer)), at: bench.now) }
        bench.wait(.seconds(2))
        #expect(bench.core.score(of: PeerIndex(105)) == 0)
    }

    @Test("peers named in a PRUNE are passed on only from a peer of good score, and ours only to such")
    func exchange() {
        var bench = Bench()
        _ = bench.receive(1) { $0.subscriptions = [("news", true)] }
        func exchange() -> Int {
            let effects = bench.receive(1) { rpc in
                let peers = (0..<40).map { ExchangedPeer.heard(id: [UInt8($0)], record: []) }
                rpc.prune = [.init(topic: "news", backoffSeconds: 60, exchanged: peers)]
            }
            return effects.reduce(0) { if case .peersExchanged(let peers, _) = $1 { $0 + peers.count } else { $0 } }
        }
        #expect(exchange() == 0)
        bench.core.handle(.applicationScoreChanged(PeerIndex(1), 50), at: bench.now)
        #expect(exchange() == 16)
    }

    @Test("direct peers get everything, are never in the mesh, and have no score")
    func direct() {
        var bench = Bench(peers: 2, inbound: false)
        bench.core.handle(.directPeersChanged([PeerIndex(1)]), at: bench.now)
        for peer in 1...2 as ClosedRange<UInt32> { _ = bench.receive(peer) { $0.subscriptions = [("news", true)] } }
        #expect(bench.core.meshPeers(of: "news") == [PeerIndex(2)])
        let refused = bench.receive(1) { $0.graft = ["news"] }
        #expect(Self.sent(refused, to: 1).first?.prune.count == 1)
        let effects = bench.deliver(2, Self.message(7, 1))
        #expect(Self.sent(effects, to: 1).first?.messages.count == 1)
        for _ in 0..<5 { bench.core.handle(.malformed(PeerIndex(1)), at: bench.now) }
        #expect(bench.core.score(of: PeerIndex(1)) == 0 && bench.drain().isEmpty)
    }

    @Test("a peer that grafted without being subscribed leaves the mesh when it becomes direct")
    func directAfterGraft() {
        var bench = Bench()
        _ = bench.receive(1) { $0.graft = ["news"] }
        #expect(bench.core.meshPeers(of: "news") == [PeerIndex(1)])
        bench.core.handle(.directPeersChanged([PeerIndex(1)]), at: bench.now)
        #expect(bench.core.meshPeers(of: "news").isEmpty)
    }

    @Test("a peer that leaves with a score below the graylist is not sent away once more")
    func leaving() {
        var bench = Bench { configuration in
            configuration.topic.score.meshDeliveriesWeight = -1
            configuration.topic.score.meshFailureWeight = -100
        }
        _ = bench.receive(1) { $0.subscriptions = [("news", true)] }
        // In the mesh for just long enough that what it failed to deliver counts when it goes.
        bench.now = bench.now + .seconds(30)
        bench.core.handle(.peerDisconnected(PeerIndex(1)), at: bench.now)
        #expect(bench.drain().isEmpty)
        bench.core.handle(.peerConnected(PeerIndex(1), .v1_2, .inbound, group: .none, author: [1]), at: bench.now)
        #expect((bench.core.score(of: PeerIndex(1)) ?? 0) < -400)
    }

    @Test("parameters that contradict each other are named")
    func parameters() {
        var configuration = GossipConfiguration()
        #expect(configuration.validate() == nil)
        configuration.mesh.dOut = 5
        #expect(configuration.validate() != nil)
        configuration.mesh.dOut = 2
        configuration.score.graylistThreshold = -1
        #expect(configuration.validate() != nil)
        configuration.score.graylistThreshold = -400
        configuration.topic.score.invalidWeight = .nan
        #expect(configuration.validate() != nil)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

struct SyncCoreTests {
    @Test("A new replica takes everything, governance first, and both are equal", arguments: [0, 1])
    func newcomer(_ giver: Int) throws {
        var world = SyncWorld(2)
        for feed in 0..<40 {
            let chain = syncChain(
                syncDevice(feed), count: 30 + feed, governanceEvery: 10, time: UInt64(feed) * 1_000)
            world.nodes[giver].write(chain)
        }
        world.connect(0, 1)
        try world.run()
        #expect(world.areEqual())
        #expect(world.contents(0) == world.contents(1))
        let taker = world.nodes[1 - giver]
        #expect(taker.events.contains(.caughtUp(world.nodes[giver].peer)))
        #expect(taker.core.claimCount == 0)
        #expect(taker.core.bytesUnderWay == 0)
        #expect(taker.receivedIDs.values.allSatisfy { $0 == 1 }, "nothing is fetched twice")
    }

    @Test("Governance is on disk before the first entry of a feed comes")
    func governanceFirst() throws {
        var world = SyncWorld(2)
        for feed in 0..<20 { world.nodes[0].write(syncChain(syncDevice(feed), count: 20, governanceEvery: 2)) }
        world.connect(0, 1)
        while try world.step() {
            if !world.nodes[1].receivedIDs.isEmpty {
                #expect(world.nodes[1].held.count >= world.nodes[0].held.count)
                break
            }
        }
        #expect(!world.nodes[1].receivedIDs.isEmpty)
    }

    @Test("Something of every feed comes before all of one, and deeper pages come by recency")
    func breadthFirst() throws {
        var world = SyncWorld(2)
        // As many as one request asks for.
        for feed in 0..<60 {
            world.nodes[0].write(syncChain(syncDevice(feed), count: 300, time: UInt64(feed) * 1_000))
        }
        world.connect(0, 1)
        while try world.step(), world.nodes[1].feeds.count < 60 {}
        #expect(world.nodes[1].entryCount <= 60 * 4)
        // The next page is of the feeds with the newest entries.
        while try world.step(), world.nodes[1].entryCount == 240 {}
        let deeper = world.nodes[1].feeds.filter { $0.value.entries.count > 4 }.map(\.key)
        let recent = Set((60 - deeper.count..<60).map(syncDevice))
        #expect(!deeper.isEmpty && Set(deeper) == recent)
        try world.run()
        #expect(world.contents(0) == world.contents(1))
    }

    @Test("Each side takes what only the other has, after one reconciliation")
    func bothLearn() throws {
        var world = SyncWorld(2)
        for feed in 0..<60 {
            let chain = syncChain(syncDevice(feed), count: 20)
            for node in 0..<2 {
                world.nodes[node].write(Array(chain[..<(feed % 3 == node ? 20 : 12)]))
            }
        }
        world.connect(0, 1)
        try world.run()
        #expect(world.areEqual())
        #expect(world.contents(0) == world.contents(1))
        #expect(world.nodes[0].core.stats.reconciliations + world.nodes[1].core.stats.reconciliations == 1)
    }

    @Test("Many replicas in a ring end equal, whatever they began with", arguments: 0..<6)
    func ring(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let count = 5
        var world = SyncWorld(count)
        for feed in 0..<50 {
            let chain = syncChain(syncDevice(feed), count: 40, governanceEvery: 7)
            for node in 0..<count where Int.random(in: 0..<3, using: &random) > 0 {
                world.nodes[node].write(Array(chain[..<Int.random(in: 1...40, using: &random)]))
            }
        }
        for node in 0..<count { world.connect(node, (node + 1) % count) }
        try world.run(for: .seconds(600))
        #expect(world.areEqual())
        for node in 1..<count { #expect(world.contents(node) == world.contents(0)) }
    }

    @Test("A newcomer with several peers takes each entry from one of them")
    func severalPeers() throws {
        var world = SyncWorld(5)
        for feed in 0..<200 {
            let chain = syncChain(syncDevice(feed), count: 20, governanceEvery: 10)
            for node in 1..<5 { world.nodes[node].write(chain) }
        }
        for node in 1..<5 { world.connect(0, node) }
        try world.run()
        #expect(world.contents(0) == world.contents(1))
        #expect(world.nodes[0].receivedIDs.values.allSatisfy { $0 == 1 })
        // They share the work.
        #expect((1..<5).filter { world.nodes[$0].core.stats.entriesServed > 200 }.count >= 3)
    }

    @Test("A replica goes on where it was cut off, wherever that was")
    func resumed() throws {
        func make() -> SyncWorld {
            var world = SyncWorld(2)
            for feed in 0..<12 {
                world.nodes[0].write(syncChain(syncDevice(feed), count: 40, governanceEvery: 4))
                world.nodes[1].write(syncChain(syncDevice(feed + 8), count: 10, governanceEvery: 4))
            }
            return world
        }
        var whole = make()
        whole.connect(0, 1)
        try whole.run()
        #expect(whole.areEqual() && whole.messageCount > 10)
        for cut in 0..<whole.messageCount {
            var world = make()
            world.connect(0, 1)
            for _ in 0..<cut { _ = try world.step() }
            world.disconnect(0, 1)
            #expect(world.nodes[0].core.requestsUnderWay == 0 && world.nodes[0].core.bytesUnderWay == 0)
            #expect(world.nodes[1].core.claimCount == 0)
            try world.run(for: .seconds(1))
            world.connect(0, 1)
            try world.run(for: .seconds(5))
            #expect(world.contents(0) == world.contents(1), "cut at \(cut)")
            #expect(world.areEqual())
            let again = world.nodes[1].receivedIDs.values.filter { $0 > 1 }.count
            #expect(again == 0, "what is on disk isn't fetched again")
        }
    }

    @Test("A fork found on the way freezes the feed everywhere", arguments: [(10, 10), (10, 12), (12, 10), (8, 15)])
    func forks(_ lengths: (Int, Int)) throws {
        var world = SyncWorld(3)
        let device = syncDevice(1)
        let stem = syncChain(device, count: 7)
        let fork = stem[6].point
        world.nodes[0].write(stem + syncChain(device, count: lengths.0 - 7, from: fork, body: [1]))
        world.nodes[2].write(stem + syncChain(device, count: lengths.1 - 7, from: fork, body: [2]))
        world.connect(0, 1)
        world.connect(1, 2)
        try world.run(for: .seconds(300))
        #expect(world.areEqual())
        for node in 0..<3 { #expect(world.nodes[node].feeds[device]?.record.isFrozen == true) }
        #expect((0..<3).allSatisfy { world.violations($0).isEmpty })
    }

    @Test("Of two proofs against one device all come to keep the same")
    func proofs() throws {
        var world = SyncWorld(2)
        let device = syncDevice(1)
        let (a, b) = (syncChain(device, count: 9, body: [1]), syncChain(device, count: 9, body: [2]))
        for (node, place) in [(0, 8), (1, 3)] {
            let proof = try #require(FaultProof(a[place], b[place]))
            world.nodes[node].freeze(proof)
            world.nodes[node].core.handle(.proofsChanged([proof]), at: .zero)
            let record = try #require(world.nodes[node].feeds[device]?.record)
            world.nodes[node].core.handle(.feedsChanged([record]), at: .zero)
        }
        world.connect(0, 1)
        try world.run()
        #expect(world.areEqual())
        #expect(world.nodes[0].proofs[device] == world.nodes[1].proofs[device])
        #expect(world.nodes[0].proofs[device]?.sequence == EntrySequence(4))
    }

    @Test("A replica that keeps less of each feed agrees with one that keeps all, and can change its mind")
    func depth() throws {
        var shallow = SyncConfiguration()
        shallow.depthMax = 5
        var world = SyncWorld(2)
        world.nodes[1] = SyncTestNode(1, shallow)
        for feed in 0..<20 { world.nodes[0].write(syncChain(syncDevice(feed), count: 50)) }
        world.connect(0, 1)
        try world.run()
        #expect(world.areEqual())
        #expect(world.nodes[1].entryCount == 20 * 5)
        let before = world.requestCount
        try world.run(for: .seconds(40))
        #expect(world.requestCount - before <= 3, "nothing to tell each other")

        // The same disk under another configuration.
        var deep = SyncTestNode(1)
        deep.feeds = world.nodes[1].feeds
        deep.core.handle(.feedsChanged(deep.feeds.values.map(\.record).sorted { $0.device < $1.device }), at: world.now)
        world.disconnect(0, 1)
        world.nodes[1] = deep
        world.connect(0, 1)
        try world.run(for: .seconds(10))
        #expect(world.contents(0) == world.contents(1))
    }

    @Test("What peers may not ask is refused with a name")
    func refusals() throws {
        var world = SyncWorld(2)
        world.nodes[0].write(syncChain(syncDevice(0), count: 5))
        world.nodes[0].refuses = [world.nodes[1].peer]
        world.connect(0, 1)
        try world.run(for: .seconds(100))
        #expect(world.nodes[1].events.contains(.refused(world.nodes[0].peer, .notMember)))
        #expect(world.nodes[1].feeds.isEmpty)
        world.handle(0, .asked(RequestID(900), by: world.nodes[1].peer, .feeds([syncDevice(0)])))
        #expect(world.nodes[0].core.stats.requestsRefused[.notIntroduced] == 1)
        // Once it is let in, everything comes by itself.
        world.nodes[0].refuses = []
        try world.run(for: .seconds(3_600))
        #expect(world.contents(0) == world.contents(1))
        world.handle(0, .peerExcluded(world.nodes[1].peer))
        world.handle(0, .asked(RequestID(901), by: world.nodes[1].peer, .feeds([syncDevice(0)])))
        #expect(world.nodes[0].core.stats.requestsRefused[.notIntroduced] == 2)
    }

    @Test("A hello of another community is refused, and one is judged at a time")
    func hellos() {
        var core = SyncCore(seed: 1, own: syncPeer(0), community: syncCommunity)
        let other = SyncHello(
            community: CommunityID(.zero), device: syncDevice(0), signature: goodSignature, join: nil)
        core.handle(.asked(RequestID(1), by: syncPeer(1), .hello(other)), at: .zero)
        guard case .answer(RequestID(1), .refused(.unknownCommunity)) = core.nextEffect() else {
            Issue.record("not refused")
            return
        }
        var hello = other
        hello.community = syncCommunity
        core.handle(.asked(RequestID(2), by: syncPeer(1), .hello(hello)), at: .zero)
        guard case .judge = core.nextEffect() else {
            Issue.record("not judged")
            return
        }
        core.handle(.asked(RequestID(3), by: syncPeer(1), .hello(hello)), at: .zero)
        guard case .answer(RequestID(3), .refused(.busy)) = core.nextEffect() else {
            Issue.record("judged twice")
            return
        }
    }

    @Test("A hello is good for one device, community and pair of peers only")
    func helloProof() throws {
        let key = KeyPair(seed: Bytes32(words: (1, 2, 3, 4)))
        let (a, b, c) = (syncPeer(0), syncPeer(1), syncPeer(2))
        let hello = try #require(SyncHello(community: syncCommunity, own: a, remote: b, signedWith: key))
        #expect(hello.isValid(from: a, to: b))
        #expect(!hello.isValid(from: b, to: a) && !hello.isValid(from: a, to: c) && !hello.isValid(from: c, to: b))
        var other = hello
        other.community = CommunityID(.zero)
        #expect(!other.isValid(from: a, to: b))
        other = hello
        other.device = syncDevice(0)
        #expect(!other.isValid(from: a, to: b))
    }

    @Test("Nothing more is asked for while the disk is behind")
    func backpressure() throws {
        var configuration = SyncConfiguration()
        configuration.limits.unsettledBytesPerPeerMax = 1 << 20
        var world = SyncWorld(2)
        world.nodes[1] = SyncTestNode(1, configuration)
        world.nodes[1].waiting = []
        let body = [UInt8](repeating: 5, count: 20_000)
        for feed in 0..<20 { world.nodes[0].write(syncChain(syncDevice(feed), count: 40, body: body)) }
        world.connect(0, 1)
        for _ in 0..<1_000 {
            while try world.step() {}
            guard let batch = world.nodes[1].waiting?.first else { break }
            #expect(world.nodes[1].core.bytesUnderWay <= 1 << 20)
            world.nodes[1].waiting?.removeFirst()
            world.nodes[1].settle(batch, at: world.now)
            world.handle(1, .wanted(syncDevice(0), from: nil))
        }
        #expect(world.contents(0) == world.contents(1))
        #expect(world.bytesUnderWayMax > 0 && world.bytesUnderWayMax <= 1 << 20)
    }

    @Test("An answer that asks for too much at once is refused as busy, and the rest still comes")
    func busy() throws {
        var configuration = SyncConfiguration()
        configuration.limits.requestBurst = 3
        configuration.limits.requestInterval = .seconds(2)
        var world = SyncWorld(2)
        world.nodes[0] = SyncTestNode(0, configuration)
        for feed in 0..<20 { world.nodes[0].write(syncChain(syncDevice(feed), count: 400)) }
        world.connect(0, 1)
        try world.run(for: .seconds(600))
        #expect(world.nodes[1].core.stats.busyAnswers > 0)
        #expect(world.contents(0) == world.contents(1))
    }

    @Test("A wanted feed is asked for at once, of whoever named it")
    func wanted() throws {
        var world = SyncWorld(3)
        world.connect(0, 1)
        world.connect(0, 2)
        try world.run()
        world.nodes[1].write(syncChain(syncDevice(3), count: 3), at: world.now)
        world.handle(0, .wanted(syncDevice(3), from: world.nodes[1].peer))
        try world.run()
        #expect(world.contents(0) == world.contents(1))
    }

    @Test("Receipts to one peer go together, the highest of each feed")
    func receipts() throws {
        var world = SyncWorld(2)
        world.connect(0, 1)
        try world.run()
        let before = world.requestCount
        for head in 1...9 {
            world.handle(
                0,
                .receiptsDue(
                    world.nodes[1].peer, [SyncReceipt(device: syncDevice(head % 3), head: .init(UInt64(head)))]))
        }
        try world.run(for: .seconds(1))
        #expect(world.requestCount == before + 1)
        #expect(Set(world.nodes[1].receipts.map(\.head.value)) == [7, 8, 9])
    }

    @Test("A feed that is refused is left alone for a while that grows")
    func refusedFeed() throws {
        var world = SyncWorld(2)
        let device = syncDevice(0)
        world.nodes[0].write(syncChain(device, count: 5))
        world.nodes[1].strangers = [device]
        world.connect(0, 1)
        try world.run(for: .seconds(3_600))
        #expect((2...12).contains(world.nodes[1].receivedIDs.values.max() ?? 0))
        #expect(world.requestCount < 150)
        #expect(world.nodes[1].core.stats.reconciliationsFruitless > 3)
    }

    @Test("The same inputs give the same effects")
    func deterministic() throws {
        func figures() throws -> [Int] {
            var world = SyncWorld(4)
            for feed in 0..<50 {
                world.nodes[feed % 4].write(syncChain(syncDevice(feed), count: 20, governanceEvery: 5))
            }
            for node in 1..<4 { world.connect(0, node) }
            try world.run(for: .seconds(100))
            return [world.messageCount, world.bytes, world.entryBytes]
        }
        #expect(try figures() == figures())
    }
}

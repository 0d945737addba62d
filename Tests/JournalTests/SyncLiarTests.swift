// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

/// Node 0 lies, node 1 is ours, node 2 is honest and has everything: whatever the liar says, we end with all of it, the
/// liar's answers are few, and he is known by what he did.
struct SyncLiarTests {
    typealias Lie = @Sendable (SyncRequest, SyncAnswer) -> SyncAnswer?

    private func world(_ lie: @escaping Lie, honest: Bool = true) -> SyncWorld {
        var world = SyncWorld(3)
        for feed in 0..<30 {
            let chain = syncChain(syncDevice(feed), count: 20, governanceEvery: feed < 10 ? 10 : 0)
            world.nodes[0].write(chain)
            if feed % 2 == 0 { world.nodes[1].write(Array(chain[..<5])) }
            world.nodes[2].write(chain)
        }
        world.lies[0] = lie
        world.connect(1, 0)
        if honest { world.connect(1, 2) }
        return world
    }

    private func check(
        _ violation: SyncViolation?, _ lie: @escaping Lie, _ location: SourceLocation = #_sourceLocation
    ) throws {
        // Alone with the liar for an hour: bounded, counted.
        var alone = world(lie, honest: false)
        try alone.run(for: .seconds(3_600))
        if let violation {
            #expect(alone.violations(1).contains(violation), sourceLocation: location)
            #expect((1...16).contains(alone.violations(1).count), sourceLocation: location)
        }
        #expect(alone.answersTo[1, default: 0] < 400, sourceLocation: location)
        alone.disconnect(1, 0)
        #expect(alone.nodes[1].core.claimCount == 0, sourceLocation: location)
        #expect(alone.nodes[1].core.bytesUnderWay == 0, sourceLocation: location)
        // With an honest peer beside him.
        var mixed = world(lie)
        try mixed.run(for: .seconds(120))
        #expect(mixed.contents(1) == mixed.contents(2), sourceLocation: location)
        #expect(mixed.violations(1).allSatisfy { $0 == violation } || violation == nil, sourceLocation: location)
        #expect(!mixed.nodes[1].events.contains(.violated(mixed.nodes[2].peer, .garbageTree)))
    }

    @Test("Nodes that don't add up to the root")
    func garbageTree() throws {
        try check(.garbageTree) { _, answer in
            guard case .roots(var roots, let parts) = answer else { return answer }
            roots.feeds = Bytes32(words: (6, 6, 6, 6))
            return .roots(roots, parts)
        }
    }

    @Test("Leaves that are no different from ours under digests that are")
    func sameLeaves() throws {
        try check(.garbageTree) { request, answer in
            guard case .parts(var parts) = answer, case .parts(let asked) = request else { return answer }
            // "I have what you have", for whatever is asked.
            parts.feeds = []
            parts.governance = []
            _ = asked
            return .parts(parts)
        }
    }

    @Test("The same, with another stamp each time so that nothing can be proven")
    func changingTree() throws {
        try check(nil) { _, answer in
            guard case .parts(var parts) = answer else { return answer }
            parts.stamp &+= 99
            parts.feeds = []
            parts.governance = []
            return .parts(parts)
        }
    }

    @Test("Roots that differ each time, and nothing beneath them")
    func changingRoots() throws {
        var seed = SeededGenerator(seed: 3)
        let words = (0..<10_000).map { _ in seed.next() }
        try check(nil) { request, answer in
            guard case .roots(var roots, _) = answer, case .roots(let asked) = request else { return answer }
            roots.feeds = Bytes32(words: (words[Int(asked.stamp % 10_000)], 1, 1, 1))
            roots.feedCount = 0
            roots.stamp = asked.stamp
            var parts = SyncParts(stamp: asked.stamp &+ 1)
            parts.feeds = [SyncPart(prefix: .root, content: .leaves([]))]
            roots.governance = asked.governance
            return .roots(roots, parts)
        }
    }

    @Test("More feeds than a community has")
    func endlessTree() throws {
        try check(.endlessTree) { _, answer in
            guard case .roots(var roots, let parts) = answer else { return answer }
            roots.feedCount = JournalLimits.feedsMax + 1
            return .roots(roots, parts)
        }
    }

    @Test("Parts that nobody asked for")
    func unaskedParts() throws {
        try check(.endlessTree) { _, answer in
            guard case .parts(var parts) = answer, let place = SyncPrefix.root.appending(3) else { return answer }
            parts.feeds += [place, place].map { SyncPart(prefix: $0, content: .leaves([])) }
            return .parts(parts)
        }
    }

    @Test("Answers that put off everything")
    func deferred() throws {
        try check(.noProgress) { request, answer in
            guard case .parts(var parts) = answer, case .parts(let asked) = request else { return answer }
            parts.deferredCount = asked.count
            parts.feeds = []
            parts.governance = []
            return .parts(parts)
        }
    }

    @Test("Entries of another feed than was asked for")
    func unasked() throws {
        let foreign = syncChain(syncDevice(999), count: 20)
        try check(.unasked) { _, answer in
            guard case .entries(let pages) = answer else { return answer }
            return .entries(pages.map { _ in Array(foreign.prefix(1)) })
        }
    }

    @Test("Entries beyond the range")
    func endlessRange() throws {
        try check(.unasked) { request, answer in
            guard case .entries(let pages) = answer, case .entries(let ranges, _, _) = request else { return answer }
            return .entries(
                zip(pages, ranges).map { page, range in
                    guard let last = page.last, !range.isNewestFirst else { return page }
                    return page + syncChain(range.device, count: 3, from: last.point)
                })
        }
    }

    @Test("Entries of one answer that don't follow each other")
    func unlinked() throws {
        try check(.unlinked) { _, answer in
            guard case .entries(let pages) = answer else { return answer }
            return .entries(
                pages.map { page in
                    page.map {
                        syncEntry(
                            $0.header.device, $0.header.sequence.value, after: EntryID(.init(words: (1, 2, 3, 4))))
                    }
                })
        }
    }

    @Test("No entries at all of what he said he had")
    func emptyPages() throws {
        try check(nil) { _, answer in
            guard case .entries(let pages) = answer else { return answer }
            return .entries(pages.map { _ in [] })
        }
    }

    @Test("Fewer pages than were asked for, and room left")
    func fewPages() throws {
        try check(.noProgress) { _, answer in
            if case .entries = answer { .entries([]) } else { answer }
        }
    }

    @Test("One entry a time, for ever: it is slow, and it ends")
    func drip() throws {
        var alone = world(
            { _, answer in
                guard case .entries(let pages) = answer else { return answer }
                return .entries(pages.map { Array($0.prefix(1)) })
            }, honest: false)
        try alone.run(for: .seconds(600))
        #expect(alone.contents(1) == alone.contents(0), "he gave all of it in the end")
        #expect(alone.answersTo[1, default: 0] < 100)
    }

    @Test("A governance listing that never ends")
    func endlessListing() throws {
        // He has very many, of his own making.
        let endless = syncChain(syncDevice(555), count: 3_000, governanceEvery: 1)
        var world = SyncWorld(2)
        world.nodes[0].write(syncChain(syncDevice(0), count: 200, governanceEvery: 1))
        world.lies[0] = { request, answer in
            guard case .governance(let after, _, _) = request, case .governance = answer else { return answer }
            let start = Int(after % 2_900)
            return .governance(Array(endless[start..<start + 50]), next: after + 50, isEnd: false)
        }
        world.connect(1, 0)
        try world.run(for: .seconds(60))
        #expect(world.violations(1).first == .noProgress)
        #expect(world.nodes[1].receivedCount < 2_000)
    }

    @Test("A governance listing that doesn't move")
    func standingListing() throws {
        var world = SyncWorld(2)
        world.nodes[0].write(syncChain(syncDevice(0), count: 200, governanceEvery: 1))
        world.lies[0] = { _, answer in
            guard case .governance(let entries, _, _) = answer else { return answer }
            return .governance(entries, next: 0, isEnd: false)
        }
        world.connect(1, 0)
        try world.run(for: .seconds(60))
        #expect(world.violations(1).first == .noProgress)
    }

    @Test("Bodies kept back that must be there")
    func bodies() throws {
        try check(.bodyMissing) { _, answer in
            guard case .entries(let pages) = answer else { return answer }
            return .entries(pages.map { $0.map(\.withoutBody) })
        }
    }

    @Test("Signatures that are false")
    func forged() throws {
        try check(.forged) { _, answer in
            guard case .entries(let pages) = answer else { return answer }
            return .entries(
                pages.map { page in
                    page.map { Entry(stored: $0.header, signature: falseSignature, content: $0.content) }
                })
        }
    }

    @Test("An answer of another kind")
    func wrongAnswer() throws {
        try check(.wrongAnswer) { request, answer in
            if case .hello = request { answer } else { .accepted }
        }
    }

    @Test("No answer at all: his claims are taken by others")
    func silence() throws {
        try check(nil) { _, answer in
            if case .entries = answer { nil } else { answer }
        }
        var world = world { _, answer in if case .entries = answer { nil } else { answer } }
        try world.run(for: .seconds(15))
        #expect(world.contents(1) == world.contents(2))
        #expect(world.nodes[1].core.stats.stalls >= 1)
    }

    @Test("What our own disk refuses holds nothing off: seldom asked for meanwhile, and soon here when there is room")
    func fullDisk() throws {
        var world = SyncWorld(2)
        world.nodes[0].write(syncChain(syncDevice(0), count: 40, governanceEvery: 4))
        world.nodes[1].isDiskFull = true
        world.connect(0, 1)
        try world.run(for: .seconds(600))
        let received = world.nodes[1].core.stats.entriesReceived
        #expect(received > 0 && received < 40 * 60)
        #expect(world.nodes[1].core.stats.holdOffs == 0 && world.nodes[1].core.stats.violations.isEmpty)
        world.nodes[1].isDiskFull = false
        try world.run(for: .seconds(31))
        #expect(world.contents(0) == world.contents(1))
        #expect(world.nodes[1].core.bytesUnderWay == 0 && world.nodes[1].core.claimCount == 0)
    }

    @Test("A liar that comes back at once is still left alone, longer each time")
    func reconnecting() throws {
        var world = SyncWorld(2)
        world.nodes[0].write(syncChain(syncDevice(0), count: 20))
        world.lies[0] = { _, answer in
            guard case .roots(var roots, let parts) = answer else { return answer }
            roots.feeds = .zero
            return .roots(roots, parts)
        }
        for _ in 0..<100 {
            world.connect(0, 1)
            try world.run(for: .seconds(10))
            world.disconnect(0, 1)
        }
        // 1,000 s: after 30, 60, 120, 240, 480 s and so on.
        #expect((3...7).contains(world.violations(1).count))
    }

    @Test("Who can't write a message is at fault")
    func malformed() {
        var core = SyncCore(seed: 1, own: syncPeer(0), community: syncCommunity)
        let hello = SyncHello(community: syncCommunity, device: syncDevice(0), signature: goodSignature, join: nil)
        core.handle(.peerReady(syncPeer(1), hello), at: .zero)
        core.handle(.requestMalformed(syncPeer(1)), at: .zero)
        #expect(core.stats.violations[.malformed] == 1)
        #expect(core.requestsUnderWay == 0)
    }

    @Test("Many requests at once: few reads, the others are refused as busy")
    func flood() {
        var core = SyncCore(seed: 1, own: syncPeer(0), community: syncCommunity)
        let device = syncDevice(0)
        let head = FeedPoint(sequence: EntrySequence(1_000), id: EntryID(.zero))
        core.handle(
            .feedsChanged([FeedRecord(device: device, low: .first, head: head, isFrozen: false)]), at: .zero)
        let hello = SyncHello(community: syncCommunity, device: device, signature: goodSignature, join: nil)
        core.handle(.asked(RequestID(1), by: syncPeer(1), .hello(hello)), at: .zero)
        core.handle(.judged(syncPeer(1), nil), at: .zero)
        let range = SyncRange(device: device, sequences: .first ... .max, isNewestFirst: false, countMax: 256)
        for number in 0..<1_000 {
            let request = SyncRequest.entries(
                Array(repeating: range, count: 64), bytesMax: 1 << 20, withBodies: true)
            core.handle(.asked(RequestID(UInt64(number) + 2), by: syncPeer(1), request), at: .zero)
        }
        var (loads, refused) = (0, 0)
        while let effect = core.nextEffect() {
            switch effect {
            case .load: loads += 1
            case .answer(_, .refused(.busy)): refused += 1
            default: continue
            }
        }
        #expect(loads == SyncLimits().servedPerPeerMax && refused == 1_000 - loads)
        core.handle(.peerGone(syncPeer(1)), at: .zero)
        #expect(core.readsUnderWay == 0)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

/// Governance by name that no tree told of, and peers that may ask for less than all.
@Suite("Sync of what governance refers to", .timeLimit(.minutes(1))) struct SyncMissingTests {
    /// Voided at its holder: no tree tells of it.
    private static func hide(_ entry: Entry, at node: Int, _ world: inout SyncWorld) {
        world.nodes[node].governance.append(entry)
        world.handle(node, .governanceChanged(added: [], removed: [entry.id]))
    }

    @Test("it is asked of one after the other, until somebody has it")
    func found() throws {
        var world = SyncWorld(4)
        let entry = syncEntry(syncDevice(1), 2, after: EntryID(Bytes32(words: (1, 1, 1, 1))), kind: 1)
        Self.hide(entry, at: 3, &world)
        for other in 1...3 { world.connect(0, other) }
        try world.run(for: .seconds(60))
        #expect(world.areEqual() && !world.nodes[0].held.contains(entry.id))
        let asked = world.requestCount
        world.handle(0, .missingChanged([entry.id]))
        try world.run()
        #expect(world.nodes[0].held.contains(entry.id))
        #expect(world.requestCount - asked <= 3)
        #expect((0...3).allSatisfy { world.violations($0).isEmpty })
    }

    @Test("who doesn't have it is asked again, later each time, and takes no harm")
    func lacked() throws {
        var world = SyncWorld(2)
        world.connect(0, 1)
        try world.run(for: .seconds(60))
        let entry = syncEntry(syncDevice(1), 2, after: EntryID(Bytes32(words: (1, 1, 1, 1))), kind: 1)
        world.handle(0, .missingChanged([entry.id]))
        final class Counter { var value = 0 }
        let asked = Counter()
        world.lies[1] = { request, answer in
            if case .named = request { asked.value += 1 }
            return answer
        }
        try world.run(for: .seconds(2_400))
        // At once, then after about 1, 3, 7, 15 and 31 minutes, each time with the reconciliation that follows.
        #expect((4...7).contains(asked.value))
        #expect(world.violations(0).isEmpty && world.violations(1).isEmpty)
        // When it comes to have it, the tree tells as ever, and nothing holds that back.
        world.handle(0, .missingChanged([entry.id]))
        world.nodes[1].write([entry])
        try world.run(for: .seconds(60))
        #expect(world.nodes[0].held.contains(entry.id))
    }

    @Test("an answer with another entry, or with one twice, is a violation")
    func liar() throws {
        let wanted = syncEntry(syncDevice(1), 2, after: EntryID(Bytes32(words: (1, 1, 1, 1))), kind: 1)
        let other = syncEntry(syncDevice(2), 2, after: EntryID(Bytes32(words: (1, 1, 1, 1))), kind: 1)
        for given in [[other], [wanted, wanted], [wanted, other]] {
            var world = SyncWorld(2)
            world.connect(0, 1)
            try world.run()
            world.lies[1] = { request, answer in
                if case .named = request { .named(given) } else { answer }
            }
            world.handle(0, .missingChanged([wanted.id]))
            try world.run()
            #expect(world.violations(0) == [.unasked])
            #expect(world.nodes[0].held.isEmpty && world.nodes[0].core.claimCount == 0)
        }
    }

    @Test("a name of something else than governance is nobody's fault and finds nothing")
    func otherKind() throws {
        var world = SyncWorld(2)
        let chat = syncChain(syncDevice(1), count: 1)
        world.nodes[1].write(chat)
        world.nodes[0].strangers = [syncDevice(1)]
        world.connect(0, 1)
        try world.run()
        world.handle(0, .missingChanged([chat[0].id]))
        try world.run(for: .seconds(10))
        #expect(world.violations(0).isEmpty && world.nodes[0].entryCount == 0)
    }

    @Test("a request that fails frees what it asked for")
    func failed() throws {
        var world = SyncWorld(3)
        let entry = syncEntry(syncDevice(1), 2, after: EntryID(Bytes32(words: (1, 1, 1, 1))), kind: 1)
        Self.hide(entry, at: 2, &world)
        world.connect(0, 1)
        try world.run()
        world.lies[1] = { request, answer in if case .named = request { nil } else { answer } }
        world.handle(0, .missingChanged([entry.id]))
        try world.run()
        world.connect(0, 2)
        try world.run(for: .seconds(20))
        #expect(world.nodes[0].held.contains(entry.id))
    }

    // MARK: Audiences

    private static func written(_ world: inout SyncWorld) {
        world.nodes[0].write(syncChain(syncDevice(1), count: 40, governanceEvery: 4))
        world.nodes[0].write(syncChain(syncDevice(2), count: 9))
    }

    @Test("who may have governance alone has that, is told of no feed, and does no wrong by asking", arguments: 0..<2)
    func restricted(asker: Int) throws {
        var world = SyncWorld(2)
        Self.written(&world)
        world.nodes[0].restricted = [world.nodes[1].peer]
        let own = syncChain(DeviceID(Bytes32(words: (9, 9, 9, 1))), count: 3)
        world.nodes[1].write(own)
        world.connect(asker, 1 - asker)
        try world.run(for: .seconds(120))
        #expect(world.nodes[1].held.count == 10)
        #expect(Set(world.contents(1).keys) == [own[0].header.device])
        #expect(world.nodes[1].core.feed(of: syncDevice(1)) == nil)
        // What it writes itself is fetched.
        #expect(world.contents(0)[own[0].header.device]?.count == 3)
        #expect(world.violations(0).isEmpty && world.violations(1).isEmpty)
        // Curious questions have empty answers.
        world.handle(1, .wanted(syncDevice(1), from: nil))
        try world.run(for: .seconds(1))
        #expect(world.contents(1)[syncDevice(1)] == nil)
    }

    @Test("who is admitted while it is connected has everything at once")
    func admitted() throws {
        var world = SyncWorld(2)
        Self.written(&world)
        world.nodes[0].restricted = [world.nodes[1].peer]
        world.connect(0, 1)
        try world.run(for: .seconds(50))
        world.nodes[0].restricted = []
        world.handle(0, .audienceChanged(world.nodes[1].peer, .all))
        try world.run(for: .milliseconds(100))
        #expect(world.areEqual() && world.contents(0) == world.contents(1))
    }

    @Test("who was refused is let in at once when it may, from either side", arguments: [true, false])
    func refused(isMutual: Bool) throws {
        var world = SyncWorld(2)
        Self.written(&world)
        world.nodes[0].refuses = [world.nodes[1].peer]
        if isMutual { world.nodes[1].refuses = [world.nodes[0].peer] }
        world.connect(0, 1)
        try world.run(for: .seconds(100))
        #expect(world.contents(1).isEmpty)
        world.nodes[0].refuses = []
        world.handle(0, .audienceChanged(world.nodes[1].peer, .all))
        try world.run(for: .milliseconds(100))
        guard isMutual else { return #expect(world.contents(0) == world.contents(1)) }
        world.nodes[1].refuses = []
        world.handle(1, .audienceChanged(world.nodes[0].peer, .all))
        try world.run(for: .milliseconds(100))
        #expect(world.contents(0) == world.contents(1))
    }

    @Test("who is excluded has nothing more, and comes back when it may")
    func excluded() throws {
        var world = SyncWorld(2)
        world.connect(0, 1)
        try world.run()
        world.handle(0, .peerExcluded(world.nodes[1].peer))
        world.nodes[0].refuses = [world.nodes[1].peer]
        Self.written(&world)
        world.handle(0, .syncRequested)
        world.handle(1, .syncRequested)
        try world.run(for: .seconds(200))
        #expect(world.contents(1).isEmpty)
        world.nodes[0].refuses = []
        world.handle(0, .audienceChanged(world.nodes[1].peer, .all))
        try world.run(for: .seconds(40))
        #expect(world.contents(0) == world.contents(1))
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiJournal

/// What a reconciliation costs, counted. Every message counts with its length before it.
struct SyncFigureTests {
    private static let feedCount = 2_000

    /// Two replicas of a million entries: of most feeds the head alone is there, and asked for by nobody.
    private func pair(differing: Int) -> SyncWorld {
        var world = SyncWorld(2)
        var records: [[FeedRecord]] = [[], []]
        for feed in 0..<Self.feedCount {
            let device = syncDevice(feed)
            let head = FeedPoint(sequence: EntrySequence(500), id: EntryID(syncDevice(feed + 100_000).bytes))
            var record = FeedRecord(device: device, low: .first, head: head, isFrozen: false)
            for node in 0..<2 {
                world.nodes[node].feeds[device] = SyncTestFeed(record: record)
                records[node].append(record)
            }
            guard feed < differing else { continue }
            let news = syncChain(device, count: 2, from: head)
            // Half of them are news here, half there.
            let node = feed % 2
            record.head = news[1].point
            records[node][feed] = record
            world.nodes[node].feeds[device]?.record = record
            for entry in news { world.nodes[node].feeds[device]?.entries[entry.header.sequence] = entry }
        }
        for node in 0..<2 { world.nodes[node].core.handle(.feedsChanged(records[node]), at: .zero) }
        return world
    }

    @Test("A million entries in 2,000 feeds that differ by 100 entries in 50 feeds: at most 100 KB and 8 round trips")
    func difference() throws {
        var world = pair(differing: 50)
        let clock = ContinuousClock()
        let start = clock.now
        world.connect(0, 1)
        try world.run()
        let time = clock.now - start
        #expect(world.areEqual())
        #expect(world.nodes[0].receivedCount + world.nodes[1].receivedCount == 100)
        let beside = world.bytes - world.entryBytes
        print(
            "reconcile 50 of 2,000 feeds: \(beside) bytes beside \(world.entryBytes) of entries,",
            "\(world.requestCount) requests of both sides, \(time) of CPU for both sides")
        #expect(beside <= 100_000)
        #expect(world.requestCount <= 8, "not even all requests of both sides together")
    }

    @Test("Identical replicas: at most 1 KB, the hellos included")
    func identical() throws {
        var world = pair(differing: 0)
        world.connect(0, 1)
        try world.run()
        print("identical replicas: \(world.bytes) bytes")
        #expect(world.bytes <= 1_000)
        #expect(world.nodes[0].core.stats.reconciliationsEqual + world.nodes[1].core.stats.reconciliationsEqual == 1)
    }

    @Test("A new replica of 2,000 feeds asks a few dozen times, not once for each feed")
    func newcomer() throws {
        var world = SyncWorld(2)
        for feed in 0..<Self.feedCount {
            world.nodes[0].write(syncChain(syncDevice(feed), count: 10, governanceEvery: feed % 4 == 0 ? 10 : 0))
        }
        world.connect(0, 1)
        try world.run()
        #expect(world.contents(0) == world.contents(1))
        let beside = world.bytes - world.entryBytes
        print("newcomer, 20,000 entries in 2,000 feeds: \(world.requestCount) requests, \(beside) bytes beside entries")
        #expect(world.requestCount < 150)
        #expect(beside < 600_000)
    }
}

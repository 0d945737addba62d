// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiJournal
import TuttiSimulator

@Suite("The lab's journal, on a disk that fails")
struct MemoryJournalTests {
    @Test("Nothing is read before it is on the disk")
    func waitsForTheDisk() throws {
        var author = Author(1)
        var model = DiskModel()
        model.syncLatency = .uniform(.milliseconds(5), .milliseconds(6))
        var journal = MemoryJournal(disk: model, seed: 1)
        let done = try journal.write(JournalBatch([author.write()]), at: .zero)
        #expect(done >= .zero + .milliseconds(5))
        #expect(count(&journal, at: done + .nanoseconds(-1)) == 0)
        #expect(count(&journal, at: done) == 1)
    }

    @Test(
        "A crash leaves all that was acknowledged and whole batches from the first on",
        arguments: 0..<40 as Range<UInt64>)
    func survivesCrashes(_ seed: UInt64) throws {
        var author = Author(1)
        var generator = SeededGenerator(seed: seed)
        var model = DiskModel()
        model.keepsOrder = seed % 2 == 0
        var journal = MemoryJournal(disk: model, seed: seed)
        var now = Instant.zero
        var kept = 0
        for round in 0..<20 {
            var lastDone = now
            var acknowledged = kept
            let start = author
            var written: [(count: Int, done: Instant)] = []
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                let size = Int.random(in: 1...5, using: &generator)
                let done = try journal.write(
                    JournalBatch(author.write(count: size, bytes: 3000), [author.record()]), at: now)
                written.append((size, done))
                lastDone = done
                now = now + .microseconds(Int64.random(in: 0...500, using: &generator))
            }
            let rest = max(1, (lastDone - now).saturatedNanoseconds)
            now = now + .nanoseconds(Int64.random(in: 0...rest, using: &generator))
            for batch in written where batch.done <= now { acknowledged += batch.count }
            journal.crash(seed: seed &* 100 &+ UInt64(round), at: now)
            let left = count(&journal, at: now)
            var whole = [kept]
            for batch in written { whole.append((whole.last ?? 0) + batch.count) }
            #expect(left >= acknowledged && whole.contains(left))
            guard case .opening(let opening) = journal.answer(.opening, at: now).answer else { return }
            #expect(opening.feeds.first.map { Int($0.head.sequence.value) } ?? 0 == left)
            // The author goes on from what is there.
            author = rewritten(to: left, written.map(\.count), from: start, kept)
            kept = left
        }
    }

    /// The author as it was after the batches that were left, with the same entries.
    private func rewritten(to left: Int, _ sizes: [Int], from start: Author, _ kept: Int) -> Author {
        var (author, held) = (start, kept)
        for size in sizes where held < left {
            _ = author.write(count: size, bytes: 3000)
            held += size
        }
        return author
    }

    @Test("A full disk refuses a batch as a whole, and takes the next when there is room")
    func refusesWhenFull() throws {
        var author = Author(1)
        var model = DiskModel()
        model.capacityBytes = 20_000
        var journal = MemoryJournal(disk: model, seed: 1)
        var (now, written) = (Instant.zero, 0)
        var refused: StoredEntry?
        while refused == nil {
            let entry = author.write(count: 1, bytes: 1000)[0]
            do {
                now = try journal.write(JournalBatch([entry]), at: now)
                written += 1
            } catch {
                #expect(error == .diskFull)
                refused = entry
            }
        }
        #expect(written > 3 && count(&journal, at: now) == written && journal.stats.refused == 1)
        journal.diskModel.capacityBytes = 1 << 20
        now = try journal.write(JournalBatch([try #require(refused)]), at: now)
        #expect(count(&journal, at: now) == written + 1)
    }

    @Test("A damaged disk says so, and nothing else")
    func namesDamage() throws {
        var author = Author(1)
        var journal = MemoryJournal(seed: 1)
        let now = try journal.write(JournalBatch([author.write()]), at: .zero)
        journal.isDamaged = true
        guard case .failed(.damaged) = journal.answer(.opening, at: now).answer else {
            Issue.record("a damaged disk answered")
            return
        }
        #expect(throws: JournalStorageError.damaged) { try journal.write(JournalBatch([author.write()]), at: now) }
    }

    @Test("A fork is refused while the other entry is still on its way")
    func refusesForksUnderWay() throws {
        var (one, copy) = (Author(1), Author(1))
        var journal = MemoryJournal(seed: 1)
        _ = try journal.write(JournalBatch([one.write("yes")]), at: .zero)
        #expect(throws: JournalStorageError.self) { try journal.write(JournalBatch([copy.write("no")]), at: .zero) }
    }

    private func count(_ journal: inout MemoryJournal, at now: Instant) -> Int {
        guard
            case .arrivals(let entries, _) = journal.answer(
                .arrivals(after: 0, countMax: .max, bytesMax: .max), at: now
            ).answer
        else { return -1 }
        return entries.count
    }
}

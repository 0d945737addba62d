// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity
package import TuttiJournal

/// A journal in memory, over a disk in virtual time: what the lab's nodes have in the place of SQLite.
///
/// Passes the same contract test as the real one. A batch is one record of a log on the ``VirtualDisk``, synced at once;
/// it takes effect when the sync has ended, and nothing reads it before. ``crash(seed:at:)`` leaves every batch that was
/// acknowledged and of those under way a part, from the first on: a record that is torn ends the log. The tables that
/// the log is folded into are safe, and count against the disk's capacity.
///
/// It does not: rank what it finds, search without regard to accents, flip bits.
///
/// - Our bug: time that goes back.
/// - Invariant: the tables are those of all batches applied, each whole.
package struct MemoryJournal: Sendable {
    package struct Stats: Hashable, Sendable {
        /// On the disk.
        package var batches: UInt64 = 0
        package var refused: UInt64 = 0
        /// Under way when a crash came: left by it, and taken by it.
        package var kept: UInt64 = 0
        package var lost: UInt64 = 0
    }

    private struct Pending: Sendable {
        let batch: JournalBatch
        let number: UInt64
        let offset: Int
        let wordsCount: Int
        let done: Instant
    }

    /// Once nothing waits, a log of this size is cut.
    private static let logBytesMax = 1 << 16

    package private(set) var stats = Stats()
    /// A disk that returns other bytes than were written: everything fails as `.damaged` while it is on.
    package var isDamaged = false
    private var disk: VirtualDisk
    private let log = VirtualDisk.FileID(0)
    private var lastNumber: UInt64 = 0
    private var pending: [Pending] = []
    private var tables = MemoryTables()

    package init(disk: DiskModel = DiskModel(), seed: UInt64) {
        self.disk = VirtualDisk(disk, seed: seed)
    }

    package var diskStats: VirtualDisk.Stats { disk.stats }
    /// To make the disk slow, or full, or well again.
    package var diskModel: DiskModel {
        get { disk.model }
        set { disk.model = newValue }
    }

    // MARK: As the cores ask

    /// - Returns: when the batch is on the disk, and `.persisted` is due.
    package mutating func write(_ batch: JournalBatch, at now: Instant) throws(JournalStorageError) -> Instant {
        advance(to: now)
        do throws(JournalStorageError) {
            guard !isDamaged else { throw .damaged }
            try tables.claim(batch)
            let record = try append(batch, now)
            pending.append(record)
            return record.done
        } catch {
            stats.refused += 1
            throw error
        }
    }

    /// - Returns: the answer, and when it is there. What it sees was on the disk at `now`.
    package mutating func answer(_ query: JournalQuery, at now: Instant) -> (answer: JournalAnswer, done: Instant) {
        advance(to: now)
        // Whatever is asked costs one read of this disk.
        let (_, done) = disk.read(log, at: 0, count: 0, now: now)
        return (isDamaged ? .failed(.damaged) : tables.answer(query), done)
    }

    /// The power fails, and comes back.
    package mutating func crash(seed: UInt64, at now: Instant) {
        advance(to: now)
        disk.crash(seed: seed, now: now)
        let left = pending.prefix { isWhole($0, now) }
        for record in left { tables.apply(record.batch) }
        stats.kept += UInt64(left.count)
        stats.lost += UInt64(pending.count - left.count)
        pending.removeAll()
        tables.dropClaims()
        cutLog(now)
    }

    // MARK: The log

    /// A record is its number, over and over, so that whatever part of it is missing shows.
    private mutating func append(_ batch: JournalBatch, _ now: Instant) throws(JournalStorageError) -> Pending {
        let wordsCount = batch.bytesCount / 8 + 1
        guard tables.bytesCount + disk.usedBytes + 8 * wordsCount <= disk.model.capacityBytes else {
            tables.release(batch)
            throw .diskFull
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(8 * wordsCount)
        for _ in 0..<wordsCount { withUnsafeBytes(of: (lastNumber + 1).bigEndian) { bytes.append(contentsOf: $0) } }
        do throws(DiskError) {
            let offset = try disk.append(bytes, to: log, now: now).offset
            lastNumber += 1
            return Pending(
                batch: batch, number: lastNumber, offset: offset, wordsCount: wordsCount, done: disk.sync(now: now))
        } catch {
            tables.release(batch)
            throw .diskFull
        }
    }

    private mutating func isWhole(_ record: Pending, _ now: Instant) -> Bool {
        let (bytes, _) = disk.read(log, at: record.offset, count: 8 * record.wordsCount, now: now)
        return bytes.count == 8 * record.wordsCount
            && bytes.indices.allSatisfy {
                bytes[$0] == UInt8(truncatingIfNeeded: record.number >> UInt64(56 - $0 % 8 * 8))
            }
    }

    private mutating func advance(to now: Instant) {
        guard let first = pending.first, first.done <= now else { return }
        let done = pending.prefix { $0.done <= now }
        for record in done { tables.apply(record.batch) }
        stats.batches += UInt64(done.count)
        pending.removeFirst(done.count)
        if pending.isEmpty, disk.size(of: log) > Self.logBytesMax { cutLog(now) }
    }

    private mutating func cutLog(_ now: Instant) {
        do throws(DiskError) {
            try disk.truncate(log, to: 0, now: now)
            _ = disk.sync(now: now)
        } catch {
            assertionFailure("a file can always be emptied")
        }
    }
}

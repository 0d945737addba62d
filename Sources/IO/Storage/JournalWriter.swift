// SPDX-License-Identifier: Apache-2.0
import GRDB
import Synchronization
package import TuttiJournal

/// The front of a ``SQLiteJournal`` for callers that must not block: EventLoops and tasks.
///
/// Batches that arrive while a transaction runs are committed together by the next one (group commit): one flush of the
/// disk for all of them. Each completion is called once, after its own batch is on the disk or has failed, in order, on
/// the writer's queue: it hops to where it belongs and does nothing else there. When a group fails, each of its batches
/// is tried alone, so that one bad batch takes no other with it.
package final class JournalWriter: Sendable {
    package typealias Written = @Sendable (Result<Void, JournalStorageError>) -> Void

    /// Of batches that wait. Over it: refused. The cores' own limits lie far below.
    package static let waitingBytesMax = 64 << 20
    /// Of one transaction.
    package static let groupCountMax = 1024
    package static let groupBytesMax = 8 << 20
    /// Queries under way. Over it: refused.
    package static let queriesMax = 256

    private struct Waiting: Sendable {
        let batch: JournalBatch
        let bytes: Int
        let completion: Written
    }

    private struct State: Sendable {
        var waiting: [Waiting] = []
        var waitingBytes = 0
        /// A turn of the writer's queue is under way or on its way, and will look here again.
        var isScheduled = false
    }

    package struct Stats: Hashable, Sendable {
        package var batches: UInt64 = 0
        package var transactions: UInt64 = 0
        package var failed: UInt64 = 0
        package var refused: UInt64 = 0
    }

    private let journal: SQLiteJournal
    private let state = Mutex(State())
    private let counts = Mutex(Stats())
    private let queries = Mutex(0)

    package init(_ journal: SQLiteJournal) {
        self.journal = journal
    }

    package var stats: Stats { counts.withLock { $0 } }

    // MARK: Writing

    package func write(_ batch: JournalBatch, completion: @escaping Written) {
        let job = Waiting(batch: batch, bytes: batch.bytesCount, completion: completion)
        let (isTaken, isFirst) = state.withLock { state -> (Bool, Bool) in
            guard state.waitingBytes + job.bytes <= Self.waitingBytesMax || state.waiting.isEmpty else {
                return (false, false)
            }
            state.waiting.append(job)
            state.waitingBytes += job.bytes
            defer { state.isScheduled = true }
            return (true, !state.isScheduled)
        }
        guard isTaken else {
            counts.withLock { $0.refused += 1 }
            return completion(.failure(.failed("too many writes wait for the disk")))
        }
        if isFirst { schedule() }
    }

    package func write(_ batch: JournalBatch) async throws(JournalStorageError) {
        let result = await withCheckedContinuation { continuation in
            write(batch) { continuation.resume(returning: $0) }
        }
        try result.get()
    }

    private func schedule() {
        journal.pool.asyncWriteWithoutTransaction { db in self.runTurn(db) }
    }

    /// One group, then room for others on the writer's queue.
    private func runTurn(_ db: Database) {
        let group = nextGroup()
        let results = Self.commit(group, db)
        let failed = results.reduce(0) { if case .failure = $1 { $0 + 1 } else { $0 } }
        counts.withLock { counts in
            counts.batches += UInt64(group.count)
            counts.transactions += 1
            counts.failed += UInt64(failed)
        }
        for (job, result) in zip(group, results) { job.completion(result) }
        let isDone = state.withLock { state in
            if state.waiting.isEmpty { state.isScheduled = false }
            return state.waiting.isEmpty
        }
        if !isDone { schedule() }
    }

    private func nextGroup() -> [Waiting] {
        state.withLock { state in
            var (count, bytes) = (0, 0)
            for job in state.waiting.prefix(Self.groupCountMax) {
                bytes += job.bytes
                if count > 0, bytes > Self.groupBytesMax { break }
                count += 1
            }
            if count == state.waiting.count {
                state.waitingBytes = 0
                let all = state.waiting
                state.waiting = []
                return all
            }
            let group = Array(state.waiting[..<count])
            state.waiting.removeFirst(count)
            state.waitingBytes -= group.reduce(0) { $0 + $1.bytes }
            return group
        }
    }

    private static func commit(_ group: [Waiting], _ db: Database) -> [Result<Void, JournalStorageError>] {
        do {
            try SQLiteJournal.commit(group.lazy.map(\.batch), db)
            return Array(repeating: .success(()), count: group.count)
        } catch {
            guard group.count > 1 else { return [.failure(JournalStorageError(error))] }
            return group.map { commit([$0], db)[0] }
        }
    }

    // MARK: Reading

    /// The completion is called once, on a reader's queue; what it sees was on the disk when it began.
    package func answer(_ query: JournalQuery, completion: @escaping @Sendable (JournalAnswer) -> Void) {
        let isTaken = queries.withLock { count in
            guard count < Self.queriesMax else { return false }
            count += 1
            return true
        }
        guard isTaken else {
            counts.withLock { $0.refused += 1 }
            return completion(.failed(.failed("too many reads wait for the disk")))
        }
        journal.pool.asyncRead { result in
            let answer: JournalAnswer
            do {
                answer = try JournalReads(db: result.get()).answer(query)
            } catch {
                answer = .failed(JournalStorageError(error))
            }
            self.queries.withLock { $0 -= 1 }
            completion(answer)
        }
    }

    package func answer(_ query: JournalQuery) async -> JournalAnswer {
        await withCheckedContinuation { continuation in
            answer(query) { continuation.resume(returning: $0) }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiStorage

/// Processes that are killed while they write, one after the other in one folder.
@Suite("Crashes", .serialized)
struct CrashTests {
    private static let countForTheRecord = 300

    @Test("A process killed at any moment leaves a file that opens, with all that it acknowledged, nothing twice")
    func survivesKills() async throws {
        let count = ProcessInfo.processInfo.environment["TUTTI_CRASHES"].flatMap { Int($0) } ?? 10
        if count < Self.countForTheRecord {
            print("!!! REDUCED: \(count) crashes; TUTTI_CRASHES=\(Self.countForTheRecord) makes all of them")
        }
        let folder = try TestFolder()
        let acknowledged = folder.file("acknowledged")
        var (last, lastArrival, lost): (UInt64, UInt64, Int) = (0, 0, 0)
        for number in 0..<count {
            let (path, seed) = (folder.journal, UInt64(number))
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [path = path as String, acknowledged = acknowledged as String, seed = seed as UInt64] in
                try await CrashWriter.run(path: path, acknowledged: acknowledged, seed: seed)
            }
            let journal = try SQLiteJournal(path: folder.journal)
            guard
                case .arrivals(let new, let arrival) = journal.answer(
                    .arrivals(after: lastArrival, countMax: .max, bytesMax: .max)),
                case .opening(let opening) = journal.answer(.opening)
            else {
                Issue.record("after \(number + 1) crashes the file is not readable")
                return
            }
            #expect(new.map(\.entry.header.sequence.value) == Array((last + 1)..<(last + 1 + UInt64(new.count))))
            (last, lastArrival) = (last + UInt64(new.count), arrival)
            #expect(opening.feeds.first.map(\.head.sequence.value) ?? 0 == last)
            #expect(opening.settings["last"] == (last == 0 ? nil : CrashWriter.bytes(last)))
            let promised = Self.promised(acknowledged)
            #expect(promised <= last)
            if promised < last { lost += 1 }
            try journal.close()
        }
        let journal = try SQLiteJournal(path: folder.journal)
        #expect(journal.check() == JournalCheck(entries: Int(last)))
        guard
            case .messages(let rows) = journal.answer(
                .messages(channel: .zero, before: .end, countMax: .max))
        else { return }
        #expect(rows.count == Int(last) && Set(rows.map(\.id)).count == rows.count)
        // The kills came while something was under way: something written was not yet acknowledged.
        #expect(last > 0 && (lost > 0 || count < 100))
        print("\(count) crashes: \(last) entries; \(lost) times more was on the disk than was acknowledged")
    }

    /// The highest sequence that any process was told to be on the disk.
    private static func promised(_ path: String) -> UInt64 {
        let bytes = (try? Data(contentsOf: URL(fileURLWithPath: path))) ?? Data()
        return stride(from: 0, to: bytes.count / 8 * 8, by: 8).map { start in
            bytes[start..<(start + 8)].reduce(0) { $0 << 8 | UInt64($1) }
        }.max() ?? 0
    }
}

/// What runs in the process that is killed.
enum CrashWriter {
    private static let underWayMax = 32

    static func bytes(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

    static func run(path: String, acknowledged: String, seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let acknowledgements = UInt64.random(in: 0...300, using: &generator)
        let delay = UInt64.random(in: 0...(seed % 5 == 0 ? 30_000_000 : 3_000_000), using: &generator)
        let done = Mutex<UInt64>(0)
        let isEarly = seed % 5 == 0
        // Spins, so that it strikes at any instruction of the others.
        Thread.detachNewThread {
            while !isEarly, done.withLock({ $0 }) < acknowledgements {}
            let end = DispatchTime.now().uptimeNanoseconds + delay
            while DispatchTime.now().uptimeNanoseconds < end {}
            kill(getpid(), SIGKILL)
        }
        let file = open(acknowledged, O_WRONLY | O_APPEND | O_CREAT, 0o600)
        precondition(file >= 0)
        let journal = try SQLiteJournal(path: path)
        let writer = JournalWriter(journal)
        var author = Author(1)
        if case .opening(let opening) = journal.answer(.opening), let feed = opening.feeds.first {
            author.resume(at: feed.head)
        }
        while true {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<underWayMax {
                    let entry = author.write(String(repeating: "x", count: 300))
                    let sequence = entry.entry.header.sequence.value
                    var batch = JournalBatch([entry], [author.record()], rows: [message(entry)])
                    batch.settings = ["last": bytes(sequence)]
                    let ready = batch
                    // Handed over in order, awaited together.
                    let (stream, continuation) = AsyncStream<Bool>.makeStream()
                    writer.write(ready) { result in
                        if case .success = result {
                            let bytes = bytes(sequence)
                            precondition(write(file, bytes, bytes.count) == bytes.count)
                            done.withLock { $0 += 1 }
                        }
                        continuation.finish()
                    }
                    group.addTask { for await _ in stream {} }
                }
                try await group.waitForAll()
            }
        }
    }
}

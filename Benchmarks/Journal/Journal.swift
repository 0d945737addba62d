// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiStorage

/// The journal's file under load. Each prints one line of JSON.
///
///     journal append FOLDER [--count 20000]     durable appends, group commit: 256 under way; then singles, one by one
///     journal fill FOLDER [--count 1000000] [--documents 100000]
///     journal open FOLDER                       of a filled folder: seconds to open, memory, searches
///     journal shelve FOLDER [--count 100000]    listings, as entries and as rows
///     journal shop FOLDER                       of a folder with listings: seconds to open, memory, searches
///
/// Signatures are random bytes: stores don't verify them, and making a million would measure something else.
@main
struct Journal {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count > 2 else {
            throw JournalError(description: "usage: journal append|fill|open|shelve|shop FOLDER")
        }
        try FileManager.default.createDirectory(atPath: arguments[2], withIntermediateDirectories: true)
        let path = arguments[2] + "/journal.sqlite"
        switch arguments[1] {
        case "append": try await Appends(path: path, count: option("--count") ?? 20_000).run()
        case "fill":
            try await Filling(
                path: path, count: option("--count") ?? 1_000_000, documents: option("--documents") ?? 100_000
            )
            .run()
        case "open": try await Opening(path: path).run()
        case "shelve": try await Shelving(path: path, count: option("--count") ?? 100_000).run()
        case "shop": try await Shopping(path: path).run()
        default: throw JournalError(description: "unknown: \(arguments[1])")
        }
    }

    private static func option(_ name: String) -> Int? {
        let arguments = CommandLine.arguments
        guard let at = arguments.firstIndex(of: name), at + 1 < arguments.count else { return nil }
        return Int(arguments[at + 1])
    }
}

struct JournalError: Error, CustomStringConvertible {
    let description: String
}

/// A feed of entries with bodies of 300 bytes.
struct SampleFeed {
    private let device: DeviceID
    private let community = CommunityID(Bytes32(words: (7, 7, 7, 7)))
    private var head = FeedPoint.start
    private var generator: SeededGenerator

    init(_ number: UInt64) {
        generator = SeededGenerator(seed: number)
        device = DeviceID(generator.nextBytes32())
    }

    var record: FeedRecord { FeedRecord(device: device, low: .first, head: head, isFrozen: false) }

    mutating func next() -> StoredEntry {
        let body = (0..<300).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        let content = Entry.Content(salt: generator.nextBytes32(), body: body)
        let time = HybridTime(milliseconds: 1_700_000_000_000 + head.sequence.value * 1000)
        let isGovernance = head.sequence.value % 50 == 0
        let header = EntryHeader(
            kind: EntryKind(isGovernance ? 0x10 : 0x200), isCritical: false,
            retention: isGovernance ? .permanent : .year,
            bodyBytesCount: 300, sequence: head.sequence.next, time: time, community: community, device: device,
            previous: head.id, governance: .none, bodyDigest: content.digest)
        let signature = (0..<64).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        let entry = Entry(stored: header, signature: signature, content: content)
        head = entry.point
        return StoredEntry(entry, firstSeen: time)
    }
}

extension SeededGenerator {
    mutating func nextBytes32() -> Bytes32 { Bytes32(words: (next(), next(), next(), next())) }
}

extension [Double] {
    func percentile(_ share: Double) -> Double { self[Swift.min(count - 1, Int(Double(count) * share))] }
}

func seconds(_ body: () async throws -> Void) async rethrows -> Double {
    let start = ContinuousClock.now
    try await body()
    return (ContinuousClock.now - start).secondsForDisplay
}

/// Durable appends as a node makes them: each entry one batch with its feed's record.
struct Appends {
    private static let underWayMax = 256
    private static let singlesCount = 2000

    let path: String
    let count: Int

    func run() async throws {
        let journal = try SQLiteJournal(path: path)
        let writer = JournalWriter(journal)
        var feed = SampleFeed(DispatchTime.now().uptimeNanoseconds)
        let batches = (0..<(count + Self.singlesCount)).map { _ in
            var batch = JournalBatch()
            batch.entries = [feed.next()]
            batch.feeds = [feed.record]
            return batch
        }
        let state = Mutex((next: 0, done: 0))
        let all = await seconds {
            await withCheckedContinuation { continuation in
                @Sendable func writeNext() {
                    let number = state.withLock { state in
                        state.next += 1
                        return state.next - 1
                    }
                    guard number < count else { return }
                    writer.write(batches[number]) { result in
                        if case .failure(let error) = result { preconditionFailure("\(error)") }
                        let done = state.withLock { state in
                            state.done += 1
                            return state.done
                        }
                        if done == count { continuation.resume() } else { writeNext() }
                    }
                }
                for _ in 0..<Self.underWayMax { writeNext() }
            }
        }
        let transactions = writer.stats.transactions
        var singles: [Double] = []
        for batch in batches[count...] {
            singles.append(try await seconds { try await writer.write(batch) } * 1000)
        }
        singles.sort()
        print(
            String(
                format:
                    "{\"appends_per_s\":%.0f,\"per_transaction\":%.1f,\"single_p50_ms\":%.3f,\"single_p99_ms\":%.3f,"
                    + "\"single_max_ms\":%.3f}",
                Double(count) / all, Double(count) / Double(transactions), singles.percentile(0.5),
                singles.percentile(0.99), singles.percentile(1)))
    }
}

/// A replica of many feeds, written in batches of 500, and documents whose words are as common as words are.
struct Filling {
    static let commonWord = "the"
    private static let wordsCount = 20_000

    let path: String
    let count: Int
    let documents: Int

    func run() async throws {
        let journal = try SQLiteJournal(path: path)
        var feeds = (0..<2000).map { SampleFeed(UInt64($0) + 1) }
        var documentsLeft = documents
        var generator = SeededGenerator(seed: 5)
        let took = try await seconds {
            for start in stride(from: 0, to: count, by: 500) {
                var batch = JournalBatch()
                for number in start..<min(count, start + 500) {
                    let index = number % feeds.count
                    batch.entries.append(feeds[index].next())
                    if documentsLeft > 0 {
                        documentsLeft -= 1
                        batch.rows.append(
                            .document(Self.document(of: batch.entries[batch.entries.count - 1], &generator)))
                    }
                }
                batch.feeds = feeds.map(\.record).filter { $0.head.sequence > .none }
                if start % 20_000 != 0, start + 500 < count { batch.feeds = [] }
                try journal.write(batch)
            }
        }
        try journal.close()
        let bytes = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
        print(
            String(
                format: "{\"entries\":%d,\"documents\":%d,\"fill_s\":%.1f,\"entries_per_s\":%.0f,\"file_MB\":%.0f}",
                count,
                documents, took, Double(count) / took, Double(bytes) / 1e6))
    }

    /// Six words of title and forty of text, the n-th word n times rarer than the first.
    static func document(of entry: StoredEntry, _ generator: inout SeededGenerator) -> DocumentRow {
        func words(_ count: Int) -> String {
            (0..<count).map { _ in word(&generator) }.joined(separator: " ")
        }
        return DocumentRow(
            id: entry.entry.id, kind: entry.entry.header.kind, author: MemberID(entry.entry.header.device.bytes),
            time: entry.displayTime, title: words(6), text: words(40) + " " + commonWord)
    }

    static func word(_ generator: inout SeededGenerator) -> String {
        let chance = Double(generator.next() >> 11) / Double(1 << 53)
        return "w\(Int(pow(Double(wordsCount), chance)))"
    }
}

/// A filled folder, as a node finds it that starts.
struct Opening {
    let path: String

    func run() async throws {
        var journal: SQLiteJournal?
        var governance = 0
        let open = try await seconds {
            let opened = try SQLiteJournal(path: path)
            guard case .opening(let opening) = opened.answer(.opening), !opening.feeds.isEmpty else {
                throw JournalError(description: "the folder is not filled")
            }
            journal = opened
        }
        guard let journal else { return }
        let allGovernance = await seconds {
            var after: UInt64 = 0
            while case .arrivals(let page, let last) = journal.answer(.governance(after: after, countMax: 1000)),
                !page.isEmpty
            {
                governance += page.count
                after = last
            }
        }
        var generator = SeededGenerator(seed: 77)
        var times: [Double] = []
        var worst = (ms: 0.0, text: "")
        for number in 0..<2000 {
            var words = (0..<(1 + number % 3)).map { _ in Filling.word(&generator) }
            if number % 10 == 0 { words.append(Filling.commonWord) }
            if number % 100 == 0 { words = [Filling.commonWord, "w1", "w2", "w3", "w4", "w5", "w6", "w7"] }
            let text = words.joined(separator: " ")
            let took = await seconds { _ = journal.answer(.search(text, countMax: 20)) } * 1000
            times.append(took)
            if took > worst.ms { worst = (took, text) }
        }
        times.sort()
        print(
            String(
                format: "{\"open_s\":%.3f,\"governance\":%d,\"governance_s\":%.2f,\"private_dirty_MiB\":%.1f,"
                    + "\"search_p50_ms\":%.2f,\"search_p95_ms\":%.2f,\"search_max_ms\":%.2f,\"worst\":\"%@\"}",
                open, governance, allGovernance, try Self.privateDirtyMiB(), times.percentile(0.5),
                times.percentile(0.95), worst.ms, worst.text))
    }

    static func privateDirtyMiB() throws -> Double {
        let text = try String(contentsOfFile: "/proc/self/smaps_rollup", encoding: .utf8)
        let line = text.split(separator: "\n").first { $0.hasPrefix("Private_Dirty:") } ?? ""
        return Double(line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) / 1024
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
import Synchronization
import Testing
import TuttiBase
import TuttiJournal
import TuttiStorage

@Suite("The journal's file")
struct SQLiteJournalTests {
    private let folder: TestFolder

    init() throws { folder = try TestFolder() }

    @Test("What was written is there when the file is opened again")
    func reopens() throws {
        var author = Author(1)
        let written = author.write(count: 20)
        let first = try SQLiteJournal(path: folder.journal)
        try first.write(JournalBatch(written, [author.record()], rows: written.map { message($0) }))
        try first.close()
        let journal = try SQLiteJournal(path: folder.journal)
        #expect(entries(journal) == written)
        guard case .opening(let opening) = journal.answer(.opening) else { return }
        #expect(opening.feeds == [author.record()])
        #expect(journal.check() == JournalCheck(entries: 20))
    }

    @Test("Only the owner may read the file and its log")
    func isPrivate() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        defer { try? journal.close() }
        for name in ["journal.sqlite", "journal.sqlite-wal"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: folder.file(name))
            #expect(attributes[.posixPermissions] as? Int == 0o600)
        }
    }

    @Test("A full disk fails the batch, not the journal: reads go on, and writes when there is room")
    func survivesFullDisk() throws {
        var configuration = JournalFileConfiguration()
        configuration.bytesMax = 400_000
        var author = Author(1)
        var (written, refused): ([StoredEntry], [StoredEntry]) = ([], [])
        do {
            let journal = try SQLiteJournal(path: folder.journal, configuration: configuration)
            while refused.isEmpty {
                let batch = author.write(count: 5, bytes: 3000)
                do throws(JournalStorageError) {
                    try journal.write(JournalBatch(batch))
                    written += batch
                } catch {
                    #expect(error == .diskFull)
                    refused = batch
                }
            }
            #expect(throws: JournalStorageError.diskFull) { try journal.write(JournalBatch(refused)) }
            #expect(entries(journal) == written && written.count > 20)
            #expect(journal.check().isWhole)
            try journal.close()
        }
        let journal = try SQLiteJournal(path: folder.journal)
        try journal.write(JournalBatch(refused))
        #expect(entries(journal) == written + refused)
    }

    @Test("After a refused batch the same connection takes the next")
    func reusesStatements() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        var (one, copy) = (Author(1), Author(1))
        try journal.write(JournalBatch([one.write()]))
        for _ in 0..<3 {
            var fork = copy
            #expect(throws: JournalStorageError.self) { try journal.write(JournalBatch([fork.write("fork")])) }
            try journal.write(JournalBatch([one.write()]))
        }
        copy = one
        #expect(entries(journal).count == 4)
    }

    @Test("Batches that come together are committed together, each is answered once and in order")
    func commitsGroups() async throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let writer = JournalWriter(journal)
        var author = Author(1)
        let written = author.write(count: 2000)
        let order = Mutex<[Int]>([])
        await withCheckedContinuation { continuation in
            for (number, entry) in written.enumerated() {
                writer.write(JournalBatch([entry])) { result in
                    guard case .success = result else { return }
                    let count = order.withLock {
                        $0.append(number)
                        return $0.count
                    }
                    if count == written.count { continuation.resume() }
                }
            }
        }
        #expect(order.withLock { $0 } == Array(0..<2000))
        let stats = writer.stats
        #expect(stats.batches == 2000 && stats.failed == 0)
        #expect(stats.transactions < 1000)
        #expect(entries(journal) == written)
    }

    @Test("A bad batch takes no other of its group with it")
    func isolatesFailures() async throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let writer = JournalWriter(journal)
        var (author, copy) = (Author(1), Author(1))
        try journal.write(JournalBatch([copy.write("first")]))
        let first = author.write("first")
        let rest = author.write(count: 200)
        var fork = Author(1)
        let bad = fork.write("other")
        let results = Mutex<[Bool]>([])
        await withCheckedContinuation { continuation in
            for (index, entry) in ([first] + rest).enumerated() {
                writer.write(JournalBatch(index % 10 == 5 ? [entry, bad] : [entry])) { result in
                    let count = results.withLock {
                        if case .success = result { $0.append(true) } else { $0.append(false) }
                        return $0.count
                    }
                    if count == 201 { continuation.resume() }
                }
            }
        }
        #expect(results.withLock { $0 } == (0..<201).map { $0 % 10 != 5 })
        #expect(entries(journal).count == 201 - 20)
        #expect(writer.stats.failed == 20)
    }

    @Test("More waiting writes than the limit are refused, at once and by name")
    func boundsWaitingWrites() async throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let writer = JournalWriter(journal)
        var batch = JournalBatch()
        batch.settings = ["large": [UInt8](repeating: 1, count: JournalWriter.waitingBytesMax / 8)]
        let tally = Mutex((done: 0, refused: 0))
        await withCheckedContinuation { continuation in
            for _ in 0..<30 {
                writer.write(batch) { result in
                    let count = tally.withLock {
                        if case .failure = result { $0.refused += 1 }
                        $0.done += 1
                        return $0.done
                    }
                    if count == 30 { continuation.resume() }
                }
            }
        }
        #expect(tally.withLock { $0.refused } == Int(writer.stats.refused))
        #expect(writer.stats.batches == 30 - writer.stats.refused && writer.stats.refused > 0)
    }

    @Test("Reads beside writes see whole batches")
    func readsWholeBatches() async throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let writer = JournalWriter(journal)
        let batches = {
            var author = Author(1)
            return (0..<100).map { _ in JournalBatch(author.write(count: 7), [author.record()]) }
        }()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for batch in batches { try await writer.write(batch) } }
            for _ in 0..<3 {
                group.addTask {
                    var last = 0
                    while last < 700 {
                        guard
                            case .arrivals(let read, _) = await writer.answer(
                                .arrivals(after: 0, countMax: .max, bytesMax: .max))
                        else { throw JournalStorageError.failed("no answer") }
                        #expect(read.count % 7 == 0 && read.count >= last)
                        last = read.count
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("A file of a newer version is refused, and stays as it is")
    func refusesNewerFiles() throws {
        do {
            let journal = try SQLiteJournal(path: folder.journal)
            try journal.close()
        }
        let file = try DatabaseQueue(path: folder.journal)
        try file.write { db in try db.execute(sql: "INSERT INTO grdb_migrations VALUES ('9 something')") }
        try file.close()
        #expect(throws: JournalStorageError.failed("a newer version wrote this file")) {
            try SQLiteJournal(path: folder.journal)
        }
        #expect(throws: JournalStorageError.self) { try JournalRepair.run(path: folder.journal) { _ in [] } }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).allSatisfy { !$0.contains("damaged") })
    }

    @Test("The commonest words rank the newest matches only, so that they cost no more than others")
    func boundsRanking() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        var author = Author(1)
        let entries = author.write(count: 2100)
        var batch = JournalBatch()
        // The best by its words is the oldest.
        batch.rows = entries.enumerated().map {
            .document(document($1, $0 == 0 ? "the" : "number \($0)", "with the rest"))
        }
        try journal.write(batch)
        guard case .documents(let found) = journal.answer(.search("the", countMax: 3)) else { return }
        #expect(found.count == 3 && found.allSatisfy { $0.title != "the" })
        guard case .documents(let rare) = journal.answer(.search("the number 17", countMax: 3)) else { return }
        #expect(rare.map(\.title) == ["number 17"])
    }

    @Test("Accents don't matter to a search")
    func foldsAccents() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        var author = Author(1)
        try journal.write(JournalBatch([], rows: [.document(document(author.write(), "Café Zürich", "Привет"))]))
        for text in ["cafe", "ZURICH", "привет"] {
            guard case .documents(let found) = journal.answer(.search(text, countMax: 3)) else { return }
            #expect(found.count == 1)
        }
    }

    @Test("Views are made anew from the entries, in the order of arrival")
    func rebuildsViews() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        var author = Author(1)
        let written = author.write(count: 250)
        let stray = document(written[0], "stray", "words")
        try journal.write(JournalBatch(written, rows: [.document(stray), message(written[7])]))
        var seen: [StoredEntry] = []
        try journal.rebuildViews(pageCount: 100) { page in
            seen += page
            return page.map { message($0) }
        }
        #expect(seen == written)
        guard
            case .messages(let rows) = journal.answer(
                .messages(channel: .zero, before: .end, countMax: 999)),
            case .documents(let found) = journal.answer(.search("stray", countMax: 9))
        else { return }
        #expect(rows.count == 250 && found.isEmpty)
        #expect(journal.check().isWhole)
    }

    private func entries(_ journal: SQLiteJournal) -> [StoredEntry] {
        guard case .arrivals(let read, _) = journal.answer(.arrivals(after: 0, countMax: .max, bytesMax: .max)) else {
            return []
        }
        return read
    }
}

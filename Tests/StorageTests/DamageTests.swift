// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiStorage

/// Files that are not what was written. Damage of views only (the text of a message) is out of scope: they are made anew.
@Suite("Damaged files")
struct DamageTests {
    private let folder: TestFolder

    init() throws { folder = try TestFolder() }

    /// A journal of batches, each a number of entries.
    private struct Sample {
        var entries: [StoredEntry] = []
        /// After how many entries each batch ends.
        var ends = [0]
    }

    private func fill(_ journal: SQLiteJournal, batches: Int) throws -> Sample {
        var authors = [Author(1), Author(2)]
        var sample = Sample()
        for number in 0..<batches {
            // Some bodies are so long that they need pages of their own.
            let written = authors[number % 2].write(count: 3, bytes: number % 5 == 0 ? 9000 : 300)
            var batch = JournalBatch(written, [authors[number % 2].record()])
            batch.settings = ["batch": [UInt8(truncatingIfNeeded: number)]]
            batch.rows = [.document(document(written[0], "title \(number)", "some words"))]
            let holder = authors[0].key.peerID
            batch.receipts = [ReceiptRecord(device: authors[1].device, holder: holder, head: .first)]
            try journal.write(batch)
            sample.entries += written
            sample.ends.append(sample.entries.count)
        }
        var (one, copy) = (Author(3), Author(3))
        var batch = JournalBatch()
        batch.proofs = [try #require(FaultProof(one.write("yes").entry, copy.write("no").entry))]
        try journal.write(batch)
        return sample
    }

    private func read(_ journal: SQLiteJournal) -> [StoredEntry]? {
        guard case .arrivals(let entries, _) = journal.answer(.arrivals(after: 0, countMax: .max, bytesMax: .max))
        else {
            return nil
        }
        return entries
    }

    private func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: folder.file(name))) }

    private func put(_ data: Data, _ name: String) throws {
        try data.write(to: URL(fileURLWithPath: folder.file(name)))
    }

    @Test("A log that ends anywhere leaves whole batches, from the first on")
    func cutsTheLog() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let sample = try fill(journal, batches: 12)
        let (file, log) = try (bytes("journal.sqlite"), bytes("journal.sqlite-wal"))
        #expect(log.count > 100_000)
        var generator = SeededGenerator(seed: 1)
        var counts: Set<Int> = []
        for round in 0..<60 {
            let end = round == 0 ? 0 : Int.random(in: 0...log.count, using: &generator)
            try put(file, "cut.sqlite")
            try put(log.prefix(end), "cut.sqlite-wal")
            let cut = try SQLiteJournal(path: folder.file("cut.sqlite"))
            let left = try #require(read(cut))
            #expect(sample.ends.contains(left.count) && left == Array(sample.entries.prefix(left.count)))
            #expect(cut.check().isWhole)
            counts.insert(left.count)
            try cut.close()
            try remove("cut.sqlite")
        }
        #expect(counts.count > 5)
    }

    @Test("A bit that turned in the log ends it there: whole batches, or an error with a name")
    func turnsBitsOfTheLog() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let sample = try fill(journal, batches: 12)
        let (file, log) = try (bytes("journal.sqlite"), bytes("journal.sqlite-wal"))
        var generator = SeededGenerator(seed: 2)
        for _ in 0..<60 {
            var turned = log
            turned[Int.random(in: 0..<log.count, using: &generator)] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            try put(file, "turned.sqlite")
            try put(turned, "turned.sqlite-wal")
            if let opened = try? SQLiteJournal(path: folder.file("turned.sqlite")) {
                let left = try #require(read(opened))
                #expect(sample.ends.contains(left.count) && left == Array(sample.entries.prefix(left.count)))
                #expect(opened.check().isWhole)
                try opened.close()
            }
            try remove("turned.sqlite")
        }
    }

    @Test(
        "A turned byte anywhere is found by the check or changes nothing; no read is wrong; repair saves the rest",
        arguments: 0..<8 as Range<UInt64>)
    func turnsBytesOfTheFile(_ seed: UInt64) throws {
        let original: SQLiteJournal = try SQLiteJournal(path: folder.journal)
        let sample = try fill(original, batches: 30)
        guard case .opening(let opening) = original.answer(.opening) else { return }
        try original.close()
        let file = try bytes("journal.sqlite")
        let known = Set(sample.entries)
        var generator = SeededGenerator(seed: seed)
        var found = 0
        for _ in 0..<40 {
            var turned = file
            // The beginnings of pages more often than chance has it: there stands what holds the file together.
            let page = Int.random(in: 0..<(file.count / 4096), using: &generator) * 4096
            let at = Int.random(in: 0..<(Bool.random(using: &generator) ? 40 : 4096), using: &generator)
            turned[page + at] ^= UInt8.random(in: 1...255, using: &generator)
            try put(turned, "turned.sqlite")
            let path = folder.file("turned.sqlite")
            var isWhole = false
            if let journal = try? SQLiteJournal(path: path) {
                isWhole = journal.check().isWhole
                let entries = read(journal)
                #expect(entries.map { known.isSuperset(of: $0) } ?? true)
                if isWhole {
                    let isSame = entries == sample.entries
                    #expect(isSame)
                    guard case .opening(let read) = journal.answer(.opening) else {
                        Issue.record("a whole file gives no opening")
                        continue
                    }
                    #expect(read.feeds == opening.feeds && read.proofs == opening.proofs)
                    #expect(read.receipts == opening.receipts && read.settings == opening.settings)
                }
                try journal.close()
            }
            if !isWhole {
                found += 1
                let report = try JournalRepair.run(path: path) { _ in [] }
                #expect(report.setAside == path + ".damaged-1")
                let journal = try SQLiteJournal(path: path)
                #expect(journal.check() == JournalCheck(entries: report.entries))
                let saved = try #require(read(journal))
                #expect(known.isSuperset(of: saved) && saved.count >= sample.entries.count - 13)
                try journal.close()
            }
            try remove("turned.sqlite")
        }
        #expect(found > 10)
    }

    @Test("Without its first page a file still gives up its entries")
    func losesTheFirstPage() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let sample = try fill(journal, batches: 30)
        try journal.close()
        try put(Data(count: 4096) + bytes("journal.sqlite").dropFirst(4096), "journal.sqlite")
        #expect(throws: JournalStorageError.damaged) { try SQLiteJournal(path: folder.journal) }
        let report = try JournalRepair.run(path: folder.journal) { page in page.map { message($0) } }
        #expect(report.entries == 90 && report.lost == ["proofs", "receipts", "settings", "slots"])
        #expect(report.endsLost == nil)
        let repaired = try SQLiteJournal(path: folder.journal)
        #expect(read(repaired) == sample.entries)
        guard case .opening(let opening) = repaired.answer(.opening),
            case .messages(let rows) = repaired.answer(
                .messages(channel: .zero, before: .end, countMax: 999))
        else { return }
        #expect(opening.feeds.map(\.head.sequence.value) == [45, 45] && rows.count == 90)
    }

    @Test("What stands only in the log is saved, too")
    func savesTheLog() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let sample = try fill(journal, batches: 10)
        let log = try bytes("journal.sqlite-wal")
        try journal.close()
        try remove("journal.sqlite")
        // The file itself is gone to the last byte.
        try put(Data(), "journal.sqlite")
        try put(log, "journal.sqlite-wal")
        #expect(throws: JournalStorageError.damaged) { try SQLiteJournal(path: folder.journal) }
        let report = try JournalRepair.run(path: folder.journal) { _ in [] }
        #expect(report.entries == sample.entries.count)
        #expect(try read(SQLiteJournal(path: folder.journal)) == sample.entries)
    }

    @Test("A file that lost its second half opens or says why, and repair saves the first")
    func losesItsEnd() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let sample = try fill(journal, batches: 100)
        try journal.close()
        let file = try bytes("journal.sqlite")
        try put(file.prefix(file.count / 2), "journal.sqlite")
        let report = try JournalRepair.run(path: folder.journal) { _ in [] }
        let all = sample.entries.count
        #expect(report.entries > all / 8 && report.entries < all * 3 / 4, "of \(all)")
        let saved = try #require(try read(SQLiteJournal(path: folder.journal)))
        #expect(Set(sample.entries).isSuperset(of: saved))
    }

    @Test("A file of anything else is damaged, has nothing to save, and is kept")
    func readsAnything() throws {
        var generator = SeededGenerator(seed: 3)
        let noise = Data((0..<100_000).map { _ in UInt8.random(in: 0...255, using: &generator) })
        try put(noise, "journal.sqlite")
        #expect(throws: JournalStorageError.damaged) { try SQLiteJournal(path: folder.journal) }
        #expect(try JournalRepair.run(path: folder.journal) { _ in [] }.entries == 0)
        #expect(try bytes("journal.sqlite.damaged-1") == noise)
    }

    @Test("Pages made by an adversary take bounded work and give nothing", arguments: 0..<200 as Range<UInt64>)
    func survivesHostilePages(_ seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var pages = Data()
        for _ in 0..<8 {
            var page = Data((0..<4096).map { _ in UInt8.random(in: 0...255, using: &generator) })
            page[0] = 0x0D
            page[3] = UInt8.random(in: 0...7, using: &generator)
            for _ in 0..<200 {
                let at = Int.random(in: 8..<4096, using: &generator)
                page[at] = [0, 0x80, 0xFF, 0x82, 11][Int.random(in: 0..<5, using: &generator)]
            }
            pages += page
        }
        try put(pages, "journal.sqlite")
        #expect(try JournalRepair.run(path: folder.journal) { _ in [] }.entries == 0)
    }

    @Test("A repair that was interrupted is begun again, and meanwhile nobody opens an empty journal")
    func resumesRepairs() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let sample = try fill(journal, batches: 10)
        let log = try bytes("journal.sqlite-wal")
        let file = try bytes("journal.sqlite")
        try journal.close()
        try remove("journal.sqlite")
        try put(file, "journal.sqlite.damaged-1")
        try put(log, "journal.sqlite-wal")
        try put(Data(count: 5000), "journal.sqlite.unfinished")
        #expect(throws: JournalStorageError.self) { try SQLiteJournal(path: folder.journal) }
        let report = try JournalRepair.run(path: folder.journal) { _ in [] }
        #expect(report.entries == 30 && report.lost.isEmpty)
        let repaired = try SQLiteJournal(path: folder.journal)
        #expect(read(repaired) == sample.entries)
        guard case .opening(let opening) = repaired.answer(.opening) else { return }
        #expect(opening.settings == ["batch": [9]] && opening.proofs.count == 1 && opening.receipts.count == 1)
    }

    @Test("A whole file isn't moved by a repair")
    func leavesWholeFiles() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        _ = try fill(journal, batches: 4)
        try journal.close()
        let report = try JournalRepair.run(path: folder.journal) { page in page.map { message($0) } }
        #expect(report.setAside == nil && report.entries == 12)
        #expect(throws: JournalStorageError.self) { try JournalRepair.run(path: folder.file("none")) { _ in [] } }
    }

    private func remove(_ name: String) throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        for other in names where other.hasPrefix(name) {
            try FileManager.default.removeItem(atPath: folder.file(other))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiStorage

@Suite("Exports, imports, backups")
struct ExportTests {
    /// Beside docs/protocols/journal.md; scripts/verify-export reads it, too. Made anew when TUTTI_EXPORT_VECTOR is set.
    private static let vector = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().appendingPathComponent("../../docs/protocols/journal/export.jsonl").standardized

    private let folder: TestFolder

    init() throws { folder = try TestFolder() }

    /// Feeds with and without bodies, one with a gap, one that forked and whose both entries are kept beside it, and one of two histories; the same at each call.
    private func fill(_ journal: SQLiteJournal) throws {
        var authors = (1...4).map { Author($0) }
        var batch = JournalBatch()
        for round in 0..<5 {
            for index in authors.indices {
                let kind = round == 0 ? Author.governance : Author.chat
                batch.entries.append(
                    authors[index].write("author \(index), round \(round): \u{1F980} \"quoted\"", kind: kind))
            }
        }
        batch.entries.append(authors[0].write(""))
        // The first author's second and third are not held, the second author's third has no body any more.
        let (gap, bare) = ([batch.entries[4].entry.id, batch.entries[8].entry.id], batch.entries[9].entry.id)
        batch.entries.removeAll { gap.contains($0.entry.id) }
        batch.bodiesDropped = [bare]
        var (one, copy) = (Author(5), Author(5))
        var forked = [one.write("yes", kind: Author.governance), copy.write("no", kind: Author.governance)]
        batch.proofs = [try #require(FaultProof(forked[0].entry, forked[1].entry))]
        for index in forked.indices { forked[index].isBeside = true }
        batch.entries += forked
        var (short, long) = (Author(6), Author(6))
        let first = short.write("first").entry
        _ = long.write("another first")
        batch.proofs.append(try #require(FaultProof(first, long.write("second").entry)))
        batch.feeds = authors.map { $0.record() }
        try journal.write(batch)
    }

    private func export(_ journal: SQLiteJournal) throws -> Data {
        var data = Data()
        _ = try journal.export(community: Author.community) { data += $0 }
        return data
    }

    private func put(_ data: Data, _ name: String = "export.jsonl") throws -> String {
        try data.write(to: URL(fileURLWithPath: folder.file(name)))
        return folder.file(name)
    }

    @Test("An export is the same to the byte as the one that stands with the protocol's page")
    func matchesTheVector() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        try fill(journal)
        let data = try export(journal)
        if ProcessInfo.processInfo.environment["TUTTI_EXPORT_VECTOR"] != nil { try data.write(to: Self.vector) }
        #expect(try data == Data(contentsOf: Self.vector))
        #expect(data.split(separator: 0x0A).count == 1 + 21 + 2 + 1)
    }

    @Test("What is imported is what was exported, and feeds are known again")
    func roundTrips() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        try fill(journal)
        let report = try journal.export(community: Author.community, toFile: folder.file("export.jsonl"))
        #expect(report.entries == 21 && report.proofs == 2)
        let other = try SQLiteJournal(path: folder.file("other.sqlite"))
        let (community, read) = try JournalImport.run(path: folder.file("export.jsonl"), into: other)
        #expect(community == Author.community && read == report)
        #expect(try export(other) == export(journal))
        guard case .opening(let opening) = other.answer(.opening), case .opening(let before) = journal.answer(.opening)
        else { return }
        #expect(opening.proofs == before.proofs && opening.feeds.map(\.head) == before.feeds.map(\.head))
        let first = opening.feeds.first { $0.device == Author(1).device }
        #expect(first?.low == EntrySequence(4) && first?.head.sequence == EntrySequence(6))
        #expect(other.check().isWhole)
        // Once more changes nothing.
        _ = try JournalImport.run(path: folder.file("export.jsonl"), into: other)
        #expect(try export(other) == export(journal))
    }

    @Test("An empty journal has an export of two lines")
    func exportsNothing() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let data = try export(journal)
        #expect(data.split(separator: 0x0A).count == 2)
        #expect(try JournalImport.run(path: put(data), into: journal).1 == JournalExportReport())
    }

    @Test("Every changed byte is refused, and nothing of such a file is taken", arguments: 0..<4 as Range<UInt64>)
    func refusesChanges(_ seed: UInt64) throws {
        let journal = try SQLiteJournal(path: folder.journal)
        try fill(journal)
        let data = try export(journal)
        let other = try SQLiteJournal(path: folder.file("other.sqlite"))
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            var changed = data
            let at = Int.random(in: 0..<data.count, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: changed.remove(at: at)
            case 1: changed.insert(UInt8.random(in: 0...255, using: &generator), at: at)
            default: changed[at] ^= UInt8.random(in: 1...255, using: &generator)
            }
            guard changed != data else { continue }
            let path = try put(changed)
            #expect(throws: JournalImportError.self) { try JournalImport.run(path: path, into: other) }
        }
        guard case .arrivals(let entries, _) = other.answer(.arrivals(after: 0, countMax: 9, bytesMax: .max)) else {
            return
        }
        #expect(entries.isEmpty)
    }

    @Test("A line taken out, put twice, moved, or cut off is refused by its number")
    func refusesLines() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        try fill(journal)
        let lines = try export(journal).split(separator: 0x0A).map { $0 + [0x0A] }
        let other = try SQLiteJournal(path: folder.file("other.sqlite"))
        func line(of lines: [Data]) -> Int? {
            do {
                _ = try JournalImport.run(path: put(lines.reduce(Data(), +)), into: other)
                return nil
            } catch let error as JournalImportError {
                return error.line
            } catch {
                return -1
            }
        }
        #expect(line(of: lines) == nil)
        #expect(line(of: lines.dropLast()) == lines.count)
        #expect(line(of: Array(lines.dropFirst())) == 1)
        #expect(line(of: lines + [lines[5]]) == lines.count)
        #expect(line(of: []) == 1)
        for index in 1..<(lines.count - 1) {
            var changed = lines
            changed.remove(at: index)
            #expect(line(of: changed) != nil)
            changed = lines
            changed.insert(lines[index], at: index)
            #expect(line(of: changed) == index + 2)
            changed = lines
            changed.swapAt(index, index + 1)
            #expect(line(of: changed) != nil)
        }
        #expect(line(of: [Data(repeating: 0x78, count: 200_000)]) == 1)
    }

    @Test("A backup made while writes go on is a whole journal of some moment, in one file")
    func backsUp() async throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let writer = JournalWriter(journal)
        let backup = folder.file("backup.sqlite")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var author = Author(1)
                for _ in 0..<300 {
                    let entries = author.write(count: 3)
                    try await writer.write(JournalBatch(entries, [author.record()]))
                }
            }
            group.addTask { try journal.backup(to: backup) }
            try await group.waitForAll()
        }
        #expect(!FileManager.default.fileExists(atPath: backup + "-wal"))
        let attributes = try FileManager.default.attributesOfItem(atPath: backup)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(throws: JournalStorageError.self) { try journal.backup(to: backup) }
        try JournalRestore.run(from: backup, to: folder.file("restored.sqlite"), forgetting: [])
        let restored = try SQLiteJournal(path: folder.file("restored.sqlite"))
        let check = restored.check()
        #expect(check.isWhole && check.entries % 3 == 0)
    }

    @Test("A restored journal has everything but the device that it came from")
    func restores() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        try fill(journal)
        var batch = JournalBatch()
        batch.settings = ["device": [1], "community": [2]]
        try journal.write(batch)
        let (backup, path) = (folder.file("backup.sqlite"), folder.file("restored.sqlite"))
        try journal.backup(to: backup)
        try JournalRestore.run(from: backup, to: path, forgetting: ["device"])
        let restored = try SQLiteJournal(path: path)
        #expect(try export(restored) == export(journal))
        guard case .opening(let opening) = restored.answer(.opening) else { return }
        #expect(opening.settings == ["community": [2]])
        #expect(throws: JournalStorageError.self) { try JournalRestore.run(from: backup, to: path, forgetting: []) }
        #expect(throws: JournalStorageError.self) {
            try JournalRestore.run(from: folder.file("none"), to: folder.file("new.sqlite"), forgetting: [])
        }
    }

    @Test("A damaged backup is refused, and leaves nothing behind")
    func refusesDamagedBackups() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        try fill(journal)
        let backup = folder.file("backup.sqlite")
        try journal.backup(to: backup)
        var data = try Data(contentsOf: URL(fileURLWithPath: backup))
        for page in 1..<8 { data[page * 4096 + 1] ^= 0xFF }
        _ = try put(data, "damaged.sqlite")
        _ = try put(Data("no database at all, by any means whatsoever".utf8), "other.sqlite")
        for name in ["damaged.sqlite", "other.sqlite"] {
            #expect(throws: JournalStorageError.damaged) {
                try JournalRestore.run(from: folder.file(name), to: folder.file("new.sqlite"), forgetting: [])
            }
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(names.allSatisfy { !$0.hasPrefix("new.sqlite") })
    }
}

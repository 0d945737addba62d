// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
package import TuttiJournal

/// What ``SQLiteJournal/check()`` found.
package struct JournalCheck: Hashable, Sendable {
    package var entries = 0
    /// At most ``problemsMax``; empty: the file is whole.
    package var problems: [String] = []

    package static let problemsMax = 100

    package init(entries: Int = 0, problems: [String] = []) {
        self.entries = entries
        self.problems = problems
    }

    package var isWhole: Bool { problems.isEmpty }

    mutating func note(_ problem: String) {
        if problems.count < Self.problemsMax { problems.append(problem) }
    }
}

extension SQLiteJournal {
    /// Reads everything: the file's structure, the indexes of words against their texts, each entry against its id, its
    /// digest and its mark, each feed against its record. Takes seconds for a million entries; signatures are not
    /// verified again.
    package func check() -> JournalCheck {
        var check = JournalCheck()
        do {
            try pool.read { db in
                for line in try String.fetchAll(db, sql: "PRAGMA integrity_check(\(JournalCheck.problemsMax))")
                where line != "ok" {
                    check.note(line)
                }
                try Self.checkEntries(db, &check)
                let reads = JournalReads(db: db)
                _ = try (reads.feeds(), reads.proofs(), reads.receipts(), reads.settings(), reads.checkSlots())
            }
            // The indexes check themselves in the form of an insert.
            try pool.writeWithoutTransaction { db in
                for index in ["search", "listing_search"] {
                    try db.execute(sql: "INSERT INTO \(index) (\(index), rank) VALUES ('integrity-check', 1)")
                }
            }
        } catch {
            check.note(JournalStorageError(error) == .damaged ? "a damaged page" : JournalStorageError(error).advice)
        }
        return check
    }

    private static func checkEntries(_ db: Database, _ check: inout JournalCheck) throws {
        var heads: [Int64: (low: Int64, head: Int64, id: Data)] = [:]
        for row in try Row.fetchAll(db, sql: "SELECT device, low, head, head_id FROM feeds") {
            heads[try row.integer(0)] = try (row.integer(1), row.integer(2), Data(row.bytes(3)))
        }
        let rows = try Row.fetchCursor(
            db,
            sql: """
                SELECT \(EntryRow.columns), device, kind, retention, due, bytes
                FROM entries LEFT JOIN names ON number = device ORDER BY device, sequence
                """)
        var held: [Int64: Int64] = [:]
        while let row = try rows.next() {
            check.entries += 1
            guard let found = try? EntryRow(row) else {
                check.note("entry \(check.entries) doesn't read back as it was written")
                continue
            }
            let (entry, header) = (found.stored.entry, found.stored.entry.header)
            let (device, sequence) = try (row.integer(6), row.integer(5))
            let due = row[9] as DatabaseValue
            let place = found.stored.isBeside ? -found.arrival : Int64(clamping: header.sequence.value)
            if try sequence != place
                || row.integer(7) != Int64(header.kind.rawValue) || row.integer(8) != Int64(header.retention.rawValue)
                || due != (EntryRow.due(entry, found.stored.firstSeen)?.databaseValue ?? .null)
                || row.bytes(10) != header.device.bytes.bytes
            {
                check.note("entry \(found.arrival) stands at a wrong place")
            }
            guard let feed = heads[device], sequence >= feed.low, sequence <= feed.head else { continue }
            held[device, default: 0] += 1
            if sequence == feed.head, feed.id != entry.id.bytes.data {
                check.note("the head of feed \(device) is another entry than its record says")
            }
        }
        for (device, feed) in heads.sorted(by: { $0.key < $1.key })
        where feed.head > 0 && held[device, default: 0] != feed.head - feed.low + 1 {
            check.note("feed \(device) has gaps")
        }
    }
}

/// What a repair did.
package struct JournalRepairReport: Hashable, Sendable {
    package var entries = 0
    /// Where the damaged file is now. Nil: the file was whole, and only the views were made anew.
    package var setAside: String?
    /// Of the facts beside the entries, those that could not be read any more.
    package var lost: [String] = []
    /// Feeds whose last entry is gone: what we wrote there under its number, others may hold. Nil: not known which.
    package var endsLost: [DeviceID]? = []
}

/// `tutti repair`: while nobody else has the file open.
///
/// A whole file gets its views anew. From a damaged one every entry that still checks is taken, page by page without
/// SQLite (``PageSalvage``), into a new file; the damaged one is kept beside as `journal.sqlite.damaged-1` and so on. The
/// new file takes the old name at the very end: interrupted at any moment, the repair is begun again and comes to the
/// same end, and meanwhile the journal refuses to open as an empty one.
package enum JournalRepair {
    /// - Parameter names: settings that say something of views, and go with them.
    package static func run(
        path: String, forgetting names: [String] = [], fold: ([StoredEntry]) throws -> [JournalRow]
    ) throws(JournalStorageError) -> JournalRepairReport {
        try named {
            let files = FileManager.default
            var report = JournalRepairReport()
            if files.fileExists(atPath: path) {
                if let whole = try rebuilt(path, names, fold) { return whole }
                let number = (lastSetAside(path) ?? 0) + 1
                try files.moveItem(atPath: path, toPath: asidePath(path, number))
            }
            guard let number = lastSetAside(path) else {
                throw JournalStorageError.failed("there is no journal at this place")
            }
            let aside = asidePath(path, number)
            for suffix in ["-wal", "-shm"] where files.fileExists(atPath: path + suffix) {
                try files.moveItem(atPath: path + suffix, toPath: aside + suffix)
            }
            report.setAside = aside
            let unfinished = path + ".unfinished"
            try removeFile(unfinished)
            try salvage(from: aside, to: unfinished, names, fold, &report)
            try FileSync.rename(unfinished, to: path)
            return report
        }
    }

    static func asidePath(_ path: String, _ number: Int) -> String { "\(path).damaged-\(number)" }

    static func lastSetAside(_ path: String) -> Int? {
        let folder = (path as NSString).deletingLastPathComponent
        let prefix = (path as NSString).lastPathComponent + ".damaged-"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.isEmpty ? "." : folder)) ?? []
        return names.compactMap { $0.hasPrefix(prefix) ? Int($0.dropFirst(prefix.count)) : nil }.max()
    }

    /// With what SQLite puts beside it.
    static func removeFile(_ path: String) throws {
        for name in [path, path + "-wal", path + "-shm", path + "-journal"]
        where FileManager.default.fileExists(atPath: name) {
            try FileManager.default.removeItem(atPath: name)
        }
    }

    /// Nil when the file is damaged.
    private static func rebuilt(
        _ path: String, _ names: [String], _ fold: ([StoredEntry]) throws -> [JournalRow]
    ) throws -> JournalRepairReport? {
        let journal: SQLiteJournal
        do {
            journal = try SQLiteJournal(path: path)
        } catch .damaged {
            return nil
        }
        defer { try? journal.close() }
        let check = journal.check()
        guard check.isWhole else { return nil }
        try journal.rebuildViews(forgetting: names, fold: fold)
        return JournalRepairReport(entries: check.entries)
    }

    private static func salvage(
        from aside: String, to path: String, _ names: [String], _ fold: ([StoredEntry]) throws -> [JournalRow],
        _ report: inout JournalRepairReport
    ) throws {
        let journal = try SQLiteJournal(path: path)
        var heads: [DeviceID: EntryID]?
        let facts = facts(of: aside, &heads, &report)
        report.entries = try journal.pool.writeWithoutTransaction { db in
            var count = 0
            try db.inTransaction(.immediate) {
                let transaction = JournalTransaction(db: db)
                try PageSalvage(path: aside).forEachEntry { entry, arrival in
                    let isFree =
                        try Row.fetchOne(
                            db.cachedStatement(sql: "SELECT 1 FROM entries WHERE arrival = ?"), arguments: [arrival])
                        == nil
                    try transaction.insert(entry, arrival: isFree ? arrival : nil, givesWay: true)
                }
                try transaction.apply(facts)
                try transaction.deriveFeeds()
                let held = Set(try JournalReads(db: db).feeds().map(\.head.id))
                report.endsLost = heads.map { $0.filter { !held.contains($0.value) }.keys.sorted() }
                count = try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM entries") ?? 0
                return .commit
            }
            return count
        }
        try journal.rebuildViews(forgetting: names, fold: fold)
        try journal.close()
    }

    /// Proofs, receipts and settings as far as SQLite still finds them. Proofs and receipts come again from other nodes.
    private static func facts(
        of aside: String, _ heads: inout [DeviceID: EntryID]?, _ report: inout JournalRepairReport
    ) -> JournalBatch {
        var batch = JournalBatch()
        var configuration = Configuration()
        configuration.readonly = true
        // Beside an empty file SQLite would throw the log away.
        let isEmpty = (try? SQLiteJournal.size(of: aside)) ?? 0 == 0
        let queue = isEmpty ? nil : try? DatabaseQueue(path: aside, configuration: configuration)
        func take<Value>(_ name: String, _ read: (JournalReads) throws -> Value) -> Value? {
            let value = try? queue?.read { db in try read(JournalReads(db: db)) }
            if value == nil { report.lost.append(name) }
            return value
        }
        batch.proofs = take("proofs") { try $0.proofs() } ?? []
        batch.receipts = take("receipts") { try $0.receipts() } ?? []
        batch.settings = take("settings") { try $0.settings() } ?? [:]
        // A vote may have been on the damaged page: this node's witness begins anew, under another key.
        batch.settings[SlotShelf.stampName] = nil
        batch.slots =
            take("slots") { try $0.slots(on: .register, prefix: [], after: nil, countMax: .max, bytesMax: .max) } ?? []
        // What feeds there are follows from their entries; how far they went doesn't.
        heads = try? queue?.read { db in
            Dictionary(try JournalReads(db: db).feeds().map { ($0.device, $0.head.id) }) { first, _ in first }
        }
        try? queue?.close()
        return batch
    }
}

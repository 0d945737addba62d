// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
package import TuttiJournal

package struct JournalFileConfiguration: Sendable {
    /// Pages that the writer keeps; the system's cache holds the rest.
    package var writerCacheKiB = 16_384
    /// Of each reader.
    package var readerCacheKiB = 4096
    package var readersMax = 4
    /// The file's size. Nil: the disk's. At it: `.diskFull`, and reads go on.
    package var bytesMax: Int?

    package init() {}
}

/// A journal in one SQLite file: write-ahead log, one writer, readers beside it.
///
/// What ``write(_:)`` has returned from is on the disk (`synchronous = FULL`: the log is flushed at each commit). All
/// calls block: they are for threads that may. ``JournalWriter`` is the front for everybody else.
///
/// A failed write leaves nothing of its batch, and the journal goes on. A page that doesn't read back as it was written
/// is `.damaged`: never a wrong answer, never a trap. Views (messages, documents) are covered only by ``check()``'s look
/// at the file's structure; they are made again from the entries.
package final class SQLiteJournal: Sendable {
    package let path: String
    let pool: DatabasePool

    /// Opens or makes the file.
    package init(
        path: String, configuration: JournalFileConfiguration = JournalFileConfiguration()
    ) throws(JournalStorageError) {
        self.path = path
        let isOld = FileManager.default.fileExists(atPath: path)
        pool = try named {
            do {
                return try Self.open(path, configuration)
            } catch let error as DatabaseError where isOld && Self.isForeign(error, path) {
                throw JournalStorageError.damaged
            }
        }
    }

    /// The file's tables or its head aren't those that we made.
    private static func isForeign(_ error: DatabaseError, _ path: String) -> Bool {
        switch error.resultCode {
        case .SQLITE_ERROR: true
        case .SQLITE_READONLY: FileManager.default.isWritableFile(atPath: path)
        default: false
        }
    }

    private static func open(_ path: String, _ settings: JournalFileConfiguration) throws -> DatabasePool {
        let isNew = !FileManager.default.fileExists(atPath: path)
        if isNew, JournalRepair.lastSetAside(path) != nil {
            throw JournalStorageError.failed("a repair was interrupted: run `tutti repair` again")
        }
        // SQLite would take an empty file for a new one and throw its log away.
        if !isNew, try size(of: path) == 0, try size(of: path + "-wal") > 0 { throw JournalStorageError.damaged }
        var configuration = Configuration()
        configuration.maximumReaderCount = max(1, settings.readersMax)
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { db in
            let cache = db.configuration.readonly ? settings.readerCacheKiB : settings.writerCacheKiB
            try db.execute(sql: "PRAGMA cache_size = -\(cache)")
            guard !db.configuration.readonly else { return }
            // What was dropped isn't left in the file's free places, where that costs no further write.
            try db.execute(sql: "PRAGMA secure_delete = FAST")
            if let bytesMax = settings.bytesMax {
                try db.execute(sql: "PRAGMA max_page_count = \(max(1, bytesMax / JournalSchema.pageBytes))")
            }
        }
        let attributes: [FileAttributeKey: Any] = [.posixPermissions: 0o600]
        if isNew, !FileManager.default.createFile(atPath: path, contents: nil, attributes: attributes) {
            throw JournalStorageError.failed("can't make a file at this place")
        }
        let isFilled = try size(of: path) > JournalSchema.pageBytes
        let pool = try DatabasePool(path: path, configuration: configuration)
        try pool.writeWithoutTransaction { db in
            // After the pool's own choice, which is NORMAL: that flushes only at checkpoints.
            try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = \(logBytesMax)")
            guard try Int.fetchOne(db, sql: "PRAGMA synchronous") == 2 else {
                throw JournalStorageError.failed("SQLite does not flush commits")
            }
        }
        let (isNewer, isComplete, isBegun) = try pool.read { db in
            let migrator = JournalSchema.migrator
            return try (
                migrator.hasBeenSuperseded(db), migrator.hasCompletedMigrations(db),
                !migrator.completedMigrations(db).isEmpty
            )
        }
        guard !isNewer else {
            throw isComplete ? JournalStorageError.failed("a newer version wrote this file") : .damaged
        }
        // Only a file in its first moments, with all that it has in its log, is without tables.
        guard isBegun || !isFilled else { throw JournalStorageError.damaged }
        try JournalSchema.migrator.migrate(pool)
        return pool
    }

    static func size(of path: String) throws -> UInt64 {
        guard FileManager.default.fileExists(atPath: path) else { return 0 }
        return try FileManager.default.attributesOfItem(atPath: path)[.size] as? UInt64 ?? 0
    }

    /// What stays of the log after a burst.
    private static let logBytesMax = 64 << 20

    /// Leaves one file without a log, when nothing else has it open.
    package func close() throws(JournalStorageError) {
        try named {
            // What closes last are readers, who can't bring the log into the file.
            _ = try? pool.writeWithoutTransaction { db in try db.checkpoint(.truncate) }
            try pool.close()
        }
    }

    // MARK: One at a time

    package func write(_ batch: JournalBatch) throws(JournalStorageError) {
        try named { try pool.writeWithoutTransaction { db in try Self.commit([batch], db) } }
    }

    package func answer(_ query: JournalQuery) -> JournalAnswer {
        do {
            return try pool.read { db in try JournalReads(db: db).answer(query) }
        } catch {
            return .failed(JournalStorageError(error))
        }
    }

    /// All or nothing.
    static func commit(_ batches: some Sequence<JournalBatch>, _ db: Database) throws {
        try db.inTransaction(.immediate) {
            let transaction = JournalTransaction(db: db)
            for batch in batches { try transaction.apply(batch) }
            return .commit
        }
    }

    // MARK: Views

    /// Makes the views anew: every entry in the order of arrival goes through `fold`, a page at a time.
    package func rebuildViews(
        pageCount: Int = 1000, forgetting names: [String] = [], fold: ([StoredEntry]) throws -> [JournalRow]
    ) throws(JournalStorageError) {
        try named {
            try pool.writeWithoutTransaction { db in
                try db.inTransaction(.immediate) {
                    let transaction = JournalTransaction(db: db)
                    try transaction.clearViews()
                    for name in names { try transaction.forget(name) }
                    var after: UInt64 = 0
                    while case .arrivals(let page, let last) = try JournalReads(db: db).answer(
                        .arrivals(after: after, countMax: max(1, pageCount), bytesMax: .max)), !page.isEmpty
                    {
                        for row in try fold(page) { try transaction.put(row) }
                        after = last
                    }
                    return .commit
                }
            }
        }
    }

    /// What is held of each feed, from the entries alone: after entries came in another way than by a core.
    package func deriveFeeds() throws(JournalStorageError) {
        try named {
            try pool.writeWithoutTransaction { db in
                try db.inTransaction(.immediate) {
                    try JournalTransaction(db: db).deriveFeeds()
                    return .commit
                }
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
package import TuttiJournal

extension SQLiteJournal {
    /// Copies the journal, as it is at this moment, into one new file, while reads and writes go on. The file is there
    /// only when it is whole. It holds no keys: they are never in the journal. Nor what a witness signed, which counts in
    /// this folder alone.
    package func backup(to destination: String) throws(JournalStorageError) {
        try named {
            try JournalCopy.run(to: destination) { target in
                try pool.backup(to: target)
                try target.write { db in try JournalTransaction(db: db).leaveOutWitness() }
            }
        }
    }
}

/// `tutti restore`.
package enum JournalRestore {
    /// Makes a journal of a backup, at a place where there is none.
    ///
    /// - Parameter forgetting: settings that belong to the folder that the backup was taken from and to no other: a
    ///   restored folder starts a new device.
    package static func run(
        from backup: String, to path: String, forgetting names: [String]
    ) throws(JournalStorageError) {
        try named {
            guard FileManager.default.fileExists(atPath: backup) else {
                throw JournalStorageError.failed("there is no backup at this place")
            }
            guard JournalRepair.lastSetAside(path) == nil || FileManager.default.fileExists(atPath: path) else {
                throw JournalStorageError.failed("a repair was interrupted: run `tutti repair` again")
            }
            var configuration = Configuration()
            configuration.readonly = true
            let source = try DatabaseQueue(path: backup, configuration: configuration)
            try JournalCopy.run(to: path) { target in
                try source.backup(to: target)
                try target.write { db in
                    guard try String.fetchAll(db, sql: "PRAGMA integrity_check(1)") == ["ok"],
                        try JournalSchema.migrator.hasCompletedMigrations(db) || db.tableExists("entries")
                    else { throw JournalStorageError.damaged }
                    if try db.tableExists("slots") { try JournalTransaction(db: db).leaveOutWitness() }
                    for name in names { try db.execute(sql: "DELETE FROM settings WHERE name = ?", arguments: [name]) }
                }
            }
            try source.close()
        }
    }
}

/// A copy that appears under its name when it is whole and on the disk.
enum JournalCopy {
    static func run(to destination: String, _ fill: (DatabaseQueue) throws -> Void) throws {
        guard !FileManager.default.fileExists(atPath: destination) else {
            throw JournalStorageError.failed("there is a file at this place already")
        }
        let unfinished = destination + ".unfinished"
        try JournalRepair.removeFile(unfinished)
        guard FileManager.default.createFile(atPath: unfinished, contents: nil, attributes: [.posixPermissions: 0o600])
        else { throw JournalStorageError.failed("can't make a file at this place") }
        do {
            let target = try DatabaseQueue(path: unfinished)
            try fill(target)
            // One file that is complete without a log beside it, and that can be read where nothing can be written.
            try target.writeWithoutTransaction { db in try db.execute(sql: "PRAGMA journal_mode = DELETE") }
            try target.close()
            try FileSync.rename(unfinished, to: destination)
        } catch {
            try? JournalRepair.removeFile(unfinished)
            throw error
        }
    }
}

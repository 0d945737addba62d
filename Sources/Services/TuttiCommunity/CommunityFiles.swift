// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket
import TuttiNodeCore
import TuttiStorage

/// What is done with a data folder while no node runs in it.
public enum CommunityFiles {
    /// The journal of a backup, in a folder that has none. The folder starts a new device: `tutti device recover`.
    public static func restore(_ backup: String, to path: String) throws {
        let folder = DataFolder(path: path)
        try folder.create()
        try FolderLock.hold(folder: path) {
            do throws(JournalStorageError) {
                try JournalRestore.run(from: backup, to: folder.journalPath, forgetting: JournalCore.deviceSettings)
            } catch {
                throw CommunityError(storage: error)
            }
        }
    }

    /// A device whose last entries may be gone would write others under their numbers, which forks its feed.
    private static func note(_ endsLost: [DeviceID]?, in folder: DataFolder) throws -> [String] {
        let journal = try SQLiteJournal(path: folder.journalPath)
        defer { try? journal.close() }
        var settings = try FolderSettings(journal)
        settings.endsLost = endsLost.flatMap { new in settings.endsLost.map { Array(Set($0 + new)).sorted() } }
        try journal.write(settings.batch)
        return ["lost: the ends of \(endsLost.map { "\($0.count)" } ?? "perhaps all") feeds; other nodes have them"]
            + ["if this device's own is among them it writes no more: run `tutti device recover`"]
    }

    /// - Returns: what was found and done, in lines.
    public static func repair(_ path: String) throws -> [String] {
        try FolderLock.hold(folder: path) {
            var folding = JournalRefold()
            let folder = DataFolder(path: path)
            do {
                let report = try JournalRepair.run(
                    path: folder.journalPath, forgetting: MailboxCore.viewSettings + MarketCore.viewSettings
                ) { folding.rows($0) }
                var lines = ["\(report.entries) entries"]
                if let aside = report.setAside { lines.append("the damaged journal is kept at \(aside)") }
                lines += report.lost.map { "lost: \($0)" }
                if report.endsLost?.isEmpty != true { lines += try note(report.endsLost, in: folder) }
                return lines
            } catch let error as JournalStorageError {
                throw CommunityError(storage: error)
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
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

    /// - Returns: what was found and done, in lines.
    public static func repair(_ path: String) throws -> [String] {
        try FolderLock.hold(folder: path) {
            var folding = JournalRefold()
            do throws(JournalStorageError) {
                let report = try JournalRepair.run(
                    path: DataFolder(path: path).journalPath, forgetting: MailboxCore.viewSettings
                ) { folding.rows($0) }
                var lines = ["\(report.entries) entries"]
                if let aside = report.setAside { lines.append("the damaged journal is kept at \(aside)") }
                lines += report.lost.map { "lost: \($0)" }
                return lines
            } catch {
                throw CommunityError(storage: error)
            }
        }
    }
}

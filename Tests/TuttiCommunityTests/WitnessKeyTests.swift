// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import Tutti
import TuttiCommunity
import TuttiIdentity
import TuttiJournal
import TuttiStorage

/// A witness's key may sign only beside everything that it has signed: whatever is done with its folder.
@Suite("A witness's key")
struct WitnessKeyTests {
    private let root: Folder

    init() throws { root = try Folder() }

    private func place(_ name: String) throws -> String {
        let path = root.path + "/" + name
        try FileManager.default.createDirectory(atPath: path + "/keys", withIntermediateDirectories: true)
        return path
    }

    /// Opens the folder as a node does, signs one vote more, and stops.
    /// - Returns: the key, and how many votes are on its shelf now.
    @discardableResult
    private func begin(
        _ folder: String, passphrase: String? = nil
    ) async throws -> (key: PublicKey, isNew: Bool, votes: Int) {
        let journal = try SQLiteJournal(path: folder + "/journal.sqlite")
        defer { try? journal.close() }
        let writer = JournalWriter(journal)
        let (key, isNew) = try await WitnessKey(folder: folder, passphrase: passphrase).begin(writer)
        var batch = JournalBatch()
        let number = votes(journal)
        batch.slots = [SlotRecord(SlotKey(.witness, [UInt8(number)]), key.publicKey.raw)]
        try await writer.write(batch)
        return (key.publicKey, isNew, votes(journal))
    }

    private func votes(_ journal: SQLiteJournal) -> Int {
        if case .slots(let slots) = journal.answer(.slotPage(.witness, countMax: 99, bytesMax: .max)) {
            slots.count
        } else {
            -1
        }
    }

    private func copy(_ from: String, _ to: String) throws {
        try? FileManager.default.removeItem(atPath: to)
        try FileManager.default.copyItem(atPath: from, toPath: to)
    }

    /// Writes the files of a folder over those of another, as copying programs do, and leaves what else is there.
    private func copyInPlace(_ from: String, _ to: String) throws {
        for name in try FileManager.default.subpathsOfDirectory(atPath: from) {
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: from + "/" + name, isDirectory: &isFolder), !isFolder.boolValue
            else { continue }
            let data = try Data(contentsOf: URL(fileURLWithPath: from + "/" + name))
            if let file = FileHandle(forWritingAtPath: to + "/" + name) {
                try file.truncate(atOffset: 0)
                try file.write(contentsOf: data)
                try file.close()
            } else {
                try data.write(to: URL(fileURLWithPath: to + "/" + name))
                try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: to + "/" + name)
            }
        }
    }

    @Test("It stays through restarts with all that it signed, readable by its owner only")
    func stays() async throws {
        let folder = try place("data")
        let first = try await begin(folder)
        #expect(first.isNew)
        for round in 2...5 {
            let next = try await begin(folder)
            #expect(next.key == first.key && !next.isNew && next.votes == round)
        }
        let mode = try FileManager.default.attributesOfItem(atPath: folder + "/keys/witness.key")[.posixPermissions]
        #expect(mode as? Int == 0o600)
    }

    @Test("A start that ends at any moment before the journal knows of it costs nothing")
    func survivesHalfStarts() async throws {
        let folder = try place("data")
        let first = try await begin(folder)
        for content in [Data(), Data(repeating: 1, count: 16)] {
            // What a start leaves that is killed between its new stamp and the journal.
            let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/keys")
            let other = names.contains("witness.stamp-1") ? "witness.stamp-2" : "witness.stamp-1"
            try content.write(to: URL(fileURLWithPath: folder + "/keys/" + other))
            #expect(try await begin(folder).key == first.key)
        }
    }

    @Test("A copied folder gets another key and nothing that was signed; the original goes on")
    func copies() async throws {
        let (folder, other) = (try place("data"), root.path + "/copy")
        let first = try await begin(folder)
        try copy(folder, other)
        let copied = try await begin(other)
        #expect(copied.isNew && copied.key != first.key && copied.votes == 1)
        #expect(try await begin(other).key == copied.key)
        let again = try await begin(folder)
        #expect(again.key == first.key && again.votes == 2)
    }

    @Test("An older journal under newer files is noticed: the key is destroyed")
    func olderJournal() async throws {
        let folder = try place("data")
        let first = try await begin(folder)
        let saved = root.path + "/saved.sqlite"
        try copy(folder + "/journal.sqlite", saved)
        try await begin(folder)
        try copy(saved, folder + "/journal.sqlite")
        let after = try await begin(folder)
        #expect(after.isNew && after.key != first.key && after.votes == 1)
    }

    @Test("A journal that is gone takes the key with it")
    func noJournal() async throws {
        let folder = try place("data")
        let first = try await begin(folder)
        try FileManager.default.removeItem(atPath: folder + "/journal.sqlite")
        #expect(try await begin(folder).key != first.key)
    }

    @Test("A whole older folder put back is noticed, in new files or in place", arguments: [false, true], 1...3)
    func olderFolder(_ isInPlace: Bool, _ starts: Int) async throws {
        let (folder, saved) = (try place("data"), root.path + "/saved")
        let first = try await begin(folder)
        try copy(folder, saved)
        for _ in 0..<starts { try await begin(folder) }
        if isInPlace { try copyInPlace(saved, folder) } else { try copy(saved, folder) }
        let after = try await begin(folder)
        #expect(after.isNew && after.key != first.key && after.votes == 1)
    }

    @Test("A backup that is restored over the lost journal doesn't bring the old key back")
    func restoredBackup() async throws {
        let folder = try place("data")
        let first = try await begin(folder)
        let journal = try SQLiteJournal(path: folder + "/journal.sqlite")
        let backup = root.path + "/backup"
        try journal.backup(to: backup)
        try journal.close()
        try FileManager.default.removeItem(atPath: folder + "/journal.sqlite")
        try CommunityFiles.restore(backup, to: folder)
        let after = try await begin(folder)
        #expect(after.isNew && after.key != first.key && after.votes == 1)
    }

    @Test("Another key in its place is destroyed, too: what is on the shelf isn't its own")
    func exchangedKey() async throws {
        let (folder, other) = (try place("data"), try place("other"))
        let (first, foreign) = (try await begin(folder), try await begin(other))
        try copy(other + "/keys/witness.key", folder + "/keys/witness.key")
        let after = try await begin(folder)
        #expect(after.isNew && after.key != first.key && after.key != foreign.key && after.votes == 1)
    }

    @Test("A wrong passphrase opens nothing and costs nothing")
    func wrongPassphrase() async throws {
        let folder = try place("data")
        let first = try await begin(folder, passphrase: "right")
        for wrong in ["wrong", nil] {
            await #expect(throws: NodeError.self) { try await begin(folder, passphrase: wrong) }
        }
        let after = try await begin(folder, passphrase: "right")
        #expect(after.key == first.key && after.votes == 2)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
package import TuttiIdentity
import TuttiJournal
package import TuttiStorage

/// The key with which this folder's witness signs. It may only ever sign beside all that it has signed before: where that
/// isn't certain the key is destroyed, and the witness begins under another.
package struct WitnessKey: Sendable {
    /// Slots whose records are dropped in one transaction.
    private static let dropCountMax = 1_024

    private let folder: DataFolder
    private let passphrase: String?
    private var stampBase: String { folder.path + "/keys/witness.stamp" }

    package init(folder: String, passphrase: String?) {
        self.folder = DataFolder(path: folder)
        self.passphrase = passphrase
    }

    /// Once per start of the folder, before anything is signed.
    /// - Returns: the key, and whether it is new: then its card must be published.
    package func begin(_ writer: JournalWriter) async throws -> (key: KeyPair, isNew: Bool) {
        guard case .opening(let opening) = await writer.answer(.opening) else {
            throw CommunityError(.damaged, "the journal in \(folder.path) can't be read: run `tutti repair`")
        }
        let held = opening.settings[SlotShelf.stampName] ?? []
        let file = KeyFile(path: folder.witnessKeyPath)
        // A wrong passphrase must not cost the key.
        var key = try file.load(passphrase: passphrase)
        if key.map({ !isGenuine(held, $0) }) ?? true {
            key = nil
            try removeKey()
            try await dropRecords(writer)
        }
        let isNew = key == nil
        let signing = try key ?? file.loadOrCreate(passphrase: passphrase)
        let stamp = try FolderStamp.make(after: held, base: stampBase)
        var batch = JournalBatch()
        batch.settings[SlotShelf.stampName] = stamp.bytes + signing.publicKey.raw
        do { try await writer.write(batch) } catch { throw CommunityError(storage: error) }
        FolderStamp.retire(stamp, base: stampBase)
        return (signing, isNew)
    }

    private func isGenuine(_ held: [UInt8], _ key: KeyPair) -> Bool {
        held.suffix(Bytes32.count) == key.publicKey.raw[...]
            && FolderStamp.isGenuine(held.dropLast(Bytes32.count), base: stampBase)
    }

    private func removeKey() throws {
        guard unlink(folder.witnessKeyPath) == 0 || errno == ENOENT else {
            throw CommunityError(
                .folder, "\(folder.witnessKeyPath) can't be removed, \(String(cString: strerror(errno)))")
        }
    }

    /// What another key has signed.
    private func dropRecords(_ writer: JournalWriter) async throws {
        while true {
            let answer = await writer.answer(
                .slotPage(.witness, countMax: Self.dropCountMax, bytesMax: 16 << 20))
            guard case .slots(let page) = answer else {
                throw CommunityError(.damaged, "the journal in \(folder.path) can't be read: run `tutti repair`")
            }
            guard !page.isEmpty else { return }
            var batch = JournalBatch()
            batch.slotsDropped = page.map(\.key)
            do { try await writer.write(batch) } catch { throw CommunityError(storage: error) }
        }
    }
}

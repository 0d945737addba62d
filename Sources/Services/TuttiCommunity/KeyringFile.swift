// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiCommunityCore

/// Where a device's mailbox keys lie, encrypted: one whole keyring or the one before it, whenever the machine stops.
struct KeyringFile: Sendable {
    let path: String

    /// Nil: there is none yet.
    func load() throws -> [UInt8]? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        guard let file = FileHandle(forReadingAtPath: path) else {
            throw CommunityError(.folder, "\(path) can't be read: check its owner and mode")
        }
        defer { try? file.close() }
        return Array(try file.read(upToCount: MailboxKeys.keyringBytesMax + 1) ?? Data())
    }

    /// On the disk when this returns.
    func save(_ keyring: [UInt8]) throws {
        let unfinished = path + ".unfinished"
        let file = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw failure }
        do {
            defer { close(file) }
            guard fchmod(file, 0o600) == 0 else { throw failure }
            var written = 0
            while written < keyring.count {
                let count = keyring[written...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw failure }
                written += count
            }
            guard fsync(file) == 0 else { throw failure }
        }
        guard rename(unfinished, path) == 0 else { throw failure }
        let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failure }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw failure }
    }

    private var failure: CommunityError {
        CommunityError(.folder, "\(path) can't be written, \(String(cString: strerror(errno)))")
    }
}

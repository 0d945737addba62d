// SPDX-License-Identifier: Apache-2.0
import Glibc
import TuttiBase
import TuttiIdentity

/// A node's key on disk, readable by its owner only.
///
/// The file holds the 68 bytes of libp2p's private key message, or the 126 of a `SealedKey`. It is written beside, synced
/// and linked into place, so that a crash leaves either no file or a whole one and a file that is there is never
/// overwritten, damaged or not.
package struct KeyFile: Sendable {
    private static let bytesMax = 4096

    private let path: String
    private let cost: SealedKey.Cost

    package init(path: String, cost: SealedKey.Cost = .standard) {
        self.path = path
        self.cost = cost
    }

    /// The key in the file; a new one, written there, when there is no file.
    package func loadOrCreate(passphrase: String?) throws(NodeError) -> KeyPair {
        if let key = try load(passphrase: passphrase) { return key }
        let key = KeyPair()
        let bytes = try encoded(key, passphrase: passphrase)
        if try create(bytes) { return key }
        // Somebody else was faster.
        guard let key = try load(passphrase: passphrase) else {
            throw failure("\(path) appears and disappears: let one program at a time use the folder")
        }
        return key
    }

    /// Nil when there is no file.
    package func load(passphrase: String?) throws(NodeError) -> KeyPair? {
        guard let bytes = try read() else { return nil }
        if let plain = try? KeyPair(plainBytes: bytes) {
            guard passphrase == nil else {
                throw failure("the key in \(path) is not sealed: start without a passphrase")
            }
            return plain
        }
        let sealed: SealedKey
        do {
            sealed = try SealedKey(bytes: bytes)
        } catch {
            throw failure(
                "\(path) is not a whole key (\(error)): restore it from a backup, or move it away for a new identity",
                cause: error)
        }
        guard let passphrase else {
            throw failure("the key in \(path) is sealed: give its passphrase")
        }
        do {
            return try sealed.open(passphrase: passphrase)
        } catch {
            throw failure(
                "the passphrase does not open \(path): check it; if it is right the file is damaged and a backup is needed",
                cause: error)
        }
    }

    private func encoded(_ key: KeyPair, passphrase: String?) throws(NodeError) -> [UInt8] {
        guard let passphrase else { return key.plainBytes }
        var source = KeySource.system
        guard let sealed = SealedKey(sealing: key, passphrase: passphrase, cost: cost, from: &source) else {
            throw failure("the passphrase must have 1 to \(SealedKey.passphraseBytesMax) bytes")
        }
        return sealed.bytes
    }

    // MARK: Files

    private func read() throws(NodeError) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw systemFailure("reading \(path)", "check its owner and mode")
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw systemFailure("reading \(path)", "check the disk") }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= Self.bytesMax else {
            throw failure("\(path) is not a key file: name another path")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw failure("\(path) is open to other users: make it private with chmod 600, or use a new key")
        }
        var bytes = [UInt8](repeating: 0, count: Self.bytesMax)
        var filled = 0
        while filled < bytes.count {
            let count = bytes[filled...].withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw systemFailure("reading \(path)", "check the disk") }
            guard count > 0 else { break }
            filled += count
        }
        return Array(bytes[..<filled])
    }

    /// False when a file of that name is there already.
    private func create(_ bytes: [UInt8]) throws(NodeError) -> Bool {
        let advice = "check that the folder exists, is yours and has room"
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        let temporary = "\(folder)/.\(name).\(UInt64.random(in: .min ... .max))"

        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw systemFailure("writing \(path)", advice) }
        defer { unlink(temporary) }
        do {
            defer { close(file) }
            // Whatever the umask took away or a default list of the folder added.
            guard fchmod(file, 0o600) == 0 else { throw systemFailure("writing \(path)", advice) }
            var written = 0
            while written < bytes.count {
                let count = bytes[written...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw systemFailure("writing \(path)", advice) }
                written += count
            }
            guard fsync(file) == 0 else { throw systemFailure("writing \(path)", advice) }
        }
        // Unlike rename, link fails when the name is taken.
        guard link(temporary, path) == 0 else {
            if errno == EEXIST { return false }
            throw systemFailure("writing \(path)", advice)
        }
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw systemFailure("writing \(path)", advice) }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw systemFailure("writing \(path)", advice) }
        return true
    }

    private func failure(_ message: String, cause: (any Error)? = nil) -> NodeError {
        NodeError(code: .keyFile, stage: .start, message: message, cause: cause)
    }

    private func systemFailure(_ what: String, _ advice: String) -> NodeError {
        let text = String(cString: strerror(errno))
        return failure("\(what) failed, \(text): \(advice)")
    }
}

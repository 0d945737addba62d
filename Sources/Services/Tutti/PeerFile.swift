// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOCore
import TuttiBase
import TuttiPeers

/// The file in which a node keeps what it knows of its peers between runs: 0600, replaced as a whole or not at all.
///
/// Its calls block: they belong on a thread pool.
struct PeerFile: Sendable {
    enum Loaded: Sendable {
        case missing
        case snapshot(PeerStoreSnapshot)
        /// It was moved aside, under this name; the reason is for people.
        case damaged(keptAt: String, reason: String)
        /// It can't be read now, and stays as it is.
        case unreadable(String)
    }

    let path: String

    func load() -> Loaded {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { return errno == ENOENT ? .missing : .unreadable(String(cString: strerror(errno))) }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return .unreadable("it is not a file")
        }
        guard status.st_size <= PeerStoreSnapshot.bytesMax else { return setAside("it is too large") }
        var buffer = ByteBufferAllocator().buffer(capacity: Int(status.st_size))
        while buffer.readableBytes <= PeerStoreSnapshot.bytesMax {
            let count = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 65_536) { raw in
                max(0, read(file, raw.baseAddress, raw.count))
            }
            guard count > 0 else { break }
        }
        do throws(DecodeError) {
            return .snapshot(try PeerStoreSnapshot(buffer))
        } catch {
            return setAside(error.description)
        }
    }

    private func setAside(_ reason: String) -> Loaded {
        let kept = path + ".damaged"
        guard rename(path, kept) == 0 else { return .unreadable("\(reason), and it can't be moved aside") }
        return .damaged(keptAt: kept, reason: reason)
    }

    /// - Returns: nil, or why it couldn't be written. The old file is then still there.
    func save(_ bytes: ByteBuffer) -> String? {
        let temporary = path + ".new"
        unlink(temporary)
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { return String(cString: strerror(errno)) }
        var rest = bytes
        var isWritten = fchmod(file, 0o600) == 0
        while isWritten, rest.readableBytes > 0 {
            let count = rest.withUnsafeReadableBytes { write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count > 0 { rest.moveReaderIndex(forwardBy: count) } else { isWritten = false }
        }
        isWritten = isWritten && fsync(file) == 0
        close(file)
        guard isWritten, rename(temporary, path) == 0 else {
            let reason = String(cString: strerror(errno))
            unlink(temporary)
            return reason
        }
        // The name is on the disk when its folder is.
        let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { return nil }
        fsync(folder)
        close(folder)
        return nil
    }
}

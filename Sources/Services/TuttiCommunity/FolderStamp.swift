// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiBase

/// Tells whether a data folder's journal is the last one that was written here. A copy of the folder, one that was put
/// back over it, and an older journal beside newer files all fail.
///
/// A file that is made anew, under the other of two names, each time that the folder is opened; the journal names the last
/// one by what no copy of it shares: its inode with that inode's generation, and the random bytes in it. Nothing here
/// notices that a whole disk was set back, as a virtual machine's snapshot does.
struct FolderStamp: Equatable, Sendable {
    private static let nonceBytesCount = 16
    /// FS_IOC_GETVERSION: a number that a file system gives an inode each time that it is used for a new file.
    private static let generationRequest: UInt = 0x8008_7601

    /// 1 or 2.
    private let number: UInt8
    private let inode: UInt64
    /// Where the file system knows none, the time of the inode's last change: then `chown` makes a new stamp, too.
    private let generation: UInt64
    private let nonce: [UInt8]

    /// The one that is on the disk; nil: there is none, or it can't be read.
    private init?(number: UInt8, base: String) {
        let file = open(Self.path(number, base), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var (status, generation) = (stat(), UInt64(0))
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        if ioctl(file, Self.generationRequest, &generation) != 0 {
            let changed = status.st_ctim
            generation = UInt64(bitPattern: Int64(changed.tv_sec)) << 30 ^ UInt64(bitPattern: Int64(changed.tv_nsec))
        }
        var nonce = [UInt8](repeating: 0, count: Self.nonceBytesCount + 1)
        guard read(file, &nonce, nonce.count) == Self.nonceBytesCount else { return nil }
        (self.number, inode, self.generation) = (number, UInt64(status.st_ino), generation)
        self.nonce = nonce.dropLast()
    }

    /// As the journal holds it.
    var bytes: [UInt8] { [number] + inode.bigEndianBytes + generation.bigEndianBytes + nonce }

    /// Whether what the journal holds is what is on the disk.
    static func isGenuine(_ held: [UInt8], base: String) -> Bool {
        guard let number = held.first, (1...2).contains(number) else { return false }
        return FolderStamp(number: number, base: base)?.bytes == held
    }

    /// Makes another one. ``retire(_:base:)`` follows when the journal holds it.
    static func make(after held: [UInt8], base: String) throws -> FolderStamp {
        let number: UInt8 = held.first == 1 ? 2 : 1
        let path = path(number, base)
        unlink(path)
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw failure(path) }
        do {
            defer { close(file) }
            var source = KeySource.system
            let nonce = Array(source.nextBytes32().bytes.prefix(nonceBytesCount))
            guard fchmod(file, 0o600) == 0, write(file, nonce, nonce.count) == nonce.count, fsync(file) == 0 else {
                throw failure(path)
            }
        }
        let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failure(path) }
        defer { close(folder) }
        guard fsync(folder) == 0, let stamp = FolderStamp(number: number, base: base) else { throw failure(path) }
        return stamp
    }

    /// The one before means nothing any more.
    static func retire(_ stamp: FolderStamp, base: String) { unlink(path(stamp.number == 1 ? 2 : 1, base)) }

    private static func path(_ number: UInt8, _ base: String) -> String { "\(base)-\(number)" }

    private static func failure(_ path: String) -> CommunityError {
        CommunityError(.folder, "\(path) can't be written, \(String(cString: strerror(errno)))")
    }
}

extension UInt64 {
    fileprivate var bigEndianBytes: [UInt8] { withUnsafeBytes(of: bigEndian) { Array($0) } }
}

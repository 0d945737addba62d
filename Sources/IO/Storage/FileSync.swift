// SPDX-License-Identifier: Apache-2.0
import Foundation

/// Moves a finished file to its place, on the disk before this returns.
enum FileSync {
    static func rename(_ from: String, to path: String) throws {
        try flush(from)
        guard Foundation.rename(from, path) == 0 else { throw Self.error(path) }
        let folder = (path as NSString).deletingLastPathComponent
        try flush(folder.isEmpty ? "." : folder)
    }

    static func flush(_ path: String) throws {
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else { throw Self.error(path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw Self.error(path) }
    }

    private static func error(_ path: String) -> any Error {
        let code = errno
        return NSError(
            domain: NSPOSIXErrorDomain, code: Int(code),
            userInfo: [NSLocalizedDescriptionKey: "\(path): \(String(cString: strerror(code)))"])
    }
}

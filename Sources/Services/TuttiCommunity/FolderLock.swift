// SPDX-License-Identifier: Apache-2.0
import Foundation

/// Holds a data folder for this process: two processes that write one feed would fork it.
///
/// The system frees the lock when the process ends, however it ends.
package final class FolderLock: Sendable {
    private let descriptor: Int32

    /// - Throws: `.folderInUse` when another process holds it.
    package init(folder: String) throws(CommunityError) {
        let path = folder + "/lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw CommunityError(.folder, "\(path) can't be opened, \(String(cString: strerror(errno)))")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno
            close(descriptor)
            if reason == EWOULDBLOCK {
                throw CommunityError(.folderInUse, "a node runs in \(folder): stop it, or use another folder (--data)")
            }
            throw CommunityError(.folder, "\(path) can't be locked, \(String(cString: strerror(reason)))")
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Before the end of the lock's life: another node may begin in the folder.
    func free() { flock(descriptor, LOCK_UN) }
}

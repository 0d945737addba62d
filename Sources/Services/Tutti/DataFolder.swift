// SPDX-License-Identifier: Apache-2.0
import Foundation
package import TuttiIdentity

/// The folder in which a node keeps its key and all that it holds; private to its owner.
package struct DataFolder: Sendable {
    package let path: String

    package init(path: String) {
        self.path = path
    }

    /// `keys/node.key`, for `NodeConfiguration.Key.file`.
    package var keyPath: String { path + "/keys/node.key" }

    /// For `NodeConfiguration.peerFile`.
    package var peersPath: String { path + "/peers" }

    /// Makes the folder and what belongs in it, 0700; what is there stays as it is.
    package func create() throws(NodeError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path + "/keys", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? any Error
            let reason = cause.map { ", \(String(cString: strerror(Int32(clamping: ($0 as NSError).code))))" } ?? ""
            throw NodeError(
                code: .keyFile, stage: .start,
                message: "the data folder \(path) can't be made\(reason): choose another with --data or fix its rights",
                cause: error)
        }
    }

    /// The key of a node that has run here before.
    package func existingKey(passphrase: String?) throws(NodeError) -> KeyPair {
        guard let key = try KeyFile(path: keyPath).load(passphrase: passphrase) else {
            throw NodeError(
                code: .keyFile, stage: .start, message: "there is no key at \(keyPath): run `tutti up` once to make it")
        }
        return key
    }
}

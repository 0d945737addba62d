// SPDX-License-Identifier: Apache-2.0

/// Why something asked of a community was not done, and what to do now.
public struct CommunityError: Error, Hashable, Sendable, Codable, CustomStringConvertible {
    public enum Code: String, Hashable, Sendable, Codable {
        /// The data folder can't be used.
        case folder
        /// Another process runs a node in the folder.
        case folderInUse
        /// The disk refused or is full.
        case storage
        /// What is on the disk doesn't read back as it was written.
        case damaged
        /// This folder holds no community yet, or another one.
        case noCommunity
        /// The rules of the community don't allow it to this member.
        case notAllowed
        /// What was named isn't there.
        case notFound
        case invalidInput
        case tooLarge
        /// Nobody answered in time.
        case deadline
        case stopped
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}

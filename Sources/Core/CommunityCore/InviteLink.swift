// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// What a person is given to join: which community, where to find it, and the invite's private key.
///
/// As text `tutti://join/` and then base64url of the bytes below; the same text may stand as the fragment of an https
/// link, which browsers don't send to the server.
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 32 | community |
/// | 32 | entry of the invite |
/// | 32 | seed of the invite's Ed25519 key |
/// | 1, n | name of the community in UTF-8 behind its length, at most 64 bytes |
/// | 1 | entry points, 1 to 5 |
/// | 1, n | each: a multiaddr behind its length, with `/p2p` at its end |
/// | 4 | the first bytes of SHA-256 of `tutti-invite-link` and everything before |
package struct InviteLink: Hashable, Sendable {
    package static let scheme = "tutti://join/"
    package static let version: UInt8 = 1
    private static let checksumBytesCount = 4
    private static let domain: [UInt8] = Array("tutti-invite-link".utf8)

    package let community: CommunityID
    package let invite: EntryID
    package let seed: Bytes32
    package let name: String
    package let entryPoints: [Multiaddr]

    /// - Throws: `.noEntryPoint`, `.tooManyEntryPoints`, `.malformed` for a name or address that no link can hold.
    package init(
        community: CommunityID, invite: EntryID, seed: Bytes32, name: String, entryPoints: [Multiaddr]
    ) throws(InviteLinkError) {
        guard !entryPoints.isEmpty else { throw .noEntryPoint }
        guard entryPoints.count <= CommunityLimits.linkEntryPointsMax else { throw .tooManyEntryPoints }
        guard name.utf8.count <= CommunityLimits.nameBytesMax, name.isPlain(lines: false),
            entryPoints.allSatisfy({ $0.peerID != nil && $0.binary.count <= UInt8.max })
        else { throw .malformed }
        self.community = community
        self.invite = invite
        self.seed = seed
        self.name = name
        self.entryPoints = entryPoints
    }

    package var key: KeyPair { KeyPair(seed: seed) }

    package var text: String { Self.scheme + BitText.base64url.encode(bytes) }

    package var bytes: [UInt8] {
        var bytes = [Self.version] + community.bytes.bytes + invite.bytes.bytes + seed.bytes
        bytes.append(UInt8(truncatingIfNeeded: name.utf8.count))
        bytes += Array(name.utf8)
        bytes.append(UInt8(truncatingIfNeeded: entryPoints.count))
        for address in entryPoints {
            bytes.append(UInt8(truncatingIfNeeded: address.binary.count))
            bytes += address.binary
        }
        return bytes + Self.checksum(bytes)
    }

    /// Reads a link as people paste it: with space around it, or as the fragment of an https link.
    package init(text: String) throws(InviteLinkError) {
        guard text.utf8.count <= CommunityLimits.linkTextBytesMax else { throw .tooLong }
        var code = Substring(text)
        while let first = code.first, first.isWhitespace { code.removeFirst() }
        while let last = code.last, last.isWhitespace { code.removeLast() }
        if code.lowercased().hasPrefix(Self.scheme) {
            code = code.dropFirst(Self.scheme.count)
        } else if code.lowercased().hasPrefix("https://"), let hash = code.firstIndex(of: "#") {
            code = code[code.index(after: hash)...]
        } else {
            throw .notALink
        }
        guard !code.isEmpty else { throw .notALink }
        let bytes: [UInt8]
        do throws(DecodeError) {
            bytes = try BitText.base64url.decode(
                code.utf8, textBytesMax: CommunityLimits.linkTextBytesMax, "invite link")
        } catch { throw .damaged }
        try self.init(bytes: bytes)
    }

    package init(bytes: [UInt8]) throws(InviteLinkError) {
        guard let version = bytes.first else { throw .damaged }
        guard bytes.count > Self.checksumBytesCount,
            Self.checksum(Array(bytes.dropLast(Self.checksumBytesCount)))
                == Array(bytes.suffix(Self.checksumBytesCount))
        else { throw .damaged }
        // The checksum is right, so this is no slip of the copying hand.
        guard version == Self.version else { throw .unsupportedVersion }
        var buffer = ByteBuffer(bytes: bytes.dropLast(Self.checksumBytesCount).dropFirst())
        guard let community = buffer.readBytes32(), let invite = buffer.readBytes32(), let seed = buffer.readBytes32(),
            let nameCount: UInt8 = buffer.readInteger(), let name = buffer.readBytes(length: Int(nameCount)),
            let count: UInt8 = buffer.readInteger(), let name = String(validating: name, as: UTF8.self)
        else { throw .malformed }
        guard count <= CommunityLimits.linkEntryPointsMax else { throw .tooManyEntryPoints }
        var entryPoints: [Multiaddr] = []
        for _ in 0..<count {
            guard let length: UInt8 = buffer.readInteger(), let slice = buffer.readSlice(length: Int(length)),
                let address = try? Multiaddr(binary: slice)
            else { throw .malformed }
            entryPoints.append(address)
        }
        guard buffer.readableBytes == 0 else { throw .malformed }
        try self.init(
            community: CommunityID(community), invite: EntryID(invite), seed: seed, name: name,
            entryPoints: entryPoints)
    }

    private static func checksum(_ bytes: [UInt8]) -> [UInt8] {
        Array(KeyDerivation.sha256(domain + bytes).bytes.prefix(checksumBytesCount))
    }
}

package enum InviteLinkError: Error, Hashable, Sendable, CustomStringConvertible {
    case notALink
    case tooLong
    /// A character is wrong or missing.
    case damaged
    case unsupportedVersion
    case malformed
    case noEntryPoint
    case tooManyEntryPoints

    package var description: String {
        switch self {
        case .notALink: "this is no invite link; one begins with \(InviteLink.scheme)"
        case .tooLong: "this is too long for an invite link; paste the link alone"
        case .damaged: "the invite link is damaged; copy it again, from its first character to its last"
        case .unsupportedVersion: "the invite link was made by a newer version of the program; update this one"
        case .malformed: "the invite link was not made by this program; ask for a new one"
        case .noEntryPoint: "an invite link needs at least one address at which the community can be reached"
        case .tooManyEntryPoints:
            "an invite link holds at most \(CommunityLimits.linkEntryPointsMax) addresses"
        }
    }
}

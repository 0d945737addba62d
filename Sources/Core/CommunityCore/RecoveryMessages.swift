// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

package import struct NIOCore.ByteBuffer

/// What a fresh machine asks any node: do you hold the seal of this code? 34 bytes:
///
/// | bytes | what |
/// |---|---|
/// | 2 | the first of the lookup tag |
/// | 32 | SHA-256 of `tutti-recover`, the tag, the asker's and the answerer's peer id, each behind its length (1) |
///
/// Who doesn't hold the seal learns those two bytes. It can't ask somebody else on with it: others compute another digest.
package struct RecoveryQuestion: Hashable, Sendable {
    package static let protocolName: ProtocolID = "/tutti/recover/1"
    package static let bytesCount = 34
    private static let domain: [UInt8] = Array("tutti-recover".utf8)

    package let prefix: UInt16
    private let digest: Bytes32

    package init(_ tag: Bytes32, from asker: PeerID, to answerer: PeerID) {
        prefix = Self.prefix(of: tag)
        digest = Self.digest(tag, asker, answerer)
    }

    package init(from buffer: inout ByteBuffer) throws(DecodeError) {
        guard let prefix: UInt16 = buffer.readInteger(), let digest = buffer.readBytes32() else {
            throw .truncated("recovery question")
        }
        self.prefix = prefix
        self.digest = digest
    }

    package func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(prefix)
        buffer.writeBytes32(digest)
    }

    package func asks(for tag: Bytes32, from asker: PeerID, to answerer: PeerID) -> Bool {
        prefix == Self.prefix(of: tag) && digest == Self.digest(tag, asker, answerer)
    }

    static func prefix(of tag: Bytes32) -> UInt16 { UInt16(truncatingIfNeeded: tag.words.0 >> 48) }

    private static func digest(_ tag: Bytes32, _ asker: PeerID, _ answerer: PeerID) -> Bytes32 {
        var bytes = domain + tag.bytes
        for peer in [asker, answerer] { bytes += [UInt8(truncatingIfNeeded: peer.byteCount)] + peer.bytes }
        return KeyDerivation.sha256(bytes)
    }
}

/// The entry that holds the seal, and where the community is found. Nothing at all answers: I don't hold it.
///
/// | bytes | what |
/// |---|---|
/// | 1 | entry points, 0 to 5 |
/// | 1, n | each: a multiaddr behind its length, with `/p2p` at its end |
/// | … | the entry of kind `0x0080`, compact, with its body; nothing behind it |
///
/// The whole entry, not the seal alone: its id is what the new device's certificate builds on, and an id that somebody
/// made up would leave that certificate waiting for ever.
package struct RecoveryAnswer: Hashable, Sendable {
    package let entryPoints: [Multiaddr]
    package let entry: Entry

    /// Addresses that no answer can hold are left out.
    package init(entry: Entry, entryPoints: [Multiaddr]) {
        self.entry = entry
        let usable = entryPoints.filter { $0.peerID != nil && $0.binary.count <= UInt8.max }
        self.entryPoints = Array(usable.prefix(CommunityLimits.linkEntryPointsMax))
    }

    package init(_ bytes: ByteBuffer) throws(DecodeError) {
        guard bytes.readableBytes <= CommunityLimits.recoveryAnswerBytesMax else {
            throw .tooLarge("recovery answer", limit: CommunityLimits.recoveryAnswerBytesMax)
        }
        var bytes = bytes
        guard let count: UInt8 = bytes.readInteger() else { throw .truncated("recovery answer") }
        guard count <= CommunityLimits.linkEntryPointsMax else {
            throw .tooLarge("entry points", limit: CommunityLimits.linkEntryPointsMax)
        }
        var entryPoints: [Multiaddr] = []
        for _ in 0..<count {
            guard let length: UInt8 = bytes.readInteger(), let slice = bytes.readSlice(length: Int(length)) else {
                throw .truncated("entry point")
            }
            let address = try Multiaddr(binary: slice)
            guard address.peerID != nil else { throw .malformed("entry point (without a peer)") }
            entryPoints.append(address)
        }
        self.entryPoints = entryPoints
        entry = try Entry(from: &bytes)
        guard bytes.readableBytes == 0 else { throw .malformed("recovery answer (more behind it)") }
    }

    package func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt8(truncatingIfNeeded: entryPoints.count))
        for address in entryPoints {
            let bytes = address.binary
            buffer.writeInteger(UInt8(truncatingIfNeeded: bytes.count))
            buffer.writeBytes(bytes)
        }
        entry.encode(into: &buffer)
    }

    /// The member's key. Costs two verifications.
    /// - Throws: for anything that the code's holder didn't put there.
    package func open(with code: RecoveryCode) throws(DecodeError) -> KeyPair {
        guard let sealed = MemberKeyEntry.sealed(in: entry), sealed.lookupTag == code.lookupTag,
            GovernanceEntry.isAuthentic(entry)
        else { throw .malformed("recovery answer (not of this code)") }
        return try sealed.open(with: code, in: entry.header.community)
    }
}

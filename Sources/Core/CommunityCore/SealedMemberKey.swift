// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// A member's key under the member's recovery code: the body of an entry that every replica holds for ever, so that the
/// code and any one of them are enough to be that member again on a fresh machine.
///
/// 145 bytes:
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 32 | lookup tag, of the code and the community |
/// | 32 | X25519 key of the code: mailbox keys are passed to it |
/// | 32 | salt |
/// | 32 + 16 | the member key's seed under ChaCha20-Poly1305, then the tag; all before it and the community are the associated data |
///
/// Anybody may copy it into a feed of theirs; the copy opens to the same member, so that changes nothing. A code that was
/// replaced still opens the seals that were made under it: a code that others may have seen calls for a new member key.
package struct SealedMemberKey: Hashable, Sendable {
    package static let bytesCount = 145
    private static let version: UInt8 = 1

    package let lookupTag: Bytes32
    package let recoveryKey: SealingPublicKey
    private let salt: Bytes32
    private let sealed: [UInt8]

    package init(
        sealing key: KeyPair, under code: RecoveryCode, in community: CommunityID, from source: inout KeySource
    ) {
        lookupTag = code.lookupTag(in: community)
        recoveryKey = code.sealingKeys(in: community).publicKey
        salt = source.nextBytes32()
        sealed = SecretBox.seal(
            key.seed.bytes, key: code.sealKey(in: community, salt: salt),
            authenticating: Self.associated(community, lookupTag, recoveryKey, salt))
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= Self.bytesCount else { throw .tooLarge("sealed member key", limit: Self.bytesCount) }
        guard let version = bytes.first else { throw .truncated("sealed member key") }
        guard version == Self.version else { throw .unsupported("sealed member key version") }
        var buffer = ByteBuffer(bytes: bytes.dropFirst())
        guard let tag = buffer.readBytes32(), let key = buffer.readBytes32(), let salt = buffer.readBytes32(),
            let sealed = buffer.readBytes(length: Bytes32.count + SecretBox.tagBytesCount)
        else { throw .truncated("sealed member key") }
        lookupTag = tag
        recoveryKey = SealingPublicKey(key)
        self.salt = salt
        self.sealed = sealed
    }

    package var bytes: [UInt8] {
        [Self.version] + lookupTag.bytes + recoveryKey.bytes.bytes + salt.bytes + sealed
    }

    /// - Throws: `.malformed` for another code or community and for damage: they can't be told apart.
    package func open(with code: RecoveryCode, in community: CommunityID) throws(DecodeError) -> KeyPair {
        guard lookupTag == code.lookupTag(in: community),
            let seed = SecretBox.open(
                sealed, key: code.sealKey(in: community, salt: salt),
                authenticating: Self.associated(community, lookupTag, recoveryKey, salt)),
            let bytes = Bytes32(seed)
        else { throw .malformed("sealed member key (another code or community, or damaged)") }
        return KeyPair(seed: bytes)
    }

    private static func associated(
        _ community: CommunityID, _ tag: Bytes32, _ key: SealingPublicKey, _ salt: Bytes32
    ) -> [UInt8] {
        Array("tutti-member-key".utf8) + [version] + community.bytes.bytes + tag.bytes + key.bytes.bytes + salt.bytes
    }
}

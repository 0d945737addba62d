// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// A member's key under the member's recovery code: the body of an entry that every replica holds for ever, so that the
/// code and any one of them are enough to be that member again on a fresh machine.
///
/// 209 bytes:
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 32 | lookup tag: an Ed25519 public key that follows from the code |
/// | 32 | X25519 key of the code: mailbox keys are passed to it |
/// | 32 | salt |
/// | 32 + 16 | the member key's seed under ChaCha20-Poly1305, then the tag; all before it and the community are the associated data |
/// | 64 | signature by the lookup tag's private key, of community, device and all before it |
///
/// The signature keeps others from putting something else under the tag, and from putting this into feeds of theirs. A
/// code that was replaced still opens the seals that were made under it: a code that others may have seen calls for a new
/// member key.
package struct SealedMemberKey: Hashable, Sendable {
    package static let bytesCount = 209
    private static let version: UInt8 = 1
    private static let domain = "tutti-member-key"

    package let lookupTag: Bytes32
    package let recoveryKey: SealingPublicKey
    private let salt: Bytes32
    private let sealed: [UInt8]
    private let signature: [UInt8]

    /// - Parameter device: the one whose feed will hold it.
    package init(
        sealing key: KeyPair, under code: RecoveryCode, in community: CommunityID, by device: DeviceID,
        from source: inout KeySource
    ) {
        let lookupKey = code.lookupKey
        lookupTag = lookupKey.device.bytes
        recoveryKey = code.sealingKeys(in: community).publicKey
        salt = source.nextBytes32()
        sealed = SecretBox.seal(
            key.seed.bytes, key: code.sealKey(in: community, salt: salt),
            authenticating: Self.associated(community, lookupTag, recoveryKey, salt))
        let unsigned = Self.unsigned(lookupTag, recoveryKey, salt, sealed)
        signature = lookupKey.sign(Self.signedBytes(unsigned, community, device))
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= Self.bytesCount else { throw .tooLarge("sealed member key", limit: Self.bytesCount) }
        guard let version = bytes.first else { throw .truncated("sealed member key") }
        guard version == Self.version else { throw .unsupported("sealed member key version") }
        var buffer = ByteBuffer(bytes: bytes.dropFirst())
        guard let tag = buffer.readBytes32(), let key = buffer.readBytes32(), let salt = buffer.readBytes32(),
            let sealed = buffer.readBytes(length: Bytes32.count + SecretBox.tagBytesCount),
            let signature = buffer.readBytes(length: Entry.signatureBytesCount)
        else { throw .truncated("sealed member key") }
        lookupTag = tag
        recoveryKey = SealingPublicKey(key)
        self.salt = salt
        self.sealed = sealed
        self.signature = signature
    }

    package var bytes: [UInt8] { Self.unsigned(lookupTag, recoveryKey, salt, sealed) + signature }

    /// Whether who holds the code put it into this device's feed. Costs a verification.
    package func isSignatureValid(in community: CommunityID, by device: DeviceID) -> Bool {
        let unsigned = Self.unsigned(lookupTag, recoveryKey, salt, sealed)
        return Ed25519Verifier.preferred.isValid(
            signature, for: Self.signedBytes(unsigned, community, device), key: lookupTag.bytes)
    }

    /// - Throws: `.malformed` for another code or community and for damage: they can't be told apart.
    package func open(with code: RecoveryCode, in community: CommunityID) throws(DecodeError) -> KeyPair {
        guard lookupTag == code.lookupTag,
            let seed = SecretBox.open(
                sealed, key: code.sealKey(in: community, salt: salt),
                authenticating: Self.associated(community, lookupTag, recoveryKey, salt)),
            let bytes = Bytes32(seed)
        else { throw .malformed("sealed member key (another code or community, or damaged)") }
        return KeyPair(seed: bytes)
    }

    private static func unsigned(
        _ tag: Bytes32, _ key: SealingPublicKey, _ salt: Bytes32, _ sealed: [UInt8]
    ) -> [UInt8] {
        [version] + tag.bytes + key.bytes.bytes + salt.bytes + sealed
    }

    private static func signedBytes(_ unsigned: [UInt8], _ community: CommunityID, _ device: DeviceID) -> [UInt8] {
        SignedEnvelope.signedBytes(
            domain: domain, payloadType: [],
            payload: ByteBuffer(bytes: community.bytes.bytes + device.bytes.bytes + unsigned))
    }

    private static func associated(
        _ community: CommunityID, _ tag: Bytes32, _ key: SealingPublicKey, _ salt: Bytes32
    ) -> [UInt8] {
        Array(domain.utf8) + [version] + community.bytes.bytes + tag.bytes + key.bytes.bytes + salt.bytes
    }
}

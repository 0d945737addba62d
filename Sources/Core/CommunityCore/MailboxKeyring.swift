// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

// The keys of a device's mailbox as they lie on disk: encrypted under a key derived from the device's own. So they are
// as safe as that one is (`SealedKey`, when there is a passphrase), and of no use in another folder.
//
// | bytes | what |
// |---|---|
// | 9 | `tuttiring` |
// | 1 | version, 1 |
// | 32 | salt, new each time |
// | … | below, under ChaCha20-Poly1305; all before it is the associated data |
// | 16 | tag |
//
// Inside: 32 the device's X25519 private key; 1 keys; each: 44 the key as in `MailboxKeyPass`, 1 flags (1 made here, 2
// exposed), 1 holders, 33 each holder, ascending, as there; last 0, or 1 and the 32 of the recovery code's private key.
extension MailboxKeys {
    package static let keyringBytesMax =
        keyringHeadBytesCount + SecretBox.tagBytesCount + Bytes32.count + 1 + 1 + Bytes32.count
        + MailboxLimits.keysMax * (MailboxKey.bytesCount + 2 + MailboxLimits.holdersMax * MailboxHolder.bytesCount)
    private static let magic: [UInt8] = Array("tuttiring".utf8)
    private static let version: UInt8 = 1
    private static let keyringHeadBytesCount = 9 + 1 + Bytes32.count

    /// - Parameter key: the device's.
    package func keyring(for key: KeyPair, from source: inout KeySource) -> [UInt8] {
        let salt = source.nextBytes32()
        let head = Self.magic + [Self.version] + salt.bytes
        var buffer = ByteBuffer()
        buffer.writeBytes32(devicePair.privateBytes)
        buffer.writeInteger(UInt8(clamping: held.count))
        for one in held {
            one.key.encode(into: &buffer)
            buffer.writeInteger(UInt8((one.isMine ? 1 : 0) | (one.isExposed ? 2 : 0)))
            let holders = one.holders.sorted().prefix(MailboxLimits.holdersMax)
            buffer.writeInteger(UInt8(clamping: holders.count))
            for holder in holders { holder.encode(into: &buffer) }
        }
        buffer.writeInteger(UInt8(codePair == nil ? 0 : 1))
        if let codePair { buffer.writeBytes32(codePair.privateBytes) }
        return head
            + SecretBox.seal(
                Array(buffer.readableBytesView), key: Self.keyringKey(key, salt: salt), authenticating: head)
    }

    /// - Throws: `.malformed` also for the keyring of another device and for damage.
    package init(keyring bytes: [UInt8], of device: DeviceID, for key: KeyPair) throws(DecodeError) {
        guard bytes.count <= Self.keyringBytesMax else { throw .tooLarge("keyring", limit: Self.keyringBytesMax) }
        guard bytes.prefix(Self.magic.count).elementsEqual(Self.magic.prefix(bytes.count)) else {
            throw .malformed("keyring")
        }
        guard bytes.count >= Self.keyringHeadBytesCount + SecretBox.tagBytesCount else { throw .truncated("keyring") }
        guard bytes[Self.magic.count] == Self.version else { throw .unsupported("keyring version") }
        let head = Array(bytes.prefix(Self.keyringHeadBytesCount))
        guard let salt = Bytes32(head.suffix(Bytes32.count)),
            let plain = SecretBox.open(
                Array(bytes.dropFirst(head.count)), key: Self.keyringKey(key, salt: salt), authenticating: head)
        else { throw .malformed("keyring (another device's, or damaged)") }
        var buffer = ByteBuffer(bytes: plain)
        guard let pair = buffer.readBytes32(), let count: UInt8 = buffer.readInteger() else {
            throw .truncated("keyring")
        }
        guard count <= MailboxLimits.keysMax else { throw .tooLarge("keyring", limit: MailboxLimits.keysMax) }
        var held: [Held] = []
        for _ in 0..<count {
            let one = try Self.held(from: &buffer)
            if let last = held.last, !last.key.isBefore(one.key) { throw .malformed("keyring (order)") }
            held.append(one)
        }
        guard let codes: UInt8 = buffer.readInteger() else { throw .truncated("keyring") }
        guard codes <= 1 else { throw .malformed("keyring code") }
        var codePair: SealingKeyPair?
        if codes == 1 {
            guard let bytes = buffer.readBytes32() else { throw .truncated("keyring") }
            codePair = SealingKeyPair(privateBytes: bytes)
        }
        guard buffer.readableBytes == 0 else { throw .malformed("keyring (more follows)") }
        self.init(device: device, devicePair: SealingKeyPair(privateBytes: pair), held: held, codePair: codePair)
    }

    private static func held(from buffer: inout ByteBuffer) throws(DecodeError) -> Held {
        let key = try MailboxKey(from: &buffer)
        guard let flags: UInt8 = buffer.readInteger(), let count: UInt8 = buffer.readInteger() else {
            throw .truncated("keyring")
        }
        guard flags <= 3, count <= MailboxLimits.holdersMax else { throw .malformed("keyring flags or holders") }
        var holders: Set<MailboxHolder> = []
        for _ in 0..<count {
            holders.insert(try MailboxHolder(from: &buffer))
        }
        return Held(key: key, isMine: flags & 1 != 0, isExposed: flags & 2 != 0, holders: holders)
    }

    private static func keyringKey(_ key: KeyPair, salt: Bytes32) -> Bytes32 {
        KeyDerivation.hkdf(key.seed.bytes, salt: salt.bytes, info: Array("tutti-keyring-1".utf8))
    }
}

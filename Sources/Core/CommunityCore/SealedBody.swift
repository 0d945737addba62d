// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// The body of a sealed entry (DESIGN section 5): one content key, wrapped to each recipient's key by HPKE (RFC 9180).
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 1 | slots: 4, 8, 16, 32 or 64 |
/// | 32 | the author's X25519 key |
/// | 32 | commitment: SHA-256 of place, salt, inner kind and payload |
/// | 96 × slots | ascending: 16 tag, 32 + 48 the content key under HPKE. Slots that nobody needs look like all others |
/// | 256 to 49,152 + 16 | under the content key: 32 salt, 2 inner kind, 2 bytes of the payload, payload, zeros; then the tag |
///
/// *Place* is community, author's device and sequence: nothing can be moved to another one. Everything before the
/// ciphertext is its associated data, so no bit of a body can be changed. ChaCha20-Poly1305 alone lets a forger make one
/// ciphertext that opens to different things under different keys; the commitment doesn't: whoever opens an entry knows
/// that all its recipients read the same, and can show it to a third party (``isOpened(by:at:)``).
///
/// A tag is a keyed hash of the place under a secret that only the author and that one recipient have. So a recipient
/// finds what is for it at the price of a hash, and nobody else can link two entries.
package struct SealedBody: Hashable, Sendable {
    package let bytes: [UInt8]
    package let sender: SealingPublicKey
    package let commitment: Bytes32
    let slots: [SealedSlot]

    /// Checks the form alone.
    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= SealedLimits.bodyBytesMax else {
            throw .tooLarge("sealed body", limit: SealedLimits.bodyBytesMax)
        }
        var buffer = ByteBuffer(bytes: bytes)
        guard let version: UInt8 = buffer.readInteger() else { throw .truncated("sealed body") }
        guard version == SealedLimits.version else { throw .unsupported("sealed body version") }
        guard let count: UInt8 = buffer.readInteger() else { throw .truncated("sealed body") }
        guard SealedLimits.slotCounts.contains(Int(count)) else { throw .malformed("sealed body slots") }
        guard let sender = buffer.readBytes32(), let commitment = buffer.readBytes32(),
            buffer.readableBytes >= Int(count) * SealedSlot.bytesCount
        else { throw .truncated("sealed body") }
        var slots: [SealedSlot] = []
        slots.reserveCapacity(Int(count))
        for _ in 0..<count {
            let slot = try SealedSlot(from: &buffer)
            if let last = slots.last, last.tag >= slot.tag { throw .malformed("sealed body slots (order)") }
            slots.append(slot)
        }
        guard SealedLimits.paddedBytesCounts.contains(buffer.readableBytes - SecretBox.tagBytesCount) else {
            throw .malformed("sealed body size")
        }
        self.bytes = bytes
        self.sender = SealingPublicKey(sender)
        self.commitment = commitment
        self.slots = slots
    }

    /// Seals for the holders of `recipients`; the author's own key belongs among them if it is to read this later.
    /// Draws from `source` only: the same source gives the same bytes.
    package init(
        sealing content: SealedContent, to recipients: [SealingPublicKey], as author: SealingKeyPair,
        at place: SealedPlace, from source: inout KeySource
    ) throws(SealedError) {
        let recipients = Set(recipients).sorted()
        guard let count = SealedLimits.slotCounts.first(where: { recipients.count <= $0 }), !recipients.isEmpty else {
            throw .recipientsCount(recipients.count)
        }
        guard content.payload.count <= SealedLimits.payloadBytesMax else {
            throw .payloadTooLarge(content.payload.count)
        }
        let opening = SealedOpening(content: content, salt: source.nextBytes32())
        let key = source.nextBytes32()
        commitment = opening.commitment(at: place)
        sender = author.publicKey
        var slots: [SealedSlot] = []
        for recipient in recipients {
            guard let tags = SealedTagKey(author: author, recipient: recipient) else { throw .weakKey(recipient) }
            let tag = tags.tag(at: place)
            let wrapped = HybridEncryption.seal(
                key.bytes, to: recipient, info: SealedSlot.info(place),
                authenticating: SealedSlot.associated(author.publicKey, commitment, tag), from: &source)
            guard let wrapped else { throw .weakKey(recipient) }
            slots.append(SealedSlot(tag: tag, wrapped: wrapped))
        }
        while slots.count < count { slots.append(SealedSlot(decoyFrom: &source)) }
        slots.sort { $0.tag < $1.tag }
        self.slots = slots
        let head =
            [SealedLimits.version, UInt8(count)] + author.publicKey.bytes.bytes + commitment.bytes
            + slots.flatMap(\.bytes)
        bytes =
            head
            + SecretBox.seal(opening.padded, key: key, authenticating: Self.associated(place, head[...]))
    }

    /// With a content key that a slot held.
    func open(with key: Bytes32, at place: SealedPlace) throws(SealedError) -> SealedOpening {
        let start = SealedLimits.headBytesCount + slots.count * SealedSlot.bytesCount
        let plain = SecretBox.open(
            Array(bytes[start...]), key: key, authenticating: Self.associated(place, bytes[..<start]))
        guard let plain else { throw .contentRefused }
        guard let opening = SealedOpening(padded: plain) else { throw .contentMalformed }
        guard isOpened(by: opening, at: place) else { throw .commitmentBroken }
        return opening
    }

    /// Whether this is what the author sealed: the check of an arbiter to whom a recipient shows an entry's content.
    package func isOpened(by opening: SealedOpening, at place: SealedPlace) -> Bool {
        opening.commitment(at: place) == commitment
    }

    private static func associated(_ place: SealedPlace, _ head: ArraySlice<UInt8>) -> [UInt8] {
        Array("tutti-sealed-content".utf8) + place.bytes + head
    }
}

/// Where a sealed entry stands; it opens nowhere else.
package struct SealedPlace: Hashable, Sendable {
    package let community: CommunityID
    package let device: DeviceID
    package let sequence: EntrySequence

    package init(community: CommunityID, device: DeviceID, sequence: EntrySequence) {
        self.community = community
        self.device = device
        self.sequence = sequence
    }

    package init(_ header: EntryHeader) {
        self.init(community: header.community, device: header.device, sequence: header.sequence)
    }

    var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeBytes32(community.bytes)
        buffer.writeBytes32(device.bytes)
        buffer.writeInteger(sequence.value)
        return Array(buffer.readableBytesView)
    }
}

package struct SealedContent: Hashable, Sendable {
    package let kind: SealedKind
    package let payload: [UInt8]

    package init(kind: SealedKind, payload: [UInt8]) {
        self.kind = kind
        self.payload = payload
    }
}

/// What a recipient finds inside. With the salt it proves to anybody what the entry's commitment stands for.
package struct SealedOpening: Hashable, Sendable {
    package let content: SealedContent
    package let salt: Bytes32

    package init(content: SealedContent, salt: Bytes32) {
        self.content = content
        self.salt = salt
    }

    /// Nil unless it is exactly what ``padded`` makes.
    init?(padded: [UInt8]) {
        var buffer = ByteBuffer(bytes: padded)
        guard let salt = buffer.readBytes32(), let kind: UInt16 = buffer.readInteger(),
            let count: UInt16 = buffer.readInteger(), let payload = buffer.readBytes(length: Int(count)),
            buffer.readableBytesView.allSatisfy({ $0 == 0 }),
            SealedLimits.paddedBytesCount(payload: payload.count) == padded.count
        else { return nil }
        self.init(content: SealedContent(kind: SealedKind(kind), payload: payload), salt: salt)
    }

    var padded: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeBytes32(salt)
        buffer.writeInteger(content.kind.rawValue)
        buffer.writeInteger(UInt16(clamping: content.payload.count))
        buffer.writeBytes(content.payload)
        let count = SealedLimits.paddedBytesCount(payload: content.payload.count) ?? buffer.readableBytes
        buffer.writeRepeatingByte(0, count: count - buffer.readableBytes)
        return Array(buffer.readableBytesView)
    }

    func commitment(at place: SealedPlace) -> Bytes32 {
        let kind = [UInt8(content.kind.rawValue >> 8), UInt8(content.kind.rawValue & 0xFF)]
        return KeyDerivation.sha256(
            Array("tutti-sealed-commitment".utf8) + place.bytes + salt.bytes + kind + content.payload)
    }
}

/// Why something wasn't sealed or opened.
package enum SealedError: Error, Hashable, Sendable {
    /// No slot bears a tag of ours: it is for others, or stands in a place that it wasn't made for.
    case notAddressed
    /// A slot bears our tag, but the content key in it doesn't open.
    case keyRefused
    case contentRefused
    case contentMalformed
    /// The content isn't what the author committed to: others may have been given something else.
    case commitmentBroken
    case recipientsCount(Int)
    case payloadTooLarge(Int)
    /// A recipient's key is a point of low order.
    case weakKey(SealingPublicKey)
}

package enum SealedLimits {
    static let version: UInt8 = 1
    static let headBytesCount = 2 + 2 * Bytes32.count
    /// Salt, inner kind and length.
    static let openingBytesCount = Bytes32.count + 4

    /// So many slots there are: how many recipients are real shows only so roughly.
    package static let slotCounts = [4, 8, 16, 32, 64]
    package static let recipientsMax = 64
    /// What is sealed has one of these sizes: how long it is shows only so roughly.
    package static let paddedBytesCounts = [256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 49_152]
    package static let payloadBytesMax = 49_152 - openingBytesCount
    package static let bodyBytesMax =
        headBytesCount + recipientsMax * SealedSlot.bytesCount + 49_152 + SecretBox.tagBytesCount
    /// Mailbox keys are deleted when nothing of this class can be left to open. What has to be read for longer is
    /// sealed anew by who needs it.
    package static let retentionMax = RetentionClass.year
    /// Authors whose tag secrets a reader keeps. At it the oldest is forgotten, and computed again when needed.
    package static let readerAuthorsMax = 1_024
    /// Keys of ours that a reader tries.
    package static let readerKeysMax = MailboxLimits.keysMax + 2

    static func paddedBytesCount(payload: Int) -> Int? {
        paddedBytesCounts.first { payload + openingBytesCount <= $0 }
    }
}

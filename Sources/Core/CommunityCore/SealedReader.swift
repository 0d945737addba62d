// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase
package import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

/// Finds and opens what is sealed to any of our keys.
///
/// An entry costs one keyed hash for each key of ours; the first of an author costs a multiplication on the curve for
/// each (about 50 µs), whose results are kept.
package struct SealedReader: Sendable {
    private let keys: [SealingKeyPair]
    /// By author's device: a device that changes its key all the time displaces only itself.
    private var authors: [DeviceID: Author] = [:]
    private var order: Deque<DeviceID> = []

    private struct Author {
        var key: SealingPublicKey
        /// Beside ``keys``; nil where the author's key is weak.
        var tagKeys: [SealedTagKey?]
    }

    /// - Parameter keys: mailbox keys, newest first, then the device's own; further ones than the limit are left out.
    package init(keys: [SealingKeyPair]) {
        self.keys = Array(keys.prefix(SealedLimits.readerKeysMax))
    }

    package mutating func open(_ body: SealedBody, at place: SealedPlace) throws(SealedError) -> SealedOpening {
        var isAddressed = false
        for (key, tagKey) in zip(keys, tagKeys(for: body.sender, of: place.device)) {
            guard let tag = tagKey?.tag(at: place), let slot = body.slots.first(where: { $0.tag == tag }) else {
                continue
            }
            isAddressed = true
            let content = HybridEncryption.open(
                slot.wrapped, with: key, info: SealedSlot.info(place),
                authenticating: SealedSlot.associated(body.sender, body.commitment, tag))
            if let content, let contentKey = Bytes32(content) { return try body.open(with: contentKey, at: place) }
        }
        throw isAddressed ? .keyRefused : .notAddressed
    }

    private mutating func tagKeys(for sender: SealingPublicKey, of device: DeviceID) -> [SealedTagKey?] {
        if let author = authors[device], author.key == sender { return author.tagKeys }
        if authors[device] == nil {
            if order.count >= SealedLimits.readerAuthorsMax, let oldest = order.popFirst() { authors[oldest] = nil }
            order.append(device)
        }
        let made = keys.map { SealedTagKey(author: sender, recipient: $0) }
        authors[device] = Author(key: sender, tagKeys: made)
        return made
    }
}

/// The first bytes of a keyed hash; ordered, so that the order of slots tells nothing.
struct SealedTag: Hashable, Comparable, Sendable {
    static let bytesCount = 16

    let high: UInt64
    let low: UInt64

    static func < (lhs: Self, rhs: Self) -> Bool { (lhs.high, lhs.low) < (rhs.high, rhs.low) }
    var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeInteger(high)
        buffer.writeInteger(low)
        return Array(buffer.readableBytesView)
    }
}

/// The secret of an author and one recipient from which the tags between them come.
struct SealedTagKey: Sendable {
    private let key: Bytes32

    /// Nil when the other's key is weak.
    init?(author: SealingKeyPair, recipient: SealingPublicKey) {
        self.init(author.secret(with: recipient), author.publicKey, recipient)
    }

    init?(author: SealingPublicKey, recipient: SealingKeyPair) {
        self.init(recipient.secret(with: author), author, recipient.publicKey)
    }

    private init?(_ secret: Bytes32?, _ author: SealingPublicKey, _ recipient: SealingPublicKey) {
        guard let secret else { return nil }
        let info = Array("tutti-sealed-tag".utf8) + author.bytes.bytes + recipient.bytes.bytes
        key = KeyDerivation.hkdf(secret.bytes, info: info)
    }

    func tag(at place: SealedPlace) -> SealedTag {
        let words = KeyDerivation.authenticate(place.bytes, key: key.bytes).words
        return SealedTag(high: words.0, low: words.1)
    }
}

/// The content key for one recipient.
struct SealedSlot: Hashable, Sendable {
    static let bytesCount = SealedTag.bytesCount + wrappedBytesCount
    private static let wrappedBytesCount = Bytes32.count + HybridEncryption.overheadBytesCount

    let tag: SealedTag
    let wrapped: [UInt8]

    init(tag: SealedTag, wrapped: [UInt8]) {
        self.tag = tag
        self.wrapped = wrapped
    }

    /// For nobody. The ephemeral key is a real one: half of all strings of 32 bytes are on no such key's curve.
    init(decoyFrom source: inout KeySource) {
        tag = SealedTag(high: source.nextWord(), low: source.nextWord())
        let noise = source.nextBytes32().bytes + source.nextBytes32().bytes.prefix(SecretBox.tagBytesCount)
        wrapped = SealingKeyPair(from: &source).publicKey.bytes.bytes + noise
    }

    init(from buffer: inout ByteBuffer) throws(DecodeError) {
        guard let high: UInt64 = buffer.readInteger(), let low: UInt64 = buffer.readInteger(),
            let wrapped = buffer.readBytes(length: Self.wrappedBytesCount)
        else { throw .truncated("sealed slot") }
        self.init(tag: SealedTag(high: high, low: low), wrapped: wrapped)
    }

    var bytes: [UInt8] { tag.bytes + wrapped }

    static func info(_ place: SealedPlace) -> [UInt8] {
        Array("tutti-sealed-key".utf8) + place.bytes
    }

    static func associated(_ sender: SealingPublicKey, _ commitment: Bytes32, _ tag: SealedTag) -> [UInt8] {
        sender.bytes.bytes + commitment.bytes + tag.bytes
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// The name of a topic, at most 256 bytes of UTF-8.
package struct Topic: Hashable, Comparable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    package let name: String
    package init(_ name: String) { self.name = name }
    package init(stringLiteral value: String) { name = value }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.name < rhs.name }
    package var description: String { name }
}

/// Names a message: what the topic's rule makes of it; by default author and sequence number.
///
/// At most 63 bytes, held inline: author and sequence number take 46 with an Ed25519 key, digests 32. Ids are ordered
/// as their bytes are.
package struct MessageID: Hashable, Comparable, Sendable {
    package static let bytesMax = 63

    /// Big-endian, zeros behind; the last byte is the count.
    let words: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)

    /// Nil when there are more than 63 bytes.
    package init?(_ bytes: some Collection<UInt8>) {
        var packer = MessageIDPacker()
        guard bytes.count <= Self.bytesMax else { return nil }
        for byte in bytes { packer.append(byte) }
        words = packer.words
    }

    init(packed: MessageIDPacker) { words = packed.words }

    package var count: Int { Int(words.7 & 0xFF) }

    package var bytes: [UInt8] { withBytes { Array($0) } }

    package func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        let ordered = (
            words.0.bigEndian, words.1.bigEndian, words.2.bigEndian, words.3.bigEndian, words.4.bigEndian,
            words.5.bigEndian, words.6.bigEndian, words.7.bigEndian
        )
        return withUnsafeBytes(of: ordered) { body(UnsafeRawBufferPointer(rebasing: $0.prefix(count))) }
    }

    package static func == (lhs: Self, rhs: Self) -> Bool {
        let (l, r) = (lhs.words, rhs.words)
        return l.0 == r.0 && l.1 == r.1 && l.2 == r.2 && l.3 == r.3 && l.4 == r.4 && l.5 == r.5 && l.6 == r.6
            && l.7 == r.7
    }

    package static func < (lhs: Self, rhs: Self) -> Bool {
        let (l, r) = (lhs.words, rhs.words)
        if l.0 != r.0 { return l.0 < r.0 }
        if l.1 != r.1 { return l.1 < r.1 }
        if l.2 != r.2 { return l.2 < r.2 }
        if l.3 != r.3 { return l.3 < r.3 }
        if l.4 != r.4 { return l.4 < r.4 }
        if l.5 != r.5 { return l.5 < r.5 }
        return l.6 != r.6 ? l.6 < r.6 : l.7 < r.7
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
        hasher.combine(words.2)
        hasher.combine(words.3)
        hasher.combine(words.4)
        hasher.combine(words.5)
        hasher.combine(words.6)
        hasher.combine(words.7)
    }
}

/// Packs bytes into the words of a `MessageID`. What does not fit is counted and left out.
struct MessageIDPacker {
    private(set) var words: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    private(set) var count = 0

    var fits: Bool { count <= MessageID.bytesMax }

    mutating func append(_ byte: UInt8) {
        guard count < MessageID.bytesMax else {
            count = MessageID.bytesMax + 1
            return
        }
        put(UInt64(byte) << UInt64(56 - 8 * (count & 7)), at: count >> 3)
        count += 1
        words.7 = words.7 & ~0xFF | UInt64(count)
    }

    /// Eight bytes at a time.
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard count + bytes.count <= MessageID.bytesMax else {
            count = MessageID.bytesMax + 1
            return
        }
        var offset = 0
        while offset < bytes.count {
            let size = min(8, bytes.count - offset)
            var word: UInt64 = 0
            if size == 8 {
                word = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            } else {
                for place in 0..<size { word |= UInt64(bytes[offset + place]) << UInt64(56 - 8 * place) }
            }
            let shift = UInt64(8 * (count & 7))
            put(word >> shift, at: count >> 3)
            if shift > 0, size * 8 > 64 - Int(shift) { put(word << (64 - shift), at: (count >> 3) + 1) }
            count += size
            offset += size
        }
        words.7 = words.7 & ~0xFF | UInt64(count)
    }

    private mutating func put(_ bits: UInt64, at word: Int) {
        switch word {
        case 0: words.0 |= bits
        case 1: words.1 |= bits
        case 2: words.2 |= bits
        case 3: words.3 |= bits
        case 4: words.4 |= bits
        case 5: words.5 |= bits
        case 6: words.6 |= bits
        default: words.7 |= bits
        }
    }
}

/// A published message as it travels: the protobuf `Message` exactly as it came or was made, and where its fields lie in
/// it. It is forwarded without being encoded again.
package struct GossipMessage: Sendable {
    /// A field's place, counted from the start of the message. Empty: absent.
    struct Part: Hashable, Sendable {
        var offset: UInt32 = 0
        var count: UInt32 = 0
        var isEmpty: Bool { count == 0 }
    }

    package internal(set) var encoded: ByteBuffer
    var authorPart = Part()
    var dataPart = Part()
    var sequencePart = Part()
    var topicPart = Part()
    var signaturePart = Part()
    var keyPart = Part()

    init(encoded: ByteBuffer) { self.encoded = encoded }

    package var topic: Topic { Topic(String(decoding: slice(topicPart).readableBytesView, as: UTF8.self)) }
    /// Slices of the message: copy what is kept.
    package var data: ByteBuffer { slice(dataPart) }
    package var author: [UInt8] { Array(slice(authorPart).readableBytesView) }
    package var sequence: [UInt8] { Array(slice(sequencePart).readableBytesView) }
    package var signature: [UInt8] { Array(slice(signaturePart).readableBytesView) }
    package var key: [UInt8] { Array(slice(keyPart).readableBytesView) }
    package var byteCount: Int { encoded.readableBytes }

    func slice(_ part: Part) -> ByteBuffer {
        encoded.getSlice(at: encoded.readerIndex + Int(part.offset), length: Int(part.count)) ?? ByteBuffer()
    }

    func withBytes<R>(of part: Part, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        encoded.withUnsafeReadableBytes { bytes in
            let start = Int(part.offset)
            guard start <= bytes.count, Int(part.count) <= bytes.count - start else {
                return body(UnsafeRawBufferPointer(start: nil, count: 0))
            }
            return body(UnsafeRawBufferPointer(rebasing: bytes[start..<(start + Int(part.count))]))
        }
    }

    /// The eight bytes as a number, nil for another length.
    var sequenceNumber: UInt64? {
        guard sequencePart.count == 8 else { return nil }
        return withBytes(of: sequencePart) { UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)) }
    }
}

/// A peer that may be dialled instead of the one that says so.
package enum ExchangedPeer: Sendable {
    /// As cores name it: outgoing, and in the lab. The codec puts id and signed record in its place.
    case known(PeerIndex)
    /// As it came; nothing was checked.
    case heard(id: [UInt8], record: [UInt8])
}

/// One RPC: everything that one peer tells another at once.
package struct GossipRPC: Sendable {
    package struct Prune: Sendable {
        package let topic: Topic
        /// Seconds; nil in version 1.0.
        package let backoffSeconds: UInt64?
        package let exchanged: [ExchangedPeer]
        package init(topic: Topic, backoffSeconds: UInt64?, exchanged: [ExchangedPeer] = []) {
            self.topic = topic
            self.backoffSeconds = backoffSeconds
            self.exchanged = exchanged
        }
    }

    package var subscriptions: [(topic: Topic, isSubscribed: Bool)] = []
    package var messages: [GossipMessage] = []
    package var ihave: [(topic: Topic, ids: [MessageID])] = []
    package var iwant: [MessageID] = []
    package var graft: [Topic] = []
    package var prune: [Prune] = []
    package var idontwant: [MessageID] = []

    package init() {}

    package var isEmpty: Bool {
        messages.isEmpty && idontwant.isEmpty && ihave.isEmpty && iwant.isEmpty && graft.isEmpty && prune.isEmpty
            && subscriptions.isEmpty
    }
}

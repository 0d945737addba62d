// SPDX-License-Identifier: Apache-2.0
package import struct NIOCore.ByteBuffer

/// Thirty-two bytes held inline: a key, a digest, a seed. Ordered as bytes are.
package struct Bytes32: Hashable, Comparable, Sendable {
    /// The bytes in big-endian words, so that comparing words compares bytes.
    package let words: (UInt64, UInt64, UInt64, UInt64)

    package static let zero = Bytes32(words: (0, 0, 0, 0))
    package static let count = 32

    package init(words: (UInt64, UInt64, UInt64, UInt64)) {
        self.words = words
    }

    /// Nil unless there are exactly 32 bytes.
    package init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Bytes32.count else { return nil }
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        var position = 0
        for byte in bytes {
            switch position >> 3 {
            case 0: words.0 = words.0 << 8 | UInt64(byte)
            case 1: words.1 = words.1 << 8 | UInt64(byte)
            case 2: words.2 = words.2 << 8 | UInt64(byte)
            default: words.3 = words.3 << 8 | UInt64(byte)
            }
            position += 1
        }
        self.words = words
    }

    package var bytes: [UInt8] {
        withUnsafeBytes { Array($0) }
    }

    /// The 32 bytes in order.
    package func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        let ordered = (words.0.bigEndian, words.1.bigEndian, words.2.bigEndian, words.3.bigEndian)
        return try Swift.withUnsafeBytes(of: ordered, body)
    }

    package static func == (lhs: Bytes32, rhs: Bytes32) -> Bool {
        lhs.words.0 == rhs.words.0 && lhs.words.1 == rhs.words.1 && lhs.words.2 == rhs.words.2
            && lhs.words.3 == rhs.words.3
    }

    package static func < (lhs: Bytes32, rhs: Bytes32) -> Bool {
        lhs.words < rhs.words
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
        hasher.combine(words.2)
        hasher.combine(words.3)
    }
}

extension ByteBuffer {
    package mutating func readBytes32() -> Bytes32? {
        guard let first: UInt64 = readInteger(), let second: UInt64 = readInteger(), let third: UInt64 = readInteger(),
            let fourth: UInt64 = readInteger()
        else { return nil }
        return Bytes32(words: (first, second, third, fourth))
    }

    package mutating func writeBytes32(_ value: Bytes32) {
        writeInteger(value.words.0)
        writeInteger(value.words.1)
        writeInteger(value.words.2)
        writeInteger(value.words.3)
    }
}

// SPDX-License-Identifier: Apache-2.0
package import struct NIOCore.ByteBuffer

/// Unsigned varints as multiformats has them: seven bits a byte, least significant first, at most nine bytes (63 bits),
/// and no byte more than needed. Protobuf allows ten bytes and padding; `ProtobufReader` has its own rule.
package enum Varint {
    package static let bytesMax = 9

    package static func encodedCount(_ value: UInt64) -> Int {
        value == 0 ? 1 : (70 - value.leadingZeroBitCount) / 7
    }
}

extension ByteBuffer {
    /// Nil when more bytes are needed; then nothing was consumed.
    package mutating func readVarint() throws(DecodeError) -> UInt64? {
        guard let (value, count) = try getVarint(at: readerIndex) else { return nil }
        moveReaderIndex(forwardBy: count)
        return value
    }

    /// The varint at `index` and how many bytes it takes; nil when the readable bytes end before it does.
    package func getVarint(at index: Int) throws(DecodeError) -> (value: UInt64, count: Int)? {
        var value: UInt64 = 0
        var count = 0
        while count < Varint.bytesMax {
            guard let byte = getInteger(at: index + count, as: UInt8.self) else { return nil }
            value |= UInt64(byte & 0x7F) << UInt64(7 * count)
            count += 1
            if byte < 0x80 {
                guard byte != 0 || count == 1 else { throw .malformed("varint (padded)") }
                return (value, count)
            }
        }
        throw .tooLarge("varint", limit: Varint.bytesMax)
    }

    @discardableResult
    package mutating func writeVarint(_ value: UInt64) -> Int {
        var rest = value
        var count = 1
        while rest >= 0x80 {
            writeInteger(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
            count += 1
        }
        writeInteger(UInt8(truncatingIfNeeded: rest))
        return count
    }

    /// A message behind its varint length. Nil when more bytes are needed; then nothing was consumed.
    /// - Throws: `.tooLarge` as soon as the declared length is over `bytesMax`, before anything is allocated.
    package mutating func readDelimited(
        _ what: StaticText, bytesMax: Int
    ) throws(DecodeError) -> ByteBuffer? {
        guard let (length, prefix) = try getVarint(at: readerIndex) else { return nil }
        guard length <= UInt64(bytesMax) else { throw .tooLarge(what, limit: bytesMax) }
        guard readableBytes - prefix >= Int(length) else { return nil }
        moveReaderIndex(forwardBy: prefix)
        return readSlice(length: Int(length))
    }

    /// Writes `message` behind its varint length.
    package mutating func writeDelimited(_ message: ByteBuffer) {
        writeVarint(UInt64(message.readableBytes))
        writeImmutableBuffer(message)
    }
}

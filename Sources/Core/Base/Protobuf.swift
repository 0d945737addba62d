// SPDX-License-Identifier: Apache-2.0
package import struct NIOCore.ByteBuffer

/// Reads a protobuf message field by field, as slices, without building anything.
///
/// Follows protobuf.dev/programming-guides/encoding. Groups (wire types 3, 4) are refused. Unknown fields are the
/// caller's to skip: it ignores the numbers it does not know. There is no recursion: nested messages are slices that the
/// caller reads with another reader, as deep as its own schema goes.
package struct ProtobufReader {
    package enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case fixed32(UInt32)
        case bytes(ByteBuffer)
    }

    package struct Field {
        package let number: Int
        package let value: Value

        /// The value as a varint. - Throws: `.malformed` for another wire type.
        package func varint(_ what: StaticText) throws(DecodeError) -> UInt64 {
            guard case .varint(let value) = value else { throw .malformed(what) }
            return value
        }

        package func bool(_ what: StaticText) throws(DecodeError) -> Bool {
            try varint(what) != 0
        }

        /// The value as a slice of the message; copy it before keeping it.
        package func bytes(_ what: StaticText) throws(DecodeError) -> ByteBuffer {
            guard case .bytes(let value) = value else { throw .malformed(what) }
            return value
        }

        /// The value as UTF-8 text of at most `bytesMax` bytes.
        package func string(_ what: StaticText, bytesMax: Int) throws(DecodeError) -> String {
            let bytes = try bytes(what)
            guard bytes.readableBytes <= bytesMax else { throw .tooLarge(what, limit: bytesMax) }
            guard let text = String(validating: bytes.readableBytesView, as: UTF8.self) else {
                throw .malformed(what)
            }
            return text
        }
    }

    private var buffer: ByteBuffer

    package init(_ message: ByteBuffer) {
        buffer = message
    }

    /// The next field, or nil at the end of the message.
    package mutating func next() throws(DecodeError) -> Field? {
        guard buffer.readableBytes > 0 else { return nil }
        let key = try readVarint()
        guard key >> 3 >= 1, key >> 3 < 1 << 29 else { throw .malformed("protobuf field number") }
        let number = Int(key >> 3)
        switch key & 7 {
        case 0:
            return Field(number: number, value: .varint(try readVarint()))
        case 1:
            guard let value = buffer.readInteger(endianness: .little, as: UInt64.self) else {
                throw .truncated("protobuf fixed64")
            }
            return Field(number: number, value: .fixed64(value))
        case 2:
            let length = try readVarint()
            guard length <= UInt64(buffer.readableBytes), let slice = buffer.readSlice(length: Int(length)) else {
                throw .truncated("protobuf bytes")
            }
            return Field(number: number, value: .bytes(slice))
        case 5:
            guard let value = buffer.readInteger(endianness: .little, as: UInt32.self) else {
                throw .truncated("protobuf fixed32")
            }
            return Field(number: number, value: .fixed32(value))
        default:
            throw .malformed("protobuf wire type")
        }
    }

    /// Ten bytes at most; bits over 64 are refused, padding is allowed as in every protobuf parser.
    private mutating func readVarint() throws(DecodeError) -> UInt64 {
        var value: UInt64 = 0
        for position in 0..<10 {
            guard let byte = buffer.readInteger(as: UInt8.self) else { throw .truncated("protobuf varint") }
            if position == 9, byte > 1 { throw .malformed("protobuf varint") }
            value |= UInt64(byte & 0x7F) << UInt64(7 * position)
            if byte < 0x80 { return value }
        }
        throw .malformed("protobuf varint")
    }
}

extension ByteBuffer {
    package mutating func writeProtobuf(_ field: Int, varint value: UInt64) {
        writeVarint(UInt64(field) << 3)
        writeVarint(value)
    }

    package mutating func writeProtobuf(_ field: Int, bytes: some Collection<UInt8>) {
        writeVarint(UInt64(field) << 3 | 2)
        writeVarint(UInt64(bytes.count))
        writeBytes(bytes)
    }

    package mutating func writeProtobuf(_ field: Int, string: String) {
        writeVarint(UInt64(field) << 3 | 2)
        writeVarint(UInt64(string.utf8.count))
        writeString(string)
    }

    package mutating func writeProtobuf(_ field: Int, message: ByteBuffer) {
        writeVarint(UInt64(field) << 3 | 2)
        writeDelimited(message)
    }
}

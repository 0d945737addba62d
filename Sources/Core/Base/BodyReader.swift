// SPDX-License-Identifier: Apache-2.0
package import struct NIOCore.ByteBuffer

/// Reads a body that is signed: protobuf whose fields stand in ascending order, each as often as its kind says. What is read
/// is written again and compared, so that padding and other freedoms of protobuf are refused.
package struct BodyReader {
    package static let signatureBytesCount = 64

    private var reader: ProtobufReader
    private var next: ProtobufReader.Field?

    package init(_ bytes: ByteBuffer) throws(DecodeError) {
        reader = ProtobufReader(bytes)
        next = try reader.next()
    }

    package init(_ bytes: [UInt8]) throws(DecodeError) { try self.init(ByteBuffer(bytes: bytes)) }

    private mutating func take(_ number: Int) throws(DecodeError) -> ProtobufReader.Field? {
        guard let field = next, field.number == number else { return nil }
        next = try reader.next()
        return field
    }

    private mutating func need(_ number: Int, _ what: StaticText) throws(DecodeError) -> ProtobufReader.Field {
        guard let field = try take(number) else { throw next == nil ? .truncated(what) : .malformed(what) }
        return field
    }

    package mutating func number(
        _ number: Int, in range: ClosedRange<Int>, _ what: StaticText
    ) throws(DecodeError) -> Int {
        let value = try need(number, what).varint(what)
        guard value <= UInt64(range.upperBound) else { throw .tooLarge(what, limit: range.upperBound) }
        guard Int(value) >= range.lowerBound else { throw .malformed(what) }
        return Int(value)
    }

    package mutating func flag(_ number: Int, _ what: StaticText) throws(DecodeError) -> Bool {
        try self.number(number, in: 0...1, what) == 1
    }

    package mutating func bytes32(_ number: Int, _ what: StaticText) throws(DecodeError) -> Bytes32 {
        try Self.bytes32(try need(number, what), what)
    }

    package mutating func bytes32IfThere(_ number: Int, _ what: StaticText) throws(DecodeError) -> Bytes32? {
        guard let field = try take(number) else { return nil }
        return try Self.bytes32(field, what)
    }

    private static func bytes32(_ field: ProtobufReader.Field, _ what: StaticText) throws(DecodeError) -> Bytes32 {
        let bytes = try field.bytes(what)
        guard let value = Bytes32(bytes.readableBytesView) else { throw .malformed(what) }
        return value
    }

    /// Ascending, none twice.
    package mutating func set(_ number: Int, countMax: Int, _ what: StaticText) throws(DecodeError) -> [Bytes32] {
        var values: [Bytes32] = []
        while let field = try take(number) {
            guard values.count < countMax else { throw .tooLarge(what, limit: countMax) }
            let value = try Self.bytes32(field, what)
            if let last = values.last, last >= value { throw .malformed(what) }
            values.append(value)
        }
        return values
    }

    package mutating func bytes(_ number: Int, countMax: Int, _ what: StaticText) throws(DecodeError) -> [UInt8] {
        let bytes = try need(number, what).bytes(what)
        guard bytes.readableBytes <= countMax else { throw .tooLarge(what, limit: countMax) }
        return Array(bytes.readableBytesView)
    }

    package mutating func signature(_ number: Int, _ what: StaticText) throws(DecodeError) -> [UInt8] {
        let bytes = try bytes(number, countMax: Self.signatureBytesCount, what)
        guard bytes.count == Self.signatureBytesCount else { throw .malformed(what) }
        return bytes
    }

    package mutating func text(
        _ number: Int, bytesMax: Int, lines: Bool = false, _ what: StaticText
    ) throws(DecodeError) -> String {
        let text = try need(number, what).string(what, bytesMax: bytesMax)
        guard text.isPlain(lines: lines) else { throw .malformed(what) }
        return text
    }

    package mutating func message(_ number: Int, _ what: StaticText) throws(DecodeError) -> BodyReader {
        try BodyReader(try need(number, what).bytes(what))
    }

    package mutating func messageIfThere(_ number: Int, _ what: StaticText) throws(DecodeError) -> BodyReader? {
        guard let field = try take(number) else { return nil }
        return try BodyReader(try field.bytes(what))
    }

    package func end(_ what: StaticText) throws(DecodeError) {
        guard next == nil else { throw .malformed(what) }
    }
}

extension String {
    /// Nothing that moves a terminal's cursor or turns the direction of what follows.
    package func isPlain(lines: Bool) -> Bool {
        unicodeScalars.allSatisfy { scalar in
            switch scalar.value {
            case 0x0A: lines
            case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069: false
            default: true
            }
        }
    }
}

extension ByteBuffer {
    package mutating func write(_ field: Int, _ value: Bytes32) {
        value.withUnsafeBytes { writeProtobuf(field, bytes: $0) }
    }

    package mutating func write(_ field: Int, _ value: Int) { writeProtobuf(field, varint: UInt64(clamping: value)) }

    package mutating func write(_ field: Int, message write: (inout ByteBuffer) -> Void) {
        var message = ByteBuffer()
        write(&message)
        writeProtobuf(field, message: message)
    }
}

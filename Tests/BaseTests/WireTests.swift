// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase

import struct NIOCore.ByteBuffer

@Suite("Varints and protobuf")
struct WireTests {
    static let varints: [(UInt64, [UInt8])] = [
        (0, [0]), (1, [1]), (127, [0x7F]), (128, [0x80, 1]), (255, [0xFF, 1]), (300, [0xAC, 2]),
        (16_384, [0x80, 0x80, 1]),
        (1 << 62, [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40]),
        ((1 << 63) - 1, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
    ]

    @Test("Known numbers have their known bytes, and every cut waits for more", arguments: varints)
    func varint(value: UInt64, encoded: [UInt8]) throws {
        var written = ByteBuffer()
        #expect(written.writeVarint(value) == encoded.count)
        #expect(Array(written.readableBytesView) == encoded)
        #expect(Varint.encodedCount(value) == encoded.count)
        #expect(try written.readVarint() == value)
        #expect(written.readableBytes == 0)
        for count in 0..<encoded.count {
            var cut = ByteBuffer(bytes: encoded[..<count])
            #expect(try cut.readVarint() == nil)
            #expect(cut.readableBytes == count)
        }
    }

    @Test("The length is right at each power of two")
    func encodedCounts() {
        for bit in 0..<64 as Range<UInt64> {
            for value in [UInt64(1) << bit, (UInt64(1) << bit) &- 1, (UInt64(1) << bit) | 1] {
                var buffer = ByteBuffer()
                #expect(buffer.writeVarint(value) == Varint.encodedCount(value))
                #expect(buffer.readableBytes == Varint.encodedCount(value))
            }
        }
        #expect(Varint.encodedCount(.max) == 10)
    }

    @Test("Padding and more than 63 bits are refused, and nothing is consumed")
    func refusedVarints() {
        for padded: [UInt8] in [
            [0x80, 0], [0x81, 0], [0xFF, 0x80, 0], [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
        ] {
            var buffer = ByteBuffer(bytes: padded)
            #expect(throws: DecodeError.malformed("varint (padded)")) { try buffer.readVarint() }
            #expect(buffer.readableBytes == padded.count)
        }
        for tail: [UInt8] in [[], [0], [1], [0xFF, 0xFF]] {
            var buffer = ByteBuffer(bytes: [UInt8](repeating: 0xFF, count: 9) + tail)
            #expect(throws: DecodeError.tooLarge("varint", limit: 9)) { try buffer.readVarint() }
        }
    }

    @Test("A delimited message waits for all of itself, and its limit is checked from the length alone")
    func delimited() throws {
        var whole = ByteBuffer()
        whole.writeDelimited(ByteBuffer(bytes: [UInt8](repeating: 7, count: 200)))
        for count in 0..<whole.readableBytes {
            var cut = ByteBuffer(bytes: whole.readableBytesView.prefix(count))
            #expect(try cut.readDelimited("message", bytesMax: 200) == nil)
            #expect(cut.readableBytes == count)
        }
        var refused = ByteBuffer(bytes: [0xC9, 0x01])
        #expect(throws: DecodeError.tooLarge("message", limit: 200)) {
            try refused.readDelimited("message", bytesMax: 200)
        }
        var huge = ByteBuffer(bytes: [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F])
        #expect(throws: DecodeError.tooLarge("message", limit: .max / 2)) {
            try huge.readDelimited("message", bytesMax: .max / 2)
        }
        // With no limit to speak of, the greatest length only waits.
        #expect(try huge.readDelimited("message", bytesMax: .max) == nil)
        whole.writeInteger(UInt8(9))
        let message = try #require(try whole.readDelimited("message", bytesMax: 200))
        #expect(message.readableBytes == 200)
        #expect(whole.readInteger(as: UInt8.self) == 9)
        var empty = ByteBuffer(bytes: [0])
        #expect(try empty.readDelimited("message", bytesMax: 0)?.readableBytes == 0)
    }

    @Test("Every wire type reads back what was written")
    func fields() throws {
        var message = ByteBuffer()
        message.writeProtobuf(1, varint: .max)
        message.writeProtobuf(2, bytes: [1, 2, 3])
        message.writeProtobuf(3, string: "é")
        message.writeProtobuf(536_870_911, message: ByteBuffer(bytes: [0x08, 0x01]))
        message.writeBytes([0x29, 1, 0, 0, 0, 0, 0, 0, 0x80, 0x35, 2, 0, 0, 0x80])
        var reader = ProtobufReader(message)
        #expect(try reader.next()?.varint("field") == .max)
        #expect(try reader.next()?.bytes("field") == ByteBuffer(bytes: [1, 2, 3]))
        #expect(try reader.next()?.string("field", bytesMax: 2) == "é")
        let nested = try #require(try reader.next())
        #expect(nested.number == 536_870_911)
        var inner = ProtobufReader(try nested.bytes("field"))
        #expect(try inner.next()?.bool("field") == true)
        guard case .fixed64(0x8000_0000_0000_0001)? = try reader.next()?.value else {
            Issue.record("no fixed64")
            return
        }
        guard case .fixed32(0x8000_0002)? = try reader.next()?.value else {
            Issue.record("no fixed32")
            return
        }
        #expect(try reader.next() == nil)
    }

    @Test(
        "Broken fields are refused by name",
        arguments: [
            ([0x00, 0x01], DecodeError.malformed("protobuf field number")),
            ([0x80, 0x80, 0x80, 0x80, 0x10, 0x00], .malformed("protobuf field number")),
            ([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], .malformed("protobuf field number")),
            ([0x0B], .malformed("protobuf wire type")),
            ([0x0C], .malformed("protobuf wire type")),
            ([0x0E], .malformed("protobuf wire type")),
            ([0x0F], .malformed("protobuf wire type")),
            ([0x08], .truncated("protobuf varint")),
            ([0x08, 0x80], .truncated("protobuf varint")),
            ([0x80], .truncated("protobuf varint")),
            ([0x09, 1, 2, 3, 4, 5, 6, 7], .truncated("protobuf fixed64")),
            ([0x0D, 1, 2, 3], .truncated("protobuf fixed32")),
            ([0x0A, 2, 1], .truncated("protobuf bytes")),
            ([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], .truncated("protobuf bytes")),
            ([0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02], .malformed("protobuf varint")),
            ([0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], .malformed("protobuf varint")),
        ] as [([UInt8], DecodeError)])
    func refusedFields(bytes: [UInt8], error: DecodeError) {
        #expect(throws: error) {
            var reader = ProtobufReader(ByteBuffer(bytes: bytes))
            while try reader.next() != nil {}
        }
    }

    @Test("Padding inside a protobuf varint is allowed, as everywhere")
    func paddedProtobuf() throws {
        var reader = ProtobufReader(ByteBuffer(bytes: [0x88, 0x80, 0x00, 0x85, 0x80, 0x80, 0x00]))
        let field = try #require(try reader.next())
        #expect(field.number == 1)
        #expect(try field.varint("field") == 5)
    }

    @Test("A field of another type, invalid UTF-8 and long text are refused")
    func wrongTypes() throws {
        var reader = ProtobufReader(ByteBuffer(bytes: [0x08, 0x01, 0x0A, 0x02, 0xC3, 0x28]))
        let number = try #require(try reader.next())
        #expect(throws: DecodeError.malformed("field")) { try number.bytes("field") }
        #expect(throws: DecodeError.malformed("field")) { try number.string("field", bytesMax: 9) }
        let text = try #require(try reader.next())
        #expect(throws: DecodeError.malformed("field")) { try text.varint("field") }
        #expect(throws: DecodeError.malformed("field")) { try text.bool("field") }
        #expect(throws: DecodeError.malformed("field")) { try text.string("field", bytesMax: 2) }
        #expect(throws: DecodeError.tooLarge("field", limit: 1)) { try text.string("field", bytesMax: 1) }
    }

    @Test("Random bytes never trap the reader", arguments: 0..<20 as Range<UInt64>)
    func randomBytes(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            let bytes = (0..<Int.random(in: 0..<40, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator) & (Bool.random(using: &generator) ? 0x1F : 0xFF)
            }
            var reader = ProtobufReader(ByteBuffer(bytes: bytes))
            var fieldCount = 0
            while let field = try? reader.next() {
                fieldCount += 1
                #expect((1..<1 << 29).contains(field.number))
            }
            #expect(fieldCount <= bytes.count / 2)
        }
    }
}

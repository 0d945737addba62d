// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// The part of DNS that `/dnsaddr` needs: one question for TXT records, and the answer to it. RFC 1035, sections 3.1,
/// 3.3.14 and 4.1. Names as `MulticastDNSMessage` reads and writes them too.
///
/// Everything is bounded before it is read: names to 255 bytes, compression pointers to those that point backwards and
/// to 16 per name, records to what one datagram can hold.
package enum DNSMessage {
    package static let nameBytesMax = 255
    package static let labelBytesMax = 63
    package static let pointersMax = 16
    package static let recordsMax = 128
    package static let messageBytesMax = 4096
    static let typeTXT: UInt16 = 16
    static let classInternet: UInt16 = 1

    package struct Answer: Hashable, Sendable {
        package let id: UInt16
        /// RCODE: 0 is success, 3 says that the name doesn't exist.
        package let code: UInt8
        /// The answer was longer than the datagram.
        package let isTruncated: Bool
        /// Of the TXT records for the name that was asked for, each record's parts joined.
        package let texts: [[UInt8]]
    }

    /// Nil when `name` can't be a DNS name.
    package static func query(id: UInt16, name: String) -> ByteBuffer? {
        var message = ByteBuffer()
        // Recursion is desired; one question, and one additional record that says how much we take (RFC 6891).
        message.writeMultipleIntegers(id, UInt16(0x0100), UInt16(1), UInt16(0), UInt16(0), UInt16(1))
        guard write(name, to: &message) else { return nil }
        message.writeMultipleIntegers(typeTXT, classInternet)
        message.writeMultipleIntegers(UInt8(0), UInt16(41), UInt16(1232), UInt32(0), UInt16(0))
        return message
    }

    /// An answer for tests' name servers: `texts` as TXT records of `name`.
    package static func response(id: UInt16, name: String, texts: [String], code: UInt8 = 0) -> ByteBuffer? {
        var message = ByteBuffer()
        message.writeMultipleIntegers(
            id, UInt16(0x8180) | UInt16(code & 0x0F), UInt16(1), UInt16(clamping: texts.count), UInt16(0), UInt16(0))
        guard write(name, to: &message) else { return nil }
        message.writeMultipleIntegers(typeTXT, classInternet)
        for text in texts {
            // The name stands right behind the header.
            message.writeMultipleIntegers(UInt16(0xC00C), typeTXT, classInternet, UInt32(60))
            var rest = Array(text.utf8)[...]
            var data = ByteBuffer()
            repeat {
                let part = rest.prefix(255)
                data.writeInteger(UInt8(part.count))
                data.writeBytes(part)
                rest = rest.dropFirst(part.count)
            } while !rest.isEmpty
            message.writeInteger(UInt16(clamping: data.readableBytes))
            message.writeBuffer(&data)
        }
        return message
    }

    /// Decodes the answer to a question for `name`. Names are compared without regard to case.
    package static func answer(_ message: ByteBuffer, to name: String) throws(DecodeError) -> Answer {
        guard message.readableBytes <= messageBytesMax else {
            throw .tooLarge("DNS message", limit: messageBytesMax)
        }
        // Compression pointers count from the message's first byte.
        let whole = message.slice()
        var rest = whole
        guard
            let (id, flags, questions, answers, _, _) = rest.readMultipleIntegers(
                as: (UInt16, UInt16, UInt16, UInt16, UInt16, UInt16).self)
        else { throw .truncated("DNS header") }
        guard flags & 0x8000 != 0, flags & 0x7800 == 0 else { throw .malformed("DNS header") }
        guard questions == 1 else { throw .malformed("DNS question count") }
        guard Int(answers) <= recordsMax else { throw .tooLarge("DNS answers", limit: recordsMax) }
        let wanted = canonical(name)
        guard try readName(&rest, in: whole) == wanted else { throw .malformed("DNS question (not ours)") }
        guard let (type, kind) = rest.readMultipleIntegers(as: (UInt16, UInt16).self) else {
            throw .truncated("DNS question")
        }
        guard type == typeTXT, kind == classInternet else { throw .malformed("DNS question (not ours)") }
        let isTruncated = flags & 0x0200 != 0
        var texts: [[UInt8]] = []
        for _ in 0..<Int(answers) {
            // A datagram that was cut short is still good for what it holds.
            if isTruncated, rest.readableBytes == 0 { break }
            if let text = try readRecord(&rest, in: whole) { texts.append(text) }
        }
        return Answer(id: id, code: UInt8(flags & 0x0F), isTruncated: isTruncated, texts: texts)
    }

    /// The text of a TXT record; nil for any other (a CNAME before it, say). Its owner's name isn't compared: after a
    /// CNAME it is another one.
    private static func readRecord(_ rest: inout ByteBuffer, in whole: ByteBuffer) throws(DecodeError) -> [UInt8]? {
        _ = try readName(&rest, in: whole)
        guard
            let (type, kind, _, length) = rest.readMultipleIntegers(as: (UInt16, UInt16, UInt32, UInt16).self)
        else { throw .truncated("DNS record") }
        guard var data = rest.readSlice(length: Int(length)) else { throw .truncated("DNS record data") }
        guard type == typeTXT, kind == classInternet else { return nil }
        var text: [UInt8] = []
        while let count = data.readInteger(as: UInt8.self) {
            guard let part = data.readBytes(length: Int(count)) else { throw .truncated("DNS text") }
            text.append(contentsOf: part)
        }
        return text
    }

    /// The name at the reader index in lower case with dots; the reader index moves behind it.
    static func readName(_ rest: inout ByteBuffer, in whole: ByteBuffer) throws(DecodeError) -> [UInt8] {
        var name: [UInt8] = []
        var position = rest.readerIndex
        var pointers = 0
        while true {
            guard let length = whole.getInteger(at: position, as: UInt8.self) else { throw .truncated("DNS name") }
            switch length >> 6 {
            case 0:
                position += 1
                if pointers == 0 { rest.moveReaderIndex(to: position) }
                guard length > 0 else { return name }
                guard let label = whole.getBytes(at: position, length: Int(length)) else {
                    throw .truncated("DNS label")
                }
                guard name.count + label.count + 1 <= nameBytesMax else {
                    throw .tooLarge("DNS name", limit: nameBytesMax)
                }
                if !name.isEmpty { name.append(UInt8(ascii: ".")) }
                name.append(contentsOf: label.map(lowercased))
                position += Int(length)
                if pointers == 0 { rest.moveReaderIndex(to: position) }
            case 3:
                guard let word = whole.getInteger(at: position, as: UInt16.self) else {
                    throw .truncated("DNS pointer")
                }
                let target = whole.readerIndex + Int(word & 0x3FFF)
                if pointers == 0 { rest.moveReaderIndex(to: position + 2) }
                pointers += 1
                // Only backwards: so the walk ends, and never reads what is not there yet.
                guard target < position, pointers <= pointersMax else { throw .malformed("DNS pointer") }
                position = target
            default:
                throw .malformed("DNS label type")
            }
        }
    }

    static func write(_ name: String, to message: inout ByteBuffer) -> Bool {
        let trimmed = name.hasSuffix(".") ? name.dropLast() : name[...]
        guard !trimmed.isEmpty, trimmed.utf8.count <= nameBytesMax - 2 else { return false }
        for label in trimmed.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard !label.isEmpty, label.count <= labelBytesMax else { return false }
            message.writeInteger(UInt8(label.count))
            message.writeBytes(label)
        }
        message.writeInteger(UInt8(0))
        return true
    }

    private static func canonical(_ name: String) -> [UInt8] {
        let bytes = name.utf8.map(lowercased)
        return bytes.last == UInt8(ascii: ".") ? Array(bytes.dropLast()) : bytes
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte + 32 : byte
    }
}

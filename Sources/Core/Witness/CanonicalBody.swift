// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// Something with exactly one encoding: what is read is written again and compared, so that two encodings of one value
/// never have two digests.
package protocol CanonicalBody {
    /// Reads the fields; the caller checks that nothing follows.
    init(from reader: inout BodyReader) throws(DecodeError)
    func write(into buffer: inout ByteBuffer)
}

extension CanonicalBody {
    package init(encoded bytes: ByteBuffer, bytesMax: Int, _ what: StaticText) throws(DecodeError) {
        guard bytes.readableBytes <= bytesMax else { throw .tooLarge(what, limit: bytesMax) }
        var reader = try BodyReader(bytes)
        try self.init(from: &reader)
        try reader.end(what)
        guard encoded == bytes else { throw .malformed(what) }
    }

    package var encoded: ByteBuffer {
        var buffer = ByteBuffer()
        write(into: &buffer)
        return buffer
    }

    /// The digest of a domain, behind its length, and of the encoding.
    package func digest(domain: StaticText) -> Bytes32 {
        var buffer = ByteBuffer()
        buffer.write(domain: domain)
        write(into: &buffer)
        return buffer.sha256
    }
}

extension BodyReader {
    package mutating func body<Body: CanonicalBody>(_ number: Int, _ what: StaticText) throws(DecodeError) -> Body {
        var message = try message(number, what)
        let body = try Body(from: &message)
        try message.end(what)
        return body
    }

    package mutating func bodyIfThere<Body: CanonicalBody>(
        _ number: Int, _ what: StaticText
    ) throws(DecodeError) -> Body? {
        guard var message = try messageIfThere(number, what) else { return nil }
        let body = try Body(from: &message)
        try message.end(what)
        return body
    }

    package mutating func bodies<Body: CanonicalBody>(
        _ number: Int, countMax: Int, _ what: StaticText
    ) throws(DecodeError) -> [Body] {
        var bodies: [Body] = []
        while let body: Body = try bodyIfThere(number, what) {
            guard bodies.count < countMax else { throw .tooLarge(what, limit: countMax) }
            bodies.append(body)
        }
        return bodies
    }

    package mutating func bytes32s(_ number: Int, countMax: Int, _ what: StaticText) throws(DecodeError) -> [Bytes32] {
        var values: [Bytes32] = []
        while let value = try bytes32IfThere(number, what) {
            guard values.count < countMax else { throw .tooLarge(what, limit: countMax) }
            values.append(value)
        }
        return values
    }
}

extension ByteBuffer {
    package mutating func write(_ field: Int, _ body: some CanonicalBody) {
        write(field) { body.write(into: &$0) }
    }

    package mutating func write(domain: StaticText) {
        writeVarint(UInt64(domain.text.utf8.count))
        writeString(domain.text)
    }

    package var sha256: Bytes32 { KeyDerivation.sha256(Array(readableBytesView)) }
}

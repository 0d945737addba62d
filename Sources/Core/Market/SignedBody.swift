// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiWitness

import struct NIOCore.ByteBuffer

/// What is signed within bodies of the market: as RFC 0002 signs, with a domain of its own for each use, so that none can
/// stand for another.
enum SignedBody {
    static func bytes(_ domain: String, _ write: (inout ByteBuffer) -> Void) -> [UInt8] {
        var payload = ByteBuffer()
        write(&payload)
        return SignedEnvelope.signedBytes(domain: domain, payloadType: [], payload: payload)
    }
}

extension CanonicalBody {
    /// Of an entry.
    init(body bytes: [UInt8], _ what: StaticText, bytesMax: Int = StandingLimits.bodyBytesMax) throws(DecodeError) {
        try self.init(encoded: ByteBuffer(bytes: bytes), bytesMax: bytesMax, what)
    }

    var body: [UInt8] { Array(encoded.readableBytesView) }
}

extension BodyReader {
    /// Messages that hold one text each.
    mutating func texts(
        _ number: Int, countMax: Int, bytesMax: Int, _ what: StaticText
    ) throws(DecodeError) -> [String] {
        var texts: [String] = []
        while var message = try messageIfThere(number, what) {
            guard texts.count < countMax else { throw .tooLarge(what, limit: countMax) }
            texts.append(try message.text(1, bytesMax: bytesMax, what))
            try message.end(what)
        }
        return texts
    }
}

extension ByteBuffer {
    mutating func write(_ field: Int, texts: [String]) {
        for text in texts { write(field) { $0.writeProtobuf(1, string: text) } }
    }
}

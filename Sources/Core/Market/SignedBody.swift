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

    static func isValid(_ signature: [UInt8], by key: Bytes32, for message: [UInt8]) -> Bool {
        Ed25519Verifier.preferred.isValid(signature, for: message, key: key.bytes)
    }
}

extension BodyReader {
    mutating func optional<Value>(
        _ number: Int, _ what: StaticText, _ read: (inout BodyReader) throws(DecodeError) -> Value
    ) throws(DecodeError) -> Value? {
        guard var message = try messageIfThere(number, what) else { return nil }
        let value = try read(&message)
        try message.end(what)
        return value
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// A payload with its type, its signer's public key and a signature over all of it and a domain (libp2p RFC 0002).
///
/// A value of this type was verified: there is no way to make one from outside without the check.
package struct SignedEnvelope: Sendable {
    package let publicKey: PublicKey
    package let payloadType: [UInt8]
    /// A slice of what was read; copy it before keeping it.
    package let payload: ByteBuffer

    /// Decodes and checks the signature. Unknown fields are ignored, known ones stand exactly once (an empty payload
    /// or type may be left out, as proto3 does).
    /// - Throws: `.malformed` also when the signature is wrong for this domain.
    package init(_ bytes: ByteBuffer, domain: String) throws(DecodeError) {
        guard bytes.readableBytes <= IdentityLimits.envelopeBytesMax else {
            throw .tooLarge("envelope", limit: IdentityLimits.envelopeBytesMax)
        }
        var key: ByteBuffer?
        var type: ByteBuffer?
        var payload: ByteBuffer?
        var signature: ByteBuffer?
        var reader = ProtobufReader(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 1: try Self.set(&key, to: field)
            case 2: try Self.set(&type, to: field)
            case 3: try Self.set(&payload, to: field)
            case 5: try Self.set(&signature, to: field)
            default: break
            }
        }
        guard let key, let signature else { throw .truncated("envelope") }
        payloadType = type.map { Array($0.readableBytesView) } ?? []
        guard payloadType.count <= IdentityLimits.payloadTypeBytesMax else {
            throw .tooLarge("envelope payload type", limit: IdentityLimits.payloadTypeBytesMax)
        }
        guard signature.readableBytes <= IdentityLimits.signatureBytesMax else {
            throw .tooLarge("envelope signature", limit: IdentityLimits.signatureBytesMax)
        }
        self.payload = payload ?? ByteBuffer()
        publicKey = try PublicKey(protobuf: key)
        let signed = Self.signedBytes(domain: domain, payloadType: payloadType, payload: self.payload)
        guard publicKey.isValidSignature(Array(signature.readableBytesView), for: signed) else {
            throw .malformed("envelope signature")
        }
    }

    /// The encoded envelope, fields in order.
    package static func seal(
        payloadType: [UInt8], payload: ByteBuffer, domain: String, with key: KeyPair
    ) -> ByteBuffer {
        let signature = key.sign(signedBytes(domain: domain, payloadType: payloadType, payload: payload))
        var buffer = ByteBuffer()
        buffer.writeProtobuf(1, bytes: key.publicKey.protobuf)
        buffer.writeProtobuf(2, bytes: payloadType)
        buffer.writeProtobuf(3, message: payload)
        buffer.writeProtobuf(5, bytes: signature)
        return buffer
    }

    /// Domain, type and payload, each behind its length, so that no byte can move from one to the next.
    package static func signedBytes(domain: String, payloadType: [UInt8], payload: ByteBuffer) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(domain.utf8.count + payloadType.count + payload.readableBytes + 3 * Varint.bytesMax)
        buffer.writeVarint(UInt64(domain.utf8.count))
        buffer.writeString(domain)
        buffer.writeVarint(UInt64(payloadType.count))
        buffer.writeBytes(payloadType)
        buffer.writeDelimited(payload)
        return Array(buffer.readableBytesView)
    }

    private static func set(_ slot: inout ByteBuffer?, to field: ProtobufReader.Field) throws(DecodeError) {
        guard slot == nil else { throw .malformed("envelope (field twice)") }
        slot = try field.bytes("envelope field")
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// A signed header and, unless it was dropped, the body that it names.
///
/// Decoding checks everything but the signature: form, limits, and that the body is the one that the header names. The
/// signature is checked apart (``isSignatureValid``), in batches and on other threads, because it costs a thousand
/// times as much.
///
/// On wires and disks an entry is compact, without any freedom of encoding:
///
/// | bytes | what |
/// |---|---|
/// | 1 | 0: without its body, 1: with it |
/// | 185 | ``EntryHeader`` |
/// | 64 | Ed25519 signature of the header as a libp2p signed envelope (RFC 0002) signs it |
/// | 32 | salt (with a body only) |
/// | as the header says | body (with a body only) |
package struct Entry: Hashable, Sendable {
    package struct Content: Hashable, Sendable {
        /// Travels with the body and is dropped with it: who has only the header can't test guesses of the body.
        package let salt: Bytes32
        package let body: [UInt8]

        package init(salt: Bytes32, body: [UInt8]) {
            self.salt = salt
            self.body = body
        }

        package var digest: Bytes32 { KeyDerivation.sha256(salt.bytes + body) }
    }

    package static let signatureBytesCount = 64
    package static let bytesMax = 1 + EntryHeader.bytesCount + signatureBytesCount + 32 + JournalLimits.bodyBytesMax

    package let id: EntryID
    package let header: EntryHeader
    package let signature: [UInt8]
    /// Nil when the body was dropped after its time.
    package private(set) var content: Content?

    /// A new entry of our own.
    package init(signing header: EntryHeader, content: Content, with key: KeyPair) {
        let bytes = header.bytes
        self.init(header: header, headerBytes: bytes, signature: key.sign(Self.signedBytes(bytes)), content: content)
    }

    /// From a store, which holds only what was checked.
    package init(stored header: EntryHeader, signature: [UInt8], content: Content?) {
        self.init(header: header, headerBytes: header.bytes, signature: signature, content: content)
    }

    private init(header: EntryHeader, headerBytes: [UInt8], signature: [UInt8], content: Content?) {
        self.header = header
        self.signature = signature
        self.content = content
        id = EntryID(KeyDerivation.sha256(Self.idDomain + headerBytes))
    }

    /// Takes one entry from the front.
    package init(from buffer: inout ByteBuffer) throws(DecodeError) {
        guard let form: UInt8 = buffer.readInteger() else { throw .truncated("entry") }
        guard form <= 1 else { throw .malformed("entry form") }
        let headerBytes = buffer.getBytes(at: buffer.readerIndex, length: EntryHeader.bytesCount) ?? []
        let header = try EntryHeader(from: &buffer)
        guard let signature = buffer.readBytes(length: Self.signatureBytesCount) else {
            throw .truncated("entry signature")
        }
        var content: Content?
        if form == 1 {
            guard let salt = buffer.readBytes32(), let body = buffer.readBytes(length: header.bodyBytesCount) else {
                throw .truncated("entry body")
            }
            let read = Content(salt: salt, body: body)
            guard read.digest == header.bodyDigest else { throw .malformed("entry body") }
            content = read
        }
        self.init(header: header, headerBytes: headerBytes, signature: signature, content: content)
    }

    package func encode(into buffer: inout ByteBuffer, withBody: Bool = true) {
        let content = withBody ? content : nil
        buffer.writeInteger(UInt8(content == nil ? 0 : 1))
        header.encode(into: &buffer)
        buffer.writeBytes(signature)
        guard let content else { return }
        buffer.writeBytes32(content.salt)
        buffer.writeBytes(content.body)
    }

    package var encodedBytesCount: Int {
        let fixed = 1 + EntryHeader.bytesCount + Self.signatureBytesCount
        return content.map { fixed + Bytes32.count + $0.body.count } ?? fixed
    }

    package var point: FeedPoint { FeedPoint(sequence: header.sequence, id: id) }

    /// The same entry without its body.
    package var withoutBody: Entry {
        var copy = self
        copy.content = nil
        return copy
    }

    /// Costs tens of microseconds; not for an EventLoop when there are many.
    package var isSignatureValid: Bool {
        Ed25519Verifier.preferred.isValid(
            signature, for: Self.signedBytes(header.bytes), key: header.device.bytes.bytes)
    }

    // MARK: The envelope

    package static let signatureDomain = "tutti-entry"
    /// `/tutti/entry`: no code of the multicodec table.
    package static let payloadType: [UInt8] = Array("/tutti/entry".utf8)
    private static let idDomain: [UInt8] = Array("tutti-entry-id".utf8)

    /// What the signature covers: domain, payload type and header, each behind its length (RFC 0002).
    package static func signedBytes(_ headerBytes: [UInt8]) -> [UInt8] {
        SignedEnvelope.signedBytes(
            domain: signatureDomain, payloadType: payloadType, payload: ByteBuffer(bytes: headerBytes))
    }

    /// The header as a libp2p signed envelope, in the one encoding that counts: fields in order, each exactly once.
    package var envelope: ByteBuffer {
        var buffer = ByteBuffer()
        let key = (try? PublicKey(kind: .ed25519, raw: header.device.bytes.bytes))?.protobuf ?? []
        buffer.writeProtobuf(1, bytes: key)
        buffer.writeProtobuf(2, bytes: Self.payloadType)
        buffer.writeProtobuf(3, bytes: header.bytes)
        buffer.writeProtobuf(5, bytes: signature)
        return buffer
    }
}

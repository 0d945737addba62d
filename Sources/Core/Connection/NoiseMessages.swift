// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// What a Noise peer may make us hold.
package enum NoiseLimits {
    /// A handshake message: 4 KiB, and 2 KiB for an RSA key of 8,192 bits with its signature. Noise allows 65,535.
    package static let handshakeFrameBytesMax = 6 * 1024
    /// A transport record with its tag.
    package static let recordBytesMax = 65_535
    package static let muxersMax = 32
}

/// What a node needs for every Noise handshake: the static key, and the proof that it belongs to the node's identity.
///
/// Made once per node and kept in memory only, as the specification advises: it costs a signature and a key, and the
/// handshakes then cost neither.
package struct NoiseIdentity: Sendable {
    static let signaturePrefix: StaticString = "noise-libp2p-static-key:"

    let privateKey: Bytes32
    package let publicKey: Bytes32
    /// The fields `identity_key` and `identity_sig`, ready to send.
    let provenKey: ByteBuffer

    package init(_ identity: KeyPair, keySource: inout KeySource) {
        self.init(identity, staticKey: keySource.nextBytes32())
    }

    /// - Parameter staticKey: the private X25519 key; any 32 bytes are one.
    package init(_ identity: KeyPair, staticKey: Bytes32) {
        let message = NoiseIdentity.signedMessage(for: X25519.publicKey(of: staticKey))
        var fields = ByteBuffer()
        fields.writeProtobuf(1, bytes: identity.publicKey.protobuf)
        fields.writeProtobuf(2, bytes: identity.sign(message))
        self.init(staticKey: staticKey, provenKey: fields)
    }

    /// With a proof that was made elsewhere; it is sent as it is, right or wrong.
    package init(staticKey: Bytes32, provenKey: ByteBuffer) {
        privateKey = staticKey
        publicKey = X25519.publicKey(of: staticKey)
        self.provenKey = provenKey
    }

    /// What an identity signs to prove that a static key is its own.
    package static func signedMessage(for staticKey: Bytes32) -> [UInt8] {
        var message = signaturePrefix.withUTF8Buffer { Array($0) }
        staticKey.withUnsafeBytes { message.append(contentsOf: $0) }
        return message
    }
}

/// The payload of messages 2 and 3: a bare protobuf `NoiseHandshakePayload`, noise/README.md "The libp2p Handshake
/// Payload".
package struct NoisePayload {
    package let identityKey: PublicKey
    package let signature: [UInt8]
    /// In the sender's order; empty when it sent none.
    package let muxers: [ProtocolID]

    static func encode(_ identity: NoiseIdentity, muxers: [ProtocolID]) -> ByteBuffer {
        var payload = identity.provenKey
        guard !muxers.isEmpty else { return payload }
        var extensions = ByteBuffer()
        for muxer in muxers { extensions.writeProtobuf(2, string: muxer.name) }
        payload.writeProtobuf(4, message: extensions)
        return payload
    }

    package init(_ message: ByteBuffer) throws(DecodeError) {
        var keyBytes: ByteBuffer?
        var signatureBytes: ByteBuffer?
        var muxers: [ProtocolID] = []
        var reader = ProtobufReader(message)
        while let field = try reader.next() {
            switch field.number {
            case 1: keyBytes = try field.bytes("Noise identity key")
            case 2: signatureBytes = try field.bytes("Noise identity signature")
            case 4: try NoisePayload.readExtensions(try field.bytes("Noise extensions"), into: &muxers)
            default: continue
            }
        }
        guard let keyBytes else { throw .malformed("Noise identity key (missing)") }
        guard let signatureBytes else { throw .malformed("Noise identity signature (missing)") }
        identityKey = try PublicKey(protobuf: keyBytes)
        signature = Array(signatureBytes.readableBytesView)
        self.muxers = muxers
    }

    private static func readExtensions(_ message: ByteBuffer, into muxers: inout [ProtocolID]) throws(DecodeError) {
        var reader = ProtobufReader(message)
        while let field = try reader.next() {
            guard field.number == 2 else { continue }
            guard muxers.count < NoiseLimits.muxersMax else {
                throw .tooLarge("Noise muxer list", limit: NoiseLimits.muxersMax)
            }
            muxers.append(ProtocolID(try field.string("Noise muxer", bytesMax: ProtocolID.bytesMax)))
        }
    }

    /// The first muxer of the dialer's list that both have; nil when one of them sent none and it must be negotiated
    /// later. - Throws: when both sent a list and nothing is in both: then the handshake must fail.
    static func agree(dialer: [ProtocolID], listener: [ProtocolID]) throws(DecodeError) -> ProtocolID? {
        guard !dialer.isEmpty, !listener.isEmpty else { return nil }
        guard let muxer = dialer.first(where: { listener.contains($0) }) else {
            throw .unsupported("Noise muxer list")
        }
        return muxer
    }
}

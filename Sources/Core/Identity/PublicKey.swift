// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// A peer's public key, of any type that libp2p knows. Ours are Ed25519; the others are only verified.
///
/// Follows libp2p's peer-ids specification. A key is read only in its one deterministic encoding, because the id is a
/// hash of the bytes.
package struct PublicKey: Hashable, Sendable {
    package enum Kind: UInt8, Sendable {
        case rsa = 0
        case ed25519 = 1
        case secp256k1 = 2
        case ecdsa = 3
    }

    package let kind: Kind
    /// The key in the form of its kind: PKIX DER (RSA, ECDSA), 32 bytes (Ed25519), 33 bytes compressed (secp256k1).
    package let raw: [UInt8]

    /// Checks form and size. Whether a point is on its curve shows when a signature is verified.
    package init(kind: Kind, raw: [UInt8]) throws(DecodeError) {
        switch kind {
        case .ed25519:
            guard raw.count == Bytes32.count else { throw .malformed("Ed25519 key") }
            guard Ed25519Verifier.isUsableKey(raw) else { throw .malformed("Ed25519 key (weak)") }
        case .rsa:
            try ForeignKeys.checkRSA(raw)
        case .ecdsa:
            try ForeignKeys.checkP256(raw)
        case .secp256k1:
            try ForeignKeys.checkSecp256k1(raw)
        }
        self.kind = kind
        self.raw = raw
    }

    /// Our own key, or one that was checked.
    init(ed25519 key: Bytes32) {
        kind = .ed25519
        raw = key.bytes
    }

    package init(protobuf: ByteBuffer) throws(DecodeError) {
        try self.init(protobuf: protobuf.readableBytesView)
    }

    /// `08 kind 12 length key`, with nothing left out, added, padded or in another order.
    package init(protobuf: some Collection<UInt8>) throws(DecodeError) {
        guard protobuf.count <= IdentityLimits.publicKeyBytesMax + 5 else {
            throw .tooLarge("public key", limit: IdentityLimits.publicKeyBytesMax + 5)
        }
        let bytes = Array(protobuf)
        guard bytes.count > 4 else { throw .truncated("public key") }
        guard bytes[0] == 0x08, bytes[1] < 0x80, bytes[2] == 0x12 else { throw .malformed("public key") }
        guard let kind = Kind(rawValue: bytes[1]) else { throw .unsupported("public key type") }
        // Lengths up to 16,383 take two bytes at most, and the limit above is below that.
        var length = Int(bytes[3])
        var start = 4
        if bytes[3] >= 0x80 {
            guard bytes[4] > 0, bytes[4] < 0x80 else { throw .malformed("public key") }
            length = Int(bytes[3] & 0x7F) | Int(bytes[4]) << 7
            start = 5
        }
        guard bytes.count - start >= length else { throw .truncated("public key") }
        guard bytes.count - start == length else { throw .malformed("public key") }
        try self.init(kind: kind, raw: Array(bytes[start...]))
    }

    package var protobuf: [UInt8] {
        var bytes: [UInt8] = [0x08, kind.rawValue, 0x12]
        bytes.reserveCapacity(raw.count + 5)
        if raw.count < 0x80 {
            bytes.append(UInt8(raw.count))
        } else {
            bytes.append(UInt8(truncatingIfNeeded: raw.count) | 0x80)
            bytes.append(UInt8(truncatingIfNeeded: raw.count >> 7))
        }
        return bytes + raw
    }

    package var peerID: PeerID {
        if kind == .ed25519, let key = Bytes32(raw) { return PeerID(ed25519: key) }
        let encoded = protobuf
        if encoded.count <= IdentityLimits.inlineKeyBytesMax {
            let multihash = [0, UInt8(encoded.count)] + encoded
            do throws(DecodeError) { return try PeerID(multihash: multihash) } catch {
                // Not reached: an identity multihash of 1 to 42 bytes is always an id.
                assertionFailure("an inline key is an id")
            }
        }
        return PeerID(sha256: KeyDerivation.sha256(encoded))
    }

    /// Costs about 50 µs of processor time, RSA and secp256k1 more; the caller keeps the budget.
    package func isValidSignature(_ signature: [UInt8], for message: [UInt8]) -> Bool {
        guard signature.count <= IdentityLimits.signatureBytesMax else { return false }
        switch kind {
        case .ed25519:
            return Ed25519Verifier.preferred.isValid(signature, for: message, key: raw)
        case .rsa:
            return ForeignKeys.isValidRSA(signature, for: message, key: raw)
        case .ecdsa:
            return ForeignKeys.isValidP256(signature, for: message, key: raw)
        case .secp256k1:
            return ForeignKeys.isValidSecp256k1(signature, for: message, key: raw)
        }
    }
}

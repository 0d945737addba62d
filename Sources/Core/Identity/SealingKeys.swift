// SPDX-License-Identifier: Apache-2.0
import Crypto
package import TuttiBase

/// To whom something can be sealed: an X25519 public key. Any 32 bytes are one; a weak one shows when it is used.
package struct SealingPublicKey: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// An X25519 key pair. It has no description and is never logged.
package struct SealingKeyPair: Sendable {
    package let privateBytes: Bytes32
    package let publicKey: SealingPublicKey
    /// Kept: making it anew costs a multiplication on the curve.
    private let key: Curve25519.KeyAgreement.PrivateKey

    package init(from source: inout KeySource) {
        self.init(privateBytes: source.nextBytes32())
    }

    package init(privateBytes: Bytes32) {
        do {
            key = try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: privateBytes.bytes)
        } catch {
            preconditionFailure("32 bytes are always an X25519 private key")
        }
        guard let publicBytes = Bytes32(key.publicKey.rawRepresentation) else {
            preconditionFailure("an X25519 public key is 32 bytes")
        }
        self.privateBytes = privateBytes
        publicKey = SealingPublicKey(publicBytes)
    }

    /// What only the holders of the two private keys can compute (RFC 7748, section 6.1); about 50 µs. Nil when it
    /// would be zero: then the other key is a point of low order, and everybody would know the secret.
    package func secret(with other: SealingPublicKey) -> Bytes32? {
        guard let other = try? Curve25519.KeyAgreement.PublicKey(rawRepresentation: other.bytes.bytes),
            let secret = try? key.sharedSecretFromKeyAgreement(with: other),
            let bytes = secret.withUnsafeBytes({ Bytes32(Array($0)) }), bytes != .zero
        else { return nil }
        return bytes
    }
}

/// ChaCha20-Poly1305 (RFC 8439) for things that are sealed once: the caller never uses a key for two plaintexts, so the
/// nonce is zero unless something else gives it.
package enum SecretBox {
    package static let tagBytesCount = 16
    package static let nonceBytesCount = 12

    /// Ciphertext and tag.
    package static func seal(
        _ plaintext: [UInt8], key: Bytes32, nonce: [UInt8] = zeroNonce, authenticating associated: [UInt8]
    ) -> [UInt8] {
        guard let nonce = try? ChaChaPoly.Nonce(data: nonce),
            let box = try? ChaChaPoly.seal(
                plaintext, using: SymmetricKey(data: key.bytes), nonce: nonce, authenticating: associated)
        else { preconditionFailure("a key of 32 bytes and a nonce of 12 always seal") }
        return Array(box.ciphertext) + Array(box.tag)
    }

    /// Nil for anything that wasn't sealed so, with this key.
    package static func open(
        _ sealed: [UInt8], key: Bytes32, nonce: [UInt8] = zeroNonce, authenticating associated: [UInt8]
    ) -> [UInt8]? {
        guard sealed.count >= tagBytesCount, let nonce = try? ChaChaPoly.Nonce(data: nonce),
            let box = try? ChaChaPoly.SealedBox(
                nonce: nonce, ciphertext: sealed.dropLast(tagBytesCount), tag: sealed.suffix(tagBytesCount)),
            let plain = try? ChaChaPoly.open(
                box, using: SymmetricKey(data: key.bytes), authenticating: associated)
        else { return nil }
        return Array(plain)
    }

    package static let zeroNonce = [UInt8](repeating: 0, count: nonceBytesCount)
}

extension KeyDerivation {
    /// HMAC-SHA-256 (RFC 2104).
    package static func authenticate(_ message: [UInt8], key: [UInt8]) -> Bytes32 {
        let code = HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: key))
        return Bytes32(Array(code)) ?? .zero
    }

    /// HKDF-SHA-256 (RFC 5869), 32 bytes of it.
    package static func hkdf(_ secret: [UInt8], salt: [UInt8] = [], info: [UInt8]) -> Bytes32 {
        hkdfExpand(hkdfExtract(secret, salt: salt), info: info)
    }

    static func hkdfExtract(_ secret: [UInt8], salt: [UInt8]) -> Bytes32 {
        authenticate(secret, key: salt)
    }

    /// The first round: all of a key, the beginning of anything shorter.
    static func hkdfExpand(_ key: Bytes32, info: [UInt8]) -> Bytes32 {
        authenticate(info + [1], key: key.bytes)
    }
}

/// Hybrid public key encryption (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, base mode, one
/// message per key.
///
/// Built here from its parts, because the library's own draws the ephemeral key itself, and what the lab does has to be
/// repeatable. The tests hold it against the RFC's vectors and, both ways, against the library.
package enum HybridEncryption {
    /// The ephemeral key before the ciphertext, the tag behind it.
    package static let overheadBytesCount = Bytes32.count + SecretBox.tagBytesCount

    private static let kemSuite: [UInt8] = Array("KEM".utf8) + [0x00, 0x20]
    private static let suite: [UInt8] = Array("HPKE".utf8) + [0x00, 0x20, 0x00, 0x01, 0x00, 0x03]

    /// Nil when the recipient's key is weak.
    package static func seal(
        _ plaintext: [UInt8], to recipient: SealingPublicKey, info: [UInt8], authenticating associated: [UInt8],
        from source: inout KeySource
    ) -> [UInt8]? {
        let ephemeral = SealingKeyPair(from: &source)
        guard let secret = ephemeral.secret(with: recipient) else { return nil }
        let (key, nonce) = schedule(secret, ephemeral: ephemeral.publicKey, recipient: recipient, info: info)
        return ephemeral.publicKey.bytes.bytes
            + SecretBox.seal(plaintext, key: key, nonce: nonce, authenticating: associated)
    }

    /// Nil for anything that wasn't sealed so, to this key.
    package static func open(
        _ sealed: [UInt8], with recipient: SealingKeyPair, info: [UInt8], authenticating associated: [UInt8]
    ) -> [UInt8]? {
        guard sealed.count >= overheadBytesCount, let bytes = Bytes32(sealed.prefix(Bytes32.count)),
            let secret = recipient.secret(with: SealingPublicKey(bytes))
        else { return nil }
        let (key, nonce) = schedule(
            secret, ephemeral: SealingPublicKey(bytes), recipient: recipient.publicKey, info: info)
        return SecretBox.open(
            Array(sealed.dropFirst(Bytes32.count)), key: key, nonce: nonce, authenticating: associated)
    }

    /// Section 4.1 (ExtractAndExpand) and 5.1 (KeySchedule without a pre-shared key).
    private static func schedule(
        _ secret: Bytes32, ephemeral: SealingPublicKey, recipient: SealingPublicKey, info: [UInt8]
    ) -> (key: Bytes32, nonce: [UInt8]) {
        let agreed = extract(kemSuite, salt: [], "eae_prk", secret.bytes)
        let shared = expand(
            kemSuite, agreed, "shared_secret", ephemeral.bytes.bytes + recipient.bytes.bytes, count: Bytes32.count)
        let context =
            [0] + extract(suite, salt: [], "psk_id_hash", []).bytes + extract(suite, salt: [], "info_hash", info).bytes
        let base = extract(suite, salt: shared.bytes, "secret", [])
        return (
            expand(suite, base, "key", context, count: Bytes32.count),
            Array(
                expand(suite, base, "base_nonce", context, count: SecretBox.nonceBytesCount).bytes
                    .prefix(SecretBox.nonceBytesCount))
        )
    }

    private static func extract(_ suite: [UInt8], salt: [UInt8], _ label: String, _ input: [UInt8]) -> Bytes32 {
        KeyDerivation.hkdfExtract(Array("HPKE-v1".utf8) + suite + Array(label.utf8) + input, salt: salt)
    }

    private static func expand(
        _ suite: [UInt8], _ key: Bytes32, _ label: String, _ info: [UInt8], count: Int
    ) -> Bytes32 {
        let labelled = [0, UInt8(count)] + Array("HPKE-v1".utf8) + suite + Array(label.utf8) + info
        return KeyDerivation.hkdfExpand(key, info: labelled)
    }
}

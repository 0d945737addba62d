// SPDX-License-Identifier: Apache-2.0
import CNIOBoringSSL
import Crypto
import TuttiBase

/// Verifies signatures of the key types that other implementations use and we do not: RSA, ECDSA over P-256, secp256k1.
///
/// The one file that touches the C library beneath swift-crypto for this: the public API has no RSA and no secp256k1.
/// Everything is made for one call and freed in it. Sizes are checked before any arithmetic with big numbers.
enum ForeignKeys {
    // MARK: RSA: PKIX DER, PKCS#1 v1.5 over SHA-256

    static func checkRSA(_ key: [UInt8]) throws(DecodeError) {
        guard key.count <= IdentityLimits.publicKeyBytesMax else {
            throw .tooLarge("RSA key", limit: IdentityLimits.publicKeyBytesMax)
        }
        guard let bits = withRSA(key, { Int(RSA_bits($0)) }) else { throw .malformed("RSA key") }
        guard bits <= IdentityLimits.rsaBitsMax else {
            throw .tooLarge("RSA key", limit: IdentityLimits.rsaBitsMax)
        }
        guard bits >= IdentityLimits.rsaBitsMin else { throw .unsupported("RSA key of this few bits") }
    }

    static func isValidRSA(_ signature: [UInt8], for message: [UInt8], key: [UInt8]) -> Bool {
        let digest = KeyDerivation.sha256(message).bytes
        let result = withRSA(key) { rsa in
            RSA_verify(NID_sha256, digest, digest.count, signature, signature.count, rsa)
        }
        clearErrors()
        return result == 1
    }

    /// Nil unless `key` is one RSA key in DER with nothing behind it.
    private static func withRSA<R>(_ key: [UInt8], _ body: (OpaquePointer) -> R) -> R? {
        key.withUnsafeBufferPointer { bytes -> R? in
            var position = bytes.baseAddress
            guard let rsa = d2i_RSA_PUBKEY(nil, &position, bytes.count) else {
                clearErrors()
                return nil
            }
            defer { RSA_free(rsa) }
            guard let base = bytes.baseAddress, let position, position - base == bytes.count else { return nil }
            return body(rsa)
        }
    }

    // MARK: ECDSA: PKIX DER of a point on P-256, DER signature over SHA-256

    /// SubjectPublicKeyInfo for id-ecPublicKey on prime256v1, up to the uncompressed point: always these bytes.
    private static let p256Prefix: [UInt8] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
        0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ]

    static func checkP256(_ key: [UInt8]) throws(DecodeError) {
        guard key.starts(with: p256Prefix) else { throw .unsupported("ECDSA key (not P-256)") }
        guard key.count == p256Prefix.count + 65, key[p256Prefix.count] == 0x04 else { throw .malformed("ECDSA key") }
    }

    static func isValidP256(_ signature: [UInt8], for message: [UInt8], key: [UInt8]) -> Bool {
        guard let point = try? P256.Signing.PublicKey(x963Representation: key.dropFirst(p256Prefix.count)),
            let decoded = try? P256.Signing.ECDSASignature(derRepresentation: signature)
        else { return false }
        return point.isValidSignature(decoded, for: message)
    }

    // MARK: secp256k1: 33 bytes compressed, DER signature over SHA-256

    static func checkSecp256k1(_ key: [UInt8]) throws(DecodeError) {
        guard key.count == 33, key[0] == 0x02 || key[0] == 0x03 else { throw .malformed("secp256k1 key") }
    }

    static func isValidSecp256k1(_ signature: [UInt8], for message: [UInt8], key: [UInt8]) -> Bool {
        let digest = KeyDerivation.sha256(message).bytes
        let isValid = withSecp256k1(key) { ecKey in
            ECDSA_verify(0, digest, digest.count, signature, signature.count, ecKey) == 1
        }
        clearErrors()
        return isValid ?? false
    }

    /// SEC 2, section 2.4.1: y² = x³ + 7 over a prime field, cofactor 1.
    private enum Secp256k1 {
        static let prime = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F"
        static let order = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141"
        static let generatorX = "79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798"
        static let generatorY = "483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8"
    }

    /// The library does not know this curve by name, so the group is built from its parameters; that is cheap beside
    /// the verification. Nil when `key` is no point of the curve, or memory is short.
    private static func withSecp256k1<R>(_ key: [UInt8], _ body: (OpaquePointer) -> R) -> R? {
        let numbers = [
            Secp256k1.prime, "0", "7", Secp256k1.generatorX, Secp256k1.generatorY, Secp256k1.order, "1",
        ].map(number)
        defer { for case let number? in numbers { BN_free(number) } }
        guard numbers.allSatisfy({ $0 != nil }),
            let group = EC_GROUP_new_curve_GFp(numbers[0], numbers[1], numbers[2], nil)
        else { return nil }
        defer { EC_GROUP_free(group) }
        guard let generator = EC_POINT_new(group) else { return nil }
        defer { EC_POINT_free(generator) }
        guard
            EC_POINT_set_affine_coordinates_GFp(group, generator, numbers[3], numbers[4], nil) == 1,
            EC_GROUP_set_generator(group, generator, numbers[5], numbers[6]) == 1,
            let point = EC_POINT_new(group)
        else { return nil }
        defer { EC_POINT_free(point) }
        guard EC_POINT_oct2point(group, point, key, key.count, nil) == 1,
            let ecKey = EC_KEY_new()
        else { return nil }
        defer { EC_KEY_free(ecKey) }
        guard EC_KEY_set_group(ecKey, group) == 1,
            EC_KEY_set_public_key(ecKey, point) == 1
        else { return nil }
        return body(ecKey)
    }

    private static func number(_ hex: String) -> UnsafeMutablePointer<BIGNUM>? {
        var value: UnsafeMutablePointer<BIGNUM>?
        return BN_hex2bn(&value, hex) > 0 ? value : nil
    }

    /// The library queues an error per refused input on the thread; nobody reads them.
    private static func clearErrors() {
        ERR_clear_error()
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity

@Suite("Keys and signatures")
struct PublicKeyTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var testDescription: String { "\(kind), \(key.count) bytes" }

        let kind: PublicKey.Kind
        let key: [UInt8]
        let signature: [UInt8]
    }

    static let rows = [
        Row(kind: .ed25519, key: KeyVectors.ed25519Public, signature: KeyVectors.ed25519Signature),
        Row(kind: .secp256k1, key: KeyVectors.secp256k1Public, signature: KeyVectors.secp256k1Signature),
        Row(kind: .ecdsa, key: KeyVectors.ecdsaPublic, signature: KeyVectors.ecdsaSignature),
        Row(kind: .rsa, key: KeyVectors.rsaPublic, signature: KeyVectors.rsaSignature),
        Row(kind: .rsa, key: KeyVectors.rsa2048Public, signature: KeyVectors.rsa2048Signature),
    ]

    @Test("A foreign key reads, writes back the same bytes, and verifies its holder's signature", arguments: rows)
    func verifies(row: Row) throws {
        let key = try PublicKey(protobuf: row.key)
        #expect(key.kind == row.kind)
        #expect(key.protobuf == row.key)
        #expect(key.isValidSignature(row.signature, for: KeyVectors.message))
    }

    @Test("Forged, cut, lengthened and foreign signatures are refused", arguments: rows)
    func forged(row: Row) throws {
        let key = try PublicKey(protobuf: row.key)
        #expect(!key.isValidSignature(row.signature, for: KeyVectors.message + [0]))
        #expect(!key.isValidSignature(row.signature, for: []))
        #expect(!key.isValidSignature([], for: KeyVectors.message))
        #expect(!key.isValidSignature(row.signature + [0], for: KeyVectors.message))
        #expect(!key.isValidSignature([UInt8](repeating: 0, count: 5_000), for: KeyVectors.message))
        for count in stride(from: 0, to: row.signature.count, by: 7) {
            #expect(!key.isValidSignature(Array(row.signature[..<count]), for: KeyVectors.message))
        }
        for index in stride(from: 0, to: row.signature.count, by: max(1, row.signature.count / 24)) {
            var changed = row.signature
            changed[index] ^= 0x04
            #expect(!key.isValidSignature(changed, for: KeyVectors.message), "byte \(index)")
        }
        for other in Self.rows where other.key != row.key {
            #expect(!key.isValidSignature(other.signature, for: KeyVectors.message))
        }
    }

    @Test("RSA accepts PKCS#1 v1.5 over SHA-256 alone")
    func paddings() throws {
        let key = try PublicKey(protobuf: KeyVectors.rsa2048Public)
        #expect(!key.isValidSignature(KeyVectors.rsa2048PSSSignature, for: KeyVectors.message))
        #expect(!key.isValidSignature(KeyVectors.rsa2048SHA512Signature, for: KeyVectors.message))
    }

    @Test("RSA keys outside 2,048 to 8,192 bits are refused")
    func rsaSizes() throws {
        #expect(throws: DecodeError.unsupported("RSA key of this few bits")) {
            try PublicKey(protobuf: KeyVectors.rsa1024Public)
        }
        func key(bits: Int) throws -> PublicKey {
            // An odd modulus of this length: its factors don't matter to a size check.
            let modulus = [0, 0x80] + [UInt8](repeating: 0x55, count: bits / 8 - 1)
            let inner = der(0x30, der(0x02, modulus) + der(0x02, [1, 0, 1]))
            let algorithm: [UInt8] = [0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1, 5, 0]
            return try PublicKey(kind: .rsa, raw: der(0x30, algorithm + der(0x03, [0] + inner)))
        }
        _ = try key(bits: 2_048)
        _ = try key(bits: 8_192)
        #expect(throws: DecodeError.unsupported("RSA key of this few bits")) { try key(bits: 2_040) }
        // Refused by the library beneath or by our own limit, whichever looks first.
        #expect(throws: DecodeError.self) { try key(bits: 8_200) }
        #expect(throws: DecodeError.tooLarge("RSA key", limit: 1_100)) { try key(bits: 16_384) }
        #expect(throws: DecodeError.tooLarge("public key", limit: 1_105)) {
            try PublicKey(protobuf: [8, 0, 0x12, 0xFF, 0x7F] + [UInt8](repeating: 0, count: 16_383))
        }
    }

    private func der(_ tag: UInt8, _ body: [UInt8]) -> [UInt8] {
        if body.count < 128 { return [tag, UInt8(body.count)] + body }
        if body.count < 256 { return [tag, 0x81, UInt8(body.count)] + body }
        return [tag, 0x82, UInt8(body.count >> 8), UInt8(body.count & 0xFF)] + body
    }

    @Test("Only the one deterministic encoding of a key is read", arguments: rows)
    func canonical(row: Row) throws {
        expectEveryCutRefused(row.key) { try PublicKey(protobuf: $0) }
        expectDamageRefusedOrKept(row.key, seed: 6, { try PublicKey(protobuf: $0) }, { $0.protobuf })
        #expect(throws: DecodeError.self) { try PublicKey(protobuf: row.key + [0]) }
        // Fields in the other order.
        let swapped = Array(row.key[2...] + row.key[..<2])
        #expect(throws: DecodeError.malformed("public key")) { try PublicKey(protobuf: swapped) }
    }

    @Test("A padded length, an unknown type and an unknown field are refused")
    func strict() {
        let key = [UInt8](KeyVectors.ed25519Public[4...])
        #expect(throws: DecodeError.malformed("public key")) { try PublicKey(protobuf: [8, 1, 0x12, 0xA0, 0] + key) }
        #expect(throws: DecodeError.malformed("public key")) { try PublicKey(protobuf: [8, 0x81, 0, 0x12, 32] + key) }
        #expect(throws: DecodeError.unsupported("public key type")) { try PublicKey(protobuf: [8, 4, 0x12, 32] + key) }
        #expect(throws: DecodeError.malformed("public key")) {
            try PublicKey(protobuf: [8, 1, 0x12, 32] + key + [0x18, 1])
        }
        #expect(throws: DecodeError.malformed("Ed25519 key")) {
            try PublicKey(protobuf: [8, 1, 0x12, 31] + key.dropLast())
        }
    }

    @Test("A point of another curve, or off the curve, never verifies")
    func wrongPoints() throws {
        let ecdsa = try PublicKey(protobuf: KeyVectors.ecdsaPublic)
        var off = ecdsa.raw
        off[off.count - 1] ^= 1
        let key = try PublicKey(kind: .ecdsa, raw: off)
        #expect(!key.isValidSignature(KeyVectors.ecdsaSignature, for: KeyVectors.message))
        var p384 = ecdsa.raw
        p384[22] = 0x22
        #expect(throws: DecodeError.unsupported("ECDSA key (not P-256)")) { try PublicKey(kind: .ecdsa, raw: p384) }
        // x = 5 is on no point of secp256k1; x = p is out of range.
        let five = try PublicKey(kind: .secp256k1, raw: [2] + [UInt8](repeating: 0, count: 31) + [5])
        #expect(!five.isValidSignature(KeyVectors.secp256k1Signature, for: KeyVectors.message))
        let prime = KeyVectors.hex("02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")
        #expect(
            try !PublicKey(kind: .secp256k1, raw: prime).isValidSignature(
                KeyVectors.secp256k1Signature, for: KeyVectors.message))
        #expect(throws: DecodeError.malformed("secp256k1 key")) {
            try PublicKey(kind: .secp256k1, raw: [4] + [UInt8](repeating: 1, count: 32))
        }
    }

    @Test(
        "Ed25519 points of small order and unreduced ones are no identity, with either sign",
        arguments: [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ])
    func weakPoints(hex: String) {
        var key = KeyVectors.hex(hex)
        for _ in 0..<2 {
            #expect(throws: DecodeError.malformed("Ed25519 key (weak)")) { try PublicKey(kind: .ed25519, raw: key) }
            key[31] ^= 0x80
        }
    }

    @Test("The point below the unreduced range is kept")
    func reduced() throws {
        let key = KeyVectors.hex("ebffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
        #expect(try PublicKey(kind: .ed25519, raw: key).raw == key)
    }
}

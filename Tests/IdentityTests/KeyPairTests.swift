// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity

@Suite("Key pairs and their stored forms")
struct KeyPairTests {
    private func specified() throws -> KeyPair {
        try KeyPair(plainBytes: KeyVectors.ed25519Private)
    }

    @Test("The specification's private key gives its public key, its id and the same signature as others")
    func golden() throws {
        let key = try specified()
        #expect(key.publicKey.protobuf == KeyVectors.ed25519Public)
        #expect(key.peerID.description == "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq")
        #expect(key.sign(KeyVectors.message) == KeyVectors.ed25519Signature)
        #expect(key.plainBytes == KeyVectors.ed25519Private)
        #expect(KeyPair(seed: key.seed).peerID == key.peerID)
    }

    @Test("RFC 8032, test 2: seed, public key and signature of one byte")
    func rfc8032() throws {
        let seed = try #require(
            Bytes32(KeyVectors.hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")))
        let key = KeyPair(seed: seed)
        #expect(
            key.publicKey.raw == KeyVectors.hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"))
        #expect(
            key.sign([0x72])
                == KeyVectors.hex(
                    """
                    92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                    085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00
                    """))
    }

    @Test("Keys from one seeded source repeat; keys from the system differ")
    func sources() {
        var first = KeySource.seeded(SeededGenerator(seed: 7))
        var second = KeySource.seeded(SeededGenerator(seed: 7))
        let key = KeyPair(from: &first)
        #expect(key.peerID == KeyPair(from: &second).peerID)
        #expect(key.peerID != KeyPair(from: &first).peerID)
        #expect(KeyPair().peerID != KeyPair().peerID)
        #expect(key.publicKey.isValidSignature(key.sign([1, 2, 3]), for: [1, 2, 3]))
        #expect(!key.publicKey.isValidSignature(key.sign([1, 2, 3]), for: [1, 2, 4]))
        #expect(key.publicKey.isValidSignature(key.sign([]), for: []))
    }

    @Test("The old plain form repeats the public key, and is refused when the copies differ")
    func oldForm() throws {
        let key = try specified()
        let old = [8, 1, 0x12, 96] + key.seed.bytes + key.publicKey.raw + key.publicKey.raw
        #expect(try KeyPair(plainBytes: old).peerID == key.peerID)
        for index in [36, 67, 68, 99] {
            var wrong = old
            wrong[index] ^= 1
            #expect(throws: DecodeError.self) { try KeyPair(plainBytes: wrong) }
        }
    }

    @Test("Plain keys are refused when cut, lengthened, mismatched or of another type")
    func plainRefused() throws {
        let plain = KeyVectors.ed25519Private
        expectEveryCutRefused(plain) { try KeyPair(plainBytes: $0) }
        expectDamageRefusedOrKept(plain, seed: 8, rounds: 300, { try KeyPair(plainBytes: $0) }, { $0.plainBytes })
        #expect(throws: DecodeError.self) { try KeyPair(plainBytes: plain + [0]) }
        #expect(throws: DecodeError.unsupported("private key (not Ed25519)")) {
            try KeyPair(plainBytes: [8, 2] + plain[2...])
        }
        #expect(throws: DecodeError.unsupported("private key (not Ed25519)")) {
            try KeyPair(plainBytes: [UInt8](repeating: 8, count: 1_200))
        }
    }

    @Test("A sealed key that another implementation made by the table opens")
    func sealedGolden() throws {
        let sealed = try SealedKey(bytes: KeyVectors.sealed)
        #expect(sealed.cost == .mebibytes16)
        #expect(try sealed.open(passphrase: "Violoncello é").plainBytes == KeyVectors.ed25519Private)
        #expect(throws: DecodeError.malformed("sealed key (wrong passphrase or damaged)")) {
            try sealed.open(passphrase: "Violoncello e")
        }
    }

    @Test("A key sealed under a passphrase opens with it, and no two sealings are alike")
    func sealing() throws {
        let key = try specified()
        var source = KeySource.seeded(SeededGenerator(seed: 9))
        let first = try #require(SealedKey(sealing: key, passphrase: "a", cost: .mebibytes16, from: &source))
        let second = try #require(SealedKey(sealing: key, passphrase: "a", cost: .mebibytes16, from: &source))
        #expect(first.bytes.count == SealedKey.bytesCount)
        #expect(first.bytes[10...] != second.bytes[10...])
        #expect(try SealedKey(bytes: first.bytes) == first)
        #expect(try first.open(passphrase: "a").peerID == key.peerID)
        #expect(try second.open(passphrase: "a").plainBytes == key.plainBytes)
    }

    @Test("A byte changed anywhere in a sealed key is noticed")
    func sealedDamage() throws {
        expectEveryCutRefused(KeyVectors.sealed) { try SealedKey(bytes: $0) }
        #expect(throws: DecodeError.tooLarge("sealed key", limit: 126)) {
            try SealedKey(bytes: KeyVectors.sealed + [0])
        }
        // The magic, the version, and a cost out of range, each by its own error.
        #expect(throws: DecodeError.malformed("sealed key")) { try changed(0) }
        #expect(throws: DecodeError.unsupported("sealed key version")) { try changed(8) }
        #expect(throws: DecodeError.unsupported("sealed key cost")) { try changed(9, to: 40) }
        for index in [9, 10, 41, 42, 109, 110, 125] {
            let sealed = try changed(index, to: KeyVectors.sealed[index] ^ 1)
            #expect(throws: DecodeError.malformed("sealed key (wrong passphrase or damaged)"), "byte \(index)") {
                try sealed.open(passphrase: "Violoncello é")
            }
        }
    }

    private func changed(_ index: Int, to value: UInt8 = 0xEE) throws -> SealedKey {
        var bytes = KeyVectors.sealed
        bytes[index] = value
        return try SealedKey(bytes: bytes)
    }

    @Test("An empty or endless passphrase seals nothing")
    func passphrases() throws {
        let key = try specified()
        var source = KeySource.seeded(SeededGenerator(seed: 10))
        for passphrase in ["", String(repeating: "x", count: 1_025)] {
            #expect(SealedKey(sealing: key, passphrase: passphrase, cost: .mebibytes16, from: &source) == nil)
            let sealed = try SealedKey(bytes: KeyVectors.sealed)
            #expect(throws: DecodeError.self) { try sealed.open(passphrase: passphrase) }
        }
    }

    @Test("SHA-256 has its known digest")
    func sha256() {
        #expect(
            KeyDerivation.sha256(Array("abc".utf8)).bytes
                == KeyVectors.hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
        #expect(
            KeyDerivation.sha256([]).bytes
                == KeyVectors.hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
    }
}

// SPDX-License-Identifier: Apache-2.0
import Crypto
import Foundation
import Testing
import TuttiBase
import TuttiIdentity

@Suite struct SealingKeysTests {
    private static func bytes(_ hex: String) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = hex[...]
        while !rest.isEmpty {
            bytes.append(try #require(UInt8(rest.prefix(2), radix: 16)))
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    private static func pair(_ hex: String) throws -> SealingKeyPair {
        SealingKeyPair(privateBytes: try #require(Bytes32(bytes(hex))))
    }

    /// RFC 9180, appendix A.2.1.
    private static let info = "4f6465206f6e2061204772656369616e2055726e"
    private static let ephemeral = "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600"
    private static let recipient = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb"
    private static let plaintext = "4265617574792069732074727574682c20747275746820626561757479"
    private static let associated = "436f756e742d30"
    private static let sealed =
        "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
        + "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"

    @Test("A secret is the same from both sides, as RFC 7748, section 6.1, has it")
    func agreement() throws {
        let alice = try Self.pair("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
        let bob = try Self.pair("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
        let secret = try Self.bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
        #expect(alice.secret(with: bob.publicKey)?.bytes == secret)
        #expect(bob.secret(with: alice.publicKey)?.bytes == secret)
    }

    @Test(
        "A point of low order gives no secret and nothing is sealed to it",
        arguments: [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        ])
    func weakKeys(hex: String) throws {
        var source = KeySource.seeded(SeededGenerator(seed: 1))
        let weak = SealingPublicKey(try #require(Bytes32(Self.bytes(hex))))
        #expect(SealingKeyPair(from: &source).secret(with: weak) == nil)
        #expect(HybridEncryption.seal([1], to: weak, info: [], authenticating: [], from: &source) == nil)
        let forged = try Self.bytes(hex) + [UInt8](repeating: 0, count: 16)
        #expect(
            HybridEncryption.open(forged, with: SealingKeyPair(from: &source), info: [], authenticating: []) == nil)
    }

    @Test("HKDF gives the first 32 bytes of RFC 5869's first case")
    func derivation() throws {
        let derived = KeyDerivation.hkdf(
            [UInt8](repeating: 0x0B, count: 22), salt: Array(0...12), info: Array(0xF0...0xF9))
        #expect(
            derived.bytes
                == (try Self.bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")))
    }

    @Test("What RFC 9180's vector sealed is opened")
    func vectorOpens() throws {
        let opened = HybridEncryption.open(
            try Self.bytes(Self.sealed), with: try Self.pair(Self.recipient), info: try Self.bytes(Self.info),
            authenticating: try Self.bytes(Self.associated))
        #expect(opened == (try Self.bytes(Self.plaintext)))
    }

    @Test("The ephemeral key of RFC 9180's vector has its public half")
    func vectorKeys() throws {
        #expect(try Self.pair(Self.ephemeral).publicKey.bytes.bytes == Array(Self.bytes(Self.sealed).prefix(32)))
    }

    @Test("The library opens what we seal, and we open what it seals", arguments: [0, 1, 31, 32, 1_000])
    func bothWays(count: Int) throws {
        var source = KeySource.seeded(SeededGenerator(seed: 9))
        let own = SealingKeyPair(from: &source)
        let plaintext = [UInt8](repeating: 7, count: count)
        let (info, associated) = (Array("info".utf8), Array("associated".utf8))
        let suite = HPKE.Ciphersuite.Curve25519_SHA256_ChachaPoly
        let foreign = try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: own.privateBytes.bytes)

        let ours = try #require(
            HybridEncryption.seal(
                plaintext, to: own.publicKey, info: info, authenticating: associated, from: &source))
        #expect(ours.count == count + HybridEncryption.overheadBytesCount)
        var opener = try HPKE.Recipient(
            privateKey: foreign, ciphersuite: suite, info: Data(info), encapsulatedKey: Data(ours.prefix(32)))
        #expect(
            Array(try opener.open(Data(ours.dropFirst(32)), authenticating: Data(associated))) == plaintext)

        var sealer = try HPKE.Sender(recipientKey: foreign.publicKey, ciphersuite: suite, info: Data(info))
        let sealed = try sealer.seal(Data(plaintext), authenticating: Data(associated))
        let theirs = Array(sealer.encapsulatedKey) + Array(sealed)
        #expect(HybridEncryption.open(theirs, with: own, info: info, authenticating: associated) == plaintext)
    }

    @Test("Nothing opens that was cut or changed, has other info, other associated data or another key")
    func damage() throws {
        var source = KeySource.seeded(SeededGenerator(seed: 3))
        let key = SealingKeyPair(from: &source)
        let sealed = try #require(
            HybridEncryption.seal([1, 2, 3], to: key.publicKey, info: [1], authenticating: [2], from: &source))
        for index in sealed.indices {
            var changed = sealed
            // The highest bit of a u-coordinate is masked (RFC 7748): but it stands in the key schedule.
            changed[index] ^= 0x80
            #expect(HybridEncryption.open(changed, with: key, info: [1], authenticating: [2]) == nil)
            #expect(
                HybridEncryption.open(Array(sealed.prefix(index)), with: key, info: [1], authenticating: [2]) == nil)
        }
        let other = SealingKeyPair(from: &source)
        #expect(HybridEncryption.open(sealed, with: key, info: [1, 0], authenticating: [2]) == nil)
        #expect(HybridEncryption.open(sealed, with: key, info: [1], authenticating: []) == nil)
        #expect(HybridEncryption.open(sealed, with: other, info: [1], authenticating: [2]) == nil)
        #expect(HybridEncryption.open(sealed, with: key, info: [1], authenticating: [2]) == [1, 2, 3])
    }
}

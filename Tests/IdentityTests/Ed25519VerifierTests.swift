// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity

@Suite("Ed25519 signatures are judged by one rule, whichever library is there")
struct Ed25519VerifierTests {
    struct Library: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let verifier: Ed25519Verifier
    }

    static let libraries =
        [Library(testDescription: "BoringSSL", verifier: .boringSSL)]
        + (Ed25519Verifier.sodium.map { [Library(testDescription: "libsodium", verifier: $0)] } ?? [])

    /// L, little-endian.
    static let order = KeyVectors.hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")

    @Test(
        "libsodium is here, keeps the rule, and is preferred",
        .enabled(if: Ed25519Verifier.sodium != nil, "LIBSODIUM IS NOT HERE: every vector ran against BoringSSL alone"))
    func sodium() throws {
        #expect(try #require(Ed25519Verifier.sodium).keepsTheRule)
        #expect(Self.libraries.count == 2)
    }

    @Test("Each edge case of \"Taming the many EdDSAs\" has its verdict", arguments: libraries, Ed25519Vector.edges)
    func edges(library: Library, vector: Ed25519Vector) {
        #expect(
            library.verifier.isValid(vector.signature, for: vector.message, key: vector.key) == vector.isValid)
    }

    @Test("Signatures of RFC 8032 are valid", arguments: libraries, Ed25519Vector.standard)
    func standard(library: Library, vector: Ed25519Vector) {
        #expect(library.verifier.isValid(vector.signature, for: vector.message, key: vector.key))
    }

    @Test("A valid signature with any one bit changed is not", arguments: libraries, Ed25519Vector.standard)
    func changedBits(library: Library, vector: Ed25519Vector) {
        func expectRefused(_ part: [UInt8], _ name: String, _ isValid: ([UInt8]) -> Bool) {
            for bit in 0..<part.count * 8 {
                var changed = part
                changed[bit / 8] ^= 1 << UInt8(bit % 8)
                #expect(!isValid(changed), "\(name), bit \(bit)")
            }
        }
        let verifier = library.verifier
        expectRefused(vector.signature, "signature") {
            verifier.isValid($0, for: vector.message, key: vector.key)
        }
        expectRefused(vector.key, "key") { verifier.isValid(vector.signature, for: vector.message, key: $0) }
        expectRefused(vector.message, "message") { verifier.isValid(vector.signature, for: $0, key: vector.key) }
    }

    @Test("S is below L: the same signature with a multiple of L added is none", arguments: libraries)
    func multiples(library: Library) {
        for vector in Ed25519Vector.standard {
            var scalar = Array(vector.signature[32...])
            // Fifteen times fit into 256 bits.
            for count in 1...15 {
                guard let sum = Self.sum(scalar, Self.order) else { break }
                scalar = sum
                let signature = vector.signature[..<32] + scalar
                #expect(
                    !library.verifier.isValid(Array(signature), for: vector.message, key: vector.key), "\(count) L")
            }
            let none = vector.signature[..<32] + Self.order
            #expect(!library.verifier.isValid(Array(none), for: vector.message, key: vector.key))
        }
    }

    private static func sum(_ a: [UInt8], _ b: [UInt8]) -> [UInt8]? {
        var carry = 0
        let bytes = zip(a, b).map { pair -> UInt8 in
            let digit = Int(pair.0) + Int(pair.1) + carry
            carry = digit >> 8
            return UInt8(truncatingIfNeeded: digit)
        }
        return carry == 0 ? bytes : nil
    }

    @Test("Wrong lengths are refused", arguments: libraries)
    func lengths(library: Library) {
        let vector = Ed25519Vector.standard[1]
        let verifier = library.verifier
        for count in 0..<64 {
            #expect(!verifier.isValid(Array(vector.signature[..<count]), for: vector.message, key: vector.key))
        }
        for count in 0..<32 {
            #expect(!verifier.isValid(vector.signature, for: vector.message, key: Array(vector.key[..<count])))
        }
        #expect(!verifier.isValid(vector.signature + [0], for: vector.message, key: vector.key))
        #expect(!verifier.isValid(vector.signature, for: vector.message, key: vector.key + [0]))
    }

    @Test("Keys of small order and keys with a coordinate that is not reduced are unusable, their neighbours are not")
    func keys() {
        for key in Ed25519Vector.smallOrder {
            #expect(!Ed25519Verifier.isUsableKey(key))
            #expect(throws: DecodeError.malformed("Ed25519 key (weak)")) { try PublicKey(kind: .ed25519, raw: key) }
        }
        // y from p to 2²⁵⁵ - 1, with either sign.
        for low in UInt8(0xED)...0xFF {
            for sign in [0x7F, 0xFF] as [UInt8] {
                #expect(!Ed25519Verifier.isUsableKey([low] + [UInt8](repeating: 0xFF, count: 30) + [sign]))
            }
        }
        #expect(Ed25519Verifier.isUsableKey([0xEB] + [UInt8](repeating: 0xFF, count: 30) + [0x7F]))
        #expect(Ed25519Verifier.isUsableKey([2] + [UInt8](repeating: 0, count: 31)))
        for key in Ed25519Vector.smallOrder[4...7] {
            // With any one byte changed it is another point, or none.
            for index in key.indices {
                var other = key
                other[index] ^= 1
                #expect(Ed25519Verifier.isUsableKey(other), "byte \(index)")
            }
        }
    }

    @Test("Of special keys, points and scalars in every combination, all libraries refuse all but one")
    func combinations() {
        let vector = Ed25519Vector.standard[1]
        let points =
            Ed25519Vector.smallOrder
            + [vector.key, Array(vector.signature[..<32]), [UInt8](repeating: 0x55, count: 32)]
        var less = Self.order
        less[0] -= 1
        let scalars =
            [Self.order, less, [UInt8](repeating: 0xFF, count: 32), Array(vector.signature[32...])]
            + [0, 1].map { [$0] + [UInt8](repeating: 0, count: 31) }
        for library in Self.libraries {
            var accepted: [[UInt8]] = []
            for key in points {
                for point in points {
                    for scalar in scalars
                    where library.verifier.isValid(point + scalar, for: vector.message, key: key) {
                        accepted.append(key + point + scalar)
                    }
                }
            }
            #expect(accepted == [vector.key + vector.signature], "\(library.testDescription)")
        }
    }

    @Test("A library that multiplies by 8, one that accepts all and one that accepts nothing are not taken")
    func gate() {
        #expect(Ed25519Verifier.boringSSL.keepsTheRule)
        let credulous = Ed25519Verifier { _, _, _, _ in 0 }
        let stubborn = Ed25519Verifier { _, _, _, _ in -1 }
        // What multiplying by 8 would say of the questions: only the signature moved to another message is refused.
        let cofactored = Ed25519Verifier { signature, message, _, _ in
            guard let signature, let message else { return -1 }
            return signature[0] == 0x90 && message[0] != 0x9B ? -1 : 0
        }
        for verifier in [credulous, stubborn, cofactored] { #expect(!verifier.keepsTheRule) }
    }

    @Test("A peer's key judges by the same rule")
    func throughPublicKey() throws {
        for vector in Ed25519Vector.edges + Ed25519Vector.standard {
            guard let key = try? PublicKey(kind: .ed25519, raw: vector.key) else {
                #expect(!vector.isValid, "\(vector.name)")
                continue
            }
            #expect(key.isValidSignature(vector.signature, for: vector.message) == vector.isValid, "\(vector.name)")
        }
    }
}

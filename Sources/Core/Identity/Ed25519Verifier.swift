// SPDX-License-Identifier: Apache-2.0
import CNIOBoringSSL

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Says which Ed25519 signatures are valid, by one rule whichever library computes the equation.
///
/// RFC 8032 leaves room: implementations differ in what they do with S of L and more, with points of small order, with
/// coordinates that are not reduced, and with the factor 8. Nodes must agree for ever, so the rule is fixed here:
///
/// 1. S is below the order L of the group.
/// 2. The key A and the point R are canonical: y below 2²⁵⁵ - 19, and no sign where x is zero.
/// 3. Neither has small order. (A part of small order beside the rest is allowed.)
/// 4. [S]B = R + [k]A, without the factor 8, with k = SHA-512(R ‖ A ‖ message).
///
/// 1 to 3 are decided here, on the bytes alone; the library decides 4, and that A is a point at all. Both compare the
/// encoding of [S]B - [k]A with R. This is the rule that "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020)
/// finds in libsodium; whoever signs as RFC 8032 says never meets a difference.
/// docs/decisions/0008-one-rule-for-signatures-two-libraries.md.
package struct Ed25519Verifier: Sendable {
    /// libsodium's order of arguments: signature, message and its length, key. 0: the equation holds.
    package typealias Equation =
        @convention(c) @Sendable (
            UnsafePointer<UInt8>?, UnsafePointer<UInt8>?, UInt64, UnsafePointer<UInt8>?
        ) -> CInt

    /// Always there.
    package static let boringSSL = Ed25519Verifier { signature, message, count, key in
        ED25519_verify(message, Int(truncatingIfNeeded: count), signature, key) == 1 ? 0 : -1
    }
    /// About a quarter faster. Nil where the system has none, or one that decides by another rule.
    package static let sodium: Ed25519Verifier? = loadSodium()
    /// What the node uses.
    package static let preferred = sodium ?? boringSSL

    private let equation: Equation

    package init(_ equation: @escaping Equation) { self.equation = equation }

    package func isValid(_ signature: [UInt8], for message: [UInt8], key: [UInt8]) -> Bool {
        guard signature.count == 64, key.count == 32 else { return false }
        let isWellFormed = signature.withUnsafeBytes {
            Self.isUsablePoint(Number($0, at: 0)) && Number($0, at: 32) < .order
        }
        guard isWellFormed, Self.isUsableKey(key) else { return false }
        return equation(signature, message, UInt64(message.count), key) == 0
    }

    /// Whether a key may stand in an id: with a point of small order anyone can sign, and a coordinate that is not reduced
    /// would give one key two ids. Whether it is a point shows when a signature is verified.
    package static func isUsableKey(_ key: [UInt8]) -> Bool {
        key.count == 32 && key.withUnsafeBytes { isUsablePoint(Number($0, at: 0)) }
    }

    // MARK: Encodings

    /// 32 bytes, little-endian, as words from the least significant on.
    private struct Number: Equatable {
        var words: (UInt64, UInt64, UInt64, UInt64)

        init(_ words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

        init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
            func word(_ index: Int) -> UInt64 {
                UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 8 * index, as: UInt64.self))
            }
            words = (word(0), word(1), word(2), word(3))
        }

        static func == (lhs: Number, rhs: Number) -> Bool { lhs.words == rhs.words }

        static func < (lhs: Number, rhs: Number) -> Bool {
            let (a, b) = (lhs.words, rhs.words)
            return (a.3, a.2, a.1, a.0) < (b.3, b.2, b.1, b.0)
        }

        /// p = 2²⁵⁵ - 19.
        static let prime = Number((0xFFFF_FFFF_FFFF_FFED, .max, .max, 0x7FFF_FFFF_FFFF_FFFF))
        /// L = 2²⁵² + 27742317777372353535851937790883648493.
        static let order = Number((0x5812_631A_5CF5_D3ED, 0x14DE_F9DE_A2F7_9CD6, 0, 0x1000_0000_0000_0000))
    }

    /// The eight points of small order have five y between them: 0 (order 4), 1 (the identity), p - 1 (order 2) and two of
    /// order 8. With either sign none of them is wanted, and x is zero only where y is 1 or p - 1; so with these refused
    /// and y reduced, the encoding is canonical.
    private static let smallOrder: [Number] = [
        Number((0, 0, 0, 0)),
        Number((1, 0, 0, 0)),
        Number((0xFFFF_FFFF_FFFF_FFEC, .max, .max, 0x7FFF_FFFF_FFFF_FFFF)),
        Number((0xB027_B2C2_8F95_E826, 0xF098_EFF2_89F4_C345, 0x3933_C6D3_05AC_DFD5, 0x05FC_536D_8802_38B1)),
        Number((0x4FD8_4D3D_706A_17C7, 0x0F67_100D_760B_3CBA, 0xC6CC_392C_FA53_202A, 0x7A03_AC92_77FD_C74E)),
    ]

    private static func isUsablePoint(_ encoded: Number) -> Bool {
        var y = encoded
        y.words.3 &= .max >> 1
        return y < .prime && !smallOrder.contains(y)
    }

    // MARK: The system's library

    private static func loadSodium() -> Ed25519Verifier? {
        #if os(Linux)
        let names = ["libsodium.so.23", "libsodium.so.26"]
        #elseif os(macOS)
        let names = ["libsodium.23.dylib", "libsodium.26.dylib", "libsodium.dylib"]
        #else
        let names: [String] = []
        #endif
        for name in names {
            guard let handle = dlopen(name, RTLD_NOW | RTLD_LOCAL),
                let begin = dlsym(handle, "sodium_init"),
                let verify = dlsym(handle, "crypto_sign_ed25519_verify_detached"),
                unsafeBitCast(begin, to: (@convention(c) () -> CInt).self)() >= 0
            else { continue }
            let library = Ed25519Verifier(unsafeBitCast(verify, to: Equation.self))
            if library.keepsTheRule { return library }
        }
        return nil
    }

    /// libsodium's main branch has come to multiply by 8 since 1.0.22, so a library is asked before it is trusted: one
    /// signature with parts of small order that is valid without the factor, the same for another message, and two that
    /// are valid only with it. (Vectors 3 to 5 of the paper above.)
    package var keepsTheRule: Bool {
        Self.questions.allSatisfy { isValid($0.signature, for: $0.message, key: Self.questionsKey) == $0.isValid }
    }

    private struct Question: Sendable {
        let signature: [UInt8]
        let message: [UInt8]
        let isValid: Bool
    }

    private static let questionsKey: [UInt8] = [
        0xCD, 0xB2, 0x67, 0xCE, 0x40, 0xC5, 0xCD, 0x45, 0x30, 0x6F, 0xA5, 0xD2, 0xF2, 0x97, 0x31, 0x45,
        0x93, 0x87, 0xDB, 0xF9, 0xEB, 0x93, 0x3B, 0x7B, 0xD5, 0xAE, 0xD9, 0xA7, 0x65, 0xB8, 0x8D, 0x4D,
    ]
    private static let mixed: [UInt8] = [
        0x90, 0x46, 0xA6, 0x47, 0x50, 0x44, 0x49, 0x38, 0xDE, 0x19, 0xF2, 0x27, 0xBB, 0x80, 0x48, 0x5E,
        0x92, 0xB8, 0x3F, 0xDB, 0x4B, 0x65, 0x06, 0xC1, 0x60, 0x48, 0x4C, 0x01, 0x6C, 0xC1, 0x85, 0x2F,
        0x87, 0x90, 0x9E, 0x14, 0x42, 0x8A, 0x7A, 0x1D, 0x62, 0xE9, 0xF2, 0x2F, 0x3D, 0x3A, 0xD7, 0x80,
        0x2D, 0xB0, 0x2E, 0xB2, 0xE6, 0x88, 0xB6, 0xC5, 0x2F, 0xCD, 0x66, 0x48, 0xA9, 0x8B, 0xD0, 0x09,
    ]
    private static let cofactored: [UInt8] = [
        0x16, 0x0A, 0x1C, 0xB0, 0xDC, 0x9C, 0x02, 0x58, 0xCD, 0x0A, 0x7D, 0x23, 0xE9, 0x4D, 0x8F, 0xA8,
        0x78, 0xBC, 0xB1, 0x92, 0x5F, 0x2C, 0x64, 0x24, 0x6B, 0x2D, 0xEE, 0x17, 0x96, 0xBE, 0xD5, 0x12,
        0x5E, 0xC6, 0xBC, 0x98, 0x2A, 0x26, 0x9B, 0x72, 0x3E, 0x06, 0x68, 0xE5, 0x40, 0x91, 0x1A, 0x9A,
        0x6A, 0x58, 0x92, 0x1D, 0x69, 0x25, 0xE4, 0x34, 0xAB, 0x10, 0xAA, 0x79, 0x40, 0x55, 0x1A, 0x09,
    ]
    private static let cofactoredUnreduced: [UInt8] = [
        0x21, 0x12, 0x2A, 0x84, 0xE0, 0xB5, 0xFC, 0xA4, 0x05, 0x2F, 0x5B, 0x12, 0x35, 0xC8, 0x0A, 0x53,
        0x78, 0x78, 0xB3, 0x8F, 0x31, 0x42, 0x35, 0x6B, 0x2C, 0x23, 0x84, 0xEB, 0xAD, 0x46, 0x68, 0xB7,
        0xE4, 0x0B, 0xC8, 0x36, 0xDA, 0xC0, 0xF7, 0x10, 0x76, 0xF9, 0xAB, 0xE3, 0xA5, 0x3F, 0x9C, 0x03,
        0xC1, 0xCE, 0xEE, 0xDD, 0xB6, 0x58, 0xD0, 0x03, 0x04, 0x94, 0xAC, 0xE5, 0x86, 0x68, 0x74, 0x05,
    ]
    private static let mixedMessage: [UInt8] = [
        0x9B, 0xD9, 0xF4, 0x4F, 0x4D, 0xCC, 0x75, 0xBD, 0x53, 0x1B, 0x56, 0xB2, 0xCD, 0x28, 0x0B, 0x0B,
        0xB3, 0x8F, 0xC1, 0xCD, 0x6D, 0x12, 0x30, 0xE1, 0x48, 0x61, 0xD8, 0x61, 0xDE, 0x09, 0x2E, 0x79,
    ]
    private static let cofactoredMessage: [UInt8] = [
        0xE4, 0x7D, 0x62, 0xC6, 0x3F, 0x83, 0x0D, 0xC7, 0xA6, 0x85, 0x1A, 0x0B, 0x1F, 0x33, 0xAE, 0x4B,
        0xB2, 0xF5, 0x07, 0xFB, 0x6C, 0xFF, 0xEC, 0x40, 0x11, 0xEA, 0xCC, 0xD5, 0x5B, 0x53, 0xF5, 0x6C,
    ]
    private static let questions = [
        Question(signature: mixed, message: mixedMessage, isValid: true),
        Question(signature: mixed, message: cofactoredMessage, isValid: false),
        Question(signature: cofactored, message: cofactoredMessage, isValid: false),
        Question(signature: cofactoredUnreduced, message: cofactoredMessage, isValid: false),
    ]
}

// SPDX-License-Identifier: Apache-2.0
import Crypto
package import TuttiBase

/// A private key locked under a passphrase, as it lies on disk.
///
/// Version 1, 126 bytes, one encoding only:
///
/// | bytes | what |
/// |---|---|
/// | 8 | `tuttikey` |
/// | 1 | version, 1 |
/// | 1 | cost: scrypt's N as a power of two, 14 to 18 |
/// | 32 | salt |
/// | 68 + 16 | the plain form (``KeyPair/plainBytes``) under ChaCha20-Poly1305, then the tag |
///
/// scrypt (RFC 7914, r = 8, p = 1) makes the cipher's key and nonce out of the passphrase and the salt, which is new
/// for each sealing, so no pair of key and nonce is used twice. The first 42 bytes are the associated data. The
/// passphrase counts as the UTF-8 it is given in: whoever reads it from people brings it to one Unicode form first.
package struct SealedKey: Hashable, Sendable {
    /// How much work one guess costs. Memory is 1 KiB × N.
    package enum Cost: UInt8, CaseIterable, Sendable {
        case mebibytes16 = 14
        case mebibytes32 = 15
        case mebibytes64 = 16
        case mebibytes128 = 17
        case mebibytes256 = 18

        package static let standard = Cost.mebibytes128
    }

    package static let bytesCount = 126
    package static let passphraseBytesMax = 1_024

    private static let magic: [UInt8] = Array("tuttikey".utf8)
    private static let version: UInt8 = 1
    private static let headerCount = 42
    private static let blockSize: UInt64 = 8
    private static let parallelism: UInt64 = 1
    private static let tagCount = 16

    /// The file's content.
    package let bytes: [UInt8]
    package let cost: Cost

    /// Checks the form; whether the passphrase fits shows in ``open(passphrase:)``.
    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= Self.bytesCount else { throw .tooLarge("sealed key", limit: Self.bytesCount) }
        guard bytes.prefix(8).elementsEqual(Self.magic.prefix(bytes.count)) else { throw .malformed("sealed key") }
        guard bytes.count > 9 else { throw .truncated("sealed key") }
        guard bytes[8] == Self.version else { throw .unsupported("sealed key version") }
        guard let cost = Cost(rawValue: bytes[9]) else { throw .unsupported("sealed key cost") }
        guard bytes.count == Self.bytesCount else { throw .truncated("sealed key") }
        self.bytes = bytes
        self.cost = cost
    }

    /// Locks `key`. Takes a good part of a second and the memory that `cost` names; not for an EventLoop.
    /// - Returns: nil when the passphrase is empty or over 1,024 bytes, or when memory is short.
    package init?(
        sealing key: KeyPair, passphrase: String, cost: Cost = .standard, from source: inout KeySource
    ) {
        let header = Self.magic + [Self.version, cost.rawValue] + source.nextBytes32().bytes
        guard let (cipherKey, nonce) = Self.cipherKey(passphrase: passphrase, cost: cost, salt: Array(header[10...])),
            let box = try? ChaChaPoly.seal(key.plainBytes, using: cipherKey, nonce: nonce, authenticating: header)
        else { return nil }
        bytes = header + Array(box.ciphertext) + Array(box.tag)
        self.cost = cost
    }

    /// Unlocks the key. As costly as sealing.
    /// - Throws: `.malformed` for a wrong passphrase or damaged bytes: the two can't be told apart.
    package func open(passphrase: String) throws(DecodeError) -> KeyPair {
        let header = Array(bytes[..<Self.headerCount])
        let sealed = bytes[Self.headerCount...]
        guard let (cipherKey, nonce) = Self.cipherKey(passphrase: passphrase, cost: cost, salt: Array(header[10...]))
        else { throw .unsupported("sealed key (passphrase length, or memory is short)") }
        guard
            let box = try? ChaChaPoly.SealedBox(
                nonce: nonce, ciphertext: sealed.dropLast(Self.tagCount), tag: sealed.suffix(Self.tagCount)),
            let plain = try? ChaChaPoly.open(box, using: cipherKey, authenticating: header)
        else { throw .malformed("sealed key (wrong passphrase or damaged)") }
        return try KeyPair(plainBytes: Array(plain))
    }

    private static func cipherKey(
        passphrase: String, cost: Cost, salt: [UInt8]
    ) -> (SymmetricKey, ChaChaPoly.Nonce)? {
        let password = Array(passphrase.utf8)
        guard (1...passphraseBytesMax).contains(password.count) else { return nil }
        // Twice the memory that scrypt needs for these parameters, so that the library's own limit never decides.
        let memoryBytesMax = 2 << (Int(cost.rawValue) + 10)
        guard
            let derived = KeyDerivation.scrypt(
                passphrase: password, salt: salt, costExponent: cost.rawValue, blockSize: blockSize,
                parallelism: parallelism, count: 44, memoryBytesMax: memoryBytesMax),
            let nonce = try? ChaChaPoly.Nonce(data: derived[32...])
        else { return nil }
        return (SymmetricKey(data: derived[..<32]), nonce)
    }
}

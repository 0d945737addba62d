// SPDX-License-Identifier: Apache-2.0
import CNIOBoringSSL
package import TuttiBase

/// SHA-256 and scrypt over the C library that swift-crypto carries: the public API has no scrypt, and its SHA-256
/// costs twice as much for a key or an id.
package enum KeyDerivation {
    package static func sha256(_ bytes: [UInt8]) -> Bytes32 {
        var digest = [UInt8](repeating: 0, count: Bytes32.count)
        bytes.withUnsafeBufferPointer { input in
            _ = SHA256(input.baseAddress, input.count, &digest)
        }
        return Bytes32(digest) ?? .zero
    }

    /// RFC 7914. Nil when memory is short or a parameter is impossible.
    /// - Parameter memoryBytesMax: refuses parameters that would need more.
    static func scrypt(
        passphrase: [UInt8], salt: [UInt8], costExponent: UInt8, blockSize: UInt64, parallelism: UInt64,
        count: Int, memoryBytesMax: Int
    ) -> [UInt8]? {
        guard (1...40).contains(costExponent) else { return nil }
        var key = [UInt8](repeating: 0, count: count)
        let result = passphrase.withUnsafeBytes { password in
            EVP_PBE_scrypt(
                password.assumingMemoryBound(to: CChar.self).baseAddress, password.count, salt, salt.count,
                1 << UInt64(costExponent), blockSize, parallelism, memoryBytesMax, &key, count)
        }
        return result == 1 ? key : nil
    }
}

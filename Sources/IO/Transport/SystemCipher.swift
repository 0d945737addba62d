// SPDX-License-Identifier: Apache-2.0
import Foundation
package import TuttiConnection

/// OpenSSL's ChaCha20-Poly1305, where the system has it and the processor makes it the faster one.
package enum SystemCipher {
    /// Nil without libcrypto 3, and where the processor lacks AVX-512 with IFMA: BoringSSL is then as fast or faster.
    package static let library: RecordCipherLibrary? = hasWideVectors ? load() : nil

    /// Whatever the processor; for tests, which hold both implementations equal.
    package static func load() -> RecordCipherLibrary? {
        #if os(Linux)
        guard let handle = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL),
            let make = dlsym(handle, "EVP_CIPHER_CTX_new"),
            let free = dlsym(handle, "EVP_CIPHER_CTX_free"),
            let begin = dlsym(handle, "EVP_CipherInit_ex"),
            let update = dlsym(handle, "EVP_CipherUpdate"),
            let finish = dlsym(handle, "EVP_CipherFinal_ex"),
            let control = dlsym(handle, "EVP_CIPHER_CTX_ctrl"),
            let cipher = dlsym(handle, "EVP_chacha20_poly1305")
        else { return nil }
        return RecordCipherLibrary(
            make: unsafeBitCast(make, to: RecordCipherLibrary.Make.self),
            free: unsafeBitCast(free, to: RecordCipherLibrary.Free.self),
            begin: unsafeBitCast(begin, to: RecordCipherLibrary.Begin.self),
            update: unsafeBitCast(update, to: RecordCipherLibrary.Update.self),
            finish: unsafeBitCast(finish, to: RecordCipherLibrary.Finish.self),
            control: unsafeBitCast(control, to: RecordCipherLibrary.Control.self),
            cipher: unsafeBitCast(cipher, to: RecordCipherLibrary.Make.self))
        #else
        return nil
        #endif
    }

    private static var hasWideVectors: Bool {
        guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8),
            let flags = text.split(separator: "\n").first(where: { $0.hasPrefix("flags") })
        else { return false }
        let words = Set(flags.split(whereSeparator: \.isWhitespace))
        return words.contains("avx512f") && words.contains("avx512ifma") && words.contains("avx512vl")
    }
}

// SPDX-License-Identifier: Apache-2.0
import CNIOBoringSSL
package import TuttiBase

/// One direction of a Noise connection: ChaCha20-Poly1305 under one key, with the counter as nonce.
///
/// Follows the Noise Protocol Framework, revision 34, sections 5.1 (CipherState) and 12.3 (the nonce is four zero bytes
/// and the counter in little-endian order). It is confined to its connection's event loop.
///
/// The public API of swift-crypto makes a context and allocates twice for each message, so this type keeps a context of
/// the C library beneath it (584 bytes) and works in the caller's memory. `PublicRecordCipher` is the same through the
/// public API; a test holds them equal.
package final class RecordCipher {
    package static let tagBytes = 16
    /// Noise reserves 2^64 - 1: that many records end a connection.
    private static let counterEnd = UInt64.max

    private let context: UnsafeMutablePointer<EVP_AEAD_CTX>
    private var counter: UInt64
    private var key: Bytes32
    /// For large records, where the system has a faster implementation.
    private var library: RecordCipherLibrary?
    private var large: LargeRecordCipher?

    package convenience init(key: Bytes32) {
        self.init(key: key, counter: 0)
    }

    /// - Parameter counter: the number of records already sealed or opened under `key`.
    package init(key: Bytes32, counter: UInt64) {
        self.counter = counter
        self.key = key
        context = .allocate(capacity: 1)
        EVP_AEAD_CTX_zero(context)
        let made = key.withUnsafeBytes { bytes in
            EVP_AEAD_CTX_init(
                context, EVP_aead_chacha20_poly1305(),
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, RecordCipher.tagBytes, nil)
        }
        precondition(made == 1, "a key of 32 bytes always makes a context")
    }

    deinit {
        EVP_AEAD_CTX_cleanup(context)
        OPENSSL_cleanse(context, MemoryLayout<EVP_AEAD_CTX>.size)
        context.deallocate()
        withUnsafeMutableBytes(of: &key) { OPENSSL_cleanse($0.baseAddress, $0.count) }
    }

    /// Leaves large records to `library`; nil: keeps all.
    package func accelerate(with library: RecordCipherLibrary?) {
        self.library = library
    }

    /// No record is left: the connection must end.
    package var isExhausted: Bool { counter == RecordCipher.counterEnd }

    /// Encrypts `plaintext` to the start of `output` (the same address, or no overlap), tag behind it, under the next
    /// nonce. `output` holds at least `plaintext.count + tagBytes`.
    /// - Returns: false when the nonces are used up or `output` is too small; `output` is then all zero, so that a
    ///   caller who goes on sends nothing readable.
    @discardableResult
    package func seal(_ plaintext: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Bool {
        seal(plaintext, into: output, authenticating: UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// Decrypts in place; the plaintext is `record` without its last `tagBytes`. False: forged or damaged, or the
    /// nonces are used up; the record's bytes are then worthless.
    package func open(_ record: UnsafeMutableRawBufferPointer) -> Bool {
        open(record, authenticating: UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// `seal`, with data that is authenticated and not sent.
    func seal(
        _ plaintext: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer,
        authenticating data: UnsafeRawBufferPointer
    ) -> Bool {
        if plaintext.count >= LargeRecordCipher.bytesMin, data.count == 0, let large = largeCipher(seals: true) {
            return sealLarge(plaintext, with: large, into: output)
        }
        var written = 0
        var sealed: CInt = 0
        if counter < RecordCipher.counterEnd {
            sealed = withNonce { nonce in
                EVP_AEAD_CTX_seal(
                    context, output.baseAddress?.assumingMemoryBound(to: UInt8.self), &written, output.count,
                    nonce, 12, plaintext.baseAddress?.assumingMemoryBound(to: UInt8.self), plaintext.count,
                    data.baseAddress?.assumingMemoryBound(to: UInt8.self), data.count)
            }
        }
        guard sealed == 1 else {
            output.initializeMemory(as: UInt8.self, repeating: 0)
            return false
        }
        assert(written == plaintext.count + RecordCipher.tagBytes)
        counter += 1
        return true
    }

    /// `open`, with data that is authenticated and was not sent.
    func open(_ record: UnsafeMutableRawBufferPointer, authenticating data: UnsafeRawBufferPointer) -> Bool {
        guard record.count >= RecordCipher.tagBytes, counter < RecordCipher.counterEnd else { return false }
        if record.count >= LargeRecordCipher.bytesMin, let large = largeCipher(seals: false), data.count == 0,
            let base = record.baseAddress?.assumingMemoryBound(to: UInt8.self)
        {
            let count = record.count - RecordCipher.tagBytes
            guard withNonce({ large.open(base, count: count, nonce: $0) ? 1 : 0 }) == 1 else { return false }
            counter += 1
            return true
        }
        let base = record.baseAddress?.assumingMemoryBound(to: UInt8.self)
        var written = 0
        let opened = withNonce { nonce in
            EVP_AEAD_CTX_open(
                context, base, &written, record.count, nonce, 12, base, record.count,
                data.baseAddress?.assumingMemoryBound(to: UInt8.self), data.count)
        }
        guard opened == 1 else {
            // The library keeps its reasons in a queue of this thread; nobody reads it.
            ERR_clear_error()
            return false
        }
        counter += 1
        return true
    }

    private func sealLarge(
        _ plaintext: UnsafeRawBufferPointer, with large: LargeRecordCipher,
        into output: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard counter < RecordCipher.counterEnd, output.count >= plaintext.count + RecordCipher.tagBytes,
            let source = plaintext.baseAddress?.assumingMemoryBound(to: UInt8.self),
            let target = output.baseAddress?.assumingMemoryBound(to: UInt8.self),
            withNonce({ large.seal(source, count: plaintext.count, nonce: $0, into: target) ? 1 : 0 }) == 1
        else {
            output.initializeMemory(as: UInt8.self, repeating: 0)
            return false
        }
        counter += 1
        return true
    }

    private func largeCipher(seals: Bool) -> LargeRecordCipher? {
        if let large { return large }
        guard let library else { return nil }
        large = key.withUnsafeBytes { bytes in
            bytes.baseAddress.flatMap {
                LargeRecordCipher(library, key: $0.assumingMemoryBound(to: UInt8.self), seals: seals)
            }
        }
        if large == nil { self.library = nil }
        return large
    }

    private func withNonce(_ body: (UnsafePointer<UInt8>) -> CInt) -> CInt {
        let low = UInt32(truncatingIfNeeded: counter).littleEndian
        let high = UInt32(truncatingIfNeeded: counter >> 32).littleEndian
        return withUnsafeBytes(of: (UInt32(0), low, high)) { bytes in
            bytes.withMemoryRebound(to: UInt8.self) { nonce in
                guard let base = nonce.baseAddress else { return 0 }
                return body(base)
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Another implementation of ChaCha20-Poly1305 for large records, as the C functions of OpenSSL's EVP interface.
///
/// BoringSSL's is the fastest for small records and where a processor has no AVX-512; with AVX-512 OpenSSL 3 seals 16 KiB
/// in about two thirds of the time. The functions are found when the program runs (Transport), so nothing links against
/// OpenSSL and a machine without it loses speed only. docs/decisions/0004-a-faster-cipher-where-the-system-has-one.md.
package struct RecordCipherLibrary: Sendable {
    package typealias Bytes = UnsafeMutablePointer<UInt8>
    package typealias Make = @convention(c) @Sendable () -> OpaquePointer?
    package typealias Free = @convention(c) @Sendable (OpaquePointer?) -> Void
    package typealias Begin =
        @convention(c) @Sendable (
            OpaquePointer?, OpaquePointer?, OpaquePointer?, UnsafePointer<UInt8>?, UnsafePointer<UInt8>?, CInt
        ) -> CInt
    package typealias Update =
        @convention(c) @Sendable (OpaquePointer?, Bytes?, UnsafeMutablePointer<CInt>?, UnsafePointer<UInt8>?, CInt) ->
        CInt
    package typealias Finish = @convention(c) @Sendable (OpaquePointer?, Bytes?, UnsafeMutablePointer<CInt>?) -> CInt
    package typealias Control =
        @convention(c) @Sendable (OpaquePointer?, CInt, CInt, UnsafeMutableRawPointer?) -> CInt

    /// `EVP_CIPHER_CTX_new`, `…_free`, `EVP_CipherInit_ex`, `EVP_CipherUpdate`, `EVP_CipherFinal_ex`,
    /// `EVP_CIPHER_CTX_ctrl`.
    let make: Make
    let free: Free
    let begin: Begin
    let update: Update
    let finish: Finish
    let control: Control
    /// Gives `EVP_chacha20_poly1305`, which lives as long as the process.
    let cipher: Make

    package init(
        make: Make, free: Free, begin: Begin, update: Update, finish: Finish, control: Control, cipher: Make
    ) {
        self.make = make
        self.free = free
        self.begin = begin
        self.update = update
        self.finish = finish
        self.control = control
        self.cipher = cipher
    }
}

/// One direction of one connection in that library. Made when the first large record comes.
final class LargeRecordCipher {
    /// From this size on the library's per-record cost is earned back, bytes.
    static let bytesMin = 4 * 1024
    private static let getTag: CInt = 0x10
    private static let setTag: CInt = 0x11

    private let library: RecordCipherLibrary
    private let context: OpaquePointer

    /// Nil when the library refuses; then the caller goes on without it.
    init?(_ library: RecordCipherLibrary, key: UnsafePointer<UInt8>, seals: Bool) {
        guard let context = library.make() else { return nil }
        guard library.begin(context, library.cipher(), nil, key, nil, seals ? 1 : 0) == 1 else {
            library.free(context)
            return nil
        }
        self.library = library
        self.context = context
    }

    deinit {
        library.free(context)
    }

    /// `output` holds `count` bytes and a tag.
    func seal(_ plaintext: UnsafePointer<UInt8>, count: Int, nonce: UnsafePointer<UInt8>, into output: Bytes) -> Bool {
        guard let count = CInt(exactly: count) else { return false }
        var written: CInt = 0
        return library.begin(context, nil, nil, nil, nonce, 1) == 1
            && library.update(context, output, &written, plaintext, count) == 1
            && library.finish(context, output + Int(count), &written) == 1
            && library.control(context, Self.getTag, CInt(RecordCipher.tagBytes), output + Int(count)) == 1
    }

    /// `record` holds `count` bytes and a tag; opened where it lies.
    func open(_ record: Bytes, count: Int, nonce: UnsafePointer<UInt8>) -> Bool {
        guard let count = CInt(exactly: count) else { return false }
        var written: CInt = 0
        return library.begin(context, nil, nil, nil, nonce, 0) == 1
            && library.control(context, Self.setTag, CInt(RecordCipher.tagBytes), record + Int(count)) == 1
            && library.update(context, record, &written, record, count) == 1
            && library.finish(context, record + Int(count), &written) == 1
    }

    typealias Bytes = RecordCipherLibrary.Bytes
}

// SPDX-License-Identifier: Apache-2.0
import CNIOBoringSSL
import TuttiBase

import struct NIOCore.ByteBuffer

/// The hash, the chaining key and the handshake cipher of Noise_XX_25519_ChaChaPoly_SHA256.
///
/// Follows the Noise Protocol Framework, revision 34, section 5.2 (SymmetricState) and 4.3 (HMAC and HKDF). The hash
/// contexts live on the stack: an HKDF costs twelve SHA-256 blocks, about 3 us, against 25 us through swift-crypto's
/// objects.
struct NoiseSymmetricState {
    private static let protocolName = "Noise_XX_25519_ChaChaPoly_SHA256"

    private(set) var hash: Bytes32
    private var chainingKey: Bytes32
    private var cipher: RecordCipher?

    /// The prologue is empty, as libp2p has it.
    init() {
        guard let name = Bytes32(Array(NoiseSymmetricState.protocolName.utf8)) else {
            preconditionFailure("the protocol's name has exactly as many bytes as its hash")
        }
        hash = name
        chainingKey = name
        mixHash(UnsafeRawBufferPointer(start: nil, count: 0))
    }

    mutating func mixHash(_ data: UnsafeRawBufferPointer) {
        hash = hash.withUnsafeBytes { SHA256.hash($0, data) }
    }

    mutating func mixHash(_ data: Bytes32) {
        data.withUnsafeBytes { mixHash($0) }
    }

    mutating func mixKey(_ secret: Bytes32) {
        let (next, key) = secret.withUnsafeBytes { HKDF.derivePair(chainingKey: chainingKey, input: $0) }
        chainingKey = next
        cipher = RecordCipher(key: key)
    }

    /// Appends `plaintext` encrypted, and its tag. A key must have been mixed in.
    mutating func encryptAndHash(_ plaintext: UnsafeRawBufferPointer, into output: inout ByteBuffer) {
        guard let cipher else { return assertionFailure("nothing is encrypted before the first key") }
        let count = plaintext.count + RecordCipher.tagBytes
        let start = output.writerIndex
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { memory in
            let target = UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
            _ = hash.withUnsafeBytes { cipher.seal(plaintext, into: target, authenticating: $0) }
            return count
        }
        output.withUnsafeReadableBytes { readable in
            mixHash(UnsafeRawBufferPointer(rebasing: readable[(start - output.readerIndex)...]))
        }
    }

    /// Takes `count` bytes off `message` and decrypts them; nil when there are too few, or they were forged.
    mutating func decryptAndHash(_ message: inout ByteBuffer, count: Int) -> ByteBuffer? {
        guard let cipher, count >= RecordCipher.tagBytes, var part = message.readSlice(length: count) else {
            return nil
        }
        let before = hash
        part.withUnsafeReadableBytes { mixHash($0) }
        let opened = part.withUnsafeMutableReadableBytes { record in
            before.withUnsafeBytes { cipher.open(record, authenticating: $0) }
        }
        guard opened else { return nil }
        return part.readSlice(length: count - RecordCipher.tagBytes)
    }

    /// The keys of the two directions: the dialer seals with the first.
    func split() -> (Bytes32, Bytes32) {
        HKDF.derivePair(chainingKey: chainingKey, input: UnsafeRawBufferPointer(start: nil, count: 0))
    }
}

enum SHA256 {
    static func hash(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> Bytes32 {
        var context = SHA256_CTX()
        SHA256_Init(&context)
        SHA256_Update(&context, first.baseAddress, first.count)
        SHA256_Update(&context, second.baseAddress, second.count)
        return finish(&context)
    }

    static func finish(_ context: inout SHA256_CTX) -> Bytes32 {
        Bytes32.written { SHA256_Final($0, &context) }
    }
}

/// HMAC-SHA-256 whose key has been taken in: a copy of it authenticates one message.
private struct HMACKey {
    private var inner = SHA256_CTX()
    private var outer = SHA256_CTX()

    init(_ key: Bytes32) {
        SHA256_Init(&inner)
        SHA256_Init(&outer)
        withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { block in
            key.withUnsafeBytes { bytes in
                for index in 0..<64 { block[index] = (index < bytes.count ? bytes[index] : 0) ^ 0x36 }
            }
            SHA256_Update(&inner, block.baseAddress, 64)
            for index in 0..<64 { block[index] ^= 0x36 ^ 0x5C }
            SHA256_Update(&outer, block.baseAddress, 64)
        }
    }

    func authenticate(_ first: UnsafeRawBufferPointer, _ last: UInt8? = nil) -> Bytes32 {
        var inner = inner
        SHA256_Update(&inner, first.baseAddress, first.count)
        if var last { SHA256_Update(&inner, &last, 1) }
        var outer = outer
        SHA256.finish(&inner).withUnsafeBytes { digest in
            _ = SHA256_Update(&outer, digest.baseAddress, digest.count)
        }
        return SHA256.finish(&outer)
    }
}

private enum HKDF {
    static func derivePair(chainingKey: Bytes32, input: UnsafeRawBufferPointer) -> (Bytes32, Bytes32) {
        let key = HMACKey(HMACKey(chainingKey).authenticate(input))
        let first = key.authenticate(UnsafeRawBufferPointer(start: nil, count: 0), 1)
        let second = first.withUnsafeBytes { key.authenticate($0, 2) }
        return (first, second)
    }
}

enum X25519 {
    static func publicKey(of privateKey: Bytes32) -> Bytes32 {
        privateKey.withUnsafeBytes { bytes in
            Bytes32.written {
                X25519_public_from_private($0, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
            }
        }
    }

    /// Nil when the result is all zero: the peer sent a point of low order, and the secret would be known to everyone.
    static func secret(of privateKey: Bytes32, with publicKey: Bytes32) -> Bytes32? {
        var isSafe = false
        let secret = privateKey.withUnsafeBytes { own in
            publicKey.withUnsafeBytes { other in
                Bytes32.written {
                    isSafe =
                        CNIOBoringSSL.X25519(
                            $0, own.baseAddress?.assumingMemoryBound(to: UInt8.self),
                            other.baseAddress?.assumingMemoryBound(to: UInt8.self)) == 1
                }
            }
        }
        return isSafe ? secret : nil
    }
}

extension Bytes32 {
    /// The 32 bytes that `body` writes.
    fileprivate static func written<R>(by body: (UnsafeMutablePointer<UInt8>) -> R) -> Bytes32 {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &words) { raw in
            raw.withMemoryRebound(to: UInt8.self) { bytes in
                if let base = bytes.baseAddress { _ = body(base) }
            }
        }
        return Bytes32(words: (words.0.bigEndian, words.1.bigEndian, words.2.bigEndian, words.3.bigEndian))
    }
}

// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiTransport

@Suite("The system's cipher for large records")
struct SystemCipherTests {
    private static let key = Bytes32(words: (1, 2, 3, 4))

    private func ciphers() -> (fast: RecordCipher, plain: RecordCipher)? {
        guard let library = SystemCipher.load() else {
            print("SKIPPED: this system has no libcrypto 3, so records of all sizes are BoringSSL's")
            return nil
        }
        let fast = RecordCipher(key: Self.key)
        fast.accelerate(with: library)
        return (fast, RecordCipher(key: Self.key))
    }

    private func sealed(_ cipher: RecordCipher, _ message: [UInt8], inPlace: Bool) -> [UInt8] {
        var output = message + [UInt8](repeating: 0, count: RecordCipher.tagBytes)
        let worked = output.withUnsafeMutableBytes { target in
            guard inPlace else { return message.withUnsafeBytes { cipher.seal($0, into: target) } }
            return cipher.seal(UnsafeRawBufferPointer(rebasing: target[..<message.count]), into: target)
        }
        #expect(worked)
        return output
    }

    @Test("Both implementations agree byte for byte, whichever size comes next")
    func agree() {
        guard let (fast, plain) = ciphers(), let (fastOpening, plainOpening) = ciphers() else { return }
        let sizes = [10, 4_095, 4_096, 4_097, 16_384, 100, 65_519, 5_000, 0, 16_384]
        for (index, size) in sizes.enumerated() {
            let message = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ index) }
            var first = sealed(fast, message, inPlace: index % 2 == 0)
            var second = sealed(plain, message, inPlace: index % 2 == 1)
            #expect(first == second, "record \(index) of \(size) bytes")
            #expect(first.withUnsafeMutableBytes { plainOpening.open($0) })
            #expect(second.withUnsafeMutableBytes { fastOpening.open($0) })
            #expect(Array(second.prefix(size)) == message)
        }
    }

    @Test("A changed byte anywhere is refused, and the next genuine record still opens")
    func forgery() {
        guard let (fast, plain) = ciphers() else { return }
        let message = [UInt8](repeating: 7, count: 8_192)
        let record = sealed(plain, message, inPlace: false)
        for position in [0, 4_000, 8_191, 8_192, 8_207] {
            var forged = record
            forged[position] ^= 1
            #expect(!forged.withUnsafeMutableBytes { fast.open($0) })
        }
        var genuine = record
        #expect(genuine.withUnsafeMutableBytes { fast.open($0) })
        #expect(Array(genuine.prefix(8_192)) == message)
    }

    @Test("Too small an output is refused and left without plaintext")
    func smallOutput() {
        guard let (fast, _) = ciphers() else { return }
        let message = [UInt8](repeating: 7, count: 8_192)
        var output = [UInt8](repeating: 9, count: 8_200)
        let worked = message.withUnsafeBytes { source in
            output.withUnsafeMutableBytes { fast.seal(source, into: $0) }
        }
        #expect(!worked)
        #expect(output.allSatisfy { $0 == 0 })
    }
}

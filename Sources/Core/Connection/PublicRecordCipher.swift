// SPDX-License-Identifier: Apache-2.0
import Crypto
package import TuttiBase

/// `RecordCipher` through swift-crypto's public API alone, byte for byte the same and about half as fast.
///
/// It is the way back should the C library's import stop working: give this type the other's name. Until then only a
/// test uses it, which holds the two equal.
package final class PublicRecordCipher {
    private let key: SymmetricKey
    private var counter: UInt64

    package init(key: Bytes32, counter: UInt64 = 0) {
        self.key = SymmetricKey(data: key.bytes)
        self.counter = counter
    }

    @discardableResult
    package func seal(_ plaintext: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Bool {
        guard counter < .max, output.count >= plaintext.count + RecordCipher.tagBytes,
            let nonce = try? ChaChaPoly.Nonce(data: nonceBytes),
            let box = try? ChaChaPoly.seal(plaintext, using: key, nonce: nonce)
        else {
            output.initializeMemory(as: UInt8.self, repeating: 0)
            return false
        }
        output.copyBytes(from: box.ciphertext)
        UnsafeMutableRawBufferPointer(rebasing: output[plaintext.count...]).copyBytes(from: box.tag)
        counter += 1
        return true
    }

    package func open(_ record: UnsafeMutableRawBufferPointer) -> Bool {
        guard counter < .max, record.count >= RecordCipher.tagBytes else { return false }
        let split = record.count - RecordCipher.tagBytes
        guard let nonce = try? ChaChaPoly.Nonce(data: nonceBytes),
            let box = try? ChaChaPoly.SealedBox(
                nonce: nonce, ciphertext: UnsafeRawBufferPointer(rebasing: record[..<split]),
                tag: UnsafeRawBufferPointer(rebasing: record[split...])),
            let plaintext = try? ChaChaPoly.open(box, using: key)
        else { return false }
        record.copyBytes(from: plaintext)
        counter += 1
        return true
    }

    private var nonceBytes: [UInt8] {
        [0, 0, 0, 0] + withUnsafeBytes(of: counter.littleEndian) { Array($0) }
    }
}

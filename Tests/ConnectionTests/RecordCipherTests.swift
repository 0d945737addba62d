// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiConnection

@Suite("RecordCipher")
struct RecordCipherTests {
    private static let key = Bytes32(
        words: (0x0001_0203_0405_0607, 0x0809_0A0B_0C0D_0E0F, 0x1011_1213_1415_1617, 0x1819_1A1B_1C1D_1E1F))
    private static let sizes = [0, 1, 15, 16, 17, 63, 64, 65, 1_000, 16_384, 65_519]

    private func plaintext(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) }
    }

    private func sealed(_ cipher: RecordCipher, _ plaintext: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0xAA, count: plaintext.count + RecordCipher.tagBytes)
        let worked = plaintext.withUnsafeBytes { source in
            output.withUnsafeMutableBytes { cipher.seal(source, into: $0) }
        }
        #expect(worked)
        return output
    }

    /// Computed with the Python package `cryptography`:
    /// `ChaCha20Poly1305(bytes(range(32))).encrypt(bytes(4) + struct.pack('<Q', 0x0102030405060708), b'counter', b'')`.
    @Test("The nonce is four zero bytes and the counter in little-endian order")
    func nonceIsLittleEndian() {
        let cipher = RecordCipher(key: Self.key, counter: 0x0102_0304_0506_0708)
        #expect(hex(sealed(cipher, Array("counter".utf8))) == "9326d88adf5c981c74042646d314b443dc23f516ebd405")
    }

    @Test("Both ciphers agree byte for byte, record after record", arguments: sizes)
    func bothAgree(count: Int) {
        let direct = RecordCipher(key: Self.key, counter: 0xFFFF_FFFE)
        let slow = PublicRecordCipher(key: Self.key, counter: 0xFFFF_FFFE)
        let directOpening = RecordCipher(key: Self.key, counter: 0xFFFF_FFFE)
        let slowOpening = PublicRecordCipher(key: Self.key, counter: 0xFFFF_FFFE)
        let message = plaintext(count)
        // Four records cross the middle of the counter, where its upper half begins to count.
        for _ in 0..<4 {
            var first = sealed(direct, message)
            var second = [UInt8](repeating: 0, count: count + RecordCipher.tagBytes)
            let worked = message.withUnsafeBytes { source in
                second.withUnsafeMutableBytes { slow.seal(source, into: $0) }
            }
            #expect(worked)
            #expect(first == second)
            #expect(first.withUnsafeMutableBytes { slowOpening.open($0) })
            #expect(second.withUnsafeMutableBytes { directOpening.open($0) })
            #expect(Array(first.prefix(count)) == message)
            #expect(Array(second.prefix(count)) == message)
        }
    }

    @Test("Sealing in place gives what sealing elsewhere gives", arguments: sizes)
    func sealsInPlace(count: Int) {
        let message = plaintext(count)
        let elsewhere = sealed(RecordCipher(key: Self.key), message)
        var inPlace = message + [UInt8](repeating: 0, count: RecordCipher.tagBytes)
        let cipher = RecordCipher(key: Self.key)
        let worked = inPlace.withUnsafeMutableBytes { memory in
            cipher.seal(UnsafeRawBufferPointer(rebasing: memory[..<count]), into: memory)
        }
        #expect(worked)
        #expect(inPlace == elsewhere)
    }

    @Test("A record with one bit turned anywhere is refused, and the right one still opens")
    func refusesDamage() {
        let record = sealed(RecordCipher(key: Self.key), plaintext(40))
        let opening = RecordCipher(key: Self.key)
        for index in record.indices {
            var damaged = record
            damaged[index] ^= 0x10
            #expect(!damaged.withUnsafeMutableBytes { opening.open($0) })
        }
        var right = record
        #expect(right.withUnsafeMutableBytes { opening.open($0) })
        #expect(Array(right.prefix(40)) == plaintext(40))
    }

    @Test("A record cut anywhere is refused")
    func refusesCuts() {
        let record = sealed(RecordCipher(key: Self.key), plaintext(40))
        let opening = RecordCipher(key: Self.key)
        for count in 0..<record.count {
            var cut = Array(record.prefix(count))
            #expect(!cut.withUnsafeMutableBytes { opening.open($0) })
        }
    }

    @Test("A record that comes twice, or out of turn, is refused")
    func refusesReplay() {
        let sealing = RecordCipher(key: Self.key)
        var first = sealed(sealing, plaintext(5))
        var again = first
        var second = sealed(sealing, plaintext(6))
        var third = sealed(sealing, plaintext(7))
        let opening = RecordCipher(key: Self.key)
        #expect(first.withUnsafeMutableBytes { opening.open($0) })
        #expect(!again.withUnsafeMutableBytes { opening.open($0) })
        #expect(!third.withUnsafeMutableBytes { opening.open($0) })
        #expect(second.withUnsafeMutableBytes { opening.open($0) })
    }

    @Test("The last nonce is never used: sealing and opening stop, and nothing readable is left in the output")
    func stopsAtTheLastNonce() {
        let sealing = RecordCipher(key: Self.key, counter: .max - 1)
        #expect(!sealing.isExhausted)
        var last = sealed(sealing, plaintext(9))
        #expect(sealing.isExhausted)

        var memory = plaintext(9) + [UInt8](repeating: 0xFF, count: RecordCipher.tagBytes)
        let worked = memory.withUnsafeMutableBytes { bytes in
            sealing.seal(UnsafeRawBufferPointer(rebasing: bytes[..<9]), into: bytes)
        }
        #expect(!worked)
        #expect(memory == [UInt8](repeating: 0, count: 9 + RecordCipher.tagBytes))

        let opening = RecordCipher(key: Self.key, counter: .max - 1)
        #expect(last.withUnsafeMutableBytes { opening.open($0) })
        var another = last
        #expect(!another.withUnsafeMutableBytes { opening.open($0) })
    }

    @Test("An output without room for the tag is refused and emptied, and costs no nonce")
    func refusesSmallOutput() {
        let cipher = RecordCipher(key: Self.key)
        var memory = [UInt8](repeating: 0xFF, count: 20)
        let worked = plaintext(10).withUnsafeBytes { source in
            memory.withUnsafeMutableBytes { cipher.seal(source, into: $0) }
        }
        #expect(!worked)
        #expect(memory == [UInt8](repeating: 0, count: 20))
        #expect(sealed(cipher, plaintext(3)) == sealed(RecordCipher(key: Self.key), plaintext(3)))
    }
}

func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { byte in
        let text = String(byte, radix: 16)
        return byte < 16 ? "0" + text : text
    }.joined()
}

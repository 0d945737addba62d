// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// Text in a base that is a power of two (base16, base32, base64; RFC 4648), without padding.
///
/// Decoding is exact: an impossible length and unused bits that are not zero are refused, so one value has one text.
package struct BitText: Sendable {
    package static let base16 = BitText("0123456789abcdef", bits: 4)
    package static let base32 = BitText("abcdefghijklmnopqrstuvwxyz234567", bits: 5)
    package static let base64 = BitText(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", bits: 6)
    package static let base64url = BitText(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", bits: 6)

    private let alphabet: [UInt8]
    /// The value of each character, 255 where it is no digit.
    private let values: [UInt8]
    private let bits: UInt32

    private init(_ alphabet: StaticString, bits: UInt32) {
        let digits = Array(alphabet.description.utf8)
        var values = [UInt8](repeating: 255, count: 256)
        for (value, digit) in digits.enumerated() { values[Int(digit)] = UInt8(value) }
        self.alphabet = digits
        self.values = values
        self.bits = bits
    }

    package func encode(_ bytes: some Collection<UInt8>) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2 + 1)
        var pending: UInt32 = 0
        var pendingBits: UInt32 = 0
        let mask: UInt32 = (1 << bits) - 1
        for byte in bytes {
            pending = (pending << 8 | UInt32(byte)) & 0xFFFF
            pendingBits += 8
            while pendingBits >= bits {
                pendingBits -= bits
                text.append(alphabet[Int(pending >> pendingBits & mask)])
            }
        }
        if pendingBits > 0 {
            text.append(alphabet[Int(pending << (bits - pendingBits) & mask)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// - Throws: `.tooLarge` for text over `textBytesMax`, `.malformed` for anything that `encode` does not write.
    package func decode(
        _ text: some Collection<UInt8>, textBytesMax: Int, _ what: StaticText
    ) throws(DecodeError) -> [UInt8] {
        guard text.count <= textBytesMax else { throw .tooLarge(what, limit: textBytesMax) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var pending: UInt32 = 0
        var pendingBits: UInt32 = 0
        for character in text {
            let value = values[Int(character)]
            guard value != 255 else { throw .malformed(what) }
            pending = (pending << bits | UInt32(value)) & 0xFFFF
            pendingBits += bits
            if pendingBits >= 8 {
                pendingBits -= 8
                bytes.append(UInt8(truncatingIfNeeded: pending >> pendingBits))
            }
        }
        guard pendingBits < bits, pending & ((1 << pendingBits) - 1) == 0 else { throw .malformed(what) }
        return bytes
    }
}

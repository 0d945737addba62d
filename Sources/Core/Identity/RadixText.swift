// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// Text in a base that does not divide a byte (base58btc, base36): the whole input is one big number.
///
/// The work grows with the square of the length, so both directions are bounded: callers give a limit, and decoding
/// checks it before it starts. A leading zero byte is a leading zero digit.
package struct RadixText: Sendable {
    package static let base58btc = RadixText(
        "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", digitsPerStep: 5)
    package static let base36 = RadixText("0123456789abcdefghijklmnopqrstuvwxyz", digitsPerStep: 6)

    private let alphabet: [UInt8]
    /// The value of each ASCII character, 255 where it is no digit.
    private let values: [UInt8]
    /// How many digits fit into 32 bits, and the radix to that power.
    private let digitsPerStep: Int
    private let stepRadix: UInt64

    private init(_ alphabet: StaticString, digitsPerStep: Int) {
        let digits = Array(alphabet.description.utf8)
        var values = [UInt8](repeating: 255, count: 256)
        for (value, digit) in digits.enumerated() { values[Int(digit)] = UInt8(value) }
        self.alphabet = digits
        self.values = values
        self.digitsPerStep = digitsPerStep
        stepRadix = (0..<digitsPerStep).reduce(1) { product, _ in product * UInt64(digits.count) }
    }

    /// For short values that we hold (ids, hashes).
    package func encode(_ bytes: some Collection<UInt8>) -> String {
        let zeros = bytes.prefix { $0 == 0 }.count
        var limbs = Self.limbs(bytes.dropFirst(zeros))
        var digits: [UInt8] = []
        digits.reserveCapacity(zeros + bytes.count * 8 / 5 + digitsPerStep)
        var first = 0
        while first < limbs.count {
            var remainder: UInt64 = 0
            for index in first..<limbs.count {
                let value = remainder << 32 | UInt64(limbs[index])
                limbs[index] = UInt32(truncatingIfNeeded: value / stepRadix)
                remainder = value % stepRadix
            }
            while first < limbs.count, limbs[first] == 0 { first += 1 }
            let radix = UInt64(alphabet.count)
            for _ in 0..<digitsPerStep {
                // The last step holds fewer digits: no zeros in front of the number.
                if first == limbs.count, remainder == 0 { break }
                digits.append(alphabet[Int(remainder % radix)])
                remainder /= radix
            }
        }
        for _ in 0..<zeros { digits.append(alphabet[0]) }
        return String(decoding: digits.reversed(), as: UTF8.self)
    }

    /// - Throws: `.tooLarge` for text over `textBytesMax`, `.malformed` for a character outside the alphabet.
    package func decode(
        _ text: some Collection<UInt8>, textBytesMax: Int, _ what: StaticText
    ) throws(DecodeError) -> [UInt8] {
        guard text.count <= textBytesMax else { throw .tooLarge(what, limit: textBytesMax) }
        let zeros = text.prefix { $0 == alphabet[0] }.count
        // Little-endian limbs: the number so far.
        var limbs: [UInt32] = []
        for digit in text.dropFirst(zeros) {
            let value = values[Int(digit)]
            guard value != 255 else { throw .malformed(what) }
            var carry = UInt64(value)
            for index in limbs.indices {
                let product = UInt64(limbs[index]) * UInt64(alphabet.count) + carry
                limbs[index] = UInt32(truncatingIfNeeded: product)
                carry = product >> 32
            }
            if carry > 0 { limbs.append(UInt32(truncatingIfNeeded: carry)) }
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(zeros + limbs.count * 4)
        for limb in limbs {
            for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: limb >> shift)) }
        }
        while bytes.last == 0 { bytes.removeLast() }
        for _ in 0..<zeros { bytes.append(0) }
        bytes.reverse()
        return bytes
    }

    /// Big-endian 32-bit limbs of a big-endian number.
    private static func limbs(_ bytes: some Collection<UInt8>) -> [UInt32] {
        var limbs: [UInt32] = []
        limbs.reserveCapacity(bytes.count / 4 + 1)
        var limb: UInt32 = 0
        var left = bytes.count
        for byte in bytes {
            limb = limb << 8 | UInt32(byte)
            left -= 1
            if left % 4 == 0 {
                limbs.append(limb)
                limb = 0
            }
        }
        return limbs
    }
}

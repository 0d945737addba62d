// SPDX-License-Identifier: Apache-2.0

/// From bytes to the codewords of a symbol, in the order in which they are placed.
package enum QRCodewords {
    static func all(of bytes: [UInt8], _ version: QRVersion) -> [UInt8] {
        interleave(data(of: bytes, version), version)
    }

    /// Mode, length, bytes, terminator and filling (7.4).
    static func data(of bytes: [UInt8], _ version: QRVersion) -> [UInt8] {
        var bits = QRBits()
        bits.append(0b0100, count: 4)
        bits.append(bytes.count, count: version.lengthBitsCount)
        for byte in bytes { bits.append(Int(byte), count: 8) }
        // Four bits at most, and up to a whole codeword: after bytes both come to the same.
        bits.append(0, count: 4)
        var codewords = bits.bytes
        var isFirst = true
        while codewords.count < version.dataCodewordsCount {
            codewords.append(isFirst ? 0xEC : 0x11)
            isFirst.toggle()
        }
        return codewords
    }

    /// Data and then correction, each block by block in turn (7.6).
    private static func interleave(_ data: [UInt8], _ version: QRVersion) -> [UInt8] {
        var blocks: [[UInt8]] = []
        var start = 0
        for length in version.blockLengths {
            blocks.append(Array(data[start..<start + length]))
            start += length
        }
        let corrections = blocks.map { correction(of: $0, count: version.correctionCodewordsCount) }
        return turns(of: blocks) + turns(of: corrections)
    }

    private static func turns(of blocks: [[UInt8]]) -> [UInt8] {
        (0..<(blocks.map(\.count).max() ?? 0)).flatMap { index in
            blocks.compactMap { $0.indices.contains(index) ? $0[index] : nil }
        }
    }

    /// Reed–Solomon: what is left of `data` divided by the generator polynomial (7.5.2).
    package static func correction(of data: [UInt8], count: Int) -> [UInt8] {
        let generator = generator(count)
        var rest = [UInt8](repeating: 0, count: count)
        for byte in data {
            let factor = byte ^ rest[0]
            for index in 0..<count {
                let next = index + 1 < count ? rest[index + 1] : 0
                rest[index] = next ^ product(generator[index], factor)
            }
        }
        return rest
    }

    /// (x - 1)(x - 2)(x - 4)… without its leading 1, the highest power first.
    private static func generator(_ degree: Int) -> [UInt8] {
        var polynomial = [UInt8](repeating: 0, count: degree)
        polynomial[degree - 1] = 1
        var root: UInt8 = 1
        for _ in 0..<degree {
            for index in 0..<degree {
                polynomial[index] = product(polynomial[index], root)
                if index + 1 < degree { polynomial[index] ^= polynomial[index + 1] }
            }
            root = product(root, 2)
        }
        return polynomial
    }

    /// In the field of 256 elements over x⁸ + x⁴ + x³ + x² + 1.
    static func product(_ one: UInt8, _ other: UInt8) -> UInt8 {
        var (sum, shifted, factor): (UInt8, UInt8, UInt8) = (0, one, other)
        while factor != 0 {
            if factor & 1 == 1 { sum ^= shifted }
            shifted = shifted << 1 ^ (shifted & 0x80 == 0 ? 0 : 0x1D)
            factor >>= 1
        }
        return sum
    }
}

/// Bits, the most significant first.
struct QRBits {
    private(set) var bytes: [UInt8] = []
    private var count = 0

    mutating func append(_ value: Int, count added: Int) {
        for place in (0..<added).reversed() {
            if count % 8 == 0 { bytes.append(0) }
            if value >> place & 1 == 1 { bytes[count / 8] |= 0x80 >> UInt8(count % 8) }
            count += 1
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What the standard says of one size of symbol at level M.
struct QRVersion {
    static let numbers = 1...40

    let number: Int

    /// The smallest that holds so many bytes.
    static func smallest(for bytesCount: Int) -> QRVersion? {
        numbers.lazy.map { QRVersion(number: $0) }.first { $0.bytesMax >= bytesCount }
    }

    var size: Int { 17 + 4 * number }

    /// Bits of the length that stands before the bytes (table 3).
    var lengthBitsCount: Int { number < 10 ? 8 : 16 }

    /// What remains for bytes beside mode and length.
    var bytesMax: Int { (dataCodewordsCount * 8 - 4 - lengthBitsCount) / 8 }

    /// Modules that hold neither patterns nor information on format and version, in whole codewords (table 1).
    var codewordsCount: Int {
        let finders = 3 * 8 * 8
        let timing = 2 * (size - 16)
        let format = 31
        let alignment = alignmentCentres.count
        // All but three corners; those that lie on the timing patterns share five modules with each.
        let patterns = alignment == 0 ? 0 : (alignment * alignment - 3) * 25 - 2 * (alignment - 2) * 5
        let versionInformation = number < 7 ? 0 : 36
        return (size * size - finders - timing - format - patterns - versionInformation) / 8
    }

    var dataCodewordsCount: Int { codewordsCount - blocksCount * correctionCodewordsCount }

    /// Of each block (table 9).
    var correctionCodewordsCount: Int { Self.corrections[number - 1] }

    var blocksCount: Int { Self.blocks[number - 1] }

    /// Data codewords of each block: the later ones may have one more.
    var blockLengths: [Int] {
        let (short, longer) = (dataCodewordsCount / blocksCount, dataCodewordsCount % blocksCount)
        return (0..<blocksCount).map { $0 < blocksCount - longer ? short : short + 1 }
    }

    /// Of rows and of columns (annex E): evenly spaced back from the last one, an even number apart; the first takes
    /// what remains.
    var alignmentCentres: [Int] {
        guard number > 1 else { return [] }
        let gaps = number / 7 + 1
        let (first, last) = (6, size - 7)
        // The standard's one exception from the rule.
        let step = number == 32 ? 26 : ((last - first + 2 * gaps - 1) / (2 * gaps)) * 2
        return [first] + (0..<gaps).reversed().map { last - $0 * step }
    }

    private static let corrections = [
        10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26,
        26, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    ]
    private static let blocks = [
        1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16,
        17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35, 37, 38, 40, 43, 45, 47, 49,
    ]
}

// SPDX-License-Identifier: Apache-2.0

/// Logarithms in thousandths, by integers alone: the same on every machine, which `log` of a C library is not.
package enum IntegerLogarithm {
    /// 1000 * log2(value), rounded down; 0 for 0.
    package static func log2Milli(_ value: Int) -> Int {
        (fixed(value) * 1_000) >> 16
    }

    /// 1000 * ln(value). 45,426 / 65,536 = ln 2.
    package static func lnMilli(_ value: Int) -> Int {
        (fixed(value) * 45_426 / 65_536 * 1_000) >> 16
    }

    /// 1000 * log10(value). 19,728 / 65,536 = log10 2.
    package static func log10Milli(_ value: Int) -> Int {
        (fixed(value) * 19_728 / 65_536 * 1_000) >> 16
    }

    /// 65,536 * log2(value): the whole part is the highest bit; squaring gives one further bit at a time.
    private static func fixed(_ value: Int) -> Int {
        guard value > 1 else { return 0 }
        let whole = Int.bitWidth - 1 - value.leadingZeroBitCount
        // The mantissa in 1..<2, scaled by 2^31.
        var mantissa = whole >= 31 ? UInt64(value) >> UInt64(whole - 31) : UInt64(value) << UInt64(31 - whole)
        var result = whole
        for _ in 0..<16 {
            mantissa = (mantissa * mantissa) >> 31
            result <<= 1
            if (mantissa >> 32) != 0 {
                mantissa >>= 1
                result |= 1
            }
        }
        return result
    }
}

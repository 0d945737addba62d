// SPDX-License-Identifier: Apache-2.0

/// 128 bits that stand for a state; the same in every process. Two lanes, each a bijection of itself for a given word.
///
/// Two different states get the same fingerprint with a probability of about n² / 2¹²⁹ among n states: for 10⁹ states
/// less than 10⁻²⁰.
package struct Fingerprint: Hashable, Comparable, Sendable {
    private var first: UInt64 = 0x243F_6A88_85A3_08D3
    private var second: UInt64 = 0x1319_8A2E_0370_7344

    package init() {}

    @inline(__always)
    package mutating func mix(_ word: UInt64) {
        first = (first ^ word) &* 0x9E37_79B9_7F4A_7C15
        first ^= first >> 32
        second = (second &+ word) &* 0xD6E8_FEB8_6659_FD93
        second ^= second >> 29
    }

    @inline(__always)
    package mutating func mix(_ number: some BinaryInteger) { mix(UInt64(truncatingIfNeeded: number)) }

    /// With their count, so that two texts in a row can't be taken for two others.
    package mutating func mix(bytes: some Collection<UInt8>) {
        mix(bytes.count)
        var word: UInt64 = 0
        var filled = 0
        for byte in bytes {
            word = word << 8 | UInt64(byte)
            filled += 1
            if filled == 8 {
                mix(word)
                (word, filled) = (0, 0)
            }
        }
        if filled > 0 { mix(word) }
    }

    /// The two words of what was mixed so far, never both 0.
    var words: (UInt64, UInt64) {
        let high = Self.scramble(first)
        let low = Self.scramble(second &+ high)
        return (high, high | low == 0 ? 1 : low)
    }

    package static func < (lhs: Self, rhs: Self) -> Bool { (lhs.first, lhs.second) < (rhs.first, rhs.second) }

    private static func scramble(_ word: UInt64) -> UInt64 {
        var word = (word ^ word >> 33) &* 0xFF51_AFD7_ED55_8CCD
        word = (word ^ word >> 33) &* 0xC4CE_B9FE_1A85_EC53
        return word ^ word >> 33
    }
}

/// The fingerprints of all states seen: an open table of pairs of words, at most three quarters full, 16 bytes each.
struct FingerprintTable {
    private var words: [UInt64]
    private var mask: Int
    private(set) var count = 0

    init() {
        words = Array(repeating: 0, count: 2 << 10)
        mask = (1 << 10) - 1
    }

    /// - Returns: whether it is new.
    mutating func insert(_ fingerprint: Fingerprint) -> Bool {
        let (high, low) = fingerprint.words
        guard place(high, low) else { return false }
        count += 1
        if count * 4 > (mask + 1) * 3 { grow() }
        return true
    }

    private mutating func place(_ high: UInt64, _ low: UInt64) -> Bool {
        var slot = Int(truncatingIfNeeded: high) & mask
        while words[2 * slot] | words[2 * slot + 1] != 0 {
            if words[2 * slot] == high, words[2 * slot + 1] == low { return false }
            slot = (slot + 1) & mask
        }
        words[2 * slot] = high
        words[2 * slot + 1] = low
        return true
    }

    private mutating func grow() {
        let old = words
        words = Array(repeating: 0, count: 2 * old.count)
        mask = old.count - 1
        for slot in 0..<old.count / 2 where old[2 * slot] | old[2 * slot + 1] != 0 {
            _ = place(old[2 * slot], old[2 * slot + 1])
        }
    }
}

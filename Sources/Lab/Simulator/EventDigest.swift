// SPDX-License-Identifier: Apache-2.0

/// FNV-1a over 64-bit words: the fingerprint of a run. Two runs that differ in one event differ here.
package struct EventDigest: Hashable, Sendable {
    package private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    package init() {}

    @inline(__always)
    package mutating func mix(_ word: UInt64) {
        value = (value ^ word) &* 0x100_0000_01B3
    }

    package mutating func mix(_ text: String) {
        for byte in text.utf8 { mix(UInt64(byte)) }
    }

    /// Sixteen hexadecimal digits.
    package var text: String { EventDigest.text(value) }

    package static func text(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// A stream of random words in eight bytes (SplitMix64), one per peer and purpose, so that a peer more or a draw more
/// moves no other stream.
package struct DrawStream: RandomNumberGenerator, Hashable, Sendable {
    package enum Purpose: UInt64, Sendable {
        case link = 1
        case churn = 2
        case faults = 3
        case traffic = 4
        case core = 5
        case tables = 6
        case placement = 7
        case disk = 8
        case secrets = 9
    }

    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package init(seed: UInt64, peer: PeerIndex, _ purpose: Purpose) {
        var mixer = DrawStream(seed: seed &+ purpose.rawValue &* 0xD6E8_FEB8_6659_FD93)
        state = mixer.next() ^ (UInt64(peer.value) &+ 1) &* 0xA076_1D64_78BD_642F
        state = next()
    }

    package init(seed: UInt64, _ purpose: Purpose) {
        self.init(seed: seed, peer: PeerIndex(.max), purpose)
    }

    @inline(__always)
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Below `bound`, which is at least 1. The bias of a 64-bit product is beyond what any run can show.
    @inline(__always)
    package mutating func below(_ bound: UInt64) -> UInt64 {
        next().multipliedFullWidth(by: bound).high
    }

    /// True `partsPerMillion` times in a million; draws nothing when never.
    @inline(__always)
    package mutating func happens(_ partsPerMillion: UInt32) -> Bool {
        partsPerMillion > 0 && below(1_000_000) < UInt64(partsPerMillion)
    }

    /// Both ends included.
    package mutating func within(_ range: ClosedRange<UInt64>) -> UInt64 {
        range.lowerBound &+ below(range.upperBound &- range.lowerBound &+ 1)
    }
}

/// Logarithm and power of two in integers: those of C libraries differ from machine to machine.
package enum FixedPoint {
    /// 1.0 with 32 bits behind the point.
    package static let one: Int64 = 1 << 32
    /// ln 2 with 32 bits behind the point.
    package static let naturalLogOfTwo: Int64 = 2_977_044_472

    /// log2 of a positive number with 32 bits behind the point, in the same format.
    package static func log2(_ number: UInt64) -> Int64 {
        guard number > 0 else { return -32 * one }
        let exponent = 63 - number.leadingZeroBitCount
        // The mantissa in 1..<2 with 62 bits behind the point, squared once per bit of the result.
        var mantissa = (number << UInt64(number.leadingZeroBitCount)) >> 1
        var fraction: Int64 = 0
        for bit in stride(from: 31, through: 0, by: -1) {
            let product = mantissa.multipliedFullWidth(by: mantissa)
            mantissa = (product.high << 2) | (product.low >> 62)
            if mantissa >= 1 << 63 {
                mantissa >>= 1
                fraction |= 1 << Int64(bit)
            }
        }
        return Int64(exponent - 32) * one + fraction
    }

    /// Of two numbers with 32 bits behind the point, in the same format; saturates.
    package static func product(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let full = a.multipliedFullWidth(by: b)
        return full.high >> 32 != 0 ? .max : (full.high << 32) | (full.low >> 32)
    }

    /// 2 to the power of `exponent`; saturates.
    package static func exp2(_ exponent: Int64) -> UInt64 {
        let whole = exponent >> 32
        guard whole < 31 else { return .max }
        guard whole > -33 else { return 0 }
        let fraction = UInt64(exponent & (one - 1))
        // Product of 2^(2^-i) for the bits set; roots have 63 bits behind the point.
        var result: UInt64 = 1 << 62
        for bit in 0..<32 where fraction & (1 << UInt64(31 - bit)) != 0 {
            let product = result.multipliedFullWidth(by: roots[bit])
            result = (product.high << 1) | (product.low >> 63)
        }
        // 62 bits behind the point to 32, times 2^whole.
        return whole <= 30 ? result >> UInt64(30 - whole) : .max
    }

    /// 2^(2^-i), i from 1, with 63 bits behind the point: square roots of square roots.
    private static let roots: [UInt64] = {
        var roots: [UInt64] = []
        // sqrt(2 * 2^126) = the root of 2 with 63 bits behind the point.
        var power: UInt64 = 0
        for index in 0..<32 {
            power = squareRoot(high: index == 0 ? 1 << 63 : power >> 1, low: index == 0 ? 0 : power << 63)
            roots.append(power)
        }
        return roots
    }()

    /// The whole root of a 128-bit number, bit by bit.
    private static func squareRoot(high: UInt64, low: UInt64) -> UInt64 {
        var root: UInt64 = 0
        for bit in stride(from: UInt64(63), through: 0, by: -1) {
            let trial = root | 1 << bit
            let square = trial.multipliedFullWidth(by: trial)
            if square.high < high || (square.high == high && square.low <= low) { root = trial }
        }
        return root
    }
}

extension DrawStream {
    /// -ln(u) for a uniform u, with 32 bits behind the point: mean 1.
    package mutating func exponential() -> UInt64 {
        let uniform = (next() >> 32) | 1
        let log = FixedPoint.log2(uniform)
        return FixedPoint.product(UInt64(bitPattern: -log), UInt64(FixedPoint.naturalLogOfTwo))
    }

    /// About normal, mean 0, deviation 1, with 32 bits behind the point: twelve uniform numbers added.
    package mutating func normal() -> Int64 {
        var sum: Int64 = 0
        for _ in 0..<6 {
            let word = next()
            sum += Int64(word >> 32) + Int64(word & 0xFFFF_FFFF)
        }
        return sum - 6 * FixedPoint.one
    }
}

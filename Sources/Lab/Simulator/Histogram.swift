// SPDX-License-Identifier: Apache-2.0

/// Counts of values of any size in a few kilobytes: exact below 128, within 1 part in 64 above.
package struct Histogram: Sendable {
    private var counts: [UInt64] = []
    package private(set) var count: UInt64 = 0
    package private(set) var sum: UInt64 = 0
    package private(set) var smallest: UInt64 = .max
    package private(set) var largest: UInt64 = 0

    package init() {}

    package var mean: Double { count == 0 ? 0 : Double(sum) / Double(count) }

    package mutating func add(_ value: UInt64, times: UInt64 = 1) {
        guard times > 0 else { return }
        let place = Histogram.place(of: value)
        if place >= counts.count { counts.append(contentsOf: repeatElement(0, count: place + 1 - counts.count)) }
        counts[place] += times
        count += times
        sum &+= value &* times
        smallest = min(smallest, value)
        largest = max(largest, value)
    }

    package mutating func merge(_ other: Histogram) {
        if other.counts.count > counts.count {
            counts.append(contentsOf: repeatElement(0, count: other.counts.count - counts.count))
        }
        for (place, count) in other.counts.enumerated() { counts[place] += count }
        count += other.count
        sum &+= other.sum
        smallest = min(smallest, other.smallest)
        largest = max(largest, other.largest)
    }

    /// The value that `partsPerThousand` of all values do not exceed; 0 when empty.
    package func percentile(partsPerThousand: UInt64) -> UInt64 {
        guard count > 0 else { return 0 }
        let rank = max(1, (count * partsPerThousand + 999) / 1_000)
        var seen: UInt64 = 0
        for (place, count) in counts.enumerated() {
            seen += count
            if seen >= rank { return min(max(Histogram.middle(of: place), smallest), largest) }
        }
        return largest
    }

    /// Points of the distribution function: (value, share of all values up to it).
    package var distribution: [(value: UInt64, share: Double)] {
        var points: [(value: UInt64, share: Double)] = []
        var seen: UInt64 = 0
        for (place, count) in counts.enumerated() where count > 0 {
            seen += count
            points.append((Histogram.middle(of: place), Double(seen) / Double(self.count)))
        }
        return points
    }

    /// 64 places per power of two.
    private static func place(of value: UInt64) -> Int {
        guard value >= 64 else { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount
        return 64 * (exponent - 5) + Int(value >> UInt64(exponent - 6)) - 64
    }

    private static func middle(of place: Int) -> UInt64 {
        guard place >= 128 else { return UInt64(place) }
        let exponent = UInt64(place / 64 + 5)
        let low = UInt64(place % 64 + 64) << (exponent - 6)
        return low + (UInt64(1) << (exponent - 6)) / 2
    }
}

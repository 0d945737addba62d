// SPDX-License-Identifier: Apache-2.0

/// How many peers the network has, judged by how far from a key its k closest peers reach.
///
/// Of n random keys the k-th closest to any point lies on average k/n of the key space away. Each finished lookup is a
/// sample; before the first one, the buckets of our own table that are not full tell. A sample moves the estimate by a
/// factor of two at most, so that keys with a crowd around them don't make the network look large.
package struct NetworkSize: Sendable {
    /// Mean distance of the k-th closest, as a share of 2^64; zero: unknown.
    private var reach: UInt64 = 0
    private var sampleCount: UInt8 = 0

    package init() {}

    /// The k-th closest at `distance` is too near for a network whose k closest reach as far as `reach`.
    static func isDense(_ distance: UInt64, _ reach: UInt64) -> Bool { distance < reach / 2 }

    package mutating func sample(_ distance: UInt64) {
        let distance = max(1, distance)
        guard reach > 0 else {
            reach = distance
            sampleCount = 1
            return
        }
        let bounded = min(max(distance, reach / 2), reach > .max / 2 ? .max : reach * 2)
        // A plain mean at first, then one that forgets.
        if sampleCount < 16 { sampleCount += 1 }
        let weight = UInt64(sampleCount)
        reach = max(1, reach / weight * (weight - 1) + bounded / weight)
    }

    /// The mean distance of the k-th closest, if known.
    package func reach(_ table: RoutingTable, k: Int) -> UInt64? {
        if reach > 0 { return reach }
        guard let count = count(table, k: k), count > k else { return nil }
        return UInt64.max / UInt64(count) * UInt64(k)
    }

    package func count(_ table: RoutingTable, k: Int) -> Int? {
        if reach > 0 {
            let share = UInt64.max / reach
            let rest = UInt64.max % reach
            // k · 2^64 / reach, in two parts so that small networks aren't rounded away.
            let whole = share.multipliedReportingOverflow(by: UInt64(k))
            guard !whole.overflow else { return nil }
            return Int(clamping: whole.partialValue &+ rest / max(1, reach / UInt64(k)))
        }
        guard let deepest = table.deepestBucket else { return nil }
        var contacts = 0
        var bucket = deepest
        while bucket >= 0, !table.isFull(bucket) {
            contacts += table.count(inBucket: bucket)
            bucket -= 1
        }
        // All peers that share `bucket + 1` bits with us, us among them.
        guard contacts >= 4 else { return nil }
        return (contacts + 1) << (bucket + 1)
    }
}

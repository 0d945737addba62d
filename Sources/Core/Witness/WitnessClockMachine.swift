// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// How far a witness may trust its wall clock: since when it has run without a step, and whether it is near the median of
/// the others. It asks nobody; its owner asks the other witnesses for their time and tells it here.
///
/// With fewer than 2f others it isn't judged. Being off by mistake costs only a ballot.
package struct WitnessClockMachine: Hashable, Sendable {
    /// Assumed of honest witnesses (DESIGN section 6).
    package static let offsetMillisecondsMax: Int64 = 600_000
    /// More than this against the monotonic clock is a step, or a sleep.
    package static let stepMillisecondsMax: Int64 = 10_000
    /// What was told is good for so long.
    package static let ageMax = Duration.seconds(3 * 3_600)
    package static let askInterval = Duration.seconds(3_600)

    private struct Offset: Hashable, Sendable {
        let milliseconds: Int64
        let at: Instant
    }

    private let set: WitnessSet
    private let own: TradeKey
    private var steadySince: UInt64
    private var lastNow: Instant
    private var lastWall: UInt64
    /// By place in the set.
    private var offsets: [Offset?]

    package init(_ set: WitnessSet, own: TradeKey, at now: Instant, wall: UInt64) {
        self.set = set
        self.own = own
        steadySince = wall
        lastNow = now
        lastWall = wall
        offsets = set.keys.map { _ in nil }
    }

    /// Another witness's time.
    /// - Parameters:
    ///   - asked: when the question left; the answer counts as given half-way.
    package mutating func told(_ witness: TradeKey, _ theirs: UInt64, asked: Instant, at now: Instant, wall: UInt64) {
        guard witness != own, let index = set.index(of: witness) else { return }
        let half = Self.milliseconds(now - asked) / 2
        offsets[index] = Offset(milliseconds: Self.difference(theirs, wall) &+ half, at: now)
    }

    package mutating func clock(at now: Instant, wall: UInt64) -> WitnessClock {
        let drift = Self.difference(wall, lastWall) &- Self.milliseconds(now - lastNow)
        if drift.magnitude > Self.stepMillisecondsMax.magnitude {
            steadySince = wall
            // They were measured against the clock of before.
            offsets = offsets.map { _ in nil }
        }
        lastNow = now
        lastWall = wall
        return WitnessClock(milliseconds: wall, steadySince: steadySince, isOff: isOff(at: now))
    }

    private func isOff(at now: Instant) -> Bool {
        let fresh = offsets.compactMap { offset in
            offset.flatMap { now - $0.at <= Self.ageMax ? $0.milliseconds : nil }
        }
        guard fresh.count + 1 >= set.quorum else { return false }
        // Their median is too far away exactly if most of them are, on one side.
        let ahead = fresh.count { $0 > Self.offsetMillisecondsMax }
        let behind = fresh.count { $0 < -Self.offsetMillisecondsMax }
        return max(ahead, behind) * 2 > fresh.count
    }

    private static func milliseconds(_ duration: Duration) -> Int64 { duration.saturatedNanoseconds / 1_000_000 }

    /// Clamped to about 146 million years, so that what others claim can't overflow.
    private static func difference(_ lhs: UInt64, _ rhs: UInt64) -> Int64 {
        let limit = UInt64(1) << 62
        return Int64(min(lhs, limit)) - Int64(min(rhs, limit))
    }
}

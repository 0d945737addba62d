// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What time it is, and what time we claim: never going back, and moved forward by others' claims a little only.
struct HybridClock: Sendable {
    private var readMilliseconds: UInt64
    private var readAt: Instant
    private(set) var last: HybridTime
    private let leadMilliseconds: UInt64

    init(milliseconds: UInt64, at now: Instant, highWater: HybridTime?, lead: Duration) {
        readMilliseconds = milliseconds
        readAt = now
        last = highWater ?? HybridTime(0)
        leadMilliseconds = UInt64(max(0, lead.saturatedNanoseconds)) / 1_000_000
    }

    mutating func read(milliseconds: UInt64, at now: Instant) {
        readMilliseconds = milliseconds
        readAt = now
    }

    /// Milliseconds since 1970.
    func wall(at now: Instant) -> UInt64 {
        let passed = UInt64(max(0, (now - readAt).saturatedNanoseconds)) / 1_000_000
        let (sum, overflow) = readMilliseconds.addingReportingOverflow(passed)
        return overflow ? .max : sum
    }

    /// For a new entry of ours. A clock that once was years ahead doesn't hold for ever.
    mutating func stamp(at now: Instant) -> HybridTime {
        let wall = wall(at: now)
        let isLastCredible = last.milliseconds <= limit(wall)
        let next = HybridTime(last.value == .max ? .max : last.value + 1)
        last = isLastCredible ? max(next, HybridTime(milliseconds: wall)) : HybridTime(milliseconds: wall)
        return last
    }

    /// False if the claim is too far ahead to be believed.
    mutating func observe(_ claim: HybridTime, at now: Instant) -> Bool {
        guard claim.milliseconds <= limit(wall(at: now)) else { return false }
        last = max(last, claim)
        return true
    }

    private func limit(_ wall: UInt64) -> UInt64 {
        let (sum, overflow) = wall.addingReportingOverflow(leadMilliseconds)
        return overflow ? .max : sum
    }
}

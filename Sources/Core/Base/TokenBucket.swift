// SPDX-License-Identifier: Apache-2.0

/// A rate with a burst: `take` succeeds while tokens last, and they come back at a steady pace.
package struct TokenBucket: Sendable {
    private let intervalNanoseconds: Int64
    private let burst: Int64
    private var tokens: Int64
    private var refilledAt: Instant

    /// One token per `interval`, at most `burst` saved up. Starts full.
    package init(interval: Duration, burst: Int, at now: Instant) {
        intervalNanoseconds = max(1, interval.saturatedNanoseconds)
        self.burst = Int64(max(1, burst))
        tokens = self.burst
        refilledAt = now
    }

    package mutating func take(_ count: Int = 1, at now: Instant) -> Bool {
        refill(at: now)
        guard tokens >= Int64(count) else { return false }
        tokens -= Int64(count)
        return true
    }

    private mutating func refill(at now: Instant) {
        let elapsed = (now - refilledAt).saturatedNanoseconds
        guard elapsed >= intervalNanoseconds else { return }
        let earned = elapsed / intervalNanoseconds
        if earned >= burst - tokens {
            tokens = burst
            refilledAt = now
        } else {
            tokens += earned
            refilledAt = refilledAt + .nanoseconds(earned * intervalNanoseconds)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// A point on the node's own monotonic clock, in nanoseconds since an arbitrary start.
///
/// Cores never read a clock: the caller passes `now`. The lab passes virtual time. Arithmetic saturates, so that a
/// duration derived from remote bytes can't trap.
package struct Instant: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let nanoseconds: Int64

    package init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    package static let zero = Instant(nanoseconds: 0)
    package static let distantFuture = Instant(nanoseconds: .max)

    package func advanced(by duration: Duration) -> Instant {
        let (sum, overflow) = nanoseconds.addingReportingOverflow(duration.saturatedNanoseconds)
        guard overflow else { return Instant(nanoseconds: sum) }
        return Instant(nanoseconds: duration < .zero ? .min : .max)
    }

    package static func + (instant: Instant, duration: Duration) -> Instant {
        instant.advanced(by: duration)
    }

    /// The time from `earlier` to `later`; negative when `earlier` is in fact later.
    package static func - (later: Instant, earlier: Instant) -> Duration {
        let (difference, overflow) = later.nanoseconds.subtractingReportingOverflow(earlier.nanoseconds)
        guard overflow else { return .nanoseconds(difference) }
        return .nanoseconds(later < earlier ? Int64.min : Int64.max)
    }

    package static func < (lhs: Instant, rhs: Instant) -> Bool {
        lhs.nanoseconds < rhs.nanoseconds
    }

    package var description: String {
        "+\(Double(nanoseconds) / 1_000_000_000)s"
    }
}

extension Duration {
    /// Whole nanoseconds, clamped to what `Int64` holds (about 292 years).
    package var saturatedNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return seconds < 0 ? .min : .max }
        let (sum, carried) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
        guard !carried else { return seconds < 0 ? .min : .max }
        return sum
    }

    /// Seconds as floating point, for people to read; never for a decision that nodes must agree on.
    package var secondsForDisplay: Double {
        Double(saturatedNanoseconds) / 1_000_000_000
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// How much of a core one connection's turns take, over windows of about a second; a window ends early when it has used up
/// what is allowed in a whole one. Wall time of turns stands for processor time: a turn never waits.
package struct ProcessorMeter {
    private var windowStart: Instant
    private var used: Duration = .zero
    private var wasOver = false

    package init(at now: Instant) {
        windowStart = now
    }

    /// The share in percent when a window ended and the node should know: it is at least `threshold`, or it was in the
    /// window before. So at most one report a second, or one for each `threshold` percent of a second used.
    package mutating func turnEnded(from start: Instant, to end: Instant, threshold: Int) -> Int? {
        // After a silence a new window begins, so that it doesn't dilute a burst.
        if start - windowStart > .seconds(2) {
            windowStart = start
            used = .zero
        }
        used += end - start
        let elapsed = end - windowStart
        guard elapsed >= .seconds(1) || used >= .milliseconds(10) * max(1, min(threshold, 100)) else { return nil }
        let percent = Int(used.saturatedNanoseconds / max(1, elapsed.saturatedNanoseconds / 100))
        windowStart = end
        used = .zero
        let isOver = percent >= threshold
        defer { wasOver = isOver }
        return isOver || wasOver ? percent : nil
    }
}

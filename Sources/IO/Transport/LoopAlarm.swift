// SPDX-License-Identifier: Apache-2.0
package import NIOCore
package import TuttiBase

/// The timer of whatever runs a core on a loop: one at a time, unless an earlier one is needed.
///
/// One that fires too early costs less than one that is cancelled at every turn.
package struct LoopAlarm {
    private var armed: (at: Instant, timer: Scheduled<Void>)?

    package init() {}

    package mutating func arm(
        for next: Instant, on loop: any EventLoop, _ fire: @escaping @Sendable () -> Void
    ) {
        if let armed {
            guard next < armed.at else { return }
            armed.timer.cancel()
        }
        let deadline = NIODeadline.uptimeNanoseconds(UInt64(clamping: next.nanoseconds))
        armed = (next, loop.scheduleTask(deadline: deadline, fire))
    }

    /// Call first when it fires.
    package mutating func fired() {
        armed = nil
    }

    package mutating func cancel() {
        armed?.timer.cancel()
        armed = nil
    }
}

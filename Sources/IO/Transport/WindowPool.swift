// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// The bytes by which all streams' receive windows together may exceed their initial size. Shared by every connection.
package final class WindowPool: Sendable {
    private let free: Atomic<Int>

    package init(bytes: Int) {
        free = Atomic(bytes)
    }

    package var freeBytes: Int { free.load(ordering: .relaxed) }

    /// Takes all of `bytes` or nothing.
    package func take(_ bytes: Int) -> Bool {
        guard bytes >= 0 else { return false }
        var current = free.load(ordering: .relaxed)
        while current >= bytes {
            let (exchanged, original) = free.weakCompareExchange(
                expected: current, desired: current - bytes, ordering: .relaxed)
            if exchanged { return true }
            current = original
        }
        return false
    }

    package func give(_ bytes: Int) {
        assert(bytes >= 0, "only what was taken comes back")
        free.wrappingAdd(bytes, ordering: .relaxed)
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

/// Addresses that failed lately, and until when each is left alone: 1 s after the first failure, doubled by each further
/// one, 5 min at most. A success clears it. Bounded: the least recently failed address is forgotten first.
package struct AddressBackoff: Sendable {
    package struct Entry: Sendable {
        package fileprivate(set) var failures: Int
        package fileprivate(set) var until: Instant
        package fileprivate(set) var reason: CloseReason
    }

    private var entries: [Multiaddr: Entry] = [:]
    /// Deadlines here are the moments of the last failure, so that the head is the least recently failed.
    private var order = TimerQueue<Multiaddr>()
    private let limits: NodeLimits

    package init(limits: NodeLimits) {
        self.limits = limits
    }

    package var count: Int { entries.count }

    package subscript(_ address: Multiaddr) -> Entry? { entries[address] }

    package mutating func failed(_ address: Multiaddr, _ reason: CloseReason, at now: Instant) {
        guard limits.addressBackoffMin > .zero else { return }
        let failures = min((entries[address]?.failures ?? 0) + 1, 30)
        let wait = min(limits.addressBackoffMin * (1 << (failures - 1)), limits.addressBackoffMax)
        entries[address] = Entry(failures: failures, until: now + wait, reason: reason)
        order.set(address, at: now)
        if entries.count > limits.addressBackoffsMax, let oldest = order.popExpired(at: now) {
            entries[oldest] = nil
        }
    }

    package mutating func succeeded(_ address: Multiaddr) {
        guard entries.removeValue(forKey: address) != nil else { return }
        order.cancel(address)
    }
}

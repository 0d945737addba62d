// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// Entries that wait for what makes them admissible: a predecessor that comes another way, their device in the roster.
/// Their signatures were not checked.
struct HeldTable: Sendable {
    private struct Held: Sendable {
        var arrival: Arrival
        let bytes: Int
    }

    private var items: [UInt64: Held] = [:]
    private var byDevice: [DeviceID: [UInt64]] = [:]
    /// When a verdict can't wait any longer.
    private var graces = TimerQueue<UInt64>()
    private var expiries = TimerQueue<UInt64>()
    private var bytes = 0
    private var lastItem: UInt64 = 0
    private let limits: JournalCoreLimits

    init(limits: JournalCoreLimits) { self.limits = limits }

    var count: Int { items.count }

    var nextTimeout: Instant? {
        guard let grace = graces.next else { return expiries.next }
        return expiries.next.map { min($0, grace) } ?? grace
    }

    func holds(_ device: DeviceID) -> Bool { byDevice[device] != nil }

    /// False if it is there already or too many of its device are.
    mutating func hold(_ arrival: Arrival, grace: Instant, until expiry: Instant) -> Bool {
        let others = byDevice[arrival.device] ?? []
        guard others.count < limits.heldPerDeviceMax else { return false }
        let isThere = others.contains { item in
            guard let held = items[item]?.arrival.entry else { return false }
            return held.id == arrival.entry.id && held.signature == arrival.entry.signature
        }
        guard !isThere else { return false }
        lastItem &+= 1
        items[lastItem] = Held(arrival: arrival, bytes: arrival.bytesCount)
        bytes += arrival.bytesCount
        byDevice[arrival.device] = others + [lastItem]
        expiries.set(lastItem, at: expiry)
        if arrival.ticket != nil { graces.set(lastItem, at: grace) }
        return true
    }

    /// The oldest, while there is more than there may be.
    mutating func takeSurplus() -> Arrival? {
        guard items.count > limits.heldMax || bytes > limits.heldBytesMax else { return nil }
        return expiries.popExpired(at: .distantFuture).flatMap { remove($0) }
    }

    /// Everything of a device, lowest place first.
    mutating func take(_ device: DeviceID) -> [Arrival] {
        let arrivals = (byDevice[device] ?? []).compactMap { remove($0) }
        return arrivals.sorted { ($0.entry.header.sequence, $0.entry.id) < ($1.entry.header.sequence, $1.entry.id) }
    }

    /// The ticket of an entry whose verdict can't wait; the entry goes on waiting.
    mutating func popGrace(at now: Instant) -> (ticket: Ticket, device: DeviceID)? {
        while let item = graces.popExpired(at: now) {
            guard let held = items[item], let ticket = held.arrival.ticket else { continue }
            items[item]?.arrival.ticket = nil
            return (ticket, held.arrival.device)
        }
        return nil
    }

    mutating func popExpired(at now: Instant) -> Arrival? {
        while let item = expiries.popExpired(at: now) {
            if let arrival = remove(item) { return arrival }
        }
        return nil
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for held in items.values { body(held.arrival.source.peer) }
    }

    private mutating func remove(_ item: UInt64) -> Arrival? {
        guard let held = items.removeValue(forKey: item) else { return nil }
        bytes -= held.bytes
        graces.cancel(item)
        expiries.cancel(item)
        let left = (byDevice[held.arrival.device] ?? []).filter { $0 != item }
        byDevice[held.arrival.device] = left.isEmpty ? nil : left
        return held.arrival
    }
}

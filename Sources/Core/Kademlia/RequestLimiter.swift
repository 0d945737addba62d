// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// How often each peer may ask. A bounded number of peers is remembered; of those that share a place in the table the
/// one with the most tokens left is forgotten, because it loses nothing by it.
package struct RequestLimiter: Sendable {
    private struct Slot: Sendable {
        var peer: PeerIndex
        var tokens: Int32
        var refilled: Instant
    }

    private static let waysMax = 4
    private let interval: Int64
    private let burst: Int32
    private var slots: [Slot?]

    package init(limits: KademliaLimits) {
        interval = limits.requestInterval.saturatedNanoseconds
        burst = Int32(clamping: max(1, limits.requestBurst))
        slots = interval > 0 ? Array(repeating: nil, count: max(Self.waysMax, limits.requestersMax)) : []
    }

    package mutating func take(_ peer: PeerIndex, at now: Instant) -> Bool {
        guard interval > 0 else { return true }
        let start = Int(peer.value) % (slots.count / Self.waysMax) * Self.waysMax
        var choice = start
        var mostTokens: Int32 = -1
        for place in start..<start + Self.waysMax {
            guard let slot = slots[place] else {
                if mostTokens < .max { (choice, mostTokens) = (place, .max) }
                continue
            }
            let tokens = refilled(slot, now)
            if slot.peer == peer {
                guard tokens.count > 0 else { return false }
                slots[place] = Slot(peer: peer, tokens: tokens.count - 1, refilled: tokens.at)
                return true
            }
            if tokens.count > mostTokens { (choice, mostTokens) = (place, tokens.count) }
        }
        slots[choice] = Slot(peer: peer, tokens: burst - 1, refilled: now)
        return true
    }

    private func refilled(_ slot: Slot, _ now: Instant) -> (count: Int32, at: Instant) {
        let earned = max(0, (now - slot.refilled).saturatedNanoseconds) / interval
        guard earned < Int64(burst - slot.tokens) else { return (burst, now) }
        return (slot.tokens + Int32(earned), slot.refilled + .nanoseconds(earned * interval))
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// Probes that we make for others. One that can't be taken on is dropped: the asker has other helpers.
struct ProbeRelays: Sendable {
    struct Relay: Sendable {
        let sequence: UInt32
        let origin: PeerIndex
        let originSequence: UInt32
        let target: PeerIndex
        /// When the asker is told that we still wait; nil when it was or needs not be.
        var nackAt: Instant?
        let until: Instant
    }

    private var relays: [Relay] = []

    var next: Instant? {
        var next: Instant?
        for relay in relays {
            let due = relay.nackAt ?? relay.until
            next = next.map { min($0, due) } ?? due
        }
        return next
    }

    /// False when there are too many.
    mutating func insert(_ relay: Relay, _ limits: MembershipLimits) -> Bool {
        guard relays.count < limits.relaysMax else { return false }
        guard relays.count(where: { $0.origin == relay.origin }) < limits.relaysPerPeerMax else { return false }
        relays.append(relay)
        return true
    }

    /// The relay that an ack of `target` ends.
    mutating func take(_ sequence: UInt32, target: PeerIndex) -> Relay? {
        guard let place = relays.firstIndex(where: { $0.sequence == sequence && $0.target == target }) else {
            return nil
        }
        return relays.remove(at: place)
    }

    mutating func unreachable(_ target: PeerIndex, sendsNack: Bool, _ links: inout MembershipLinks) {
        for relay in relays where relay.target == target && relay.nackAt != nil && sendsNack {
            links.send(.nack(sequence: relay.originSequence), to: relay.origin)
        }
        relays.removeAll { $0.target == target }
    }

    mutating func handleTimeout(_ links: inout MembershipLinks, at now: Instant) {
        for place in relays.indices {
            guard let due = relays[place].nackAt, due <= now else { continue }
            relays[place].nackAt = nil
            links.send(.nack(sequence: relays[place].originSequence), to: relays[place].origin)
        }
        relays.removeAll { $0.until <= now }
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for relay in relays {
            body(relay.origin)
            body(relay.target)
        }
    }
}

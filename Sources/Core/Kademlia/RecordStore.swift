// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// Values that this node keeps for the network.
///
/// Ordered by the distance of their key to ours, because that is how useful they are here: when the store is full the
/// farthest gives way, and one that would be the farthest is refused. Peers and address groups are capped, so that a
/// flood displaces nothing but itself.
package struct RecordStore: Sendable {
    private struct Entry: Sendable {
        let distance: KademliaKey
        let target: KademliaTarget
        var record: KademliaRecord
        var publisher: PeerIndex
        var group: AddressGroup
        var expiry: Instant

        var byteCount: Int { record.value.count + record.received.count + target.name.count }
    }

    private let ownKey: KademliaKey
    private var entries: [Entry] = []
    package private(set) var byteCount = 0

    package init(ownKey: KademliaKey) { self.ownKey = ownKey }

    package var count: Int { entries.count }

    package func record(for target: KademliaTarget, at now: Instant) -> KademliaRecord? {
        guard let place = find(target.key.distance(to: ownKey)).found, entries[place].expiry > now else { return nil }
        return entries[place].record
    }

    /// False when there is no place for it. The caller has validated and compared it.
    package mutating func put(
        _ record: KademliaRecord, for target: KademliaTarget, from publisher: PeerIndex, group: AddressGroup,
        until expiry: Instant, limits: KademliaLimits
    ) -> Bool {
        let entry = Entry(
            distance: target.key.distance(to: ownKey), target: target, record: record, publisher: publisher,
            group: group, expiry: expiry)
        guard entry.byteCount <= limits.recordBytesMax else { return false }
        if let place = find(entry.distance).found {
            byteCount += entry.byteCount - entries[place].byteCount
            // Whoever renews a record doesn't become its publisher: the caps would lose count.
            entries[place].record = record
            entries[place].expiry = expiry
        } else {
            guard hasRoom(for: publisher, group, limits) else { return false }
            if entries.count >= limits.recordsMax || byteCount + entry.byteCount > limits.recordBytesMax {
                guard let last = entries.last, entry.distance < last.distance else { return false }
            }
            entries.insert(entry, at: find(entry.distance).slot)
            byteCount += entry.byteCount
        }
        while let last = entries.last, entries.count > limits.recordsMax || byteCount > limits.recordBytesMax {
            byteCount -= last.byteCount
            entries.removeLast()
        }
        return find(entry.distance).found != nil
    }

    /// Returns when the next record expires.
    package mutating func expire(at now: Instant) -> Instant {
        var next = Instant.distantFuture
        entries.removeAll { entry in
            guard entry.expiry <= now else {
                next = min(next, entry.expiry)
                return false
            }
            byteCount -= entry.byteCount
            return true
        }
        return next
    }

    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        for entry in entries { body(entry.publisher) }
    }

    private func hasRoom(for publisher: PeerIndex, _ group: AddressGroup, _ limits: KademliaLimits) -> Bool {
        var ofPeer = 0
        var ofGroup = 0
        for entry in entries {
            if entry.publisher == publisher { ofPeer += 1 }
            if entry.group == group, group != .none { ofGroup += 1 }
        }
        return ofPeer < limits.recordsPerPeerMax && ofGroup < limits.recordsPerGroupMax
    }

    private func find(_ distance: KademliaKey) -> (slot: Int, found: Int?) {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].distance < distance { low = middle + 1 } else { high = middle }
        }
        let isFound = low < entries.count && entries[low].distance == distance
        return (low, isFound ? low : nil)
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiJournal

/// Which governance entries are on disk, by feed, which of them peers are told of, and what must be found among them by
/// name.
struct GovernanceShelf: Sendable {
    /// Where a feed ceases to be what all replicas hold alike: at a fork and behind a cut.
    struct Bounds: Hashable, Sendable {
        var fork: EntrySequence?
        var cut: FeedPoint?

        func isVoid(_ point: FeedPoint) -> Bool {
            if let fork, fork <= point.sequence { return true }
            guard let cut else { return false }
            return point.sequence > cut.sequence || (point.sequence == cut.sequence && point.id != cut.id)
        }
    }

    private struct Shelf: Sendable {
        var points: [FeedPoint] = []
        var bounds = Bounds()
    }

    /// What peers are told of from now on, and what no longer.
    struct Change: Sendable {
        var added: [EntryID] = []
        var removed: [EntryID] = []

        var isEmpty: Bool { added.isEmpty && removed.isEmpty }
    }

    private var shelves: [DeviceID: Shelf] = [:]
    /// Members' keys under their recovery codes, by lookup tag.
    private var memberKeys: [Bytes32: SealedMemberKey] = [:]

    func memberKey(_ tag: Bytes32) -> SealedMemberKey? { memberKeys[tag] }

    mutating func keep(_ entry: Entry, _ change: inout Change) {
        let device = entry.header.device
        shelves[device, default: Shelf()].points.append(entry.point)
        if shelves[device]?.bounds.isVoid(entry.point) == true {
            change.removed.append(entry.id)
        } else {
            change.added.append(entry.id)
        }
        // The first one stays: a copy opens to the same key.
        if let sealed = MemberKeyEntry.sealed(in: entry), memberKeys[sealed.lookupTag] == nil {
            memberKeys[sealed.lookupTag] = sealed
        }
    }

    /// Devices in order, each feed in the order of arrival.
    mutating func review(_ bounds: (DeviceID) -> Bounds) -> Change {
        var change = Change()
        for device in shelves.keys.sorted() {
            let new = bounds(device)
            guard let shelf = shelves[device], shelf.bounds != new else { continue }
            shelves[device]?.bounds = new
            for point in shelf.points where shelf.bounds.isVoid(point) != new.isVoid(point) {
                if new.isVoid(point) { change.removed.append(point.id) } else { change.added.append(point.id) }
            }
        }
        return change
    }
}

// SPDX-License-Identifier: Apache-2.0
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
            return cut.map(point.isBeyond) ?? false
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
    private(set) var recovery = RecoveryIndex()

    mutating func keep(_ entry: Entry, _ change: inout Change) {
        let device = entry.header.device
        shelves[device, default: Shelf()].points.append(entry.point)
        if shelves[device]?.bounds.isVoid(entry.point) == true {
            change.removed.append(entry.id)
        } else {
            change.added.append(entry.id)
        }
        recovery.insert(entry)
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

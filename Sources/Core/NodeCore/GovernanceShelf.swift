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

    /// What peers are told of from now on, and what no longer.
    struct Change: Sendable {
        var added: [EntryID] = []
        var removed: [EntryID] = []

        var isEmpty: Bool { added.isEmpty && removed.isEmpty }
    }

    private var points: [DeviceID: [FeedPoint]] = [:]
    /// Of each feed that has points, as it was last reviewed.
    private var bounds: [DeviceID: Bounds] = [:]
    private(set) var recovery = RecoveryIndex()

    mutating func keep(_ entry: Entry, _ change: inout Change) {
        let device = entry.header.device
        points[device, default: []].append(entry.point)
        if bounds[device] == nil { bounds[device] = Bounds() }
        if bounds[device]?.isVoid(entry.point) == true {
            change.removed.append(entry.id)
        } else {
            change.added.append(entry.id)
        }
        recovery.insert(entry)
    }

    /// Devices in order, each feed in the order of arrival.
    mutating func review(_ current: (DeviceID) -> Bounds) -> Change {
        var changed: [DeviceID] = []
        for (device, old) in bounds where old != current(device) { changed.append(device) }
        var change = Change()
        for device in changed.sorted() {
            let (old, new) = (bounds[device] ?? Bounds(), current(device))
            bounds[device] = new
            for point in points[device] ?? [] where old.isVoid(point) != new.isVoid(point) {
                if new.isVoid(point) { change.removed.append(point.id) } else { change.added.append(point.id) }
            }
        }
        return change
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiCommunityCore
import TuttiJournal

/// Which governance entries are on disk, by feed, and what must be found among them by name.
struct GovernanceShelf: Sendable {
    private var points: [DeviceID: [FeedPoint]] = [:]
    private(set) var recovery = RecoveryIndex()

    mutating func keep(_ entry: Entry) {
        points[entry.header.device, default: []].append(entry.point)
        recovery.insert(entry)
    }

    /// Ordered by device, then by arrival.
    func ids(where isWanted: (DeviceID, FeedPoint) -> Bool) -> [EntryID] {
        points.keys.sorted().flatMap { device in ids(of: device) { isWanted(device, $0) } }
    }

    func ids(of device: DeviceID, where isWanted: (FeedPoint) -> Bool) -> [EntryID] {
        (points[device] ?? []).filter(isWanted).map(\.id)
    }
}

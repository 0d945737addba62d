// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiJournal

/// Which governance entries are on disk, by feed, and what must be found among them by name.
struct GovernanceShelf: Sendable {
    private var points: [DeviceID: [FeedPoint]] = [:]
    /// Members' keys under their recovery codes, by lookup tag.
    private var memberKeys: [Bytes32: SealedMemberKey] = [:]

    mutating func keep(_ entry: Entry) {
        points[entry.header.device, default: []].append(entry.point)
        // The first one stays: a copy opens to the same key.
        if let sealed = MemberKeyEntry.sealed(in: entry), memberKeys[sealed.lookupTag] == nil {
            memberKeys[sealed.lookupTag] = sealed
        }
    }

    func memberKey(_ tag: Bytes32) -> SealedMemberKey? { memberKeys[tag] }

    /// Ordered by device, then by arrival.
    func ids(where isWanted: (DeviceID, FeedPoint) -> Bool) -> [EntryID] {
        points.keys.sorted().flatMap { device in ids(of: device) { isWanted(device, $0) } }
    }

    func ids(of device: DeviceID, where isWanted: (FeedPoint) -> Bool) -> [EntryID] {
        (points[device] ?? []).filter(isWanted).map(\.id)
    }
}

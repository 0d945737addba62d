// SPDX-License-Identifier: Apache-2.0

/// Whose entries are taken, and how much of them: CommunityCore's answer to "who belongs here?", as JournalCore needs it.
package struct Roster: Hashable, Sendable {
    package enum OpenKinds: Hashable, Sendable {
        case all
        /// Pending members and guests: governance, and what the charter opens to them.
        case governance(and: [EntryKind])
    }

    package struct Device: Hashable, Sendable {
        package var member: MemberID
        package var quotaBytesPerDay: Int
        /// Milliseconds since 1970 when it was let in, by the claim of the entry that did so: nothing of it can be older.
        package var since: UInt64
        /// The last entry that counts, once the device or its member was removed; everything beyond is void.
        package var cut: FeedPoint?
        package var open: OpenKinds

        package init(
            member: MemberID, quotaBytesPerDay: Int, since: UInt64 = 0, cut: FeedPoint? = nil,
            open: OpenKinds = .all
        ) {
            self.member = member
            self.quotaBytesPerDay = quotaBytesPerDay
            self.since = since
            self.cut = cut
            self.open = open
        }

        package func takes(_ kind: EntryKind) -> Bool {
            switch open {
            case .all: true
            case .governance(let others): kind.isGovernance || others.contains(kind)
            }
        }

        package func isVoid(_ point: FeedPoint) -> Bool { cut.map(point.isBeyond) ?? false }
    }

    /// Removed devices stay, with their cut.
    package var devices: [DeviceID: Device] = [:]
    /// Kinds by which a device that is not named here makes itself known: the founding, a join. Governance, all of them.
    package var introducing: [EntryKind] = []

    package init() {}
}

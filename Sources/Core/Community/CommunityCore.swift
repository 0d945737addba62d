// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

/// The governance of one community: who belongs to it, what they may do, by which rules, and what was decided.
///
/// It takes governance entries in any order, whose signatures were checked (``GovernanceEntry/isAuthentic(_:)``).
package struct CommunityCore: Sendable {
    /// What a call has changed.
    package struct Change: Hashable, Sendable {
        package var state = false
        /// Whether ``CommunityCore/roster`` is another one now.
        package var roster = false
        /// Entries that others build on and that are not here; to be fetched by id, frozen feeds included.
        package var missing: [EntryID] = []
    }

    package let community: CommunityID
    package private(set) var state: CommunityState
    package private(set) var roster = Roster()

    package init(community: CommunityID) {
        self.community = community
        state = CommunityState(community: community)
    }

    /// Entries from the disk or of `.fold`; those that are here already, and those that aren't governance, are passed over.
    package mutating func insert(_ entries: [StoredEntry]) -> Change { Change() }
    /// Entries of `.foldUndone`.
    package mutating func remove(_ ids: [EntryID]) -> Change { Change() }
    /// All proofs that the journal holds: the canonical one for each device.
    package mutating func setForks(_ forks: [DeviceID: EntrySequence]) -> Change { Change() }
    /// Whether the entry of a device that the roster doesn't name is worth keeping.
    package func introduces(_ entry: Entry) -> Bool { false }

    /// The greatest tip by (depth, id), for headers.
    package var head: EntryID { .none }
}

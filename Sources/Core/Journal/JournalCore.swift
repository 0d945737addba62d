// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// A community's journal on this node: which entries it takes, in which order, and what may be said of them when.
package struct JournalCore: Sendable {
    package let community: CommunityID

    /// - Parameters:
    ///   - own: signs this device's entries; nil for a node that only keeps those of others.
    ///   - opening: what the disk held.
    package init(
        community: CommunityID, own: KeyPair?, configuration: JournalConfiguration, keys: KeySource,
        opening: JournalOpening, milliseconds: UInt64, at now: Instant
    ) {
        self.community = community
    }

    /// Before any input: all governance entries that the disk holds, in pages of any size.
    package mutating func restore(governance: [StoredEntry]) {}

    package mutating func handle(_ input: JournalInput, at now: Instant) {}
    package mutating func handleTimeout(at now: Instant) {}
    package var nextTimeout: Instant? { nil }
    package mutating func nextEffect() -> JournalEffect? { nil }

    package var stats: JournalStats { JournalStats() }
    /// All feeds, ordered by device.
    package var feeds: [FeedRecord] { [] }
    package func feed(_ device: DeviceID) -> FeedRecord? { nil }
    /// Ordered by device; one each, the canonical one.
    package var proofs: [FaultProof] { [] }
    package func proof(against device: DeviceID) -> FaultProof? { nil }
    /// The place that the next append gets, when nothing comes between; for bodies that are bound to it.
    package var nextOwnSequence: EntrySequence? { nil }
    package var ownDevice: DeviceID? { nil }
    /// How many other nodes have an own entry on disk.
    package func holders(of point: FeedPoint) -> Int { 0 }
    /// Now, for what is first seen now.
    package func time(at now: Instant) -> HybridTime { HybridTime(0) }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiCommunityCore
package import TuttiJournal

/// Entries of the market that every member may read. A number never changes its meaning.
extension EntryKind {
    package static let listing = EntryKind(0x0300)
    package static let listingRevision = EntryKind(0x0301)
    package static let listingEnd = EntryKind(0x0302)
    /// An arbiter's standing consent: key, fee, limits, until when.
    package static let arbiterConsent = EntryKind(0x0310)
    /// A member's witness: the key with which it signs votes.
    package static let witnessCard = EntryKind(0x0311)
    package static let exposure = EntryKind(0x0320)
    /// One side's half of a completed trade; an edge is there when both published theirs.
    package static let tradeEdge = EntryKind(0x0321)
    package static let rating = EntryKind(0x0322)
}

/// What the market puts into sealed entries.
extension SealedKind {
    /// An event of a trade, with its certificate where it has one, for the other side.
    package static let tradeEvent = SealedKind(0x0100)
    /// A dossier, opened to an arbiter.
    package static let disclosure = SealedKind(0x0102)
}

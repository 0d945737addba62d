// SPDX-License-Identifier: Apache-2.0

/// Counts since the start; never read by a decision.
package struct JournalStats: Hashable, Sendable {
    // What was taken
    package var appended: UInt64 = 0
    package var admitted: UInt64 = 0
    /// Of these, beside their feeds.
    package var evidence: UInt64 = 0
    package var proofsTaken: UInt64 = 0
    package var receiptsTaken: UInt64 = 0
    package var bodiesDropped: UInt64 = 0
    // The source is to blame
    package var malformed: UInt64 = 0
    package var wrongCommunity: UInt64 = 0
    package var badSignature: UInt64 = 0
    // Nobody is to blame
    package var known: UInt64 = 0
    /// The device is not in the roster.
    package var unknownDevice: UInt64 = 0
    /// CommunityCore didn't want the newcomer.
    package var notIntroduced: UInt64 = 0
    /// A kind that is not open to the author.
    package var kindNotOpen: UInt64 = 0
    package var overQuota: UInt64 = 0
    /// Beyond a cut.
    package var void: UInt64 = 0
    /// It doesn't touch what is held.
    package var gap: UInt64 = 0
    package var frozen: UInt64 = 0
    /// The body should be there and is not.
    package var bodyMissing: UInt64 = 0
    package var feedsFull: UInt64 = 0
    /// A limit of what waits was reached.
    package var throttled: UInt64 = 0
    /// While the disk refuses.
    package var diskPaused: UInt64 = 0
    // Own
    package var appendsRefused: UInt64 = 0
    package var persistFailures: UInt64 = 0
    /// Own entries that were on disk although the disk had refused them.
    package var adopted: UInt64 = 0
    package var ownFeedElsewhere: UInt64 = 0
    /// Own clock moved forward by others' claims as far as it may.
    package var clockLimited: UInt64 = 0
    package var receiptsIgnored: UInt64 = 0
    /// Answers to nothing: late or made up.
    package var late: UInt64 = 0

    package init() {}
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// The knobs of the journal.
package struct JournalConfiguration: Sendable {
    /// Others' claims move our own clock forward by at most this; a high water further ahead is forgotten.
    package var clockLead = Duration.seconds(600)
    /// How long a gossiped entry may wait for its predecessor, which comes another way, before sync is asked.
    package var gapGrace = Duration.milliseconds(300)
    /// How long entries wait for what makes them admissible: a predecessor, their device in the roster.
    package var holdDuration = Duration.seconds(60)
    /// Receipts are gathered for so long.
    package var receiptDelay = Duration.milliseconds(20)
    /// Bodies are dropped so long after the start, then again and again.
    package var retentionFirst = Duration.seconds(60)
    package var retentionInterval = Duration.seconds(3_600)
    /// After a refusal of the disk nothing is taken from others for so long.
    package var diskPause = Duration.seconds(1)
    /// So many other nodes must have an entry on disk for it to count as sent.
    package var holdersOfSent = 2
    package var limits = JournalCoreLimits()

    package init() {}
}

/// What JournalCore holds at most; each comment says what happens at the limit.
package struct JournalCoreLimits: Sendable {
    /// Entries under way (verification, lookups, waiting for the disk) of one peer and of all; further ones are ignored.
    package var waitingPerPeerMax = 2_048
    package var waitingBytesPerPeerMax = 8 << 20
    package var waitingMax = 16_384
    package var waitingBytesMax = 64 << 20
    /// Entries of one `.verify`, and how many of those are under way; the others wait.
    package var verifyBatchMax = 512
    package var verifiesMax = 4
    /// Entries of one batch to the disk; the others go with the next.
    package var persistBatchMax = 2_048
    package var persistBatchBytesMax = 16 << 20
    /// Own entries that wait for the disk; further appends fail as busy.
    package var appendsWaitingMax = 8_192
    package var appendsWaitingBytesMax = 32 << 20
    /// Entries that wait for a predecessor or for their device: further ones of one device are ignored.
    package var heldPerDeviceMax = 64
    /// The same of all devices; the oldest goes.
    package var heldMax = 2_048
    package var heldBytesMax = 16 << 20
    /// Questions to the disk whether an entry is what we have at its place; further entries are ignored.
    package var lookupsMax = 512
    /// Ids known as held without asking the disk; the oldest goes.
    package var recentIDsMax = 16_384
    /// Governance entries held without what lies between; further ones are ignored.
    package var sparseMax = 65_536
    /// Governance entries held as evidence beside their feeds; further ones are ignored.
    package var besideMax = 65_536
    /// Governance of devices that the roster doesn't know, cited by others, of one day; further ones are put off.
    package var strangersBytesPerDay = 4 << 20
    /// What is missing beyond so many isn't looked for before some of them have come.
    package var missingMax = 16_384
    /// Nodes whose receipts are remembered; further ones are ignored.
    package var holdersMax = 256
    /// Bodies dropped in one batch; the others go with the next.
    package var expiredBatchMax = 1_024

    package init() {}
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiJournal

/// Governance: what makes and changes a community. Kept for ever, fetched first. A number never changes its meaning, and
/// the body of a kind never changes its form: what is new takes a new number.
extension EntryKind {
    package static let founding = EntryKind(0x0001)
    /// A device's own entry: its member's key says that the device is the member's.
    package static let deviceCertificate = EntryKind(0x0010)
    /// The member's key ends one of the member's devices, whoever carries it.
    package static let deviceRevocation = EntryKind(0x0011)
    package static let invite = EntryKind(0x0020)
    package static let inviteClose = EntryKind(0x0021)
    package static let join = EntryKind(0x0022)
    package static let admit = EntryKind(0x0023)
    package static let leave = EntryKind(0x0024)
    package static let roleGrant = EntryKind(0x0030)
    package static let roleRemoval = EntryKind(0x0031)
    package static let memberRemoval = EntryKind(0x0032)
    package static let proposal = EntryKind(0x0040)
    package static let vote = EntryKind(0x0041)
    package static let close = EntryKind(0x0042)
    package static let vouch = EntryKind(0x0050)
    package static let vouchWithdrawal = EntryKind(0x0051)
    package static let label = EntryKind(0x0060)
    package static let labelWithdrawal = EntryKind(0x0061)
    /// Says only what its author had seen: ties loose ends together.
    package static let acknowledgement = EntryKind(0x0070)

    /// By these a device that nobody knows yet makes itself known.
    package static let introducing: [EntryKind] = [.founding, .deviceCertificate, .join]
}

/// What the encodings of governance allow, for everybody alike: nodes must agree on what is an entry.
package enum CommunityLimits {
    package static let parentsMax = 8
    package static let nameBytesMax = 64
    package static let nicknameBytesMax = 64
    package static let reasonBytesMax = 500
    package static let noteBytesMax = 200
    package static let titleBytesMax = 120
    package static let proposalTextBytesMax = 8_192
    package static let charterBytesMax = 16_384
    package static let closersMax = 64
    package static let witnessesMax = 64
    package static let openKindsMax = 64
    /// Feeds that one removal cuts.
    package static let cutsMax = 64
    package static let inviteUsesMax = 1_000
    /// Joins that the end of an invite names as the ones that count.
    package static let inviteJoinsMax = 1_000
    /// Votes that a close counts: as many as fit into a body.
    package static let votesMax = 1_800
    /// Entries of other closers that a close builds on.
    package static let countersignedMax = 64
    package static let labelBytesMax = 32
    /// Governance entries of one community, also those that wait for what they build on; later arrivals are not taken.
    package static let entriesMax = 65_536
    /// Joins by one invite that are kept beyond its uses, for an admin to look at.
    package static let joinsPendingMax = 64
    /// What everybody may write, so that one can leave, vote and be told apart from a stranger.
    package static let governanceQuotaBytesPerDay = 65_536
    package static let linkEntryPointsMax = 5
    package static let linkTextBytesMax = 2_048
    /// Recovery codes whose seals one feed may hold; further ones are kept, but not found.
    package static let codesPerDeviceMax = 16
    /// Devices that tell the DHT of a code's seal: those nearest to its tag.
    package static let codeProvidersMax = 8
    /// Seals that one node tells the DHT of; those nearest to it.
    package static let codesToldMax = 64
    package static let recoveryAnswerBytesMax = 4_096
    /// Questions for a seal: one per interval and peer, so many saved up.
    package static let recoveryQuestionInterval = Duration.seconds(10)
    package static let recoveryQuestionBurst = 8
    /// Peers whose rate is remembered; the one that asked longest ago is forgotten.
    package static let recoveryAskersMax = 1_024
}

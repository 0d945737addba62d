// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiCommunityCore
package import TuttiIdentity
package import TuttiJournal
package import TuttiMarket
package import TuttiWitness

/// Everything with which a community's replica begins on this node.
package struct JournalStart: Sendable {
    package var community: CommunityID
    /// Whose node this is.
    package var member: MemberID
    /// Signs this device's entries; nil for a node that only keeps those of others.
    package var device: KeyPair?
    /// What the disk held.
    package var opening: JournalOpening
    /// All governance entries that the disk holds.
    package var governance: [StoredEntry]
    /// Milliseconds since 1970, now.
    package var milliseconds: UInt64
    /// Nil: what is sealed is kept and not read.
    package var mailbox: MailboxStart?
    package var journal = JournalConfiguration()
    package var sync = SyncConfiguration()
    /// For salts.
    package var keys = KeySource.system

    package init(
        community: CommunityID, member: MemberID, device: KeyPair?, opening: JournalOpening, governance: [StoredEntry],
        milliseconds: UInt64
    ) {
        self.community = community
        self.member = member
        self.device = device
        self.opening = opening
        self.governance = governance
        self.milliseconds = milliseconds
    }
}

/// Who asked the disk.
package enum JournalReader: Hashable, Sendable {
    case journal(RequestID)
    case sync(SyncLoadID)
    case fold(RequestID)
    case mailbox(RequestID)
    case market(RequestID)
    /// Entries that the mailbox opens for the market.
    case marketSecrets(RequestID)
    case witness(RequestID)
}

/// What the embedder asks of the community's replica, and how it answers what the replica asks of it.
/// Rare and large ones are indirect, as a lab holds many commands in its queue.
package enum JournalCommand: Sendable {
    indirect case start(JournalStart)
    case stop
    case clockRead(milliseconds: UInt64)
    /// Entries of this device, all or none; `.appended` or `.appendFailed` follows.
    case append(RequestID, [EntryDraft])
    /// An entry of this device that only a few can read; answered as `.append` is.
    case appendSealed(RequestID, Letter)
    /// Our join, to be shown to peers until they know us.
    indirect case introduce(Entry?)
    /// Reconcile with every peer now.
    case syncNow

    case persisted(RequestID)
    case persistFailed(RequestID, JournalStorageError)
    case loaded(JournalReader, JournalAnswer)
    /// Whether it is on the disk.
    case keyringKept(RequestID, Bool)
    case verified(RequestID, [Bool])
    /// What became of a `.register`.
    case registered(SlotID, RegisterOutcome)
    case checked(RequestID, [Bool])
    case witness(WitnessCommand)
}

/// What the community's replica wants of the embedder.
package enum JournalResult: Sendable {
    /// One transaction; `.persisted` or `.persistFailed` follows.
    case persist(JournalBatch, RequestID)
    /// `.loaded` follows.
    case load(JournalQuery, JournalReader)
    /// In place of the one before, on the disk when `.keyringKept` comes back.
    case keepKeyring([UInt8], RequestID)
    /// Check signatures off the loop; `.verified` follows.
    case verify([Entry], RequestID)
    /// The same for what is asked of a witness, or what witnesses answered; `.checked` follows.
    case check([SignatureCheck], RequestID)
    case appended(RequestID, [Entry])
    case appendFailed(RequestID, AppendError)
    /// On disk, in order.
    case admitted([StoredEntry])
    case event(JournalEvent)
    case sync(SyncEvent)
    case mailbox(MailboxEvent)
    case market(MarketEvent)
    /// Have a slot decided; `.registered` follows. Wanted again after a start, until it is.
    case register(RegisterTask, TradeSigner)
    /// Who belongs, or what is decided, is another from now on.
    case communityChanged
    case witness(WitnessEvent)
}

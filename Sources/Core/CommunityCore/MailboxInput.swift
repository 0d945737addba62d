// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

/// With what a device's mailbox begins.
package struct MailboxStart: Sendable {
    /// As the disk has it; nil: a device that begins.
    package var keyring: [UInt8]?
    /// Of the recovery code, when it was just typed.
    package var code: SealingKeyPair?

    package init(keyring: [UInt8]? = nil, code: SealingKeyPair? = nil) {
        self.keyring = keyring
        self.code = code
    }
}

/// What happened, as ``MailboxCore`` is told.
package enum MailboxInput: Sendable {
    case communityChanged(CommunityState, Roster)
    /// Governance that the disk held, before anything else.
    case restored([StoredEntry])
    /// On disk.
    case admitted([StoredEntry])
    /// Nothing is left to take from some member's node.
    case caughtUp

    // Answers, each to the effect with the same id.
    case loaded(RequestID, JournalAnswer)
    case persisted(RequestID)
    case persistFailed(RequestID)
    case kept(RequestID)
    case keepFailed(RequestID)
}

/// What ``MailboxCore`` wants done.
package enum MailboxEffect: Sendable {
    case load(JournalQuery, RequestID)
    case persist(JournalBatch, RequestID)
    /// The keyring, on the disk when `.kept` comes back.
    case keep([UInt8], RequestID)
    case append(MailboxDraft)
    case emit(MailboxEvent)
}

/// An entry that keeps mailbox keys known. What doesn't come to show in the feed is asked for again after an hour.
package enum MailboxDraft: Sendable {
    case announcement(MailboxAnnouncement)
    case sealed(SealedContent, to: [SealingPublicKey])
}

package enum MailboxEvent: Hashable, Sendable {
    /// It is known who can be written to.
    case open
    /// Nothing is left to read.
    case level
    /// These messages are new or others now, on disk.
    case rows([EntryID])
    /// There are further ``OpenedRow``s, on disk.
    case opened
}

package struct MailboxStats: Hashable, Sendable {
    package var looked: UInt64 = 0
    package var opened: UInt64 = 0
    package var rescans: UInt64 = 0
    package var late: UInt64 = 0
    package var diskFailures: UInt64 = 0
    /// Keyrings of another device, or damaged: this one began anew.
    package var keyringsRefused: UInt64 = 0

    package init() {}
}

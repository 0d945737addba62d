// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiCommunityCore
package import TuttiJournal
package import TuttiWitness

/// What happened, as ``MarketCore`` is told.
package enum MarketInput: Sendable {
    /// There are further ``OpenedRow``s on disk.
    case opened

    // Answers, each to the effect with the same id.
    case loaded(RequestID, JournalAnswer)
    /// What the entries of `.unseal` hold, of those that can be opened.
    case unsealed(RequestID, [SealedContent])
    case persisted(RequestID)
    case persistFailed(RequestID)
    /// A letter of ours, and whether it is on disk.
    case written(RequestID, Bool)
    /// To `.register`.
    case registered(SlotID, RegisterOutcome)
}

/// What ``MarketCore`` wants done.
package enum MarketEffect: Sendable {
    case load(JournalQuery, RequestID)
    /// Secrets lie under their seal alone: open these entries once more.
    case unseal([EntryID], RequestID)
    case persist(JournalBatch, RequestID)
    /// To these members' mailboxes and our own. `.written` follows.
    case write(TradeLetter, to: [MemberID], RequestID)
    /// Until `.registered` comes; asked for again after a restart.
    case register(RegisterTask, TradeSigner)
    /// What witnesses held for us: `.unsealed` follows.
    case openHeld(HeldEvent, RequestID)
    case emit(MarketEvent)
}

package enum MarketEvent: Hashable, Sendable {
    /// Nothing that is here is left to read.
    case level
    /// The member's secrets are known, or there is one more.
    case secretsChanged
    /// On disk and read.
    case tradeChanged(TradeID)
}

package struct MarketStats: Hashable, Sendable {
    package var letters: UInt64 = 0
    /// Letters that can't be read.
    package var malformed: UInt64 = 0
    /// Trades beyond ``MarketCoreLimits/openTradesMax``.
    package var tradesRefused: UInt64 = 0
    package var late: UInt64 = 0
    package var diskFailures: UInt64 = 0
    package var registered: UInt64 = 0
    package var registerFailures: UInt64 = 0

    package init() {}
}

package enum MarketCoreLimits {
    /// Trades of one member that aren't over. At it a new one is kept on disk and not driven.
    package static let openTradesMax = 1_024
    /// Letters of one trade that are read, the first that came.
    package static let lettersMax = 1_024
    /// Letters that are read in one turn.
    package static let pageCountMax = 64
    package static let pageBytesMax = 1 << 20
    /// Counter-offers of one negotiation, and how long a proposal stands.
    package static let countersMax = 6
    package static let proposalMilliseconds: UInt64 = 48 * 3_600_000
    /// How long a negotiation that lapsed stays among the open ones.
    package static let lapsedKeptMilliseconds: UInt64 = 7 * 86_400_000
    /// After which an errand that gave no proof is tried again.
    package static let errandPauseMilliseconds: UInt64 = 60_000
    package static let pauseMilliseconds: UInt64 = 5_000
    /// Sets the market's requests apart from the journal's and the mailbox's.
    static let requestBase: UInt64 = 0x5B << 56
    static let requestMask: UInt64 = 0xFF << 56
}

// SPDX-License-Identifier: Apache-2.0

/// Mistakes that can be planted into ``AgreementSystem``, to see that the check finds them; and rules as they once stood.
package struct AgreementFlaw: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// A witness commits to what it voted for, without having seen a lock.
    package static let commitWithoutLock = AgreementFlaw(rawValue: 1 << 0)
    /// A witness votes for several values in a ballot.
    package static let voteTwice = AgreementFlaw(rawValue: 1 << 1)
    /// After its report for a ballot a witness goes on in those below.
    package static let reportIsNoPromise = AgreementFlaw(rawValue: 1 << 2)
    /// After its vote in a ballot a witness goes on in those below.
    package static let voteIsNoPromise = AgreementFlaw(rawValue: 1 << 3)
    /// A later ballot may propose something else than the highest lock among its reports.
    package static let highestLockIgnored = AgreementFlaw(rawValue: 1 << 4)
    /// A witness votes against its own lock without having been shown a higher one.
    package static let ownLockIgnored = AgreementFlaw(rawValue: 1 << 5)
    /// The lock in a report is believed without its votes.
    package static let lockUnproven = AgreementFlaw(rawValue: 1 << 6)
    /// Votes and commits of 2f are enough.
    package static let smallQuorum = AgreementFlaw(rawValue: 1 << 7)

    /// A witness reports only the first event that it held; NO-EVENT where no value has f + 1 reports, by its own clock.
    package static let firstViewOnly = AgreementFlaw(rawValue: 1 << 8)
    /// One report that lists an event is enough to propose it.
    package static let eventByOneReport = AgreementFlaw(rawValue: 1 << 9)

    /// In ballot 0 a witness votes NO-EVENT once its deadline passed, whatever it holds.
    package static let silenceDespiteEvent = AgreementFlaw(rawValue: 1 << 13)

    /// For NO-EVENT it is enough that f + 1 passed and no event is listed by f + 1: so a report from before the deadline, which
    /// may yet come to hold the event, counts as one without it.
    package static let silenceByOpenReports = AgreementFlaw(rawValue: 1 << 14)

    /// A CLOSE doesn't tell the lock.
    package static let closeWithoutLock = AgreementFlaw(rawValue: 1 << 10)
    /// A witness that closed commits still.
    package static let commitAfterClose = AgreementFlaw(rawValue: 1 << 11)
    /// A witness closes towards two new sets.
    package static let closeTwice = AgreementFlaw(rawValue: 1 << 12)
}

// SPDX-License-Identifier: Apache-2.0

/// Bounds of everything that the register reads, keeps and signs.
package enum WitnessLimits {
    package static let arbitersMin = 2
    package static let arbitersMax = 5
    /// Of one deadline. Clocks may differ by ten minutes, so anything shorter would be a lottery.
    package static let deadlineSecondsMin = 3_600
    package static let deadlineSecondsMax = 60 * 86_400
    /// From payment to the end of a trade, whatever happens: below 90 days, which payment services hold money at most.
    package static let secondsFromPaymentMax = 90 * 86_400
    package static let amountMax: Int64 = 1 << 53
    package static let quantityMax = 10_000
    /// Trades that one account has open at a time.
    package static let openExposuresMax = 256
    /// Steps of one trade. The longest course is shorter, as a test shows.
    package static let stepsMax = 64
    /// Of one proof: from the last event on. No course is silent for so long.
    package static let certificatesMax = 24
    package static let signersMax = 2
    /// Of an event as it is held for its recipient.
    package static let sealedBytesMax = 16_384
    /// First events of different authors in one slot: no state of a trade admits more.
    package static let viewsMax = 3
    /// Requests held beside one slot: of the views, the vote and the lock.
    package static let heldMax = viewsMax + 2
    package static let ballotMax: UInt32 = 1 << 20
    /// How long a witness stays in ballot 1 before it reports for the next; doubled with each ballot.
    package static let ballotHoldMilliseconds: UInt64 = 2_000
    package static let ballotHoldMillisecondsMax: UInt64 = 3_600_000
    package static let questionBytesMax = 98_304
    package static let answerBytesMax = 196_608
    /// Signatures that one question may make a witness verify.
    package static let checksMax = 128
    /// Answers that wait for a chain's writes.
    package static let waitingAnswersMax = 64
}

// SPDX-License-Identifier: Apache-2.0
import TuttiWitness

/// What the encodings of trades allow, for everybody alike, and what a dossier keeps.
package enum TradeLimits {
    package static let titleBytesMax = 200
    /// How to pay, how to deliver, what else was agreed.
    package static let textBytesMax = 1_000
    /// Reasons of disputes, answers and rulings.
    package static let reasonsBytesMax = 4_000
    /// A payment's reference, a carrier, a tracking number.
    package static let referenceBytesMax = 200
    package static let evidenceMax = 32
    package static let commitmentsMax = 16
    package static let transportDaysMax = 60
    package static let deadlineSeconds = WitnessLimits.deadlineSecondsMin...WitnessLimits.deadlineSecondsMax
    package static let contractBytesMax = 5_120
    package static let bodyBytesMax = 6_144
    /// So that a sealed one, with its slots and padding, fits into what witnesses hold.
    package static let eventBytesMax = 6_656
    /// More than any course has slots.
    package static let stepsMax: UInt32 = 64
    /// Offers and counter-offers of one negotiation, whatever the charter says.
    package static let proposalsMax = 21

    // What one dossier keeps.

    /// Events of the same signers; further ones are refused.
    package static let eventsPerAuthorMax = 48
    /// Of those, for one slot: who signs more has shown enough.
    package static let eventsPerSlotMax = 4
    /// Of a file: of buyer, seller, both together and each arbiter.
    package static let eventsMax = 384
    /// Refusals shown; the oldest go first.
    package static let refusalsMax = 32
    package static let attestationsMax = 32
    package static let attestationBytesMax = 24_576
    package static let fileBytesMax = 1 << 20
}

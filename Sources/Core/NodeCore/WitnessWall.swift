// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiWitness

/// The wall clock of a witness: read now and then, and carried on by the steady clock in between.
struct WitnessWall: Sendable {
    /// A reading that is off by more was stepped, or the machine slept.
    private static let stepMax: UInt64 = 10_000

    private var milliseconds: UInt64
    private var readAt: Instant
    private var steadySince: UInt64

    init(milliseconds: UInt64, at now: Instant) {
        self.milliseconds = milliseconds
        readAt = now
        steadySince = milliseconds
    }

    mutating func read(_ reading: UInt64, at now: Instant) {
        let expected = clock(at: now).milliseconds
        let difference = reading > expected ? reading - expected : expected - reading
        if difference > Self.stepMax { steadySince = reading }
        milliseconds = reading
        readAt = now
    }

    func clock(at now: Instant) -> WitnessClock {
        let elapsed = UInt64(max(0, (now - readAt).saturatedNanoseconds)) / 1_000_000
        return WitnessClock(milliseconds: milliseconds &+ elapsed, steadySince: steadySince)
    }
}

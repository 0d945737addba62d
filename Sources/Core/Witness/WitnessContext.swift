// SPDX-License-Identifier: Apache-2.0
/// A witness's wall clock, and how far it is to be trusted. Only the witnesses' own clocks judge deadlines.
package struct WitnessClock: Hashable, Sendable {
    package let milliseconds: UInt64
    /// Since when the process has run and the clock hasn't been stepped, on the same clock. Of a slot that was open before, the
    /// witness can't say that nothing came.
    package let steadySince: UInt64
    /// More than ten minutes off the median of the others.
    package let isOff: Bool

    package init(milliseconds: UInt64, steadySince: UInt64, isOff: Bool = false) {
        self.milliseconds = milliseconds
        self.steadySince = steadySince
        self.isOff = isOff
    }
}

/// What a witness knows from its own replica, for one question.
package struct WitnessContext: Hashable, Sendable {
    /// This one and earlier ones that the charter has named.
    package let sets: [WitnessSet]
    /// The account of the exposure that is asked about.
    package let account: WitnessAccount?
    /// The set that the charter names now, where it is another than the one asked: slots may be closed to it.
    package let successor: WitnessSetID?
    /// The set before this one: chains of accounts and units go on from there.
    package let predecessor: WitnessSetID?

    package init(
        sets: [WitnessSet], account: WitnessAccount? = nil, successor: WitnessSetID? = nil,
        predecessor: WitnessSetID? = nil
    ) {
        self.sets = sets
        self.account = account
        self.successor = successor
        self.predecessor = predecessor
    }
}

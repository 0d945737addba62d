// SPDX-License-Identifier: Apache-2.0
package import TuttiCommunityCore
package import TuttiJournal

/// Why somebody shouldn't judge between two: what is published between the arbiter and one of them.
package enum ArbiterConflict: Hashable, Sendable {
    /// The arbiter is the party.
    case isParty(MemberID)
    /// One vouches for the other.
    case vouch(MemberID)
    /// They traded within the last year.
    case trade(MemberID)

    /// Every conflict with either party, in the order in which they are told. Trades that one of them didn't publish
    /// nobody can see.
    package static func all(
        arbiter: MemberID, parties: [MemberID], _ state: CommunityState, trades: TradeTable, at milliseconds: UInt64
    ) -> [ArbiterConflict] {
        let start = milliseconds - min(milliseconds, StandingLimits.conflictMilliseconds)
        let completed = trades.completed(state).filter { $0.milliseconds >= start }
        func areBoth(_ party: MemberID, _ one: MemberID, _ other: MemberID) -> Bool {
            (one == arbiter && other == party) || (one == party && other == arbiter)
        }
        return parties.flatMap { party -> [ArbiterConflict] in
            guard party != arbiter else { return [.isParty(party)] }
            var conflicts: [ArbiterConflict] = []
            if state.vouches.values.contains(where: { areBoth(party, $0.author, $0.body.member) }) {
                conflicts.append(.vouch(party))
            }
            if completed.contains(where: { areBoth(party, $0.buyer, $0.seller) }) { conflicts.append(.trade(party)) }
            return conflicts
        }
    }
}

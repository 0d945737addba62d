// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiJournal

/// Whom the ends of an invite leave out.
///
/// An end names the joins that count, so that nobody gets in later by claiming an earlier time. It isn't a removal: a
/// join on which somebody has built who may admit, without knowing of the end, stays. Else who may end an invite could,
/// by an end that names nobody, undo memberships of years and all that rested on them.
extension GovernanceFold {
    /// Acts of people who may admit that don't know of an end: of each line the last.
    struct Builders: Sendable {
        var places: [Int] = []
        /// What stands behind has been looked at.
        var next: Int
    }

    /// Whether none of the ends leaves the join out. Nil: `memo.needed` must be known first.
    func isLetIn(_ join: Int, by ends: [Int], _ memo: inout Memo) -> Bool? {
        for end in ends where !isNamed(join, by: end) {
            guard let isBuiltOn = isBuiltOn(join, despite: end, &memo) else { return nil }
            if !isBuiltOn { return false }
        }
        return true
    }

    /// How many places of an invite its sponsor has taken: once it is ended, those of joins that the end leaves in.
    /// Nil: `memo.needed` must be known first.
    func placesTaken(of invite: Int, by sponsor: Int, _ memo: inout Memo) -> Int? {
        guard case .invite(let terms) = graph.nodes[invite].entry.body else { return 0 }
        var taken = terms.uses
        for end in facts.inviteCloses[invite] ?? [] where facts.acts[end].owner == sponsor && isWithin(end, memo) {
            var left = 0
            for join in facts.joins[invite] ?? [] where isWithin(join, memo) {
                guard let isLetIn = isLetIn(join, by: [end], &memo) else { return nil }
                if isLetIn { left += 1 }
            }
            taken = min(taken, left)
        }
        return taken
    }

    /// Whether a new entry may keep somebody in whom an end that counts leaves out.
    func buildsOnLeftOut(_ place: Int) -> Bool {
        guard facts.acts[place].kind.isBuilding else { return false }
        return facts.endedInvites.contains { invite in
            (facts.inviteCloses[invite] ?? []).contains { end in
                memo.rank(end) != nil && !past(place, holds: end)
                    && (facts.joins[invite] ?? []).contains { past(place, holds: $0) && !isNamed($0, by: end) }
            }
        }
    }

    private func isNamed(_ join: Int, by end: Int) -> Bool {
        guard case .inviteClose(let body) = graph.nodes[end].entry.body else { return false }
        return body.joins.containsSorted(graph.nodes[join].entry.id)
    }

    private func isBuiltOn(_ join: Int, despite end: Int, _ memo: inout Memo) -> Bool? {
        // Of entries that came in together those behind the one that is judged aren't known yet; it doesn't build on them.
        var builders = memo.builders[end] ?? Builders(next: facts.acts.count - 1)
        while builders.next > join, !builders.places.contains(where: { past($0, holds: join) }) {
            let place = builders.next
            if place != end, facts.acts[place].kind.isBuilding, isWithin(place, memo), !past(place, holds: end),
                !builders.places.contains(where: { past($0, holds: place) })
            {
                guard let isByAdmitter = isByAdmitter(place, &memo) else {
                    memo.builders[end] = builders
                    return nil
                }
                if isByAdmitter { builders.places.append(place) }
            }
            builders.next -= 1
        }
        memo.builders[end] = builders
        return builders.places.contains { past($0, holds: join) }
    }

    /// Whether the entry counts by a role that may admit, or is the end of a proposal.
    private func isByAdmitter(_ place: Int, _ memo: inout Memo) -> Bool? {
        for rank in 0...Rank.moderator.number {
            guard let bit = memo.bit(place, rank) else { return nil }
            guard bit else { continue }
            let role = Role.allCases.first { $0.rank.number == rank }
            return role.map { edition(at: place, memo)?.charter.allows($0, .admit) ?? false } ?? true
        }
        return false
    }
}

extension GovernanceFacts.Act.Kind {
    /// Whether such an act can keep in whom an end leaves out. Invites can't: whether they count depends on who was let in.
    fileprivate var isBuilding: Bool {
        switch self {
        case .founding, .own, .join, .invite: false
        case .close, .inviteClose, .admit, .roleGrant, .roleRemoval, .memberRemoval, .vouch, .vouchWithdrawal,
            .labelWithdrawal, .vote, .proposal, .label, .acknowledgement, .unknown:
            true
        }
    }
}

extension [EntryID] {
    /// Of an ascending list.
    fileprivate func containsSorted(_ id: EntryID) -> Bool {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low] == id
    }
}

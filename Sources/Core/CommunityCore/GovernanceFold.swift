// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiJournal

/// Which governance entries count, and by which rank. The rules and why they never run in a circle:
/// docs/protocols/community.md, "What counts".
///
/// An entry counts with rank r if its author held, in the entry's own past, a role of that rank that may do such a thing.
/// To judge that, only entries are asked that either stand in its past and count with rank r or above, or are removals
/// that count with a rank above r. So each question leads to smaller ones, by (rank, place), whatever the history.
struct GovernanceFold: Sendable {
    /// One edition of the charter.
    struct Edition: Sendable {
        let digest: Bytes32
        let charter: Charter
        /// Closes that put it in force; none for the founding's.
        let closes: [Int]
    }

    /// What is known within a scope: everything that is held, or one entry and its past.
    struct Memo: Sendable {
        /// Nil: all.
        let scope: Int?
        var known: [UInt8]
        var valid: [UInt8]
        var asked: [UInt8]
        var needed: (place: Int, rank: Int)?
        var line: [Edition] = []
        /// Closes that enough closers have signed, whatever charter they name.
        var complete: [Int] = []
        /// Those of them that end their proposal.
        var inForce: Set<Int> = []
        /// By place of an invite's end.
        var builders: [Int: Builders] = [:]

        init(scope: Int?, count: Int) {
            self.scope = scope
            known = [UInt8](repeating: 0, count: count)
            valid = known
            asked = known
        }

        /// The best rank with which the entry counts.
        func rank(_ place: Int) -> Int? {
            guard valid.indices.contains(place), valid[place] != 0 else { return nil }
            return valid[place].trailingZeroBitCount
        }

        mutating func bit(_ place: Int, _ rank: Int) -> Bool? {
            if known[place] & 1 << rank != 0 { return valid[place] & 1 << rank != 0 }
            needed = (place, rank)
            return nil
        }

        mutating func settle(_ place: Int, _ rank: Int, _ isValid: Bool) {
            known[place] |= 1 << rank
            asked[place] &= ~(1 << rank)
            if isValid { valid[place] |= 1 << rank }
        }

        mutating func grow(to count: Int) {
            while known.count < count {
                known.append(0)
                valid.append(0)
                asked.append(0)
            }
        }
    }

    /// What one close is worth by its own past; that never changes.
    struct CloseVerdict: Sendable {
        var isSound: Bool
        var needed: Int
    }

    private(set) var graph = GovernanceGraph()
    private(set) var facts = GovernanceFacts()
    private(set) var verdicts: [Int: CloseVerdict] = [:]
    private(set) var electorates: [Int: Set<Int>] = [:]
    /// Of everything held.
    private(set) var memo = Memo(scope: nil, count: 0)

    static let ranks = Rank.allCases.count

    // MARK: Entries

    /// Returns the places that are new.
    mutating func insert(_ entry: GovernanceEntry) -> Range<Int> {
        let places = graph.insert(entry)
        for place in places {
            facts.take(place, of: graph)
            guard facts.acts[place].kind == .close else { continue }
            let (verdict, electorate) = verdict(place)
            verdicts[place] = verdict
            if let (proposal, members) = electorate { electorates[proposal] = members }
        }
        return places
    }

    mutating func setFork(of device: DeviceID, at sequence: EntrySequence) -> Bool {
        graph.setFork(of: device, at: sequence)
    }

    /// Judges everything anew.
    mutating func judge() {
        var memo = prepared(scope: nil)
        for rank in 0..<Self.ranks {
            for place in graph.nodes.indices { _ = isValid(place, rank, &memo) }
        }
        self.memo = memo
    }

    /// Judges one new entry by what is known of the others. Only for entries that change nothing about those.
    mutating func judgeLast(_ place: Int, closes: Bool) {
        var memo = memo
        self.memo = Memo(scope: nil, count: 0)
        memo.grow(to: graph.nodes.count)
        if closes { prepareCloses(&memo) }
        for rank in 0..<Self.ranks { _ = isValid(place, rank, &memo) }
        self.memo = memo
    }

    func isWithin(_ place: Int, _ memo: Memo) -> Bool {
        guard let scope = memo.scope else { return true }
        return place == scope || past(scope, holds: place)
    }

    func past(_ place: Int, holds other: Int) -> Bool { graph.nodes[place].past.contains(other) }

    // MARK: Judging

    func isValid(_ place: Int, _ rank: Int, _ memo: inout Memo) -> Bool {
        if let known = memo.bit(place, rank) { return known }
        var stack = [(place: place, rank: rank)]
        while let (place, rank) = stack.last {
            memo.needed = nil
            if memo.bit(place, rank) != nil {
                stack.removeLast()
            } else if let verdict = attempt(place, rank, &memo) {
                memo.settle(place, rank, verdict)
                stack.removeLast()
            } else if let needed = memo.needed, memo.asked[needed.place] & 1 << needed.rank == 0 {
                memo.asked[needed.place] |= 1 << needed.rank
                stack.append((needed.place, needed.rank))
            } else {
                assertionFailure("governance is judged in a circle")
                memo.settle(place, rank, false)
                stack.removeLast()
            }
        }
        return memo.valid[place] & 1 << rank != 0
    }

    /// Nil: `memo.needed` must be known first.
    private func attempt(_ place: Int, _ rank: Int, _ memo: inout Memo) -> Bool? {
        let act = facts.acts[place]
        switch act.kind {
        case .founding: return rank == 0
        case .own: return false
        case .close: return rank == 0 && memo.inForce.contains(place)
        case .join: return rank == act.role.rank.number ? isJoinValid(place, act, rank, &memo) : false
        case .inviteClose where rank >= Rank.member.number:
            return rank == Rank.member.number ? isSponsorsClose(place, act, &memo) : false
        default:
            guard rank > 0, let owner = act.owner, !isRevoked(place, memo) else { return false }
            guard let isFrozen = isFrozen(place, rank, &memo) else { return nil }
            guard !isFrozen, let edition = edition(at: place, memo) else { return false }
            for grant in facts.members[owner].grants where grant.role.rank.number == rank {
                guard act.needs.isEmpty || edition.charter.allows(grant.role, act.needs) else { continue }
                guard let isLive = isLive(grant, of: owner, at: place, isOwnAct: true, &memo) else { return nil }
                guard isLive else { continue }
                guard let isAllowed = isAllowed(place, act, grant.role, rank, edition, &memo) else { return nil }
                if isAllowed { return true }
            }
            return false
        }
    }

    /// What a kind asks beyond the permission.
    private func isAllowed(
        _ place: Int, _ act: GovernanceFacts.Act, _ role: Role, _ rank: Int, _ edition: Edition, _ memo: inout Memo
    ) -> Bool? {
        switch act.kind {
        case .founding, .own, .join, .close, .acknowledgement, .label: return true
        case .invite: return isWithinInvites(place, act, edition.charter.policy(role).invitesMax, &memo)
        case .inviteClose: return rank <= Rank.moderator.number
        case .unknown: return rank <= Rank.admin.number
        case .admit: return act.subject.map { facts.acts[$0].kind == .join } ?? false && rank <= act.role.rank.number
        case .roleGrant: return rank < act.role.rank.number
        case .roleRemoval, .memberRemoval:
            guard act.kind == .memberRemoval || rank < act.role.rank.number, let subject = act.subject else {
                return false
            }
            return outranks(place, rank, subject, &memo)
        case .proposal:
            guard case .proposal(let body) = graph.nodes[place].entry.body else { return false }
            return body.charter == edition.digest
        case .vote: return act.subject.map { facts.acts[$0].kind == .proposal } ?? false
        case .vouch: return act.subject != act.owner
        case .vouchWithdrawal: return isOwnWork(act, .vouch)
        case .labelWithdrawal:
            if isOwnWork(act, .label) { return true }
            guard let subject = act.subject, facts.acts[subject].kind == .label else { return false }
            for other in 0...rank {
                guard let bit = memo.bit(subject, other) else { return nil }
                if bit { return false }
            }
            return true
        }
    }

    private func isOwnWork(_ act: GovernanceFacts.Act, _ kind: GovernanceFacts.Act.Kind) -> Bool {
        guard let subject = act.subject else { return false }
        return facts.acts[subject].kind == kind && facts.acts[subject].owner == act.owner
    }

    /// Whether nobody gave `member` a rank as high, as far as the entry's author knew.
    private func outranks(_ place: Int, _ rank: Int, _ member: Int, _ memo: inout Memo) -> Bool? {
        for grant in facts.members[member].grants where grant.role.rank.number <= rank {
            guard let isLive = isLive(grant, of: member, at: place, isOwnAct: false, &memo) else { return nil }
            if isLive { return false }
        }
        return true
    }

    // MARK: Roles

    /// Whether a role given by `grant` is held at `place`, or with nil now.
    /// - Parameter isOwnAct: the entry at `place` is the member's, so that cuts concern it.
    func isLive(
        _ grant: GovernanceFacts.Grant, of member: Int, at place: Int?, isOwnAct: Bool, _ memo: inout Memo
    ) -> Bool? {
        if let place, !past(place, holds: grant.place) { return false }
        if place == nil, !isWithin(grant.place, memo) { return false }
        var grantRank: Int?
        for rank in 0...grant.role.rank.number {
            guard let bit = memo.bit(grant.place, rank) else { return nil }
            if bit {
                grantRank = rank
                break
            }
        }
        guard let grantRank else { return false }
        for removal in facts.members[member].removals where removal.role == nil || removal.role == grant.role {
            guard isWithin(removal.place, memo) else { continue }
            let isCut = isOwnAct && place.map { isBeyond(removal, $0) } ?? false
            guard place == nil || isCut || past(place ?? 0, holds: removal.place) else { continue }
            if removal.isOwn {
                if past(removal.place, holds: grant.place), !isRevoked(removal.place, memo),
                    !isBeyondFork(removal.place, memo)
                {
                    return false
                }
                continue
            }
            var removalRank: Int?
            for rank in 0..<grant.role.rank.number {
                guard let bit = memo.bit(removal.place, rank) else { return nil }
                if bit {
                    removalRank = rank
                    break
                }
            }
            guard let removalRank else { continue }
            // A device that was cut by name never comes back, even if its member does.
            if isCut, removal.role == nil, let place, namesCut(removal, of: place) { return false }
            if removalRank < grantRank || !isAfter(grant, removal, memo) { return false }
        }
        return true
    }

    /// Whether the grant was made in the knowledge of the removal. A close was made when its closers signed, so that
    /// nobody can make an old one new by citing its signatures again; a removal by a close dates from its first.
    private func isAfter(_ grant: GovernanceFacts.Grant, _ removal: GovernanceFacts.Removal, _ memo: Memo) -> Bool {
        let isByClose = removal.stated != removal.place
        let removals =
            isByClose ? (facts.closesOf[removal.stated] ?? []).filter(memo.inForce.contains) : [removal.place]
        let grants = signatures(of: grant.place)
        return removals.contains { removal in grants.allSatisfy { past($0, holds: removal) } }
    }

    /// A close and those that it cites; any other entry alone.
    func signatures(of place: Int) -> [Int] {
        guard case .close(let body) = graph.nodes[place].entry.body else { return [place] }
        return [place] + body.countersigned.compactMap { graph.places[$0] }
    }

    // MARK: Cuts and forks

    /// Whether a removal that counts leaves this entry of the member without effect, wherever both stand.
    func isBeyond(_ removal: GovernanceFacts.Removal, _ place: Int) -> Bool {
        let (entry, device) = (graph.nodes[place].entry, graph.nodes[place].device)
        if let cut = removal.cuts.first(where: { $0.device == entry.device }) { return cut.isVoid(entry.point) }
        if removal.isOwn, graph.nodes[removal.place].device == device {
            return entry.sequence > graph.nodes[removal.place].entry.sequence
        }
        return place != removal.stated && !past(removal.stated, holds: place)
    }

    private func namesCut(_ removal: GovernanceFacts.Removal, of place: Int) -> Bool {
        removal.cuts.contains { $0.device == graph.nodes[place].entry.device }
    }

    /// Whether the member's own key has ended the device before this entry.
    func isRevoked(_ place: Int, _ memo: Memo) -> Bool {
        graph.devices[graph.nodes[place].device].revocations.contains { revocation in
            guard isWithin(revocation, memo), let cut = cut(by: revocation, owner: facts.acts[place].owner, memo) else {
                return false
            }
            return cut.isVoid(graph.nodes[place].entry.point)
        }
    }

    /// The cut of a revocation by the device's owner.
    func cut(by revocation: Int, owner: Int?, _ memo: Memo) -> FeedCut? {
        guard case .deviceRevocation(let body) = graph.nodes[revocation].entry.body, let owner,
            facts.members[owner].id == body.member, !isBeyondFork(revocation, memo)
        else { return nil }
        return body.cut
    }

    /// Verdicts on closes, which must never change, are reached without forks.
    func isBeyondFork(_ place: Int, _ memo: Memo) -> Bool {
        guard memo.scope == nil, let fork = graph.devices[graph.nodes[place].device].fork else { return false }
        return graph.nodes[place].entry.sequence >= fork
    }

    /// Whether a fork leaves the entry without effect: from the fork on, unless a close rests on the entry, or who may
    /// cut this feed has seen the entry and cut behind it.
    private func isFrozen(_ place: Int, _ rank: Int, _ memo: inout Memo) -> Bool? {
        guard isBeyondFork(place, memo) else { return false }
        if memo.complete.contains(where: { past($0, holds: place) }) || isSparedByOwner(place, memo) { return false }
        guard let owner = facts.acts[place].owner else { return true }
        let point = graph.nodes[place].entry.point
        for removal in facts.members[owner].removals where !removal.isOwn && isWithin(removal.place, memo) {
            guard namesCut(removal, of: place), past(removal.place, holds: place),
                removal.cuts.allSatisfy({ $0.device != graph.nodes[place].entry.device || !$0.isVoid(point) })
            else { continue }
            for other in 0..<rank {
                guard let bit = memo.bit(removal.place, other) else { return nil }
                if bit { return false }
            }
        }
        return true
    }

    func isSparedByOwner(_ place: Int, _ memo: Memo) -> Bool {
        graph.devices[graph.nodes[place].device].revocations.contains { revocation in
            guard isWithin(revocation, memo), past(revocation, holds: place),
                let cut = cut(by: revocation, owner: facts.acts[place].owner, memo)
            else { return false }
            return !cut.isVoid(graph.nodes[place].entry.point)
        }
    }

    // MARK: Invites and joins

    private func isJoinValid(
        _ place: Int, _ act: GovernanceFacts.Act, _ rank: Int, _ memo: inout Memo
    ) -> Bool? {
        guard let invite = act.subject, case .join(let body) = graph.nodes[place].entry.body,
            case .invite(let terms) = graph.nodes[invite].entry.body, body.inviteKey == terms.key,
            graph.nodes[place].entry.time.milliseconds <= terms.expiry,
            edition(at: place, memo)?.charter.admission == .invite, !isRevoked(place, memo)
        else { return false }
        guard let isFrozen = isFrozen(place, rank, &memo) else { return nil }
        guard !isFrozen else { return false }
        var isInvited = false
        for other in 1...rank where !isInvited {
            guard let bit = memo.bit(invite, other) else { return nil }
            isInvited = bit
        }
        guard isInvited else { return false }
        var ends: [Int] = []
        for close in facts.inviteCloses[invite] ?? [] where isWithin(close, memo) {
            var counts = isSponsorsClose(close, facts.acts[close], &memo)
            for other in 1..<Rank.member.number where counts == false { counts = memo.bit(close, other) }
            guard let counts else { return nil }
            if counts { ends.append(close) }
        }
        return isAmongUses(place, of: invite, terms.uses, ends, &memo)
    }

    /// The invite's joins count in the order of (depth, id), each member once; after its ends those that none leaves out.
    private func isAmongUses(
        _ place: Int, of invite: Int, _ uses: Int, _ ends: [Int], _ memo: inout Memo
    ) -> Bool? {
        guard let isLetIn = isLetIn(place, by: ends, &memo) else { return nil }
        guard isLetIn else { return false }
        let joins = facts.joins[invite] ?? []
        guard joins.count > uses else { return true }
        var joined: Set<Int> = []
        for join in joins where isWithin(join, memo) {
            guard let owner = facts.acts[join].owner else { continue }
            guard let isLetIn = self.isLetIn(join, by: ends, &memo) else { return nil }
            guard isLetIn else { continue }
            if joined.insert(owner).inserted, joined.count > uses { return false }
            if join == place { return true }
        }
        return false
    }

    /// Who made the invite ends it, from the same device. It must not rest on being a member: that could rest on the
    /// invite's own joins.
    private func isSponsorsClose(_ place: Int, _ act: GovernanceFacts.Act, _ memo: inout Memo) -> Bool? {
        guard let invite = act.subject, let owner = act.owner, facts.acts[invite].kind == .invite,
            graph.nodes[invite].device == graph.nodes[place].device, !isRevoked(place, memo)
        else { return false }
        guard let isFrozen = isFrozen(place, Rank.member.number, &memo) else { return nil }
        guard !isFrozen else { return false }
        for removal in facts.members[owner].removals
        where removal.role == nil && !removal.isOwn && isWithin(removal.place, memo) {
            guard past(place, holds: removal.place) || isBeyond(removal, place) else { continue }
            for rank in 0..<Rank.member.number {
                guard let bit = memo.bit(removal.place, rank) else { return nil }
                if bit { return false }
            }
        }
        return true
    }

    /// A member lets in no more people altogether than its role allows: unused places of ended invites are free again.
    private func isWithinInvites(
        _ place: Int, _ act: GovernanceFacts.Act, _ invitesMax: Int, _ memo: inout Memo
    ) -> Bool? {
        guard let owner = act.owner else { return false }
        var used = 0
        for invite in facts.members[owner].invites where isWithin(invite, memo) {
            guard let taken = placesTaken(of: invite, by: owner, &memo) else { return nil }
            used += taken
            if used > invitesMax { return false }
            if invite == place { return true }
        }
        return false
    }
}

extension Rank {
    var number: Int { Int(rawValue) }
}

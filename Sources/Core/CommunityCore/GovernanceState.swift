// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiJournal

/// What the judged entries come to: rows of the state, each made from scratch from what concerns it.
extension GovernanceFold {
    /// Whether an entry of any kind has had an effect, so that others may build on it.
    func hasEffect(_ place: Int) -> Bool {
        let act = facts.acts[place]
        switch act.kind {
        case .close: return verdicts[place]?.isSound ?? false
        case .own:
            guard let owner = act.owner, !isRevoked(place, memo),
                !isBeyondFork(place, memo) || memo.complete.contains(where: { past($0, holds: place) })
                    || isSparedByOwner(place, memo)
            else { return false }
            return facts.members[owner].grants.contains { memo.rank($0.place) != nil }
        default: return memo.rank(place) != nil
        }
    }

    /// Roles held now; empty for who is no member (any more).
    func roles(of member: Int) -> Set<Role> {
        var memo = memo
        return roles(of: member, &memo)
    }

    private func roles(of member: Int, _ memo: inout Memo) -> Set<Role> {
        var roles: Set<Role> = []
        for grant in facts.members[member].grants where !roles.contains(grant.role) {
            if holds(grant, member, at: nil, &memo) { roles.insert(grant.role) }
        }
        return roles
    }

    /// Nil for who never was a member.
    func member(_ index: Int, _ memo: inout Memo) -> CommunityState.Member? {
        let facts = facts.members[index]
        let grants = facts.grants.filter { memo.rank($0.place) != nil }
        guard let first = grants.map(\.place).min(by: graph.precedes) else { return nil }
        let roles = roles(of: index, &memo)
        let named = facts.certificates.filter { nickname(at: $0) != nil }
        // The first that let the member in; one who was only given roles has the name of the first join there is.
        let entered = named.filter { place in
            memo.rank(place) != nil || (self.facts.admits[place] ?? []).contains { memo.rank($0) != nil }
        }
        let source = (entered.isEmpty ? named : entered).min(by: graph.precedes)
        var sponsor: MemberID?
        if let source, self.facts.acts[source].kind == .join, let invite = self.facts.acts[source].subject {
            sponsor = self.facts.acts[invite].owner.map { self.facts.members[$0].id }
        }
        return CommunityState.Member(
            id: facts.id, nickname: source.flatMap(nickname) ?? "", roles: roles, sponsor: sponsor,
            since: graph.nodes[first].entry.id, devices: devices(of: index).map { graph.devices[$0].id }.sorted(),
            ended: roles.isEmpty ? ending(of: index) : nil)
    }

    private func nickname(at place: Int) -> String? {
        switch graph.nodes[place].entry.body {
        case .founding(let body): body.nickname
        case .join(let body): body.nickname
        default: nil
        }
    }

    private func ending(of member: Int) -> CommunityState.Ending? {
        let removals = facts.members[member].removals.filter { removal in
            removal.isOwn ? hasEffect(removal.place) : memo.rank(removal.place) != nil
        }
        guard let last = removals.max(by: { graph.precedes($0.place, $1.place) }) else { return nil }
        let id = graph.nodes[last.place].entry.id
        if last.isOwn { return .left(id) }
        switch graph.nodes[last.stated].entry.body {
        case .memberRemoval(let body): return .removed(by: id, reason: body.reason)
        case .roleRemoval(let body): return .removed(by: id, reason: body.reason)
        case .proposal(let body):
            switch body.action {
            case .removeMember(let body): return .removed(by: id, reason: body.reason)
            case .removeRole(let body): return .removed(by: id, reason: body.reason)
            case .resolution, .amend, .grant: return nil
            }
        default: return nil
        }
    }

    // MARK: Devices

    /// Ordered by their place in the graph's list.
    func devices(of member: Int) -> [Int] {
        var devices: Set<Int> = []
        for certificate in facts.members[member].certificates {
            let device = graph.nodes[certificate].device
            if owner(of: device) == member { devices.insert(device) }
        }
        return devices.sorted()
    }

    /// A device belongs to whom its first certificate names.
    func owner(of device: Int) -> Int? { certificate(of: device).flatMap { facts.acts[$0].owner } }

    private func certificate(of device: Int) -> Int? {
        graph.devices[device].certificates.min { one, other in
            let (a, b) = (graph.nodes[one].entry, graph.nodes[other].entry)
            return (a.sequence, a.id) < (b.sequence, b.id)
        }
    }

    func device(_ index: Int, isMember: Bool, _ memo: inout Memo) -> CommunityState.Device? {
        guard let certificate = certificate(of: index), let owner = facts.acts[certificate].owner else { return nil }
        let cut = cut(of: index, owner: owner, isMember: isMember, &memo)
        var standing = CommunityState.Device.Standing.good
        if let fork = graph.devices[index].fork { standing = .frozen(fork) }
        if cut != nil { standing = .ended }
        return CommunityState.Device(
            id: graph.devices[index].id, member: facts.members[owner].id, standing: standing, cut: cut,
            certificate: graph.nodes[certificate].entry.id)
    }

    /// The lowest of the cuts that concern the device: by the member's own key; by removals, for whoever is no member
    /// now at every device, for who came back at those that were named.
    private func cut(of device: Int, owner: Int, isMember: Bool, _ memo: inout Memo) -> FeedPoint? {
        var points: [FeedPoint] = []
        for revocation in graph.devices[device].revocations {
            if let cut = cut(by: revocation, owner: owner, memo) { points.append(cut.point) }
        }
        let id = graph.devices[device].id
        for removal in facts.members[owner].removals where removal.role == nil || !isMember {
            if removal.isOwn {
                guard !isMember, hasEffect(removal.place) else { continue }
                if graph.nodes[removal.place].device == device {
                    points.append(graph.nodes[removal.place].entry.point)
                    continue
                }
            } else {
                guard let rank = memo.rank(removal.place) else { continue }
                if isMember, isAbove(rank, owner, &memo) { continue }
            }
            if let named = removal.cuts.first(where: { $0.device == id }) {
                points.append(named.point)
            } else if !isMember {
                points.append(.start)
            }
        }
        return points.min { a, b in (a.sequence, a.id) < (b.sequence, b.id) }
    }

    /// Whether the member holds a role that a removal of this rank can't take.
    private func isAbove(_ rank: Int, _ member: Int, _ memo: inout Memo) -> Bool {
        for grant in facts.members[member].grants where grant.role.rank.number <= rank {
            if holds(grant, member, at: nil, &memo) { return true }
        }
        return false
    }

    // MARK: Invites and joins

    func invite(_ place: Int) -> CommunityState.Invite? {
        guard memo.rank(place) != nil, case .invite(let body) = graph.nodes[place].entry.body,
            let sponsor = facts.acts[place].owner
        else { return nil }
        let joins = (facts.joins[place] ?? []).filter { memo.rank($0) != nil }
        let isClosed = (facts.inviteCloses[place] ?? []).contains { memo.rank($0) != nil }
        var people: [MemberID] = []
        for owner in joins.compactMap({ facts.acts[$0].owner }) where !people.contains(facts.members[owner].id) {
            people.append(facts.members[owner].id)
        }
        return CommunityState.Invite(
            id: graph.nodes[place].entry.id, body: body, sponsor: facts.members[sponsor].id,
            device: graph.nodes[place].entry.device, joins: joins.map { graph.nodes[$0].entry.id }, people: people,
            isClosed: isClosed, usesLeft: isClosed ? 0 : max(0, body.uses - people.count))
    }

    /// Nil once it has let its member in.
    func pendingJoin(_ place: Int, of member: Int, isMember: Bool) -> CommunityState.PendingJoin? {
        guard !isMember, case .join(let body) = graph.nodes[place].entry.body,
            let invite = facts.acts[place].subject, !isRevoked(place, memo), !isBeyondFork(place, memo),
            memo.rank(place) == nil || wasRemoved(member, before: place)
        else { return nil }
        var reason = CommunityState.PendingJoin.Reason.inviteUsedUp
        if case .invite(let terms) = graph.nodes[invite].entry.body, memo.rank(invite) != nil,
            terms.key == body.inviteKey
        {
            if memo.rank(place) != nil {
                reason = .removedBefore
            } else if edition(at: place, memo)?.charter.admission != .invite {
                reason = .approvalNeeded
            } else if graph.nodes[place].entry.time.milliseconds > terms.expiry {
                reason = .inviteExpired
            } else if (facts.inviteCloses[invite] ?? []).contains(where: { memo.rank($0) != nil }) {
                reason = .inviteClosed
            }
        } else {
            reason = .inviteVoid
        }
        return CommunityState.PendingJoin(
            id: graph.nodes[place].entry.id, member: body.certificate.member, nickname: body.nickname,
            invite: body.invite, reason: reason)
    }

    /// An invite doesn't bring back who was removed.
    private func wasRemoved(_ member: Int, before join: Int) -> Bool {
        facts.members[member].removals.contains { removal in
            !removal.isOwn && removal.role == nil && memo.rank(removal.place) != nil
                && !past(removal.place, holds: join)
        }
    }

    // MARK: Proposals

    func proposal(_ place: Int) -> CommunityState.Proposal? {
        guard memo.rank(place) != nil, case .proposal(let body) = graph.nodes[place].entry.body,
            let author = facts.acts[place].owner
        else { return nil }
        let closes = facts.closesOf[place] ?? []
        let ended = closes.filter(memo.inForce.contains).min(by: graph.precedes)
        var outcome = CommunityState.Proposal.Outcome.open
        var votes = latestVotes(place)
        if let ended, case .close(let end) = graph.nodes[ended].entry.body {
            let id = graph.nodes[ended].entry.id
            outcome = end.passed ? .passed(close: id) : .rejected(close: id)
            votes = end.votes.compactMap { graph.places[$0] }
        } else if memo.line.last?.digest != body.charter {
            outcome = .lapsed
        }
        let signers = outcome == .open ? closes.filter(isSignature) : []
        return CommunityState.Proposal(
            id: graph.nodes[place].entry.id, author: facts.members[author].id, body: body,
            votes: votes.compactMap(vote).sorted { $0.member < $1.member }, outcome: outcome,
            signers: Set(signers.compactMap { facts.acts[$0].owner }).map { facts.members[$0].id }.sorted())
    }

    /// Of an end that is sound, and not taken back.
    func isSignature(_ close: Int) -> Bool {
        verdicts[close]?.isSound ?? false && stands(close, memo.complete, memo)
    }

    /// Of each member the last that counts.
    private func latestVotes(_ proposal: Int) -> [Int] {
        var latest: [Int: Int] = [:]
        for vote in facts.votes[proposal] ?? [] where memo.rank(vote) != nil {
            guard let owner = facts.acts[vote].owner else { continue }
            if let other = latest[owner], !graph.precedes(other, vote) { continue }
            latest[owner] = vote
        }
        return Array(latest.values)
    }

    private func vote(_ place: Int) -> CommunityState.Vote? {
        guard case .vote(let body) = graph.nodes[place].entry.body, let owner = facts.acts[place].owner else {
            return nil
        }
        return CommunityState.Vote(
            id: graph.nodes[place].entry.id, member: facts.members[owner].id, choice: body.choice)
    }
}

extension GovernanceFold {
    /// Members whose roles or devices an entry may change, beside its author's.
    func subjects(of place: Int) -> [Int] {
        let members: [MemberID]
        switch graph.nodes[place].entry.body {
        case .deviceRevocation(let body): members = [body.member]
        case .admit(let id):
            guard let join = graph.places[id], case .join(let body) = graph.nodes[join].entry.body else { return [] }
            members = [body.certificate.member]
        case .inviteClose(let body):
            return (graph.places[body.invite].flatMap { facts.joins[$0] } ?? []).compactMap { facts.acts[$0].owner }
        case .roleGrant(let body): members = [body.member]
        case .roleRemoval(let body): members = [body.member]
        case .memberRemoval(let body): members = [body.member]
        case .close:
            switch proposal(of: place)?.action {
            case .grant(let body): members = [body.member]
            case .removeRole(let body): members = [body.member]
            case .removeMember(let body): members = [body.member]
            case .resolution, .amend, nil: return []
            }
        default: return []
        }
        return members.compactMap(facts.index)
    }
}

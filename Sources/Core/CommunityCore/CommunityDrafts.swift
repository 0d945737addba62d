// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

/// Acts of our own, as drafts for the journal. Each is tried on what is held: one that would not count is refused, with
/// the reason.
extension CommunityCore {
    // MARK: Without being a member yet

    /// A new community, with its name and its first entry.
    package static func founding(
        charter: Charter, nonce: Bytes32, nickname: String, memberKey: KeyPair, device: DeviceID
    ) throws(CommunityRefusal) -> (CommunityID, EntryDraft) {
        let body = FoundingBody(
            nonce: nonce, nickname: nickname,
            certificate: DeviceCertificate(of: device, at: nonce, by: memberKey), charter: charter.encoded)
        do throws(DecodeError) { _ = try Charter(body.charter) } catch { throw .invalid(error) }
        let draft = try Self.draft(.founding, .founding(body), parents: [], head: .none)
        return (FoundingBody.community(draft.body), draft)
    }

    /// By an invite, before anything of the community is here: it builds on the invite alone.
    package static func join(
        _ link: InviteLink, nickname: String, memberKey: KeyPair, device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        let body = JoinBody(
            invite: link.invite, in: link.community,
            certificate: DeviceCertificate(of: device, at: link.community.bytes, by: memberKey), nickname: nickname,
            inviteKey: link.key)
        return try draft(.join, .join(body), parents: [link.invite], head: link.invite)
    }

    /// By an invite, once governance is here.
    package func join(
        _ link: InviteLink, nickname: String, memberKey: KeyPair, device: DeviceID, milliseconds: UInt64
    ) throws(CommunityRefusal) -> EntryDraft {
        guard let invite = state.invites[link.invite] else { throw .unknownInvite }
        guard !state.isMember(memberKey.member) else { throw .alreadyMember }
        guard !invite.isClosed else { throw .inviteClosed }
        guard invite.usesLeft > 0 else { throw .inviteUsedUp }
        guard milliseconds <= invite.body.expiry else { throw .inviteExpired }
        let body = JoinBody(
            invite: link.invite, in: community,
            certificate: DeviceCertificate(of: device, at: community.bytes, by: memberKey), nickname: nickname,
            inviteKey: link.key)
        return try Self.draft(.join, .join(body), parents: parents, head: head)
    }

    /// The first entry of a further device of a member.
    package func deviceCertificate(
        of device: DeviceID, by memberKey: KeyPair
    ) throws(CommunityRefusal) -> EntryDraft {
        guard state.charter != nil else { throw .notFounded }
        guard state.isMember(memberKey.member) else { throw .notAMember }
        let certificate = DeviceCertificate(of: device, at: community.bytes, by: memberKey)
        return try Self.draft(.deviceCertificate, .deviceCertificate(certificate), parents: parents, head: head)
    }

    /// Ends a device of the member whose key this is, behind its last entry that was really the member's.
    package func deviceRevocation(
        of device: DeviceID, after point: FeedPoint, reason: String, by memberKey: KeyPair
    ) throws(CommunityRefusal) -> EntryDraft {
        guard state.devices[device]?.member == memberKey.member else { throw .unknownMember }
        let body = DeviceRevocationBody(
            of: FeedCut(device: device, point: point), in: community, reason: reason, by: memberKey)
        return try Self.draft(.deviceRevocation, .deviceRevocation(body), parents: parents, head: head)
    }

    // MARK: Invites, members, roles

    package func invite(
        key: KeyPair, role: Role = .member, uses: Int, expiry: UInt64, note: String, by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        let (author, roles) = try allowed(.invite, "invite", device)
        let most = roles.map { state.charter?.policy($0).invitesMax ?? 0 }.max() ?? 0
        let left = most - fold.invitesUsed(by: author)
        guard uses <= left else { throw .invitesExhausted(left: max(0, left)) }
        return try tried(
            .invite, .invite(InviteBody(key: key.device.bytes, role: role, uses: uses, expiry: expiry, note: note)),
            device)
    }

    /// Ends an invite. Those who have joined by it stay, whatever else turns up later.
    package func inviteClose(_ invite: EntryID, by device: DeviceID) throws(CommunityRefusal) -> EntryDraft {
        let author = try author(device)
        guard let known = state.invites[invite] else { throw .unknownInvite }
        guard !known.isClosed else { throw .inviteClosed }
        if known.sponsor != fold.facts.members[author].id {
            _ = try allowed(.admit, "close the invites of others", device)
        }
        return try tried(
            .inviteClose, .inviteClose(InviteCloseBody(invite: invite, joins: known.joins.sorted())), device)
    }

    package func admit(_ join: EntryID, by device: DeviceID) throws(CommunityRefusal) -> EntryDraft {
        _ = try allowed(.admit, "admit", device)
        guard state.pendingJoins[join] != nil else { throw .unknownJoin }
        return try tried(.admit, .admit(join), device)
    }

    package func leave(
        heads: [DeviceID: FeedPoint], by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        let member = fold.facts.members[try author(device)].id
        let cuts = cuts(of: member, heads).filter { $0.device != device }
        return try tried(.leave, .leave(LeaveBody(cuts: cuts)), device)
    }

    package func roleGrant(
        _ role: Role, to member: MemberID, by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        let (_, roles) = try allowed(.grantRoles, "give roles", device)
        guard let known = state.members[member] else { throw .unknownMember }
        guard !known.roles.contains(role) else { throw .alreadyHasRole(role) }
        try outrank(role.rank, roles, role)
        return try tried(.roleGrant, .roleGrant(RoleGrantBody(member: member, role: role)), device)
    }

    /// - Parameter heads: the last entries of the member's devices that count.
    package func roleRemoval(
        _ role: Role, from member: MemberID, heads: [DeviceID: FeedPoint], reason: String, by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        guard let known = state.members[member] else { throw .unknownMember }
        guard known.roles.contains(role) else { throw .hasNotRole(role) }
        if known.id != fold.facts.members[try author(device)].id {
            let (_, roles) = try allowed(.removeRoles, "remove roles", device)
            try outrank(known, roles)
        }
        let body = RoleRemovalBody(member: member, role: role, cuts: cuts(of: member, heads), reason: reason)
        return try tried(.roleRemoval, .roleRemoval(body), device)
    }

    package func memberRemoval(
        _ member: MemberID, heads: [DeviceID: FeedPoint], reason: String, by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        let (author, roles) = try allowed(.removeMembers, "remove members", device)
        guard let known = state.members[member], !known.roles.isEmpty else { throw .unknownMember }
        guard member != fold.facts.members[author].id else { throw .ownMember }
        try outrank(known, roles)
        let body = MemberRemovalBody(member: member, cuts: cuts(of: member, heads), reason: reason)
        return try tried(.memberRemoval, .memberRemoval(body), device)
    }

    /// Last entries of the member's devices, for removals and proposals; a device without an entry in `heads` counts for
    /// nothing.
    package func cuts(of member: MemberID, _ heads: [DeviceID: FeedPoint]) -> [FeedCut] {
        (state.members[member]?.devices ?? []).prefix(CommunityLimits.cutsMax).map { device in
            FeedCut(device: device, point: state.devices[device]?.cut ?? heads[device] ?? .start)
        }
    }

    // MARK: Proposals

    package func proposal(
        title: String, text: String, action: ProposalBody.Action, by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        if action.isFundamental {
            _ = try allowed(.proposeAmendment, "propose a change of charter, members or leaders", device)
        } else {
            _ = try allowed(.propose, "make proposals", device)
        }
        guard let charter = state.charterDigest else { throw .notFounded }
        return try tried(
            .proposal, .proposal(ProposalBody(charter: charter, title: title, text: text, action: action)), device)
    }

    /// The charter in force with changes, as the proposal of an amendment wants it.
    package func amendment(_ change: (inout Charter) -> Void) throws(CommunityRefusal) -> ProposalBody.Action {
        guard var charter = state.charter, let digest = state.charterDigest else { throw .notFounded }
        let before = charter
        change(&charter)
        guard charter != before else { throw .charterUnchanged }
        charter.previous = digest
        charter.closers.sort()
        charter.witnesses.sort()
        let encoded = charter.encoded
        do throws(DecodeError) { _ = try Charter(encoded) } catch { throw .invalid(error) }
        return .amend(encoded)
    }

    package func vote(
        _ choice: VoteBody.Choice, on proposal: EntryID, by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        let (author, _) = try allowed(.vote, "vote", device)
        let place = try open(proposal)
        guard fold.electorate(of: place).contains(author) else { throw .joinedAfterProposal }
        return try tried(.vote, .vote(VoteBody(proposal: proposal, choice: choice)), device)
    }

    /// Signs the end of a proposal: the one that another closer has signed already, if it turns out as by all votes here,
    /// or one that counts them all.
    /// - Parameter electorate: who wrote lately, where the charter counts those; nil for everybody who could vote.
    package func close(
        _ proposal: EntryID, electorate: Int? = nil, by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        let author = try author(device)
        let place = try open(proposal)
        guard let charter = state.charter, let known = state.proposals[proposal] else { throw .notFounded }
        guard charter.signers.contains(fold.facts.members[author].id) else { throw .notACloser }
        let ends = fold.soundCloses(of: place)
        let own = ends.filter { $0.owner == author }
        let counted = end(of: known, place, by: charter.rule(for: known.body.action), electorate: electorate)
        // Who has signed first may have left votes out: an end that turns out otherwise by them isn't signed.
        let others = ends.first { $0.body.passed == counted.passed }
        guard var body = own.first?.body ?? others?.body else { return try tried(.close, .close(counted), device) }
        guard own.allSatisfy({ $0.body.says(theSameAs: body) }) else { throw .signedOtherwise }
        body.countersigned = ends.filter { $0.owner != author && $0.body.says(theSameAs: body) }
            .prefix(CommunityLimits.countersignedMax).map(\.id).sorted()
        return try tried(.close, .close(body), device)
    }

    /// Who may vote on an open proposal, and when it was made, as its author says.
    package func ballot(on proposal: EntryID) -> (electorate: Int, made: HybridTime)? {
        guard let place = fold.graph.places[proposal], state.proposals[proposal]?.outcome == .open else { return nil }
        return (fold.electorate(of: place).count, fold.graph.nodes[place].entry.time)
    }

    /// With all votes that are here.
    private func end(
        of proposal: CommunityState.Proposal, _ place: Int, by rule: Charter.Rule, electorate: Int?
    ) -> CloseBody {
        let voters = fold.electorate(of: place)
        let votes = proposal.votes.filter { vote in fold.facts.index(of: vote.member).map(voters.contains) ?? false }
            .prefix(CommunityLimits.votesMax)
        func count(_ choice: VoteBody.Choice) -> Int { votes.count { $0.choice == choice } }
        let all =
            rule.basis == .allMembers
            ? voters.count : min(max(electorate ?? voters.count, votes.count), voters.count)
        let passed = rule.isMet(yes: count(.yes), no: count(.no), abstaining: count(.abstain), electorate: all)
        return CloseBody(
            proposal: proposal.id, passed: passed, electorate: all, votes: votes.map(\.id).sorted(), countersigned: [])
    }

    // MARK: Words about others

    package func vouch(
        for member: MemberID, amount: Int64, note: String, by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        let (author, _) = try allowed(.vouch, "vouch", device)
        guard state.isMember(member) else { throw .unknownMember }
        guard fold.facts.members[author].id != member else { throw .ownMember }
        return try tried(.vouch, .vouch(VouchBody(member: member, amount: amount, note: note)), device)
    }

    package func vouchWithdrawal(_ vouch: EntryID, by device: DeviceID) throws(CommunityRefusal) -> EntryDraft {
        let member = fold.facts.members[try author(device)].id
        guard state.vouches[vouch]?.author == member else { throw .unknownVouch }
        return try tried(.vouchWithdrawal, .vouchWithdrawal(vouch), device)
    }

    package func label(
        _ subject: LabelBody.Subject, _ label: String, reason: String, by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        _ = try allowed(.label, "label", device)
        return try tried(.label, .label(LabelBody(subject: subject, label: label, reason: reason)), device)
    }

    package func labelWithdrawal(
        _ label: EntryID, reason: String, by device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        _ = try allowed(.label, "take labels back", device)
        guard state.labels[label] != nil else { throw .unknownLabel }
        return try tried(
            .labelWithdrawal, .labelWithdrawal(LabelWithdrawalBody(label: label, reason: reason)), device)
    }

    /// For more loose ends than one entry can build on, or to say that one has seen them.
    package func acknowledgement(by device: DeviceID) throws(CommunityRefusal) -> EntryDraft {
        _ = try author(device)
        return try tried(.acknowledgement, .acknowledgement, device)
    }

    // MARK: Checks

    private func author(_ device: DeviceID) throws(CommunityRefusal) -> Int {
        guard state.charter != nil else { throw .notFounded }
        guard !state.updatesNeeded.contains(nil) else { throw .updateNeeded }
        guard let known = state.devices[device], state.isMember(known.member),
            let index = fold.facts.index(of: known.member)
        else { throw .notAMember }
        guard known.standing == .good else { throw .deviceEnded }
        return index
    }

    private func allowed(
        _ permission: Permissions, _ what: String, _ device: DeviceID
    ) throws(CommunityRefusal) -> (author: Int, roles: [Role]) {
        let author = try author(device)
        let held = state.members[fold.facts.members[author].id]?.roles ?? []
        let roles = held.filter { state.charter?.allows($0, permission) ?? false }.sorted()
        guard !roles.isEmpty else {
            throw .notAllowed(what, roles: Role.allCases.filter { state.charter?.allows($0, permission) ?? false })
        }
        return (author, roles)
    }

    /// Somebody of this rank, or with this role, must stand below the best of `roles`.
    private func outrank(_ rank: Rank, _ roles: [Role], _ role: Role) throws(CommunityRefusal) {
        guard let own = roles.map(\.rank).min(), own < rank else { throw .outranked(role) }
    }

    private func outrank(_ member: CommunityState.Member, _ roles: [Role]) throws(CommunityRefusal) {
        guard let highest = member.roles.min() else { return }
        try outrank(highest.rank, roles, highest)
    }

    private func open(_ proposal: EntryID) throws(CommunityRefusal) -> Int {
        guard let known = state.proposals[proposal], let place = fold.graph.places[proposal] else {
            throw .unknownProposal
        }
        guard known.outcome == .open else { throw .proposalEnded }
        return place
    }

    private static func draft(
        _ kind: EntryKind, _ body: GovernanceBody, parents: [EntryID], head: EntryID
    ) throws(CommunityRefusal) -> EntryDraft {
        let bytes = GovernanceMessage(parents: parents, body: body).encoded
        do throws(DecodeError) { _ = try GovernanceMessage(kind: kind, bytes: bytes) } catch { throw .invalid(error) }
        return EntryDraft(kind: kind, isCritical: true, retention: .permanent, body: bytes, governance: head)
    }

    /// The draft, if an entry made of it would count.
    private func tried(
        _ kind: EntryKind, _ body: GovernanceBody, _ device: DeviceID
    ) throws(CommunityRefusal) -> EntryDraft {
        let draft = try Self.draft(kind, body, parents: parents, head: head)
        for object in Self.objects(of: body) where state.updatesNeeded.contains(object) { throw .updateNeeded }
        var fold = fold
        guard fold.wouldCount(kind, body, parents: parents, device) else { throw .withoutEffect }
        return draft
    }
}

extension CommunityCore {
    /// What an act is about, as an entry of a later version may name it.
    private static func objects(of body: GovernanceBody) -> [Bytes32] {
        switch body {
        case .inviteClose(let body): [body.invite.bytes]
        case .admit(let id), .vouchWithdrawal(let id): [id.bytes]
        case .roleGrant(let body): [body.member.bytes]
        case .roleRemoval(let body): [body.member.bytes]
        case .memberRemoval(let body): [body.member.bytes]
        case .vote(let body): [body.proposal.bytes]
        case .close(let body): [body.proposal.bytes]
        case .vouch(let body): [body.member.bytes]
        case .labelWithdrawal(let body): [body.label.bytes]
        default: []
        }
    }
}

extension GovernanceFold {
    /// Tries an entry that is on top of everything.
    fileprivate mutating func wouldCount(
        _ kind: EntryKind, _ body: GovernanceBody, parents: [EntryID], _ device: DeviceID
    ) -> Bool {
        let last = graph.knownIndex(of: device).map { graph.devices[$0].nodes.map { graph.nodes[$0].entry.sequence } }
        let entry = GovernanceEntry(
            tried: kind, device: device, sequence: (last?.max() ?? .none).next, parents: parents, body: body)
        let places = insert(entry)
        guard let place = places.first else { return false }
        judgeLast(place, closes: kind == .close)
        return hasEffect(place)
    }

    fileprivate func invitesUsed(by member: Int) -> Int {
        var memo = memo
        return facts.members[member].invites.reduce(0) { used, invite in
            used + (answered(&memo) { placesTaken(of: invite, by: member, &$0) } ?? 0)
        }
    }

    fileprivate func soundCloses(of proposal: Int) -> [(id: EntryID, owner: Int, body: CloseBody)] {
        (facts.closesOf[proposal] ?? []).filter(isSignature).sorted(by: graph.precedes)
            .compactMap { place in
                guard case .close(let body) = graph.nodes[place].entry.body, let owner = facts.acts[place].owner else {
                    return nil
                }
                return (graph.nodes[place].entry.id, owner, body)
            }
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// What somebody writes who governs without the right to, or beyond it.
struct GovernancePlots {
    /// Who plots.
    let person: KeyPair
    let device: KeyPair
    /// As far as the plotter knows.
    let community: CommunityCore
    /// Whom it is to hit.
    let target: (member: MemberID, device: DeviceID)
    let accomplice: MemberID

    private func draft(_ kind: EntryKind, _ body: GovernanceBody) -> EntryDraft {
        let bytes = GovernanceMessage(parents: community.parents, body: body).encoded
        return EntryDraft(kind: kind, isCritical: true, body: bytes, governance: community.head)
    }

    /// Nothing counts any more that the target wrote.
    private var cut: FeedCut { FeedCut(device: target.device, point: .start) }

    // MARK: In the plotter's own feed, well formed and signed

    static let usurpationsCount: UInt64 = 14

    /// Acts of somebody who has no right to them.
    func usurpation(_ number: UInt64) -> EntryDraft? {
        let own = person.member
        switch number % Self.usurpationsCount {
        case 0:
            return draft(
                .memberRemoval, .memberRemoval(MemberRemovalBody(member: target.member, cuts: [cut], reason: "")))
        case 1:
            let founder = community.state.members.values.first { $0.roles.contains(.founder) }?.id ?? target.member
            let body = RoleRemovalBody(member: founder, role: .founder, cuts: [], reason: "")
            return draft(.roleRemoval, .roleRemoval(body))
        case 2: return draft(.roleGrant, .roleGrant(RoleGrantBody(member: own, role: .admin)))
        case 3: return draft(.roleGrant, .roleGrant(RoleGrantBody(member: accomplice, role: .founder)))
        case 4:
            // Signed by a member's key, but not by that of the device's member.
            let body = DeviceRevocationBody(of: cut, in: community.community, reason: "", by: person)
            return draft(.deviceRevocation, .deviceRevocation(body))
        case 5:
            return community.state.invites.keys.min().map {
                draft(.inviteClose, .inviteClose(InviteCloseBody(invite: $0, joins: [])))
            }
        case 6: return amendment
        case 7: return vote(.yes)
        case 8: return vote(.no)
        case 9: return close(passed: true)
        case 10:
            // Takes a role from itself, and in passing cuts somebody else's device.
            let body = RoleRemovalBody(member: own, role: .trader, cuts: [cut], reason: "")
            return draft(.roleRemoval, .roleRemoval(body))
        case 11: return draft(EntryKind(0x00F0), .unknown(object: nil))
        case 12: return community.state.members[target.member].map { draft(.admit, .admit($0.since)) }
        default: return vote(.yes)
        }
    }

    /// The community is to be ended by the plotter alone.
    private var amendment: EntryDraft? {
        guard var charter = community.state.charter, let digest = community.state.charterDigest else { return nil }
        charter.previous = digest
        charter.closers = [person.member]
        let body = ProposalBody(charter: digest, title: "all power to me", text: "", action: .amend(charter.encoded))
        return draft(.proposal, .proposal(body))
    }

    private var openProposals: [CommunityState.Proposal] {
        community.state.proposals.values.filter { $0.outcome == .open }.sorted { $0.id < $1.id }
    }

    func vote(_ choice: VoteBody.Choice) -> EntryDraft? {
        openProposals.last.map { draft(.vote, .vote(VoteBody(proposal: $0.id, choice: choice))) }
    }

    /// An end of what the plotter wants, with those votes that suit it, and an electorate that makes them enough.
    func close(passed: Bool) -> EntryDraft? {
        let wanted = openProposals.first { $0.author == person.member } ?? openProposals.first
        return wanted.map { proposal in
            let votes = proposal.votes.filter { passed == ($0.choice == .yes) }.map(\.id).sorted()
            let body = CloseBody(
                proposal: proposal.id, passed: passed, electorate: max(1, votes.count), votes: votes, countersigned: [])
            return draft(.close, .close(body))
        }
    }

    /// No vote counts, so that there are too few.
    func rejection(of proposal: EntryID, electorate: Int) -> EntryDraft {
        draft(
            .close,
            .close(
                CloseBody(proposal: proposal, passed: false, electorate: electorate, votes: [], countersigned: [])))
    }

    // MARK: By an admin who is corrupted

    static let corruptionsCount: UInt64 = 8

    /// What it may do, done to whom it wants to be rid of, and what it may not.
    func corruption(_ number: UInt64) -> EntryDraft? {
        let reason = "\(number)"
        switch number % Self.corruptionsCount {
        case 0:
            return draft(
                .memberRemoval, .memberRemoval(MemberRemovalBody(member: target.member, cuts: [cut], reason: reason)))
        case 1: return draft(.roleGrant, .roleGrant(RoleGrantBody(member: accomplice, role: .moderator)))
        case 2:
            let body = RoleRemovalBody(member: accomplice, role: .moderator, cuts: [], reason: reason)
            return draft(.roleRemoval, .roleRemoval(body))
        case 3: return amendment
        case 4: return close(passed: true)
        case 5: return close(passed: false)
        case 6: return draft(.roleGrant, .roleGrant(RoleGrantBody(member: accomplice, role: .admin)))
        default: return draft(.roleGrant, .roleGrant(RoleGrantBody(member: target.member, role: .trader)))
        }
    }

    // MARK: In nobody's feed: what no replica may take

    static let forgeriesCount: UInt64 = 5

    /// - Parameters:
    ///   - point: behind which it would stand in the plotter's feed.
    ///   - intruder: a key that belongs to nobody.
    func forgery(_ number: UInt64, behind point: FeedPoint, intruder: KeyPair, time: HybridTime) -> Entry? {
        let certificate = DeviceCertificate(
            member: target.member, device: intruder.device, signature: person.sign(intruder.publicKey.raw))
        switch number % Self.forgeriesCount {
        case 0:
            // Another encoding of an act: something follows that nobody reads.
            let act = draft(.acknowledgement, .acknowledgement)
            let encoded = EntryDraft(
                kind: act.kind, isCritical: true, body: act.body + [0x78, 0x01], governance: act.governance)
            return entry(encoded, behind: point, by: device, time: time)
        case 1:
            // A device for somebody else, certified by the wrong person.
            return entry(
                draft(.deviceCertificate, .deviceCertificate(certificate)), behind: .start, by: intruder, time: time)
        case 2:
            // In by an invite whose key the intruder hasn't.
            guard let invite = community.state.invites.values.min(by: { $0.id < $1.id }) else { return nil }
            var body = JoinBody(
                invite: invite.id, in: community.community,
                certificate: DeviceCertificate(of: intruder.device, at: community.community.bytes, by: intruder),
                nickname: "intruder", inviteKey: intruder)
            body.inviteKey = invite.body.key
            return entry(draft(.join, .join(body)), behind: .start, by: intruder, time: time)
        case 3:
            // The end of somebody else's device, in the name of its member.
            var body = DeviceRevocationBody(of: cut, in: community.community, reason: "", by: person)
            body.member = target.member
            return entry(
                draft(.deviceRevocation, .deviceRevocation(body)), behind: point, by: device, time: time)
        default:
            // What somebody else wrote, under that signature, at another place.
            return entry(draft(.acknowledgement, .acknowledgement), behind: point, by: device, time: time).forged
        }
    }

    func entry(_ draft: EntryDraft, behind point: FeedPoint, by key: KeyPair, time: HybridTime) -> Entry {
        let content = Entry.Content(salt: .zero, body: draft.body)
        let header = EntryHeader(
            kind: draft.kind, isCritical: draft.isCritical, retention: .permanent, bodyBytesCount: draft.body.count,
            sequence: point.sequence.next, time: time, community: community.community, device: key.device,
            previous: point.id, governance: draft.governance, bodyDigest: content.digest)
        return Entry(signing: header, content: content, with: key)
    }
}

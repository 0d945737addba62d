// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiJournal

/// What concerns whom, by place in the graph, judged or not.
struct GovernanceFacts: Sendable {
    /// An entry that gives a role, if it counts.
    struct Grant: Sendable {
        let place: Int
        let role: Role
    }

    /// An entry that takes a role, or with `role` nil everything, if it counts.
    struct Removal: Sendable {
        let place: Int
        let role: Role?
        let cuts: [FeedCut]
        /// The member's own act: it takes what the member had, and no more.
        let isOwn: Bool
        /// Where the cuts were stated: what stands in this one's past was known. A close's is the proposal.
        let stated: Int
    }

    struct Member: Sendable {
        var id: MemberID
        var grants: [Grant] = []
        var removals: [Removal] = []
        var invites: [Int] = []
        /// Founding, joins, certificates: entries that name the member.
        var certificates: [Int] = []
    }

    /// What an entry is, in few words, for judging it without its body.
    struct Act: Sendable {
        enum Kind: Sendable {
            case founding
            /// By which a member deals with its own devices and roles; no rank counts.
            case own
            case join
            case close
            case invite
            case inviteClose
            case admit
            case roleGrant
            case roleRemoval
            case memberRemoval
            case vouch
            case vouchWithdrawal
            case labelWithdrawal
            case vote
            case proposal
            case label
            case acknowledgement
            case unknown
        }

        var kind: Kind
        /// The member whose device wrote it, as the entry's own past says.
        var owner: Int?
        var needs: Permissions = []
        /// A member's index or an entry's place, as the kind has it.
        var subject: Int?
        var role: Role = .member
    }

    private(set) var members: [Member] = []
    private(set) var acts: [Act] = []
    private var memberIndex: [MemberID: Int] = [:]
    /// By place of the invite, those with its key, in the order in which they count.
    private(set) var joins: [Int: [Int]] = [:]
    private(set) var inviteCloses: [Int: [Int]] = [:]
    /// Those that have an end, in the order in which these came.
    private(set) var endedInvites: [Int] = []
    /// By place of the join.
    private(set) var admits: [Int: [Int]] = [:]
    /// By place of the proposal.
    private(set) var votes: [Int: [Int]] = [:]
    private(set) var closesOf: [Int: [Int]] = [:]
    private(set) var closes: [Int] = []
    private(set) var founding: Int?

    func index(of member: MemberID) -> Int? { memberIndex[member] }

    private mutating func member(_ id: MemberID) -> Int {
        if let index = memberIndex[id] { return index }
        memberIndex[id] = members.count
        members.append(Member(id: id))
        return members.count - 1
    }

    /// Places come in order.
    mutating func take(_ place: Int, of graph: GovernanceGraph) {
        let entry = graph.nodes[place].entry
        let owner = owner(of: place, in: graph)
        func at(_ id: EntryID) -> Int { graph.places[id] ?? place }
        var act = Act(kind: .own, owner: owner)
        switch entry.body {
        case .founding(let body):
            act.kind = .founding
            founding = founding ?? place
            let founder = member(body.certificate.member)
            members[founder].certificates.append(place)
            members[founder].grants.append(Grant(place: place, role: .founder))
            members[founder].grants.append(Grant(place: place, role: .member))
        case .deviceCertificate(let certificate):
            members[member(certificate.member)].certificates.append(place)
        case .deviceRevocation: break
        case .invite:
            act = Act(kind: .invite, owner: owner, needs: .invite)
            if let owner { members[owner].invites.insertSorted(place, of: graph) }
        case .inviteClose(let body):
            act = Act(kind: .inviteClose, owner: owner, needs: .admit, subject: at(body.invite))
            if inviteCloses[at(body.invite)] == nil { endedInvites.append(at(body.invite)) }
            inviteCloses[at(body.invite), default: []].append(place)
        case .join(let body):
            let role = Self.role(of: at(body.invite), in: graph)
            act = Act(kind: .join, owner: owner, subject: at(body.invite), role: role)
            if case .invite(let terms) = graph.nodes[at(body.invite)].entry.body, terms.key == body.inviteKey {
                joins[at(body.invite), default: []].insertSorted(place, of: graph)
            }
            let joiner = member(body.certificate.member)
            members[joiner].certificates.append(place)
            members[joiner].grants.append(Grant(place: place, role: role))
        case .admit(let id):
            act = Act(kind: .admit, owner: owner, needs: .admit, subject: at(id))
            guard case .join(let body) = graph.nodes[at(id)].entry.body else { break }
            act.role = Self.role(of: at(body.invite), in: graph)
            admits[at(id), default: []].append(place)
            members[member(body.certificate.member)].grants.append(Grant(place: place, role: act.role))
        case .leave(let body):
            guard let owner else { break }
            members[owner].removals.append(
                Removal(place: place, role: nil, cuts: body.cuts, isOwn: true, stated: place))
        case .roleGrant(let body):
            let subject = member(body.member)
            act = Act(kind: .roleGrant, owner: owner, needs: .grantRoles, subject: subject, role: body.role)
            members[subject].grants.append(Grant(place: place, role: body.role))
        case .roleRemoval(let body):
            let subject = member(body.member)
            if owner != subject {
                act = Act(kind: .roleRemoval, owner: owner, needs: .removeRoles, subject: subject, role: body.role)
            }
            members[subject].removals.append(
                Removal(place: place, role: body.role, cuts: body.cuts, isOwn: owner == subject, stated: place))
        case .memberRemoval(let body):
            let subject = member(body.member)
            act = Act(kind: .memberRemoval, owner: owner, needs: .removeMembers, subject: subject)
            members[subject].removals.append(
                Removal(place: place, role: nil, cuts: body.cuts, isOwn: false, stated: place))
        case .proposal(let body):
            act = Act(kind: .proposal, owner: owner, needs: body.action.isFundamental ? .proposeAmendment : .propose)
        case .vote(let body):
            act = Act(kind: .vote, owner: owner, needs: .vote, subject: at(body.proposal))
            votes[at(body.proposal), default: []].append(place)
        case .close(let body):
            act = Act(kind: .close, owner: owner, subject: at(body.proposal))
            take(body, place, of: graph)
        case .vouch(let body):
            act = Act(kind: .vouch, owner: owner, needs: .vouch, subject: member(body.member))
        case .vouchWithdrawal(let id): act = Act(kind: .vouchWithdrawal, owner: owner, subject: at(id))
        case .label: act = Act(kind: .label, owner: owner, needs: .label)
        case .labelWithdrawal(let body):
            act = Act(kind: .labelWithdrawal, owner: owner, needs: .label, subject: at(body.label))
        case .acknowledgement: act.kind = .acknowledgement
        case .unknown: act.kind = .unknown
        }
        acts.append(act)
    }

    /// By the first certificate in the device's feed among those that the entry builds on, or the one that it is.
    private mutating func owner(of place: Int, in graph: GovernanceGraph) -> Int? {
        var best: GovernanceEntry?
        for certificate in graph.devices[graph.nodes[place].device].certificates
        where certificate == place || graph.nodes[place].past.contains(certificate) {
            let entry = graph.nodes[certificate].entry
            if let best, (best.sequence, best.id) < (entry.sequence, entry.id) { continue }
            best = entry
        }
        return best.flatMap(Self.certified).map { member($0) }
    }

    private mutating func take(_ body: CloseBody, _ place: Int, of graph: GovernanceGraph) {
        closes.append(place)
        guard let proposal = graph.places[body.proposal] else { return }
        closesOf[proposal, default: []].append(place)
        guard body.passed, case .proposal(let proposed) = graph.nodes[proposal].entry.body else { return }
        switch proposed.action {
        case .resolution, .amend: break
        case .grant(let body): members[member(body.member)].grants.append(Grant(place: place, role: body.role))
        case .removeRole(let body):
            members[member(body.member)].removals.append(
                Removal(place: place, role: body.role, cuts: body.cuts, isOwn: false, stated: proposal))
        case .removeMember(let body):
            members[member(body.member)].removals.append(
                Removal(place: place, role: nil, cuts: body.cuts, isOwn: false, stated: proposal))
        }
    }

    static func certified(by entry: GovernanceEntry) -> MemberID? {
        switch entry.body {
        case .founding(let body): body.certificate.member
        case .deviceCertificate(let certificate): certificate.member
        case .join(let body): body.certificate.member
        default: nil
        }
    }

    /// What a join by this invite makes of one.
    static func role(of invite: Int, in graph: GovernanceGraph) -> Role {
        if case .invite(let body) = graph.nodes[invite].entry.body { return body.role }
        return .member
    }
}

extension [Int] {
    fileprivate mutating func insertSorted(_ place: Int, of graph: GovernanceGraph) {
        var index = count
        while index > 0, graph.precedes(place, self[index - 1]) { index -= 1 }
        if index > 0, self[index - 1] == place { return }
        insert(place, at: index)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// One community with somebody of each role, and what the standard charter lets each of them do.
@Suite("Who may do what")
struct PermissionTests {
    static let roles: [Role] = [
        .founder, .admin, .moderator, .arbiter, .witness, .trader, .member, .guest, .observer,
    ]
    /// Acts in the order of the columns.
    static let acts = [
        "invite", "admit", "grant trader", "grant admin", "demote moderator", "remove member", "remove admin",
        "propose", "vote", "close", "vouch", "label", "leave",
    ]
    static let table: [Role: String] = [
        .founder: "yyyyyyyyyyyyy",
        .admin: "yyynyynyynyyy",
        .moderator: "yynnnynyynyyy",
        .arbiter: "ynnnnnnyynyny",
        .witness: "ynnnnnnyynyny",
        .trader: "ynnnnnnyynyny",
        .member: "ynnnnnnyynyny",
        .guest: "nnnnnnnnnnnny",
        .observer: "nnnnnnnnnnnny",
    ]

    struct Cast {
        var town: Town
        var who: [Role: Int]
        var pending: EntryID
        var proposal: EntryID
    }

    static func cast() throws -> Cast {
        var town = try Town(change: { $0.admission = .approval })
        var who: [Role: Int] = [.founder: 0]
        for role in roles.dropFirst() {
            let newcomer = town.newcomer()
            town.catchUp(newcomer)
            let invite = try town.act(0) { core, device throws(CommunityRefusal) in
                try core.invite(
                    key: KeyPair(seed: GovernanceCodingTests.id(role.rawValue)), role: role >= .member ? role : .member,
                    uses: 1, expiry: .max >> 17, note: "", by: device)
            }
            let person = town.people[newcomer]
            let link = try InviteLink(
                community: town.community, invite: invite, seed: GovernanceCodingTests.id(role.rawValue), name: "",
                entryPoints: try town.link.entryPoints)
            let join = town.write(
                newcomer,
                try CommunityCore.join(link, nickname: "\(role)", memberKey: person.memberKey, device: person.device))
            try town.act(0) { core, device throws(CommunityRefusal) in try core.admit(join, by: device) }
            if role < .member {
                try town.act(0) { core, device throws(CommunityRefusal) in
                    try core.roleGrant(role, to: person.member, by: device)
                }
            }
            who[role] = newcomer
        }
        let stranger = town.newcomer()
        let person = town.people[stranger]
        let join = town.write(
            stranger,
            try CommunityCore.join(town.link, nickname: "S", memberKey: person.memberKey, device: person.device))
        town.catchUpAll()
        let proposal = try town.act(0) { core, device throws(CommunityRefusal) in
            try core.proposal(title: "T", text: "", action: .resolution, by: device)
        }
        return Cast(town: town, who: who, pending: join, proposal: proposal)
    }

    /// Each act as its author would draft it, and as a dishonest author would write it anyway.
    static func body(_ act: Int, _ cast: Cast, _ role: Role) throws -> (EntryKind, GovernanceBody) {
        func member(_ role: Role) throws -> MemberID { cast.town.people[try #require(cast.who[role])].member }
        let core = cast.town.people[0].core
        let heads = cast.town.heads
        let other: Role = role == .member ? .trader : .member
        switch act {
        case 0:
            return (
                .invite, .invite(InviteBody(key: GovernanceCodingTests.id(1), uses: 1, expiry: 1 << 40, note: ""))
            )
        case 1: return (.admit, .admit(cast.pending))
        case 2: return (.roleGrant, .roleGrant(RoleGrantBody(member: try member(other), role: .arbiter)))
        case 3: return (.roleGrant, .roleGrant(RoleGrantBody(member: try member(other), role: .admin)))
        case 4:
            let target = try member(role == .moderator ? .admin : .moderator)
            let gone: Role = role == .moderator ? .admin : .moderator
            return (
                .roleRemoval,
                .roleRemoval(
                    RoleRemovalBody(member: target, role: gone, cuts: core.cuts(of: target, heads), reason: ""))
            )
        case 5, 6:
            let target = try member(act == 5 ? other : role == .admin ? .founder : .admin)
            return (
                .memberRemoval,
                .memberRemoval(MemberRemovalBody(member: target, cuts: core.cuts(of: target, heads), reason: ""))
            )
        case 7:
            let charter = try #require(core.state.charterDigest)
            return (
                .proposal, .proposal(ProposalBody(charter: charter, title: "", text: "", action: .resolution))
            )
        case 8: return (.vote, .vote(VoteBody(proposal: cast.proposal, choice: .yes)))
        case 9:
            let voters = core.state.members.values.filter { $0.roles.contains { $0.rank <= .member } }.count
            return (
                .close,
                .close(
                    CloseBody(
                        proposal: cast.proposal, passed: false, electorate: voters, votes: [], countersigned: []))
            )
        case 10: return (.vouch, .vouch(VouchBody(member: try member(other), amount: 1, note: "")))
        case 11:
            return (.label, .label(LabelBody(subject: .member(try member(other)), label: "spam", reason: "")))
        default: return (.leave, .leave(LeaveBody(cuts: [])))
        }
    }

    static func draft(_ act: Int, _ body: GovernanceBody, _ cast: Cast, _ who: Int) throws(CommunityRefusal) {
        let (core, device) = (cast.town.people[who].core, cast.town.people[who].device)
        switch body {
        case .invite(let body):
            _ = try core.invite(
                key: KeyPair(seed: GovernanceCodingTests.id(1)), uses: body.uses, expiry: body.expiry, note: "",
                by: device)
        case .admit(let join): _ = try core.admit(join, by: device)
        case .roleGrant(let body): _ = try core.roleGrant(body.role, to: body.member, by: device)
        case .roleRemoval(let body):
            _ = try core.roleRemoval(body.role, from: body.member, heads: cast.town.heads, reason: "", by: device)
        case .memberRemoval(let body):
            _ = try core.memberRemoval(body.member, heads: cast.town.heads, reason: "", by: device)
        case .proposal(let body):
            _ = try core.proposal(title: "", text: "", action: body.action, by: device)
        case .vote(let body): _ = try core.vote(body.choice, on: body.proposal, by: device)
        case .close(let body): _ = try core.close(body.proposal, by: device)
        case .vouch(let body): _ = try core.vouch(for: body.member, amount: 1, note: "", by: device)
        case .label(let body): _ = try core.label(body.subject, body.label, reason: "", by: device)
        default: _ = try core.leave(heads: cast.town.heads, by: device)
        }
    }

    /// Whether the state shows that the entry has counted.
    static func counted(_ act: Int, _ id: EntryID, _ body: GovernanceBody, _ state: CommunityState) -> Bool {
        switch body {
        case .invite: state.invites[id] != nil
        case .admit(let join): state.pendingJoins[join] == nil
        case .roleGrant(let body): state.members[body.member]?.roles.contains(body.role) ?? false
        case .roleRemoval(let body): !(state.members[body.member]?.roles.contains(body.role) ?? true)
        case .memberRemoval(let body): !state.isMember(body.member)
        case .proposal: state.proposals[id] != nil
        case .vote(let body): state.proposals[body.proposal]?.votes.contains { $0.id == id } ?? false
        case .close(let body): state.proposals[body.proposal]?.outcome == .rejected(close: id)
        case .vouch: state.vouches[id] != nil
        case .label: state.labels[id] != nil
        default: state.members.values.contains { $0.ended == .left(id) }
        }
    }

    @Test(
        "Each role may do what the table says: drafts tell, and entries written anyway count or not", arguments: roles)
    func table(role: Role) throws {
        let cast = try Self.cast()
        let row = Array(try #require(Self.table[role]))
        let who = try #require(cast.who[role])
        for (act, name) in Self.acts.enumerated() {
            let (kind, body) = try Self.body(act, cast, role)
            var refusal: CommunityRefusal?
            do throws(CommunityRefusal) { try Self.draft(act, body, cast, who) } catch { refusal = error }
            #expect(
                (refusal == nil) == (row[act] == "y"), "\(role), \(name): \(refusal.map(\.description) ?? "drafted")")
            var town = cast.town
            let id = town.write(who, kind, body)
            town.catchUpAll()
            #expect(Self.counted(act, id, body, town.state) == (row[act] == "y"), "\(role), \(name) as written")
        }
    }

    @Test("A refusal says who may, and what to do")
    func refusals() throws {
        let cast = try Self.cast()
        let member = try #require(cast.who[.member])
        let refusal = cast.town.refusal(member) { core, device throws(CommunityRefusal) in
            try core.admit(cast.pending, by: device)
        }
        #expect(refusal == .notAllowed("admit", roles: [.founder, .admin, .moderator]))
        #expect(refusal?.description == "none of your roles may admit; ask founder, admin, moderator to do it")
        let founder = cast.town.people[0].member
        let admin = try #require(cast.who[.admin])
        let outranked = cast.town.refusal(admin) { core, device throws(CommunityRefusal) in
            try core.memberRemoval(founder, heads: [:], reason: "", by: device)
        }
        #expect(outranked == .outranked(.founder))
    }
}

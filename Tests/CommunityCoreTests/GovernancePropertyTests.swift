// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// Random histories of honest and dishonest people on replicas that hear of each other late or never.
@Suite("Governance is a function of the set of entries")
struct GovernancePropertyTests {
    /// Something that may be allowed or not, honestly drafted from what the author knows.
    static func honestAct(_ town: inout Town, _ who: Int) {
        let other = Int.random(in: town.people.indices, using: &town.random)
        let target = town.people[other].member
        let heads = town.heads
        let role = Role.allCases.randomElement(using: &town.random) ?? .member
        let choice = VoteBody.Choice.allCases.randomElement(using: &town.random) ?? .yes
        let kind = Int.random(in: 0..<12, using: &town.random)
        let proposals = town.people[who].core.state.proposals.keys.sorted()
        let proposal = proposals.randomElement(using: &town.random) ?? .none
        let pending = town.people[who].core.state.pendingJoins.keys.sorted().randomElement(using: &town.random)
        let name = "N\(town.milliseconds)"
        let invite = town.people[who].core.state.invites.keys.sorted().randomElement(using: &town.random)
        _ = try? town.alone(who) { core, device throws(CommunityRefusal) in
            switch kind {
            case 0: return try core.roleGrant(role, to: target, by: device)
            case 1: return try core.roleRemoval(role, from: target, heads: heads, reason: "", by: device)
            case 2: return try core.memberRemoval(target, heads: heads, reason: "", by: device)
            case 3: return try core.proposal(title: "", text: "", action: .resolution, by: device)
            case 4:
                let change = try core.amendment { charter in
                    charter.name = name
                    if !charter.closers.contains(target) { charter.closers.append(target) }
                }
                return try core.proposal(title: "", text: "", action: change, by: device)
            case 5, 6: return try core.vote(choice, on: proposal, by: device)
            case 7: return try core.close(proposal, by: device)
            case 8: return try core.admit(pending ?? .none, by: device)
            case 9: return try core.vouch(for: target, amount: 1, note: "", by: device)
            case 10: return try core.inviteClose(invite ?? .none, by: device)
            default:
                return try core.proposal(
                    title: "", text: "",
                    action: .removeMember(
                        MemberRemovalBody(member: target, cuts: core.cuts(of: target, heads), reason: "")),
                    by: device)
            }
        }
    }

    /// An authentic entry with any content, on anything that the author has ever seen.
    static func dishonestAct(_ town: inout Town, _ who: Int) {
        let ids = town.entries.map(\.entry.id)
        var parents: Set<EntryID> = []
        for _ in 0..<Int.random(in: 1...3, using: &town.random) {
            if let id = ids.randomElement(using: &town.random) { parents.insert(id) }
        }
        let other = town.people.indices.randomElement(using: &town.random) ?? 0
        let target = town.people[other].member
        let cuts = [
            FeedCut(
                device: town.people[other].device,
                point: Bool.random(using: &town.random) ? .start : town.people[other].point)
        ]
        let some = ids.randomElement(using: &town.random) ?? .none
        let role = Role.allCases.randomElement(using: &town.random) ?? .admin
        let kind = Int.random(in: 0..<9, using: &town.random)
        let fork: FeedPoint? = Int.random(in: 0..<12, using: &town.random) == 0 ? forkPoint(town, who) : nil
        let closes = town.entries.filter { $0.entry.header.kind == .close }.map(\.entry.id)
        let (entryKind, body): (EntryKind, GovernanceBody) =
            switch kind {
            case 0: (.roleGrant, .roleGrant(RoleGrantBody(member: target, role: role)))
            case 1: (.memberRemoval, .memberRemoval(MemberRemovalBody(member: target, cuts: cuts, reason: "x")))
            case 2: (.roleRemoval, .roleRemoval(RoleRemovalBody(member: target, role: role, cuts: cuts, reason: "x")))
            case 3: (.admit, .admit(some))
            case 4: (.vote, .vote(VoteBody(proposal: some, choice: .yes)))
            case 5:
                (
                    .close,
                    .close(
                        CloseBody(
                            proposal: some, passed: false, electorate: town.people.count, votes: [],
                            countersigned: closes.randomElement(using: &town.random).map { [$0] } ?? []))
                )
            case 6: (.leave, .leave(LeaveBody(cuts: [])))
            case 7:
                (
                    .deviceRevocation,
                    .deviceRevocation(
                        DeviceRevocationBody(
                            of: FeedCut(device: town.people[who].device, point: town.people[who].point),
                            in: town.community, reason: "", by: town.people[who].memberKey))
                )
            default: (.inviteClose, .inviteClose(InviteCloseBody(invite: some, joins: [])))
            }
        town.write(who, entryKind, body, on: Array(parents), at: fork)
    }

    private static func forkPoint(_ town: Town, _ who: Int) -> FeedPoint? {
        let own = town.entries.filter { $0.entry.header.device == town.people[who].device }
        return own.first.map { FeedPoint(sequence: $0.entry.header.sequence, id: $0.entry.id) }
    }

    static func history(seed: UInt64, acts: Int) throws -> Town {
        var town = try Town(seed: seed, uses: 9)
        for _ in 0..<4 { _ = try town.resident() }
        for role in [Role.admin, .admin, .moderator] {
            let who = try town.resident("R")
            town.write(0, .roleGrant, .roleGrant(RoleGrantBody(member: town.people[who].member, role: role)))
        }
        town.catchUpAll()
        for _ in 0..<acts {
            let who = Int.random(in: town.people.indices, using: &town.random)
            switch Int.random(in: 0..<10, using: &town.random) {
            case 0..<6: honestAct(&town, who)
            case 6: dishonestAct(&town, who)
            case 7 where town.people.count < 16:
                let newcomer = town.newcomer()
                let person = town.people[newcomer]
                town.write(
                    newcomer,
                    try CommunityCore.join(town.link, nickname: "n", memberKey: person.memberKey, device: person.device)
                )
            case 7, 8: town.catchUp(who)
            default:
                // A part of what there is, in any order.
                let part = town.entries.shuffled(using: &town.random).prefix(town.entries.count / 2)
                _ = town.people[who].core.insert(Array(part))
            }
        }
        return town
    }

    @Test("In any order, in any pieces, twice: state, tips and roster are the same", arguments: 0..<40)
    func permutations(seed: Int) throws {
        var town = try Self.history(seed: UInt64(seed), acts: 120)
        let whole = town.replica(town.entries, using: &town.random)
        for round in 0..<12 {
            var entries = town.entries.shuffled(using: &town.random)
            if round % 3 == 0 { entries = Array(town.entries.reversed()) }
            // What takes things back comes last of all.
            if round % 3 == 1 {
                let late: Set<EntryKind> = [.memberRemoval, .roleRemoval, .deviceRevocation, .close, .leave]
                entries =
                    town.entries.filter { !late.contains($0.entry.header.kind) }
                    + town.entries.filter { late.contains($0.entry.header.kind) }
            }
            if round % 4 == 3 { entries = town.entries }
            entries += entries.prefix(5)
            let core = town.replica(entries, pieces: 1 + round % 4, using: &town.random)
            #expect(core.state.digest == whole.state.digest, "seed \(seed), round \(round)")
            #expect(core.head == whole.head && core.parents == whole.parents, "seed \(seed), round \(round)")
            #expect(core.roster == whole.roster, "seed \(seed), round \(round)")
            #expect(core.missing == [])
        }
        town.catchUpAll()
        #expect(town.people.allSatisfy { $0.core.state.digest == whole.state.digest })
        #expect(whole.state.charter != nil && !whole.state.members.isEmpty)
    }

    @Test("What was folded and is not on disk leaves no trace", arguments: 0..<10)
    func undone(seed: Int) throws {
        var town = try Self.history(seed: UInt64(100 + seed), acts: 60)
        let kept = town.entries.filter { _ in Int.random(in: 0..<4, using: &town.random) > 0 }
        let gone = Set(town.entries.map(\.entry.id)).subtracting(kept.map(\.entry.id))
        var core = town.replica(town.entries, using: &town.random)
        _ = core.remove(gone.sorted())
        let without = town.replica(kept, using: &town.random)
        #expect(core.state.digest == without.state.digest)
        #expect(core.missing == without.missing)
        _ = core.insert(town.entries)
        #expect(core.state.digest == town.replica(town.entries, using: &town.random).state.digest)
    }

    @Test("Forks that proofs show are the same before and after the entries", arguments: 0..<10)
    func provenForks(seed: Int) throws {
        var town = try Self.history(seed: UInt64(200 + seed), acts: 60)
        let forks = [
            town.people[1].device: EntrySequence(2), town.people[5].device: EntrySequence(1),
        ]
        var before = CommunityCore(community: town.community)
        _ = before.addForks(forks)
        _ = before.insert(town.entries.shuffled(using: &town.random))
        var after = town.replica(town.entries, pieces: 3, using: &town.random)
        _ = after.addForks(forks)
        #expect(before.state.digest == after.state.digest && before.roster == after.roster)
    }
}

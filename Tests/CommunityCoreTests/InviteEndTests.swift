// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// An end of an invite lets nobody in any more; it takes no membership from those on whom others have built.
@Suite("Ends of invites remove nobody")
struct InviteEndTests {
    /// The same on every replica, whatever came when.
    private func expectSame(_ town: inout Town, sourceLocation: SourceLocation = #_sourceLocation) {
        town.catchUpAll()
        let digest = town.state.digest
        for round in 0..<12 {
            let entries = round == 0 ? town.entries.reversed() : town.entries.shuffled(using: &town.random)
            let core = town.replica(entries, pieces: 1 + round % 3, using: &town.random)
            #expect(core.state.digest == digest, sourceLocation: sourceLocation)
            #expect(core.roster == town.people[0].core.roster, sourceLocation: sourceLocation)
        }
    }

    /// The founder builds on all tips, eight at a time. False if it may not act.
    private func acknowledgeAll(_ town: inout Town) -> Bool {
        repeat {
            let act = try? town.act(0) { core, device throws(CommunityRefusal) in
                try core.acknowledgement(by: device)
            }
            guard act != nil else { return false }
        } while town.people[0].core.parents.count > 1
        return true
    }

    private func link(_ town: Town, _ invite: EntryID, _ key: KeyPair) throws -> InviteLink {
        try InviteLink(
            community: town.community, invite: invite, seed: key.seed, name: "Gear",
            entryPoints: town.link.entryPoints)
    }

    /// A new person with this link, who knows nothing but it; nobody has seen the join.
    private func join(_ town: inout Town, _ link: InviteLink) throws -> (who: Int, join: EntryID) {
        let who = town.newcomer()
        let person = town.people[who]
        let draft = try CommunityCore.join(link, nickname: "n", memberKey: person.memberKey, device: person.device)
        return (who, town.write(who, draft))
    }

    @Test("attack: a moderator's end that names nobody, and knows of nobody, leaves everybody in", arguments: 1...8)
    func empty(seed: Int) throws {
        var town = try Town(seed: UInt64(seed))
        let moderator = try town.resident("moderator")
        let grant = town.write(
            0, .roleGrant, .roleGrant(RoleGrantBody(member: town.people[moderator].member, role: .moderator)))
        let others = try (0..<5).map { try town.resident("M\($0)") }
        let proposal = try town.act(others[0]) { core, device throws(CommunityRefusal) in
            try core.proposal(title: "P", text: "", action: .resolution, by: device)
        }
        for voter in others {
            try town.act(voter) { core, device throws(CommunityRefusal) in
                try core.vote(.yes, on: proposal, by: device)
            }
        }
        try town.act(0) { core, device throws(CommunityRefusal) in try core.acknowledgement(by: device) }
        let before = town.state
        town.write(
            moderator, .inviteClose, .inviteClose(InviteCloseBody(invite: town.openInvite, joins: [])), on: [grant])
        town.catchUpAll()
        #expect(others.allSatisfy(town.isMember))
        #expect(town.state.members == before.members)
        #expect(town.state.proposals == before.proposals)
        #expect(town.state.invites[town.openInvite]?.isClosed == true)
        expectSame(&town)
    }

    @Test("Random histories: ends by whoever may, on anything old, take nobody's membership")
    func random() throws {
        var judged = 0
        for seed in 400..<416 as Range<UInt64> {
            var town = try GovernancePropertyTests.history(seed: seed, acts: 60)
            town.catchUpAll()
            // Somebody who may admit builds on all that there is; in some histories the founder can't any more.
            guard acknowledgeAll(&town) else { continue }
            judged += 1
            let members = town.state.members.values.filter { !$0.roles.isEmpty }.map(\.id).sorted()
            let ids = town.entries.map(\.entry.id)
            for who in town.people.indices {
                for invite in town.state.invites.keys.sorted() {
                    let parents = ids.shuffled(using: &town.random).prefix(2)
                    town.write(
                        who, .inviteClose, .inviteClose(InviteCloseBody(invite: invite, joins: [])), on: Array(parents))
                }
            }
            town.catchUpAll()
            #expect(members.allSatisfy(town.state.isMember), "seed \(seed)")
            expectSame(&town)
        }
        #expect(judged >= 8)
    }

    @Test("Who came with a leaked link after the end stays out, also when the end is heard of last")
    func leaked() throws {
        var town = try Town()
        let known = try town.resident("known")
        try town.act(0) { [invite = town.openInvite] core, device throws(CommunityRefusal) in
            try core.inviteClose(invite, by: device)
        }
        let (late, join) = try join(&town, town.link)
        town.catchUpAll()
        #expect(!town.isMember(late) && town.isMember(known))
        #expect(town.state.pendingJoins[join]?.reason == .inviteClosed)
        // What members do, and what admitters do who know of the end, brings nobody in.
        for (who, parents) in [(known, [join]), (0, [town.people[0].core.head, join])] {
            town.write(who, .acknowledgement, .acknowledgement, on: parents)
        }
        expectSame(&town)
        #expect(!town.isMember(late))
    }

    @Test("A sponsor's end takes back nobody on whom was built, and their places stay taken")
    func sponsor() throws {
        var town = try Town()
        let sponsor = try town.resident("sponsor")
        let max = Charter.standard(name: "", founder: town.people[0].member).policy(.member).invitesMax
        let key = KeyPair(from: &town.source)
        let invite = try town.act(sponsor) { core, device throws(CommunityRefusal) in
            try core.invite(key: key, uses: max, expiry: .max >> 17, note: "", by: device)
        }
        let first = try join(&town, link(town, invite, key))
        let second = try join(&town, link(town, invite, key))
        town.catchUpAll()
        try town.act(0) { core, device throws(CommunityRefusal) in try core.acknowledgement(by: device) }
        // One more, on whom nobody has built: leaving that one out is up to the sponsor.
        let third = try join(&town, link(town, invite, key))
        town.write(sponsor, .inviteClose, .inviteClose(InviteCloseBody(invite: invite, joins: [])), on: [invite])
        town.catchUpAll()
        #expect(town.isMember(first.who) && town.isMember(second.who) && !town.isMember(third.who))
        let free = KeyPair(from: &town.source)
        let head = town.people[sponsor].core.head
        func again(_ uses: Int, on parent: EntryID) -> EntryID {
            let body = InviteBody(key: free.device.bytes, uses: uses, expiry: .max >> 17, note: "")
            return town.write(sponsor, .invite, .invite(body), on: [parent])
        }
        let fits = again(max - 2, on: head)
        let overdrawn = again(1, on: fits)
        expectSame(&town)
        #expect(town.state.invites[fits] != nil)
        #expect(town.state.invites[overdrawn] == nil)
    }

    @Test("A decision after an end is the same when everything comes at once, with what was written after it")
    func together() throws {
        var town = try Town()
        let sponsor = try town.resident("sponsor")
        let key = KeyPair(from: &town.source)
        let invite = try town.act(sponsor) { core, device throws(CommunityRefusal) in
            try core.invite(key: key, uses: 3, expiry: .max >> 17, note: "", by: device)
        }
        let guest = try join(&town, link(town, invite, key))
        town.catchUpAll()
        try town.act(0) { core, device throws(CommunityRefusal) in try core.acknowledgement(by: device) }
        town.write(sponsor, .inviteClose, .inviteClose(InviteCloseBody(invite: invite, joins: [])), on: [invite])
        town.catchUpAll()
        try town.decide(.resolution, by: sponsor, yes: [sponsor, guest.who])
        for _ in 0..<3 {
            try town.act(0) { core, device throws(CommunityRefusal) in try core.acknowledgement(by: device) }
        }
        #expect(town.isMember(guest.who))
        expectSame(&town)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

@Suite("The rules of governance")
struct GovernanceRulesTests {
    @Test("A founding names the community, and a newcomer joins by the link alone")
    func joining() throws {
        var town = try Town()
        let who = town.newcomer()
        let person = town.people[who]
        town.write(
            who,
            try CommunityCore.join(town.link, nickname: "Zoë", memberKey: person.memberKey, device: person.device))
        town.catchUpAll()
        #expect(town.roles(who) == [.member])
        #expect(town.roles(0) == [.founder, .member])
        let member = try #require(town.state.members[person.member])
        #expect(member.nickname == "Zoë" && member.sponsor == town.people[0].member)
        #expect(town.people[0].core.roster.devices[person.device]?.open == .all)
        #expect(town.people[who].core.state.digest == town.state.digest)
        #expect(town.entries.allSatisfy { GovernanceEntry.isAuthentic($0.entry) })
    }

    @Test("Uses of an invite beyond its limit stay pending until an admin signs")
    func uses() throws {
        var town = try Town(uses: 2)
        let people = (0..<3).map { _ in town.newcomer() }
        for who in people {
            let person = town.people[who]
            town.write(
                who, try CommunityCore.join(town.link, nickname: "", memberKey: person.memberKey, device: person.device)
            )
        }
        town.catchUpAll()
        #expect(people.count { town.isMember($0) } == 2)
        let pending = try #require(town.state.pendingJoins.values.first)
        #expect(town.state.pendingJoins.count == 1 && pending.reason == .inviteUsedUp)
        try town.act(0) { core, device throws(CommunityRefusal) in try core.admit(pending.id, by: device) }
        #expect(people.allSatisfy { town.isMember($0) })
        #expect(town.state.pendingJoins.isEmpty)
    }

    @Test("Once an invite was ended, a join that turns up with a lower place takes nobody's")
    func lateJoin() throws {
        var town = try Town(uses: 1)
        let first = try town.resident()
        let invite = try town.link.invite
        try town.act(0) { core, device throws(CommunityRefusal) in try core.inviteClose(invite, by: device) }
        let late = town.newcomer()
        let person = town.people[late]
        for _ in 0..<8 {
            town.write(
                late,
                try CommunityCore.join(town.link, nickname: "", memberKey: person.memberKey, device: person.device))
        }
        town.catchUpAll()
        #expect(town.isMember(first) && !town.isMember(late))
    }

    @Test("Removal beats a concurrent grant of the same, and not a later one")
    func removalBeatsGrant() throws {
        var town = try Town()
        let admin = try town.resident(.admin)
        let who = try town.resident(.moderator)
        let target = town.people[who].member
        try town.alone(admin) { [heads = town.heads] core, device throws(CommunityRefusal) in
            try core.roleRemoval(.moderator, from: target, heads: heads, reason: "r", by: device)
        }
        // The founder, not knowing, gives it again.
        town.write(0, .roleGrant, .roleGrant(RoleGrantBody(member: target, role: .moderator)))
        town.catchUpAll()
        #expect(town.roles(who) == [.member])
        try town.act(0) { core, device throws(CommunityRefusal) in
            try core.roleGrant(.moderator, to: target, by: device)
        }
        #expect(town.roles(who) == [.member, .moderator])
    }

    @Test("A removal takes what its author could take: who was made an equal meanwhile stays one")
    func removalOfAnEqual() throws {
        var town = try Town()
        let admin = try town.resident(.admin)
        let who = try town.resident()
        let target = town.people[who].member
        try town.alone(admin) { [heads = town.heads] core, device throws(CommunityRefusal) in
            try core.memberRemoval(target, heads: heads, reason: "r", by: device)
        }
        try town.alone(0) { core, device throws(CommunityRefusal) in try core.roleGrant(.admin, to: target, by: device)
        }
        town.catchUpAll()
        #expect(town.roles(who) == [.admin])
    }

    @Test("Mutual removals end the same everywhere, in each order of arrival")
    func mutualRemovals() throws {
        // Each was promoted without the other's knowledge, and takes the other for a plain member.
        var town = try Town()
        let people = try (0..<3).map { _ in try town.resident() }
        let start = town.people[0].core.parents
        var grants: [EntryID] = []
        for who in people {
            grants.append(
                town.write(
                    0, .roleGrant, .roleGrant(RoleGrantBody(member: town.people[who].member, role: .admin)), on: start))
        }
        for (index, who) in people.enumerated() {
            let victim = people[(index + 1) % 3]
            town.write(
                who, .memberRemoval,
                .memberRemoval(
                    MemberRemovalBody(
                        member: town.people[victim].member,
                        cuts: [FeedCut(device: town.people[victim].device, point: town.people[victim].point)],
                        reason: "")), on: [grants[index]])
        }
        var digests: Set<Bytes32> = []
        for _ in 0..<50 {
            let shuffled = town.entries.shuffled(using: &town.random)
            digests.insert(town.replica(shuffled, pieces: 3, using: &town.random).state.digest)
        }
        #expect(digests.count == 1)
        town.catchUpAll()
        #expect(people.allSatisfy { town.roles($0) == [.admin] })
    }

    @Test("What a demoted or removed member wrote beyond the cut is void, however old it claims to be")
    func cuts() throws {
        var town = try Town()
        let admin = try town.resident(.admin)
        let who = try town.resident()
        let old = town.people[admin].core.parents
        let cut = town.people[admin].point
        let target = town.people[admin].member
        try town.act(0) { [feed = town.people[admin].device] core, device throws(CommunityRefusal) in
            try core.roleRemoval(.admin, from: target, heads: [feed: cut], reason: "", by: device)
        }
        let grant = GovernanceBody.roleGrant(RoleGrantBody(member: town.people[who].member, role: .trader))
        town.write(admin, .roleGrant, grant, on: old)
        town.catchUpAll()
        #expect(town.roles(who) == [.member])
        #expect(town.roles(admin) == [.member])
        // As a member the demoted one goes on.
        try town.act(admin) { core, device throws(CommunityRefusal) in
            try core.proposal(title: "", text: "", action: .resolution, by: device)
        }
    }

    @Test("A cut that comes after what it voids takes it back, and what followed from it")
    func lateCut() throws {
        var town = try Town()
        let admin = try town.resident(.admin)
        let before = town.people[admin].point
        let who = try town.resident()
        try town.act(admin) { [target = town.people[who].member] core, device throws(CommunityRefusal) in
            try core.roleGrant(.moderator, to: target, by: device)
        }
        let subject = LabelBody.Subject.member(town.people[0].member)
        try town.act(who) { core, device throws(CommunityRefusal) in
            try core.label(subject, "spam", reason: "", by: device)
        }
        #expect(town.state.labels.count == 1)
        let target = town.people[admin].member
        try town.act(0) { [feed = town.people[admin].device] core, device throws(CommunityRefusal) in
            try core.memberRemoval(target, heads: [feed: before], reason: "stolen", by: device)
        }
        #expect(town.state.labels.isEmpty && town.roles(who) == [.member] && !town.isMember(admin))
        #expect(town.people[0].core.roster.devices[town.people[admin].device]?.cut == before)
    }

    @Test("Who was removed comes back by an admission of equal rank, not by an invite, and on a new device")
    func comingBack() throws {
        var town = try Town()
        let moderator = try town.resident(.moderator)
        let who = try town.resident()
        let target = town.people[who].member
        try town.act(0) { [heads = town.heads] core, device throws(CommunityRefusal) in
            try core.memberRemoval(target, heads: heads, reason: "", by: device)
        }
        let again = town.newcomer()
        let memberKey = town.people[who].memberKey
        let device = town.people[again].device
        town.catchUp(again)
        let join = town.write(
            again,
            try town.people[again].core.join(
                town.link, nickname: "M", memberKey: memberKey, device: device, milliseconds: town.milliseconds))
        town.catchUpAll()
        #expect(!town.state.isMember(target))
        #expect(town.state.pendingJoins[join]?.reason == .removedBefore)
        town.write(moderator, .admit, .admit(join))
        town.catchUpAll()
        #expect(!town.state.isMember(target))
        try town.act(0) { core, device throws(CommunityRefusal) in try core.admit(join, by: device) }
        #expect(town.state.isMember(target))
        let roster = town.people[0].core.roster
        #expect(roster.devices[device]?.cut == nil)
        #expect(roster.devices[town.people[who].device]?.cut == town.people[who].point)
    }

    @Test("The member's own key ends a stolen device, and everything that the thief did with it")
    func revocation() throws {
        var town = try Town()
        let point = town.people[0].point
        let who = try town.resident()
        // The thief makes an admin of a friend, and decides alone what only the founder closes.
        try town.act(0) { [target = town.people[who].member] core, device throws(CommunityRefusal) in
            try core.roleGrant(.admin, to: target, by: device)
        }
        let change = try town.people[0].core.amendment { $0.name = "Stolen" }
        try town.decide(change, yes: [0, who])
        #expect(town.state.charter?.name == "Stolen")
        let fresh = town.newcomer()
        town.catchUp(fresh)
        let (key, device) = (town.people[0].memberKey, town.people[fresh].device)
        town.write(fresh, try town.people[fresh].core.deviceCertificate(of: device, by: key))
        town.write(
            fresh,
            try town.people[fresh].core.deviceRevocation(
                of: town.people[0].device, after: point, reason: "stolen", by: key))
        town.catchUpAll()
        #expect(town.state.charter?.name == "Gear" && town.roles(who) == [.member])
        #expect(town.state.devices[town.people[0].device]?.standing == .ended)
        #expect(
            town.refusal(fresh) { core, device throws(CommunityRefusal) in
                try core.invite(key: key, uses: 1, expiry: 1, note: "", by: device)
            } == nil)
    }

    @Test("A forked feed counts up to the fork, what a close rests on counts on, and a cut says what was genuine")
    func forks() throws {
        var town = try Town()
        let admin = try town.resident(.admin)
        let who = try town.resident()
        let target = town.people[who].member
        let start = town.people[admin].point
        try town.act(admin) { core, device throws(CommunityRefusal) in
            try core.roleGrant(.trader, to: target, by: device)
        }
        try town.decide(.resolution, yes: [who])
        try town.act(admin) { core, device throws(CommunityRefusal) in
            try core.roleGrant(.arbiter, to: target, by: device)
        }
        #expect(town.roles(who) == [.member, .trader, .arbiter])
        town.write(admin, .acknowledgement, .acknowledgement, at: start)
        town.catchUpAll()
        // Only what stands before the fork and what the close rests on.
        #expect(town.roles(who) == [.member, .trader])
        #expect(town.state.devices[town.people[admin].device]?.standing == .frozen(start.sequence.next))
        let thief = town.people[admin].member
        let genuine = [town.people[admin].device: town.people[admin].point]
        // Nobody's tips hold what is void, so who cuts behind it must name it.
        let cut = MemberRemovalBody(member: thief, cuts: town.people[0].core.cuts(of: thief, genuine), reason: "")
        let last = town.people[admin].previous
        town.write(
            0, .memberRemoval, .memberRemoval(cut), on: town.people[0].core.parents + [last])
        town.catchUpAll()
        #expect(town.roles(who) == [.member, .trader, .arbiter] && !town.isMember(admin))
    }

    @Test("Nobody but the key's holder can make a member look guilty")
    func relaysCannotConvict() throws {
        var town = try Town()
        let who = try town.resident()
        let stored = try #require(town.entries.last { $0.entry.header.device == town.people[who].device })
        let (entry, header) = (stored.entry, stored.entry.header)
        // A relay changes a header, a body, a salt, or signs with its own key: none of it is authentic.
        let other = EntryHeader(
            kind: header.kind, isCritical: header.isCritical, retention: header.retention,
            bodyBytesCount: header.bodyBytesCount, sequence: header.sequence,
            time: HybridTime(milliseconds: 5), community: header.community, device: header.device,
            previous: header.previous, governance: header.governance, bodyDigest: header.bodyDigest)
        #expect(GovernanceEntry.isAuthentic(entry))
        #expect(!GovernanceEntry.isAuthentic(Entry(stored: other, signature: entry.signature, content: entry.content)))
        let content = try #require(entry.content)
        let forged = Entry(signing: other, content: content, with: town.people[0].deviceKey)
        #expect(!GovernanceEntry.isAuthentic(forged))
        // The header alone, as a fault proof has it, is worth what its signature is.
        #expect(GovernanceEntry.isAuthentic(entry.withoutBody))
        #expect(!GovernanceEntry.isAuthentic(forged.withoutBody))
        #expect(
            !GovernanceEntry.isAuthentic(Entry(stored: other, signature: entry.signature, content: nil)))
        // A certificate, a revocation and a join that somebody else's key signed.
        let thief = town.people[0]
        let member = town.people[who].member
        let community = town.community
        func isAuthentic(_ kind: EntryKind, _ body: GovernanceBody) -> Bool {
            var copy = town
            copy.write(0, kind, body)
            return copy.entries.last.map { GovernanceEntry.isAuthentic($0.entry) } ?? true
        }
        var certificate = DeviceCertificate(of: thief.device, at: community.bytes, by: thief.memberKey)
        #expect(isAuthentic(.deviceCertificate, .deviceCertificate(certificate)))
        certificate.member = member
        #expect(!isAuthentic(.deviceCertificate, .deviceCertificate(certificate)))
        var revocation = DeviceRevocationBody(
            of: FeedCut(device: town.people[who].device, point: .start), in: community, reason: "",
            by: thief.memberKey)
        #expect(isAuthentic(.deviceRevocation, .deviceRevocation(revocation)))
        revocation.member = member
        #expect(!isAuthentic(.deviceRevocation, .deviceRevocation(revocation)))
        // Signed by the wrong member's own key it is authentic, and ends nobody else's device.
        revocation.member = thief.member
        town.write(0, .deviceRevocation, .deviceRevocation(revocation))
        town.catchUpAll()
        #expect(town.state.devices[town.people[who].device]?.standing == .good)
        let certified = DeviceCertificate(of: thief.device, at: community.bytes, by: thief.memberKey)
        var join = JoinBody(
            invite: try town.link.invite, in: community, certificate: certified, nickname: "",
            inviteKey: KeyPair(seed: GovernanceCodingTests.id(4)))
        #expect(isAuthentic(.join, .join(join)))
        join.inviteKey = town.inviteKey.device.bytes
        #expect(!isAuthentic(.join, .join(join)))
    }

    @Test("A critical entry of a later version stops what it is about, if somebody who leads wrote it")
    func updatesNeeded() throws {
        var town = try Town()
        let who = try town.resident()
        let target = town.people[who].member
        let body = GovernanceMessage(parents: town.people[who].core.parents, body: .admit(EntryID(target.bytes)))
            .encoded
        let head = town.people[who].core.head
        town.write(who, kind: EntryKind(0xEE), body: body, governance: head)
        town.catchUpAll()
        #expect(town.state.updatesNeeded.isEmpty)
        town.write(0, kind: EntryKind(0xEE), body: body, governance: head, isCritical: false)
        #expect(town.state.updatesNeeded.isEmpty)
        town.write(0, kind: EntryKind(0xEE), body: body, governance: head)
        #expect(town.state.updatesNeeded == [target.bytes])
        let refusal = town.refusal(0) { core, device throws(CommunityRefusal) in
            try core.roleGrant(.trader, to: target, by: device)
        }
        #expect(refusal == .updateNeeded)
    }
}

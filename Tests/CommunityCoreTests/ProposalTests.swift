// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

@Suite("Proposals, votes and closes")
struct ProposalTests {
    /// A town of six whose closers are the founder and the first two residents.
    static func councilTown() throws -> (town: Town, closers: [Int], others: [Int]) {
        var town = try Town()
        let people = try (0..<5).map { _ in try town.resident() }
        let closers = [0, people[0], people[1]]
        let members = closers.map { town.people[$0].member }
        let change = try town.people[0].core.amendment { $0.closers = members }
        try town.decide(change, yes: [0] + people)
        #expect(town.state.charter?.closers == members.sorted() && town.state.charterEdition == 2)
        return (town, closers, Array(people.dropFirst(2)))
    }

    static func propose(_ town: inout Town, _ who: Int = 0) throws -> EntryID {
        try town.act(who) { core, device throws(CommunityRefusal) in
            try core.proposal(title: "T", text: "", action: .resolution, by: device)
        }
    }

    static func vote(_ town: inout Town, _ who: Int, _ choice: VoteBody.Choice, _ proposal: EntryID) throws {
        try town.act(who) { core, device throws(CommunityRefusal) in
            try core.vote(choice, on: proposal, by: device)
        }
    }

    static func close(_ town: inout Town, _ who: Int, _ proposal: EntryID) throws -> EntryID {
        try town.act(who) { core, device throws(CommunityRefusal) in try core.close(proposal, by: device) }
    }

    @Test("An end needs a majority of the closers, one after the other")
    func majority() throws {
        var (town, closers, others) = try Self.councilTown()
        let proposal = try Self.propose(&town)
        for who in others { try Self.vote(&town, who, .yes, proposal) }
        _ = try Self.close(&town, closers[0], proposal)
        #expect(town.state.proposals[proposal]?.outcome == .open)
        #expect(town.state.proposals[proposal]?.signers == [town.people[0].member])
        let second = try Self.close(&town, closers[1], proposal)
        #expect(town.state.proposals[proposal]?.outcome == .passed(close: second))
        #expect(town.state.proposals[proposal]?.votes.count == 3)
        #expect(
            town.refusal(closers[2]) { core, device throws(CommunityRefusal) in
                try core.close(proposal, by: device)
            } == .proposalEnded)
    }

    @Test("Votes that the end doesn't list don't count, and one who isn't a closer ends nothing")
    func unlistedVotes() throws {
        var (town, closers, others) = try Self.councilTown()
        let proposal = try Self.propose(&town)
        try Self.vote(&town, others[0], .yes, proposal)
        let early = try Self.close(&town, closers[0], proposal)
        for who in others.dropFirst() { try Self.vote(&town, who, .yes, proposal) }
        let done = try Self.close(&town, closers[1], proposal)
        #expect(town.state.proposals[proposal]?.outcome == .passed(close: done))
        #expect(town.state.proposals[proposal]?.votes.map(\.choice) == [.yes])
        #expect(early != done)
        let another = try Self.propose(&town)
        town.write(
            others[0], .close,
            .close(CloseBody(proposal: another, passed: false, electorate: 6, votes: [], countersigned: [])))
        town.catchUpAll()
        #expect(town.state.proposals[another]?.signers == [])
    }

    @Test("A closer who leaves out votes, so that it turns out otherwise, finds nobody to sign with")
    func omittedVotes() throws {
        var (town, closers, others) = try Self.councilTown()
        let proposal = try Self.propose(&town)
        for who in others { try Self.vote(&town, who, .yes, proposal) }
        let lie = town.write(
            closers[2], .close,
            .close(CloseBody(proposal: proposal, passed: false, electorate: 6, votes: [], countersigned: [])))
        town.catchUpAll()
        #expect(town.state.proposals[proposal]?.signers == [town.people[closers[2]].member])
        _ = try Self.close(&town, closers[0], proposal)
        let done = try Self.close(&town, closers[1], proposal)
        #expect(town.state.proposals[proposal]?.outcome == .passed(close: done))
        #expect(lie != done && town.state.proposals[proposal]?.votes.count == 3)
    }

    /// What a dishonest founder, who closes alone, might put into an end.
    static let lies: [(String, @Sendable (inout CloseBody, [EntryID]) -> Void)] = [
        ("passed against the votes", { body, _ in body.passed = true }),
        ("a smaller electorate", { body, _ in body.electorate = 1 }),
        ("votes left out, yet passed", { body, votes in (body.passed, body.votes) = (true, [votes[0]]) }),
        ("a vote of somebody who is no member", { body, votes in body.votes = votes.sorted() }),
    ]

    @Test("An end that lies ends nothing", arguments: lies.indices)
    func lyingClose(index: Int) throws {
        var town = try Town()
        let people = try (0..<4).map { _ in try town.resident() }
        let proposal = try town.act(0) {
            [target = town.people[people[0]].member] core, device throws(CommunityRefusal) in
            try core.proposal(
                title: "", text: "",
                action: .removeMember(MemberRemovalBody(member: target, cuts: [], reason: "")), by: device)
        }
        try Self.vote(&town, people[1], .no, proposal)
        try Self.vote(&town, people[2], .no, proposal)
        let stranger = town.newcomer()
        town.catchUp(stranger)
        let forged = town.write(stranger, .vote, .vote(VoteBody(proposal: proposal, choice: .no)))
        town.catchUpAll()
        let votes = (town.state.proposals[proposal]?.votes ?? []).map(\.id)
        #expect(votes.count == 2)
        var body = CloseBody(
            proposal: proposal, passed: false, electorate: 5, votes: votes.sorted(), countersigned: [])
        Self.lies[index].1(&body, votes + [forged])
        town.write(0, .close, .close(body))
        town.catchUpAll()
        #expect(town.state.proposals[proposal]?.outcome == .open, "\(Self.lies[index].0)")
        #expect(town.isMember(people[0]))
        let honest = try Self.close(&town, 0, proposal)
        #expect(town.state.proposals[proposal]?.outcome == .rejected(close: honest))
    }

    @Test("Only who belonged when it was proposed votes, so inviting friends tips nothing")
    func electorate() throws {
        var town = try Town()
        let people = try (0..<3).map { _ in try town.resident() }
        let proposal = try Self.propose(&town)
        let friends = try (0..<5).map { _ in try town.resident() }
        #expect(
            town.refusal(friends[0]) { core, device throws(CommunityRefusal) in
                try core.vote(.yes, on: proposal, by: device)
            } == .joinedAfterProposal)
        for who in friends { town.write(who, .vote, .vote(VoteBody(proposal: proposal, choice: .yes))) }
        town.catchUpAll()
        for who in people { try Self.vote(&town, who, .no, proposal) }
        let close = try Self.close(&town, 0, proposal)
        #expect(town.state.proposals[proposal]?.outcome == .rejected(close: close))
        #expect(town.state.proposals[proposal]?.votes.count == 3)
    }

    @Test("The charter changes only by its own rule, and open proposals lapse with the charter that they name")
    func amendments() throws {
        var town = try Town()
        let people = try (0..<4).map { _ in try town.resident() }
        let open = try Self.propose(&town)
        let change = try town.people[0].core.amendment { $0.admission = .approval }
        // One of two is no two thirds.
        let failed = try town.decide(change, yes: [0], no: [people[0]])
        #expect(town.state.proposals[failed.proposal]?.outcome == .rejected(close: failed.close))
        #expect(town.state.charter?.admission == .invite)
        // All of one, but a quarter of five must vote.
        let few = try town.decide(change, yes: [0])
        #expect(town.state.proposals[few.proposal]?.outcome == .rejected(close: few.close))
        let passed = try town.decide(change, by: people[2], yes: [people[0], people[1]])
        #expect(town.state.proposals[passed.proposal]?.outcome == .passed(close: passed.close))
        #expect(town.state.charter?.admission == .approval && town.state.charterEdition == 2)
        #expect(town.state.proposals[open]?.outcome == .lapsed)
        #expect(
            town.refusal(0) { core, device throws(CommunityRefusal) in try core.close(open, by: device) }
                == .proposalEnded)
        // An end under the old charter, written anyway.
        town.write(
            0, .close, .close(CloseBody(proposal: open, passed: false, electorate: 5, votes: [], countersigned: [])))
        town.catchUpAll()
        #expect(town.state.proposals[open]?.outcome == .lapsed)
        let late = town.newcomer()
        town.catchUp(late)
        let person = town.people[late]
        town.write(
            late,
            try person.core.join(
                town.link, nickname: "", memberKey: person.memberKey, device: person.device,
                milliseconds: town.milliseconds))
        town.catchUpAll()
        #expect(!town.isMember(late) && town.state.pendingJoins.values.first?.reason == .approvalNeeded)
    }

    @Test("A proposal ends once, also when a closer signs two ends, and in each order of arrival")
    func endsOnce() throws {
        var (town, closers, others) = try Self.councilTown()
        let proposal = try Self.propose(&town)
        for who in others { try Self.vote(&town, who, .yes, proposal) }
        let votes = (town.state.proposals[proposal]?.votes ?? []).map(\.id).sorted()
        func end(_ passed: Bool, _ others: [EntryID] = []) -> GovernanceBody {
            .close(
                CloseBody(
                    proposal: proposal, passed: passed, electorate: 6, votes: passed ? votes : [], countersigned: others
                ))
        }
        let start = town.people[0].core.parents
        let one = town.write(closers[0], .close, end(true), on: start)
        let two = town.write(closers[2], .close, end(false), on: start)
        // The second closer signs both, each as if there were no other.
        let fork = town.people[closers[1]].point
        let passed = town.write(closers[1], .close, end(true, [one]), on: start)
        let other = town.newcomer()
        let (key, device) = (town.people[closers[1]].memberKey, town.people[other].device)
        let certificate = town.write(
            other, .deviceCertificate,
            .deviceCertificate(DeviceCertificate(of: device, at: town.community.bytes, by: key)), on: start)
        let rejected = town.write(other, .close, end(false, [two]), on: [certificate])
        town.catchUpAll()
        #expect(town.state.proposals[proposal]?.outcome == .rejected(close: rejected))
        #expect(passed != rejected && fork.sequence < town.people[closers[1]].sequence)
        var digests: Set<Bytes32> = []
        for _ in 0..<30 {
            let shuffled = town.entries.shuffled(using: &town.random)
            digests.insert(town.replica(shuffled, pieces: 4, using: &town.random).state.digest)
        }
        #expect(digests.count == 1)
    }

    @Test("Even the founder can be removed by a vote, and an old end cited again brings nothing back")
    func removalByVote() throws {
        var (town, closers, others) = try Self.councilTown()
        let founder = town.people[0].member
        let removal = MemberRemovalBody(
            member: founder, cuts: town.people[0].core.cuts(of: founder, town.heads), reason: "absent")
        let proposal = try town.act(others[0]) { core, device throws(CommunityRefusal) in
            try core.proposal(title: "", text: "", action: .removeMember(removal), by: device)
        }
        for who in others + [closers[1], closers[2]] { try Self.vote(&town, who, .yes, proposal) }
        _ = try Self.close(&town, closers[1], proposal)
        let done = try Self.close(&town, closers[2], proposal)
        #expect(!town.isMember(0))
        #expect(town.state.members[founder]?.ended == .removed(by: done, reason: "absent"))
        // Who was given a role by vote and lost it later doesn't get it back from the old end.
        let who = others[0]
        let target = town.people[who].member
        let grant = try town.act(others[1]) { core, device throws(CommunityRefusal) in
            try core.proposal(
                title: "", text: "", action: .grant(RoleGrantBody(member: target, role: .moderator)), by: device)
        }
        for voter in others { try Self.vote(&town, voter, .yes, grant) }
        let first = try Self.close(&town, closers[1], grant)
        _ = try Self.close(&town, closers[2], grant)
        #expect(town.roles(who).contains(.moderator))
        let take = try town.act(others[1]) { [heads = town.heads] core, device throws(CommunityRefusal) in
            try core.proposal(
                title: "", text: "",
                action: .removeRole(
                    RoleRemovalBody(
                        member: target, role: .moderator, cuts: core.cuts(of: target, heads), reason: "")), by: device)
        }
        for voter in others { try Self.vote(&town, voter, .yes, take) }
        _ = try Self.close(&town, closers[1], take)
        _ = try Self.close(&town, closers[2], take)
        #expect(!town.roles(who).contains(.moderator))
        let votes = (town.state.proposals[grant]?.votes ?? []).map(\.id).sorted()
        town.write(
            closers[2], .close,
            .close(
                CloseBody(proposal: grant, passed: true, electorate: 6, votes: votes, countersigned: [first])))
        town.catchUpAll()
        #expect(!town.roles(who).contains(.moderator))
    }

    @Test("With witnesses an end needs 2f + 1 of 3f + 1")
    func witnesses() {
        var charter = Charter.standard(name: "C", founder: MemberID(GovernanceCodingTests.id(1)))
        for (count, needed) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (7, 5), (10, 7)] {
            charter.witnesses = (0..<count).map { MemberID(GovernanceCodingTests.id(UInt8($0))) }
            #expect(charter.signersNeeded == needed)
        }
        charter.witnesses = []
        for (count, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            charter.closers = (0..<count).map { MemberID(GovernanceCodingTests.id(UInt8($0))) }
            #expect(charter.signersNeeded == needed)
        }
    }

    @Test("A rule counts exactly")
    func rules() {
        let rule = Charter.Rule(
            yes: Charter.Fraction(2, of: 3), quorum: Charter.Fraction(1, of: 4), basis: .allMembers)
        #expect(rule.isMet(yes: 2, no: 1, abstaining: 0, electorate: 12))
        #expect(!rule.isMet(yes: 2, no: 1, abstaining: 0, electorate: 13))
        #expect(rule.isMet(yes: 2, no: 1, abstaining: 1, electorate: 16))
        #expect(!rule.isMet(yes: 3, no: 2, abstaining: 0, electorate: 8))
        #expect(!rule.isMet(yes: 0, no: 0, abstaining: 5, electorate: 5))
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

@Suite("Replicas of a community on whole nodes", .timeLimit(.minutes(3)))
struct ReplicaTests {
    /// Why one half of the community refuses what the other half builds on.
    enum Quarrel: CaseIterable {
        /// The author writes another entry at its place.
        case fork
        /// The founder removes the author without having seen it.
        case cut
    }

    @Test(
        "What was built on an entry of a forked or removed device is judged alike by those who had refused it",
        arguments: Quarrel.allCases, 1...4)
    func cited(_ quarrel: Quarrel, seed: Int) throws {
        var town = ReplicaTown(nodes: 5, seed: UInt64(seed))
        try town.found()
        let link = try town.invite(by: 0)
        for node in 1...4 { try town.join(node, by: link, through: 0) }
        town.run(.seconds(40))
        let liar = 4
        let joined = try #require(town.heads[liar]).point
        for node in 0...4 { town.fleet.crash(node) }

        // One half sees an entry of the liar, and builds on it.
        for node in [1, 3] { town.restart(node) }
        town.run(.seconds(1))
        town.connect(1, 3)
        town.run(.seconds(5))
        let draft = try town.replica(1).community.vouch(
            for: town.people[0].member, amount: 1, note: "", by: town.device(liar))
        let cited = town.entry(of: draft, signedBy: town.devices[liar], after: joined)
        town.publish(cited, by: 3)
        town.run(.seconds(5))
        let answer = try town.replica(1).community.vouch(
            for: town.people[2].member, amount: 2, note: "", by: town.device(1))
        town.append(1, answer)
        town.run(.seconds(5))
        let citing = try #require(town.heads[1])
        #expect(try GovernanceEntry(citing).parents.contains(cited.id))
        for node in [1, 3] { town.fleet.crash(node) }

        // The other half has reason to refuse it.
        for node in [0, 2] { town.restart(node) }
        town.run(.seconds(1))
        town.connect(2, 0)
        town.run(.seconds(5))
        switch quarrel {
        case .fork:
            let other = try town.replica(0).community.vouch(
                for: town.people[1].member, amount: 9, note: "", by: town.device(liar))
            town.publish(town.entry(of: other, signedBy: town.devices[liar], after: joined), by: 2)
        case .cut:
            let replica = try town.replica(0)
            let member = town.people[liar].member
            let draft = try replica.community.memberRemoval(
                member, heads: replica.heads, reason: "", by: town.device(0))
            town.append(0, draft)
        }
        town.run(.seconds(5))

        for node in [1, 3] { town.restart(node) }
        town.run(.seconds(1))
        var generator = SeededGenerator(seed: UInt64(seed))
        let order = [0, 1, 2, 3].shuffled(using: &generator)
        for place in 1..<4 { town.connect(order[place], order[Int.random(in: 0..<place, using: &generator)]) }
        let isSame = try town.run(atMost: .seconds(300)) { town in
            let replicas = try (0...3).map { try town.replica($0) }
            return Set(replicas.map(\.community.state.digest)).count == 1
                && replicas.allSatisfy { $0.community.missing.isEmpty && $0.community.state.vouches[citing.id] != nil }
        }
        #expect(isSame)
        // What is judged is on the disks a little later.
        town.run(.seconds(2))
        for node in 0...3 {
            let isHeld1 = town.holds(node, cited.id)
            #expect(isHeld1)
            let feed = try #require(try town.replica(node).journal.feed(town.device(liar)))
            #expect(quarrel == .fork ? feed.isFrozen : feed.head == joined)
            #expect(try town.replica(node).journal.stats.persistFailures == 0)
        }
        // What was refused is refused over a restart as well, and what was taken is there.
        let digest = try town.replica(2).community.state.digest
        town.fleet.crash(2)
        town.restart(2)
        town.run(.seconds(2))
        #expect(try town.replica(2).community.state.digest == digest)
    }

    @Test("Who waits for approval sees the rules and nothing else, and has everything when admitted, still connected")
    func pending() throws {
        var town = ReplicaTown(nodes: 2, seed: 7)
        try town.found(admission: .approval)
        let link = try town.invite(by: 0)
        try town.chat(0, "before")
        town.run(.seconds(1))
        try town.join(1, by: link, through: 0)
        town.run(.seconds(60))
        let waiting = try town.replica(1)
        #expect(waiting.community.state.charter != nil && waiting.community.state.pendingJoins.count == 1)
        let written = try #require(town.heads[0])
        let isHeld2 = town.holds(1, written.id)
        #expect(!isHeld2)
        #expect(waiting.journal.feed(town.device(0)) == nil)

        let join = try #require(town.heads[1])
        town.append(0, try town.replica(0).community.admit(join.id, by: town.device(0)))
        let isAdmitted = town.run(atMost: .seconds(3)) { town in
            guard let replica = town.fleet.members[1].core.replica else { return false }
            return replica.community.state.isMember(town.people[1].member)
                && replica.journal.feed(town.device(0))?.low == .first
        }
        #expect(isAdmitted)
        let isHeld3 = town.holds(1, written.id)
        #expect(isHeld3)
        try town.chat(1, "after")
        town.run(.seconds(2))
        let isHeld4 = try town.holds(0, #require(town.heads[1]).id)
        #expect(isHeld4)
    }

    @Test("A guest has the rules, and its own entries reach members", arguments: [Role.guest, .observer])
    func guest(_ role: Role) throws {
        var town = ReplicaTown(nodes: 2, seed: 8)
        try town.found()
        let link = try town.invite(by: 0, role: role)
        try town.chat(0, "for members")
        town.run(.seconds(1))
        try town.join(1, by: link, through: 0)
        town.run(.seconds(60))
        let replica = try town.replica(1)
        #expect(replica.community.state.members[town.people[1].member]?.roles == [role])
        #expect(replica.journal.feeds.map(\.device) == [town.device(1)])
        #expect(try town.replica(0).journal.feed(town.device(1))?.head == town.heads[1]?.point)
    }

    @Test("A stranger is let in when the roster names it, still connected")
    func stranger() throws {
        var town = ReplicaTown(nodes: 3, seed: 9)
        try town.found()
        let link = try town.invite(by: 0)
        try town.join(2, by: link, through: 0)
        town.run(.seconds(5))
        town.fleet.crash(0)
        town.append(2, try town.replica(2).community.acknowledgement(by: town.device(2)))
        let other = try town.invite(by: 2)
        try town.join(1, by: other, through: 2)
        town.run(.seconds(5))
        #expect(try town.replica(1).community.state.isMember(town.people[1].member))
        town.fleet.crash(2)

        town.restart(0)
        town.connect(1, 0)
        town.run(.seconds(20))
        #expect(try town.replica(0).connectedPeers.isEmpty)
        town.restart(2)
        town.connect(2, 0)
        let peer = town.peer(1)
        let isAdmitted = town.run(atMost: .seconds(5)) { town in
            town.fleet.members[0].core.replica?.connectedPeers.contains(peer) ?? false
        }
        #expect(isAdmitted)
        try town.chat(1, "hello")
        town.run(.seconds(2))
        let isHeld5 = try town.holds(0, #require(town.heads[1]).id)
        #expect(isHeld5)
    }
}

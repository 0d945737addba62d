// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

@Suite("Invites end by themselves")
struct InviteClosingTests {
    private static let minute: UInt64 = 60_000

    /// A founder whose invite for two is used up, and moderators who came by another one.
    private func town(moderators: Int) throws -> (Town, EntryID, [Int]) {
        var town = try Town(uses: 100)
        let stand = try (0..<moderators).map { _ in try town.resident(.moderator) }
        let key = KeyPair(seed: town.source.nextBytes32())
        let expiry = town.milliseconds + 60 * Self.minute
        let invite = try town.act(0) { core, device throws(CommunityRefusal) in
            try core.invite(key: key, uses: 2, expiry: expiry, note: "", by: device)
        }
        for number in 0..<2 {
            let who = town.newcomer()
            let link = try InviteLink(
                community: town.community, invite: invite, seed: key.seed, name: "Gear",
                entryPoints: town.link.entryPoints)
            let draft = try CommunityCore.join(
                link, nickname: "J\(number)", memberKey: town.people[who].memberKey, device: town.people[who].device)
            town.write(who, draft)
        }
        town.catchUpAll()
        return (town, invite, stand)
    }

    @Test("the device that wrote a used up invite ends it at once, and once")
    func usedUp() throws {
        var (town, invite, _) = try town(moderators: 0)
        var closing = InviteClosing()
        let founder = town.people[0]
        #expect(closing.due(in: founder.core, by: founder.device, milliseconds: town.milliseconds) == [invite])
        try town.act(0) { core, device throws(CommunityRefusal) in try core.inviteClose(invite, by: device) }
        let now = town.milliseconds
        #expect(closing.due(in: town.people[0].core, by: founder.device, milliseconds: now).isEmpty)
        #expect(town.people[0].core.state.members.count == 3)
    }

    @Test("an expired invite ends an hour later, by the device that wrote it")
    func expired() throws {
        let (town, _, stand) = try town(moderators: 1)
        let founder = town.people[0]
        // The one with which the town began is nearly for ever; this one has room and expires.
        var later = town
        let key = KeyPair(seed: later.source.nextBytes32())
        let expiry = later.milliseconds + Self.minute
        let invite = try later.act(0) { core, device throws(CommunityRefusal) in
            try core.invite(key: key, uses: 5, expiry: expiry, note: "", by: device)
        }
        var closing = InviteClosing()
        let grace = InviteClosing.graceMilliseconds
        let core = later.people[0].core
        #expect(!closing.due(in: core, by: founder.device, milliseconds: expiry + grace).contains(invite))
        #expect(closing.due(in: core, by: founder.device, milliseconds: expiry + grace + 1).contains(invite))
        // Nobody else: a clock that is years ahead must not end what others made.
        var other = InviteClosing()
        let moderator = later.people[stand[0]]
        #expect(!other.due(in: moderator.core, by: moderator.device, milliseconds: .max >> 20).contains(invite))
    }

    @Test("of ten that see it together one ends it, and the others leave it at that")
    func noStorm() throws {
        var (town, invite, stand) = try town(moderators: 10)
        var closings = stand.map { _ in InviteClosing() }
        let began = town.milliseconds
        var writers: [Int] = []
        for tick in 0..<200 {
            let now = began + UInt64(tick) * Self.minute
            for (place, who) in stand.enumerated() {
                let person = town.people[who]
                guard closings[place].due(in: person.core, by: person.device, milliseconds: now) == [invite] else {
                    continue
                }
                writers.append(tick)
                try town.act(who) { core, device throws(CommunityRefusal) in try core.inviteClose(invite, by: device) }
            }
        }
        #expect(writers == [10])
    }

    @Test("apart from each other each waits for its turn")
    func turns() throws {
        var (town, invite, stand) = try town(moderators: 4)
        var closings = stand.map { _ in InviteClosing() }
        let began = town.milliseconds
        var first: [Int: Int] = [:]
        for tick in 0...60 {
            for (place, who) in stand.enumerated() where first[place] == nil {
                let person = town.people[who]
                let now = began + UInt64(tick) * Self.minute
                if !closings[place].due(in: person.core, by: person.device, milliseconds: now).isEmpty {
                    first[place] = tick
                }
            }
        }
        #expect(first.values.sorted() == [10, 20, 30, 40])
        // Ends that several wrote let in the same.
        for who in stand {
            let draft = try town.people[who].core.inviteClose(invite, by: town.people[who].device)
            town.write(who, draft)
        }
        town.catchUpAll()
        #expect(town.people[0].core.state.members.count == 7)
        #expect(town.people[0].core.state.pendingJoins.isEmpty)
    }

    @Test("who may not end the invites of others, and who is no member, does nothing")
    func others() throws {
        var (town, _, _) = try town(moderators: 0)
        let member = try town.resident("plain")
        var closing = InviteClosing()
        for minutes in [0, 1_000, 10_000] as [UInt64] {
            let person = town.people[member]
            let now = town.milliseconds + minutes * Self.minute
            #expect(closing.due(in: person.core, by: person.device, milliseconds: now).isEmpty)
            let stranger = KeyPair(seed: town.source.nextBytes32()).device
            #expect(closing.due(in: person.core, by: stranger, milliseconds: now).isEmpty)
        }
    }
}

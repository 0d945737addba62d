// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket

@Suite("Accounts of the cap", .timeLimit(.minutes(1)))
struct CapAccountsTests {
    @Test("Who is new trades on the cap of who brought it in")
    func shared() {
        var village = Village()
        let rosa = village.trusted(1)[0]
        let jun = village.join(by: rosa)
        let ada = village.join(by: jun)
        #expect([0, rosa, jun, ada].map(village.holder) == [0, rosa, rosa, rosa])
        #expect(village.accounts.id(of: Village.member(ada)) == village.accounts.id(of: Village.member(rosa)))
        let id = village.accounts.id(of: Village.member(rosa))
        #expect(id.flatMap(village.accounts.account)?.holder == Village.member(rosa))
        let traders = village.accounts.account(of: Village.member(rosa))?.traders ?? []
        #expect(traders == [rosa, jun, ada].map(Village.member).sorted())
    }

    @Test("The founder's vouch for the whole cap brings about an account, for less it doesn't")
    func foundersVouch() {
        var village = Village()
        let rosa = village.join(by: 0)
        village.vouch(0, for: rosa, Village.cap - 1)
        #expect(village.holders == [0])
        village.vouch(0, for: rosa, Village.cap)
        #expect(village.holders == [0, rosa])
        #expect(village.accounts.account(of: Village.member(rosa))?.level == 1)
    }

    @Test("So does that of three with accounts, each for a third, who weren't brought in by the same one")
    func threeVouches() {
        var village = Village()
        let friends = village.trusted(4)
        let ada = village.join(by: friends[0])
        for friend in friends.dropFirst().dropLast() { village.vouch(friend, for: ada) }
        #expect(village.holder(of: ada) == friends[0])
        // The sponsor's own doesn't count, nor does a third one for too little.
        village.vouch(friends[0], for: ada)
        village.vouch(friends[3], for: ada, Village.share - 1)
        #expect(village.holder(of: ada) == friends[0])
        village.vouch(friends[3], for: ada)
        #expect(village.holder(of: ada) == ada)
        #expect(village.accounts.account(of: Village.member(ada))?.level == 2)
    }

    @Test("Whoever came through one cheat can't back each other")
    func ownTree() {
        var village = Village()
        let cheat = village.trusted(1)[0]
        let puppets = (0..<6).map { _ in village.join(by: cheat) }
        let deeper = puppets.map { village.join(by: $0) }
        for author in puppets + [cheat] {
            for member in puppets + deeper where member != author { village.vouch(author, for: member) }
        }
        #expect(village.holders == [0, cheat])
    }

    @Test("Nor can the branch of somebody without an account, whose cap is the founder's")
    func branchOfTheFounder() {
        var village = Village { $0.backersMin = 1 }
        let friend = village.trusted(1)[0]
        let cheat = village.join(by: 0)
        let puppet = village.join(by: cheat)
        village.vouch(cheat, for: puppet, Village.cap)
        village.vouch(puppet, for: cheat, Village.cap)
        #expect(village.holders == [0, friend])
        village.vouch(friend, for: cheat, Village.cap)
        #expect(village.holder(of: puppet) == cheat)
        #expect(village.holders == [0, friend, cheat])
    }

    @Test("One brings about no more accounts than one's distance from the founder allows, the first")
    func spent() {
        var village = Village { $0.backedMax = [8, 2] }
        let friends = village.trusted(3)
        let others = village.trusted(1)
        let guests = (0..<4).map { _ in village.join(by: others[0]) }
        for guest in guests { for friend in friends { village.vouch(friend, for: guest) } }
        #expect(guests.filter { village.holder(of: $0) == $0 } == Array(guests.prefix(2)))
        // The third generation brings about none.
        let child = village.join(by: guests[3])
        for author in guests.prefix(2) + friends { village.vouch(author, for: child, Village.cap) }
        #expect(village.holder(of: child) == others[0])
    }

    @Test("A vouch taken back stays spent: cheats can't be made one after the other")
    func takenBack() {
        var village = Village { $0.backedMax = [8, 1] }
        let friends = village.trusted(3)
        let others = village.trusted(1)
        let guests = (0..<2).map { _ in village.join(by: others[0]) }
        let vouches = friends.map { village.vouch($0, for: guests[0]) }
        for friend in friends { village.vouch(friend, for: guests[1]) }
        #expect(village.holder(of: guests[0]) == guests[0])
        for vouch in vouches { village.withdraw(vouch) }
        #expect(guests.map(village.holder) == [others[0], others[0]])
    }

    @Test("A removed holder's account has no cap left, for anybody on it")
    func removed() {
        var village = Village()
        let cheat = village.trusted(1)[0]
        let puppet = village.join(by: cheat)
        village.state.members[Village.member(cheat)]?.roles = []
        village.state.members[Village.member(cheat)]?.ended = .removed(by: EntryID(.zero), reason: "cheat")
        let account = village.accounts.account(of: Village.member(puppet))
        #expect(account?.holder == Village.member(cheat) && account?.cap == 0)
        #expect(account?.traders == [Village.member(puppet)])
    }

    @Test("The founder's leaving takes nobody's account")
    func founderLeaves() {
        var village = Village()
        let friends = village.trusted(2)
        let before = village.holders
        village.state.members[Village.member(0)]?.roles = []
        village.state.members[Village.member(0)]?.ended = .left(EntryID(.zero))
        #expect(village.holders == before && before == [0] + friends)
    }

    @Test("Sponsors in a circle have no account and back nobody")
    func circle() {
        var village = Village { $0.backersMin = 1 }
        let (one, other) = (village.join(by: 0), village.join(by: 0))
        village.state.members[Village.member(one)]?.sponsor = Village.member(other)
        village.state.members[Village.member(other)]?.sponsor = Village.member(one)
        village.vouch(one, for: other, Village.cap)
        village.vouch(0, for: one, Village.cap)
        #expect(village.accounts.account(of: Village.member(other)) == nil)
    }

    @Test("Ten thousand identities that one cheat brings in share his cap, whatever they vouch", arguments: 1...4)
    func sybils(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var village = Village()
        let honest = village.trusted(6)
        let cheat = honest[0]
        var puppets = [cheat]
        for _ in 0..<10_000 {
            // A star, a chain, or anything between.
            let sponsor = seed % 2 == 0 ? puppets[puppets.count - 1] : puppets.randomElement(using: &random) ?? cheat
            puppets.append(village.join(by: sponsor))
        }
        for _ in 0..<20_000 {
            guard let author = puppets.randomElement(using: &random), let other = puppets.randomElement(using: &random)
            else { continue }
            village.vouch(author, for: other, Village.cap)
        }
        // Who was fooled, but not often enough for an account.
        for puppet in puppets.dropFirst().prefix(50) {
            for friend in honest.dropFirst().prefix(2) { village.vouch(friend, for: puppet, Village.cap) }
        }
        let accounts = village.accounts
        let own = accounts.id(of: Village.member(cheat))
        #expect(puppets.allSatisfy { accounts.id(of: Village.member($0)) == own })
        #expect(accounts.all.count == 1 + honest.count)
    }

    @Test("Cheats who have accounts together bring about no more than their levels allow", arguments: 1...20)
    func collusion(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var village = Village { $0.backedMax = [8, 4, 2] }
        let cheats = village.trusted(5)
        var puppets = cheats
        for _ in 0..<400 { puppets.append(village.join(by: puppets.randomElement(using: &random) ?? 0)) }
        for _ in 0..<6_000 {
            guard let author = puppets.randomElement(using: &random), let other = puppets.randomElement(using: &random)
            else { continue }
            let vouch = village.vouch(author, for: other, Village.cap)
            if UInt64.random(in: 0..<4, using: &random) == 0 { village.withdraw(vouch) }
        }
        // Three vouches to an account. Five cheats have four each; whom those alone bring about has two more each.
        let second = 5 * 4 / 3
        #expect(village.holders.count <= 1 + 5 + (5 * 4 + second * 2) / 3)
    }
}

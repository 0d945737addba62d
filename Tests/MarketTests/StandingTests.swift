// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

@Suite("Standing", .timeLimit(.minutes(2)))
struct StandingTests {
    private static let now: UInt64 = 1_700_000_000_000

    /// With what is published.
    struct Market {
        var village: Village
        var trades = TradeTable()
        var exposures = ExposureTable()
        var dealsCount = 0

        mutating func open(buyer: Int, seller: Int, _ units: Int64, named: Bool = true) -> (Deal, Exposure.Debit) {
            dealsCount += 1
            let deal = Deal(dealsCount, buyer: buyer, seller: seller, in: village)
            let account = village.accounts.id(of: Village.member(seller)) ?? .zero
            let debit = deal.debit(units, named: named, account: account)
            let author = Village.member(named ? buyer : seller)
            exposures.insert(deal.opened(debit), by: author, firstSeen: StandingTests.now)
            return (deal, debit)
        }

        mutating func complete(buyer: Int, seller: Int, _ units: Int64) {
            dealsCount += 1
            let deal = Deal(dealsCount, buyer: buyer, seller: seller, in: village)
            trades.insert(deal.bought(units), by: Village.member(buyer), at: StandingTests.now)
            trades.insert(deal.sold(units), by: Village.member(seller), at: StandingTests.now)
        }

        var standing: Standing {
            Standing(village.state, accounts: village.accounts, trades: trades, exposures: exposures)
        }

        func limit(_ viewer: Int, _ seller: Int) -> Int64 {
            standing.limit(
                of: Village.member(viewer), for: Village.member(seller), knownAt: StandingTests.now,
                at: StandingTests.now
            ).units
        }
    }

    @Test("is what vouches let through, at most the cap")
    func vouches() {
        var village = Village()
        let friends = village.trusted(2)
        let (buyer, seller) = (village.join(by: friends[0]), village.join(by: friends[1]))
        var market = Market(village: village)
        #expect(market.limit(buyer, seller) == 0)
        market.village.vouch(buyer, for: friends[0], 80)
        market.village.vouch(friends[0], for: friends[1], 70)
        market.village.vouch(friends[1], for: seller, 60)
        #expect(market.limit(buyer, seller) == 60)
        #expect(market.limit(seller, buyer) == 0)
        market.village.vouch(buyer, for: seller, 1_000)
        #expect(market.limit(buyer, seller) == Village.cap)
    }

    @Test("grows with trades that both sides published, for the side that was at risk")
    func trades() {
        var village = Village()
        let (buyer, seller) = (village.join(by: 0), village.join(by: 0))
        var market = Market(village: village)
        market.complete(buyer: buyer, seller: seller, 50)
        #expect(market.limit(buyer, seller) == 50)
        #expect(market.limit(seller, buyer) == 0)
    }

    @Test("falls by all that the seller's account has open, whoever published it")
    func open() {
        var village = Village()
        let rosa = village.trusted(1)[0]
        let helper = village.join(by: rosa)
        let buyers = (0..<3).map { _ in village.join(by: 0) }
        for buyer in buyers { village.vouch(buyer, for: rosa, 100) }
        var market = Market(village: village)
        #expect(market.limit(buyers[0], rosa) == 100)
        let (deal, debit) = market.open(buyer: buyers[1], seller: rosa, 20)
        _ = market.open(buyer: buyers[2], seller: helper, 10, named: false)
        #expect(market.limit(buyers[0], rosa) == 70)
        market.exposures.insert(deal.closed(debit), by: Village.member(buyers[1]), firstSeen: Self.now)
        #expect(market.limit(buyers[0], rosa) == 90)
    }

    @Test("is unknown without news of a day, or with a part of them")
    func stale() {
        var village = Village()
        let (buyer, seller) = (village.join(by: 0), village.join(by: 0))
        village.vouch(buyer, for: seller, 100)
        let standing = Market(village: village).standing
        func limit(_ knownAt: UInt64?) -> Standing.Limit {
            standing.limit(of: Village.member(buyer), for: Village.member(seller), knownAt: knownAt, at: Self.now)
        }
        let day: UInt64 = 24 * 3_600_000
        #expect(limit(Self.now - day) == .units(100))
        #expect(limit(Self.now + day) == .units(100))
        #expect(limit(Self.now - day - 1) == .unknown)
        #expect(limit(nil) == .unknown && limit(nil).units == 0)
    }

    @Test("of sellers behind one cut is one, however many there are and whoever buys")
    func oneCut() {
        var village = Village { $0.backersMin = 1 }
        let friend = village.trusted(1)[0]
        let cheat = village.trusted(1)[0]
        let puppets = (0..<5).map { _ in village.trusted(1)[0] }
        let buyers = (0..<4).map { _ in village.join(by: friend) }
        for buyer in buyers { village.vouch(buyer, for: friend, 1_000) }
        village.vouch(friend, for: cheat, 100)
        for puppet in puppets { village.vouch(cheat, for: puppet, 1_000) }
        // Accounts of their own: so the accounts don't stop them.
        var market = Market(village: village)
        var stolen: Int64 = 0
        for (index, buyer) in buyers.enumerated() {
            let amount = min(40, market.limit(buyer, puppets[index]))
            guard amount > 0 else { continue }
            stolen += amount
            _ = market.open(buyer: buyer, seller: puppets[index], amount)
        }
        #expect(stolen == 100)
    }

    @Test("A cheat who sells through any identities at once gets no more than the cut", arguments: 1...60)
    func randomAttack(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var village = Village()
        let honest = village.trusted(6) + (0..<6).map { _ in village.join(by: 0) }
        let cheat = village.trusted(1)[0]
        var puppets = [cheat]
        for _ in 0..<8 { puppets.append(village.join(by: puppets.randomElement(using: &random) ?? cheat)) }
        var cut: Int64 = 0
        for _ in 0..<40 {
            guard let one = honest.randomElement(using: &random), let other = honest.randomElement(using: &random)
            else { continue }
            village.vouch(one, for: other, Int64.random(in: 1...90, using: &random))
        }
        for _ in 0..<4 {
            guard let fool = honest.randomElement(using: &random), let puppet = puppets.randomElement(using: &random)
            else { continue }
            let amount = Int64.random(in: 1...60, using: &random)
            village.vouch(fool, for: puppet, amount)
            cut += amount
        }
        for _ in 0..<30 {
            guard let puppet = puppets.randomElement(using: &random) else { continue }
            let other = Int.random(in: 0..<village.count, using: &random)
            if other != puppet { village.vouch(puppet, for: other, Int64.random(in: 1...900, using: &random)) }
        }
        var market = Market(village: village)
        var stolen: Int64 = 0
        for _ in 0..<40 {
            guard let seller = puppets.randomElement(using: &random), let buyer = honest.randomElement(using: &random),
                let other = honest.randomElement(using: &random)
            else { continue }
            switch Int.random(in: 0..<6, using: &random) {
            case 0:
                // Buys of the honest, or of himself: may free nothing.
                _ = market.open(buyer: seller, seller: other, Int64.random(in: 1...50, using: &random))
            case 1:
                guard let puppet = puppets.randomElement(using: &random), puppet != seller else { continue }
                market.complete(buyer: seller, seller: puppet, 300)
            default:
                let limit = market.limit(buyer, seller)
                guard limit > 0 else { continue }
                let amount = Int64.random(in: 1...limit, using: &random)
                stolen += amount
                _ = market.open(buyer: buyer, seller: seller, amount)
            }
        }
        #expect(stolen <= cut)
        // One account.
        #expect(stolen <= Village.cap)
    }

    @Test("Two hundred buyers at once lose no more than one seller's cap, if each looks before")
    func manyBuyers() {
        var village = Village()
        let seller = village.trusted(1)[0]
        let buyers = (0..<200).map { _ in village.join(by: 0) }
        for buyer in buyers { village.vouch(buyer, for: seller, 250) }
        var market = Market(village: village)
        var stolen: Int64 = 0
        for buyer in buyers {
            let limit = market.limit(buyer, seller)
            guard limit >= 20 else { continue }
            stolen += 20
            _ = market.open(buyer: buyer, seller: seller, 20)
        }
        #expect(stolen == 240)
    }
}

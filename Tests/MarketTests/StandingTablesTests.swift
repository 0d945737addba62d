// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

@Suite("What members publish of their trades")
struct StandingTablesTests {
    private static let now: UInt64 = 1_700_000_000_000
    private static let time = HybridTime(milliseconds: now)

    private static let village: Village = {
        var village = Village()
        for _ in 0..<5 { village.join(by: 0) }
        return village
    }()
    private static let deal = Deal(1, buyer: 1, seller: 2, in: village)
    private static func member(_ number: Int) -> MemberID { Village.member(number) }

    // MARK: Exposure

    @Test("Open and closed come in any order, from either side, and count once")
    func anyOrder() {
        let named = Self.deal.debit(20, account: .zero)
        let unnamed = Self.deal.debit(20, named: false, account: .zero)
        let published: [(Exposure, Int)] = [
            (Self.deal.opened(named), 1), (Self.deal.opened(unnamed), 2), (Self.deal.opened(unnamed), 1),
        ]
        var random = SeededGenerator(seed: 5)
        for _ in 0..<10 {
            var table = ExposureTable()
            for (exposure, author) in published.shuffled(using: &random) {
                table.insert(exposure, by: Self.member(author), firstSeen: Self.now)
            }
            let open = table.open(Self.village.state)
            #expect(open.count == 1 && open[0].buyer == Self.member(1) && open[0].units == 20)
            table.insert(Self.deal.closed(unnamed), by: Self.member(2), firstSeen: Self.now)
            #expect(table.open(Self.village.state).isEmpty)
        }
        var table = ExposureTable()
        table.insert(Self.deal.closed(named), by: Self.member(1), firstSeen: Self.now)
        table.insert(Self.deal.opened(named), by: Self.member(1), firstSeen: Self.now)
        #expect(table.open(Self.village.state).isEmpty)
    }

    @Test("A buyer is named by nobody else, and a seller's card must be of a device of his")
    func names() {
        var table = ExposureTable()
        table.insert(Self.deal.opened(Self.deal.debit(20, account: .zero)), by: Self.member(3), firstSeen: Self.now)
        #expect(table.open(Self.village.state).isEmpty)
        table.insert(
            Self.deal.opened(Self.deal.debit(20, named: false, account: .zero)), by: Self.member(3),
            firstSeen: Self.now)
        #expect(table.open(Self.village.state).count == 1)
        var other = Self.village
        other.state.devices[Village.device(2)]?.member = Self.member(4)
        #expect(table.open(other.state).isEmpty)
    }

    @Test("Of two amounts for one trade the greater counts, in any order")
    func greater() {
        let debits = [10, 50, 20].map { Self.deal.debit($0, account: .zero) }
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            var table = ExposureTable()
            for index in order {
                table.insert(Self.deal.opened(debits[index]), by: Self.member(1), firstSeen: Self.now)
            }
            #expect(table.open(Self.village.state).map(\.units) == [50])
        }
    }

    @Test("What is over for long is forgotten")
    func pruned() {
        var table = ExposureTable()
        table.insert(Self.deal.opened(Self.deal.debit(20, account: .zero)), by: Self.member(1), firstSeen: Self.now)
        table.prune(at: Self.now + StandingLimits.exposureMilliseconds)
        #expect(table.count == 1)
        table.prune(at: Self.now + StandingLimits.exposureMilliseconds + 1)
        #expect(table.count == 0)
        table.prune(at: 0)
    }

    // MARK: Trades and ratings

    @Test("A trade is there when both sides published it alike")
    func bothSides() {
        var table = TradeTable()
        table.insert(Self.deal.bought(20), by: Self.member(1), at: Self.now)
        #expect(table.completed(Self.village.state).isEmpty)
        table.insert(Self.deal.sold(20), by: Self.member(3), at: Self.now)
        #expect(table.completed(Self.village.state).isEmpty)
        table.insert(Self.deal.sold(20), by: Self.member(2), at: Self.now + 5)
        let completed = table.completed(Self.village.state)
        #expect(completed.map(\.buyer) == [Self.member(1)] && completed.map(\.seller) == [Self.member(2)])
        #expect(completed.map(\.units) == [20] && completed.map(\.milliseconds) == [Self.now + 5])
        // Who says less now takes the edge away, and it can't be raised.
        table.insert(Self.deal.sold(50), by: Self.member(2), at: Self.now)
        #expect(table.completed(Self.village.state) == completed)
        table.insert(Self.deal.sold(10), by: Self.member(2), at: Self.now)
        #expect(table.completed(Self.village.state).isEmpty)
    }

    @Test("Ratings count for completed trades, the first of each side, by who was in it")
    func ratings() {
        let community = Self.village.state.community
        func rating(_ score: Int, _ key: KeyPair) -> Rating {
            Rating(trade: Self.deal.trade, score: score, text: "", in: community, key: key)
        }
        let words: [(Rating, Int, UInt64)] = [
            (rating(2, Self.deal.buyerKey), 1, 3), (rating(5, Self.deal.buyerKey), 1, 2),
            (rating(4, Self.deal.sellerKey), 2, 9), (rating(1, KeyPair(seed: .numbered(99))), 3, 1),
        ]
        var random = SeededGenerator(seed: 3)
        for _ in 0..<6 {
            var table = TradeTable()
            for (rating, author, offset) in words.shuffled(using: &random) {
                table.insert(
                    rating, by: Self.member(author), time: HybridTime(milliseconds: Self.now + offset),
                    entry: EntryID(.numbered(Int(offset))))
            }
            #expect(table.opinions(Self.village.state).isEmpty)
            table.insert(Self.deal.bought(20), by: Self.member(1), at: Self.now)
            table.insert(Self.deal.sold(20), by: Self.member(2), at: Self.now)
            let opinions = table.opinions(Self.village.state)
            #expect(opinions.map(\.score) == [5, 4])
            #expect(opinions.map(\.subject) == [Self.member(2), Self.member(1)])
            #expect(opinions.map(\.author) == [Self.member(1), Self.member(2)])
        }
    }

    // MARK: Arbiters

    @Test("An arbiter who vouches for a party or traded with it within a year is partial")
    func conflicts() {
        var village = Self.village
        var trades = TradeTable()
        func conflicts(_ arbiter: Int, at milliseconds: UInt64 = StandingTablesTests.now) -> [ArbiterConflict] {
            ArbiterConflict.all(
                arbiter: Self.member(arbiter), parties: [Self.member(1), Self.member(3)], village.state,
                trades: trades, at: milliseconds)
        }
        #expect(conflicts(4).isEmpty)
        #expect(conflicts(3) == [.isParty(Self.member(3))])
        village.vouch(4, for: 1)
        village.vouch(3, for: 4)
        #expect(conflicts(4) == [.vouch(Self.member(1)), .vouch(Self.member(3))])
        trades.insert(Self.deal.bought(20), by: Self.member(1), at: Self.now)
        trades.insert(Self.deal.sold(20), by: Self.member(2), at: Self.now)
        #expect(conflicts(2) == [.trade(Self.member(1))])
        let year = StandingLimits.conflictMilliseconds
        #expect(conflicts(2, at: Self.now + year) == [.trade(Self.member(1))])
        #expect(conflicts(2, at: Self.now + year + 1).isEmpty)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

/// Two who bargain over one listing, with what their devices hold.
struct Bargain {
    static let community = CommunityID(Bytes32(words: (7, 7, 7, 7)))
    static let buyer = MemberID(Bytes32(words: (1, 0, 0, 1)))
    static let seller = MemberID(Bytes32(words: (2, 0, 0, 2)))
    static let stranger = MemberID(Bytes32(words: (3, 0, 0, 3)))
    static let listing = EntryID(Bytes32(words: (9, 9, 9, 9)))
    static let now: UInt64 = 1_000_000

    var source: KeySource

    init(seed: UInt64) { source = .seeded(SeededGenerator(seed: seed)) }

    static func desk(_ member: MemberID, _ seed: UInt64) -> TradeDesk {
        var source = KeySource.seeded(SeededGenerator(seed: seed))
        var keyring = MarketKeyring()
        keyring.insert(MarketSecret(from: &source))
        return TradeDesk(community: community, member: member, keyring: keyring)
    }

    static func terms(_ price: Int64) throws -> TradeTerms {
        let currency = try #require(CurrencyCode("EUR"))
        let price = try #require(Money(price, currency))
        return TradeTerms(
            listing: listing, revision: listing, title: "A bass", price: price, delivery: .domestic, transportDays: 7)
    }

    static var row: ListingRow {
        ListingRow(
            id: listing, seller: seller, device: DeviceID(Bytes32(words: (5, 5, 5, 5))), sequence: .first,
            time: HybridTime(0), source: listing, version: HybridTime(0), title: "A bass", text: "", category: "basses",
            condition: .good, price: 100, currency: "EUR", units: 1, quantity: 1, expiry: now * 2)
    }

    /// Offer, counter-offer, and so on, in turns.
    mutating func proposals(_ prices: [Int64], seller: MemberID = seller) throws -> [TradeEvent] {
        let desks = [Self.desk(Self.buyer, 1), Self.desk(seller, 2)]
        var source = source
        defer { self.source = source }
        let until = Self.now + MarketCoreLimits.proposalMilliseconds
        var events = [try #require(desks[0].offer(try Self.terms(prices[0]), until: until, from: &source))]
        for (place, price) in prices.enumerated().dropFirst() {
            let role: TradeRole = place % 2 == 0 ? .buyer : .seller
            let event = desks[place % 2].counter(
                try Self.terms(price), as: role, after: events[place - 1], key: nil, until: until, from: &source)
            events.append(try #require(event))
        }
        return events
    }

    static func row(_ number: UInt64, _ letter: TradeLetter, by author: MemberID) -> OpenedRow {
        OpenedRow(
            id: EntryID(Bytes32(words: (number, 8, 8, 8))), kind: SealedKind.tradeEvent.rawValue,
            subject: letter.trade.bytes, author: author, device: DeviceID(Bytes32(words: (6, 6, 6, 6))),
            sequence: EntrySequence(number + 1), time: HybridTime(milliseconds: number), payload: letter.bytes)
    }

    static func stall(_ rows: [OpenedRow]) -> Stall {
        var stall = Stall()
        stall.listings = [row]
        for row in rows { stall.put(row) }
        stall.settle()
        return stall
    }
}

@Suite("A negotiation, read from letters,")
struct TradeFileTests {
    @Test("is the same whatever came first, however often, with junk in between", arguments: 0..<30)
    func orders(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var bargain = Bargain(seed: seed)
        let events = try bargain.proposals([100, 90, 95, 93])
        let trade = events[0].trade
        var letters = (events + events).map { TradeLetter(trade, events: [$0.bytes]) }
        letters.append(TradeLetter(trade, events: [[1, 2, 3], events[2].bytes]))
        // Of another trade, and of somebody whose listing it isn't.
        let others = try bargain.proposals([1, 2])
        letters.append(TradeLetter(trade, events: others.map(\.bytes)))
        let forged = try bargain.proposals([100, 1], seller: Bargain.stranger)
        letters.append(TradeLetter(trade, events: [forged[1].bytes]))
        letters.shuffle(using: &generator)
        let rows = letters.enumerated().map { Bargain.row(UInt64($0), $1, by: Bargain.buyer) }
        let file = try #require(Bargain.stall(rows).core.trade(trade))
        let negotiation = try #require(file.negotiation)
        #expect(negotiation.proposals == events && negotiation.terms.price.amount == 93)
        #expect(negotiation.lastAuthor == .seller && negotiation.seller == Bargain.seller)
        #expect(file.dossier == nil && file.letters.count == letters.count)
    }

    @Test("needs the buyer's own signature under the offer, and a listing of the other's")
    func offers() throws {
        var bargain = Bargain(seed: 1)
        let offer = try bargain.proposals([100])[0]
        var bytes = offer.bytes
        bytes[bytes.count - 1] ^= 1
        let forged = Bargain.row(0, TradeLetter(offer.trade, events: [bytes]), by: Bargain.buyer)
        #expect(Bargain.stall([forged]).core.openTrades.isEmpty)
        var stall = Bargain.stall([])
        stall.listings = []
        stall.put(Bargain.row(0, TradeLetter(offer.trade, events: [offer.bytes]), by: Bargain.buyer))
        stall.settle()
        #expect(stall.core.openTrades.isEmpty)
    }

    @Test("takes no counter-offer beyond the limit")
    func bounds() throws {
        var bargain = Bargain(seed: 2)
        let events = try bargain.proposals((0...Int64(MarketCoreLimits.countersMax) + 1).map { 100 + $0 })
        let rows = events.enumerated().map {
            Bargain.row(UInt64($0), TradeLetter($1.trade, events: [$1.bytes]), by: Bargain.buyer)
        }
        let file = try #require(Bargain.stall(rows).core.trade(events[0].trade))
        #expect(file.negotiation?.proposals.count == MarketCoreLimits.countersMax + 1)
        #expect(file.negotiation?.countersLeft == 0 && file.refusals.map(\.reason) == [.tooMany])
    }

    @Test("is looked at until it has lapsed for a while")
    func lapses() throws {
        var bargain = Bargain(seed: 3)
        let event = try bargain.proposals([100])[0]
        let row = Bargain.row(0, TradeLetter(event.trade, events: [event.bytes]), by: Bargain.buyer)
        var stall = Bargain.stall([row])
        #expect(stall.core.openTrades.count == 1)
        stall.now += MarketCoreLimits.proposalMilliseconds + MarketCoreLimits.lapsedKeptMilliseconds + 1
        stall.restart()
        stall.settle()
        #expect(stall.core.openTrades.isEmpty && stall.core.isLevel)
    }
}

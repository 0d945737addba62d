// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiMarket
import TuttiWitness

@Suite("Offers and counter-offers")
struct TradeNegotiationTests {
    typealias Fixture = TradeFixture

    private func negotiation(countersMax: Int = 6) throws -> TradeNegotiation {
        try #require(
            TradeNegotiation(
                offer: Fixture.offer(), to: Fixture.party(.seller).member, countersMax: countersMax))
    }

    private func terms(_ amount: Int64) -> TradeTerms {
        var terms = Fixture.terms
        terms.price = Fixture.money(amount)
        return terms
    }

    @Test("go to and fro until the seller accepts what the buyer last proposed")
    func agreement() throws {
        var negotiation = try negotiation()
        let first = Fixture.counter(by: .seller, number: 1, after: Fixture.offer(), terms(130_000))
        #expect(negotiation.take(first) == nil)
        let second = Fixture.counter(by: .buyer, number: 2, after: first, terms(130_000))
        #expect(negotiation.take(second) == nil)
        #expect(negotiation.terms.price.amount == 130_000 && negotiation.countersLeft == 4)
        var contract = Fixture.contract()
        contract.terms = terms(130_000)
        #expect(negotiation.refusal(of: Fixture.acceptance(contract, previous: second.hash)) == nil)
        #expect(negotiation.refusal(of: Fixture.acceptance(Fixture.contract(), previous: second.hash)) == .otherTerms)
        #expect(negotiation.refusal(of: Fixture.acceptance(contract, previous: first.hash)) == .outOfOrder)
        contract.arbiters.swapAt(0, 1)
        #expect(negotiation.refusal(of: Fixture.acceptance(contract, previous: second.hash)) == nil)
        contract.buyer.key = Fixture.party(.arbiter(3)).key
        #expect(negotiation.refusal(of: Fixture.acceptance(contract, previous: second.hash)) == .otherTrade)
    }

    @Test("let the seller accept nothing but the buyer's own word")
    func sellersOwnTerms() throws {
        var negotiation = try negotiation()
        let counter = Fixture.counter(by: .seller, number: 1, after: Fixture.offer())
        #expect(negotiation.take(counter) == nil)
        #expect(negotiation.refusal(of: Fixture.acceptance(previous: counter.hash)) == .wrongRole)
    }

    @Test("take no proposal twice, of the wrong side, out of order, or signed with another key")
    func refusals() throws {
        var negotiation = try negotiation()
        let offer = Fixture.offer()
        #expect(negotiation.take(offer) == .wrongRole)
        #expect(negotiation.take(Fixture.counter(by: .buyer, number: 1, after: offer)) == .wrongRole)
        #expect(negotiation.take(Fixture.counter(by: .seller, number: 2, after: offer)) == .outOfOrder)
        let counter = Fixture.counter(by: .seller, number: 1, after: offer)
        let forged = TradeEvent(
            trade: counter.trade, number: 1, previous: offer.hash, kind: .counter, salt: counter.salt,
            authors: [.seller], body: counter.body
        )?.signed(as: .seller, with: Fixture.strangerPair)
        #expect(negotiation.take(try #require(forged)) == .badSignature)
        var other = Fixture.terms
        other.listing = .none
        #expect(negotiation.take(Fixture.counter(by: .seller, number: 1, after: offer, other)) == .otherTrade)
        #expect(negotiation.take(counter) == nil)
        #expect(negotiation.take(counter) == .wrongRole)
    }

    @Test("end after as many as the charter allows, and lapse by their author's word")
    func limits() throws {
        var negotiation = try negotiation(countersMax: 1)
        let counter = Fixture.counter(by: .seller, number: 1, after: Fixture.offer())
        #expect(negotiation.take(counter) == nil)
        #expect(negotiation.take(Fixture.counter(by: .buyer, number: 2, after: counter)) == .tooMany)
        #expect(!negotiation.hasLapsed(at: Fixture.expiry - 1) && negotiation.hasLapsed(at: Fixture.expiry))
    }

    @Test("are begun only by the buyer, with the key that the offer names")
    func begin() {
        let seller = Fixture.party(.seller).member
        #expect(TradeNegotiation(offer: Fixture.offer(), to: Fixture.party(.buyer).member, countersMax: 6) == nil)
        #expect(TradeNegotiation(offer: Fixture.acceptance(), to: seller, countersMax: 6) == nil)
    }
}

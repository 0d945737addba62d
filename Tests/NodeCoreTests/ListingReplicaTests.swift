// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket
import TuttiNodeCore
import TuttiWitness

@Suite("Listings on whole nodes", .timeLimit(.minutes(3)))
struct ListingReplicaTests {
    private static func terms(_ title: String, price: Int64 = 900) -> ListingTerms {
        ListingTerms(
            title: title, category: "amps", condition: .good, price: price, currency: .noCurrency, quantity: 1,
            expiry: ReplicaTown.epoch + ListingLimits.millisecondsMax)
    }

    private static let stub = UnitStub(
        seller: TradeKey(.zero), witnesses: WitnessSetID(.zero), quantity: 1, nonce: .zero)

    @Test("What one member lists, revises and ends another finds; rows made anew are the same")
    func spreads() throws {
        var town = ReplicaTown(nodes: 2, seed: 11)
        try town.found()
        try town.join(1, by: try town.invite(by: 0), through: 0)
        town.run(.seconds(10))
        let body = try #require(ListingBody(stub: Self.stub, terms: Self.terms("Twin Reverb")))
        try town.write(0, .listing, body.bytes)
        let listing = try #require(town.heads[0]).id
        let first = town.found(1, "twin")
        #expect(first.map(\.title) == ["Twin Reverb"])

        // The other's revision is nobody's business.
        let theft = try #require(ListingRevisionBody(listing: listing, terms: Self.terms("Twin", price: 1)))
        try town.write(1, .listingRevision, theft.bytes)
        let revision = try #require(ListingRevisionBody(listing: listing, terms: Self.terms("Twin Reverb 1965")))
        try town.write(0, .listingRevision, revision.bytes)
        for node in 0...1 {
            let revised = town.found(node, "1965")
            #expect(revised.map(\.id) == [listing])
            #expect(revised.map(\.price) == [900])
        }

        let end = try #require(ListingEndBody(listing: listing, outcome: .sold))
        try town.write(0, .listingEnd, end.bytes)
        let open = town.found(1, "twin")
        #expect(open.isEmpty)
        let sold = town.found(1, "twin", states: [.sold])
        #expect(sold.count == 1)
        var refold = JournalRefold()
        let rows = refold.rows(town.arrivals(1))
        #expect(
            rows.compactMap { if case .listing(let row) = $0 { row } else { nil } }.filter { !$0.isWaiting } == sold)
    }
}

extension ReplicaTown {
    fileprivate mutating func write(_ node: Int, _ kind: EntryKind, _ body: [UInt8]) throws {
        append(
            node,
            EntryDraft(kind: kind, retention: .year, body: body, governance: try replica(node).community.head))
        run(.seconds(5))
    }

    fileprivate mutating func found(
        _ node: Int, _ words: String, states: [ListingState] = [.open]
    ) -> [ListingRow] {
        var query = ListingQuery()
        (query.words, query.states) = (words, states)
        let now = fleet.now
        guard case .listings(let rows) = fleet.hosts?.answer(node, .listings(query), at: now) else { return [] }
        return rows
    }

    fileprivate mutating func arrivals(_ node: Int) -> [StoredEntry] {
        let query = JournalQuery.arrivals(after: 0, countMax: 1_000, bytesMax: .max)
        let now = fleet.now
        guard case .arrivals(let entries, _) = fleet.hosts?.answer(node, query, at: now) else { return [] }
        return entries
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiJournal
import TuttiMarket

@Suite("How listings become what is shown")
struct ListingFoldTests {
    @Test("A listing is shown with its first terms")
    func lists() throws {
        var (seller, shop) = (Seller(1, of: 1), Shop())
        let listing = try seller.list(Sample.terms(quantity: 2), quantity: 3)
        shop.take([listing])
        let row = try #require(shop.rows[listing.id])
        #expect(shop.rows.count == 1)
        #expect(row.seller == seller.member && row.source == listing.id && row.state == .open && !row.isWaiting)
        #expect(row.title == "1968 Telecaster" && row.price == 125_000 && row.currency == "EUR")
        #expect(row.units == 3 && row.quantity == 2 && row.reference == "T-68")
        #expect(row.time == HybridTime(milliseconds: Sample.now))
        #expect(row.expiry == Sample.now + 86_400_000)
    }

    @Test("The order in which entries arrive makes no difference", arguments: 0..<24)
    func commutes(_ seed: UInt64) throws {
        var (first, second, other) = (Seller(1, of: 1), Seller(2, of: 1), Seller(3, of: 2))
        let listing = try first.list(quantity: 2)
        let id = listing.id
        let arrivals = try [
            listing,
            first.revise(id, Sample.terms("early", quantity: 2), at: Sample.now + 10),
            second.revise(id, Sample.terms("latest", price: 7, quantity: 9), at: Sample.now + 30),
            first.revise(id, Sample.terms("late", quantity: 2), at: Sample.now + 20),
            second.end(id, .withdrawn), first.end(id, .sold),
            other.revise(id, Sample.terms("stolen", price: 1), at: Sample.now + 99),
            other.end(id, .sold),
        ]
        var generator = SeededGenerator(seed: seed)
        var shop = Shop()
        var rest = arrivals.shuffled(using: &generator)[...]
        while !rest.isEmpty {
            let count = Int(generator.next(upperBound: UInt(4)))
            shop.take(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        shop.take(arrivals)
        let row = try #require(shop.shown[id])
        #expect(shop.shown.count == 1)
        #expect(row.title == "latest" && row.price == 7 && row.source == arrivals[2].id)
        #expect(row.state == .sold && row.units == 2 && row.quantity == 2)
        // Another member's changes wait for ever, in a place of their own.
        #expect(shop.rows.values.filter(\.isWaiting).allSatisfy { $0.seller == other.member })
    }

    @Test("Of two revisions of one moment the greater entry counts, on every node")
    func breaksTies() throws {
        var (first, second) = (Seller(1, of: 1), Seller(2, of: 1))
        let listing = try first.list()
        let one = try first.revise(listing.id, Sample.terms("one"), at: Sample.now + 5)
        let two = try second.revise(listing.id, Sample.terms("two"), at: Sample.now + 5)
        for arrivals in [[listing, one, two], [two, one, listing], [one, listing, two]] {
            var shop = Shop()
            for arrival in arrivals { shop.take([arrival]) }
            #expect(shop.rows[listing.id]?.source == max(one.id, two.id))
        }
    }

    @Test("An end has no way back, whatever is revised after it")
    func ends() throws {
        var (seller, shop) = (Seller(1, of: 1), Shop())
        let listing = try seller.list()
        let end = try seller.end(listing.id, .withdrawn)
        let revision = try seller.revise(listing.id, Sample.terms("again"), at: Sample.now + 9)
        for arrival in [listing, end, revision] { shop.take([arrival]) }
        #expect(shop.rows[listing.id]?.state == .withdrawn)
        #expect(shop.rows[listing.id]?.title == "again")
    }

    @Test("Nobody else changes or ends a listing")
    func refusesOthers() throws {
        var (seller, other, shop) = (Seller(1, of: 1), Seller(2, of: 2), Shop())
        let listing = try seller.list()
        shop.take([listing])
        let before = shop.rows
        shop.take([
            try other.end(listing.id, .sold),
            try other.revise(listing.id, Sample.terms("mine"), at: Sample.now + 9),
        ])
        #expect(shop.rows == before && shop.refusedCount == 2)
    }

    @Test("A change that names a waiting change instead of a listing does nothing")
    func refusesWaitingTargets() throws {
        var (seller, shop) = (Seller(1, of: 1), Shop())
        shop.take([try seller.end(EntryID(number(50)), .sold)])
        let waiting = try #require(shop.rows.keys.first)
        let before = shop.rows
        shop.take([try seller.revise(waiting, Sample.terms(), at: Sample.now + 9)])
        #expect(shop.rows == before && shop.refusedCount == 1 && shop.shown.isEmpty)
    }

    @Test("No terms last longer than 30 days from when they were said and seen")
    func boundsExpiry() throws {
        var (seller, shop) = (Seller(1, of: 1), Shop())
        var terms = Sample.terms()
        terms.expiry = 1 << 48 - 1
        let listing = try seller.list(terms)
        shop.take([listing])
        #expect(shop.rows[listing.id]?.expiry == Sample.now + 30 * 86_400_000)
        let later = Sample.now + 20 * 86_400_000
        shop.take([try seller.revise(listing.id, terms, at: later)])
        #expect(shop.rows[listing.id]?.expiry == later + 30 * 86_400_000)
        // Who claims to write in the future gains nothing.
        let body = try #require(ListingRevisionBody(listing: listing.id, terms: terms))
        var stored = seller.write(.listingRevision, body.bytes, at: later * 2)
        stored.firstSeen = HybridTime(milliseconds: later)
        shop.take([try #require(ListingArrival(stored, author: seller.member))])
        #expect(shop.rows[listing.id]?.expiry == later + 30 * 86_400_000)
    }

    @Test("Entries of other kinds, without a body, or malformed are not about listings")
    func passesOver() throws {
        var seller = Seller(1, of: 1)
        let body = try #require(Sample.body()).bytes
        let bare = seller.write(.listing, body).entry.withoutBody
        let others = [
            seller.write(.rating, body), seller.write(.listingEnd, body),
            StoredEntry(bare, firstSeen: HybridTime(0)),
        ]
        #expect(others.allSatisfy { ListingArrival($0, author: seller.member) == nil })
    }
}

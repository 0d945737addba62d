// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiMarket

import struct NIOCore.ByteBuffer

@Suite("What entries about listings hold")
struct ListingBodyTests {
    @Test("A listing has these bytes for ever")
    func isGolden() throws {
        let body = try #require(Sample.body())
        let digest = KeyDerivation.sha256(body.bytes).bytes.prefix(8).map { String($0, radix: 16) }
        #expect(body.bytes.count == 290)
        #expect(digest.joined(separator: " ") == "2a d1 c0 d0 bd 47 c3 7d")
    }

    @Test("Bodies come back as they were written")
    func roundTrips() throws {
        let listing = try #require(Sample.body(Sample.terms(quantity: 3), quantity: 5))
        #expect(try ListingBody(bytes: listing.bytes) == listing)
        let revision = try #require(ListingRevisionBody(listing: EntryID(number(4)), terms: Sample.terms()))
        #expect(try ListingRevisionBody(bytes: revision.bytes) == revision)
        for outcome in [ListingState.withdrawn, .sold] {
            let end = try #require(ListingEndBody(listing: EntryID(number(4)), outcome: outcome))
            #expect(try ListingEndBody(bytes: end.bytes) == end)
        }
        #expect(ListingEndBody(listing: EntryID(number(4)), outcome: .open) == nil)
    }

    @Test("Bytes cut anywhere, or with one more, are refused")
    func refusesCuts() throws {
        let listing = try #require(Sample.body()).bytes
        let revision = try #require(ListingRevisionBody(listing: EntryID(number(4)), terms: Sample.terms())).bytes
        let end = try #require(ListingEndBody(listing: EntryID(number(4)), outcome: .sold)).bytes
        for count in 0..<listing.count {
            #expect(throws: DecodeError.self) { try ListingBody(bytes: Array(listing.prefix(count))) }
        }
        for count in 0..<revision.count {
            #expect(throws: DecodeError.self) { try ListingRevisionBody(bytes: Array(revision.prefix(count))) }
        }
        for count in 0..<end.count {
            #expect(throws: DecodeError.self) { try ListingEndBody(bytes: Array(end.prefix(count))) }
        }
        #expect(throws: DecodeError.self) { try ListingBody(bytes: listing + [0]) }
        #expect(throws: DecodeError.self) { try ListingRevisionBody(bytes: revision + [8, 1]) }
        #expect(throws: DecodeError.self) { try ListingEndBody(bytes: end + [24, 0]) }
    }

    @Test("A change of any byte is another body or none, never a second form of the same one")
    func isCanonical() throws {
        let body = try #require(Sample.body())
        let bytes = body.bytes
        for place in bytes.indices {
            for value in [bytes[place] ^ 0x80, bytes[place] ^ 1, 0xFF] where value != bytes[place] {
                var changed = bytes
                changed[place] = value
                #expect((try? ListingBody(bytes: changed)) != body)
            }
        }
    }

    @Test("A number in more bytes than it needs is refused")
    func refusesPadding() throws {
        var bytes = try #require(ListingEndBody(listing: EntryID(number(4)), outcome: .sold)).bytes
        #expect(bytes.last == 3)
        bytes.removeLast()
        #expect(throws: DecodeError.malformed("end of a listing")) { try ListingEndBody(bytes: bytes + [0x83, 0]) }
    }

    @Test("What no listing can say is told by name, and has no body")
    func refusesTerms() {
        func refusal(_ change: (inout ListingTerms) -> Void) -> ListingRefusal? {
            var terms = Sample.terms()
            change(&terms)
            #expect((Sample.body(terms) == nil) == (terms.refusal != nil))
            return terms.refusal
        }
        #expect(refusal { _ in } == nil)
        #expect(refusal { $0.title = " " } == .title)
        #expect(refusal { $0.title = "a\nb" } == .title)
        #expect(refusal { $0.title = String(repeating: "x", count: 201) } == .title)
        #expect(refusal { $0.text = "\u{1B}[2J" } == .description)
        #expect(refusal { $0.text = String(repeating: "x", count: 8_193) } == .description)
        #expect(refusal { $0.category = "Guitars" } == .category)
        #expect(refusal { $0.category = "guitars " } == .category)
        #expect(refusal { $0.price = 0 } == .price)
        #expect(refusal { $0.price = ListingLimits.priceMax + 1 } == .price)
        #expect(refusal { $0.quantity = 0 } == .quantity)
        #expect(refusal { $0.language = "de_DE" } == .language)
        #expect(refusal { $0.expiry = 1 << 48 } == .expiry)
        #expect(refusal { $0.reference = "a\u{202E}b" } == .reference)
        #expect(refusal { $0.delivery.swapAt(0, 1) } == .delivery)
        #expect(refusal { $0.delivery[0].cost = 1 } == .delivery)
        #expect(refusal { $0.delivery[1].cost = -1 } == .delivery)
        #expect(refusal { $0.photos.append($0.photos[0]) } == .photos)
        #expect(refusal { $0.commitments.append($0.commitments[0]) } == .commitments)
    }

    @Test("No more units are offered than there are")
    func boundsUnits() {
        #expect(Sample.body(Sample.terms(quantity: 2), quantity: 1) == nil)
        #expect(Sample.body(Sample.terms(quantity: 2), quantity: 2) != nil)
        #expect(Sample.body(quantity: ListingLimits.quantityMax + 1) == nil)
    }

    @Test("The longest terms fit into a body")
    func fits() throws {
        var terms = Sample.terms(String(repeating: "t", count: 200), price: ListingLimits.priceMax, quantity: 10_000)
        terms.text = String(repeating: "d", count: 8_192)
        terms.category = String(repeating: "c", count: 64)
        terms.reference = String(repeating: "r", count: 64)
        terms.language = String(repeating: "l", count: 35)
        terms.expiry = 1 << 48 - 1
        terms.delivery = ListingDelivery.Way.allCases.map {
            ListingDelivery($0, cost: $0 == .inPerson ? 0 : ListingLimits.priceMax)
        }
        terms.photos = (0..<16).map {
            CID(codec: 1 << 62, multihash: Multihash(sha256Of: [$0]))
        }
        terms.commitments = (0..<16).map { ListingCommitment(kind: .photo, digest: number($0)) }
        let body = try #require(Sample.body(terms, quantity: 10_000))
        #expect(body.bytes.count <= ListingLimits.bodyBytesMax)
        #expect(try ListingBody(bytes: body.bytes) == body)
    }

    @Test("A commitment opens for what it was made of alone")
    func commits() {
        let made = ListingCommitment(.serial, of: Array("A12345".utf8), salt: number(9))
        #expect(made.isOf(Array("A12345".utf8), salt: number(9)))
        #expect(!made.isOf(Array("A12346".utf8), salt: number(9)))
        #expect(!made.isOf(Array("A12345".utf8), salt: number(8)))
        #expect(ListingCommitment(.photo, of: Array("A12345".utf8), salt: number(9)).digest != made.digest)
    }

    @Test("Amounts are written with the decimals of their currency")
    func writesAmounts() throws {
        #expect(Sample.euro.amount(125_000) == "1250.00")
        #expect(Sample.euro.amount(5) == "0.05")
        #expect(Sample.yen.amount(125_000) == "125000")
        #expect(CurrencyCode("KWD")?.amount(1_234) == "1.234")
        #expect(CurrencyCode("eur") == nil && CurrencyCode("EU") == nil && CurrencyCode("EURO") == nil)
        #expect(Sample.euro.isInUse && CurrencyCode("QQQ")?.isInUse == false)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

func number(_ value: UInt64) -> Bytes32 { Bytes32(words: (value, 0, 0, 0)) }

enum Sample {
    static let now: UInt64 = 1_800_000_000_000

    static func terms(_ title: String = "1968 Telecaster", price: Int64 = 125_000, quantity: Int = 1) -> ListingTerms {
        ListingTerms(
            title: title, text: "Honest wear.\nWith case.", category: "electric guitars", condition: .veryGood,
            price: price, currency: euro, quantity: quantity, language: "en", expiry: now + 86_400_000,
            reference: "T-68",
            delivery: [ListingDelivery(.inPerson), ListingDelivery(.domestic, cost: 1_500)],
            photos: [CID(codec: CID.raw, multihash: Multihash(sha256Of: [1]))],
            commitments: [ListingCommitment(.serial, of: Array("A12345".utf8), salt: number(9))])
    }

    static let euro = CurrencyCode("EUR") ?? .noCurrency
    static let yen = CurrencyCode("JPY") ?? .noCurrency

    static func stub(quantity: Int = 1) -> UnitStub {
        UnitStub(
            seller: TradeKey(number(1)), witnesses: WitnessSetID(number(2)), quantity: quantity, nonce: number(3))
    }

    static func body(_ terms: ListingTerms = terms(), quantity: Int = 1) -> ListingBody? {
        ListingBody(stub: stub(quantity: quantity), terms: terms)
    }
}

/// A device that writes about listings.
struct Seller {
    let member: MemberID
    private let key: KeyPair
    private var head = FeedPoint.start

    init(_ device: UInt64, of member: UInt64) {
        key = KeyPair(seed: number(device))
        self.member = MemberID(number(member))
    }

    /// - Parameter time: claimed; seen a second later.
    mutating func write(
        _ kind: EntryKind, _ body: [UInt8], at time: UInt64 = Sample.now
    ) -> StoredEntry {
        let content = Entry.Content(salt: number(head.sequence.value), body: body)
        let header = EntryHeader(
            kind: kind, isCritical: false, retention: .year, bodyBytesCount: body.count, sequence: head.sequence.next,
            time: HybridTime(milliseconds: time), community: CommunityID(number(7)),
            device: DeviceID(Bytes32(key.publicKey.raw) ?? .zero), previous: head.id, governance: .none,
            bodyDigest: content.digest)
        let entry = Entry(signing: header, content: content, with: key)
        head = entry.point
        return StoredEntry(entry, firstSeen: HybridTime(milliseconds: time + 1_000))
    }

    mutating func list(_ terms: ListingTerms = Sample.terms(), quantity: Int = 1) throws -> ListingArrival {
        let entry = write(.listing, try #require(Sample.body(terms, quantity: quantity)).bytes)
        return try #require(ListingArrival(entry, author: member))
    }

    mutating func revise(_ listing: EntryID, _ terms: ListingTerms, at time: UInt64) throws -> ListingArrival {
        let body = try #require(ListingRevisionBody(listing: listing, terms: terms))
        let entry = write(.listingRevision, body.bytes, at: time)
        return try #require(ListingArrival(entry, author: member))
    }

    mutating func end(_ listing: EntryID, _ outcome: ListingState) throws -> ListingArrival {
        let entry = write(.listingEnd, try #require(ListingEndBody(listing: listing, outcome: outcome)).bytes)
        return try #require(ListingArrival(entry, author: member))
    }
}

/// What a node holds after arrivals in one order, in batches.
struct Shop {
    private(set) var rows: [EntryID: ListingRow] = [:]
    private var fold = ListingFold()

    var refusedCount: Int { fold.refusedCount }
    /// What queries find.
    var shown: [EntryID: ListingRow] { rows.filter { !$0.value.isWaiting } }

    mutating func take(_ arrivals: [ListingArrival]) {
        let existing = fold.rowsNeeded(for: arrivals).compactMap { rows[$0] }
        for row in fold.rows(for: arrivals, existing: existing) {
            if case .listing(let listing) = row { rows[row.id] = listing } else { rows[row.id] = nil }
        }
    }
}

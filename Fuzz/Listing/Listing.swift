// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

/// Bodies of listings, and the fold that makes rows of them. The first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 3 {
    case 0: fuzzCodecs(source.rest())
    case 1: fuzzDamage(&source)
    default: fuzzFold(&source)
    }
    return 0
}

@_cdecl("Listing_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

func bytes32(_ byte: UInt8) -> Bytes32 {
    let word = UInt64(byte) &* 0x0101_0101_0101_0101
    return Bytes32(words: (word, word, word, word))
}

// MARK: Bytes

func fuzzCodecs(_ bytes: [UInt8]) {
    if let body = try? ListingBody(bytes: bytes) {
        require(body.bytes == bytes, "a listing has one encoding")
        require(ListingBody(stub: body.stub, terms: body.terms) == body, "what is read can be written")
    }
    if let body = try? ListingRevisionBody(bytes: bytes) {
        require(body.bytes == bytes, "a revision has one encoding")
        require(body.terms.refusal == nil, "what is read may stand there")
    }
    if let body = try? ListingEndBody(bytes: bytes) { require(body.bytes == bytes, "an end has one encoding") }
}

func terms(_ source: inout ByteSource) -> ListingTerms {
    ListingTerms(
        title: "t\(source.byte())", text: source.bool() ? "" : "some\nwords", category: "amps",
        condition: ListingCondition(rawValue: 1 + source.byte() % 8) ?? .good, price: 1 + Int64(source.word16()),
        currency: CurrencyCode("EUR") ?? .noCurrency, quantity: 1 + source.below(9), expiry: source.word64() >> 16,
        delivery: source.bool() ? [ListingDelivery(.inPerson), ListingDelivery(.region, cost: 5)] : [],
        photos: source.bool() ? [CID(codec: CID.raw, multihash: Multihash(sha256Of: [source.byte()]))] : [],
        commitments: source.bool() ? [ListingCommitment(kind: .serial, digest: bytes32(source.byte()))] : [])
}

func fuzzDamage(_ source: inout ByteSource) {
    let stub = UnitStub(
        seller: TradeKey(bytes32(source.byte())), witnesses: WitnessSetID(bytes32(2)), quantity: 10, nonce: bytes32(3))
    guard let body = ListingBody(stub: stub, terms: terms(&source)) else {
        return require(false, "these terms may stand there")
    }
    require((try? ListingBody(bytes: body.bytes)) == body, "a listing survives its encoding")
    fuzzCodecs(source.mutate(body.bytes))
}

// MARK: Rows

/// Acts of two members on two listings, in two orders and in batches of any size.
func fuzzFold(_ source: inout ByteSource) {
    var arrivals: [ListingArrival] = []
    var listings: [EntryID] = []
    for number in 0..<(2 + source.below(12)) {
        let member = MemberID(bytes32(1 + source.byte() % 2))
        let kind: EntryKind
        let body: [UInt8]?
        if listings.count < 2 || source.below(4) == 0 {
            let stub = UnitStub(
                seller: TradeKey(bytes32(1)), witnesses: WitnessSetID(bytes32(2)), quantity: 10, nonce: bytes32(3))
            (kind, body) = (.listing, ListingBody(stub: stub, terms: terms(&source))?.bytes)
        } else if source.bool() {
            (kind, body) = (
                .listingRevision, ListingRevisionBody(listing: source.pick(listings), terms: terms(&source))?.bytes
            )
        } else {
            let outcome: ListingState = source.bool() ? .sold : .withdrawn
            (kind, body) = (.listingEnd, ListingEndBody(listing: source.pick(listings), outcome: outcome)?.bytes)
        }
        let stored = stored(kind, body ?? [], number, at: UInt64(source.byte() % 8))
        if kind == .listing { listings.append(stored.entry.id) }
        guard let arrival = ListingArrival(stored, author: member) else {
            return require(false, "what was written is read")
        }
        arrivals.append(arrival)
    }
    var others = arrivals
    for place in others.indices.reversed() { others.swapAt(place, source.below(place + 1)) }
    let (one, other) = (rows(arrivals, &source), rows(others, &source))
    require(one.filter { !$0.value.isWaiting } == other.filter { !$0.value.isWaiting }, "any order gives the same rows")
    require(one.values.allSatisfy { $0.isWaiting || $0.quantity <= $0.units }, "no more is offered than there is")
}

func rows(_ arrivals: [ListingArrival], _ source: inout ByteSource) -> [EntryID: ListingRow] {
    var (fold, held, rest) = (ListingFold(), [EntryID: ListingRow](), arrivals[...])
    while !rest.isEmpty {
        let batch = Array(rest.prefix(1 + source.below(4)))
        rest = rest.dropFirst(batch.count)
        let existing = fold.rowsNeeded(for: batch).compactMap { held[$0] }
        for row in fold.rows(for: batch, existing: existing) {
            if case .listing(let listing) = row { held[row.id] = listing } else { held[row.id] = nil }
        }
    }
    return held
}

func stored(_ kind: EntryKind, _ body: [UInt8], _ number: Int, at time: UInt64) -> StoredEntry {
    let content = Entry.Content(salt: bytes32(0), body: body)
    let header = EntryHeader(
        kind: kind, isCritical: false, retention: .year, bodyBytesCount: body.count,
        sequence: EntrySequence(UInt64(number) + 1), time: HybridTime(milliseconds: time),
        community: CommunityID(bytes32(7)), device: DeviceID(bytes32(8)), previous: .none, governance: .none,
        bodyDigest: content.digest)
    let entry = Entry(stored: header, signature: [UInt8](repeating: 0, count: 64), content: content)
    return StoredEntry(entry, firstSeen: header.time)
}

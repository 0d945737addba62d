// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

@Suite("Encodings of standing")
struct StandingCodingTests {
    private static let community = CommunityID(.numbered(1))
    private static let device = KeyPair(seed: .numbered(2))
    private static let key = KeyPair(seed: .numbered(3))
    private static let otherKey = KeyPair(seed: .numbered(4))
    private static let member = MemberID(.numbered(5))
    private static let peer = KeyPair(seed: .numbered(6)).peerID

    private static func hex(_ bytes: [UInt8]) -> String { BitText.base16.encode(bytes) }
    private static func field(_ tag: String, _ bytes: Bytes32) -> String { tag + "20" + hex(bytes.bytes) }
    private static func signature(_ tag: String, _ bytes: [UInt8]) -> String { tag + "40" + hex(bytes) }

    private static let card = PartyCard(
        community: community, member: member, key: TradeKey(key), nonce: .numbered(7), device: device)
    private static let cardHex =
        field("0a", .numbered(1)) + field("12", .numbered(5)) + field("1a", device.device.bytes)
        + field("22", key.device.bytes) + field("2a", .numbered(7)) + signature("32", card.signature)
    private static let consent = ArbiterConsent(
        ArbiterConsent.Terms(
            feePermille: 25, languages: ["de", "pt-br"], cap: 300, currencies: ["EUR"], validUntil: 1_000),
        in: community, device: device.device, key: key)
    private static let witness = WitnessCard(peer: peer, in: community, device: device.device, key: key)
    private static let debit = Exposure.Debit(
        seller: card, buyerKey: TradeKey(otherKey), buyer: MemberID(.numbered(8)), trade: TradeID(.numbered(9)),
        account: .numbered(10), units: 200)
    private static let opened = Exposure(
        opened: debit, buyerSignature: otherKey.sign(debit.signedBytes(.opened)),
        sellerSignature: key.sign(debit.signedBytes(.opened)))
    private static let closed = Exposure(
        closed: debit, buyerSignature: otherKey.sign(debit.signedBytes(.closed)))
    private static let edge = TradeEdge(
        card: card, trade: TradeID(.numbered(9)), other: TradeKey(otherKey), side: .sold, units: 200, key: key)
    private static let rating = Rating(
        trade: TradeID(.numbered(9)), score: 4, text: "Good", in: community, key: key)

    private static let debitHex =
        "12ec01" + cardHex + field("1a", otherKey.device.bytes) + field("22", .numbered(8))
        + field("2a", .numbered(9)) + field("32", .numbered(10)) + "38c801"

    /// Each with its bytes, and how it is read and written again.
    private static let vectors: [(name: String, hex: String, again: @Sendable ([UInt8]) throws -> [UInt8])] = [
        (
            "consent",
            field("0a", key.device.bytes) + "10191a040a0264651a070a0570742d627220ac022a050a0345555230e807"
                + signature("3a", consent.proof),
            { try ArbiterConsent(bytes: $0).bytes }
        ),
        (
            "witness card",
            field("0a", key.device.bytes) + "1226" + hex(peer.bytes) + signature("1a", witness.proof),
            { try WitnessCard(bytes: $0).bytes }
        ),
        (
            "opened exposure",
            "0801" + debitHex + signature("42", opened.buyerSignature) + signature("4a", opened.sellerSignature),
            { try Exposure(bytes: $0).bytes }
        ),
        (
            "closed exposure", "0802" + debitHex + signature("42", closed.buyerSignature),
            { try Exposure(bytes: $0).bytes }
        ),
        (
            "trade edge",
            "0aec01" + cardHex + field("12", .numbered(9)) + field("1a", otherKey.device.bytes) + "200228c801"
                + signature("32", edge.signature),
            { try TradeEdge(bytes: $0).bytes }
        ),
        (
            "rating",
            field("0a", .numbered(9)) + field("12", key.device.bytes) + "18042204476f6f64"
                + signature("2a", rating.signature),
            { try Rating(bytes: $0).bytes }
        ),
    ]
    private static let written = [
        consent.bytes, witness.bytes, opened.bytes, closed.bytes, edge.bytes, rating.bytes,
    ]

    @Test("Each body has its golden bytes, and one encoding only", arguments: vectors.indices)
    func golden(index: Int) throws {
        let (name, hex, again) = Self.vectors[index]
        let bytes = Self.written[index]
        #expect(Self.hex(bytes) == hex, "\(name)")
        #expect(try again(bytes) == bytes)
        for count in 0..<bytes.count {
            #expect(throws: DecodeError.self) { try again(Array(bytes.prefix(count))) }
        }
        #expect(throws: DecodeError.self) { try again(bytes + [0x78, 0x01]) }
        // What isn't refused is another whole body.
        var random = SeededGenerator(seed: UInt64(index))
        for _ in 0..<2_000 {
            var other = bytes
            other[Int.random(in: 0..<other.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            if let read = try? again(other) { #expect(read == other) }
        }
    }

    @Test("A signature is good for one purpose, one place and one author")
    func signatures() {
        #expect(Self.card.isSignatureValid)
        #expect(Self.consent.isProofValid(in: Self.community, device: Self.device.device))
        #expect(!Self.consent.isProofValid(in: CommunityID(.numbered(2)), device: Self.device.device))
        #expect(!Self.consent.isProofValid(in: Self.community, device: Self.key.device))
        #expect(Self.witness.isProofValid(in: Self.community, device: Self.device.device))
        #expect(!Self.witness.isProofValid(in: Self.community, device: Self.key.device))
        #expect(Self.opened.isAuthentic && Self.closed.isAuthentic && Self.edge.isAuthentic)
        #expect(Self.rating.isAuthentic(in: Self.community) && !Self.rating.isAuthentic(in: CommunityID(.numbered(2))))
        // What opened doesn't close, and the seller alone does neither.
        #expect(!Exposure(closed: Self.debit, buyerSignature: Self.opened.buyerSignature).isAuthentic)
        let alone = Self.key.sign(Self.debit.signedBytes(.opened))
        #expect(!Exposure(opened: Self.debit, buyerSignature: alone, sellerSignature: alone).isAuthentic)
        let closing = Self.key.sign(Self.debit.signedBytes(.closed))
        #expect(!Exposure(closed: Self.debit, buyerSignature: closing).isAuthentic)
    }

    @Test("Nobody is burdened by a card of another's key")
    func foreignCard() {
        let stolen = PartyCard(
            community: Self.community, member: Self.member, key: TradeKey(Self.otherKey), nonce: .zero,
            device: Self.device)
        let debit = Exposure.Debit(
            seller: stolen, buyerKey: TradeKey(Self.otherKey), buyer: nil, trade: TradeID(.numbered(1)),
            account: .zero, units: 1)
        let signature = Self.key.sign(debit.signedBytes(.opened))
        let mine = Self.otherKey.sign(debit.signedBytes(.opened))
        #expect(!Exposure(opened: debit, buyerSignature: mine, sellerSignature: signature).isAuthentic)
        let edge = TradeEdge(
            card: stolen, trade: TradeID(.numbered(1)), other: TradeKey(Self.key), side: .sold, units: 1, key: Self.key)
        #expect(!edge.isAuthentic)
    }

    static let refusedTerms: [@Sendable (inout ArbiterConsent.Terms) -> Void] = [
        { $0.feePermille = 201 }, { $0.languages = ["DE"] }, { $0.languages = ["de", "de"] }, { $0.languages = ["d"] },
        { $0.languages = ["en", "de"] }, { $0.currencies = ["EU"] }, { $0.currencies = ["USD", "EUR"] },
        { $0.cap = MarketLimits.unitsMax + 1 }, { $0.validUntil = 1 << 48 + 1 },
        { $0.languages = (0..<17).map { "l\($0 / 10)\($0 % 10)" } },
    ]

    @Test("A consent out of bounds is refused", arguments: refusedTerms.indices)
    func refused(index: Int) {
        var terms = Self.consent.terms
        #expect(terms.isWellFormed)
        Self.refusedTerms[index](&terms)
        #expect(!terms.isWellFormed)
        let bytes = ArbiterConsent(terms, in: Self.community, device: Self.device.device, key: Self.key).bytes
        #expect(throws: DecodeError.self) { try ArbiterConsent(bytes: bytes) }
    }

    @Test("A consent covers what it says")
    func covers() {
        #expect(Self.consent.covers(units: 300, currency: "EUR", at: 1_000))
        #expect(!Self.consent.covers(units: 301, currency: "EUR", at: 1_000))
        #expect(!Self.consent.covers(units: 1, currency: "USD", at: 1_000))
        #expect(!Self.consent.covers(units: 1, currency: "EUR", at: 1_001))
    }
}

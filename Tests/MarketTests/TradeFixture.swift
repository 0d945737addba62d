// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

/// Two people, two arbiters, four witnesses, and a trade between them. The same keys every time.
enum TradeFixture {
    static func bytes32(_ byte: UInt8) -> Bytes32 {
        let word = UInt64(byte) &* 0x0101_0101_0101_0101
        return Bytes32(words: (word, word, word, word))
    }

    static func key(_ role: TradeRole) -> KeyPair { KeyPair(seed: bytes32(UInt8(role.number))) }
    static func tradeKey(_ pair: KeyPair) -> TradeKey { TradeKey(Bytes32(pair.publicKey.raw) ?? .zero) }
    static let witnessPairs = (0..<4).map { KeyPair(seed: bytes32(0x40 + UInt8($0))) }
    static let strangerPair = KeyPair(seed: bytes32(0x7F))

    static func party(_ role: TradeRole) -> TradeParty {
        TradeParty(member: MemberID(bytes32(0x20 + UInt8(role.number))), key: tradeKey(key(role)))
    }

    static let price = money(125_000)
    static func money(_ amount: Int64, _ currency: String = "EUR") -> Money {
        guard let currency = CurrencyCode(currency), let money = Money(amount, currency) else {
            preconditionFailure("a sum that can't be")
        }
        return money
    }

    static let terms = TradeTerms(
        listing: EntryID(bytes32(0xA1)), revision: EntryID(bytes32(0xA2)), title: "Viola da gamba, 1972", price: price,
        delivery: .domestic, transportDays: 5, payment: "Bank transfer to IBAN XX00", note: "With case",
        commitments: [ListingCommitment(kind: .serial, digest: bytes32(0xA3))])

    /// The charter's standard, with five days of transport.
    static let deadlines = [24, 72, 96, 120, (14 + 5) * 24, 168, 120, 72, 72, 48, 120, 48].map { $0 * 3_600 }

    static func contract(arbiters: Int = 2) -> Contract {
        guard let witnesses = WitnessSet(witnessPairs.map(tradeKey)) else { preconditionFailure("four witnesses") }
        return Contract(
            community: CommunityID(bytes32(0xC0)), nonce: bytes32(0xA4), terms: terms, unit: UnitID(bytes32(0xA5)),
            round: 0, buyer: party(.buyer), seller: party(.seller),
            arbiters: (0..<arbiters).map { party(.arbiter($0)) }, witnesses: witnesses, deadlines: deadlines,
            account: bytes32(0xA6), exposure: 200_000, charter: bytes32(0xA7))
    }

    static let trade = contract().trade

    static func sign(_ event: TradeEvent, as roles: [TradeRole]) -> TradeEvent {
        roles.reduce(event) { $0.signed(as: $1, with: key($1)) }
    }

    static func event(
        _ kind: TradeEventKind, by roles: [TradeRole], number: UInt32, previous: Bytes32 = .zero, detail: UInt16 = 0,
        salt: UInt8 = 0x5A, _ body: TradeEventBody
    ) -> TradeEvent {
        let event = TradeEvent(
            trade: trade, number: number, previous: previous, kind: kind, detail: detail, salt: bytes32(salt),
            authors: Set(roles), body: body)
        guard let event else { preconditionFailure("an event that can't be") }
        return sign(event, as: roles)
    }

    static func acceptance(_ contract: Contract = contract(), previous: Bytes32 = .zero) -> TradeEvent {
        event(.accept, by: [.seller], number: 0, previous: previous, .accept(contract))
    }

    static let expiry: UInt64 = 1_800_000_000_000

    static func offer(_ terms: TradeTerms = terms) -> TradeEvent {
        event(
            .offer, by: [.buyer], number: 0,
            .offer(
                TradeOffer(
                    community: CommunityID(bytes32(0xC0)), nonce: bytes32(0xA4), buyer: party(.buyer), terms: terms,
                    expiry: expiry)))
    }

    static func counter(
        by role: TradeRole, number: UInt32, after previous: TradeEvent, _ terms: TradeTerms = terms
    ) -> TradeEvent {
        event(
            .counter, by: [role], number: number, previous: previous.hash,
            .counter(TradeCounter(author: party(role), terms: terms, expiry: expiry)))
    }

    /// A body that the contract admits.
    static func body(_ kind: StepKind) -> TradeEventBody {
        switch kind {
        case .contract: .contract(destination: "Camila\nRua A 1")
        case .paid: .payment(TradePayment(sum: price, way: "bank", reference: "TRADE 7"))
        case .refund: .payment(TradePayment(sum: price, way: "bank", reference: "BACK 7"))
        case .shipped, .carrierProof: .shipment(TradeShipment(carrier: "Post", tracking: "RX 123"))
        case .opening: .opening([])
        case .dispute: .words(TradeWords(reason: .notReceived, text: "Nothing came."))
        case .challenge: .words(TradeWords(reason: .unreadable))
        case .received, .receipt, .accepted, .cancel, .answer, .settlement, .acknowledgement, .ruling, .handover:
            .words(TradeWords())
        }
    }
}

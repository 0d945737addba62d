// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

/// The one contract that is bargained over: two arbiters, four witnesses, goods that are sent.
enum BargainContract {
    private static func bytes32(_ number: UInt64) -> Bytes32 { Bytes32(words: (number, number, number, number)) }
    private static func party(_ number: UInt64) -> TradeParty {
        TradeParty(member: MemberID(bytes32(number)), key: TradeKey(bytes32(0x100 + number)))
    }

    static let dossier: Dossier = {
        guard let currency = CurrencyCode("EUR"), let price = Money(1_000, currency),
            let witnesses = WitnessSet((0..<4).map { TradeKey(bytes32(0x200 + $0)) })
        else { preconditionFailure("a price and four witnesses") }
        let listing = EntryID(bytes32(0x300))
        let terms = TradeTerms(
            listing: listing, revision: listing, title: "A thing", price: price, delivery: .domestic,
            transportDays: 0)
        let contract = Contract(
            community: CommunityID(bytes32(0x301)), nonce: bytes32(0x302), terms: terms, unit: UnitID(bytes32(0x303)),
            round: 0, buyer: party(1), seller: party(2), arbiters: [party(3), party(4)], witnesses: witnesses,
            deadlines: DeadlineName.allCases.map { _ in 86_400 }, account: bytes32(0x304), exposure: 1_000,
            charter: bytes32(0x305))
        let acceptance = TradeEvent(
            trade: contract.trade, number: 0, previous: .zero, kind: .accept, salt: .zero, authors: [.seller],
            body: .accept(contract))
        guard let acceptance, let dossier = Dossier(acceptance: acceptance) else {
            preconditionFailure("a contract that can be signed")
        }
        return dossier
    }()
}

/// In place of Ed25519: cheap, the same every time, and a signature with one key is none with another. Its "keys" are the
/// public ones.
enum BargainSignature {
    static func sign(_ message: [UInt8], with key: TradeKey) -> [UInt8] {
        let digest = KeyDerivation.sha256(key.bytes.bytes + message).bytes
        return digest + digest
    }

    static func isValid(_ check: SignatureCheck) -> Bool {
        check.signature == sign(check.message, with: check.key)
    }
}

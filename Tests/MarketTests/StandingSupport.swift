// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

extension Bytes32 {
    static func numbered(_ number: Int) -> Bytes32 { Bytes32(words: (7, 7, 7, UInt64(number))) }
}

extension TradeKey {
    init(_ pair: KeyPair) { self.init(pair.device.bytes) }
}

/// Two sides of a trade, with keys of their own.
struct Deal {
    let trade: TradeID
    let buyer: Int
    let seller: Int
    let buyerKey: KeyPair
    let sellerKey: KeyPair
    let buyerCard: PartyCard
    let sellerCard: PartyCard

    init(_ number: Int, buyer: Int, seller: Int, in village: Village) {
        let community = village.state.community
        let trade = TradeID(.numbered(number))
        self.trade = trade
        self.buyer = buyer
        self.seller = seller
        buyerKey = KeyPair(seed: .numbered(2 * number))
        sellerKey = KeyPair(seed: .numbered(2 * number + 1))
        func card(_ who: Int, _ key: KeyPair) -> PartyCard {
            PartyCard(
                community: community, member: Village.member(who), key: TradeKey(key), nonce: trade.bytes,
                device: Village.deviceKey(who))
        }
        buyerCard = card(buyer, buyerKey)
        sellerCard = card(seller, sellerKey)
    }

    func debit(_ units: Int64, named: Bool = true, account: Bytes32) -> Exposure.Debit {
        Exposure.Debit(
            seller: sellerCard, buyerKey: TradeKey(buyerKey), buyer: named ? Village.member(buyer) : nil,
            trade: trade, account: account, units: units)
    }

    func opened(_ debit: Exposure.Debit) -> Exposure {
        Exposure(
            opened: debit, buyerSignature: buyerKey.sign(debit.signedBytes(.opened)),
            sellerSignature: sellerKey.sign(debit.signedBytes(.opened)))
    }

    func closed(_ debit: Exposure.Debit) -> Exposure {
        Exposure(closed: debit, buyerSignature: buyerKey.sign(debit.signedBytes(.closed)))
    }

    func bought(_ units: Int64) -> TradeEdge {
        TradeEdge(
            card: buyerCard, trade: trade, other: TradeKey(sellerKey), side: .bought, units: units, key: buyerKey)
    }

    func sold(_ units: Int64) -> TradeEdge {
        TradeEdge(
            card: sellerCard, trade: trade, other: TradeKey(buyerKey), side: .sold, units: units, key: sellerKey)
    }
}

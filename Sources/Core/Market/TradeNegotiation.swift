// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiJournal
package import TuttiWitness

/// Offer and counter-offers, until the seller accepts the buyer's last terms. Nothing here binds anybody or is registered:
/// an offer lapses by its author's own word, and who accepts too late finds that the buyer doesn't sign.
///
/// Each proposal builds on the one before and comes from the other side than that one. To agree to a counter-offer the buyer
/// proposes the same terms.
package struct TradeNegotiation: Hashable, Sendable {
    package enum Refusal: Hashable, Sendable {
        case badSignature
        case wrongRole
        /// It doesn't follow the last proposal.
        case outOfOrder
        /// As many were made as the charter allows.
        case tooMany
        /// Another listing, community, member or key than before.
        case otherTrade
        /// Not what the buyer last proposed.
        case otherTerms
    }

    package let trade: TradeID
    package let offer: TradeOffer
    /// By the listing.
    package let seller: MemberID
    private let countersMax: Int
    package private(set) var proposals: [TradeEvent]
    /// Known from the seller's first counter-offer on.
    package private(set) var sellerKey: TradeKey?
    package private(set) var terms: TradeTerms
    package private(set) var expiry: UInt64

    /// Nil unless it is an offer to this seller, signed by the buyer's key.
    /// - Parameter countersMax: by the charter.
    package init?(offer event: TradeEvent, to seller: MemberID, countersMax: Int) {
        guard case .offer(let offer) = event.body, event.trade == offer.trade, event.number == 0,
            event.previous == .zero, event.authors == [.buyer], offer.buyer.member != seller,
            event.isSigned(by: [.buyer: offer.buyer.key])
        else { return nil }
        trade = event.trade
        self.offer = offer
        self.seller = seller
        self.countersMax = min(max(countersMax, 0), TradeLimits.proposalsMax - 1)
        proposals = [event]
        terms = offer.terms
        expiry = offer.expiry
    }

    /// Whose proposal stands.
    package var lastAuthor: TradeRole { proposals.last?.authors.contains(.seller) == true ? .seller : .buyer }
    package var countersLeft: Int { countersMax - (proposals.count - 1) }

    /// By our own clock, and for ourselves alone.
    package func hasLapsed(at milliseconds: UInt64) -> Bool { milliseconds >= expiry }

    /// - Returns: why it has no effect; nil when it has.
    package mutating func take(_ event: TradeEvent) -> Refusal? {
        guard event.trade == trade else { return .otherTrade }
        guard case .counter(let counter) = event.body else { return .wrongRole }
        let author: TradeRole = lastAuthor == .buyer ? .seller : .buyer
        guard event.authors == [author] else { return .wrongRole }
        guard event.previous == proposals.last?.hash, Int(event.number) == proposals.count else { return .outOfOrder }
        guard proposals.count <= countersMax else { return .tooMany }
        let key = author == .buyer ? offer.buyer.key : sellerKey
        guard counter.author.member == (author == .buyer ? offer.buyer.member : seller),
            key == nil || key == counter.author.key, counter.terms.listing == offer.terms.listing
        else { return .otherTrade }
        guard event.isSigned(by: [author: counter.author.key]) else { return .badSignature }
        if author == .seller { sellerKey = counter.author.key }
        proposals.append(event)
        terms = counter.terms
        expiry = counter.expiry
        return nil
    }

    /// Why the buyer wouldn't sign this contract, if there is a reason.
    package func refusal(of acceptance: TradeEvent) -> Refusal? {
        guard case .accept(let contract) = acceptance.body, acceptance.trade == trade, contract.trade == trade else {
            return .otherTrade
        }
        guard acceptance.authors == [.seller], lastAuthor == .buyer else { return .wrongRole }
        guard acceptance.previous == proposals.last?.hash else { return .outOfOrder }
        guard contract.community == offer.community, contract.nonce == offer.nonce, contract.buyer == offer.buyer,
            contract.seller.member == seller, sellerKey == nil || sellerKey == contract.seller.key
        else { return .otherTrade }
        guard contract.terms == terms else { return .otherTerms }
        return acceptance.isSigned(by: [.seller: contract.seller.key]) ? nil : .badSignature
    }
}

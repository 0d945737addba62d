// SPDX-License-Identifier: Apache-2.0
import TuttiJournal
import TuttiMarket

/// Terms of a trade as people type them.
enum TradeTyping {
    /// How long a way takes at most, unless somebody says so.
    private static func days(_ way: ListingDelivery.Way) -> Int {
        switch way {
        case .inPerson: 0
        case .domestic: 7
        case .region: 14
        case .worldwide: 21
        }
    }

    /// A first offer: what isn't said is as the listing has it.
    static func terms(
        _ proposal: TradeProposal, listing row: ListingRow, _ listed: ListingTerms
    ) throws -> TradeTerms {
        let way: ListingDelivery
        if let typed = proposal.delivery {
            let name = typed.lowercased().replacing("-", with: " ")
            guard let found = listed.delivery.first(where: { $0.way.name == name }) else {
                let ways = listed.delivery.map { ListingTyping.text($0, listed.currency) }.joined(separator: ", ")
                throw CommunityError(
                    .invalidInput, "the seller doesn't deliver '\(typed)'; but: \(ways.isEmpty ? "in person" : ways)")
            }
            way = found
        } else {
            guard listed.delivery.count <= 1 else {
                let ways = listed.delivery.map(\.way.name).joined(separator: ", ")
                throw CommunityError(.invalidInput, "choose with --delivery how it gets to you: \(ways)")
            }
            way = listed.delivery.first ?? ListingDelivery(.inPerson)
        }
        let sum =
            try proposal.price.map { try ListingTyping.amount($0, listed.currency) } ?? listed.price + way.cost
        guard let price = Money(sum, listed.currency) else { throw Self.tooMuch }
        return try checked(
            TradeTerms(
                listing: row.id, revision: row.source, title: listed.title, price: price, delivery: way.way,
                transportDays: proposal.transportDays ?? days(way.way), payment: proposal.payment ?? "",
                note: proposal.note ?? "", commitments: listed.commitments))
    }

    /// A counter-offer: what isn't said is as the other side has it.
    static func terms(_ proposal: TradeProposal, after last: TradeTerms) throws -> TradeTerms {
        var terms = last
        if let typed = proposal.price {
            let sum = try ListingTyping.amount(typed, last.price.currency)
            guard let price = Money(sum, last.price.currency) else { throw Self.tooMuch }
            terms.price = price
        }
        if let typed = proposal.delivery {
            let ways = try ListingTyping.delivery([typed], last.price.currency)
            terms.delivery = ways.first?.way ?? terms.delivery
            terms.transportDays = days(terms.delivery)
        }
        if let days = proposal.transportDays { terms.transportDays = days }
        if let payment = proposal.payment { terms.payment = payment }
        if let note = proposal.note { terms.note = note }
        return try checked(terms)
    }

    private static let tooMuch = CommunityError(.tooLarge, "no sum of a trade is that large")

    private static func checked(_ terms: TradeTerms) throws -> TradeTerms {
        guard terms.isWellFormed else {
            throw CommunityError(
                .invalidInput,
                "a price is above zero, the way takes at most \(TradeLimits.transportDaysMax) days, and words have at "
                    + "most \(TradeLimits.textBytesMax) bytes")
        }
        return terms
    }
}

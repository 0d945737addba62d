// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiMarket
import TuttiWitness

/// A negotiation as one of its sides reads it.
struct NegotiationText {
    private let negotiation: TradeNegotiation
    private let role: TradeRole
    private let buyer: String
    private let seller: String
    let isOver: Bool

    init(_ negotiation: TradeNegotiation, as role: TradeRole, buyer: String, seller: String, at milliseconds: UInt64) {
        self.negotiation = negotiation
        self.role = role
        self.buyer = buyer
        self.seller = seller
        isOver = negotiation.hasLapsed(at: milliseconds)
    }

    var state: String {
        if isOver { return "lapsed" }
        return negotiation.proposals.count == 1 ? "offered" : "countered"
    }

    private var next: TradeRole { negotiation.lastAuthor == .buyer ? .seller : .buyer }

    /// Whose turn it is, by when, and what happens otherwise.
    var turn: String {
        let until = Date(timeIntervalSince1970: Double(negotiation.expiry) / 1_000).formatted(.iso8601)
        if isOver { return "The last proposal lapsed at \(until): nobody owes anybody anything." }
        let who = next == role ? "It is your turn" : "It is \(next == .buyer ? buyer : seller)'s turn"
        return "\(who) to accept or to propose other terms, until \(until); otherwise the proposal lapses and nobody "
            + "owes anybody anything."
    }

    func acts(_ id: Substring) -> [String] {
        guard !isOver, next == role else { return [] }
        return ["tutti trade accept \(id)"] + (negotiation.countersLeft > 0 ? ["tutti trade counter \(id)"] : [])
    }

    /// A line for each proposal.
    var history: [String] {
        negotiation.proposals.map { event in
            let who = event.authors.contains(.buyer) ? buyer : seller
            switch event.body {
            case .offer(let offer): return "\(who) offers \(Self.text(offer.terms))"
            case .counter(let counter): return "\(who) proposes \(Self.text(counter.terms))"
            default: return "\(who): \(event.kind.name)"
            }
        }
    }

    private static func text(_ terms: TradeTerms) -> String {
        var text = "\(terms.price), \(terms.delivery.name)"
        if terms.transportDays > 0 { text += " within \(terms.transportDays) days" }
        if !terms.payment.isEmpty { text += ", paid by \(terms.payment)" }
        if !terms.note.isEmpty { text += " (\(terms.note))" }
        return text
    }
}

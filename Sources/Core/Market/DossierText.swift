// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiWitness

extension Dossier {
    /// For people: the contract, what happened, what had no effect, where it stands. No line is longer than what was written.
    /// - Parameter name: of a member, as the reader knows it.
    package func text(for viewer: TradeRole, since: UInt64? = nil, name: (TradeParty) -> String) -> [String] {
        let terms = contract.terms
        var lines = [
            "Trade     \(trade.bytes.prefixText)",
            "Goods     \(terms.title)",
            "Price     \(terms.price)",
            "Delivery  \(terms.delivery.name), \(CalendarText.duration(seconds: contract.seconds(.deliver))) at most",
            "Seller    \(name(contract.seller))",
            "Buyer     \(name(contract.buyer))",
        ]
        for (index, arbiter) in contract.arbiters.enumerated() {
            lines.append("\(index == 0 ? "Arbiters " : "         ") \(index + 1). \(name(arbiter))")
        }
        lines.append("Witnesses \(contract.witnesses.keys.count), of whom \(contract.witnesses.quorum) decide")
        if !terms.payment.isEmpty { lines.append("Payment   \(terms.payment.flattened)") }
        if !terms.note.isEmpty { lines.append("Note      \(terms.note.flattened)") }
        lines += ["", "  0  acceptance by the seller\(isReserved ? ", unit reserved" : ", not registered yet")"]
        lines += records.map { line(of: $0) }
        if let mode { lines.append("     left the witnesses, by \(mode.authors.names)") }
        for event in pending {
            lines.append("  …  \(event.kind.name) by \(event.authors.names), signed, not registered yet")
        }
        if !refused.isEmpty {
            lines += ["", "Without effect"]
            lines += refused.map { refusal in
                "  \(refusal.event.number)  \(refusal.event.kind.name) by \(refusal.event.authors.names): "
                    + refusal.reason.sentence
            }
        }
        return lines + ["", status(for: viewer, since: since)]
    }

    private func line(of record: Record) -> String {
        let number = String(repeating: " ", count: record.number < 10 ? 2 : 1) + "\(record.number)"
        switch record.decided {
        case .silence: return "\(number)  nothing came in time"
        case .event(let act, let roles, _):
            var line = "\(number)  \(act.kind.name) by \(Set(roles.roles).names)"
            if let outcome = act.outcome { line += ": \(outcome.sentence)" }
            if let said = record.event?.body.said { line += ": \(said)" }
            if record.event == nil { line += " (its content isn't here)" }
            if let breach = record.breach { line += " (\(breach.sentence))" }
            return line + (record.isCertified ? "" : " (evidence only)")
        }
    }
}

extension TradeEventBody {
    /// In one line.
    fileprivate var said: String? {
        switch self {
        case .offer, .counter, .accept, .opening, .mode: nil
        case .contract(let destination): destination.isEmpty ? nil : destination.flattened
        case .payment(let payment):
            ([payment.sum.description, payment.way, payment.reference].filter { !$0.isEmpty } + payment.evidence.said)
                .joined(separator: ", ")
        case .shipment(let shipment):
            ([shipment.carrier, shipment.tracking].filter { !$0.isEmpty } + shipment.evidence.said)
                .joined(separator: ", ")
        case .words(let words):
            words.said
        }
    }
}

extension TradeWords {
    fileprivate var said: String? {
        let parts = [reason.sentence, text.isEmpty ? nil : text.flattened].compactMap { $0 } + evidence.said
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }
}

extension TradeWords.Reason {
    package var sentence: String? {
        switch self {
        case .none: nil
        case .notPaid: "not paid"
        case .notConfirmed: "payment not confirmed"
        case .notShipped: "not shipped"
        case .notReceived: "not received"
        case .notAsDescribed: "not as described"
        case .notRefunded: "not refunded"
        case .unreadable: "unreadable"
        case .againstContract: "against the contract"
        }
    }
}

extension [TradeEvidence] {
    fileprivate var said: [String] { isEmpty ? [] : ["\(count) piece\(count == 1 ? "" : "s") of evidence"] }
}

extension Set<TradeRole> {
    fileprivate var names: String {
        sorted { $0.number < $1.number }.map(\.name).joined(separator: " and ")
    }
}

extension String {
    fileprivate var flattened: String { split(whereSeparator: \.isNewline).joined(separator: " / ") }
}

extension Bytes32 {
    /// Enough to tell trades apart by eye.
    fileprivate var prefixText: String {
        bytes.prefix(6).map { byte in
            let text = String(byte, radix: 16)
            return text.utf8.count == 1 ? "0" + text : text
        }.joined()
    }
}

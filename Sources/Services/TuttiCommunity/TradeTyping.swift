// SPDX-License-Identifier: Apache-2.0
import TuttiJournal
import TuttiMarket
import TuttiWitness

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

// MARK: Steps

extension TradeTyping {
    static func step(_ act: TradeAct, in dossier: Dossier) throws -> (StepAct, TradeEventBody) {
        func words(_ text: String, _ reason: TradeWords.Reason = .none) -> TradeEventBody {
            .words(TradeWords(reason: reason, text: text))
        }
        func payment(_ way: String, _ reference: String) -> TradeEventBody {
            .payment(TradePayment(sum: dossier.contract.terms.price, way: way, reference: reference))
        }
        func shipment(_ carrier: String, _ tracking: String) -> TradeEventBody {
            .shipment(TradeShipment(carrier: carrier, tracking: tracking))
        }
        switch act {
        case .sign(let destination): return (StepAct(.contract), .contract(destination: destination))
        case .paid(let way, let reference): return (StepAct(.paid), payment(way, reference))
        case .received(let text): return (StepAct(.received), words(text))
        case .ship(let carrier, let tracking): return (StepAct(.shipped), shipment(carrier, tracking))
        case .receipt(let text): return (StepAct(.receipt), words(text))
        case .proof(let carrier, let tracking): return (StepAct(.carrierProof), shipment(carrier, tracking))
        case .complete(let text): return (StepAct(.accepted), words(text))
        case .cancel(let text): return (StepAct(.cancel), words(text))
        case .refund(let way, let reference): return (StepAct(.refund), payment(way, reference))
        case .dispute(let reason, let text): return (StepAct(.dispute), words(text, try self.reason(reason)))
        case .answer(let text): return (StepAct(.answer), words(text))
        case .acknowledge: return (StepAct(.acknowledgement), words(""))
        case .rule(let typed, let text): return (StepAct(.ruling, outcome: try outcome(typed)), words(text))
        case .challenge(let text):
            let isUnreadable = dossier.records.last?.event == nil
            return (StepAct(.challenge), words(text, isUnreadable ? .unreadable : .againstContract))
        case .open:
            let challenged = dossier.records.dropLast().last?.event
            guard let event = challenged else { throw CommunityError(.notAllowed, "nothing of yours is challenged") }
            return (StepAct(.opening), .opening(event.bytes))
        }
    }

    private static func reason(_ typed: String) throws -> TradeWords.Reason {
        let reasons: [String: TradeWords.Reason] = [
            "not-paid": .notPaid, "not-confirmed": .notConfirmed, "not-shipped": .notShipped,
            "not-received": .notReceived, "not-as-described": .notAsDescribed, "not-refunded": .notRefunded,
        ]
        guard let reason = reasons[typed] else {
            let all = reasons.keys.sorted().joined(separator: ", ")
            throw CommunityError(.invalidInput, "'\(typed)' is no reason: there are \(all)")
        }
        return reason
    }

    private static func outcome(_ typed: String) throws -> TradeOutcome {
        switch typed {
        case "release": return .release
        case "refund": return .refund
        case "return": return .returnThenRefund
        case "void": return .void
        default:
            guard typed.hasSuffix("%"), let percent = Int(typed.dropLast()), (0...100).contains(percent) else {
                throw CommunityError(
                    .invalidInput,
                    "'\(typed)' is no outcome: there are release, refund, return, void, and the seller's share such as 60%"
                )
            }
            return .split(permille: percent * 10)
        }
    }

    /// As it is typed; nil for what no command says.
    static func command(_ kind: StepKind) -> String? {
        switch kind {
        case .contract: "sign"
        case .paid: "paid"
        case .received: "received"
        case .shipped: "ship"
        case .receipt: "receipt"
        case .carrierProof: "proof"
        case .accepted: "complete"
        case .cancel: "cancel"
        case .refund: "refund"
        case .dispute: "dispute"
        case .answer: "answer"
        case .acknowledgement: "acknowledge"
        case .ruling: "rule"
        case .challenge: "challenge"
        case .opening: "open"
        case .settlement, .handover: nil
        }
    }

    static func text(_ role: TradeRole) -> String {
        switch role {
        case .buyer: "buyer"
        case .seller: "seller"
        case .arbiter: "arbiter"
        }
    }

    static func text(_ dossier: Dossier) -> String {
        guard dossier.isReserved else { return "accepted" }
        return switch dossier.state {
        case .reserved: "reserved"
        case .bound: "bound"
        case .unpaid: "unpaid"
        case .paidClaimed: "paid-claimed"
        case .unconfirmed: "unconfirmed"
        case .paid: "paid"
        case .unshipped: "unshipped"
        case .unrefunded: "unrefunded"
        case .refundClaimed: "refund-claimed"
        case .shipped: "shipped"
        case .undelivered: "undelivered"
        case .delivered: "delivered"
        case .disputed: "disputed"
        case .called: "called"
        case .judged: "judged"
        case .challenged: "challenged"
        case .completed: "completed"
        case .cancelled: "cancelled"
        case .refunded: "refunded"
        case .settled: "settled"
        case .ruled, .ruledByTable: "ruled"
        case .abandoned: "abandoned"
        case .lapsed: "lapsed"
        }
    }

    static func text(_ failure: RegisterFailure) -> String {
        switch failure {
        case .badTask: "what was asked of them doesn't fit together"
        case .refused(.notOnAccount): "the seller's open trades would be over the cap of the account"
        case .refused(.notAdmitted): "the rules don't admit it, or the unit went to another"
        case .refused(.closed): "they have handed over to others"
        case .refused: "they don't serve it"
        }
    }

    static func refused(_ refusal: ContractDraft.Refusal) -> CommunityError {
        let text =
            switch refusal {
            case .noCharter: "this node doesn't know the community's charter yet: try again when it has synced"
            case .noWitnesses:
                "this community has no witnesses yet: at least four members that the charter names must have run a node"
            case .arbiters(let found, let needed):
                "\(found) arbiters would judge a trade like this one, and the charter wants \(needed): "
                    + "they consent with `tutti market arbitrate`"
            case .sum: "the charter doesn't let trade in this currency, or not for so much"
            case .transportDays(let limit): "the charter allows at most \(limit) days of transport"
            case .noAccount: "the charter gives you no account to trade on yet"
            case .tooLong: "with the charter's deadlines a trade could take over 90 days"
            case .malformed: "no contract can say that: perhaps somebody would act in two roles"
            }
        return CommunityError(.notAllowed, text)
    }
}

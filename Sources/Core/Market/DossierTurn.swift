// SPDX-License-Identifier: Apache-2.0
package import TuttiWitness

/// Whose turn it is, what is to be done, within what time, and what happens otherwise.
package struct DossierTurn: Hashable, Sendable {
    /// Nobody in particular: the witnesses, or the first arbiter in lesser mode.
    package let roles: [TradeRole]
    package let task: String
    /// Nil: nothing ends it but somebody acting.
    package let deadline: DeadlineName?
    package let otherwise: String
}

extension Dossier {
    /// Nil when it is over.
    package var turn: DossierTurn? {
        guard !isOver else { return nil }
        guard isWitnessed else {
            return DossierTurn(
                roles: [.arbiter(0)], task: "rule, unless both sides go on by themselves", deadline: nil,
                otherwise: "it stays open: without witnesses nobody's silence counts")
        }
        guard isReserved else {
            return DossierTurn(
                roles: [], task: "reserve the unit", deadline: nil,
                otherwise: "it is not protected against a double sale")
        }
        guard let deadline = course.deadline, let (roles, task, otherwise) = words else { return nil }
        return DossierTurn(roles: roles, task: task, deadline: deadline, otherwise: otherwise)
    }

    /// What this role may say now. Of what both must sign either may begin.
    package func choices(of role: TradeRole) -> [StepKind] {
        guard !isOver else { return [] }
        var kinds = course.choices.filter { $0.signers.sets.contains { $0.contains(role) } }.map(\.kind)
        if !isWitnessed, role == .arbiter(0), !kinds.contains(.ruling) { kinds.append(.ruling) }
        return kinds
    }

    /// The last event can't be read, or the contract refuses it, and this role may still challenge it.
    package func mayChallenge(_ role: TradeRole) -> Bool {
        guard let last = records.last, last.event == nil || last.breach != nil else { return false }
        return choices(of: role).contains(.challenge)
    }

    private var words: (roles: [TradeRole], task: String, otherwise: String)? {
        switch course.state {
        case .reserved: ([.buyer], "sign the contract", "the unit is free again")
        case .bound: ([.buyer], "pay and say so", "either side may cancel")
        case .unpaid: ([.buyer, .seller], "cancel, or for the buyer to pay still", "the trade lapses")
        case .paidClaimed: ([.seller], "confirm that the money came", "the buyer may open a dispute")
        case .unconfirmed:
            ([.buyer, .seller], "open a dispute, or for the seller to confirm the money", "the trade is abandoned")
        case .paid: ([.seller], "ship", "a refund is due")
        case .unshipped: ([.seller], "give the money back", "the buyer has a last chance to open a dispute")
        case .unrefunded: ([.buyer], "open a dispute", "the trade is abandoned")
        case .refundClaimed:
            ([.buyer], "confirm that the money came back, or open a dispute", "it counts as refunded")
        case .shipped: ([.buyer], "confirm that the goods came", "either side may open a dispute")
        case .undelivered:
            ([.buyer, .seller], "open a dispute, or show that the goods came", "the trade is abandoned")
        case .delivered: ([.buyer], "accept the goods or open a dispute", "they count as accepted")
        case .disputed(let opener):
            ([opener == .buyer ? .seller : .buyer], "answer the dispute", "the arbiter goes on without an answer")
        case .called(let arbiter): ([.arbiter(arbiter)], "take the case", without(arbiter))
        case .judged(let arbiter): ([.arbiter(arbiter)], "rule", without(arbiter))
        case .challenged(let author):
            ([author], "open the challenged event to the arbiters", "it counts as if it had not come")
        case .completed, .cancelled, .refunded, .settled, .ruled, .ruledByTable, .abandoned, .lapsed: nil
        }
    }

    private func without(_ arbiter: Int) -> String {
        arbiter + 1 < contract.arbiters.count
            ? "\(TradeRole.arbiter(arbiter + 1).name) is called"
            : "the contract's table decides: \(contract.table.outcome(at: course.stage).sentence)"
    }
}

// MARK: One sentence

extension Dossier {
    /// Where it stands, as one sentence for one of those who take part.
    /// - Parameter since: milliseconds since 1970 when the last certificate came; nil: only how long is said.
    package func status(for viewer: TradeRole, since: UInt64? = nil) -> String {
        guard let turn else { return ending }
        let until = turn.deadline.map { by($0, since) } ?? ""
        let who: String
        if turn.roles.contains(viewer), isWitnessed {
            let others = turn.roles.filter { $0 != viewer }.map(\.name)
            who =
                others.isEmpty ? "It is your turn to" : "It is your turn, or \(others.joined(separator: " or "))'s, to"
        } else if turn.roles.isEmpty {
            who = "Waiting for the witnesses to"
        } else {
            who = "Waiting for \(turn.roles.map(\.name).joined(separator: " or ")) to"
        }
        let prefix = isWitnessed ? "" : "Evidence only. "
        return "\(prefix)\(who) \(turn.task)\(until); otherwise \(turn.otherwise)."
    }

    private func by(_ deadline: DeadlineName, _ since: UInt64?) -> String {
        let seconds = contract.seconds(deadline)
        guard let since else { return " within \(CalendarText.duration(seconds: seconds))" }
        return " by \(CalendarText.minute(milliseconds: since &+ UInt64(clamping: seconds) &* 1_000))"
    }

    private var ending: String {
        switch state {
        case .completed: "Completed: the buyer has the goods and the seller the money."
        case .cancelled: "Cancelled: nobody owes anything."
        case .refunded: "Refunded: the buyer has the money back."
        case .settled(let outcome): "Settled by both: \(outcome.sentence)."
        case .ruled(let outcome, let arbiter): "Ruled by \(TradeRole.arbiter(arbiter).name): \(outcome.sentence)."
        case .ruledByTable:
            "No arbiter acted; the contract's table decides: \(contract.table.outcome(at: course.stage).sentence)."
        case .abandoned: "Abandoned: nobody acted in time, and things stay as they are."
        case .lapsed: "Lapsed: nothing was paid, and the unit is free again."
        case .reserved, .bound, .unpaid, .paidClaimed, .unconfirmed, .paid, .unshipped, .unrefunded, .refundClaimed,
            .shipped, .undelivered, .delivered, .disputed, .called, .judged, .challenged:
            "Open."
        }
    }
}

extension TradeRole {
    package var name: String {
        switch self {
        case .buyer: "the buyer"
        case .seller: "the seller"
        case .arbiter(0): "the first arbiter"
        case .arbiter(1): "the second arbiter"
        case .arbiter(2): "the third arbiter"
        case .arbiter(let index): "arbiter \(index + 1)"
        }
    }
}

extension TradeOutcome {
    package var sentence: String {
        switch self {
        case .release: "the seller keeps the money"
        case .refund: "the seller gives the money back"
        case .returnThenRefund: "the buyer sends the goods back, then the seller gives the money back"
        case .void: "neither owes the other anything"
        case .split(let permille): "\(permille) thousandths of the price are the seller's, the rest goes back"
        }
    }
}

/// Dates for people, in the calendar and the time of UTC.
package enum CalendarText {
    /// `2026-11-26 14:05 UTC`.
    package static func minute(milliseconds: UInt64) -> String {
        let minutes = Int(clamping: milliseconds / 60_000)
        let (year, month, day) = date(daysSince1970: minutes / 1_440)
        let clock = "\(padded(minutes % 1_440 / 60)):\(padded(minutes % 60))"
        return "\(year)-\(padded(month))-\(padded(day)) \(clock) UTC"
    }

    /// `3 days`, `26 hours`, `10 minutes`: the largest unit that needs no fraction.
    package static func duration(seconds: Int) -> String {
        for (unit, name) in [(86_400, "day"), (3_600, "hour"), (60, "minute")] where seconds >= unit {
            if seconds % unit == 0 { return "\(seconds / unit) \(name)\(seconds == unit ? "" : "s")" }
        }
        return "\(seconds) second\(seconds == 1 ? "" : "s")"
    }

    /// Of the Gregorian calendar, in eras of 400 years that begin on the first of March: so leap days come last.
    private static func date(daysSince1970: Int) -> (year: Int, month: Int, day: Int) {
        let days = daysSince1970 + 719_468
        let (era, dayOfEra) = (days / 146_097, days % 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    private static func padded(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

// SPDX-License-Identifier: Apache-2.0

/// Who acts in a trade. Witnesses learn the key, never the person.
package enum TradeRole: Hashable, Sendable {
    case buyer
    case seller
    /// By their order in the contract, from 0.
    case arbiter(Int)
}

/// What may stand in a trade's slot. The number is on wires and in digests and never changes its meaning.
package enum StepKind: UInt8, CaseIterable, Sendable {
    case contract = 1
    case paid = 2
    case received = 3
    case shipped = 4
    /// The buyer has the goods in hand.
    case receipt = 5
    /// A carrier's proof of delivery, by the seller.
    case carrierProof = 6
    case accepted = 7
    case cancel = 8
    case refund = 9
    case dispute = 10
    case answer = 11
    /// What both agree on in a dispute.
    case settlement = 12
    /// The arbiter takes the case.
    case acknowledgement = 13
    case ruling = 14
    /// The other side can't open or must refuse the event before.
    case challenge = 15
    /// The challenged event's author has opened it to the arbiters.
    case opening = 16
    /// Contract, receipt and acceptance at once, face to face.
    case handover = 17
}

extension StepKind {
    /// Kinds of one party whose content the other must be able to read. A ruling's outcome stands in ``StepAct/detail``, so
    /// that nobody can hide it.
    package var isChallengeable: Bool {
        switch self {
        case .contract, .paid, .received, .shipped, .receipt, .carrierProof, .refund, .dispute, .answer: true
        case .accepted, .cancel, .settlement, .acknowledgement, .ruling, .challenge, .opening, .handover: false
        }
    }
}

/// What of a step witnesses may know: its kind, and of rulings and settlements the outcome.
package struct StepAct: Hashable, Sendable {
    package var kind: StepKind
    /// An outcome's number; 0 for all other kinds.
    package var detail: UInt16

    package init(_ kind: StepKind, detail: UInt16 = 0) {
        self.kind = kind
        self.detail = detail
    }
}

/// The named deadlines of a contract, in the order in which it holds them.
package enum DeadlineName: UInt8, CaseIterable, Sendable {
    case bind = 0
    case pay = 1
    case confirm = 2
    case ship = 3
    /// Of delivery, with the contract's own days of transport in it.
    case deliver = 4
    case inspect = 5
    case refund = 6
    /// To open a dispute after somebody let a deadline pass.
    case dispute = 7
    case answer = 8
    case acknowledge = 9
    case rule = 10
    case open = 11
}

/// Where a trade stands, as far as witnesses need to know: whose turn it is, until when, what comes next. The machine of
/// DESIGN section 6, without any content. A value; the same on witnesses, on both sides and in a dossier on paper.
///
/// Every state that isn't terminal has one deadline and one way on without anybody acting, and these ways have no circle:
/// so every trade ends, whoever is gone.
package struct TradeCourse: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        case reserved
        case bound
        /// Not paid in time: either may cancel.
        case unpaid
        case paidClaimed
        /// The seller is silent about the money.
        case unconfirmed
        case paid
        /// Not shipped in time: a refund is due.
        case unshipped
        /// And the refund didn't come.
        case unrefunded
        case refundClaimed
        case shipped
        /// Neither receipt nor proof in time.
        case undelivered
        case delivered
        case disputed(by: TradeRole)
        /// The arbiter is to take the case.
        case called(arbiter: Int)
        case judged(arbiter: Int)
        /// The event just registered is challenged; if its author doesn't open it, it counts as NO-EVENT.
        indirect case challenged(author: TradeRole, unanswered: State)

        case completed
        case cancelled
        case refunded
        case settled
        case ruled
        /// No arbiter acted: the contract's table decides.
        case ruledByTable
        /// Nobody acted after money may have moved.
        case abandoned
        /// Nothing was paid, the unit is free again.
        case lapsed
    }

    /// Who must sign a kind.
    package enum Signers: Hashable, Sendable {
        case one(TradeRole)
        case either
        case both

        package func admit(_ roles: Set<TradeRole>) -> Bool {
            switch self {
            case .one(let role): roles == [role]
            case .either: roles == [.buyer] || roles == [.seller]
            case .both: roles == [.buyer, .seller]
            }
        }
    }

    /// At least two, all consenting beforehand.
    package let arbiterCount: Int
    package private(set) var state = State.reserved
    /// Of the slot that comes next, from 1.
    package private(set) var number: UInt32 = 1
    /// Who may challenge what stands in the slot before, and where that leads if it isn't opened.
    private var challenge: (challenger: TradeRole, author: TradeRole, unanswered: State)?

    package init(arbiterCount: Int) { self.arbiterCount = arbiterCount }

    package static func == (lhs: Self, rhs: Self) -> Bool {
        lhs.arbiterCount == rhs.arbiterCount && lhs.state == rhs.state && lhs.number == rhs.number
            && lhs.challenge?.challenger == rhs.challenge?.challenger
            && lhs.challenge?.unanswered == rhs.challenge?.unanswered
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(state)
        hasher.combine(number)
    }
}

// MARK: What may come

extension TradeCourse {
    package var isTerminal: Bool { deadline == nil }

    /// Whether the unit may be reserved anew.
    package var freesUnit: Bool {
        switch state {
        case .lapsed, .cancelled, .refunded: true
        default: false
        }
    }

    /// By when the next slot must hold something; nil when nothing more comes.
    package var deadline: DeadlineName? {
        switch state {
        case .reserved: .bind
        case .bound: .pay
        case .paidClaimed: .confirm
        case .paid: .ship
        case .unshipped: .refund
        case .shipped: .deliver
        case .delivered: .inspect
        case .unpaid, .unconfirmed, .unrefunded, .refundClaimed, .undelivered: .dispute
        case .disputed: .answer
        case .called: .acknowledge
        case .judged: .rule
        case .challenged: .open
        case .completed, .cancelled, .refunded, .settled, .ruled, .ruledByTable, .abandoned, .lapsed: nil
        }
    }

    /// Every kind that the next slot may hold, in the order of their numbers.
    package var choices: [(kind: StepKind, signers: Signers)] {
        var choices: [(kind: StepKind, signers: Signers)] =
            switch state {
            case .reserved: [(.contract, .one(.buyer)), (.handover, .both)]
            case .bound: [(.paid, .one(.buyer)), (.cancel, .both)]
            case .unpaid: [(.paid, .one(.buyer)), (.cancel, .either)]
            case .paidClaimed, .unconfirmed:
                [(.received, .one(.seller)), (.cancel, .both), (.dispute, .either)]
            case .paid: [(.shipped, .one(.seller)), (.cancel, .both), (.refund, .one(.seller))]
            case .unshipped, .unrefunded: [(.refund, .one(.seller)), (.dispute, .one(.buyer))]
            case .refundClaimed: [(.accepted, .one(.buyer)), (.dispute, .one(.buyer))]
            case .shipped:
                [(.receipt, .one(.buyer)), (.carrierProof, .one(.seller)), (.dispute, .one(.buyer))]
            case .undelivered: [(.receipt, .one(.buyer)), (.carrierProof, .one(.seller)), (.dispute, .either)]
            case .delivered: [(.accepted, .one(.buyer)), (.dispute, .one(.buyer))]
            case .disputed(let opener):
                [(.answer, .one(opener == .buyer ? .seller : .buyer)), (.settlement, .both)]
            case .called(let arbiter): [(.settlement, .both), (.acknowledgement, .one(.arbiter(arbiter)))]
            case .judged(let arbiter): [(.settlement, .both), (.ruling, .one(.arbiter(arbiter)))]
            case .challenged(let author, _): [(.opening, .one(author))]
            case .completed, .cancelled, .refunded, .settled, .ruled, .ruledByTable, .abandoned, .lapsed: []
            }
        if let challenge, !isTerminal { choices.append((.challenge, .one(challenge.challenger))) }
        return choices
    }

    package func signers(of kind: StepKind) -> Signers? {
        choices.first { $0.kind == kind }?.signers
    }
}

// MARK: What comes

extension TradeCourse {
    /// The next slot holds this.
    /// - Parameter roles: who signed it.
    /// - Returns: nil when the rules don't admit it here.
    package func after(_ kind: StepKind, by roles: Set<TradeRole>) -> TradeCourse? {
        guard let signers = signers(of: kind), signers.admit(roles) else { return nil }
        var next = self
        next.number += 1
        next.challenge = nil
        if kind == .challenge, let challenge {
            next.state = .challenged(author: challenge.author, unanswered: challenge.unanswered)
            return next
        }
        guard let state = state(after: kind, by: roles) else { return nil }
        next.state = state
        if kind.isChallengeable, let author = roles.first {
            let unanswered = silence
            next.challenge = (author == .buyer ? .seller : .buyer, author, unanswered)
        }
        return next
    }

    /// The next slot holds NO-EVENT. Nil when the trade is over.
    package func afterSilence() -> TradeCourse? {
        guard !isTerminal else { return nil }
        var next = self
        next.number += 1
        next.challenge = nil
        next.state = silence
        return next
    }

    private func state(after kind: StepKind, by roles: Set<TradeRole>) -> State? {
        switch kind {
        case .contract: .bound
        case .paid: .paidClaimed
        case .received: .paid
        case .shipped: .shipped
        case .receipt, .carrierProof: .delivered
        case .accepted: state == .refundClaimed ? .refunded : .completed
        case .cancel: .cancelled
        case .refund: .refundClaimed
        case .dispute: roles.first.map { .disputed(by: $0) }
        case .answer: .called(arbiter: 0)
        case .settlement: .settled
        case .acknowledgement: if case .called(let arbiter) = state { .judged(arbiter: arbiter) } else { nil }
        case .ruling: .ruled
        // What was opened is for the arbiters to judge.
        case .opening: .called(arbiter: 0)
        case .handover: .completed
        case .challenge: nil
        }
    }

    /// Where silence leads.
    private var silence: State {
        switch state {
        case .reserved, .unpaid: .lapsed
        case .bound: .unpaid
        case .paidClaimed: .unconfirmed
        case .paid: .unshipped
        case .unshipped: .unrefunded
        case .refundClaimed: .refunded
        case .shipped: .undelivered
        case .delivered: .completed
        case .unconfirmed, .unrefunded, .undelivered: .abandoned
        case .disputed: .called(arbiter: 0)
        case .called(let arbiter), .judged(let arbiter):
            arbiter + 1 < arbiterCount ? .called(arbiter: arbiter + 1) : .ruledByTable
        case .challenged(_, let unanswered): unanswered
        case .completed, .cancelled, .refunded, .settled, .ruled, .ruledByTable, .abandoned, .lapsed: state
        }
    }
}

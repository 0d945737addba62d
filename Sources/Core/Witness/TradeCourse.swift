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
    /// Kinds of one party whose content the other needs: where to send, how it was paid, what carries it. Of the others the
    /// kind says all that counts; a dispute's reasons and its answer are for the arbiter, to whom their authors open them.
    package var isChallengeable: Bool {
        switch self {
        case .contract, .paid, .shipped, .carrierProof, .refund: true
        case .received, .receipt, .accepted, .cancel, .dispute, .answer, .settlement, .acknowledgement, .ruling,
            .challenge, .opening, .handover:
            false
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

/// How far goods and money have come by what is registered: what the contract's table looks at when no arbiter acts.
package enum TradeStage: UInt8, CaseIterable, Sendable {
    /// Nothing is paid.
    case agreed = 0
    /// The buyer says so.
    case claimed = 1
    /// The seller has the money.
    case confirmed = 2
    case shipped = 3
    /// The buyer has the goods, by a receipt or a carrier's proof.
    case delivered = 4
}

/// Where a trade stands, as far as witnesses need to know: whose turn it is, until when, what comes next. The machine of
/// DESIGN section 6, without any content. A value; the same on witnesses, on both sides and in a dossier on paper.
/// docs/protocols/trade.md has it as a table.
///
/// Every state that isn't terminal has one deadline and one way on without anybody acting, and no course runs in a circle:
/// so every trade ends, whoever is gone.
///
/// An illegal event is refused with nil; nothing traps.
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
        /// The event just registered can't be read or was refused; its author is to open it to the arbiters.
        case challenged(author: TradeRole)

        case completed
        case cancelled
        case refunded
        case settled(TradeOutcome)
        case ruled(TradeOutcome, arbiter: Int)
        /// No arbiter acted: the contract's table decides, by the stage.
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

        package func admit(_ roles: Set<TradeRole>) -> Bool { sets.contains(roles) }

        /// Each set of roles that will do.
        package var sets: [Set<TradeRole>] {
            switch self {
            case .one(let role): [[role]]
            case .either: [[.buyer], [.seller]]
            case .both: [[.buyer, .seller]]
            }
        }
    }

    /// What the slot before left open to challenge, or what is challenged.
    private struct Contest: Hashable {
        var author: TradeRole
        var challenger: TradeRole
        /// Where an opening leads.
        var opened: State
        /// Where the silence of its author leads, and the stage that the event had not changed then.
        var unopened: State
        var stage: TradeStage
    }

    package static let arbiterCounts = WitnessLimits.arbitersMin...WitnessLimits.arbitersMax

    /// All consenting beforehand.
    package let arbiterCount: Int
    package private(set) var state = State.reserved
    package private(set) var stage = TradeStage.agreed
    /// Of the slot that comes next, from 1.
    package private(set) var number: UInt32 = 1
    private var contest: Contest?

    /// - Parameter arbiterCount: at least two, at most five; others count as the nearest.
    package init(arbiterCount: Int) {
        self.arbiterCount = min(max(arbiterCount, Self.arbiterCounts.lowerBound), Self.arbiterCounts.upperBound)
    }
}

// MARK: What may come

extension TradeCourse {
    package var isTerminal: Bool { deadline == nil }

    /// Whether the unit may be reserved anew: the trade is over and the goods never left the seller.
    package var freesUnit: Bool {
        switch state {
        case .lapsed, .cancelled, .refunded: true
        case .settled(let outcome), .ruled(let outcome, _):
            (outcome == .refund || outcome == .void) && stage.rawValue <= TradeStage.confirmed.rawValue
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

    /// Every kind that the next slot may hold, and who signs it.
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
            case .disputed(let opener): [(.answer, .one(opener.counterparty)), (.settlement, .both)]
            case .called(let arbiter): [(.settlement, .both), (.acknowledgement, .one(.arbiter(arbiter)))]
            case .judged(let arbiter): [(.settlement, .both), (.ruling, .one(.arbiter(arbiter)))]
            case .challenged(let author): [(.opening, .one(author))]
            case .completed, .cancelled, .refunded, .settled, .ruled, .ruledByTable, .abandoned, .lapsed: []
            }
        if let contest, !isChallenged { choices.append((.challenge, .one(contest.challenger))) }
        return choices
    }

    package func signers(of kind: StepKind) -> Signers? {
        choices.first { $0.kind == kind }?.signers
    }

    private var isChallenged: Bool { if case .challenged = state { true } else { false } }
}

extension TradeRole {
    /// The other party. Arbiters have none and are theirs to name.
    fileprivate var counterparty: TradeRole { self == .buyer ? .seller : .buyer }
}

// MARK: What comes

extension TradeCourse {
    /// The next slot holds this.
    /// - Parameter roles: who signed it.
    /// - Returns: nil when the rules don't admit it here.
    package func after(_ act: StepAct, by roles: Set<TradeRole>) -> TradeCourse? {
        guard act.isWellFormed, let signers = signers(of: act.kind), signers.admit(roles) else { return nil }
        var next = self
        next.number &+= 1
        if act.kind == .challenge, let contest {
            next.state = .challenged(author: contest.author)
            return next
        }
        let author = roles.contains(.buyer) ? TradeRole.buyer : .seller
        next.contest = nil
        guard let state = state(after: act, by: author) else { return nil }
        next.state = state
        next.stage = stage(after: act.kind)
        if act.kind.isChallengeable {
            next.contest = Contest(
                author: author, challenger: author.counterparty,
                opened: act.kind == .contract ? state : .called(arbiter: 0), unopened: unopened(act.kind),
                stage: stage)
        }
        return next
    }

    /// The next slot holds NO-EVENT. Nil when the trade is over.
    package func afterSilence() -> TradeCourse? {
        guard !isTerminal else { return nil }
        var next = self
        next.number &+= 1
        next.contest = nil
        if isChallenged, let contest {
            next.state = contest.unopened
            next.stage = contest.stage
        } else {
            next.state = silence
        }
        return next
    }

    private func state(after act: StepAct, by author: TradeRole) -> State? {
        switch act.kind {
        case .contract: .bound
        case .paid: .paidClaimed
        case .received: .paid
        case .shipped: .shipped
        case .receipt, .carrierProof: .delivered
        case .accepted: state == .refundClaimed ? .refunded : .completed
        case .cancel: .cancelled
        case .refund: .refundClaimed
        case .dispute: .disputed(by: author)
        case .answer: .called(arbiter: 0)
        case .settlement: act.outcome.map { .settled($0) }
        case .acknowledgement: if case .called(let arbiter) = state { .judged(arbiter: arbiter) } else { nil }
        case .ruling:
            if case .judged(let arbiter) = state { act.outcome.map { .ruled($0, arbiter: arbiter) } } else { nil }
        case .opening: contest?.opened
        case .handover: .completed
        case .challenge: nil
        }
    }

    private func stage(after kind: StepKind) -> TradeStage {
        switch kind {
        case .paid: .claimed
        case .received: .confirmed
        case .shipped: .shipped
        case .receipt, .carrierProof, .handover: .delivered
        case .contract, .accepted, .cancel, .refund, .dispute, .answer, .settlement, .acknowledgement, .ruling,
            .challenge, .opening:
            stage
        }
    }

    /// Where a challenged event leads that its author doesn't open: it counts as NO-EVENT. But who registered a proof of
    /// delivery or a refund and can't show it has had its turn: the case goes to the arbiters, so that nobody gains a second
    /// one, or the other side's last word, by squatting a slot.
    private func unopened(_ kind: StepKind) -> State {
        switch kind {
        case .carrierProof, .refund: .called(arbiter: 0)
        case .contract, .paid, .received, .shipped, .receipt, .accepted, .cancel, .dispute, .answer, .settlement,
            .acknowledgement, .ruling, .challenge, .opening, .handover:
            silence
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
        // Its contest says where.
        case .challenged: state
        case .completed, .cancelled, .refunded, .settled, .ruled, .ruledByTable, .abandoned, .lapsed: state
        }
    }
}

// MARK: How long it may take

extension TradeCourse {
    /// A trade without a quorum pauses at most so long before its first arbiter may rule alone (DESIGN section 6).
    package static let pauseSeconds = 72 * 3_600

    /// The longest that a trade can take from the payment that counts, over all that anybody may do or leave undone, each at
    /// the last moment; with one pause.
    /// - Parameter deadlines: in the order of `DeadlineName`.
    package static func secondsFromPayment(arbiterCount: Int, deadlines: [Int]) -> Int {
        func seconds(_ name: DeadlineName) -> Int {
            let index = Int(name.rawValue)
            return deadlines.indices.contains(index)
                ? min(max(deadlines[index], 0), WitnessLimits.secondsFromPaymentMax) : 0
        }
        let count = TradeCourse(arbiterCount: arbiterCount).arbiterCount
        let arbitration = count * (seconds(.acknowledge) + seconds(.rule))
        // Disputed at the last moment, answered at the last.
        let disputed = seconds(.answer) + arbitration
        let opened = seconds(.open) + arbitration
        // Whether it is disputed or challenged.
        let contested = max(disputed, opened)
        let refundClaimed = seconds(.dispute) + contested
        let unrefunded = seconds(.dispute) + max(refundClaimed, disputed)
        let unshipped = seconds(.refund) + max(unrefunded, refundClaimed, disputed)
        let delivered = seconds(.inspect) + contested
        let undelivered = seconds(.dispute) + max(delivered, disputed)
        let unopened = seconds(.open) + max(unshipped, arbitration)
        let shipped = seconds(.deliver) + max(undelivered, delivered, disputed, unopened)
        let paid = seconds(.ship) + max(shipped, unshipped, refundClaimed)
        let unconfirmed = seconds(.dispute) + max(paid, disputed)
        let challenged = seconds(.open) + max(arbitration, seconds(.dispute))
        return seconds(.confirm) + max(unconfirmed, paid, disputed, challenged) + pauseSeconds
    }
}

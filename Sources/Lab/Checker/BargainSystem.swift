// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiMarket
package import TuttiWitness

/// Every course of one trade: the dossiers of buyer and seller as they are, before an oracle in place of the register. For each
/// slot the oracle says EVENT or NO-EVENT; while it says nothing the slot is undecided and nobody goes on. `Agreement` and the
/// real register refine it: a slot holds one value for ever; an event stands there only when it was signed with an allowed
/// key; NO-EVENT only where no honest side had something to say, because an event of an honest author that all honest
/// witnesses hold in time can't be silenced.
///
/// **Honest** sides do what the rules advise (``BargainAdvice``), and never miss a deadline. A **dishonest** one may say all that
/// its keys admit at any time, readable or not, say nothing, challenge what is good, pay or ship for real or not at all, and
/// sign with its key for any other role. Arbiters may take cases or not and rule as they like.
///
/// What must never be (``fault``): an honest side ends without goods and without money, but by a ruling, by the contract's
/// table or by what both signed; a trade that nobody can end; two dossiers with the same certificates that
/// say different things; keys, arbiters or terms that changed; a second ruling, or one that isn't the called arbiter's.
package struct BargainSystem: ExploredSystem {
    package enum Flaw: Hashable, Sendable {
        /// Who somebody is is believed by what an event says, not by the key.
        case roleByMessage
        /// A side takes its own clock for a certificate.
        case timeoutWithoutCertificate
        /// An honest buyer misses its last chance to open a dispute.
        case noLastWord
    }

    package struct Setup: Hashable, Sendable {
        package var isBuyerHonest: Bool
        package var isSellerHonest: Bool
        package var flaw: Flaw?

        package init(isBuyerHonest: Bool, isSellerHonest: Bool, flaw: Flaw? = nil) {
            self.isBuyerHonest = isBuyerHonest
            self.isSellerHonest = isSellerHonest
            self.flaw = flaw
        }

        func isHonest(_ role: TradeRole) -> Bool {
            switch role {
            case .buyer: isBuyerHonest
            case .seller: isSellerHonest
            case .arbiter: false
            }
        }
    }

    package enum Action: Hashable, Sendable {
        /// The oracle says EVENT: of these authors, by the keys of `signers`.
        case event(StepAct, authors: [TradeRole], signers: [TradeRole], isReadable: Bool)
        case silence
        case pay
        case payBack
        case ship
        case ownClock
    }

    let setup: Setup
    package private(set) var buyer: Dossier
    package private(set) var seller: Dossier
    /// The register's truth, and by whose keys each event was signed.
    private var decided: [DecidedStep] = []
    private var signers: [[TradeRole]] = []
    private var isReadable = true
    package private(set) var isMoneySellers = false
    package private(set) var areGoodsBuyers = false
    private var hasBelievedItsClock = false
    private var disagreement: String?

    package init(_ setup: Setup) {
        var dossier = BargainContract.dossier
        dossier.reserved()
        self.setup = setup
        buyer = dossier
        seller = dossier
    }

    package var course: TradeCourse { seller.course }
    private var contract: Contract { seller.contract }

    // MARK: What may happen

    package var actions: [Action] {
        var actions: [Action] = []
        var someoneActs = false
        for choice in course.choices {
            for authors in choice.signers.sets {
                let authors = authors.sorted { $0.number < $1.number }
                for act in Self.acts(choice.kind) {
                    guard authors.allSatisfy({ mayDo(act, $0) }) else { continue }
                    let isHonest = authors.contains { setup.isHonest($0) }
                    actions.append(.event(act, authors: authors, signers: authors, isReadable: true))
                    if isHonest {
                        someoneActs = true
                    } else if choice.kind.isChallengeable {
                        actions.append(.event(act, authors: authors, signers: authors, isReadable: false))
                    }
                }
                actions += forgeries(choice.kind, authors)
            }
        }
        if !course.isTerminal, !someoneActs { actions.append(.silence) }
        if !setup.isBuyerHonest, !isMoneySellers, !course.isTerminal { actions.append(.pay) }
        if !setup.isSellerHonest, isMoneySellers, !course.isTerminal { actions.append(.payBack) }
        if !setup.isSellerHonest, !areGoodsBuyers, !course.isTerminal { actions.append(.ship) }
        if setup.flaw == .timeoutWithoutCertificate, !course.isTerminal, !hasBelievedItsClock {
            actions.append(.ownClock)
        }
        return actions
    }

    /// Outcomes that differ in what they leave to whom.
    private static func acts(_ kind: StepKind) -> [StepAct] {
        switch kind {
        case .ruling, .settlement: [.release, .refund, .void].map { StepAct(kind, outcome: $0) }
        default: [StepAct(kind)]
        }
    }

    private func mayDo(_ act: StepAct, _ role: TradeRole) -> Bool {
        guard setup.isHonest(role) else { return true }
        let dossier = role == .buyer ? buyer : seller
        if setup.flaw == .noLastWord, dossier.state == .unrefunded { return false }
        return BargainAdvice(isMoneySellers: isMoneySellers, areGoodsBuyers: areGoodsBuyers)
            .kinds(of: role, in: dossier).contains(act.kind)
    }

    /// Each dishonest side with its own key in place of every other that would have to sign.
    private func forgeries(_ kind: StepKind, _ authors: [TradeRole]) -> [Action] {
        var forgeries: [Action] = []
        for forger in [TradeRole.buyer, .seller] where !setup.isHonest(forger) && authors != [forger] {
            let signers = authors.map { _ in forger }
            forgeries += Self.acts(kind).map { act in
                Action.event(act, authors: authors, signers: signers, isReadable: true)
            }
        }
        return forgeries
    }

    package func after(_ action: Action) -> Self {
        var next = self
        switch action {
        case .event(let act, let authors, let signers, let isReadable):
            next.register(act, authors, signers, isReadable)
        case .silence: next.append(.silence, [], nil)
        case .pay: next.isMoneySellers = true
        case .payBack: next.isMoneySellers = false
        case .ship: next.areGoodsBuyers = true
        case .ownClock:
            next.hasBelievedItsClock = true
            next.buyer.decide(next.buyer.decisions + [.silence])
        }
        return next
    }

    private mutating func register(
        _ act: StepAct, _ authors: [TradeRole], _ signers: [TradeRole], _ isReadable: Bool
    ) {
        guard let event = event(act, authors, signers, number: course.number, previous: seller.tip) else { return }
        // What honest witnesses check before they vote.
        let isAllowed = seller.signatureChecks(of: event)?.allSatisfy(BargainSignature.isValid) ?? false
        guard isAllowed || setup.flaw == .roleByMessage else { return }
        let step = DecidedStep.event(act, RoleSet(event.authors), event: event.hash)
        append(step, signers, isReadable ? event : nil)
        if authors == [.buyer], act.kind == .paid, setup.isBuyerHonest { isMoneySellers = true }
        if authors == [.seller], act.kind == .shipped, setup.isSellerHonest { areGoodsBuyers = true }
        if authors == [.seller], act.kind == .refund, setup.isSellerHonest { isMoneySellers = false }
        if act.kind == .handover {
            isMoneySellers = true
            areGoodsBuyers = true
        }
    }

    /// To the buyer the event comes first, to the seller the certificate, and everything old once more.
    private mutating func append(_ step: DecidedStep, _ signers: [TradeRole], _ event: TradeEvent?) {
        let old = seller.allEvents
        decided.append(step)
        self.signers.append(signers)
        isReadable = event != nil || step == .silence
        if let event { buyer.take(event) }
        let isBuyerRight = buyer.decide(decided)
        let isSellerRight = seller.decide(decided)
        if let event { seller.take(event) }
        for event in old { seller.take(event) }
        if !isBuyerRight || !isSellerRight || buyer != seller {
            disagreement = "two dossiers with the same certificates disagree"
        }
    }

    /// An event as its authors would write it, signed with stand-ins for signatures.
    func event(
        _ act: StepAct, _ authors: [TradeRole], _ signers: [TradeRole], number: UInt32, previous: Bytes32
    ) -> TradeEvent? {
        let event = TradeEvent(
            trade: contract.trade, number: number, previous: previous, kind: .step(act.kind), detail: act.detail,
            salt: .zero, authors: Set(authors), body: body(act.kind))
        return event.map { event in
            zip(authors, signers).reduce(event) { signed, pair in
                let key = contract.party(pair.1)?.key ?? TradeKey(.zero)
                let bytes = BargainSignature.sign(event.signedBytes, with: key)
                return signed.adding(TradeEvent.Signature(role: pair.0, bytes: bytes))
            }
        }
    }

    private func body(_ kind: StepKind) -> TradeEventBody {
        switch kind {
        case .contract: .contract(destination: "here")
        case .paid, .refund: .payment(TradePayment(sum: contract.terms.price, way: "", reference: ""))
        case .shipped, .carrierProof: .shipment(TradeShipment(carrier: "", tracking: "1"))
        case .opening: .opening(challengedBytes)
        case .received, .receipt, .accepted, .cancel, .dispute, .answer, .settlement, .acknowledgement, .ruling,
            .challenge, .handover:
            .words(TradeWords())
        }
    }

    /// Of the event before the challenge, where it can be read.
    private var challengedBytes: [UInt8] {
        seller.records.count < 2 ? [] : seller.records[seller.records.count - 2].event?.bytes ?? []
    }

    // MARK: What must hold

    package var fault: String? {
        if let disagreement { return disagreement }
        let dossier = seller
        if dossier.isOver {
            if setup.isBuyerHonest, isMoneySellers, !areGoodsBuyers, !isJudged {
                return "an honest buyer ends without goods and without money"
            }
            if setup.isSellerHonest, areGoodsBuyers, !isMoneySellers, !isJudged {
                return "an honest seller ends without goods and without money"
            }
        } else if actions.isEmpty {
            return "nobody can end the trade"
        }
        return forgeryFault ?? rulingFault
    }

    private var isJudged: Bool {
        switch seller.state {
        case .ruled, .ruledByTable, .settled: true
        default: false
        }
    }

    private var forgeryFault: String? {
        for (step, signers) in zip(decided, signers) {
            guard case .event(_, let roles, _) = step else { continue }
            if roles.roles != signers { return "somebody acted in a role that isn't theirs" }
        }
        return nil
    }

    private var rulingFault: String? {
        let rulings = seller.records.filter { record in
            if case .event(let act, _, _) = record.decided { act.kind == .ruling } else { false }
        }
        guard let ruling = rulings.first else { return nil }
        guard rulings.count == 1, case .event(_, let roles, _) = ruling.decided, seller.records.count >= 2 else {
            return "there are two rulings"
        }
        let called = seller.records[seller.records.count - 2].course.state
        guard case .judged(let arbiter) = called, roles.roles == [.arbiter(arbiter)] else {
            return "somebody ruled who wasn't called"
        }
        return nil
    }

    // MARK: Telling states apart

    package func mix(into fingerprint: inout Fingerprint) {
        mixCourse(into: &fingerprint)
        for bit in [isMoneySellers, areGoodsBuyers, isReadable, hasBelievedItsClock, disagreement != nil] {
            fingerprint.mix(bit ? UInt64(1) : 0)
        }
        fingerprint.mix(forgeryFault == nil ? UInt64(0) : 1)
    }

    /// Where the trade stands, whatever goods and money do.
    func mixCourse(into fingerprint: inout Fingerprint) {
        let course = course
        fingerprint.mix(Self.code(course.state))
        fingerprint.mix(Int(course.stage.rawValue))
        for choice in course.choices { fingerprint.mix(Int(choice.kind.rawValue)) }
        // What the last event left open shows in where silence and an opening lead.
        fingerprint.mix(course.afterSilence().map { Self.code($0.state) << 4 | Int($0.stage.rawValue) } ?? -1)
        for role in [TradeRole.buyer, .seller] {
            fingerprint.mix(course.after(StepAct(.opening), by: [role]).map { Self.code($0.state) } ?? -1)
            fingerprint.mix(
                course.after(StepAct(.challenge), by: [role])?.afterSilence().map { Self.code($0.state) } ?? -1)
        }
    }

    private static func code(_ state: TradeCourse.State) -> Int {
        switch state {
        case .reserved: 1
        case .bound: 2
        case .unpaid: 3
        case .paidClaimed: 4
        case .unconfirmed: 5
        case .paid: 6
        case .unshipped: 7
        case .unrefunded: 8
        case .refundClaimed: 9
        case .shipped: 10
        case .undelivered: 11
        case .delivered: 12
        case .completed: 13
        case .cancelled: 14
        case .refunded: 15
        case .ruledByTable: 16
        case .abandoned: 17
        case .lapsed: 18
        case .disputed(let role): 32 + role.number
        case .challenged(let role): 64 + role.number
        case .called(let arbiter): 96 + arbiter
        case .judged(let arbiter): 128 + arbiter
        case .settled(let outcome): 1 << 12 + Int(outcome.detail)
        case .ruled(let outcome, let arbiter): (2 + arbiter) << 12 + Int(outcome.detail)
        }
    }

    package func sentence(of action: Action) -> String {
        switch action {
        case .event(let act, let authors, let signers, let isReadable):
            "EVENT: \(act.kind.name)\(act.outcome.map { ", \($0.sentence)" } ?? "") of "
                + authors.map(\.name).joined(separator: " and ")
                + (authors == signers ? "" : ", signed by \(signers.map(\.name).joined(separator: " and "))")
                + (isReadable ? "." : ", which nobody can read.")
        case .silence: "NO-EVENT."
        case .pay: "The buyer pays."
        case .payBack: "The seller pays back."
        case .ship: "The seller ships."
        case .ownClock: "The buyer's clock passes the deadline, and its dossier goes on."
        }
    }

    package static var landmarkNames: [String] {
        ["completed", "cancelled", "refunded", "settled", "ruled", "by the table", "abandoned", "lapsed", "challenged"]
    }

    package var landmarks: UInt64 {
        switch seller.state {
        case .completed: 1
        case .cancelled: 2
        case .refunded: 4
        case .settled: 8
        case .ruled: 16
        case .ruledByTable: 32
        case .abandoned: 64
        case .lapsed: 128
        case .challenged: 256
        default: 0
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiWitness

/// One trade with all its keys, and the tasks that take it on.
struct Deal {
    let listing: TradeSigner
    let buyer: TradeSigner
    let seller: TradeSigner
    let arbiters: [TradeSigner]
    let device: TradeSigner
    let account: Bytes32
    let stub: UnitStub
    let plan: TradePlan
    let set: WitnessSet

    static let day: UInt32 = 86_400
    static let hour: UInt32 = 3_600
    /// bind, pay, confirm, ship, deliver, inspect, refund, dispute, answer, acknowledge, rule, open
    static let deadlines = made(
        TradeDeadlines([
            24 * hour, 72 * hour, 4 * day, 5 * day, 24 * day, 7 * day, 5 * day, 3 * day, 3 * day, 2 * day, 5 * day,
            2 * day,
        ]))

    init(
        _ number: UInt64, in set: WitnessSet, amount: Int64 = 100, listing: UInt64? = nil, isCheap: Bool = true,
        pinned: WitnessSetID? = nil
    ) {
        func signer(_ offset: UInt64) -> TradeSigner {
            isCheap
                ? RegisterTown.cheap(1_000 + 10 * number + offset)
                : TradeSigner(KeyPair(seed: Bytes32(words: (7, 7, number, offset))))
        }
        self.listing =
            isCheap
            ? RegisterTown.cheap(900 + (listing ?? number))
            : TradeSigner(KeyPair(seed: Bytes32(words: (7, 8, listing ?? number, 0))))
        buyer = signer(0)
        seller = signer(1)
        arbiters = [signer(2), signer(3)]
        device = signer(4)
        account = Bytes32(words: (0, 0, 0, 77))
        self.set = set
        stub = UnitStub(
            seller: self.listing.key, witnesses: pinned ?? set.id, quantity: 3,
            nonce: Bytes32(words: (9, 9, 9, listing ?? number)))
        plan = TradePlan(
            trade: TradeID(Bytes32(words: (5, 5, 5, number))), unit: stub.unit(0), buyer: buyer.key, seller: seller.key,
            arbiters: arbiters.map(\.key), witnesses: set.id, deadlines: Self.deadlines,
            contract: Bytes32(words: (6, 6, 6, number)), account: account, amount: amount,
            charter: Bytes32(words: (4, 4, 4, 4)))
    }

    func debit(round: UInt32 = 0) -> ExposureChange {
        .debit(ExposureItem(plan: plan.digest, unit: plan.unit, round: round, amount: plan.amount))
    }

    func exposureTask(
        _ change: ExposureChange, after proof: ExposureProof?, end: ExposureEnd? = nil, by signer: TradeSigner? = nil
    ) -> RegisterTask {
        let slot = Slot.exposure(account: account, number: (proof?.certificate.slot.number ?? 0) + 1)
        let request = ExposureRequest(change: change, slot: slot.id(in: set.id), end: end, signer: signer ?? device)
        return RegisterTask(
            set: set, slot: slot, request: .exposure(request), evidence: proof.map { .exposure($0) })
    }

    func reservationTask(
        _ exposure: ExposureProof?, round: UInt32 = 0, after: TradeProof? = nil, handover: Handover? = nil
    ) -> RegisterTask {
        let slot = Slot.reservation(plan.unit, round: round)
        let request = ReservationRequest(
            stub: stub, unitNumber: 0, plan: plan, exposure: exposure, slot: slot.id(in: set.id), signer: listing)
        return RegisterTask(
            set: set, slot: slot, request: .reservation(request), evidence: after.map { .unit($0) }, handover: handover)
    }

    func signer(of role: TradeRole) -> TradeSigner {
        switch role {
        case .buyer: buyer
        case .seller: seller
        case .arbiter(let index): arbiters[index]
        }
    }

    func stepRequest(
        _ kind: StepKind, detail: UInt16 = 0, by roles: [TradeRole], after proof: TradeProof, event: UInt64 = 1
    ) -> StepRequest {
        let standing = made(proof.standing)
        let step = Step(
            history: standing.history.digest, number: standing.number, act: StepAct(kind, detail: detail),
            roles: RoleSet(roles), event: Bytes32(words: (3, 3, UInt64(kind.rawValue), event)))
        let signatures = step.roles.roles.map { signer(of: $0).sign(step.digest.signedBytes) }
        return StepRequest(step: step, signatures: signatures, sealed: [1, 2, 3, UInt8(truncatingIfNeeded: event)])
    }

    /// Nil: NO-EVENT.
    func stepTask(_ request: StepRequest?, after proof: TradeProof, set: WitnessSet? = nil) -> RegisterTask {
        RegisterTask(
            set: set ?? self.set, slot: .step(plan.trade, number: made(proof.standing).number),
            request: request.map { .step($0) }, evidence: .trade(proof))
    }

    /// Proofs made by witnesses whose keys are at hand, without a network.
    static func certificate(
        _ slot: Slot, _ value: SlotValue, by signers: [TradeSigner], in set: WitnessSet
    ) -> Certificate {
        let statement = Statement.commit(slot.id(in: set.id), .first, value)
        let signatures = signers.map {
            WitnessSignature(witness: made(set.index(of: $0.key)), signature: $0.sign(statement.bytes))
        }
        return Certificate(
            slot: slot, set: set.id, ballot: .first, value: value,
            commits: made(QuorumProof(signatures, quorum: set.quorum)))
    }

    func reserved(by signers: [TradeSigner]) -> TradeProof {
        TradeProof(
            plan: plan,
            reservation: Self.certificate(
                .reservation(plan.unit, round: 0), .event(plan.digest), by: signers, in: set))
    }
}

extension RegisterOutcome {
    var certificate: Certificate? { if case .decided(let certificate, _, _) = self { certificate } else { nil } }
    var trade: TradeProof? {
        switch self {
        case .decided(_, _, .trade(let proof)?), .passed(.trade(let proof)): proof
        case .decided, .passed, .open, .closed, .failed: nil
        }
    }
    var exposure: ExposureProof? {
        switch self {
        case .decided(_, _, .exposure(let proof)?), .passed(.exposure(let proof)): proof
        case .decided, .passed, .open, .closed, .failed: nil
        }
    }
}

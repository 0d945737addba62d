// SPDX-License-Identifier: Apache-2.0
import TuttiBase

import struct NIOCore.ByteBuffer

/// Where a chain stands, as one witness knows it: everything that a request for the next slot is held against.
struct ChainState: Hashable, Sendable {
    enum Standing: Hashable, Sendable {
        /// Nil: nothing was ever on the account.
        case exposure(ExposureProof?)
        /// The trade of the round before; nil: the first round.
        case unit(TradeProof?)
        case trade(TradeProof, TradeStanding)
        /// A trade whose reservation it hasn't seen.
        case unknownTrade
    }

    private(set) var standing: Standing
    /// Since when it knows, on its own clock: the next step's time runs from there.
    private(set) var since: UInt64 = 0

    init(_ chain: Chain) {
        standing =
            switch chain {
            case .exposure: .exposure(nil)
            case .unit: .unit(nil)
            case .trade: .unknownTrade
            }
    }

    /// Of the slot that is open; nil when none is known to be.
    var number: UInt32? {
        switch standing {
        case .exposure(let proof): proof.map { $0.certificate.slot.number + 1 } ?? 1
        case .unit(let proof): proof.map { $0.round + 1 } ?? 0
        case .trade(_, let standing): standing.number
        case .unknownTrade: nil
        }
    }

    var evidence: ChainEvidence? {
        switch standing {
        case .exposure(let proof): proof.map { .exposure($0) }
        case .unit(let proof): proof.map { .unit($0) }
        case .trade(let proof, _): .trade(proof)
        case .unknownTrade: nil
        }
    }

    var plan: TradePlan? {
        if case .trade(let proof, _) = standing { proof.plan } else { nil }
    }

    /// The trade is over: no slot comes after it.
    var isOver: Bool {
        if case .trade(_, let standing) = standing { standing.course.isTerminal } else { false }
    }

    /// On its own clock; nil: the slot has none.
    var deadline: UInt64? {
        guard case .trade(let proof, let standing) = standing, let name = standing.course.deadline else { return nil }
        let (sum, overflow) = since.addingReportingOverflow(UInt64(proof.plan.deadlines[name]) * 1_000)
        return overflow ? .max : sum
    }

    /// The set that must have closed the open slot, so that this one may decide it.
    func closingSet(_ set: WitnessSetID, _ context: WitnessContext) -> WitnessSetID? {
        switch standing {
        case .exposure(let proof):
            guard let proof else { return context.predecessor }
            return proof.certificate.set == set ? nil : proof.certificate.set
        case .unit(let proof): return proof.flatMap { $0.plan.witnesses == set ? nil : $0.plan.witnesses }
        case .trade(let proof, let standing):
            return proof.handovers.last.flatMap { $0.number == standing.number ? $0.from : nil }
        case .unknownTrade: return nil
        }
    }

    // MARK: Evidence

    /// Whether it says more than is known, and of this chain. Its signatures are the caller's matter.
    func isAhead(_ evidence: ChainEvidence, of chain: Chain) -> Bool {
        guard let next = evidence.next, next.chain == chain else { return false }
        return number.map { next.number > $0 } ?? true
    }

    /// - Returns: false when the evidence doesn't lead to a slot of this set.
    mutating func absorb(
        _ evidence: ChainEvidence, of set: WitnessSetID, predecessor: WitnessSetID?, at milliseconds: UInt64
    ) -> Bool {
        switch evidence {
        case .exposure(let proof):
            guard proof.certificate.set == set || proof.certificate.set == predecessor else { return false }
            standing = .exposure(proof)
        case .unit(let proof): standing = .unit(proof)
        case .trade(let proof):
            guard let next = proof.standing, next.set == set else { return false }
            standing = .trade(proof, next)
        }
        since = milliseconds
        return true
    }

    /// The open slot is decided. Nil when that takes more than is held.
    func evidence(after certificate: Certificate, _ request: SlotRequest?) -> ChainEvidence? {
        switch (standing, certificate.value, request) {
        case (.exposure(let proof), .event, .exposure(let request)?):
            let state = proof?.state ?? ExposureState()
            guard let next = state.after(request.change, cap: .max), certificate.value == .event(next.digest) else {
                return nil
            }
            return .exposure(ExposureProof(state: next, certificate: certificate))
        case (.trade(let proof, _), .noEvent, _): return proof.appending(.silence, certificate).map { .trade($0) }
        case (.trade(let proof, _), .event, .step(let request)?):
            let step = request.step
            return proof.appending(.event(step.act, step.roles, event: step.event), certificate).map { .trade($0) }
        default: return nil
        }
    }
}

extension ChainState {
    /// On the disk: the evidence and the time. A chain without evidence has no record.
    struct Record: CanonicalBody {
        let evidence: ChainEvidence
        let since: UInt64

        init(evidence: ChainEvidence, since: UInt64) {
            self.evidence = evidence
            self.since = since
        }

        init(from reader: inout BodyReader) throws(DecodeError) {
            evidence = try reader.body(1, "evidence")
            since = UInt64(try reader.number(2, in: 0...Int.max, "time of a chain"))
        }

        func write(into buffer: inout ByteBuffer) {
            buffer.write(1, evidence)
            buffer.write(2, Int(clamping: since))
        }
    }

    var record: Record? { evidence.map { Record(evidence: $0, since: since) } }

    /// Written by us, so only damage makes it fail.
    init?(_ chain: Chain, _ record: Record) {
        switch record.evidence {
        case .exposure(let proof): standing = .exposure(proof)
        case .unit(let proof): standing = .unit(proof)
        case .trade(let proof):
            guard let next = proof.standing else { return nil }
            standing = .trade(proof, next)
        }
        guard record.evidence.next?.chain == chain else { return nil }
        since = record.since
    }
}

// MARK: Requests

extension ChainState {
    /// What the slot holds if the request is decided. Nil when it isn't of this slot.
    func digest(of request: SlotRequest) -> Bytes32? {
        switch (standing, request) {
        case (.exposure(let proof), .exposure(let request)):
            (proof?.state ?? ExposureState()).after(request.change, cap: .max)?.digest
        case (.unit, .reservation(let request)): request.plan.digest
        case (.trade(_, let standing), .step(let request)):
            request.step.number == standing.number ? request.step.digest.bytes : nil
        case (.exposure, _), (.unit, _), (.trade, _), (.unknownTrade, _): nil
        }
    }
}

extension ChainState {
    /// A request that the rules admit in the open slot, its signatures aside.
    struct Admitted: Hashable {
        let digest: Bytes32
        let author: Bytes32
        let checks: [SignatureCheck]
    }

    func admit(
        _ request: SlotRequest, _ slot: Slot, in set: WitnessSet, _ context: WitnessContext
    ) -> Result<Admitted, WitnessRefusal> {
        switch (standing, request) {
        case (.exposure(let proof), .exposure(let request)):
            admit(request, proof?.state ?? ExposureState(), slot.id(in: set.id), context)
        case (.unit(let proof), .reservation(let request)):
            admit(request, isFirst: proof == nil, slot, in: set, context)
        case (.trade(let proof, let standing), .step(let request)): admit(request, proof.plan, standing)
        case (.exposure, _), (.unit, _), (.trade, _), (.unknownTrade, _): .failure(.notAdmitted)
        }
    }

    private func admit(
        _ request: ExposureRequest, _ state: ExposureState, _ slot: SlotID, _ context: WitnessContext
    ) -> Result<Admitted, WitnessRefusal> {
        guard let account = context.account, account.devices.contains(request.device),
            let next = state.after(request.change, cap: account.cap)
        else { return .failure(.notOnAccount) }
        var checks = [request.check(slot)]
        if case .credit(let plan) = request.change {
            guard let item = state.item(of: plan), let end = request.end, end.ends(item),
                let more = end.checks(in: context.sets)
            else { return .failure(.notAdmitted) }
            checks += more
        }
        return .success(Admitted(digest: next.digest, author: request.device.bytes, checks: checks))
    }

    private func admit(
        _ request: ReservationRequest, isFirst: Bool, _ slot: Slot, in set: WitnessSet, _ context: WitnessContext
    ) -> Result<Admitted, WitnessRefusal> {
        let (stub, plan) = (request.stub, request.plan)
        let pinned: [WitnessSetID?] = [set.id, context.predecessor]
        guard request.unitNumber < stub.quantity, slot.chain == .unit(stub.unit(request.unitNumber)),
            plan.unit == stub.unit(request.unitNumber), plan.witnesses == set.id, plan.isWellFormed,
            isFirst ? pinned.contains(stub.witnesses) : true
        else { return .failure(.notAdmitted) }
        guard request.isOnAccount(slot) else { return .failure(.notOnAccount) }
        var checks = [request.check(slot.id(in: set.id))]
        if let exposure = request.exposure {
            guard exposure.certificate.set == set.id, let more = exposure.checks(in: [set]) else {
                return .failure(.notOnAccount)
            }
            checks += more
        }
        return .success(Admitted(digest: plan.digest, author: .zero, checks: checks))
    }

    private func admit(
        _ request: StepRequest, _ plan: TradePlan, _ standing: TradeStanding
    ) -> Result<Admitted, WitnessRefusal> {
        let step = request.step
        guard step.number == standing.number, step.history == standing.history.digest,
            let next = standing.course.after(step.act, by: Set(step.roles.roles)),
            next.number == standing.number + 1, let checks = request.checks(plan)
        else { return .failure(.notAdmitted) }
        let author = Bytes32(words: (0, 0, 0, UInt64(step.roles.bits)))
        return .success(Admitted(digest: step.digest.bytes, author: author, checks: checks))
    }
}

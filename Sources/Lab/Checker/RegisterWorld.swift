// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiWitness

/// Three real witnesses and one slot of a trade: the second step, in which the buyer may say that he paid and the seller may
/// challenge the contract. Each witness's machine is run once for each of its states and each question; what it did is kept,
/// so that millions of states of all three together cost a look-up each.
///
/// Between the questions lies time enough for a ballot to end; whether the deadline has passed is part of the question.
// Not shared: an exploration makes its own, on one thread.
final class RegisterWorld: @unchecked Sendable {
    private struct Asked: Hashable {
        let witness: Int
        let state: Int
        let hasPassed: Bool
        let question: RegisterQuestion
    }

    let set: WitnessSet
    let signers: [TradeSigner]
    let parties: [TradeSigner]
    let slot: Slot
    let slotID: SlotID
    let context: WitnessContext
    private(set) var evidence: ChainEvidence?
    private(set) var requests: [SlotRequest] = []
    /// Two events and NO-EVENT.
    private(set) var values: [SlotValue] = []
    private let flaw: RegisterFlaw?

    /// By number, as they were found; what each has on its disk. The same states of different witnesses share a number.
    private var disks: [[WitnessRecord]] = []
    private var machines: [[WitnessMachine?]] = []
    private var numbers: [[UInt8]: Int] = [:]
    private var known: [Asked: RegisterReply] = [:]
    /// What a machine did that it never should.
    private(set) var misdeed: String?
    /// How often a machine was run.
    var runs: Int { known.count }

    static let start: UInt64 = 1_000_000_000
    static let paySeconds: UInt32 = 86_400

    init(flaw: RegisterFlaw?) {
        self.flaw = flaw
        signers = (1...4).map { StandInSigner.signer($0) }
        parties = (11...14).map { StandInSigner.signer($0) }
        guard let set = WitnessSet(signers.map(\.key)),
            let deadlines = TradeDeadlines(
                DeadlineName.allCases.map { _ in Self.paySeconds })
        else { preconditionFailure("four keys, and deadlines of a day") }
        self.set = set
        context = WitnessContext(sets: [set])
        let plan = TradePlan(
            trade: TradeID(Self.bytes(21)), unit: UnitID(Self.bytes(22)), buyer: parties[0].key,
            seller: parties[1].key, arbiters: [parties[2].key, parties[3].key], witnesses: set.id,
            deadlines: deadlines, contract: Self.bytes(23), account: Self.bytes(24), amount: 0,
            charter: Self.bytes(25))
        slot = .step(plan.trade, number: 2)
        slotID = slot.id(in: set.id)
        begin(plan)
    }

    private static func bytes(_ number: UInt64) -> Bytes32 { Bytes32(words: (0, 0, 0, number)) }

    /// The trade so far: reserved, bound. Then the requests that compete.
    private func begin(_ plan: TradePlan) {
        var history = TradeHistory(plan: plan.digest, round: 0)
        let contract = Step(
            history: history.digest, number: 1, act: StepAct(.contract), roles: RoleSet([.buyer]),
            event: Self.bytes(31))
        let reserved = certificate(.reservation(plan.unit, round: 0), .event(plan.digest))
        let bound = certificate(.step(plan.trade, number: 1), .event(contract.digest.bytes))
        let proof = TradeProof(plan: plan, reservation: reserved)
            .appending(.event(contract.act, contract.roles, event: contract.event), bound)
        guard let proof else { preconditionFailure("the buyer may sign the contract first") }
        history.append(.event(contract.digest.bytes))
        for (kind, role, party) in [(StepKind.paid, TradeRole.buyer, 0), (.challenge, .seller, 1)] {
            let step = Step(
                history: history.digest, number: 2, act: StepAct(kind), roles: RoleSet([role]),
                event: Self.bytes(32 + UInt64(party)))
            let signature = parties[party].sign(step.digest.signedBytes)
            requests.append(.step(StepRequest(step: step, signatures: [signature], sealed: [UInt8(party)])))
            values.append(.event(step.digest.bytes))
        }
        values.append(.noEvent)
        evidence = .trade(proof)
        let question = WitnessQuestion(set: set.id, slot: slot, evidence: evidence, ask: .fetch)
        for witness in 0..<AgreementSystem.honestCount {
            guard var machine = WitnessMachine(slot.chain, in: set, signer: signers[witness]),
                let examined = machine.examine(question, in: context),
                examined.checks.allSatisfy(StandInSigner.isValid),
                machine.handle(examined, RequestID(0), at: clock(0, hasPassed: false))
            else { preconditionFailure("evidence of the trade") }
            var disk: [WitnessRecord] = []
            _ = drain(&machine, onto: &disk)
            _ = number(of: machine, disk, at: witness)
        }
    }

    private func certificate(_ slot: Slot, _ value: SlotValue) -> Certificate {
        let message = Statement.commit(slot.id(in: set.id), .first, value).bytes
        let commits = (0..<set.quorum).map { WitnessSignature(witness: $0, signature: signers[$0].sign(message)) }
        guard let proof = QuorumProof(commits, quorum: set.quorum) else { preconditionFailure("a quorum signed") }
        return Certificate(slot: slot, set: set.id, ballot: .first, value: value, commits: proof)
    }

    private func clock(_ ballot: Int, hasPassed: Bool) -> WitnessClock {
        let days = hasPassed ? UInt64(Self.paySeconds) * 2_000 : 0
        return WitnessClock(milliseconds: Self.start + days + UInt64(ballot) * 60_000, steadySince: 0)
    }
}

// MARK: A witness is asked

extension RegisterWorld {
    func ask(_ witness: Int, in state: Int, hasPassed: Bool, _ question: RegisterQuestion) -> RegisterReply {
        let asked = Asked(witness: witness, state: state, hasPassed: hasPassed, question: question)
        if let outcome = known[asked] { return outcome }
        let outcome = run(asked)
        known[asked] = outcome
        return outcome
    }

    private func run(_ asked: Asked) -> RegisterReply {
        let nothing = RegisterReply(state: asked.state)
        guard let ask = self.ask(for: asked.question),
            var machine = self.machine(in: asked.state, at: asked.witness)
        else { return nothing }
        let question = WitnessQuestion(set: set.id, slot: slot, ask: ask)
        guard let examined = machine.examine(question, in: context) else { return nothing }
        if !examined.checks.allSatisfy(StandInSigner.isValid), flaw != .unverified { return nothing }
        let clock = self.clock(asked.question.ballot, hasPassed: asked.hasPassed)
        guard machine.handle(examined, RequestID(1), at: clock) else { return nothing }
        var disk = disks[asked.state]
        let answer = drain(&machine, onto: &disk)
        let state = number(of: machine, disk, at: asked.witness)
        return RegisterReply(state: state, signed: answer.flatMap { signed($0, by: asked.witness) })
    }

    /// From its disk, where no witness of this place was in that state before.
    func machine(in state: Int, at witness: Int) -> WitnessMachine? {
        if let known = machines[state][witness] { return known }
        machines[state][witness] = WitnessMachine(
            slot.chain, in: set, signer: signers[witness], records: disks[state])
        return machines[state][witness]
    }

    /// Writes what is to be written, then takes the answer, which must not have come before.
    func drain(_ machine: inout WitnessMachine, onto disk: inout [WitnessRecord]) -> WitnessAnswer? {
        var answer: WitnessAnswer?
        while let effect = machine.nextEffect() {
            switch effect {
            case .persist(let records, let id):
                for record in records {
                    disk.removeAll { $0.key == record.key }
                    disk.append(record)
                }
                if machine.nextEffect() != nil { misdeed = "an answer leaves before its state is on the disk" }
                machine.persisted(id)
            case .answer(_, let given): answer = given
            }
        }
        return answer
    }

    private func number(of machine: WitnessMachine, _ disk: [WitnessRecord], at witness: Int) -> Int {
        let bytes = Array(machine.openBytes.readableBytesView)
        if let number = numbers[bytes] {
            if machines[number][witness] == nil { machines[number][witness] = machine }
            return number
        }
        let restarted = WitnessMachine(slot.chain, in: set, signer: signers[witness], records: disk)
        if restarted.map({ Array($0.openBytes.readableBytesView) }) != bytes {
            misdeed = "a restarted witness isn't what it was"
        }
        numbers[bytes] = disks.count
        disks.append(disk)
        machines.append(Array(repeating: nil, count: AgreementSystem.honestCount))
        machines[disks.count - 1][witness] = machine
        return disks.count - 1
    }
}

// MARK: Questions and answers

extension RegisterWorld {
    /// Nil: nobody can put it together.
    private func ask(for question: RegisterQuestion) -> WitnessAsk? {
        switch question {
        case .propose(let value):
            return .propose(Proposal(ballot: .first, value: values[value], request: request(value)))
        case .proposeAfter(let ballot, let value, let reports):
            let named = reports.compactMap { $0 }.max { $0.lockBallot < $1.lockBallot }
            let locks = named.flatMap { $0.lockBallot == 0 ? nil : lock(Int($0.lockBallot) - 1, Int($0.lockValue)) }
            let signed = reports.enumerated().compactMap { witness, report in
                report.map { self.signed($0, for: ballot, by: witness) }
            }
            guard let justification = Justification(signed, locks: locks.map { [$0] } ?? [], quorum: set.quorum) else {
                return nil
            }
            let turn = parties[(ballot - 1) % parties.count]
            return .propose(
                Proposal(
                    ballot: Ballot(UInt32(ballot)), value: values[value], request: request(value),
                    justification: justification,
                    driver: BallotDriver(turn, slotID, Ballot(UInt32(ballot)), proposing: values[value])))
        case .lock(let ballot, let value, let isForged):
            return lock(ballot, value, isForged: isForged).map { .lock($0) }
        case .report(let ballot, let event):
            let number = Ballot(UInt32(ballot))
            return .report(
                number, BallotDriver(parties[0], slotID, number, proposing: nil), event.flatMap { request($0) })
        }
    }

    private func request(_ value: Int) -> SlotRequest? { value < requests.count ? requests[value] : nil }

    /// Any quorum's votes prove the same, so the first one's stand for all.
    private func lock(_ ballot: Int, _ value: Int, isForged: Bool = false) -> Lock? {
        let number = Ballot(UInt32(ballot))
        let message = Statement.vote(slotID, number, values[value]).bytes
        let votes = (0..<set.quorum).map { witness in
            let signer = isForged && witness == set.quorum - 1 ? signers[0] : signers[witness]
            return WitnessSignature(witness: witness, signature: signer.sign(message))
        }
        return QuorumProof(votes, quorum: set.quorum).map { Lock(ballot: number, value: values[value], votes: $0) }
    }

    private func signed(_ report: AgreementReport, for ballot: Int, by witness: Int) -> SignedReport {
        let lock =
            report.lockBallot == 0
            ? nil : BallotValue(ballot: Ballot(UInt32(report.lockBallot) - 1), value: values[Int(report.lockValue)])
        let views = (0..<requests.count).filter { report.lists($0) }.compactMap { digest(values[$0]) }
        let full = BallotReport(
            purpose: .ballot(Ballot(UInt32(ballot))), lock: lock, views: views, hasPassed: report.passed)
        return SignedReport(
            report: full,
            signature: WitnessSignature(witness: witness, signature: signers[witness].sign(full.signedBytes(slotID))))
    }

    private func digest(_ value: SlotValue) -> Bytes32? {
        if case .event(let digest) = value { digest } else { nil }
    }

    private func signed(_ answer: WitnessAnswer, by witness: Int) -> RegisterReply.Signed? {
        switch answer {
        case .voted(let ballot, let value, let signature, _):
            guard let number = values.firstIndex(of: value) else { return stranger("a vote") }
            check(signature, .vote(slotID, ballot, value), witness)
            return .vote(ballot: Int(ballot.value), value: number)
        case .committed(let ballot, let value, let signature):
            guard let number = values.firstIndex(of: value) else { return stranger("a commit") }
            check(signature, .commit(slotID, ballot, value), witness)
            return .commit(ballot: Int(ballot.value), value: number)
        case .reported(let signed, _, _):
            guard case .ballot(let ballot) = signed.report.purpose, let report = report(signed.report) else {
                return stranger("a report")
            }
            return .report(ballot: Int(ballot.value), report)
        case .decided, .open, .behind, .clock, .refused: return nil
        }
    }

    private func report(_ report: BallotReport) -> AgreementReport? {
        var listed: UInt8 = 0
        for view in report.views {
            guard let number = values.firstIndex(of: .event(view)) else { return nil }
            listed |= 1 << UInt8(number)
        }
        guard let lock = report.lock else {
            return AgreementReport(lockBallot: 0, lockValue: 0, listed: listed, passed: report.hasPassed)
        }
        return values.firstIndex(of: lock.value).map {
            AgreementReport(
                lockBallot: UInt8(lock.ballot.value) + 1, lockValue: UInt8($0), listed: listed,
                passed: report.hasPassed)
        }
    }

    private func stranger(_ what: String) -> RegisterReply.Signed? {
        misdeed = "a witness signs \(what) of something that nobody asked for"
        return nil
    }

    private func check(_ signature: WitnessSignature, _ statement: Statement, _ witness: Int) {
        let expected = WitnessSignature(witness: witness, signature: signers[witness].sign(statement.bytes))
        if signature != expected { misdeed = "a witness's signature isn't of what its answer says" }
    }
}

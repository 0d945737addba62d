// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiWitness

import struct NIOCore.ByteBuffer

/// The codec of `/tutti/witness/1`, and one witness before parties and fellow witnesses that say anything. The first byte
/// chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    if source.byte() % 3 == 0 { fuzzWire(&source) } else { fuzzMachine(&source) }
    return 0
}

@_cdecl("Witness_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

// MARK: Codec

func fuzzWire(_ source: inout ByteSource) {
    let kind = source.byte() % 5
    let bytes = ByteBuffer(bytes: source.rest())
    func check<Body: CanonicalBody>(_ type: Body.Type, _ bytesMax: Int) {
        guard let body = try? Body(encoded: bytes, bytesMax: bytesMax, "input") else { return }
        require(body.encoded == bytes, "there is one encoding")
    }
    switch kind {
    case 0: check(WitnessQuestion.self, WitnessLimits.questionBytesMax)
    case 1: check(WitnessAnswer.self, WitnessLimits.answerBytesMax)
    case 2: check(RegisterTask.self, RegisterTask.bytesMax)
    case 3: check(WitnessFault.self, WitnessFault.bytesMax)
    default: check(TradeProof.self, WitnessLimits.questionBytesMax)
    }
}

// MARK: Machine

/// What this target makes itself is there.
func made<Value>(_ value: Value?) -> Value {
    guard let value else { preconditionFailure("the target is wrong") }
    return value
}

/// Its signatures aren't verified here: every key may have said everything.
func signer(_ number: UInt64) -> TradeSigner {
    let key = TradeKey(Bytes32(words: (number, 1, 1, 1)))
    return TradeSigner(key: key) { KeyDerivation.sha256(key.bytes.bytes + $0).bytes + Bytes32.zero.bytes }
}

let witnesses = (1...4).map { signer($0) }
let (buyer, seller) = (signer(11), signer(12))
let arbiters = [signer(13), signer(14)]
let witnessSet = made(WitnessSet(witnesses.map(\.key)))
let plan = TradePlan(
    trade: TradeID(Bytes32(words: (5, 0, 0, 0))), unit: UnitID(Bytes32(words: (6, 0, 0, 0))), buyer: buyer.key,
    seller: seller.key, arbiters: arbiters.map(\.key), witnesses: witnessSet.id,
    deadlines: made(TradeDeadlines([UInt32](repeating: 3_600, count: DeadlineName.allCases.count))), contract: .zero,
    account: .zero, amount: 0, charter: .zero)

func quorum(_ statement: Statement) -> QuorumProof {
    made(
        QuorumProof(
            (0..<3).map { WitnessSignature(witness: $0, signature: witnesses[$0].sign(statement.bytes)) }, quorum: 3))
}

func certificate(_ slot: Slot, _ value: SlotValue) -> Certificate {
    Certificate(
        slot: slot, set: witnessSet.id, ballot: .first, value: value,
        commits: quorum(.commit(slot.id(in: witnessSet.id), .first, value)))
}

let reserved = TradeProof(
    plan: plan, reservation: certificate(.reservation(plan.unit, round: 0), .event(plan.digest)))

struct World {
    var machine: WitnessMachine
    var disk: [[UInt8]: ByteBuffer] = [:]
    var proof = reserved
    var clock: UInt64 = 1_000_000
    var votes: [SlotID: [Ballot: SlotValue]] = [:]
    var commits: [SlotID: [Ballot: SlotValue]] = [:]
    var promised: [SlotID: Ballot] = [:]
    var writes: [(WitnessBatchID, [WitnessRecord])] = []
    var lastRequest: UInt64 = 0

    init() {
        machine = made(WitnessMachine(.trade(plan.trade), in: witnessSet, signer: witnesses[0]))
    }

    var slot: Slot { .step(plan.trade, number: proof.standing?.number ?? 1) }

    func request(_ source: inout ByteSource) -> StepRequest? {
        guard let standing = proof.standing, let choice = standing.course.choices.first else { return nil }
        let roles = RoleSet(choice.signers.sets[0])
        let step = Step(
            history: standing.history.digest, number: standing.number, act: StepAct(choice.kind), roles: roles,
            event: Bytes32(words: (0, 0, 0, UInt64(source.byte() & 3))))
        return StepRequest(
            step: step, signatures: roles.roles.map { _ in [UInt8](repeating: 0, count: 64) }, sealed: [])
    }

    func value(_ source: inout ByteSource) -> (SlotValue, SlotRequest?) {
        guard source.bool(), let request = request(&source) else { return (.noEvent, nil) }
        return (.event(request.step.digest.bytes), source.byte() & 3 == 0 ? nil : .step(request))
    }

    func reports(_ source: inout ByteSource, _ ballot: Ballot) -> Justification? {
        let id = slot.id(in: witnessSet.id)
        var locks: [Lock] = []
        let reports = (0..<3).map { witness in
            var lock: Lock?
            if source.byte() & 7 == 0 {
                let (value, _) = value(&source)
                let lower = Ballot(UInt32(source.byte()) % max(ballot.value, 1))
                let shown = Lock(ballot: lower, value: value, votes: quorum(.vote(id, lower, value)))
                lock = shown
                locks.append(shown)
            }
            var views: [Bytes32] = []
            if source.bool(), case .event(let digest) = value(&source).0 { views = [digest] }
            let report = BallotReport(
                purpose: .ballot(ballot), lock: lock.map { BallotValue(ballot: $0.ballot, value: $0.value) },
                views: views, hasPassed: source.bool())
            return SignedReport(
                report: report,
                signature: WitnessSignature(witness: witness, signature: [UInt8](repeating: 1, count: 64)))
        }
        return Justification(reports, locks: locks, quorum: 3)
    }

    mutating func ask(_ source: inout ByteSource) {
        let id = slot.id(in: witnessSet.id)
        let ballot = Ballot(UInt32(source.byte() & 3))
        let (value, request) = value(&source)
        let ask: WitnessAsk
        switch source.byte() % 8 {
        case 0, 1, 2:
            ask = .propose(
                Proposal(
                    ballot: ballot, value: value, request: request,
                    justification: ballot == .first ? nil : reports(&source, ballot),
                    driver: BallotDriver(source.pick([buyer, seller] + arbiters), id, ballot, proposing: value)))
        case 3, 4: ask = .lock(Lock(ballot: ballot, value: value, votes: quorum(.vote(id, ballot, value))))
        case 5: ask = .report(ballot, BallotDriver(buyer, id, ballot, proposing: nil), request)
        case 6: ask = source.byte() & 15 == 0 ? .close(to: WitnessSetID(.zero)) : .fetch
        default:
            // A certificate comes only with a lock that a quorum committed to; one value a slot.
            guard commits[id]?.isEmpty ?? true, source.byte() & 3 == 0 else { return }
            ask = .inform(certificate(slot, .noEvent))
        }
        let question = WitnessQuestion(set: witnessSet.id, slot: slot, evidence: .trade(proof), ask: ask)
        let context = WitnessContext(sets: [witnessSet], successor: WitnessSetID(.zero))
        guard let examined = machine.examine(question, in: context) else { return }
        require(examined.checks.count <= WitnessLimits.checksMax, "the work of a question is limited")
        lastRequest += 1
        let isHandled = machine.handle(
            examined, RequestID(lastRequest), at: WitnessClock(milliseconds: clock, steadySince: 0))
        require(isHandled, "nothing came between")
        if case .inform = ask, let next = proof.appending(.silence, certificate(slot, .noEvent)) { proof = next }
    }

    mutating func drain() {
        while let effect = machine.nextEffect() {
            switch effect {
            case .persist(let records, let batch): writes.append((batch, records))
            case .answer(_, let answer): note(answer)
            }
        }
    }

    mutating func write() {
        guard !writes.isEmpty else { return }
        let (batch, records) = writes.removeFirst()
        for record in records { disk[record.key] = record.value }
        machine.persisted(batch)
    }

    mutating func crash() {
        writes = []
        let records = disk.sorted { $0.key.lexicographicallyPrecedes($1.key) }
            .map { WitnessRecord(key: $0.key, value: $0.value) }
        let restored = WitnessMachine(.trade(plan.trade), in: witnessSet, signer: witnesses[0], records: records)
        require(restored != nil, "what was written is read")
        if let restored { machine = restored }
    }

    mutating func note(_ answer: WitnessAnswer) {
        require(
            (try? WitnessAnswer(encoded: answer.encoded, bytesMax: WitnessLimits.answerBytesMax, "answer")) == answer,
            "an answer survives its encoding")
        // Statements name their slot: look for the one that was signed.
        for number in 1...(proof.standing?.number ?? 1) {
            let id = Slot.step(plan.trade, number: number).id(in: witnessSet.id)
            switch answer {
            case .voted(let ballot, let value, let signature, _)
            where signature.signature == witnesses[0].sign(Statement.vote(id, ballot, value).bytes):
                let known = votes[id, default: [:]].updateValue(value, forKey: ballot)
                require(known == nil || known == value, "one vote in a ballot")
                require(known != nil || ballot >= promised[id, default: .first], "no new vote below a promise")
            case .committed(let ballot, let value, let signature)
            where signature.signature == witnesses[0].sign(Statement.commit(id, ballot, value).bytes):
                let known = commits[id, default: [:]].updateValue(value, forKey: ballot)
                require(known == nil || known == value, "one commit in a ballot")
                require(known != nil || ballot >= promised[id, default: .first], "no new commit below a promise")
            case .reported(let report, _, _)
            where report.signature.signature == witnesses[0].sign(report.report.signedBytes(id)):
                if case .ballot(let ballot) = report.report.purpose {
                    promised[id] = max(promised[id] ?? .first, ballot)
                }
            default: break
            }
        }
    }
}

func fuzzMachine(_ source: inout ByteSource) {
    var world = World()
    var turns = 0
    while !source.isEmpty, turns < 400 {
        turns += 1
        switch source.byte() % 8 {
        case 0: world.crash()
        case 1: world.clock += UInt64(source.word16()) * 100
        case 2, 3: world.write()
        default: world.ask(&source)
        }
        world.drain()
    }
}

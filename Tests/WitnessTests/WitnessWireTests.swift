// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiWitness

import struct NIOCore.ByteBuffer

@Suite("The encodings of the register")
struct WitnessWireTests {
    private static let town = RegisterTown(clients: 0)
    private static let deal = Deal(1, in: town.set)
    private static let proof = deal.reserved(by: town.signers)
    private static let slot = Slot.step(deal.plan.trade, number: 1)
    private static let id = slot.id(in: town.set.id)

    private static var questions: [WitnessQuestion] {
        let step = SlotRequest.step(deal.stepRequest(.contract, by: [.buyer], after: proof))
        let account = Slot.exposure(account: deal.account, number: 1)
        let state = made(ExposureState().after(deal.debit(), cap: 1_000))
        let exposure = ExposureProof(
            state: state, certificate: Deal.certificate(account, .event(state.digest), by: town.signers, in: town.set))
        let lost = ExposureEnd.lost(
            Deal.certificate(
                .reservation(deal.plan.unit, round: 0), .event(.zero), by: town.signers, in: town.set))
        let vote = { (index: Int) in WitnessSignature(witness: index, signature: [UInt8](repeating: 7, count: 64)) }
        let lock = Lock(ballot: Ballot(1), value: .noEvent, votes: made(QuorumProof((0...2).map(vote), quorum: 3)))
        func reports(_ purpose: ReportPurpose) -> Justification {
            let report = BallotReport(
                purpose: purpose, lock: BallotValue(ballot: lock.ballot, value: lock.value),
                views: [deal.plan.digest, .zero], hasPassed: true)
            return made(
                Justification(
                    (0...2).map { SignedReport(report: report, signature: vote($0)) }, locks: [lock], quorum: 3))
        }
        let driver = BallotDriver(deal.buyer, id, Ballot(2), proposing: nil)
        let other = WitnessSetID(Bytes32(words: (1, 2, 3, 4)))
        let handover = Handover(number: 1, from: town.set.id, closes: reports(.close(to: other)))
        let asks: [WitnessAsk] = [
            .propose(Proposal(ballot: .first, value: .event(.zero), request: step)),
            .propose(
                Proposal(
                    ballot: Ballot(2), value: .noEvent, request: nil, justification: reports(.ballot(Ballot(2))),
                    driver: driver, handover: handover)),
            .lock(lock), .report(Ballot(2), driver, step), .report(Ballot(2), driver, nil), .close(to: other),
            .inform(proof.certificates[0]), .fetch, .clock,
        ]
        var questions = asks.map { WitnessQuestion(set: town.set.id, slot: slot, evidence: .trade(proof), ask: $0) }
        let credit = ExposureRequest(change: .credit(plan: deal.plan.digest), slot: id, end: lost, signer: deal.device)
        questions.append(
            WitnessQuestion(
                set: town.set.id, slot: account, evidence: .exposure(exposure),
                ask: .propose(Proposal(ballot: .first, value: .event(.zero), request: .exposure(credit)))))
        let reservation = deal.reservationTask(exposure)
        questions.append(
            WitnessQuestion(
                set: town.set.id, slot: reservation.slot,
                ask: .propose(Proposal(ballot: .first, value: .event(deal.plan.digest), request: reservation.request))))
        return questions
    }

    private static var answers: [WitnessAnswer] {
        let signature = WitnessSignature(witness: 2, signature: [UInt8](repeating: 9, count: 64))
        let step = SlotRequest.step(deal.stepRequest(.contract, by: [.buyer], after: proof))
        let report = SignedReport(
            report: BallotReport(purpose: .ballot(Ballot(3)), lock: nil, views: [], hasPassed: false),
            signature: signature)
        var answers: [WitnessAnswer] = [
            .voted(.first, .event(.zero), signature, held: step), .voted(Ballot(2), .noEvent, signature, held: nil),
            .committed(Ballot(2), .noEvent, signature), .reported(report, nil, held: [step, step]),
            .decided(proof.certificates[0], step, .trade(proof)), .decided(nil, nil, nil), .open(held: [step]),
            .open(held: []), .behind(7), .clock(milliseconds: 1 << 50),
        ]
        for reason in WitnessRefusal.allCases { answers.append(.refused(reason, Ballot(4), nil, milliseconds: 12)) }
        return answers
    }

    @Test("each question and answer has one encoding")
    func oneEncoding() throws {
        for question in Self.questions {
            let bytes = question.encoded
            let read = try WitnessQuestion(encoded: bytes, bytesMax: WitnessLimits.questionBytesMax, "question")
            #expect(read == question)
            // An unknown field behind it is another encoding.
            var longer = bytes
            longer.writeProtobuf(15, varint: 1)
            #expect(throws: DecodeError.self) {
                try WitnessQuestion(encoded: longer, bytesMax: WitnessLimits.questionBytesMax, "question")
            }
        }
        for answer in Self.answers {
            let read = try WitnessAnswer(encoded: answer.encoded, bytesMax: WitnessLimits.answerBytesMax, "answer")
            #expect(read == answer)
        }
    }

    @Test("cut at any length it is refused, or it is another question")
    func cut() {
        for question in Self.questions {
            let bytes = question.encoded
            for length in 0..<bytes.readableBytes {
                let cut = made(bytes.getSlice(at: bytes.readerIndex, length: length))
                let read = try? WitnessQuestion(encoded: cut, bytesMax: WitnessLimits.questionBytesMax, "question")
                #expect(read != question)
            }
        }
    }

    @Test("with any byte changed it is refused, or it is another question")
    func damaged() {
        var random = SeededGenerator(seed: 3)
        for question in Self.questions {
            let bytes = Array(question.encoded.readableBytesView)
            for _ in 0..<400 {
                var damaged = bytes
                damaged[Int(random.next() % UInt64(bytes.count))] ^= UInt8(1 + random.next() % 255)
                let read = try? WitnessQuestion(
                    encoded: ByteBuffer(bytes: damaged), bytesMax: WitnessLimits.questionBytesMax, "question")
                #expect(read != question)
            }
        }
    }

    @Test("a signature for one statement is none for another")
    func domains() {
        let value = SlotValue.event(.zero)
        let other = Slot.step(Self.deal.plan.trade, number: 2).id(in: Self.town.set.id)
        let statements: [[UInt8]] = [
            Statement.vote(Self.id, .first, value).bytes, Statement.commit(Self.id, .first, value).bytes,
            Statement.vote(Self.id, Ballot(1), value).bytes, Statement.vote(Self.id, .first, .noEvent).bytes,
            Statement.vote(other, .first, value).bytes,
            BallotReport(purpose: .ballot(Ballot(1)), lock: nil, views: [], hasPassed: false).signedBytes(Self.id),
            BallotReport(purpose: .ballot(Ballot(1)), lock: nil, views: [], hasPassed: true).signedBytes(Self.id),
            BallotReport(purpose: .close(to: Self.town.set.id), lock: nil, views: [], hasPassed: false)
                .signedBytes(Self.id),
            StepDigest(.zero).signedBytes,
        ]
        #expect(Set(statements).count == statements.count)
    }

    @Test("a plan with one key for two roles, or with deadlines out of bounds, isn't read")
    func badPlans() {
        let plan = Self.deal.plan
        func read(_ plan: TradePlan) -> TradePlan? {
            try? TradePlan(encoded: plan.encoded, bytesMax: 4_096, "plan")
        }
        func with(buyer: TradeKey? = nil, arbiters: [TradeKey]? = nil, amount: Int64? = nil) -> TradePlan {
            TradePlan(
                trade: plan.trade, unit: plan.unit, buyer: buyer ?? plan.buyer, seller: plan.seller,
                arbiters: arbiters ?? plan.arbiters, witnesses: plan.witnesses, deadlines: plan.deadlines,
                contract: plan.contract, account: plan.account, amount: amount ?? plan.amount, charter: plan.charter)
        }
        #expect(read(plan) == plan)
        #expect(read(with(buyer: plan.seller)) == nil)
        #expect(read(with(arbiters: [plan.arbiters[0]])) == nil)
        #expect(read(with(arbiters: [plan.arbiters[0], plan.buyer])) == nil)
        #expect(read(with(amount: WitnessLimits.amountMax + 1)) == nil)
        #expect(TradeDeadlines([UInt32](repeating: 3_599, count: 12)) == nil)
        #expect(TradeDeadlines([UInt32](repeating: 3_600, count: 11)) == nil)
    }

    @Test("two votes of one ballot convict, and nothing else does")
    func faultProof() throws {
        let witness = Self.town.signers[0]
        func signed(_ value: SlotValue, _ ballot: Ballot) -> WitnessFault.SignedValue {
            WitnessFault.SignedValue(
                value: value, signature: witness.sign(Statement.vote(Self.id, ballot, value).bytes))
        }
        func convicts(_ fault: WitnessFault?) -> Bool {
            fault?.checks.allSatisfy { $0.signature == RegisterTown.cheapSignature($0.key, $0.message) } ?? false
        }
        func fault(_ one: WitnessFault.SignedValue, _ other: WitnessFault.SignedValue) -> WitnessFault? {
            WitnessFault(witness: witness.key, slot: Self.id, ballot: .first, areCommits: false, one, other)
        }
        let proof = try #require(fault(signed(.event(.zero), .first), signed(.noEvent, .first)))
        #expect(convicts(proof))
        #expect(try WitnessFault(encoded: proof.encoded, bytesMax: WitnessFault.bytesMax, "fault") == proof)
        #expect(fault(signed(.noEvent, .first), signed(.event(.zero), .first)) == proof)
        #expect(fault(signed(.noEvent, .first), signed(.noEvent, .first)) == nil)
        // Of two ballots it is nobody's fault.
        #expect(!convicts(fault(signed(.event(.zero), .first), signed(.noEvent, Ballot(1)))))
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiWitness

import struct NIOCore.ByteBuffer

/// One machine, asked by hand.
@Suite("One witness")
struct WitnessMachineTests {
    private struct Bench {
        let town = RegisterTown(clients: 0)
        let deal: Deal
        let proof: TradeProof
        var machine: WitnessMachine
        var disk: [WitnessRecord] = []
        var clock = WitnessClock(milliseconds: 10_000, steadySince: 0)
        var context: WitnessContext
        private var lastRequest: UInt64 = 0

        init() {
            deal = Deal(1, in: town.set)
            proof = deal.reserved(by: town.signers)
            machine = made(WitnessMachine(.trade(deal.plan.trade), in: town.set, signer: town.signers[0]))
            context = WitnessContext(sets: [town.set])
        }

        var slot: Slot { .step(deal.plan.trade, number: 1) }
        var id: SlotID { slot.id(in: town.set.id) }

        func question(_ ask: WitnessAsk) -> WitnessQuestion {
            WitnessQuestion(set: town.set.id, slot: slot, evidence: .trade(proof), ask: ask)
        }

        func request(_ event: UInt64) -> SlotRequest {
            .step(deal.stepRequest(.contract, by: [.buyer], after: proof, event: event))
        }

        func value(_ event: UInt64) -> SlotValue {
            .event(deal.stepRequest(.contract, by: [.buyer], after: proof, event: event).step.digest.bytes)
        }

        /// The answer, with everything written in between.
        mutating func ask(_ ask: WitnessAsk) -> WitnessAnswer? {
            guard let examined = machine.examine(question(ask), in: context) else { return nil }
            for check in examined.checks where check.signature != RegisterTown.cheapSignature(check.key, check.message)
            {
                return nil
            }
            lastRequest += 1
            guard machine.handle(examined, RequestID(lastRequest), at: clock) else { return nil }
            return drain()
        }

        mutating func drain() -> WitnessAnswer? {
            var answer: WitnessAnswer?
            while let effect = machine.nextEffect() {
                switch effect {
                case .persist(let records, let batch):
                    for record in records {
                        disk.removeAll { $0.key == record.key }
                        disk.append(record)
                    }
                    machine.persisted(batch)
                case .answer(_, let given): answer = given
                }
            }
            return answer
        }

        mutating func restart() {
            machine = made(
                WitnessMachine(
                    .trade(deal.plan.trade), in: town.set, signer: town.signers[0], records: disk))
        }

        func vote(_ witness: Int, _ ballot: Ballot, _ value: SlotValue) -> WitnessSignature {
            WitnessSignature(
                witness: witness, signature: town.signers[witness].sign(Statement.vote(id, ballot, value).bytes))
        }

        func lock(_ ballot: Ballot, _ value: SlotValue) -> Lock {
            Lock(
                ballot: ballot, value: value,
                votes: made(QuorumProof((1...3).map { vote($0, ballot, value) }, quorum: 3)))
        }

        func driver(_ signer: TradeSigner, _ ballot: Ballot, _ value: SlotValue? = nil) -> BallotDriver {
            BallotDriver(signer, id, ballot, proposing: value)
        }

        func report(_ witness: Int, _ report: BallotReport) -> SignedReport {
            SignedReport(
                report: report,
                signature: WitnessSignature(
                    witness: witness, signature: town.signers[witness].sign(report.signedBytes(id))))
        }

        func reports(_ ballot: Ballot, views: [[Bytes32]], passed: [Bool], lock: Lock? = nil) -> Justification {
            let signed = views.indices.map { index in
                report(
                    index + 1,
                    BallotReport(
                        purpose: .ballot(ballot),
                        lock: index == 0 ? lock.map { BallotValue(ballot: $0.ballot, value: $0.value) } : nil,
                        views: views[index], hasPassed: passed[index]))
            }
            return made(Justification(signed, locks: lock.map { [$0] } ?? [], quorum: 3))
        }
    }

    private func vote(_ answer: WitnessAnswer?) -> SlotValue? {
        if case .voted(_, let value, _, _)? = answer { value } else { nil }
    }

    private func refusal(_ answer: WitnessAnswer?) -> WitnessRefusal? {
        if case .refused(let reason, _, _, _)? = answer { reason } else { nil }
    }

    @Test("votes once in a ballot, and says which value when asked for another")
    func oneVote() {
        var bench = Bench()
        let one = Proposal(ballot: .first, value: bench.value(1), request: bench.request(1))
        let other = Proposal(ballot: .first, value: bench.value(2), request: bench.request(2))
        #expect(vote(bench.ask(.propose(one))) == bench.value(1))
        #expect(vote(bench.ask(.propose(other))) == bench.value(1))
        bench.restart()
        #expect(vote(bench.ask(.propose(other))) == bench.value(1))
    }

    @Test("says nothing before its disk has it")
    func diskFirst() throws {
        var bench = Bench()
        let proposal = Proposal(ballot: .first, value: bench.value(1), request: bench.request(1))
        let examined = try #require(bench.machine.examine(bench.question(.propose(proposal)), in: bench.context))
        let handled1 = bench.machine.handle(examined, RequestID(1), at: bench.clock)
        #expect(handled1)
        guard case .persist(let records, let batch)? = bench.machine.nextEffect() else { throw Missing() }
        #expect(!records.isEmpty && bench.machine.nextEffect() == nil)
        // A second question changes nothing, and waits all the same.
        let again = try #require(bench.machine.examine(bench.question(.propose(proposal)), in: bench.context))
        let handled2 = bench.machine.handle(again, RequestID(2), at: bench.clock)
        #expect(handled2)
        #expect(bench.machine.nextEffect() == nil && !bench.machine.isIdle)
        bench.machine.persisted(batch)
        #expect(bench.machine.nextEffect() != nil && bench.machine.nextEffect() != nil)
        #expect(bench.machine.isIdle)
    }

    @Test("after a failed write it says nothing that it signed")
    func failedWrite() throws {
        var bench = Bench()
        let proposal = Proposal(ballot: .first, value: bench.value(1), request: bench.request(1))
        let examined = try #require(bench.machine.examine(bench.question(.propose(proposal)), in: bench.context))
        let handled3 = bench.machine.handle(examined, RequestID(1), at: bench.clock)
        #expect(handled3)
        guard case .persist(_, let batch)? = bench.machine.nextEffect() else { throw Missing() }
        bench.machine.persistFailed(batch)
        guard case .answer(_, let answer)? = bench.machine.nextEffect() else { throw Missing() }
        #expect(refusal(answer) == .busy)
    }

    @Test("votes only for an event that it holds")
    func mustHold() {
        var bench = Bench()
        #expect(refusal(bench.ask(.propose(Proposal(ballot: .first, value: bench.value(1))))) == .notHeld)
    }

    @Test("commits only to a lock whose votes verify, and in one ballot to one value")
    func commits() {
        var bench = Bench()
        let forged = Lock(
            ballot: .first, value: bench.value(1),
            votes: made(QuorumProof((1...3).map { bench.vote($0, .first, bench.value(2)) }, quorum: 3)))
        #expect(bench.ask(.lock(forged)) == nil)
        guard case .committed(.first, bench.value(1), _)? = bench.ask(.lock(bench.lock(.first, bench.value(1)))) else {
            Issue.record("no commit")
            return
        }
        #expect(refusal(bench.ask(.lock(bench.lock(.first, bench.value(2))))) == .locked)
    }

    @Test("a report is a promise: no vote and no commit below it, but what was said may be said again")
    func promise() {
        var bench = Bench()
        let one = Ballot(1)
        #expect(refusal(bench.ask(.report(Ballot(2), bench.driver(bench.deal.buyer, Ballot(2)), nil))) == .promised)
        guard case .reported(let report, nil, _)? = bench.ask(.report(one, bench.driver(bench.deal.buyer, one), nil))
        else {
            Issue.record("no report")
            return
        }
        #expect(report.report.purpose == .ballot(one))
        let proposal = Proposal(ballot: .first, value: bench.value(1), request: bench.request(1))
        #expect(refusal(bench.ask(.propose(proposal))) == .promised)
        #expect(refusal(bench.ask(.lock(bench.lock(.first, bench.value(1))))) == .promised)
        // It saw the event all the same, and says so when asked again.
        guard case .reported(let again, _, _)? = bench.ask(.report(one, bench.driver(bench.deal.buyer, one), nil))
        else {
            Issue.record("no report")
            return
        }
        #expect(
            again.report.views == [
                bench.deal.stepRequest(.contract, by: [.buyer], after: bench.proof).step.digest.bytes
            ])
        // The next ballot has to wait.
        #expect(refusal(bench.ask(.report(Ballot(2), bench.driver(bench.deal.buyer, Ballot(2)), nil))) == .early)
        bench.clock = WitnessClock(milliseconds: bench.clock.milliseconds + 2_000, steadySince: 0)
        #expect(refusal(bench.ask(.report(Ballot(2), bench.driver(bench.deal.buyer, Ballot(2)), nil))) == nil)
    }

    @Test("a stranger's key drives nothing, and a proposal is signed by whose turn it is")
    func turns() {
        var bench = Bench()
        let one = Ballot(1)
        let stranger = RegisterTown.cheap(5)
        #expect(refusal(bench.ask(.report(one, bench.driver(stranger, one), nil))) == .unjustified)
        let digest = bench.deal.stepRequest(.contract, by: [.buyer], after: bench.proof).step.digest.bytes
        let reports = bench.reports(one, views: [[digest], [digest], []], passed: [false, false, false])
        func proposal(_ signer: TradeSigner) -> Proposal {
            Proposal(
                ballot: one, value: .event(digest), request: bench.request(1), justification: reports,
                driver: bench.driver(signer, one, .event(digest)))
        }
        #expect(refusal(bench.ask(.propose(proposal(bench.deal.seller)))) == .unjustified)
        #expect(vote(bench.ask(.propose(proposal(bench.deal.buyer)))) == .event(digest))
    }

    @Test("reports allow the highest lock, else what f + 1 saw, else silence by f + 1 that passed without it")
    func justified() {
        let bench = Bench()
        let (a, b) = (Bytes32(words: (0, 0, 0, 1)), Bytes32(words: (0, 0, 0, 2)))
        let one = Ballot(2)
        func choice(
            _ views: [[Bytes32]], _ passed: [Bool], _ lock: Lock? = nil, hasDeadline: Bool = true
        ) -> Justification.Choice {
            bench.reports(one, views: views, passed: passed, lock: lock)
                .choice(in: bench.town.set, hasDeadline: hasDeadline)
        }
        #expect(choice([[a], [a], [b]], [true, true, true]) == .events([a]))
        #expect(choice([[a, b], [a, b], []], [true, true, true]) == .events([a, b]))
        #expect(choice([[a], [b], []], [true, true, true]) == .only(.noEvent))
        // The third may have come to hold either event since it reported.
        #expect(choice([[a], [b], []], [true, true, false]) == .nothingYet)
        #expect(choice([[a], [], []], [false, true, true]) == .only(.noEvent))
        #expect(choice([[a], [], []], [true, true, false]) == .nothingYet)
        #expect(choice([[a], [b], []], [true, false, false]) == .nothingYet)
        #expect(choice([[a], [b], []], [true, true, true], hasDeadline: false) == .anyEvent)
        #expect(choice([[a], [a], []], [true, true, true], bench.lock(Ballot(1), .event(b))) == .only(.event(b)))
    }

    @Test("a locked witness votes for another value only with a higher lock among the reports")
    func locked() {
        var bench = Bench()
        _ = bench.ask(.lock(bench.lock(.first, bench.value(1))))
        let one = Ballot(1)
        guard case .event(let second) = bench.value(2) else { return }
        let reports = bench.reports(one, views: [[second], [second], []], passed: [false, false, false])
        let proposal = Proposal(
            ballot: one, value: .event(second), request: bench.request(2), justification: reports,
            driver: bench.driver(bench.deal.buyer, one, .event(second)))
        #expect(refusal(bench.ask(.propose(proposal))) == .locked)
        let two = Ballot(2)
        let higher = bench.reports(
            two, views: [[], [], []], passed: [false, false, false], lock: bench.lock(one, .event(second)))
        let justified = Proposal(
            ballot: two, value: .event(second), request: bench.request(2), justification: higher,
            driver: bench.driver(bench.deal.seller, two, .event(second)))
        #expect(vote(bench.ask(.propose(justified))) == .event(second))
    }

    @Test("judges deadlines by its own clock, and doubts itself when it wasn't there")
    func clocks() {
        var bench = Bench()
        _ = bench.ask(.fetch)
        let silence = Proposal(ballot: .first, value: .noEvent)
        let event = Proposal(ballot: .first, value: bench.value(1), request: bench.request(1))
        let day: UInt64 = 24 * 3_600_000
        #expect(refusal(bench.ask(.propose(silence))) == .early)
        bench.clock = WitnessClock(milliseconds: 10_001 + day, steadySince: 0, isOff: true)
        #expect(refusal(bench.ask(.propose(silence))) == .unsure)
        // Just started: it may have missed something.
        bench.clock = WitnessClock(milliseconds: 10_001 + day, steadySince: 10_002)
        #expect(refusal(bench.ask(.propose(silence))) == .unsure)
        bench.clock = WitnessClock(milliseconds: 10_001 + day, steadySince: 0)
        #expect(refusal(bench.ask(.propose(event))) == .late)
        #expect(vote(bench.ask(.propose(silence))) == .noEvent)
    }

    @Test("doesn't go on when the chain did while signatures were verified")
    func examineAgain() throws {
        var bench = Bench()
        let proposal = Proposal(ballot: .first, value: bench.value(1), request: bench.request(1))
        let examined = try #require(bench.machine.examine(bench.question(.propose(proposal)), in: bench.context))
        _ = bench.ask(.fetch)
        let handled4 = bench.machine.handle(examined, RequestID(77), at: bench.clock)
        #expect(!handled4)
        let again = try #require(bench.machine.examine(bench.question(.propose(proposal)), in: bench.context))
        let handled5 = bench.machine.handle(again, RequestID(77), at: bench.clock)
        #expect(handled5)
    }

    @Test("damaged records are noticed")
    func damage() {
        var bench = Bench()
        _ = bench.ask(.propose(Proposal(ballot: .first, value: bench.value(1), request: bench.request(1))))
        let chain = Chain.trade(bench.deal.plan.trade)
        for index in bench.disk.indices {
            var damaged = bench.disk
            damaged[index] = WitnessRecord(
                key: damaged[index].key, value: ByteBuffer(damaged[index].value.readableBytesView.dropLast()))
            #expect(WitnessMachine(chain, in: bench.town.set, signer: bench.town.signers[0], records: damaged) == nil)
        }
        #expect(WitnessMachine(chain, in: bench.town.set, signer: RegisterTown.cheap(1)) == nil)
    }
}

struct Missing: Error {}

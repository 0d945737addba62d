// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiWitness

@Suite("A new witness set takes over")
struct HandoverTests {
    private struct Change {
        var old: RegisterTown
        var new: RegisterTown
        let deal: Deal
        let proof: TradeProof

        init() {
            old = RegisterTown(clients: 2, firstKey: 100)
            new = RegisterTown(clients: 2, firstKey: 200)
            old.successor = new.set.id
            new.sets = [old.set, new.set]
            new.predecessor = old.set.id
            deal = Deal(1, in: old.set)
            proof = deal.reserved(by: old.signers)
        }

        func contract(_ event: UInt64) -> StepRequest {
            deal.stepRequest(.contract, by: [.buyer], after: proof, event: event)
        }

        mutating func close() throws -> (Handover, [SlotRequest]) {
            let task = RegisterTask(
                set: old.set, slot: .step(deal.plan.trade, number: 1), request: nil, evidence: .trade(proof),
                closeTo: new.set.id)
            old.reaches = nil
            guard case .closed(let handover, let held) = try RegisterTests.done(&old, task, deal.buyer, client: 1)
            else { throw Missing() }
            return (handover, held)
        }

        func task(_ request: StepRequest?, _ handover: Handover) throws -> RegisterTask {
            RegisterTask(
                set: new.set, slot: .step(deal.plan.trade, number: 1), request: request.map { .step($0) },
                evidence: .trade(try #require(proof.handedOver(handover))), handover: handover)
        }
    }

    @Test("an open slot is closed by the old set and decided by the new, and the dossier verifies with both")
    func openSlot() throws {
        var change = Change()
        let (handover, _) = try change.close()
        let task = try change.task(change.contract(1), handover)
        let outcome = try RegisterTests.done(&change.new, task, change.deal.buyer)
        let proof = try #require(outcome.trade)
        #expect(proof.standing?.course.state == .bound && proof.standing?.set == change.new.set.id)
        let checks = try #require(proof.checks(in: change.new.sets))
        #expect(checks.allSatisfy { $0.signature == RegisterTown.cheapSignature($0.key, $0.message) })
        // What follows is the new set's too, without another handover.
        let paid = change.deal.stepRequest(.paid, by: [.buyer], after: proof)
        let next = RegisterTask(
            set: change.new.set, slot: .step(change.deal.plan.trade, number: 2), request: .step(paid),
            evidence: .trade(proof))
        #expect(
            try RegisterTests.done(&change.new, next, change.deal.buyer).trade?.standing?.course.state == .paidClaimed)
    }

    @Test("the old set signs nothing more")
    func oldIsClosed() throws {
        var change = Change()
        _ = try change.close()
        let task = change.deal.stepTask(change.contract(1), after: change.proof)
        #expect(try RegisterTests.done(&change.old, task, change.deal.buyer) == .failed(.refused(.closed)))
    }

    @Test("the new set decides nothing without the handover")
    func needsHandover() throws {
        var change = Change()
        let task = RegisterTask(
            set: change.new.set, slot: .step(change.deal.plan.trade, number: 1),
            request: .step(change.contract(1)), evidence: .trade(change.proof))
        #expect(try RegisterTests.done(&change.new, task, change.deal.buyer) == .failed(.badTask))
    }

    @Test("what the old set may have decided, the new set decides too")
    func certified() throws {
        var change = Change()
        let task = change.deal.stepTask(change.contract(1), after: change.proof)
        change.old.drive(0, task, change.deal.buyer)
        // The certificate is there, and its holder tells nobody.
        for _ in 0..<500 where change.old.outcomes[0][task.id] == nil { change.old.advance(milliseconds: 1) }
        change.old.reaches = { _, _ in false }
        change.old.restartClient(0)
        change.old.forgetQuestions()
        let certificate = try #require(change.old.outcomes[0][task.id]?.certificate)
        let (handover, held) = try change.close()
        #expect(handover.closes.lock?.value == certificate.value)
        // Another event isn't even tried by an honest party, and refused when tried.
        let other = try change.task(change.contract(2), handover)
        #expect(try RegisterTests.done(&change.new, other, change.deal.buyer) == .failed(.badTask))
        let digest = change.contract(2).step.digest.bytes
        let question = WitnessQuestion(
            set: change.new.set.id, slot: other.slot, evidence: other.evidence,
            ask: .propose(
                Proposal(ballot: .first, value: .event(digest), request: other.request, handover: handover)))
        var machine = try #require(
            WitnessMachine(.trade(change.deal.plan.trade), in: change.new.set, signer: change.new.signers[0]))
        let examined = try #require(machine.examine(question, in: change.new.context(question)))
        let isHandled = machine.handle(examined, RequestID(1), at: WitnessClock(milliseconds: 1, steadySince: 0))
        #expect(isHandled)
        guard case .persist(_, let batch)? = machine.nextEffect() else { throw Missing() }
        machine.persisted(batch)
        guard case .answer(_, .refused(let reason, _, _, _))? = machine.nextEffect() else { throw Missing() }
        #expect(reason == .unjustified)
        guard case .step(let request)? = held.first else { throw Missing() }
        let same = try RegisterTests.done(&change.new, try change.task(request, handover), change.deal.buyer)
        #expect(same.certificate?.value == certificate.value)
    }

    @Test("an account goes on at the new set where it stood")
    func account() throws {
        var change = Change()
        change.old.accounts = RegisterTests.account([change.deal], cap: 150)
        change.new.accounts = change.old.accounts
        let exposure = try #require(
            try RegisterTests.done(
                &change.old, change.deal.exposureTask(change.deal.debit(), after: nil), change.deal.device
            ).exposure)
        // From nothing it can't begin there.
        let second = Deal(2, in: change.new.set)
        change.new.accounts = RegisterTests.account([second], cap: 150)
        let fresh = second.exposureTask(second.debit(), after: nil)
        change.new.drive(0, fresh, second.device)
        change.new.advance(milliseconds: 30_000)
        #expect(change.new.outcomes[0][fresh.id]?.exposure == nil)
        let close = RegisterTask(
            set: change.old.set, slot: .exposure(account: change.deal.account, number: 2), request: nil,
            evidence: .exposure(exposure), closeTo: change.new.set.id)
        guard case .closed(let handover, _) = try RegisterTests.done(&change.old, close, change.deal.device) else {
            throw Missing()
        }
        let small = Deal(3, in: change.new.set, amount: 50)
        change.new.accounts = RegisterTests.account([small], cap: 150)
        let slot = Slot.exposure(account: small.account, number: 2)
        let task = RegisterTask(
            set: change.new.set, slot: slot,
            request: .exposure(
                ExposureRequest(change: small.debit(), slot: slot.id(in: change.new.set.id), signer: small.device)),
            evidence: .exposure(exposure), handover: handover)
        #expect(try RegisterTests.done(&change.new, task, small.device, client: 1).exposure?.state.total == 150)
    }
}

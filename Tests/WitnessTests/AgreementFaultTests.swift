// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiWitness

@Suite("Agreement under faults")
struct AgreementFaultTests {
    /// Two parties want different things of one slot; what they are told must be one value, for all seeds.
    private func contest(_ town: inout RegisterTown, _ deal: Deal, _ proof: TradeProof) -> [RegisterTask] {
        let first = deal.stepTask(deal.stepRequest(.contract, by: [.buyer], after: proof, event: 1), after: proof)
        let second = deal.stepTask(deal.stepRequest(.contract, by: [.buyer], after: proof, event: 2), after: proof)
        town.drive(0, first, deal.buyer)
        town.drive(1, second, deal.buyer)
        return [first, second]
    }

    private func values(_ town: RegisterTown, _ slot: SlotID) -> [SlotValue?] {
        town.outcomes.compactMap { $0[slot] }.map { $0.certificate?.value }
    }

    @Test(
        "an author who signs two events gets one, and both askers hear the same",
        arguments: 1...40 as ClosedRange<UInt64>)
    func twoEvents(seed: UInt64) throws {
        var town = RegisterTown(clients: 2, seed: seed)
        let deal = Deal(1, in: town.set)
        let proof = deal.reserved(by: town.signers)
        town.lossPercent = 15
        town.repeatPercent = 10
        let tasks = contest(&town, deal, proof)
        town.settle(seconds: 7_200)
        let values = values(town, tasks[0].id)
        #expect(values.count == 2 && values[0] == values[1] && values[0] != nil)
    }

    @Test(
        "a witness with two faces, crashes and loss never make two certificates",
        arguments: 1...60 as ClosedRange<UInt64>)
    func twoFaces(seed: UInt64) throws {
        var town = RegisterTown(clients: 2, seed: seed)
        town.makeCheat(Int(seed % 4))
        let deal = Deal(1, in: town.set)
        let proof = deal.reserved(by: town.signers)
        town.lossPercent = 20
        town.repeatPercent = 10
        let tasks = contest(&town, deal, proof)
        for round in 0..<12 {
            town.advance(milliseconds: Int64(town.random.next() % 700))
            town.crash(Int(town.random.next() % 4))
            if round == 6 {
                town.restartClient(1)
                town.drive(1, tasks[1], deal.buyer)
            }
        }
        town.settle(seconds: 7_200)
        let values = values(town, tasks[0].id)
        #expect(values.count == 2 && values[0] == values[1] && values[0] != nil)
    }

    @Test(
        "each party reaches two witnesses at first, and still one value comes out",
        arguments: 1...20 as ClosedRange<UInt64>)
    func partition(seed: UInt64) throws {
        var town = RegisterTown(clients: 2, seed: seed)
        let deal = Deal(1, in: town.set)
        let proof = deal.reserved(by: town.signers)
        town.reaches = { client, witness in witness / 2 == client }
        let tasks = contest(&town, deal, proof)
        town.advance(milliseconds: 20_000)
        #expect(values(town, tasks[0].id).isEmpty)
        town.reaches = nil
        town.settle(seconds: 7_200)
        let values = values(town, tasks[0].id)
        #expect(values.count == 2 && values[0] == values[1] && values[0] != nil)
    }

    @Test("one witness is gone: everything goes on", arguments: 0...3)
    func oneGone(gone: Int) throws {
        var town = RegisterTown()
        town.seats[gone].isDown = true
        let deal = Deal(1, in: town.set)
        let proof = deal.reserved(by: town.signers)
        let request = deal.stepRequest(.contract, by: [.buyer], after: proof)
        let outcome = try RegisterTests.done(&town, deal.stepTask(request, after: proof), deal.buyer)
        #expect(outcome.trade?.standing?.course.state == .bound)
    }

    @Test("two are gone: nothing is decided until one is back")
    func twoGone() throws {
        var town = RegisterTown()
        town.seats[0].isDown = true
        town.seats[1].isDown = true
        let deal = Deal(1, in: town.set)
        let proof = deal.reserved(by: town.signers)
        let task = deal.stepTask(deal.stepRequest(.contract, by: [.buyer], after: proof), after: proof)
        town.drive(0, task, deal.buyer)
        town.advance(milliseconds: 300_000)
        #expect(town.outcomes[0][task.id] == nil)
        town.seats[0].isDown = false
        town.settle(seconds: 300)
        #expect(town.outcomes[0][task.id]?.certificate?.value == .event(made(task.digest)))
    }

    @Test("an event at the last moment and silence at once come to one value", arguments: 1...40 as ClosedRange<UInt64>)
    func deadlineRace(seed: UInt64) throws {
        var town = RegisterTown(clients: 2, seed: seed)
        for index in 0..<4 { town.seats[index].clockOffset = Int64(town.random.next() % 600_000) }
        let deal = Deal(1, in: town.set)
        let proof = deal.reserved(by: town.signers)
        // The witnesses learn of the trade, and their time begins.
        let silence = deal.stepTask(nil, after: proof)
        town.drive(1, silence, deal.seller)
        town.advance(milliseconds: Int64(24 * 3_600_000 - 20 + Int64(seed)))
        let event = deal.stepTask(deal.stepRequest(.contract, by: [.buyer], after: proof), after: proof)
        town.drive(0, event, deal.buyer)
        town.settle(seconds: 7_200)
        let values = values(town, event.id)
        #expect(values.count == 2 && values[0] == values[1] && values[0] != nil)
    }

    @Test("what a witness answered before a crash it answers after it, and nothing else")
    func crashBetweenDiskAndAnswer() throws {
        var town = RegisterTown(clients: 2)
        let deal = Deal(1, in: town.set)
        let proof = deal.reserved(by: town.signers)
        let tasks = contest(&town, deal, proof)
        // All have been asked, none has written: they forget, and nothing was said.
        town.advance(milliseconds: 20)
        for witness in 0..<4 { town.crash(witness) }
        town.settle(seconds: 7_200)
        let values = values(town, tasks[0].id)
        #expect(values.count == 2 && values[0] == values[1] && values[0] != nil)
    }
}

extension RegisterTask {
    var digest: Bytes32? {
        switch request {
        case .step(let request)?: request.step.digest.bytes
        case .reservation(let request)?: request.plan.digest
        case .exposure, nil: nil
        }
    }
}

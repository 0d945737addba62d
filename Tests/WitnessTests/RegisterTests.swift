// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiWitness

@Suite("The deadline register")
struct RegisterTests {
    /// One client brings a task to its end.
    static func done(
        _ town: inout RegisterTown, _ task: RegisterTask, _ signer: TradeSigner, client: Int = 0
    ) throws -> RegisterOutcome {
        town.drive(client, task, signer)
        town.settle()
        return try #require(town.outcomes[client][task.id])
    }

    static func account(_ deals: [Deal], cap: Int64) -> [Bytes32: WitnessAccount] {
        [deals[0].account: WitnessAccount(cap: cap, devices: Set(deals.map(\.device.key)))]
    }

    static func reserve(_ deal: Deal, _ town: inout RegisterTown) throws -> TradeProof {
        town.accounts = account([deal], cap: 1_000)
        let exposure = try done(&town, deal.exposureTask(deal.debit(), after: nil), deal.device)
        return try #require(try done(&town, deal.reservationTask(exposure.exposure), deal.listing).trade)
    }

    @Test("takes a trade from exposure to acceptance, and every certificate verifies with the keys alone")
    func wholeTrade() throws {
        var town = RegisterTown(isCheap: false)
        let deal = Deal(1, in: town.set, isCheap: false)
        town.accounts = Self.account([deal], cap: 100)
        let exposure = try #require(
            try Self.done(&town, deal.exposureTask(deal.debit(), after: nil), deal.device).exposure)
        #expect(exposure.state.total == 100)
        let reserved = try Self.done(&town, deal.reservationTask(exposure), deal.listing)
        #expect(reserved.certificate?.isValid(in: town.set) == true)
        var proof = try #require(reserved.trade)
        let steps: [(StepKind, TradeRole)] = [
            (.contract, .buyer), (.paid, .buyer), (.received, .seller), (.shipped, .seller), (.receipt, .buyer),
            (.accepted, .buyer),
        ]
        for (kind, role) in steps {
            let request = deal.stepRequest(kind, by: [role], after: proof)
            let outcome = try Self.done(&town, deal.stepTask(request, after: proof), deal.signer(of: role))
            #expect(outcome.certificate?.isValid(in: town.set) == true)
            proof = try #require(outcome.trade)
        }
        #expect(proof.standing?.course.state == .completed)
        #expect(proof.checks(in: town.sets)?.allSatisfy(\.isValid) == true)
        // The trade has ended: the account is free again.
        let credit = deal.exposureTask(.credit(plan: deal.plan.digest), after: exposure, end: .ended(proof))
        #expect(try Self.done(&town, credit, deal.device).exposure?.state.total == 0)
        #expect(town.clients[0].stats.ballots == 0)
    }

    @Test("costs at most so many signature checks a certificate", arguments: [(4, 21), (7, 60)])
    func cost(witnesses: Int, most: Int) throws {
        var town = RegisterTown(witnesses: witnesses)
        let deal = Deal(1, in: town.set)
        var proof = try Self.reserve(deal, &town)
        let contract = deal.stepRequest(.contract, by: [.buyer], after: proof)
        proof = try #require(try Self.done(&town, deal.stepTask(contract, after: proof), deal.buyer).trade)
        let before = town.checksCount
        let paid = deal.stepRequest(.paid, by: [.buyer], after: proof)
        _ = try Self.done(&town, deal.stepTask(paid, after: proof), deal.buyer)
        #expect(town.checksCount - before <= most)
    }

    @Test("says NO-EVENT after the deadline, and not before")
    func silence() throws {
        var town = RegisterTown()
        let deal = Deal(1, in: town.set)
        let proof = try Self.reserve(deal, &town)
        let task = deal.stepTask(nil, after: proof)
        town.drive(0, task, deal.seller)
        town.advance(milliseconds: 23 * 3_600_000)
        #expect(town.outcomes[0][task.id] == nil)
        town.advance(milliseconds: 2 * 3_600_000)
        let outcome = try #require(town.outcomes[0][task.id])
        #expect(outcome.certificate?.value == .noEvent)
        #expect(outcome.trade?.standing?.course.freesUnit == true)
    }

    @Test("reserves a freed unit in the next round only")
    func nextRound() throws {
        var town = RegisterTown()
        let deal = Deal(1, in: town.set)
        let proof = try Self.reserve(deal, &town)
        let second = Deal(2, in: town.set, amount: 0, listing: 1)
        // Still reserved.
        let early = try Self.done(&town, second.reservationTask(nil), second.listing)
        #expect(early.certificate?.value == .event(deal.plan.digest))
        town.advance(milliseconds: 25 * 3_600_000)
        let freed = try #require(try Self.done(&town, deal.stepTask(nil, after: proof), deal.seller).trade)
        let outcome = try Self.done(&town, second.reservationTask(nil, round: 1, after: freed), second.listing)
        #expect(outcome.certificate?.value == .event(second.plan.digest))
    }

    @Test("holds a cap exactly, whoever asks at once", arguments: 1...12 as ClosedRange<UInt64>)
    func cap(seed: UInt64) throws {
        var town = RegisterTown(clients: 3, seed: seed)
        town.lossPercent = 10
        let deals = (1...3).map { Deal($0, in: town.set) }
        town.accounts = Self.account(deals, cap: 150)
        // Each of the seller's devices wants a trade of 100 as the first change.
        for (client, deal) in deals.enumerated() {
            town.drive(client, deal.exposureTask(deal.debit(), after: nil), deal.device)
        }
        town.settle(seconds: 3_600)
        let states = town.outcomes.flatMap(\.values).map { $0.exposure?.state }
        #expect(states.count == 3 && Set(states).count == 1)
        let winner = try #require(town.outcomes[0].values.first?.exposure)
        #expect(winner.state.total == 100)
        // Nobody gets the second.
        let loser = try #require(deals.first { winner.state.item(of: $0.plan.digest) == nil })
        let again = loser.exposureTask(loser.debit(), after: winner)
        town.drive(0, again, loser.device)
        town.settle()
        #expect(town.outcomes[0][again.id] == .failed(.refused(.notOnAccount)))
    }

    @Test("lets nobody reserve without a debit for that very slot")
    func reservationNeedsDebit() throws {
        var town = RegisterTown()
        let deal = Deal(1, in: town.set)
        let other = Deal(2, in: town.set)
        town.accounts = Self.account([deal, other], cap: 1_000)
        #expect(try Self.done(&town, deal.reservationTask(nil), deal.listing) == .failed(.refused(.notOnAccount)))
        let exposure = try Self.done(&town, other.exposureTask(other.debit(), after: nil), other.device).exposure
        #expect(try Self.done(&town, deal.reservationTask(exposure), deal.listing) == .failed(.refused(.notOnAccount)))
    }

    @Test("shows a party what was registered while it was away, with the event")
    func look() throws {
        var town = RegisterTown(clients: 2)
        let deal = Deal(1, in: town.set)
        let proof = deal.reserved(by: town.signers)
        let look = RegisterTask(
            set: town.set, slot: .step(deal.plan.trade, number: 1), request: nil, evidence: .trade(proof), isLook: true)
        #expect(try Self.done(&town, look, deal.seller, client: 1) == .open(held: []))
        let request = deal.stepRequest(.contract, by: [.buyer], after: proof)
        _ = try Self.done(&town, deal.stepTask(request, after: proof), deal.buyer)
        guard case .decided(let certificate, let held, _) = try Self.done(&town, look, deal.seller, client: 1) else {
            throw Missing()
        }
        #expect(certificate.value == .event(request.step.digest.bytes) && held == .step(request))
    }

    @Test("refuses a step of the wrong role, kind or key")
    func wrongSteps() throws {
        var town = RegisterTown()
        let deal = Deal(1, in: town.set)
        let proof = try Self.reserve(deal, &town)
        for request in [
            deal.stepRequest(.contract, by: [.seller], after: proof),
            deal.stepRequest(.paid, by: [.buyer], after: proof),
            deal.stepRequest(.contract, detail: 1, by: [.buyer], after: proof),
        ] {
            let outcome = try Self.done(&town, deal.stepTask(request, after: proof), deal.buyer)
            #expect(outcome == .failed(.refused(.notAdmitted)))
        }
        // Signed by another.
        let good = deal.stepRequest(.contract, by: [.buyer], after: proof)
        let forged = StepRequest(
            step: good.step, signatures: [deal.seller.sign(good.step.digest.signedBytes)], sealed: good.sealed)
        let outcome = try Self.done(&town, deal.stepTask(forged, after: proof), deal.buyer)
        #expect(outcome == .failed(.refused(.badSignature)))
    }
}

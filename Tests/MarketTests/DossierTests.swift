// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiMarket
import TuttiWitness

@Suite("A dossier")
struct DossierTests {
    typealias Fixture = TradeFixture

    @Test("leads from contract to acceptance, and says whose turn it is")
    func happyPath() throws {
        var course = try DossierCourse()
        #expect(course.dossier.status(for: .buyer).hasPrefix("Waiting for the witnesses to reserve the unit"))
        course.reserve()
        #expect(
            course.dossier.status(for: .buyer)
                == "It is your turn to sign the contract within 1 day; otherwise the unit is free again.")
        try course.register(.contract, by: .buyer)
        #expect(
            course.dossier.status(for: .seller, since: 1_795_000_000_000)
                == "Waiting for the buyer to pay and say so by 2026-11-21 11:06 UTC; otherwise either side may cancel.")
        try course.register(.paid, by: .buyer)
        try course.register(.received, by: .seller)
        #expect(course.dossier.choices(of: .seller) == [.shipped, .cancel, .refund])
        #expect(course.dossier.choices(of: .buyer) == [.cancel])
        try course.register(.shipped, by: .seller)
        try course.register(.receipt, by: .buyer)
        try course.register(.accepted, by: .buyer)
        #expect(course.dossier.isOver && course.dossier.state == .completed && course.dossier.refused.isEmpty)
        #expect(course.dossier.records.allSatisfy { $0.event != nil && $0.breach == nil && $0.isCertified })
        #expect(course.dossier.status(for: .seller).hasPrefix("Completed"))
    }

    @Test("is the same in whatever order its content came", arguments: 0..<24)
    func order(seed: UInt64) throws {
        var course = try DossierCourse()
        course.reserve()
        try course.register(.contract, by: .buyer)
        try course.register(.paid, by: .buyer)
        course.silence()
        try course.register(.dispute, by: .buyer)
        let wrong = Fixture.event(.step(.shipped), by: [.seller], number: 5, Fixture.body(.shipped))
        let late = Fixture.event(.step(.received), by: [.seller], number: 3, Fixture.body(.received))
        course.take(wrong)
        course.take(late)
        var generator = SeededGenerator(seed: seed)
        var inputs: [(inout Dossier) -> Void] = course.dossier.allEvents.map { event in
            { (dossier: inout Dossier) -> Void in dossier.take(event) }
        }
        for count in 0...course.dossier.decisions.count {
            let steps = Array(course.dossier.decisions.prefix(count))
            inputs.append { (dossier: inout Dossier) -> Void in dossier.decide(steps) }
        }
        inputs.append { $0.reserved() }
        var other = try #require(Dossier(acceptance: course.dossier.acceptance))
        for input in inputs.shuffled(using: &generator) + inputs.shuffled(using: &generator) { input(&other) }
        #expect(other == course.dossier)
        #expect(other.refused.map(\.reason) == [.late, .notNow])
    }

    @Test("refuses every event of every sender that has no place, in every state, and changes nothing by it")
    func wrongRoles() throws {
        let paths: [[(StepKind?, TradeRole)]] = [
            [], [(.contract, .buyer)], [(.contract, .buyer), (nil, .buyer)], [(.contract, .buyer), (.paid, .buyer)],
            [(.contract, .buyer), (.paid, .buyer), (.received, .seller)],
            [(.contract, .buyer), (.paid, .buyer), (.received, .seller), (.shipped, .seller)],
            [(.contract, .buyer), (.paid, .buyer), (.dispute, .seller)],
            [(.contract, .buyer), (.paid, .buyer), (.dispute, .seller), (.answer, .buyer)],
            [(.contract, .buyer), (.paid, .buyer), (.challenge, .seller)],
        ]
        let senders: [[TradeRole]] = [
            [.buyer], [.seller], [.buyer, .seller], [.arbiter(0)], [.arbiter(1)], [.arbiter(4)],
        ]
        for path in paths {
            var course = try DossierCourse()
            course.reserve()
            for (kind, role) in path {
                if let kind { try course.register(kind, by: role) } else { course.silence() }
            }
            let before = course.dossier
            for kind in StepKind.allCases {
                for roles in senders {
                    let event = Fixture.event(
                        .step(kind), by: roles, number: before.course.number, previous: before.tip,
                        Fixture.body(kind))
                    var dossier = before
                    #expect(dossier.take(event) == nil)
                    #expect(dossier.records == before.records && dossier.contract == before.contract)
                    let mayStand = before.course.after(StepAct(kind), by: Set(roles)) != nil && kind != .opening
                    #expect(dossier.pending.contains(event) == mayStand)
                    #expect(dossier.refused.contains { $0.event == event } != mayStand)
                    // Before its time, after it, or on another's back.
                    for (number, previous) in [
                        (before.course.number + 1, before.tip), (before.course.number - 1, before.tip),
                        (before.course.number, Fixture.bytes32(0xEE)),
                    ] {
                        let misplaced = Fixture.event(
                            .step(kind), by: roles, number: number, previous: previous, Fixture.body(kind))
                        var dossier = before
                        dossier.take(misplaced)
                        #expect(dossier.records == before.records && dossier.pending.isEmpty)
                        #expect(dossier.refused.map(\.event) == [misplaced])
                    }
                }
            }
        }
    }

    @Test("asks for every signature with the key that the contract names, and for none of a stranger")
    func signatures() throws {
        let dossier = try DossierCourse().dossier
        let paid = Fixture.event(.step(.paid), by: [.buyer], number: 1, Fixture.body(.paid))
        let checks = try #require(dossier.signatureChecks(of: paid))
        #expect(checks.count == 1 && checks.allSatisfy(\.isValid))
        let forged = paid.signed(as: .buyer, with: Fixture.strangerPair)
        #expect(dossier.signatureChecks(of: forged)?.contains { $0.isValid } == false)
        let ruling = Fixture.event(.step(.answer), by: [.arbiter(4)], number: 1, Fixture.body(.answer))
        #expect(dossier.signatureChecks(of: ruling) == nil)
    }

    @Test("shows what nobody can read, and lets the other side challenge it; what is opened is read by all")
    func garbage() throws {
        var course = try DossierCourse()
        course.reserve()
        try course.register(.contract, by: .buyer)
        let paid = try course.register(.paid, by: .buyer, isReadable: false)
        #expect(course.dossier.records.last?.event == nil)
        #expect(course.dossier.mayChallenge(.seller) && !course.dossier.mayChallenge(.buyer))
        try course.register(.challenge, by: .seller)
        #expect(course.dossier.state == .challenged(author: .buyer))
        var unopened = course
        unopened.silence()
        #expect(unopened.dossier.state == .unpaid)
        try course.register(.opening, by: .buyer, .opening(paid.bytes))
        #expect(course.dossier.state == .called(arbiter: 0))
        #expect(course.dossier.records[1].event == paid && course.dossier.records[1].breach == nil)
    }

    @Test("says what the contract refuses of a registered event, which may be challenged for it")
    func breach() throws {
        var course = try DossierCourse()
        course.reserve()
        try course.register(.contract, by: .buyer)
        try course.register(.paid, by: .buyer, .payment(TradePayment(sum: Fixture.money(1), way: "", reference: "")))
        #expect(course.dossier.state == .paidClaimed && course.dossier.records.last?.breach == .wrongSum)
        #expect(course.dossier.mayChallenge(.seller))
    }

    @Test("calls the arbiters in order, then the contract's table")
    func failover() throws {
        var course = try DossierCourse()
        course.reserve()
        try course.register(.contract, by: .buyer)
        try course.register(.paid, by: .buyer)
        try course.register(.received, by: .seller)
        course.silence()
        try course.register(.dispute, by: .buyer)
        course.silence()
        #expect(course.dossier.state == .called(arbiter: 0))
        course.silence()
        try course.register(.acknowledgement, by: .arbiter(1))
        #expect(
            course.dossier.status(for: .seller)
                == "Waiting for the second arbiter to rule within 5 days; otherwise the contract's table decides: "
                + "the seller gives the money back.")
        var ruled = course
        try ruled.register(.ruling, by: .arbiter(1), outcome: .split(permille: 300))
        #expect(ruled.dossier.outcome == .split(permille: 300))
        course.silence()
        #expect(course.dossier.state == .ruledByTable && course.dossier.outcome == .refund)
    }

    @Test("never takes back what was decided, and takes no decision that the rules don't admit")
    func contradiction() throws {
        var course = try DossierCourse()
        course.reserve()
        try course.register(.contract, by: .buyer)
        var dossier = course.dossier
        let shorter = dossier.decide([])
        let contrary = dossier.decide([.silence, .silence])
        let forged = DecidedStep.event(StepAct(.paid), RoleSet([.seller]), event: .zero)
        let inadmissible = dossier.decide(dossier.decisions + [forged])
        #expect(shorter && !contrary && !inadmissible)
        #expect(dossier == course.dossier)
    }

    @Test("keeps no more of one signer than it may, and always what was decided")
    func limits() throws {
        var course = try DossierCourse()
        course.reserve()
        for salt: UInt8 in 0..<20 {
            for number: UInt32 in 1...20 {
                course.take(
                    Fixture.event(
                        .step(.received), by: [.seller], number: number, salt: salt, Fixture.body(.received)))
            }
        }
        #expect(course.dossier.allEvents.count == TradeLimits.eventsPerAuthorMax)
        #expect(course.dossier.refused.count == TradeLimits.eventsPerAuthorMax + TradeLimits.refusalsMax)
        try course.register(.contract, by: .buyer)
        try course.register(.paid, by: .buyer)
        // There is no room for what nobody decided; there is for what was.
        let received = try course.register(.received, by: .seller)
        course.take(received)
        #expect(course.dossier.state == .paid && course.dossier.records.allSatisfy { $0.event != nil })
    }

    @Test("face to face: contract, receipt and acceptance in one event of both, protected once it is registered")
    func handover() throws {
        var course = try DossierCourse()
        let event = Fixture.event(
            .step(.handover), by: [.buyer, .seller], number: 1, previous: course.dossier.tip, Fixture.body(.handover))
        course.take(event)
        #expect(course.dossier.pending == [event] && !course.dossier.isOver)
        #expect(course.dossier.status(for: .buyer).contains("not protected against a double sale"))
        course.reserve()
        course.decide(.event(StepAct(.handover), RoleSet([.buyer, .seller]), event: event.hash))
        #expect(course.dossier.state == .completed && course.dossier.records.first?.event == event)
    }
}

/// One trade as its witnesses decide it.
struct DossierCourse {
    private(set) var dossier: Dossier

    init(_ contract: Contract = TradeFixture.contract()) throws {
        dossier = try #require(Dossier(acceptance: TradeFixture.acceptance(contract)))
    }

    mutating func reserve() { dossier.reserved() }
    mutating func take(_ event: TradeEvent) { dossier.take(event) }
    mutating func silence() { decide(.silence) }
    mutating func decide(_ step: DecidedStep) {
        let isTaken = dossier.decide(dossier.decisions + [step])
        #expect(isTaken)
    }

    /// The next event, signed.
    func event(
        _ kind: StepKind, by role: TradeRole, _ body: TradeEventBody? = nil, outcome: TradeOutcome? = nil,
        salt: UInt8 = 0x5A
    ) -> TradeEvent {
        let isOfBoth = [.cancel, .settlement, .handover].contains(kind) && dossier.course.signers(of: kind) == .both
        return TradeFixture.event(
            .step(kind), by: isOfBoth ? [.buyer, .seller] : [role], number: dossier.course.number,
            previous: dossier.tip, detail: outcome?.detail ?? 0, salt: salt, body ?? TradeFixture.body(kind))
    }

    @discardableResult
    mutating func register(
        _ kind: StepKind, by role: TradeRole, _ body: TradeEventBody? = nil, outcome: TradeOutcome? = nil,
        isReadable: Bool = true
    ) throws -> TradeEvent {
        let event = event(kind, by: role, body, outcome: outcome)
        if isReadable { dossier.take(event) }
        decide(.event(try #require(event.act), RoleSet(event.authors), event: event.hash))
        return event
    }
}

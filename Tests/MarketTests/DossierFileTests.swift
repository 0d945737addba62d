// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiMarket
import TuttiWitness

@Suite("A dossier's file")
struct DossierFileTests {
    typealias Fixture = TradeFixture

    private static func certificate(_ slot: Slot, _ value: SlotValue, by pairs: [KeyPair]) throws -> Certificate {
        let set = Fixture.contract().witnesses
        let message = Statement.commit(slot.id(in: set.id), .first, value).bytes
        let signatures = try pairs.prefix(set.quorum).map { pair in
            let witness = try #require(set.keys.firstIndex(of: Fixture.tradeKey(pair)))
            return WitnessSignature(witness: witness, signature: pair.sign(message))
        }
        let commits = try #require(QuorumProof(signatures, quorum: set.quorum))
        return Certificate(slot: slot, set: set.id, ballot: .first, value: value, commits: commits)
    }

    /// What the witnesses would have signed.
    private static func proof(
        of dossier: Dossier, by pairs: [KeyPair] = Fixture.witnessPairs
    ) throws -> TradeProof {
        let contract = dossier.contract
        let plan = try #require(contract.plan)
        var proof = TradeProof(
            plan: plan,
            reservation: try certificate(
                .reservation(contract.unit, round: contract.round), .event(plan.digest), by: pairs))
        var history = TradeHistory(plan: plan.digest, round: contract.round)
        for (index, step) in dossier.decisions.enumerated() {
            let number = UInt32(index + 1)
            var value = SlotValue.noEvent
            if case .event(let act, let roles, let event) = step {
                let step = Step(history: history.digest, number: number, act: act, roles: roles, event: event)
                value = .event(step.digest.bytes)
            }
            let certificate = try certificate(.step(contract.trade, number: number), value, by: pairs)
            proof = try #require(proof.appending(step, certificate))
            history.append(value)
        }
        return proof
    }

    private static func dossier() throws -> Dossier {
        var course = try DossierCourse()
        course.reserve()
        try course.register(.contract, by: .buyer)
        try course.register(.paid, by: .buyer)
        try course.register(.received, by: .seller)
        course.silence()
        try course.register(.dispute, by: .buyer)
        return course.dossier
    }

    private static func attests(_ attestation: [UInt8], _ party: TradeParty, _ contract: Contract) -> Bool {
        attestation == party.key.bytes.bytes
    }

    private static let attestations = ([.buyer, .seller, .arbiter(0), .arbiter(1)] as [TradeRole]).map {
        Fixture.party($0).key.bytes.bytes
    }

    @Test("shows offline, with the charter alone, what happened and that it is so")
    func verifies() throws {
        let dossier = try Self.dossier()
        let file = DossierFile(dossier, proof: try Self.proof(of: dossier), attestations: Self.attestations)
        let read = try DossierFile(bytes: file.bytes)
        #expect(read == file)
        let verdict = try #require(read.verified(under: Fixture.bytes32(0xA7), attests: Self.attests))
        #expect(verdict.isSound && verdict.findings.isEmpty && verdict.dossier == dossier)
        #expect(verdict.dossier.state == .disputed(by: .buyer))
        let text = verdict.dossier.text(for: .seller) { "member \($0.member.bytes.bytes[0])" }
        #expect(text.contains("Price     1250.00 EUR"))
        #expect(text.contains { $0.contains("dispute by the buyer: not received, Nothing came.") })
        #expect(text.contains("  4  nothing came in time"))
        #expect(
            text.last
                == "It is your turn to answer the dispute within 3 days; otherwise the arbiter goes on without an "
                + "answer.")
    }

    @Test("says what is wrong with it, and counts none of that")
    func findings() throws {
        let dossier = try Self.dossier()
        let proof = try Self.proof(of: dossier)
        let good = DossierFile(dossier, proof: proof, attestations: Self.attestations)
        func verdict(_ change: (inout DossierFile) -> Void) throws -> DossierVerdict {
            var file = good
            change(&file)
            return try #require(file.verified(under: Fixture.bytes32(0xA7), attests: Self.attests))
        }
        var found = try verdict { $0.attestations.removeFirst() }
        #expect(found.isSound && found.findings.count == 1)
        found = try #require(good.verified(under: Fixture.bytes32(0xA8), attests: Self.attests))
        #expect(found.findings == [.otherCharter] && !found.isSound)
        found = try verdict { $0.acceptance = $0.acceptance.signed(as: .seller, with: Fixture.strangerPair) }
        #expect(found.findings == [.unsigned])
        let index = try #require(good.events.firstIndex { $0.authors == [.buyer] })
        found = try verdict { $0.events[index] = $0.events[index].signed(as: .buyer, with: Fixture.strangerPair) }
        #expect(found.findings.contains(.badEvents(1)) && found.dossier.refused.map(\.reason) == [.badSignature])
        found = try verdict { $0.proof = nil }
        #expect(found.isSound && found.dossier.records.isEmpty && !found.dossier.isReserved)
    }

    @Test("says when the contract doesn't keep to the charter that it names")
    func charterRules() throws {
        let charter = Charter.standard(name: "Gambas", founder: Fixture.party(.arbiter(1)).member)
        func findings(_ change: (inout Contract) -> Void) throws -> [DossierVerdict.Finding] {
            var contract = Fixture.contract()
            contract.charter = charter.digest
            change(&contract)
            let file = DossierFile(try DossierCourse(contract).dossier)
            return try #require(file.verified(under: charter)).findings.filter {
                if case .unattested = $0 { false } else { true }
            }
        }
        #expect(try findings { _ in } == [])
        #expect(try findings { $0.charter = .zero } == [.otherCharter])
        #expect(try findings { $0.deadlines[3] += 3_600 } == [.againstCharter])
        #expect(try findings { $0.exposure = 100_000 } == [.againstCharter])
        #expect(try findings { $0.terms.transportDays += 1 } == [.againstCharter])
    }

    @Test("refuses a proof with a signature of another witness, or of another contract")
    func forgedProof() throws {
        let dossier = try Self.dossier()
        let contract = dossier.contract
        let plan = try #require(contract.plan)
        let slot = Slot.reservation(contract.unit, round: contract.round)
        let good = try Self.certificate(slot, .event(plan.digest), by: Fixture.witnessPairs)
        var signatures = good.commits.signatures
        signatures[1] = WitnessSignature(witness: signatures[1].witness, signature: signatures[0].signature)
        let commits = try #require(QuorumProof(signatures, quorum: 3))
        let forged = Certificate(slot: slot, set: good.set, ballot: .first, value: good.value, commits: commits)
        var file = DossierFile(
            dossier, proof: TradeProof(plan: plan, reservation: forged), attestations: [[0]])
        var verdict = try #require(file.verified(under: Fixture.bytes32(0xA7), attests: { _, _, _ in true }))
        #expect(verdict.findings == [.badCertificates] && !verdict.dossier.isReserved)
        var other = contract
        other.terms.note = "Without case"
        let otherPlan = try #require(other.plan)
        file.proof = TradeProof(
            plan: otherPlan, reservation: try Self.certificate(slot, .event(otherPlan.digest), by: Fixture.witnessPairs)
        )
        verdict = try #require(file.verified(under: Fixture.bytes32(0xA7), attests: { _, _, _ in true }))
        #expect(verdict.findings == [.otherProof] && verdict.dossier.records.isEmpty)
    }

    @Test("has one encoding: cut or changed it is refused, or says something else")
    func encoding() throws {
        let dossier = try Self.dossier()
        let file = DossierFile(dossier, proof: try Self.proof(of: dossier), attestations: Self.attestations.reversed())
        let bytes = file.bytes
        for count in bytes.indices {
            let cut = Array(bytes[..<count])
            if let read = try? DossierFile(bytes: cut) { #expect(read != file && read.bytes == cut) }
        }
        for count in stride(from: 0, to: bytes.count, by: 7) {
            var damaged = bytes
            damaged[count] ^= 0x10
            if let read = try? DossierFile(bytes: damaged) { #expect(read != file && read.bytes == damaged) }
        }
    }

    @Test("is disclosed to an arbiter in parts, whatever their order")
    func disclosure() throws {
        var course = try DossierCourse()
        course.reserve()
        let text = String(repeating: "x", count: TradeLimits.reasonsBytesMax)
        for (index, role) in [TradeRole.buyer, .seller, .arbiter(0)].enumerated() {
            for number: UInt32 in 1...8 {
                course.take(
                    Fixture.event(
                        .step(.answer), by: [role], number: number, salt: UInt8(index),
                        .words(TradeWords(text: text))))
            }
        }
        let file = DossierFile(course.dossier)
        let parts = try DossierDisclosure.parts(of: file).map { try DossierDisclosure(bytes: $0.bytes) }
        #expect(parts.count == 3)
        var assembly = DisclosureAssembly(parts[2])
        assembly.add(parts[0])
        assembly.add(parts[0])
        #expect(assembly.file == nil)
        assembly.add(parts[1])
        #expect(assembly.file == file)
        #expect(throws: DecodeError.self) { try DossierDisclosure(bytes: Array(parts[0].bytes.prefix(68))) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiMarket
import TuttiWitness

@Suite("A dossier without witnesses")
struct DossierModeTests {
    typealias Fixture = TradeFixture

    private func course(_ steps: (StepKind, TradeRole)...) throws -> DossierCourse {
        var course = try DossierCourse()
        course.reserve()
        for (kind, role) in steps { try course.register(kind, by: role) }
        return course
    }

    private func mode(
        of dossier: Dossier, by roles: [TradeRole], count: Int? = nil, salt: UInt8 = 1
    ) throws -> TradeEvent {
        let count = count ?? dossier.decisions.count
        let history = try #require(dossier.contract.history(of: dossier.decisions.prefix(count)))
        let change = TradeModeChange(lastNumber: UInt32(count), history: history.digest)
        return Fixture.event(.mode, by: roles, number: UInt32(count) + 1, salt: salt, .mode(change))
    }

    @Test("goes on by signatures alone, each building on the one before, where both want to")
    func goesOn() throws {
        var course = try course((.contract, .buyer), (.paid, .buyer))
        course.take(try mode(of: course.dossier, by: [.buyer, .seller]))
        #expect(!course.dossier.isWitnessed && course.dossier.state == .paidClaimed)
        for (kind, role) in [(StepKind.received, TradeRole.seller), (.shipped, .seller), (.receipt, .buyer)] {
            course.take(course.event(kind, by: role))
        }
        #expect(course.dossier.state == .delivered)
        #expect(course.dossier.records.map(\.isCertified) == [true, true, false, false, false])
        #expect(course.dossier.status(for: .buyer).hasPrefix("Evidence only."))
        course.take(course.event(.accepted, by: .buyer))
        #expect(course.dossier.state == .completed)
    }

    @Test("voids later certificates, but never takes back an end that witnesses saw")
    func laterCertificates() throws {
        var course = try course((.contract, .buyer), (.paid, .buyer), (.received, .seller))
        let early = try mode(of: course.dossier, by: [.arbiter(0)], count: 2)
        course.take(early)
        #expect(course.dossier.state == .paid)
        #expect(course.dossier.records.map(\.isCertified) == [true, true, false])
        var ended = try self.course((.contract, .buyer), (.cancel, .buyer))
        ended.take(try mode(of: ended.dossier, by: [.arbiter(0)], count: 1))
        #expect(ended.dossier.state == .cancelled && ended.dossier.isWitnessed)
        #expect(ended.dossier.refused.map(\.reason) == [.over])
    }

    @Test(
        "is entered by both, or by the first arbiter, and by nobody else",
        arguments: [
            [TradeRole.buyer], [.seller], [.arbiter(1)], [.buyer, .arbiter(0)],
        ])
    func whoMay(roles: [TradeRole]) throws {
        var course = try course((.contract, .buyer))
        course.take(try mode(of: course.dossier, by: roles))
        #expect(course.dossier.isWitnessed && course.dossier.refused.map(\.reason) == [.wrongRole])
    }

    @Test("isn't entered by a change that names another past than the certificates do")
    func otherPast() throws {
        var course = try course((.contract, .buyer), (.paid, .buyer))
        let change = TradeModeChange(lastNumber: 2, history: Fixture.bytes32(3))
        course.take(Fixture.event(.mode, by: [.arbiter(0)], number: 3, .mode(change)))
        #expect(course.dossier.isWitnessed && course.dossier.refused.map(\.reason) == [.wrongCertificate])
    }

    @Test("lets a change of both go before the first arbiter's")
    func twoChanges() throws {
        var course = try course((.contract, .buyer), (.paid, .buyer))
        course.take(try mode(of: course.dossier, by: [.arbiter(0)], count: 1))
        let both = try mode(of: course.dossier, by: [.buyer, .seller], count: 2, salt: 2)
        course.take(both)
        #expect(course.dossier.mode == both)
    }

    @Test("stops where two contradict each other, until the first arbiter rules")
    func contradiction() throws {
        var course = try course((.contract, .buyer), (.paid, .buyer))
        course.take(try mode(of: course.dossier, by: [.buyer, .seller]))
        let received = course.event(.received, by: .seller)
        let dispute = course.event(.dispute, by: .buyer)
        course.take(received)
        course.take(dispute)
        #expect(course.dossier.state == .paidClaimed && course.dossier.pending.isEmpty)
        #expect(Set(course.dossier.refused.map(\.reason)) == [.contradiction])
        #expect(course.dossier.choices(of: .arbiter(0)) == [.ruling])
        let ruling = course.event(.ruling, by: .arbiter(0), outcome: .refund)
        course.take(course.event(.ruling, by: .arbiter(1), outcome: .release))
        #expect(!course.dossier.isOver)
        course.take(ruling)
        #expect(course.dossier.state == .ruled(.refund, arbiter: 0) && course.dossier.outcome == .refund)
    }

    @Test("counts no ruling of a first arbiter who signs two")
    func twoRulings() throws {
        var course = try course((.contract, .buyer), (.paid, .buyer))
        course.take(try mode(of: course.dossier, by: [.arbiter(0)]))
        course.take(course.event(.ruling, by: .arbiter(0), outcome: .refund, salt: 1))
        course.take(course.event(.ruling, by: .arbiter(0), outcome: .refund, salt: 2))
        #expect(course.dossier.state == .ruled(.refund, arbiter: 0))
        course.take(course.event(.ruling, by: .arbiter(0), outcome: .release, salt: 3))
        #expect(!course.dossier.isOver)
    }
}

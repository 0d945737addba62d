// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiChecker

/// The bounds of everyday runs; scripts/prove goes further.
@Suite("The agreement as stated", .timeLimit(.minutes(2)))
struct AgreementTests {
    private static let agreement = AgreementSystem.Scope(ballots: 2, values: 3, views: false)
    private static let views = AgreementSystem.Scope(ballots: 2, values: 3, views: true)
    private static let closing = AgreementSystem.Scope(ballots: 2, values: 2, views: false, closing: true)

    private static func explore(
        _ scope: AgreementSystem.Scope, _ flaw: AgreementFlaw = [], statesMax: Int = 20_000_000
    ) -> Exploration {
        let seen = Explorer.explore(
            from: AgreementSystem(scope, flaw: flaw), to: ExplorationBound(statesMax: statesMax))
        print("agreement \(scope), flaw \(flaw.rawValue): \(seen)")
        return seen
    }

    @Test("never has two certificates")
    func agrees() {
        let seen = Self.explore(Self.agreement)
        #expect(seen.holds && seen.stop == .complete)
        #expect(seen.count(of: "certified in a later ballot") > 0)
    }

    @Test("registers what was in time, and silence only when the deadline passed and not all held an event")
    func keepsTime() {
        let seen = Self.explore(Self.views)
        #expect(seen.holds && seen.stop == .complete)
        #expect(seen.count(of: "NO-EVENT certified") > 0)
        #expect(seen.count(of: "certified in a later ballot") > 0)
    }

    @Test("lets a new set decide only what the old one may have decided")
    func handsOver() {
        let seen = Self.explore(Self.closing)
        #expect(seen.holds && seen.stop == .complete)
        #expect(seen.count(of: "handed over with a certificate") > 0)
    }

    @Test(
        "breaks, and the checker says how, when a rule is broken",
        arguments: [
            (.voteTwice, 2), (.smallQuorum, 2), (.commitWithoutLock, 3), (.lockUnproven, 3),
        ] as [(AgreementFlaw, Int)])
    func findsPlanted(flaw: AgreementFlaw, ballots: Int) throws {
        let seen = Self.explore(.init(ballots: ballots, values: 2, views: false), flaw)
        #expect(try #require(seen.counterexample).fault.hasPrefix("two certificates"))
    }

    /// A later ballot follows the highest lock among its reports, which are promises.
    private static let byReports: [AgreementFlaw] = [.highestLockIgnored, .reportIsNoPromise]
    /// A locked witness follows its lock, and a vote is a promise.
    private static let byOwnLocks: [AgreementFlaw] = [.ownLockIgnored, .voteIsNoPromise]

    @Test("stands on two lines: with one rule of either broken it still agrees", arguments: byReports + byOwnLocks)
    func secondLine(flaw: AgreementFlaw) {
        let seen = Self.explore(.init(ballots: 2, values: 2, views: false), flaw)
        #expect(seen.holds && seen.stop == .complete)
    }

    @Test("breaks when both lines are broken", arguments: byReports, byOwnLocks)
    func bothLines(first: AgreementFlaw, second: AgreementFlaw) throws {
        let seen = Self.explore(.init(ballots: 2, values: 2, views: false), [first, second])
        #expect(try #require(seen.counterexample).fault.hasPrefix("two certificates"))
    }

    @Test(
        "silences an event that everybody held in time, when a rule that protects it is broken",
        arguments: [.firstViewOnly, .silenceDespiteEvent, .silenceByOpenReports] as [AgreementFlaw])
    func squattedSlot(flaw: AgreementFlaw) throws {
        let found = try #require(Self.explore(Self.views, flaw).counterexample)
        #expect(found.fault.hasPrefix("NO-EVENT is certified, and all honest witnesses held"))
    }

    @Test("would register what came too late, if one report were enough")
    func lateEvent() throws {
        let found = try #require(Self.explore(Self.views, .eventByOneReport).counterexample)
        #expect(found.fault.hasSuffix("no honest witness held it in time"))
    }

    @Test("was decided anew when a CLOSE told no lock, or left the right to commit")
    func closeThatForgets() throws {
        for flaw in [AgreementFlaw.closeWithoutLock, .commitAfterClose] {
            let found = try #require(Self.explore(Self.closing, flaw).counterexample)
            #expect(found.fault.contains("a new set may decide"))
        }
    }

    @Test("was decided twice when one CLOSE served two new sets")
    func closeTwice() throws {
        let found = try #require(Self.explore(Self.closing, .closeTwice).counterexample)
        #expect(found.fault == "two new sets may decide")
    }
}

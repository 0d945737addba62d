// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiChecker

@Suite("The real witnesses of one slot", .timeLimit(.minutes(2)))
struct RegisterTests {
    @Test("do nothing that the rules don't allow, and decide once")
    func refinesAgreement() {
        let system = RegisterSystem(ballots: 2)
        let seen = Explorer.explore(from: system, to: ExplorationBound(statesMax: 60_000))
        #expect(seen.holds)
        #expect(seen.count(of: "certified in a later ballot") > 0)
        #expect(seen.count(of: "NO-EVENT certified") > 0)
    }

    @Test("are found out when their owner makes a mistake", arguments: RegisterFlaw.allCases)
    func findsPlanted(flaw: RegisterFlaw) throws {
        let seen = Explorer.explore(
            from: RegisterSystem(ballots: 2, flaw: flaw), to: ExplorationBound(statesMax: 100_000))
        #expect(try #require(seen.counterexample).steps.isEmpty == false)
    }

    @Test("let buyer, seller and arbiter come to the one end, whatever the liar does")
    func endEverywhere() {
        let seen = Explorer.explore(
            from: RegisterSystem(ballots: 2, endsEverywhere: true), to: ExplorationBound(statesMax: 300))
        #expect(seen.holds)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import TuttiChecker

/// What scripts/prove runs: the same systems as the everyday tests, further. A line each, with counts and seconds.
@Suite("To the full depth", .serialized, .enabled(if: ProcessInfo.processInfo.environment["TUTTI_PROVE"] != nil))
struct FullDepthTests {
    static func prove<System: ExploredSystem>(
        _ name: String, _ system: System, to bound: ExplorationBound = ExplorationBound()
    ) -> Exploration {
        let clock = ContinuousClock()
        let start = clock.now
        let seen = Explorer.explore(from: system, to: bound)
        print("prove: \(name): \(seen), \((clock.now - start).components.seconds) s")
        return seen
    }

    @Test(
        "agreement as stated",
        arguments: [
            .init(ballots: 3, values: 3, views: false), .init(ballots: 3, values: 2, views: false, reports: 2),
            .init(ballots: 3, values: 3, views: true), .init(ballots: 2, values: 3, views: true, reports: 2),
            .init(ballots: 3, values: 2, views: false, closing: true),
            .init(ballots: 2, values: 2, views: false, closing: true, reports: 2),
        ] as [AgreementSystem.Scope])
    func agreement(scope: AgreementSystem.Scope) {
        let seen = Self.prove("agreement, \(scope)", AgreementSystem(scope), to: Self.bound)
        #expect(seen.holds && seen.count(of: "certified in a later ballot") > 0)
    }

    @Test("the real witnesses of one slot", arguments: [2, 3])
    func register(ballots: Int) {
        let seen = Self.prove("register, \(ballots) ballots", RegisterSystem(ballots: ballots), to: Self.bound)
        #expect(seen.holds && seen.count(of: "certified in a later ballot") > 0)
    }

    @Test("everybody comes to an end")
    func endings() {
        let seen = Self.prove(
            "endings", RegisterSystem(ballots: 2, endsEverywhere: true), to: ExplorationBound(statesMax: 20_000))
        #expect(seen.holds)
    }

    /// TUTTI_STATES: where to stop.
    private static let bound = ExplorationBound(
        statesMax: ProcessInfo.processInfo.environment["TUTTI_STATES"].flatMap { Int($0) } ?? 20_000_000)
}

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

    @Test("agreement as stated: three ballots, three values, no clocks")
    func agreement() {
        let seen = Self.prove(
            "agreement, three ballots", AgreementSystem(.init(ballots: 3, values: 3, views: false)))
        #expect(seen.holds && seen.count(of: "certified in a later ballot") > 0)
    }

    @Test("agreement as stated: three ballots, two authors, silence")
    func views() {
        let seen = Self.prove("views, three ballots", AgreementSystem(.init(ballots: 3, values: 3, views: true)))
        #expect(seen.holds && seen.count(of: "NO-EVENT certified") > 0)
    }

    @Test("agreement as stated: three ballots, then two new sets")
    func closing() {
        let seen = Self.prove(
            "closing, three ballots", AgreementSystem(.init(ballots: 3, values: 2, views: false, closing: true)))
        #expect(seen.holds && seen.count(of: "handed over with a certificate") > 0)
    }
}

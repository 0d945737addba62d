// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiSimulator

@Suite("Faults on all protocols", .timeLimit(.minutes(3)))
struct FaultScenarioTests {
    private static func run(protocol number: Int, planted: Int, seed: Int) throws -> ScenarioResult {
        let scenario = try Scenario.named("faults")
        let values: KeyValuePairs = [
            "nodes": 50, "lookups": 50, "seconds": 60, "protocol": number, "planted": planted, "seed": seed,
        ]
        return scenario.run(try scenario.settings(values.map { ($0.key, "\($0.value)") }))
    }

    /// Protocol, what is left out, and the check that misses it.
    static let parts: [(Int, Int, String)] = [
        (1, 1, "Kademlia: nearest peers that tables name after the healing"),
        (2, 2, "gossip: flooding peers in meshes after the healing"),
        (2, 3, "gossip: messages given to an application twice"),
        (2, 5, "gossip: flooding peers in meshes after the healing"),
        (3, 4, "membership: peers in the largest part after the healing"),
    ]

    @Test("What is left out on purpose is seen by a checker that a whole run satisfies", arguments: 0..<parts.count)
    func planted(row: Int) throws {
        let (number, planted, name) = Self.parts[row]
        var caught = 0
        for seed in 4...7 {
            let whole = try Self.run(protocol: number, planted: 0, seed: seed)
            #expect(whole.holds, "\(whole.text)")
            let broken = try Self.run(protocol: number, planted: planted, seed: seed)
            let check = try #require(broken.checks.first { $0.name == name })
            if !check.holds { caught += 1 }
        }
        #expect(caught >= 2)
    }
}

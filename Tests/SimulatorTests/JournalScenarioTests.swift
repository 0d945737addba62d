// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiSimulator

@Suite("A community's journal on whole nodes", .timeLimit(.minutes(3)))
struct JournalScenarioTests {
    private static func run(_ values: KeyValuePairs<String, Int>) throws -> ScenarioResult {
        let scenario = try Scenario.named("journal")
        return scenario.run(try scenario.settings(values.map { ($0.key, "\($0.value)") }))
    }

    @Test("Honest replicas are the same after crashes, a partition, forgers and forkers", arguments: 1...5)
    func faults(seed: Int) throws {
        let result = try Self.run(["nodes": 20, "entries": 100, "seconds": 60, "seed": seed])
        #expect(result.holds, "\(result.text)")
    }

    @Test("Without faults an entry is on nearly every disk in a few round trips")
    func time() throws {
        let result = try Self.run(["nodes": 30, "entries": 60, "seconds": 30, "faults": 0])
        #expect(result.holds, "\(result.text)")
    }

    @Test("A hundred feeds that are new at once come with no peer punished for them")
    func feeds() throws {
        let result = try Self.run(["nodes": 120, "entries": 1, "seconds": 10, "faults": 0, "bound": 60, "seed": 1])
        #expect(result.holds, "\(result.text)")
    }

    @Test("What is left out on purpose is seen", arguments: [1, 2, 3])
    func planted(number: Int) throws {
        let values: KeyValuePairs = [
            "nodes": 20, "entries": 100, "seconds": 60, "bound": 60, "seed": 1, "planted": number,
        ]
        let result = try Self.run(values)
        #expect(!result.holds)
    }
}

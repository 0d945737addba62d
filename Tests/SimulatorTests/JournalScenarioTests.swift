// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiSimulator

@Suite("A community's journal on whole nodes", .timeLimit(.minutes(3)))
struct JournalScenarioTests {
    private static func run(_ values: KeyValuePairs<String, Int>) throws -> ScenarioResult {
        let scenario = try Scenario.named("journal")
        return scenario.run(try scenario.settings(values.map { ($0.key, "\($0.value)") }))
    }

    @Test("Honest replicas are the same after crashes, deaths, a partition and liars of every manner", arguments: 1...5)
    func faults(seed: Int) throws {
        let result = try Self.run(["nodes": 40, "entries": 100, "seconds": 60, "liars": 34, "seed": seed])
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

    /// What is wrong on purpose, and the check that must say so.
    private static let planted: [(number: Int, check: String)] = [
        (1, "receipts of honest nodes for what their disks lack"),
        (2, "honest feeds frozen"),
        (3, "different digests of honest replicas"),
        (4, "entries called sent with fewer than two receipts"),
        (5, "requests of one honest node to one that lies in sync, most"),
        (6, "honest feeds cut"),
        (7, "members whom nobody let in"),
        (8, "proposals ended by liars"),
    ]

    @Test("What is wrong on purpose is seen by the check that is there for it", arguments: 0..<8)
    func planted(index: Int) throws {
        let (number, name) = Self.planted[index]
        let values: KeyValuePairs = [
            "nodes": 40, "entries": 100, "seconds": 60, "liars": 34, "bound": 60, "seed": 1, "planted": number,
        ]
        let result = try Self.run(values)
        let check = try #require(result.checks.first { $0.name == name })
        #expect(!check.holds, "\(result.text)")
    }
}

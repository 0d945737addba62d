// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// Every protocol in one run, for the comparison of digests.
enum AllScenario {
    static let all = Scenario(
        "all", "Kademlia, GossipSub, the mesh and whole nodes, one after the other, with peers coming and going",
        [
            ScenarioParameter("nodes", 1_000, 100...100_000, "peers of each protocol; a fortieth as many whole nodes"),
            ScenarioParameter("lookups", 2_000, 1...1_000_000, "lookups"),
            ScenarioParameter("messages", 30, 1...100_000, "messages published, and broadcasts over the mesh"),
            ScenarioParameter("seconds", 1_800, 60...100_000, "simulated time of the lookups"),
            ScenarioParameter("session", 20, 1...100_000, "mean session in minutes"),
        ]
    ) { settings, progress in
        let parts: [(scenario: Scenario, values: [(name: String, value: Int)])] = [
            (
                KademliaScenarios.churn,
                [
                    ("nodes", settings.nodes), ("lookups", settings["lookups"]), ("seconds", settings["seconds"]),
                    ("session", settings["session"]),
                ]
            ),
            (
                GossipScenarios.gossip,
                [
                    ("nodes", settings.nodes), ("messages", settings["messages"]), ("seconds", 20), ("degree", 10),
                    ("session", settings["session"]),
                ]
            ),
            (
                MembershipScenarios.mesh,
                [
                    ("nodes", settings.nodes), ("cycles", 1), ("pause", 50), ("failures", 30), ("detector", 1),
                    ("messages", settings["messages"]), ("session", settings["session"]),
                ]
            ),
            (
                NodeScenarios.nodes,
                [("nodes", settings.nodes / 40), ("messages", settings["messages"] / 3 + 1), ("lookups", 30)]
            ),
        ]
        var result = ScenarioResult()
        var digest = EventDigest()
        for (number, part) in parts.enumerated() {
            let values = part.values + [("seed", Int(settings.seed))]
            guard let own = try? part.scenario.settings(values.map { ($0.name, String($0.value)) }) else {
                result.check("\(part.scenario.name) ran", 0, expected: 1, tolerance: 0)
                continue
            }
            let run = part.scenario.run(own) { progress.reached((Double(number) + $0) / Double(parts.count)) }
            digest.mix(run.digest)
            result.events += run.events
            result.simulatedSeconds += run.simulatedSeconds
            result.model += run.model.map { "\(part.scenario.name): \($0)" }
            result.add("events of \(part.scenario.name)", Double(run.events))
            for check in run.checks { result.add("\(part.scenario.name): \(check.name)", check.got) }
            result.check("\(part.scenario.name) ran", run.events > 0 ? 1 : 0, expected: 1, tolerance: 0)
        }
        result.digest = digest.value
        return result
    }
}

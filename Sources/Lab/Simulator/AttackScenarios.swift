// SPDX-License-Identifier: Apache-2.0

enum AttackScenarios {
    static let all: [Scenario] = [
        AttackNode.store, AttackKademlia.keySybils, AttackKademlia.recordFlood, AttackGossip.adverts,
        AttackGossip.grafts, AttackGossip.replays, AttackNode.clocks,
    ]
}

/// An attack, the scenario in which it is made, and a defence without which a check of that scenario must fail.
/// docs/attacks.md has the table.
package struct AttackRow: Sendable {
    package let name: String
    package let title: String
    package let scenario: String
    private let small: [(name: String, value: Int)]
    private let full: [(name: String, value: Int)]
    private let withoutDefence: [(name: String, value: Int)]

    package struct Verdict: Sendable {
        package let row: AttackRow
        package let result: ScenarioResult
        /// The checks that fail without the defence.
        package let missed: [ScenarioResult.Check]

        /// Every bound is held, and one would not be without the defence.
        package var holds: Bool { result.holds && !result.checks.isEmpty && !missed.isEmpty }
    }

    /// The run without the defence is always a small one.
    package func run(isFull: Bool, seed: Int) throws(LabError) -> Verdict {
        let seeded = [(name: "seed", value: seed)]
        let result = try result((isFull ? full : small) + seeded)
        let open = try self.result(small + withoutDefence + seeded)
        return Verdict(row: self, result: result, missed: open.checks.filter { !$0.holds })
    }

    private func result(_ values: [(name: String, value: Int)]) throws(LabError) -> ScenarioResult {
        let scenario = try Scenario.named(scenario)
        return scenario.run(try scenario.settings(values.map { ($0.name, String($0.value)) }))
    }

    private init(
        _ name: String, _ title: String, _ scenario: String, small: KeyValuePairs<String, Int>,
        full: KeyValuePairs<String, Int>, without: KeyValuePairs<String, Int>
    ) {
        func pairs(_ values: KeyValuePairs<String, Int>) -> [(name: String, value: Int)] {
            values.map { (name: $0.key, value: $0.value) }
        }
        self.name = name
        self.title = title
        self.scenario = scenario
        self.small = pairs(small)
        self.full = pairs(full)
        withoutDefence = pairs(without)
    }

    package static let all: [AttackRow] = [
        AttackRow(
            "14", "peer store stuffing", "attack-14-peer-store", small: [:], full: ["ids": 10_000_000],
            without: ["bounded": 0]),
        AttackRow(
            "15", "eclipse by table poisoning", "eclipse", small: ["nodes": 100, "sybils": 400, "seconds": 600],
            full: ["nodes": 1_000, "sybils": 4_000, "seconds": 86_400], without: ["caps": 0]),
        AttackRow(
            "16", "sybils next to a key", "attack-16-key-sybils", small: [:],
            full: ["nodes": 10_000, "lookups": 1_000], without: ["mitigation": 0]),
        AttackRow(
            "17", "flood of records", "attack-17-record-flood", small: [:],
            full: ["attackers": 1_000, "rate": 20, "seconds": 60], without: ["caps": 0]),
        AttackRow(
            "19", "IHAVE and IWANT flood", "attack-19-adverts", small: [:], full: ["attackers": 1_000, "seconds": 60],
            without: ["limits": 0]),
        AttackRow(
            "20-grafts", "GRAFT flood against backoffs", "attack-20-grafts", small: [:],
            full: ["attackers": 1_000, "rate": 100], without: ["scoring": 0]),
        AttackRow(
            "20-takeover", "silent takeover of meshes", "sybils",
            small: ["nodes": 60, "sybils": 240, "seconds": 300, "messages": 100],
            full: ["nodes": 1_000, "sybils": 4_000, "seconds": 600, "messages": 200], without: ["scoring": 0]),
        AttackRow(
            "21", "duplicates and replays", "attack-21-replays", small: [:],
            full: ["messages": 20_000, "seen": 100_000, "flood": 150_000], without: ["window": 0]),
        AttackRow(
            "23", "clocks wrong by a day", "attack-23-clocks", small: [:], full: ["nodes": 1_000, "lookups": 1_000],
            without: ["monotone": 0]),
    ]
}

extension AttackRow.Verdict {
    package var text: String {
        let lines = result.checks.map { check in
            "    \(check.holds ? "ok  " : "MISS") \(check.name): bound \(check.expected), got \(NumberText.short(check.got))"
        }
        let open =
            missed.first.map { "    without the defence: \($0.name) \(NumberText.short($0.got)), which fails" }
            ?? "    MISS without the defence nothing fails"
        return (["\(holds ? "ok  " : "FAIL") \(row.name) \(row.title)"] + lines + [open]).joined(separator: "\n")
    }
}

// SPDX-License-Identifier: Apache-2.0

/// A published result, the scenario that repeats it, and a change with which it must fail.
package struct PaperRow: Sendable {
    package let name: String
    package let source: String
    package let scenario: String
    /// The check of that scenario which states the result.
    package let check: String
    /// A size for every day, and the size of the paper.
    private let small: [(name: String, value: Int)]
    private let full: [(name: String, value: Int)]
    private let mutation: [(name: String, value: Int)]

    package struct Verdict: Sendable {
        package let row: PaperRow
        package let check: ScenarioResult.Check
        package let mutated: ScenarioResult.Check?
        package let digest: UInt64

        /// The result is reproduced, and would not be if the thing that brings it about were broken.
        package var holds: Bool { check.holds && mutated?.holds == false }
    }

    package func run(isFull: Bool, seed: Int) throws(LabError) -> Verdict? {
        let base = isFull ? full : small
        let seeded = [(name: "seed", value: seed)]
        let first = try result(base + seeded)
        guard let check = first.checks.first(where: { $0.name == check }) else { return nil }
        let second = try result(base + mutation + seeded)
        return Verdict(
            row: self, check: check, mutated: second.checks.first { $0.name == check.name }, digest: first.digest)
    }

    private func result(_ values: [(name: String, value: Int)]) throws(LabError) -> ScenarioResult {
        let scenario = try Scenario.named(scenario)
        return scenario.run(try scenario.settings(values.map { ($0.name, String($0.value)) }))
    }

    init(
        _ name: String, _ source: String, _ scenario: String, check: String, small: KeyValuePairs<String, Int>,
        full: KeyValuePairs<String, Int>, mutation: KeyValuePairs<String, Int>
    ) {
        func pairs(_ values: KeyValuePairs<String, Int>) -> [(name: String, value: Int)] {
            values.map { (name: $0.key, value: $0.value) }
        }
        self.name = name
        self.source = source
        self.scenario = scenario
        self.check = check
        self.small = pairs(small)
        self.full = pairs(full)
        self.mutation = pairs(mutation)
    }

    package static let all: [PaperRow] = first + mesh + detection + search + structured

    private static let first: [PaperRow] = [
        PaperRow(
            "kademlia-depth", "Kademlia 2002; model of ideal tables", "kademlia", check: "depth",
            small: ["nodes": 1_000], full: ["nodes": 100_000, "lookups": 10_000], mutation: ["k": 3]),
        PaperRow(
            "kademlia-calls", "Kademlia 2002; model of ideal tables", "kademlia", check: "calls per lookup",
            small: ["nodes": 1_000], full: ["nodes": 100_000, "lookups": 10_000], mutation: ["dead": 0, "alpha": 20]),
        PaperRow(
            "kademlia-stale-50", "stale tables, half of the entries dead", "kademlia", check: "nearest found",
            small: ["nodes": 1_000, "dead": 50], full: ["nodes": 10_000, "dead": 50], mutation: ["k": 3]),
        PaperRow(
            "kademlia-stale-70", "stale tables, 70 % of the entries dead", "kademlia", check: "nearest found",
            small: ["nodes": 1_000, "dead": 70], full: ["nodes": 10_000, "dead": 70], mutation: ["k": 3]),
        PaperRow(
            "eclipse-table", "Prünster et al. 2020", "eclipse",
            check: "entries of the attacker in any one table",
            small: ["nodes": 200, "sybils": 800, "seconds": 1_200],
            full: ["nodes": 1_000, "sybils": 4_000, "seconds": 86_400], mutation: ["caps": 0]),
        PaperRow(
            "hyparview-70", "HyParView 2007, 70 % fail", "mesh", check: "reliability after the failure",
            small: ["nodes": 1_000, "cycles": 20, "failures": 70],
            full: ["nodes": 10_000, "failures": 70, "messages": 1_000], mutation: ["repair": 0]),
        PaperRow(
            "hyparview-80", "HyParView 2007, 80 % fail", "mesh", check: "reliability after the failure",
            small: ["nodes": 1_000, "cycles": 20, "failures": 80],
            full: ["nodes": 10_000, "failures": 80, "messages": 1_000], mutation: ["repair": 0]),
        PaperRow(
            "hyparview-90", "HyParView 2007, 90 % fail", "mesh", check: "reliability after the failure",
            small: ["nodes": 1_000, "cycles": 20, "failures": 90],
            full: ["nodes": 10_000, "failures": 90, "messages": 1_000], mutation: ["repair": 0]),
        PaperRow(
            "plumtree-payloads", "Plumtree 2007", "mesh", check: "payloads per broadcast and peer",
            small: ["nodes": 1_000, "cycles": 5, "failures": 0, "messages": 1],
            full: ["nodes": 10_000, "failures": 0, "warm": 100, "messages": 1], mutation: ["warm": 0]),
        PaperRow(
            "swim-first-detection", "SWIM 2002", "swim", check: "periods until the first notices, mean",
            small: ["nodes": 64, "crashes": 400], full: ["nodes": 1_000, "crashes": 500], mutation: ["probing": 0]),
        PaperRow(
            "gossipsub-sybils", "GossipSub 1.1 evaluation 2020", "sybils", check: "honest share of meshes",
            small: ["nodes": 60, "sybils": 240, "seconds": 300, "messages": 100],
            full: ["nodes": 1_000, "sybils": 4_000, "seconds": 600, "messages": 200], mutation: ["scoring": 0]),
    ]
}

extension PaperRow.Verdict {
    package var text: String {
        "\(holds ? "ok  " : "FAIL") \(row.name): expected \(check.expected), got \(NumberText.short(check.got)), tolerance "
            + "\(check.tolerance); broken on purpose: \(mutated.map { NumberText.short($0.got) } ?? "-") "
            + "\(mutated?.holds == false ? "fails" : "does not fail")"
    }

    package var json: String {
        "{\"name\":\(JSONText.string(row.name)),\"source\":\(JSONText.string(row.source)),\"expected\":"
            + "\(JSONText.string(check.expected)),\"got\":\(JSONText.number(check.got)),\"tolerance\":"
            + "\(JSONText.string(check.tolerance)),\"holds\":\(check.holds),\"mutationGot\":"
            + "\(mutated.map { JSONText.number($0.got) } ?? "null"),\"mutationFails\":\(mutated?.holds == false),"
            + "\"digest\":\(JSONText.string(EventDigest.text(digest))),\"verdict\":\(holds)}"
    }
}

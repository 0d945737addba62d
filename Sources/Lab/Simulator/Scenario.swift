// SPDX-License-Identifier: Apache-2.0

/// A knob of a scenario: a whole number with bounds.
package struct ScenarioParameter: Sendable {
    package let name: String
    package let initial: Int
    package let range: ClosedRange<Int>
    package let meaning: String

    package init(_ name: String, _ initial: Int, _ range: ClosedRange<Int>, _ meaning: String) {
        self.name = name
        self.initial = initial
        self.range = range
        self.meaning = meaning
    }
}

/// Something that can be run: a name, its knobs, and a function of them and a seed alone.
package struct Scenario: Sendable {
    package typealias Body = @Sendable (ScenarioSettings, ScenarioProgress) -> ScenarioResult

    package let name: String
    package let summary: String
    package let parameters: [ScenarioParameter]
    private let body: Body

    package init(_ name: String, _ summary: String, _ parameters: [ScenarioParameter], _ body: @escaping Body) {
        self.name = name
        self.summary = summary
        self.parameters = parameters + [ScenarioParameter("seed", 1, 0...Int.max, "the seed")]
        self.body = body
    }

    /// Runs with these settings, on this thread. `progress` is told how far it is, from 0 to 1.
    package func run(
        _ settings: ScenarioSettings, progress: @escaping @Sendable (Double) -> Void = { _ in }
    ) -> ScenarioResult {
        var result = body(settings, ScenarioProgress(report: progress))
        result.scenario = name
        result.settings = parameters.map { ($0.name, settings[$0.name]) }
        return result
    }

    package func settings(_ given: [(name: String, value: String)] = []) throws(LabError) -> ScenarioSettings {
        var values = Dictionary(parameters.map { ($0.name, $0.initial) }, uniquingKeysWith: { first, _ in first })
        for (name, text) in given {
            guard let parameter = parameters.first(where: { $0.name == name }) else {
                throw .unknown(
                    "parameter", "--\(name)", nearest: LabError.nearest(name, parameters.map(\.name)).map { "--" + $0 })
            }
            guard let value = Int(text), parameter.range.contains(value) else {
                throw .outOfRange("--\(name)", text, parameter.range)
            }
            values[name] = value
        }
        return ScenarioSettings(values: values)
    }

    /// The same with one seed after the other.
    package func settings(
        _ given: [(name: String, value: String)], seeds: Int
    ) throws(LabError) -> [ScenarioSettings] {
        let first = try settings(given)
        return (0..<seeds).map { number in
            var values = first.values
            values["seed"] = (values["seed"] ?? 0) &+ number & .max
            return ScenarioSettings(values: values)
        }
    }

    /// Every scenario there is.
    package static let all: [Scenario] =
        KademliaScenarios.all + GossipScenarios.all + MembershipScenarios.all + MeshPaperScenarios.all
        + DetectionScenarios.all + SearchScenarios.all + SybilScenarios.all + NodeScenarios.all + [AllScenario.all]
        + FaultScenarios.all + AttackScenarios.all + [JournalScenario.journal]

    package static func named(_ name: String) throws(LabError) -> Scenario {
        guard let scenario = all.first(where: { $0.name == name }) else {
            throw .unknown("scenario", name, nearest: LabError.nearest(name, all.map(\.name)))
        }
        return scenario
    }
}

package struct ScenarioSettings: Sendable {
    fileprivate let values: [String: Int]

    package subscript(_ name: String) -> Int { values[name] ?? 0 }
    package var nodes: Int { self["nodes"] }
    package var seed: UInt64 { UInt64(self["seed"]) }
}

package struct ScenarioProgress: Sendable {
    fileprivate let report: @Sendable (Double) -> Void

    /// Tells nobody.
    static let none = ScenarioProgress { _ in }

    package func reached(_ share: Double) { report(min(max(share, 0), 1)) }
}

/// Why nothing was run.
package enum LabError: Error, Hashable, Sendable, CustomStringConvertible {
    case unknown(String, String, nearest: String?)
    case outOfRange(String, String, ClosedRange<Int>)
    case missingValue(String)

    package var description: String {
        switch self {
        case .unknown(let kind, let name, let nearest):
            "there is no \(kind) '\(name)'" + (nearest.map { ": did you mean '\($0)'?" } ?? "")
        case .outOfRange(let name, let text, let range):
            "\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound), not '\(text)'"
        case .missingValue(let name): "\(name) needs a value"
        }
    }

    /// The name that fewest changes of a letter lead to.
    package static func nearest(_ name: String, _ names: [String]) -> String? {
        names.min { (changes(name, $0), $0) < (changes(name, $1), $1) }
    }

    private static func changes(_ a: String, _ b: String) -> Int {
        let (a, b) = (Array(a.utf8.prefix(64)), Array(b.utf8.prefix(64)))
        var row = Array(0...b.count)
        for (place, letter) in a.enumerated() {
            var previous = row[0]
            row[0] = place + 1
            for column in b.indices {
                let changed = previous + (letter == b[column] ? 0 : 1)
                previous = row[column + 1]
                row[column + 1] = min(changed, row[column] + 1, previous + 1)
            }
        }
        return row[b.count]
    }
}

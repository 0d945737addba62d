// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import TuttiSimulator

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run a scenario.",
        discussion: """
            Its own parameters are options too: see `list`. Ends with code 1 when a check fails.

            Examples:
              tutti lab run kademlia --nodes 10000 --seed 3 --dead 50
              tutti lab run faults --seeds 50
            """)

    @Argument(help: "The scenario's name.")
    var scenario: String

    @Flag(help: "Print one JSON object a run.")
    var json = false

    @Option(help: "Write a report with plots to this file.", completion: .file())
    var html: String?

    @Option(help: "Run with so many seeds, on all processors, beginning with --seed.")
    var seeds = 1

    @Option(help: "How many runs at once; all processors when left out.")
    var threads: Int?

    @Argument(parsing: .allUnrecognized, help: ArgumentHelp("The scenario's parameters.", valueName: "--name value"))
    var parameters: [String] = []

    func validate() throws {
        guard (1...1_000_000).contains(seeds) else { throw ValidationError("--seeds must be 1 to 1000000") }
        guard (1...1_024).contains(threads ?? 1) else { throw ValidationError("--threads must be 1 to 1024") }
        guard html == nil || seeds == 1 else { throw ValidationError("--html is for one seed") }
    }

    func run() async throws {
        let found: Scenario
        let settings: [ScenarioSettings]
        do {
            found = try Scenario.named(scenario)
            settings = try found.settings(try pairs(), seeds: seeds)
        } catch {
            throw ValidationError("\(error)")
        }
        let start = Meter()
        let bar = ProgressBar(runs: seeds)
        let results = await runAll(found, settings, bar)
        bar.clear()
        let end = Meter()
        for result in results where json || seeds == 1 || !result.holds {
            print(json ? result.json : result.text)
        }
        if !json { print(summary(results, start, end)) }
        if let html, let result = results.first {
            do {
                try Data(result.html.utf8).write(to: URL(fileURLWithPath: html))
            } catch {
                throw ValidationError("the report can't be written to \(html): \(error.localizedDescription)")
            }
        }
        guard results.allSatisfy(\.holds) else { throw ExitCode(1) }
    }

    /// Results in the order of the seeds, whichever ends first.
    private func runAll(
        _ scenario: Scenario, _ settings: [ScenarioSettings], _ bar: ProgressBar
    ) async -> [ScenarioResult] {
        let width = min(threads ?? ProcessInfo.processInfo.activeProcessorCount, settings.count)
        return await withTaskGroup(of: (Int, ScenarioResult).self) { group in
            var results = [ScenarioResult?](repeating: nil, count: settings.count)
            var next = 0
            func begin() {
                guard next < settings.count else { return }
                let number = next
                next += 1
                group.addTask {
                    (number, scenario.run(settings[number]) { bar.show(number, $0) })
                }
            }
            for _ in 0..<width { begin() }
            while let (number, result) = await group.next() {
                results[number] = result
                bar.show(number, 1)
                begin()
            }
            return results.compactMap { $0 }
        }
    }

    private func pairs() throws(LabError) -> [(name: String, value: String)] {
        var pairs: [(name: String, value: String)] = []
        var rest = parameters[...]
        while let name = rest.popFirst() {
            guard name.hasPrefix("--") else { throw .unknown("argument", name, nearest: nil) }
            let parts = name.dropFirst(2).split(separator: "=", maxSplits: 1)
            if parts.count == 2 {
                pairs.append((String(parts[0]), String(parts[1])))
            } else {
                guard let value = rest.popFirst() else { throw .missingValue(name) }
                pairs.append((String(name.dropFirst(2)), value))
            }
        }
        return pairs
    }

    private func summary(_ results: [ScenarioResult], _ start: Meter, _ end: Meter) -> String {
        let events = results.reduce(0) { $0 + Double($1.events) }
        let processor = max(end.processor - start.processor, 1e-9)
        let nodes = results.first?.settings.first { $0.name == "nodes" }?.value ?? 0
        var perPeer = ""
        if results.count == 1, nodes > 0 {
            perPeer = String(
                format: ", %.2f KB a peer less the empty process",
                Double(end.memoryMax - start.memoryMax) / 1_000 / Double(nodes))
        }
        return String(
            format: "%d of %d runs hold; %.1f s, %.1f s of processor time, %.0f events per processor second, %.0f MiB",
            results.count(where: \.holds), results.count, end.wall - start.wall, processor, events / processor,
            Double(end.memoryMax) / 1_048_576) + perPeer
    }
}

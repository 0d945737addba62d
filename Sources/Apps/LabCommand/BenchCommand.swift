// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import TuttiSimulator

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure the event engine.", subcommands: [Workload.self])

    struct Workload: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Peers that do next to nothing: what the engine itself costs.")

        @Option(help: "How many peers.")
        var nodes = 10_000

        @Option(help: "Simulated seconds.")
        var seconds: UInt64 = 20

        @Option(help: "The seed.")
        var seed: UInt64 = 1

        func validate() throws {
            guard (1...10_000_000).contains(nodes) else { throw ValidationError("--nodes must be 1 to 10000000") }
            guard (1...100_000).contains(seconds) else { throw ValidationError("--seconds must be 1 to 100000") }
        }

        func run() throws {
            let begin = Meter()
            var bench = WorkloadBench(nodes: nodes, seconds: seconds, seed: seed)
            let start = Meter()
            bench.run()
            let end = Meter()
            let processor = end.processor - start.processor
            print(
                "engine=tutti-wheel n=\(nodes) t=\(seconds) loss=0 seed=\(seed) events=\(bench.events)"
                    + String(
                        format: " setup_s=%.3f wall_s=%.3f cpu_s=%.3f", start.wall - begin.wall,
                        end.wall - start.wall, processor)
                    + " events_per_cpu_s=\(Int(Double(bench.events) / max(processor, 1e-9)))"
                    + String(format: " rss_mb=%.1f", Double(end.memoryMax) / 1_048_576)
                    + " bytes_per_node=\(end.memoryMax / nodes) digest=\(bench.digest.text)")
        }
    }
}

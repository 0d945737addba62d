// SPDX-License-Identifier: Apache-2.0
package import ArgumentParser

/// `tutti lab` and `tutti-lab`: the protocols in virtual time.
package struct LabCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "lab",
        abstract: "Run Tutti's protocols in virtual time.",
        discussion: """
            Examples:
              tutti lab list                                 the scenarios
              tutti lab run churn --nodes 1000 --seed 7      one run, a summary at the end
              tutti lab run gossip --json --html gossip.html one JSON object, and a report with plots
              tutti lab run partition --seeds 50             fifty seeds, on all processors
              tutti lab papers                               published results, reproduced
              tutti lab attack                               attacks, and the bounds that hold

            The same scenario, size and seed give the same digest on every machine.
            """,
        subcommands: [ListCommand.self, RunCommand.self, PapersCommand.self, AttackCommand.self, BenchCommand.self])

    package init() {}
}

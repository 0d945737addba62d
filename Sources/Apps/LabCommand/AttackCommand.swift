// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiSimulator

struct AttackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attack",
        abstract: "Attack the protocols and print the bounds that they hold.",
        discussion: """
            Each row runs twice: as it is, and without the defence; the second run must break
            a bound. Ends with code 1 when a row fails.
            """)

    @Argument(help: "Rows to run, such as 17 or 20; all when left out.")
    var rows: [String] = []

    @Flag(help: "The full size instead of a small one.")
    var full = false

    @Option(help: "The seed.")
    var seed = 1

    func run() async throws {
        let names = AttackRow.all.map(\.name)
        func belongs(_ name: String, to row: String) -> Bool { name == row || name.hasPrefix(row + "-") }
        for row in rows where !names.contains(where: { belongs($0, to: row) }) {
            throw ValidationError("\(LabError.unknown("row", row, nearest: LabError.nearest(row, names)))")
        }
        guard seed >= 0 else { throw ValidationError("--seed must not be negative") }
        let wanted = AttackRow.all.filter { entry in rows.isEmpty || rows.contains { belongs(entry.name, to: $0) } }
        var failed = 0
        for row in wanted {
            let verdict = try row.run(isFull: full, seed: seed)
            if !verdict.holds { failed += 1 }
            print(verdict.text)
        }
        guard failed == 0 else { throw ExitCode(1) }
    }
}

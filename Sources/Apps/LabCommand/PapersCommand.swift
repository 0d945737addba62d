// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiSimulator

struct PapersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "papers",
        abstract: "Repeat published results.",
        discussion: """
            Each row runs twice: as it is, and with the part broken that brings the result
            about. The second run must miss the result. Ends with code 1 when a row fails.
            """)

    @Argument(help: "Rows to run; all when left out.")
    var rows: [String] = []

    @Flag(help: "The size of the papers instead of a small one.")
    var full = false

    @Flag(help: "Print one JSON object a row.")
    var json = false

    @Option(help: "The seed.")
    var seed = 1

    func run() async throws {
        let names = PaperRow.all.map(\.name)
        for row in rows where !names.contains(row) {
            throw ValidationError("\(LabError.unknown("row", row, nearest: LabError.nearest(row, names)))")
        }
        guard seed >= 0 else { throw ValidationError("--seed must not be negative") }
        let wanted = PaperRow.all.filter { rows.isEmpty || rows.contains($0.name) }
        let (isFull, seed) = (full, seed)
        var failed = 0
        try await withThrowingTaskGroup(of: (Int, PaperRow.Verdict?).self) { group in
            var verdicts: [Int: PaperRow.Verdict] = [:]
            for (number, row) in wanted.enumerated() {
                group.addTask { (number, try row.run(isFull: isFull, seed: seed)) }
            }
            for try await (number, verdict) in group { verdicts[number] = verdict }
            for (number, row) in wanted.enumerated() {
                guard let verdict = verdicts[number] else {
                    failed += 1
                    print("FAIL \(row.name): its scenario states no such check at this size")
                    continue
                }
                if !verdict.holds { failed += 1 }
                print(json ? verdict.json : verdict.text)
            }
        }
        guard failed == 0 else { throw ExitCode(1) }
    }
}

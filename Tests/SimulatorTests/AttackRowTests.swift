// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiSimulator

@Suite("Attacks in the lab", .timeLimit(.minutes(2)))
struct AttackRowTests {
    /// Rows that miss their bound, or were not judged in time. They are run by `scripts/attack`; docs/attacks.md says where they stand.
    static let open = ["19", "20-grafts", "20-takeover"]

    private func expectHolds(_ name: String) throws {
        let row = try #require(AttackRow.all.first { $0.name == name })
        let verdict = try row.run(isFull: false, seed: 1)
        #expect(verdict.holds, "\(verdict.text)")
    }

    @Test(
        "Each bound is held, and one is not without the defence",
        arguments: AttackRow.all.map(\.name).filter { !open.contains($0) })
    func row(name: String) throws {
        try expectHolds(name)
    }

    @Test("The open rows", .disabled("these miss their bounds today: see docs/attacks.md"), arguments: open)
    func openRow(name: String) throws {
        try expectHolds(name)
    }
}

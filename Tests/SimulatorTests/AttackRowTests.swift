// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiSimulator

@Suite("Attacks in the lab", .timeLimit(.minutes(2)))
struct AttackRowTests {
    @Test("Each bound is held, and one is not without the defence", arguments: AttackRow.all.map(\.name))
    func row(name: String) throws {
        let row = try #require(AttackRow.all.first { $0.name == name })
        let verdict = try row.run(isFull: false, seed: 1)
        #expect(verdict.holds, "\(verdict.text)")
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiCommunityCore
import TuttiWitness

@Suite("The deadlines of charters and of contracts")
struct DeadlineNameTests {
    @Test("are the same ones, in the same order")
    func agree() {
        #expect(
            MarketRules.Deadline.allCases.map { "\($0) \($0.rawValue)" }
                == DeadlineName.allCases.map { "\($0) \($0.rawValue)" })
    }
}

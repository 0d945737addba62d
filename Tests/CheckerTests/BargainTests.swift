// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiChecker
import TuttiMarket
import TuttiWitness

@Suite("A bargain before an oracle", .timeLimit(.minutes(1)))
struct BargainTests {
    typealias Setup = BargainSystem.Setup

    @Test(
        "leaves no honest side without goods and money, and always ends, whatever the others do",
        arguments: [
            Setup(isBuyerHonest: true, isSellerHonest: true), Setup(isBuyerHonest: true, isSellerHonest: false),
            Setup(isBuyerHonest: false, isSellerHonest: true), Setup(isBuyerHonest: false, isSellerHonest: false),
        ])
    func holds(setup: Setup) {
        let exploration = Explorer.explore(from: BargainSystem(setup))
        #expect(exploration.holds && exploration.stop == .complete, "\(exploration)")
        #expect(exploration.count(of: "completed") > 0)
        if setup.isBuyerHonest != setup.isSellerHonest {
            for landmark in ["ruled", "by the table", "challenged"] {
                #expect(exploration.count(of: landmark) > 0, "\(landmark): \(exploration)")
            }
        }
        if !setup.isBuyerHonest, !setup.isSellerHonest {
            for landmark in BargainSystem.landmarkNames {
                #expect(exploration.count(of: landmark) > 0, "\(landmark): \(exploration)")
            }
        }
    }

    @Test("shows a role that a message changes")
    func roleByMessage() throws {
        let setup = Setup(isBuyerHonest: true, isSellerHonest: false, flaw: .roleByMessage)
        let exploration = Explorer.explore(from: BargainSystem(setup))
        let found = try #require(exploration.counterexample)
        #expect(found.fault == "somebody acted in a role that isn't theirs", "\(found)")
    }

    @Test("shows a side that takes its own clock for a certificate")
    func timeoutWithoutCertificate() throws {
        let setup = Setup(isBuyerHonest: true, isSellerHonest: true, flaw: .timeoutWithoutCertificate)
        let exploration = Explorer.explore(from: BargainSystem(setup))
        let found = try #require(exploration.counterexample)
        #expect(found.fault == "two dossiers with the same certificates disagree", "\(found)")
    }

    @Test("shows a course that lets the last word be squatted")
    func lessThanTheRules() throws {
        // The same exploration without the buyer's last word: an honest one loses.
        let setup = Setup(isBuyerHonest: true, isSellerHonest: false, flaw: .noLastWord)
        let found = try #require(Explorer.explore(from: BargainSystem(setup)).counterexample)
        #expect(found.fault == "an honest buyer ends without goods and without money", "\(found)")
    }

    @Test("moves by no event that isn't decided: whoever says it, whatever it says, wherever it belongs")
    func junk() {
        let states = BargainSystem.everyCourse(of: Setup(isBuyerHonest: false, isSellerHonest: false))
        #expect(states.count > 40)
        for state in states { #expect(state.junkFault == nil) }
    }
}

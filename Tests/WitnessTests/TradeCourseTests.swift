// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiWitness

@Suite("The course of a trade")
struct TradeCourseTests {
    @Test("goes from contract to acceptance when everybody acts")
    func theHappyPath() throws {
        var course = TradeCourse(arbiterCount: 2)
        let steps: [(StepKind, TradeRole)] = [
            (.contract, .buyer), (.paid, .buyer), (.received, .seller), (.shipped, .seller), (.receipt, .buyer),
            (.accepted, .buyer),
        ]
        for (kind, role) in steps { course = try #require(course.after(kind, by: [role])) }
        #expect(course.state == .completed)
        #expect(course.isTerminal)
    }

    @Test("ends, wherever everybody falls silent", arguments: [2, 3])
    func silenceEnds(arbiterCount: Int) throws {
        for course in Self.all(from: TradeCourse(arbiterCount: arbiterCount)) {
            var silent = course
            var steps = 0
            while let next = silent.afterSilence() {
                silent = next
                steps += 1
            }
            #expect(silent.isTerminal && steps <= 12)
        }
    }

    private static func all(from start: TradeCourse) -> [TradeCourse] {
        var found: [TradeCourse] = [start]
        var next = 0
        while next < found.count {
            let course = found[next]
            next += 1
            var successors: [TradeCourse] = []
            for (kind, signers) in course.choices {
                let signing: [Set<TradeRole>] =
                    switch signers {
                    case .one(let role): [[role]]
                    case .either: [[.buyer], [.seller]]
                    case .both: [[.buyer, .seller]]
                    }
                successors += signing.compactMap { course.after(kind, by: $0) }
            }
            if let silent = course.afterSilence() { successors.append(silent) }
            for successor in successors where !found.contains(successor) { found.append(successor) }
        }
        return found
    }
}

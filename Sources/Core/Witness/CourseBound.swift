// SPDX-License-Identifier: Apache-2.0

/// How long a trade can last: the longest sums of deadlines over every course of ``TradeCourse``. They are found once for a
/// number of arbiters, as counts of each deadline; a plan then costs a few multiplications.
package enum CourseBound {
    /// How often each deadline is waited for, in the order of ``DeadlineName``.
    package typealias Waits = [Int]

    private static let fromPayment: [[Waits]] = (0...WitnessLimits.arbitersMax).map { count in
        guard count >= WitnessLimits.arbitersMin else { return [] }
        var memory: [TradeCourse: [Waits]] = [:]
        let paid = TradeCourse(arbiterCount: count).after(.contract, by: [.buyer])?.after(.paid, by: [.buyer])
        return paid.map { longest(from: $0, &memory) } ?? []
    }

    package static func secondsFromPayment(_ deadlines: TradeDeadlines, arbiterCount: Int) -> Int {
        guard fromPayment.indices.contains(arbiterCount), !fromPayment[arbiterCount].isEmpty else { return .max }
        return fromPayment[arbiterCount].lazy
            .map { waits in zip(waits, deadlines.seconds).reduce(0) { $0 + $1.0 * Int($1.1) } }
            .max() ?? 0
    }

    /// The waits that no other exceeds in all. The course has no circle, so this ends.
    private static func longest(from course: TradeCourse, _ memory: inout [TradeCourse: [Waits]]) -> [Waits] {
        if let known = memory[course] { return known }
        var found: [Waits] = []
        if let deadline = course.deadline {
            for next in successors(of: course) {
                for var waits in longest(from: next, &memory) {
                    waits[Int(deadline.rawValue)] += 1
                    add(waits, to: &found)
                }
            }
        } else {
            found = [Waits(repeating: 0, count: DeadlineName.allCases.count)]
        }
        memory[course] = found
        return found
    }

    private static func add(_ waits: Waits, to found: inout [Waits]) {
        guard !found.contains(where: { covers($0, waits) }) else { return }
        found.removeAll { covers(waits, $0) }
        found.append(waits)
    }

    private static func covers(_ larger: Waits, _ smaller: Waits) -> Bool {
        zip(larger, smaller).allSatisfy { $0 >= $1 }
    }

    private static func successors(of course: TradeCourse) -> [TradeCourse] {
        var next = course.choices.flatMap { choice in
            choice.signers.possible.compactMap { course.after(choice.kind, by: $0) }
        }
        if let silent = course.afterSilence() { next.append(silent) }
        return next
    }
}

extension TradeCourse.Signers {
    /// Who may sign, each way.
    package var possible: [Set<TradeRole>] {
        switch self {
        case .one(let role): [[role]]
        case .either: [[.buyer], [.seller]]
        case .both: [[.buyer, .seller]]
        }
    }
}

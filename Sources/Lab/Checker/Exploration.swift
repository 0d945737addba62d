// SPDX-License-Identifier: Apache-2.0

/// What an exploration saw.
package struct Exploration: Sendable {
    package enum Stop: String, Sendable {
        /// Every state that the system can come to was seen.
        case complete
        /// More actions in a row were not tried.
        case depth = "stopped at this depth"
        case states = "stopped at this number of states"
    }

    /// Different ones, up to symmetry.
    package internal(set) var states = 0
    /// Actions tried.
    package internal(set) var steps = 0
    /// The longest of the shortest courses.
    package internal(set) var depth = 0
    package internal(set) var stop = Stop.complete
    package internal(set) var landmarks: [(name: String, count: Int)]
    package internal(set) var counterexample: Counterexample?

    init(names: [String]) { landmarks = names.map { ($0, 0) } }

    package var holds: Bool { counterexample == nil }

    package func count(of landmark: String) -> Int { landmarks.first { $0.name == landmark }?.count ?? 0 }
}

/// A shortest course into a fault.
package struct Counterexample: Hashable, Sendable, CustomStringConvertible {
    package let fault: String
    /// Sentences.
    package let steps: [String]

    package var description: String {
        steps.enumerated().map { "\($0.offset + 1). \($0.element)\n" }.joined() + "=> \(fault)"
    }
}

extension Exploration: CustomStringConvertible {
    package var description: String {
        let reached = landmarks.map { "; \($0.name): \($0.count)" }.joined()
        let counts = "\(states) states, \(steps) steps, depth \(depth), \(stop.rawValue)\(reached)"
        return counterexample.map { "\(counts)\n\($0)" } ?? counts
    }
}

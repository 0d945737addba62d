// SPDX-License-Identifier: Apache-2.0

/// Visits every state that a system can come to, breadth first, so that the first fault found has a shortest course.
///
/// A state is known by its ``Fingerprint`` alone; only those of the present level and the next are held. For each state seen
/// there remain its fingerprint, its predecessor and the number of the action between them: about 30 bytes. A course is told by
/// replaying these numbers from the start.
package struct Explorer<System: ExploredSystem> {
    private var seen = FingerprintTable()
    /// Of each state seen, in the order of discovery.
    private var predecessors: [UInt32] = []
    private var choices: [UInt16] = []
    private let start: System
    private let bound: ExplorationBound

    package static var actionsMax: Int { Int(UInt16.max) }

    package static func explore(from start: System, to bound: ExplorationBound = ExplorationBound()) -> Exploration {
        var explorer = Explorer(start, bound)
        return explorer.run()
    }

    private init(_ start: System, _ bound: ExplorationBound) {
        self.start = start
        self.bound = bound
    }

    private mutating func run() -> Exploration {
        var result = Exploration(names: System.landmarkNames)
        var level: [(state: System, number: UInt32)] = []
        if discover(start, from: 0, by: 0) {
            level.append((start, 0))
            note(start, at: 0, in: &result)
        }
        while result.counterexample == nil, !level.isEmpty {
            guard result.depth < bound.depthMax else {
                result.stop = .depth
                break
            }
            result.depth += 1
            var next: [(state: System, number: UInt32)] = []
            expansion: for (state, number) in level {
                for (choice, action) in state.actions.enumerated() {
                    precondition(choice < Self.actionsMax, "a state has too many actions")
                    let successor = state.after(action)
                    result.steps += 1
                    guard discover(successor, from: number, by: UInt16(choice)) else { continue }
                    let found = UInt32(predecessors.count - 1)
                    note(successor, at: found, in: &result)
                    if result.counterexample != nil { break expansion }
                    if predecessors.count >= bound.statesMax {
                        result.stop = .states
                        break expansion
                    }
                    next.append((successor, found))
                }
            }
            if result.stop == .states { break }
            level = next
        }
        result.states = predecessors.count
        return result
    }

    private mutating func discover(_ state: System, from predecessor: UInt32, by choice: UInt16) -> Bool {
        var fingerprint = Fingerprint()
        state.mix(into: &fingerprint)
        guard seen.insert(fingerprint) else { return false }
        predecessors.append(predecessor)
        choices.append(choice)
        return true
    }

    private func note(_ state: System, at number: UInt32, in result: inout Exploration) {
        var landmarks = state.landmarks
        while landmarks != 0 {
            let bit = landmarks.trailingZeroBitCount
            if bit < result.landmarks.count { result.landmarks[bit].count += 1 }
            landmarks &= landmarks - 1
        }
        guard let fault = state.fault else { return }
        result.counterexample = Counterexample(fault: fault, steps: course(to: number))
    }

    private func course(to number: UInt32) -> [String] {
        var chosen: [UInt16] = []
        var at = Int(number)
        while at != 0 {
            chosen.append(choices[at])
            at = Int(predecessors[at])
        }
        var state = start
        return chosen.reversed().map { choice in
            let action = state.actions[Int(choice)]
            defer { state = state.after(action) }
            return state.sentence(of: action)
        }
    }
}

/// Where an exploration stops although there is more.
package struct ExplorationBound: Hashable, Sendable {
    /// Actions in a row.
    package var depthMax: Int
    package var statesMax: Int

    /// What a state costs besides its level: 40 bytes at most, so 8 GB.
    package static let statesLimit = 200_000_000

    package init(depthMax: Int = .max, statesMax: Int = statesLimit) {
        self.depthMax = depthMax
        self.statesMax = min(statesMax, Self.statesLimit)
    }
}

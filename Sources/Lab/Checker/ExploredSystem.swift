// SPDX-License-Identifier: Apache-2.0

/// A system whose every course can be explored: a state, all that can happen to it next, and what must hold.
///
/// A value: an action never changes the state that it is applied to. Nothing here may depend on the order of a `Set` or a
/// `Dictionary`, whose hashes differ from process to process: an exploration gives the same counts and the same
/// counterexample every time.
package protocol ExploredSystem: Sendable {
    associatedtype Action

    /// All that may happen next, faults and what the network does included, in a fixed order. At most
    /// ``Explorer/actionsMax``.
    var actions: [Action] { get }
    func after(_ action: Action) -> Self
    /// What must never be, if it is so here; nil when nothing is wrong.
    var fault: String? { get }
    /// Everything that decides what may happen later. The canonical form: of states that differ only by a renaming under
    /// which the system is symmetric, all mix the same.
    func mix(into fingerprint: inout Fingerprint)
    /// The action as a sentence of a trace, in the state before it.
    func sentence(of action: Action) -> String

    /// Names of what an exploration should come across, so that a check can't pass because nothing happened.
    static var landmarkNames: [String] { get }
    /// Bit i: here the landmark i is reached.
    var landmarks: UInt64 { get }
}

extension ExploredSystem {
    package static var landmarkNames: [String] { [] }
    package var landmarks: UInt64 { 0 }
}

// SPDX-License-Identifier: Apache-2.0

/// A system whose every course can be explored: a state, and all that can happen to it next.
package protocol ExploredSystem: Hashable, Sendable {
    associatedtype Action: Hashable, Sendable

    /// In a fixed order.
    var actions: [Action] { get }
    func after(_ action: Action) -> Self
    /// Nil: nothing is wrong here.
    var fault: String? { get }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// A core as the lab drives it: the same four calls that a node makes.
package protocol SimulatedCore: Sendable {
    associatedtype Input: Sendable
    associatedtype Effect: Sendable

    mutating func handle(_ input: consuming Input, at now: Instant)
    mutating func handleTimeout(at now: Instant)
    /// `.distantFuture` when nothing is due.
    var nextTimeout: Instant { get }
    mutating func nextEffect() -> Effect?
}

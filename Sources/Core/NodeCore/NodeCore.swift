// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiPeers

/// STUB: bodies follow on branch `h/peers`; the signatures hold.
package struct NodeCore: Sendable {
    package enum Input: Sendable {
        indirect case peers(PeersInput)
    }
    package enum Effect: Sendable {
        indirect case peers(PeersEffect)
    }
    package init(configuration: PeersConfiguration, seed: UInt64, at now: Instant) {}
    package mutating func handle(_ input: Input, at now: Instant) {}
    package mutating func handleTimeout(at now: Instant) {}
    package var nextTimeout: Instant? { nil }
    package mutating func nextEffect() -> Effect? { nil }
}

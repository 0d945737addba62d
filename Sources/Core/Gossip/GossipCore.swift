// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// A stub: see `GossipInput` and `GossipEffect` for what it will do.
package struct GossipCore: Sendable {
    package init(configuration: GossipConfiguration, seed: UInt64, at now: Instant) {}

    package private(set) var stats = GossipStats()
    package mutating func handle(_ input: GossipInput, at now: Instant) {}
    package mutating func handleTimeout(at now: Instant) {}
    package var nextTimeout: Instant? { nil }
    package mutating func nextEffect() -> GossipEffect? { nil }
    package func forEachPeer(_ body: (PeerIndex) -> Void) {}
}

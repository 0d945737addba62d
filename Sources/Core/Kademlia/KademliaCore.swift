// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// A stub: see `KademliaInput` and `KademliaEffect` for what it will do.
package struct KademliaCore: Sendable {
    package init(
        own: PeerIndex, configuration: KademliaConfiguration, seed: UInt64, at now: Instant
    ) {}

    /// The caller passes the key space in which all peers named by the input have their keys.
    package mutating func handle(_ input: KademliaInput, at now: Instant, keys: Keyspace) {}
    package mutating func handleTimeout(at now: Instant, keys: Keyspace) {}
    package var nextTimeout: Instant? { nil }
    package mutating func nextEffect() -> KademliaEffect? { nil }
    /// Every peer that the core would name in an effect: `PeerTable` frees the numbers of all others.
    package func forEachPeer(_ body: (PeerIndex) -> Void) {}
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// A stub: see `KademliaInput` and `KademliaEffect` for what it will do.
package struct KademliaCore: Sendable {
    package private(set) var stats = KademliaStats()

    package init(own: PeerIndex, settings: KademliaSettings, seed: UInt64, at now: Instant) {}

    package init(own: PeerIndex, configuration: KademliaConfiguration, seed: UInt64, at now: Instant) {
        self.init(own: own, settings: KademliaSettings(configuration), seed: seed, at: now)
    }

    /// The caller passes the key space in which all peers named by the input have their keys.
    package mutating func handle(_ input: KademliaInput, at now: Instant, keys: Keyspace) {}
    package mutating func handleTimeout(at now: Instant, keys: Keyspace) {}
    package var nextTimeout: Instant? { nil }
    package mutating func nextEffect() -> KademliaEffect? { nil }

    /// Fills the table at once, for fleets that start settled: no lookup at the start, no checks first.
    package mutating func load(_ peers: some Sequence<PeerIndex>, keys: Keyspace) {}
    package var tableCount: Int { 0 }
    package func contains(_ peer: PeerIndex, keys: Keyspace) -> Bool { false }
    /// The table, most useful first, to be remembered over a restart.
    package func snapshot() -> [PeerIndex] { [] }
    /// How many peers the network has, as this node's table and lookups tell; nil while they tell too little.
    package var networkSize: Int? { nil }

    /// Every peer that the core would name in an effect: `PeerTable` frees the numbers of all others.
    package func forEachPeer(_ body: (PeerIndex) -> Void) {}
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// A point of the key space: 256 bits for libp2p (SHA-256 of a peer id or key), or 160 bits followed by zeros for
/// BitTorrent's DHT. One container serves both: distances and bucket numbers come out the same.
package struct KademliaKey: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }

    /// XOR, to be compared as a number.
    package func distance(to other: KademliaKey) -> KademliaKey {
        let (a, b) = (bytes.words, other.bytes.words)
        return KademliaKey(Bytes32(words: (a.0 ^ b.0, a.1 ^ b.1, a.2 ^ b.2, a.3 ^ b.3)))
    }

    /// Leading bits that both have in common: 0 to 256.
    package func commonPrefixLength(with other: KademliaKey) -> Int {
        let distance = distance(to: other).bytes.words
        if distance.0 != 0 { return distance.0.leadingZeroBitCount }
        if distance.1 != 0 { return 64 + distance.1.leadingZeroBitCount }
        if distance.2 != 0 { return 128 + distance.2.leadingZeroBitCount }
        return 192 + distance.3.leadingZeroBitCount
    }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }

    /// The leading 64 bits. Tables and lookups rank by them alone: two keys that agree in all of them would cost
    /// whoever wants them 2^64 hashes, and the peers of a network differ in far fewer.
    package var word: UInt64 { bytes.words.0 }
}

/// Where the key of a peer is looked up: a core keeps four bytes per peer, not thirty-six.
package struct Keyspace: Sendable {
    private enum Source: Sendable {
        /// The lab: keys follow from the number.
        case derived(seed: UInt64)
        /// A node: the keys by number, as `PeerTable` keeps them.
        case listed([Bytes32])
    }

    private let source: Source

    package init(derivedFrom seed: UInt64) { source = .derived(seed: seed) }
    package init(_ keys: [Bytes32]) { source = .listed(keys) }

    /// Zero for a peer that was never given a number.
    package func key(of peer: PeerIndex) -> KademliaKey {
        switch source {
        case .derived(let seed):
            let start = Self.start(seed, peer)
            return KademliaKey(
                Bytes32(
                    words: (
                        Self.mixed(start, 1), Self.mixed(start, 2), Self.mixed(start, 3), Self.mixed(start, 4)
                    )))
        case .listed(let keys):
            let place = Int(peer.value)
            return KademliaKey(place < keys.count ? keys[place] : .zero)
        }
    }

    /// The leading 64 bits of the peer's key.
    package func word(of peer: PeerIndex) -> UInt64 {
        switch source {
        case .derived(let seed):
            return Self.mixed(Self.start(seed, peer), 1)
        case .listed(let keys):
            let place = Int(peer.value)
            return place < keys.count ? keys[place].words.0 : 0
        }
    }

    private static func start(_ seed: UInt64, _ peer: PeerIndex) -> UInt64 {
        seed ^ UInt64(peer.value) &* 0x9E37_79B9_7F4A_7C15
    }

    /// SplitMix64's output number `count`.
    private static func mixed(_ start: UInt64, _ count: UInt64) -> UInt64 {
        var z = start &+ count &* 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

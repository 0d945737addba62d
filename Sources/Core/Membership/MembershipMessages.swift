// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// A peer's state as told by others: incarnations are raised only by the peer itself.
package struct MemberUpdate: Hashable, Sendable {
    package enum State: UInt8, Sendable {
        case alive = 0
        case suspect = 1
        case dead = 2
        case left = 3
    }

    package let peer: PeerIndex
    package let incarnation: UInt32
    package let state: State

    package init(peer: PeerIndex, incarnation: UInt32, state: State) {
        self.peer = peer
        self.incarnation = incarnation
        self.state = state
    }
}

/// One message of `/tutti/mesh/1`.
package enum MembershipMessage: Sendable {
    // HyParView
    case join
    case forwardJoin(PeerIndex, timeToLive: UInt8)
    case neighbour(isHighPriority: Bool)
    case neighbourAnswer(isAccepted: Bool)
    case disconnect
    case shuffle(origin: PeerIndex, peers: [PeerIndex], timeToLive: UInt8)
    case shuffleAnswer([PeerIndex])
    // SWIM; every probe and ack carries updates.
    case probe(sequence: UInt32, [MemberUpdate])
    case ack(sequence: UInt32, [MemberUpdate])
    /// Says that the helper itself still waits (Lifeguard).
    case nack(sequence: UInt32)
    case indirectProbe(sequence: UInt32, PeerIndex, [MemberUpdate])
    // Search
    case query(SearchQuery)
    /// Straight to the asker for walks; back along the path for floods.
    case hit(search: UInt64, at: PeerIndex, ByteBuffer)
    /// A walker asks whether the search still goes on.
    case walkCheck(search: UInt64)
    case walkCheckAnswer(search: UInt64, isOpen: Bool)
}

package struct SearchQuery: Sendable {
    package enum Kind: UInt8, Sendable {
        case flood = 0
        case walk = 1
    }

    package let search: UInt64
    package let origin: PeerIndex
    package let kind: Kind
    package let timeToLive: UInt8
    package let hops: UInt8
    package let question: ByteBuffer

    package init(
        search: UInt64, origin: PeerIndex, kind: Kind, timeToLive: UInt8, hops: UInt8, question: ByteBuffer
    ) {
        self.search = search
        self.origin = origin
        self.kind = kind
        self.timeToLive = timeToLive
        self.hops = hops
        self.question = question
    }
}

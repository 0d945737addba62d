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
    /// Who first said so: a suspicion counts once for each accuser (Lifeguard).
    package let accuser: PeerIndex

    /// - Parameter accuser: the peer itself when nil.
    package init(peer: PeerIndex, incarnation: UInt32, state: State, accuser: PeerIndex? = nil) {
        self.peer = peer
        self.incarnation = incarnation
        self.state = state
        self.accuser = accuser ?? peer
    }
}

/// One message of `/tutti/mesh/1`.
package enum MembershipMessage: Hashable, Sendable {
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
    /// Updates that no probe or ack carries: of one who leaves, or between probes.
    case updates([MemberUpdate])
    // Search
    case query(SearchQuery)
    /// Straight to the asker for walks; back along the path for floods.
    case hit(search: UInt64, at: PeerIndex, ByteBuffer)
    /// A walker asks whether the search still goes on.
    case walkCheck(search: UInt64)
    case walkCheckAnswer(search: UInt64, isOpen: Bool)
    // Plumtree
    case payload(BroadcastID, hops: UInt16, ByteBuffer)
    case announce([Announcement])
    /// Makes the link eager; with an id, that message is wanted.
    case graft(BroadcastID?)
    /// Makes the link lazy.
    case prune
}

/// Names a broadcast; chosen by its author.
package struct BroadcastID: Hashable, Comparable, Sendable {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
}

package struct Announcement: Hashable, Sendable {
    package let id: BroadcastID
    package let hops: UInt16

    package init(id: BroadcastID, hops: UInt16) {
        self.id = id
        self.hops = hops
    }
}

package struct SearchQuery: Hashable, Sendable {
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

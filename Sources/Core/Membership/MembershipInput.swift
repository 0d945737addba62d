// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// What happened, as MembershipCore is told.
package enum MembershipInput: Sendable {
    /// A peer that speaks `/tutti/mesh/1` is connected and takes messages, whoever dialled.
    case peerConnected(PeerIndex, group: AddressGroup)
    case peerDisconnected(PeerIndex)
    /// Answer to `.connect` when it does not lead to `.peerConnected`.
    case connectFailed(PeerIndex)
    case received(PeerIndex, MembershipMessage)
    /// Peers worth knowing (bootstrap, mDNS, exchange): they enter the passive view.
    case peersFound([PeerIndex])
    /// The views of an earlier run: its neighbours are tried first.
    case viewsRestored(MembershipSnapshot)
    /// Become part of the network through this peer.
    case joinRequested(PeerIndex)
    case leaveRequested
    case searchRequested(RequestID, ByteBuffer, SearchPlan, deadline: Instant)
    case searchCancelled(RequestID)
    /// Answer to `.match`: what this node has for a query; nil when it has nothing.
    case matched(search: UInt64, ByteBuffer?)
    /// To everybody in the overlay. The id must be new; whoever hands it in chooses it.
    case broadcastRequested(BroadcastID, ByteBuffer)
}

package struct SearchPlan: Sendable {
    package var kind: SearchQuery.Kind
    package var timeToLive: UInt8
    package var walkers: Int
    package var hitsMax: Int

    package init(kind: SearchQuery.Kind, timeToLive: UInt8, walkers: Int = 16, hitsMax: Int = 1) {
        self.kind = kind
        self.timeToLive = timeToLive
        self.walkers = walkers
        self.hitsMax = hitsMax
    }
}

/// Both views, to be kept over a restart.
package struct MembershipSnapshot: Hashable, Sendable {
    package var active: [PeerIndex]
    package var passive: [PeerIndex]

    package init(active: [PeerIndex], passive: [PeerIndex]) {
        self.active = active
        self.passive = passive
    }
}

/// What MembershipCore wants done.
package enum MembershipEffect: Sendable {
    case send(PeerIndex, MembershipMessage)
    /// Dial; `.peerConnected` or `.connectFailed` follows.
    case connect(PeerIndex)
    /// We no longer need this connection once what was sent before is out; others may.
    case release(PeerIndex)
    /// A neighbour of the active view: its connection is kept.
    case protect(PeerIndex, isProtected: Bool)
    /// Ask the application what it has for a query; `.matched` follows.
    case match(search: UInt64, ByteBuffer)
    /// A broadcast of another peer, each once.
    case deliver(BroadcastID, ByteBuffer, from: PeerIndex)
    case emit(MembershipEvent)
}

package enum MembershipEvent: Hashable, Sendable {
    case neighbourUp(PeerIndex)
    case neighbourDown(PeerIndex)
    case stateChanged(PeerIndex, MemberUpdate.State)
    /// The direct path to a peer is broken, but another peer reaches it: not the peer's death.
    case pathDown(PeerIndex, via: PeerIndex)
    case pathRestored(PeerIndex)
    case searchHit(RequestID, at: PeerIndex, ByteBuffer)
    case searchFinished(RequestID, hits: Int)
}

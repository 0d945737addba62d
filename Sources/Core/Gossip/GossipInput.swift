// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

package enum GossipVersion: Int, Comparable, Sendable {
    case floodsub = 0
    case v1_0 = 10
    case v1_1 = 11
    case v1_2 = 12
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
}

/// What happened, as GossipCore is told.
package enum GossipInput: Sendable {
    /// A stream to the peer is open and takes RPCs. `group` is for the score of many peers at one place.
    case peerConnected(PeerIndex, GossipVersion, Direction, group: AddressGroup)
    case peerDisconnected(PeerIndex)
    case received(PeerIndex, GossipRPC)
    /// Bytes that are no RPC: counts as a broken rule.
    case malformed(PeerIndex)
    case subscribeRequested(Topic)
    case unsubscribeRequested(Topic)
    case publishRequested(RequestID, Topic, ByteBuffer)
    /// Answers to `.validate`: one verdict for each message, in order.
    case validated(RequestID, [GossipVerdict])
    /// What the application thinks of a peer (P5).
    case applicationScoreChanged(PeerIndex, Int)
}

package enum GossipVerdict: Hashable, Sendable {
    case accept
    /// Not forwarded, and the peer that sent it is blamed.
    case reject
    /// Not forwarded, nobody is blamed.
    case ignore
}

/// What GossipCore wants done.
package enum GossipEffect: Sendable {
    case send(PeerIndex, GossipRPC)
    /// Check signatures and ask the application, off the loop where that is slow; `.validated` follows. None of these was
    /// seen before.
    case validate(RequestID, [GossipMessage], from: PeerIndex)
    /// A message of a topic that we subscribe to, accepted, not our own.
    case deliver(GossipMessage, from: PeerIndex)
    case published(RequestID, MessageID, sentTo: Int)
    case publishFailed(RequestID, GossipError)
    /// Peers heard of by exchange: `(id, signed record)`, from a peer whose score allows it.
    case peersExchanged([(id: [UInt8], record: [UInt8])], from: PeerIndex)
    /// The peer's score is below the graylist threshold: nothing more is read from it.
    case disconnect(PeerIndex)
}

package enum GossipError: Error, Hashable, Sendable {
    case messageTooLarge(limit: Int)
    case topicTooLong
    case noPeers
    case duplicate
    case limit
}

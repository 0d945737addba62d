// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

package enum GossipVersion: Int, Comparable, Sendable, CaseIterable {
    case floodsub = 0
    case v1_0 = 10
    case v1_1 = 11
    case v1_2 = 12
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }

    package var protocolID: ProtocolID {
        switch self {
        case .floodsub: "/floodsub/1.0.0"
        case .v1_0: "/meshsub/1.0.0"
        case .v1_1: "/meshsub/1.1.0"
        case .v1_2: "/meshsub/1.2.0"
        }
    }

    /// What we offer, in the order of our wish.
    package static let preferred: [GossipVersion] = [.v1_2, .v1_1, .v1_0, .floodsub]
}

/// What happened, as GossipCore is told.
package enum GossipInput: Sendable {
    /// A stream to the peer is open and takes RPCs. `group` is for the score of many peers at one place; `author` are
    /// the bytes that name this peer as the author of messages (its id), of which only a digest is kept.
    case peerConnected(PeerIndex, GossipVersion, Direction, group: AddressGroup, author: [UInt8])
    case peerDisconnected(PeerIndex)
    case received(PeerIndex, GossipRPC)
    /// Bytes that are no RPC: counts as a broken rule.
    case malformed(PeerIndex)
    case subscribeRequested(Topic)
    case unsubscribeRequested(Topic)
    case publishRequested(RequestID, Topic, ByteBuffer)
    /// Answers to `.validate`: one verdict for each message, in order; missing ones count as `.ignore`.
    case validated(RequestID, [GossipVerdict])
    /// What the application thinks of a peer (P5).
    case applicationScoreChanged(PeerIndex, Int)
    /// The peers of explicit agreements, all of them: outside the mesh, outside the score, they get every message.
    case directPeersChanged([PeerIndex])
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
    /// Check signatures (`GossipSignature.isValid`) and ask the application, off the loop where that is slow;
    /// `.validated` follows. None of these was seen before, all have the form that the topic asks for.
    case validate(RequestID, [GossipMessage], from: PeerIndex, by: GossipJudge)
    /// A message of a topic that we subscribe to, accepted, not our own.
    case deliver(GossipMessage, from: PeerIndex)
    case published(RequestID, MessageID, sentTo: Int)
    case publishFailed(RequestID, GossipError)
    /// Peers heard of by exchange, from a peer whose score allows it.
    case peersExchanged([ExchangedPeer], from: PeerIndex)
    /// The peer's score is below the graylist threshold: nothing more is read from it.
    case disconnect(PeerIndex)
}

package enum GossipError: Error, Hashable, Sendable {
    case messageTooLarge(limit: Int)
    case topicTooLong
    /// Not subscribed to the topic, and no peer is known that is.
    case noPeers
    case duplicate
    case limit
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiConnection
package import TuttiGossip
package import TuttiIdentity
package import TuttiKademlia
package import TuttiMembership
package import TuttiPeers

package import struct NIOCore.ByteBuffer

extension NodeCore {
    /// One case per core. What happens on connections and streams, whichever core owns them, comes as `.peers`.
    package enum Input: Sendable {
        indirect case peers(PeersInput)
        indirect case kademlia(KademliaCommand)
        indirect case gossip(GossipCommand)
        indirect case membership(MembershipCommand)
        indirect case discovery(DiscoveryCommand)
        indirect case journal(JournalCommand)
    }

    /// One case per core. What any core wants of connections and streams comes as `.peers`.
    package enum Effect: Sendable {
        indirect case peers(PeersEffect)
        indirect case kademlia(KademliaResult)
        indirect case gossip(GossipResult)
        indirect case membership(MembershipResult)
        indirect case journal(JournalResult)
        /// What `protocols` says is another from now on.
        case protocolsChanged
        case reachabilityChanged(Reachability)
    }
}

/// What the embedder asks of the distributed hash table, in the names of the outside.
package enum KademliaCommand: Sendable {
    case findPeer(RequestID, PeerID, deadline: Instant)
    /// The closest peers to a name.
    case closest(RequestID, [UInt8], deadline: Instant)
    case get(RequestID, [UInt8], quorum: Int, deadline: Instant)
    case put(RequestID, [UInt8], value: [UInt8], deadline: Instant)
    /// The multihash of what is provided.
    case provide(RequestID, [UInt8], deadline: Instant)
    case withdraw([UInt8])
    case findProviders(RequestID, [UInt8], countMax: Int, deadline: Instant)
    case cancel(RequestID)
    case remember([PeerID])
}

package enum KademliaResult: Sendable {
    case providerFound(RequestID, PeerID)
    case finished(RequestID, KademliaAnswer)
}

package struct KademliaAnswer: Sendable {
    package var status: KademliaOutcome.Status
    package var closest: [PeerID]
    package var providers: [PeerID]
    package var value: [UInt8]?
    package var storedCount: Int
    package var callCount: Int

    package init(_ outcome: KademliaOutcome, _ name: (PeerIndex) -> PeerID?) {
        status = outcome.status
        closest = outcome.closest.compactMap(name)
        providers = outcome.providers.compactMap(name)
        value = outcome.record?.value
        storedCount = outcome.storedCount
        callCount = outcome.callCount
    }
}

package enum GossipCommand: Sendable {
    case subscribe(Topic)
    case unsubscribe(Topic)
    case publish(RequestID, Topic, ByteBuffer)
    case validated(RequestID, [GossipVerdict])
}

package enum GossipResult: Sendable {
    /// Check signatures and ask the application; `.validated` follows.
    case validate(RequestID, [GossipMessage], from: PeerID)
    case deliver(GossipMessage, from: PeerID)
    case published(RequestID, MessageID, sentTo: Int)
    case publishFailed(RequestID, GossipError)
}

package enum MembershipCommand: Sendable {
    case join(PeerID)
    case leave
    case found([PeerID])
    case search(RequestID, ByteBuffer, SearchPlan, deadline: Instant)
    case cancelSearch(RequestID)
    case matched(search: UInt64, ByteBuffer?)
    case broadcast(BroadcastID, ByteBuffer)
}

package enum MembershipResult: Sendable {
    case neighbourUp(PeerID)
    case neighbourDown(PeerID)
    case stateChanged(PeerID, MemberUpdate.State)
    case pathDown(PeerID, via: PeerID)
    case pathRestored(PeerID)
    case match(search: UInt64, ByteBuffer)
    case searchHit(RequestID, at: PeerID, ByteBuffer)
    case searchFinished(RequestID, hits: Int)
    case broadcast(BroadcastID, ByteBuffer, from: PeerID)
}

/// What concerns a core that speaks over streams: of the streams that it asked for, and those that peers opened to it.
package enum PortInput: Sendable {
    case peerIdentified(PeerID, PeerProfile, ConnectionID)
    case peerDisconnected(PeerID)
    case connectionPreferred(PeerID, ConnectionID)
    case connectionClosed(ConnectionID)
    case streamArrived(StreamKey, ProtocolID, PeerID)
    case streamOpened(RequestID, StreamKey)
    case openFailed(RequestID)
    case message(StreamKey, ByteBuffer)
    /// The peer has said all that it will say.
    case streamEnded(StreamKey)
    case streamFailed(StreamKey)
    case dialed(RequestID, ConnectionID)
    case dialFailed(RequestID)
}

/// What all ports share: who is connected, and everybody's number.
package struct NodeContext: Sendable {
    package var peers: PeersCore
    package var table: PeerTable
    package var commands: [StreamCommand] = []
    /// Somebody judged an address of ours, or we left or entered the internet.
    package var isReachabilityStale = false
    /// Peers that others named, with addresses in the store, for discovery to choose from.
    package var exchanged: [PeerID] = []
    /// Whether somebody takes `exchanged`.
    package var hasDiscovery = false

    package var keys: Keyspace { Keyspace(table.keys) }

    /// The part of the network in which a connected peer is; `.none` for peers of this machine or site.
    package func group(of peer: PeerID) -> AddressGroup {
        guard let id = peers.connection(to: peer), let remote = peers.remote(of: id) else { return .none }
        return remote.group
    }

    /// Addresses that may be told to others.
    package func addresses(of peer: PeerID) -> [Multiaddr] {
        peer == peers.ownID ? peers.announcedAddresses : peers.store.addresses(of: peer)
    }

    /// The number of a peer that somebody named, whose addresses are kept for a dial. Nil when the table is full.
    package mutating func learn(_ peer: PeerID, _ addresses: [Multiaddr], at now: Instant) -> PeerIndex? {
        guard let index = table.index(of: peer) else { return nil }
        if index != PeerTable.own, !addresses.isEmpty { peers.handle(.addressesFound(peer, addresses), at: now) }
        return index
    }
}

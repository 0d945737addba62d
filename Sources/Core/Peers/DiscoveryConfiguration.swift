// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// How many others a node wants to know, and how hard it tries.
package struct DiscoveryConfiguration: Sendable {
    /// Connections that we dialled, which nobody else could choose for us. Fewer: candidates are dialled.
    package var outboundTarget = 8
    /// Parts of the network in which these are, where there are so many. Fewer: candidates elsewhere are dialled.
    package var groupsTarget = 8
    /// Connections that we dialled, over which not even for that more are made.
    package var outboundMax = 16
    /// Connections of either direction. Fewer: candidates are dialled.
    package var neighboursTarget = 12
    /// Connections of either direction over which nobody is dialled: the low water of `NodeLimits`.
    package var connectionsMax = NodeLimits.internet.connectionsLowWater
    /// Peers of the local network that are dialled without regard to the targets.
    package var localTarget = 32

    /// Dials under way. At it: the next waits.
    package var dialsMax = 8
    package var dialTimeout: Duration = .seconds(10)
    /// After a failure a candidate or bootstrap address is left alone for this long, doubled by each further one.
    package var backoffMin: Duration = .seconds(1)
    package var backoffMax: Duration = .seconds(300)
    /// A candidate that failed so often is forgotten; a bootstrap address never is.
    package var failuresMax = 6
    /// Of two nodes of the local network that hear of each other, the one with the higher id waits for the other's dial.
    package var localPatience: Duration = .milliseconds(250)
    /// From the first candidate heard to the choice.
    package var gatherTime: Duration = .milliseconds(20)
    /// With too few candidates somebody is asked for more: after this long, then twice as long, up to the longest.
    package var walkIntervalMin: Duration = .milliseconds(500)
    package var walkIntervalMax: Duration = .seconds(300)

    /// At it: further addresses are refused.
    package var bootstrapMax = 64
    /// Candidates from one source. At it: the oldest of this source gives way, so that no source displaces another's.
    package var candidatesPerSourceMax = 128
    /// Of them, those in one part of the network. At it: further ones are refused.
    package var candidatesPerGroupMax = 16
    /// Peers to which we come back first after a restart.
    package var anchorsMax = 4

    package init() {}
}

/// Where we heard of a peer.
package enum DiscoverySource: Int, Hashable, Sendable, CaseIterable {
    /// Kept from the last run because we were connected to it.
    case anchor
    /// On our own link, by mDNS.
    case local
    /// Kept from the last run.
    case remembered
    /// Another peer named it: gossip's peer exchange, the mesh.
    case exchange
    /// The distributed hash table.
    case table
}

package enum DiscoveryInput: Sendable {
    /// Addresses given by the user, with or without `/p2p`.
    case bootstrap([Multiaddr])
    /// A peer whose addresses are in the peer store.
    case found(PeerID, AddressGroup, DiscoverySource)
    case connected(PeerID, isOutbound: Bool, AddressGroup)
    case disconnected(PeerID)
    /// Answers to `.dial`.
    case dialed(RequestID, PeerID)
    case dialFailed(RequestID)
}

package enum DiscoveryEffect: Sendable {
    case dial(RequestID, PeerID?, addresses: [Multiaddr], deadline: Instant)
    /// Ask the network for peers near a random name; what comes of it are candidates.
    case walk([UInt8])
}

package struct DiscoveryStats: Hashable, Sendable {
    package var dials: UInt64 = 0
    package var dialsFailed: UInt64 = 0
    package var walks: UInt64 = 0
    package var candidatesRefused: UInt64 = 0
    package var candidatesDisplaced: UInt64 = 0
    package var candidatesGivenUp: UInt64 = 0

    package init() {}
}

// SPDX-License-Identifier: Apache-2.0
public import NIOCore
import TuttiBase
import TuttiGossip
import TuttiIdentity
import TuttiKademlia
import TuttiMembership
import TuttiNodeCore
import TuttiPeers

/// How a node takes part in the distributed hash table (Kademlia).
public struct DHTSettings: Sendable {
    public enum Mode: String, Hashable, Sendable, CaseIterable {
        /// Asks and answers, and is listed in others' tables: for nodes that others can reach.
        case server
        /// Only asks.
        case client
        /// A server while other nodes confirm, by dialling back, that they can reach this one; a client otherwise. Under
        /// the limits `lab`: a server.
        case automatic
    }

    public var mode: Mode
    /// The protocol is this, then `/kad/1.0.0`. Nodes of different prefixes are different networks.
    public var prefix = "/ipfs"
    /// Whether the value may stand under the name, beside `/pk/` records. Called on the node's own loop: answer at once.
    public var accepts: @Sendable (_ name: [UInt8], _ value: [UInt8]) -> Bool = { _, _ in false }
    /// Whether a value is to replace another, both accepted.
    public var prefers: @Sendable (_ name: [UInt8], _ value: [UInt8], _ other: [UInt8]) -> Bool = { _, _, _ in false }

    public init(mode: Mode = .automatic) {
        self.mode = mode
    }
}

/// How a node takes part in topics (GossipSub 1.2 and older).
public struct GossipSettings: Sendable {
    public enum Verdict: Hashable, Sendable {
        /// Delivered and passed on.
        case accept
        /// Not passed on, and the peer that sent it is blamed.
        case reject
        /// Not passed on; nobody is blamed.
        case ignore
    }

    /// Asked for every message whose signature is right, before it is passed on. Called on worker threads. Nil: accept.
    public var validator: (@Sendable (PublishedMessage) -> Verdict)?

    public init() {}
}

/// How a node takes part in the mesh (`/tutti/mesh/1`): neighbours, failure detection, search.
public struct MeshSettings: Sendable {
    /// What this node has for a question; nil: nothing. Called on the node's own loop: answer at once.
    public var answers: @Sendable (_ question: ByteBuffer) -> ByteBuffer? = { _ in nil }

    public init() {}
}

extension NodeConfiguration {
    /// Which cores the node has.
    func coreConfiguration(
        peers: PeersConfiguration, identity: KeyPair, startNanoseconds: UInt64
    )
        -> NodeCoreConfiguration
    {
        var configuration = NodeCoreConfiguration(peers: peers)
        if let dht {
            var kademlia = KademliaConfiguration()
            kademlia.protocolPrefix = dht.prefix
            let isAutomatic = dht.mode == .automatic
            kademlia.isServer = dht.mode == .server || isAutomatic && limits == .lab
            configuration.kademliaFollowsReachability = isAutomatic && limits != .lab
            kademlia.storingAlpha = 10
            kademlia.validator = KademliaValidator(accepts: dht.accepts, prefers: dht.prefers)
            if limits == .lab { kademlia.limits.requestInterval = .zero }
            configuration.kademlia = kademlia
        }
        if gossip != nil {
            var gossip = GossipConfiguration(identity: identity, firstSequence: startNanoseconds)
            // Below this, saying what we don't want costs everybody more than a message that comes twice.
            gossip.mesh.idontwantThresholdBytes = 4 * 1_024
            gossip.mesh.gatherInterval = .milliseconds(30)
            // Each link of a mesh carries each message once: twelve links cost twice what the six that are aimed at do.
            gossip.mesh.dHigh = 8
            gossip.families = [JournalPort.topicFamily]
            configuration.gossip = gossip
        }
        if mesh != nil { configuration.membership = limits == .lab ? .lab : MembershipConfiguration() }
        let hasOverlay = dht != nil || gossip != nil || mesh != nil
        if hasOverlay, limits != .lab { configuration.autonat = AutoNATConfiguration(nonces: .system) }
        configuration.discovery = NodeDiscovery.configuration(self)
        return configuration
    }
}

// SPDX-License-Identifier: Apache-2.0
public import Logging
package import Metrics
import TuttiBase
import TuttiConnection
public import TuttiIdentity
package import TuttiNodeCore
import TuttiPeers

/// What a node is given at its start.
public struct NodeConfiguration: Sendable {
    /// Where the node's key, and so its peer id, comes from.
    public enum Key: Sendable {
        /// A new key that is gone with the process.
        case generated
        case keyPair(KeyPair)
        /// Read from this file; made there at the first start, readable by its owner only. With a passphrase the key is
        /// sealed. A file that is there is never overwritten.
        case file(String, passphrase: String? = nil)
    }

    /// What the node allows its peers, in all.
    public enum Limits: String, Hashable, Sendable, CaseIterable {
        /// For strangers: 192 connections, few per address, rates.
        case internet
        /// For benchmarks and tests on one machine: 8,192 connections, no rules per address.
        case lab
    }

    /// How connections are encrypted.
    public enum Security: String, Hashable, Sendable, CaseIterable {
        case noise
        case tls
    }

    public enum Direction: String, Hashable, Sendable {
        case inbound
        case outbound
    }

    /// Says whether a connection may be: asked before a dial, when a socket is accepted (the peer is then unknown), and
    /// when the peer has proven who it is. Called on the node's own loop: answer at once, never block.
    public typealias Gate = @Sendable (_ peer: PeerID?, _ address: Multiaddr, _ direction: Direction) -> Bool

    public var key: Key = .generated

    /// Where to listen; empty: nowhere, the node only dials.
    ///
    /// The default is a free port on loopback, IPv4: nothing outside this machine can reach a node before its embedder
    /// says so. `anyInterface` is what a node that serves others wants.
    public var listen: [Multiaddr] = NodeConfiguration.loopback

    public var limits: Limits = .internet

    /// In the order in which they are proposed when dialling; listening accepts what stands here.
    public var securities: [Security] = [.noise, .tls]

    public var gate: Gate = { _, _, _ in true }

    /// What other nodes are told that this one is.
    public var agent = "tutti/0.1"

    /// Nodes to begin with, and to come back to for as long as this one runs: `/ip4/…/tcp/…/p2p/…`, `/dnsaddr/…`.
    public var bootstrap: [Multiaddr] = []

    /// Finds the nodes of the local network, and is found by them, with no configuration (mDNS). Without effect on a node
    /// that listens on loopback only.
    public var multicastDNS = false

    /// Where to keep what is known of peers between runs; nil: nowhere. Private to its owner, written now and then and at
    /// the end. A damaged one is moved aside.
    public var peerFile: String?

    /// Nil: the node takes no part in the DHT. The same for the other two.
    public var dht: DHTSettings?
    public var gossip: GossipSettings?
    public var mesh: MeshSettings?

    public var logger = Logger(label: "tutti", factory: { _ in SwiftLogNoOpLogHandler() })

    /// How long a stopping node lets the handlers of streams finish before it cancels them. Nothing new begins meanwhile.
    public var handlerTimeout: Duration = .seconds(2)

    /// How long a stopping node waits for its connections to say goodbye.
    public var closeTimeout: Duration = .seconds(3)

    /// Nil: the node has loops of its own. Hundreds of nodes in one process share some.
    package var loops: NodeLoops?

    /// Does for a community's replica what it wants of disks and worker threads; called on the node's loop, must not block.
    package var journal: (@Sendable ([JournalResult]) -> Void)?

    /// Nil: the process's.
    package var metricsFactory: (any MetricsFactory)?

    public init() {}

    /// A free port on loopback, IPv4.
    public static let loopback = [Multiaddr(components: [.ip4(0x7F00_0001), .tcp(0)])]

    /// The port on every interface, IPv4 and IPv6; 0: a free one of each. Where the machine has no IPv6, that is skipped.
    public static func anyInterface(port: UInt16 = 0) -> [Multiaddr] {
        [
            Multiaddr(components: [.ip4(0), .tcp(port)]),
            Multiaddr(components: [.ip6(high: 0, low: 0), .tcp(port)]),
        ]
    }

    func validate() throws(NodeError) {
        guard !securities.isEmpty, Set(securities).count == securities.count else {
            throw NodeError(
                code: .invalidConfiguration, stage: .start,
                message: "securities must name noise, tls or both, each once")
        }
        guard dht.map({ $0.prefix.hasPrefix("/") && $0.prefix.utf8.count <= 200 }) ?? true else {
            throw NodeError(
                code: .invalidConfiguration, stage: .start,
                message: "the prefix of the DHT must begin with / and have at most 200 bytes")
        }
        guard agent.utf8.count <= 256 else {
            throw NodeError(
                code: .invalidConfiguration, stage: .start, message: "agent is over 256 bytes: choose a shorter one")
        }
    }
}

extension NodeConfiguration.Limits {
    var nodeLimits: NodeLimits {
        switch self {
        case .internet: .internet
        case .lab: .lab
        }
    }
}

extension NodeConfiguration.Security {
    var protocolID: ProtocolID {
        switch self {
        case .noise: .noise
        case .tls: .tls
        }
    }
}

extension NodeConfiguration.Direction {
    init(_ direction: TuttiBase.Direction) {
        switch direction {
        case .inbound: self = .inbound
        case .outbound: self = .outbound
        }
    }
}

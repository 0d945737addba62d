// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiKademlia
import TuttiNodeCore
import TuttiPeers

/// Nodes behind translators of every class ask nodes in the open whether they can be dialled (AutoNAT v2); then somebody
/// whom none of them ever dialled tries.
struct NATLab: ~Copyable {
    struct Kind {
        let name: String
        let nat: NATModel?
        var dialsFromListeningPort = false
        /// What a node of this kind must find of itself, and whether a stranger reaches it.
        let reachability: Reachability
        let isReached: Bool
    }

    /// A node that dials each time from another port has no mapping for the port at which it listens: no class lets
    /// anybody in there. One that dials from that port has one, which the filter guards.
    static let kinds: [Kind] = {
        var forwarded = NATModel.portRestricted
        forwarded.forwarded = [VirtualHost.listeningPort]
        let classes: [(String, NATModel)] = [
            ("endpoint-independent filtering", .fullCone), ("address-dependent filtering", .addressRestricted),
            ("address-and-port-dependent filtering", .portRestricted),
            ("address-and-port-dependent mapping", .symmetric),
        ]
        var kinds = [Kind(name: "open", nat: nil, reachability: .everywhere, isReached: true)]
        kinds += classes.map { Kind(name: $0.0, nat: $0.1, reachability: .nowhere, isReached: false) }
        kinds.append(Kind(name: "port forwarded", nat: forwarded, reachability: .everywhere, isReached: true))
        for (name, nat) in classes {
            // Who only lets in whom it has dialled lets in every server that it asks: their word is all that it has.
            let isTold = nat.mapping == .endpointIndependent && nat.filtering != .addressAndPortDependent
            kinds.append(
                Kind(
                    name: name + ", dials from the listening port", nat: nat, dialsFromListeningPort: true,
                    reachability: isTold ? .everywhere : .nowhere, isReached: nat == .fullCone))
        }
        return kinds
    }()

    var fleet: NodeFleet
    let servers: Int
    let hosts: Int
    /// The last node: it has dialled nobody, and as it takes part in nothing nobody dials it.
    let stranger: Int
    private var lastRequest: UInt64 = 0

    init(
        servers: Int, serversReusePort: Bool, hosts: Int, network: NetworkModel, level: NodeFleet.Level, seed: UInt64
    ) {
        self.servers = servers
        self.hosts = hosts
        stranger = servers + Self.kinds.count * hosts
        fleet = NodeFleet(network: network, seed: seed, level: level)
        for number in 0..<servers {
            var host = VirtualHost.open(0x3300_0001 + UInt32(number) << 16)
            host.dialsFromListeningPort = serversReusePort
            add(host, seed)
        }
        for (place, kind) in Self.kinds.enumerated() {
            for number in 0..<hosts {
                let address = 0x5B00_0001 + UInt32(place * hosts + number) << 16
                var host = kind.nat.map { VirtualHost.behind($0, address) } ?? .open(address)
                host.dialsFromListeningPort = kind.dialsFromListeningPort
                add(host, seed)
            }
        }
        fleet.add(
            KeyPair(seed: Bytes32(words: (UInt64(stranger) + 1, seed, 0, 3))), host: .open(0x2900_0001))
    }

    private mutating func add(_ host: VirtualHost, _ seed: UInt64) {
        let number = UInt64(fleet.members.count)
        var own = DrawStream(seed: seed, peer: PeerIndex(UInt32(number)), .secrets)
        let nonces = KeySource.seeded(SeededGenerator(seed: own.next()))
        fleet.add(KeyPair(seed: Bytes32(words: (number + 1, seed, 0, 3))), host: host) { configuration in
            configuration.autonat = AutoNATConfiguration(nonces: nonces)
            configuration.kademlia = KademliaConfiguration()
            configuration.kademliaFollowsReachability = true
        }
    }

    func places(of kind: Int) -> Range<Int> { (servers + kind * hosts)..<(servers + (kind + 1) * hosts) }

    mutating func dial(_ node: Int, _ other: Int) {
        lastRequest += 1
        fleet.dial(node, other, request: lastRequest)
    }
}

extension NodeScenarios {
    static let nat = Scenario(
        "nat", "nodes behind address translators of every class find out by AutoNAT v2 whether others can dial them",
        [
            ScenarioParameter("servers", 6, 3...100, "nodes in the open that dial back"),
            ScenarioParameter("hosts", 2, 1...20, "nodes of each kind"),
            ScenarioParameter("asked", 4, 1...100, "servers that each knows"),
            ScenarioParameter("seconds", 120, 10...100_000, "simulated time"),
            ScenarioParameter("bytes", 0, 0...1, "1: byte by byte"),
            ScenarioParameter("reuse", 0, 0...1, "1: servers dial back from the port at which they listen"),
        ]
    ) { settings, progress in
        let network = NetworkModel()
        let servers = settings["servers"]
        var lab = NATLab(
            servers: servers, serversReusePort: settings["reuse"] == 1, hosts: settings["hosts"], network: network,
            level: settings["bytes"] == 1 ? .bytes : .messages, seed: settings.seed)
        let count = lab.stranger
        for node in 0..<count {
            for step in 0..<min(settings["asked"], servers) where (node + step) % servers != node {
                lab.dial(node, (node + step) % servers)
            }
            lab.fleet.run(until: lab.fleet.now + .milliseconds(50))
        }
        lab.fleet.run(until: .zero + .seconds(settings["seconds"]))
        progress.reached(0.7)
        let told = (0..<count).map { lab.fleet.members[$0].core.reachability }
        let serving = (0..<count).map { lab.fleet.members[$0].core.isKademliaServer }
        for node in servers..<count { lab.dial(lab.stranger, node) }
        lab.fleet.run(until: lab.fleet.now + .seconds(60))
        let reached = (0..<count).map { node in
            !lab.fleet.members[lab.stranger].core.peers.connections(to: lab.fleet.members[node].key.peerID).isEmpty
        }
        var result = ScenarioResult()
        result.digest = lab.fleet.digest.value
        result.events = lab.fleet.events
        result.simulatedSeconds = (lab.fleet.now - Instant.zero).secondsForDisplay
        result.model.append(network.summary)
        result.model.append("translators keep port numbers where the mapping is endpoint-independent")
        let all = Double(settings["hosts"])
        result.check(
            "servers: told that they are reachable", Double((0..<servers).count { told[$0] == .everywhere }),
            expected: Double(servers), tolerance: 0)
        for (place, kind) in NATLab.kinds.enumerated() {
            let nodes = lab.places(of: place)
            let word = kind.reachability == .everywhere ? "reachable" : "not reachable"
            result.check(
                "\(kind.name): told that it is \(word)", Double(nodes.count { told[$0] == kind.reachability }),
                expected: all, tolerance: 0)
            result.check(
                "\(kind.name): reached by a stranger", Double(nodes.count { reached[$0] }),
                expected: kind.isReached ? all : 0, tolerance: 0)
            result.check(
                "\(kind.name): serves the DHT", Double(nodes.count { serving[$0] }),
                expected: kind.reachability == .everywhere ? all : 0, tolerance: 0)
        }
        return result
    }
}

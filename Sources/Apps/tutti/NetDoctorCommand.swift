// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Tutti

struct NetPeersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peers", abstract: "List the peers that the network's entry leads to.")

    @Option(help: "Seconds to look around.")
    var seconds = 3

    @OptionGroup var net: NetOptions

    private struct Report: Encodable {
        let peer: String
        let agent: String
        let isNeighbour: Bool
        let addresses: [String]
    }

    func run() async throws {
        let seconds = seconds
        let reports = try await net.withNetwork { node, _ in
            try await Task.sleep(for: .seconds(seconds))
            let neighbours = Set(try await node.mesh.neighbours)
            return try await NetDoctor.known(node).map { peer, profile in
                Report(
                    peer: "\(peer)", agent: profile?.agent ?? "", isNeighbour: neighbours.contains(peer),
                    addresses: profile?.listenAddresses.map { "\($0)" } ?? [])
            }
        }
        try net.show(
            reports,
            reports.map {
                "\($0.peer) \($0.agent)\($0.isNeighbour ? " neighbour" : "") \($0.addresses.joined(separator: " "))"
            })
    }
}

struct NetDoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Say in plain words how well this machine can take part.")

    @Option(help: "Seconds to look around.")
    var seconds = 5

    @Option(
        help: """
            An address to listen on while others try to dial it; may be repeated (default: a
            free port on every interface). With the port that `tutti up` is to have, while
            that isn't running, the answer holds for it.
            """, transform: Console.address)
    var listen: [Multiaddr] = []

    @OptionGroup var net: NetOptions

    private struct Report: Encodable {
        let reached: Int
        let peers: Int
        let neighbours: Int
        let protocols: [String: Int]
        let reachability: String
        let advice: [String]
    }

    func run() async throws {
        let seconds = seconds
        let listen = listen.isEmpty ? NodeConfiguration.anyInterface() : listen
        let report = try await net.withNetwork(listen: listen) { node, reached in
            try await Task.sleep(for: .seconds(seconds))
            let known = try await NetDoctor.known(node)
            let neighbours = try await node.mesh.neighbours
            let protocols = NetDoctor.protocols.mapValues { name in
                known.count { $0.1?.protocols.contains { $0.name.hasSuffix(name) } == true }
            }
            let reachability = try await node.reachability
            return Report(
                reached: reached.count, peers: known.count, neighbours: neighbours.count, protocols: protocols,
                reachability: NetDoctor.describe(reachability),
                advice: NetDoctor.advice(peers: known.count, neighbours: neighbours.count, protocols)
                    + NetDoctor.advice(reachability))
        }
        var lines = [
            "Entry: \(report.reached) bootstrap address(es) answered.",
            "Peers: connected to \(report.peers), of them \(report.neighbours) neighbours in the mesh.",
        ]
        for (name, count) in report.protocols.sorted(by: { $0.key < $1.key }) {
            lines.append("Protocol \(name): \(count) of \(report.peers) peers speak it.")
        }
        lines.append("Reachable: \(report.reachability).")
        lines +=
            report.advice.isEmpty
            ? ["To do: nothing, this machine takes part."] : report.advice.map { "To do: \($0)" }
        try net.show(report, lines)
    }
}

enum NetDoctor {
    static let protocols = ["DHT": "/kad/1.0.0", "gossip": "/meshsub/1.1.0", "mesh": "/tutti/mesh/1"]

    static func known(_ node: Node) async throws -> [(PeerID, PeerDescription?)] {
        var all: [(PeerID, PeerDescription?)] = []
        for peer in node.peers { all.append((peer, try? await node.profile(of: peer, deadline: .seconds(1)))) }
        return all
    }

    /// Only what another node has confirmed by dialling back counts as reachable.
    static func describe(_ reachability: NodeReachability) -> String {
        let reached = reachability.addresses.filter(\.isReachable).map { address in
            "\(address.address) (\(address.reachedCount) of \(address.triedCount) that dialled it got through)"
        }.joined(separator: ", ")
        let tried = reachability.addresses.map { "\($0.address)" }.joined(separator: ", ")
        return switch reachability.status {
        case .everywhere: "yes, across the internet: \(reached)"
        case .local: "yes, from this machine or network: \(reached)"
        case .nowhere: "no, others dialled \(tried) in vain"
        case .unknown where reachability.helperCount == 0: "not known; no peer here can dial back"
        case .unknown: "not known; \(reachability.helperCount) peer(s) can dial back and none has yet"
        }
    }

    static func advice(_ reachability: NodeReachability) -> [String] {
        switch reachability.status {
        case .everywhere, .local: []
        case .nowhere:
            [
                "let others in: forward the port in the router and open it in the firewall, then look again "
                    + "with --listen and that port. Without it this machine can dial others, and serves nobody."
            ]
        case .unknown where reachability.helperCount == 0:
            ["enter by a --bootstrap node that dials back (AutoNAT v2), such as any `tutti up` of this version."]
        case .unknown: ["look again with --seconds 20; a node that others can't dial only asks."]
        }
    }

    static func advice(peers: Int, neighbours: Int, _ protocols: [String: Int]) -> [String] {
        var advice: [String] = []
        if peers < 3 { advice.append("few peers are there: give further --bootstrap addresses.") }
        if protocols["DHT"] == 0 { advice.append("nobody here serves the DHT: put, get, provide and find can't work.") }
        if protocols["gossip"] == 0 { advice.append("nobody here passes messages on: publish reaches nobody.") }
        if protocols["mesh"] != 0, neighbours == 0 {
            advice.append("peers of the mesh are there, yet none is a neighbour: look again with --seconds 15.")
        }
        return advice
    }
}

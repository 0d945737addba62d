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
        let report = try await net.withNetwork { node, reached in
            try await Task.sleep(for: .seconds(seconds))
            let known = try await NetDoctor.known(node)
            let neighbours = try await node.mesh.neighbours
            let protocols = NetDoctor.protocols.mapValues { name in
                known.count { $0.1?.protocols.contains { $0.name.hasSuffix(name) } == true }
            }
            return Report(
                reached: reached.count, peers: known.count, neighbours: neighbours.count, protocols: protocols,
                reachability: NetDoctor.reachability(node),
                advice: NetDoctor.advice(peers: known.count, neighbours: neighbours.count, protocols))
        }
        var lines = [
            "Entry: \(report.reached) bootstrap address(es) answered.",
            "Peers: connected to \(report.peers), of them \(report.neighbours) neighbours in the mesh.",
        ]
        for (name, count) in report.protocols.sorted(by: { $0.key < $1.key }) {
            lines.append("Protocol \(name): \(count) of \(report.peers) peers speak it.")
        }
        lines.append("Reachable: \(report.reachability).")
        lines += report.advice.map { "To do: \($0)" }
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

    /// Only what another node has confirmed by dialling back counts as reachable, and nobody is asked for that yet.
    static func reachability(_ node: Node) -> String { "not known; nobody was asked to dial back" }

    static func advice(peers: Int, neighbours: Int, _ protocols: [String: Int]) -> [String] {
        var advice: [String] = []
        if peers < 3 { advice.append("few peers are there: give further --bootstrap addresses.") }
        if protocols["DHT"] == 0 { advice.append("nobody here serves the DHT: put, get, provide and find can't work.") }
        if protocols["gossip"] == 0 { advice.append("nobody here passes messages on: publish reaches nobody.") }
        if protocols["mesh"] != 0, neighbours == 0 {
            advice.append("peers of the mesh are there, yet none is a neighbour: look again with --seconds 15.")
        }
        if advice.isEmpty { advice.append("nothing, this machine takes part.") }
        return advice
    }
}

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Tutti

struct NetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "net",
        abstract: "Look into the network and use it.",
        discussion: """
            Each command runs a node of its own, under a key made for the call, enters the
            network at the --bootstrap addresses, does one thing and leaves.

            Examples:
              tutti net peers --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…
              tutti net find 12D3KooW… --bootstrap …
              tutti net subscribe news --bootstrap …
            """,
        subcommands: [
            NetPeersCommand.self, NetFindCommand.self, NetPutCommand.self, NetGetCommand.self, NetProvideCommand.self,
            NetPublishCommand.self, NetSubscribeCommand.self, NetDoctorCommand.self,
        ])
}

/// How a command of `net` enters the network.
struct NetOptions: ParsableArguments {
    @Option(
        name: [.customLong("bootstrap"), .customLong("addr")],
        help: "A node through which to enter the network; may be repeated.", transform: Console.address)
    var bootstrap: [Multiaddr] = []

    @Option(help: "The prefix of the DHT's protocol.")
    var dhtPrefix = "/ipfs"

    @Option(help: "Seconds until the command gives up.")
    var timeout = 30

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard !bootstrap.isEmpty else {
            throw ValidationError("give at least one --bootstrap address: /ip4/…/tcp/…, of a node that runs")
        }
        guard (1...86_400).contains(timeout) else { throw ValidationError("--timeout must be 1 to 86400") }
    }

    var deadline: Duration { .seconds(timeout) }

    /// Runs `body` on a node that has entered the network and knows whom it can ask.
    /// - Parameter listen: nil: where only this machine can reach it.
    func withNetwork<Value: Sendable>(
        listen: [Multiaddr]? = nil, _ body: @escaping @Sendable (Node, _ reached: [PeerID]) async throws -> Value
    ) async throws -> Value {
        var configuration = NodeConfiguration()
        if let listen { configuration.listen = listen }
        var dht = DHTSettings(mode: .client)
        dht.prefix = dhtPrefix
        dht.accepts = { _, _ in true }
        configuration.dht = dht
        configuration.gossip = GossipSettings()
        configuration.mesh = MeshSettings()
        let (bootstrap, deadline) = (bootstrap, deadline)
        return try await withNode(configuration) { node in
            let reached = try await node.join(at: bootstrap, deadline: deadline)
            for peer in reached { _ = try await node.profile(of: peer, deadline: deadline) }
            return try await body(node, reached)
        }
    }

    func show(_ report: some Encodable, _ lines: [String]) throws {
        if json { return Console.print(try Console.json(report)) }
        for line in lines { Console.print(line) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Logging
import ServiceLifecycle
import Tutti
import TuttiCommunity

struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Run a node until SIGTERM or SIGINT.",
        discussion: """
            Makes the data folder (0700) and a key (0600) at the first start; the key is
            the node's identity, so keep it. Prints the peer id and one line per address.
            Without --listen the node takes a free port on every interface, so that others
            of the local network find it; name a port, and it stays over restarts.

            Examples:
              tutti up
              tutti up --listen /ip4/127.0.0.1/tcp/0      (only this machine reaches it)
              tutti up --listen /ip4/0.0.0.0/tcp/4001 --listen /ip6/::/tcp/4001
              tutti up --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…
              tutti up --data /srv/tutti --passphrase-file /etc/tutti/passphrase
            """)

    @OptionGroup var data: DataOptions

    @Option(help: "An address to listen on; may be repeated.", transform: Console.address)
    var listen: [Multiaddr] = []

    @Option(help: "A node to begin with, and to come back to; may be repeated.", transform: Console.address)
    var bootstrap: [Multiaddr] = []

    @Option(help: "What peers are allowed: internet, or lab for many nodes on one machine.")
    var limits = "internet"

    @Option(help: "The DHT: server, client, or automatic, which serves while others can dial this node.")
    var dht = "automatic"

    @Flag(
        inversion: .prefixedNo,
        help: "Find the nodes of the local network (mDNS). Without effect when listening on loopback only.")
    var mdns = true

    @Option(help: .hidden, transform: Hastened.init)
    var hastened: Hastened?

    @Option(help: "What to log on stderr: trace, debug, info, notice, warning, error or critical.")
    var logLevel = "notice"

    func validate() throws {
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError("'\(logLevel)' is not a log level")
        }
        guard NodeConfiguration.Limits(rawValue: limits) != nil else {
            throw ValidationError("--limits must be internet or lab")
        }
        guard hastened == nil || limits == NodeConfiguration.Limits.lab.rawValue else {
            throw ValidationError("--hastened is for --limits lab alone")
        }
        guard DHTSettings.Mode(rawValue: dht) != nil else {
            throw ValidationError("--dht must be server, client or automatic")
        }
    }

    func run() async throws {
        let logger = Console.logger(Logger.Level(rawValue: logLevel) ?? .notice)
        var community = CommunityNodeConfiguration(folder: data.folder)
        community.passphrase = try data.passphrase()
        if let hastened { community.hasten(since: hastened.origin, by: hastened.rate) }
        var configuration = community.node
        configuration.listen = listen.isEmpty ? NodeConfiguration.anyInterface() : listen
        configuration.bootstrap = bootstrap
        configuration.multicastDNS = mdns
        configuration.logger = logger
        configuration.limits = NodeConfiguration.Limits(rawValue: limits) ?? .internet
        if configuration.limits == .lab { Console.note("limits profile: lab") }
        configuration.dht = DHTSettings(mode: DHTSettings.Mode(rawValue: dht) ?? .automatic)
        community.node = configuration
        let communityNode = try CommunityNode(configuration: community)
        let node = communityNode.node
        let services = ServiceGroup(
            configuration: .init(
                services: [.init(service: communityNode)], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                // When the node can't start, the other task says why.
                guard let addresses = try? await node.listenAddresses else { return }
                Console.print("id \(node.peerID)")
                for address in addresses { Console.print("listening \(address)") }
            }
            try await services.run()
        }
    }
}

/// `ORIGINxRATE`: since ORIGIN, in milliseconds since 1970, time runs RATE times as fast.
struct Hastened {
    let origin: UInt64
    let rate: UInt64

    init(_ text: String) throws {
        let parts = text.split(separator: "x").compactMap { UInt64($0) }
        guard parts.count == 2, parts[1] > 0 else { throw ValidationError("--hastened is ORIGINxRATE") }
        (origin, rate) = (parts[0], parts[1])
    }
}

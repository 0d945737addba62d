// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Tutti

struct PingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ping",
        abstract: "Measure round trips to a peer.",
        discussion: """
            Connects under a key made for this call, sends 32 bytes and waits for them,
            count times.

            Examples:
              tutti ping /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…
              tutti ping /dns4/node.example/tcp/4001 --count 20 --json
            """)

    @Argument(help: "Where the peer listens, as a multiaddr.", transform: Console.address)
    var address: Multiaddr

    @Option(help: "How many round trips.")
    var count = 5

    @Option(help: "Seconds until the command gives up.")
    var timeout = 30

    @Flag(help: "Print one JSON object.")
    var json = false

    private struct Report: Encodable {
        let peer: String
        let roundTripMicroseconds: [Double]
    }

    func validate() throws {
        guard (1...1_000_000).contains(count) else { throw ValidationError("--count must be 1 to 1000000") }
        guard (1...86_400).contains(timeout) else { throw ValidationError("--timeout must be 1 to 86400") }
    }

    func run() async throws {
        var configuration = NodeConfiguration()
        configuration.listen = []
        let (address, count, deadline) = (address, count, Duration.seconds(timeout))
        let (peer, trips) = try await withNode(configuration) { node in
            let peer = try await node.dial(at: [address], deadline: deadline)
            return (peer, try await node.ping(peer, count: count, deadline: deadline))
        }
        let microseconds = trips.map { Console.seconds($0) * 1e6 }
        if json {
            Console.print(try Console.json(Report(peer: "\(peer)", roundTripMicroseconds: microseconds)))
            return
        }
        Console.print("peer \(peer)")
        for (index, value) in microseconds.enumerated() {
            Console.print(String(format: "%d: %.3f ms", index + 1, value / 1000))
        }
        let sorted = microseconds.sorted()
        Console.print(
            String(
                format: "min %.3f ms, median %.3f ms, max %.3f ms", (sorted.first ?? 0) / 1000,
                sorted[sorted.count / 2] / 1000, (sorted.last ?? 0) / 1000))
    }
}

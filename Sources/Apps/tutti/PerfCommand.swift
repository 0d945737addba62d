// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Tutti

struct PerfCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "perf",
        abstract: "Measure throughput to a peer, under /perf/1.0.0.",
        discussion: """
            Sends --upload bytes, then fetches --download bytes, on one stream. On a
            terminal it shows how far it is. A node that serves strangers gives at most
            1 GiB at a time.

            Examples:
              tutti perf /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…
              tutti perf /ip4/127.0.0.1/tcp/4001 --upload 0 --download 1000000000 --json
            """)

    @Argument(help: "Where the peer listens, as a multiaddr.", transform: Console.address)
    var address: Multiaddr

    @Option(help: "Bytes to send.")
    var upload: UInt64 = 100_000_000

    @Option(help: "Bytes to fetch.")
    var download: UInt64 = 100_000_000

    @Option(help: "Seconds until the command gives up.")
    var timeout = 600

    @Flag(help: "Print one JSON object.")
    var json = false

    private struct Report: Encodable {
        let peer: String
        let uploadBytes: UInt64
        let uploadSeconds: Double
        let downloadBytes: UInt64
        let downloadSeconds: Double
    }

    func validate() throws {
        guard (1...86_400).contains(timeout) else { throw ValidationError("--timeout must be 1 to 86400") }
        guard upload <= 1 << 50, download <= 1 << 50 else { throw ValidationError("at most 2^50 bytes each way") }
    }

    func run() async throws {
        var configuration = NodeConfiguration()
        configuration.listen = []
        let (address, upload, download) = (address, upload, download)
        let deadline = Duration.seconds(timeout)
        let isShown = Console.isTerminal && !json
        let began = ContinuousClock.now
        let (peer, result) = try await withNode(configuration) { node in
            let peer = try await node.dial(at: [address], deadline: min(deadline, .seconds(30)))
            let result = try await node.perf(peer, upload: upload, download: download, deadline: deadline) { progress in
                guard isShown else { return }
                let done = progress.sent + progress.received
                Console.progress(Self.line(done: done, of: upload + download, since: began))
            }
            return (peer, result)
        }
        if isShown { Console.progress("") }
        let report = Report(
            peer: "\(peer)", uploadBytes: upload, uploadSeconds: Console.seconds(result.upload),
            downloadBytes: download, downloadSeconds: Console.seconds(result.download))
        if json {
            Console.print(try Console.json(report))
            return
        }
        Console.print("peer \(peer)")
        Console.print(Self.summary("upload", report.uploadBytes, report.uploadSeconds))
        Console.print(Self.summary("download", report.downloadBytes, report.downloadSeconds))
    }

    private static func line(done: UInt64, of total: UInt64, since began: ContinuousClock.Instant) -> String {
        let elapsed = Console.seconds(began.duration(to: .now))
        let share = total == 0 ? 1 : Double(done) / Double(total)
        let left = share > 0 ? elapsed / share - elapsed : 0
        return String(
            format: "%3.0f %%  %@ of %@  %@/s  %.0f s left", share * 100, Console.bytes(done), Console.bytes(total),
            Console.bytes(UInt64(Double(done) / max(elapsed, 1e-9))), left)
    }

    private static func summary(_ what: String, _ count: UInt64, _ seconds: Double) -> String {
        guard count > 0 else { return "\(what): none" }
        let rate = Console.bytes(UInt64(Double(count) / max(seconds, 1e-9)))
        return String(format: "%@: %@ in %.3f s, %@/s", what, Console.bytes(count), seconds, rate)
    }
}

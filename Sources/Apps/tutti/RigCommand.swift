// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Tutti

struct RigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rig",
        abstract: "Be driven by a test rig: one JSON object per line on stdin and stdout.",
        discussion: """
            Prints {"ready":true,"id":…,"addrs":[…],"pids":[…]}, then answers
            {"i":N,"op":…} with {"i":N,"ok":true,…} or {"i":N,"err":"…"}, several at a
            time, until stdin ends. Operations: connect, disconnect, ping, protocols,
            echo, streams, cycle, bulk, perf, dht_put, dht_get, provide, find_providers,
            find_peer, subscribe, publish, peers, reachability; any other is answered
            "unsupported". Serves /echo/1.0.0, /bulk/1.0.0, /perf/1.0.0 and
            /ipfs/ping/1.0.0. Runs under the limits profile "lab" unless told otherwise:
            never let strangers reach it.

            Environment:
              RIG_LISTEN    addresses to listen on, separated by commas
                            (default /ip4/127.0.0.1/tcp/0)
              RIG_SECURITY  noise or tls (default: both, Noise first)
              RIG_DHT       server, client or automatic (default: no DHT)
              RIG_PUBSUB    1: topics
              RIG_MESH      1: the mesh
              RIG_LIMITS    internet (default: lab)
              RIG_BOOTSTRAP addresses to begin with, separated by commas

            Example:
              echo '{"i":1,"op":"connect","addr":"/ip4/127.0.0.1/tcp/4001"}' | tutti rig
            """)

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        var configuration = NodeConfiguration()
        configuration.limits = environment["RIG_LIMITS"] == "internet" ? .internet : .lab
        if let text = environment["RIG_BOOTSTRAP"], !text.isEmpty {
            configuration.bootstrap = try text.split(separator: ",").map { try Console.address(String($0)) }
        }
        if let text = environment["RIG_LISTEN"], !text.isEmpty {
            configuration.listen = try text.split(separator: ",").map { try Console.address(String($0)) }
        }
        if let text = environment["RIG_SECURITY"], !text.isEmpty {
            guard let security = NodeConfiguration.Security(rawValue: text) else {
                throw ValidationError("RIG_SECURITY must be noise or tls")
            }
            configuration.securities = [security]
        }
        if let text = environment["RIG_DHT"], !text.isEmpty {
            guard let mode = DHTSettings.Mode(rawValue: text) else {
                throw ValidationError("RIG_DHT must be server, client or automatic")
            }
            configuration.dht = DHTSettings(mode: mode)
        }
        if environment["RIG_PUBSUB"] == "1" { configuration.gossip = GossipSettings() }
        if environment["RIG_MESH"] == "1" { configuration.mesh = MeshSettings() }
        Console.note("limits profile: \(configuration.limits.rawValue)")
        // What overlays are asked costs less than waking another thread for it would.
        let loops = NodeLoops()
        configuration.loops = loops
        try await withNode(configuration) { node in
            RigServer.serve(on: node)
            let output = RigOutput()
            let addresses = try await node.listenAddresses.map { "\($0)" }
            output.write(RigReady(ready: true, id: "\(node.peerID)", addrs: addresses, pids: [getpid()]))
            await withTaskExecutorPreference(loops.executor) {
                await withDiscardingTaskGroup { group in
                    for await line in RigInput.lines() {
                        guard let request = RigInput.request(line) else { continue }
                        let executor = request.isOfOverlays ? loops.executor : globalConcurrentExecutor
                        group.addTask(executorPreference: executor) {
                            await RigOperations(node: node).answer(request, to: output)
                        }
                    }
                    group.cancelAll()
                }
            }
        }
        await loops.shutDown()
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity

enum NodeScenarios {
    static let all = [nodes, bytes, nat, dials]

    static let dials = Scenario(
        "dials", "whole nodes dial each other, identify, lose some and come back",
        [
            ScenarioParameter("nodes", 50, 2...2_000, "nodes"),
            ScenarioParameter("dials", 6, 1...100, "nodes that each dials"),
            ScenarioParameter("loss", 0, 0...50, "packets lost and sent again, in percent"),
            ScenarioParameter("crashes", 20, 0...90, "nodes that crash, in percent"),
        ]
    ) { settings, progress in
        var network = NetworkModel()
        network.loss = UInt32(settings["loss"]) * 10_000
        var fleet = NodeFleet(network: network, seed: settings.seed)
        for number in 0..<settings.nodes {
            fleet.add(KeyPair(seed: Bytes32(words: (UInt64(number) + 1, settings.seed, 0, 3))))
        }
        var draws = DrawStream(seed: settings.seed, .placement)
        var (pairs, request): ([(Int, Int)], UInt64) = ([], 0)
        for node in 0..<settings.nodes {
            for _ in 0..<settings["dials"] {
                let other = Int(draws.below(UInt64(settings.nodes)))
                guard other != node else { continue }
                request += 1
                pairs.append((node, other))
                fleet.dial(node, other, request: request)
            }
            fleet.run(until: fleet.now + .milliseconds(20))
        }
        fleet.run(until: fleet.now + .seconds(60))
        progress.reached(0.5)
        func joined(_ fleet: borrowing NodeFleet, _ a: Int, _ b: Int) -> Int {
            fleet.members[a].core.peers.connections(to: fleet.members[b].key.peerID).count
        }
        var (single, identified) = (0, 0)
        for (a, b) in pairs {
            if joined(fleet, a, b) == 1, joined(fleet, b, a) == 1 { single += 1 }
            if fleet.members[a].core.peers.profile(of: fleet.members[b].key.peerID)?.agent == "node/\(b)" {
                identified += 1
            }
        }
        let crashed = Array(0..<(settings.nodes * settings["crashes"] / 100))
        for node in crashed { fleet.crash(node) }
        fleet.run(until: fleet.now + .seconds(30))
        var left = 0
        for (a, b) in pairs where crashed.contains(a) != crashed.contains(b) {
            left += crashed.contains(a) ? joined(fleet, b, a) : joined(fleet, a, b)
        }
        for node in crashed { fleet.restart(node) }
        for (a, b) in pairs where crashed.contains(a) {
            request += 1
            fleet.dial(a, b, request: request)
        }
        fleet.run(until: fleet.now + .seconds(60))
        var back = 0
        for (a, b) in pairs where crashed.contains(a) && joined(fleet, a, b) == 1 && joined(fleet, b, a) == 1 {
            back += 1
        }
        var result = ScenarioResult()
        result.digest = fleet.digest.value
        result.events = fleet.events
        result.simulatedSeconds = (fleet.now - Instant.zero).secondsForDisplay
        result.model.append(network.summary)
        result.add("pairs", Double(pairs.count))
        result.check("pairs with one connection", Double(single), expected: Double(pairs.count), tolerance: 0)
        result.check(
            "pairs that identified each other", Double(identified), expected: Double(pairs.count), tolerance: 0)
        result.check("connections to nodes that crashed", Double(left), expected: 0, tolerance: 0)
        result.check(
            "pairs joined again", Double(back), expected: Double(pairs.count { crashed.contains($0.0) }), tolerance: 0)
        return result
    }
}

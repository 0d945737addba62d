// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiGossip

import struct NIOCore.ByteBuffer

/// Attacks on one member of a topic, whom the scenario plays everybody else for.
enum AttackGossip {
    private static let topic: Topic = "lab"

    /// With scores as an operator would set them for a topic in which ten messages a second are published.
    private static func configuration(scoring: Bool) -> GossipConfiguration {
        var configuration = GossipConfiguration(author: [0])
        configuration.score.isEnabled = scoring
        configuration.topic.score.meshDeliveriesThreshold = 2
        configuration.topic.score.meshDeliveriesWeight = -20
        configuration.topic.score.meshFailureWeight = -20
        return configuration
    }

    // MARK: IHAVE and IWANT

    static let adverts = Scenario(
        "attack-19-adverts", "peers advertise what nobody has, and ask for the same messages again and again",
        [
            ScenarioParameter("attackers", 20, 1...1_000, "peers of the attacker"),
            ScenarioParameter(
                "ids", 12_000, 1...1_000_000, "ids that each advertises in a second, a thousand at a time"),
            ScenarioParameter("seconds", 20, 10...100_000, "simulated time"),
            ScenarioParameter("limits", 1, 0...1, "0: without limits and scores"),
        ]
    ) { settings, progress in
        var configuration = configuration(scoring: settings["limits"] == 1)
        let bound = configuration.mesh
        if settings["limits"] == 0 {
            configuration.mesh.ihaveLengthMax = .max
            configuration.mesh.ihaveMessagesMax = .max
            configuration.mesh.gossipRetransmission = 255
            configuration.limits.promisesMax = .max
        }
        let honest = 8
        var victim = GossipVictim(
            configuration, topic, honest: honest, attackers: settings["attackers"], seed: settings.seed)
        var firstPublished = 0
        for second in 0..<settings["seconds"] {
            for tenth in 0..<10 {
                victim.publishByHonest()
                if tenth == 5 {
                    let recent = victim.recentIDs
                    for _ in stride(from: 0, to: settings["ids"], by: 1_000) {
                        let ids = victim.madeUpIDs(1_000)
                        victim.attack { rpc in
                            rpc.ihave = [(topic: topic, ids: ids)]
                            rpc.iwant = recent
                        }
                    }
                }
                victim.run(until: .zero + .milliseconds(Int64(second * 1_000 + (tenth + 1) * 100)))
            }
            firstPublished = victim.publishedCount
            progress.reached(Double(second) / Double(settings["seconds"]))
        }
        victim.run(until: victim.now + .seconds(3))
        var result = victim.result
        result.add("messages published", Double(firstPublished))
        result.add("ids asked for in all", Double(victim.askedTotal))
        result.check(
            "ids asked of one peer between two heartbeats", Double(victim.askedMost),
            atMost: Double(bound.ihaveLengthMax))
        result.check(
            "times that one id was served to one peer", Double(victim.servedMost),
            atMost: Double(bound.gossipRetransmission))
        result.check("attackers left at the end", Double(victim.attackersLeft), expected: 0, tolerance: 0)
        result.check("heartbeats until the last was out", Double(victim.lastOutSecond), atMost: 15)
        result.check("delivered", victim.deliveredShare, expected: 1, tolerance: 0)
        return result
    }

    // MARK: GRAFT

    static let grafts = Scenario(
        "attack-20-grafts", "peers graft as often as they can, backoff or not, and forward nothing",
        [
            ScenarioParameter("attackers", 40, 1...1_000, "peers of the attacker"),
            ScenarioParameter("rate", 10, 1...100, "grafts that each sends in a second"),
            ScenarioParameter("scoring", 1, 0...1, "0: peers aren't scored"),
        ]
    ) { settings, progress in
        let configuration = configuration(scoring: settings["scoring"] == 1)
        let mesh = configuration.mesh
        var victim = GossipVictim(
            configuration, topic, honest: 10, attackers: settings["attackers"], seed: settings.seed)
        let seconds = 90
        var (largest, honestAtMinute, silent) = (0, 0, 0)
        for second in 0..<seconds {
            for tenth in 0..<10 {
                victim.publishByHonest()
                if tenth < settings["rate"] {
                    for _ in 0..<max(1, settings["rate"] / 10) { victim.attack { $0.graft = [topic] } }
                }
                victim.run(until: .zero + .milliseconds(Int64(second * 1_000 + (tenth + 1) * 100)))
            }
            let members = victim.mesh
            largest = max(largest, members.count)
            if second == 59 { honestAtMinute = members.count { victim.isHonest($0) } }
            // The first that grafted were let in: P3 counts against them from 30 s on.
            if second == 41 { silent = members.count { !victim.isHonest($0) } }
            progress.reached(Double(second) / Double(seconds))
        }
        victim.run(until: victim.now + .seconds(3))
        var result = victim.result
        result.add("grafts within a backoff", Double(victim.core.stats.backoffViolations))
        result.check("peers in the mesh, most", Double(largest), atMost: Double(mesh.dHigh))
        result.check("honest peers in the mesh after 60 s", Double(honestAtMinute), atLeast: Double(mesh.dLow))
        result.check(
            "silent peers in the mesh ten heartbeats after P3 counts", Double(silent), expected: 0, tolerance: 0)
        result.check("delivered", victim.deliveredShare, expected: 1, tolerance: 0)
        return result
    }

    // MARK: Replays

    static let replays = Scenario(
        "attack-21-replays", "messages come again: at once, after their ids were displaced, and long after",
        [
            ScenarioParameter("messages", 2_000, 100...100_000, "messages of honest authors, then replayed"),
            ScenarioParameter("seen", 3_000, 100...100_000, "ids that are remembered at most"),
            ScenarioParameter("flood", 4_000, 0...1_000_000, "messages of the attacker that displace them"),
            ScenarioParameter("window", 1, 0...1, "0: numbers of authors aren't remembered"),
        ]
    ) { settings, progress in
        var configuration = configuration(scoring: true)
        configuration.limits.seenMax = settings["seen"]
        if settings["window"] == 0 { configuration.limits.authorsMax = 1 }
        var victim = GossipVictim(configuration, topic, honest: 8, attackers: 4, seed: settings.seed)
        var seenMost = 0
        for _ in 0..<settings["messages"] {
            victim.publishByHonest(copies: 3)
            seenMost = max(seenMost, victim.core.seenCount)
            victim.run(until: victim.now + .milliseconds(5))
        }
        progress.reached(0.3)
        let deliveredBefore = victim.deliveredShare
        // A number enters its author's floor two generations of the seen ids after it came.
        victim.run(until: victim.now + .seconds(70))
        for number in 0..<settings["flood"] {
            victim.publishByAttacker(UInt64(number))
            seenMost = max(seenMost, victim.core.seenCount)
            if number % 100 == 0 { victim.run(until: victim.now + .milliseconds(10)) }
        }
        progress.reached(0.6)
        victim.replayAll()
        for _ in 0..<4 {
            victim.run(until: victim.now + .seconds(300))
            victim.replayAll()
            seenMost = max(seenMost, victim.core.seenCount)
        }
        var result = victim.result
        result.add("replays refused", Double(victim.core.stats.replays))
        result.check("delivered", deliveredBefore, expected: 1, tolerance: 0)
        result.check("messages delivered twice", Double(victim.repeated), expected: 0, tolerance: 0)
        result.check("ids remembered", Double(seenMost), atMost: Double(settings["seen"]))
        return result
    }
}

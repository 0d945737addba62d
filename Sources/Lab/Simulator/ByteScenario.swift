// SPDX-License-Identifier: Apache-2.0
import TuttiBase

extension NodeScenarios {
    /// The shares of damage are those of lines so bad that most connections meet it within the phase.
    static let bytes = Scenario(
        "bytes",
        "whole nodes with real connections over virtual lines, byte by byte: join, gossip, look up, survive damaged bytes",
        [
            ScenarioParameter("nodes", 30, 2...200, "nodes"),
            ScenarioParameter("messages", 20, 1...10_000, "messages to all, before the damage and after it"),
            ScenarioParameter("bytes", 1_024, 4...65_536, "size of a message"),
            ScenarioParameter("lookups", 30, 0...100_000, "lookups of a node by another"),
            ScenarioParameter("loss", 1, 0...50, "segments lost and sent again, in percent"),
            ScenarioParameter("uplink", 1_000, 0...1_000_000, "kilobytes that a node can send in a second; 0: any"),
            ScenarioParameter("flips", 2_000, 0...1_000_000, "segments of a million in which a bit is turned over"),
            ScenarioParameter("cuts", 1_000, 0...1_000_000, "segments of a million that lose some bytes"),
            ScenarioParameter("damage", 30, 0...10_000, "seconds for which lines damage what they carry"),
            ScenarioParameter("noticed", 1, 0...1, "0: what was damaged is whole again when it is read"),
        ]
    ) { settings, progress in
        var network = NetworkModel()
        network.loss = UInt32(settings["loss"]) * 10_000
        network.uplinkBytesPerSecond = UInt64(settings["uplink"]) * 1_000
        var lab = NodeNetwork(nodes: settings.nodes, network: network, seed: settings.seed, level: .bytes)
        let (neighbours, tables) = lab.gather()
        progress.reached(0.2)
        lab.publish(settings["messages"], bytes: settings["bytes"], interval: .milliseconds(200)) {
            progress.reached(0.2 + 0.2 * $0)
        }
        lab.look(settings["lookups"], interval: .milliseconds(100))
        lab.run(for: .seconds(60))
        let (asked, found, before) = (lab.asked, lab.found, lab.published.count)
        let finished = lab.finished
        let isDamaging = settings["damage"] > 0 && settings["flips"] + settings["cuts"] > 0
        if isDamaging { damage(&lab, settings, progress) }
        let during = lab.published.count
        lab.publish(isDamaging ? settings["messages"] : 0, bytes: settings["bytes"], interval: .milliseconds(200)) {
            progress.reached(0.8 + 0.2 * $0)
        }
        lab.run(for: .seconds(10))
        let wire = lab.fleet.wireStats
        var result = ScenarioResult()
        result.digest = lab.fleet.digest.value
        result.events = lab.fleet.events
        result.simulatedSeconds = (lab.fleet.now - Instant.zero).secondsForDisplay
        result.model.append(network.summary + ", byte by byte in segments, Noise and Yamux of the nodes themselves")
        result.add(latency: lab.latency, of: "deliveries")
        result.plots.append(lab.deliveryPlot)
        result.add("bytes carried", Double(wire.bytes), "B")
        result.add("segments", Double(wire.segments))
        result.add("segments sent again", Double(wire.resent))
        result.check("nodes with neighbours", neighbours, expected: 1, tolerance: 0)
        result.check("nodes that know ten others for the table", tables, expected: 1, tolerance: 0)
        result.check("delivered", lab.deliveredShare(from: 0, to: before), expected: 1, tolerance: 0)
        result.check("messages delivered twice", Double(lab.repeated), expected: 0, tolerance: 0)
        result.check("messages that nobody published", Double(lab.foreign), expected: 0, tolerance: 0)
        result.check("lookups ended", Double(finished), expected: Double(asked), tolerance: 0)
        result.check("nodes found", Double(found) / Double(max(1, asked)), atLeast: 0.99)
        guard isDamaging else { return result }
        result.add("segments damaged", Double(wire.damaged))
        result.add("connections ended by damage, as a violation", Double(wire.endsByViolation))
        result.add("connections ended by damage, by time-out", Double(wire.endsByTimeout))
        result.add("connections with damage ended from elsewhere", Double(wire.endsOtherwise))
        result.add("connections that wait for the rest of a record", Double(wire.endsWaiting))
        result.add("delivered during the damage", lab.deliveredShare(from: before, to: during))
        let ended = wire.endsByViolation + wire.endsByTimeout + wire.endsOtherwise
        result.check("connections that read damaged bytes", Double(wire.endsDamaged), atLeast: 1)
        result.check(
            "of them ended (others wait for the rest of a record)", Double(ended),
            atLeast: Double(wire.endsDamaged) * 0.95 - 1)
        result.check("believed after damage", Double(wire.toldAfterDamage), expected: 0, tolerance: 0)
        result.check("nodes with neighbours after the damage", lab.share { !$0.neighbours.isEmpty }, atLeast: 1)
        result.check(
            "delivered after the damage", lab.deliveredShare(from: during, to: lab.published.count), expected: 1,
            tolerance: 0)
        return result
    }

    /// Lines damage bytes while everybody talks; then they don't, and connections are made anew.
    private static func damage(
        _ lab: inout NodeNetwork, _ settings: ScenarioSettings, _ progress: ScenarioProgress
    ) {
        lab.fleet.wireFaults.flips = UInt32(settings["flips"])
        lab.fleet.wireFaults.cuts = UInt32(settings["cuts"])
        lab.fleet.wireFaults.areNoticeable = settings["noticed"] == 1
        lab.publish(settings["damage"] * 5, bytes: settings["bytes"], interval: .milliseconds(200)) {
            progress.reached(0.4 + 0.3 * $0)
        }
        lab.fleet.wireFaults = WireFaults()
        // Longer than a silent connection waits for its next ping and for the answer.
        lab.run(for: .seconds(120))
    }
}

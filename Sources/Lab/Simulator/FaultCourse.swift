// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What befalls a fleet, from the menu that a seed draws, with what no menu has: slow peers, a mass departure and the
/// crowd that comes back, long-tailed latencies, a narrow uplink.
struct FaultCourse {
    let nodes: Int
    let seed: UInt64
    let seconds: Int
    let start = Instant.zero + .seconds(5)
    let menu: FaultMenu
    /// In the order of time. Everybody is back at the end.
    let events: [(at: Instant, action: FaultAction)]
    let network: NetworkModel
    let summary: String

    init(_ settings: ScenarioSettings) {
        nodes = settings.nodes
        seed = settings.seed
        seconds = settings["seconds"]
        menu = FaultMenu(seed: seed)
        var events = menu.schedule(nodes: nodes, from: start, seconds: seconds, seed: seed)
        var draws = DrawStream(seed: seed &+ 2, .faults)
        var network = NetworkModel()
        var words: [String] = []
        if draws.below(2) == 0 {
            network.latency = .longTail(median: .milliseconds(40), spread: 800)
            words.append("long-tailed latency")
        }
        network.isLatencyOfPair = draws.below(2) == 0
        if draws.below(4) == 0 {
            network.turnsBad = 10_000
            words.append("bursts of loss")
        }
        if draws.below(4) == 0 {
            network.uplinkBytesPerSecond = 64 * 1_024
            words.append("uplinks of 64 KiB/s")
        }
        if draws.below(2) == 0 {
            let slow = PeerIndex(UInt32(draws.below(UInt64(nodes))))
            for second in 0..<seconds {
                events.append((start + .seconds(second), .pause(slow, .milliseconds(Int64(draws.within(100...900))))))
            }
            words.append("a slow peer")
        }
        if draws.below(3) == 0 {
            let share = UInt32(draws.within(100_000...600_000))
            let at = start + .seconds(seconds / 2)
            events.append((at, .massDeparture(share, isSilent: draws.below(2) == 0)))
            events.append((at + .seconds(Int(draws.within(1...30))), .flashCrowd))
            words.append("\(share / 10_000) % leave at once and come back")
        }
        events.append((start + .seconds(seconds + 2), .flashCrowd))
        self.events = events.enumerated().sorted { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }
            .map(\.element)
        self.network = network
        summary = words.isEmpty ? "no further faults" : words.joined(separator: ", ")
    }

    /// After these the whole fleet is looked at.
    func isWatched(_ action: FaultAction) -> Bool {
        switch action {
        case .partition, .healPartition, .crash, .restart, .massDeparture, .flashCrowd, .healAll, .stepClock: true
        default: false
        }
    }
}

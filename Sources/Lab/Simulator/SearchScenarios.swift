// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiMembership

/// Flooding and walkers over the random graph of Lv et al. (2002), and blind push gossip.
enum SearchScenarios {
    static let all: [Scenario] = [randomGraph, push]

    /// What a model that shares no code says of G(n, m) with four links a peer on average: by peers that hold the
    /// answer, of 10,000, and time to live.
    private static func expectedFlood(
        _ nodes: Int, _ holders: Int, _ timeToLive: Int
    ) -> (hit: Double, messages: Double)? {
        switch (nodes, holders, timeToLive) {
        case (1_000, 50, 3): (0.284, 83.9)
        case (1_000, 50, 4): (0.676, 321)
        case (1_000, 50, 5): (0.936, 1_025)
        case (1_000, 100, 3): (0.502, 83.9)
        case (1_000, 100, 4): (0.877, 321)
        case (1_000, 100, 5): (0.989, 1_025)
        case (10_000, 5, 4): (0.115, 351)
        case (10_000, 5, 5): (0.34, 1_400)
        case (10_000, 5, 6): (0.80, 4_900)
        case (10_000, 5, 7): (0.96, 14_100)
        case (10_000, 10, 4): (0.17, 351)
        case (10_000, 10, 5): (0.69, 1_400)
        case (10_000, 10, 6): (0.94, 4_900)
        case (10_000, 10, 7): (1, 14_100)
        case (10_000, 50, 4): (0.73, 351)
        case (10_000, 50, 5): (0.97, 1_400)
        default: nil
        }
    }

    private static func expectedWalk(_ holders: Int) -> Double? {
        [5: 3_841, 10: 1_850, 50: 436, 100: 289][holders]
    }

    /// The largest part of a graph of `nodes` peers and twice as many links, as lists of neighbours.
    static func graph(nodes: Int, seed: UInt64) -> [[Int]] {
        var draws = DrawStream(seed: seed, .placement)
        var near = [[Int]](repeating: [], count: nodes)
        var links = 0
        while links < 2 * nodes {
            let (a, b) = (Int(draws.below(UInt64(nodes))), Int(draws.below(UInt64(nodes))))
            guard a != b, !near[a].contains(b) else { continue }
            near[a].append(b)
            near[b].append(a)
            links += 1
        }
        var part = [Int](repeating: -1, count: nodes)
        var largest: [Int] = []
        for start in 0..<nodes where part[start] < 0 {
            var members = [start]
            part[start] = start
            var next = 0
            while next < members.count {
                for other in near[members[next]] where part[other] < 0 {
                    part[other] = start
                    members.append(other)
                }
                next += 1
            }
            if members.count > largest.count { largest = members }
        }
        var number = [Int](repeating: -1, count: nodes)
        for (place, member) in largest.enumerated() { number[member] = place }
        return largest.map { near[$0].map { number[$0] } }
    }

    static let randomGraph = Scenario(
        "random-graph", "searches over a fixed random graph of four links a peer: floods or walkers",
        [
            ScenarioParameter("nodes", 1_000, 10...1_000_000, "peers; those outside the largest part don't count"),
            ScenarioParameter("holders", 100, 1...10_000, "peers that have what is looked for, of ten thousand"),
            ScenarioParameter("queries", 200, 1...100_000, "searches"),
            ScenarioParameter("walkers", 0, 0...64, "walkers of a search; 0: floods"),
            ScenarioParameter("ttl", 4, 1...8, "how far a flood goes; walkers go 255 steps"),
            ScenarioParameter("checks", 4, 0...255, "steps between questions to the asker; 0: none is asked"),
            ScenarioParameter("broken", 0, 0...1, "1: a flood goes one step less far than the papers'"),
        ]
    ) { settings, progress in
        let graph = graph(nodes: settings.nodes, seed: settings.seed)
        var configuration = MembershipConfiguration.lab
        configuration.detector.isOn = false
        configuration.views.activeMax = 64
        configuration.views.passiveMax = 512
        configuration.views.shuffleInterval = .seconds(1_000_000_000)
        configuration.search.walkCheckSteps = UInt8(settings["checks"])
        var lab = MeshLab(
            nodes: graph.count, world: MembershipWorld(configuration: configuration), seed: settings.seed,
            network: NetworkModel())
        for (place, near) in graph.enumerated() {
            let later = near.filter { $0 > place }.map { PeerIndex(UInt32($0)) }
            guard !later.isEmpty else { continue }
            let views = MembershipSnapshot(active: later, passive: [])
            lab.fleet.schedule(
                .handle(.viewsRestored(views)), for: PeerIndex(UInt32(place)),
                at: .zero + .milliseconds(Int64(place % 100) * 50))
        }
        lab.run(until: .zero + .seconds(30))
        var missing = 0
        for (place, near) in graph.enumerated() {
            missing += abs(near.count - lab.fleet.peers[place].core.neighbours.count)
        }
        lab.keepsEvents = true
        let outcome = ask(&lab, settings, progress)
        var result = ScenarioResult()
        lab.describe(&result)
        result.check("links that differ from the graph's", Double(missing), expected: 0, tolerance: 0)
        result.add("messages per search", outcome.messages)
        result.add("searches with a hit", outcome.hits)
        if settings["walkers"] == 0 {
            let expected = expectedFlood(settings.nodes, settings["holders"], settings["ttl"])
            if let expected {
                let spread = max(
                    0.06, 3 * (expected.hit * (1 - expected.hit) / Double(settings["queries"])).squareRoot())
                result.check("searches with a hit", outcome.hits, expected: expected.hit, tolerance: spread)
                result.check(
                    "messages per search", outcome.messages, expected: expected.messages,
                    tolerance: expected.messages / 10)
            }
        } else {
            result.check("searches with a hit", outcome.hits, atLeast: 0.99)
            if settings.nodes == 10_000, settings["walkers"] == 32, let expected = expectedWalk(settings["holders"]) {
                result.check("messages per search", outcome.messages, expected: expected, tolerance: expected / 10)
            }
            // A flood of seven steps costs 14,100 messages over 9,797 peers, and reaches as many with any share.
            let ratio = outcome.messages / (14_100 * Double(graph.count) / 9_797)
            let bound = [5: 0.28, 10: 0.14, 50: 0.035, 100: 0.025][settings["holders"]] ?? 0.28
            result.check("messages of walkers to those of a flood", ratio, atMost: bound)
        }
        return result
    }

    private static func ask(
        _ lab: inout MeshLab, _ settings: ScenarioSettings, _ progress: ScenarioProgress
    ) -> (hits: Double, messages: Double) {
        let count = lab.fleet.count
        let holders = max(1, count * settings["holders"] / 10_000)
        var draws = DrawStream(seed: settings.seed, .traffic)
        let isFlood = settings["walkers"] == 0
        let plan = SearchPlan(
            kind: isFlood ? .flood : .walk, timeToLive: isFlood ? UInt8(settings["ttl"] - settings["broken"]) : 255,
            walkers: max(1, settings["walkers"]))
        let before = lab.searchMessages
        for number in 0..<settings["queries"] {
            // Other peers have it each time.
            var chosen: Set<PeerIndex> = []
            while chosen.count < holders { chosen.insert(PeerIndex(UInt32(draws.below(UInt64(count))))) }
            lab.fleet.world.holders = chosen
            let asker = PeerIndex(UInt32(draws.below(UInt64(count))))
            lab.fleet.schedule(
                .handle(
                    .searchRequested(
                        RequestID(UInt64(number)), .init(bytes: [7]), plan, deadline: lab.fleet.now + .seconds(80))),
                for: asker, at: lab.fleet.now)
            lab.run(until: lab.fleet.now + .seconds(isFlood ? 5 : 90))
            progress.reached(Double(number) / Double(settings["queries"]))
        }
        lab.run(until: lab.fleet.now + .seconds(90))
        var hit = 0
        for case (_, _, .searchFinished(_, let hits)) in lab.events where hits > 0 { hit += 1 }
        return (
            Double(hit) / Double(settings["queries"]),
            Double(lab.searchMessages - before) / Double(settings["queries"])
        )
    }

    // MARK: Push gossip

    /// No protocol of ours: it shows that the lab's lots and messages give what probability says.
    static let push = Scenario(
        "push", "each peer that hears something new tells a number of random peers, once or in each round",
        [
            ScenarioParameter("nodes", 10_000, 10...1_000_000, "peers"),
            ScenarioParameter("fanout", 4, 1...64, "peers that each one tells"),
            ScenarioParameter("messages", 50, 1...10_000, "rumours, one after the other"),
            ScenarioParameter(
                "rounds", 0, 0...1, "1: everybody who knows tells one peer in each round, until all know"),
            ScenarioParameter("loss", 0, 0...90, "messages lost, in percent"),
        ]
    ) { settings, progress in
        var network = NetworkModel()
        network.loss = UInt32(settings["loss"]) * 10_000
        network.latency = .uniform(.milliseconds(10), .milliseconds(100))
        let isRounds = settings["rounds"] == 1
        var fleet = Fleet<PushPeer>(
            count: settings.nodes,
            world: PushWorld(
                count: UInt32(settings.nodes), fanout: isRounds ? 1 : settings["fanout"], isRounds: isRounds),
            network: network, seed: settings.seed, usesLinks: false)
        var draws = DrawStream(seed: settings.seed, .traffic)
        var (reached, rounds, count) = (0.0, 0.0, 0)
        for number in 0..<settings["messages"] {
            let begin = fleet.now
            let author = PeerIndex(UInt32(draws.below(UInt64(settings.nodes))))
            fleet.schedule(.start(UInt32(number + 1)), for: author, at: begin)
            fleet.run(until: begin + .seconds(isRounds ? 100 : 20))
            var known = 0
            var last = begin
            for (at, _, report) in fleet.takeReports() where report == UInt32(number + 1) {
                known += 1
                last = max(last, at)
            }
            let share = Double(known) / Double(settings.nodes)
            // One that dies out at its author tells nothing of the coverage of those that don't.
            guard share > 0.01 else { continue }
            count += 1
            reached += share
            // The author tells for the first time a second after it knew.
            rounds += ((last - begin).secondsForDisplay).rounded(.down)
            progress.reached(Double(number) / Double(settings["messages"]))
        }
        var result = ScenarioResult()
        result.add(fleet)
        if isRounds {
            // log2 n + ln n
            let nodes = UInt64(settings.nodes)
            let log = Double(FixedPoint.log2(nodes << 32)) / Double(FixedPoint.one)
            let expected = log + log * Double(FixedPoint.naturalLogOfTwo) / Double(FixedPoint.one)
            result.check("rounds until all know", rounds / Double(max(1, count)), expected: expected, tolerance: 2)
        } else {
            let expected = [2: 0.7968, 3: 0.9405, 4: 0.9802, 5: 0.9930, 6: 0.9975, 8: 0.9997][settings["fanout"]]
            if let expected {
                result.check("share reached", reached / Double(max(1, count)), expected: expected, tolerance: 0.003)
            }
        }
        return result
    }
}

extension MeshLab {
    /// Steps of searches and questions to askers; answers are not counted, as in the papers.
    var searchMessages: UInt64 {
        (0..<fleet.count).reduce(0) {
            $0 + fleet.peers[$1].core.stats.queriesSent + fleet.peers[$1].core.stats.walkChecksSent
        }
    }
}

struct PushWorld: Sendable {
    let count: UInt32
    let fanout: Int
    let isRounds: Bool
}

/// Infects others, as the textbooks have it.
struct PushPeer: SimulatedCore {
    enum Command: Sendable {
        case start(UInt32)
    }

    typealias Message = UInt32
    typealias Report = UInt32
    typealias World = PushWorld

    private let own: PeerIndex
    private var draws: DrawStream
    private var newest: UInt32 = 0
    private var sending = 0
    private var unreported = false
    private var roundAt: Instant?
    private var roundsLeft = 0

    init(_ own: PeerIndex, world: PushWorld, seed: UInt64, at now: Instant) {
        self.own = own
        draws = DrawStream(seed: seed)
    }

    mutating func restart(keepsDisk: Bool, world: PushWorld, seed: UInt64, at now: Instant) {
        self = PushPeer(own, world: world, seed: seed, at: now)
    }

    mutating func handle(_ command: Command, world: PushWorld, at now: Instant) {
        switch command {
        case .start(let rumour): learn(rumour, world, now)
        }
    }

    mutating func receive(_ message: consuming UInt32, from peer: PeerIndex, world: PushWorld, at now: Instant) {
        learn(message, world, now)
    }

    private mutating func learn(_ rumour: UInt32, _ world: PushWorld, _ now: Instant) {
        guard rumour > newest else { return }
        newest = rumour
        unreported = true
        guard world.isRounds else {
            sending = world.fanout
            return
        }
        // Tells from the next whole second on.
        let second: Int64 = 1_000_000_000
        roundAt = Instant(nanoseconds: (now.nanoseconds / second + 1) * second)
        roundsLeft = 60
    }

    mutating func linkChanged(_ change: LinkChange, with peer: PeerIndex, world: PushWorld, at now: Instant) {}

    mutating func handleTimeout(world: PushWorld, at now: Instant) {
        guard let due = roundAt, due <= now else { return }
        sending = 1
        roundsLeft -= 1
        roundAt = roundsLeft > 0 ? due + .seconds(1) : nil
    }

    var nextTimeout: Instant? { roundAt }

    mutating func nextStep(world: PushWorld, at now: Instant) -> FleetStep<PushPeer>? {
        if unreported {
            unreported = false
            return .report(newest)
        }
        guard sending > 0 else { return nil }
        sending -= 1
        var target = UInt32(draws.below(UInt64(world.count - 1)))
        if target >= own.value { target += 1 }
        return .send(PeerIndex(target), newest)
    }

    static func byteCount(_ message: borrowing UInt32) -> Int { 16 }
    static func fingerprint(_ message: borrowing UInt32) -> UInt64 { UInt64(copy message) }
    static func isAnswer(_ message: borrowing UInt32) -> Bool { true }
}

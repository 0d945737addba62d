// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiMembership

enum MembershipScenarios {
    static let all: [Scenario] = [mesh, search, swim]

    /// As in the paper's simulations: no probes beside the views, links that fail are told at once.
    static func world(detector: Bool) -> MembershipWorld {
        var configuration = MembershipConfiguration.lab
        configuration.detector.isOn = detector
        return MembershipWorld(configuration: configuration)
    }

    static let mesh = Scenario(
        "mesh", "an overlay of HyParView grows, loses many peers at once, and goes on broadcasting",
        [
            ScenarioParameter("nodes", 1_000, 2...1_000_000, "peers"),
            ScenarioParameter("cycles", 50, 0...100_000, "shuffles of each peer before the failure"),
            ScenarioParameter("failures", 50, 0...99, "peers that fail at once, in percent"),
            ScenarioParameter("warm", 20, 0...100_000, "broadcasts before those that are counted"),
            ScenarioParameter("messages", 100, 1...100_000, "broadcasts after the failure"),
            ScenarioParameter("repair", 1, 0...1, "0: nobody replaces a neighbour after the failure"),
            ScenarioParameter("silent", 0, 0...1, "1: nobody is told that a connection ended"),
            ScenarioParameter("detector", 0, 0...1, "1: neighbours are probed"),
            ScenarioParameter("pause", 1_000, 1...60_000, "milliseconds between two joins; joins that overlap cluster"),
            ScenarioParameter(
                "graft", 3_000, 1...60_000,
                "milliseconds that an announced message is waited for; as long as the longest way or longer"),
            ScenarioParameter("authors", 0, 0...1, "0: random peers broadcast; 1: one before the failure"),
            ScenarioParameter("session", 0, 0...100_000, "mean session in minutes; 0: nobody leaves"),
        ]
    ) { settings, progress in
        var world = world(detector: settings["detector"] == 1)
        world.configuration.tree.graftTimeout = .milliseconds(settings["graft"])
        world.configuration.tree.graftRetryTimeout = .milliseconds(settings["graft"] / 2)
        var lab = MeshLab(nodes: settings.nodes, world: world, seed: settings.seed, network: NetworkModel())
        let cycle = world.configuration.views.shuffleInterval
        lab.join(
            interval: .milliseconds(settings["pause"]),
            settle: .nanoseconds(cycle.saturatedNanoseconds * Int64(settings["cycles"])),
            progress)
        let shape = lab.shape(sources: 100, degree: world.configuration.views.activeMax)
        if settings["session"] > 0 {
            let session = Duration.seconds(settings["session"] * 60)
            let model = ChurnModel(session: .exponential(mean: session), absence: .exponential(mean: session / 3))
            lab.fleet.setChurn(model, permanent: max(1, settings.nodes / 10))
        }
        // Warms the tree.
        let author = settings["authors"] == 1 ? lab.randomAlive() : nil
        lab.broadcast(settings["warm"], by: author, interval: .seconds(2))
        let (payloads, counted) = (lab.payloadsSent, 10)
        lab.broadcast(counted, by: author, interval: .seconds(2))
        lab.run(until: lab.fleet.now + .seconds(5))
        let before = lab.broadcasts.count
        let copies = Double(lab.payloadsSent - payloads) / Double(counted) / Double(max(1, settings.nodes - 1))
        if settings["repair"] == 0 {
            for place in 0..<settings.nodes {
                lab.fleet.schedule(.setRepair(false), for: PeerIndex(UInt32(place)), at: lab.fleet.now)
            }
            lab.run(until: lab.fleet.now + .milliseconds(1))
        }
        lab.fleet.apply(.massDeparture(UInt32(settings["failures"]) * 10_000, isSilent: settings["silent"] == 1))
        let known = lab.knownPart(sources: 20)
        lab.broadcast(settings["messages"], interval: .milliseconds(500))
        lab.run(until: lab.fleet.now + .seconds(20))
        let after = lab.shape(sources: 20, degree: world.configuration.views.activeMax)
        var result = ScenarioResult()
        lab.describe(&result)
        result.add("largest part after the failure", after.largestShare)
        result.add("largest part of those who know of each other", known)
        result.add("mean path before the failure", shape.meanPath)
        result.add("longest path before the failure", Double(shape.longestPath))
        guard settings["session"] == 0 else {
            result.check("reliability", lab.reliability(), atLeast: 0.9)
            return result
        }
        result.check("reliability before the failure", lab.reliability(from: 0, to: before), atLeast: 0.999)
        result.check("payloads per broadcast and peer", copies, atMost: 1.02)
        result.check("links that both ends hold", shape.symmetricShare, atLeast: 0.999)
        result.check("peers with a full active view", shape.fullDegreeShare, atLeast: 0.95)
        result.check("clustering", shape.clustering, atMost: settings.nodes >= 10_000 ? 0.003 : 0.02)
        if settings.nodes == 10_000 {
            result.check("mean path", shape.meanPath, in: 6.1...6.8)
            result.check("longest path", Double(shape.longestPath), atMost: 11)
        }
        let bound = [80: 0.97, 90: 0.9, 95: 0.75][settings["failures"]] ?? (settings["failures"] <= 70 ? 0.99 : 0.7)
        result.check("reliability after the failure", lab.reliability(from: before), atLeast: bound)
        return result
    }

    static let search = Scenario(
        "search", "questions to an unstructured overlay, by flood or by walkers",
        [
            ScenarioParameter("nodes", 1_000, 2...1_000_000, "peers"),
            ScenarioParameter("holders", 10, 1...1_000, "peers that have what is looked for, in a thousand"),
            ScenarioParameter("queries", 100, 1...100_000, "searches"),
            ScenarioParameter("walkers", 32, 0...64, "walkers of a search; 0: floods"),
            ScenarioParameter("ttl", 7, 1...255, "how far a flood goes; walkers go up to 255 steps"),
        ]
    ) { settings, progress in
        var world = world(detector: false)
        var draws = DrawStream(seed: settings.seed, .placement)
        let wanted = max(1, settings.nodes * settings["holders"] / 1_000)
        while world.holders.count < wanted {
            world.holders.insert(PeerIndex(UInt32(draws.below(UInt64(settings.nodes)))))
        }
        var lab = MeshLab(nodes: settings.nodes, world: world, seed: settings.seed, network: NetworkModel())
        lab.join(interval: .milliseconds(50), settle: .seconds(300), progress)
        lab.keepsEvents = true
        let sentBefore = lab.queriesSent
        for number in 0..<settings["queries"] {
            guard let asker = lab.randomAlive() else { break }
            let isFlood = settings["walkers"] == 0
            let plan = SearchPlan(
                kind: isFlood ? .flood : .walk, timeToLive: isFlood ? UInt8(settings["ttl"]) : 255,
                walkers: max(1, settings["walkers"]))
            lab.fleet.schedule(
                .handle(
                    .searchRequested(
                        RequestID(UInt64(number)), .init(bytes: [7]), plan, deadline: lab.fleet.now + .seconds(60))),
                for: asker, at: lab.fleet.now)
            lab.run(until: lab.fleet.now + .seconds(1))
            progress.reached(0.6 + 0.4 * Double(number) / Double(settings["queries"]))
        }
        lab.run(until: lab.fleet.now + .seconds(70))
        var (finished, successful) = (0, 0)
        for case (_, _, .searchFinished(_, let hits)) in lab.events {
            finished += 1
            if hits > 0 { successful += 1 }
        }
        var result = ScenarioResult()
        lab.describe(&result)
        result.add("queries sent per search", Double(lab.queriesSent - sentBefore) / Double(settings["queries"]))
        result.check("searches ended", Double(finished), expected: Double(settings["queries"]), tolerance: 0)
        result.check("searches with a hit", Double(successful) / Double(max(1, finished)), atLeast: 0.95)
        return result
    }

    static let swim = Scenario(
        "swim", "members of a group crash; how many periods pass until one of the others notices",
        [
            ScenarioParameter("nodes", 100, 4...100_000, "members"),
            ScenarioParameter("crashes", 50, 1...100_000, "crashes, one after the other"),
            ScenarioParameter("interval", 2, 1...3_600, "seconds of a period"),
            ScenarioParameter("probing", 1, 0...1, "0: nobody probes"),
        ]
    ) { settings, progress in
        var configuration = MembershipConfiguration.lab
        configuration.transport = .datagrams
        configuration.detector.scope = .members
        configuration.detector.arm = .suspicion
        configuration.detector.isOn = settings["probing"] == 1
        configuration.detector.probeInterval = .seconds(settings["interval"])
        configuration.detector.probeTimeout = .milliseconds(Int64(settings["interval"]) * 300)
        configuration.detector.indirectTimeout = .milliseconds(Int64(settings["interval"]) * 300)
        configuration.detector.membersAtStart = UInt32(settings.nodes)
        configuration.detector.isStartJittered = false
        var network = NetworkModel()
        network.latency = .uniform(.milliseconds(1), .milliseconds(20))
        var lab = MeshLab(
            nodes: settings.nodes, world: MembershipWorld(configuration: configuration), seed: settings.seed,
            network: network, usesLinks: false)
        lab.keepsEvents = true
        var draws = DrawStream(seed: settings.seed, .placement)
        var periods = Histogram()
        let interval = Duration.seconds(settings["interval"])
        var missed = 0
        var last: PeerIndex?
        for number in 0..<settings["crashes"] {
            // Just before a period begins.
            let begin = Instant.zero + .nanoseconds(interval.saturatedNanoseconds * Int64(5 + number * 20))
            lab.run(until: begin + .milliseconds(-1))
            var victim = PeerIndex(UInt32(draws.below(UInt64(settings.nodes))))
            // One that came back a moment ago is not known to all again.
            while !lab.fleet.isAlive(victim) || victim == last {
                victim = PeerIndex(UInt32(draws.below(UInt64(settings.nodes))))
            }
            last = victim
            lab.fleet.apply(.crash(victim, isSilent: true))
            let seen = lab.events.count
            lab.run(until: begin + .nanoseconds(interval.saturatedNanoseconds * 19))
            let first = lab.events[seen...].first { $0.event == .stateChanged(victim, .suspect) }
            if let first {
                // The probe of period p is known to have failed when p ends: as many periods have passed as the paper counts.
                periods.add(UInt64((first.at - begin).saturatedNanoseconds / interval.saturatedNanoseconds))
            } else {
                missed += 1
            }
            lab.fleet.apply(.restart(victim, keepsDisk: false))
            progress.reached(Double(number) / Double(settings["crashes"]))
        }
        var result = ScenarioResult()
        lab.describe(&result)
        let seconds = max(1, (lab.fleet.now - Instant.zero).secondsForDisplay)
        result.add(
            "messages per member and period",
            Double(lab.fleet.counts.sent) / Double(settings.nodes) / seconds * Double(settings["interval"]))
        result.check("crashes nobody noticed", Double(missed), expected: 0, tolerance: 0)
        // e / (e - 1) = 1.582; three deviations of a mean of 50 geometric lots are 0.41.
        let tolerance = max(0.15, 2.9 / Double(settings["crashes"]).squareRoot())
        result.check("periods until the first notices, mean", periods.mean, expected: 1.582, tolerance: tolerance)
        return result
    }
}

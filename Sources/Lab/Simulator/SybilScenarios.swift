// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiKademlia

/// Lookups among peers that are dead, swallow what they are asked, or sit around a key.
enum SybilScenarios {
    static let all: [Scenario] = [skademlia, censor, deadContacts, publish]

    private static let nodes = ScenarioParameter("nodes", 1_000, 2...1_000_000, "peers")
    private static let lookups = ScenarioParameter("lookups", 500, 1...10_000_000, "lookups in all")
    private static let k = ScenarioParameter("k", 20, 1...20, "peers in a bucket and in an answer")

    private static func options(_ settings: ScenarioSettings) -> KademliaLab.Options {
        var options = KademliaLab.Options()
        options.nodes = settings.nodes
        options.seed = settings.seed
        return options
    }

    // MARK: Disjoint paths

    /// Greedy single-file paths, from a model that shares no code: by paths and percent of adversaries.
    private static func expectedOfPaths(_ paths: Int, _ evil: Int) -> Double? {
        let rows: [Int: [Int: Double]] = [
            1: [10: 0.81, 20: 0.58, 30: 0.41, 50: 0.21],
            2: [10: 0.95, 20: 0.80, 30: 0.62, 50: 0.33],
            4: [10: 0.995, 20: 0.965, 30: 0.86, 50: 0.56],
            8: [10: 1, 20: 0.99, 30: 0.97, 50: 0.73],
        ]
        return rows[paths]?[evil]
    }

    static let skademlia = Scenario(
        "skademlia", "lookups over disjoint paths while adversaries swallow what they are asked",
        [
            nodes, lookups, ScenarioParameter("evil", 20, 0...90, "adversaries, in percent"),
            ScenarioParameter("paths", 8, 1...8, "disjoint paths of a lookup"),
            ScenarioParameter("k", 16, 1...20, "peers in a bucket and in an answer"),
        ]
    ) { settings, progress in
        var options = options(settings)
        options.swallowing = UInt32(settings["evil"]) * 10_000
        options.configuration.paths = settings["paths"]
        options.configuration.alpha = max(3, settings["paths"])
        options.configuration.k = settings["k"]
        var lab = KademliaLab(options)
        lab.look(settings["lookups"], over: .seconds(60), origins: settings.nodes)
        lab.run(until: lab.fleet.now + .seconds(200), progress)
        var result = ScenarioResult()
        lab.describe(&result)
        result.check(
            "each lookup finished once", Double(lab.outcomes.finished), expected: Double(lab.outcomes.asked),
            tolerance: 0)
        if let expected = expectedOfPaths(settings["paths"], settings["evil"]) {
            result.check("nearest found", lab.outcomes.foundShare, atLeast: expected - 0.03)
        }
        return result
    }

    // MARK: A key with sybils around it

    static let censor = Scenario(
        "censor", "sybils closer to a key than anybody else swallow what is stored there",
        [
            nodes, ScenarioParameter("sybils", 45, 1...1_000, "ids of the attacker next to the key"),
            ScenarioParameter("keys", 5, 1...1_000, "keys, each in a network of its own"),
            ScenarioParameter("lookups", 100, 1...100_000, "lookups of each key"),
            ScenarioParameter("mitigation", 1, 0...1, "0: nobody minds how dense the peers stand"),
        ]
    ) { settings, progress in
        var (asked, found, dense) = (0, 0, 0)
        var result = ScenarioResult()
        for number in 0..<settings["keys"] {
            let seed = settings.seed &+ UInt64(number) &* 15_485_863
            var draws = DrawStream(seed: seed, .placement)
            let target = KademliaKey(Bytes32(words: (draws.next(), draws.next(), draws.next(), draws.next())))
            var fleet = censored(settings, seed: seed, target, &draws)
            // What they know of the size of the network comes from lookups, as refreshes are: four by each.
            for lookup in 0..<(4 * settings.nodes) {
                let key = KademliaKey(Bytes32(words: (draws.next(), draws.next(), draws.next(), draws.next())))
                let asker = PeerIndex(UInt32(lookup % settings.nodes))
                let goal = KademliaGoal.closest(KademliaTarget(key: key))
                let deadline = fleet.now + .seconds(120)
                fleet.schedule(
                    .handle(.lookupRequested(RequestID(0), goal, deadline: deadline)), for: asker, at: fleet.now)
                fleet.run(until: fleet.now + .milliseconds(2))
            }
            fleet.run(until: fleet.now + .seconds(60))
            _ = fleet.takeReports()
            let provider = PeerIndex(UInt32(draws.below(UInt64(settings.nodes))))
            let wanted = KademliaTarget(key: target)
            fleet.schedule(
                .handle(.provideRequested(RequestID(0), wanted, deadline: fleet.now + .seconds(120))), for: provider,
                at: fleet.now)
            fleet.run(until: fleet.now + .seconds(120))
            _ = fleet.takeReports()
            for lookup in 1...settings["lookups"] {
                let asker = PeerIndex(UInt32(draws.below(UInt64(settings.nodes))))
                fleet.schedule(
                    .handle(
                        .lookupRequested(
                            RequestID(UInt64(lookup)), .providers(wanted, countMax: 1),
                            deadline: fleet.now + .seconds(120))),
                    for: asker, at: fleet.now)
                fleet.run(until: fleet.now + .milliseconds(200))
            }
            fleet.run(until: fleet.now + .seconds(120))
            asked += settings["lookups"]
            for (_, _, report) in fleet.takeReports() where report.request.value > 0 {
                if report.outcome.providers.contains(provider) { found += 1 }
                if report.outcome.isDense { dense += 1 }
            }
            if number == 0 { result.add(fleet) }
            progress.reached(Double(number) / Double(settings["keys"]))
        }
        result.add("lookups that saw how dense the peers stand", Double(dense) / Double(max(1, asked)))
        result.check("provider found", Double(found) / Double(max(1, asked)), atLeast: 0.95)
        return result
    }

    private static func censored(
        _ settings: ScenarioSettings, seed: UInt64, _ target: KademliaKey, _ draws: inout DrawStream
    ) -> Fleet<KademliaPeer> {
        let (nodes, total) = (settings.nodes, settings.nodes + settings["sybils"])
        let derived = Keyspace(derivedFrom: seed)
        var list = (0..<nodes).map { derived.key(of: PeerIndex(UInt32($0))).bytes }
        // They share 40 bits with the key.
        for _ in nodes..<total {
            list.append(Bytes32(words: (target.word ^ draws.below(1 << 24), draws.next(), draws.next(), draws.next())))
        }
        let keys = Keyspace(list)
        var configuration = KademliaConfiguration.lab
        configuration.isSybilMitigationOn = settings["mitigation"] == 1
        var world = KademliaWorld(keys: keys, configuration: configuration)
        world.bootstrap = [PeerIndex(0)]
        world.sybilsFrom = UInt32(nodes)
        // Each id has an address of its own.
        world.sybilGroups = UInt32(settings["sybils"])
        world.sybils = KademliaTables((nodes..<total).map { PeerIndex(UInt32($0)) }, keys: keys)
        var fleet = Fleet<KademliaPeer>(
            count: total, world: world, network: NetworkModel(), seed: seed, usesLinks: false)
        let everybody = KademliaTables((0..<total).map { PeerIndex(UInt32($0)) }, keys: keys)
        var table: [PeerIndex] = []
        for place in 0..<nodes {
            let peer = PeerIndex(UInt32(place))
            var lots = DrawStream(seed: seed, peer: peer, .tables)
            everybody.sample(peer, key: keys.key(of: peer), k: configuration.k, draws: &lots, into: &table)
            fleet.update(peer) { core, world, _ in core.load(table, world: world) }
        }
        for place in nodes..<total { fleet.update(PeerIndex(UInt32(place))) { _, _, _ in } }
        return fleet
    }

    // MARK: Dead contacts

    static let deadContacts = Scenario(
        "dead-contacts", "how long lookups take when tables name many peers that are dead",
        [
            nodes, lookups, ScenarioParameter("dead", 30, 0...95, "peers dead but still in tables, in percent"),
            ScenarioParameter("adaptive", 1, 0...1, "0: a call is waited for until it counts as dead"),
            ScenarioParameter("alpha", 3, 1...20, "calls at once"),
        ]
    ) { settings, progress in
        var options = options(settings)
        options.network.latency = .fixed(.milliseconds(50))
        options.network.jitter = 0
        options.configuration.callTimeout = .seconds(5)
        options.configuration.alpha = settings["alpha"]
        if settings["adaptive"] == 0 {
            options.configuration.overtakeMin = .seconds(5)
            options.configuration.overtakeInitial = .seconds(5)
        }
        var lab = KademliaLab(options)
        lab.fleet.apply(.massDeparture(UInt32(settings["dead"]) * 10_000, isSilent: true))
        lab.look(settings["lookups"], over: .seconds(60), origins: settings.nodes)
        lab.run(until: lab.fleet.now + .seconds(200), progress)
        var result = ScenarioResult()
        lab.describe(&result)
        let median = Double(lab.outcomes.latency.percentile(partsPerThousand: 500)) / 1e9
        // Three round trips of 0.1 s and one time-out.
        result.check("lookups p50, s", median, atMost: 5.3)
        result.check("nearest found", lab.outcomes.foundShare, atLeast: 0.99)
        return result
    }

    // MARK: Publishing

    private static func publish(
        _ settings: ScenarioSettings, dead: Int, slow: Int, isPlain: Bool, isOptimistic: Bool,
        _ result: inout ScenarioResult
    ) -> Histogram {
        var options = options(settings)
        options.configuration.alpha = 10
        // Later than any dial is given up.
        options.configuration.callTimeout = .seconds(20)
        options.configuration.isProvideOptimistic = isOptimistic
        if isPlain {
            options.configuration.overtakeMin = .seconds(20)
            options.configuration.overtakeInitial = .seconds(20)
            options.configuration.overtakeMax = .seconds(20)
        }
        options.undialable = UInt32(dead) * 10_000
        options.slowDials = UInt32(slow) * 10_000
        var lab = KademliaLab(options)
        var draws = DrawStream(seed: settings.seed, .traffic)
        var begins: [Instant] = []
        for number in 0..<settings["lookups"] {
            var author = PeerIndex(UInt32(draws.below(UInt64(settings.nodes))))
            while !lab.fleet.peers[Int(author.value)].isHonest {
                author = PeerIndex(UInt32(draws.below(UInt64(settings.nodes))))
            }
            let key = KademliaKey(Bytes32(words: (draws.next(), draws.next(), draws.next(), draws.next())))
            begins.append(lab.fleet.now)
            lab.fleet.schedule(
                .handle(
                    .provideRequested(
                        RequestID(UInt64(number)), KademliaTarget(key: key), deadline: lab.fleet.now + .seconds(300))),
                for: author, at: lab.fleet.now)
            lab.fleet.run(until: lab.fleet.now + .milliseconds(200))
        }
        lab.fleet.run(until: lab.fleet.now + .seconds(310))
        var times = Histogram()
        for (at, _, report) in lab.fleet.takeReports() where report.outcome.storedCount > 0 {
            let number = Int(truncatingIfNeeded: report.request.value)
            if begins.indices.contains(number) { times.add(UInt64((at - begins[number]).saturatedNanoseconds)) }
        }
        if result.digest == 0 { result.add(lab.fleet) }
        return times
    }

    static let publish = Scenario(
        "publish", "how long it takes to publish a provider record, in IPFS as of 2021 and as of today, and here",
        [
            nodes, ScenarioParameter("lookups", 100, 1...100_000, "records published"),
            ScenarioParameter("then", 45, 0...95, "peers dead but still in tables in 2021, in percent"),
            ScenarioParameter("now", 12, 0...95, "the same today"),
            ScenarioParameter(
                "slow", 30, 0...100, "dead peers that 2021's dialler gave up after 15 s (QUIC), not 5, in percent"),
            ScenarioParameter("ours", 1, 0...1, "0: our way of publishing is as today's"),
        ]
    ) { settings, progress in
        var result = ScenarioResult()
        let then = publish(
            settings, dead: settings["then"], slow: settings["slow"], isPlain: true, isOptimistic: false, &result)
        progress.reached(0.33)
        let now = publish(settings, dead: settings["now"], slow: 0, isPlain: true, isOptimistic: false, &result)
        progress.reached(0.67)
        let isOurs = settings["ours"] == 1
        let ours = publish(settings, dead: settings["now"], slow: 0, isPlain: !isOurs, isOptimistic: isOurs, &result)
        func median(_ histogram: Histogram) -> Double { Double(histogram.percentile(partsPerThousand: 500)) / 1e9 }
        result.add(latency: then, of: "publishing, 2021")
        result.add(latency: now, of: "publishing, today")
        result.add(latency: ours, of: "publishing, ours")
        result.check("publish p50 in 2021, s", median(then), in: 15...60)
        result.check("publish p50 today, s", median(now), in: 3...10)
        result.check("publish p50 of 2021 to today", median(then) / max(0.001, median(now)), atLeast: 4)
        result.check("publish p50 ours, s", median(ours), in: 0.01...2)
        return result
    }
}

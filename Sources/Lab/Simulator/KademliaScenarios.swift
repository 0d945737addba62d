// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiKademlia

enum KademliaScenarios {
    static let all: [Scenario] = [kademlia, churn, partition, eclipse, disjoint, idle]

    private static let nodes = ScenarioParameter("nodes", 1_000, 2...1_000_000, "peers")
    private static let lookups = ScenarioParameter("lookups", 1_000, 1...10_000_000, "lookups in all")
    private static let loss = ScenarioParameter("loss", 0, 0...100, "messages lost, in percent")

    /// Published by an independent model of ideal tables, k = 20, alpha = 3: depth and calls by number of peers.
    static func expectedOfIdealTables(_ nodes: Int) -> (depth: Double, calls: Double)? {
        switch nodes {
        case 1_000: (1.91, 21.5)
        case 10_000: (2.40, 22.8)
        case 100_000: (2.93, 24.6)
        case 1_000_000: (3.39, 25.9)
        default: nil
        }
    }

    private static func options(_ settings: ScenarioSettings) -> KademliaLab.Options {
        var options = KademliaLab.Options()
        options.nodes = settings.nodes
        options.seed = settings.seed
        options.network.loss = UInt32(settings["loss"]) * 10_000
        return options
    }

    // MARK: Lookups

    static let kademlia = Scenario(
        "kademlia", "lookups in a settled network, or in one that peers joined one by one",
        [
            nodes, lookups, loss, ScenarioParameter("seconds", 60, 1...100_000, "simulated time in which they begin"),
            ScenarioParameter("dead", 0, 0...95, "peers dead but still in tables, in percent"),
            ScenarioParameter("alpha", 3, 1...20, "calls at once"),
            ScenarioParameter("k", 20, 1...20, "peers in a bucket and in an answer"),
            ScenarioParameter("join", 0, 0...1, "1: peers join one by one instead of starting settled"),
        ]
    ) { settings, progress in
        var options = options(settings)
        options.configuration.alpha = settings["alpha"]
        options.configuration.k = settings["k"]
        options.isLoaded = settings["join"] == 0
        var lab = KademliaLab(options)
        if settings["join"] == 1 { lab.run(until: lab.fleet.now + .seconds(120), progress, share: 0...0.5) }
        if settings["dead"] > 0 { lab.fleet.apply(.massDeparture(UInt32(settings["dead"]) * 10_000, isSilent: true)) }
        lab.look(settings["lookups"], over: .seconds(settings["seconds"]), origins: settings.nodes)
        lab.run(until: lab.fleet.now + .seconds(settings["seconds"] + 120), progress)
        var result = ScenarioResult()
        lab.describe(&result)
        result.check(
            "each lookup finished once", Double(lab.outcomes.finished), expected: Double(lab.outcomes.asked),
            tolerance: 0)
        if settings["dead"] <= 70, settings["loss"] == 0 {
            result.check("nearest found", lab.outcomes.foundShare, atLeast: 0.99)
        }
        if let ideal = expectedOfIdealTables(settings.nodes), settings["dead"] == 0, settings["loss"] == 0 {
            result.check("depth", lab.outcomes.depth.mean, in: (ideal.depth * 0.9)...(ideal.depth * 1.15))
            result.check("calls per lookup", lab.outcomes.calls.mean, atMost: ideal.calls * 1.3)
        }
        if let calls = [10: 25.0, 30: 33, 50: 45, 70: 78, 90: 142][settings["dead"]], settings.nodes == 10_000 {
            result.check("calls per lookup", lab.outcomes.calls.mean, atMost: calls * 1.3)
        }
        return result
    }

    static let disjoint = Scenario(
        "disjoint", "lookups over disjoint paths while some peers swallow what they are asked",
        [
            nodes, lookups, ScenarioParameter("evil", 20, 0...90, "peers that never answer, in percent"),
            ScenarioParameter("paths", 8, 1...8, "disjoint paths of a lookup"),
        ]
    ) { settings, progress in
        var options = options(settings)
        options.swallowing = UInt32(settings["evil"]) * 10_000
        options.configuration.paths = settings["paths"]
        options.configuration.alpha = max(3, settings["paths"])
        var lab = KademliaLab(options)
        lab.look(settings["lookups"], over: .seconds(60), origins: settings.nodes)
        lab.run(until: lab.fleet.now + .seconds(200), progress)
        var result = ScenarioResult()
        lab.describe(&result)
        let expected = [10: 1.0, 20: 0.99, 30: 0.97, 50: 0.73][settings["evil"]]
        if let expected, settings["paths"] == 8 {
            result.check("nearest found", lab.outcomes.foundShare, atLeast: expected - 0.03)
        }
        return result
    }

    // MARK: Faults

    static let churn = Scenario(
        "churn", "lookups while peers come and go",
        [
            nodes, lookups, loss, ScenarioParameter("seconds", 1_800, 60...1_000_000, "simulated time"),
            ScenarioParameter("session", 30, 1...100_000, "mean or median session, in minutes"),
            ScenarioParameter("model", 0, 0...3, "0 exponential, 1 Pareto, 2 Weibull, 3 BitTorrent's Mainline"),
        ]
    ) { settings, progress in
        var lab = KademliaLab(options(settings))
        let session = Duration.seconds(settings["session"] * 60)
        let shape: ChurnModel.Shape =
            switch settings["model"] {
            case 1: .pareto(scale: session / 2, shape: 2_000)
            case 2: .weibull(scale: session, shape: 600)
            case 3: .mainline
            default: .exponential(mean: session)
            }
        let permanent = max(1, settings.nodes / 10)
        lab.fleet.setChurn(ChurnModel(session: shape, absence: .exponential(mean: session / 3)), permanent: permanent)
        lab.look(settings["lookups"], over: .seconds(settings["seconds"]), origins: permanent)
        lab.run(until: lab.fleet.now + .seconds(settings["seconds"] + 120), progress)
        var result = ScenarioResult()
        lab.describe(&result)
        result.add("peers alive at the end", Double(lab.fleet.aliveCount))
        result.check(
            "each lookup finished once", Double(lab.outcomes.finished), expected: Double(lab.outcomes.asked),
            tolerance: 0)
        result.check("nearest found", lab.outcomes.foundShare, atLeast: 0.95)
        return result
    }

    static let partition = Scenario(
        "partition", "a network in two halves grows together again",
        [
            nodes, lookups, ScenarioParameter("seconds", 600, 1...100_000, "length of the partition"),
            ScenarioParameter("oneway", 0, 0...1, "1: one half hears the other"),
        ]
    ) { settings, progress in
        var lab = KademliaLab(options(settings))
        lab.fleet.apply(
            .partition(first: UInt32(settings.nodes / 2), rotation: 0, oneWay: settings["oneway"] == 1))
        lab.run(until: lab.fleet.now + .seconds(settings["seconds"]), progress, share: 0...0.5)
        lab.fleet.apply(.healPartition)
        lab.run(until: lab.fleet.now + .seconds(600), progress, share: 0.5...0.8)
        lab.look(settings["lookups"], over: .seconds(60), origins: settings.nodes)
        lab.run(until: lab.fleet.now + .seconds(200), progress, share: 0.8...1)
        var result = ScenarioResult()
        lab.describe(&result)
        result.check("nearest found after the healing", lab.outcomes.foundShare, atLeast: 0.99)
        return result
    }

    static let eclipse = Scenario(
        "eclipse", "an attacker with any number of ids in a few address groups wants to fill tables",
        [
            nodes, lookups, ScenarioParameter("sybils", 4_000, 1...100_000, "ids of the attacker"),
            ScenarioParameter("seconds", 3_600, 60...1_000_000, "simulated time of the attack"),
            ScenarioParameter("caps", 1, 0...1, "0: tables don't mind how many come from one address group"),
        ]
    ) { settings, progress in
        var options = options(settings)
        options.sybils = settings["sybils"]
        // Whoever answers was identified, with its address group, when it was dialled.
        options.configuration.areAnswerersAdded = false
        if settings["caps"] == 1 {
            options.configuration.limits.groupPerBucketMax = KademliaLimits().groupPerBucketMax
            options.configuration.limits.groupPerTableMax = KademliaLimits().groupPerTableMax
        }
        var lab = KademliaLab(options)
        lab.run(until: lab.fleet.now + .seconds(settings["seconds"]), progress, share: 0...0.8)
        lab.look(settings["lookups"], over: .seconds(60), origins: settings.nodes)
        lab.run(until: lab.fleet.now + .seconds(200), progress, share: 0.8...1)
        var (most, all, entries) = (0, 0, 0)
        for place in 0..<settings.nodes {
            let table = lab.fleet.peers[place].core.snapshot()
            let held = table.reduce(0) { $0 + ($1.value >= UInt32(settings.nodes) ? 1 : 0) }
            most = max(most, held)
            all += held
            entries += table.count
        }
        var result = ScenarioResult()
        lab.describe(&result)
        result.add("share of all table entries that are the attacker's", Double(all) / Double(max(1, entries)))
        result.check("entries of the attacker in any one table", Double(most), atMost: 9)
        result.check("nearest honest peer found", lab.outcomes.foundShare, atLeast: 0.99)
        return result
    }

    // MARK: Size

    static let idle = Scenario(
        "idle", "a large network that does nothing but keep itself alive",
        [
            ScenarioParameter("nodes", 10_000, 2...4_000_000, "peers"),
            ScenarioParameter("seconds", 3_600, 1...1_000_000, "simulated time"),
            ScenarioParameter("check", 57, 1...100_000, "seconds between two checks of a contact"),
        ]
    ) { settings, progress in
        var options = options(settings)
        options.configuration.checkInterval = .seconds(settings["check"])
        options.configuration.contestedCheckInterval = .seconds(settings["check"])
        options.configuration.refreshInterval = .zero
        var lab = KademliaLab(options)
        lab.run(until: lab.fleet.now + .seconds(settings["seconds"]), progress)
        var result = ScenarioResult()
        lab.describe(&result)
        result.add("timers that no longer counted", Double(lab.fleet.counts.staleTimers))
        result.check(
            "events per peer and second",
            Double(lab.fleet.events) / Double(settings.nodes) / Double(settings["seconds"]),
            atLeast: 2.85 / Double(settings["check"]))
        return result
    }
}

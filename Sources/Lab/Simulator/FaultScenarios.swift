// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiGossip
import TuttiKademlia
import TuttiMembership

/// All that can go wrong, drawn from the seed, for each protocol in turn. While it goes wrong nothing may break a rule;
/// afterwards everything is healed and must work.
enum FaultScenarios {
    static let all: [Scenario] = [faults]

    /// A part left out on purpose, to show that a checker misses it.
    enum Planted: Int {
        case nothing = 0
        /// Kademlia: nobody fills a table or looks after it, whoever has lost its own knows nobody to begin with.
        case noUpkeep = 1
        /// Gossip: no heartbeat, so no mesh is repaired and nothing is advertised.
        case noHeartbeat = 2
        /// Gossip: forgets soon what it has seen.
        case noMemory = 3
        /// Membership: nobody replaces a neighbour.
        case noRepair = 4
        /// Gossip: nobody is judged by its conduct.
        case noScoring = 5
    }

    static let faults = Scenario(
        "faults", "the whole menu of faults, drawn from the seed; then all is healed and must work",
        [
            ScenarioParameter("nodes", 50, 8...100_000, "peers of each protocol"),
            ScenarioParameter("lookups", 100, 1...1_000_000, "lookups during the faults, and again after them"),
            ScenarioParameter("seconds", 120, 10...100_000, "simulated time with faults"),
            ScenarioParameter("protocol", 0, 0...3, "0 all, 1 Kademlia, 2 gossip, 3 membership"),
            ScenarioParameter(
                "planted", 0, 0...5,
                "left out on purpose: 1 upkeep of tables, 2 heartbeat, 3 memory of messages, 4 repair, 5 scores"),
        ]
    ) { settings, progress in
        let only = settings["protocol"]
        let planted = Planted(rawValue: settings["planted"]) ?? .nothing
        let course = FaultCourse(settings)
        var parts: [(name: String, result: ScenarioResult)] = []
        if only == 0 || only == 1 { parts.append(("Kademlia", kademlia(course, settings, planted))) }
        progress.reached(0.3)
        if only == 0 || only == 2 { parts.append(("gossip", gossip(course, planted))) }
        progress.reached(0.6)
        if only == 0 || only == 3 { parts.append(("membership", membership(course, planted))) }
        var (whole, digest) = (ScenarioResult(), EventDigest())
        whole.model = [course.menu.summary, course.summary]
        for (name, part) in parts {
            digest.mix(part.digest)
            whole.events += part.events
            whole.simulatedSeconds += part.simulatedSeconds
            whole.model += part.model
            whole.metrics += part.metrics.map { .init(name: "\(name): \($0.name)", value: $0.value, unit: $0.unit) }
            whole.checks += part.checks.map {
                .init(
                    name: "\(name): \($0.name)", expected: $0.expected, got: $0.got, tolerance: $0.tolerance,
                    holds: $0.holds)
            }
        }
        whole.digest = digest.value
        return whole
    }

    // MARK: Kademlia

    private static func kademlia(
        _ course: FaultCourse, _ settings: ScenarioSettings, _ planted: Planted
    ) -> ScenarioResult {
        var options = KademliaLab.Options()
        options.nodes = course.nodes
        options.seed = course.seed
        options.network = course.network
        if planted == .noUpkeep {
            options.configuration.joinDelay = .seconds(1_000_000)
            options.configuration.checkInterval = .seconds(1_000_000)
            options.configuration.contestedCheckInterval = .seconds(1_000_000)
            options.configuration.refreshInterval = .zero
        }
        var lab = KademliaLab(options)
        if planted == .noUpkeep { lab.fleet.world.bootstrap = [] }
        let limits = options.configuration.limits
        let tableMax = options.configuration.k * RoutingTable.bucketsMax
        var broken = 0
        func inspect(_ lab: borrowing KademliaLab) {
            for place in 0..<course.nodes where lab.fleet.isAlive(PeerIndex(UInt32(place))) {
                let core = lab.fleet.peers[place].core
                let table = core.snapshot()
                if table.contains(core.own) || table.count > tableMax || Set(table).count != table.count
                    || core.operationCount > limits.operationsMax || core.callCount > limits.callsMax
                {
                    broken += 1
                }
            }
        }
        lab.look(settings["lookups"], over: .seconds(course.seconds), origins: course.nodes)
        for (at, action) in course.events {
            if at > lab.fleet.now { lab.run(until: at, .none) }
            lab.fleet.apply(action)
            if course.isWatched(action) { inspect(lab) }
        }
        lab.run(until: lab.fleet.now + .seconds(600), .none)
        let during = lab.outcomes
        let named = lab.nearestNamed(count: 8)
        lab.look(settings["lookups"], over: .seconds(60), origins: course.nodes)
        lab.run(until: lab.fleet.now + .seconds(200), .none)
        inspect(lab)
        var result = ScenarioResult()
        lab.describe(&result)
        let (after, asked) = (lab.outcomes.finished - during.finished, lab.outcomes.asked - during.asked)
        result.check("tables or queues out of bounds, or with oneself", Double(broken), expected: 0, tolerance: 0)
        result.check("lookups that ended twice", Double(lab.outcomes.repeated), expected: 0, tolerance: 0)
        // Who came back last may not have been heard of by all; without upkeep it is 0.6 to 0.9.
        result.check("nearest peers that tables name after the healing", named, atLeast: 0.95)
        result.check("lookups ended after the healing", Double(after), expected: Double(asked), tolerance: 0)
        result.check(
            "nearest found after the healing", Double(lab.outcomes.found - during.found) / Double(max(1, after)),
            atLeast: 0.99)
        return result
    }

    // MARK: Gossip

    private static func gossip(_ course: FaultCourse, _ planted: Planted) -> ScenarioResult {
        var configuration = GossipConfiguration(author: [0])
        switch planted {
        case .noHeartbeat: configuration.mesh.heartbeatInitialDelay = .seconds(1_000_000)
        case .noMemory:
            configuration.mesh.seenLifetime = .seconds(5)
            configuration.limits.authorsMax = 1
        case .noScoring: configuration.score.isEnabled = false
        default: break
        }
        var world = GossipWorld(configuration: configuration, topic: "lab")
        world.sybilsFrom = UInt32(course.nodes)
        world.attack = .flood
        var run = GossipFaultRun(course, world, floodingCount: max(1, course.nodes / 25))
        run.run(until: run.fleet.now + .seconds(5))
        for (at, action) in course.events {
            if at > run.fleet.now { run.run(until: at) }
            run.fleet.apply(action)
        }
        run.heal()
        run.run(until: run.fleet.now + .seconds(120))
        let first = run.messages.count
        for _ in 0..<20 {
            run.publish()
            run.run(until: run.fleet.now + .milliseconds(500))
        }
        run.run(until: run.fleet.now + .seconds(30))
        let meshes = run.meshes()
        var result = ScenarioResult()
        result.add(run.fleet)
        result.add("messages published during the faults", Double(first))
        result.add("delivered during the faults", run.deliveredShare(0..<first))
        result.check("messages given to an application twice", Double(run.repeated), expected: 0, tolerance: 0)
        result.check("meshes out of bounds, or with oneself", Double(run.broken), expected: 0, tolerance: 0)
        result.check("meshes too small after the healing", Double(meshes.small), expected: 0, tolerance: 0)
        result.check("flooding peers in meshes after the healing", Double(meshes.flooding), expected: 0, tolerance: 0)
        result.check(
            "delivered after the healing", run.deliveredShare(first..<run.messages.count), expected: 1, tolerance: 0)
        return result
    }

    // MARK: Membership

    private static func membership(_ course: FaultCourse, _ planted: Planted) -> ScenarioResult {
        let world = MembershipScenarios.world(detector: true)
        let views = world.configuration.views
        var lab = MeshLab(nodes: course.nodes, world: world, seed: course.seed, network: NetworkModel())
        lab.join(interval: .milliseconds(50), settle: .seconds(60), .none)
        lab.fleet.network = course.network
        let offset = lab.fleet.now - course.start
        var broken = 0
        func inspect(_ lab: borrowing MeshLab) {
            for place in 0..<course.nodes where lab.fleet.isAlive(PeerIndex(UInt32(place))) {
                let peer = PeerIndex(UInt32(place))
                let held = lab.fleet.peers[place].core.snapshot
                let all = held.active + held.passive
                if held.active.count > views.activeMax || held.passive.count > views.passiveMax || all.contains(peer)
                    || Set(all).count != all.count
                {
                    broken += 1
                }
            }
        }
        if planted == .noRepair {
            for place in 0..<course.nodes {
                lab.fleet.schedule(.setRepair(false), for: PeerIndex(UInt32(place)), at: lab.fleet.now)
            }
        }
        var nextBroadcast = lab.fleet.now
        for (at, action) in course.events {
            let at = at + offset
            if at > lab.fleet.now { lab.run(until: at) }
            lab.fleet.apply(action)
            if course.isWatched(action) { inspect(lab) }
            if lab.fleet.now >= nextBroadcast {
                lab.broadcast(1, interval: .milliseconds(1))
                nextBroadcast = lab.fleet.now + .seconds(5)
            }
        }
        lab.run(until: lab.fleet.now + .seconds(60))
        // What a node does that has no neighbour: it asks whom it was given to begin with.
        for place in 0..<course.nodes where lab.fleet.peers[place].core.neighbours.isEmpty && planted != .noRepair {
            let contact = PeerIndex(UInt32((place + 1) % course.nodes))
            lab.fleet.schedule(.handle(.joinRequested(contact)), for: PeerIndex(UInt32(place)), at: lab.fleet.now)
        }
        // Longer than a death is remembered.
        lab.run(until: lab.fleet.now + world.configuration.detector.tombstoneDuration + .seconds(60))
        let before = lab.broadcasts.count
        lab.broadcast(20, interval: .seconds(1))
        lab.run(until: lab.fleet.now + .seconds(20))
        inspect(lab)
        var wrongDeaths = 0
        for place in 0..<course.nodes where lab.fleet.isAlive(PeerIndex(UInt32(place))) {
            for other in 0..<course.nodes where lab.fleet.isAlive(PeerIndex(UInt32(other))) {
                let state = lab.fleet.peers[place].core.state(of: PeerIndex(UInt32(other)))
                if state == .dead || state == .left { wrongDeaths += 1 }
            }
        }
        let shape = lab.shape(sources: 1, degree: views.activeMax)
        var result = ScenarioResult()
        result.add(lab.fleet)
        result.add("broadcast reached during the faults", lab.reliability(from: 0, to: before))
        let refutations = (0..<course.nodes).reduce(UInt64(0)) { $0 &+ lab.fleet.peers[$1].core.stats.refutations }
        result.add("refutations", Double(refutations))
        result.check("views out of bounds, or with oneself", Double(broken), expected: 0, tolerance: 0)
        result.check("peers alive but held for dead after the healing", Double(wrongDeaths), expected: 0, tolerance: 0)
        result.check("peers in the largest part after the healing", shape.largestShare, expected: 1, tolerance: 0)
        result.check("links that both ends hold after the healing", shape.symmetricShare, expected: 1, tolerance: 0)
        result.check("broadcasts reached after the healing", lab.reliability(from: before), atLeast: 0.99)
        return result
    }
}

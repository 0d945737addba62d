// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiGossip

/// A topic under measurement: who gets which message, and when.
struct GossipLab: ~Copyable {
    var fleet: Fleet<GossipPeer>
    let honest: Int
    private(set) var latency = Histogram()
    private(set) var published: [Instant] = []
    private(set) var delivered: [UInt32] = []
    private(set) var expected: [UInt32] = []
    private(set) var refused = 0
    /// Of honest peers in meshes, after each message.
    private(set) var honestShares: [Double] = []
    private var draws: DrawStream

    init(nodes: Int, sybils: Int, degree: Int, seed: UInt64, world: GossipWorld, network: NetworkModel) {
        honest = nodes
        draws = DrawStream(seed: seed, .traffic)
        fleet = Fleet(count: nodes + sybils, world: world, network: network, seed: seed, usesLinks: true)
        var placement = DrawStream(seed: seed, .placement)
        for place in 0..<nodes {
            for _ in 0..<max(1, degree / 2) {
                fleet.link(PeerIndex(UInt32(place)), PeerIndex(UInt32(placement.below(UInt64(nodes)))))
            }
        }
        for place in nodes..<(nodes + sybils) {
            for _ in 0..<degree {
                let victim = PeerIndex(UInt32(placement.below(UInt64(nodes))))
                fleet.link(PeerIndex(UInt32(place)), victim)
            }
        }
        for place in 0..<(nodes + sybils) {
            let start = Instant.zero + .milliseconds(Int64(placement.below(1_000)))
            fleet.schedule(.subscribe, for: PeerIndex(UInt32(place)), at: start)
        }
    }

    /// `count` messages of random honest peers, evenly over `duration` from now on; each is for all who live then.
    mutating func publish(_ count: Int, bytes: Int, over duration: Duration, _ progress: ScenarioProgress) {
        let step = duration.saturatedNanoseconds / Int64(max(1, count))
        for number in 0..<count {
            var author = PeerIndex(UInt32(draws.below(UInt64(honest))))
            for _ in 0..<64 where !fleet.isAlive(author) { author = PeerIndex(UInt32(draws.below(UInt64(honest)))) }
            var others: UInt32 = 0
            for place in 0..<honest where fleet.isAlive(PeerIndex(UInt32(place))) { others += 1 }
            published.append(fleet.now)
            delivered.append(0)
            expected.append(max(1, others) - 1)
            fleet.schedule(.publish(UInt32(published.count - 1), bytes: bytes), for: author, at: fleet.now)
            run(until: fleet.now + .nanoseconds(step))
            progress.reached(Double(number) / Double(count))
            honestShares.append(honestShareOfMesh())
        }
    }

    mutating func run(until end: Instant) {
        fleet.run(until: end)
        for (at, peer, report) in fleet.takeReports() {
            switch report {
            case .delivered(let number):
                guard Int(peer.value) < honest, published.indices.contains(Int(number)) else { continue }
                delivered[Int(number)] += 1
                latency.add(UInt64((at - published[Int(number)]).saturatedNanoseconds))
            case .published(_, let isDone): if !isDone { refused += 1 }
            }
        }
    }

    var deliveredShare: Double {
        let due = expected.reduce(0) { $0 + Double($1) }
        return due == 0 ? 0 : delivered.reduce(0) { $0 + Double($1) } / due
    }

    /// The share of honest peers in the meshes of honest peers.
    func honestShareOfMesh() -> Double {
        var (good, all) = (0, 0)
        for place in 0..<honest {
            for peer in fleet.peers[place].core.meshPeers(of: fleet.world.topic) {
                all += 1
                if Int(peer.value) < honest { good += 1 }
            }
        }
        return all == 0 ? 0 : Double(good) / Double(all)
    }

    func describe(_ result: inout ScenarioResult) {
        result.add(fleet)
        var (sent, duplicates, mesh) = (0.0, 0.0, Histogram())
        for place in 0..<honest {
            let stats = fleet.peers[place].core.stats
            sent += Double(stats.messagesSent)
            duplicates += Double(stats.duplicates)
            mesh.add(UInt64(fleet.peers[place].core.meshPeers(of: fleet.world.topic).count))
        }
        let deliveries = max(1, Double(latency.count))
        result.add("messages published", Double(published.count))
        result.add("delivered", deliveredShare)
        result.add("copies sent per delivery", sent / deliveries)
        result.add("duplicates per delivery", duplicates / deliveries)
        result.add("mesh peers, median", Double(mesh.percentile(partsPerThousand: 500)))
        result.add("honest share of meshes at the end", honestShareOfMesh())
        result.add(latency: latency, of: "deliveries")
    }
}

enum GossipScenarios {
    static let all: [Scenario] = [gossip, sybils]

    private static let topic: Topic = "lab"
    private static let common = [
        ScenarioParameter("nodes", 1_000, 2...1_000_000, "peers"),
        ScenarioParameter("messages", 100, 1...1_000_000, "messages published"),
        ScenarioParameter("bytes", 1_024, 4...65_536, "size of a message"),
        ScenarioParameter("degree", 20, 2...1_000, "connections of a peer, about"),
    ]

    /// With scores as an operator would set them for a topic like this.
    private static func configuration(scoring: Bool) -> GossipConfiguration {
        var configuration = GossipConfiguration(author: [0])
        configuration.score.isEnabled = scoring
        // With a message in three seconds, half of which come from either end of a link, an honest peer brings about
        // fifteen in the hundred seconds that count, first or second; whoever brings less than one forwards nothing.
        configuration.topic.score.meshDeliveriesThreshold = 1
        configuration.topic.score.meshDeliveriesWeight = -20
        configuration.topic.score.meshDeliveriesDecay = 0.99
        configuration.topic.score.meshDeliveriesWindow = .seconds(2)
        configuration.topic.score.meshFailureWeight = -20
        configuration.topic.score.meshFailureDecay = 0.998
        return configuration
    }

    static let gossip = Scenario(
        "gossip", "messages to everybody through a GossipSub mesh",
        common + [
            ScenarioParameter("seconds", 60, 1...100_000, "simulated time in which they are published"),
            ScenarioParameter("loss", 0, 0...50, "packets lost and sent again, in percent"),
            ScenarioParameter("session", 0, 0...100_000, "mean session in minutes; 0: nobody leaves"),
        ]
    ) { settings, progress in
        var network = NetworkModel()
        network.loss = UInt32(settings["loss"]) * 10_000
        var lab = GossipLab(
            nodes: settings.nodes, sybils: 0, degree: settings["degree"], seed: settings.seed,
            world: GossipWorld(configuration: configuration(scoring: true), topic: topic), network: network)
        lab.run(until: lab.fleet.now + .seconds(15))
        if settings["session"] > 0 {
            let session = Duration.seconds(settings["session"] * 60)
            let model = ChurnModel(session: .exponential(mean: session), absence: .exponential(mean: session / 3))
            lab.fleet.setChurn(model, permanent: max(1, settings.nodes / 10))
        }
        lab.publish(settings["messages"], bytes: settings["bytes"], over: .seconds(settings["seconds"]), progress)
        lab.run(until: lab.fleet.now + .seconds(30))
        var result = ScenarioResult()
        lab.describe(&result)
        result.check("delivered", lab.deliveredShare, atLeast: settings["session"] > 0 ? 0.97 : 0.9999)
        return result
    }

    static let sybils = Scenario(
        "sybils", "a topic in which most peers are the attacker's and forward nothing",
        common + [
            ScenarioParameter("sybils", 4_000, 0...1_000_000, "peers of the attacker"),
            ScenarioParameter("seconds", 600, 1...100_000, "simulated time in which messages are published"),
            ScenarioParameter("scoring", 1, 0...1, "0: peers aren't scored"),
            ScenarioParameter("attack", 0, 0...1, "0: drops what it should forward; 1: floods as well"),
        ]
    ) { settings, progress in
        var configuration = configuration(scoring: settings["scoring"] == 1)
        // As in the evaluation: of eight mesh peers six are chosen by score.
        (configuration.mesh.d, configuration.mesh.dLow, configuration.mesh.dHigh) = (8, 6, 12)
        (configuration.mesh.dScore, configuration.mesh.dOut) = (6, 3)
        var world = GossipWorld(configuration: configuration, topic: topic)
        world.sybilsFrom = UInt32(settings.nodes)
        world.attack = GossipWorld.Attack(rawValue: settings["attack"]) ?? .drop
        var lab = GossipLab(
            nodes: settings.nodes, sybils: settings["sybils"], degree: settings["degree"], seed: settings.seed,
            world: world, network: NetworkModel())
        lab.run(until: lab.fleet.now + .seconds(15))
        lab.publish(settings["messages"], bytes: settings["bytes"], over: .seconds(settings["seconds"]), progress)
        lab.run(until: lab.fleet.now + .seconds(30))
        var result = ScenarioResult()
        lab.describe(&result)
        result.check("delivered", lab.deliveredShare, atLeast: 0.9999)
        result.check("deliveries p99, s", Double(lab.latency.percentile(partsPerThousand: 990)) / 1e9, atMost: 6)
        // Mean of the last minute: backoffs end after that time, and those who were turned away come again.
        let last = lab.honestShares.suffix(max(1, settings["messages"] * 60 / settings["seconds"]))
        result.check(
            "honest share of meshes", last.reduce(0, +) / Double(max(1, last.count)), atLeast: 0.8)
        return result
    }
}

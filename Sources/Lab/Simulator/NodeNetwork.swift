// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiGossip
import TuttiIdentity
import TuttiKademlia
import TuttiMembership
import TuttiNodeCore

import struct NIOCore.ByteBuffer

/// A network of whole nodes with every core on, under measurement: all join through the first.
struct NodeNetwork: ~Copyable {
    struct Lookup {
        let node: Int
        let wanted: Int
    }

    var fleet: NodeFleet
    let count: Int
    private(set) var published: [(start: Instant, others: Int)] = []
    private(set) var deliveries: [Int] = []
    private(set) var repeated = 0
    /// Deliveries that are not what somebody published, byte for byte.
    private(set) var foreign = 0
    private(set) var latency = Histogram()
    private(set) var asked = 0
    private(set) var finished = 0
    private(set) var found = 0
    private var lookups: [RequestID: Lookup] = [:]
    private var reached: [Set<Int>] = []
    private var lastRequest: UInt64 = 0
    private var draws: DrawStream
    private static let topic: Topic = "lab"
    private static let filling: UInt8 = 7

    init(nodes: Int, network: NetworkModel, seed: UInt64, level: NodeFleet.Level = .messages) {
        count = nodes
        draws = DrawStream(seed: seed, .traffic)
        fleet = NodeFleet(network: network, seed: seed, level: level)
        for number in 0..<nodes {
            let key = KeyPair(seed: Bytes32(words: (UInt64(number) + 1, seed, 0, 3)))
            fleet.add(key) { configuration in
                var kademlia = KademliaConfiguration()
                kademlia.isServer = true
                configuration.kademlia = kademlia
                configuration.gossip = GossipConfiguration(author: key.peerID.bytes)
                configuration.membership = MembershipConfiguration()
            }
        }
        fleet.give(0, .gossip(.subscribe(Self.topic)))
    }

    /// Through the first node, as one that was started with its address.
    mutating func join(_ node: Int) {
        lastRequest += 1
        fleet.dial(node, 0, request: lastRequest)
        fleet.give(node, .membership(.join(fleet.members[0].key.peerID)))
        fleet.give(node, .gossip(.subscribe(Self.topic)))
    }

    /// One after the other; then there is time to settle.
    /// - Returns: the shares of nodes with neighbours, and of those that know ten others for the table.
    mutating func gather() -> (neighbours: Double, tables: Double) {
        for node in 1..<max(1, count) {
            join(node)
            run(for: .milliseconds(100))
        }
        run(for: .seconds(60))
        let known = min(10, count - 1)
        return (share { !$0.neighbours.isEmpty }, share { $0.kademliaTableCount >= known })
    }

    mutating func run(for duration: Duration) {
        fleet.run(until: fleet.now + duration)
        for (at, node, effect) in fleet.takeResults() {
            switch effect {
            case .gossip(.deliver(let message, _)): delivered(message, to: node, at: at)
            case .kademlia(.finished(let request, let answer)):
                guard let lookup = lookups.removeValue(forKey: request) else { continue }
                finished += 1
                let wanted = fleet.members[lookup.wanted].key.peerID
                let store = fleet.members[lookup.node].core.peers.store
                if answer.status == .done, !store.addresses(of: wanted).isEmpty { found += 1 }
            case .peers, .journal, .kademlia, .gossip, .membership, .protocolsChanged, .reachabilityChanged: continue
            }
        }
    }

    private mutating func delivered(_ message: GossipMessage, to node: Int, at: Instant) {
        var data = message.data
        guard let number = data.readInteger(as: UInt32.self).map(Int.init), published.indices.contains(number),
            data.readableBytesView.allSatisfy({ $0 == Self.filling })
        else {
            foreign += 1
            return
        }
        guard reached[number].insert(node).inserted else {
            repeated += 1
            return
        }
        deliveries[number] += 1
        latency.add(UInt64(max(0, (at - published[number].start).saturatedNanoseconds)))
    }

    private mutating func randomAlive() -> Int {
        for _ in 0..<1_000 {
            let node = Int(draws.below(UInt64(count)))
            if fleet.members[node].isAlive { return node }
        }
        return 0
    }

    var aliveCount: Int { fleet.members.count { $0.isAlive } }

    /// Of random nodes, one in each `interval`; each is for all others that live.
    mutating func publish(_ messages: Int, bytes: Int, interval: Duration, _ progress: (Double) -> Void) {
        for number in 0..<messages {
            var data = ByteBuffer()
            data.writeInteger(UInt32(published.count))
            data.writeRepeatingByte(Self.filling, count: max(0, bytes - 4))
            published.append((fleet.now, aliveCount - 1))
            deliveries.append(0)
            reached.append([])
            lastRequest += 1
            fleet.give(randomAlive(), .gossip(.publish(RequestID(lastRequest), Self.topic, data)))
            run(for: interval)
            progress(Double(number) / Double(messages))
        }
    }

    /// Random nodes look for random others in the distributed hash table, one in each `interval`.
    mutating func look(_ count: Int, interval: Duration) {
        for _ in 0..<count {
            let (node, wanted) = (randomAlive(), randomAlive())
            guard node != wanted else { continue }
            lastRequest += 1
            asked += 1
            let request = RequestID(lastRequest)
            lookups[request] = Lookup(node: node, wanted: wanted)
            let peer = fleet.members[wanted].key.peerID
            fleet.give(node, .kademlia(.findPeer(request, peer, deadline: fleet.now + .seconds(60))))
            run(for: interval)
        }
    }

    /// The share of deliveries that were due, of the messages from this one on.
    func deliveredShare(from first: Int, to end: Int) -> Double {
        var (due, done) = (0, 0)
        for number in first..<end {
            due += published[number].others
            done += deliveries[number]
        }
        return Double(done) / Double(max(1, due))
    }

    var deliveryPlot: ScenarioResult.Plot {
        ScenarioResult.Plot(
            title: "Delivery of each message", horizontal: "published at, s", vertical: "share of all others",
            points: published.indices.map {
                (
                    (published[$0].start - Instant.zero).secondsForDisplay,
                    Double(deliveries[$0]) / Double(max(1, published[$0].others))
                )
            })
    }

    /// Nodes that live and have this.
    func share(_ has: (NodeCore) -> Bool) -> Double {
        var (good, all) = (0, 0)
        for node in 0..<count where fleet.members[node].isAlive {
            all += 1
            if has(fleet.members[node].core) { good += 1 }
        }
        return Double(good) / Double(max(1, all))
    }
}

extension NodeScenarios {
    static let nodes = Scenario(
        "nodes",
        "whole nodes, every core on: join through one, gossip, look each other up, lose some and get them back",
        [
            ScenarioParameter("nodes", 200, 2...5_000, "nodes"),
            ScenarioParameter("messages", 50, 1...100_000, "messages to all, and half as many during the absence"),
            ScenarioParameter("bytes", 1_024, 4...65_536, "size of a message"),
            ScenarioParameter("lookups", 200, 0...100_000, "lookups of a node by another"),
            ScenarioParameter("crashes", 20, 0...90, "nodes that crash and come back, in percent"),
            ScenarioParameter("loss", 0, 0...50, "packets lost and sent again, in percent"),
        ]
    ) { settings, progress in
        var network = NetworkModel()
        network.loss = UInt32(settings["loss"]) * 10_000
        var lab = NodeNetwork(nodes: settings.nodes, network: network, seed: settings.seed)
        let (neighbours, tables) = lab.gather()
        progress.reached(0.2)
        lab.publish(settings["messages"], bytes: settings["bytes"], interval: .milliseconds(200)) {
            progress.reached(0.2 + 0.3 * $0)
        }
        lab.look(settings["lookups"], interval: .milliseconds(100))
        lab.run(for: .seconds(60))
        let before = lab.published.count
        let crashed = 1..<max(1, 1 + (settings.nodes - 1) * settings["crashes"] / 100)
        for node in crashed { lab.fleet.crash(node) }
        lab.run(for: .seconds(5))
        lab.publish(max(1, settings["messages"] / 2), bytes: settings["bytes"], interval: .milliseconds(200)) {
            progress.reached(0.6 + 0.2 * $0)
        }
        lab.run(for: .seconds(10))
        let during = lab.published.count
        for node in crashed {
            lab.fleet.restart(node)
            lab.join(node)
        }
        lab.run(for: .seconds(60))
        lab.publish(settings["messages"], bytes: settings["bytes"], interval: .milliseconds(200)) {
            progress.reached(0.8 + 0.2 * $0)
        }
        lab.run(for: .seconds(10))
        var result = ScenarioResult()
        result.digest = lab.fleet.digest.value
        result.events = lab.fleet.events
        result.simulatedSeconds = (lab.fleet.now - Instant.zero).secondsForDisplay
        result.model.append(network.summary)
        result.add(latency: lab.latency, of: "deliveries")
        result.plots.append(lab.deliveryPlot)
        result.check("nodes with neighbours", neighbours, expected: 1, tolerance: 0)
        result.check("nodes that know ten others for the table", tables, expected: 1, tolerance: 0)
        result.check("delivered", lab.deliveredShare(from: 0, to: before), expected: 1, tolerance: 0)
        result.check("delivered after the crashes", lab.deliveredShare(from: before, to: during), atLeast: 0.99)
        result.check(
            "delivered after the return", lab.deliveredShare(from: during, to: lab.published.count), atLeast: 0.999)
        result.check("messages delivered twice", Double(lab.repeated), expected: 0, tolerance: 0)
        result.check("lookups ended", Double(lab.finished), expected: Double(lab.asked), tolerance: 0)
        result.check("nodes found", Double(lab.found) / Double(max(1, lab.asked)), atLeast: 0.99)
        return result
    }
}

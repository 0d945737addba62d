// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiGossip

/// A topic under faults, with some peers that flood it. Every second a message is published, every ten seconds peers
/// dial again whom they have lost.
struct GossipFaultRun: ~Copyable {
    struct Message {
        /// The life in which each peer got it, zero: not.
        var lives: [UInt32]
        var expected: [Bool]
    }

    var fleet: Fleet<GossipPeer>
    private(set) var messages: [Message] = []
    private(set) var repeated = 0
    private(set) var broken = 0
    /// The peers from this number on flood.
    private let nodes: Int
    private var pairs: [(PeerIndex, PeerIndex)] = []
    private var draws: DrawStream
    private var nextPublish = Instant.zero + .seconds(3)
    private var nextDial = Instant.zero + .seconds(10)
    private var isHealed = false

    init(_ course: FaultCourse, _ world: GossipWorld, floodingCount: Int) {
        draws = DrawStream(seed: course.seed, .traffic)
        nodes = course.nodes
        let count = nodes + floodingCount
        fleet = Fleet(count: count, world: world, network: course.network, seed: course.seed, usesLinks: true)
        var placement = DrawStream(seed: course.seed, .placement)
        for place in 0..<course.nodes {
            // A ring, so that the graph is connected, and chords.
            pairs.append((PeerIndex(UInt32(place)), PeerIndex(UInt32((place + 1) % course.nodes))))
            for _ in 0..<6 {
                let other = PeerIndex(UInt32(placement.below(UInt64(course.nodes))))
                if Int(other.value) != place { pairs.append((PeerIndex(UInt32(place)), other)) }
            }
        }
        for place in nodes..<count {
            for _ in 0..<8 {
                pairs.append((PeerIndex(UInt32(place)), PeerIndex(UInt32(placement.below(UInt64(nodes))))))
            }
        }
        dial()
        for place in 0..<count { fleet.schedule(.subscribe, for: PeerIndex(UInt32(place)), at: .zero) }
    }

    mutating func heal() {
        isHealed = true
        dial()
    }

    mutating func run(until end: Instant) {
        while fleet.now < end {
            fleet.run(until: min(end, nextPublish, nextDial))
            collect()
            if fleet.now >= nextPublish {
                nextPublish = fleet.now + .seconds(1)
                if !isHealed { publish() }
                inspect()
            }
            if fleet.now >= nextDial {
                nextDial = fleet.now + .seconds(10)
                dial()
            }
        }
    }

    mutating func publish() {
        var author = PeerIndex(UInt32(draws.below(UInt64(nodes))))
        for _ in 0..<64 where !fleet.isAlive(author) { author = PeerIndex(UInt32(draws.below(UInt64(nodes)))) }
        var expected = (0..<nodes).map { fleet.isAlive(PeerIndex(UInt32($0))) }
        expected[Int(author.value)] = false
        messages.append(Message(lives: Array(repeating: 0, count: nodes), expected: expected))
        fleet.schedule(.publish(UInt32(messages.count - 1), bytes: 256), for: author, at: fleet.now)
    }

    func deliveredShare(_ range: Range<Int>) -> Double {
        var (due, done) = (0, 0)
        for message in messages[range] {
            for place in message.expected.indices where message.expected[place] {
                due += 1
                if message.lives[place] != 0 { done += 1 }
            }
        }
        return due == 0 ? 0 : Double(done) / Double(due)
    }

    /// Meshes with too few peers, and peers in meshes that flood.
    func meshes() -> (small: Int, flooding: Int) {
        var (small, flooding) = (0, 0)
        for place in 0..<nodes where fleet.isAlive(PeerIndex(UInt32(place))) {
            let peers = fleet.peers[place].core.meshPeers(of: fleet.world.topic)
            if peers.count < fleet.world.configuration.mesh.dLow { small += 1 }
            flooding += peers.count { Int($0.value) >= nodes }
        }
        return (small, flooding)
    }

    private mutating func dial() {
        for (a, b) in pairs where fleet.isAlive(a) && fleet.isAlive(b) { fleet.link(a, b) }
    }

    private mutating func collect() {
        for (_, peer, report) in fleet.takeReports() {
            guard case .delivered(let number) = report, messages.indices.contains(Int(number)) else { continue }
            let place = Int(peer.value)
            guard place < nodes else { continue }
            let life = UInt32(fleet.cells[place].life) + 1
            if messages[Int(number)].lives[place] == life { repeated += 1 }
            messages[Int(number)].lives[place] = life
        }
    }

    /// Between two heartbeats peers that we dialled may join a full mesh.
    private mutating func inspect() {
        let mesh = fleet.world.configuration.mesh
        for place in 0..<nodes where fleet.isAlive(PeerIndex(UInt32(place))) {
            let peers = fleet.peers[place].core.meshPeers(of: fleet.world.topic)
            if peers.contains(PeerIndex(UInt32(place))) || peers.count > 2 * mesh.dHigh
                || Set(peers).count != peers.count
            {
                broken += 1
            }
        }
    }
}

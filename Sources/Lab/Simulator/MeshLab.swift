// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiMembership

/// An overlay under measurement: its shape, and whom broadcasts reach.
struct MeshLab: ~Copyable {
    struct Broadcast {
        let start: Instant
        /// Peers alive when it began, its author included.
        let alive: Int
        var delivered = 1

        var reliability: Double { Double(delivered) / Double(max(1, alive)) }
    }

    /// What the links of all who live look like together.
    struct Shape {
        var clustering = 0.0
        var meanPath = 0.0
        var longestPath = 0
        var fullDegreeShare = 0.0
        var symmetricShare = 0.0
        /// The share of all peers in the largest part.
        var largestShare = 0.0
    }

    var fleet: Fleet<MembershipPeer>
    private(set) var broadcasts: [Broadcast] = []
    private(set) var latency = Histogram()
    private(set) var events: [(at: Instant, peer: PeerIndex, event: MembershipEvent)] = []
    var keepsEvents = false
    private var draws: DrawStream

    init(nodes: Int, world: MembershipWorld, seed: UInt64, network: NetworkModel, usesLinks: Bool = true) {
        fleet = Fleet(count: nodes, world: world, network: network, seed: seed, usesLinks: usesLinks)
        draws = DrawStream(seed: seed, .traffic)
        for place in 0..<nodes { fleet.update(PeerIndex(UInt32(place))) { _, _, _ in } }
    }

    /// One by one through the contact, then so long until the overlay has settled.
    mutating func join(interval: Duration, settle: Duration, _ progress: ScenarioProgress) {
        for place in 1..<max(1, fleet.count) {
            let at = fleet.now + .nanoseconds(interval.saturatedNanoseconds * Int64(place))
            fleet.schedule(.handle(.joinRequested(fleet.world.contact)), for: PeerIndex(UInt32(place)), at: at)
        }
        let end = fleet.now + .nanoseconds(interval.saturatedNanoseconds * Int64(fleet.count)) + settle
        let begin = fleet.now
        while fleet.now < end {
            run(until: min(end, fleet.now + .seconds(10)))
            progress.reached(0.6 * (fleet.now - begin).secondsForDisplay / max(1e-9, (end - begin).secondsForDisplay))
        }
    }

    mutating func run(until end: Instant) {
        fleet.run(until: end)
        for (at, peer, report) in fleet.takeReports() {
            switch report {
            case .delivered(let id):
                guard broadcasts.indices.contains(Int(truncatingIfNeeded: id.value)) else { continue }
                let number = Int(truncatingIfNeeded: id.value)
                broadcasts[number].delivered += 1
                latency.add(UInt64(max(0, (at - broadcasts[number].start).saturatedNanoseconds)))
            case .event(let event): if keepsEvents { events.append((at, peer, event)) }
            }
        }
    }

    /// Of random peers that live, or of one, one in each `interval`.
    mutating func broadcast(_ count: Int, by only: PeerIndex? = nil, interval: Duration) {
        for _ in 0..<count {
            guard let author = only ?? randomAlive() else { return }
            broadcasts.append(Broadcast(start: fleet.now, alive: fleet.aliveCount))
            fleet.schedule(.broadcast(UInt64(broadcasts.count - 1)), for: author, at: fleet.now)
            run(until: fleet.now + interval)
        }
    }

    mutating func randomAlive() -> PeerIndex? {
        for _ in 0..<1_000 {
            let peer = PeerIndex(UInt32(draws.below(UInt64(fleet.count))))
            if fleet.isAlive(peer) { return peer }
        }
        return nil
    }

    /// Mean over the broadcasts from this one on, up to but not with that one.
    func reliability(from first: Int = 0, to end: Int = .max) -> Double {
        let some = broadcasts[min(first, broadcasts.count)..<min(end, broadcasts.count)]
        return some.isEmpty ? 0 : some.reduce(0) { $0 + $1.reliability } / Double(some.count)
    }

    var queriesSent: UInt64 {
        (0..<fleet.count).reduce(0) { $0 + fleet.peers[$1].core.stats.queriesSent }
    }

    var payloadsSent: UInt64 {
        (0..<fleet.count).reduce(0) { $0 + fleet.peers[$1].core.stats.payloadsSent }
    }

    // MARK: Shape

    /// The neighbours of each that both ends hold and that live.
    private func graph() -> [[Int]] {
        (0..<fleet.count).map { place in
            guard fleet.isAlive(PeerIndex(UInt32(place))) else { return [] }
            return fleet.peers[place].core.neighbours.map { Int($0.value) }
                .filter { fleet.isAlive(PeerIndex(UInt32($0))) }.sorted()
        }
    }

    /// - Parameter sources: from so many peers paths are measured.
    func shape(sources: Int, degree: Int) -> Shape {
        let graph = graph()
        let alive = (0..<fleet.count).filter { fleet.isAlive(PeerIndex(UInt32($0))) }
        var shape = Shape()
        guard !alive.isEmpty else { return shape }
        var (full, links, symmetric, clustering) = (0, 0, 0, 0.0)
        for place in alive {
            let near = graph[place]
            if near.count >= degree { full += 1 }
            links += near.count
            var closed = 0
            for a in near {
                if graph[a].contains(place) { symmetric += 1 }
                for b in near where a < b && graph[a].contains(b) { closed += 1 }
            }
            let pairs = near.count * (near.count - 1) / 2
            clustering += pairs > 0 ? Double(closed) / Double(pairs) : 0
        }
        shape.clustering = clustering / Double(alive.count)
        shape.fullDegreeShare = Double(full) / Double(alive.count)
        shape.symmetricShare = links == 0 ? 0 : Double(symmetric) / Double(links)
        var (sum, reached) = (0.0, 0.0)
        for source in stride(from: 0, to: alive.count, by: max(1, alive.count / sources)) {
            let distances = Self.distances(from: alive[source], graph)
            var largest = 0
            for place in alive where distances[place] >= 0 {
                sum += Double(distances[place])
                reached += distances[place] > 0 ? 1 : 0
                shape.longestPath = max(shape.longestPath, Int(distances[place]))
                largest += 1
            }
            shape.largestShare = max(shape.largestShare, Double(largest) / Double(alive.count))
        }
        shape.meanPath = reached > 0 ? sum / reached : 0
        return shape
    }

    /// The share of those who live in their largest part, if all who know of each other were joined: no repair out of the
    /// views alone makes a larger one.
    /// - Parameter sources: so many peers' parts are looked at.
    func knownPart(sources: Int) -> Double {
        let alive = (0..<fleet.count).filter { fleet.isAlive(PeerIndex(UInt32($0))) }
        var graph = [[Int]](repeating: [], count: fleet.count)
        for place in alive {
            let views = fleet.peers[place].core.snapshot
            for peer in views.active + views.passive where fleet.isAlive(peer) {
                graph[place].append(Int(peer.value))
                graph[Int(peer.value)].append(place)
            }
        }
        var largest = 0
        for source in stride(from: 0, to: alive.count, by: max(1, alive.count / sources)) {
            largest = max(largest, Self.distances(from: alive[source], graph).count { $0 >= 0 })
        }
        return Double(largest) / Double(max(1, alive.count))
    }

    private static func distances(from source: Int, _ graph: [[Int]]) -> [Int32] {
        var distances = [Int32](repeating: -1, count: graph.count)
        distances[source] = 0
        var wave = [source]
        while !wave.isEmpty {
            var next: [Int] = []
            for place in wave {
                for other in graph[place] where distances[other] < 0 {
                    distances[other] = distances[place] + 1
                    next.append(other)
                }
            }
            wave = next
        }
        return distances
    }

    func describe(_ result: inout ScenarioResult) {
        result.add(fleet)
        guard !broadcasts.isEmpty else { return }
        result.add("broadcasts", Double(broadcasts.count))
        result.add("reliability, mean", reliability())
        result.add(latency: latency, of: "deliveries")
        result.plots.append(
            ScenarioResult.Plot(
                title: "Reliability of each broadcast", horizontal: "broadcast", vertical: "share of peers reached",
                points: broadcasts.enumerated().map { (Double($0.offset), $0.element.reliability) }))
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiKademlia

/// A Kademlia network under measurement: lookups, and whether they find who is really nearest.
struct KademliaLab: ~Copyable {
    struct Options {
        var nodes = 1_000
        var sybils = 0
        var seed: UInt64 = 1
        var configuration = KademliaConfiguration.lab
        var network = NetworkModel()
        var swallowing: UInt32 = 0
        var undialable: UInt32 = 0
        var slowDials: UInt32 = 0
        /// Settled tables at the start; otherwise peers come one by one through the first.
        var isLoaded = true
        var joinInterval = Duration.milliseconds(20)
    }

    /// What all lookups together came to.
    struct Outcomes {
        var asked = 0
        var finished = 0
        var found = 0
        var depth = Histogram()
        var calls = Histogram()
        var failed = Histogram()
        var latency = Histogram()
        var repeated = 0

        var foundShare: Double { finished == 0 ? 0 : Double(found) / Double(finished) }
    }

    struct Lookup {
        let origin: PeerIndex
        let key: KademliaKey
        let start: Instant
        var isFinished = false
    }

    var fleet: Fleet<KademliaPeer>
    let honest: Int
    let everybody: KademliaTables
    private var lookups: [Lookup] = []
    private var draws: DrawStream
    private(set) var outcomes = Outcomes()

    init(_ options: Options) {
        let keys = Keyspace(derivedFrom: options.seed)
        honest = options.nodes
        var world = KademliaWorld(keys: keys, configuration: options.configuration)
        world.swallowing = options.swallowing
        world.undialable = options.undialable
        world.slowDials = options.slowDials
        world.bootstrap = (0..<UInt32(min(3, options.nodes))).map { PeerIndex($0) }
        let total = options.nodes + options.sybils
        if options.sybils > 0 {
            world.sybilsFrom = UInt32(options.nodes)
            world.sybils = KademliaTables((options.nodes..<total).map { PeerIndex(UInt32($0)) }, keys: keys)
        }
        everybody = KademliaTables((0..<options.nodes).map { PeerIndex(UInt32($0)) }, keys: keys)
        draws = DrawStream(seed: options.seed, .traffic)
        fleet = Fleet(count: total, world: world, network: options.network, seed: options.seed, usesLinks: false)
        if options.isLoaded { load(keys, k: options.configuration.k, seed: options.seed) } else { join(options) }
        for sybil in options.nodes..<max(total, options.nodes) { fleet.update(PeerIndex(UInt32(sybil))) { _, _, _ in } }
    }

    private mutating func load(_ keys: Keyspace, k: Int, seed: UInt64) {
        var table: [PeerIndex] = []
        for place in 0..<honest {
            let peer = PeerIndex(UInt32(place))
            var draws = DrawStream(seed: seed, peer: peer, .tables)
            everybody.sample(peer, key: keys.key(of: peer), k: k, draws: &draws, into: &table)
            fleet.update(peer) { core, world, _ in core.load(table, world: world) }
        }
    }

    private mutating func join(_ options: Options) {
        for place in 1..<max(1, honest) { fleet.setAbsent(PeerIndex(UInt32(place))) }
        fleet.update(PeerIndex(0)) { core, world, now in core.meetBootstrap(world: world, at: now) }
        for place in 1..<max(1, honest) {
            fleet.run(until: fleet.now + options.joinInterval)
            fleet.apply(.restart(PeerIndex(UInt32(place)), keepsDisk: false))
        }
    }

    /// Lookups of random keys by random peers below `origins`, evenly over `duration` from now on.
    mutating func look(_ count: Int, over duration: Duration, origins: Int) {
        let from = fleet.now
        for number in 0..<count {
            let start = from + .nanoseconds(duration.saturatedNanoseconds / Int64(max(1, count)) * Int64(number))
            var origin = PeerIndex(UInt32(draws.below(UInt64(origins))))
            // A peer that is away or the attacker's asks nothing.
            for _ in 0..<64 where !fleet.isAlive(origin) || !fleet.peers[Int(origin.value)].isHonest {
                origin = PeerIndex(UInt32(draws.below(UInt64(origins))))
            }
            let key = KademliaKey(Bytes32(words: (draws.next(), draws.next(), draws.next(), draws.next())))
            let id = RequestID(UInt64(lookups.count))
            // By the clock of whoever looks.
            let deadline = fleet.localTime(Int(origin.value)) + (start - fleet.now) + .seconds(120)
            lookups.append(Lookup(origin: origin, key: key, start: start))
            outcomes.asked += 1
            fleet.schedule(
                .handle(
                    .lookupRequested(id, .closest(KademliaTarget(key: key)), deadline: deadline)),
                for: origin, at: start)
        }
    }

    /// Runs on and takes in what lookups came to.
    mutating func run(until end: Instant, _ progress: ScenarioProgress, share: ClosedRange<Double> = 0...1) {
        let begin = fleet.now
        let whole = (end - begin).secondsForDisplay
        while fleet.now < end {
            let next = min(end, fleet.now + .seconds(5))
            fleet.run(until: next)
            collect()
            let done = whole > 0 ? (fleet.now - begin).secondsForDisplay / whole : 1
            progress.reached(share.lowerBound + done * (share.upperBound - share.lowerBound))
        }
    }

    private mutating func collect() {
        for (at, _, report) in fleet.takeReports() {
            let number = Int(truncatingIfNeeded: report.request.value)
            guard lookups.indices.contains(number) else { continue }
            guard !lookups[number].isFinished else {
                outcomes.repeated += 1
                continue
            }
            lookups[number].isFinished = true
            let lookup = lookups[number]
            outcomes.finished += 1
            outcomes.depth.add(UInt64(max(0, report.outcome.depth)))
            outcomes.calls.add(UInt64(max(0, report.outcome.callCount)))
            outcomes.failed.add(UInt64(max(0, report.outcome.failedCallCount)))
            outcomes.latency.add(UInt64(max(0, (at - lookup.start).saturatedNanoseconds)))
            if isNearestNamed(lookup, report.outcome.closest) { outcomes.found += 1 }
        }
    }

    /// Of the `count` peers nearest to each who lives, the share that its table names.
    func nearestNamed(count: Int) -> Double {
        let living = (0..<UInt32(honest)).map { PeerIndex($0) }.filter { fleet.isAlive($0) }
        var (due, named) = (0, 0)
        for peer in living {
            let table = Set(fleet.peers[Int(peer.value)].core.snapshot())
            let near = everybody.closest(to: fleet.world.keys.key(of: peer), count: honest)
                .filter { $0 != peer && fleet.isAlive($0) }.prefix(count)
            due += near.count
            named += near.count { table.contains($0) }
        }
        return due == 0 ? 1 : Double(named) / Double(due)
    }

    /// Whether the nearest of all who live and answer is among those found.
    private func isNearestNamed(_ lookup: Lookup, _ closest: [PeerIndex]) -> Bool {
        var count = 16
        while true {
            let nearest = everybody.closest(to: lookup.key, count: count)
            for peer in nearest
            where peer != lookup.origin && fleet.isAlive(peer) && fleet.peers[Int(peer.value)].isHonest {
                return closest.contains(peer)
            }
            guard nearest.count == count, count < 4_096 else { return false }
            count *= 4
        }
    }

    func describe(_ result: inout ScenarioResult) {
        result.add(fleet)
        result.add("lookups", Double(outcomes.asked))
        result.add("lookups finished", Double(outcomes.finished))
        result.add("nearest found", outcomes.foundShare)
        result.add("depth, mean", outcomes.depth.mean)
        result.add("calls per lookup, mean", outcomes.calls.mean)
        result.add("failed calls per lookup, mean", outcomes.failed.mean)
        var entries = Histogram()
        for place in 0..<honest { entries.add(UInt64(fleet.peers[place].core.tableCount)) }
        result.add("table entries, median", Double(entries.percentile(partsPerThousand: 500)))
        result.add(latency: outcomes.latency, of: "lookups")
    }
}

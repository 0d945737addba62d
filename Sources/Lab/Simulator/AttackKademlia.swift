// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiKademlia

/// Attacks on what the DHT keeps.
enum AttackKademlia {
    // MARK: Sybils next to a key

    static let keySybils = Scenario(
        "attack-16-key-sybils", "an attacker's peers sit nearer to a key than anybody and deny that it has providers",
        [
            ScenarioParameter("nodes", 300, 50...100_000, "honest peers"),
            ScenarioParameter("sybils", 45, 0...1_000, "peers of the attacker next to the key"),
            ScenarioParameter("lookups", 100, 1...100_000, "searches for a provider"),
            ScenarioParameter("mitigation", 1, 0...1, "0: the density of peers around a key isn't minded"),
        ]
    ) { settings, progress in
        let (honest, total) = (settings.nodes, settings.nodes + settings["sybils"])
        var draws = DrawStream(seed: settings.seed, .placement)
        func key() -> Bytes32 { Bytes32(words: (draws.next(), draws.next(), draws.next(), draws.next())) }
        let target = key()
        // Nearer than the nearest honest peer by a factor of about 16: what an attacker finds in minutes.
        let shared = UInt64(64 - honest.leadingZeroBitCount + 4)
        let bytes = (0..<total).map { place -> Bytes32 in
            let random = key()
            guard place >= honest else { return random }
            return Bytes32(
                words: (target.words.0 ^ (random.words.0 >> shared), random.words.1, random.words.2, random.words.3))
        }
        let keys = Keyspace(bytes)
        var configuration = KademliaConfiguration.lab
        configuration.isSybilMitigationOn = settings["mitigation"] == 1
        var world = KademliaWorld(keys: keys, configuration: configuration)
        world.sybilsFrom = UInt32(honest)
        world.sybilGroups = .max
        world.sybils = KademliaTables((honest..<total).map { PeerIndex(UInt32($0)) }, keys: keys)
        let everybody = KademliaTables((0..<total).map { PeerIndex(UInt32($0)) }, keys: keys)
        var fleet = Fleet<KademliaPeer>(
            count: total, world: world, network: NetworkModel(), seed: settings.seed, usesLinks: false)
        var table: [PeerIndex] = []
        for place in 0..<total {
            let peer = PeerIndex(UInt32(place))
            var lots = DrawStream(seed: settings.seed, peer: peer, .tables)
            everybody.sample(peer, key: keys.key(of: peer), k: configuration.k, draws: &lots, into: &table)
            fleet.update(peer) { core, world, _ in core.load(table, world: world) }
        }
        fleet.run(until: .zero + .seconds(120))
        progress.reached(0.3)
        let goal = KademliaTarget(key: KademliaKey(target))
        for provider in 0..<3 as Range<UInt32> {
            fleet.schedule(
                .handle(
                    .provideRequested(RequestID(1 << 40 | UInt64(provider)), goal, deadline: fleet.now + .seconds(120))),
                for: PeerIndex(provider), at: fleet.now)
        }
        fleet.run(until: fleet.now + .seconds(180))
        _ = fleet.takeReports()
        progress.reached(0.6)
        let count = settings["lookups"]
        for number in 0..<count {
            let origin = PeerIndex(UInt32(3 + draws.below(UInt64(honest - 3))))
            let at = fleet.now + .milliseconds(Int64(number) * 200)
            fleet.schedule(
                .handle(
                    .lookupRequested(
                        RequestID(UInt64(number)), .providers(goal, countMax: 1), deadline: at + .seconds(120))),
                for: origin, at: at)
        }
        fleet.run(until: fleet.now + .milliseconds(Int64(count) * 200) + .seconds(150))
        var (ended, found) = (0, 0)
        for (_, _, report) in fleet.takeReports() where report.request.value < UInt64(count) {
            ended += 1
            if report.outcome.providers.contains(where: { $0.value < 3 }) { found += 1 }
        }
        var result = ScenarioResult()
        result.add(fleet)
        result.check("searches ended", Double(ended), expected: Double(count), tolerance: 0)
        result.check("searches that found a provider", Double(found) / Double(count), atLeast: 0.95)
        return result
    }

    // MARK: Floods of records

    static let recordFlood = Scenario(
        "attack-17-record-flood", "many peers of few address groups store as much as they can at one peer",
        [
            ScenarioParameter("attackers", 200, 1...100_000, "peers of the attacker"),
            ScenarioParameter("groups", 3, 1...1_000, "address groups of the attacker"),
            ScenarioParameter("rate", 10, 1...1_000, "values and providers that each sends in a second"),
            ScenarioParameter("seconds", 10, 1...100_000, "simulated time"),
            ScenarioParameter("caps", 1, 0...1, "0: stores and rates have no limits"),
        ]
    ) { settings, progress in
        var configuration = KademliaConfiguration()
        configuration.isServer = true
        configuration.validator = KademliaValidator(accepts: { _, _ in true }, prefers: { _, _, _ in false })
        let limits = KademliaLimits()
        if settings["caps"] == 0 {
            configuration.limits.recordsMax = .max
            configuration.limits.recordBytesMax = .max
            configuration.limits.recordsPerPeerMax = .max
            configuration.limits.recordsPerGroupMax = .max
            configuration.limits.providerKeysMax = .max
            configuration.limits.providerRecordsPerPeerMax = .max
            configuration.limits.providerRecordsPerGroupMax = .max
            configuration.limits.requestInterval = .zero
        }
        var flood = RecordFlood(configuration, settings)
        for second in 0..<settings["seconds"] {
            flood.attack(second)
            progress.reached(Double(second) / Double(settings["seconds"]))
        }
        let groups = settings["groups"]
        var result = ScenarioResult()
        result.digest = flood.digest.value
        result.events = UInt64(flood.requests)
        result.simulatedSeconds = Double(settings["seconds"])
        result.add("requests of the attacker", Double(flood.requests))
        result.add("of them refused", Double(flood.refused))
        let recordsMax = min(limits.recordsMax, groups * limits.recordsPerGroupMax + RecordFlood.honestRecords)
        result.check("records kept", Double(flood.core.recordCount), atMost: Double(recordsMax))
        result.check("bytes of records kept", Double(flood.core.recordByteCount), atMost: Double(limits.recordBytesMax))
        result.check(
            "provider records kept", Double(flood.core.providerRecordCount),
            atMost: Double(groups * limits.providerRecordsPerGroupMax + 1))
        result.check(
            "requests of an honest peer that were served", Double(flood.served) / Double(max(1, flood.asked)),
            expected: 1, tolerance: 0)
        return result
    }
}

/// One server, whom the scenario plays everybody else for.
private struct RecordFlood {
    static let honestRecords = 10
    private static let honest = PeerIndex(1 << 24)
    private static let ownKey = KademliaKey(Bytes32(words: (1, 2, 3, 4)))

    var core: KademliaCore
    private(set) var digest = EventDigest()
    private(set) var requests = 0
    private(set) var refused = 0
    private(set) var asked = 0
    private(set) var served = 0
    private let keys: Keyspace
    private let settings: ScenarioSettings
    private var draws: DrawStream
    private let value = [UInt8](repeating: 7, count: 8 * 1_024)
    private var next: UInt64 = 0

    init(_ configuration: KademliaConfiguration, _ settings: ScenarioSettings) {
        self.settings = settings
        keys = Keyspace(derivedFrom: settings.seed)
        draws = DrawStream(seed: settings.seed, .traffic)
        core = KademliaCore(
            own: PeerIndex(0), settings: KademliaSettings(configuration), ownKey: Self.ownKey, seed: settings.seed,
            at: .zero)
        // Where this peer is among those responsible.
        for number in 0..<Self.honestRecords {
            _ = ask(Self.honest, group: 1, .putValue(Self.target(number), KademliaRecord(value: [1])), at: .zero)
        }
    }

    mutating func attack(_ second: Int) {
        let now = Instant.zero + .seconds(second + 1)
        for attacker in 0..<settings["attackers"] {
            let peer = PeerIndex(UInt32(attacker + 1))
            let group = UInt64(100 + attacker % settings["groups"])
            for _ in 0..<settings["rate"] {
                let key = KademliaKey(Bytes32(words: (draws.next(), draws.next(), draws.next(), draws.next())))
                let target = KademliaTarget(key: key, name: Array("/v/flood".utf8))
                requests += 2
                if !ask(peer, group: group, .putValue(target, KademliaRecord(value: value)), at: now) { refused += 1 }
                if !ask(peer, group: group, .addProvider(target), at: now) { refused += 1 }
            }
        }
        for number in 0..<5 {
            asked += 1
            let isServed = ask(
                Self.honest, group: 1, .getValue(Self.target((second * 5 + number) % Self.honestRecords)),
                at: now + .milliseconds(Int64(number) * 150), wantsRecord: true)
            if isServed { served += 1 }
        }
    }

    private static func target(_ number: Int) -> KademliaTarget {
        KademliaTarget(
            key: KademliaKey(Bytes32(words: (1, 2, 3, 1 << 32 | UInt64(number)))), name: Array("/v/honest".utf8))
    }

    private mutating func ask(
        _ peer: PeerIndex, group: UInt64, _ request: KademliaRequest, at now: Instant, wantsRecord: Bool = false
    ) -> Bool {
        next += 1
        let id = RequestID(next)
        while let due = core.nextTimeout, due <= now { core.handleTimeout(at: max(due, now), keys: keys) }
        core.handle(.asked(id, by: peer, group: AddressGroup(group), request), at: now, keys: keys)
        var isServed = false
        while let effect = core.nextEffect() {
            switch effect {
            case .answer(id, let response): isServed = !wantsRecord || response.record != nil
            case .refuse(id): isServed = false
            default: break
            }
        }
        digest.mix(isServed ? next : ~next)
        return isServed
    }
}

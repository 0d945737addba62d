// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// One lookup, put or provide on its way: the search, what it has gathered, and what follows it.
///
///     searching → (crowded key: sampling × 4 → sweeping) → storing → over
///
/// The phases in brackets are the mitigation of sybils next to a key (Sridhar et al., NDSS 2024): peers are looked for
/// at made-up points all over the region where k honest peers should live, and all of them are asked or stored at.
/// `storing` is for puts and provides only.
package struct KademliaOperation: Sendable {
    package enum Kind: Sendable {
        case closest
        case peer(PeerIndex)
        case value(quorum: Int)
        case providers(countMax: Int)
        case provide
        case put(KademliaRecord)
        /// Upkeep's: our own key, a made-up one.
        case join, refresh
    }

    package enum Phase: Hashable, Sendable {
        case searching
        case sampling(Int)
        case sweeping
        case storing
    }

    package static let samplesMax = 4

    package let serial: UInt32
    /// Nil when nobody waits for the end: upkeep and republishing.
    package let request: RequestID?
    package let kind: Kind
    package let target: KademliaTarget
    package let deadline: Instant
    package var phase = Phase.searching
    package var machine: LookupMachine
    /// Calls had to wait for others to end.
    package var isStarved = false
    package var callCount = 0
    package var failedCallCount = 0
    package var isDense = false
    package var depth = 0

    // MARK: Gathered

    package var best: KademliaRecord?
    private var holders: [PeerIndex] = []
    package private(set) var outdated: [PeerIndex] = []
    private var withoutValue: [PeerIndex] = []
    package private(set) var providers: [PeerIndex] = []
    package var storedCount = 0
    package var plannedCount = 0
    /// Found while sampling: live peers of the region.
    private var region: [PeerIndex] = []
    /// What is asked for while sampling.
    private var sample: KademliaTarget?
    package var regionReach: UInt64 = 0

    package init(
        serial: UInt32, request: RequestID?, kind: Kind, target: KademliaTarget, deadline: Instant,
        _ configuration: KademliaConfiguration
    ) {
        self.serial = serial
        self.request = request
        self.kind = kind
        self.target = target
        self.deadline = deadline
        let doneCount = if case .peer = kind { min(configuration.beta, configuration.k) } else { configuration.k }
        machine = LookupMachine(
            target: target.key.word, askCount: configuration.k, doneCount: doneCount, alpha: configuration.alpha,
            paths: configuration.paths, candidatesMax: configuration.limits.candidatesMax)
    }

    package var isUpkeep: Bool {
        switch kind {
        case .join, .refresh: true
        case .closest, .peer, .value, .providers, .provide, .put: false
        }
    }

    /// Puts and provides may go to more peers, values and providers may hide behind a crowd.
    package var isWorthSampling: Bool {
        switch kind {
        case .value, .providers, .provide, .put: true
        case .closest, .peer, .join, .refresh: false
        }
    }

    /// What a step of the lookup asks.
    package var question: KademliaRequest {
        if let sample { return .findNode(sample) }
        return switch kind {
        case .value: .getValue(target)
        case .providers: .getProviders(target)
        case .closest, .peer, .provide, .put, .join, .refresh: .findNode(target)
        }
    }

    // MARK: Values

    /// True when enough peers agree.
    package mutating func gather(
        _ record: KademliaRecord?, from peer: PeerIndex, _ configuration: KademliaConfiguration
    ) -> Bool {
        guard case .value(let quorum) = kind, sample == nil else { return false }
        guard let record, KademliaNames.accepts(record.value, under: target, configuration) else {
            withoutValue.append(peer)
            return false
        }
        if let best, best.value != record.value {
            if configuration.validator.prefers(target.name, record.value, best.value) {
                outdated += holders
                holders = [peer]
                self.best = record
            } else {
                outdated.append(peer)
            }
        } else {
            best = best ?? record
            holders.append(peer)
        }
        return holders.count >= max(1, quorum)
    }

    /// Peers to be sent the best value: those that hold another, and when the search came to its end those of the
    /// closest that hold none.
    package func corrections(isAtEnd: Bool, _ configuration: KademliaConfiguration) -> [PeerIndex] {
        guard best != nil else { return [] }
        var list = outdated
        if isAtEnd {
            for peer in machine.closestAnswered(countMax: configuration.k) where withoutValue.contains(peer) {
                list.append(peer)
            }
        }
        return Array(list.prefix(configuration.limits.correctionsMax))
    }

    /// True when it is new and counts.
    package mutating func gather(provider: PeerIndex, _ limits: KademliaLimits) -> Bool {
        guard case .providers(let countMax) = kind,
            providers.count < min(max(1, countMax), limits.providersPerLookupMax), !providers.contains(provider)
        else { return false }
        providers.append(provider)
        return true
    }

    package func hasEnoughProviders(_ limits: KademliaLimits) -> Bool {
        guard case .providers(let countMax) = kind else { return false }
        return providers.count >= min(max(1, countMax), limits.providersPerLookupMax)
    }

    // MARK: Crowded keys

    /// How many leading bits of the key its region shares.
    package var regionBits: Int { (regionReach | 1).leadingZeroBitCount }
    private var regionDistanceMax: UInt64 { UInt64.max >> UInt64(regionBits) }

    /// Looks for peers near `sample` next.
    package mutating func sample(_ sample: KademliaTarget, _ configuration: KademliaConfiguration) {
        self.sample = sample
        machine = LookupMachine(
            target: sample.key.word, askCount: configuration.k, doneCount: configuration.k, alpha: configuration.alpha,
            paths: configuration.paths, candidatesMax: configuration.limits.candidatesMax)
    }

    package mutating func startAlsoWithRegion(keys: Keyspace) {
        machine.start(with: region, keys: keys)
    }

    /// Keeps what the machine found of the region.
    package mutating func collectRegion(keys: Keyspace) {
        for peer in machine.closestAnswered(countMax: .max)
        where keys.word(of: peer) ^ target.key.word <= regionDistanceMax && !region.contains(peer) {
            region.append(peer)
        }
    }

    /// The region's peers, nearest first. When there are too many, the nearest k and then the farthest: a crowd that
    /// wants to be near the key can't fill those places.
    package func regionPeers(keys: Keyspace, _ configuration: KademliaConfiguration) -> [PeerIndex] {
        let ranked = region.map { (keys.word(of: $0) ^ target.key.word, $0) }.sorted { $0 < $1 }.map(\.1)
        let countMax = max(configuration.k, configuration.limits.regionPeersMax)
        guard ranked.count > countMax else { return ranked }
        return Array(ranked.prefix(configuration.k) + ranked.suffix(countMax - configuration.k))
    }

    /// Asks all of the region for what is really wanted.
    package mutating func sweep(_ peers: [PeerIndex], keys: Keyspace, _ configuration: KademliaConfiguration) {
        sample = nil
        phase = .sweeping
        withoutValue = []
        machine = LookupMachine(
            target: target.key.word, askCount: peers.count, doneCount: peers.count, alpha: configuration.alpha,
            paths: 1, candidatesMax: max(1, peers.count))
        machine.start(with: peers, keys: keys)
    }

    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        for candidate in machine.candidates { body(candidate.peer) }
        for list in [holders, outdated, withoutValue, providers, region] { for peer in list { body(peer) } }
        if case .peer(let peer) = kind { body(peer) }
    }
}

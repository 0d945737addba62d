// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// One lookup, put or provide on its way: the search, what it has gathered, and what follows it.
///
///     searching → (crowded key: sampling × 4 → sweeping) → storing → over
///
/// The phases in brackets are the mitigation of sybils next to a key (Sridhar et al., NDSS 2024): peers are looked for
/// at made-up points all over the region where k honest peers should live, past those who crowd, and all of them are
/// asked or stored at.
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
    package private(set) var isDense = false
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
    private var regionReach: UInt64 = 0

    package init(
        serial: UInt32, request: RequestID?, kind: Kind, target: KademliaTarget, deadline: Instant,
        _ settings: KademliaSettings
    ) {
        self.serial = serial
        self.request = request
        self.kind = kind
        self.target = target
        self.deadline = deadline
        let doneCount =
            if case .peer = kind { min(settings.configuration.beta, settings.configuration.k) } else {
                settings.configuration.k
            }
        let alpha =
            switch kind {
            case .put, .provide: settings.configuration.storingAlpha
            case .closest, .peer, .value, .providers, .join, .refresh: settings.configuration.alpha
            }
        machine = LookupMachine(
            target: target.key.word, askCount: settings.configuration.k, doneCount: doneCount, alpha: alpha,
            paths: settings.configuration.paths, candidatesMax: settings.configuration.limits.candidatesMax)
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

    /// The end of a search for one peer: it was named, or answered itself.
    package func isFound(_ response: KademliaResponse, from peer: PeerIndex, _ limits: KademliaLimits) -> Bool {
        guard case .peer(let wanted) = kind else { return false }
        return peer == wanted || response.closer.prefix(limits.peersPerAnswerMax).contains(wanted)
    }

    /// How the request ends with its search; nil when something is to be stored then.
    package var searchStatus: KademliaOutcome.Status? {
        switch kind {
        case .closest, .join, .refresh: machine.closestAnswered(countMax: 1).isEmpty ? .notFound : .done
        case .peer: .notFound
        case .value: best == nil ? .notFound : .done
        case .providers: providers.isEmpty ? .notFound : .done
        case .provide, .put: nil
        }
    }

    /// What the peers are sent that are to store.
    package var storeRequest: KademliaRequest? {
        switch kind {
        case .put(let record): .putValue(target, record)
        case .provide: .addProvider(target)
        case .closest, .peer, .value, .providers, .join, .refresh: nil
        }
    }

    /// Whether enough peers stored already, and whether there are calls worth waiting for.
    func storeProgress(_ calls: CallTable, _ settings: KademliaSettings) -> (isEnough: Bool, isWaiting: Bool) {
        let isHurried = settings.configuration.isProvideOptimistic
        let isWaiting = calls.isWaiting(
            operation: serial, purpose: .store, exceptOvertaken: isHurried && storedCount * 2 >= plannedCount)
        // Enough is three quarters, as in go-libp2p's optimistic provide; slow peers get it all the same.
        return (isHurried && storedCount * 4 >= plannedCount * 3, isWaiting)
    }

    package func outcome(_ status: KademliaOutcome.Status, k: Int) -> KademliaOutcome {
        var outcome = KademliaOutcome(status: status)
        outcome.closest = machine.closestAnswered(countMax: k)
        if case .peer(let peer) = kind, status == .done { outcome.closest = [peer] }
        outcome.providers = providers
        outcome.record = best
        outcome.storedCount = storedCount
        outcome.callCount = callCount
        outcome.failedCallCount = failedCallCount
        outcome.depth = depth > 0 ? depth : machine.depth
        outcome.isDense = isDense
        return outcome
    }

    // MARK: Values

    /// True when enough peers agree.
    package mutating func gather(
        _ record: KademliaRecord?, from peer: PeerIndex, _ settings: KademliaSettings
    ) -> Bool {
        guard case .value(let quorum) = kind, sample == nil else { return false }
        guard let record, KademliaNames.accepts(record.value, under: target, settings.configuration) else {
            withoutValue.append(peer)
            return false
        }
        if let best, best.value != record.value {
            if settings.configuration.validator.prefers(target.name, record.value, best.value) {
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
    package func corrections(isAtEnd: Bool, _ settings: KademliaSettings) -> [PeerIndex] {
        guard best != nil else { return [] }
        var list = outdated
        if isAtEnd {
            for peer in machine.closestAnswered(countMax: settings.configuration.k) where withoutValue.contains(peer) {
                list.append(peer)
            }
        }
        return Array(list.prefix(settings.configuration.limits.correctionsMax))
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
    private var regionBits: Int { (regionReach | 1).leadingZeroBitCount }
    private var regionDistanceMax: UInt64 { UInt64.max >> UInt64(regionBits) }

    /// Judges how dense the k nearest stand that answered, and lets the estimate of the network's size learn from it.
    package mutating func isCrowded(_ size: inout NetworkSize, _ table: RoutingTable, k: Int) -> Bool {
        guard let distance = machine.distance(ofAnswered: k) else { return false }
        let reach = size.reach(table, k: k)
        let isCrowded = reach.map { NetworkSize.isDense(distance, $0) } ?? false
        // Nobody can sit around a target that we made up; around others a crowd would falsify the size.
        if case .refresh = kind { size.sample(distance) } else if !isCrowded { size.sample(distance) }
        guard isCrowded, let reach else { return false }
        isDense = true
        regionReach = reach
        return true
    }

    /// A point in the first quarter of the region, from `number` on, where peers can be looked for.
    package func samplePoint(
        from number: Int, _ settings: KademliaSettings, _ random: inout SeededGenerator
    ) -> (number: Int, target: KademliaTarget)? {
        let bits = regionBits
        for quarter in number..<max(number, Self.samplesMax) where bits <= 61 {
            let start = (target.key.word & ~(UInt64.max >> UInt64(bits))) | UInt64(quarter) << UInt64(62 - bits)
            let point = KademliaNames.target(
                sharing: bits + 2, with: start, named: settings.configuration.areTargetsNamed, &random)
            if let point { return (quarter, point) }
        }
        // No name can be made up for a region so small: the key itself must do, and its crowd isn't asked.
        return number == 0 ? (Self.samplesMax - 1, target) : nil
    }

    /// Looks for peers near `sample` next, beginning with our own contacts and with all that were heard of before.
    package mutating func sample(
        _ sample: KademliaTarget, with contacts: [PeerIndex], keys: Keyspace, _ settings: KademliaSettings
    ) {
        self.sample = sample
        let heardOf = machine.candidates.filter { $0.state != .failed }.map(\.peer)
        machine = LookupMachine(
            target: sample.key.word, askCount: settings.configuration.k, doneCount: settings.configuration.k,
            alpha: settings.configuration.alpha,
            paths: settings.configuration.paths, candidatesMax: settings.configuration.limits.candidatesMax)
        machine.start(with: (contacts + heardOf).filter { !isInCrowd($0, keys) }, keys: keys)
    }

    /// Whoever is so near to the key that only a quarter as many as k honest peers live there. These are not asked while
    /// the region is sampled: a crowd that names none but its own, all of them nearer to each point of the region than
    /// anybody outside, would never let us in. What is stored and asked in the end includes them.
    private func isInCrowd(_ peer: PeerIndex, _ keys: Keyspace) -> Bool {
        keys.word(of: peer) ^ target.key.word < regionReach / 4
    }

    /// The candidate at `source` named these.
    package mutating func heard(
        _ peers: [PeerIndex], from source: Int, except own: PeerIndex, keys: Keyspace, _ limits: KademliaLimits
    ) {
        switch phase {
        case .searching, .storing:
            machine.heard(peers, countMax: limits.peersPerAnswerMax, from: source, except: own, keys: keys)
        case .sampling:
            let others = peers.prefix(limits.peersPerAnswerMax).filter { !isInCrowd($0, keys) }
            machine.heard(others, countMax: others.count, from: source, except: own, keys: keys)
        case .sweeping:
            return
        }
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
    package func regionPeers(keys: Keyspace, _ settings: KademliaSettings) -> [PeerIndex] {
        let ranked = region.map { (keys.word(of: $0) ^ target.key.word, $0) }.sorted { $0 < $1 }.map(\.1)
        let countMax = max(settings.configuration.k, settings.configuration.limits.regionPeersMax)
        guard ranked.count > countMax else { return ranked }
        return Array(ranked.prefix(settings.configuration.k) + ranked.suffix(countMax - settings.configuration.k))
    }

    /// Asks all of the region for what is really wanted.
    package mutating func sweep(_ peers: [PeerIndex], keys: Keyspace, _ settings: KademliaSettings) {
        sample = nil
        phase = .sweeping
        withoutValue = []
        machine = LookupMachine(
            target: target.key.word, askCount: peers.count, doneCount: peers.count, alpha: settings.configuration.alpha,
            paths: 1, candidatesMax: max(1, peers.count))
        machine.start(with: peers, keys: keys)
    }

    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        for candidate in machine.candidates { body(candidate.peer) }
        for list in [holders, outdated, withoutValue, providers, region] { for peer in list { body(peer) } }
        if case .peer(let peer) = kind { body(peer) }
    }
}

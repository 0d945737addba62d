// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiIdentity

/// Keeps the node connected: chooses whom to dial, out of those that it heard of, until it has enough neighbours.
///
/// A table that others fill must not decide alone whom we speak to (Heilman et al., USENIX Security 2015; Marcus et al.
/// 2018). So what we dial is chosen at random among parts of the network to which no connection of ours leads yet, no
/// source can displace another's candidates, no part of the network can fill a source, and after a restart we come back
/// to some of those that we were connected to. The user's bootstrap addresses are tried for as long as we run.
///
/// It closes nothing: PeersCore's high water does. Addresses are in the peer store.
///
/// Invariants, after each call: at most `dialsMax` dials are under way; a peer that is connected or being dialled is no
/// candidate for a dial; the number of candidates is at most the sources times `candidatesPerSourceMax`.
package struct DiscoveryCore: Sendable {
    private struct Candidate: Sendable {
        let peer: PeerID
        let group: AddressGroup
        let source: DiscoverySource
        var failures = 0
        var notBefore: Instant
    }

    private struct Bootstrap: Sendable {
        let address: Multiaddr
        /// As the address says, or who answered.
        var peer: PeerID?
        var failures = 0
        var notBefore: Instant
        var isDialling = false
    }

    private struct Neighbour: Sendable {
        let isOutbound: Bool
        let group: AddressGroup
        let since: UInt64
    }

    private enum Dial: Sendable {
        case candidate(PeerID)
        case bootstrap(Int)
    }

    private let own: PeerID
    private let configuration: DiscoveryConfiguration
    private var generator: SeededGenerator
    private var bootstraps: [Bootstrap] = []
    /// In the order of arrival, by source.
    private var candidates: [[Candidate]] = DiscoverySource.allCases.map { _ in [] }
    private var neighbours: [PeerID: Neighbour] = [:]
    private var localPeers: Set<PeerID> = []
    private var dials: [RequestID: Dial] = [:]
    private var dialled: Set<PeerID> = []
    private var lastRequest: UInt64 = 0
    private var connectionsSeen: UInt64 = 0
    private var walkInterval: Duration
    private var walkAt: Instant?
    private var wakeAt: Instant?
    private var effects: Deque<DiscoveryEffect> = []
    package private(set) var stats = DiscoveryStats()

    package init(own: PeerID, configuration: DiscoveryConfiguration = DiscoveryConfiguration(), seed: UInt64) {
        self.own = own
        self.configuration = configuration
        generator = SeededGenerator(seed: seed)
        walkInterval = configuration.walkIntervalMin
    }

    // MARK: Reading

    package var candidateCount: Int { candidates.reduce(0) { $0 + $1.count } }
    package var dialCount: Int { dials.count }
    package var neighbourCount: Int { neighbours.count }
    package var outboundCount: Int { neighbours.values.count { $0.isOutbound } }
    /// Parts of the network that our own dials lead to. Peers of this site are in none.
    package var outboundGroupCount: Int {
        Set(neighbours.values.filter { $0.isOutbound && $0.group != .none }.map(\.group)).count
    }
    /// Whom to come back to after a restart: those that we dialled and have been connected to longest.
    package var anchors: [PeerID] {
        neighbours.filter { $0.value.isOutbound }.sorted { $0.value.since < $1.value.since }
            .prefix(configuration.anchorsMax).map(\.key)
    }

    package var nextTimeout: Instant? {
        guard let walkAt, let wakeAt else { return walkAt ?? wakeAt }
        return min(walkAt, wakeAt)
    }
    package mutating func nextEffect() -> DiscoveryEffect? { effects.popFirst() }

    // MARK: Inputs

    package mutating func handle(_ input: DiscoveryInput, at now: Instant) {
        switch input {
        case .bootstrap(let addresses):
            for address in addresses { add(address, at: now) }
        case .found(let peer, let group, let source):
            found(peer, group, source, at: now)
            if source != .local {
                // Whoever speaks first is not preferred: what is heard at a time is chosen from together.
                wakeAt = min(wakeAt ?? .distantFuture, now + configuration.gatherTime)
                return
            }
        case .connected(let peer, let isOutbound, let group):
            connected(peer, isOutbound: isOutbound, group)
        case .disconnected(let peer):
            disconnected(peer, at: now)
        case .dialed(let request, let peer):
            succeeded(request, peer)
        case .dialFailed(let request):
            failed(request, at: now)
        }
        work(at: now)
    }

    package mutating func handleTimeout(at now: Instant) {
        if let due = walkAt, due <= now { walk(at: now) }
        work(at: now)
    }

    private mutating func add(_ address: Multiaddr, at now: Instant) {
        let peer = address.peerID
        guard peer != own, bootstraps.count < configuration.bootstrapMax,
            !bootstraps.contains(where: { $0.address == address })
        else { return }
        bootstraps.append(Bootstrap(address: address, peer: peer, notBefore: now))
    }

    private mutating func found(_ peer: PeerID, _ group: AddressGroup, _ source: DiscoverySource, at now: Instant) {
        guard peer != own else { return }
        if source == .local {
            if localPeers.count < configuration.candidatesPerSourceMax { localPeers.insert(peer) }
            // It is here and now, whatever was before.
            forgive(peer, at: now)
        }
        let place = source.rawValue
        guard !candidates[place].contains(where: { $0.peer == peer }) else { return }
        let inGroup = candidates[place].count { $0.group == group }
        guard group == .none || inGroup < configuration.candidatesPerGroupMax else {
            stats.candidatesRefused += 1
            return
        }
        if candidates[place].count >= configuration.candidatesPerSourceMax {
            let gone = candidates[place].removeFirst()
            if source == .local { localPeers.remove(gone.peer) }
            stats.candidatesDisplaced += 1
        }
        // Both of us have just heard of each other: one dial is enough.
        let patience: Duration = source == .local && own > peer ? configuration.localPatience : .zero
        candidates[place].append(Candidate(peer: peer, group: group, source: source, notBefore: now + patience))
    }

    private mutating func forgive(_ peer: PeerID, at now: Instant) {
        let place = DiscoverySource.local.rawValue
        guard let index = candidates[place].firstIndex(where: { $0.peer == peer }) else { return }
        candidates[place][index].failures = 0
        candidates[place][index].notBefore = min(candidates[place][index].notBefore, now + configuration.backoffMin)
    }

    private mutating func connected(_ peer: PeerID, isOutbound: Bool, _ group: AddressGroup) {
        guard neighbours[peer] == nil else { return }
        connectionsSeen += 1
        neighbours[peer] = Neighbour(isOutbound: isOutbound, group: group, since: connectionsSeen)
        if neighbours.count == 1 { walkInterval = configuration.walkIntervalMin }
        for place in candidates.indices {
            guard let index = candidates[place].firstIndex(where: { $0.peer == peer }) else { continue }
            candidates[place][index].failures = 0
        }
    }

    private mutating func disconnected(_ peer: PeerID, at now: Instant) {
        guard neighbours.removeValue(forKey: peer) != nil else { return }
        // Whoever closed it had a reason: not at once.
        for place in candidates.indices {
            guard let index = candidates[place].firstIndex(where: { $0.peer == peer }) else { continue }
            candidates[place][index].notBefore = now + wait(after: 1)
        }
        for index in bootstraps.indices where bootstraps[index].peer == peer {
            bootstraps[index].notBefore = now + wait(after: 1)
        }
    }

    private mutating func succeeded(_ request: RequestID, _ peer: PeerID) {
        switch dials.removeValue(forKey: request) {
        case .candidate(let wanted):
            dialled.remove(wanted)
        case .bootstrap(let index):
            bootstraps[index].isDialling = false
            bootstraps[index].failures = 0
            bootstraps[index].peer = peer
        case nil: break
        }
    }

    private mutating func failed(_ request: RequestID, at now: Instant) {
        guard let dial = dials.removeValue(forKey: request) else { return }
        stats.dialsFailed += 1
        switch dial {
        case .bootstrap(let index):
            bootstraps[index].isDialling = false
            bootstraps[index].failures += 1
            bootstraps[index].notBefore = now + wait(after: bootstraps[index].failures)
        case .candidate(let peer):
            dialled.remove(peer)
            for place in candidates.indices {
                guard let index = candidates[place].firstIndex(where: { $0.peer == peer }) else { continue }
                candidates[place][index].failures += 1
                let failures = candidates[place][index].failures
                candidates[place][index].notBefore = now + wait(after: failures)
                guard failures >= configuration.failuresMax else { continue }
                candidates[place].remove(at: index)
                if place == DiscoverySource.local.rawValue { localPeers.remove(peer) }
                stats.candidatesGivenUp += 1
            }
        }
    }

    /// Doubled by each failure, and up to a quarter more at random, so that many nodes don't come back as one.
    private mutating func wait(after failures: Int) -> Duration {
        let doubled = configuration.backoffMin * (1 << min(max(failures, 1) - 1, 20))
        let base = min(doubled, configuration.backoffMax).saturatedNanoseconds
        let quarter = max(1, base / 4)
        return .nanoseconds(base + Int64.random(in: 0...quarter, using: &generator))
    }

    // MARK: Choosing

    private var wantsNeighbours: Bool {
        neighbours.count < configuration.neighboursTarget || outboundCount < configuration.outboundTarget
    }

    private var wantsGroups: Bool {
        outboundGroupCount < configuration.groupsTarget && outboundCount < configuration.outboundMax
    }

    private mutating func work(at now: Instant) {
        var wake: Instant?
        if neighbours.count < configuration.connectionsMax {
            dialBootstraps(at: now, &wake)
            dialLocals(at: now, &wake)
            dialCandidates(at: now, &wake)
        }
        wakeAt = wake
        guard wantsNeighbours || wantsGroups, !neighbours.isEmpty else {
            walkAt = nil
            return
        }
        if walkAt == nil { walkAt = now + walkInterval }
    }

    private static func earlier(_ candidate: Instant, _ wake: inout Instant?) {
        wake = min(wake ?? candidate, candidate)
    }

    /// With no neighbour, or too few, all of them; else those that we never reached, so that a mistake shows.
    private mutating func dialBootstraps(at now: Instant, _ wake: inout Instant?) {
        for index in bootstraps.indices {
            let entry = bootstraps[index]
            guard !entry.isDialling, entry.peer.map({ neighbours[$0] == nil && !dialled.contains($0) }) ?? true,
                wantsNeighbours || entry.peer == nil
            else { continue }
            guard entry.notBefore <= now else {
                Self.earlier(entry.notBefore, &wake)
                continue
            }
            guard dials.count < configuration.dialsMax else { return }
            bootstraps[index].isDialling = true
            dial(.bootstrap(index), entry.address.peerID, [entry.address], at: now)
        }
    }

    private mutating func dialLocals(at now: Instant, _ wake: inout Instant?) {
        var count = localPeers.count { neighbours[$0] != nil || dialled.contains($0) }
        for candidate in candidates[DiscoverySource.local.rawValue] where isFree(candidate.peer) {
            guard count < configuration.localTarget, dials.count < configuration.dialsMax else { return }
            guard candidate.notBefore <= now else {
                Self.earlier(candidate.notBefore, &wake)
                continue
            }
            count += 1
            dialled.insert(candidate.peer)
            dial(.candidate(candidate.peer), candidate.peer, [], at: now)
        }
    }

    private func isFree(_ peer: PeerID) -> Bool {
        neighbours[peer] == nil && !dialled.contains(peer)
            && !bootstraps.contains { $0.isDialling && $0.peer == peer }
    }

    private mutating func dialCandidates(at now: Instant, _ wake: inout Instant?) {
        // Dials under way count as if they had succeeded, or one answer too many would come back.
        var groups = Set(neighbours.values.filter(\.isOutbound).map(\.group))
        while dials.count < configuration.dialsMax {
            let isShort =
                neighbours.count + dials.count < configuration.neighboursTarget
                || outboundCount + dials.count < configuration.outboundTarget
            let seeksGroups = wantsGroups && outboundCount + dials.count < configuration.outboundMax
            guard isShort || seeksGroups else { return }
            guard let chosen = choose(avoiding: groups, onlyNewGroups: !isShort, at: now, &wake) else { return }
            groups.insert(chosen.group)
            dialled.insert(chosen.peer)
            dial(.candidate(chosen.peer), chosen.peer, [], at: now)
        }
    }

    /// An anchor first; else one of a group that we have no connection to; else any. At random among its equals.
    private mutating func choose(
        avoiding groups: Set<AddressGroup>, onlyNewGroups: Bool, at now: Instant, _ wake: inout Instant?
    ) -> Candidate? {
        var anchors: [Candidate] = []
        var elsewhere: [Candidate] = []
        var others: [Candidate] = []
        for candidate in candidates.joined() where isFree(candidate.peer) {
            let isNew = candidate.group != .none && !groups.contains(candidate.group)
            guard isNew || !onlyNewGroups else { continue }
            guard candidate.notBefore <= now else {
                Self.earlier(candidate.notBefore, &wake)
                continue
            }
            if candidate.source == .anchor, candidate.failures == 0 {
                anchors.append(candidate)
            } else if isNew {
                elsewhere.append(candidate)
            } else {
                others.append(candidate)
            }
        }
        let best = !anchors.isEmpty ? anchors : !elsewhere.isEmpty ? elsewhere : others
        return best.randomElement(using: &generator)
    }

    private mutating func dial(_ dial: Dial, _ peer: PeerID?, _ addresses: [Multiaddr], at now: Instant) {
        lastRequest += 1
        let request = RequestID(lastRequest)
        dials[request] = dial
        stats.dials += 1
        effects.append(.dial(request, peer, addresses: addresses, deadline: now + configuration.dialTimeout))
    }

    private mutating func walk(at now: Instant) {
        walkInterval = min(walkInterval * 2, configuration.walkIntervalMax)
        walkAt = now + walkInterval
        var name: [UInt8] = []
        for _ in 0..<4 {
            let word = generator.next()
            for shift in 0..<8 { name.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * shift))) }
        }
        stats.walks += 1
        effects.append(.walk(name))
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// Who our neighbours are: HyParView (Leitão, Pereira, Rodrigues, "HyParView: a membership protocol for reliable
/// gossip-based broadcast", DSN 2007).
///
/// The active view holds few peers, each of which holds us; a connection to each is kept. The passive view holds more, of
/// which nothing is known but that they exist; from it the active view is filled again after a loss. A candidate counts
/// only when it was reached and has agreed.
///
/// Deviations: a newcomer is told whether it was taken (`neighbourAnswer`), so links are symmetric although messages
/// can be lost with a connection; an active view that is not full is filled at each shuffle too, not only after a loss,
/// and one less than half full at two shuffles in a row insists once; newcomers that come at the same time take each
/// other's place at the contact, not that of settled neighbours; groups of addresses are capped.
///
/// Invariants: no peer is in two of active, passive, candidates; never ourselves in any; active + candidates <=
/// activeMax.
struct NeighbourViews: Sendable {
    private struct Entry: Sendable {
        let peer: PeerIndex
        /// We had a link with it.
        var isProven: Bool
        /// Asked since the last shuffle.
        var isTried: Bool
    }

    private struct Candidate: Sendable {
        let peer: PeerIndex
        let deadline: Instant
    }

    private struct Newcomer: Sendable {
        let peer: PeerIndex
        let until: Instant
    }

    private let configuration: ViewsConfiguration
    private(set) var isRepairOn: Bool
    private(set) var active: [PeerIndex] = []
    private var passive: [Entry] = []
    private var candidates: [Candidate] = []
    private var lastShuffled: [PeerIndex] = []
    private var shuffleAt: Instant?
    /// The last one that joined through us.
    private var newcomer: Newcomer?
    /// At the last shuffle there were few neighbours.
    private var wasPoor = false
    private var insists = false
    private var hasLeft = false

    init(configuration: ViewsConfiguration) {
        self.configuration = configuration
        isRepairOn = configuration.isRepairOn
    }

    var passivePeers: [PeerIndex] { passive.map(\.peer) }
    var isActiveEmpty: Bool { active.isEmpty }

    func isActive(_ peer: PeerIndex) -> Bool { active.contains(peer) }

    // MARK: Inputs

    mutating func setRepair(_ isOn: Bool) { isRepairOn = isOn }

    mutating func join(through contact: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        guard contact != links.own, !isActive(contact) else { return }
        hasLeft = false
        start(&links, at: now)
        guard !candidates.contains(where: { $0.peer == contact }) else { return }
        passive.removeAll { $0.peer == contact }
        makeRoom(&links)
        ask(contact, .join, &links, at: now)
    }

    mutating func restore(_ snapshot: MembershipSnapshot, _ links: inout MembershipLinks, at now: Instant) {
        for peer in snapshot.passive { addPassive(peer, isProven: false, &links) }
        for peer in snapshot.active { addPassive(peer, isProven: true, &links) }
        start(&links, at: now)
        fill(&links, at: now)
    }

    mutating func found(_ peers: [PeerIndex], _ links: inout MembershipLinks, at now: Instant) {
        for peer in peers { addPassive(peer, isProven: false, &links) }
        start(&links, at: now)
        if active.isEmpty, !hasLeft { fill(&links, at: now) }
    }

    mutating func leave(_ links: inout MembershipLinks) {
        hasLeft = true
        shuffleAt = nil
        candidates.removeAll()
        while let peer = active.last {
            links.send(.disconnect, to: peer)
            remove(peer, &links)
            addPassive(peer, isProven: true, &links)
        }
    }

    /// A neighbour or candidate is lost: its connection broke, it is dead, or the path to it is.
    mutating func lost(_ peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        guard isActive(peer) || candidates.contains(where: { $0.peer == peer }) else { return }
        candidates.removeAll { $0.peer == peer }
        passive.removeAll { $0.peer == peer }
        if isActive(peer) {
            remove(peer, &links)
            links.stats.neighboursLost &+= 1
        }
        // The last that we know of is not forgotten: it is tried again at the next shuffle.
        if active.isEmpty, passive.isEmpty, candidates.isEmpty {
            addPassive(peer, isProven: false, isTried: true, &links)
        }
        fill(&links, at: now)
    }

    /// Only the attempt failed. A peer that can't be reached leaves the passive view.
    mutating func connectFailed(_ peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        guard candidates.contains(where: { $0.peer == peer }) else { return }
        lost(peer, &links, at: now)
    }

    mutating func received(
        _ message: MembershipMessage, from peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant
    ) {
        switch message {
        case .join: receivedJoin(from: peer, &links, at: now)
        case .forwardJoin(let newcomer, let timeToLive):
            receivedForwardJoin(newcomer, min(timeToLive, configuration.activeWalkLength), peer, &links, at: now)
        case .neighbour(let isHighPriority):
            receivedNeighbour(isHighPriority: isHighPriority, from: peer, &links, at: now)
        case .neighbourAnswer(let isAccepted):
            receivedAnswer(isAccepted: isAccepted, from: peer, &links, at: now)
        case .disconnect:
            guard isActive(peer) else { return links.stats.ignored &+= 1 }
            remove(peer, &links)
            addPassive(peer, isProven: true, isTried: true, &links)
            fill(&links, at: now)
        case .shuffle(let origin, let peers, let timeToLive):
            receivedShuffle(
                origin, peers, min(timeToLive, configuration.activeWalkLength), from: peer, &links, at: now)
        case .shuffleAnswer(let peers):
            integrate(peers, displacing: lastShuffled, &links)
            lastShuffled = []
        default: links.stats.ignored &+= 1
        }
    }

    // MARK: Timeouts

    var nextTimeout: Instant? {
        var next = shuffleAt
        for candidate in candidates where next.map({ candidate.deadline < $0 }) ?? true { next = candidate.deadline }
        return next
    }

    mutating func handleTimeout(_ links: inout MembershipLinks, at now: Instant) {
        let expired = candidates.filter { $0.deadline <= now }
        if !expired.isEmpty {
            candidates.removeAll { $0.deadline <= now }
            // It may have taken us although its answer was lost.
            for candidate in expired where links.isConnected(candidate.peer) {
                links.send(.disconnect, to: candidate.peer)
                links.effect(.release(candidate.peer))
            }
            fill(&links, at: now)
        }
        guard let due = shuffleAt, due <= now else { return }
        shuffleAt = now + configuration.shuffleInterval
        guard isRepairOn else { return }
        for place in passive.indices { passive[place].isTried = false }
        shuffle(&links)
        // Nodes that know few others but each other may be an island, and nobody outside has room.
        let isPoor = active.count * 2 < configuration.activeMax
        insists = isPoor && wasPoor
        wasPoor = isPoor
        fill(&links, at: now)
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for peer in active { body(peer) }
        for entry in passive { body(entry.peer) }
        for candidate in candidates { body(candidate.peer) }
        for peer in lastShuffled { body(peer) }
    }

    // MARK: Joins

    private mutating func receivedJoin(from peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        guard !hasLeft else { return refuse(peer, &links) }
        links.stats.joinsServed &+= 1
        // A walk that begins at a newcomer ends there, as it has no other neighbour yet: joins that overlap would make a
        // chain. So walks begin at settled neighbours, and these are not dropped for those who come in a crowd.
        let unsettled = unsettledNewcomer(at: now)
        let others = active.filter { $0 != peer && $0 != unsettled }
        if isRoomInGroup(of: peer, links) {
            if let unsettled, unsettled != peer { drop(unsettled, &links) }
            take(peer, &links, at: now)
            newcomer = Newcomer(peer: peer, until: now + configuration.settleTime)
        } else {
            refuse(peer, &links)
        }
        for other in others {
            links.send(.forwardJoin(peer, timeToLive: configuration.activeWalkLength), to: other)
        }
    }

    private mutating func receivedForwardJoin(
        _ newcomer: PeerIndex, _ timeToLive: UInt8, _ sender: PeerIndex, _ links: inout MembershipLinks,
        at now: Instant
    ) {
        guard isActive(sender), !hasLeft else { return dismiss(sender, &links) }
        guard newcomer != links.own else { return links.stats.ignored &+= 1 }
        if timeToLive == 0 || active.count <= 1 {
            return offer(newcomer, &links, at: now)
        }
        if timeToLive == configuration.passiveWalkLength { addPassive(newcomer, isProven: false, &links) }
        let unsettled = unsettledNewcomer(at: now)
        let others = active.filter { $0 != sender && $0 != newcomer && $0 != unsettled }
        guard !others.isEmpty else { return offer(newcomer, &links, at: now) }
        links.send(.forwardJoin(newcomer, timeToLive: timeToLive - 1), to: others[links.below(others.count)])
    }

    private func unsettledNewcomer(at now: Instant) -> PeerIndex? {
        guard let newcomer, now < newcomer.until, isActive(newcomer.peer) else { return nil }
        return active.count >= configuration.activeMax ? newcomer.peer : nil
    }

    /// The end of a join's walk: a place is made and the newcomer asked to be our neighbour.
    private mutating func offer(_ newcomer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        guard !isActive(newcomer), !candidates.contains(where: { $0.peer == newcomer }) else { return }
        passive.removeAll { $0.peer == newcomer }
        makeRoom(&links)
        ask(newcomer, .neighbour(isHighPriority: true), &links, at: now)
    }

    // MARK: Neighbours

    private mutating func receivedNeighbour(
        isHighPriority: Bool, from peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant
    ) {
        if isActive(peer) { return links.send(.neighbourAnswer(isAccepted: true), to: peer) }
        // Both asked each other: both take it.
        let isMutual = candidates.contains { $0.peer == peer }
        // Candidates take no room: after a mass failure all ask the dead, and would refuse each other.
        let hasRoom = active.count < configuration.activeMax
        guard !hasLeft, isRoomInGroup(of: peer, links), isHighPriority || hasRoom || isMutual else {
            return refuse(peer, &links)
        }
        take(peer, &links, at: now)
    }

    private mutating func receivedAnswer(
        isAccepted: Bool, from peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant
    ) {
        guard let place = candidates.firstIndex(where: { $0.peer == peer }) else {
            // Too late: it believes us its neighbour, which we are not.
            if isAccepted, !isActive(peer) { links.send(.disconnect, to: peer) }
            return links.stats.ignored &+= 1
        }
        candidates.remove(at: place)
        if isAccepted, isRoomInGroup(of: peer, links) {
            links.stats.promotionsDone &+= 1
            makeRoom(&links)
            insert(peer, &links)
            return
        }
        if isAccepted { links.send(.disconnect, to: peer) }
        links.effect(.release(peer))
        addPassive(peer, isProven: true, isTried: true, &links)
        fill(&links, at: now)
    }

    private mutating func take(_ peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        candidates.removeAll { $0.peer == peer }
        links.send(.neighbourAnswer(isAccepted: true), to: peer)
        guard !isActive(peer) else { return }
        makeRoom(&links)
        insert(peer, &links)
        start(&links, at: now)
    }

    private mutating func refuse(_ peer: PeerIndex, _ links: inout MembershipLinks) {
        links.stats.neighboursRefused &+= 1
        links.send(.neighbourAnswer(isAccepted: false), to: peer)
    }

    /// It believes us its neighbour, which we are not: links are symmetric again once it knows.
    private func dismiss(_ peer: PeerIndex, _ links: inout MembershipLinks) {
        links.stats.ignored &+= 1
        guard !candidates.contains(where: { $0.peer == peer }) else { return }
        links.send(.disconnect, to: peer)
    }

    private mutating func insert(_ peer: PeerIndex, _ links: inout MembershipLinks) {
        passive.removeAll { $0.peer == peer }
        active.append(peer)
        links.keep(peer)
        links.effect(.protect(peer, isProtected: true))
        links.notices.append(.neighbourUp(peer))
    }

    private mutating func remove(_ peer: PeerIndex, _ links: inout MembershipLinks) {
        active.removeAll { $0 == peer }
        links.effect(.protect(peer, isProtected: false))
        links.effect(.release(peer))
        links.notices.append(.neighbourDown(peer))
    }

    /// Drops candidates first (nothing is lost with them), then a neighbour by lot.
    private mutating func makeRoom(_ links: inout MembershipLinks) {
        while active.count + candidates.count >= configuration.activeMax, !candidates.isEmpty {
            let dropped = candidates.removeLast()
            // It may be about to accept.
            if links.isConnected(dropped.peer) { links.send(.disconnect, to: dropped.peer) }
            addPassive(dropped.peer, isProven: false, &links)
        }
        while active.count >= configuration.activeMax {
            drop(active[links.below(active.count)], &links)
        }
    }

    private mutating func drop(_ peer: PeerIndex, _ links: inout MembershipLinks) {
        links.send(.disconnect, to: peer)
        remove(peer, &links)
        addPassive(peer, isProven: true, isTried: true, &links)
    }

    private func isRoomInGroup(of peer: PeerIndex, _ links: MembershipLinks) -> Bool {
        let group = links.group(of: peer)
        guard group != .none, configuration.activePerGroupMax < configuration.activeMax else { return true }
        var count = 0
        for other in active where other != peer && links.group(of: other) == group { count += 1 }
        return count < configuration.activePerGroupMax
    }

    // MARK: Repair

    private mutating func start(_ links: inout MembershipLinks, at now: Instant) {
        guard shuffleAt == nil, !hasLeft else { return }
        // Shuffles of nodes that start together are spread over the interval.
        let interval = configuration.shuffleInterval.saturatedNanoseconds
        shuffleAt = now + .nanoseconds(1 + Int64(links.generator.next() % UInt64(max(1, interval))))
    }

    /// Asks peers of the passive view, one for each free place, none twice between two shuffles.
    private mutating func fill(_ links: inout MembershipLinks, at now: Instant) {
        guard isRepairOn, !hasLeft else { return }
        while active.count + candidates.count < configuration.activeMax {
            guard let place = nextToTry(&links) else { return }
            let peer = passive.remove(at: place).peer
            links.stats.promotionsTried &+= 1
            ask(peer, .neighbour(isHighPriority: active.isEmpty || insists), &links, at: now)
            insists = false
        }
    }

    private mutating func nextToTry(_ links: inout MembershipLinks) -> Int? {
        var count = 0
        var provenCount = 0
        for entry in passive where !entry.isTried {
            count += 1
            if entry.isProven { provenCount += 1 }
        }
        guard count > 0 else { return nil }
        // With no neighbour left those that we knew come first: they are the hardest to forge.
        let isProvenFirst = active.isEmpty && provenCount > 0
        var lot = links.below(isProvenFirst ? provenCount : count)
        for (place, entry) in passive.enumerated() where !entry.isTried && (!isProvenFirst || entry.isProven) {
            if lot == 0 { return place }
            lot -= 1
        }
        return nil
    }

    private mutating func ask(
        _ peer: PeerIndex, _ message: MembershipMessage, _ links: inout MembershipLinks, at now: Instant
    ) {
        candidates.append(Candidate(peer: peer, deadline: now + configuration.neighbourTimeout))
        links.keep(peer)
        links.send(message, to: peer)
    }

    // MARK: Shuffle

    private mutating func shuffle(_ links: inout MembershipLinks) {
        guard !active.isEmpty else { return }
        let target = active[links.below(active.count)]
        let fromActive = links.sample(active.filter { $0 != target }, count: configuration.shuffleActive)
        let fromPassive = links.sample(passivePeers, count: configuration.shufflePassive)
        lastShuffled = fromPassive
        links.stats.shufflesSent &+= 1
        links.send(
            .shuffle(
                origin: links.own, peers: fromActive + fromPassive, timeToLive: configuration.activeWalkLength),
            to: target)
    }

    private mutating func receivedShuffle(
        _ origin: PeerIndex, _ peers: [PeerIndex], _ timeToLive: UInt8, from sender: PeerIndex,
        _ links: inout MembershipLinks, at now: Instant
    ) {
        guard isActive(sender) else { return dismiss(sender, &links) }
        guard origin != links.own else { return links.stats.ignored &+= 1 }
        if timeToLive > 1, active.count > 1 {
            let others = active.filter { $0 != sender && $0 != origin }
            if !others.isEmpty {
                let next = others[links.below(others.count)]
                return links.send(.shuffle(origin: origin, peers: peers, timeToLive: timeToLive - 1), to: next)
            }
        }
        let answer = links.sample(passivePeers, count: min(peers.count + 1, links.limits.peersPerMessageMax))
        links.sendOnce(.shuffleAnswer(answer), to: origin, at: now)
        integrate([origin] + peers, displacing: answer, &links)
    }

    private mutating func integrate(
        _ peers: [PeerIndex], displacing sent: [PeerIndex], _ links: inout MembershipLinks
    ) {
        var displaced = sent[...]
        for peer in peers.prefix(links.limits.peersPerMessageMax + 1) {
            guard isNew(peer, links) else { continue }
            // Those that the other side now has go first.
            while passive.count >= configuration.passiveMax, let given = displaced.popFirst() {
                guard let place = passive.firstIndex(where: { $0.peer == given }), !isProtected(passive[place])
                else { continue }
                passive.remove(at: place)
            }
            addPassive(peer, isProven: false, &links)
        }
    }

    // MARK: Passive view

    private func isNew(_ peer: PeerIndex, _ links: MembershipLinks) -> Bool {
        peer != links.own && !isActive(peer) && !passive.contains { $0.peer == peer }
            && !candidates.contains { $0.peer == peer }
    }

    private func isProtected(_ entry: Entry) -> Bool {
        guard entry.isProven, configuration.provenKeptMax > 0 else { return false }
        return passive.count { $0.isProven } <= configuration.provenKeptMax
    }

    private mutating func addPassive(
        _ peer: PeerIndex, isProven: Bool, isTried: Bool = false, _ links: inout MembershipLinks
    ) {
        guard isNew(peer, links) else {
            if isProven, let place = passive.firstIndex(where: { $0.peer == peer }) {
                passive[place].isProven = true
                passive[place].isTried = passive[place].isTried || isTried
            }
            return
        }
        if passive.count >= configuration.passiveMax {
            var place = links.below(passive.count)
            if isProtected(passive[place]) {
                guard let other = passive.firstIndex(where: { !$0.isProven }) else { return }
                place = other
            }
            passive.remove(at: place)
        }
        passive.append(Entry(peer: peer, isProven: isProven, isTried: isTried))
    }
}

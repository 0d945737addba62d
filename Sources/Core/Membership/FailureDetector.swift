// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// Who is alive: SWIM (Das, Gupta, Motivala, "SWIM: scalable weakly-consistent infection-style process group
/// membership protocol", DSN 2002) with Lifeguard (Dadgar, Phillips, Currey, 2017).
///
/// A probe that is not answered in time is repeated through K helpers. Without any answer the member is suspected, told
/// so first of all, and dead when it has not refuted in time. Only a member raises its own incarnation.
///
/// In the scope of neighbours a verdict needs our own probes: what others say of a neighbour raises a suspicion at
/// most, so that nobody talks our neighbours dead. There a peer that only helpers reach has a broken path and is not
/// dead; it is probed until the path is back.
///
/// A probe goes through: direct -> (answered | indirect -> (answered | failed)).
struct FailureDetector: Sendable {
    private struct Probe: Sendable {
        let sequence: UInt32
        let peer: PeerIndex
        var isIndirect = false
        var deadline: Instant
        let verdictAt: Instant
        var helpers: [PeerIndex] = []
        var nacksCount = 0
    }

    private struct PathDown: Sendable {
        let peer: PeerIndex
        var via: PeerIndex
    }

    private let configuration: DetectorConfiguration
    private let limits: MembershipLimits
    private(set) var incarnation: UInt32 = 0
    /// Lifeguard's local health: 0 is well; intervals and time-outs are this plus one times as long.
    private(set) var awareness = 0
    private(set) var members: MemberTable
    private var suspicions = SuspicionTable()
    private var updates: UpdateQueue
    private var probes: [Probe] = []
    private var relays = ProbeRelays()
    private var pathsDown: [PathDown] = []
    /// The scope of neighbours probes these, and what lingers in `members` of former ones.
    private var neighbours: [PeerIndex] = []
    private var sequence: UInt32
    private var tickAt: Instant?
    private var gossipAt: Instant?
    private var hasStarted = false
    private var hasLeft = false

    init(
        configuration: DetectorConfiguration, limits: MembershipLimits, _ links: inout MembershipLinks, at now: Instant
    ) {
        self.configuration = configuration
        self.limits = limits
        let dense = configuration.scope == .members ? configuration.membersAtStart : 0
        members = MemberTable(dense: dense, countMax: max(limits.membersMax, Int(dense)))
        updates = UpdateQueue(countMax: limits.updatesQueuedMax)
        sequence = UInt32(truncatingIfNeeded: links.generator.next())
        arm(&links, at: now)
    }

    // MARK: Members

    mutating func found(_ peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        guard configuration.isOn, configuration.scope == .members, peer != links.own else { return }
        if !members.add(peer) { links.stats.dropped &+= 1 }
        arm(&links, at: now)
    }

    mutating func neighbourUp(_ peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        guard configuration.isOn else { return }
        if !neighbours.contains(peer) { neighbours.append(peer) }
        if configuration.scope == .neighbours, members.member(peer)?.state.isGone ?? false {
            // It has just agreed to be our neighbour: no hearsay, no waiting for a refutation.
            members.remove(peer)
            links.emit(.stateChanged(peer, .alive))
        }
        if !members.add(peer) { links.stats.dropped &+= 1 }
        arm(&links, at: now)
    }

    mutating func neighbourDown(_ peer: PeerIndex) {
        neighbours.removeAll { $0 == peer }
        forgetIfSettled(peer)
    }

    /// The connection to a neighbour broke without a farewell: helpers tell whether it is the path or the peer.
    mutating func linkLost(_ peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        guard configuration.isOn, !hasLeft, configuration.scope == .neighbours, neighbours.contains(peer) else {
            return
        }
        if !probes.contains(where: { $0.peer == peer }) {
            guard probes.count < limits.probesMax else { return }
            probes.append(newProbe(of: peer, at: now))
        }
        becomeIndirect(peer, &links, at: now)
    }

    /// A peer that we don't reach directly at all: no use waiting for its answer.
    mutating func unreachable(_ peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        becomeIndirect(peer, &links, at: now)
        relays.unreachable(peer, sendsNack: configuration.arm == .lifeguard, &links)
    }

    mutating func leave(_ links: inout MembershipLinks) {
        hasLeft = true
        tickAt = nil
        gossipAt = nil
        probes.removeAll()
        let farewell = MemberUpdate(peer: links.own, incarnation: incarnation, state: .left)
        let count = max(configuration.helpers, 1)
        let others = members.sample(count, &links.generator) { $0 != links.own && !neighbours.contains($0) }
        for peer in neighbours + others { links.send(.updates([farewell]), to: peer) }
    }

    /// Takes part again after a farewell.
    mutating func rejoin(_ links: inout MembershipLinks, at now: Instant) {
        guard hasLeft else { return }
        hasLeft = false
        arm(&links, at: now)
    }

    func state(of peer: PeerIndex) -> MemberUpdate.State? { members.member(peer)?.state }

    func isPathDown(_ peer: PeerIndex) -> Bool { pathsDown.contains { $0.peer == peer } }

    // MARK: Messages

    mutating func received(
        _ message: MembershipMessage, from peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant
    ) {
        guard configuration.isOn, !hasLeft else { return }
        switch message {
        case .probe(let sequence, let news):
            apply(news, from: peer, &links, at: now)
            links.send(.ack(sequence: sequence, piggyback(to: peer)), to: peer)
        case .ack(let sequence, let news):
            apply(news, from: peer, &links, at: now)
            receivedAck(sequence, from: peer, &links, at: now)
        case .nack(let sequence):
            links.stats.nacksReceived &+= 1
            guard let place = probes.firstIndex(where: { $0.sequence == sequence }),
                probes[place].helpers.contains(peer), probes[place].nacksCount < probes[place].helpers.count
            else { return links.stats.ignored &+= 1 }
            probes[place].nacksCount += 1
        case .indirectProbe(let sequence, let target, let news):
            apply(news, from: peer, &links, at: now)
            relay(sequence, of: target, for: peer, &links, at: now)
        case .updates(let news):
            apply(news, from: peer, &links, at: now)
        default: links.stats.ignored &+= 1
        }
    }

    private mutating func receivedAck(
        _ sequence: UInt32, from peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant
    ) {
        if let relay = relays.take(sequence, target: peer) {
            return links.send(.ack(sequence: relay.originSequence, piggyback(to: relay.origin)), to: relay.origin)
        }
        guard let place = probes.firstIndex(where: { $0.sequence == sequence }) else {
            return links.stats.ignored &+= 1
        }
        let probe = probes[place]
        guard probe.peer == peer || probe.helpers.contains(peer) else { return links.stats.ignored &+= 1 }
        links.stats.acksReceived &+= 1
        probes.remove(at: place)
        changeAwareness(by: -1)
        guard configuration.scope == .neighbours else { return }
        clear(probe.peer, &links, at: now)
        if probe.peer == peer {
            if let path = pathsDown.firstIndex(where: { $0.peer == peer }) {
                pathsDown.remove(at: path)
                links.emit(.pathRestored(peer))
                links.notices.append(.pathRestored(peer))
            }
            forgetIfSettled(peer)
        } else {
            pathIsDown(probe.peer, via: peer, &links)
        }
    }

    /// It has answered us: what others say of a neighbour does not outweigh that.
    private mutating func clear(_ peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        guard let known = members.member(peer), known.state == .suspect else { return }
        members.set(
            peer, MemberTable.Member(state: .alive, incarnation: known.incarnation), tombstoneUntil: .distantFuture)
        suspicions.remove(peer)
        links.emit(.stateChanged(peer, .alive))
    }

    private mutating func pathIsDown(_ peer: PeerIndex, via helper: PeerIndex, _ links: inout MembershipLinks) {
        if let place = pathsDown.firstIndex(where: { $0.peer == peer }) {
            pathsDown[place].via = helper
            return
        }
        if pathsDown.count >= limits.pathsDownMax {
            let oldest = pathsDown.removeFirst()
            forgetIfSettled(oldest.peer)
        }
        pathsDown.append(PathDown(peer: peer, via: helper))
        links.emit(.pathDown(peer, via: helper))
        links.notices.append(.pathDown(peer))
    }

    private mutating func relay(
        _ sequence: UInt32, of target: PeerIndex, for peer: PeerIndex, _ links: inout MembershipLinks,
        at now: Instant
    ) {
        if target == links.own { return links.send(.ack(sequence: sequence, piggyback(to: peer)), to: peer) }
        self.sequence &+= 1
        // The answer must be back before the asker gives up.
        let nackAt = now + configuration.probeTimeout * 4 / 5
        let relay = ProbeRelays.Relay(
            sequence: self.sequence, origin: peer, originSequence: sequence, target: target,
            nackAt: configuration.arm == .lifeguard ? nackAt : nil,
            until: now + max(configuration.indirectTimeout, configuration.probeInterval))
        guard relays.insert(relay, limits) else { return links.stats.dropped &+= 1 }
        links.sendOnce(.probe(sequence: self.sequence, piggyback(to: target)), to: target, at: now)
    }

    // MARK: Updates

    private mutating func apply(
        _ news: [MemberUpdate], from sender: PeerIndex, _ links: inout MembershipLinks, at now: Instant
    ) {
        for update in news.prefix(limits.updatesPerMessageMax) { apply(update, from: sender, &links, at: now) }
    }

    private mutating func apply(
        _ update: MemberUpdate, from sender: PeerIndex, _ links: inout MembershipLinks, at now: Instant
    ) {
        if update.peer == links.own { return refute(update, &links, at: now) }
        if !members.contains(update.peer) {
            guard configuration.scope == .members, !update.state.isGone else { return }
            guard members.add(update.peer) else { return links.stats.dropped &+= 1 }
            links.emit(.stateChanged(update.peer, .alive))
            if update.state == .alive, update.incarnation == 0 { updates.insert(update) }
        }
        guard let known = members.member(update.peer) else { return }
        let (limit, isOver) = known.incarnation.addingReportingOverflow(limits.incarnationJumpMax)
        guard sender == update.peer || isOver || update.incarnation <= limit else {
            return links.stats.ignored &+= 1
        }
        let isHearsay = configuration.scope == .neighbours
        switch update.state {
        case .alive:
            guard update.incarnation > known.incarnation else { return }
            change(update, known, &links, at: now)
        case .suspect:
            suspect(update, known, &links, at: now)
        case .dead where isHearsay:
            suspect(update, known, &links, at: now)
        case .left where isHearsay && sender != update.peer:
            return
        case .dead, .left:
            guard update.incarnation >= known.incarnation, !known.state.isGone else { return }
            change(update, known, &links, at: now)
        }
    }

    private mutating func refute(_ update: MemberUpdate, _ links: inout MembershipLinks, at now: Instant) {
        guard !hasLeft else { return }
        switch update.state {
        case .alive: guard update.incarnation > incarnation else { return }
        case .suspect, .dead, .left:
            // Refuted before, but the teller has not heard: what it is answered with says so.
            guard update.incarnation >= incarnation else {
                return queue(MemberUpdate(peer: links.own, incarnation: incarnation, state: .alive), at: now)
            }
        }
        let (limit, isOver) = incarnation.addingReportingOverflow(limits.incarnationJumpMax)
        guard isOver || update.incarnation <= limit else { return links.stats.ignored &+= 1 }
        incarnation = update.incarnation == .max ? .max : update.incarnation + 1
        links.stats.refutations &+= 1
        changeAwareness(by: 1)
        queue(MemberUpdate(peer: links.own, incarnation: incarnation, state: .alive), at: now)
    }

    private mutating func suspect(
        _ update: MemberUpdate, _ known: MemberTable.Member, _ links: inout MembershipLinks, at now: Instant
    ) {
        guard configuration.arm != .basic, update.incarnation >= known.incarnation, !known.state.isGone else { return }
        if known.state == .suspect, update.incarnation == known.incarnation {
            guard configuration.arm == .lifeguard, suspicions.confirm(update.peer, by: update.accuser) else { return }
            return queue(update, at: now)
        }
        let suspicion = MemberUpdate(
            peer: update.peer, incarnation: update.incarnation, state: .suspect, accuser: update.accuser)
        change(suspicion, known, &links, at: now)
    }

    /// Takes over what is news, tells of it and passes it on.
    private mutating func change(
        _ update: MemberUpdate, _ known: MemberTable.Member, _ links: inout MembershipLinks, at now: Instant
    ) {
        let peer = update.peer
        members.set(
            peer, MemberTable.Member(state: update.state, incarnation: update.incarnation),
            tombstoneUntil: now + configuration.tombstoneDuration)
        if known.state == .suspect { suspicions.remove(peer) }
        if update.state == .suspect {
            links.stats.suspicions &+= 1
            startSuspicion(update, &links, at: now)
        }
        if update.state != known.state { links.emit(.stateChanged(peer, update.state)) }
        queue(update, at: now)
        guard update.state.isGone else { return }
        probes.removeAll { $0.peer == peer }
        pathsDown.removeAll { $0.peer == peer }
        links.notices.append(.memberGone(peer))
    }

    private mutating func startSuspicion(
        _ update: MemberUpdate, _ links: inout MembershipLinks, at now: Instant
    ) {
        guard suspicions.count < limits.suspicionsMax else { return links.stats.dropped &+= 1 }
        let count = members.liveCount
        let interval = configuration.probeInterval
        var shortest =
            interval * (configuration.suspicionMultiplier * ((IntegerLogarithm.lnMilli(count + 1) + 999) / 1_000))
        var longest = shortest
        var wanted = 0
        if configuration.arm == .lifeguard {
            let scale = configuration.alpha * max(1_000, IntegerLogarithm.log10Milli(count))
            shortest = .nanoseconds(interval.saturatedNanoseconds / 1_000 * Int64(scale))
            longest = shortest * configuration.beta
            // Nobody but our own probes confirms a neighbour's death, and two others can't make three accusers.
            if configuration.scope == .members, count - 2 >= configuration.confirmationsMax {
                wanted = configuration.confirmationsMax
            }
        }
        suspicions.insert(
            Suspicion(
                peer: update.peer, accuser: update.accuser, shortest: shortest, longest: longest, wanted: wanted,
                at: now))
    }

    private mutating func queue(_ update: MemberUpdate, at now: Instant) {
        updates.insert(update)
        if gossipAt == nil, configuration.gossipInterval > .zero { gossipAt = now + configuration.gossipInterval }
    }

    /// What goes with a message to `peer`: first that it is suspected, if it is (Lifeguard's buddy system).
    private mutating func piggyback(to peer: PeerIndex) -> [MemberUpdate] {
        var news: [MemberUpdate] = []
        if let member = members.member(peer), member.state != .alive {
            let isBuddy = configuration.arm == .lifeguard || member.state.isGone
            if isBuddy { news.append(MemberUpdate(peer: peer, incarnation: member.incarnation, state: member.state)) }
        }
        updates.take(configuration.updatesPerMessage - news.count, timesMax: retransmitMax, into: &news)
        return news
    }

    /// lambda * ceil(log2(n + 1))
    private var retransmitMax: Int {
        configuration.retransmitMultiplier * (Int.bitWidth - max(1, members.liveCount).leadingZeroBitCount)
    }

    private mutating func changeAwareness(by change: Int) {
        guard configuration.arm == .lifeguard else { return }
        awareness = min(max(0, awareness + change), configuration.awarenessMax)
    }

    // MARK: Timeouts

    var nextTimeout: Instant? {
        guard configuration.isOn, !hasLeft else { return nil }
        var next = Instant.distantFuture
        if let due = tickAt ?? members.nextExpiry { next = min(next, due) }
        if let gossipAt { next = min(next, gossipAt) }
        if let suspicion = suspicions.next { next = min(next, suspicion) }
        if let relay = relays.next { next = min(next, relay) }
        for probe in probes { next = min(next, probe.deadline) }
        return next == .distantFuture ? nil : next
    }

    mutating func handleTimeout(_ links: inout MembershipLinks, at now: Instant) {
        guard configuration.isOn, !hasLeft else { return }
        members.expire(at: now)
        relays.handleTimeout(&links, at: now)
        for probe in probes where probe.deadline <= now {
            if probe.isIndirect { failed(probe, &links, at: now) } else { becomeIndirect(probe.peer, &links, at: now) }
        }
        while let peer = suspicions.popExpired(at: now) {
            guard let known = members.member(peer), known.state == .suspect else { continue }
            die(peer, known, &links, at: now)
        }
        if let due = tickAt, due <= now { tick(&links, at: now) }
        if let due = gossipAt, due <= now { gossip(&links, at: now) }
    }

    private mutating func tick(_ links: inout MembershipLinks, at now: Instant) {
        tickAt = nil
        guard let peer = members.next(excluding: links.own, &links.generator) else { return }
        arm(&links, at: now)
        guard probes.count < limits.probesMax, !probes.contains(where: { $0.peer == peer }) else { return }
        let probe = newProbe(of: peer, at: now)
        probes.append(probe)
        links.stats.probesSent &+= 1
        links.sendOnce(.probe(sequence: probe.sequence, piggyback(to: peer)), to: peer, at: now)
    }

    /// Sets the time of the next probe. A node without members has none.
    private mutating func arm(_ links: inout MembershipLinks, at now: Instant) {
        guard configuration.isOn, !hasLeft, tickAt == nil, members.liveCount > 0 else { return }
        guard hasStarted else {
            hasStarted = true
            let interval = UInt64(max(1, tickInterval.saturatedNanoseconds))
            let delay = configuration.isStartJittered ? Int64(links.generator.next() % interval) : 0
            tickAt = now + .nanoseconds(delay)
            return
        }
        tickAt = now + tickInterval
    }

    private var tickInterval: Duration {
        let interval = configuration.probeInterval * (awareness + 1)
        return configuration.scope == .members ? interval : interval / max(1, members.liveCount)
    }

    private mutating func newProbe(of peer: PeerIndex, at now: Instant) -> Probe {
        sequence &+= 1
        let factor = awareness + 1
        let timeout = configuration.probeTimeout * factor
        // Among members the verdict falls when the period ends (SWIM section 3.1).
        let whole =
            configuration.scope == .members
            ? configuration.probeInterval * factor : timeout + configuration.indirectTimeout * factor
        return Probe(sequence: sequence, peer: peer, deadline: now + timeout, verdictAt: now + whole)
    }

    private mutating func becomeIndirect(_ peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant) {
        guard let place = probes.firstIndex(where: { $0.peer == peer && !$0.isIndirect }) else { return }
        probes[place].isIndirect = true
        probes[place].deadline = max(now, probes[place].verdictAt)
        let isFit = { [pathsDown, own = links.own] (helper: PeerIndex) in
            helper != peer && helper != own && !pathsDown.contains { $0.peer == helper }
        }
        let helpers: [PeerIndex]
        switch configuration.scope {
        case .neighbours: helpers = links.sample(neighbours.filter(isFit), count: configuration.helpers)
        case .members: helpers = members.sample(configuration.helpers, &links.generator, where: isFit)
        }
        probes[place].helpers = helpers
        let sequence = probes[place].sequence
        for helper in helpers {
            links.stats.indirectProbesSent &+= 1
            links.sendOnce(.indirectProbe(sequence: sequence, peer, piggyback(to: helper)), to: helper, at: now)
        }
    }

    private mutating func failed(_ probe: Probe, _ links: inout MembershipLinks, at now: Instant) {
        probes.removeAll { $0.sequence == probe.sequence }
        links.stats.probesFailed &+= 1
        // Helpers that are well would have said so; their silence is a sign that we are the slow one.
        changeAwareness(by: probe.helpers.isEmpty ? 1 : probe.helpers.count - probe.nacksCount)
        guard let known = members.member(probe.peer), !known.state.isGone else { return }
        guard configuration.arm != .basic else { return die(probe.peer, known, &links, at: now) }
        let update = MemberUpdate(
            peer: probe.peer, incarnation: known.incarnation, state: .suspect, accuser: links.own)
        suspect(update, known, &links, at: now)
    }

    private mutating func die(
        _ peer: PeerIndex, _ known: MemberTable.Member, _ links: inout MembershipLinks, at now: Instant
    ) {
        links.stats.deathsDeclared &+= 1
        let death = MemberUpdate(peer: peer, incarnation: known.incarnation, state: .dead, accuser: links.own)
        change(death, known, &links, at: now)
    }

    private mutating func gossip(_ links: inout MembershipLinks, at now: Instant) {
        gossipAt = nil
        let targets = members.sample(configuration.gossipFanout, &links.generator) { $0 != links.own }
        for peer in targets where !updates.isEmpty {
            links.sendOnce(.updates(piggyback(to: peer)), to: peer, at: now)
        }
        if !updates.isEmpty { gossipAt = now + configuration.gossipInterval }
    }

    /// In the scope of neighbours a peer that is none any more stays only while its case is open.
    private mutating func forgetIfSettled(_ peer: PeerIndex) {
        guard configuration.scope == .neighbours, !neighbours.contains(peer), !isPathDown(peer) else { return }
        guard !probes.contains(where: { $0.peer == peer }), members.member(peer)?.state == .alive else { return }
        members.remove(peer)
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        members.forEachPeer(body)
        suspicions.forEachPeer(body)
        updates.forEachPeer(body)
        relays.forEachPeer(body)
        for probe in probes {
            body(probe.peer)
            for helper in probe.helpers { body(helper) }
        }
        for path in pathsDown {
            body(path.peer)
            body(path.via)
        }
    }
}

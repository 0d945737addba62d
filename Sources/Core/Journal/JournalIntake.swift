// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

/// The way of what others bring, up to where it may go to the disk: screening, lookups, signatures, newcomers.
///
/// Everything cheap comes first, and what costs (a signature, a question to the disk) is done only for what touches a feed
/// of somebody who belongs here. An arrival leaves on one of four ways: refused with a count and a verdict; held for a
/// while (`HeldTable`); `ready` for the writer; or given back by the writer to begin again. Each has at most one verdict.
///
/// Between screening and disk other things happen. So `expected` says what feeds will be when everything under way
/// succeeds, and the writer decides again, on what really is.
struct JournalIntake: Sendable {
    private struct Expected: Sendable {
        var state: FeedState?
        var count: Int
    }

    private struct Batch: Sendable {
        let id: RequestID
        var arrivals: [Arrival]
        var results: [Bool]?
    }

    private struct Waiting: Sendable {
        var count = 0
        var bytes = 0
    }

    /// Verified; in order of arrival.
    var ready: Deque<Arrival> = []
    private var unverified: Deque<Arrival> = []
    /// In the order in which they were asked for; answers are used in this order.
    private var batches: Deque<Batch> = []
    private var introductions: [RequestID: [Arrival]] = [:]
    private var lookups: [RequestID: (arrival: Arrival, asked: EntrySequence)] = [:]
    /// How many lookups each feed waits for.
    private var asking: [DeviceID: Int] = [:]
    private var held: HeldTable
    private var deliveries = DeliveryTable()
    private var expected: [DeviceID: Expected] = [:]
    /// Signatures by entry: the same from two sources is checked once.
    private var underWay: [EntryID: [UInt8]] = [:]
    private var waiting = Waiting()
    private var waitingByPeer: [PeerIndex: Waiting] = [:]
    /// Feeds that changed, so that something held may now touch them.
    private var stirred: Set<DeviceID> = []
    private var wanted: Set<DeviceID> = []
    /// Held newcomers whom nobody knew when they came.
    private var postponed: Set<DeviceID> = []

    init(limits: JournalCoreLimits) { held = HeldTable(limits: limits) }

    var heldCount: Int { held.count }
    var waitingCount: Int { waiting.count }

    // MARK: From the wire

    mutating func receive(
        _ request: RequestID, _ entries: [Entry], from source: JournalSource, _ holdings: inout JournalHoldings,
        at now: Instant
    ) {
        guard !entries.isEmpty else { return holdings.emit(.judged(request, from: source, [])) }
        let delivery = deliveries.open(request, from: source, count: entries.count)
        for (place, entry) in entries.enumerated() {
            let ticket = Ticket(delivery: delivery, place: place)
            consider(Arrival(entry, from: source, ticket: ticket), &holdings, at: now)
        }
    }

    mutating func receive(
        _ request: RequestID, proofs: [FaultProof], from source: JournalSource, _ holdings: inout JournalHoldings,
        at now: Instant
    ) {
        guard !proofs.isEmpty else { return holdings.emit(.judged(request, from: source, [])) }
        let delivery = deliveries.open(request, from: source, count: proofs.count)
        for (place, proof) in proofs.enumerated() {
            let arrival = Arrival(proof, from: source, ticket: Ticket(delivery: delivery, place: place))
            consider(proof, arrival, &holdings, at: now)
        }
    }

    private mutating func consider(
        _ proof: FaultProof, _ arrival: Arrival, _ holdings: inout JournalHoldings, at now: Instant
    ) {
        guard proof.first.header.community == holdings.community else {
            return blame(arrival, .wrongCommunity, \.wrongCommunity, &holdings)
        }
        if isDiskPaused(holdings, at: now) { return refuse(arrival, \.diskPaused, &holdings) }
        let isOwn = proof.device == holdings.own?.device
        guard isOwn || holdings.roster.devices[proof.device] != nil else {
            return refuse(arrival, \.unknownDevice, &holdings)
        }
        if let canonical = holdings.feeds.proofs[proof.device], !proof.precedes(canonical) {
            return refuse(arrival, \.known, &holdings)
        }
        submit(arrival, &holdings)
    }

    private mutating func consider(_ arrival: Arrival, _ holdings: inout JournalHoldings, at now: Instant) {
        var arrival = arrival
        let entry = arrival.entry
        let device = entry.header.device
        guard entry.header.community == holdings.community else {
            return blame(arrival, .wrongCommunity, \.wrongCommunity, &holdings)
        }
        if isDiskPaused(holdings, at: now) { return refuse(arrival, \.diskPaused, &holdings) }
        if underWay[entry.id] == entry.signature { return refuse(arrival, \.known, &holdings) }
        if isBodyMissing(entry, holdings, at: now) { return refuse(arrival, \.bodyMissing, &holdings) }
        arrival.purpose = .attach
        arrival.isMissing = entry.header.kind.isGovernance && holdings.missing.contains(entry.id)
        if let own = holdings.own, own.device == device, own.ended == nil {
            guard entry.header.sequence <= holdings.feeds.states[device]?.head.sequence ?? .none else {
                arrival.purpose = .elsewhere
                return submit(arrival, &holdings)
            }
        } else if let standing = holdings.roster.devices[device] {
            if standing.isVoid(entry.point) { return exclude(arrival, \.void, &holdings, at: now) }
            guard standing.takes(entry.header.kind) else { return refuse(arrival, \.kindNotOpen, &holdings) }
        } else {
            if arrival.isMissing, !holdings.roster.introducing.contains(entry.header.kind) {
                return exclude(arrival, \.unknownDevice, &holdings, at: now)
            }
            guard holdings.roster.introducing.contains(entry.header.kind) else {
                holdings.stats.unknownDevice &+= 1
                settle(&arrival, .ignore, &holdings)
                return hold(arrival, &holdings, at: now)
            }
            arrival.purpose = .newcomer
        }
        place(arrival, &holdings, at: now)
    }

    /// Where it belongs in the feed as it will be.
    private mutating func place(_ arrival: Arrival, _ holdings: inout JournalHoldings, at now: Instant) {
        var arrival = arrival
        let (entry, device) = (arrival.entry, arrival.device)
        let state = expected[device].map(\.state) ?? holdings.feeds.states[device]
        switch decide(arrival, state, holdings) {
        case .attach(let grown):
            if state == nil, holdings.feeds.isFull { return refuse(arrival, \.feedsFull, &holdings) }
            guard isWithinQuota(arrival, isDescending: grown.head == state?.head, &holdings, at: now, isCounted: false)
            else { return refuse(arrival, \.overQuota, &holdings) }
            guard hasRoom(for: arrival, holdings) else { return refuse(arrival, \.throttled, &holdings) }
            expected[device, default: Expected(state: nil, count: 0)].count += 1
            expected[device]?.state = grown
            arrival.isExpected = true
            if held.holds(device) { stirred.insert(device) }
            submit(arrival, &holdings)
        case .alone:
            guard holdings.feeds.sparseCount < holdings.limits.sparseMax else {
                return refuse(arrival, \.throttled, &holdings)
            }
            guard isWithinQuota(arrival, isDescending: true, &holdings, at: now, isCounted: false) else {
                return refuse(arrival, \.overQuota, &holdings)
            }
            submit(arrival, &holdings)
        case .known: refuse(arrival, \.known, &holdings)
        case .ask(let sequence):
            if holdings.recent.contains(entry.id) { return refuse(arrival, \.known, &holdings) }
            // What stands in the way may itself be under way, and then the disk can't tell.
            if holdings.feeds.states[device] != state { return hold(arrival, &holdings, at: now) }
            ask(arrival, sequence, &holdings)
        case .apart: missing(arrival, &holdings, at: now)
        case .frozen: exclude(arrival, \.frozen, &holdings, at: now)
        }
    }

    /// Its feed has no place for it. What governance refers to is kept nonetheless, so that all replicas judge alike.
    private mutating func exclude(
        _ arrival: Arrival, _ count: WritableKeyPath<JournalStats, UInt64>, _ holdings: inout JournalHoldings,
        at now: Instant
    ) {
        guard arrival.isMissing else { return refuse(arrival, count, &holdings) }
        guard isWithinQuota(arrival, isDescending: true, &holdings, at: now, isCounted: false) else {
            return refuse(arrival, \.overQuota, &holdings)
        }
        var arrival = arrival
        arrival.purpose = .evidence
        submit(arrival, &holdings)
    }

    func decide(_ arrival: Arrival, _ state: FeedState?, _ holdings: JournalHoldings) -> FeedDecision {
        let device = arrival.device
        return FeedState.decide(
            arrival.entry.header, arrival.entry.id, state: state, proof: holdings.feeds.proofs[device],
            mayStandAlone: arrival.mayStandAlone, mayOpen: arrival.mayOpen
        ) { sequence in holdings.sparseEntry(device, sequence) }
    }

    private mutating func missing(_ arrival: Arrival, _ holdings: inout JournalHoldings, at now: Instant) {
        holdings.stats.gap &+= 1
        // Gossip comes in any order; sync does not, unless the entry before waits for the disk's answer.
        guard arrival.source.door == .gossip || asking[arrival.device] != nil else {
            wanted.insert(arrival.device)
            return finish(arrival, .ignore, &holdings)
        }
        hold(arrival, &holdings, at: now)
    }

    // MARK: Lookups

    private mutating func ask(_ arrival: Arrival, _ sequence: EntrySequence, _ holdings: inout JournalHoldings) {
        guard lookups.count < holdings.limits.lookupsMax, let arrival = enter(arrival, holdings) else {
            return refuse(arrival, \.throttled, &holdings)
        }
        let id = holdings.request()
        lookups[id] = (arrival, sequence)
        asking[arrival.device, default: 0] += 1
        let query = JournalQuery.feed(
            arrival.device, sequence...sequence, newestFirst: false, countMax: 2, bytesMax: 2 * Entry.bytesMax)
        holdings.emit(.load(query, id))
    }

    /// False if it is the answer to somebody else's question.
    mutating func loaded(
        _ id: RequestID, _ answer: JournalAnswer, _ holdings: inout JournalHoldings, at now: Instant
    ) -> Bool {
        guard let (asker, asked) = lookups.removeValue(forKey: id) else { return false }
        var arrival = asker
        let entry = arrival.entry
        let left = (asking[arrival.device] ?? 1) - 1
        asking[arrival.device] = left > 0 ? left : nil
        stir(arrival.device)
        let others = answer.storedEntries.map(\.entry).filter {
            $0.header.device == entry.header.device && $0.header.sequence == asked
        }
        if let same = others.first(where: { $0.id == entry.id }) {
            holdings.recent.insert(entry.id)
            guard same.content == nil, entry.content != nil, !isBodyOver(entry, holdings, at: now) else {
                refuse(arrival, \.known, &holdings)
                return true
            }
            arrival.purpose = .body
            ready.append(arrival)
        } else if let other = others.first(where: { FaultProof($0, entry) != nil }) {
            arrival.purpose = .fault(other)
            unverified.append(arrival)
        } else if let other = others.first, asked == entry.header.sequence.next {
            // Only now is it known what stands before the range.
            holdings.feeds.setBefore(other.header.previous, low: asked, of: entry.header.device)
            again(arrival, &holdings, at: now)
        } else {
            // Nothing there, or the feed has moved meanwhile.
            again(arrival, &holdings, at: now)
        }
        return true
    }

    // MARK: Signatures

    mutating func verified(_ id: RequestID, _ results: [Bool], _ holdings: inout JournalHoldings, at now: Instant) {
        guard let place = batches.firstIndex(where: { $0.id == id }), batches[place].results == nil else {
            holdings.stats.late &+= 1
            return
        }
        batches[place].results = results
        while let first = batches.first, let results = first.results {
            batches.removeFirst()
            use(results, of: first.arrivals, &holdings, at: now)
        }
    }

    private mutating func use(
        _ results: [Bool], of arrivals: [Arrival], _ holdings: inout JournalHoldings, at now: Instant
    ) {
        var newcomers: [Arrival] = []
        var next = 0
        for arrival in arrivals {
            let end = next + arrival.unverified.count
            let isGood = end <= results.count && results[next..<end].allSatisfy(\.self)
            next = end
            guard isGood else {
                blame(arrival, .badSignature, \.badSignature, &holdings)
                continue
            }
            switch arrival.purpose {
            case .newcomer: newcomers.append(arrival)
            case .elsewhere:
                holdings.endOwnDevice(at: arrival.entry.point)
                again(arrival, &holdings, at: now)
            case .attach, .fault, .proof, .introduced, .body, .evidence: ready.append(arrival)
            }
        }
        guard !newcomers.isEmpty else { return }
        let id = holdings.request()
        introductions[id] = newcomers
        holdings.emit(.introduce(newcomers.map(\.entry), id))
    }

    mutating func introduced(
        _ id: RequestID, _ results: [Bool], _ holdings: inout JournalHoldings, at now: Instant
    ) {
        guard let newcomers = introductions.removeValue(forKey: id) else {
            holdings.stats.late &+= 1
            return
        }
        for (place, newcomer) in newcomers.enumerated() {
            let isWanted = place < results.count && results[place]
            guard isWanted || newcomer.isMissing else {
                postpone(newcomer, &holdings, at: now)
                continue
            }
            var newcomer = newcomer
            newcomer.purpose = isWanted ? .introduced : .evidence
            ready.append(newcomer)
        }
    }

    /// What it rests on, the founding or an invite, may still be on its way: a member's node that hands on what it holds
    /// begins with its own join.
    private mutating func postpone(_ newcomer: Arrival, _ holdings: inout JournalHoldings, at now: Instant) {
        var newcomer = newcomer
        newcomer.attempts += 1
        guard newcomer.attempts <= Arrival.attemptsMax else { return refuse(newcomer, \.notIntroduced, &holdings) }
        holdings.stats.notIntroduced &+= 1
        settle(&newcomer, .ignore, &holdings)
        postponed.insert(newcomer.device)
        hold(newcomer, &holdings, at: now)
    }

    /// More of the community is known: who wasn't wanted may be now.
    mutating func governanceChanged() {
        for device in postponed { stir(device) }
        postponed.removeAll()
    }

    // MARK: Beginning again

    /// Something else came first. A few times, then it is left: whoever has it offers it again.
    mutating func again(_ arrival: Arrival, _ holdings: inout JournalHoldings, at now: Instant) {
        var arrival = leave(arrival, &holdings)
        arrival.attempts += 1
        guard arrival.attempts <= Arrival.attemptsMax else { return refuse(arrival, \.gap, &holdings) }
        consider(arrival, &holdings, at: now)
    }

    /// A feed has changed on disk, or its device's standing.
    mutating func stir(_ device: DeviceID) {
        if held.holds(device) { stirred.insert(device) }
    }

    mutating func rosterChanged(_ holdings: JournalHoldings) {
        for device in holdings.roster.devices.keys { stir(device) }
    }

    // MARK: The end of a turn

    /// Takes up what may go on now and hands out what is asked of others.
    mutating func flush(_ holdings: inout JournalHoldings, at now: Instant) {
        while !stirred.isEmpty {
            let devices = stirred.sorted()
            stirred.removeAll()
            for device in devices {
                // Each after the one that it attaches to: upwards, and below the range downwards.
                let low = (expected[device].map(\.state) ?? holdings.feeds.states[device])?.low ?? .none
                let arrivals = held.take(device)
                let below = arrivals.prefix { $0.entry.header.sequence < low }
                for arrival in arrivals.dropFirst(below.count) + below.reversed() {
                    consider(arrival, &holdings, at: now)
                }
            }
        }
        while batches.count < holdings.limits.verifiesMax, !unverified.isEmpty {
            let id = holdings.request()
            let count = min(unverified.count, max(1, holdings.limits.verifyBatchMax))
            let arrivals = Array(unverified.prefix(count))
            unverified.removeFirst(count)
            batches.append(Batch(id: id, arrivals: arrivals, results: nil))
            holdings.emit(.verify(arrivals.flatMap(\.unverified), id))
        }
        for device in wanted.sorted() { holdings.emit(.wanted(device)) }
        wanted.removeAll()
    }

    // MARK: Timeouts

    var nextTimeout: Instant? { held.nextTimeout }

    mutating func handleTimeout(_ holdings: inout JournalHoldings, at now: Instant) {
        while let (ticket, device) = held.popGrace(at: now) {
            wanted.insert(device)
            if let effect = deliveries.settle(ticket, .ignore) { holdings.emit(effect) }
        }
        while let arrival = held.popExpired(at: now) { finish(arrival, .ignore, &holdings) }
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for peer in waitingByPeer.keys { body(peer) }
        held.forEachPeer(body)
    }

    // MARK: Ways out

    /// On disk, or done with: what it took is given back, and the verdict goes out.
    mutating func finish(_ arrival: Arrival, _ verdict: EntryVerdict, _ holdings: inout JournalHoldings) {
        var arrival = leave(arrival, &holdings)
        settle(&arrival, verdict, &holdings)
    }

    mutating func refuse(
        _ arrival: Arrival, _ count: WritableKeyPath<JournalStats, UInt64>, _ holdings: inout JournalHoldings
    ) {
        holdings.stats[keyPath: count] &+= 1
        finish(arrival, .ignore, &holdings)
    }

    private mutating func blame(
        _ arrival: Arrival, _ violation: JournalViolation, _ count: WritableKeyPath<JournalStats, UInt64>,
        _ holdings: inout JournalHoldings
    ) {
        holdings.stats[keyPath: count] &+= 1
        holdings.emit(.violation(arrival.source, violation))
        finish(arrival, .reject, &holdings)
    }

    private mutating func settle(
        _ arrival: inout Arrival, _ verdict: EntryVerdict, _ holdings: inout JournalHoldings
    ) {
        guard let ticket = arrival.ticket else { return }
        arrival.ticket = nil
        if let effect = deliveries.settle(ticket, verdict) { holdings.emit(effect) }
    }

    private mutating func hold(_ arrival: Arrival, _ holdings: inout JournalHoldings, at now: Instant) {
        var arrival = leave(arrival, &holdings)
        let since = arrival.heldSince ?? now
        arrival.heldSince = since
        let configuration = holdings.configuration
        let (grace, expiry) = (since + configuration.gapGrace, since + configuration.holdDuration)
        guard held.hold(arrival, grace: grace, until: expiry) else {
            return refuse(arrival, \.throttled, &holdings)
        }
        while let surplus = held.takeSurplus() { refuse(surplus, \.throttled, &holdings) }
    }

    // MARK: What is under way

    private mutating func submit(_ arrival: Arrival, _ holdings: inout JournalHoldings) {
        guard let arrival = enter(arrival, holdings) else { return refuse(arrival, \.throttled, &holdings) }
        unverified.append(arrival)
    }

    private func hasRoom(for arrival: Arrival, _ holdings: JournalHoldings) -> Bool {
        if arrival.isCounted { return true }
        let (limits, bytes) = (holdings.limits, arrival.bytesCount)
        let peer = waitingByPeer[arrival.source.peer] ?? Waiting()
        return waiting.count < limits.waitingMax && waiting.bytes + bytes <= limits.waitingBytesMax
            && peer.count < limits.waitingPerPeerMax && peer.bytes + bytes <= limits.waitingBytesPerPeerMax
    }

    private mutating func enter(_ arrival: Arrival, _ holdings: JournalHoldings) -> Arrival? {
        guard hasRoom(for: arrival, holdings) else { return nil }
        guard !arrival.isCounted else { return arrival }
        var arrival = arrival
        arrival.isCounted = true
        waiting.count += 1
        waiting.bytes += arrival.bytesCount
        waitingByPeer[arrival.source.peer, default: Waiting()].count += 1
        waitingByPeer[arrival.source.peer]?.bytes += arrival.bytesCount
        if case .proof = arrival.purpose { return arrival }
        if underWay[arrival.entry.id] == nil { underWay[arrival.entry.id] = arrival.entry.signature }
        return arrival
    }

    private mutating func leave(_ arrival: Arrival, _ holdings: inout JournalHoldings) -> Arrival {
        var arrival = arrival
        if arrival.isExpected, var feed = expected[arrival.device] {
            arrival.isExpected = false
            feed.count -= 1
            expected[arrival.device] = feed.count > 0 ? feed : nil
            if feed.count <= 0 { stir(arrival.device) }
        }
        guard arrival.isCounted else { return arrival }
        arrival.isCounted = false
        waiting.count -= 1
        waiting.bytes -= arrival.bytesCount
        if var peer = waitingByPeer[arrival.source.peer] {
            peer.count -= 1
            peer.bytes -= arrival.bytesCount
            waitingByPeer[arrival.source.peer] = peer.count > 0 ? peer : nil
        }
        if case .proof = arrival.purpose { return arrival }
        if underWay[arrival.entry.id] == arrival.entry.signature { underWay[arrival.entry.id] = nil }
        return arrival
    }

    // MARK: Rules

    private func isDiskPaused(_ holdings: JournalHoldings, at now: Instant) -> Bool {
        holdings.diskPausedUntil.map { now < $0 } ?? false
    }

    private func isBodyOver(_ entry: Entry, _ holdings: JournalHoldings, at now: Instant) -> Bool {
        guard let period = entry.header.retention.period else { return false }
        let milliseconds = UInt64(max(0, period.saturatedNanoseconds)) / 1_000_000
        return entry.header.time.milliseconds + milliseconds <= holdings.clock.wall(at: now)
    }

    /// A relay that strips bodies would else have nodes keep entries that they never can show.
    private func isBodyMissing(_ entry: Entry, _ holdings: JournalHoldings, at now: Instant) -> Bool {
        entry.content == nil && !isBodyOver(entry, holdings, at: now)
    }

    func isWithinQuota(
        _ arrival: Arrival, isDescending: Bool, _ holdings: inout JournalHoldings, at now: Instant, isCounted: Bool
    ) -> Bool {
        // Who is cited and not known here: all of those together.
        let stranger =
            arrival.isMissing
            ? Roster.Device(member: MemberID(.zero), quotaBytesPerDay: holdings.limits.strangersBytesPerDay) : nil
        guard let standing = holdings.roster.devices[arrival.device] ?? stranger else { return true }
        return holdings.quotas.admits(
            arrival.entry.header, bytes: arrival.bytesCount, isDescending: isDescending, device: standing,
            today: QuotaTable.day(milliseconds: holdings.clock.wall(at: now)), isCounted: isCounted)
    }
}

extension JournalAnswer {
    /// Empty unless it is an answer with entries.
    var storedEntries: [StoredEntry] {
        switch self {
        case .arrivals(let entries, last: _), .entries(let entries): entries
        case .opening, .messages, .documents, .rows, .listings, .categories, .opened, .subjects, .ids, .usage, .slots,
            .failed:
            []
        }
    }
}

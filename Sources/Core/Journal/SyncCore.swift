// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiIdentity

/// Brings a replica and its peers to the same entries, whatever was missed: `/tutti/sync/1` (docs/protocols/sync.md).
///
/// With each peer that is ready it exchanges hellos, reconciles at once, in intervals and on demand, and takes what it
/// lacks: governance entries first, then feeds in turn. Entries go out as `.received` with the right feed and links, but
/// unchecked signatures; JournalCore checks and keeps them and says so by `.settled`. It answers peers in turn by reads.
/// It keeps no entry, judges nobody (`.judge`), and knows no key.
///
/// Our bugs (assertions): answers to what was never asked are not among them. Peer's faults: `SyncViolation`; the peer is
/// left alone for a while that grows, over reconnections. Legal late events, dropped and counted: answers and verdicts
/// for who has gone, reads that nobody waits for.
/// Invariants: at most one request of a feed or governance entry is under way, over all peers; bytes received and not
/// settled, requests and reads are limited; each `.asked` but receipts ends with one `.answer` or with its peer.
package struct SyncCore: Sendable {
    private enum Timer: Hashable, Sendable {
        case reconcile(PeerID)
        case request(RequestID)
        case resume(PeerID)
        case receipts(PeerID)
    }

    private enum Admission: Sendable {
        case judging(RequestID)
        case admitted(SyncAudience)
    }

    private let own: PeerID
    private let community: CommunityID
    private let configuration: SyncConfiguration
    package private(set) var stats = SyncStats()

    private var random: SeededGenerator
    private var replica: SyncReplica
    private var server: SyncServer
    private var ledger: SyncLedger
    private var sessions = SyncSessions()
    private var turn = 0
    /// Batches that our disk refused, since it last took one.
    private var diskRefusals = 0
    private var admissions: [PeerID: Admission] = [:]
    private var memories: [PeerID: SyncMemory] = [:]
    private var touches: UInt64 = 0
    private var receipts: [PeerID: [DeviceID: EntrySequence]] = [:]
    private var peerOfRequest: [RequestID: PeerID] = [:]
    private var timers = TimerQueue<Timer>()
    private var nextRequest: UInt64 = 0
    private var nextSerial: UInt64 = 0
    private var effects = Deque<SyncEffect>()

    package init(
        configuration: SyncConfiguration = SyncConfiguration(), seed: UInt64, own: PeerID, community: CommunityID
    ) {
        self.own = own
        self.community = community
        self.configuration = configuration.validated
        random = SeededGenerator(seed: seed)
        replica = SyncReplica(stamp: random.next())
        server = SyncServer(limits: configuration.limits)
        ledger = SyncLedger(limits: configuration.limits)
    }

    package var nextTimeout: Instant? { timers.next }
    package mutating func nextEffect() -> SyncEffect? { effects.popFirst() }

    /// For those who want to see that two replicas are equal.
    package mutating func roots() -> SyncRoots { replica.roots() }
    /// Received or asked for, and not yet on disk.
    package var bytesUnderWay: Int { ledger.bytesUnderWay }
    package var claimCount: Int { ledger.claimCount }
    package var readsUnderWay: Int { server.underWayCount }
    package var requestsUnderWay: Int { peerOfRequest.count }
    package func feed(of device: DeviceID) -> SyncFeed? { replica[device] }

    // MARK: Inputs

    package mutating func handle(_ input: SyncInput, at now: Instant) {
        switch input {
        case .peerReady(let peer, let hello): peerReady(peer, hello, at: now)
        case .peerGone(let peer): peerGone(peer)
        case .judged(let peer, let refusal, let audience): judged(peer, refusal, audience, at: now)
        case .audienceChanged(let peer, let audience): audienceChanged(peer, audience, at: now)
        case .peerExcluded(let peer):
            guard isAdmitted(peer) else { break }
            admissions[peer] = nil
            // Its session waits for the day on which it is let in again.
            cancelAll(peer)
            nextSerial += 1
            sessions[peer]?.forgetAll(serial: nextSerial)
            timers.cancel(.reconcile(peer))
        case .feedsChanged(let records): replica.change(records)
        case .proofsChanged(let proofs): replica.change(proofs)
        case .governanceChanged(let added, let removed): replica.changeGovernance(added: added, removed: removed)
        case .missingChanged(let ids): missingChanged(ids, at: now)
        case .rosterChanged: for peer in sessions.peers { sessions[peer]?.rosterChanged(at: now) }
        case .settled(let batch, let outcome): settled(batch, outcome, at: now)
        case .loaded(let id, let answer):
            if !server.loaded(id, answer, replica, &stats) { stats.ignored &+= 1 }
            drainServer()
            return
        case .answered(let id, let answer): answered(id, answer, at: now)
        case .requestFailed(let id): failed(id, at: now)
        case .answerMalformed(let id):
            guard let peer = finish(id) else { break }
            sessions[peer]?.giveUp(id, &ledger)
            punish(peer, .malformed, at: now)
        case .asked(let id, let peer, let request): asked(id, by: peer, request, at: now)
        case .requestMalformed(let peer): punish(peer, .malformed, at: now)
        case .wanted(let device, let peer): wanted(device, from: peer)
        case .syncRequested:
            for peer in sessions.peers where isOpen(peer) {
                sessions[peer]?.wantsReconcile = true
                sessions[peer]?.isCaughtUp = false
            }
        case .receiptsDue(let peer, let receipts): receiptsDue(peer, receipts, at: now)
        }
        pump(at: now)
    }

    package mutating func handleTimeout(at now: Instant) {
        while let timer = timers.popExpired(at: now) {
            switch timer {
            case .reconcile(let peer): sessions[peer]?.wantsReconcile = true
            case .request(let id):
                effects.append(.cancel(id))
                failed(id, at: now)
            case .resume(let peer):
                guard sessions[peer] != nil else { continue }
                sessions[peer]?.isPaused = false
            case .receipts(let peer): sendReceipts(peer)
            }
        }
        pump(at: now)
    }

    // MARK: Peers

    private mutating func peerReady(_ peer: PeerID, _ hello: SyncHello, at now: Instant) {
        guard peer != own else { return }
        stop(peer)
        guard sessions.count < configuration.limits.peersMax else {
            stats.dropped &+= 1
            return
        }
        let memory = memories[peer]
        nextSerial += 1
        sessions.insert(
            SyncSession(
                peer, hello, serial: nextSerial, listingAfter: memory?.listingAfter ?? 0, configuration))
        if let until = memory?.until, until > now { pause(peer, until: until) }
    }

    private mutating func peerGone(_ peer: PeerID) {
        stop(peer)
        admissions[peer] = nil
        server.peerGone(peer)
    }

    /// We ask it nothing more; what it asks is another matter.
    private mutating func stop(_ peer: PeerID) {
        guard sessions[peer] != nil else { return }
        cancelAll(peer)
        if let after = sessions[peer]?.listingAfter, after > 0 { remember(peer) { $0.listingAfter = after } }
        sessions.remove(peer)
        receipts[peer] = nil
        timers.cancel(.reconcile(peer))
        timers.cancel(.resume(peer))
        timers.cancel(.receipts(peer))
    }

    private mutating func cancelAll(_ peer: PeerID) {
        for id in sessions[peer]?.giveUpAll(&ledger) ?? [] {
            peerOfRequest[id] = nil
            timers.cancel(.request(id))
            effects.append(.cancel(id))
        }
    }

    private func isAdmitted(_ peer: PeerID) -> Bool {
        if case .admitted = admissions[peer] { true } else { false }
    }

    /// Nil: it may ask nothing.
    private func audience(of peer: PeerID) -> SyncAudience? {
        if case .admitted(let audience) = admissions[peer] { audience } else { nil }
    }

    /// Both sides accepted each other.
    private func isOpen(_ peer: PeerID) -> Bool { sessions[peer]?.isAccepted == true && isAdmitted(peer) }

    private mutating func openIfReady(_ peer: PeerID, at now: Instant) {
        guard isOpen(peer) else { return }
        effects.append(.emit(.opened(peer)))
        let isRestricted = audience(of: peer) != .all
        sessions[peer]?.isRestricted = isRestricted
        sessions[peer]?.seek(replica.missing.sorted(), replica, at: now)
        // What is below our lows isn't in the tree.
        sessions[peer]?.queryDepths(replica)
        // One reconciliation teaches both: the lower name begins.
        if own < peer {
            sessions[peer]?.wantsReconcile = true
        } else {
            timers.set(.reconcile(peer), at: now + jittered(configuration.patience))
        }
    }

    private mutating func pause(_ peer: PeerID, until: Instant) {
        cancelAll(peer)
        sessions[peer]?.isPaused = true
        timers.set(.resume(peer), at: until)
    }

    private mutating func remember(_ peer: PeerID, _ change: (inout SyncMemory) -> Void) {
        if memories[peer] == nil, memories.count >= configuration.limits.remembered {
            let least = memories.min { one, other in
                (one.value.faults, one.value.touched) < (other.value.faults, other.value.touched)
            }
            if let least { memories[least.key] = nil }
        }
        touches += 1
        var memory = memories[peer] ?? SyncMemory()
        change(&memory)
        memory.touched = touches
        memories[peer] = memory
    }

    private mutating func punish(_ peer: PeerID, _ violation: SyncViolation, at now: Instant) {
        stats.violations[violation, default: 0] &+= 1
        let faults = memories[peer]?.faults ?? 0
        let until = now + configuration.penalty.doubled(faults, max: configuration.penaltyMax)
        remember(peer) { memory in
            memory.faults = faults + 1
            memory.listingAfter = 0
            memory.until = until
        }
        guard sessions[peer] != nil else { return }
        nextSerial += 1
        pause(peer, until: until)
        sessions[peer]?.forgetAll(serial: nextSerial)
        sessions[peer]?.wantsReconcile = true
        sessions[peer]?.queryDepths(replica)
        effects.append(.emit(.violated(peer, violation)))
    }

    private mutating func jittered(_ time: Duration) -> Duration {
        let nanoseconds = max(4, time.saturatedNanoseconds)
        return .nanoseconds(Int64.random(in: nanoseconds / 4 * 3...nanoseconds / 4 * 5, using: &random))
    }

    // MARK: What we asked

    private mutating func pump(at now: Instant) {
        guard sessions.count > 0 else { return }
        // Who is first takes the room that is left: in turn.
        turn = turn &+ 1
        for offset in 0..<sessions.count {
            let place = (turn + offset) % sessions.count
            guard !sessions.isResting(place) else { continue }
            pump(sessions.peers[place], at: now)
            sessions.rest(place)
        }
    }

    private mutating func pump(_ peer: PeerID, at now: Instant) {
        if let request = sessions[peer]?.helloRequest(RequestID(nextRequest + 1)) {
            send(request, to: peer, at: now)
        }
        guard isAdmitted(peer) else { return }
        while let request = sessions[peer]?.nextRequest(RequestID(nextRequest + 1), &replica, &ledger, at: now) {
            send(request, to: peer, at: now)
        }
        if sessions[peer]?.becomesCaughtUp() == true { effects.append(.emit(.caughtUp(peer))) }
    }

    private mutating func send(_ request: SyncRequest, to peer: PeerID, at now: Instant) {
        nextRequest += 1
        let id = RequestID(nextRequest)
        stats.requestsSent &+= 1
        peerOfRequest[id] = peer
        timers.set(.request(id), at: now + configuration.requestTimeout)
        effects.append(.send(id, peer, request))
    }

    /// The request is over; its session has it still.
    private mutating func finish(_ id: RequestID) -> PeerID? {
        guard let peer = peerOfRequest.removeValue(forKey: id) else {
            stats.ignored &+= 1
            return nil
        }
        timers.cancel(.request(id))
        return peer
    }

    private mutating func failed(_ id: RequestID, at now: Instant) {
        guard let peer = finish(id) else { return }
        sessions[peer]?.giveUp(id, &ledger)
        stats.stalls &+= 1
        let stalls = memories[peer]?.stalls ?? 0
        remember(peer) { $0.stalls = stalls + 1 }
        pause(peer, until: now + configuration.stallDelay.doubled(stalls, max: configuration.stallDelayMax))
    }

    private mutating func answered(_ id: RequestID, _ answer: SyncAnswer, at now: Instant) {
        guard let peer = finish(id), sessions[peer] != nil else { return }
        count(answer)
        do throws(SyncViolation) {
            let result = try sessions[peer]?.answered(id, answer, &replica, &ledger, &stats, at: now) ?? .nothing
            if case .refused(let refusal) = result { return refused(peer, refusal, at: now) }
            take(result, from: peer, at: now)
        } catch {
            punish(peer, error, at: now)
        }
    }

    private mutating func count(_ answer: SyncAnswer) {
        var entries: [Entry] = []
        switch answer {
        case .entries(let pages): entries = pages.flatMap { $0 }
        case .governance(let listed, _, _), .named(let listed): entries = listed
        case .proofs(let proofs): stats.proofsReceived &+= UInt64(proofs.count)
        case .accepted, .refused, .roots, .parts, .feeds: break
        }
        stats.entriesReceived &+= UInt64(entries.count)
        stats.bytesReceived &+= entries.reduce(0) { $0 &+ UInt64($1.encodedBytesCount) }
    }

    private mutating func take(_ result: SyncSession.OnAnswer, from peer: PeerID, at now: Instant) {
        // Who answers small questions and never a large one goes on stalling.
        let isWorking =
            switch result {
            case .batch, .proofs, .reconciled(.equal), .reconciled(.fruitless): true
            case .nothing, .greeted, .refused, .reconciled(.fruitful): false
            }
        if isWorking, memories[peer]?.stalls ?? 0 > 0 { remember(peer) { $0.stalls = 0 } }
        switch result {
        case .nothing, .refused: return
        case .greeted:
            sessions[peer]?.isAccepted = true
            sessions[peer]?.isRefused = false
            if memories[peer]?.refusals ?? 0 > 0 { remember(peer) { $0.refusals = 0 } }
            openIfReady(peer, at: now)
        case .batch(let batch, let entries, let door):
            let id = ledger.open(batch)
            effects.append(.received(SyncBatch(id: id, peer: peer, door: door, entries: entries)))
        case .proofs(let batch, let proofs):
            ledger.claim(batch.feeds.map(\.device))
            effects.append(.receivedProofs(ledger.open(batch), proofs, from: peer))
        case .reconciled(let outcome):
            stats.reconciliations &+= 1
            var interval = configuration.interval
            switch outcome {
            case .equal: stats.reconciliationsEqual &+= 1
            case .fruitful: break
            case .fruitless:
                stats.reconciliationsFruitless &+= 1
                let times = sessions[peer]?.fruitlessCount ?? 0
                interval = interval.doubled(times, max: interval * configuration.fruitlessIntervalsMax)
            }
            timers.set(.reconcile(peer), at: now + jittered(interval))
            if !replica.missing.isEmpty { sessions[peer]?.seek(replica.missing.sorted(), replica, at: now) }
            if sessions[peer]?.isRestricted == true { sessions[peer]?.queryDepths(replica) }
            if let count = sessions[peer]?.reconciledCount, count % 8 == 0 { sessions[peer]?.queryDepths(replica) }
        }
    }

    private mutating func refused(_ peer: PeerID, _ refusal: SyncRefusal, at now: Instant) {
        switch refusal {
        case .busy:
            stats.busyAnswers &+= 1
            pause(peer, until: now + jittered(configuration.busyDelay))
        case .notIntroduced, .unknownCommunity, .badProof, .notMember, .excluded, .unavailable, .badRequest:
            sessions[peer]?.isAccepted = false
            sessions[peer]?.isRefused = true
            let refusals = memories[peer]?.refusals ?? 0
            remember(peer) { $0.refusals = refusals + 1 }
            let delay = jittered(configuration.interval.doubled(refusals, max: configuration.penaltyMax))
            pause(peer, until: now + delay)
            effects.append(.emit(.refused(peer, refusal)))
        }
    }

    private mutating func settled(_ id: SyncBatchID, _ outcome: SyncOutcome, at now: Instant) {
        guard let batch = ledger.settle(id) else {
            stats.ignored &+= 1
            return
        }
        guard sessions[batch.peer]?.serial == batch.session else {
            if outcome == .forged { punish(batch.peer, .forged, at: now) }
            return
        }
        if outcome == .unavailable {
            // Nobody's fault: all of it is found again by the next reconciliation.
            sessions[batch.peer]?.postponed(batch)
            let delay = configuration.diskDelay.doubled(diskRefusals, max: configuration.diskDelayMax)
            diskRefusals += 1
            return pause(batch.peer, until: now + delay)
        }
        if outcome == .stored { diskRefusals = 0 }
        sessions[batch.peer]?.settled(batch, replica, &stats, at: now)
        if outcome == .forged { punish(batch.peer, .forged, at: now) }
    }

    // MARK: Our own side

    private mutating func missingChanged(_ ids: [EntryID], at now: Instant) {
        let news = ids.prefix(configuration.limits.missingMax).filter { !replica.missing.contains($0) }
        replica.changeMissing(ids.prefix(configuration.limits.missingMax))
        guard !news.isEmpty else { return }
        for peer in sessions.peers where isOpen(peer) { sessions[peer]?.seek(news, replica, at: now) }
    }

    private mutating func wanted(_ device: DeviceID, from peer: PeerID?) {
        if let peer, isOpen(peer) {
            if sessions[peer]?.query(device) != true { stats.dropped &+= 1 }
            return
        }
        let open = sessions.peers.filter(isOpen)
        guard !open.isEmpty else { return }
        // Two of them by lot: one may know no more than we.
        let start = Int.random(in: 0..<open.count, using: &random)
        for place in 0..<min(2, open.count) {
            if sessions[open[(start + place) % open.count]]?.query(device) != true { stats.dropped &+= 1 }
        }
    }

    private mutating func receiptsDue(_ peer: PeerID, _ due: [SyncReceipt], at now: Instant) {
        guard sessions[peer]?.isAccepted == true else {
            stats.ignored &+= 1
            return
        }
        var waiting = receipts[peer] ?? [:]
        for receipt in due {
            guard waiting[receipt.device] != nil || waiting.count < configuration.limits.receiptsWaitingMax else {
                stats.dropped &+= 1
                continue
            }
            waiting[receipt.device] = max(waiting[receipt.device] ?? .none, receipt.head)
        }
        receipts[peer] = waiting
        if !waiting.isEmpty, !timers.isSet(.receipts(peer)) {
            timers.set(.receipts(peer), at: now + configuration.receiptDelay)
        }
    }

    private mutating func sendReceipts(_ peer: PeerID) {
        let waiting = (receipts.removeValue(forKey: peer) ?? [:]).sorted { $0.key < $1.key }
        var rest = waiting[...]
        while !rest.isEmpty {
            let part = rest.prefix(configuration.limits.receiptsPerMessageMax)
            rest = rest.dropFirst(part.count)
            nextRequest += 1
            effects.append(
                .send(
                    RequestID(nextRequest), peer, .receipts(part.map { SyncReceipt(device: $0.key, head: $0.value) })))
        }
    }

    // MARK: What peers ask

    private mutating func asked(_ id: RequestID, by peer: PeerID, _ request: SyncRequest, at now: Instant) {
        if case .hello(let hello) = request { return greeted(id, by: peer, hello, at: now) }
        guard let audience = audience(of: peer) else { return refuse(id, request, .notIntroduced) }
        guard server.admit(peer, at: now) else { return refuse(id, request, .busy) }
        stats.requestsServed &+= 1
        let limits = configuration.limits
        switch request {
        case .hello: return
        case .roots(let theirs):
            var (roots, parts) = replica.answer(theirs, limits)
            if audience == .governance {
                // There is no difference that it could be told of.
                (roots.feeds, roots.feedCount) = (theirs.feeds, theirs.feedCount)
                parts.feeds = []
            }
            effects.append(.answer(id, .roots(roots, parts)))
            if parts.isEmpty { postpone(peer, at: now) }
        case .parts(var parts):
            if audience == .governance { parts.feeds = [] }
            learn(parts, of: peer, at: now)
            effects.append(.answer(id, .parts(replica.answer(parts, limits))))
        case .feeds(let devices):
            let feeds = audience == .all ? unique(devices).compactMap { replica[$0] } : []
            effects.append(.answer(id, .feeds(feeds)))
        case .entries(let ranges, _, _) where audience == .governance:
            effects.append(.answer(id, .entries(ranges.map { _ in [] })))
        case .entries(let ranges, let bytesMax, let withBodies):
            server.entries(ranges, bytesMax: bytesMax, withBodies: withBodies, id, by: peer, replica, &stats)
        case .governance(let after, let countMax, let bytesMax):
            server.governance(
                after: after, countMax: countMax, bytesMax: bytesMax, id, by: peer, replica, &stats)
        case .named(let ids, let bytesMax):
            server.named(unique(ids), bytesMax: bytesMax, id, by: peer, &stats)
        case .proofs(let devices):
            let proofs = unique(devices).compactMap { replica.proof(of: $0) }
            effects.append(.answer(id, .proofs(Array(proofs.prefix(limits.proofsPerAnswerMax)))))
        case .receipts(let receipts): effects.append(.receipted(peer, receipts))
        }
        drainServer()
    }

    private mutating func drainServer() {
        while let output = server.nextOutput() {
            switch output {
            case .answer(let id, let answer): effects.append(.answer(id, answer))
            case .load(let query, let id): effects.append(.load(query, id))
            }
        }
    }

    private mutating func refuse(_ id: RequestID, _ request: SyncRequest, _ refusal: SyncRefusal) {
        stats.requestsRefused[refusal, default: 0] &+= 1
        if case .receipts = request { return }
        effects.append(.answer(id, .refused(refusal)))
    }

    private mutating func greeted(_ id: RequestID, by peer: PeerID, _ hello: SyncHello, at now: Instant) {
        guard hello.community == community else { return refuse(id, .hello(hello), .unknownCommunity) }
        if case .judging = admissions[peer] { return refuse(id, .hello(hello), .busy) }
        guard admissions[peer] != nil || admissions.count < 2 * configuration.limits.peersMax,
            server.admit(peer, at: now)
        else { return refuse(id, .hello(hello), .busy) }
        // Once more: something about us is new to the peer.
        if isAdmitted(peer) { sessions[peer]?.wantsReconcile = true }
        admissions[peer] = .judging(id)
        effects.append(.judge(peer, hello))
        sessions[peer]?.device = hello.device
    }

    private mutating func judged(
        _ peer: PeerID, _ refusal: SyncRefusal?, _ audience: SyncAudience, at now: Instant
    ) {
        guard case .judging(let id) = admissions[peer] else {
            stats.ignored &+= 1
            return
        }
        if let refusal {
            admissions[peer] = nil
            stats.requestsRefused[refusal, default: 0] &+= 1
            effects.append(.answer(id, .refused(refusal)))
        } else {
            admissions[peer] = .admitted(audience)
            effects.append(.answer(id, .accepted))
            greetAgain(peer)
            openIfReady(peer, at: now)
        }
    }

    /// Who refused us may know us by now, if we know it.
    private mutating func greetAgain(_ peer: PeerID) {
        guard sessions[peer]?.isRefused == true else { return }
        sessions[peer]?.isRefused = false
        sessions[peer]?.isPaused = false
        timers.cancel(.resume(peer))
    }

    /// The peer learns it by another hello of ours.
    private mutating func audienceChanged(_ peer: PeerID, _ audience: SyncAudience, at now: Instant) {
        guard sessions[peer] != nil, audience != self.audience(of: peer) else { return }
        if case .judging = admissions[peer] { return }
        admissions[peer] = .admitted(audience)
        greetAgain(peer)
        sessions[peer]?.isAccepted = false
    }

    /// The peer's descent teaches us as well.
    private mutating func learn(_ parts: SyncParts, of peer: PeerID, at now: Instant) {
        guard sessions[peer]?.isPaused == false else { return }
        postpone(peer, at: now)
        var isAnyNew = false
        for part in parts.governance {
            for id in part.told where sessions[peer]?.learn(id, replica, at: now) == true { isAnyNew = true }
        }
        for part in parts.feeds {
            for feed in part.told where sessions[peer]?.learn(feed, replica, at: now) == true {
                isAnyNew = true
            }
        }
        if isAnyNew { sessions[peer]?.isCaughtUp = false }
    }

    /// The peer has just begun a reconciliation: ours can wait.
    private mutating func postpone(_ peer: PeerID, at now: Instant) {
        sessions[peer]?.isCompared = true
        guard timers.isSet(.reconcile(peer)) else { return }
        timers.set(.reconcile(peer), at: now + jittered(configuration.interval))
    }
}

private func unique<Name: Hashable>(_ names: [Name]) -> [Name] {
    var seen: Set<Name> = []
    return names.filter { seen.insert($0).inserted }
}

// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase
import TuttiIdentity

/// One peer, as we ask it. Says what to ask next and what an answer was good for; who asks whom when is SyncCore's.
///
///     greeting -> open: reconcile -> governance -> feeds in turn -> caught up, until the next reconciliation
///         ^         |
///         +- paused (busy, stalled, refused, punished)
///
/// Faults of the peer are thrown; what comes late is the caller's to drop. Everything learnt is bounded by what the peer
/// claims to have, and that by limits.
struct SyncSession: Sendable {
    /// What a request under way was for.
    enum Purpose: Sendable {
        case hello
        case roots(SyncRoots)
        case parts
        case feeds([DeviceID])
        case entries([SyncOffers.Step], bytesMax: Int)
        case listing(countMax: Int)
        case named([EntryID])
        /// Of which nobody said that the peer has them.
        case missing([EntryID])
        case proofs([DeviceID])

        fileprivate var isHeavy: Bool {
            switch self {
            case .entries, .listing, .named, .missing: true
            case .hello, .roots, .parts, .feeds, .proofs: false
            }
        }
    }

    enum OnAnswer: Sendable {
        case nothing
        case greeted
        case refused(SyncRefusal)
        case batch(SyncLedger.Batch, [Entry], JournalSource.Door)
        case proofs(SyncLedger.Batch, [FaultProof])
        /// A reconciliation is over.
        case reconciled(Reconciled)
    }

    enum Reconciled: Sendable {
        case equal
        case fruitful
        case fruitless
    }

    let peer: PeerID
    let hello: SyncHello
    /// Which device the peer has shown to be.
    var device = DeviceID(.zero)
    private(set) var serial: UInt64
    /// The peer accepted our hello.
    var isAccepted = false
    var isPaused = false
    /// The peer refused our hello.
    var isRefused = false
    var wantsReconcile = false
    /// Trees were compared, whoever began.
    var isCompared = false
    /// Told since something was last learnt.
    var isCaughtUp = false
    private(set) var reconciledCount: UInt64 = 0
    private(set) var fruitlessCount = 0

    private var descent: SyncDescent?
    private var foundCount = 0
    /// The peer lists its governance entries to us; or is to, after another that does.
    private var isListing = false
    /// Another has listed since this was decided: how far are we behind now?
    private var isListingStale = false
    private var listingLeft = 0
    /// The peer's arrival number up to which its governance entries were listed.
    private(set) var listingAfter: UInt64
    private var governance: Deque<EntryID> = []
    private var governanceWanted: Set<EntryID> = []
    private var missing: SyncMissing
    /// The peer is told nothing of feeds, and isn't asked about others' than its own.
    var isRestricted = false
    private(set) var offers = SyncOffers()
    private var proofs: Deque<DeviceID> = []
    private var queries: Deque<DeviceID> = []
    private var holdOffs = SyncHoldOffs()
    private var underWay: [RequestID: Purpose] = [:]
    private let configuration: SyncConfiguration
    private var limits: SyncLimits { configuration.limits }

    /// - Parameters:
    ///   - serial: names this session, or what follows a violation in it: batches of an earlier one don't count here.
    ///   - listingAfter: where an earlier session left off.
    init(_ peer: PeerID, _ hello: SyncHello, serial: UInt64, listingAfter: UInt64, _ configuration: SyncConfiguration) {
        self.peer = peer
        self.hello = hello
        self.serial = serial
        self.listingAfter = listingAfter
        self.configuration = configuration
        missing = SyncMissing(configuration)
    }

    var isIdle: Bool {
        underWay.isEmpty && descent == nil && !wantsReconcile && !isListing && governance.isEmpty
            && missing.isEmpty && offers.isEmpty && proofs.isEmpty && queries.isEmpty
    }
    /// There is nothing to ask for, and that was told or can't be yet. Mutating, so that nothing is copied for it.
    mutating func isQuiet() -> Bool { isIdle && (isAccepted || isPaused) && (isCaughtUp || !isCompared) }
    /// True once each time that there is nothing left to ask for.
    mutating func becomesCaughtUp() -> Bool {
        guard isIdle, !isCaughtUp, isCompared else { return false }
        isCaughtUp = true
        return true
    }
    var requestCount: Int { underWay.count }
    func isUnderWay(_ id: RequestID) -> Bool { underWay[id] != nil }

    private func isUnderWay(_ test: (Purpose) -> Bool) -> Bool { underWay.values.contains(where: test) }

    // MARK: Asking

    mutating func helloRequest(_ id: RequestID) -> SyncRequest? {
        guard !isAccepted, !isPaused, underWay.isEmpty else { return nil }
        underWay[id] = .hello
        return .hello(hello)
    }

    /// Nil: nothing to ask for now.
    mutating func nextRequest(
        _ id: RequestID, _ replica: inout SyncReplica, _ ledger: inout SyncLedger, at now: Instant
    ) -> SyncRequest? {
        guard isAccepted, !isPaused else { return nil }
        if let request = nextLight(id, &replica) { return request }
        let heavyCount = underWay.values.reduce(0) { $0 + ($1.isHeavy ? 1 : 0) }
        guard heavyCount < limits.requestsPerPeerMax, ledger.hasRoom(for: configuration.pageBytes, from: peer) else {
            return nil
        }
        let request = nextGovernance(id, replica, &ledger, at: now) ?? nextEntries(id, replica, &ledger)
        if request != nil { ledger.reserve(configuration.pageBytes, from: peer) }
        return request
    }

    /// Of trees, heads and proofs: small, one of each kind at a time.
    private mutating func nextLight(_ id: RequestID, _ replica: inout SyncReplica) -> SyncRequest? {
        let isDescending = isUnderWay {
            switch $0 {
            case .roots, .parts: true
            default: false
            }
        }
        if !isDescending {
            if wantsReconcile, descent == nil {
                wantsReconcile = false
                let roots = replica.roots()
                underWay[id] = .roots(roots)
                return .roots(roots)
            }
            if let parts = descent?.nextRequest(stamp: replica.stamp) {
                underWay[id] = .parts
                return .parts(parts)
            }
        }
        if !queries.isEmpty, !isUnderWay({ if case .feeds = $0 { true } else { false } }) {
            let devices = Array(queries.prefix(limits.devicesPerRequestMax))
            queries.removeFirst(devices.count)
            underWay[id] = .feeds(devices)
            return .feeds(devices)
        }
        if !proofs.isEmpty, !isUnderWay({ if case .proofs = $0 { true } else { false } }) {
            let devices = Array(proofs.prefix(limits.rangesPerRequestMax))
            proofs.removeFirst(devices.count)
            underWay[id] = .proofs(devices)
            return .proofs(devices)
        }
        return nil
    }

    private mutating func nextGovernance(
        _ id: RequestID, _ replica: SyncReplica, _ ledger: inout SyncLedger, at now: Instant
    ) -> SyncRequest? {
        if isListing, let other = ledger.listing?.peer, other != peer { isListingStale = true }
        if isListing, ledger.listing == nil || ledger.listing?.peer == peer {
            if isListingStale {
                isListing = false
                wantsReconcile = true
                return nil
            }
            guard !isUnderWay({ if case .listing = $0 { true } else { false } }) else { return nil }
            if ledger.listing == nil { ledger.listing = (peer, now) }
            underWay[id] = .listing(countMax: configuration.pageCount)
            return .governance(
                after: listingAfter, countMax: configuration.pageCount, bytesMax: configuration.pageBytes)
        }
        var ids: [EntryID] = []
        for _ in 0..<min(governance.count, Self.looksMax) where ids.count < configuration.pageCount {
            guard let wanted = governance.popFirst() else { break }
            if replica.holds(wanted) {
                governanceWanted.remove(wanted)
            } else if ledger.isClaimed(wanted) {
                governance.append(wanted)
            } else {
                ids.append(wanted)
            }
        }
        guard !ids.isEmpty else { return nextMissing(id, replica, &ledger) }
        ledger.claim(ids)
        underWay[id] = .named(ids)
        return .named(ids, bytesMax: configuration.pageBytes)
    }

    private mutating func nextMissing(
        _ id: RequestID, _ replica: SyncReplica, _ ledger: inout SyncLedger
    ) -> SyncRequest? {
        let ids = missing.next(countMax: configuration.pageCount, replica, ledger)
        guard !ids.isEmpty else { return nil }
        ledger.claim(ids)
        underWay[id] = .missing(ids)
        return .named(ids, bytesMax: configuration.pageBytes)
    }

    /// Governance entries looked at in one go, most of them perhaps claimed by others.
    static let looksMax = 1_024

    /// Only when the peer has no governance entry left for us.
    private mutating func nextEntries(
        _ id: RequestID, _ replica: SyncReplica, _ ledger: inout SyncLedger
    ) -> SyncRequest? {
        guard descent == nil, !wantsReconcile, !isListing, ledger.listing == nil, governanceWanted.isEmpty,
            !isUnderWay({ if case .roots = $0 { true } else { false } })
        else { return nil }
        let steps = offers.next(countMax: limits.rangesPerRequestMax, replica, ledger, configuration)
        guard !steps.isEmpty else { return nil }
        ledger.claim(steps.map(\.range.device))
        underWay[id] = .entries(steps, bytesMax: configuration.pageBytes)
        return .entries(steps.map(\.range), bytesMax: configuration.pageBytes, withBodies: true)
    }

    // MARK: Wishes

    /// Asks the peer for governance entries of which only others' references are known.
    mutating func seek(_ ids: [EntryID], _ replica: SyncReplica, at now: Instant) {
        missing.seek(ids.filter { !holdOffs.covers($0.key, at: now) }, replica, at: now)
        if !missing.isEmpty { isCaughtUp = false }
    }

    /// Asks the peer for its head of one feed.
    mutating func query(_ device: DeviceID) -> Bool {
        guard queries.count < limits.queriesMax else { return false }
        if !queries.contains(device) { queries.append(device) }
        return true
    }

    /// Feeds whose heads agree and which the peer may hold deeper than we.
    mutating func queryDepths(_ replica: SyncReplica) {
        guard !isRestricted else {
            _ = query(device)
            return
        }
        for feed in replica.feeds.leaves(at: .root) where !offers.contains(feed.device) {
            guard case .held(let low, let head) = feed.state,
                low > SyncOffers.lowest(head.sequence, configuration)
            else { continue }
            guard query(feed.device) else { return }
        }
    }

    // MARK: What the peer says it has

    /// True when there is something that we want.
    mutating func learn(_ theirs: SyncFeed, _ replica: SyncReplica, at now: Instant) -> Bool {
        guard !holdOffs.covers(theirs.key, at: now) else { return false }
        guard case .frozen(let sequence) = theirs.state else {
            return offers.learn(theirs, own: replica[theirs.device], configuration)
        }
        if let proof = replica.proof(of: theirs.device), proof.sequence <= sequence { return false }
        guard proofs.count < limits.queriesMax else { return false }
        if !proofs.contains(theirs.device) { proofs.append(theirs.device) }
        return true
    }

    mutating func learn(_ id: EntryID, _ replica: SyncReplica, at now: Instant) -> Bool {
        guard !replica.holds(id), !holdOffs.covers(id.key, at: now),
            governanceWanted.count < limits.governanceWantedMax
        else { return false }
        if governanceWanted.insert(id).inserted { governance.append(id) }
        return true
    }

    /// Who belongs is another: what was refused may be taken now.
    mutating func rosterChanged(at now: Instant) {
        guard holdOffs.endAll(at: now) else { return }
        wantsReconcile = true
        isCaughtUp = false
    }

    // MARK: Answers

    mutating func answered(
        _ id: RequestID, _ answer: SyncAnswer, _ replica: inout SyncReplica, _ ledger: inout SyncLedger,
        _ stats: inout SyncStats, at now: Instant
    ) throws(SyncViolation) -> OnAnswer {
        guard let purpose = underWay[id] else { return .nothing }
        if case .refused(let refusal) = answer {
            giveUp(id, &ledger)
            return .refused(refusal)
        }
        switch (purpose, answer) {
        case (.hello, .accepted):
            underWay[id] = nil
            return .greeted
        case (.roots(let own), .roots(let theirs, let parts)):
            underWay[id] = nil
            return try compared(own, theirs, parts, &replica, at: now)
        case (.parts, .parts(let parts)):
            underWay[id] = nil
            guard let learnt = try descent?.answered(parts, &replica) else { return .nothing }
            return take(learnt, replica, at: now)
        case (.feeds(let devices), .feeds(let feeds)):
            underWay[id] = nil
            guard feeds.count <= devices.count, Set(feeds.map(\.device)).count == feeds.count,
                Set(devices).isSuperset(of: feeds.map(\.device))
            else { throw .unasked }
            for feed in feeds where learn(feed, replica, at: now) { isCaughtUp = false }
            return .nothing
        case (.proofs(let devices), .proofs(let found)):
            underWay[id] = nil
            return try proofsAnswered(devices, found, replica, at: now)
        case (.listing(let countMax), .governance(let entries, let next, let isEnd)):
            giveUp(id, &ledger)
            return try listed(entries, next: next, isEnd: isEnd, countMax: countMax, replica, &ledger, at: now)
        case (.missing(let ids), .named(let entries)):
            giveUp(id, &ledger, requeues: false)
            return try missingAnswered(ids, entries, &ledger, at: now)
        case (.named(let ids), .named(let entries)):
            giveUp(id, &ledger)
            return try namedAnswered(ids, entries, &ledger, at: now)
        case (.entries(let steps, let bytesMax), .entries(let pages)):
            giveUp(id, &ledger, requeues: false)
            return try entriesAnswered(steps, bytesMax, pages, replica, &ledger, &stats, at: now)
        case (.hello, _), (.roots, _), (.parts, _), (.feeds, _), (.proofs, _), (.listing, _), (.named, _),
            (.missing, _), (.entries, _):
            giveUp(id, &ledger)
            throw .wrongAnswer
        }
    }

    private mutating func compared(
        _ own: SyncRoots, _ theirs: SyncRoots, _ parts: SyncParts, _ replica: inout SyncReplica, at now: Instant
    ) throws(SyncViolation) -> OnAnswer {
        reconciledCount += 1
        isCompared = true
        foundCount = 0
        guard own.feeds != theirs.feeds || own.governance != theirs.governance else {
            guard parts.isEmpty else { throw .endlessTree }
            fruitlessCount = 0
            return .reconciled(.equal)
        }
        // Who lacks most takes all in the order in which the peer came to have it: far fewer bytes and trips.
        if !isListing, theirs.governanceCount >= 2 * own.governanceCount + Self.listingMin {
            isListing = true
            isListingStale = false
            listingLeft = min(theirs.governanceCount, limits.governanceMax) + limits.entriesPerRangeMax
        }
        if isListing { foundCount += 1 }
        var descent = try SyncDescent(
            own: own, theirs: theirs, withFeeds: !isRestricted, withGovernance: !isListing, limits)
        let learnt = try descent.begin(parts, &replica)
        self.descent = descent
        return take(learnt, replica, at: now)
    }

    /// Fewer governance entries than this are told by the tree.
    private static let listingMin = 32

    private mutating func take(
        _ learnt: SyncDescent.Learnt, _ replica: SyncReplica, at now: Instant
    ) -> OnAnswer {
        for feed in learnt.feeds where learn(feed, replica, at: now) { foundCount += 1 }
        for id in learnt.governance where learn(id, replica, at: now) { foundCount += 1 }
        guard descent?.isFinished ?? true else { return .nothing }
        descent = nil
        guard foundCount == 0 else {
            fruitlessCount = 0
            isCaughtUp = false
            return .reconciled(.fruitful)
        }
        fruitlessCount += 1
        return .reconciled(.fruitless)
    }

    private mutating func proofsAnswered(
        _ devices: [DeviceID], _ found: [FaultProof], _ replica: SyncReplica, at now: Instant
    ) throws(SyncViolation) -> OnAnswer {
        let proven = Set(found.map(\.device))
        guard proven.count == found.count, proven.isSubset(of: devices),
            found.allSatisfy({ $0.first.header.community == hello.community })
        else { throw .unasked }
        for device in devices where !proven.contains(device) { holdOffs.begin(device.bytes, configuration, at: now) }
        guard !found.isEmpty else { return .nothing }
        var batch = SyncLedger.Batch(peer: peer, session: serial)
        batch.feeds = found.map { ($0.device, replica[$0.device]) }
        batch.bytes = found.reduce(0) { $0 + $1.first.encodedBytesCount + $1.second.encodedBytesCount }
        return .proofs(batch, found)
    }

    private mutating func listed(
        _ entries: [Entry], next: UInt64, isEnd: Bool, countMax: Int, _ replica: SyncReplica,
        _ ledger: inout SyncLedger, at now: Instant
    ) throws(SyncViolation) -> OnAnswer {
        guard isListing else { return .nothing }
        guard entries.count <= countMax, entries.allSatisfy(isGovernance) else { throw .unasked }
        guard entries.allSatisfy({ $0.content != nil }) else { throw .bodyMissing }
        guard isEnd || !entries.isEmpty && next > listingAfter else { throw .noProgress }
        listingLeft -= entries.count
        guard listingLeft >= 0 else { throw .noProgress }
        listingAfter = max(listingAfter, next)
        if isEnd {
            isListing = false
            ledger.listing = nil
            // What came meanwhile, and what only we have.
            wantsReconcile = true
        } else if let listing = ledger.listing, now - listing.since > configuration.listingTurn {
            ledger.listing = nil
            isListingStale = true
        }
        let new = entries.filter { !replica.holds($0.id) }
        return new.isEmpty ? .nothing : batch(governance: new, &ledger)
    }

    private mutating func missingAnswered(
        _ ids: [EntryID], _ entries: [Entry], _ ledger: inout SyncLedger, at now: Instant
    ) throws(SyncViolation) -> OnAnswer {
        let given = try checked(entries, of: ids)
        let isFull = isFull(entries)
        for id in ids where !given.contains(id) {
            if isFull { missing.putBack([id]) } else { missing.lacks(id, at: now) }
        }
        return entries.isEmpty ? .nothing : batch(governance: entries, &ledger)
    }

    /// Only what was asked for; the id says what it is.
    private func checked(_ entries: [Entry], of ids: [EntryID]) throws(SyncViolation) -> Set<EntryID> {
        let given = Set(entries.map(\.id))
        guard given.count == entries.count, given.isSubset(of: ids), entries.allSatisfy(isGovernance) else {
            throw .unasked
        }
        guard entries.allSatisfy({ $0.content != nil }) else { throw .bodyMissing }
        return given
    }

    /// What isn't there may have been left out for want of room.
    private func isFull(_ entries: [Entry]) -> Bool {
        let bytes = entries.reduce(0) { $0 + $1.encodedBytesCount }
        return !entries.isEmpty && bytes + Entry.bytesMax > configuration.pageBytes
    }

    private mutating func namedAnswered(
        _ ids: [EntryID], _ entries: [Entry], _ ledger: inout SyncLedger, at now: Instant
    ) throws(SyncViolation) -> OnAnswer {
        let given = try checked(entries, of: ids)
        let isFull = isFull(entries)
        for id in ids where !given.contains(id) {
            if isFull { continue }
            holdOffs.begin(id.key, configuration, at: now)
            governanceWanted.remove(id)
        }
        governanceWanted.subtract(given)
        governance = Deque(governance.filter { governanceWanted.contains($0) })
        return entries.isEmpty ? .nothing : batch(governance: entries, &ledger)
    }

    private func isGovernance(_ entry: Entry) -> Bool {
        entry.header.kind.isGovernance && entry.header.community == hello.community
    }

    private func batch(governance entries: [Entry], _ ledger: inout SyncLedger) -> OnAnswer {
        var batch = SyncLedger.Batch(peer: peer, session: serial)
        batch.governance = entries.map(\.id)
        batch.bytes = entries.reduce(0) { $0 + $1.encodedBytesCount }
        ledger.claim(batch.governance)
        return .batch(batch, entries, .governanceSync)
    }

    private mutating func entriesAnswered(
        _ steps: [SyncOffers.Step], _ bytesMax: Int, _ pages: [[Entry]], _ replica: SyncReplica,
        _ ledger: inout SyncLedger, _ stats: inout SyncStats, at now: Instant
    ) throws(SyncViolation) -> OnAnswer {
        guard pages.count <= steps.count else { throw .unasked }
        let bytes = pages.reduce(0) { $0 + $1.reduce(0) { $0 + $1.encodedBytesCount } }
        guard pages.count == steps.count || !pages.isEmpty && bytes + Entry.bytesMax > bytesMax else {
            throw .noProgress
        }
        var batch = SyncLedger.Batch(peer: peer, session: serial)
        var taken: [Entry] = []
        for (step, page) in zip(steps, pages) {
            let device = step.range.device
            switch try SyncPage.check(page, step, hello.community) {
            case .good:
                batch.feeds.append((device, replica[device]))
                taken += page
                if step.range.isNewestFirst, let oldest = page.last { offers.setNewest(oldest.header.time, device) }
            case .fork:
                stats.forksSuspected &+= 1
                batch.feeds.append((device, replica[device]))
                taken += page.prefix(1)
            case .nothing:
                holdOffs.begin(device.bytes, configuration, at: now)
                offers.forget(device)
            }
        }
        // A round is taken from its end.
        for step in steps[pages.count...].reversed() { offers.putBack(step.range.device) }
        guard !taken.isEmpty else { return .nothing }
        batch.bytes = bytes
        ledger.claim(batch.feeds.map(\.device))
        return .batch(batch, taken, .sync)
    }

    // MARK: Ends

    /// What a batch has brought is on disk, or refused.
    mutating func settled(_ batch: SyncLedger.Batch, _ replica: SyncReplica, _ stats: inout SyncStats, at now: Instant)
    {
        for (device, before) in batch.feeds {
            guard replica[device] == before else {
                holdOffs.forget(device.bytes)
                offers.goOn(device, own: replica[device], configuration)
                continue
            }
            stats.holdOffs &+= 1
            holdOffs.begin(device.bytes, configuration, at: now)
            offers.forget(device)
        }
        for id in batch.governance where !replica.holds(id) {
            stats.holdOffs &+= 1
            holdOffs.begin(id.key, configuration, at: now)
        }
    }

    /// What a batch has brought could not be written.
    mutating func postponed(_ batch: SyncLedger.Batch) {
        for (device, _) in batch.feeds { offers.forget(device) }
        wantsReconcile = true
        isCaughtUp = false
    }

    /// A request that has no answer, or none of use.
    mutating func giveUp(_ id: RequestID, _ ledger: inout SyncLedger, requeues: Bool = true) {
        guard let purpose = underWay.removeValue(forKey: id) else { return }
        if purpose.isHeavy { ledger.unreserve(configuration.pageBytes, from: peer) }
        switch purpose {
        case .hello: break
        case .roots: wantsReconcile = true
        case .parts:
            descent = nil
            wantsReconcile = true
        case .feeds(let devices): for device in devices { _ = query(device) }
        case .proofs(let devices): proofs.append(contentsOf: devices)
        case .listing: break
        case .named(let ids):
            ledger.release(ids)
            governance.append(contentsOf: ids)
        case .missing(let ids):
            ledger.release(ids)
            if requeues { missing.putBack(ids) }
        case .entries(let steps, _):
            ledger.release(steps.map(\.range.device))
            guard requeues else { return }
            for step in steps.reversed() { offers.putBack(step.range.device) }
        }
    }

    /// The session ends or starts anew: nothing is under way any more. Returns what was, in the order it was sent.
    mutating func giveUpAll(_ ledger: inout SyncLedger) -> [RequestID] {
        let ids = underWay.keys.sorted()
        for id in ids { giveUp(id, &ledger) }
        if ledger.listing?.peer == peer { ledger.listing = nil }
        descent = nil
        return ids
    }

    /// What the peer said is no longer believed.
    mutating func forgetAll(serial: UInt64) {
        self.serial = serial
        descent = nil
        isListing = false
        listingAfter = 0
        governance = []
        governanceWanted = []
        missing.removeAll()
        offers = SyncOffers()
        proofs = []
        queries = []
        isCaughtUp = false
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity

/// One batch on its way to the disk, and what is said of it once it is there.
struct JournalWrite: Sendable {
    var batch = JournalBatch()
    var stage = FeedStage()
    var appends: [(request: RequestID, entries: [Entry])] = []
    /// Own entries that were on disk although the disk had refused them.
    var adopted: [Entry] = []
    var arrivals: [Arrival] = []
    var restated: [DeviceID: FeedState] = [:]
    private var bytes = 0

    var isEmpty: Bool { batch.isEmpty && stage.isEmpty }

    func hasRoom(count: Int, bytes: Int, _ holdings: JournalHoldings) -> Bool {
        batch.entries.isEmpty
            || (batch.entries.count + count <= holdings.limits.persistBatchMax
                && self.bytes + bytes <= holdings.limits.persistBatchBytesMax)
    }

    mutating func add(_ entry: Entry, firstSeen: HybridTime, isBeside: Bool = false) {
        batch.entries.append(StoredEntry(entry, firstSeen: firstSeen, isBeside: isBeside))
        bytes += entry.encodedBytesCount
    }
}

/// Writes one batch at a time; what comes meanwhile goes together in the next. Only what is on disk is spoken of.
///
/// ```
/// idle -> folding -> writing -> idle
///            (refused) -> checking -> idle     a refused batch with entries of ours: what does the disk hold?
/// ```
///
/// A disk that refuses has written nothing, and nothing of the batch was sent, so its numbers may be used again. But a disk
/// can be wrong about itself (the error came after the commit), and an entry that stands there after all would, with a
/// second one under its number, fork our own feed. So before anything more is appended the disk is asked what it holds of
/// our feed; what it has is ours, and goes on as if it had been confirmed. While it doesn't even answer that, nothing is
/// appended.
struct BatchMachine: Sendable {
    private enum State: Sendable {
        case idle
        case folding(RequestID, JournalWrite)
        case writing(RequestID, JournalWrite)
        case checking(RequestID, JournalWrite?, JournalStorageError)
    }

    private var state = State.idle
    /// What the disk holds of our feed beyond what we know is not known.
    private var isDoubtful = false
    private var adopted: [StoredEntry] = []
    /// Feeds whose end or standing changed for other reasons than entries.
    private var restated: [DeviceID: FeedState] = [:]
    private var ended: [DeviceID: FeedPoint] = [:]
    private var receipts: [ReceiptRecord] = []
    private var bodiesDue: [EntryID] = []

    var isIdle: Bool {
        if case .idle = state { true } else { false }
    }

    /// The own feed's head once everything under way is on disk.
    func ownHead(_ device: DeviceID, _ holdings: JournalHoldings) -> EntrySequence {
        switch state {
        case .folding(_, let write), .writing(_, let write), .checking(_, let write?, _):
            write.stage.state(device, over: holdings.feeds)?.head.sequence ?? .none
        case .idle, .checking: holdings.feeds.states[device]?.head.sequence ?? .none
        }
    }

    // MARK: What is to be written

    /// Nil: the feed is right as it is.
    mutating func restate(_ feed: FeedState?, of device: DeviceID) { restated[device] = feed }

    mutating func end(_ end: FeedEnd) { ended[end.device] = end.point }

    /// Of one node only the last counts.
    mutating func add(_ receipt: ReceiptRecord, _ holdings: JournalHoldings) {
        if let place = receipts.firstIndex(where: { $0.holder == receipt.holder && $0.device == receipt.device }) {
            receipts[place].head = max(receipts[place].head, receipt.head)
        } else if receipts.count < holdings.limits.holdersMax {
            receipts.append(receipt)
        }
    }

    mutating func drop(_ bodies: [EntryID]) { bodiesDue += bodies }

    mutating func start(
        _ intake: inout JournalIntake, _ appends: inout AppendQueue, _ holdings: inout JournalHoldings, at now: Instant
    ) {
        guard case .idle = state else { return }
        // Only what somebody waits for tries a disk that has just refused.
        if holdings.diskPausedUntil.map({ now < $0 }) ?? false, appends.isEmpty { return }
        if isDoubtful, !appends.isEmpty { return check(nil, .failed("unknown"), &holdings) }
        var write = JournalWrite()
        restate(&write, holdings)
        adopt(&write, holdings)
        if adopted.isEmpty { appends.fill(&write, &holdings, at: now) }
        while let next = intake.ready.first, write.hasRoom(count: 1, bytes: next.bytesCount, holdings) {
            intake.ready.removeFirst()
            take(next, &write, &intake, &holdings, at: now)
        }
        write.batch.receipts = receipts
        write.batch.bodiesDropped = bodiesDue
        write.batch.settings.merge(holdings.settingsDue) { _, due in due }
        guard !write.isEmpty else { return }
        receipts = []
        bodiesDue = []
        write.batch.feeds = write.stage.records
        write.batch.proofs = write.stage.orderedProofs
        let id = holdings.request()
        if write.batch.entries.isEmpty {
            state = .writing(id, write)
            holdings.emit(.persist(write.batch, id))
        } else {
            state = .folding(id, write)
            holdings.emit(.fold(write.batch.entries, id))
        }
    }

    private func restate(_ write: inout JournalWrite, _ holdings: JournalHoldings) {
        write.restated = restated
        var ends = ended
        for device in restated.keys.sorted() {
            guard let feed = restated[device] else { continue }
            write.stage.set(feed, of: device, over: holdings.feeds)
            guard let old = holdings.feeds.states[device], old.low <= old.head.sequence,
                feed.head.sequence < old.head.sequence || feed.low > feed.head.sequence
            else { continue }
            ends[device] = feed.head
        }
        write.batch.ends = ends.keys.sorted().compactMap { device in
            ends[device].map { FeedEnd(device: device, point: $0) }
        }
    }

    private mutating func adopt(_ write: inout JournalWrite, _ holdings: JournalHoldings) {
        guard let own = holdings.own else { return adopted.removeAll() }
        while let stored = adopted.first, write.hasRoom(count: 1, bytes: Entry.bytesMax, holdings) {
            adopted.removeFirst()
            var feed = write.stage.state(own.device, over: holdings.feeds) ?? .nothing
            let header = stored.entry.header
            guard header.sequence == feed.head.sequence.next, header.previous == feed.head.id else { continue }
            feed.head = stored.entry.point
            write.stage.set(feed, of: own.device, over: holdings.feeds)
            write.add(stored.entry, firstSeen: stored.firstSeen)
            write.adopted.append(stored.entry)
        }
    }

    // MARK: Arrivals

    /// Decides again, on what really is.
    private func take(
        _ arrival: Arrival, _ write: inout JournalWrite, _ intake: inout JournalIntake,
        _ holdings: inout JournalHoldings, at now: Instant
    ) {
        switch arrival.purpose {
        case .proof(let proof): prove(proof, arrival, &write, &intake, &holdings)
        case .fault(let other):
            guard let proof = FaultProof(arrival.entry, other) else { return intake.refuse(arrival, \.gap, &holdings) }
            if arrival.isMissing { keep(arrival, &write, &holdings, at: now) }
            prove(proof, arrival, &write, &intake, &holdings)
        case .evidence:
            guard holdings.feeds.besideCount + write.stage.besideCount < holdings.limits.besideMax else {
                return intake.refuse(arrival, \.throttled, &holdings)
            }
            guard intake.isWithinQuota(arrival, isDescending: true, &holdings, at: now, isCounted: true) else {
                return intake.refuse(arrival, \.overQuota, &holdings)
            }
            keep(arrival, &write, &holdings, at: now)
            write.arrivals.append(arrival)
        case .body:
            write.add(arrival.entry, firstSeen: HybridTime(milliseconds: holdings.clock.wall(at: now)))
            write.arrivals.append(arrival)
        case .attach, .newcomer, .introduced, .elsewhere:
            attach(arrival, &write, &intake, &holdings, at: now)
        }
    }

    private func attach(
        _ arrival: Arrival, _ write: inout JournalWrite, _ intake: inout JournalIntake,
        _ holdings: inout JournalHoldings, at now: Instant
    ) {
        let (entry, device) = (arrival.entry, arrival.device)
        if let standing = holdings.roster.devices[device] {
            if standing.isVoid(entry.point) { return intake.refuse(arrival, \.void, &holdings) }
            guard standing.takes(entry.header.kind) else { return intake.refuse(arrival, \.kindNotOpen, &holdings) }
        }
        let feed = write.stage.state(device, over: holdings.feeds)
        let decision = FeedState.decide(
            entry.header, entry.id, state: feed, proof: write.stage.proof(device, over: holdings.feeds),
            mayStandAlone: arrival.mayStandAlone, mayOpen: arrival.mayOpen
        ) { sequence in holdings.sparseEntry(device, sequence, over: write.stage) }
        switch decision {
        case .attach(let grown):
            guard feed != nil || holdings.feeds.devices.count + write.stage.opened < JournalLimits.feedsMax else {
                return intake.refuse(arrival, \.feedsFull, &holdings)
            }
            let isDescending = feed != nil && grown.head == feed?.head
            guard intake.isWithinQuota(arrival, isDescending: isDescending, &holdings, at: now, isCounted: true) else {
                return intake.refuse(arrival, \.overQuota, &holdings)
            }
            write.stage.set(grown, of: device, over: holdings.feeds)
        case .alone:
            guard holdings.feeds.sparseCount + write.stage.sparseCount < holdings.limits.sparseMax else {
                return intake.refuse(arrival, \.throttled, &holdings)
            }
            guard intake.isWithinQuota(arrival, isDescending: true, &holdings, at: now, isCounted: true) else {
                return intake.refuse(arrival, \.overQuota, &holdings)
            }
            let sparse = SparseEntry(id: entry.id, previous: entry.header.previous)
            write.stage.addSparse(sparse, device, entry.header.sequence)
        case .known: return intake.refuse(arrival, \.known, &holdings)
        case .frozen: return intake.refuse(arrival, \.frozen, &holdings)
        case .ask, .apart: return intake.again(arrival, &holdings, at: now)
        }
        if !holdings.clock.observe(entry.header.time, at: now) { holdings.stats.clockLimited &+= 1 }
        write.add(entry, firstSeen: HybridTime(milliseconds: holdings.clock.wall(at: now)))
        write.arrivals.append(arrival)
    }

    /// As evidence: its feed has no place for it.
    private func keep(
        _ arrival: Arrival, _ write: inout JournalWrite, _ holdings: inout JournalHoldings, at now: Instant
    ) {
        write.add(
            arrival.entry, firstSeen: HybridTime(milliseconds: holdings.clock.wall(at: now)), isBeside: true)
        write.stage.besideCount += 1
        holdings.stats.evidence &+= 1
    }

    private func prove(
        _ proof: FaultProof, _ arrival: Arrival, _ write: inout JournalWrite, _ intake: inout JournalIntake,
        _ holdings: inout JournalHoldings
    ) {
        if let held = write.stage.proof(proof.device, over: holdings.feeds), !proof.precedes(held) {
            return intake.refuse(arrival, \.known, &holdings)
        }
        write.stage.set(proof)
        var feed = write.stage.state(proof.device, over: holdings.feeds) ?? .nothing
        feed.isFrozen = holdings.isFrozen(by: proof)
        write.stage.set(feed, of: proof.device, over: holdings.feeds)
        write.arrivals.append(arrival)
        if proof.device == holdings.own?.device { holdings.endOwnDevice(at: arrival.entry.point) }
    }

    // MARK: Answers

    mutating func folded(_ id: RequestID, _ rows: [JournalRow], _ holdings: inout JournalHoldings) {
        guard case .folding(id, var write) = state else { return holdings.stats.late &+= 1 }
        write.batch.rows = rows
        state = .writing(id, write)
        holdings.emit(.persist(write.batch, id))
    }

    /// What is on disk now.
    mutating func persisted(_ id: RequestID, _ holdings: inout JournalHoldings) -> JournalWrite? {
        guard case .writing(id, let write) = state else {
            holdings.stats.late &+= 1
            return nil
        }
        state = .idle
        return done(write, &holdings)
    }

    private mutating func done(_ write: JournalWrite, _ holdings: inout JournalHoldings) -> JournalWrite {
        for (device, feed) in write.restated where restated[device] == feed { restated[device] = nil }
        for end in write.batch.ends {
            if ended[end.device] == end.point { ended[end.device] = nil }
            holdings.feeds.end(end)
        }
        for name in holdings.settingsDue.keys where write.batch.settings[name] == holdings.settingsDue[name] {
            holdings.settingsDue[name] = nil
        }
        write.stage.commit(to: &holdings.feeds)
        return write
    }

    mutating func persistFailed(
        _ id: RequestID, _ error: JournalStorageError, _ intake: inout JournalIntake,
        _ holdings: inout JournalHoldings, at now: Instant
    ) {
        guard case .writing(id, let write) = state else { return holdings.stats.late &+= 1 }
        holdings.stats.persistFailures &+= 1
        holdings.diskPausedUntil = now + holdings.configuration.diskPause
        holdings.emit(.emit(.diskFailed(error)))
        for receipt in write.batch.receipts { add(receipt, holdings) }
        guard write.appends.isEmpty, write.adopted.isEmpty else { return check(write, error, &holdings) }
        undo(write, error, &intake, &holdings)
        state = .idle
    }

    private mutating func check(
        _ write: JournalWrite?, _ error: JournalStorageError, _ holdings: inout JournalHoldings
    ) {
        guard let own = holdings.own else {
            state = .idle
            return
        }
        isDoubtful = true
        let id = holdings.request()
        state = .checking(id, write, error)
        let next = (holdings.feeds.states[own.device]?.head.sequence ?? .none).next
        let query = JournalQuery.feed(
            own.device, min(next, .max)...EntrySequence.max, newestFirst: false,
            countMax: holdings.limits.persistBatchMax, bytesMax: holdings.limits.persistBatchBytesMax)
        holdings.emit(.load(query, id))
    }

    enum Loaded {
        /// The answer to somebody else's question.
        case unknown
        case checked
        /// The batch is on disk after all.
        case written(JournalWrite)
    }

    mutating func loaded(
        _ id: RequestID, _ answer: JournalAnswer, _ intake: inout JournalIntake, _ appends: inout AppendQueue,
        _ holdings: inout JournalHoldings
    ) -> Loaded {
        guard case .checking(id, let write, let error) = state else { return .unknown }
        state = .idle
        if case .failed(let reason) = answer {
            if let write { undo(write, error, &intake, &holdings) }
            appends.failAll(.storage(reason), &holdings)
            return .checked
        }
        isDoubtful = false
        let found = answer.storedEntries.filter { $0.entry.header.device == holdings.own?.device }
        if let write {
            let ids = Set(found.map(\.entry.id))
            let written = write.appends.flatMap(\.entries) + write.adopted
            if written.allSatisfy({ ids.contains($0.id) }) {
                holdings.stats.adopted &+= UInt64(written.count)
                return .written(done(write, &holdings))
            }
            undo(write, error, &intake, &holdings)
        }
        holdings.stats.adopted &+= UInt64(found.count)
        adopted = found
        return .checked
    }

    /// As if the batch had never been.
    private mutating func undo(
        _ write: JournalWrite, _ error: JournalStorageError, _ intake: inout JournalIntake,
        _ holdings: inout JournalHoldings
    ) {
        if !write.batch.entries.isEmpty {
            holdings.emit(.foldUndone(write.batch.entries.map(\.entry.id), holdings.request()))
        }
        for (request, _) in write.appends {
            holdings.stats.appendsRefused &+= 1
            holdings.emit(.appendFailed(request, .storage(error)))
        }
        for arrival in write.arrivals { intake.refuse(arrival, \.diskPaused, &holdings) }
    }
}

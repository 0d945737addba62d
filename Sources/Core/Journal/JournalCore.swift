// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// A community's journal on this node (docs/protocols/journal.md): which entries it takes, in which order, and what may be
/// said of them when.
///
/// It owns the parts: `JournalIntake` (what others bring, up to where it may go to the disk), `AppendQueue` (what we write),
/// `BatchMachine` (one batch at a time to the disk), `FeedReview` (cuts), `ReceiptTable` and `RetentionPass`; they share
/// `JournalHoldings`. It does not check signatures, read or write bytes, know what entries mean or who belongs here:
/// those are effects, and `Roster` is CommunityCore's answer.
///
/// Invariants: nothing is accepted, receipted, published or told of before it is on disk; a held range has no gap; of two
/// headers that can't stand in one feed at most one is in its range; of forked feeds the canonical proof is kept; an own
/// number is used for one header only, however the disk fails.
///
/// The caller drains `nextEffect()` until nil after every call, then sets one timer for `nextTimeout`.
package struct JournalCore: Sendable {
    private var holdings: JournalHoldings
    private var intake: JournalIntake
    private var appends: AppendQueue
    private var writer = BatchMachine()
    private var review = FeedReview()
    private var receipts: ReceiptTable
    private var retention: RetentionPass
    /// What the quotas must know from before.
    private var usageLoad: RequestID?

    /// - Parameters:
    ///   - own: signs this device's entries; nil for a node that only keeps those of others.
    ///   - opening: what the disk held.
    ///   - milliseconds: since 1970, by this machine's clock.
    package init(
        community: CommunityID, own: KeyPair?, configuration: JournalConfiguration, keys: KeySource,
        opening: JournalOpening, milliseconds: UInt64, at now: Instant
    ) {
        holdings = JournalHoldings(
            community: community, own: own, configuration: configuration, opening: opening,
            milliseconds: milliseconds, at: now)
        intake = JournalIntake(limits: configuration.limits)
        appends = AppendQueue(keys: keys)
        receipts = ReceiptTable(opening: opening, holdings)
        retention = RetentionPass(configuration, at: now)
        let today = HybridTime(milliseconds: QuotaTable.start(ofDay: QuotaTable.day(milliseconds: milliseconds)))
        let id = holdings.request()
        usageLoad = id
        holdings.emit(.load(.usage(since: today), id))
    }

    /// Before any input: all governance entries that the disk holds, in pages of any size.
    package mutating func restore(governance: [StoredEntry]) {
        for stored in governance {
            if stored.isBeside {
                holdings.feeds.besideCount += 1
                continue
            }
            let header = stored.entry.header
            let sparse = SparseEntry(id: stored.entry.id, previous: header.previous)
            holdings.feeds.addSparse(sparse, header.device, header.sequence)
        }
    }

    // MARK: Inputs

    package mutating func handle(_ input: JournalInput, at now: Instant) {
        switch input {
        case .clockRead(let milliseconds): holdings.clock.read(milliseconds: milliseconds, at: now)
        case .appendRequested(let request, let drafts): appends.request(request, drafts, &holdings)
        case .received(let request, let entries, let source):
            intake.receive(request, entries, from: source, &holdings, at: now)
        case .proofsReceived(let request, let proofs, let source):
            intake.receive(request, proofs: proofs, from: source, &holdings, at: now)
        case .malformed(let source):
            holdings.stats.malformed &+= 1
            holdings.emit(.violation(source, .malformed))
        case .receiptReceived(let receipt):
            if receipts.isNews(receipt, holdings) {
                writer.add(receipt, holdings)
            } else {
                holdings.stats.receiptsIgnored &+= 1
            }
        case .peerDisconnected(let peer): receipts.peerDisconnected(peer)
        case .rosterChanged(let roster):
            holdings.roster = roster
            holdings.quotas.rosterChanged(roster, today: today(at: now))
            review.review(holdings.feeds.devices, &writer, &holdings)
            review.reviewAlone(roster.devices.keys, &writer, holdings)
            intake.rosterChanged(holdings)
        case .missingChanged(let ids): holdings.missing = Set(ids.prefix(holdings.limits.missingMax))
        case .deviceStarted(let key):
            holdings.own = OwnDevice(key: key)
            holdings.settingsDue[JournalHoldings.endedSetting] = nil
            receipts.restart()
        case .verified(let id, let results): intake.verified(id, results, &holdings, at: now)
        case .introduced(let id, let results): intake.introduced(id, results, &holdings, at: now)
        case .folded(let id, let rows): writer.folded(id, rows, &holdings)
        case .persisted(let id):
            if let write = writer.persisted(id, &holdings) { tell(of: write, at: now) }
        case .persistFailed(let id, let error):
            retention.failed(holdings, at: now)
            writer.persistFailed(id, error, &intake, &holdings, at: now)
        case .loaded(let id, let answer): loaded(id, answer, at: now)
        }
        settle(at: now)
    }

    private mutating func loaded(_ id: RequestID, _ answer: JournalAnswer, at now: Instant) {
        if intake.loaded(id, answer, &holdings, at: now) { return }
        if review.loaded(id, answer, &writer, &holdings) { return }
        if id == usageLoad {
            usageLoad = nil
            if case .usage(let usages) = answer {
                holdings.quotas.remember(usages, holdings.roster, today: today(at: now))
            }
            return
        }
        if let bodies = retention.loaded(id, answer, &holdings, at: now) { return writer.drop(bodies) }
        switch writer.loaded(id, answer, &intake, &appends, &holdings) {
        case .written(let write): tell(of: write, at: now)
        case .checked: break
        case .unknown: holdings.stats.late &+= 1
        }
    }

    // MARK: Timeouts

    package var nextTimeout: Instant? {
        var next = intake.nextTimeout
        for other in [receipts.nextTimeout, retention.nextTimeout, holdings.diskPausedUntil] {
            guard let other else { continue }
            next = next.map { min($0, other) } ?? other
        }
        return next
    }

    package mutating func handleTimeout(at now: Instant) {
        if let paused = holdings.diskPausedUntil, paused <= now { holdings.diskPausedUntil = nil }
        intake.handleTimeout(&holdings, at: now)
        receipts.handleTimeout(&holdings, at: now)
        retention.handleTimeout(&holdings, at: now)
        settle(at: now)
    }

    private mutating func settle(at now: Instant) {
        intake.flush(&holdings, at: now)
        writer.start(&intake, &appends, &holdings, at: now)
        // What the writer gave back begins again.
        intake.flush(&holdings, at: now)
    }

    // MARK: Outputs

    package mutating func nextEffect() -> JournalEffect? { holdings.nextEffect() }

    /// Settings that belong to the folder in which a device writes, and not to a copy of it.
    package static let deviceSettings = [JournalHoldings.endedSetting]

    package var stats: JournalStats { holdings.stats }
    /// The disk has just refused something: what others bring is left alone for a moment.
    package func isDiskPaused(at now: Instant) -> Bool { holdings.diskPausedUntil.map { now < $0 } ?? false }
    package var community: CommunityID { holdings.community }
    /// All feeds, ordered by device.
    package var feeds: [FeedRecord] { holdings.feeds.records }
    package func feed(_ device: DeviceID) -> FeedRecord? { holdings.feeds.states[device]?.record(of: device) }
    /// Ordered by device; one each, the canonical one.
    package var proofs: [FaultProof] { holdings.feeds.orderedProofs }
    /// From where on the feeds that fork are ambiguous.
    package var forks: [DeviceID: EntrySequence] { holdings.feeds.proofs.mapValues(\.sequence) }
    package func proof(against device: DeviceID) -> FaultProof? { holdings.feeds.proofs[device] }
    package var ownDevice: DeviceID? { holdings.own?.device }
    /// The place that the next append gets, when nothing comes between; for bodies that are bound to it.
    package var nextOwnSequence: EntrySequence? {
        guard let own = holdings.own?.device else { return nil }
        return EntrySequence(writer.ownHead(own, holdings).value + UInt64(appends.count) + 1)
    }

    /// How many other nodes have an own entry on disk.
    package func holders(of point: FeedPoint) -> Int { receipts.holderCount(point.sequence) }
    /// Own entries up to here are on enough other disks.
    package var sentThrough: EntrySequence { receipts.sentThrough }

    /// Now, for what is first seen now.
    package func time(at now: Instant) -> HybridTime { HybridTime(milliseconds: holdings.clock.wall(at: now)) }

    private func today(at now: Instant) -> UInt64 { QuotaTable.day(milliseconds: holdings.clock.wall(at: now)) }

    /// Every peer that this core may name again, in no order, some more than once.
    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        intake.forEachPeer(body)
        receipts.forEachPeer(body)
    }

    // MARK: What is said of a batch on disk

    private mutating func tell(of write: JournalWrite, at now: Instant) {
        for stored in write.batch.entries { holdings.recent.insert(stored.entry.id) }
        if !write.batch.entries.isEmpty { holdings.emit(.admitted(write.batch.entries)) }
        for (request, entries) in write.appends {
            holdings.stats.appended &+= UInt64(entries.count)
            holdings.emit(.appended(request, entries))
        }
        let own = write.adopted + write.appends.flatMap(\.entries)
        if !own.isEmpty { holdings.emit(.publish(own)) }
        for proof in write.batch.proofs {
            holdings.stats.proofsTaken &+= 1
            holdings.emit(.publishProof(proof))
            let isFrozen = holdings.feeds.states[proof.device]?.isFrozen ?? false
            if isFrozen { holdings.emit(.emit(.feedFrozen(proof.device, proof))) }
        }
        let records = write.stage.devices.compactMap { holdings.feeds.states[$0]?.record(of: $0) }
        if !records.isEmpty { holdings.emit(.feedsChanged(records)) }
        for arrival in write.arrivals {
            receipts.owe(arrival.device, to: arrival.source.peer, holdings, at: now)
            holdings.stats.admitted &+= 1
            intake.finish(arrival, .accept, &holdings)
        }
        receipts.persisted(write.batch.receipts, &holdings)
        retention.dropped(write.batch.bodiesDropped.count, &holdings, at: now)
        for device in write.stage.devices { intake.stir(device) }
        if write.batch.entries.contains(where: \.entry.header.kind.isGovernance) { intake.governanceChanged() }
        review.review(write.stage.devices, &writer, &holdings)
        review.reviewAlone(write.batch.entries.lazy.map(\.entry.header.device), &writer, holdings)
    }
}

// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase
import TuttiIdentity

/// What this device wants to write, and the making of entries from it.
///
/// An entry gets its number, salt, time and signature only when it goes into a batch; the feed moves on only when the batch
/// is on disk. So a refusal of the disk leaves nothing behind, and nobody but the disk has seen what it refused.
struct AppendQueue: Sendable {
    private struct Request: Sendable {
        let id: RequestID
        let drafts: [EntryDraft]
        let bytes: Int
    }

    private var requests: Deque<Request> = []
    private var keys: KeySource
    private(set) var count = 0
    private var bytes = 0

    init(keys: KeySource) { self.keys = keys }

    var isEmpty: Bool { requests.isEmpty }

    mutating func request(_ id: RequestID, _ drafts: [EntryDraft], _ holdings: inout JournalHoldings) {
        if let error = refusal(of: drafts, holdings) {
            holdings.stats.appendsRefused &+= 1
            return holdings.emit(.appendFailed(id, error))
        }
        guard !drafts.isEmpty else { return holdings.emit(.appended(id, [])) }
        let size = drafts.reduce(0) { $0 + Self.bytesCount($1) }
        requests.append(Request(id: id, drafts: drafts, bytes: size))
        count += drafts.count
        bytes += size
    }

    private func refusal(of drafts: [EntryDraft], _ holdings: JournalHoldings) -> AppendError? {
        guard let own = holdings.own else { return .noDevice }
        if let error = standingRefusal(of: drafts, own, holdings) { return error }
        let limits = holdings.limits
        guard drafts.allSatisfy({ $0.body.count <= JournalLimits.bodyBytesMax }) else {
            return .bodyTooLarge(limit: JournalLimits.bodyBytesMax)
        }
        guard drafts.allSatisfy({ $0.retention == .permanent || !$0.kind.isGovernance }) else {
            return .retentionOfGovernance
        }
        let size = drafts.reduce(0) { $0 + Self.bytesCount($1) }
        let isTooMuch = drafts.count > limits.persistBatchMax || size > limits.persistBatchBytesMax
        let isFull = count + drafts.count > limits.appendsWaitingMax || bytes + size > limits.appendsWaitingBytesMax
        return isTooMuch || isFull ? .busy : nil
    }

    /// What others would not take, we don't write: nobody would ever take what comes behind it either.
    private func standingRefusal(
        of drafts: [EntryDraft], _ own: OwnDevice, _ holdings: JournalHoldings
    ) -> AppendError? {
        guard own.ended == nil, holdings.feeds.states[own.device]?.isFrozen != true else { return .deviceEnded }
        // A newcomer, whom the roster doesn't name yet, may be anything.
        guard let standing = holdings.roster.devices[own.device] else { return nil }
        guard standing.cut == nil else { return .deviceEnded }
        return drafts.first { !standing.takes($0.kind) }.map { .kindNotOpen($0.kind) }
    }

    /// Signs what fits into the batch and moves the staged feed on.
    mutating func fill(_ write: inout JournalWrite, _ holdings: inout JournalHoldings, at now: Instant) {
        while let request = requests.first, write.hasRoom(count: request.drafts.count, bytes: request.bytes, holdings) {
            requests.removeFirst()
            count -= request.drafts.count
            bytes -= request.bytes
            switch sign(request.drafts, &write, &holdings, at: now) {
            case .success(let entries): write.appends.append((request.id, entries))
            case .failure(let error):
                holdings.stats.appendsRefused &+= 1
                holdings.emit(.appendFailed(request.id, error))
            }
        }
    }

    private mutating func sign(
        _ drafts: [EntryDraft], _ write: inout JournalWrite, _ holdings: inout JournalHoldings, at now: Instant
    ) -> Result<[Entry], AppendError> {
        guard let own = holdings.own else { return .failure(.noDevice) }
        if let error = standingRefusal(of: drafts, own, holdings) { return .failure(error) }
        let staged = write.stage.state(own.device, over: holdings.feeds) ?? .nothing
        var (state, next) = (staged, staged.head.sequence.next)
        guard next.value + UInt64(drafts.count) <= EntrySequence.max.value else { return .failure(.deviceEnded) }
        for (place, draft) in drafts.enumerated() {
            let number = EntrySequence(next.value + UInt64(place))
            if let wanted = draft.sequence, wanted != number { return .failure(.sequencePassed(next: number)) }
        }
        let standing = holdings.roster.devices[own.device]
        let mark = standing.map { holdings.quotas.mark(of: own.device, $0.member) }
        var entries: [Entry] = []
        for draft in drafts {
            let entry = Self.entry(
                draft, after: state.head, holdings.community, own, salt: keys.nextBytes32(),
                time: holdings.clock.stamp(at: now))
            if let standing {
                let isAdmitted = holdings.quotas.admits(
                    entry.header, bytes: entry.encodedBytesCount, isDescending: false, device: standing,
                    today: QuotaTable.day(milliseconds: holdings.clock.wall(at: now)), isCounted: true)
                guard isAdmitted else {
                    if let mark { holdings.quotas.restore(mark) }
                    return .failure(.overQuota)
                }
            }
            if state.isNothing { state = FeedState(low: next, head: .start, before: EntryID.none) }
            state.head = entry.point
            next = next.next
            entries.append(entry)
        }
        write.stage.set(state, of: own.device, over: holdings.feeds)
        for entry in entries { write.add(entry, firstSeen: HybridTime(milliseconds: holdings.clock.wall(at: now))) }
        write.batch.settings[JournalHoldings.clockSetting] = JournalHoldings.bytes(holdings.clock.last.value)
        return .success(entries)
    }

    /// Every append that waits gets the same answer.
    mutating func failAll(_ error: AppendError, _ holdings: inout JournalHoldings) {
        while let request = requests.popFirst() {
            holdings.stats.appendsRefused &+= 1
            holdings.emit(.appendFailed(request.id, error))
        }
        count = 0
        bytes = 0
    }

    private static func bytesCount(_ draft: EntryDraft) -> Int {
        Entry.bytesMax - JournalLimits.bodyBytesMax + draft.body.count
    }

    private static func entry(
        _ draft: EntryDraft, after head: FeedPoint, _ community: CommunityID, _ own: OwnDevice, salt: Bytes32,
        time: HybridTime
    ) -> Entry {
        let content = Entry.Content(salt: salt, body: draft.body)
        let header = EntryHeader(
            kind: draft.kind, isCritical: draft.isCritical, retention: draft.retention,
            bodyBytesCount: draft.body.count, sequence: head.sequence.next, time: time, community: community,
            device: own.device, previous: head.id, governance: draft.governance, bodyDigest: content.digest)
        return Entry(signing: header, content: content, with: own.key)
    }
}

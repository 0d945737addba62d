// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiJournal

extension CommunityID {
    static let test = CommunityID(Bytes32(words: (1, 2, 3, 4)))
}

extension EntryKind {
    static let chat = EntryKind(0x0200)
    static let rule = EntryKind(0x0010)
    static let join = EntryKind(0x0002)
}

/// Some day of 2026.
let startMilliseconds: UInt64 = 1_790_000_000_000

/// Writes a feed outside of any core, honest or not.
struct Author {
    let key: KeyPair
    let device: DeviceID
    private(set) var entries: [Entry] = []

    init(_ seed: UInt64) {
        key = KeyPair(seed: Bytes32(words: (0xA0, 0, 0, seed)))
        device = DeviceID(Bytes32(key.publicKey.raw) ?? .zero)
    }

    @discardableResult
    mutating func write(
        _ body: String = "hello", kind: EntryKind = .chat, isCritical: Bool = false,
        retention: RetentionClass = .permanent, milliseconds: UInt64 = startMilliseconds,
        community: CommunityID = .test
    ) -> Entry {
        let entry = next(
            body, kind: kind, isCritical: isCritical, retention: retention, milliseconds: milliseconds,
            community: community)
        entries.append(entry)
        return entry
    }

    mutating func write(count: Int) {
        for number in 0..<count { write("\(number)") }
    }

    /// What `write` would write.
    func next(
        _ body: String, kind: EntryKind = .chat, isCritical: Bool = false, retention: RetentionClass = .permanent,
        milliseconds: UInt64 = startMilliseconds, community: CommunityID = .test, after last: FeedPoint? = nil
    ) -> Entry {
        let last = last ?? entries.last?.point ?? .start
        return entry(
            at: last.sequence.next, previous: last.id, body, kind: kind, isCritical: isCritical, retention: retention,
            milliseconds: milliseconds, community: community)
    }

    func entry(
        at sequence: EntrySequence, previous: EntryID, _ body: String, kind: EntryKind = .chat,
        isCritical: Bool = false, retention: RetentionClass = .permanent, milliseconds: UInt64 = startMilliseconds,
        community: CommunityID = .test, signer: KeyPair? = nil
    ) -> Entry {
        let salt = Bytes32(words: (sequence.value, 0, 0, 9))
        let content = Entry.Content(salt: salt, body: Array(body.utf8))
        let header = EntryHeader(
            kind: kind, isCritical: isCritical, retention: retention, bodyBytesCount: content.body.count,
            sequence: sequence, time: HybridTime(milliseconds: milliseconds), community: community, device: device,
            previous: previous, governance: .none, bodyDigest: content.digest)
        return Entry(signing: header, content: content, with: signer ?? key)
    }

    /// Another branch of the same feed, from after `place` on.
    func branch(after place: Int) -> Author {
        var branch = self
        branch.entries = Array(entries.prefix(place))
        return branch
    }
}

/// A disk in memory; each batch is there at once or not at all.
struct Disk {
    private(set) var entries: [EntryID: StoredEntry] = [:]
    private(set) var arrivals: [EntryID] = []
    private(set) var feeds: [DeviceID: FeedRecord] = [:]
    private(set) var proofs: [DeviceID: FaultProof] = [:]
    private(set) var receipts: [PeerID: ReceiptRecord] = [:]
    private(set) var settings: [String: [UInt8]] = [:]
    private(set) var batches = 0
    private(set) var rows = 0
    /// Entries that were given the place of another.
    private(set) var conflicts = 0

    mutating func write(_ batch: JournalBatch) {
        batches += 1
        for end in batch.ends {
            for (id, stored) in entries
            where end.isBehind(stored.entry.header.device, stored.entry.header.sequence, id) {
                entries[id]?.isBeside = true
            }
        }
        rows += batch.rows.count
        for stored in batch.entries {
            if let held = entries[stored.entry.id] {
                if held.entry.content == nil { entries[stored.entry.id] = stored }
                if !stored.isBeside { entries[stored.entry.id]?.isBeside = false }
            } else {
                entries[stored.entry.id] = stored
                arrivals.append(stored.entry.id)
            }
            let header = stored.entry.header
            conflicts += entries.values.count { other in
                !stored.isBeside && !other.isBeside && other.entry.id != stored.entry.id
                    && other.entry.header.device == header.device && other.entry.header.sequence == header.sequence
            }
        }
        for feed in batch.feeds { feeds[feed.device] = feed }
        for proof in batch.proofs { proofs[proof.device] = proof }
        for receipt in batch.receipts { receipts[receipt.holder] = receipt }
        for id in batch.bodiesDropped {
            if let held = entries[id] { entries[id] = StoredEntry(held.entry.withoutBody, firstSeen: held.firstSeen) }
        }
        settings.merge(batch.settings) { $1 }
    }

    func answer(_ query: JournalQuery) -> JournalAnswer {
        switch query {
        case .opening: return .opening(opening)
        case .feed(let device, let range, let newestFirst, let countMax, _):
            let found = entries.values.filter {
                !$0.isBeside && $0.entry.header.device == device && range.contains($0.entry.header.sequence)
            }.sorted { ($0.entry.header.sequence, $0.entry.id) < ($1.entry.header.sequence, $1.entry.id) }
            return .entries(Array((newestFirst ? found.reversed() : found).prefix(countMax)))
        case .entries(let ids): return .entries(ids.compactMap { entries[$0] })
        case .expired(let retention, let before, let countMax):
            let found = arrivals.filter {
                guard let held = entries[$0] else { return false }
                return held.entry.header.retention == retention && held.entry.content != nil
                    && held.displayTime < before
            }
            return .ids(Array(found.prefix(countMax)))
        case .usage(let since):
            return .usage(
                feeds.values.sorted { $0.device < $1.device }.compactMap { feed in
                    guard let head = entries[feed.head.id] else { return nil }
                    let arrived = entries.values.filter {
                        $0.entry.header.device == feed.device && $0.firstSeen >= since
                    }
                    let days = Dictionary(grouping: arrived) { $0.entry.header.time.milliseconds / 86_400_000 }
                    return FeedUsage(
                        device: feed.device, headTime: head.entry.header.time,
                        arrived: days.sorted { $0.key < $1.key }.map { day, stored in
                            .init(day: day, bytes: stored.reduce(0) { $0 + $1.entry.encodedBytesCount })
                        })
                })
        case .governance, .arrivals, .latest, .ofKind, .messages, .messageRows, .rows, .search, .listings,
            .listingsNamed, .listingCategories, .opened, .openedAbout, .openedSubjects, .slots, .slotPage:
            return .failed(.failed("not in this test"))
        }
    }

    var governance: [StoredEntry] { arrivals.compactMap { entries[$0] }.filter { $0.entry.header.kind.isGovernance } }

    var opening: JournalOpening {
        var opening = JournalOpening()
        opening.feeds = feeds.values.sorted { $0.device < $1.device }
        opening.proofs = proofs.values.sorted { $0.device < $1.device }
        opening.receipts = receipts.values.sorted { $0.head < $1.head }
        opening.settings = settings
        return opening
    }
}

/// A core with a disk, and a record of what it did. It answers every effect at once unless told otherwise.
struct Node {
    var core: JournalCore
    var disk: Disk
    var now = Instant.zero
    /// What is asked of CommunityCore: whom it lets in.
    var introduces: (Entry) -> Bool = { _ in false }
    /// The disk refuses batches.
    var diskError: JournalStorageError?
    /// It refuses and has written all the same.
    var isDiskLying = false
    var loadError: JournalStorageError?
    var isDiskSlow = false
    var isVerifierSlow = false

    private(set) var judged: [RequestID: [EntryVerdict]] = [:]
    private(set) var appended: [RequestID: [Entry]] = [:]
    private(set) var failed: [RequestID: AppendError] = [:]
    private(set) var published: [Entry] = []
    private(set) var publishedProofs: [FaultProof] = []
    private(set) var admitted: [Entry] = []
    private(set) var undone: [EntryID] = []
    private(set) var violations: [JournalViolation] = []
    private(set) var wanted: [DeviceID] = []
    private(set) var receipts: [JournalReceipt] = []
    private(set) var events: [JournalEvent] = []
    private(set) var changes: [FeedRecord] = []
    private(set) var verifiedCount = 0
    private(set) var loads = 0
    private(set) var largestBatch = 0
    private var writes: [(JournalBatch, RequestID)] = []
    private var verifies: [([Entry], RequestID)] = []
    private var lastRequest: UInt64 = 0
    private let key: KeyPair?
    private let configuration: JournalConfiguration

    init(
        _ key: KeyPair? = nil, disk: Disk = Disk(), configuration: JournalConfiguration = JournalConfiguration(),
        milliseconds: UInt64 = startMilliseconds, roster: Roster? = nil
    ) {
        self.key = key
        self.disk = disk
        self.configuration = configuration
        core = JournalCore(
            community: .test, own: key, configuration: configuration, keys: .seeded(SeededGenerator(seed: 7)),
            opening: disk.opening, milliseconds: milliseconds, at: now)
        core.restore(governance: disk.governance)
        if let roster { handle(.rosterChanged(roster)) }
    }

    /// The same folder, opened again.
    func reopened(roster: Roster? = nil, milliseconds: UInt64 = startMilliseconds) -> Node {
        Node(key, disk: disk, configuration: configuration, milliseconds: milliseconds, roster: roster)
    }

    mutating func handle(_ input: JournalInput) {
        core.handle(input, at: now)
        drain()
    }

    mutating func wait(_ duration: Duration) {
        let end = now + duration
        while let next = core.nextTimeout, next <= end {
            now = max(now, next)
            core.handleTimeout(at: now)
            drain()
        }
        now = end
    }

    mutating func request() -> RequestID {
        lastRequest += 1
        return RequestID(lastRequest)
    }

    @discardableResult
    mutating func receive(
        _ entries: [Entry], by door: JournalSource.Door = .sync, from peer: UInt32 = 1
    ) -> [EntryVerdict]? {
        let id = request()
        handle(.received(id, entries, from: JournalSource(peer: PeerIndex(peer), door: door)))
        return judged[id]
    }

    @discardableResult
    mutating func receive(_ proofs: [FaultProof]) -> [EntryVerdict]? {
        let id = request()
        handle(.proofsReceived(id, proofs, from: JournalSource(peer: PeerIndex(1), door: .sync)))
        return judged[id]
    }

    @discardableResult
    mutating func append(_ bodies: String..., sequence: EntrySequence? = nil) -> RequestID {
        append(
            bodies.map {
                EntryDraft(kind: .chat, body: Array($0.utf8), governance: .none, sequence: sequence)
            })
    }

    @discardableResult
    mutating func append(_ drafts: [EntryDraft]) -> RequestID {
        let id = request()
        handle(.appendRequested(id, drafts))
        return id
    }

    mutating func appendedEntry(_ body: String) -> Entry? {
        let id = append(body)
        return appended[id]?.first
    }

    mutating func appendError(_ body: String) -> AppendError? {
        let id = append(body)
        return failed[id]
    }

    /// What a slow disk has to do, done.
    mutating func finishWrites() {
        let due = writes
        writes = []
        for (batch, id) in due { write(batch, id) }
        drain()
    }

    /// What slow verifiers have to do, done; the latest question first, if wanted.
    mutating func finishVerifies(isReversed: Bool = false) {
        let due = isReversed ? verifies.reversed() : verifies
        verifies = []
        for (entries, id) in due { verify(entries, id) }
        drain()
    }

    mutating func takeReceipts() -> [JournalReceipt] {
        defer { receipts = [] }
        return receipts
    }

    var pendingWrites: Int { writes.count }
    var pendingVerifies: Int { verifies.count }

    private mutating func write(_ batch: JournalBatch, _ id: RequestID) {
        largestBatch = max(largestBatch, batch.entries.count)
        if let diskError {
            if isDiskLying { disk.write(batch) }
            core.handle(.persistFailed(id, diskError), at: now)
        } else {
            disk.write(batch)
            core.handle(.persisted(id), at: now)
        }
    }

    private mutating func verify(_ entries: [Entry], _ id: RequestID) {
        verifiedCount += entries.count
        core.handle(.verified(id, entries.map(\.isSignatureValid)), at: now)
    }

    private mutating func drain() {
        while let effect = core.nextEffect() {
            switch effect {
            case .verify(let entries, let id):
                if isVerifierSlow { verifies.append((entries, id)) } else { verify(entries, id) }
            case .introduce(let entries, let id): core.handle(.introduced(id, entries.map(introduces)), at: now)
            case .fold(let entries, let id):
                let rows = entries.map { JournalRow.removed($0.entry.id) }
                core.handle(.folded(id, rows: rows), at: now)
            case .foldUndone(let ids, _): undone += ids
            case .persist(let batch, let id):
                if isDiskSlow { writes.append((batch, id)) } else { write(batch, id) }
            case .load(let query, let id):
                loads += 1
                core.handle(.loaded(id, loadError.map { .failed($0) } ?? disk.answer(query)), at: now)
            case .admitted(let entries): admitted += entries.map(\.entry)
            case .appended(let id, let entries): appended[id] = entries
            case .appendFailed(let id, let error): failed[id] = error
            case .publish(let entries): published += entries
            case .publishProof(let proof): publishedProofs.append(proof)
            case .judged(let id, from: _, let verdicts): judged[id] = verdicts
            case .violation(_, let violation): violations.append(violation)
            case .feedsChanged(let records): changes += records
            case .wanted(let device): wanted.append(device)
            case .receiptsDue(let due): receipts += due
            case .emit(let event): events.append(event)
            }
        }
    }
}

extension Roster {
    static func of(
        _ devices: DeviceID..., quota: Int = 100 << 20, cut: FeedPoint? = nil, open: OpenKinds = .all
    ) -> Roster {
        var roster = Roster()
        for device in devices {
            roster.devices[device] = Device(
                member: MemberID(device.bytes), quotaBytesPerDay: quota, cut: cut, open: open)
        }
        return roster
    }
}

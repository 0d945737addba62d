// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiJournal

/// What a ``MemoryJournal`` holds: the contract of `JournalStorage` without a disk. No answer depends on a hash's order.
struct MemoryTables: Sendable {
    private struct Place: Hashable, Sendable {
        let device: DeviceID
        let sequence: EntrySequence

        init(_ device: DeviceID, _ sequence: EntrySequence) { (self.device, self.sequence) = (device, sequence) }
        init(_ entry: Entry) { (device, sequence) = (entry.header.device, entry.header.sequence) }
    }

    private struct ReceiptPlace: Hashable, Sendable {
        let device: DeviceID
        let holder: PeerID
    }

    private(set) var bytesCount = 0
    /// In the order of arrival; the first has the number 1.
    private var entries: [StoredEntry] = []
    private var byID: [EntryID: Int] = [:]
    /// Of each feed in the order of sequences.
    private var byDevice: [DeviceID: [Int]] = [:]
    private var governance: [Int] = []
    private var feeds: [DeviceID: FeedRecord] = [:]
    private var proofs: [DeviceID: FaultProof] = [:]
    private var receipts: [ReceiptPlace: EntrySequence] = [:]
    private var settings: [String: [UInt8]] = [:]
    private var slots: [SlotKey: [UInt8]] = [:]
    private var messages: [EntryID: MessageRow] = [:]
    private var documents: [EntryID: (number: Int, row: DocumentRow)] = [:]
    private var documentsCount = 0
    /// In the order of their first writing; the first has the number 1.
    private var opened: [OpenedRow] = []
    private var openedByID: [EntryID: Int] = [:]
    private var listings = MemoryListings()
    /// Places of entries that are on their way to the disk.
    private var claims: [Place: EntryID] = [:]

    // MARK: Writing

    /// Refuses a batch that could not be applied after all those on their way.
    mutating func claim(_ batch: JournalBatch) throws(JournalStorageError) {
        guard batch.slots.allSatisfy(\.isWithinLimits) else { throw .failed("a slot's record is too large") }
        var own: [Place: EntryID] = [:]
        for stored in batch.entries where !stored.isBeside {
            let place = Place(stored.entry)
            let held = own[place] ?? claims[place] ?? index(of: place).map { entries[$0].entry.id }
            if let held, held != stored.entry.id,
                batch.ends.contains(where: { $0.isBehind(place.device, place.sequence, held) })
            {
                own[place] = stored.entry.id
                continue
            }
            guard held == nil || held == stored.entry.id else {
                throw .failed("a different entry stands at this place of the feed")
            }
            own[place] = stored.entry.id
        }
        claims.merge(own) { _, new in new }
    }

    /// The batch isn't on its way any more.
    mutating func release(_ batch: JournalBatch) {
        for stored in batch.entries where !stored.isBeside { claims[Place(stored.entry)] = nil }
    }

    mutating func dropClaims() { claims.removeAll() }

    mutating func apply(_ batch: JournalBatch) {
        release(batch)
        for end in batch.ends { put(end) }
        for entry in batch.entries { insert(entry) }
        for feed in batch.feeds { feeds[feed.device] = feed }
        for proof in batch.proofs { proofs[proof.device] = proof }
        for receipt in batch.receipts {
            receipts[ReceiptPlace(device: receipt.device, holder: receipt.holder)] = receipt.head
        }
        for row in batch.rows { put(row) }
        for id in batch.bodiesDropped {
            guard let index = byID[id] else { continue }
            replace(index, with: entries[index].entry.withoutBody)
        }
        settings.merge(batch.settings) { _, new in new }
        for key in batch.slotsDropped { replace(key, with: nil) }
        for slot in batch.slots { replace(slot.key, with: slot.value) }
    }

    private mutating func replace(_ key: SlotKey, with value: [UInt8]?) {
        if let old = slots[key] { bytesCount -= SlotRecord(key, old).bytesCount }
        if let value { bytesCount += SlotRecord(key, value).bytesCount }
        slots[key] = value
    }

    private mutating func insert(_ new: StoredEntry) {
        if let index = byID[new.entry.id] {
            if entries[index].entry.content == nil, new.entry.content != nil { replace(index, with: new.entry) }
            guard entries[index].isBeside, !new.isBeside else { return }
            entries[index].isBeside = false
            return place(index)
        }
        let index = entries.count
        entries.append(new)
        byID[new.entry.id] = index
        if new.entry.header.kind.isGovernance { governance.append(index) }
        bytesCount += new.entry.encodedBytesCount
        if !new.isBeside { place(index) }
    }

    private mutating func place(_ index: Int) {
        let header = entries[index].entry.header
        let at = position(header.sequence, in: byDevice[header.device] ?? [])
        byDevice[header.device, default: []].insert(index, at: at)
    }

    private mutating func put(_ end: FeedEnd) {
        for index in byDevice[end.device] ?? [] {
            let entry = entries[index].entry
            entries[index].isBeside = end.isBehind(end.device, entry.header.sequence, entry.id)
        }
        byDevice[end.device]?.removeAll { entries[$0].isBeside }
    }

    private mutating func replace(_ index: Int, with entry: Entry) {
        bytesCount += entry.encodedBytesCount - entries[index].entry.encodedBytesCount
        entries[index].entry = entry
    }

    private mutating func put(_ row: JournalRow) {
        switch row {
        case .message(let message):
            messages[message.id] = message
        case .document(let document):
            if documents[document.id] == nil { documentsCount += 1 }
            documents[document.id] = (documents[document.id]?.number ?? documentsCount, document)
        case .opened(let row):
            if let index = openedByID[row.id] {
                opened[index] = row
            } else {
                openedByID[row.id] = opened.count
                opened.append(row)
            }
        case .listing(let listing): listings.put(listing)
        case .removed(let id):
            messages[id] = nil
            documents[id] = nil
            listings.remove(id)
        }
    }

    /// Of the first entry of a feed that isn't before the sequence.
    private func position(_ sequence: EntrySequence, in feed: [Int]) -> Int {
        var (low, high) = (0, feed.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[feed[middle]].entry.header.sequence < sequence { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func index(of place: Place) -> Int? {
        guard let feed = byDevice[place.device] else { return nil }
        let at = position(place.sequence, in: feed)
        return at < feed.count && entries[feed[at]].entry.header.sequence == place.sequence ? feed[at] : nil
    }

    // MARK: Reading

    func answer(_ query: JournalQuery) -> JournalAnswer {
        switch query {
        case .opening:
            return .opening(opening)
        case .governance(let after, let countMax):
            let first = governance.firstIndex { UInt64($0) >= after } ?? governance.count
            return arrivals(governance[first...], after: after, countMax: countMax, bytesMax: .max)
        case .arrivals(let after, let countMax, let bytesMax):
            let first = min(Int(clamping: after), entries.count)
            return arrivals(first..<entries.count, after: after, countMax: countMax, bytesMax: bytesMax)
        case .ofKind(let kind, let after, let countMax, let bytesMax):
            let first = min(Int(clamping: after), entries.count)
            let found = (first..<entries.count).lazy.filter { entries[$0].entry.header.kind == kind }
            return arrivals(found, after: after, countMax: countMax, bytesMax: bytesMax)
        case .latest(let before, let countMax, let bytesMax):
            let end = min(Int(clamping: max(1, before) - 1), entries.count)
            let found = page((0..<end).reversed(), countMax, bytesMax)
            return .arrivals(found.map { entries[$0] }, last: found.last.map { UInt64($0 + 1) } ?? before)
        case .feed(let device, let range, let newestFirst, let countMax, let bytesMax):
            let feed = byDevice[device] ?? []
            let end = range.upperBound >= .max ? feed.count : position(range.upperBound.next, in: feed)
            let held = feed[min(position(range.lowerBound, in: feed), end)..<end]
            return .entries(
                newestFirst
                    ? page(held.reversed(), countMax, bytesMax).map { entries[$0] }
                    : page(held, countMax, bytesMax).map { entries[$0] })
        case .entries(let ids):
            return .entries(ids.compactMap { id in byID[id].map { entries[$0] } })
        case .messageRows(let ids): return .messages(ids.compactMap { messages[$0] })
        case .rows(let needed):
            return .rows(
                needed.messages.compactMap { id in messages[id].map { .message($0) } }
                    + needed.listings.compactMap { id in listings[id].map { .listing($0) } })
        case .messages(let channel, let before, let countMax):
            let shown = messages.values.filter { $0.channel == channel && ($0.time, $0.id) < (before.time, before.id) }
            return .messages(Array(shown.sorted { ($0.time, $0.id) > ($1.time, $1.id) }.prefix(countMax)))
        case .opened(let after, let countMax, let bytesMax):
            let found = openedPage(after: after, countMax, bytesMax)
            return .opened(Array(opened[found]), last: max(after, UInt64(found.upperBound)))
        case .openedAbout(let subject, let countMax):
            let found = opened.indices.filter { opened[$0].subject == subject }.prefix(max(0, countMax))
            return .opened(found.map { opened[$0] }, last: found.last.map { UInt64($0 + 1) } ?? 0)
        case .openedSubjects(let kind, let countMax):
            var known: Set<Bytes32> = []
            let found = opened.reversed().filter { $0.kind == kind && known.insert($0.subject).inserted }
            return .subjects(found.prefix(max(0, countMax)).map(\.subject))
        case .search(let text, let countMax):
            return .documents(search(text, countMax))
        case .listings(let query): return .listings(listings.found(query))
        case .listingsNamed(let ids, let countMax): return .listings(listings.named(ids, countMax))
        case .listingCategories(let time, let countMax):
            return .categories(listings.categories(unexpiredAt: time, countMax))
        case .expired(let retention, let before, let countMax):
            return .ids(expired(retention, before, countMax))
        case .usage(let since): return .usage(usage(since: since))
        case .slots(let keys): return .slots(keys.compactMap { key in slots[key].map { SlotRecord(key, $0) } })
        case .slotPage(let shelf, let prefix, let after, let countMax, let bytesMax):
            return .slots(slots(on: shelf, prefix, after: after, countMax, bytesMax))
        }
    }

    private func slots(
        on shelf: SlotShelf, _ prefix: [UInt8], after: [UInt8]?, _ countMax: Int, _ bytesMax: Int
    ) -> [SlotRecord] {
        let after = after.map { SlotKey(shelf, $0) }
        let keys = slots.keys.filter { key in
            key.shelf == shelf && key.bytes.starts(with: prefix) && after.map { $0 < key } ?? true
        }
        var (found, bytes): ([SlotRecord], Int) = ([], 0)
        for key in keys.sorted().prefix(max(0, countMax)) {
            let next = SlotRecord(key, slots[key] ?? [])
            bytes += next.bytesCount
            if !found.isEmpty, bytes > bytesMax { break }
            found.append(next)
        }
        return found
    }

    private func usage(since: HybridTime) -> [FeedUsage] {
        var arrived: [DeviceID: [UInt64: Int]] = [:]
        for stored in entries.suffix(65_536) where stored.firstSeen >= since {
            let header = stored.entry.header
            arrived[header.device, default: [:]][header.time.milliseconds / 86_400_000, default: 0] +=
                stored.entry.encodedBytesCount
        }
        return feeds.values.sorted { $0.device < $1.device }.compactMap { feed in
            guard let head = index(of: Place(feed.device, feed.head.sequence)) else { return nil }
            let days = (arrived[feed.device] ?? [:]).sorted { $0.key < $1.key }
            return FeedUsage(
                device: feed.device, headTime: entries[head].entry.header.time,
                arrived: days.map { .init(day: $0.key, bytes: $0.value) })
        }
    }

    private var opening: JournalOpening {
        var opening = JournalOpening()
        opening.feeds = feeds.values.sorted { $0.device < $1.device }
        opening.proofs = proofs.values.sorted { $0.device < $1.device }
        opening.receipts = receipts.map { ReceiptRecord(device: $0.key.device, holder: $0.key.holder, head: $0.value) }
            .sorted { ($0.device, $0.holder) < ($1.device, $1.holder) }
        opening.settings = settings
        return opening
    }

    private func arrivals(
        _ indices: some Collection<Int>, after: UInt64, countMax: Int, bytesMax: Int
    ) -> JournalAnswer {
        let found = page(indices, countMax, bytesMax)
        return .arrivals(found.map { entries[$0] }, last: found.last.map { UInt64($0 + 1) } ?? after)
    }

    /// At least one, then as many as fit.
    private func page(_ indices: some Collection<Int>, _ countMax: Int, _ bytesMax: Int) -> [Int] {
        var (found, bytes): ([Int], Int) = ([], 0)
        for index in indices.prefix(max(0, countMax)) {
            bytes += entries[index].entry.encodedBytesCount
            if !found.isEmpty, bytes > bytesMax { break }
            found.append(index)
        }
        return found
    }

    private func openedPage(after: UInt64, _ countMax: Int, _ bytesMax: Int) -> Range<Int> {
        let first = min(Int(clamping: after), opened.count)
        var (end, bytes) = (first, 0)
        while end < opened.count, end - first < countMax {
            bytes += opened[end].payload.count
            if end > first, bytes > bytesMax { break }
            end += 1
        }
        return first..<end
    }

    private func expired(_ retention: RetentionClass, _ before: HybridTime, _ countMax: Int) -> [EntryID] {
        guard retention != .permanent else { return [] }
        let due = entries.indices.filter { index in
            let stored = entries[index]
            return stored.entry.header.retention == retention && stored.entry.content != nil
                && stored.displayTime < before
        }
        return due.sorted { (entries[$0].displayTime, $0) < (entries[$1].displayTime, $1) }
            .prefix(max(0, countMax)).map { entries[$0].entry.id }
    }

    /// Newest first.
    private func search(_ text: String, _ countMax: Int) -> [DocumentRow] {
        let wanted = Self.words(text)
        guard !wanted.isEmpty else { return [] }
        let found = documents.values.filter { document in
            let words = Set(Self.words(document.row.title) + Self.words(document.row.text))
            return wanted.allSatisfy(words.contains)
        }
        return found.sorted { $0.number > $1.number }.prefix(max(0, countMax)).map(\.row)
    }

    static func words(_ text: String) -> [String] {
        text.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init)
    }
}

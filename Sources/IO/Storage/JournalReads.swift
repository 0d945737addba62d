// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
import TuttiBase
import TuttiIdentity
import TuttiJournal

/// Answers queries inside one read transaction.
struct JournalReads {
    /// Words of a search that count, and matches that are ranked: the newest. So the most common words cost no more
    /// than a rare one.
    static let searchWordsMax = 8
    static let rankedMax = 2000
    /// Arrivals that the quotas remember.
    static let usageMax: Int64 = 65_536

    let db: Database

    func answer(_ query: JournalQuery) throws -> JournalAnswer {
        switch query {
        case .opening:
            return .opening(try opening())
        case .governance(let after, let countMax):
            return try arrivals("kind < 256 AND arrival > ?", after: after, countMax: countMax, bytesMax: .max)
        case .arrivals(let after, let countMax, let bytesMax):
            return try arrivals("arrival > ?", after: after, countMax: countMax, bytesMax: bytesMax)
        case .ofKind(let kind, let after, let countMax, let bytesMax):
            // As a literal: the indexes of single kinds stand for just that.
            return try arrivals(
                "kind = \(kind.rawValue) AND arrival > ?", after: after, countMax: countMax, bytesMax: bytesMax)
        case .latest(let before, let countMax, let bytesMax):
            return try latest(before: before, countMax: countMax, bytesMax: bytesMax)
        case .feed(let device, let range, let newestFirst, let countMax, let bytesMax):
            return .entries(
                try feed(device, range, newestFirst: newestFirst, countMax: countMax, bytesMax: bytesMax))
        case .entries(let ids):
            return .entries(try ids.compactMap { id in try entry(id)?.stored })
        case .messages(let channel, let before, let countMax):
            return .messages(try messages(channel, before: before, countMax: countMax))
        case .messageRows(let ids): return .messages(try ids.compactMap { try message($0) })
        case .opened(let after, let countMax, let bytesMax):
            return try opened(
                "opened.number > ?", [Int64(clamping: after), countMax], after: after, bytesMax: bytesMax)
        case .openedAbout(let subject, let countMax):
            return try opened(
                "opened.subject = (SELECT number FROM names WHERE bytes = ?)", [subject.data, countMax], after: 0,
                bytesMax: .max)
        case .openedSubjects(let kind, let countMax): return .subjects(try subjects(kind, countMax: countMax))
        case .rows(let needed):
            return .rows(
                try needed.messages.compactMap { id in try message(id).map { .message($0) } }
                    + needed.listings.compactMap { id in try listing(id).map { .listing($0) } })
        case .search(let text, let countMax):
            return .documents(try search(text, countMax: countMax))
        case .listings(let query): return .listings(try listings(query))
        case .listingsNamed(let ids, let countMax):
            return .listings(try listings(named: ids, countMax: countMax))
        case .listingCategories(let time, let countMax):
            return .categories(try listingCategories(unexpiredAt: time, countMax: countMax))
        case .expired(let retention, let before, let countMax):
            return .ids(try expired(retention, before: before, countMax: countMax))
        case .usage(let since): return .usage(try usage(since: since))
        case .slots(let keys): return .slots(try keys.compactMap { try slot($0) })
        case .slotPage(let shelf, let prefix, let after, let countMax, let bytesMax):
            return .slots(
                try slots(on: shelf, prefix: prefix, after: after, countMax: countMax, bytesMax: bytesMax))
        }
    }

    // MARK: Entries

    /// Where two ids begin with the same eight bytes, both rows are looked at.
    func entry(_ id: EntryID) throws -> EntryRow? {
        let rows = try rows(
            "SELECT \(EntryRow.columns) FROM entries WHERE id = ? ORDER BY arrival", [id.bytes.prefix])
        while let row = try rows.next() {
            let found = try EntryRow(row)
            if found.stored.entry.id == id { return found }
        }
        return nil
    }

    func entry(device: Int64, sequence: Int64) throws -> EntryRow? {
        try row(
            "SELECT \(EntryRow.columns) FROM entries WHERE device = ? AND sequence = ?", [device, sequence]
        ).map(EntryRow.init)
    }

    private func arrivals(
        _ condition: String, after: UInt64, countMax: Int, bytesMax: Int
    ) throws -> JournalAnswer {
        let found = try page(
            rows(
                "SELECT \(EntryRow.columns) FROM entries WHERE \(condition) ORDER BY arrival LIMIT ?",
                [Int64(clamping: after), countMax]),
            bytesMax: bytesMax)
        return .arrivals(found.map(\.stored), last: found.last.map { UInt64(clamping: $0.arrival) } ?? after)
    }

    private func latest(before: UInt64, countMax: Int, bytesMax: Int) throws -> JournalAnswer {
        let found = try page(
            rows(
                "SELECT \(EntryRow.columns) FROM entries WHERE arrival < ? ORDER BY arrival DESC LIMIT ?",
                [Int64(clamping: before), countMax]),
            bytesMax: bytesMax)
        return .arrivals(found.map(\.stored), last: found.last.map { UInt64(clamping: $0.arrival) } ?? before)
    }

    private func feed(
        _ device: DeviceID, _ range: ClosedRange<EntrySequence>, newestFirst: Bool, countMax: Int, bytesMax: Int
    ) throws -> [StoredEntry] {
        guard let name = try row("SELECT number FROM names WHERE bytes = ?", [device.bytes.data]) else {
            return []
        }
        let found = try page(
            rows(
                """
                SELECT \(EntryRow.columns) FROM entries WHERE device = ? AND sequence BETWEEN ? AND ?
                ORDER BY sequence \(newestFirst ? "DESC" : "ASC") LIMIT ?
                """,
                [
                    name.integer(0), Int64(clamping: max(1, range.lowerBound.value)),
                    Int64(clamping: range.upperBound.value),
                    countMax,
                ]),
            bytesMax: bytesMax)
        guard found.allSatisfy({ $0.stored.entry.header.device == device }) else { throw JournalStorageError.damaged }
        return found.map(\.stored)
    }

    /// At least one, then as many as fit.
    private func page(_ rows: RowCursor, bytesMax: Int) throws -> [EntryRow] {
        var (found, bytes): ([EntryRow], Int) = ([], 0)
        while let row = try rows.next() {
            let next = try EntryRow(row)
            bytes += next.stored.entry.encodedBytesCount
            if !found.isEmpty, bytes > bytesMax { break }
            found.append(next)
        }
        return found
    }

    private func expired(_ retention: RetentionClass, before: HybridTime, countMax: Int) throws -> [EntryID] {
        guard retention != .permanent else { return [] }
        let rows = try rows(
            """
            SELECT \(EntryRow.columns) FROM entries WHERE due IS NOT NULL AND retention = ? AND due < ?
            ORDER BY due, arrival LIMIT ?
            """,
            [Int64(retention.rawValue), before.stored, countMax])
        var ids: [EntryID] = []
        while let row = try rows.next() { ids.append(try EntryRow(row).stored.entry.id) }
        return ids
    }

    /// What stands beside its feed, by device, sequence and id.
    func evidence() throws -> [StoredEntry] {
        let rows = try rows(
            "SELECT \(EntryRow.columns) FROM entries WHERE sequence < 0 AND device IN (SELECT number FROM names)", [])
        var found: [StoredEntry] = []
        while let row = try rows.next() { found.append(try EntryRow(row).stored) }
        return found.sorted { one, other in
            let (a, b) = (one.entry, other.entry)
            return (a.header.device, a.header.sequence, a.id) < (b.header.device, b.header.sequence, b.id)
        }
    }

    // MARK: Facts

    private func opening() throws -> JournalOpening {
        var opening = JournalOpening()
        opening.feeds = try feeds()
        opening.proofs = try proofs()
        opening.receipts = try receipts()
        opening.settings = try settings()
        return opening
    }

    func feeds() throws -> [FeedRecord] {
        let rows = try rows(
            """
            SELECT bytes, low, head, head_id, frozen, mark FROM feeds JOIN names ON number = device ORDER BY bytes
            """, [])
        var feeds: [FeedRecord] = []
        while let row = try rows.next() {
            let feed = try FeedRecord(
                device: DeviceID(row.bytes32(0)), low: sequence(row, 1),
                head: FeedPoint(sequence: sequence(row, 2), id: EntryID(row.bytes32(3))),
                isFrozen: row.integer(4) != 0)
            guard try Mark.of(feed) == row.integer(5) else { throw JournalStorageError.damaged }
            feeds.append(feed)
        }
        return feeds
    }

    func proofs() throws -> [FaultProof] {
        let rows = try rows(
            "SELECT first, second, proofs.mark FROM proofs JOIN names ON number = device ORDER BY bytes", [])
        var proofs: [FaultProof] = []
        while let row = try rows.next() {
            var (first, second) = try (row.buffer(0), row.buffer(1))
            guard let one = try? Entry(from: &first), let other = try? Entry(from: &second),
                let proof = FaultProof(one, other), try Mark.of(proof) == row.integer(2)
            else { throw JournalStorageError.damaged }
            proofs.append(proof)
        }
        return proofs
    }

    func receipts() throws -> [ReceiptRecord] {
        let rows = try rows(
            "SELECT bytes, holder, head, mark FROM receipts JOIN names ON number = device ORDER BY bytes, holder", [])
        var receipts: [ReceiptRecord] = []
        while let row = try rows.next() {
            guard let holder = try? PeerID(multihash: row.bytes(1)) else { throw JournalStorageError.damaged }
            let receipt = try ReceiptRecord(device: DeviceID(row.bytes32(0)), holder: holder, head: sequence(row, 2))
            guard try Mark.of(receipt) == row.integer(3) else { throw JournalStorageError.damaged }
            receipts.append(receipt)
        }
        return receipts
    }

    func settings() throws -> [String: [UInt8]] {
        let rows = try rows("SELECT name, value, mark FROM settings ORDER BY name", [])
        var settings: [String: [UInt8]] = [:]
        while let row = try rows.next() {
            let (name, value) = try (row.text(0), row.bytes(1))
            guard try Mark.of(name, value) == row.integer(2) else {
                throw JournalStorageError.damaged
            }
            settings[name] = value
        }
        return settings
    }

    /// The time that an entry claims lies at a fixed place of its form.
    private func usage(since: HybridTime) throws -> [FeedUsage] {
        var usages: [Int64: FeedUsage] = [:]
        let heads = try rows(
            """
            SELECT feeds.device, bytes, substr(entry, 19, 8) FROM feeds
            JOIN names ON number = feeds.device
            JOIN entries ON entries.device = feeds.device AND entries.sequence = feeds.head
            """, [])
        while let row = try heads.next() {
            usages[try row.integer(0)] = try FeedUsage(
                device: DeviceID(row.bytes32(1)), headTime: HybridTime(row.number(2)), arrived: [])
        }
        let last = try row("SELECT COALESCE(MAX(arrival), 0) FROM entries", [])?.integer(0) ?? 0
        let rows = try rows(
            """
            SELECT device, substr(entry, 19, 8), LENGTH(entry) FROM entries WHERE arrival > ? AND first_seen >= ?
            """, [last - Self.usageMax, since.stored])
        var arrived: [Int64: [UInt64: Int]] = [:]
        while let row = try rows.next() {
            let day = try HybridTime(row.number(1)).milliseconds / 86_400_000
            arrived[try row.integer(0), default: [:]][day, default: 0] += Int(clamping: try row.integer(2))
        }
        for (device, days) in arrived {
            usages[device]?.arrived = days.sorted { $0.key < $1.key }.map { .init(day: $0.key, bytes: $0.value) }
        }
        return usages.values.sorted { $0.device < $1.device }
    }

    func sequence(_ row: Row, _ column: Int) throws -> EntrySequence {
        let value = try EntrySequence(UInt64(clamping: row.integer(column)))
        guard value <= .max else { throw JournalStorageError.damaged }
        return value
    }

    // MARK: Slots

    private func slot(_ key: SlotKey) throws -> SlotRecord? {
        try row(
            "SELECT key, value, mark FROM slots WHERE shelf = ? AND key = ?",
            [Int64(key.shelf.value), Data(key.bytes)]
        ).map { try slot($0, on: key.shelf) }
    }

    /// At least one, then as many as fit.
    func slots(
        on shelf: SlotShelf, prefix: [UInt8], after: [UInt8]?, countMax: Int, bytesMax: Int
    ) throws -> [SlotRecord] {
        let isAfter = after.map { !$0.lexicographicallyPrecedes(prefix) } ?? false
        let rows = try rows(
            """
            SELECT key, value, mark FROM slots WHERE shelf = ? AND key \(isAfter ? ">" : ">=") ? ORDER BY key LIMIT ?
            """,
            [Int64(shelf.value), Data(isAfter ? after ?? [] : prefix), max(0, countMax)])
        var (found, bytes): ([SlotRecord], Int) = ([], 0)
        while let row = try rows.next() {
            let next = try slot(row, on: shelf)
            guard next.key.bytes.starts(with: prefix) else { break }
            bytes += next.bytesCount
            if !found.isEmpty, bytes > bytesMax { break }
            found.append(next)
        }
        return found
    }

    private func slot(_ row: Row, on shelf: SlotShelf) throws -> SlotRecord {
        let slot = try SlotRecord(SlotKey(shelf, row.bytes(0)), row.bytes(1))
        guard try Mark.of(slot) == row.integer(2) else { throw JournalStorageError.damaged }
        return slot
    }

    /// Reads every record.
    func checkSlots() throws {
        let rows = try rows("SELECT key, value, mark, shelf FROM slots", [])
        while let row = try rows.next() { _ = try slot(row, on: SlotShelf(UInt8(clamping: row.integer(3)))) }
    }

    // MARK: Views

    private static let messages = """
        SELECT messages.id, channel.bytes, author.bytes, device.bytes, sequence, time, text, edited, version, hidden
        FROM messages
        JOIN names AS channel ON channel.number = messages.channel
        JOIN names AS author ON author.number = messages.author
        JOIN names AS device ON device.number = messages.device
        """

    private func messages(_ channel: Bytes32, before: MessagePlace, countMax: Int) throws -> [MessageRow] {
        let rows = try rows(
            """
            \(Self.messages) WHERE messages.channel = (SELECT number FROM names WHERE bytes = ?)
            AND (time, messages.id) < (?, ?)
            ORDER BY time DESC, messages.id DESC LIMIT ?
            """,
            [channel.data, before.time.stored, before.id.bytes.data, countMax])
        var messages: [MessageRow] = []
        while let row = try rows.next() { messages.append(try message(row)) }
        return messages
    }

    private func message(_ id: EntryID) throws -> MessageRow? {
        try row("\(Self.messages) WHERE messages.id = ?", [id.bytes.data]).map(message)
    }

    private func message(_ row: Row) throws -> MessageRow {
        try MessageRow(
            id: EntryID(row.bytes32(0)), channel: row.bytes32(1), author: MemberID(row.bytes32(2)),
            device: DeviceID(row.bytes32(3)), sequence: sequence(row, 4), time: HybridTime(stored: row.integer(5)),
            text: row.text(6), isEdited: row.integer(7) != 0, version: HybridTime(stored: row.integer(8)),
            hiddenReason: row.optionalText(9))
    }

    private func opened(
        _ condition: String, _ arguments: StatementArguments, after: UInt64, bytesMax: Int
    ) throws -> JournalAnswer {
        let rows = try rows(
            """
            SELECT opened.number, id, kind, subject.bytes, author.bytes, device.bytes, sequence, time, payload
            FROM opened
            JOIN names AS subject ON subject.number = opened.subject
            JOIN names AS author ON author.number = opened.author
            JOIN names AS device ON device.number = opened.device
            WHERE \(condition) ORDER BY opened.number LIMIT ?
            """, arguments)
        var (found, bytes, last): ([OpenedRow], Int, UInt64) = ([], 0, after)
        while let row = try rows.next() {
            let opened = try OpenedRow(
                id: EntryID(row.bytes32(1)), kind: UInt16(clamping: row.integer(2)), subject: row.bytes32(3),
                author: MemberID(row.bytes32(4)), device: DeviceID(row.bytes32(5)), sequence: sequence(row, 6),
                time: HybridTime(stored: row.integer(7)), payload: row.bytes(8))
            bytes += opened.payload.count
            if !found.isEmpty, bytes > bytesMax { break }
            found.append(opened)
            last = UInt64(clamping: try row.integer(0))
        }
        return .opened(found, last: last)
    }

    private func subjects(_ kind: UInt16, countMax: Int) throws -> [Bytes32] {
        let rows = try rows(
            """
            SELECT names.bytes FROM (
                SELECT subject, MAX(number) AS latest FROM opened WHERE kind = ? GROUP BY subject
                ORDER BY latest DESC LIMIT ?
            ) JOIN names ON names.number = subject ORDER BY latest DESC
            """, [Int64(kind), countMax])
        var found: [Bytes32] = []
        while let row = try rows.next() { found.append(try row.bytes32(0)) }
        return found
    }

    /// By bm25, a word in the title counting for five in the text, among the newest ``rankedMax`` matches.
    private func search(_ text: String, countMax: Int) throws -> [DocumentRow] {
        let words = Self.words(text)
        guard !words.isEmpty else { return [] }
        let rows = try rows(
            """
            SELECT documents.id, kind, names.bytes, time, title, text FROM
            (SELECT rowid AS place, bm25(search, 5.0, 1.0) AS score FROM search WHERE search MATCH ?
            ORDER BY rowid DESC LIMIT \(Self.rankedMax))
            JOIN documents ON documents.number = place JOIN names ON names.number = author
            ORDER BY score, place DESC LIMIT ?
            """,
            [words.map { "\"\($0)\"" }.joined(separator: " "), countMax])
        var documents: [DocumentRow] = []
        while let row = try rows.next() {
            documents.append(
                try DocumentRow(
                    id: EntryID(row.bytes32(0)), kind: EntryKind(UInt16(clamping: row.integer(1))),
                    author: MemberID(row.bytes32(2)), time: HybridTime(stored: row.integer(3)), title: row.text(4),
                    text: row.text(5)))
        }
        return documents
    }

    /// What the index takes for words: runs of letters, marks and digits. Nothing of the query language gets through.
    static func words(_ text: String) -> [Substring] {
        text.unicodeScalars.split(maxSplits: searchWordsMax, omittingEmptySubsequences: true) { scalar in
            switch scalar.properties.generalCategory {
            case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
                .spacingMark, .enclosingMark, .decimalNumber, .letterNumber, .otherNumber, .privateUse:
                false
            default:
                true
            }
        }.prefix(searchWordsMax).map(Substring.init)
    }

    /// A cursor's row is gone with the cursor; this one stays.
    func row(_ sql: String, _ arguments: StatementArguments) throws -> Row? {
        try Row.fetchOne(db.cachedStatement(sql: sql), arguments: arguments)
    }

    func rows(_ sql: String, _ arguments: StatementArguments) throws -> RowCursor {
        try Row.fetchCursor(db.cachedStatement(sql: sql), arguments: arguments)
    }
}

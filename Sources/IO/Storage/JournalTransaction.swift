// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
import TuttiBase
import TuttiIdentity
import TuttiJournal

/// Writes batches inside a transaction that the caller has begun and ends.
struct JournalTransaction {
    let db: Database

    func apply(_ batch: JournalBatch) throws {
        for end in batch.ends { try put(end) }
        for entry in batch.entries { try insert(entry) }
        for feed in batch.feeds { try put(feed) }
        for proof in batch.proofs { try put(proof) }
        for receipt in batch.receipts { try put(receipt) }
        for row in batch.rows { try put(row) }
        for id in batch.bodiesDropped { try dropBody(id) }
        for (name, value) in batch.settings.sorted(by: { $0.key < $1.key }) { try put(name, value) }
        for key in batch.slotsDropped { try drop(key) }
        for slot in batch.slots { try put(slot) }
    }

    // MARK: Entries

    /// - Parameters:
    ///   - arrival: its number in the file that it is salvaged from, when that is free.
    ///   - givesWay: beside its feed if another stands at its place.
    func insert(_ new: StoredEntry, arrival: Int64? = nil, givesWay: Bool = false) throws {
        let (entry, header) = (new.entry, new.entry.header)
        let reads = JournalReads(db: db)
        let device = try number(of: header.device.bytes)
        var isBeside = new.isBeside
        var held = isBeside ? nil : try reads.entry(device: device, sequence: Int64(header.sequence.value))
        if let other = held, other.stored.entry.id != entry.id {
            guard givesWay else {
                throw JournalStorageError.failed("a different entry stands at this place of the feed")
            }
            (isBeside, held) = (true, nil)
        }
        if let held = try held ?? reads.entry(entry.id) {
            if held.stored.entry.content == nil, entry.content != nil { try replace(held, with: entry) }
            if held.stored.isBeside, !isBeside {
                try run(
                    "UPDATE entries SET sequence = ? WHERE arrival = ?", [Int64(header.sequence.value), held.arrival])
            }
            return
        }
        var (arrival, place) = (arrival, Int64(header.sequence.value))
        if isBeside {
            let next = try arrival ?? row("SELECT COALESCE(MAX(arrival), 0) + 1 FROM entries", [])?.integer(0) ?? 1
            (arrival, place) = (next, -next)
        }
        try run(
            """
            INSERT INTO entries (arrival, device, sequence, id, kind, retention, due, first_seen, mark, entry)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                arrival, device, place, entry.id.bytes.prefix, Int64(header.kind.rawValue),
                Int64(header.retention.rawValue), EntryRow.due(entry, new.firstSeen), new.firstSeen.stored,
                Mark.of(entry, new.firstSeen), EntryRow.data(of: entry),
            ])
    }

    /// What stands behind steps beside.
    private func put(_ end: FeedEnd) throws {
        try run(
            """
            UPDATE entries SET sequence = -arrival
            WHERE device = ? AND sequence > 0 AND (sequence > ? OR (sequence = ? AND id <> ?))
            """,
            [
                number(of: end.device.bytes), Int64(end.point.sequence.value), Int64(end.point.sequence.value),
                end.point.id.bytes.prefix,
            ])
    }

    private func dropBody(_ id: EntryID) throws {
        guard let held = try JournalReads(db: db).entry(id), held.stored.entry.content != nil else { return }
        try replace(held, with: held.stored.entry.withoutBody)
    }

    /// The same entry with or without its body.
    private func replace(_ held: EntryRow, with entry: Entry) throws {
        try run(
            "UPDATE entries SET due = ?, entry = ? WHERE arrival = ?",
            [EntryRow.due(entry, held.stored.firstSeen), EntryRow.data(of: entry), held.arrival])
    }

    /// Devices, members and channels stand in rows by a small number.
    func number(of name: Bytes32) throws -> Int64 {
        if let row = try row("SELECT number FROM names WHERE bytes = ?", [name.data]) { return try row.integer(0) }
        try run("INSERT INTO names (bytes) VALUES (?)", [name.data])
        return db.lastInsertedRowID
    }

    // MARK: Facts

    private func put(_ feed: FeedRecord) throws {
        try run(
            "INSERT OR REPLACE INTO feeds (device, low, head, head_id, frozen, mark) VALUES (?, ?, ?, ?, ?, ?)",
            [
                number(of: feed.device.bytes), Int64(feed.low.value), Int64(feed.head.sequence.value),
                feed.head.id.bytes.data, feed.isFrozen ? 1 : 0, Mark.of(feed),
            ])
    }

    private func put(_ proof: FaultProof) throws {
        try run(
            "INSERT OR REPLACE INTO proofs (device, mark, first, second) VALUES (?, ?, ?, ?)",
            [
                number(of: proof.device.bytes), Mark.of(proof), EntryRow.data(of: proof.first),
                EntryRow.data(of: proof.second),
            ])
    }

    private func put(_ receipt: ReceiptRecord) throws {
        try run(
            "INSERT OR REPLACE INTO receipts (device, holder, head, mark) VALUES (?, ?, ?, ?)",
            [
                number(of: receipt.device.bytes), Data(receipt.holder.bytes), Int64(receipt.head.value),
                Mark.of(receipt),
            ])
    }

    private func put(_ name: String, _ value: [UInt8]) throws {
        try run(
            "INSERT OR REPLACE INTO settings (name, mark, value) VALUES (?, ?, ?)",
            [name, Mark.of(name, value), Data(value)])
    }

    func forget(_ name: String) throws {
        try run("DELETE FROM settings WHERE name = ?", [name])
    }

    // MARK: Slots

    private func put(_ slot: SlotRecord) throws {
        guard slot.isWithinLimits else { throw JournalStorageError.failed("a slot's record is too large") }
        try run(
            """
            INSERT INTO slots (shelf, key, mark, value) VALUES (?, ?, ?, ?)
            ON CONFLICT (shelf, key) DO UPDATE SET mark = excluded.mark, value = excluded.value
            """,
            [Int64(slot.key.shelf.value), Data(slot.key.bytes), Mark.of(slot), Data(slot.value)])
    }

    private func drop(_ key: SlotKey) throws {
        try run("DELETE FROM slots WHERE shelf = ? AND key = ?", [Int64(key.shelf.value), Data(key.bytes)])
    }

    /// What a witness has signed counts in its own folder alone: a copy of it that went on would vote twice.
    func leaveOutWitness() throws {
        try run("DELETE FROM slots WHERE shelf = ?", [Int64(SlotShelf.witness.value)])
        try forget(SlotShelf.stampName)
    }

    // MARK: Views

    func put(_ row: JournalRow) throws {
        switch row {
        case .message(let message): try put(message)
        case .document(let document): try put(document)
        case .opened(let opened): try put(opened)
        case .listing(let listing): try put(listing)
        case .removed(let id):
            try run("DELETE FROM messages WHERE id = ?", [id.bytes.data])
            try removeListing(id)
            if let old = try unindex(id) { try run("DELETE FROM documents WHERE number = ?", [old]) }
        }
    }

    private func put(_ message: MessageRow) throws {
        try run(
            """
            INSERT INTO messages (id, channel, author, device, sequence, time, edited, version, hidden, text)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET channel = excluded.channel, author = excluded.author,
            device = excluded.device, sequence = excluded.sequence, time = excluded.time, edited = excluded.edited,
            version = excluded.version, hidden = excluded.hidden, text = excluded.text
            """,
            [
                message.id.bytes.data, number(of: message.channel), number(of: message.author.bytes),
                number(of: message.device.bytes), Int64(message.sequence.value), message.time.stored,
                message.isEdited ? 1 : 0, message.version.stored, message.hiddenReason, message.text,
            ])
    }

    private func put(_ opened: OpenedRow) throws {
        try run(
            """
            INSERT INTO opened (id, kind, subject, author, device, sequence, time, payload)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, subject = excluded.subject, author = excluded.author,
            device = excluded.device, sequence = excluded.sequence, time = excluded.time, payload = excluded.payload
            """,
            [
                opened.id.bytes.data, Int64(opened.kind), number(of: opened.subject), number(of: opened.author.bytes),
                number(of: opened.device.bytes), Int64(opened.sequence.value), opened.time.stored, Data(opened.payload),
            ])
    }

    private func put(_ document: DocumentRow) throws {
        let author = try number(of: document.author.bytes)
        let number: Int64
        if let old = try unindex(document.id) {
            number = old
            try run(
                "UPDATE documents SET kind = ?, author = ?, time = ?, title = ?, text = ? WHERE number = ?",
                [
                    Int64(document.kind.rawValue), author, document.time.stored, document.title, document.text, number,
                ])
        } else {
            try run(
                "INSERT INTO documents (id, kind, author, time, title, text) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    document.id.bytes.data, Int64(document.kind.rawValue), author, document.time.stored, document.title,
                    document.text,
                ])
            number = db.lastInsertedRowID
        }
        try run(
            "INSERT INTO search (rowid, title, text) VALUES (?, ?, ?)", [number, document.title, document.text])
    }

    /// Takes a document's words out of the index, which must be told what they were. The document's number, if any.
    private func unindex(_ id: EntryID) throws -> Int64? {
        guard let old = try row("SELECT number, title, text FROM documents WHERE id = ?", [id.bytes.data]) else {
            return nil
        }
        let number = try old.integer(0)
        try run(
            "INSERT INTO search (search, rowid, title, text) VALUES ('delete', ?, ?, ?)",
            [number, old.text(1), old.text(2)])
        return number
    }

    func clearViews() throws {
        try db.execute(
            sql: """
                DELETE FROM messages;
                DELETE FROM documents;
                DELETE FROM opened;
                INSERT INTO search (search) VALUES ('delete-all');
                DELETE FROM listings;
                DELETE FROM listing_details;
                INSERT INTO listing_search (listing_search) VALUES ('delete-all');
                """)
    }

    /// What is held of each feed, from the entries alone: up to the last, down to the first gap.
    func deriveFeeds() throws {
        try run("DELETE FROM feeds", [])
        let heads = try Row.fetchAll(
            db,
            sql: """
                SELECT device, MAX(sequence), EXISTS (SELECT 1 FROM proofs WHERE proofs.device = entries.device)
                FROM entries WHERE sequence > 0 GROUP BY device ORDER BY device
                """)
        for row in heads {
            let (device, head) = try (row.integer(0), row.integer(1))
            guard let last = try JournalReads(db: db).entry(device: device, sequence: head)?.stored.entry else {
                throw JournalStorageError.damaged
            }
            var low = last.header.sequence
            let below = try Row.fetchCursor(
                db,
                sql:
                    "SELECT sequence FROM entries WHERE device = ? AND sequence BETWEEN 1 AND ? - 1 ORDER BY sequence DESC",
                arguments: [device, head])
            while let next = try below.next(), try UInt64(clamping: next.integer(0)) == low.previous.value {
                low = low.previous
            }
            try put(
                FeedRecord(device: last.header.device, low: low, head: last.point, isFrozen: row.integer(2) != 0))
        }
    }

    // MARK: Statements

    func run(_ sql: String, _ arguments: StatementArguments) throws {
        try db.cachedStatement(sql: sql).execute(arguments: arguments)
    }

    func row(_ sql: String, _ arguments: StatementArguments) throws -> Row? {
        try Row.fetchOne(db.cachedStatement(sql: sql), arguments: arguments)
    }
}

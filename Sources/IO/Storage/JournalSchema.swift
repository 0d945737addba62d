// SPDX-License-Identifier: Apache-2.0
import GRDB

/// The tables of `journal.sqlite`. Migrations are named and only appended.
///
/// Authentic are `entries`, `feeds`, `proofs`, `receipts`, `settings` and `slots`; `messages`, `documents`, `search`, `opened`
/// and those of listings are views that folds derive and that can be made again from the entries. An entry is held in its compact form, so that every
/// read checks it: its body against the header's digest, its header against `id` (the first eight bytes of the entry's
/// id, as a number), the rest against `mark`. An entry beside its feed has in place of its sequence its arrival number below zero, so that no
/// range of the feed finds it. Rows of the other authentic tables carry a `mark` over all of theirs. Keys of 32 bytes stand once, in `names`.
enum JournalSchema {
    /// SQLite's default, and what a file is cut into when it is salvaged.
    static let pageBytes = 4096

    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 journal") { db in try db.execute(sql: journal) }
        migrator.registerMigration("1 views") { db in try db.execute(sql: views) }
        migrator.registerMigration("2 mail") { db in try db.execute(sql: mail) }
        migrator.registerMigration("3 market") { db in try db.execute(sql: market) }
        migrator.registerMigration("4 slots") { db in try db.execute(sql: slots) }
        migrator.registerMigration("5 opened") { db in try db.execute(sql: opened) }
        return migrator
    }

    /// Times are stored with their first bit turned, so that signed numbers order as unsigned ones do. `due` is the
    /// display time of a body that is held and not permanent.
    private static let journal = """
        CREATE TABLE names (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL UNIQUE);
        CREATE TABLE entries (
            arrival INTEGER PRIMARY KEY,
            device INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            id INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            retention INTEGER NOT NULL,
            due INTEGER,
            first_seen INTEGER NOT NULL,
            mark INTEGER NOT NULL,
            entry BLOB NOT NULL
        );
        CREATE UNIQUE INDEX entries_place ON entries (device, sequence);
        CREATE INDEX entries_id ON entries (id);
        CREATE INDEX entries_governance ON entries (arrival) WHERE kind < 256;
        CREATE INDEX entries_due ON entries (retention, due) WHERE due IS NOT NULL;
        CREATE TABLE feeds (
            device INTEGER PRIMARY KEY,
            low INTEGER NOT NULL,
            head INTEGER NOT NULL,
            head_id BLOB NOT NULL,
            frozen INTEGER NOT NULL,
            mark INTEGER NOT NULL
        );
        CREATE TABLE proofs (
            device INTEGER PRIMARY KEY, mark INTEGER NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL
        );
        CREATE TABLE receipts (
            device INTEGER NOT NULL,
            holder BLOB NOT NULL,
            head INTEGER NOT NULL,
            mark INTEGER NOT NULL,
            PRIMARY KEY (device, holder)
        ) WITHOUT ROWID;
        CREATE TABLE settings (name TEXT PRIMARY KEY, mark INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
        """

    /// Sealed entries (0x0200) and mailbox keys (0x0201), which are read by themselves.
    private static let mail = """
        CREATE INDEX entries_sealed ON entries (arrival) WHERE kind = 512;
        CREATE INDEX entries_mailbox ON entries (arrival) WHERE kind = 513;
        """

    /// Beside it arbiters' consents (0x0310) and witnesses' cards (0x0311), which are read by themselves.
    private static let opened = """
        CREATE TABLE opened (
            number INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE,
            kind INTEGER NOT NULL,
            subject INTEGER NOT NULL,
            author INTEGER NOT NULL,
            device INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            time INTEGER NOT NULL,
            payload BLOB NOT NULL
        );
        CREATE INDEX opened_subject ON opened (subject, number);
        CREATE INDEX opened_kind ON opened (kind, subject, number);
        CREATE INDEX entries_consents ON entries (arrival) WHERE kind = 784;
        CREATE INDEX entries_cards ON entries (arrival) WHERE kind = 785;
        """

    private static let slots = """
        CREATE TABLE slots (
            number INTEGER PRIMARY KEY,
            shelf INTEGER NOT NULL,
            key BLOB NOT NULL,
            mark INTEGER NOT NULL,
            value BLOB NOT NULL
        );
        CREATE UNIQUE INDEX slots_key ON slots (shelf, key);
        """

    private static let views = """
        CREATE TABLE messages (
            number INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE,
            channel INTEGER NOT NULL,
            author INTEGER NOT NULL,
            device INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            time INTEGER NOT NULL,
            edited INTEGER NOT NULL,
            version INTEGER NOT NULL,
            hidden TEXT,
            text TEXT NOT NULL
        );
        CREATE INDEX messages_place ON messages (channel, time);
        CREATE TABLE documents (
            number INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE,
            kind INTEGER NOT NULL,
            author INTEGER NOT NULL,
            time INTEGER NOT NULL,
            title TEXT NOT NULL,
            text TEXT NOT NULL
        );
        CREATE VIRTUAL TABLE search USING fts5 (
            title, text, content='documents', content_rowid='number', tokenize='unicode61 remove_diacritics 2'
        );
        """

    /// Listings: what is filtered and ordered by stands apart from what is read, so that a look at every listing touches
    /// few pages; each order has an index that alone tells which rows pass. A state of 0 waits for its listing.
    private static let market = """
        CREATE TABLE listings (
            number INTEGER PRIMARY KEY,
            state INTEGER NOT NULL,
            expiry INTEGER NOT NULL,
            category TEXT NOT NULL,
            condition INTEGER NOT NULL,
            currency TEXT NOT NULL,
            price INTEGER NOT NULL,
            time INTEGER NOT NULL,
            seller INTEGER NOT NULL,
            id BLOB NOT NULL UNIQUE
        );
        CREATE INDEX listings_time ON listings (time, number, state, expiry, category, condition, currency, price);
        CREATE INDEX listings_price ON listings (currency, price, number, state, expiry, category, condition);
        CREATE INDEX listings_category ON listings (category, time, number, state, expiry, condition, currency, price);
        CREATE INDEX listings_seller ON listings (seller, time, number);
        CREATE TABLE listing_details (
            number INTEGER PRIMARY KEY,
            device INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            source BLOB NOT NULL,
            version INTEGER NOT NULL,
            units INTEGER NOT NULL,
            quantity INTEGER NOT NULL,
            waits INTEGER NOT NULL,
            reference TEXT NOT NULL,
            title TEXT NOT NULL,
            category TEXT NOT NULL,
            text TEXT NOT NULL
        );
        CREATE VIRTUAL TABLE listing_search USING fts5 (
            title, category, text, content='listing_details', content_rowid='number',
            tokenize='unicode61 remove_diacritics 2', prefix='2 3'
        );
        """
}

// SPDX-License-Identifier: Apache-2.0
import GRDB
import TuttiJournal

extension JournalTransaction {
    func put(_ listing: ListingRow) throws {
        let seller = try number(of: listing.seller.bytes)
        let device = try number(of: listing.device.bytes)
        // The least number not below the last: what arrives last is looked at first.
        let number =
            try unindexListing(listing.id)
            ?? row("SELECT COALESCE(MAX(number), 0) + 1 FROM listings", [])?.integer(0) ?? 1
        try run(
            """
            INSERT OR REPLACE INTO listings (
                number, state, expiry, category, condition, currency, price, time, seller, id)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                number, listing.isWaiting ? 0 : Int64(listing.state.rawValue), Int64(clamping: listing.expiry),
                listing.category, Int64(listing.condition.rawValue), listing.currency, listing.price,
                listing.time.stored, seller, listing.id.bytes.data,
            ])
        try run(
            """
            INSERT OR REPLACE INTO listing_details (
                number, device, sequence, source, version, units, quantity, waits, reference, title, category, text)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                number, device, Int64(listing.sequence.value), listing.source.bytes.data, listing.version.stored,
                listing.units, listing.quantity, listing.isWaiting ? Int64(listing.state.rawValue) : 0,
                listing.reference, listing.title, listing.category, listing.text,
            ])
        try run(
            "INSERT INTO listing_search (rowid, title, category, text) VALUES (?, ?, ?, ?)",
            [number, listing.title, listing.category, listing.text])
    }

    func removeListing(_ id: EntryID) throws {
        guard let number = try unindexListing(id) else { return }
        try run("DELETE FROM listings WHERE number = ?", [number])
        try run("DELETE FROM listing_details WHERE number = ?", [number])
    }

    /// Takes a listing's words out of the index, which must be told what they were. The listing's number, if any.
    private func unindexListing(_ id: EntryID) throws -> Int64? {
        guard
            let old = try row(
                """
                SELECT number, title, listing_details.category, text FROM listings JOIN listing_details USING (number)
                WHERE id = ?
                """, [id.bytes.data])
        else { return nil }
        let number = try old.integer(0)
        try run(
            """
            INSERT INTO listing_search (listing_search, rowid, title, category, text) VALUES ('delete', ?, ?, ?, ?)
            """,
            [number, old.text(1), old.text(2), old.text(3)])
        return number
    }
}

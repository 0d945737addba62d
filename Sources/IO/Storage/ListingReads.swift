// SPDX-License-Identifier: Apache-2.0
import GRDB
import TuttiBase
import TuttiJournal

/// Listings: first the numbers of those that pass, in order, from what the indexes tell alone; then their rows.
extension JournalReads {
    /// A search for words looks at so many listings, those that arrived last: no words cost more than that.
    static let listingsSearchedMax: Int64 = 131_072

    func listings(_ query: ListingQuery) throws -> [ListingRow] {
        let words = Self.words(query.words)
        // Signs alone are words that no listing has.
        guard query.countMax > 0, !words.isEmpty || query.words.allSatisfy(\.isWhitespace) else { return [] }
        var parts = ListingConditions(query)
        if let seller = query.seller {
            guard let number = try row("SELECT number FROM names WHERE bytes = ?", [seller.bytes.data])?.integer(0)
            else { return [] }
            parts.require("seller = ?", number)
        }
        let after = try query.after.map { id in
            try row("SELECT number, time, currency, price FROM listings WHERE id = ?", [id.bytes.data])
        }
        // What the page should follow is gone.
        if let after, after == nil { return [] }
        let numbers =
            !words.isEmpty && query.order == .bestMatch
            ? try best(words, parts, after: after??.integer(0), countMax: query.countMax)
            : try ordered(query, words, parts, after: after ?? nil)
        return try numbers.compactMap { try row("\(Self.listing) WHERE listings.number = ?", [$0]).map(listing) }
    }

    /// By bm25, a word in the title counting for five in the text and in the category for two, among the newest
    /// ``rankedMax`` that pass.
    private func best(
        _ words: [Substring], _ parts: ListingConditions, after: Int64?, countMax: Int
    ) throws -> [Int64] {
        let ranked = try numbers(
            """
            SELECT number FROM (
                SELECT number, bm25(listing_search, 5.0, 2.0, 1.0) AS score FROM listing_search
                CROSS JOIN listings ON number = listing_search.rowid
                WHERE \(Self.isMatch) AND \(parts.sql) ORDER BY listing_search.rowid DESC LIMIT \(Self.rankedMax))
            ORDER BY score, number DESC
            """,
            [Self.match(words)] + parts.arguments)
        let start = after.flatMap { ranked.firstIndex(of: $0) }.map { $0 + 1 } ?? (after == nil ? 0 : ranked.count)
        return Array(ranked[start...].prefix(countMax))
    }

    private func ordered(
        _ query: ListingQuery, _ words: [Substring], _ parts: ListingConditions, after: Row?
    ) throws -> [Int64] {
        var parts = parts
        let (isByPrice, isDescending) = (query.order == .cheapest || query.order == .dearest, query.order != .cheapest)
        let places = isByPrice ? ["currency", "price", "number"] : ["time", "number"]
        if let after {
            let values = isByPrice ? [after[2], after[3], after[0]] : [after[1], after[0]] as [DatabaseValue]
            let (left, right) = (places.joined(separator: ", "), places.map { _ in "?" }.joined(separator: ", "))
            parts.require("(\(left)) \(isDescending ? "<" : ">") (\(right))", StatementArguments(values))
        }
        let order = places.map { $0 + (isDescending ? " DESC" : "") }.joined(separator: ", ")
        guard words.isEmpty else {
            return try numbers(
                """
                SELECT number FROM listing_search CROSS JOIN listings ON number = listing_search.rowid
                WHERE \(Self.isMatch) AND \(parts.sql) ORDER BY \(order) LIMIT ?
                """,
                [Self.match(words)] + parts.arguments + [query.countMax])
        }
        let index =
            query.seller != nil
            ? "seller" : isByPrice ? "price" : query.category != nil ? "category" : "time"
        return try numbers(
            "SELECT number FROM listings INDEXED BY listings_\(index) WHERE \(parts.sql) ORDER BY \(order) LIMIT ?",
            parts.arguments + [query.countMax])
    }

    private static let isMatch = """
        listing_search MATCH ?
        AND listing_search.rowid > (SELECT COALESCE(MAX(number), 0) - \(listingsSearchedMax) FROM listings)
        """

    /// One letter alone would be the beginning of half of all words.
    private static func match(_ words: [Substring]) -> String {
        words.map { "\"\($0)\"" + ($0.unicodeScalars.count > 1 ? "*" : "") }.joined(separator: " ")
    }

    private func numbers(_ sql: String, _ arguments: StatementArguments) throws -> [Int64] {
        let rows = try rows(sql, arguments)
        var numbers: [Int64] = []
        while let row = try rows.next() { numbers.append(try row.integer(0)) }
        return numbers
    }

    // MARK: Rows

    private static let listing = """
        SELECT id, seller.bytes, device.bytes, sequence, time, source, version, title, text, listings.category,
        condition, price, currency, units, quantity, expiry, reference, state, waits
        FROM listings JOIN listing_details USING (number)
        JOIN names AS seller ON seller.number = listings.seller
        JOIN names AS device ON device.number = listing_details.device
        """

    func listing(_ id: EntryID) throws -> ListingRow? {
        try row("\(Self.listing) WHERE id = ?", [id.bytes.data]).map(listing)
    }

    func listings(named ids: ClosedRange<EntryID>, countMax: Int) throws -> [ListingRow] {
        let rows = try rows(
            "\(Self.listing) WHERE id BETWEEN ? AND ? AND state > 0 ORDER BY id LIMIT ?",
            [ids.lowerBound.bytes.data, ids.upperBound.bytes.data, countMax])
        var listings: [ListingRow] = []
        while let row = try rows.next() { listings.append(try listing(row)) }
        return listings
    }

    private func listing(_ row: Row) throws -> ListingRow {
        let (state, waits) = try (row.integer(17), row.integer(18))
        guard let condition = ListingCondition(rawValue: UInt8(clamping: try row.integer(10))),
            let state = ListingState(rawValue: UInt8(clamping: state == 0 ? waits : state))
        else { throw JournalStorageError.damaged }
        return try ListingRow(
            id: EntryID(row.bytes32(0)), seller: MemberID(row.bytes32(1)), device: DeviceID(row.bytes32(2)),
            sequence: sequence(row, 3), time: HybridTime(stored: row.integer(4)), source: EntryID(row.bytes32(5)),
            version: HybridTime(stored: row.integer(6)), title: row.text(7), text: row.text(8), category: row.text(9),
            condition: condition, price: row.integer(11), currency: row.text(12), units: Int(row.integer(13)),
            quantity: Int(row.integer(14)), expiry: UInt64(clamping: row.integer(15)), reference: row.text(16),
            state: state, isWaiting: waits != 0)
    }

    func listingCategories(unexpiredAt time: UInt64, countMax: Int) throws -> [ListingCategory] {
        let rows = try rows(
            """
            SELECT category, COUNT(*) FROM listings INDEXED BY listings_category WHERE state = ? AND expiry > ?
            GROUP BY category ORDER BY category LIMIT ?
            """,
            [Int64(ListingState.open.rawValue), Int64(clamping: time), countMax])
        var categories: [ListingCategory] = []
        while let row = try rows.next() {
            categories.append(try ListingCategory(name: row.text(0), count: Int(row.integer(1))))
        }
        return categories
    }
}

/// What a listing must be, as SQL.
private struct ListingConditions {
    private(set) var sql: String
    private(set) var arguments: StatementArguments

    init(_ query: ListingQuery) {
        let states = query.states.reduce(Int64(0)) { $0 | 1 << Int64($1.rawValue) }
        sql = "(1 << state) & ? <> 0"
        arguments = [states]
        if query.unexpiredAt > 0 { require("expiry > ?", Int64(clamping: query.unexpiredAt)) }
        if let category = query.category { require("listings.category = ?", category) }
        if !query.conditions.isEmpty {
            require("(1 << condition) & ? <> 0", query.conditions.reduce(Int64(0)) { $0 | 1 << Int64($1.rawValue) })
        }
        if let currency = query.currency { require("currency = ?", currency) }
        if query.prices != 0...Int64.max {
            require("price BETWEEN ? AND ?", [query.prices.lowerBound, query.prices.upperBound])
        }
    }

    mutating func require(_ condition: String, _ value: some DatabaseValueConvertible) {
        require(condition, [value])
    }

    mutating func require(_ condition: String, _ values: StatementArguments) {
        sql += " AND " + condition
        arguments += values
    }
}

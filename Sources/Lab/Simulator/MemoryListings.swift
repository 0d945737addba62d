// SPDX-License-Identifier: Apache-2.0
import TuttiJournal

/// The listings of ``MemoryTables``: every one is looked at for every answer.
struct MemoryListings: Sendable {
    private struct Held: Sendable {
        /// In the order of first arrival: it decides among equals.
        let number: Int
        var row: ListingRow
        let words: [String]
    }

    private var held: [EntryID: Held] = [:]
    private var lastNumber = 0

    subscript(id: EntryID) -> ListingRow? { held[id]?.row }

    mutating func put(_ row: ListingRow) {
        if held[row.id] == nil { lastNumber += 1 }
        held[row.id] = Held(
            number: held[row.id]?.number ?? lastNumber, row: row,
            words: [row.title, row.category, row.text].flatMap(MemoryTables.words))
    }

    mutating func remove(_ id: EntryID) { held[id] = nil }

    /// Whose ids lie in the range, ascending.
    func named(_ ids: ClosedRange<EntryID>, _ countMax: Int) -> [ListingRow] {
        let found = held.values.lazy.map(\.row).filter { ids.contains($0.id) && !$0.isWaiting }
        return Array(found.sorted { $0.id < $1.id }.prefix(max(0, countMax)))
    }

    func categories(unexpiredAt time: UInt64, _ countMax: Int) -> [ListingCategory] {
        let open = held.values.lazy.map(\.row).filter { $0.state == .open && $0.expiry > time && !$0.isWaiting }
        let counts = open.reduce(into: [String: Int]()) { $0[$1.category, default: 0] += 1 }
        let ordered = counts.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        return ordered.prefix(max(0, countMax)).map { ListingCategory(name: $0.key, count: $0.value) }
    }

    /// The best match is the newest.
    func found(_ query: ListingQuery) -> [ListingRow] {
        let wanted = MemoryTables.words(query.words)
        guard !wanted.isEmpty || query.words.allSatisfy(\.isWhitespace) else { return [] }
        let isBestMatch = query.order == .bestMatch && !wanted.isEmpty
        let ordered = held.values.filter { passes($0, query, wanted) }.sorted { one, other in
            isBestMatch ? one.number > other.number : precedes(one, other, query.order)
        }
        guard let after = query.after else { return ordered.prefix(max(0, query.countMax)).map(\.row) }
        guard let last = held[after] else { return [] }
        // The row that the page follows may itself have left what is asked for.
        let rest = ordered.drop { held in
            held.number == last.number
                || !(isBestMatch ? last.number > held.number : precedes(last, held, query.order))
        }
        return rest.prefix(max(0, query.countMax)).map(\.row)
    }

    private func passes(_ held: Held, _ query: ListingQuery, _ wanted: [String]) -> Bool {
        let row = held.row
        return !row.isWaiting && query.states.contains(row.state)
            && (query.unexpiredAt == 0 || row.expiry > query.unexpiredAt)
            && (query.category ?? row.category) == row.category
            && (query.conditions.isEmpty || query.conditions.contains(row.condition))
            && (query.currency ?? row.currency) == row.currency && query.prices.contains(row.price)
            && (query.seller ?? row.seller) == row.seller
            && wanted.allSatisfy { word in
                held.words.contains { word.unicodeScalars.count > 1 ? $0.hasPrefix(word) : $0 == word }
            }
    }

    private func precedes(_ one: Held, _ other: Held, _ order: ListingQuery.Order) -> Bool {
        switch order {
        case .newest, .bestMatch: (one.row.time, one.number) > (other.row.time, other.number)
        case .cheapest: places(one) < places(other)
        case .dearest: places(one) > places(other)
        }
    }

    private func places(_ held: Held) -> (String, Int64, Int) { (held.row.currency, held.row.price, held.number) }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

/// What may be asked about listings, asked of both stores.
@Suite("What every journal store does with listings")
struct ListingContractTests {
    private static let all = StoreKind.allCases

    private static func row(_ number: UInt64, _ title: String = "Guitar") -> ListingRow {
        ListingRow(
            id: EntryID(Bytes32(words: (number, 0, 0, number))), seller: MemberID(Bytes32(words: (1, 1, 1, 1))),
            device: DeviceID(Bytes32(words: (2, 2, 2, 2))), sequence: EntrySequence(number),
            time: HybridTime(milliseconds: 1_000 * number), source: EntryID(Bytes32(words: (number, 0, 0, number))),
            version: HybridTime(milliseconds: 1_000 * number), title: title, text: "", category: "guitars",
            condition: .good, price: 100 * Int64(number), currency: "EUR", units: 1, quantity: 1,
            expiry: 1_000_000 + number)
    }

    private static func store(_ kind: StoreKind, _ rows: [ListingRow]) throws -> TestStore {
        let store = try TestStore(kind)
        try store.write(JournalBatch([], rows: rows.map { .listing($0) }))
        return store
    }

    private static func query(_ words: String = "", _ change: (inout ListingQuery) -> Void = { _ in }) -> ListingQuery {
        var query = ListingQuery()
        query.words = words
        change(&query)
        return query
    }

    /// The numbers of those found.
    private static func found(
        _ store: TestStore, _ words: String = "", _ change: (inout ListingQuery) -> Void = { _ in }
    ) -> [UInt64]? {
        store.listings(.listings(query(words, change)))?.map { $0.id.bytes.words.0 }
    }

    @Test("A new store offers nothing", arguments: all)
    func startsEmpty(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        for order in ListingQuery.Order.allCases {
            #expect(Self.found(store) { $0.order = order } == [])
            #expect(Self.found(store, "guitar") { $0.order = order } == [])
        }
        #expect(store.categories() == [])
        #expect(store.rows(RowsNeeded(listings: [EntryID(.zero)])) == [])
    }

    @Test("A listing comes back as it was written, and a new row takes its place", arguments: all)
    func replaces(_ kind: StoreKind) throws {
        var row = Self.row(1, "Fender Telecaster")
        row.seller = MemberID(Bytes32(words: (9, 8, 7, 6)))
        row.device = DeviceID(Bytes32(words: (5, 4, 3, 2)))
        (row.text, row.condition, row.price, row.currency) = ("Für Elise\n…", .nonFunctioning, 1 << 40, "JPY")
        (row.units, row.quantity, row.reference, row.version) = (7, 3, "T-68", HybridTime(.max))
        (row.source, row.expiry) = (EntryID(Bytes32(words: (6, 6, 6, 6))), 1 << 48 - 1)
        let store = try Self.store(kind, [row, Self.row(2, "Fender Jazzmaster")])
        #expect(store.listings(.listings(Self.query("telecaster"))) == [row])
        let revised = Self.row(1, "Gibson SG")
        try store.write(JournalBatch([], rows: [.listing(revised)]))
        #expect(store.listings(.listings(Self.query("gibson"))) == [revised])
        #expect(Self.found(store, "telecaster") == [])
        #expect(Self.found(store, "fender") == [2])
        try store.write(JournalBatch([], rows: [.removed(revised.id), .removed(.none)]))
        #expect(Self.found(store) == [2] && Self.found(store, "gibson") == [])
        #expect(store.rows(RowsNeeded(listings: [revised.id])) == [])
    }

    @Test("Words are whole or the beginnings of words, in title, category or text, all of them", arguments: all)
    func searches(_ kind: StoreKind) throws {
        var rows = [Self.row(1, "Red Telecaster"), Self.row(2, "Telephone, a toy"), Self.row(3, "Amp")]
        rows[2].text = "goes with a RED guitar"
        rows[2].category = "amplifiers"
        let store = try Self.store(kind, rows)
        func found(_ words: String) -> Set<UInt64>? { Self.found(store, words) { $0.order = .bestMatch }.map(Set.init) }
        #expect(found("tele") == [1, 2])
        #expect(found("TELEC red") == [1])
        #expect(found("re") == [1, 3])
        #expect(found("amplif") == [3])
        #expect(found("guit re") == [1, 3])
        #expect(found("elecaster") == [])
        // One letter is a word of its own.
        #expect(found("a") == [2, 3])
        #expect(found("  ") == [1, 2, 3])
        #expect(found("!\"*") == [])
        #expect(found("red OR amp") == [] && found("title:red") == [])
    }

    @Test("Filters hold together, with and without words", arguments: all, ["", "guitar"])
    func filters(_ kind: StoreKind, _ words: String) throws {
        var rows = (1...6).map { Self.row($0) }
        rows[0].category = "basses"
        rows[1].condition = .mint
        rows[2].currency = "USD"
        rows[3].seller = MemberID(Bytes32(words: (9, 9, 9, 9)))
        rows[4].state = .sold
        rows[5].state = .withdrawn
        for index in rows.indices { rows[index].text = "guitar" }
        let store = try Self.store(kind, rows)
        func found(_ change: (inout ListingQuery) -> Void = { _ in }) -> [UInt64]? {
            Self.found(store, words, change)
        }
        #expect(found() == [4, 3, 2, 1])
        #expect(found { $0.category = "guitars" } == [4, 3, 2])
        #expect(found { $0.category = "guitar" } == [])
        #expect(found { $0.conditions = [.mint, .brandNew] } == [2])
        #expect(found { $0.currency = "USD" } == [3])
        #expect(found { $0.prices = 200...300 } == [3, 2])
        #expect(found { ($0.prices, $0.currency) = (200...300, "EUR") } == [2])
        #expect(found { $0.seller = MemberID(Bytes32(words: (9, 9, 9, 9))) } == [4])
        #expect(found { $0.seller = MemberID(Bytes32(words: (8, 8, 8, 8))) } == [])
        #expect(found { $0.states = [.sold] } == [5])
        #expect(found { $0.states = ListingState.allCases } == [6, 5, 4, 3, 2, 1])
        #expect(found { $0.states = [] } == [])
        #expect(found { $0.unexpiredAt = 1_000_002 } == [4, 3])
        #expect(
            found {
                ($0.category, $0.currency, $0.conditions, $0.prices) = ("guitars", "EUR", [.good], 0...400)
                ($0.seller, $0.order) = (rows[0].seller, .dearest)
            } == [])
        #expect(
            found { ($0.category, $0.conditions, $0.seller) = ("guitars", [.good], rows[0].seller) } == [3])
    }

    @Test("Pages follow each other in every order, with ties, and end", arguments: all, ["", "guitar"])
    func pages(_ kind: StoreKind, _ words: String) throws {
        var rows = (1...9).map { Self.row($0) }
        for index in rows.indices {
            // Three times, prices and currencies in all.
            rows[index].time = HybridTime(milliseconds: UInt64(index % 3))
            rows[index].price = Int64(index / 3)
            rows[index].currency = ["EUR", "GBP"][index % 2]
        }
        let store = try Self.store(kind, rows)
        for order in ListingQuery.Order.allCases {
            let all = try #require(Self.found(store, words) { $0.order = order })
            #expect(all.count == 9)
            var (read, after): ([UInt64], EntryID?) = ([], nil)
            for _ in 0..<5 {
                let page = store.listings(
                    .listings(Self.query(words) { ($0.order, $0.after, $0.countMax) = (order, after, 2) }))
                read += page?.map { $0.id.bytes.words.0 } ?? []
                after = page?.last?.id
            }
            #expect(read == all)
            #expect(Self.found(store, words) { ($0.order, $0.after) = (order, after) } == [])
        }
        #expect(Self.found(store, words) == [9, 6, 3, 8, 5, 2, 7, 4, 1])
        #expect(Self.found(store, words) { $0.order = .cheapest } == [1, 3, 5, 7, 9, 2, 4, 6, 8])
        #expect(Self.found(store, words) { $0.order = .dearest } == [8, 6, 4, 2, 9, 7, 5, 3, 1])
        #expect(Self.found(store, words) { $0.after = EntryID(.zero) } == [])
        #expect(Self.found(store, words) { $0.countMax = 0 } == [])
    }

    @Test("What waits for its listing is seen by folds alone", arguments: all)
    func hidesWaiting(_ kind: StoreKind) throws {
        var waiting = Self.row(1)
        (waiting.isWaiting, waiting.state, waiting.source) = (true, .sold, .none)
        let store = try Self.store(kind, [waiting, Self.row(2)])
        let all = ListingState.allCases
        #expect(Self.found(store) { $0.states = all } == [2])
        #expect(Self.found(store, "guitar") { $0.states = all } == [2])
        #expect(store.listings(named(0...9))?.map(\.id) == [Self.row(2).id])
        #expect(store.categories() == [ListingCategory(name: "guitars", count: 1)])
        #expect(
            store.rows(RowsNeeded(listings: [Self.row(2).id, waiting.id, EntryID(.zero)]))
                == [.listing(Self.row(2)), .listing(waiting)])
    }

    private func named(_ range: ClosedRange<UInt64>, countMax: Int = 9) -> JournalQuery {
        .listingsNamed(
            EntryID(
                Bytes32(words: (range.lowerBound, 0, 0, 0)))...EntryID(
                    Bytes32(words: (range.upperBound, .max, .max, .max))),
            countMax: countMax)
    }

    @Test("Listings are found by how their ids begin, in any state", arguments: all)
    func findsIDs(_ kind: StoreKind) throws {
        var rows = (1...4).map { Self.row($0) }
        (rows[1].state, rows[2].expiry) = (.sold, 0)
        let store = try Self.store(kind, rows.reversed())
        #expect(store.listings(named(2...3)) == [rows[1], rows[2]])
        #expect(store.listings(named(0...9, countMax: 1)) == [rows[0]])
        #expect(store.listings(named(7...9)) == [])
    }

    @Test("Categories tell how much in them is open and not expired", arguments: all)
    func countsCategories(_ kind: StoreKind) throws {
        var rows = (1...5).map { Self.row($0) }
        rows[0].category = "amps"
        rows[1].category = "amps"
        (rows[2].state, rows[2].category) = (.sold, "zithers")
        let store = try Self.store(kind, rows)
        #expect(
            store.categories() == [
                ListingCategory(name: "amps", count: 2), ListingCategory(name: "guitars", count: 2),
            ])
        #expect(store.categories(at: 1_000_001)?.first?.count == 1)
        #expect(store.categories(countMax: 1)?.map(\.name) == ["amps"])
    }

    @Test("Rows of messages and listings come together", arguments: all)
    func readsRows(_ kind: StoreKind) throws {
        let store = try Self.store(kind, [Self.row(1)])
        var author = Author(1)
        let line = author.write()
        try store.write(JournalBatch([line], rows: [message(line)]))
        let needed = RowsNeeded(messages: [line.entry.id, Self.row(1).id], listings: [Self.row(1).id, line.entry.id])
        #expect(store.rows(needed) == [message(line), .listing(Self.row(1))])
    }
}

extension TestStore {
    func listings(_ query: JournalQuery) -> [ListingRow]? {
        if case .listings(let rows) = answer(query) { rows } else { nil }
    }

    func rows(_ needed: RowsNeeded) -> [JournalRow]? {
        if case .rows(let rows) = answer(.rows(needed)) { rows } else { nil }
    }

    func categories(at time: UInt64 = 0, countMax: Int = 99) -> [ListingCategory]? {
        let query = JournalQuery.listingCategories(unexpiredAt: time, countMax: countMax)
        return if case .categories(let found) = answer(query) { found } else { nil }
    }
}

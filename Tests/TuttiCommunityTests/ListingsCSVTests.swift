// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import TuttiBase
import TuttiCommunity
import TuttiIdentity
import TuttiJournal
import TuttiMarket

@Suite("Listings as files")
struct ListingsCSVTests {
    private static let now: UInt64 = 1_800_000_000_000
    private static let month = ListingLimits.millisecondsMax

    private func records(_ text: String) throws -> [[String]] {
        try CSVReader.records(Data(text.utf8)).map(\.fields)
    }

    // MARK: RFC 4180

    @Test(
        "Separators, quotes, line ends and marks are read as programs write them",
        arguments: [
            ("a,b\r\n1,2\r\n", [["a", "b"], ["1", "2"]]),
            ("a,b\n1,2", [["a", "b"], ["1", "2"]]),
            ("a,b\r1,2\r", [["a", "b"], ["1", "2"]]),
            ("\u{FEFF}a;b\n1,5;2", [["a", "b"], ["1,5", "2"]]),
            ("a\tb\n1\t", [["a", "b"], ["1", ""]]),
            ("\"a\",\"b\"\n\"1,\"\"2\"\"\",\"x\r\ny\"\n", [["a", "b"], ["1,\"2\"", "x\ny"]]),
            ("a,b\n\n\n14\" cymbal,\"\"\n", [["a", "b"], ["14\" cymbal", ""]]),
            ("\"a;b;c\",d\n1,2\n", [["a;b;c", "d"], ["1", "2"]]),
            ("a\n1\n", [["a"], ["1"]]),
            ("", []), ("\r\n\r\n", []),
        ])
    func readsRecords(_ text: String, _ expected: [[String]]) throws {
        #expect(try records(text) == expected)
    }

    @Test("Records say on which line they begin, whatever they hold")
    func countsLines() throws {
        let read = try CSVReader.records(Data("a,b\r\n\"1\r\n\r\n2\",3\r\n\r\n4,5\r\n".utf8))
        #expect(read.map(\.line) == [1, 2, 6])
    }

    @Test(
        "What can't be read is told with its line",
        arguments: [
            ("a,b\n\"1,2\n3,4\n", "line 2: a quote is opened there and never closed"),
            ("a,b\n\"1\"x,2\n", "line 2: text follows a closing quote"),
        ])
    func namesLines(_ text: String, _ expected: String) {
        let error = #expect(throws: CommunityError.self) { try records(text) }
        #expect(error?.message.hasPrefix(expected) == true)
    }

    @Test("Other encodings are named, not guessed")
    func refusesEncodings() {
        let latin = #expect(throws: CommunityError.self) {
            try CSVReader.records(Data("a\nb\n".utf8) + Data([0xE9, 0x0A]))
        }
        #expect(latin?.message.hasPrefix("line 3 is not UTF-8") == true)
        let wide = #expect(throws: CommunityError.self) { try CSVReader.records(Data([0xFF, 0xFE, 0x61, 0])) }
        #expect(wide?.message.contains("UTF-16") == true)
        #expect(throws: CommunityError.self) {
            try CSVReader.records(Data(String(repeating: "a\n", count: CSVReader.recordsMax + 1).utf8))
        }
        #expect(throws: CommunityError.self) {
            try CSVReader.records(Data(String(repeating: ",", count: CSVReader.fieldsMax).utf8))
        }
    }

    @Test("Any fields come back from the line that was written of them")
    func writesLines() throws {
        var generator = SeededGenerator(seed: 3)
        let letters = ["a", "é", "\"", ",", ";", "\t", "\n", " ", "7"]
        for _ in 0..<500 {
            let fields = (0..<(2 + Int(generator.next(upperBound: UInt(4))))).map { _ in
                (0..<Int(generator.next(upperBound: UInt(6)))).map { _ in
                    letters[Int(generator.next(upperBound: UInt(letters.count)))]
                }.joined()
            }
            // The header settles the separator; a record of nothing but one empty field would be a blank line.
            let text = "h,h,h,h,h\r\n" + CSVReader.line(fields)
            #expect(try records(text).last == fields)
        }
    }

    // MARK: Cells

    private func sheet(
        _ text: String, names: [String: String] = [:], defaults: [String: String] = [:]
    ) throws -> ListingsSheet {
        try ListingsSheet(Data(text.utf8), names: names, defaults: defaults, now: Self.now)
    }

    private func acts(_ text: String, existing: [ListingsImport.Existing] = []) throws -> ListingsImport {
        ListingsImport(try sheet(text), existing: existing, now: Self.now)
    }

    private func listed(_ import: ListingsImport) -> [ListingTerms] {
        `import`.acts.compactMap { if case .list(let terms) = $0 { terms } else { nil } }
    }

    @Test(
        "Amounts are taken where they have one reading",
        arguments: [
            ("1250", "EUR", 125_000), ("1250.5", "EUR", 125_050), ("1250,50", "EUR", 125_050),
            ("1.250,50", "EUR", 125_050), ("1,250.50", "EUR", 125_050), ("1'250.50", "CHF", 125_050),
            ("€ 1 250,50", "EUR", 125_050), ("1250 EUR", "EUR", 125_000), ("1,250,000", "EUR", 125_000_000),
            ("1,250", "JPY", 1_250), ("0,5", "EUR", 50), ("1.250", "KWD", 1_250), ("12345,67", "EUR", 1_234_567),
        ])
    func readsAmounts(_ text: String, _ currency: String, _ expected: Int64) throws {
        let plan = try acts("title,category,condition,currency,price\nx,y,good,\(currency),\"\(text)\"\n")
        #expect(plan.problems.isEmpty)
        #expect(listed(plan).map(\.price) == [expected])
    }

    @Test(
        "Amounts with two readings or none are refused",
        arguments: [
            ("1,250", "EUR"), ("1.250", "USD"), ("1,250", "KWD"), ("12.345.67", "EUR"), ("1,25,0", "EUR"),
            ("1.2.3,4", "EUR"),
            ("1250.555", "EUR"), ("0,125", "EUR"), ("-5", "EUR"), ("", "EUR"), ("about 5", "EUR"),
            ("0", "EUR"), ("1,", "EUR"), (",", "EUR"), ("5.5", "JPY"), ("99999999999999999999", "EUR"),
            ("1,250 USD", "EUR"),
        ])
    func refusesAmounts(_ text: String, _ currency: String) throws {
        let plan = try acts("title,category,condition,currency,price\nx,y,good,\(currency),\"\(text)\"\n")
        #expect(plan.acts.isEmpty)
        #expect(plan.problems.map(\.column) == ["price"])
    }

    @Test("Headers of other shops are known, any others can be named, and defaults fill what is missing")
    func mapsColumns() throws {
        let text =
            "SKU;Name;Artikelart;Product-Type;Condition;Price;Stock;Shipping Price\nA1;Rat;blau;Pedals;Like New;80,5;2;\n"
        let read = try sheet(text, defaults: ["currency": "EUR", "language": "de"])
        #expect(read.ignored == ["Artikelart"])
        let terms = try #require(listed(ListingsImport(read, existing: [], now: Self.now)).first)
        #expect(terms.reference == "A1" && terms.title == "Rat" && terms.category == "pedals")
        #expect(terms.condition == .mint && terms.price == 8_050 && terms.quantity == 2 && terms.language == "de")
        #expect(terms.delivery.isEmpty && terms.expiry == Self.now + Self.month)
        let named = try sheet(text, names: ["category": "Artikelart"], defaults: ["currency": "EUR"])
        #expect(listed(ListingsImport(named, existing: [], now: Self.now)).first?.category == "blau")
        let missing = #expect(throws: CommunityError.self) { try sheet(text) }
        #expect(missing?.message.contains("'currency'") == true)
        #expect(throws: CommunityError.self) { try sheet(text, names: ["category": "none"]) }
        #expect(throws: CommunityError.self) { try sheet(text, defaults: ["colour": "red"]) }
    }

    @Test(
        "Each bad row is told with its line, its column, what stands there and how to mend it; all that is wrong with it"
    )
    func namesProblems() throws {
        let plan = try acts(
            """
            reference,title,category,condition,price,currency,quantity,expires,in person,domestic,photos
            1,Fine,amps,good,5,EUR,1,,yes,2.50,
            2,,amps,so so,free,EUR,many,,perhaps,cheap,holiday.jpg
            3,Late,amps,good,5,EUR,1,2020-01-01,,,
            1,Twice,amps,good,5,EUR,1,,,,
            5,Wide,amps,good,5,EUR,1,,,,,too,many
            6,Coin,amps,good,5,BTC,1,,,,
            """)
        #expect(plan.acts.count == 1)
        let found = plan.problems.map { "\($0.line) \($0.column ?? "-")" }
        #expect(
            found
                == [
                    "3 price", "3 condition", "3 quantity", "3 in person", "3 domestic", "3 photos", "3 title",
                    "4 expires",
                    "5 reference", "6 -", "7 currency",
                ])
        #expect(
            plan.problems.first { $0.column == "condition" }?.description
                == "line 3, condition 'so so': write one of: brand new, mint, excellent, very good, good, fair, poor, non functioning"
        )
        #expect(plan.problems.last?.description.hasPrefix("line 7, currency 'BTC'") == true)
    }

    @Test("Titles that no listing can have are told by column; what would move a cursor isn't shown")
    func namesRefusals() throws {
        let long = String(repeating: "x", count: 201)
        let plan = try acts("title,category,condition,price,currency\n\(long),a,good,1,EUR\n\u{1B}[2J,a,good,1,EUR\n")
        #expect(plan.problems.map(\.column) == ["title", "title"])
        #expect(plan.problems[0].value.count == 41)
        #expect(plan.problems[1].value == "?[2J")
    }

    // MARK: Again and again

    private func existing(
        _ terms: ListingTerms, _ state: ListingState = .open, units: Int = 1
    ) -> ListingsImport.Existing {
        let id = EntryID(KeyDerivation.sha256(Array(terms.reference.utf8)))
        return ListingsImport.Existing(
            row: ListingRow(
                id: id, seller: MemberID(.zero), device: DeviceID(.zero), sequence: .first, time: HybridTime(0),
                source: id, version: HybridTime(0), title: terms.title, text: terms.text, category: terms.category,
                condition: terms.condition, price: terms.price, currency: terms.currency.text, units: units,
                quantity: terms.quantity, expiry: terms.expiry, reference: terms.reference, state: state),
            terms: terms)
    }

    private static let file = """
        title,category,condition,price,currency,quantity
        Rat,pedals,good,80,EUR,1
        Rat,pedals,good,80,EUR,1
        Twin,amps,fair,900,EUR,2
        """

    @Test("The same file a second time changes nothing, with and without references")
    func repeats() throws {
        let first = listed(try acts(Self.file))
        #expect(first.count == 3 && Set(first.map(\.reference)).count == 3)
        let held = first.map { existing($0, units: $0.quantity) }
        let again = try acts(Self.file, existing: held)
        #expect(again.acts.isEmpty && again.unchanged == 3)
        let changed = try acts(Self.file.replacing("900", with: "850"), existing: held)
        #expect(changed.unchanged == 2)
        guard case .revise(let id, let terms) = changed.acts.first else {
            Issue.record("no revision")
            return
        }
        #expect(id == held[2].row.id && terms.price == 85_000 && terms.quantity == 2)
    }

    @Test("What a file doesn't say stays as it is; what it says empty is gone")
    func keepsWhatIsUnsaid() throws {
        var terms = try #require(listed(try acts(Self.file)).last)
        terms.text = "Loud."
        terms.delivery = [ListingDelivery(.inPerson), ListingDelivery(.domestic, cost: 500)]
        terms.photos = [CID(codec: CID.raw, multihash: Multihash(sha256Of: [1]))]
        let same = try acts(Self.file, existing: [existing(terms, units: 2)])
        #expect(same.unchanged == 1)
        let text =
            "reference,title,category,condition,price,currency,description,in person\n"
            + "\(terms.reference),Twin,amps,fair,900,EUR,,no\n"
        let plan = try acts(text, existing: [existing(terms, units: 2)])
        guard case .revise(_, let revised) = plan.acts.first else {
            Issue.record("no revision")
            return
        }
        #expect(revised.text.isEmpty && revised.delivery == [ListingDelivery(.domestic, cost: 500)])
        #expect(revised.photos == terms.photos && revised.quantity == 2)
    }

    @Test(
        "A listing is renewed when little of it is left, withdrawn when there is none, and never listed again once ended"
    )
    func follows() throws {
        var terms = try #require(listed(try acts(Self.file)).last)
        terms.expiry = Self.now + Self.month / 2 - 1
        let soon = try acts(Self.file, existing: [existing(terms, units: 2)])
        #expect(
            soon.acts.contains {
                if case .revise(_, let new) = $0 { new.expiry == Self.now + Self.month } else { false }
            })
        let none = try acts(Self.file.replacing("EUR,2", with: "EUR,0"), existing: [existing(terms, units: 2)])
        #expect(none.acts.contains(.withdraw(existing(terms).row.id)))
        #expect(try acts(Self.file.replacing("EUR,2", with: "EUR,0")).acts.count == 2)
        for state in [ListingState.sold, .withdrawn] {
            let ended = try acts(Self.file, existing: [existing(terms, state, units: 2)])
            #expect(ended.ended == 1 && listed(ended).count == 2)
        }
        let more = try acts(Self.file, existing: [existing(terms, units: 1)])
        #expect(more.problems.map(\.column) == ["quantity"])
    }

    // MARK: Export

    @Test("What is exported comes back with the same terms")
    func roundTrips() throws {
        let salt = Bytes32(words: (1, 2, 3, 4))
        var all: [ListingTerms] = []
        for (number, code) in ["EUR", "JPY", "KWD"].enumerated() {
            all.append(
                ListingTerms(
                    title: "14\" cymbal, \"dark\" \(number)", text: " first\n\nthird; \"last\"\n",
                    category: "drums, cymbals",
                    condition: .nonFunctioning, price: 1_250, currency: try #require(CurrencyCode(code)), quantity: 3,
                    language: "pt-BR", expiry: Self.now + 86_400_000, reference: "#\(number)",
                    delivery: [
                        ListingDelivery(.inPerson), ListingDelivery(.domestic),
                        ListingDelivery(.worldwide, cost: 7_001),
                    ],
                    photos: [
                        CID(codec: CID.raw, multihash: Multihash(sha256Of: [1])),
                        CID(codec: CID.raw, multihash: Multihash(sha256Of: [2])),
                    ],
                    commitments: [
                        ListingCommitment(.serial, of: [1], salt: salt), ListingCommitment(.photo, of: [2], salt: salt),
                    ]))
        }
        let plan = try acts(ListingsExport.csv(all))
        #expect(plan.problems.isEmpty)
        #expect(listed(plan) == all)
        #expect(try acts(ListingsExport.csv(all), existing: all.map { existing($0, units: 3) }).unchanged == 3)
        let lines = try ListingsExport.jsonLines(all).split(separator: "\n")
        #expect(lines.count == 3)
        let object = try JSONDecoder().decode([String: String].self, from: Data(lines[1].utf8))
        #expect(object["price"] == "1250" && object["currency"] == "JPY" && object["condition"] == "non functioning")
    }
}

// SPDX-License-Identifier: Apache-2.0
package import Foundation
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiMarket

/// A row of an import that can't be listed as it stands.
public struct ListingsProblem: Hashable, Sendable, Codable, CustomStringConvertible {
    public let line: Int
    /// Nil: the row as a whole.
    public let column: String?
    public let value: String
    public let advice: String

    public var description: String {
        "line \(line)" + (column.map { ", \($0)" } ?? "") + (value.isEmpty ? "" : " '\(value)'") + ": \(advice)"
    }

    private static let valueMax = 40

    init(_ line: Int, _ column: ListingsColumn?, _ value: String, _ advice: ListingsAdvice) {
        self.line = line
        self.column = column?.rawValue
        let shown = value.prefix(Self.valueMax).map { String($0).isPlain(lines: false) ? $0 : "?" }
        self.value = String(shown) + (value.count > Self.valueMax ? "…" : "")
        self.advice = advice.text
    }
}

/// One row of a file, read. What is nil the file doesn't say: a listing that is there keeps its own.
struct ListingsRow: Hashable {
    var line: Int
    var reference: String
    var title: String
    var category: String
    var condition: ListingCondition
    var price: Int64
    var currency: CurrencyCode
    var text: String?
    var quantity: Int?
    var language: String?
    var expiry: UInt64?
    /// By way; a cost of nil is a way that isn't offered.
    var delivery: [ListingDelivery.Way: Int64?] = [:]
    var photos: [CID]?
    var commitments: [ListingCommitment]?

    /// What is to be listed, or said anew over `earlier`.
    func terms(over earlier: ListingTerms?, expiry: UInt64) -> ListingTerms {
        var ways = Dictionary((earlier?.delivery ?? []).map { ($0.way, $0.cost) }) { first, _ in first }
        for (way, cost) in delivery { ways[way] = cost }
        return ListingTerms(
            title: title, text: text ?? earlier?.text ?? "", category: category, condition: condition, price: price,
            currency: currency, quantity: quantity ?? earlier?.quantity ?? 1,
            language: language ?? earlier?.language ?? "", expiry: expiry, reference: reference,
            delivery: ways.sorted { $0.key < $1.key }.map { ListingDelivery($0.key, cost: $0.value) },
            photos: photos ?? earlier?.photos ?? [], commitments: commitments ?? earlier?.commitments ?? [])
    }
}

/// What a file of listings says: its rows, and what is wrong with the others.
package struct ListingsSheet {
    private(set) var rows: [ListingsRow] = []
    package private(set) var problems: [ListingsProblem] = []
    /// Headers that name no column of ours.
    package private(set) var ignored: [String] = []
    package private(set) var rowsCount = 0

    private let columns: [ListingsColumn: Int]
    private let defaults: [ListingsColumn: String]
    private let now: UInt64
    /// On which line a reference stands first.
    private var lines: [String: Int] = [:]
    private var derived: [String: Int] = [:]

    /// - Parameters:
    ///   - names: headers of the file by our columns' names, where they aren't known by themselves.
    ///   - defaults: by our columns' names, for cells that are empty or missing.
    ///   - now: milliseconds since 1970.
    package init(_ data: Data, names: [String: String] = [:], defaults: [String: String] = [:], now: UInt64) throws {
        let records = try CSVReader.records(data)
        guard let header = records.first else { throw CommunityError(.invalidInput, "the file is empty") }
        let (columns, ignored) = try Self.columns(header.fields, names)
        self.defaults = try Self.keyed(defaults)
        (self.columns, self.ignored, self.now) = (columns, ignored, now)
        let missing = ListingsColumn.required.filter { columns[$0] == nil && self.defaults[$0] == nil }
        guard missing.isEmpty else {
            let all = missing.map { "'\($0.rawValue)'" }.joined(separator: ", ")
            throw CommunityError(
                .invalidInput,
                "the first line names no column \(all): add it, say which it is (--column \(missing[0].rawValue)=HEADER) or give one for all rows (--default \(missing[0].rawValue)=VALUE)"
            )
        }
        for record in records.dropFirst() { take(record, headerCount: header.fields.count) }
    }

    private static func keyed(_ values: [String: String]) throws -> [ListingsColumn: String] {
        var keyed: [ListingsColumn: String] = [:]
        for (name, value) in values.sorted(by: { $0.key < $1.key }) {
            guard let column = ListingsColumn(rawValue: name) else {
                let all = ListingsColumn.allCases.map(\.rawValue).joined(separator: ", ")
                throw CommunityError(.invalidInput, "there is no column '\(name)': there are \(all)")
            }
            keyed[column] = value
        }
        return keyed
    }

    private static func columns(
        _ headers: [String], _ names: [String: String]
    ) throws -> (columns: [ListingsColumn: Int], ignored: [String]) {
        let headers = headers.map { $0.trimmingCharacters(in: .whitespaces) }
        var columns: [ListingsColumn: Int] = [:]
        for (column, header) in try keyed(names).sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            guard let place = headers.firstIndex(of: header) else {
                throw CommunityError(.invalidInput, "the first line has no column '\(header)'")
            }
            columns[column] = place
        }
        var ignored: [String] = []
        for (place, header) in headers.enumerated() where !columns.values.contains(place) {
            if let column = ListingsColumn(header: header), columns[column] == nil {
                columns[column] = place
            } else if !header.isEmpty {
                ignored.append(header)
            }
        }
        return (columns, ignored)
    }

    // MARK: Rows

    private mutating func take(_ record: CSVReader.Record, headerCount: Int) {
        guard record.fields.contains(where: { !$0.allSatisfy(\.isWhitespace) }) else { return }
        rowsCount += 1
        guard record.fields.count <= headerCount else {
            return problems.append(
                ListingsProblem(
                    record.line, nil, "",
                    ListingsAdvice(
                        "\(record.fields.count) fields where the first line has \(headerCount): put quotes around fields with commas"
                    )))
        }
        let before = problems.count
        let row = row(record)
        if problems.count == before { rows.append(row) }
    }

    /// Says all that is wrong with a row, not only the first.
    private mutating func row(_ record: CSVReader.Record) -> ListingsRow {
        let line = record.line
        func cell(_ column: ListingsColumn) -> String? { self.cell(column, record) }
        func value(_ column: ListingsColumn) -> String { cell(column) ?? "" }
        let currency = read(.currency, record) { try ListingsCell.currency($0) }
        let unit = currency ?? .noCurrency
        let price = read(.price, record) { try ListingsCell.amount($0, unit) }
        let condition = read(.condition, record) { try ListingsCell.condition($0) }
        let quantity = readIfThere(.quantity, record) { try ListingsCell.quantity($0) }
        let expiry = readIfThere(.expires, record) { [now] in try ListingsCell.expiry($0, now: now) }
        var delivery: [ListingDelivery.Way: Int64?] = [:]
        if cell(.inPerson) != nil, let flag = read(.inPerson, record, { try ListingsCell.flag($0) }) {
            delivery[.inPerson] = .some(flag ? 0 : nil)
        }
        for (column, way) in [
            (ListingsColumn.domestic, ListingDelivery.Way.domestic), (.region, .region), (.worldwide, .worldwide),
        ]
        where cell(column) != nil {
            guard let cost = read(column, record, { try ListingsCell.cost($0, unit) }) else { continue }
            delivery[way] = .some(cost)
        }
        let photos = columns[.photos].flatMap { _ in read(.photos, record) { try ListingsCell.photos($0) } }
        let commitments = columns[.commitments].flatMap { _ in
            read(.commitments, record) { try ListingsCell.commitments($0) }
        }
        let title = value(.title)
        let category = value(.category).lowercased()
        let reference = reference(record, title: title, category: category)
        // What can't be read stands for something that can, so that what else is wrong shows too.
        let row = ListingsRow(
            line: line, reference: reference, title: title, category: category, condition: condition ?? .good,
            price: price ?? 1, currency: unit, text: cell(.description)?.replacing("\t", with: " "),
            quantity: quantity, language: cell(.language), expiry: expiry, delivery: delivery, photos: photos,
            commitments: commitments)
        var terms = row.terms(over: nil, expiry: now)
        terms.quantity = max(1, terms.quantity)
        if let refusal = terms.refusal {
            let column = ListingsColumn(refusal)
            problems.append(ListingsProblem(line, column, value(column), ListingsCell.advice(refusal)))
        }
        return row
    }

    /// Nil: there is no such column, and no default. White space around a cell doesn't count, but in descriptions.
    private func cell(_ column: ListingsColumn, _ record: CSVReader.Record) -> String? {
        let typed = columns[column].map { place in
            let text = place < record.fields.count ? record.fields[place] : ""
            return column == .description ? text : text.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        if let typed, !typed.isEmpty { return typed }
        return defaults[column] ?? typed
    }

    private mutating func read<Value>(
        _ column: ListingsColumn, _ record: CSVReader.Record, _ read: (String) throws -> Value
    ) -> Value? {
        let text = cell(column, record) ?? ""
        do { return try read(text) } catch {
            let advice = error as? ListingsAdvice ?? ListingsAdvice("it can't be read")
            problems.append(ListingsProblem(record.line, column, text, advice))
            return nil
        }
    }

    private mutating func readIfThere<Value>(
        _ column: ListingsColumn, _ record: CSVReader.Record, _ read: (String) throws -> Value
    ) -> Value? {
        cell(column, record)?.isEmpty == false ? self.read(column, record, read) : nil
    }

    /// Its own, or one that the same row has in each import: from title and category, and which of several it is.
    private mutating func reference(_ record: CSVReader.Record, title: String, category: String) -> String {
        if let own = cell(.reference, record), !own.isEmpty {
            if let first = lines[own] {
                problems.append(
                    ListingsProblem(
                        record.line, .reference, own,
                        ListingsAdvice("line \(first) has the same: each row needs a reference of its own")))
            }
            lines[own] = lines[own] ?? record.line
            return own
        }
        let digest = KeyDerivation.sha256(Array("\(title)\n\(category)".utf8))
        let name = "#" + Names.text(digest).prefix(16)
        derived[name, default: 0] += 1
        return derived[name] == 1 ? name : "\(name)-\(derived[name, default: 0])"
    }
}

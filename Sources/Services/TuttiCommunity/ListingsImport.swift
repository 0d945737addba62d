// SPDX-License-Identifier: Apache-2.0
package import TuttiJournal
package import TuttiMarket

/// What an import will do: decided before anything is written. The same file a second time changes nothing.
package struct ListingsImport {
    /// A listing of the importing member.
    package struct Existing {
        package var row: ListingRow
        package var terms: ListingTerms

        package init(row: ListingRow, terms: ListingTerms) {
            self.row = row
            self.terms = terms
        }
    }

    package enum Act: Hashable {
        case list(ListingTerms)
        case revise(EntryID, ListingTerms)
        case withdraw(EntryID)
    }

    /// Without a word about it in the file, a listing is renewed when less than this is left of it.
    private static let renewalMilliseconds = ListingLimits.millisecondsMax / 2

    /// In the order of the file.
    package private(set) var acts: [Act] = []
    package private(set) var problems: [ListingsProblem]
    /// Rows whose listings say the same already.
    package private(set) var unchanged = 0
    /// Rows whose listings were sold or taken back: they aren't listed once more.
    package private(set) var ended = 0

    package init(_ sheet: ListingsSheet, existing: [Existing], now: UInt64) {
        problems = sheet.problems
        let known = Dictionary(existing.map { ($0.row.reference, $0) }) { one, other in
            Self.rank(one) < Self.rank(other) ? other : one
        }
        for row in sheet.rows { take(row, known[row.reference], now) }
        problems.sort { $0.line < $1.line }
    }

    /// Of several with one reference the one that is open, then the newest.
    private static func rank(_ existing: Existing) -> (Int, UInt64, EntryID) {
        (existing.row.state == .open ? 1 : 0, existing.row.time.value, existing.row.id)
    }

    private mutating func take(_ row: ListingsRow, _ existing: Existing?, _ now: UInt64) {
        guard let existing else {
            // None of it ever was.
            guard row.quantity != 0 else { return unchanged += 1 }
            return acts.append(.list(row.terms(over: nil, expiry: row.expiry ?? now + ListingLimits.millisecondsMax)))
        }
        guard existing.row.state == .open else { return ended += 1 }
        guard row.quantity != 0 else { return acts.append(.withdraw(existing.row.id)) }
        if let quantity = row.quantity, quantity > existing.row.units {
            let units = existing.row.units
            return problems.append(
                ListingsProblem(
                    row.line, .quantity, "\(quantity)",
                    ListingsAdvice(
                        "\(units) were listed, and no revision makes more of them: list the others under another reference"
                    )))
        }
        let terms = row.terms(over: existing.terms, expiry: expiry(row, existing, now))
        if terms == existing.terms { unchanged += 1 } else { acts.append(.revise(existing.row.id, terms)) }
    }

    /// Files have no fractions of seconds.
    private func expiry(_ row: ListingsRow, _ existing: Existing, _ now: UInt64) -> UInt64 {
        let isSoon = existing.row.expiry < now + Self.renewalMilliseconds
        guard let typed = row.expiry else {
            return isSoon ? now + ListingLimits.millisecondsMax : existing.terms.expiry
        }
        return typed / 1_000 == existing.row.expiry / 1_000 ? existing.terms.expiry : typed
    }
}

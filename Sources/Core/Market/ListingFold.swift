// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
package import TuttiJournal

/// Something about a listing, read from an entry whose author stands in the roster and isn't beyond a cut.
package struct ListingArrival: Hashable, Sendable {
    package enum Act: Hashable, Sendable {
        case list(ListingBody)
        case revise(ListingRevisionBody)
        case end(ListingEndBody)
    }

    package let id: EntryID
    package let device: DeviceID
    package let sequence: EntrySequence
    /// To whom the roster says the device belongs.
    package let author: MemberID
    package let time: HybridTime
    package let firstSeen: HybridTime
    package let act: Act

    /// Nil for entries about anything else, without a body, and malformed ones.
    package init?(_ stored: StoredEntry, author: MemberID) {
        guard let body = stored.entry.content?.body else { return nil }
        do throws(DecodeError) {
            switch stored.entry.header.kind {
            case .listing: act = .list(try ListingBody(bytes: body))
            case .listingRevision: act = .revise(try ListingRevisionBody(bytes: body))
            case .listingEnd: act = .end(try ListingEndBody(bytes: body))
            default: return nil
            }
        } catch { return nil }
        id = stored.entry.id
        device = stored.entry.header.device
        sequence = stored.entry.header.sequence
        self.author = author
        time = stored.entry.header.time
        firstSeen = stored.firstSeen
    }

    /// The listing that it is about.
    package var listing: EntryID {
        switch act {
        case .list: id
        case .revise(let body): body.listing
        case .end(let body): body.listing
        }
    }

    var displayTime: HybridTime { min(time, firstSeen) }
}

/// Turns entries about listings into the rows that are found and shown, in whatever order they arrive.
///
/// It keeps nothing: the state of a listing is its row. For a batch the caller loads the rows that ``rowsNeeded(for:)``
/// names, and writes what ``rows(for:existing:)`` returns in one transaction before it does the next batch.
///
/// Rules. A listing is revised and ended by its seller alone, from any of the member's devices. Of two revisions the one
/// with the later claimed time is in force (of equals, the greater entry id); any revision beats the first terms. An end
/// has no way back; of two, "sold" counts. The number of units is the first entry's for ever. No terms last longer than
/// ``ListingLimits/daysMax`` from their entry, whatever they say. What comes before its listing waits in a row of its own,
/// one for each author and listing, so that nobody can take the place of another's.
package struct ListingFold: Sendable {
    /// Acts that break the rules.
    package private(set) var refusedCount = 0

    package init() {}

    /// At most two for each arrival, ascending.
    package func rowsNeeded(for arrivals: [ListingArrival]) -> [EntryID] {
        var ids: Set<EntryID> = []
        for arrival in arrivals {
            ids.insert(arrival.listing)
            ids.insert(Self.waitingID(arrival))
        }
        return ids.sorted()
    }

    package mutating func rows(for arrivals: [ListingArrival], existing: [ListingRow]) -> [JournalRow] {
        var known = Dictionary(existing.map { ($0.id, $0) }) { first, _ in first }
        var changed: Set<EntryID> = []
        for arrival in arrivals {
            let (listing, waitingID) = (arrival.listing, Self.waitingID(arrival))
            switch arrival.act {
            case .list(let body):
                guard known[listing] == nil else { continue }
                var row = Self.row(listing, arrival, body.terms)
                row.units = body.stub.quantity
                if let change = known.removeValue(forKey: waitingID) {
                    Self.apply(change, to: &row)
                    changed.insert(waitingID)
                }
                known[listing] = row
                changed.insert(listing)
            case .revise, .end:
                let change = Self.change(waitingID, arrival)
                if var row = known[listing] {
                    guard row.seller == arrival.author, !row.isWaiting else {
                        refusedCount += 1
                        continue
                    }
                    Self.apply(change, to: &row)
                    known[listing] = row
                    changed.insert(listing)
                } else {
                    var waiting = known[waitingID] ?? change
                    Self.apply(change, to: &waiting)
                    known[waitingID] = waiting
                    changed.insert(waitingID)
                }
            }
        }
        return changed.sorted().map { id in known[id].map { .listing($0) } ?? .removed(id) }
    }

    // MARK: Private parts

    private static func waitingID(_ arrival: ListingArrival) -> EntryID {
        EntryID(
            KeyDerivation.sha256(
                Array("tutti-listing-waiting".utf8) + arrival.listing.bytes.bytes + arrival.author.bytes.bytes))
    }

    private static func row(_ id: EntryID, _ arrival: ListingArrival, _ terms: ListingTerms) -> ListingRow {
        let (latest, overflow) = arrival.displayTime.milliseconds.addingReportingOverflow(
            ListingLimits.millisecondsMax)
        return ListingRow(
            id: id, seller: arrival.author, device: arrival.device, sequence: arrival.sequence,
            time: arrival.displayTime, source: arrival.id, version: arrival.time, title: terms.title, text: terms.text,
            category: terms.category, condition: terms.condition, price: terms.price, currency: terms.currency.text,
            units: terms.quantity, quantity: terms.quantity, expiry: min(terms.expiry, overflow ? .max : latest),
            reference: terms.reference)
    }

    /// A waiting row: of terms that no revision has said yet `source` is none.
    private static func change(_ id: EntryID, _ arrival: ListingArrival) -> ListingRow {
        var row: ListingRow
        switch arrival.act {
        case .list(let body): row = self.row(id, arrival, body.terms)
        case .revise(let body): row = self.row(id, arrival, body.terms)
        case .end(let body):
            row = ListingRow(
                id: id, seller: arrival.author, device: arrival.device, sequence: arrival.sequence,
                time: arrival.displayTime, source: .none, version: HybridTime(0), title: "", text: "", category: "",
                condition: .nonFunctioning, price: 0, currency: "", units: 0, quantity: 0, expiry: 0,
                state: body.outcome)
        }
        row.isWaiting = true
        return row
    }

    /// Commutative and idempotent over changes: the greatest end, and the terms of the greatest (time, entry).
    private static func apply(_ change: ListingRow, to row: inout ListingRow) {
        row.state = max(row.state, change.state)
        guard change.source != .none else { return }
        let isRevised = row.source != .none && row.source != row.id
        guard !isRevised || (row.version, row.source) < (change.version, change.source) else { return }
        row.source = change.source
        row.version = change.version
        row.title = change.title
        row.text = change.text
        row.category = change.category
        row.condition = change.condition
        row.price = change.price
        row.currency = change.currency
        row.quantity = row.isWaiting ? change.quantity : min(change.quantity, row.units)
        row.expiry = change.expiry
        row.reference = change.reference
    }
}

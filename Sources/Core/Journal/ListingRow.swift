// SPDX-License-Identifier: Apache-2.0

/// How good an offered thing is: the scale of the trade in used instruments, best first. Numbers never change their meaning.
package enum ListingCondition: UInt8, CaseIterable, Comparable, Sendable {
    case brandNew = 1
    case mint
    case excellent
    case veryGood
    case good
    case fair
    case poor
    case nonFunctioning

    package var name: String {
        switch self {
        case .brandNew: "brand new"
        case .mint: "mint"
        case .excellent: "excellent"
        case .veryGood: "very good"
        case .good: "good"
        case .fair: "fair"
        case .poor: "poor"
        case .nonFunctioning: "non functioning"
        }
    }

    /// The better one is less: it stands first.
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
}

/// Whether its seller still offers a listing. That it expired is not among these: time alone does that.
package enum ListingState: UInt8, CaseIterable, Comparable, Sendable {
    case open = 1
    case withdrawn
    case sold

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
}

/// A listing as it is found and shown: by whom, and the terms in force.
package struct ListingRow: Hashable, Sendable {
    /// Of its first entry; revisions keep it.
    package var id: EntryID
    package var seller: MemberID
    /// Of the first entry, with `sequence`: whether it counts shows in the roster.
    package var device: DeviceID
    package var sequence: EntrySequence
    package var time: HybridTime
    /// The entry whose terms these are: the first, or a revision. Its body has what no row has: delivery, photos.
    package var source: EntryID
    /// The claimed time of `source`: of two revisions the later one is in force, whichever came first.
    package var version: HybridTime
    package var title: String
    package var text: String
    package var category: String
    package var condition: ListingCondition
    /// Minor units of `currency`, an ISO 4217 code.
    package var price: Int64
    package var currency: String
    /// How many there were, and how many of them are still offered.
    package var units: Int
    package var quantity: Int
    /// Milliseconds since 1970.
    package var expiry: UInt64
    /// The seller's own name for it, perhaps empty: by it an import finds what it listed before.
    package var reference: String
    package var state: ListingState
    /// A change that came before its listing. No query but `.rows` returns it.
    package var isWaiting: Bool

    package init(
        id: EntryID, seller: MemberID, device: DeviceID, sequence: EntrySequence, time: HybridTime, source: EntryID,
        version: HybridTime, title: String, text: String, category: String, condition: ListingCondition, price: Int64,
        currency: String, units: Int, quantity: Int, expiry: UInt64, reference: String = "",
        state: ListingState = .open,
        isWaiting: Bool = false
    ) {
        self.id = id
        self.seller = seller
        self.device = device
        self.sequence = sequence
        self.time = time
        self.source = source
        self.version = version
        self.title = title
        self.text = text
        self.category = category
        self.condition = condition
        self.price = price
        self.currency = currency
        self.units = units
        self.quantity = quantity
        self.expiry = expiry
        self.reference = reference
        self.state = state
        self.isWaiting = isWaiting
    }
}

/// Which listings, in which order. What isn't asked for isn't looked at: the default finds all that are open.
package struct ListingQuery: Hashable, Sendable {
    package enum Order: CaseIterable, Sendable {
        /// The store's own ranking; no decision may rest on it. Without words: newest.
        case bestMatch
        case newest
        /// By currency, then price.
        case cheapest
        case dearest
    }

    /// All of these words, each whole or, from two letters on, as the beginning of a word, in title, category or text.
    package var words = ""
    package var category: String?
    /// Empty: any.
    package var conditions: [ListingCondition] = []
    package var currency: String?
    /// Minor units; it says little without a currency.
    package var prices: ClosedRange<Int64> = 0...Int64.max
    package var seller: MemberID?
    package var states: [ListingState] = [.open]
    /// Milliseconds since 1970: what expired before isn't found. 0: neither is anything left out.
    package var unexpiredAt: UInt64 = 0
    package var order = Order.newest
    /// The last of the page before. Nil: from the beginning.
    package var after: EntryID?
    package var countMax = 50

    package init() {}
}

/// How much is offered of a kind.
package struct ListingCategory: Hashable, Sendable {
    package var name: String
    package var count: Int

    package init(name: String, count: Int) {
        self.name = name
        self.count = count
    }
}

/// Rows that a fold must see before it makes those of the next batch.
package struct RowsNeeded: Hashable, Sendable {
    package var messages: [EntryID]
    package var listings: [EntryID]

    package init(messages: [EntryID] = [], listings: [EntryID] = []) {
        self.messages = messages
        self.listings = listings
    }

    package var isEmpty: Bool { messages.isEmpty && listings.isEmpty }
}

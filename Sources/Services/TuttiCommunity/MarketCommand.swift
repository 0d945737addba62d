// SPDX-License-Identifier: Apache-2.0
public import Foundation

/// What may be asked of the market. A listing is named by its id, or by how that begins.
public enum MarketCommand: Sendable, Codable {
    case list(ListingDraft)
    /// What is nil stays as it is.
    case revise(listing: String, ListingChange)
    /// - Parameter sold: else it is taken back.
    case end(listing: String, sold: Bool)
    case search(ListingSearch)
    case show(listing: String)
    case categories
    /// From now on contracts may name this member as an arbiter; with 0 days no more.
    case arbitrate(feePermille: Int, languages: [String], cap: Int64, days: Int)
    case importFile(ListingsFile)
    /// One's own that are open.
    case exportFile(path: String, jsonLines: Bool)
}

/// A file of listings, and how it is to be read.
public struct ListingsFile: Hashable, Sendable, Codable {
    public var path: String
    /// Headers of the file, by the names of columns.
    public var columns: [String: String]
    /// For cells that are empty or missing, by the names of columns.
    public var defaults: [String: String]
    public var isDryRun: Bool
    public var skipsBad: Bool

    public init(
        path: String, columns: [String: String] = [:], defaults: [String: String] = [:], isDryRun: Bool = false,
        skipsBad: Bool = false
    ) {
        self.path = path
        self.columns = columns
        self.defaults = defaults
        self.isDryRun = isDryRun
        self.skipsBad = skipsBad
    }
}

/// What an import does or did.
public struct ImportSummary: Hashable, Sendable, Codable {
    public var rows: Int
    public var listed: Int
    public var revised: Int
    public var withdrawn: Int
    public var unchanged: Int
    /// Listed before, and sold or taken back since.
    public var ended: Int
    /// Each bad row, its column and how to mend it.
    public var problems: [String]
    /// Columns of the file that mean nothing here.
    public var ignored: [String]
    /// Else nothing was written.
    public var isDone: Bool
}

/// Something to be listed, as it is typed.
public struct ListingDraft: Hashable, Sendable, Codable {
    public var title: String
    public var text: String
    public var category: String
    /// By its name, such as "very good".
    public var condition: String
    /// Of one unit, such as "1250.00".
    public var price: String
    public var currency: String
    public var quantity: Int
    /// Ways of delivery and what they cost, such as "domestic=15.00".
    public var delivery: [String]
    public var days: Int
    public var reference: String

    public init(
        title: String, text: String = "", category: String, condition: String, price: String, currency: String,
        quantity: Int = 1, delivery: [String] = [], days: Int = 30, reference: String = ""
    ) {
        self.title = title
        self.text = text
        self.category = category
        self.condition = condition
        self.price = price
        self.currency = currency
        self.quantity = quantity
        self.delivery = delivery
        self.days = days
        self.reference = reference
    }
}

public struct ListingChange: Hashable, Sendable, Codable {
    public var title: String?
    public var text: String?
    public var category: String?
    public var condition: String?
    public var price: String?
    public var quantity: Int?
    public var delivery: [String]?
    public var days: Int?

    public init() {}
}

public struct ListingSearch: Hashable, Sendable, Codable {
    public enum Order: String, Hashable, Sendable, Codable, CaseIterable {
        case best
        case newest
        case cheapest
        case dearest
    }

    /// All of them, each whole or as the beginning of a word.
    public var words = ""
    public var category: String?
    public var conditions: [String] = []
    public var currency: String?
    public var priceMin: String?
    public var priceMax: String?
    /// A member.
    public var seller: String?
    /// Also what is sold, was taken back or has expired.
    public var all = false
    public var order = Order.best
    public var count = 50
    /// The last listing of the page before.
    public var after: String?

    public init() {}
}

public struct ListingSummary: Hashable, Sendable, Codable {
    public var id: String
    public var title: String
    public var text: String
    public var category: String
    public var condition: String
    public var price: String
    public var currency: String
    public var units: Int
    /// Still offered.
    public var quantity: Int
    /// "open", "expired", "sold" or "withdrawn".
    public var state: String
    public var expiry: Date
    public var seller: String
    public var nickname: String
    public var isOwn: Bool
    public var reference: String
    /// Only when one listing is asked for.
    public var delivery: [String]?
    /// Why this node doesn't show it.
    public var hidden: String?
}

public struct CategorySummary: Hashable, Sendable, Codable {
    public var name: String
    public var count: Int
}

// SPDX-License-Identifier: Apache-2.0
import TuttiMarket

/// The columns of a file of listings, in the order in which an export has them.
enum ListingsColumn: String, CaseIterable {
    case reference, title, description, category, condition, price, currency, quantity, language, expires
    case inPerson = "in person"
    case domestic, region, worldwide, photos, commitments

    /// Without one, or a default for it, no row can be listed.
    static let required: [ListingsColumn] = [.title, .category, .condition, .price, .currency]

    /// By its own name, or one that shops and marketplaces use.
    init?(header: String) {
        let name = Self.normalized(header)
        guard let column = Self.allCases.first(where: { $0.names.contains(name) }) else { return nil }
        self = column
    }

    private static func normalized(_ header: String) -> String {
        header.lowercased().split { !$0.isLetter && !$0.isNumber }.joined(separator: " ")
    }

    private var names: [String] {
        switch self {
        case .reference: ["reference", "sku", "item number", "inventory number", "id", "handle"]
        case .title: ["title", "name", "item", "listing title"]
        case .description: ["description", "text", "details", "body"]
        case .category: ["category", "categories", "product type", "type"]
        case .condition: ["condition"]
        case .price: ["price", "amount"]
        case .currency: ["currency", "price currency"]
        case .quantity: ["quantity", "qty", "stock", "inventory"]
        case .language: ["language", "lang", "locale"]
        case .expires: ["expires", "expiry", "expires at", "valid until"]
        case .inPerson: ["in person", "pickup", "local pickup"]
        case .domestic: ["domestic", "shipping", "shipping price", "domestic shipping", "shipping domestic"]
        case .region: ["region", "regional shipping", "shipping region"]
        case .worldwide: ["worldwide", "international shipping", "shipping international", "shipping worldwide"]
        case .photos: ["photos"]
        case .commitments: ["commitments"]
        }
    }

    /// Where what is refused stands.
    init(_ refusal: ListingRefusal) {
        self =
            switch refusal {
            case .title: .title
            case .description: .description
            case .category: .category
            case .price: .price
            case .quantity: .quantity
            case .language: .language
            case .expiry: .expires
            case .reference: .reference
            case .delivery: .domestic
            case .photos: .photos
            case .commitments: .commitments
            }
    }
}

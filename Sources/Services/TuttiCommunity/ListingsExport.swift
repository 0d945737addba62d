// SPDX-License-Identifier: Apache-2.0
import Foundation
package import TuttiMarket

/// Listings as a file that an import takes: each comes back with the same terms.
package enum ListingsExport {
    package static func csv(_ listings: [ListingTerms]) -> String {
        CSVReader.line(ListingsColumn.allCases.map(\.rawValue))
            + listings.map { terms in
                CSVReader.line(ListingsColumn.allCases.map { text($0, terms) })
            }.joined()
    }

    /// One object with the same names and texts a line.
    package static func jsonLines(_ listings: [ListingTerms]) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try listings.map { terms in
            let fields = ListingsColumn.allCases.map { ($0.rawValue, text($0, terms)) }
            let object = Dictionary(uniqueKeysWithValues: fields.filter { !$0.1.isEmpty })
            return String(decoding: try encoder.encode(object), as: UTF8.self) + "\n"
        }.joined()
    }

    private static func text(_ column: ListingsColumn, _ terms: ListingTerms) -> String {
        func cost(_ way: ListingDelivery.Way) -> String {
            terms.delivery.first { $0.way == way }.map { terms.currency.amount($0.cost) } ?? ""
        }
        return switch column {
        case .reference: terms.reference
        case .title: terms.title
        case .description: terms.text
        case .category: terms.category
        case .condition: terms.condition.name
        case .price: terms.currency.amount(terms.price)
        case .currency: terms.currency.text
        case .quantity: "\(terms.quantity)"
        case .language: terms.language
        case .expires: ListingsCell.text(expiry: terms.expiry)
        case .inPerson: terms.delivery.contains { $0.way == .inPerson } ? "yes" : "no"
        case .domestic: cost(.domestic)
        case .region: cost(.region)
        case .worldwide: cost(.worldwide)
        case .photos: terms.photos.map { $0.text() }.joined(separator: " ")
        case .commitments: ListingsCell.text(terms.commitments)
        }
    }
}

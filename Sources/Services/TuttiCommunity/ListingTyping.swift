// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiJournal
import TuttiMarket

/// Listings as people type them.
enum ListingTyping {
    static func currency(_ typed: String) throws -> CurrencyCode {
        guard let code = CurrencyCode(typed.uppercased()), code.isInUse else {
            throw CommunityError(.invalidInput, "'\(typed)' is no currency of ISO 4217, such as EUR or USD")
        }
        return code
    }

    static func condition(_ typed: String) throws -> ListingCondition {
        let name = typed.lowercased().replacing("-", with: " ")
        guard let condition = ListingCondition.allCases.first(where: { $0.name == name }) else {
            let all = ListingCondition.allCases.map(\.name).joined(separator: ", ")
            throw CommunityError(.invalidInput, "'\(typed)' is no condition: there are \(all)")
        }
        return condition
    }

    /// "1250", "1250.5" and "1250.50" are 125,050 cents and so on; no signs, no separators of thousands.
    static func amount(_ typed: String, _ currency: CurrencyCode) throws -> Int64 {
        let parts = typed.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let (whole, part) = (parts[0], parts.count == 2 ? parts[1] : "")
        func isNumber(_ text: Substring) -> Bool { text.utf8.allSatisfy { (0x30...0x39).contains($0) } }
        let digits = whole + part + String(repeating: "0", count: max(0, currency.decimals - part.count))
        guard !whole.isEmpty, parts.count == 1 || !part.isEmpty, isNumber(whole), isNumber(part),
            part.count <= currency.decimals, let amount = Int64(digits), amount <= ListingLimits.priceMax
        else {
            let example = currency.amount(125_000)
            throw CommunityError(
                .invalidInput, "'\(typed)' is no amount of \(currency.text): write it like \(example), with a point")
        }
        return amount
    }

    /// "in person", "domestic=15.00".
    static func delivery(_ typed: [String], _ currency: CurrencyCode) throws -> [ListingDelivery] {
        var ways: [ListingDelivery.Way: Int64] = [:]
        for text in typed {
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            let name = (parts.first ?? "").lowercased().replacing("-", with: " ")
            guard let way = ListingDelivery.Way.allCases.first(where: { $0.name == name }) else {
                let all = ListingDelivery.Way.allCases.map(\.name).joined(separator: ", ")
                throw CommunityError(
                    .invalidInput, "'\(text)' is no way of delivery: there are \(all), each with =COST")
            }
            guard ways[way] == nil else { throw CommunityError(.invalidInput, "'\(way.name)' is there twice") }
            ways[way] = parts.count == 2 ? try amount(parts[1], currency) : 0
        }
        guard ways[.inPerson, default: 0] == 0 else {
            throw CommunityError(.invalidInput, "what is handed over in person costs no delivery")
        }
        return ways.sorted { $0.key < $1.key }.map { ListingDelivery($0.key, cost: $0.value) }
    }

    static func text(_ delivery: ListingDelivery, _ currency: CurrencyCode) -> String {
        delivery.cost == 0 ? delivery.way.name : "\(delivery.way.name)=\(currency.amount(delivery.cost))"
    }

    static func expiry(days: Int, from milliseconds: UInt64) throws -> UInt64 {
        guard (1...ListingLimits.daysMax).contains(days) else {
            throw CommunityError(.invalidInput, "a listing lasts 1 to \(ListingLimits.daysMax) days")
        }
        return milliseconds + UInt64(days) * 86_400_000
    }

    static func refused(_ refusal: ListingRefusal) -> CommunityError {
        let text =
            switch refusal {
            case .title: "a title has 1 to \(ListingLimits.titleBytesMax) bytes on one line"
            case .description: "a description has at most \(ListingLimits.descriptionBytesMax) bytes of plain text"
            case .category: "a category is lower case, 1 to \(ListingLimits.categoryBytesMax) bytes on one line"
            case .price: "a price is above zero"
            case .quantity: "a quantity is 1 to \(ListingLimits.quantityMax)"
            case .language: "a language is a tag such as en or pt-BR"
            case .expiry: "that is no time at which a listing can end"
            case .reference: "a reference has at most \(ListingLimits.referenceBytesMax) bytes on one line"
            case .delivery: "that is no list of ways of delivery"
            case .photos: "at most \(ListingLimits.photosMax) different photos"
            case .commitments: "at most \(ListingLimits.commitmentsMax) different commitments"
            }
        return CommunityError(.invalidInput, text)
    }

    /// All ids that begin as typed. Nil: nothing can.
    static func range(_ typed: String) -> ClosedRange<EntryID>? {
        let typed = typed.lowercased()
        guard !typed.isEmpty, typed.utf8.count <= 2 * Bytes32.count else { return nil }
        let missing = 2 * Bytes32.count - typed.utf8.count
        guard let low = Names.bytes(typed + String(repeating: "0", count: missing)),
            let high = Names.bytes(typed + String(repeating: "f", count: missing))
        else { return nil }
        return EntryID(low)...EntryID(high)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiMarket

/// Why a cell can't be what its column says, and how to mend it.
struct ListingsAdvice: Error, Hashable {
    let text: String

    init(_ text: String) { self.text = text }
}

/// What stands in one cell, read.
enum ListingsCell {
    static func currency(_ text: String) throws(ListingsAdvice) -> CurrencyCode {
        guard let code = CurrencyCode(text.uppercased()), code.isInUse else {
            throw ListingsAdvice("write the currency's three letters (ISO 4217), such as EUR")
        }
        return code
    }

    static func condition(_ text: String) throws(ListingsAdvice) -> ListingCondition {
        let name = text.lowercased().split { !$0.isLetter }.joined(separator: " ")
        if let condition = ListingCondition.allCases.first(where: { $0.name == name }) { return condition }
        switch name {
        case "new": return .brandNew
        case "like new", "as new": return .mint
        case "nonfunctioning", "for parts", "not working": return .nonFunctioning
        default:
            throw ListingsAdvice("write one of: " + ListingCondition.allCases.map(\.name).joined(separator: ", "))
        }
    }

    /// Minor units. Point or comma may be the decimal sign where no other reading is possible; "1,250" is refused, because
    /// it may be 1.25 or 1250.
    static func amount(_ typed: String, _ currency: CurrencyCode) throws(ListingsAdvice) -> Int64 {
        var text = typed.replacing(currency.text, with: "")
        text.removeAll { $0.isWhitespace || "€$£¥'’".contains($0) }
        let example = currency.amount(125_000)
        if isAmbiguous(text, currency) {
            throw ListingsAdvice("this may be two amounts: write it as in \(example), without separating thousands")
        }
        guard let (whole, part) = parts(of: text, currency), !whole.isEmpty, part.count <= currency.decimals,
            (whole + part).utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let amount = Int64(whole + part + String(repeating: "0", count: currency.decimals - part.count)),
            amount <= ListingLimits.priceMax
        else { throw ListingsAdvice("write the amount as in \(example)") }
        return amount
    }

    /// One sign, behind it three digits, and no reason to take it for the one or the other. A point before all the
    /// decimals that a currency has is a decimal one.
    private static func isAmbiguous(_ text: String, _ currency: CurrencyCode) -> Bool {
        let groups = groups(text)
        return groups.count == 2 && isThousands(groups) && currency.decimals > 0
            && !(currency.decimals == 3 && text.contains("."))
    }

    /// What stands before and behind the decimal sign.
    private static func parts(of text: String, _ currency: CurrencyCode) -> (String, String)? {
        let (signs, groups) = (text.filter { ",.".contains($0) }, groups(text))
        guard let sign = signs.last else { return (text, "") }
        let isGrouped = isThousands(groups)
        if Set(signs).count == 1, isGrouped, signs.count > 1 || currency.decimals == 0 { return (groups.joined(), "") }
        let (wholes, part) = (Array(groups.dropLast()), groups[groups.count - 1])
        guard !part.isEmpty, wholes.count == 1 || isThousands(wholes), Set(signs.dropLast()).count <= 1,
            !signs.dropLast().contains(sign)
        else { return nil }
        return (wholes.joined(), String(part))
    }

    private static func groups(_ text: String) -> [Substring] {
        text.split(omittingEmptySubsequences: false) { ",.".contains($0) }
    }

    private static func isThousands(_ groups: [Substring]) -> Bool {
        guard groups.count > 1, let first = groups.first else { return false }
        return (1...3).contains(first.count) && first.first != "0" && groups.dropFirst().allSatisfy { $0.count == 3 }
    }

    /// 0 stands for none left.
    static func quantity(_ text: String) throws(ListingsAdvice) -> Int {
        guard let count = Int(text), (0...ListingLimits.quantityMax).contains(count) else {
            throw ListingsAdvice("write a whole number from 0 to \(ListingLimits.quantityMax); 0 withdraws it")
        }
        return count
    }

    /// A day ends at midnight UTC.
    static func expiry(_ text: String, now: UInt64) throws(ListingsAdvice) -> UInt64 {
        let day = try? Date.ISO8601FormatStyle(timeZone: .gmt).year().month().day().parse(text)
        let time = (try? Date.ISO8601FormatStyle(includingFractionalSeconds: false).parse(text))
        guard let date = time ?? day?.addingTimeInterval(86_400) else {
            throw ListingsAdvice("write a day as in 2030-12-31, or nothing for \(ListingLimits.daysMax) days")
        }
        guard let milliseconds = UInt64(exactly: (date.timeIntervalSince1970 * 1_000).rounded()), milliseconds > now
        else { throw ListingsAdvice("it has passed: write nothing for \(ListingLimits.daysMax) days") }
        guard milliseconds <= now + ListingLimits.millisecondsMax else {
            throw ListingsAdvice("a listing lasts at most \(ListingLimits.daysMax) days")
        }
        return milliseconds
    }

    static func text(expiry: UInt64) -> String {
        Date(timeIntervalSince1970: Double(expiry / 1_000)).formatted(.iso8601)
    }

    static func flag(_ text: String) throws(ListingsAdvice) -> Bool {
        switch text.lowercased() {
        case "yes", "y", "true", "1", "x": return true
        case "no", "n", "false", "0", "": return false
        default: throw ListingsAdvice("write yes or no")
        }
    }

    /// Nil: not that way.
    static func cost(_ text: String, _ currency: CurrencyCode) throws(ListingsAdvice) -> Int64? {
        switch text.lowercased() {
        case "", "no", "-": return nil
        case "free": return 0
        default: return try amount(text, currency)
        }
    }

    static func photos(_ text: String) throws(ListingsAdvice) -> [CID] {
        var photos: [CID] = []
        for word in text.split(whereSeparator: \.isWhitespace) {
            guard let photo = try? CID(text: String(word)) else {
                throw ListingsAdvice(
                    "write content ids with spaces between them; `tutti` gives one for each shared file")
            }
            photos.append(photo)
        }
        return photos
    }

    /// "serial:HEX photo:HEX"
    static func commitments(_ text: String) throws(ListingsAdvice) -> [ListingCommitment] {
        var commitments: [ListingCommitment] = []
        for word in text.split(whereSeparator: \.isWhitespace) {
            let parts = word.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, let digest = Names.bytes(String(parts[1])),
                let kind = ListingCommitment.Kind.allCases.first(where: { "\($0)" == parts[0] })
            else { throw ListingsAdvice("write serial: or photo: and 64 hexadecimal digits, with spaces between them") }
            commitments.append(ListingCommitment(kind: kind, digest: digest))
        }
        return commitments.sorted()
    }

    static func text(_ commitments: [ListingCommitment]) -> String {
        commitments.map { "\($0.kind):\(Names.text($0.digest))" }.joined(separator: " ")
    }

    static func advice(_ refusal: ListingRefusal) -> ListingsAdvice {
        let text =
            switch refusal {
            case .title: "a title has 1 to \(ListingLimits.titleBytesMax) bytes on one line"
            case .description: "a description has at most \(ListingLimits.descriptionBytesMax) bytes of plain text"
            case .category: "a category has 1 to \(ListingLimits.categoryBytesMax) bytes on one line"
            case .price: "a price is above zero"
            case .quantity: "a quantity is at most \(ListingLimits.quantityMax)"
            case .language: "a language is a tag such as en or pt-BR"
            case .expiry: "that is no time at which a listing can end"
            case .reference: "a reference has at most \(ListingLimits.referenceBytesMax) bytes on one line"
            case .delivery: "these are no ways of delivery"
            case .photos: "at most \(ListingLimits.photosMax) different photos"
            case .commitments: "at most \(ListingLimits.commitmentsMax) different commitments"
            }
        return ListingsAdvice(text)
    }
}

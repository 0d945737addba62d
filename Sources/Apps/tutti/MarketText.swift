// SPDX-License-Identifier: Apache-2.0
import TuttiCommunity

/// The market for people.
extension CommunityText {
    static func listings(_ listings: [ListingSummary]) -> [String] {
        listings.isEmpty ? ["nothing is found"] : listings.map(listing)
    }

    private static func listing(_ listing: ListingSummary) -> String {
        var line = "\(listing.id.prefix(12))  \(listing.price) \(listing.currency)  \(printable(listing.title))"
        line += "  (\(listing.condition), \(printable(listing.category)))"
        if listing.units > 1 { line += "  \(listing.quantity) of \(listing.units)" }
        line += "  by \(listing.isOwn ? "you" : printable(listing.nickname))"
        if listing.state != "open" { line += "  [\(listing.state)]" }
        if let reason = listing.hidden { line += "  [\(printable(reason))]" }
        return line
    }

    static func imported(_ summary: ImportSummary) -> [String] {
        let (listed, revised) = (summary.listed, summary.revised)
        let counts =
            "\(summary.rows) rows: \(listed) new, \(revised) changed, \(summary.withdrawn) taken back, "
            + "\(summary.unchanged) as before" + (summary.ended > 0 ? ", \(summary.ended) ended before" : "")
        let ignored =
            summary.ignored.isEmpty
            ? [] : ["not read: \(summary.ignored.map { printable($0) }.joined(separator: ", "))"]
        return [counts + (summary.isDone ? "" : "; nothing was written")] + ignored
            + summary.problems.map { printable($0) }
    }

    static func wholeListing(_ listing: ListingSummary) -> [String] {
        var lines = [
            "listing   \(listing.id)  \(listing.state)",
            "title     \(printable(listing.title))",
            "price     \(listing.price) \(listing.currency) each, \(listing.quantity) of \(listing.units) left",
            "condition \(listing.condition), in \(printable(listing.category))",
            "seller    \(listing.seller)  \(printable(listing.nickname))\(listing.isOwn ? "  (you)" : "")",
            "until     \(time(listing.expiry))",
        ]
        if let delivery = listing.delivery, !delivery.isEmpty {
            lines.append("delivery  \(delivery.joined(separator: ", "))")
        }
        if !listing.reference.isEmpty { lines.append("reference \(printable(listing.reference))") }
        if let reason = listing.hidden { lines.append("hidden    \(printable(reason))") }
        if !listing.text.isEmpty { lines += ["", printable(listing.text, lines: true)] }
        return lines
    }
}

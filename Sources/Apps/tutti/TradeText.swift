// SPDX-License-Identifier: Apache-2.0
import TuttiCommunity

/// Trades for people.
extension CommunityText {
    static func trades(_ trades: [TradeSummary]) -> [String] {
        trades.isEmpty ? ["no trades"] : trades.flatMap { [line($0), "  \(printable($0.turn))"] }
    }

    private static func line(_ trade: TradeSummary) -> String {
        let other = trade.role == "buyer" ? "from \(trade.seller)" : "to \(trade.buyer)"
        return "\(trade.id.prefix(12))  \(trade.state)  \(trade.price) \(trade.currency)  \(printable(trade.title))"
            + "  \(printable(other))\(trade.role == "arbiter" ? ", you are an arbiter" : "")"
    }

    static func trade(_ trade: TradeSummary) -> [String] {
        var lines = [line(trade), printable(trade.turn)]
        if !trade.history.isEmpty { lines += [""] + trade.history.map { printable($0) } }
        if !trade.acts.isEmpty { lines += ["", "you may now:"] + trade.acts.map { "  \(printable($0))" } }
        return lines
    }
}

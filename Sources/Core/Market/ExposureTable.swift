// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiCommunityCore
import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

/// The published exposure of everybody, in whatever order opening and closing arrive.
package struct ExposureTable: Sendable {
    package struct Open: Hashable, Sendable {
        package let trade: TradeID
        package let seller: MemberID
        package let account: Bytes32
        package let units: Int64
        /// Nil where only the seller published it.
        package let buyer: MemberID?
    }

    /// What opening and closing of one trade have in common, whoever published them.
    private struct Name: Hashable {
        let trade: TradeID
        let seller: TradeKey
        let buyer: TradeKey
    }

    private struct Row {
        var debit: Exposure.Debit?
        /// By whom it was published, if that is the buyer.
        var buyer: MemberID?
        var isClosed = false
        var firstSeen: UInt64
    }

    private var rows: [Name: Row] = [:]
    /// Something had no room: nobody's exposure is known.
    package private(set) var isIncomplete = false

    package init() {}

    /// - Parameters:
    ///   - exposure: of the ordinary view, its signatures verified.
    ///   - author: to whom the roster says the entry's device belongs.
    ///   - milliseconds: when the entry was first seen here.
    package mutating func insert(_ exposure: Exposure, by author: MemberID, firstSeen milliseconds: UInt64) {
        let debit = exposure.debit
        // A buyer named by somebody else is nobody's word.
        guard debit.buyer == nil || debit.buyer == author else { return }
        let name = Name(trade: debit.trade, seller: debit.seller.key, buyer: debit.buyerKey)
        var row = rows[name] ?? Row(firstSeen: milliseconds)
        if rows[name] == nil, rows.count >= StandingLimits.exposuresMax {
            isIncomplete = true
            return
        }
        row.firstSeen = min(row.firstSeen, milliseconds)
        switch exposure.act {
        case .closed: row.isClosed = true
        case .opened:
            row.buyer = [row.buyer, debit.buyer].compactMap(\.self).min()
            // Both signed both; of two the greater counts, and of equals the same everywhere.
            if let known = row.debit, Self.precedes(debit, known) { break }
            row.debit = debit
        }
        rows[name] = row
    }

    private static func precedes(_ one: Exposure.Debit, _ other: Exposure.Debit) -> Bool {
        (one.units, one.account, one.seller.member) < (other.units, other.account, other.seller.member)
    }

    /// Forgets what ended long ago, whatever was published of it.
    package mutating func prune(at milliseconds: UInt64) {
        let start = milliseconds - min(milliseconds, StandingLimits.exposureMilliseconds)
        rows = rows.filter { $0.value.firstSeen >= start }
        if rows.count < StandingLimits.exposuresMax { isIncomplete = false }
    }

    /// By sellers who are who they say, ascending by trade.
    package func open(_ state: CommunityState) -> [Open] {
        rows.values.compactMap { row -> Open? in
            guard let debit = row.debit, !row.isClosed, debit.seller.isOf(state) else { return nil }
            return Open(
                trade: debit.trade, seller: debit.seller.member, account: debit.account, units: debit.units,
                buyer: row.buyer)
        }
        .sorted { ($0.trade, $0.account, $0.units, $0.seller) < ($1.trade, $1.account, $1.units, $1.seller) }
    }

    package var count: Int { rows.count }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiCommunityCore
import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

/// Completed trades that both sides published, and what they say of each other; in whatever order it arrives.
package struct TradeTable: Sendable {
    package struct Completed: Hashable, Sendable {
        package let trade: TradeID
        package let buyer: MemberID
        package let seller: MemberID
        package let units: Int64
        /// When the later of the two was first seen, or claims to have been written.
        package let milliseconds: UInt64
    }

    package struct Opinion: Hashable, Sendable {
        package let trade: TradeID
        package let author: MemberID
        package let subject: MemberID
        package let side: TradeEdge.Side
        package let score: Int
        package let text: String
        package let entry: EntryID
    }

    /// One side's word: whoever holds the key gives it.
    private struct Half {
        let edge: TradeEdge
        let milliseconds: UInt64
    }

    private struct Side: Hashable {
        let trade: TradeID
        let key: TradeKey
    }

    private struct Words {
        let rating: Rating
        let author: MemberID
        let order: (HybridTime, EntryID)
    }

    private var halves: [Side: Half] = [:]
    private var words: [Side: Words] = [:]
    /// For which there was no room.
    package private(set) var droppedCount = 0

    package init() {}

    /// - Parameters:
    ///   - edge: of the ordinary view, its signatures verified.
    ///   - author: to whom the roster says the entry's device belongs.
    ///   - milliseconds: the earlier of when it claims to have been written and when it was first seen here.
    package mutating func insert(_ edge: TradeEdge, by author: MemberID, at milliseconds: UInt64) {
        guard edge.card.member == author, edge.card.key != edge.other else { return }
        let side = Side(trade: edge.trade, key: edge.card.key)
        if let known = halves[side] {
            // Who says two things of one trade keeps the lesser, in whatever order they come.
            let isLess =
                (edge.units, edge.other, edge.side.rawValue) < (
                    known.edge.units, known.edge.other, known.edge.side.rawValue
                )
            guard isLess || edge == known.edge && milliseconds < known.milliseconds else { return }
        } else if halves.count >= StandingLimits.tradesMax {
            droppedCount += 1
            return
        }
        halves[side] = Half(edge: edge, milliseconds: milliseconds)
    }

    /// The first of a side counts, by the time that it claims.
    package mutating func insert(_ rating: Rating, by author: MemberID, time: HybridTime, entry: EntryID) {
        let side = Side(trade: rating.trade, key: rating.key)
        if let known = words[side] {
            guard (time, entry) < known.order else { return }
        } else if words.count >= StandingLimits.ratingsMax {
            droppedCount += 1
            return
        }
        words[side] = Words(rating: rating, author: author, order: (time, entry))
    }

    private func completed(_ half: Half, _ state: CommunityState) -> Completed? {
        let edge = half.edge
        guard edge.side == .bought,
            let other = halves[Side(trade: edge.trade, key: edge.other)],
            other.edge.side == .sold, other.edge.other == edge.card.key, other.edge.units == edge.units,
            other.edge.card.member != edge.card.member, edge.card.isOf(state), other.edge.card.isOf(state)
        else { return nil }
        return Completed(
            trade: edge.trade, buyer: edge.card.member, seller: other.edge.card.member, units: edge.units,
            milliseconds: max(half.milliseconds, other.milliseconds))
    }

    /// Ascending by trade.
    package func completed(_ state: CommunityState) -> [Completed] {
        halves.values.compactMap { completed($0, state) }
            .sorted { ($0.trade, $0.buyer, $0.seller) < ($1.trade, $1.buyer, $1.seller) }
    }

    /// Of completed trades, by who was in them; ascending by trade, the buyer's first.
    package func opinions(_ state: CommunityState) -> [Opinion] {
        words.compactMap { side, words -> Opinion? in
            guard let half = halves[side], half.edge.card.member == words.author,
                let other = halves[Side(trade: side.trade, key: half.edge.other)],
                completed(half.edge.side == .bought ? half : other, state) != nil
            else { return nil }
            return Opinion(
                trade: side.trade, author: words.author, subject: other.edge.card.member, side: half.edge.side,
                score: words.rating.score, text: words.rating.text, entry: words.order.1)
        }
        .sorted { ($0.trade, $0.side.rawValue, $0.entry) < ($1.trade, $1.side.rawValue, $1.entry) }
    }
}

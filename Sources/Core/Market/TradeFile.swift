// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
package import TuttiJournal
package import TuttiWitness

/// What a member's mailbox holds of one trade, and where that leads. The same letters in any order give the same.
package struct TradeFile: Sendable {
    package let id: TradeID
    /// In the order in which they were opened.
    package private(set) var letters: [TradeLetter] = []
    package private(set) var malformedCount = 0
    /// Nil: no letter holds an offer that its buyer signed.
    package private(set) var negotiation: TradeNegotiation?
    /// The seller's word under the contract, when it fits what was proposed.
    package private(set) var acceptance: TradeEvent?
    /// Signed events that have no effect, and why.
    package private(set) var refusals: [(event: TradeEvent, reason: TradeNegotiation.Refusal)] = []

    static func holds(_ row: OpenedRow) -> Bool { row.kind == SealedKind.tradeEvent.rawValue }

    init(_ id: TradeID, _ rows: [OpenedRow]) {
        self.id = id
        for row in rows where Self.holds(row) {
            guard let letter = try? TradeLetter(bytes: row.payload), letter.trade == id else {
                malformedCount += 1
                continue
            }
            letters.append(letter)
        }
    }

    /// The listing that the trade is about, as its first offer says.
    var listing: EntryID? {
        for event in events { if case .offer(let offer) = event.body { return offer.terms.listing } }
        return nil
    }

    /// Each once, by place and then by hash, so that what came first decides nothing.
    private var events: [TradeEvent] {
        var known: Set<Bytes32> = []
        let all = letters.flatMap(\.events).compactMap { try? TradeEvent(bytes: $0) }
        return all.filter { $0.trade == id && known.insert($0.hash).inserted }
            .sorted { ($0.number, $0.hash) < ($1.number, $1.hash) }
    }

    /// - Parameter seller: whose listing it is.
    mutating func fold(seller: MemberID, countersMax: Int) {
        let events = events
        negotiation =
            events.lazy.compactMap {
                TradeNegotiation(offer: $0, to: seller, countersMax: countersMax)
            }.first
        guard var negotiation else { return }
        for event in events {
            guard case .counter = event.body, let reason = negotiation.take(event) else { continue }
            refuse(event, reason)
        }
        self.negotiation = negotiation
        for event in events {
            guard case .accept = event.body else { continue }
            if let reason = negotiation.refusal(of: event) {
                refuse(event, reason)
            } else if acceptance == nil {
                acceptance = event
            }
        }
    }

    private mutating func refuse(_ event: TradeEvent, _ reason: TradeNegotiation.Refusal) {
        guard refusals.count < TradeLimits.refusalsMax else { return }
        refusals.append((event, reason))
    }

    /// What has lapsed is looked at for a while, then only when it is asked for.
    package func isOpen(at milliseconds: UInt64) -> Bool {
        guard let negotiation else { return false }
        return milliseconds < negotiation.expiry + MarketCoreLimits.lapsedKeptMilliseconds
    }
}

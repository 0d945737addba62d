// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiCommunityCore
package import TuttiJournal
package import TuttiWitness

/// What a member's mailbox holds of one trade.
package struct TradeFile: Sendable {
    /// A letter, and who sent it.
    package struct Letter: Hashable, Sendable {
        package let id: EntryID
        package let author: MemberID
        package let time: HybridTime
        package let letter: TradeLetter
    }

    package let id: TradeID
    /// In the order in which they were opened.
    package private(set) var letters: [Letter] = []
    package private(set) var malformedCount = 0

    static func holds(_ row: OpenedRow) -> Bool { row.kind == SealedKind.tradeEvent.rawValue }

    init(_ id: TradeID, _ rows: [OpenedRow]) {
        self.id = id
        for row in rows where Self.holds(row) {
            guard let letter = try? TradeLetter(bytes: row.payload), letter.trade == id else {
                malformedCount += 1
                continue
            }
            letters.append(Letter(id: row.id, author: row.author, time: row.time, letter: letter))
        }
    }

    package var isOpen: Bool { !letters.isEmpty }
}

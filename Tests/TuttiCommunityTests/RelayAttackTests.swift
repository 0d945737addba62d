// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

extension CommunityAttackTests {
    /// Row 51: who syncs with us.
    @Suite("Relays")
    struct Relays {
        /// A way to lie, and what the node calls it; nil: nothing that can be told from bad luck.
        struct Lie: Sendable, CustomTestStringConvertible {
            let name: String
            let violation: SyncViolation?
            let reply: @Sendable (SyncRequest, SyncAnswer, Pen) -> Intruder.Reply
            var testDescription: String { name }
        }

        static let lies: [Lie] = [
            Lie(name: "nodes that don't add up to their root", violation: .garbageTree) { request, answer, _ in
                guard case .roots(let theirs) = request,
                    let children = TreeChildren(bitmap: 1, digests: [TreeDigest(high: 1, low: 2)])
                else { return .answer(answer) }
                var roots = theirs
                (roots.stamp, roots.feeds, roots.feedCount) = (77, Bytes32(words: (1, 1, 1, 1)), 50)
                var parts = SyncParts(stamp: 77)
                parts.feeds = [SyncPart(prefix: .root, content: .children(children))]
                return .answer(.roots(roots, parts))
            },
            Lie(name: "more feeds than a community has", violation: .endlessTree) { request, answer, _ in
                guard case .roots(let theirs) = request else { return .answer(answer) }
                var roots = theirs
                (roots.feeds, roots.feedCount) = (Bytes32(words: (1, 1, 1, 1)), JournalLimits.feedsMax + 1)
                return .answer(.roots(roots, SyncParts(stamp: theirs.stamp)))
            },
            Lie(name: "parts that nobody asked for", violation: .endlessTree) { request, answer, _ in
                guard case .roots(let theirs) = request, let place = SyncPrefix.root.appending(3) else {
                    return .answer(answer)
                }
                var parts = SyncParts(stamp: theirs.stamp)
                parts.feeds = [SyncPart(prefix: place, content: .leaves([]))]
                return .answer(.roots(theirs, parts))
            },
            Lie(name: "another answer than was asked for", violation: .wrongAnswer) { request, answer, _ in
                if case .entries = request { .answer(.accepted) } else { .answer(answer) }
            },
            Lie(name: "entries that nobody asked for", violation: .unasked) { request, answer, pen in
                guard case .entries(let ranges, _, _) = request else { return .answer(answer) }
                return .answer(.entries(ranges.map { _ in pen.entries.filter { $0.header.sequence == .first } }))
            },
            Lie(name: "pages beyond the ranges", violation: .unasked) { request, answer, pen in
                guard case .entries(let ranges, _, _) = request else { return .answer(answer) }
                return .answer(.entries(ranges.map { _ in [] } + [pen.entries]))
            },
            Lie(name: "entries that don't follow each other", violation: .unlinked) { request, answer, pen in
                guard case .entries(let ranges, _, _) = request else { return .answer(answer) }
                return .answer(
                    .entries(
                        ranges.map { range in
                            let bound = range.isNewestFirst ? range.sequences.upperBound : range.sequences.lowerBound
                            guard let first = pen.entries.first(where: { $0.header.sequence == bound }) else {
                                return []
                            }
                            // At the right place, and of no link with the one before.
                            let place = range.isNewestFirst ? bound.previous.previous : bound
                            let stranger = EntryID(Bytes32(words: (4, 4, 4, 4)))
                            let point = FeedPoint(sequence: place, id: stranger)
                            return [first, pen.next(pen.chat("unlinked"), after: point)]
                        }))
            },
            Lie(name: "fewer pages than ranges", violation: .noProgress) { request, answer, _ in
                if case .entries = request { .answer(.entries([])) } else { .answer(answer) }
            },
            Lie(name: "bodies kept back", violation: .bodyMissing) { request, answer, _ in
                guard case .entries = request, case .entries(let pages) = answer else { return .answer(answer) }
                return .answer(.entries(pages.map { $0.map(\.withoutBody) }))
            },
        ]

        @Test("attack_51 A liar is named, asked no more, and holds up nobody", arguments: lies)
        func lie(_ lie: Lie) async throws {
            try await Neighbourhood.run { all in
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    intruder.write { pen in for number in 0..<8 { pen.post("kept back \(number)") } }
                    let pen = intruder.pen
                    intruder.setReplies { request, answer in lie.reply(request, answer, pen) }
                    // A reconciliation, and a claim.
                    try await all.camila.perform(.sync(seconds: 1)) { _ in }
                    try await intruder.claim(intruder.pen.device, head: intruder.pen.point)
                    if let violation = lie.violation {
                        try await until { try await all.camila.count("\(violation)", .violations) >= 1 }
                        let count = intruder.asked.count
                        for _ in 0..<20 { try await intruder.claim(intruder.pen.device, head: intruder.pen.point) }
                        // What was under way then is all that comes.
                        #expect(intruder.asked.count <= count + 2)
                    }
                    // Whatever it says, the other goes on being synchronised with.
                    try await all.expectWhole()
                    #expect(intruder.asked.count < 60)
                }
            }
        }
    }
}

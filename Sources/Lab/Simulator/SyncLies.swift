// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

/// What a liar makes of what its node says in `/tutti/sync/1`: trees that sum nothing up, descents without end, heads of
/// long ago and of never, pages of something else, proofs that nobody signed, ranges and repetitions without end.
///
/// Some of what it says stays as it is, so that others go on listening.
struct SyncLies: Sendable {
    private static let repetitions = 8
    private static let rangesMax = 64

    private(set) var count = 0
    private var draws: DrawStream
    /// What it said of its trees first: later that is long past.
    private var firstRoots: SyncAnswer?
    private var lastEntry: Entry?

    init(draws: DrawStream) { self.draws = draws }

    /// - Returns: what goes out instead, one message or several.
    mutating func lie(_ bytes: ByteBuffer, isAsking: Bool) -> [ByteBuffer] {
        let said = isAsking ? requests(bytes) : answers(bytes)
        guard let said, draws.below(8) < (isAsking ? 4 : 7) else { return [bytes] }
        count += 1
        return said
    }

    // MARK: Requests

    private mutating func requests(_ bytes: ByteBuffer) -> [ByteBuffer]? {
        guard let request = try? SyncWire.decodeRequest(bytes) else { return nil }
        switch request {
        case .hello: return nil
        case .roots(let roots): return [encoded(.roots(garbage(roots)))]
        case .parts(let parts): return [encoded(.parts(garbage(parts)))]
        case .entries(let ranges, let bytesMax, _):
            let endless = ranges.prefix(Self.rangesMax).map {
                SyncRange(device: $0.device, sequences: .first ... .max, isNewestFirst: false, countMax: 1_024)
            }
            return [encoded(.entries(Array(endless), bytesMax: bytesMax, withBodies: true))]
        case .receipts(let receipts):
            return [encoded(.receipts(receipts.map { SyncReceipt(device: $0.device, head: raised($0.head)) }))]
        case .feeds, .governance, .named, .proofs: return Array(repeating: bytes, count: Self.repetitions)
        }
    }

    private func encoded(_ request: SyncRequest) -> ByteBuffer {
        var bytes = ByteBuffer()
        SyncWire.encode(request, into: &bytes)
        return bytes
    }

    // MARK: Answers

    private mutating func answers(_ bytes: ByteBuffer) -> [ByteBuffer]? {
        guard let answer = try? SyncWire.decodeAnswer(bytes) else { return nil }
        var lie: SyncAnswer
        switch answer {
        case .accepted, .refused: return nil
        case .roots(let roots, let parts):
            firstRoots = firstRoots ?? answer
            switch draws.below(3) {
            case 0: lie = firstRoots ?? answer
            case 1: lie = .roots(garbage(roots), parts)
            default: lie = .roots(roots, garbage(parts))
            }
        case .parts(let parts): lie = .parts(garbage(parts))
        case .feeds(let feeds): lie = .feeds(feeds.map { garbage($0) })
        case .entries(let pages):
            lastEntry = pages.last?.last ?? lastEntry
            switch draws.below(4) {
            case 0: lie = .entries(pages.map { _ in [] })
            case 1: lie = .entries(pages.map { $0.reversed() })
            case 2: lie = .entries(pages.reversed())
            default: lie = .entries(pages.map { $0 + $0 })
            }
        case .governance(let entries, let next, _):
            lie =
                draws.below(2) == 0
                ? .governance([], next: next &+ 1, isEnd: false) : .governance(entries, next: 0, isEnd: false)
        case .named(let entries): lie = .named(draws.below(2) == 0 ? [] : entries + entries)
        case .proofs(let proofs): lie = .proofs(proofs.map { falseProof($0.first) ?? $0 })
        }
        // An answer to something else, now and then.
        if draws.below(8) == 0 { lie = lastEntry.flatMap { falseProof($0) }.map { .proofs([$0]) } ?? .feeds([]) }
        var said = ByteBuffer()
        SyncWire.encode(lie, into: &said)
        return [said]
    }

    /// Against the author of an entry, as if it had written a second one.
    private mutating func falseProof(_ entry: Entry) -> FaultProof? { FaultProof(entry, entry.twin(random())) }

    // MARK: Garbage

    private mutating func random() -> Bytes32 {
        Bytes32(words: (draws.next(), draws.next(), draws.next(), draws.next()))
    }

    private mutating func raised(_ sequence: EntrySequence) -> EntrySequence {
        draws.below(2) == 0 ? .max : min(.max, EntrySequence(sequence.value + draws.within(1...3)))
    }

    private mutating func garbage(_ roots: SyncRoots) -> SyncRoots {
        var garbage = roots
        garbage.stamp = draws.next()
        garbage.feeds = random()
        garbage.governance = random()
        if draws.below(2) == 0 { garbage.governanceCount = SyncLimits().governanceMax }
        return garbage
    }

    /// Under a new stamp, so that nothing must fit what was said before.
    private mutating func garbage(_ parts: SyncParts) -> SyncParts {
        var garbage = parts
        garbage.stamp = draws.next()
        garbage.feeds = parts.feeds.map { part in
            switch part.content {
            case .children(let children):
                return SyncPart(prefix: part.prefix, content: .children(self.garbage(children)))
            case .leaves(let leaves):
                return SyncPart(prefix: part.prefix, content: .leaves(leaves.map { self.garbage($0) }))
            case .told(let leaves):
                return SyncPart(prefix: part.prefix, content: .told(leaves.map { self.garbage($0) }))
            }
        }
        garbage.governance = parts.governance.map { part in
            guard case .children(let children) = part.content else {
                return SyncPart(prefix: part.prefix, content: .leaves([]))
            }
            return SyncPart(prefix: part.prefix, content: .children(self.garbage(children)))
        }
        return garbage
    }

    private mutating func garbage(_ children: TreeChildren) -> TreeChildren {
        let digests = children.digests.map { _ in TreeDigest(high: draws.next(), low: draws.next()) }
        return TreeChildren(bitmap: children.bitmap, digests: digests) ?? children
    }

    /// Further than it is, far behind, or frozen.
    private mutating func garbage(_ feed: SyncFeed) -> SyncFeed {
        guard case .held(let low, let head) = feed.state else { return feed }
        switch draws.below(3) {
        case 0:
            let head = FeedPoint(sequence: raised(head.sequence), id: EntryID(random()))
            return SyncFeed(device: feed.device, state: .held(low: low, head: head))
        case 1:
            return SyncFeed(
                device: feed.device, state: .held(low: .first, head: FeedPoint(sequence: .first, id: head.id)))
        default: return SyncFeed(device: feed.device, state: .frozen(at: .first))
        }
    }
}

extension Entry {
    /// The same with a signature that nobody made.
    var forged: Entry {
        Entry(stored: header, signature: signature.map { ~$0 }, content: content)
    }

    /// Another header at the same place, under the signature of this one.
    fileprivate func twin(_ digest: Bytes32) -> Entry {
        let twin = EntryHeader(
            kind: header.kind, isCritical: header.isCritical, retention: header.retention,
            bodyBytesCount: header.bodyBytesCount, sequence: header.sequence, time: header.time,
            community: header.community, device: header.device, previous: header.previous,
            governance: header.governance, bodyDigest: digest)
        return Entry(stored: twin, signature: signature, content: nil)
    }
}

// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// What the peers say.
extension World {
    /// Genuine, forked, skipping, forged, another community's, or an act that it may not do.
    mutating func entry(_ place: Int, _ source: inout ByteSource) -> Entry {
        let kinds = [EntryKind(0x0100), EntryKind(0x0100), EntryKind(0x7777), EntryKind(0x00F0), .acknowledgement]
        let kind = source.pick(kinds)
        let body =
            kind.isGovernance
            ? GovernanceMessage(parents: [founded.link.invite], body: .acknowledgement).encoded : [source.byte()]
        let draft = EntryDraft(
            kind: kind, isCritical: source.bool(), body: body, governance: founded.link.invite)
        let pen = peers[place].pen
        switch source.byte() % 8 {
        case 0: return source.pick(founded.entries + [founded.join, founded.newcomerJoin])
        case 1:
            return pen.next(
                draft, after: FeedPoint(sequence: EntrySequence(UInt64(source.byte() & 7) + 1), id: pen.head.id))
        case 2: return pen.next(draft, as: founded.founder.device)
        case 3: return pen.next(draft, after: founded.entries.last?.point, as: founded.founder.device)
        case 4: return pen.next(draft)
        default:
            let next = pen.next(draft)
            peers[place].pen.head = next.point
            written[next.id] = next
            return next
        }
    }

    mutating func proof(_ place: Int, _ source: inout ByteSource) -> FaultProof? {
        let (one, other) = (entry(place, &source), entry(place, &source))
        return FaultProof(one, other)
    }

    private func device(_ source: inout ByteSource) -> DeviceID {
        source.pick([founded.founder.device, founded.member.device, founded.newcomer.device, key(7).device])
    }

    private func point(_ place: Int, _ source: inout ByteSource) -> FeedPoint {
        let head = peers[place].pen.head
        switch source.byte() % 4 {
        case 0: return head
        case 1: return FeedPoint(sequence: EntrySequence(UInt64(source.byte()) + 1), id: head.id)
        case 2: return founded.entries.last?.point ?? head
        default:
            return FeedPoint(
                sequence: head.sequence.next, id: EntryID(Bytes32(words: (1, 1, 1, UInt64(source.byte())))))
        }
    }

    private func feed(_ place: Int, _ source: inout ByteSource) -> SyncFeed {
        let device = source.byte() & 3 == 0 ? self.device(&source) : peers[place].pen.key.device
        if source.byte() & 15 == 0 {
            return SyncFeed(device: device, state: .frozen(at: EntrySequence(UInt64(source.byte() & 7) + 1)))
        }
        let point = point(place, &source)
        return SyncFeed(device: device, state: .held(low: .first, head: point))
    }

    private func parts(_ place: Int, _ source: inout ByteSource) -> SyncParts {
        var parts = SyncParts(stamp: UInt64(source.byte() & 3))
        for _ in 0..<source.below(3) {
            let prefix = source.bool() ? SyncPrefix.root : SyncPrefix.root.appending(source.below(16)) ?? .root
            switch source.byte() % 4 {
            case 0: parts.feeds.append(SyncPart(prefix: prefix, content: .told([feed(place, &source)])))
            case 1: parts.feeds.append(SyncPart(prefix: prefix, content: .leaves([feed(place, &source)])))
            case 2: parts.governance.append(SyncPart(prefix: prefix, content: .told([founded.newcomerJoin.id])))
            default:
                guard let children = TreeChildren(bitmap: 1, digests: [TreeDigest(high: UInt64(source.byte()), low: 0)])
                else { continue }
                parts.feeds.append(SyncPart(prefix: prefix, content: .children(children)))
            }
        }
        return parts
    }

    private func roots(_ source: inout ByteSource) -> SyncRoots {
        SyncRoots(
            stamp: UInt64(source.byte() & 3), feeds: Bytes32(words: (UInt64(source.byte()), 0, 0, 0)),
            feedCount: Int(source.byte()), governance: Bytes32(words: (UInt64(source.byte()), 0, 0, 0)),
            governanceCount: Int(source.byte()))
    }

    func request(_ place: Int, _ source: inout ByteSource) -> SyncRequest {
        switch source.byte() % 8 {
        case 0: return .roots(roots(&source))
        case 1, 2: return .parts(parts(place, &source))
        case 3: return .feeds([device(&source)])
        case 4:
            let range = SyncRange(
                device: device(&source), sequences: .first ... .max, isNewestFirst: source.bool(),
                countMax: Int(source.byte()))
            return .entries([range], bytesMax: Int(source.word32()), withBodies: source.bool())
        case 5: return .governance(after: source.word64(), countMax: Int(source.byte()), bytesMax: Int(source.word16()))
        case 6: return .named([founded.link.invite], bytesMax: Int(source.word16()))
        default:
            return .receipts([SyncReceipt(device: device(&source), head: EntrySequence(UInt64(source.byte()) + 1))])
        }
    }

    mutating func answer(_ place: Int, _ request: SyncRequest, _ source: inout ByteSource) -> SyncAnswer {
        if source.byte() & 31 == 0 { return .refused(source.pick(SyncRefusal.allCases)) }
        switch request {
        case .hello: return .accepted
        case .roots(let theirs):
            return source.bool()
                ? .roots(theirs, SyncParts(stamp: theirs.stamp)) : .roots(roots(&source), parts(place, &source))
        case .parts: return .parts(parts(place, &source))
        case .feeds(let devices):
            return .feeds(devices.map { SyncFeed(device: $0, state: .held(low: .first, head: point(place, &source))) })
        case .entries(let ranges, _, _):
            return .entries(ranges.map { range in page(place, range, &source) })
        case .governance(let after, _, _):
            let entries = source.bool() ? [founded.newcomerJoin] : founded.entries + [entry(place, &source)]
            return .governance(entries, next: after &+ UInt64(source.byte()), isEnd: source.bool())
        case .named(let ids, _):
            let known = (founded.entries + [founded.join, founded.newcomerJoin] + written.values).filter {
                ids.contains($0.id)
            }
            return .named(known.sorted { $0.id < $1.id })
        case .proofs, .receipts:
            let proof = proof(place, &source)
            return .proofs(proof.map { [$0] } ?? [])
        }
    }

    /// Mostly what was asked for, as far as the peer has written it.
    private mutating func page(_ place: Int, _ range: SyncRange, _ source: inout ByteSource) -> [Entry] {
        if source.byte() & 7 == 0 { return [entry(place, &source)] }
        var page = written.values.filter {
            $0.header.device == range.device && range.sequences.contains($0.header.sequence)
        }
        page.sort { $0.header.sequence < $1.header.sequence }
        if range.isNewestFirst { page.reverse() }
        return Array(page.prefix(range.countMax))
    }
}

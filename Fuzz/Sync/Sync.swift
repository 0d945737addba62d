// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

/// The codec of `/tutti/sync/1`, and SyncCore before peers that say anything. The first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    if source.byte() % 3 == 0 { fuzzWire(&source) } else { fuzzCore(&source) }
    return 0
}

@_cdecl("Sync_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

// MARK: Codec

func bytes(_ request: SyncRequest) -> ByteBuffer {
    var buffer = ByteBuffer()
    SyncWire.encode(request, into: &buffer)
    return buffer
}

func bytes(_ answer: SyncAnswer) -> ByteBuffer {
    var buffer = ByteBuffer()
    SyncWire.encode(answer, into: &buffer)
    return buffer
}

func fuzzWire(_ source: inout ByteSource) {
    let isRequest = source.bool()
    let message = ByteBuffer(bytes: source.rest())
    if isRequest {
        guard let request = try? SyncWire.decodeRequest(message) else { return }
        require(bytes(request) == message, "a request has one encoding")
    } else {
        guard let answer = try? SyncWire.decodeAnswer(message) else { return }
        require(bytes(answer) == message, "an answer has one encoding")
    }
}

// MARK: Core

let community = CommunityID(Bytes32(words: (7, 7, 7, 7)))
let signature = [UInt8](repeating: 0, count: Entry.signatureBytesCount)
let peers: [PeerID] = (0..<4).map { KeyPair(seed: Bytes32(words: ($0, 1, 1, 1))).publicKey.peerID }

/// Few names, some of which agree in many nibbles.
func name(_ source: inout ByteSource) -> Bytes32 {
    let byte = UInt64(source.byte())
    return Bytes32(words: (byte & 3 == 0 ? byte << 56 : 0, 0, 0, byte))
}

func entry(_ source: inout ByteSource, device: DeviceID, sequence: EntrySequence, previous: EntryID) -> Entry {
    let content = Entry.Content(salt: .zero, body: [source.byte() & 1])
    let header = EntryHeader(
        kind: EntryKind(source.bool() ? 1 : 0x0100), isCritical: false, retention: .permanent, bodyBytesCount: 1,
        sequence: sequence, time: HybridTime(UInt64(source.byte())), community: community, device: device,
        previous: sequence == .first ? .none : previous, governance: .none, bodyDigest: content.digest)
    return Entry(stored: header, signature: signature, content: source.byte() == 0 ? nil : content)
}

func sequence(_ source: inout ByteSource) -> EntrySequence {
    EntrySequence(UInt64(source.byte() & 15) + 1)
}

func feed(_ source: inout ByteSource) -> SyncFeed {
    let device = DeviceID(name(&source))
    if source.byte() & 7 == 0 { return SyncFeed(device: device, state: .frozen(at: sequence(&source))) }
    let head = sequence(&source)
    let low = EntrySequence(min(sequence(&source).value, head.value + 1))
    return SyncFeed(
        device: device, state: .held(low: low, head: FeedPoint(sequence: head, id: EntryID(name(&source)))))
}

func parts(_ source: inout ByteSource, asked: SyncParts) -> SyncParts {
    var parts = SyncParts(stamp: UInt64(source.byte() & 3))
    parts.deferredCount = source.byte() == 0 ? Int(source.byte()) : 0
    var places = [SyncPrefix.root] + asked.feeds.map(\.prefix) + asked.governance.map(\.prefix)
    places += places.compactMap { $0.appending(source.below(16)) }
    for _ in 0..<source.below(6) {
        let place = source.pick(places)
        switch source.byte() % 4 {
        case 0:
            let digests = (0..<source.below(4)).map { _ in TreeDigest(high: UInt64(source.byte()), low: 0) }
            let bitmap = (UInt16(1) << UInt16(digests.count)) - 1
            guard let children = TreeChildren(bitmap: bitmap, digests: digests) else { continue }
            parts.feeds.append(SyncPart(prefix: place, content: .children(children)))
            parts.governance.append(SyncPart(prefix: place, content: .children(children)))
        case 1:
            let feeds = (0..<source.below(5)).map { _ in feed(&source) }
            parts.feeds.append(SyncPart(prefix: place, content: .leaves(feeds)))
        case 2:
            let ids = (0..<source.below(5)).map { _ in EntryID(name(&source)) }
            parts.governance.append(SyncPart(prefix: place, content: .leaves(ids)))
        default:
            parts.feeds.append(SyncPart(prefix: place, content: .told([feed(&source)])))
        }
    }
    return parts
}

func roots(_ source: inout ByteSource, like own: SyncRoots) -> SyncRoots {
    if source.bool() { return own }
    return SyncRoots(
        stamp: UInt64(source.byte() & 3), feeds: name(&source), feedCount: Int(source.byte()),
        governance: own.governance,
        governanceCount: Int(source.byte()))
}

func answer(_ source: inout ByteSource, to request: SyncRequest, own: SyncRoots) -> SyncAnswer {
    if source.byte() & 31 == 0 { return .refused(source.pick(SyncRefusal.allCases)) }
    switch request {
    case .hello: return .accepted
    case .roots: return .roots(roots(&source, like: own), parts(&source, asked: SyncParts(stamp: 0)))
    case .parts(let asked): return .parts(parts(&source, asked: asked))
    case .feeds(let devices):
        var feeds: [SyncFeed] = []
        for device in devices where source.bool() {
            var told = feed(&source)
            told.device = device
            feeds.append(told)
        }
        return .feeds(feeds)
    case .entries(let ranges, _, _):
        var pages: [[Entry]] = []
        for range in ranges.prefix(source.bool() ? ranges.count : source.below(ranges.count + 1)) {
            var page: [Entry] = []
            var place = range.isNewestFirst ? range.sequences.upperBound : range.sequences.lowerBound
            for _ in 0..<source.below(4) where place >= .first && place <= .max {
                page.append(
                    entry(&source, device: range.device, sequence: place, previous: page.last?.id ?? .none))
                place = range.isNewestFirst ? place.previous : place.next
            }
            pages.append(page)
        }
        return .entries(pages)
    case .governance(let after, _, _):
        let listed = (0..<source.below(4)).map { _ in
            entry(&source, device: DeviceID(name(&source)), sequence: sequence(&source), previous: .none)
        }
        return .governance(listed, next: after &+ UInt64(source.byte()), isEnd: source.bool())
    case .named:
        return .named([entry(&source, device: DeviceID(name(&source)), sequence: .first, previous: .none)])
    case .proofs, .receipts: return .proofs([])
    }
}

func request(_ source: inout ByteSource, own: SyncRoots) -> SyncRequest {
    let device = DeviceID(name(&source))
    switch source.byte() % 9 {
    case 0: return .hello(SyncHello(community: community, device: device, signature: signature, join: nil))
    case 1: return .roots(roots(&source, like: own))
    case 2: return .parts(parts(&source, asked: SyncParts(stamp: 0)))
    case 3: return .feeds([device, device])
    case 4:
        let low = sequence(&source)
        let high = max(low, sequence(&source))
        let range = SyncRange(device: device, sequences: low...high, isNewestFirst: source.bool(), countMax: 3)
        return .entries([range, range], bytesMax: Int(source.word16()), withBodies: source.bool())
    case 5: return .governance(after: source.word64(), countMax: Int(source.byte()), bytesMax: Int(source.byte()))
    case 6: return .named([EntryID(name(&source))], bytesMax: 0)
    case 7: return .proofs([device])
    default: return .receipts([SyncReceipt(device: device, head: sequence(&source))])
    }
}

struct World {
    var core: SyncCore
    var asked: [RequestID: (PeerID, SyncRequest)] = [:]
    var loads: [(SyncLoadID, JournalQuery)] = []
    var batches: [SyncBatch] = []
    var proofs: [SyncBatchID] = []
    var judging: [PeerID] = []
    var served: Set<RequestID> = []
    let limits: SyncLimits

    mutating func drain() {
        var count = 0
        while let effect = core.nextEffect() {
            count += 1
            require(count < 20_000, "effects end")
            switch effect {
            case .send(let id, let peer, let request):
                require(bytes(request).readableBytes <= limits.messageBytesMax, "a request fits")
                if case .receipts = request { continue }
                require(asked.updateValue((peer, request), forKey: id) == nil, "a request has a name of its own")
            case .cancel(let id): require(asked.removeValue(forKey: id) != nil, "only what is under way is cancelled")
            case .answer(let id, let answer):
                require(served.remove(id) != nil, "one answer each")
                require(bytes(answer).readableBytes <= limits.messageBytesMax, "an answer fits")
            case .judge(let peer, _): judging.append(peer)
            case .load(let query, let id): loads.append((id, query))
            case .received(let batch):
                require(!batch.entries.isEmpty, "a batch has entries")
                batches.append(batch)
            case .receivedProofs(let id, _, _): proofs.append(id)
            case .receipted, .emit: continue
            }
        }
        require(core.bytesUnderWay <= limits.unsettledBytesMax + 4 * limits.messageBytesMax, "bytes are limited")
        require(core.readsUnderWay <= limits.servedMax, "reads are limited")
        require(core.requestsUnderWay == asked.count, "requests are known")
    }
}

func fuzzCore(_ source: inout ByteSource) {
    var configuration = SyncConfiguration()
    if source.bool() {
        configuration.limits.governanceWantedMax = 3
        configuration.limits.missingMax = 2
        configuration.limits.queriesMax = 2
        configuration.limits.leavesPerPartMax = 4
        configuration.limits.tripsMax = 4
        configuration.limits.remembered = 2
        configuration.limits.servedMax = 2
        configuration.limits.peersMax = 2
        configuration.limits.receiptsWaitingMax = 1
        configuration.depthMax = 3
    }
    var world = World(
        core: SyncCore(configuration: configuration, seed: 1, own: peers[0], community: community),
        limits: configuration.limits)
    var now = Instant.zero
    var steps = 0
    while !source.isEmpty, steps < 1_500 {
        steps += 1
        let peer = peers[1 + source.below(3)]
        switch source.byte() % 16 {
        case 0:
            let hello = SyncHello(community: community, device: DeviceID(.zero), signature: signature, join: nil)
            world.core.handle(.peerReady(peer, hello), at: now)
        case 1:
            world.core.handle(.peerGone(peer), at: now)
            world.judging.removeAll { $0 == peer }
        case 2:
            guard let judged = world.judging.popLast() else {
                let audience: SyncAudience = source.bool() ? .all : .governance
                world.core.handle(.audienceChanged(peer, audience), at: now)
                break
            }
            let choice = source.byte()
            world.core.handle(
                .judged(judged, choice & 7 == 0 ? .notMember : nil, choice & 8 == 0 ? .all : .governance), at: now)
        case 3:
            let told = feed(&source)
            guard case .held(let low, let head) = told.state else { continue }
            let record = FeedRecord(device: told.device, low: low, head: head, isFrozen: source.byte() & 15 == 0)
            world.core.handle(.feedsChanged([record]), at: now)
        case 4:
            let id = EntryID(name(&source))
            if source.byte() & 3 == 0 {
                world.core.handle(.missingChanged(source.bool() ? [id, EntryID(name(&source))] : []), at: now)
                break
            }
            world.core.handle(.governanceChanged(added: source.bool() ? [id] : [], removed: [id]), at: now)
        case 5:
            guard !world.batches.isEmpty else { continue }
            let batch = world.batches.remove(at: source.below(world.batches.count))
            if source.bool() {
                world.core.handle(.governanceChanged(added: batch.entries.map(\.id), removed: []), at: now)
            }
            let outcome = source.pick([SyncOutcome.stored, .stored, .refused, .forged])
            world.core.handle(.settled(batch.id, outcome), at: now)
        case 6:
            guard let id = world.proofs.popLast() else { continue }
            world.core.handle(.settled(id, .stored), at: now)
        case 7:
            guard !world.loads.isEmpty else { continue }
            let (id, query) = world.loads.remove(at: source.below(world.loads.count))
            let found = (0..<source.below(3)).map { _ in
                StoredEntry(
                    entry(&source, device: DeviceID(name(&source)), sequence: .first, previous: .none),
                    firstSeen: HybridTime(0))
            }
            if source.byte() & 7 == 0 {
                world.core.handle(.loaded(id, .failed(.damaged)), at: now)
            } else if case .governance(let after, _) = query {
                world.core.handle(.loaded(id, .arrivals(found, last: after &+ UInt64(found.count))), at: now)
            } else {
                world.core.handle(.loaded(id, .entries(found)), at: now)
            }
        case 8:
            now = now + .milliseconds(Int64(source.word16()) * (source.bool() ? 10 : 1))
            var turns = 0
            while let due = world.core.nextTimeout, due <= now, turns < 4 {
                world.core.handleTimeout(at: now)
                turns += 1
            }
            require(world.core.nextTimeout.map { $0 > now } ?? true, "a timeout moves on")
        case 9: world.core.handle(.wanted(DeviceID(name(&source)), from: source.bool() ? peer : nil), at: now)
        case 10:
            let id = RequestID(UInt64(1_000_000 + steps))
            let request = request(&source, own: world.core.roots())
            if case .receipts = request {} else { world.served.insert(id) }
            world.core.handle(.asked(id, by: peer, request), at: now)
        case 11:
            world.core.handle(
                .receiptsDue(peer, [SyncReceipt(device: DeviceID(name(&source)), head: sequence(&source))]), at: now)
        case 12: world.core.handle(source.bool() ? .syncRequested : .peerExcluded(peer), at: now)
        default:
            let ids = world.asked.keys.sorted()
            guard !ids.isEmpty else { continue }
            let id = source.pick(ids)
            guard let (_, request) = world.asked.removeValue(forKey: id) else { continue }
            switch source.byte() % 32 {
            case 0: world.core.handle(.requestFailed(id), at: now)
            case 1: world.core.handle(.answerMalformed(id), at: now)
            default: world.core.handle(.answered(id, answer(&source, to: request, own: world.core.roots())), at: now)
            }
        }
        world.drain()
    }
    for peer in peers.dropFirst() { world.core.handle(.peerGone(peer), at: now) }
    world.drain()
    for batch in world.batches { world.core.handle(.settled(batch.id, .stored), at: now) }
    for id in world.proofs { world.core.handle(.settled(id, .stored), at: now) }
    world.drain()
    require(world.asked.isEmpty && world.core.claimCount == 0, "nothing is claimed when all have gone")
    require(world.core.bytesUnderWay == 0, "all bytes are accounted for")
}

// SPDX-License-Identifier: Apache-2.0
import DequeModule
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

let syncCommunity = CommunityID(Bytes32(words: (7, 7, 7, 7)))

func syncPeer(_ number: Int) -> PeerID {
    KeyPair(seed: Bytes32(words: (UInt64(number), 1, 1, 1))).publicKey.peerID
}

/// Nobody in these tests checks a signature: one of ones is a false one, all others are good.
let goodSignature = [UInt8](repeating: 0, count: Entry.signatureBytesCount)
let falseSignature = [UInt8](repeating: 1, count: Entry.signatureBytesCount)

func syncEntry(
    _ device: DeviceID, _ sequence: UInt64, after previous: EntryID, kind: UInt16 = 0x0100, time: UInt64 = 0,
    body: [UInt8] = [1, 2, 3], signature: [UInt8] = goodSignature
) -> Entry {
    let content = Entry.Content(salt: .zero, body: body)
    let header = EntryHeader(
        kind: EntryKind(kind), isCritical: false, retention: .permanent, bodyBytesCount: body.count,
        sequence: EntrySequence(sequence), time: HybridTime(milliseconds: time), community: syncCommunity,
        device: device, previous: previous, governance: .none, bodyDigest: content.digest)
    return Entry(stored: header, signature: signature, content: content)
}

/// `count` entries on top of a point; every `governanceEvery`th is governance.
func syncChain(
    _ device: DeviceID, count: Int, from start: FeedPoint = .start, governanceEvery: Int = 0, time: UInt64 = 0,
    body: [UInt8] = [1, 2, 3]
) -> [Entry] {
    var entries: [Entry] = []
    var previous = start
    for place in 0..<count {
        let isGovernance = governanceEvery > 0 && place % governanceEvery == 0
        let entry = syncEntry(
            device, previous.sequence.next.value, after: previous.id, kind: isGovernance ? 1 : 0x0100,
            time: time + UInt64(place), body: body)
        entries.append(entry)
        previous = entry.point
    }
    return entries
}

struct SyncTestFeed {
    var record: FeedRecord
    var entries: [EntrySequence: Entry] = [:]
}

/// One replica: SyncCore, and a disk and a JournalCore of the simplest kind.
struct SyncTestNode {
    let peer: PeerID
    var core: SyncCore
    var feeds: [DeviceID: SyncTestFeed] = [:]
    var governance: [Entry] = []
    var held: Set<EntryID> = []
    var proofs: [DeviceID: FaultProof] = [:]
    /// Batches that wait for the disk; nil: they are settled at once.
    var waiting: [SyncBatch]?
    /// Devices of which nothing is taken.
    var strangers: Set<DeviceID> = []
    var refuses: Set<PeerID> = []
    /// Those that may ask for less than all.
    var restricted: Set<PeerID> = []
    var events: [SyncEvent] = []
    var receipts: [SyncReceipt] = []
    var receivedCount = 0
    var receivedIDs: [EntryID: Int] = [:]

    init(_ number: Int, _ configuration: SyncConfiguration = SyncConfiguration()) {
        peer = syncPeer(number)
        core = SyncCore(
            configuration: configuration, seed: UInt64(number) + 1, own: peer, community: syncCommunity)
    }

    var entryCount: Int { feeds.values.reduce(0) { $0 + $1.entries.count } }

    mutating func write(_ entries: [Entry], at now: Instant = .zero) { take(entries, isDoor: .sync, at: now) }

    /// False: something was not taken.
    @discardableResult
    mutating func take(_ entries: [Entry], isDoor door: JournalSource.Door, at now: Instant) -> Bool {
        var changed: [DeviceID: Bool] = [:]
        var added: [EntryID] = []
        var isAllTaken = true
        for entry in entries {
            guard !strangers.contains(entry.header.device) else {
                isAllTaken = false
                continue
            }
            if entry.header.kind.isGovernance, held.insert(entry.id).inserted {
                governance.append(entry)
                added.append(entry.id)
            }
            if door == .sync, attach(entry) { changed[entry.header.device] = true }
        }
        let devices = changed.keys.sorted()
        core.handle(.proofsChanged(devices.compactMap { proofs[$0] }), at: now)
        core.handle(.feedsChanged(devices.compactMap { feeds[$0]?.record }), at: now)
        if !added.isEmpty { core.handle(.governanceChanged(added: added, removed: []), at: now) }
        return isAllTaken
    }

    private mutating func attach(_ entry: Entry) -> Bool {
        let (device, point) = (entry.header.device, entry.point)
        guard var feed = feeds[device] else {
            let record = FeedRecord(device: device, low: point.sequence, head: point, isFrozen: false)
            feeds[device] = SyncTestFeed(record: record, entries: [point.sequence: entry])
            return true
        }
        guard !feed.record.isFrozen else { return false }
        if let head = feed.entries[feed.record.head.sequence], let proof = FaultProof(head, entry) {
            return freeze(proof)
        }
        if point.sequence == feed.record.head.sequence.next, entry.header.previous == feed.record.head.id {
            feed.record.head = point
        } else if point.sequence.next == feed.record.low, feed.entries[feed.record.low]?.header.previous == point.id {
            feed.record.low = point.sequence
        } else {
            return false
        }
        feed.entries[point.sequence] = entry
        feeds[device] = feed
        return true
    }

    @discardableResult
    mutating func freeze(_ proof: FaultProof) -> Bool {
        if let held = proofs[proof.device], !proof.precedes(held) { return false }
        proofs[proof.device] = proof
        let head = FeedPoint(sequence: proof.sequence, id: proof.first.id)
        let record = FeedRecord(device: proof.device, low: proof.sequence, head: head, isFrozen: true)
        feeds[proof.device, default: SyncTestFeed(record: record)].record.isFrozen = true
        return true
    }

    mutating func settle(_ batch: SyncBatch, at now: Instant) {
        let good = batch.entries.filter { $0.signature != falseSignature }
        let isAllTaken = take(good, isDoor: batch.door, at: now)
        let outcome: SyncOutcome = good.count < batch.entries.count ? .forged : isAllTaken ? .stored : .refused
        core.handle(.settled(batch.id, outcome), at: now)
    }

    func read(_ query: JournalQuery) -> JournalAnswer {
        func stored(_ entries: [Entry]) -> [StoredEntry] { entries.map { StoredEntry($0, firstSeen: HybridTime(0)) } }
        switch query {
        case .feed(let device, let range, let newestFirst, let countMax, let bytesMax):
            let all = (feeds[device]?.entries.values).map(Array.init) ?? []
            let sorted = all.filter { range.contains($0.header.sequence) }.sorted {
                newestFirst ? $0.header.sequence > $1.header.sequence : $0.header.sequence < $1.header.sequence
            }
            var page: [Entry] = []
            var bytes = 0
            for entry in sorted.prefix(countMax) {
                bytes += entry.encodedBytesCount
                if !page.isEmpty, bytes > bytesMax { break }
                page.append(entry)
            }
            return .entries(stored(page))
        case .governance(let after, let countMax):
            let page = governance.dropFirst(Int(after)).prefix(countMax)
            return .arrivals(stored(Array(page)), last: after + UInt64(page.count))
        case .entries(let ids):
            let wanted = Set(ids)
            let others = feeds.values.flatMap { $0.entries.values }.filter { !$0.header.kind.isGovernance }
            return .entries(stored((governance + others).filter { wanted.contains($0.id) }))
        default: return .failed(.failed("not here"))
        }
    }
}

/// Replicas and the streams between them, in memory. Every message goes through its bytes.
struct SyncWorld {
    enum Message {
        case request(Int, Int, RequestID, ByteBuffer)
        case answer(Int, RequestID, ByteBuffer)
    }

    var nodes: [SyncTestNode]
    var now = Instant.zero
    var queue = Deque<Message>()
    var links: Set<[Int]> = []
    /// What a node says instead; nil: nothing, ever.
    var lies: [Int: (SyncRequest, SyncAnswer) -> SyncAnswer?] = [:]
    private var servings: [RequestID: (asker: Int, id: RequestID, request: SyncRequest)] = [:]
    private var nextServing: UInt64 = 0
    // Figures.
    var messageCount = 0
    var requestCount = 0
    var bytes = 0
    var entryBytes = 0
    var bytesUnderWayMax = 0
    var answersTo: [Int: Int] = [:]

    init(_ count: Int, _ configuration: SyncConfiguration = SyncConfiguration()) {
        nodes = (0..<count).map { SyncTestNode($0, configuration) }
    }

    func number(_ peer: PeerID) -> Int { nodes.firstIndex { $0.peer == peer } ?? 0 }

    mutating func connect(_ one: Int, _ other: Int) {
        links.insert([min(one, other), max(one, other)])
        for (own, remote) in [(one, other), (other, one)] {
            let hello = SyncHello(
                community: syncCommunity, device: DeviceID(Bytes32(words: (9, 9, 9, UInt64(own)))),
                signature: goodSignature, join: nil)
            nodes[own].core.handle(.peerReady(nodes[remote].peer, hello), at: now)
            drain(own)
        }
    }

    /// Everything under way between the two is lost.
    mutating func disconnect(_ one: Int, _ other: Int) {
        links.remove([min(one, other), max(one, other)])
        let pair: Set<Int> = [one, other]
        queue = queue.filter { message in
            switch message {
            case .request(let from, let to, _, _): Set([from, to]) != pair
            case .answer: true
            }
        }
        if nodes.count == 2 { queue.removeAll() }
        for (own, remote) in [(one, other), (other, one)] {
            nodes[own].core.handle(.peerGone(nodes[remote].peer), at: now)
            drain(own)
        }
    }

    mutating func handle(_ node: Int, _ input: SyncInput) {
        nodes[node].core.handle(input, at: now)
        drain(node)
    }

    private mutating func drain(_ node: Int) {
        while let effect = nodes[node].core.nextEffect() {
            switch effect {
            case .send(let id, let peer, let request):
                var buffer = ByteBuffer()
                SyncWire.encode(request, into: &buffer)
                queue.append(.request(node, number(peer), id, buffer))
            case .answer(let id, let answer): say(node, id, answer)
            case .judge(let peer, _):
                let refusal: SyncRefusal? = nodes[node].refuses.contains(peer) ? .notMember : nil
                let audience: SyncAudience = nodes[node].restricted.contains(peer) ? .governance : .all
                nodes[node].core.handle(.judged(peer, refusal, audience), at: now)
            case .load(let query, let id):
                nodes[node].core.handle(.loaded(id, nodes[node].read(query)), at: now)
            case .received(let batch):
                bytesUnderWayMax = max(bytesUnderWayMax, nodes[node].core.bytesUnderWay)
                nodes[node].receivedCount += batch.entries.count
                for entry in batch.entries where batch.door == .sync {
                    nodes[node].receivedIDs[entry.id, default: 0] += 1
                }
                if nodes[node].waiting != nil {
                    nodes[node].waiting?.append(batch)
                } else {
                    nodes[node].settle(batch, at: now)
                }
            case .receivedProofs(let id, let proofs, _):
                for proof in proofs { nodes[node].freeze(proof) }
                let records = proofs.compactMap { nodes[node].feeds[$0.device]?.record }
                nodes[node].core.handle(.proofsChanged(proofs), at: now)
                nodes[node].core.handle(.feedsChanged(records), at: now)
                nodes[node].core.handle(.settled(id, .stored), at: now)
            case .receipted(_, let receipts): nodes[node].receipts += receipts
            case .emit(let event): nodes[node].events.append(event)
            case .cancel: continue
            }
        }
    }

    private mutating func say(_ node: Int, _ id: RequestID, _ truth: SyncAnswer) {
        guard let serving = servings.removeValue(forKey: id) else { return }
        answersTo[serving.asker, default: 0] += 1
        guard let answer = lies[node].map({ $0(serving.request, truth) }) ?? truth else { return }
        var buffer = ByteBuffer()
        SyncWire.encode(answer, into: &buffer)
        queue.append(.answer(serving.asker, serving.id, buffer))
        func count(_ entries: [Entry]) -> Int { entries.reduce(0) { $0 + $1.encodedBytesCount } }
        switch answer {
        case .entries(let pages): for page in pages { entryBytes += count(page) }
        case .governance(let entries, _, _), .named(let entries): entryBytes += count(entries)
        default: break
        }
    }

    /// Delivers one message; false: none is under way.
    mutating func step() throws -> Bool {
        guard let message = queue.popFirst() else { return false }
        messageCount += 1
        switch message {
        case .request(let from, let to, let id, let buffer):
            bytes += buffer.readableBytes + 3
            requestCount += 1
            nextServing += 1
            let request = try SyncWire.decodeRequest(buffer)
            servings[RequestID(nextServing)] = (from, id, request)
            handle(to, .asked(RequestID(nextServing), by: nodes[from].peer, request))
        case .answer(let to, let id, let buffer):
            bytes += buffer.readableBytes + 3
            do {
                let answer = try SyncWire.decodeAnswer(buffer)
                handle(to, .answered(id, answer))
            } catch {
                handle(to, .answerMalformed(id))
            }
        }
        return true
    }

    /// Until nothing is under way and no timer is due for `time`.
    mutating func run(for time: Duration = .zero, stepsMax: Int = 200_000) throws {
        let end = now + time
        for _ in 0..<stepsMax {
            if try step() { continue }
            guard let next = nodes.compactMap(\.core.nextTimeout).min(), next <= end else {
                now = end
                return
            }
            now = max(now, next)
            for node in nodes.indices where nodes[node].core.nextTimeout.map({ $0 <= now }) ?? false {
                nodes[node].core.handleTimeout(at: now)
                drain(node)
            }
        }
        Issue.record("the world doesn't come to rest")
    }

    func areEqual() -> Bool {
        var copies = nodes
        let all = copies.indices.map { copies[$0].core.roots() }
        return all.allSatisfy { $0.feeds == all[0].feeds && $0.governance == all[0].governance }
    }

    /// The feeds, whole.
    func contents(_ node: Int) -> [DeviceID: [EntryID]] {
        nodes[node].feeds.mapValues { feed in feed.entries.keys.sorted().compactMap { feed.entries[$0]?.id } }
    }

    func violations(_ node: Int) -> [SyncViolation] {
        nodes[node].events.compactMap { if case .violated(_, let violation) = $0 { violation } else { nil } }
    }
}

func syncDevice(_ number: Int) -> DeviceID {
    var random = SeededGenerator(seed: UInt64(number) &* 7_919 &+ 11)
    return DeviceID(Bytes32(words: (random.next(), random.next(), random.next(), random.next())))
}

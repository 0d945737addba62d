// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiJournal

/// One core with a disk, three authors who may fork, and a driver that answers late, in any order, or with refusals.
struct Journal {
    private static let own: UInt64 = 9

    private var core: JournalCore
    private var now = Instant.zero
    private var held: [EntryID: StoredEntry] = [:]
    private var feeds: [DeviceID: FeedRecord] = [:]
    /// What was said to be on disk, of our own: one header for each number.
    private var published: [EntrySequence: EntryID] = [:]
    private var made: [Entry] = []
    private var verifies: [([Entry], RequestID)] = []
    private var writes: [(JournalBatch, RequestID)] = []
    private var loads: [(JournalQuery, RequestID)] = []
    private var owed: Set<RequestID> = []
    private var appends: Set<RequestID> = []
    private var lastRequest: UInt64 = 0
    private let authors = [Writer(0), Writer(1), Writer(2), Writer(Self.own)]

    init(_ source: inout ByteSource) {
        var configuration = JournalConfiguration()
        configuration.limits.waitingMax = source.pick([16_384, 4])
        configuration.limits.waitingPerPeerMax = source.pick([2_048, 2])
        configuration.limits.heldMax = source.pick([2_048, 3])
        configuration.limits.heldPerDeviceMax = source.pick([64, 1])
        configuration.limits.lookupsMax = source.pick([512, 1])
        configuration.limits.verifyBatchMax = source.pick([512, 1])
        configuration.limits.persistBatchMax = source.pick([2_048, 2])
        configuration.limits.recentIDsMax = source.pick([16_384, 1])
        configuration.limits.sparseMax = source.pick([65_536, 1])
        core = JournalCore(
            community: Writer.community, own: source.bool() ? authors[3].key : nil, configuration: configuration,
            keys: .seeded(SeededGenerator(seed: 1)), opening: JournalOpening(), milliseconds: 1 << 40, at: now)
    }

    mutating func run(_ source: inout ByteSource) {
        var steps = 0
        while !source.isEmpty, steps < 200 {
            steps += 1
            step(&source)
            drain()
        }
        // Everything is answered in the end, however long it takes.
        var rounds = 0
        while rounds < 1_000, !(owed.isEmpty && appends.isEmpty && verifies.isEmpty && writes.isEmpty && loads.isEmpty)
        {
            rounds += 1
            while !verifies.isEmpty { verify(0) }
            while !writes.isEmpty { write(0, isRefused: false) }
            while !loads.isEmpty { load(0, isRefused: false) }
            advance(.seconds(61))
        }
        require(owed.isEmpty, "each delivery is judged")
        require(appends.isEmpty, "each append is answered")
        require(core.feeds == feeds.values.sorted { $0.device < $1.device }, "feeds are what is on disk")
    }

    private mutating func step(_ source: inout ByteSource) {
        switch source.byte() % 12 {
        case 0, 1, 2: receive(&source)
        case 3: if !verifies.isEmpty { verify(source.below(verifies.count)) }
        case 4: if !writes.isEmpty { write(0, isRefused: source.below(4) == 1) }
        case 5: if !loads.isEmpty { load(source.below(loads.count), isRefused: source.below(4) == 1) }
        case 6: append(&source)
        case 7: changeRoster(&source)
        case 8: advance(source.pick([.milliseconds(20), .seconds(1), .seconds(61), .seconds(3_600)]))
        case 9: proofs(&source)
        case 10: core.handle(.clockRead(milliseconds: source.word64() >> source.pick([0, 16, 24])), at: now)
        default:
            let id = RequestID(source.word64() % 64)
            switch source.below(6) {
            case 0: core.handle(.verified(id, []), at: now)
            case 5: core.handle(.missingChanged(made.filter { _ in source.bool() }.map(\.id)), at: now)
            case 1: core.handle(.folded(id, rows: []), at: now)
            case 2: core.handle(.introduced(id, [true]), at: now)
            case 3: core.handle(.peerDisconnected(PeerIndex(UInt32(source.below(4)))), at: now)
            default:
                let head = EntrySequence(UInt64(source.byte()))
                let record = ReceiptRecord(
                    device: authors[3].device, holder: authors[source.below(3)].key.peerID, head: head)
                core.handle(.receiptReceived(record), at: now)
            }
        }
    }

    private mutating func request() -> RequestID {
        lastRequest += 1
        return RequestID(lastRequest)
    }

    private func source(_ source: inout ByteSource) -> JournalSource {
        JournalSource(
            peer: PeerIndex(UInt32(source.below(4))), door: source.pick([.gossip, .sync, .governanceSync]))
    }

    private mutating func receive(_ source: inout ByteSource) {
        var entries: [Entry] = []
        for _ in 0...source.below(4) {
            if source.bool(), !made.isEmpty {
                entries.append(made[source.below(made.count)])
                continue
            }
            let author = authors[source.below(4)]
            let previous = source.bool() ? made.last?.id ?? .none : EntryID(.zero)
            let entry = author.entry(
                UInt64(1 + source.below(5)), previous: previous, kind: source.pick([0x200, 0x10, 0x2]),
                retention: source.pick([.permanent, .day]), milliseconds: UInt64(source.byte()) << 33,
                community: source.below(16) == 1 ? CommunityID(Bytes32(words: (1, 0, 0, 0))) : Writer.community,
                body: [source.byte()])
            made.append(entry)
            var signature = entry.signature
            if source.below(8) == 1 { signature[3] ^= 1 }
            let content = source.below(8) == 1 ? nil : entry.content
            entries.append(Entry(stored: entry.header, signature: signature, content: content))
        }
        let id = request()
        owed.insert(id)
        core.handle(.received(id, entries, from: self.source(&source)), at: now)
    }

    private mutating func proofs(_ source: inout ByteSource) {
        guard made.count > 1 else { return }
        let (one, other) = (made[source.below(made.count)], made[source.below(made.count)])
        guard let proof = FaultProof(one, other) else { return }
        let id = request()
        owed.insert(id)
        core.handle(.proofsReceived(id, [proof], from: self.source(&source)), at: now)
    }

    private mutating func append(_ source: inout ByteSource) {
        let id = request()
        appends.insert(id)
        let sequence = source.below(4) == 1 ? core.nextOwnSequence : nil
        let draft = EntryDraft(
            kind: EntryKind(source.pick([0x200, 0x10])), body: [source.byte()], governance: .none, sequence: sequence)
        core.handle(.appendRequested(id, Array(repeating: draft, count: source.below(3))), at: now)
    }

    private mutating func changeRoster(_ source: inout ByteSource) {
        var roster = Roster()
        roster.introducing = source.bool() ? [EntryKind(2)] : []
        for author in authors where source.below(4) != 1 {
            var cut: FeedPoint?
            if source.below(4) == 1 {
                cut = source.bool() ? made.last?.point : FeedPoint(sequence: EntrySequence(2), id: EntryID(.zero))
            }
            roster.devices[author.device] = Roster.Device(
                member: MemberID(author.device.bytes), quotaBytesPerDay: source.pick([1 << 20, 1_000]), cut: cut,
                open: source.below(8) == 1 ? .governance(and: []) : .all)
        }
        core.handle(.rosterChanged(roster), at: now)
    }

    private mutating func advance(_ duration: Duration) {
        now = now + duration
        var turns = 0
        while let next = core.nextTimeout, next <= now {
            turns += 1
            require(turns < 1_000, "timeouts move on")
            core.handleTimeout(at: now)
            drain()
        }
    }

    // MARK: The driver

    private mutating func verify(_ place: Int) {
        let (entries, id) = verifies.remove(at: place)
        core.handle(.verified(id, entries.map(\.isSignatureValid)), at: now)
        drain()
    }

    private mutating func write(_ place: Int, isRefused: Bool) {
        let (batch, id) = writes.remove(at: place)
        if isRefused {
            core.handle(.persistFailed(id, .diskFull), at: now)
        } else {
            for end in batch.ends { step(beside: end) }
            for stored in batch.entries { hold(stored) }
            for feed in batch.feeds { feeds[feed.device] = feed }
            core.handle(.persisted(id), at: now)
        }
        drain()
    }

    private mutating func step(beside end: FeedEnd) {
        for (id, stored) in held
        where end.isBehind(stored.entry.header.device, stored.entry.header.sequence, id) { held[id]?.isBeside = true }
    }

    /// One entry to a place; what stands beside has none.
    private mutating func hold(_ stored: StoredEntry) {
        let (id, header) = (stored.entry.id, stored.entry.header)
        if held[id] == nil { held[id] = stored }
        guard !stored.isBeside else { return }
        held[id]?.isBeside = false
        let others = held.values.filter {
            !$0.isBeside && $0.entry.header.device == header.device && $0.entry.header.sequence == header.sequence
        }
        require(others.count == 1, "a place of a feed has one entry")
    }

    private mutating func load(_ place: Int, isRefused: Bool) {
        let (query, id) = loads.remove(at: place)
        var answer = JournalAnswer.failed(.damaged)
        if !isRefused {
            switch query {
            case .feed(let device, let range, _, let countMax, _):
                let found = held.values.filter {
                    !$0.isBeside && $0.entry.header.device == device && range.contains($0.entry.header.sequence)
                }
                let ordered = found.sorted {
                    ($0.entry.header.sequence, $0.entry.id) < ($1.entry.header.sequence, $1.entry.id)
                }
                answer = .entries(Array(ordered.prefix(countMax)))
            default: answer = .ids([])
            }
        }
        core.handle(.loaded(id, answer), at: now)
        drain()
    }

    private mutating func drain() {
        while let effect = core.nextEffect() {
            switch effect {
            case .verify(let entries, let id): verifies.append((entries, id))
            case .introduce(let entries, let id):
                core.handle(.introduced(id, entries.map { $0.header.bodyDigest.bytes[0] & 1 == 0 }), at: now)
            case .fold(let entries, let id):
                require(!entries.isEmpty, "a fold has something")
                core.handle(.folded(id, rows: []), at: now)
            case .persist(let batch, let id):
                require(!batch.isEmpty, "a batch has something")
                require(writes.isEmpty, "one batch at a time")
                writes.append((batch, id))
            case .load(let query, let id): loads.append((query, id))
            case .admitted(let entries):
                for stored in entries {
                    require(held[stored.entry.id] != nil, "what is told of is on disk")
                    require(stored.entry.isSignatureValid, "what is told of is signed")
                }
            case .publish(let entries):
                for entry in entries {
                    require(held[entry.id] != nil, "what is published is on disk")
                    let before = published.updateValue(entry.id, forKey: entry.header.sequence)
                    require(before == nil, "a number is used once")
                }
            case .publishProof(let proof):
                require(proof.first.isSignatureValid && proof.second.isSignatureValid, "a proof proves")
            case .appended(let id, _), .appendFailed(let id, _):
                require(appends.remove(id) != nil, "one answer to each append")
            case .judged(let id, from: _, _): require(owed.remove(id) != nil, "one judgement of each delivery")
            case .foldUndone, .violation, .feedsChanged, .wanted, .receiptsDue, .emit: break
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiCommunityCore
import TuttiConnection
import TuttiGossip
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore
import TuttiPeers
import TuttiSimulator

import struct NIOCore.ByteBuffer

/// The driver of a NodeCore as far as its contract goes, and what the peers do.
struct World {
    struct Peer {
        let key: KeyPair
        var pen: Pen
        let join: Entry?
        var connection: ConnectionID?
        var nextStream: UInt64 = 0
        /// Opened by it.
        var inbound: [(stream: StreamID, name: ProtocolID)] = []
        /// Opened by us, with the questions that wait.
        var outbound: [(stream: StreamID, name: ProtocolID, asked: [SyncRequest])] = []
    }

    private static let gossip: ProtocolID = "/meshsub/1.1.0"
    private static let own = key(100)
    private static let effectsMax = 20_000

    private var core: NodeCore
    private var now = Instant.zero
    private var disk = MemoryJournal(seed: 1)
    /// What the embedder still owes.
    private var due: [JournalCommand] = []
    var peers: [Peer]
    /// By the peers, and to be had from them.
    var written: [EntryID: Entry] = [:]
    private var lastConnection: UInt64 = 0
    private var ownPen = Pen(key: founded.founder)
    private var ownEntries: [EntrySequence: EntryID] = [:]
    private var appends: Set<RequestID> = []
    private var lastRequest: UInt64 = 0
    private var onDisk: [EntryID: Entry] = [:]
    /// Batches that wait for the disk.
    private var pending: [RequestID: JournalBatch] = [:]

    init(_ source: inout ByteSource) {
        var configuration = NodeCoreConfiguration(
            peers: PeersConfiguration(identity: Self.own, limits: .lab, agent: "fuzz"))
        var gossip = GossipConfiguration(author: Self.own.peerID.bytes)
        gossip.families = [JournalPort.topicFamily]
        configuration.gossip = gossip
        core = NodeCore(configuration: configuration, seed: 1, at: .zero)
        peers = [
            Peer(key: key(101), pen: Pen(key: founded.member), join: founded.join),
            Peer(key: key(102), pen: Pen(key: founded.newcomer), join: founded.newcomerJoin),
            Peer(key: key(103), pen: Pen(key: key(7)), join: nil),
        ]
        peers[0].pen.head = founded.join.point
        peers[1].pen.head = founded.newcomerJoin.point
        var batch = JournalBatch()
        batch.entries = (founded.entries + [founded.join]).map {
            StoredEntry($0, firstSeen: HybridTime(milliseconds: epoch))
        }
        guard let last = founded.entries.last else { return }
        batch.feeds = [
            FeedRecord(device: founded.founder.device, low: .first, head: last.point, isFrozen: false),
            FeedRecord(device: founded.member.device, low: .first, head: founded.join.point, isFrozen: false),
        ]
        let written = (try? disk.write(batch, at: now)) != nil
        require(written, "a new disk has room")
        now = now + .seconds(1)
        for entry in batch.entries.map(\.entry) { onDisk[entry.id] = entry }
        for entry in founded.entries { ownEntries[entry.header.sequence] = entry.id }
        guard case .opening(let opening) = disk.answer(.opening, at: now).answer else { return }
        var start = JournalStart(
            community: founded.community, member: key(2).member, device: founded.founder, opening: opening,
            governance: batch.entries, milliseconds: epoch)
        start.keys = .seeded(SeededGenerator(seed: 3))
        if source.bool() {
            start.journal.limits.waitingPerPeerMax = 4
            start.journal.limits.heldPerDeviceMax = 2
            start.journal.limits.verifyBatchMax = 2
            start.sync.limits.servedPerPeerMax = 1
            start.sync.limits.queriesMax = 2
            start.sync.limits.leavesPerPartMax = 4
        }
        give(.journal(.start(start)))
        give(.journal(.introduce(founded.entries.first)))
    }

    // MARK: The driver

    private mutating func give(_ input: NodeCore.Input) {
        core.handle(input, at: now)
        drain()
    }

    private mutating func drain() {
        var count = 0
        while let effect = core.nextEffect() {
            count += 1
            require(count < Self.effectsMax, "effects end")
            switch effect {
            case .peers(let effect): perform(effect)
            case .journal(let result): perform(result)
            case .kademlia, .gossip, .membership, .protocolsChanged, .reachabilityChanged: continue
            }
        }
    }

    private func index(of id: ConnectionID) -> Int? { peers.firstIndex { $0.connection == id } }

    private mutating func perform(_ effect: PeersEffect) {
        switch effect {
        case .openStream(let id, let name, let request, let first):
            guard let place = index(of: id) else { return }
            let stream = StreamID(peers[place].nextStream * 2 + 2)
            peers[place].nextStream += 1
            peers[place].outbound.append((stream, name, []))
            for bytes in first { sent(place, stream, bytes) }
            give(.peers(.streamOpened(id, stream, name, .outbound, request: request)))
        case .send(let id, let stream, let bytes): if let place = index(of: id) { sent(place, stream, bytes) }
        case .resetStream(let id, let stream):
            guard let place = index(of: id) else { return }
            peers[place].inbound.removeAll { $0.stream == stream }
            peers[place].outbound.removeAll { $0.stream == stream }
        case .close(let id), .refuse(let id, _):
            guard let place = index(of: id) else { return }
            closed(place)
        case .dial(let id, _, _, _, _): give(.peers(.dialFailed(id, .timeout(.dial))))
        case .cancelDial, .resolve, .admit, .closeWriting, .dialed, .dialRejected, .announce, .emit: return
        }
    }

    private mutating func sent(_ place: Int, _ stream: StreamID, _ bytes: ByteBuffer) {
        require(bytes.readableBytes <= 2 << 20, "a message is limited")
        guard let line = peers[place].outbound.firstIndex(where: { $0.stream == stream }),
            peers[place].outbound[line].name == JournalPort.syncProtocol
        else { return }
        guard let request = try? SyncWire.decodeRequest(bytes) else {
            require(false, "what we ask can be read")
            return
        }
        if case .receipts = request { return }
        peers[place].outbound[line].asked.append(request)
    }

    private mutating func perform(_ result: JournalResult) {
        switch result {
        case .persist(let batch, let id):
            for stored in batch.entries {
                require(isAuthentic(stored.entry), "what goes to the disk was signed by its author")
                let header = stored.entry.header
                if header.device == founded.founder.device {
                    let known = ownEntries.updateValue(stored.entry.id, forKey: header.sequence)
                    let isSame = known == nil || known == stored.entry.id || onDisk[known ?? .none] == nil
                    require(isSame, "an own number is used once")
                }
            }
            for proof in batch.proofs {
                require(proof.device != founded.founder.device, "who signed one feed is never proven guilty")
                require(isAuthentic(proof.first.withoutBody) || proof.first.isSignatureValid, "proofs are signed")
                require(proof.second.isSignatureValid, "proofs are signed")
            }
            due.append(.persisted(id))
            pending[id] = batch
        case .load(let query, let reader): due.append(.loaded(reader, disk.answer(query, at: now).answer))
        case .verify(let entries, let id): due.append(.verified(id, entries.map(isAuthentic)))
        case .check(let checks, let id): due.append(.checked(id, checks.map(\.isValid)))
        case .appended(let request, _), .appendFailed(let request, _):
            require(appends.remove(request) != nil, "an append has one answer")
        case .admitted(let entries):
            for entry in entries { require(onDisk[entry.entry.id] != nil, "what is told of is on disk") }
        case .event(let event):
            if case .feedFrozen(let device, _) = event {
                require(device != founded.founder.device, "our own feed isn't frozen by others")
            }
        case .keepKeyring(_, let id): due.append(.keyringKept(id, true))
        case .sync, .communityChanged, .mailbox, .market, .register, .witness: return
        }
    }

    private mutating func settle(_ place: Int, refuses: Bool) {
        let command = due.remove(at: place)
        guard case .persisted(let id) = command, let batch = pending.removeValue(forKey: id) else {
            return give(.journal(command))
        }
        if refuses { return give(.journal(.persistFailed(id, .diskFull))) }
        do throws(JournalStorageError) {
            let done = try disk.write(batch, at: now)
            now = max(now, done)
            _ = disk.answer(.opening, at: now)
            for stored in batch.entries { onDisk[stored.entry.id] = stored.entry }
            give(.journal(command))
        } catch {
            give(.journal(.persistFailed(id, error)))
        }
    }

    private mutating func advance(_ time: Duration) {
        now = now + time
        var turns = 0
        while let next = core.nextTimeout, next <= now, turns < 64 {
            core.handleTimeout(at: now)
            drain()
            turns += 1
        }
        require(turns < 64, "a timeout moves on")
    }

    // MARK: What happens

    mutating func step(_ source: inout ByteSource) {
        let place = source.below(3)
        switch source.byte() % 16 {
        case 0: if peers[place].connection == nil { connect(place, &source) } else { closed(place) }
        case 1: open(place, source.bool() ? JournalPort.syncProtocol : Self.gossip)
        case 2, 3, 4: ask(place, &source)
        case 5, 6: answer(place, &source)
        case 7, 8: gossip(place, &source)
        case 9: end(place, &source)
        case 10, 11, 12:
            guard !due.isEmpty else { return }
            settle(source.below(due.count), refuses: source.byte() & 15 == 0)
        case 13: advance(.milliseconds(Int64(source.word16()) * (source.byte() & 7 == 0 ? 20 : 1)))
        case 14:
            lastRequest += 1
            appends.insert(RequestID(lastRequest))
            let draft = EntryDraft(
                kind: EntryKind(0x0100), body: [source.byte()], governance: founded.link.invite)
            give(.journal(.append(RequestID(lastRequest), [draft])))
        default:
            if source.bool() { give(.journal(.syncNow)) } else { connectAsMember(&source) }
        }
    }

    /// What all but the first steps of a session lead to.
    private mutating func connectAsMember(_ source: inout ByteSource) {
        if peers[0].connection == nil { connect(0, &source) }
        open(0, JournalPort.syncProtocol)
        guard let line = peers[0].inbound.last, let hello = hello(0) else { return }
        say(0, line.stream, hello)
        while !due.isEmpty { settle(0, refuses: false) }
    }

    private func hello(_ place: Int) -> SyncRequest? {
        SyncHello(
            community: founded.community, own: peers[place].key.peerID, remote: Self.own.peerID,
            join: peers[place].join, signedWith: peers[place].pen.key
        ).map { .hello($0) }
    }

    private mutating func connect(_ place: Int, _ source: inout ByteSource) {
        lastConnection += 2
        let id = ConnectionID(lastConnection)
        let remote = Multiaddr(components: [.ip4(0x0808_0800 + UInt32(place)), .tcp(4_001)])
        peers[place].connection = id
        peers[place].inbound = []
        peers[place].outbound = []
        give(.peers(.accepted(id, remote: remote)))
        guard peers[place].connection == id else { return }
        let key = peers[place].key
        let establishment = Establishment(
            peer: key.peerID, publicKey: key.publicKey, security: .noise, hadEarlyMuxer: true)
        give(.peers(.established(id, establishment, .inbound, remote: remote)))
        guard peers[place].connection == id else { return }
        give(.peers(.told(id, version: 1)))
        var message = IdentifyMessage()
        message.publicKey = key.publicKey.protobuf
        message.protocols = [JournalPort.syncProtocol, Self.gossip]
        let stream = StreamID(peers[place].nextStream * 2 + 2)
        peers[place].nextStream += 1
        give(.peers(.streamOpened(id, stream, IdentifyMessage.protocolID, .outbound, request: PeersCore.query)))
        give(.peers(.message(id, stream, message.encoded)))
        give(.peers(.streamEnded(id, stream)))
    }

    private mutating func closed(_ place: Int) {
        guard let id = peers[place].connection else { return }
        peers[place].connection = nil
        give(.peers(.closed(id, .remote)))
    }

    private mutating func open(_ place: Int, _ name: ProtocolID) {
        guard let id = peers[place].connection, peers[place].inbound.count < 8 else { return }
        let stream = StreamID(peers[place].nextStream * 2 + 1)
        peers[place].nextStream += 1
        peers[place].inbound.append((stream, name))
        give(.peers(.streamOpened(id, stream, name, .inbound, request: nil)))
    }

    private mutating func end(_ place: Int, _ source: inout ByteSource) {
        guard let id = peers[place].connection else { return }
        let streams = peers[place].inbound.map(\.stream) + peers[place].outbound.map(\.stream)
        guard !streams.isEmpty else { return }
        let stream = source.pick(streams)
        peers[place].inbound.removeAll { $0.stream == stream }
        peers[place].outbound.removeAll { $0.stream == stream }
        switch source.byte() % 3 {
        case 0: give(.peers(.streamEnded(id, stream)))
        case 1: give(.peers(.streamFailed(id, stream, .reset)))
        default: give(.peers(.streamFailed(id, stream, .negotiation(.truncated("message")))))
        }
    }

    private mutating func say(_ place: Int, _ stream: StreamID, _ request: SyncRequest) {
        guard let id = peers[place].connection else { return }
        var bytes = ByteBuffer()
        SyncWire.encode(request, into: &bytes)
        give(.peers(.message(id, stream, bytes)))
    }

    private mutating func ask(_ place: Int, _ source: inout ByteSource) {
        guard let id = peers[place].connection else { return }
        let lines = peers[place].inbound.filter { $0.name == JournalPort.syncProtocol }
        guard !lines.isEmpty else { return open(place, JournalPort.syncProtocol) }
        let line = source.pick(lines)
        var request = self.request(place, &source)
        if source.byte() & 7 == 0, let hello = hello(place) { request = hello }
        var bytes = ByteBuffer()
        SyncWire.encode(request, into: &bytes)
        if source.byte() & 7 == 0 {
            bytes = ByteBuffer(bytes: source.mutate(Array(bytes.readableBytesView)))
        }
        give(.peers(.message(id, line.stream, bytes)))
    }

    private mutating func answer(_ place: Int, _ source: inout ByteSource) {
        guard let id = peers[place].connection else { return }
        let lines = peers[place].outbound.indices.filter { !peers[place].outbound[$0].asked.isEmpty }
        guard !lines.isEmpty else { return }
        let line = source.pick(lines)
        let stream = peers[place].outbound[line].stream
        let request = peers[place].outbound[line].asked.removeFirst()
        var bytes = ByteBuffer()
        SyncWire.encode(self.answer(place, request, &source), into: &bytes)
        if source.byte() & 15 == 0 { bytes = ByteBuffer(bytes: source.mutate(Array(bytes.readableBytesView))) }
        give(.peers(.message(id, stream, bytes)))
    }

    private mutating func gossip(_ place: Int, _ source: inout ByteSource) {
        guard let id = peers[place].connection else { return }
        guard let line = peers[place].inbound.first(where: { $0.name == Self.gossip }) else {
            return open(place, Self.gossip)
        }
        let topic = JournalPort.topic(of: founded.community)
        var rpc = GossipRPC()
        if source.byte() & 3 == 0 { rpc.subscriptions = [(topic, source.byte() & 7 != 0)] }
        if source.byte() & 7 == 0 { rpc.graft = [topic] }
        if source.byte() & 15 == 0 { rpc.prune = [.init(topic: topic, backoffSeconds: UInt64(source.byte()))] }
        var bytes = ByteBuffer()
        GossipWire.encode(rpc, into: &bytes) { _ in nil }
        for _ in 0..<source.below(3) {
            var data = ByteBuffer()
            if source.byte() & 7 == 0, let proof = proof(place, &source) {
                proof.encode(into: &data)
            } else {
                entry(place, &source).encode(into: &data, withBody: source.byte() & 15 != 0)
            }
            var plain = Array(data.readableBytesView)
            if source.byte() & 15 == 0 { plain = source.mutate(plain) }
            var message = ByteBuffer()
            message.writeProtobuf(2, bytes: plain)
            message.writeProtobuf(4, string: topic.name)
            bytes.writeProtobuf(2, message: message)
        }
        if source.byte() & 31 == 0 { bytes = ByteBuffer(bytes: source.mutate(Array(bytes.readableBytesView))) }
        give(.peers(.message(id, line.stream, bytes)))
    }

    // MARK: The end

    mutating func end() {
        while !due.isEmpty { settle(0, refuses: false) }
        for place in peers.indices { closed(place) }
        var rounds = 0
        while !due.isEmpty, rounds < 4_000 {
            settle(0, refuses: false)
            rounds += 1
        }
        require(due.isEmpty, "work ends")
        advance(.seconds(1))
        while !due.isEmpty { settle(0, refuses: false) }
        require(appends.isEmpty, "each append was answered")
        guard let port = core.replica else { return require(false, "there is a replica") }
        require(port.connectedPeers.isEmpty, "nobody is a member who isn't here")
        let own = port.journal.feed(founded.founder.device)
        require(own?.isFrozen == false, "our own feed is whole")
        require(port.community.roster.devices[founded.founder.device]?.cut == nil, "nobody removed the founder")
    }
}

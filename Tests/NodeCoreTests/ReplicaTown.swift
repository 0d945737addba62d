// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiGossip
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore
import TuttiSimulator
import TuttiWitness

import struct NIOCore.ByteBuffer

/// Whole nodes with replicas of one community, connected only as a test says. The first founds it.
struct ReplicaTown: ~Copyable {
    static let epoch: UInt64 = 1_800_000_000_000

    var fleet: NodeFleet
    let people: [KeyPair]
    let devices: [KeyPair]
    private(set) var community = CommunityID(.zero)
    private(set) var heads: [Int: Entry] = [:]
    private var lastRequest: UInt64 = 0
    private var links = 0
    /// What each node said of the deadline register.
    private var registerResults: [Int: [JournalResult]] = [:]

    init(nodes: Int, seed: UInt64) {
        func keys(_ purpose: UInt64) -> [KeyPair] {
            (0..<nodes).map { KeyPair(seed: Bytes32(words: (UInt64($0) + 1, seed, 1, purpose))) }
        }
        people = keys(4)
        devices = keys(5)
        var network = NetworkModel()
        network.latency = .uniform(.milliseconds(5), .milliseconds(40))
        fleet = NodeFleet(network: network, seed: seed)
        var hosts = JournalHosts()
        for _ in 0..<nodes { hosts.add(.honest, disk: DiskModel(), seed: seed) }
        fleet.hosts = hosts
        for key in keys(3) {
            fleet.add(key) { configuration in
                var gossip = GossipConfiguration(author: key.peerID.bytes)
                gossip.families = [JournalPort.topicFamily]
                configuration.gossip = gossip
            }
        }
    }

    func replica(_ node: Int) throws -> JournalPort { try #require(fleet.members[node].core.replica) }
    func device(_ node: Int) -> DeviceID { devices[node].device }
    func peer(_ node: Int) -> PeerID { fleet.members[node].key.peerID }

    mutating func found(admission: Charter.Admission = .invite, witnesses: [Int] = []) throws {
        var charter = Charter.standard(name: "town", founder: people[0].member)
        charter.admission = admission
        charter.witnesses = witnesses.map { people[$0].member }.sorted()
        let (community, draft) = try CommunityCore.founding(
            charter: charter, nonce: Bytes32(words: (1, 2, 3, 4)), nickname: "0", memberKey: people[0],
            device: devices[0].device)
        self.community = community
        start(0)
        append(0, draft)
        run(.seconds(1))
    }

    mutating func start(_ node: Int) {
        let now = fleet.now
        let (member, device) = (people[node].member, devices[node])
        guard
            var start = fleet.hosts?.start(
                node, community, member: member, device: device, epoch: Self.epoch, at: now)
        else { return }
        start.keys = .seeded(SeededGenerator(seed: UInt64(node) &+ UInt64(now.nanoseconds)))
        fleet.give(node, .journal(.start(start)))
    }

    /// An invite by somebody who may, as a link.
    mutating func invite(by node: Int, role: Role = .member) throws -> InviteLink {
        links += 1
        let key = Bytes32(words: (UInt64(links), UInt64(node), 5, 6))
        let draft = try replica(node).community.invite(
            key: KeyPair(seed: key), role: role, uses: 10, expiry: Self.epoch * 2, note: "", by: device(node))
        append(node, draft)
        run(.seconds(1))
        let entry = try #require(heads[node])
        return try InviteLink(
            community: community, invite: entry.id, seed: key, name: "town",
            entryPoints: [fleet.members[node].address.appending(.p2p(peer(node)))])
    }

    mutating func join(_ node: Int, by link: InviteLink, through other: Int) throws {
        start(node)
        append(
            node,
            try CommunityCore.join(
                link, nickname: "\(node)", memberKey: people[node], device: devices[node].device))
        connect(node, other)
        run(.seconds(2))
    }

    mutating func connect(_ node: Int, _ other: Int) {
        lastRequest += 1
        fleet.dial(node, other, request: lastRequest)
    }

    mutating func restart(_ node: Int) {
        fleet.restart(node)
        start(node)
        let (now, device) = (fleet.now, device(node))
        if let join = fleet.hosts?.feed(node, of: device, at: now).first {
            fleet.give(node, .journal(.introduce(join)))
        }
    }

    mutating func append(_ node: Int, _ draft: EntryDraft) {
        lastRequest += 1
        fleet.give(node, .journal(.append(RequestID(lastRequest), [draft])))
    }

    mutating func chat(_ node: Int, _ text: String) throws {
        let place = ChatPlace.channel(ChannelBody.id(of: "all", in: community))
        let body = try #require(ChatBody(place: place, act: .post(text)))
        append(node, EntryDraft(kind: .chat, body: body.bytes, governance: try replica(node).community.head))
    }

    mutating func serve(_ node: Int, with key: KeyPair) {
        fleet.give(node, .journal(.witness(.serve(key, WitnessServingLimits()))))
    }

    mutating func drive(_ node: Int, _ task: RegisterTask, _ signer: TradeSigner) {
        fleet.give(node, .journal(.witness(.drive(task, signer))))
    }

    func told(_ node: Int) -> [JournalResult] { registerResults[node] ?? [] }

    mutating func remove(_ node: Int, by other: Int) throws {
        let replica = try replica(other)
        append(
            other,
            try replica.community.memberRemoval(
                people[node].member, heads: replica.heads, reason: "cheated", by: device(other)))
    }

    /// As if a node had written it, whoever did.
    mutating func publish(_ entry: Entry, by node: Int) {
        var bytes = ByteBuffer()
        JournalMessage.entry(entry).encode(into: &bytes)
        lastRequest += 1
        fleet.give(node, .gossip(.publish(RequestID(lastRequest), JournalPort.topic(of: community), bytes)))
    }

    mutating func run(_ duration: Duration) {
        let end = fleet.now + duration
        while fleet.now < end {
            fleet.run(until: min(end, fleet.now + .milliseconds(20)))
            _ = fleet.takeResults()
            for (_, node, result) in fleet.hosts?.takeTold() ?? [] {
                if case .witness = result { registerResults[node, default: []].append(result) }
                guard case .appended(_, let entries) = result, let head = entries.last else { continue }
                heads[node] = head
                if entries.first?.header.sequence == .first, let join = entries.first {
                    fleet.give(node, .journal(.introduce(join)))
                }
            }
        }
    }

    /// Until it holds, at most so long.
    mutating func run(atMost bound: Duration, until isDone: (borrowing ReplicaTown) throws -> Bool) rethrows -> Bool {
        let end = fleet.now + bound
        while fleet.now < end {
            run(.milliseconds(100))
            if try isDone(self) { return true }
        }
        return false
    }

    mutating func holds(_ node: Int, _ id: EntryID) -> Bool {
        let now = fleet.now
        guard case .entries(let found) = fleet.hosts?.answer(node, .entries([id]), at: now) else { return false }
        return !found.isEmpty
    }

    func entry(of draft: EntryDraft, signedBy key: KeyPair, after head: FeedPoint) -> Entry {
        let content = Entry.Content(salt: .zero, body: draft.body)
        let header = EntryHeader(
            kind: draft.kind, isCritical: draft.isCritical, retention: draft.retention,
            bodyBytesCount: draft.body.count, sequence: head.sequence.next,
            time: HybridTime(milliseconds: Self.epoch + 1_000), community: community, device: key.device,
            previous: head.id, governance: draft.governance, bodyDigest: content.digest)
        return Entry(signing: header, content: content, with: key)
    }
}

extension JournalHosts {
    /// From its first entry on.
    fileprivate mutating func feed(_ node: Int, of device: DeviceID, at now: Instant) -> [Entry] {
        let query = JournalQuery.feed(device, .first...(.max), newestFirst: false, countMax: 1, bytesMax: .max)
        guard case .entries(let found) = answer(node, query, at: now) else { return [] }
        return found.map(\.entry)
    }
}

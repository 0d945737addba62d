// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiGossip
import TuttiIdentity
import TuttiJournal
import TuttiMembership
import TuttiNodeCore

import struct NIOCore.ByteBuffer

/// A community of whole nodes, each with a replica on a disk of its own: the first founds it, the others join by an
/// invite, and then they write, crash, come back, and some of them lie.
struct JournalNetwork: ~Copyable {
    /// An entry that somebody was told is on its disk.
    struct Written {
        let node: Int
        let entry: Entry
        let start: Instant
        /// Nodes that were there then, the author not counted.
        let others: Int
        var arrivals: [Duration] = []
    }

    /// Milliseconds since 1970 when a run begins.
    private static let epoch: UInt64 = 1_800_000_000_000
    /// The link names so many nodes at most.
    private static let entryPoints = 5

    var fleet: NodeFleet
    let count: Int
    let manners: [JournalHosts.Manner]
    private let people: [KeyPair]
    private let devices: [KeyPair]
    private var link: InviteLink?
    private(set) var written: [Written] = []
    private(set) var sent: [EntrySequence]
    private(set) var refusedAppends = 0
    /// Own feeds that honest nodes take for copied.
    private(set) var copies = 0
    /// Forkers that have forked.
    private(set) var forked: Set<Int> = []
    private(set) var forgeries = 0
    private(set) var forks = 0
    private(set) var crashes = 0
    /// Entries that nobody was told of before a crash took them.
    private(set) var lost = 0
    private var places: [EntryID: Int] = [:]
    private var asked: [RequestID: (node: Int, start: Instant, others: Int)] = [:]
    private var heads: [Int: Entry] = [:]
    private var lastRequest: UInt64 = 0
    private let seed: UInt64
    var draws: DrawStream

    init(nodes: Int, liars: Int, network: NetworkModel, disk: DiskModel, planted: JournalHosts.Planted, seed: UInt64) {
        count = nodes
        self.seed = seed
        draws = DrawStream(seed: seed, .traffic)
        var others = Array(1..<max(1, nodes))
        var placement = DrawStream(seed: seed, .placement)
        others.shuffle(using: &placement)
        var manners = Array(repeating: JournalHosts.Manner.honest, count: nodes)
        let kinds: [JournalHosts.Manner] = [.forker, .forger, .silent]
        for (number, node) in others.prefix(nodes * liars / 100).enumerated() { manners[node] = kinds[number % 3] }
        self.manners = manners
        func keys(_ purpose: UInt64) -> [KeyPair] {
            (0..<nodes).map { KeyPair(seed: Bytes32(words: (UInt64($0) + 1, seed, 0, purpose))) }
        }
        people = keys(4)
        devices = keys(5)
        sent = Array(repeating: .none, count: nodes)
        fleet = NodeFleet(network: network, seed: seed)
        var hosts = JournalHosts(planted: planted)
        for manner in manners { hosts.add(manner, disk: disk, seed: seed) }
        fleet.hosts = hosts
        for key in keys(3) {
            fleet.add(key) { configuration in
                var gossip = GossipConfiguration(author: key.peerID.bytes)
                gossip.families = [JournalPort.topicFamily]
                configuration.gossip = gossip
                configuration.membership = MembershipConfiguration()
            }
        }
    }

    // MARK: The course

    mutating func found() throws(CommunityRefusal) {
        let nonce = Bytes32(words: (seed, 1, 2, 3))
        let (community, draft) = try CommunityCore.founding(
            charter: .standard(name: "lab", founder: people[0].member), nonce: nonce, nickname: "node 0",
            memberKey: people[0], device: devices[0].device)
        start(0, community)
        append(0, draft)
        run(for: .seconds(1))
        guard let core = fleet.members[0].core.replica?.community else { return }
        let key = Bytes32(words: (seed, 4, 5, 6))
        append(
            0,
            try core.invite(
                key: KeyPair(seed: key), uses: CommunityLimits.inviteUsesMax, expiry: Self.epoch + 86_400_000, note: "",
                by: devices[0].device))
        run(for: .seconds(1))
        guard let invite = heads[0] else { return }
        do throws(InviteLinkError) {
            let (address, peer) = (fleet.members[0].address, fleet.members[0].key.peerID)
            link = try InviteLink(
                community: community, invite: invite.id, seed: key, name: "lab",
                entryPoints: [address.appending(.p2p(peer))])
        } catch {
            assertionFailure("the lab's link is well formed")
        }
    }

    mutating func join(_ node: Int) throws(CommunityRefusal) {
        guard let link else { return }
        start(node, link.community)
        let draft = try CommunityCore.join(
            link, nickname: "node \(node)", memberKey: people[node], device: devices[node].device)
        append(node, draft)
        enter(node, through: Int(draws.below(UInt64(min(node, Self.entryPoints)))))
    }

    /// From what its disk holds.
    private mutating func start(_ node: Int, _ community: CommunityID) {
        let now = fleet.now
        guard case .opening(let opening) = fleet.hosts?.answer(node, .opening, at: now),
            case .arrivals(let governance, _) = fleet.hosts?.answer(
                node, .governance(after: 0, countMax: .max), at: now)
        else { return }
        var start = JournalStart(
            community: community, member: people[node].member, device: devices[node], opening: opening,
            governance: governance, milliseconds: Self.epoch + UInt64(now.nanoseconds / 1_000_000))
        let secrets = DrawStream(seed: seed &+ UInt64(now.nanoseconds), peer: PeerIndex(UInt32(node)), .secrets)
        var generator = secrets
        start.keys = .seeded(SeededGenerator(seed: generator.next()))
        fleet.give(node, .journal(.start(start)))
    }

    private mutating func enter(_ node: Int, through other: Int) {
        guard node != other else { return }
        lastRequest += 1
        fleet.dial(node, other, request: lastRequest)
        fleet.give(node, .membership(.join(fleet.members[other].key.peerID)))
    }

    /// What it hasn't synced is lost.
    mutating func crash(_ node: Int) {
        guard fleet.members[node].isAlive else { return }
        crashes += 1
        fleet.crash(node)
        let now = fleet.now
        fleet.hosts?.crash(node, seed: draws.next(), at: now)
        for request in asked.keys where asked[request]?.node == node {
            asked[request] = nil
            lost += 1
        }
    }

    mutating func restart(_ node: Int) {
        guard !fleet.members[node].isAlive, let link else { return }
        fleet.restart(node)
        start(node, link.community)
        let first = JournalQuery.feed(
            devices[node].device, .first ... .first, newestFirst: false, countMax: 1, bytesMax: .max)
        let now = fleet.now
        if case .entries(let found) = fleet.hosts?.answer(node, first, at: now), let join = found.first?.entry {
            fleet.give(node, .journal(.introduce(join)))
        } else if let draft = try? CommunityCore.join(
            link, nickname: "node \(node)", memberKey: people[node], device: devices[node].device)
        {
            append(node, draft)
        }
        meet(node)
    }

    /// Three others that live, as one that knows addresses from before.
    mutating func meet(_ node: Int) {
        for _ in 0..<3 { enter(node, through: randomAlive()) }
    }

    mutating func randomAlive() -> Int {
        for _ in 0..<1_000 {
            let node = Int(draws.below(UInt64(count)))
            if fleet.members[node].isAlive { return node }
        }
        return 0
    }

    mutating func run(for duration: Duration) {
        let end = fleet.now + duration
        while fleet.now < end {
            fleet.run(until: min(end, fleet.now + .milliseconds(20)))
            _ = fleet.takeResults()
            for (at, node, result) in fleet.hosts?.takeTold() ?? [] { hear(result, node, at) }
        }
    }

    private mutating func hear(_ result: JournalResult, _ node: Int, _ at: Instant) {
        switch result {
        case .appended(let request, let entries):
            guard let asked = asked.removeValue(forKey: request) else { return }
            for entry in entries {
                heads[node] = entry
                places[entry.id] = written.count
                written.append(Written(node: node, entry: entry, start: asked.start, others: asked.others))
                if entry.header.sequence == .first { fleet.give(node, .journal(.introduce(entry))) }
            }
        case .appendFailed(let request, _):
            asked[request] = nil
            if manners[node] == .honest { refusedAppends += 1 }
        case .admitted(let entries):
            for stored in entries {
                guard let place = places[stored.entry.id], written[place].node != node else { continue }
                written[place].arrivals.append(at - written[place].start)
            }
        case .event(.sent(let through)): sent[node] = max(sent[node], through)
        case .event(.ownFeedElsewhere): if manners[node] == .honest { copies += 1 }
        case .event, .sync, .mailbox, .communityChanged, .persist, .load, .keepKeyring, .verify: break
        }
    }

    // MARK: Writing and lying

    private mutating func append(_ node: Int, _ draft: EntryDraft) {
        lastRequest += 1
        asked[RequestID(lastRequest)] = (node, fleet.now, fleet.members.count { $0.isAlive } - 1)
        fleet.give(node, .journal(.append(RequestID(lastRequest), [draft])))
    }

    /// Nothing, for one that isn't in the community yet.
    mutating func write(_ node: Int) {
        guard let link, fleet.members[node].isAlive, let community = fleet.members[node].core.replica?.community,
            community.roster.devices[devices[node].device] != nil
        else { return }
        let place = ChatPlace.channel(ChannelBody.id(of: "lab", in: link.community))
        guard let body = ChatBody(place: place, act: .post("message \(written.count) of node \(node)")) else { return }
        append(node, EntryDraft(kind: .chat, body: body.bytes, governance: community.head))
        if manners[node] == .forger { forge(node) }
        if manners[node] == .forker { fork(node) }
    }

    private mutating func publish(_ entry: Entry, by node: Int) {
        guard let link else { return }
        var bytes = ByteBuffer()
        JournalMessage.entry(entry).encode(into: &bytes)
        lastRequest += 1
        fleet.give(
            node, .gossip(.publish(RequestID(lastRequest), JournalPort.topic(of: link.community), bytes)))
    }

    /// The next entry of somebody else, which nobody signed.
    private mutating func forge(_ node: Int) {
        guard let head = heads[randomAlive()], let entry = successor(of: head) else { return }
        forgeries += 1
        publish(entry.forged, by: node)
    }

    private func successor(of head: Entry) -> Entry? { other(than: head, behind: head.point) }

    /// Another entry of the same author, at the place behind a point.
    private func other(than entry: Entry, behind point: FeedPoint) -> Entry? {
        guard let author = devices.first(where: { $0.device == entry.header.device }) else { return nil }
        let content = Entry.Content(salt: .zero, body: Array("another \(forgeries + forks)".utf8))
        let header = EntryHeader(
            kind: .chat, isCritical: false, retention: .permanent, bodyBytesCount: content.body.count,
            sequence: point.sequence.next, time: entry.header.time, community: entry.header.community,
            device: entry.header.device, previous: point.id, governance: entry.header.governance,
            bodyDigest: content.digest)
        return Entry(signing: header, content: content, with: author)
    }

    /// A second entry at the place of one that it wrote, to other peers, through another liar.
    private mutating func fork(_ node: Int) {
        let own = written.filter { $0.node == node && $0.entry.header.sequence > .first }
        guard !own.isEmpty else { return }
        let head = own[Int(draws.below(UInt64(own.count)))].entry
        let point = FeedPoint(sequence: head.header.sequence.previous, id: head.header.previous)
        guard let twin = other(than: head, behind: point) else { return }
        forked.insert(node)
        forks += 1
        let liars = manners.indices.filter { manners[$0] != .honest && fleet.members[$0].isAlive }
        let accomplice = liars[Int(draws.below(UInt64(liars.count)))]
        publish(twin, by: accomplice)
    }

    // MARK: What came of it

    var honest: [Int] { manners.indices.filter { manners[$0] == .honest } }

    func replica(_ node: Int) -> JournalPort? { fleet.members[node].core.replica }

    func device(_ node: Int) -> DeviceID { devices[node].device }

    /// What all replicas should agree on: feeds up to their heads, which ones are frozen from where on, the community.
    func digest(_ node: Int) -> UInt64 {
        guard let replica = fleet.members[node].core.replica else { return 0 }
        var digest = EventDigest()
        func mix(_ bytes: Bytes32) {
            for word in [bytes.words.0, bytes.words.1, bytes.words.2, bytes.words.3] { digest.mix(word) }
        }
        for feed in replica.journal.feeds {
            mix(feed.device.bytes)
            if feed.isFrozen {
                digest.mix(replica.journal.proof(against: feed.device)?.sequence.value ?? 0)
            } else {
                digest.mix(feed.low.value)
                digest.mix(feed.head.sequence.value)
                mix(feed.head.id.bytes)
            }
        }
        mix(replica.community.state.digest)
        return digest.value
    }

    /// How many different digests honest nodes have.
    var digestsCount: Int { Set(honest.map { digest($0) }).count }

    var membersKnown: Int {
        honest.map { node in
            let roster = fleet.members[node].core.replica?.community.roster
            return devices.count { roster?.devices[$0.device] != nil }
        }.min() ?? 0
    }

    /// Until all honest replicas are the same.
    /// - Returns: how long that took; nil: longer than the bound.
    mutating func converge(within bound: Duration) -> Duration? {
        let start = fleet.now
        while fleet.now - start < bound {
            run(for: .seconds(1))
            if digestsCount == 1 { return fleet.now - start }
        }
        return nil
    }
}

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
        /// Honest nodes that said it was on their disk.
        var holders: [Int] = []
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
    private(set) var usurpations = 0
    /// Times that an honest node noticed that it is lied to in sync.
    private(set) var liesNoticed = 0
    /// Nodes that went for good, with their disks.
    private(set) var dead: Set<Int> = []
    /// Own entries that were called sent when fewer than two others had said that they hold them.
    private(set) var sentTooEarly = 0
    /// How honest ones who may end proposals see their ends, by proposal.
    private(set) var ends: [EntryID: Bool] = [:]
    private(set) var crashes = 0
    /// Entries that nobody was told of before a crash took them.
    private(set) var lost = 0
    private var places: [EntryID: Int] = [:]
    private var asked: [RequestID: (node: Int, start: Instant, others: Int)] = [:]
    private var heads: [Int: Entry] = [:]
    private var lastRequest: UInt64 = 0
    private let seed: UInt64
    private let planted: JournalHosts.Planted
    var draws: DrawStream

    init(nodes: Int, liars: Int, network: NetworkModel, disk: DiskModel, planted: JournalHosts.Planted, seed: UInt64) {
        count = nodes
        self.seed = seed
        self.planted = planted
        draws = DrawStream(seed: seed, .traffic)
        var others = Array(1..<max(1, nodes))
        var placement = DrawStream(seed: seed, .placement)
        others.shuffle(using: &placement)
        var manners = Array(repeating: JournalHosts.Manner.honest, count: nodes)
        let liarsCount = nodes * liars / 100
        let kinds = JournalHosts.Manner.liars
        for (number, node) in others.prefix(liarsCount).enumerated() { manners[node] = kinds[number % kinds.count] }
        for node in others.dropFirst(liarsCount).prefix(liars == 0 ? 0 : nodes / 25) { manners[node] = .victim }
        self.manners = manners
        func keys(_ purpose: UInt64) -> [KeyPair] {
            (0..<nodes).map { KeyPair(seed: Bytes32(words: (UInt64($0) + 1, seed, 0, purpose))) }
        }
        people = keys(4)
        devices = keys(5)
        sent = Array(repeating: .none, count: nodes)
        fleet = NodeFleet(network: network, seed: seed)
        var hosts = JournalHosts(planted: planted)
        for (manner, device) in zip(manners, devices) {
            hosts.add(manner, device: device.device, disk: disk, seed: seed)
        }
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
            charter: charter, nonce: nonce, nickname: "node 0",
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

    /// Two of three end a proposal: the founder, somebody honest, and somebody who is not.
    private var charter: Charter {
        var charter = Charter.standard(name: "lab", founder: people[0].member)
        var closers = [0] + manners.indices.filter { $0 > 0 && manners[$0] == .honest }.prefix(1)
        closers += nodes(.corrupted).prefix(1)
        if planted == .closers { closers = Array(nodes(.corrupted).prefix(1)) }
        charter.closers = closers.map { people[$0].member }.sorted()
        return charter
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
        let (member, device) = (people[node].member, devices[node])
        guard
            var start = fleet.hosts?.start(
                node, community, member: member, device: device, epoch: Self.epoch, at: now)
        else { return }
        let secrets = DrawStream(seed: seed &+ UInt64(now.nanoseconds), peer: PeerIndex(UInt32(node)), .secrets)
        var generator = secrets
        start.keys = .seeded(SeededGenerator(seed: generator.next()))
        if planted == .oneReceipt { start.journal.holdersOfSent = 1 }
        if planted == .forgiveness {
            start.sync.penalty = .milliseconds(1)
            start.sync.penaltyMax = .milliseconds(1)
        }
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

    /// It won't come back, and nothing that only its disk had.
    mutating func kill(_ node: Int) {
        crash(node)
        fleet.hosts?.lose(node)
        dead.insert(node)
    }

    mutating func restart(_ node: Int) {
        guard !fleet.members[node].isAlive, !dead.contains(node), let link else { return }
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
                if manners[node] == .honest { written[place].holders.append(node) }
            }
        case .event(.sent(let through)):
            sent[node] = max(sent[node], through)
            if (fleet.hosts?.receiptCount(device(node), through: through) ?? 0) < 2 { sentTooEarly += 1 }
        case .event(.ownFeedElsewhere): if manners[node] == .honest { copies += 1 }
        case .sync(.violated): if manners[node].isHonest { liesNoticed += 1 }
        case .event, .sync, .mailbox, .market, .register, .check, .witness, .communityChanged, .persist, .load,
            .keepKeyring, .verify:
            break
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
        lie(node)
    }

    mutating func lie(_ node: Int) {
        switch manners[node] {
        case .honest, .victim, .garbler, .boaster, .silent: break
        case .forger: forge(node)
        case .forker: fork(node)
        case .usurper, .corrupted: usurp(node)
        }
    }

    private mutating func publish(_ message: JournalMessage, by node: Int) {
        guard let link else { return }
        var bytes = ByteBuffer()
        message.encode(into: &bytes)
        lastRequest += 1
        fleet.give(
            node, .gossip(.publish(RequestID(lastRequest), JournalPort.topic(of: link.community), bytes)))
    }

    /// The next entry of somebody else, or proof that it wrote two, which nobody signed.
    private mutating func forge(_ node: Int) {
        guard let head = heads[randomAlive()], let entry = successor(of: head) else { return }
        forgeries += 2
        publish(.entry(entry.forged), by: node)
        let point = FeedPoint(sequence: head.header.sequence.previous, id: head.header.previous)
        guard let twin = other(than: head, behind: point)?.forged, let proof = FaultProof(head, twin) else { return }
        publish(.proof(proof), by: node)
    }

    private func successor(of head: Entry) -> Entry? { other(than: head, behind: head.point) }

    private func plots(of node: Int, against target: Int, with accomplice: Int) -> GovernancePlots? {
        guard let community = fleet.members[node].core.replica?.community, community.head != .none else { return nil }
        return GovernancePlots(
            person: people[node], device: devices[node], community: community,
            target: (people[target].member, devices[target].device), accomplice: people[accomplice].member)
    }

    /// One act of each sort: in the own feed, and in nobody's.
    private mutating func usurp(_ node: Int) {
        let isCorrupted = manners[node] == .corrupted
        let targets = isCorrupted ? nodes(.victim) : honest
        guard fleet.members[node].isAlive, !targets.isEmpty else { return }
        let target = targets[Int(draws.below(UInt64(targets.count)))]
        // A usurper who is given a right has it.
        let accomplices = manners.indices.filter { !manners[$0].isHonest && manners[$0] != .usurper }
        let accomplice = accomplices[Int(draws.below(UInt64(accomplices.count)))]
        guard let plots = plots(of: node, against: target, with: accomplice) else { return }
        let number = draws.next()
        if let draft = isCorrupted ? plots.corruption(number) : plots.usurpation(number) {
            usurpations += 1
            append(node, draft)
        }
        // Who may end proposals needs a feed that counts.
        if isCorrupted, node != nodes(.corrupted).first, draws.below(2) == 0 { forkGovernance(node, plots) }
        guard let head = heads[node] else { return }
        let intruder = KeyPair(seed: Bytes32(words: (seed, UInt64(usurpations), 7, 8)))
        guard
            let entry = plots.forgery(
                draws.next(), behind: head.point, intruder: intruder, time: head.header.time)
        else { return }
        forgeries += 1
        publish(.entry(entry), by: node)
    }

    /// A second act at the place of one.
    private mutating func forkGovernance(_ node: Int, _ plots: GovernancePlots) {
        let own = written.filter { $0.node == node && $0.entry.header.kind.isGovernance }.map(\.entry)
        guard let act = own.last, act.header.sequence > .first, let draft = plots.corruption(draws.next()) else {
            return
        }
        let point = FeedPoint(sequence: act.header.sequence.previous, id: act.header.previous)
        spread(plots.entry(draft, behind: point, by: devices[node], time: act.header.time), of: node)
    }

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
        spread(twin, of: node)
    }

    private mutating func spread(_ twin: Entry, of node: Int) {
        let liars = manners.indices.filter { !manners[$0].isHonest && fleet.members[$0].isAlive }
        guard !liars.isEmpty else { return }
        forked.insert(node)
        forks += 1
        fleet.hosts?.expect(twin: twin.id, of: twin.header.device)
        publish(.entry(twin), by: liars[Int(draws.below(UInt64(liars.count)))])
    }

    // MARK: Governing

    /// Who governs honestly beside the founder.
    var deputy: Int? { manners.indices.first { $0 > 0 && manners[$0] == .honest } }

    /// The founder makes admins of the deputy and of those who will abuse it.
    mutating func appoint() {
        let usurpers = planted == .authority ? nodes(.usurper) : []
        for node in [deputy].compactMap(\.self) + nodes(.corrupted) + usurpers {
            act(0) { [people] community, device throws(CommunityRefusal) in
                try community.roleGrant(.admin, to: people[node].member, by: device)
            }
        }
    }

    mutating func propose() {
        act(0) { community, device throws(CommunityRefusal) in
            try community.proposal(title: "a festival", text: "", action: .resolution, by: device)
        }
    }

    /// On what is open, if it hasn't voted.
    mutating func vote(_ node: Int) {
        guard let community = replica(node)?.community, manners[node].isHonest else { return }
        let (own, founder) = (people[node].member, people[0].member)
        let due = community.state.proposals.values.filter { proposal in
            proposal.outcome == .open && proposal.author == founder && !proposal.votes.contains { $0.member == own }
        }
        guard let open = due.map(\.id).min() else { return }
        act(node) { community, device throws(CommunityRefusal) in try community.vote(.yes, on: open, by: device) }
    }

    /// Gives a role that corrupted admins give and take.
    mutating func appointTrader(by node: Int) {
        let member = people[randomAlive()].member
        act(node) { community, device throws(CommunityRefusal) in
            try community.roleGrant(.trader, to: member, by: device)
        }
    }

    /// Signs the end of what the founder proposed.
    mutating func close(by node: Int) {
        for (proposal, draft, end) in ends(by: node) {
            guard let rule = replica(node)?.community.state.charter?.decision else { continue }
            func count(_ choice: VoteBody.Choice) -> Int { proposal.votes.count { $0.choice == choice } }
            ends[proposal.id] = rule.isMet(
                yes: count(.yes), no: count(.no), abstaining: count(.abstain), electorate: end.electorate)
            append(node, draft)
        }
    }

    /// What it could sign.
    private func ends(
        by node: Int
    ) -> [(proposal: CommunityState.Proposal, draft: EntryDraft, end: CloseBody)] {
        guard let community = replica(node)?.community else { return [] }
        let founder = people[0].member
        let open = community.state.proposals.values.filter { $0.author == founder }.sorted { $0.id < $1.id }
        return open.compactMap { proposal in
            guard let draft = try? community.close(proposal.id, by: devices[node].device),
                case .close(let end)? = try? GovernanceMessage(kind: .close, bytes: draft.body).body
            else { return nil }
            return (proposal, draft, end)
        }
    }

    /// Says that it was rejected, without a vote: sound, but not what happened.
    mutating func closeFalsely(by node: Int) {
        guard fleet.members[node].isAlive, let plots = plots(of: node, against: 0, with: node) else { return }
        for (proposal, _, end) in ends(by: node) {
            usurpations += 1
            append(node, plots.rejection(of: proposal.id, electorate: end.electorate))
        }
    }

    /// What its own program refuses is not done.
    private mutating func act(
        _ node: Int, _ draft: (CommunityCore, DeviceID) throws(CommunityRefusal) -> EntryDraft
    ) {
        guard fleet.members[node].isAlive, let community = replica(node)?.community,
            let draft = try? draft(community, devices[node].device)
        else { return }
        append(node, draft)
        run(for: .milliseconds(200))
    }

    // MARK: What came of it

    /// Those that are to agree: honest, alive in the end, and nobody's victims.
    var honest: [Int] { manners.indices.filter { manners[$0] == .honest && !dead.contains($0) } }

    func nodes(_ manner: JournalHosts.Manner) -> [Int] { manners.indices.filter { manners[$0] == manner } }

    func member(_ node: Int) -> MemberID { people[node].member }

    var forkersSeenCount: Int { fleet.hosts?.forkersSeen.count ?? 0 }

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

    /// Ends with the first that differs: this is asked every second.
    private var areSame: Bool {
        guard let first = honest.first else { return true }
        let wanted = digest(first)
        return honest.allSatisfy { digest($0) == wanted }
    }

    /// How many different digests honest nodes have.
    var digestsCount: Int { Set(honest.map { digest($0) }).count }

    var communitiesCount: Int { Set(honest.compactMap { replica($0)?.community.state.digest }).count }

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
            if areSame { return fleet.now - start }
        }
        return nil
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// A person with one device and a replica of the governance.
struct Citizen {
    let memberKey: KeyPair
    let deviceKey: KeyPair
    var core: CommunityCore
    var sequence = EntrySequence.none
    var previous = EntryID.none

    var member: MemberID { memberKey.member }
    var device: DeviceID { deviceKey.device }
    var point: FeedPoint { FeedPoint(sequence: sequence, id: previous) }

    init(_ source: inout KeySource, community: CommunityID) {
        memberKey = KeyPair(from: &source)
        deviceKey = KeyPair(from: &source)
        core = CommunityCore(community: community)
    }
}

/// A community under test: people, whose entries lie in one heap that each may or may not have seen.
struct Town {
    var source: KeySource
    var random: SeededGenerator
    private(set) var community = CommunityID(.zero)
    var people: [Citizen] = []
    private(set) var entries: [StoredEntry] = []
    var milliseconds: UInt64 = 1_700_000_000_000
    let inviteKey: KeyPair
    private(set) var openInvite = EntryID.none

    /// A founder, who has an invite with many uses open.
    init(seed: UInt64 = 1, uses: Int = 500, change: (inout Charter) -> Void = { _ in }) throws {
        source = .seeded(SeededGenerator(seed: seed))
        random = SeededGenerator(seed: seed &+ 77)
        inviteKey = KeyPair(from: &source)
        var founder = Citizen(&source, community: CommunityID(.zero))
        var charter = Charter.standard(name: "Gear", founder: founder.member)
        change(&charter)
        let (community, draft) = try CommunityCore.founding(
            charter: charter, nonce: source.nextBytes32(), nickname: "Camila", memberKey: founder.memberKey,
            device: founder.device)
        self.community = community
        founder.core = CommunityCore(community: community)
        people = [founder]
        write(0, draft)
        openInvite = try write(
            0,
            people[0].core.invite(
                key: inviteKey, uses: uses, expiry: .max >> 17, note: "", by: people[0].device))
    }

    /// A person who knows nothing yet.
    mutating func newcomer() -> Int {
        people.append(Citizen(&source, community: community))
        return people.count - 1
    }

    var link: InviteLink {
        get throws {
            try InviteLink(
                community: community, invite: openInvite, seed: inviteKey.seed, name: "Gear",
                entryPoints: [#require(Multiaddr("/ip4/192.0.2.1/tcp/4001/p2p/\(people[0].deviceKey.peerID)"))])
        }
    }

    /// Somebody who has joined and knows everything, as everybody knows of the join.
    mutating func resident(_ nickname: String = "M") throws -> Int {
        let who = newcomer()
        catchUp(who)
        let draft = try people[who].core.join(
            link, nickname: nickname, memberKey: people[who].memberKey, device: people[who].device,
            milliseconds: milliseconds)
        write(who, draft)
        catchUpAll()
        return who
    }

    mutating func resident(_ role: Role) throws -> Int {
        let who = try resident("\(role)")
        try act(0) { [member = people[who].member] core, device throws(CommunityRefusal) in
            try core.roleGrant(role, to: member, by: device)
        }
        return who
    }

    @discardableResult
    mutating func write(_ who: Int, _ draft: EntryDraft) -> EntryID {
        write(who, kind: draft.kind, body: draft.body, governance: draft.governance)
    }

    /// Any entry, also a dishonest one.
    /// - Parameter at: forks the feed there.
    @discardableResult
    mutating func write(
        _ who: Int, kind: EntryKind, body: [UInt8], governance: EntryID, at fork: FeedPoint? = nil,
        isCritical: Bool = true
    ) -> EntryID {
        milliseconds += 1
        let content = Entry.Content(salt: source.nextBytes32(), body: body)
        let after = fork ?? people[who].point
        let header = EntryHeader(
            kind: kind, isCritical: isCritical, retention: .permanent, bodyBytesCount: body.count,
            sequence: after.sequence.next, time: HybridTime(milliseconds: milliseconds), community: community,
            device: people[who].device, previous: after.id, governance: governance, bodyDigest: content.digest)
        let entry = Entry(signing: header, content: content, with: people[who].deviceKey)
        if fork == nil {
            people[who].sequence = header.sequence
            people[who].previous = entry.id
        }
        let stored = StoredEntry(entry, firstSeen: header.time)
        entries.append(stored)
        _ = people[who].core.insert([stored])
        return entry.id
    }

    /// An entry that builds on `parents`, whatever its author knows.
    @discardableResult
    mutating func write(
        _ who: Int, _ kind: EntryKind, _ body: GovernanceBody, on parents: [EntryID]? = nil, at fork: FeedPoint? = nil
    ) -> EntryID {
        let parents = (parents ?? people[who].core.parents).sorted()
        let bytes = GovernanceMessage(parents: parents, body: body).encoded
        let head = parents.contains(people[who].core.head) ? people[who].core.head : parents.first ?? .none
        return write(who, kind: kind, body: bytes, governance: head, at: fork)
    }

    /// Writes what the draft says; nobody else sees it yet.
    @discardableResult
    mutating func alone(
        _ who: Int, _ draft: (CommunityCore, DeviceID) throws(CommunityRefusal) -> EntryDraft
    ) throws -> EntryID {
        write(who, try draft(people[who].core, people[who].device))
    }

    /// Writes what the draft says, and everybody sees everything.
    @discardableResult
    mutating func act(
        _ who: Int, _ draft: (CommunityCore, DeviceID) throws(CommunityRefusal) -> EntryDraft
    ) throws -> EntryID {
        catchUp(who)
        let id = try alone(who, draft)
        catchUpAll()
        return id
    }

    func refusal(
        _ who: Int, _ draft: (CommunityCore, DeviceID) throws(CommunityRefusal) -> EntryDraft
    ) -> CommunityRefusal? {
        do throws(CommunityRefusal) {
            _ = try draft(people[who].core, people[who].device)
            return nil
        } catch { return error }
    }

    mutating func catchUp(_ who: Int) { _ = people[who].core.insert(entries) }
    mutating func catchUpAll() {
        for who in people.indices { catchUp(who) }
    }

    var heads: [DeviceID: FeedPoint] {
        Dictionary(people.map { ($0.device, $0.point) }, uniquingKeysWith: { one, _ in one })
    }

    var state: CommunityState { people[0].core.state }
    func roles(_ who: Int) -> Set<Role> { state.members[people[who].member]?.roles ?? [] }
    func isMember(_ who: Int) -> Bool { state.isMember(people[who].member) }

    /// Everything held, in this order, at once or in pieces.
    func replica(_ entries: [StoredEntry], pieces: Int = 0, using random: inout SeededGenerator) -> CommunityCore {
        var core = CommunityCore(community: community)
        guard pieces > 0 else {
            _ = core.insert(entries)
            return core
        }
        var rest = entries[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...pieces, using: &random)
            _ = core.insert(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return core
    }

    /// The proposal passes or fails by the votes of `voters`, the founder's alone closing it.
    @discardableResult
    mutating func decide(
        _ action: ProposalBody.Action, by proposer: Int = 0, yes: [Int], no: [Int] = []
    ) throws -> (proposal: EntryID, close: EntryID) {
        let proposal = try act(proposer) { core, device throws(CommunityRefusal) in
            try core.proposal(title: "P", text: "", action: action, by: device)
        }
        for (voters, choice) in [(yes, VoteBody.Choice.yes), (no, .no)] {
            for voter in voters {
                try act(voter) { core, device throws(CommunityRefusal) in
                    try core.vote(choice, on: proposal, by: device)
                }
            }
        }
        let close = try act(0) { core, device throws(CommunityRefusal) in try core.close(proposal, by: device) }
        return (proposal, close)
    }
}

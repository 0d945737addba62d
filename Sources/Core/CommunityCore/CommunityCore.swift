// SPDX-License-Identifier: Apache-2.0
package import TuttiJournal

import struct TuttiBase.Bytes32

/// The governance of one community: who belongs to it, what they may do, by which rules, and what was decided.
///
/// It takes governance entries in any order, whose signatures were checked (``GovernanceEntry/isAuthentic(_:)``), and the
/// forks that the journal has proven. `state`, `roster` and `head` are a pure function of the two sets: an entry that
/// changes nothing about others is judged alone; for any other everything is judged anew.
///
/// It reads no clock, checks no signature, and sends nothing. Follows docs/protocols/community.md.
package struct CommunityCore: Sendable {
    /// What a call has changed.
    package struct Change: Hashable, Sendable {
        package var state = false
        /// Whether ``CommunityCore/roster`` is another one now.
        package var roster = false
        /// Entries that others build on and that are not here, ascending; to be fetched by id, from frozen and cut feeds
        /// as well.
        package var missing: [EntryID] = []
    }

    package struct Stats: Hashable, Sendable {
        package var entries = 0
        /// No governance, without a body, or of no good form.
        package var refused = 0
        package var judgedAlone = 0
        package var judgedAnew = 0

        package init() {}
    }

    /// So many new entries at a time are judged one by one; with more, everything at once is cheaper.
    private static let aloneMax = 8

    package let community: CommunityID
    package private(set) var state: CommunityState
    package private(set) var roster = Roster()
    package private(set) var stats = Stats()
    private(set) var fold = GovernanceFold()
    /// Entries with an effect that no other such entry builds on.
    private(set) var tips: Set<Int> = []

    package init(community: CommunityID) {
        self.community = community
        state = CommunityState(community: community)
        roster.introducing = EntryKind.introducing
    }

    // MARK: Inputs

    /// Entries from the disk or of `.fold`; those that are here already, and those that aren't governance, are passed
    /// over.
    package mutating func insert(_ entries: [StoredEntry]) -> Change {
        var parsed: [GovernanceEntry] = []
        for stored in entries where stored.entry.header.kind.isGovernance {
            guard stored.entry.header.community == community, let entry = try? GovernanceEntry(stored.entry) else {
                stats.refused += 1
                continue
            }
            parsed.append(entry)
        }
        return insert(parsed)
    }

    mutating func insert(_ entries: [GovernanceEntry]) -> Change {
        let forks = fold.graph.forksCount
        var places: [Int] = []
        for entry in entries { places += fold.insert(entry) }
        stats.entries = fold.graph.nodes.count
        guard !places.isEmpty else { return Change(missing: fold.graph.missing) }
        rosterHasChanged = false
        if places.count <= Self.aloneMax, forks == fold.graph.forksCount, places.allSatisfy(isAlone),
            places.count == 1 || !places.contains(where: takesSomething)
        {
            for place in places {
                fold.judgeLast(place, closes: fold.facts.acts[place].kind == .close)
                apply(place)
            }
            stats.judgedAlone += places.count
        } else {
            judgeAnew()
        }
        return Change(state: true, roster: rosterHasChanged, missing: fold.graph.missing)
    }

    /// Entries of `.foldUndone`.
    package mutating func remove(_ ids: [EntryID]) -> Change {
        let gone = Set(ids.filter(fold.graph.holds))
        guard !gone.isEmpty else { return Change() }
        let old = fold.graph
        fold = GovernanceFold()
        for entry in old.entries where !gone.contains(entry.id) { _ = fold.insert(entry) }
        // Forks that proofs have shown stay; one that only showed here is found again if both entries are left.
        for (device, fork) in provenForks { _ = fold.setFork(of: device, at: fork) }
        judgeAnew()
        return Change(state: true, roster: rosterHasChanged, missing: fold.graph.missing)
    }

    private var rosterHasChanged = false
    private var provenForks: [DeviceID: EntrySequence] = [:]

    /// Proofs that the journal holds, the canonical one for each device: where the feed becomes ambiguous.
    package mutating func addForks(_ forks: [DeviceID: EntrySequence]) -> Change {
        var isNews = false
        for (device, sequence) in forks {
            provenForks[device] = min(provenForks[device] ?? sequence, sequence)
            if fold.setFork(of: device, at: sequence) { isNews = true }
        }
        guard isNews else { return Change(missing: fold.graph.missing) }
        judgeAnew()
        return Change(state: true, roster: rosterHasChanged, missing: fold.graph.missing)
    }

    // MARK: Outputs

    /// Whether the entry of a device that the roster doesn't name is worth keeping: the founding, a device of a member,
    /// a join by an invite that is here and still has room for some.
    package func introduces(_ entry: Entry) -> Bool {
        guard entry.header.community == community, let parsed = try? GovernanceEntry(entry) else { return false }
        switch parsed.body {
        case .founding: return true
        case .deviceCertificate(let certificate): return state.isMember(certificate.member)
        case .join(let body):
            guard let place = fold.graph.places[body.invite],
                case .invite(let terms) = fold.graph.nodes[place].entry.body, terms.key == body.inviteKey
            else { return false }
            return (fold.facts.joins[place]?.count ?? 0) < terms.uses + CommunityLimits.joinsPendingMax
        default: return false
        }
    }

    /// The greatest tip by (depth, id), for headers.
    package var head: EntryID { orderedTips.first.map { fold.graph.nodes[$0].entry.id } ?? .none }

    /// What a new governance entry builds on, ascending: the greatest tips.
    package var parents: [EntryID] {
        orderedTips.prefix(CommunityLimits.parentsMax).map { fold.graph.nodes[$0].entry.id }.sorted()
    }

    private var orderedTips: [Int] { tips.sorted { fold.graph.precedes($1, $0) } }

    package var missing: [EntryID] { fold.graph.missing }

    // MARK: Judging

    /// Whether the new entry changes nothing about the others, so that it can be judged alone.
    private func isAlone(_ place: Int) -> Bool {
        let (graph, facts) = (fold.graph, fold.facts)
        let node = graph.nodes[place]
        let isOnTop = tips.allSatisfy { fold.past(place, holds: $0) }
        if fold.buildsOnLeftOut(place) { return false }
        switch node.entry.body {
        case .founding: return false
        case .proposal, .vote, .vouch, .vouchWithdrawal, .label, .labelWithdrawal, .acknowledgement, .unknown,
            .admit, .roleGrant:
            return true
        case .deviceCertificate: return graph.devices[node.device].certificates.count == 1
        case .deviceRevocation(let body):
            guard let device = graph.knownIndex(of: body.cut.device), graph.devices[device].fork == nil else {
                return false
            }
            return graph.devices[device].nodes.allSatisfy { !body.cut.isVoid(graph.nodes[$0].entry.point) }
        case .invite:
            guard let owner = facts.acts[place].owner else { return true }
            return facts.members[owner].invites.last == place
        case .join(let body):
            guard let invite = graph.places[body.invite] else { return false }
            return facts.joins[invite]?.last == place && graph.devices[node.device].certificates.count == 1
        case .inviteClose(let body):
            guard let invite = graph.places[body.invite], let sponsor = facts.acts[invite].owner else { return false }
            return (facts.joins[invite] ?? []).allSatisfy { join in
                fold.memo.rank(join) == nil || body.joins.contains(graph.nodes[join].entry.id)
            } && facts.members[sponsor].invites.allSatisfy { fold.memo.rank($0) != nil }
        case .leave, .roleRemoval, .memberRemoval: return isOnTop && takesNothingBack(place)
        case .close:
            guard fold.verdicts[place]?.isSound ?? false else { return true }
            return isOnTop && graph.forksCount == 0 && takesNothingBack(place)
        }
    }

    /// Whether the kind may take something from others.
    private func takesSomething(_ place: Int) -> Bool {
        switch fold.facts.acts[place].kind {
        case .own, .close, .inviteClose, .roleRemoval, .memberRemoval: true
        default: false
        }
    }

    /// Whether nothing is held that the removals of this entry leave without effect.
    private func takesNothingBack(_ place: Int) -> Bool {
        (fold.subjects(of: place) + [fold.facts.acts[place].owner].compactMap(\.self)).allSatisfy { member in
            let removals = fold.facts.members[member].removals.filter { $0.place == place }
            guard !removals.isEmpty else { return true }
            // Behind a fork a cut gives back, too.
            return fold.devices(of: member).allSatisfy { device in
                fold.graph.devices[device].fork == nil
                    && fold.graph.devices[device].nodes.allSatisfy { node in
                        node == place || !removals.contains { fold.isBeyond($0, node) }
                    }
            }
        }
    }

    private mutating func judgeAnew() {
        stats.judgedAnew += 1
        fold.judge()
        let before = roster
        state = CommunityState(community: community)
        roster = Roster()
        roster.introducing = EntryKind.introducing
        tips = []
        defer { rosterHasChanged = roster != before }
        applyCharter()
        for member in fold.facts.members.indices { applyMember(member) }
        for place in fold.graph.nodes.indices { applyRows(place, isAnew: true) }
    }

    private mutating func apply(_ place: Int) {
        let act = fold.facts.acts[place]
        if act.kind == .close {
            let before = state.charterDigest
            applyCharter()
            if state.charterDigest != before {
                for member in fold.facts.members.indices { applyMember(member) }
            }
            for proposal in state.proposals.values where proposal.outcome == .open {
                if let place = fold.graph.places[proposal.id] { state.proposals[proposal.id] = fold.proposal(place) }
            }
        }
        applyRows(place, isAnew: false)
        if let owner = act.owner { applyMember(owner) }
        for member in fold.subjects(of: place) where member != act.owner { applyMember(member) }
    }

    private mutating func applyCharter() {
        let line = fold.memo.line
        state.charter = line.last?.charter
        state.charterDigest = line.last?.digest
        state.charterEdition = line.count
        state.founder = fold.facts.founding.flatMap { fold.facts.acts[$0].owner }.map { fold.facts.members[$0].id }
        if fold.isCharterUnknown(fold.memo) || (fold.facts.founding != nil && line.isEmpty) {
            state.updatesNeeded.insert(nil)
        }
    }

    /// A member, the member's devices and joins.
    private mutating func applyMember(_ index: Int) {
        var memo = fold.memo
        let facts = fold.facts.members[index]
        let member = fold.member(index, &memo)
        let isMember = !(member?.roles.isEmpty ?? true)
        state.members[facts.id] = member
        for place in facts.certificates where fold.facts.acts[place].kind == .join {
            let id = fold.graph.nodes[place].entry.id
            state.pendingJoins[id] = fold.pendingJoin(place, of: index, isMember: isMember)
        }
        let isPending = member == nil && facts.certificates.contains { fold.facts.acts[$0].kind == .join }
        for index in fold.devices(of: index) {
            let id = fold.graph.devices[index].id
            guard member != nil || isPending, let device = fold.device(index, isMember: isMember, &memo) else {
                state.devices[id] = nil
                if roster.devices.removeValue(forKey: id) != nil { rosterHasChanged = true }
                continue
            }
            state.devices[id] = member == nil ? nil : device
            let entry = entry(of: device, roles: member?.roles ?? [])
            guard roster.devices[id] != entry else { continue }
            roster.devices[id] = entry
            rosterHasChanged = true
        }
    }

    private func entry(of device: CommunityState.Device, roles: Set<Role>) -> Roster.Device {
        let charter = state.charter
        let quota = roles.map { charter?.policy($0).quotaBytesPerDay ?? 0 }.max() ?? 0
        let mayWrite = roles.contains { charter?.allows($0, .write) ?? false && $0.rank <= .member }
        let since = fold.graph.places[device.certificate].map { fold.graph.nodes[$0].entry.time.milliseconds } ?? 0
        return Roster.Device(
            member: device.member, quotaBytesPerDay: max(quota, CommunityLimits.governanceQuotaBytesPerDay),
            since: since, cut: device.cut,
            open: mayWrite ? .all : .governance(and: roles.isEmpty ? [] : charter?.guestKinds ?? []))
    }

    private mutating func applyRows(_ place: Int, isAnew: Bool) {
        let node = fold.graph.nodes[place]
        let id = node.entry.id
        if fold.hasEffect(place) {
            for edge in node.edges { tips.remove(edge) }
            tips.insert(place)
        }
        func holds(_ other: EntryID) -> Int? { fold.graph.places[other] }
        switch node.entry.body {
        case .invite: state.invites[id] = fold.invite(place)
        case .join(let body) where !isAnew:
            if let invite = holds(body.invite) { state.invites[body.invite] = fold.invite(invite) }
        case .proposal: state.proposals[id] = fold.proposal(place)
        case .inviteClose(let body) where !isAnew:
            if let invite = holds(body.invite) { state.invites[body.invite] = fold.invite(invite) }
        case .vote(let body) where !isAnew:
            if let proposal = holds(body.proposal) { state.proposals[body.proposal] = fold.proposal(proposal) }
        case .close(let body) where !isAnew:
            if let proposal = holds(body.proposal) { state.proposals[body.proposal] = fold.proposal(proposal) }
        case .vouch, .vouchWithdrawal, .label, .labelWithdrawal: applyWords(place)
        case .unknown(let object):
            if node.entry.isCritical, fold.memo.rank(place) != nil { state.updatesNeeded.insert(object) }
        default: break
        }
    }

    /// Vouches and labels. What takes one back stands behind it in the graph.
    private mutating func applyWords(_ place: Int) {
        let entry = fold.graph.nodes[place].entry
        guard fold.memo.rank(place) != nil, let owner = fold.facts.acts[place].owner else { return }
        let author = fold.facts.members[owner].id
        switch entry.body {
        case .vouch(let body):
            state.vouches[entry.id] = CommunityState.Vouch(
                id: entry.id, author: author, body: body, depth: fold.graph.nodes[place].depth)
        case .vouchWithdrawal(let id):
            if let vouch = state.vouches.removeValue(forKey: id) { state.vouchesWithdrawn[id] = vouch }
        case .label(let body):
            state.labels[entry.id] = CommunityState.Label(id: entry.id, author: author, body: body)
        case .labelWithdrawal(let body):
            guard let known = state.labels[body.label]?.withdrawn else {
                state.labels[body.label]?.withdrawn = body.reason
                break
            }
            // Of several reasons the same one everywhere.
            state.labels[body.label]?.withdrawn = min(known, body.reason)
        default: break
        }
    }
}

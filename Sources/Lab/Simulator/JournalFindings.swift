// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// What a run of the journal left on honest disks and in honest heads, and what may never be there.
struct JournalFindings {
    // Entries
    private var sentMissing = 0
    private var othersMissing = 0
    /// Of dead authors: no honest disk that is left ever had it.
    private var gone = 0
    private let sentTooEarly: Int
    private let falseReceipts: Int
    // Feeds
    private var honestFrozen = 0
    private var honestCut = 0
    private var forkedNotFrozen = 0
    private let copies: Int
    private let refusedAppends: Int
    private let requestsMost: Int
    private let requestsBound: Int
    // Governance
    private var strangers = 0
    private var outcasts = 0
    private var usurpers = 0
    private var editions = 0
    private var endsNotDecided = 0
    private var endsMissing = 0

    init(_ lab: inout JournalNetwork) {
        sentTooEarly = lab.sentTooEarly
        falseReceipts = lab.fleet.hosts?.falseReceipts.honest ?? 0
        copies = lab.copies
        refusedAppends = lab.refusedAppends
        requestsMost = lab.fleet.hosts?.requestsMost ?? 0
        requestsBound = 60 + Int((lab.fleet.now - Instant.zero).secondsForDisplay)
        findMissing(&lab)
        findFrozen(lab)
        if let state = lab.replica(0)?.community.state { findUsurped(lab, state) }
    }

    func check(_ result: inout ScenarioResult) {
        func none(_ name: String, _ count: Int) { result.check(name, Double(count), expected: 0, tolerance: 0) }
        none("sent entries of honest authors missing", sentMissing)
        none("other entries of honest authors missing", othersMissing)
        none("honest feeds frozen", honestFrozen)
        none("honest feeds cut", honestCut)
        none("forked feeds not frozen", forkedNotFrozen)
        none("honest nodes that gave their feed up", copies)
        none("appends refused to honest nodes", refusedAppends)
        none("receipts of honest nodes for what their disks lack", falseReceipts)
        none("entries called sent with fewer than two receipts", sentTooEarly)
    }

    func checkGovernance(_ result: inout ScenarioResult) {
        func none(_ name: String, _ count: Int) { result.check(name, Double(count), expected: 0, tolerance: 0) }
        result.add("entries that were lost with the last honest disk", Double(gone))
        none("members whom nobody let in", strangers)
        none("honest members without their membership", outcasts)
        none("liars who are founder, or admin without the founder", usurpers)
        none("amendments of liars in force", editions)
        none("proposals ended by liars", endsNotDecided)
        none("proposals that stayed open", endsMissing)
        result.check(
            "requests of one honest node to one that lies in sync, most", Double(requestsMost),
            atMost: Double(requestsBound))
    }

    // MARK: Entries

    /// Of what honest authors were told is on their disk: what is not on the disk of each honest node. What an author
    /// took along that died is asked for only if an honest disk that is left had it once.
    private mutating func findMissing(_ lab: inout JournalNetwork) {
        let (now, honest) = (lab.fleet.now, lab.honest)
        let alive = Set(honest)
        var wanted: [JournalNetwork.Written] = []
        for item in lab.written where lab.manners[item.node] == .honest {
            if alive.contains(item.node) || item.holders.contains(where: alive.contains) {
                wanted.append(item)
            } else {
                gone += 1
            }
        }
        for node in honest {
            let query = JournalQuery.entries(wanted.map(\.entry.id))
            guard case .entries(let found) = lab.fleet.hosts?.answer(node, query, at: now) else { continue }
            let held = Set(found.filter { $0.entry.content != nil }.map(\.entry.id))
            for item in wanted where !held.contains(item.entry.id) {
                if item.entry.header.sequence <= lab.sent[item.node] { sentMissing += 1 } else { othersMissing += 1 }
            }
        }
    }

    // MARK: Feeds

    /// A fork is proven only if somebody honest that lives on has seen both sides: liars who keep one to themselves
    /// harm nobody.
    private mutating func findFrozen(_ lab: borrowing JournalNetwork) {
        let forkers = lab.fleet.hosts?.forkersSeen ?? []
        let devices = lab.manners.indices.filter { lab.manners[$0].isHonest }.map { lab.device($0) }
        let staying = lab.manners.indices.filter { lab.manners[$0] == .honest }.map { lab.device($0) }
        for node in lab.honest {
            guard let replica = lab.replica(node) else { continue }
            honestFrozen += devices.count { replica.journal.feed($0)?.isFrozen ?? false }
            honestCut += staying.count { replica.community.roster.devices[$0]?.cut != nil }
            forkedNotFrozen += forkers.count { !(replica.journal.feed($0)?.isFrozen ?? false) }
        }
    }

    // MARK: Governance

    private mutating func findUsurped(_ lab: borrowing JournalNetwork, _ state: CommunityState) {
        let people = Set((0..<lab.count).map { lab.member($0) })
        let devices = Set((0..<lab.count).map { lab.device($0) })
        strangers =
            state.members.keys.count { !people.contains($0) } + state.devices.keys.count { !devices.contains($0) }
        let admins = Set((lab.nodes(.corrupted) + [lab.deputy ?? 0]).map { lab.member($0) })
        for node in 0..<lab.count {
            let member = lab.member(node)
            let roles = state.members[member]?.roles ?? []
            if lab.manners[node] == .honest, !roles.contains(node == 0 ? .founder : .member) { outcasts += 1 }
            if roles.contains(.founder), node != 0 { usurpers += 1 }
            if roles.contains(.admin), !admins.contains(member) { usurpers += 1 }
        }
        editions = state.charterEdition - 1
        for proposal in state.proposals.values {
            switch proposal.outcome {
            case .open, .lapsed: if lab.ends[proposal.id] != nil { endsMissing += 1 }
            case .passed: if lab.ends[proposal.id] != true { endsNotDecided += 1 }
            case .rejected: if lab.ends[proposal.id] != false { endsNotDecided += 1 }
            }
        }
    }
}

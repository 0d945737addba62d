// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

/// Charter and proposals, as they are shown and made.
extension CommunityNode {
    func charter() async throws -> CharterSummary {
        try await read { port in
            let state = port.community.state
            guard let charter = state.charter else { throw CommunityRefusal.notFounded }
            return CharterSummary(
                edition: state.charterEdition, digest: state.charterDigest.map(Names.text) ?? "",
                text: Self.lines(charter, state).joined(separator: "\n"), rules: CharterDocument(charter, state))
        }
    }

    func proposals() async throws -> [ProposalSummary] {
        try await read { port in
            let state = port.community.state
            return state.proposals.values.sorted { $0.id < $1.id }.map { proposal in
                func count(_ choice: VoteBody.Choice) -> Int { proposal.votes.count { $0.choice == choice } }
                let ballot = port.community.ballot(on: proposal.id)
                return ProposalSummary(
                    id: Names.text(proposal.id.bytes), title: proposal.body.title, text: proposal.body.text,
                    author: state.nickname(proposal.author), action: Self.text(proposal.body.action, state),
                    yes: count(.yes), no: count(.no), abstain: count(.abstain), outcome: Self.text(proposal),
                    electorate: ballot?.electorate, until: ballot.map { Self.end(of: $0.made, state) })
            }
        }
    }

    private static func end(of made: HybridTime, _ state: CommunityState) -> Date {
        Names.date(made).addingTimeInterval(3_600 * Double(state.charter?.votingHours ?? 0))
    }

    func propose(title: String, text: String, action: ProposedAction) async throws -> String {
        let entry = try await actAlone { port, device in
            let action = try Self.action(action, because: text, port)
            return try port.community.proposal(title: title, text: text, action: action, by: device)
        }
        return Names.text(entry.id.bytes)
    }

    private static func action(
        _ proposed: ProposedAction, because reason: String, _ port: borrowing JournalPort
    ) throws -> ProposalBody.Action {
        let state = port.community.state
        switch proposed {
        case .resolution: return .resolution
        case .grant(let name, let role):
            return .grant(RoleGrantBody(member: try state.member(typed: name), role: try Names.role(role)))
        case .removeRole(let name, let role):
            let member = try state.member(typed: name)
            let cuts = port.community.cuts(of: member, port.heads)
            return .removeRole(
                RoleRemovalBody(member: member, role: try Names.role(role), cuts: cuts, reason: reason))
        case .removeMember(let name, let reason):
            let member = try state.member(typed: name)
            let cuts = port.community.cuts(of: member, port.heads)
            return .removeMember(MemberRemovalBody(member: member, cuts: cuts, reason: reason))
        case .amend(let document):
            let charter = try document.charter(state)
            return try port.community.amendment { $0 = charter }
        }
    }

    func vote(_ typed: String, _ choice: VoteChoice) async throws {
        let vote: VoteBody.Choice =
            switch choice {
            case .yes: .yes
            case .no: .no
            case .abstain: .abstain
            }
        try await actAlone { port, device in
            try port.community.vote(vote, on: try Self.proposal(typed, port.community.state), by: device)
        }
    }

    func close(_ typed: String, early: Bool) async throws -> CommunityReply {
        let now = Date()
        let id = try await read { try Self.proposal(typed, $0.community.state) }
        try await actAlone { port, device in
            let state = port.community.state
            if !early, let ballot = port.community.ballot(on: id), let proposal = state.proposals[id],
                proposal.signers.isEmpty, proposal.votes.count < ballot.electorate
            {
                let end = Self.end(of: ballot.made, state)
                guard now >= end else {
                    throw CommunityError(
                        .notAllowed,
                        "\(proposal.votes.count) of \(ballot.electorate) have voted, and it is open until \(end.formatted(.iso8601)): wait, or end it with --early"
                    )
                }
            }
            return try port.community.close(id, by: device)
        }
        let text = Names.text(id.bytes)
        return .proposals(try await proposals().filter { $0.id == text })
    }

    private static func proposal(_ typed: String, _ state: CommunityState) throws -> EntryID {
        try Names.match(typed, state.proposals.keys.sorted(), \.bytes, "proposal")
    }

    // MARK: Words

    private static func text(_ proposal: CommunityState.Proposal) -> String {
        switch proposal.outcome {
        case .open:
            proposal.signers.isEmpty ? "open" : "open, \(proposal.signers.count) have signed its end"
        case .passed: "passed"
        case .rejected: "rejected"
        case .lapsed: "lapsed: the charter was replaced"
        }
    }

    private static func text(_ action: ProposalBody.Action, _ state: CommunityState) -> String {
        switch action {
        case .resolution: "resolution"
        case .amend(let bytes): "another charter (\(changes(bytes, state)))"
        case .grant(let body): "\(state.nickname(body.member)) becomes \(body.role)"
        case .removeRole(let body): "\(state.nickname(body.member)) is no longer \(body.role)"
        case .removeMember(let body): "\(state.nickname(body.member)) is removed"
        }
    }

    /// What would be another rule than now.
    private static func changes(_ bytes: [UInt8], _ state: CommunityState) -> String {
        guard let proposed = try? Charter(bytes) else { return "of a newer version of the program: update this one" }
        let now = state.charter.map { lines($0, state) } ?? []
        let changed = lines(proposed, state).filter { !now.contains($0) }
        return changed.isEmpty ? "as in force" : changed.joined(separator: "; ")
    }

    private static func lines(_ charter: Charter, _ state: CommunityState) -> [String] {
        func names(_ members: [MemberID]) -> String { members.map(state.nickname).joined(separator: ", ") }
        func text(_ rule: Charter.Rule) -> String {
            let basis = rule.basis == .allMembers ? "all members" : "those who wrote lately"
            return "\(rule.yes.numerator)/\(rule.yes.denominator) yes, with \(rule.quorum.numerator)/"
                + "\(rule.quorum.denominator) of \(basis) voting"
        }
        var lines = [
            "name: \(charter.name)", "overlay: \(charter.overlay)",
            "admission: \(charter.admission == .invite ? "by invite" : "by invite and approval")",
            "decisions: \(text(charter.decision))", "amendments: \(text(charter.amendment))",
            "voting: at least \(charter.votingHours) h",
            "proposals are closed by: \(names(charter.signers)) (\(charter.signersNeeded) must sign)",
            "lowest version of the program: \(charter.lowestVersion)",
        ]
        if !charter.guestKinds.isEmpty {
            lines.append("guests may write: \(charter.guestKinds.map(Names.text).joined(separator: ", "))")
        }
        for role in Role.allCases {
            let policy = charter.policy(role)
            let may = Permissions.named.filter { policy.permissions.contains($0.0) }.map(\.1).joined(separator: ", ")
            lines.append(
                "\(role): \(may.isEmpty ? "reads" : may); \(policy.quotaBytesPerDay) bytes a day, \(policy.invitesMax) invites"
            )
        }
        return lines + CharterDocument.Market.lines(charter.market)
    }
}

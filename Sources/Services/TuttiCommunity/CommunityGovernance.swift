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
            guard let charter = state.charter else { return nil }
            return CharterSummary(
                edition: state.charterEdition, digest: state.charterDigest.map(Names.text) ?? "",
                text: Self.text(charter, state))
        }
            ?? { throw CommunityError(.noCommunity, "\(CommunityRefusal.notFounded)") }()
    }

    func proposals() async throws -> [ProposalSummary] {
        try await read { port in
            let state = port.community.state
            return state.proposals.values.sorted { $0.id < $1.id }.map { proposal in
                func count(_ choice: VoteBody.Choice) -> Int { proposal.votes.count { $0.choice == choice } }
                return ProposalSummary(
                    id: Names.text(proposal.id.bytes), title: proposal.body.title, text: proposal.body.text,
                    author: state.members[proposal.author]?.nickname ?? "?",
                    action: Self.text(proposal.body.action, state), yes: count(.yes), no: count(.no),
                    abstain: count(.abstain), outcome: Self.text(proposal))
            }
        }
    }

    func propose(title: String, text: String, action: ProposedAction) async throws -> String {
        let members = try await read { port in Array(port.community.state.members.values) }
        func member(_ typed: String) throws -> MemberID {
            if let named = members.filter({ $0.nickname == typed }).only { return named.id }
            return try Names.match(typed, members.map(\.id), \.bytes, "member")
        }
        func role(_ typed: String) throws -> Role {
            guard let role = Role.allCases.first(where: { "\($0)" == typed }) else {
                let all = Role.allCases.map { "\($0)" }.joined(separator: ", ")
                throw CommunityError(.invalidInput, "no role '\(typed)': there are \(all)")
            }
            return role
        }
        let draft: @Sendable (borrowing JournalPort) throws -> ProposalBody.Action
        switch action {
        case .resolution: draft = { _ in .resolution }
        case .grant(let name, let wanted):
            let body = RoleGrantBody(member: try member(name), role: try role(wanted))
            draft = { _ in .grant(body) }
        case .removeRole(let name, let wanted):
            let (id, role) = (try member(name), try role(wanted))
            draft = { port in
                .removeRole(
                    RoleRemovalBody(
                        member: id, role: role, cuts: port.community.cuts(of: id, port.heads), reason: text))
            }
        case .removeMember(let name, let reason):
            let id = try member(name)
            draft = { port in
                .removeMember(
                    MemberRemovalBody(member: id, cuts: port.community.cuts(of: id, port.heads), reason: reason))
            }
        case .amend:
            throw CommunityError(.invalidInput, "amendments by file come later")
        }
        let entries = try await act { port, device in
            try [port.community.proposal(title: title, text: text, action: try draft(port), by: device)]
        }
        guard let entry = entries.first else { throw CommunityError(.stopped, "the node stopped") }
        return Names.text(entry.id.bytes)
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
        func name(_ member: MemberID) -> String { state.members[member]?.nickname ?? Names.text(member.bytes) }
        return switch action {
        case .resolution: "resolution"
        case .amend: "another charter"
        case .grant(let body): "\(name(body.member)) becomes \(body.role)"
        case .removeRole(let body): "\(name(body.member)) is no longer \(body.role)"
        case .removeMember(let body): "\(name(body.member)) is removed"
        }
    }

    private static func text(_ charter: Charter, _ state: CommunityState) -> String {
        func names(_ members: [MemberID]) -> String {
            members.map { state.members[$0]?.nickname ?? Names.text($0.bytes) }.joined(separator: ", ")
        }
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
            "proposals are closed by: \(names(charter.closers))",
        ]
        for role in Role.allCases {
            let policy = charter.policy(role)
            let may = Permissions.named.filter { policy.permissions.contains($0.0) }.map(\.1).joined(separator: ", ")
            lines.append(
                "\(role): \(may.isEmpty ? "reads" : may); \(policy.quotaBytesPerDay) bytes a day, \(policy.invitesMax) invites"
            )
        }
        return lines.joined(separator: "\n")
    }
}

extension Array {
    /// The element, when there is exactly one.
    fileprivate var only: Element? { count == 1 ? first : nil }
}

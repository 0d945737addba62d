// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiNodeCore

/// Members, what they may do, and what others say of them.
extension CommunityNode {
    func govern(_ command: GovernanceCommand) async throws -> CommunityReply? {
        switch command {
        case .members: return .members(try await members())
        case .charter: return .charter(try await charter())
        case .invite(let uses, let days, let role, let note):
            return .invited(link: try await invite(uses: uses, days: days, role: role, note: note))
        case .invites(let all): return .invites(try await invites(all: all))
        case .closeInvite(let invite): try await closeInvite(invite)
        case .admit(let member): return try await admit(member)
        case .grant(let member, let role): return try await grant(member, role)
        case .removeRole(let member, let role, let reason): return try await removeRole(member, role, reason)
        case .removeMember(let member, let reason): return try await removeMember(member, reason)
        case .leave(let anyway): try await leave(anyway: anyway)
        case .vouch(let member, let amount, let note): return try await vouch(member, amount, note)
        case .withdrawVouches(let member): return try await withdrawVouches(member)
        case .label(let subject, let label, let reason): return try await self.label(subject, label, reason)
        case .withdrawLabel(let label, let reason): return try await withdrawLabel(label, reason)
        case .labels: return .labels(try await labels())
        case .choose(let subject, let choice): try await choose(subject, choice)
        case .propose(let title, let text, let action):
            return .proposed(id: try await propose(title: title, text: text, action: action))
        case .proposals: return .proposals(try await proposals())
        case .vote(let proposal, let choice): try await vote(proposal, choice)
        case .close(let proposal, let early): return try await close(proposal, early: early)
        }
        return nil
    }

    // MARK: Reading

    /// Ordered by id; those who wait come last.
    func members() async throws -> [MemberSummary] {
        let choices = settings.choices
        return try await read { port in
            let state = port.community.state
            let vouches = Dictionary(grouping: state.vouches.values.sorted { $0.id < $1.id }, by: \.body.member)
            let labels = Dictionary(
                grouping: state.labels.values.filter { $0.withdrawn == nil }.sorted { $0.id < $1.id },
                by: \.body.subject)
            func summary(_ id: MemberID, _ nickname: String, _ member: CommunityState.Member?) -> MemberSummary {
                MemberSummary(
                    id: Names.text(id.bytes), nickname: nickname,
                    roles: (member?.roles ?? []).sorted().map { "\($0)" },
                    sponsor: member?.sponsor.map(state.nickname), deviceCount: member?.devices.count ?? 1,
                    ended: member?.ended.map(Names.text),
                    vouches: (vouches[id] ?? []).map { Self.summary($0, state) },
                    labels: (labels[.member(id)] ?? []).map { Self.summary($0, state) },
                    choice: choices[.member(id)])
            }
            let members = state.members.values.sorted { $0.id < $1.id }.map { summary($0.id, $0.nickname, $0) }
            let pending = state.pendingJoins.values.sorted { $0.id < $1.id }.map { join in
                var summary = summary(join.member, join.nickname, nil)
                summary.pending = Self.text(join.reason)
                return summary
            }
            return members + pending
        }
    }

    private func summary(of member: MemberID) async throws -> CommunityReply {
        let id = Names.text(member.bytes)
        guard let summary = try await members().first(where: { $0.id == id }) else {
            throw CommunityError(CommunityRefusal.unknownMember)
        }
        return .member(summary)
    }

    private static func summary(_ vouch: CommunityState.Vouch, _ state: CommunityState) -> VouchSummary {
        VouchSummary(
            id: Names.text(vouch.id.bytes), author: state.nickname(vouch.author), amount: vouch.body.amount,
            note: vouch.body.note)
    }

    private static func text(_ reason: CommunityState.PendingJoin.Reason) -> String {
        switch reason {
        case .approvalNeeded: "the charter asks for approval"
        case .inviteUsedUp: "the invite was used up"
        case .inviteExpired: "the invite had expired"
        case .inviteClosed: "the invite was closed"
        case .inviteVoid: "the invite doesn't count"
        case .removedBefore: "was removed before"
        }
    }

    private func member(_ typed: String) async throws -> MemberID {
        try await read { try $0.community.state.member(typed: typed) }
    }

    // MARK: Acts

    private func admit(_ typed: String) async throws -> CommunityReply {
        let join = try await read { port in
            let state = port.community.state
            guard !state.pendingJoins.isEmpty else { throw CommunityError(.notFound, "nobody waits to be admitted") }
            let id = try state.pendingJoin(typed: typed)
            return (id: id, member: state.pendingJoins[id]?.member)
        }
        try await actAlone { port, device in try port.community.admit(join.id, by: device) }
        return try await summary(of: join.member ?? MemberID(.zero))
    }

    private func grant(_ typed: String, _ role: String) async throws -> CommunityReply {
        let (member, role) = (try await member(typed), try Names.role(role))
        try await actAlone { port, device in try port.community.roleGrant(role, to: member, by: device) }
        return try await summary(of: member)
    }

    private func removeRole(_ typed: String, _ role: String, _ reason: String) async throws -> CommunityReply {
        let (member, role) = (try await member(typed), try Names.role(role))
        try await actAlone { port, device in
            try port.community.roleRemoval(role, from: member, heads: port.heads, reason: reason, by: device)
        }
        return try await summary(of: member)
    }

    private func removeMember(_ typed: String, _ reason: String) async throws -> CommunityReply {
        let member = try await member(typed)
        try await actAlone { port, device in
            try port.community.memberRemoval(member, heads: port.heads, reason: reason, by: device)
        }
        return try await summary(of: member)
    }

    /// Not without a word when nobody could end proposals any more: such a community can't change its charter either.
    private func leave(anyway: Bool) async throws {
        let own = settings.member
        try await actAlone { port, device in
            let state = port.community.state
            if !anyway, let charter = state.charter, let own, charter.signers.contains(own) {
                let left = charter.signers.count { $0 != own && state.isMember($0) }
                guard left >= charter.signersNeeded else {
                    throw CommunityError(
                        .notAllowed,
                        "without you nobody could end proposals: name others by an amendment (`tutti community propose --amend`), or leave with --anyway"
                    )
                }
            }
            return try port.community.leave(heads: port.heads, by: device)
        }
    }

    private func vouch(_ typed: String, _ amount: Int64, _ note: String) async throws -> CommunityReply {
        guard amount >= 0 else { throw CommunityError(.invalidInput, "one vouches for 0 or more") }
        let member = try await member(typed)
        try await actAlone { port, device in
            try port.community.vouch(for: member, amount: amount, note: note, by: device)
        }
        return try await summary(of: member)
    }

    private func withdrawVouches(_ typed: String) async throws -> CommunityReply {
        let (member, own) = (try await member(typed), settings.member)
        let vouches = try await read { port in
            port.community.state.vouches.values.filter { $0.body.member == member && $0.author == own }
                .map(\.id).sorted()
        }
        guard !vouches.isEmpty else { throw CommunityError(CommunityRefusal.unknownVouch) }
        for vouch in vouches {
            try await actAlone { port, device in try port.community.vouchWithdrawal(vouch, by: device) }
        }
        return try await summary(of: member)
    }
}

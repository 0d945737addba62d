// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiNodeCore

/// Labels, which everybody sees, and this node's own choices, which nobody else does.
extension CommunityNode {
    /// Among so many of the newest entries one is found by how its id begins.
    private static let newestMax = 1_000

    func labels() async throws -> [LabelSummary] {
        try await read { port in
            let state = port.community.state
            return state.labels.values.sorted { $0.id < $1.id }.map { Self.summary($0, state) }
        }
    }

    static func summary(_ label: CommunityState.Label, _ state: CommunityState) -> LabelSummary {
        let (kind, subject) =
            switch label.body.subject {
            case .member(let member): ("member", state.nickname(member))
            case .entry(let entry): ("entry", Names.text(entry.bytes))
            }
        return LabelSummary(
            id: Names.text(label.id.bytes), author: state.nickname(label.author), kind: kind, subject: subject,
            label: label.body.label, reason: label.body.reason, withdrawn: label.withdrawn)
    }

    func label(_ typed: String, _ label: String, _ reason: String) async throws -> CommunityReply {
        let subject = try await subject(typed)
        guard !reason.isEmpty else {
            throw CommunityError(.invalidInput, "say why: a label without a reason (--reason) helps nobody")
        }
        let entry = try await actAlone { port, device in
            try port.community.label(subject, label, reason: reason, by: device)
        }
        return try await summary(of: entry.id)
    }

    func withdrawLabel(_ typed: String, _ reason: String) async throws -> CommunityReply {
        let id = try await read { port in
            try Names.match(typed, port.community.state.labels.keys.sorted(), \.bytes, "label")
        }
        try await actAlone { port, device in try port.community.labelWithdrawal(id, reason: reason, by: device) }
        return try await summary(of: id)
    }

    private func summary(of label: EntryID) async throws -> CommunityReply {
        let id = Names.text(label.bytes)
        return .labels(try await labels().filter { $0.id == id })
    }

    func choose(_ typed: String, _ choice: ShownChoice) async throws {
        let subject = try await subject(typed)
        if case .member(let member) = subject, member == settings.member, choice == .hide {
            throw CommunityError(CommunityRefusal.ownMember)
        }
        // Nothing to overrule: what moderators say later counts.
        let isHidden = try await read { $0.community.state.hidingReasons[subject] != nil }
        try await keep { try $0.choices.set(subject, choice == .show && !isHidden ? .unset : choice) }
    }

    /// A member, or an entry: by its whole id, or by how the id of a new one begins.
    private func subject(_ typed: String) async throws -> LabelBody.Subject {
        let member = try await read { port -> Result<MemberID, CommunityError> in
            do { return .success(try port.community.state.member(typed: typed)) } catch let error as CommunityError {
                return .failure(error)
            }
        }
        switch member {
        case .success(let member): return .member(member)
        case .failure(let error) where error.code != .notFound: throw error
        case .failure: break
        }
        if let bytes = Names.bytes(typed),
            case .entries(let found) = await host.writer.answer(.entries([EntryID(bytes)])),
            !found.isEmpty
        {
            return .entry(EntryID(bytes))
        }
        let newest = try await log(count: Self.newestMax).compactMap { Names.bytes($0.id) }
        guard let id = try? Names.match(typed, newest, \.self, "entry") else {
            throw CommunityError(
                .notFound,
                "there is no member or entry '\(typed)' here: `tutti community members` and `tutti journal log` show what there is"
            )
        }
        return .entry(EntryID(id))
    }
}

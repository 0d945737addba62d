// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// People, roles and entries by what is typed for them.
extension CommunityState {
    /// Whoever is a member, else who was one: by nickname, or by how the id begins.
    func member(typed: String) throws -> MemberID {
        let all = members.values.map { (id: $0.id, nickname: $0.nickname) }
        let current = all.filter { isMember($0.id) }
        do {
            return try Names.person(typed, current, "member")
        } catch let error as CommunityError where error.code == .notFound {
            return try Names.person(typed, all, "member")
        }
    }

    /// Somebody who waits to be admitted. Of several joins of one person the first in the order of ids.
    func pendingJoin(typed: String) throws -> EntryID {
        let joins = pendingJoins.values.sorted { $0.id < $1.id }
        let people = Dictionary(joins.map { ($0.member, $0.nickname) }) { first, _ in first }
        let member = try Names.person(typed, people.map { ($0.key, $0.value) }, "waiting member")
        guard let join = joins.first(where: { $0.member == member }) else { throw CommunityRefusal.unknownJoin }
        return join.id
    }

    func nickname(_ member: MemberID) -> String { members[member]?.nickname ?? Names.text(member.bytes) }
}

extension Names {
    /// Of a whole id.
    static func bytes(_ typed: String) -> Bytes32? {
        guard typed.utf8.count == 2 * Bytes32.count else { return nil }
        return (try? BitText.base16.decode(typed.lowercased().utf8, textBytesMax: 2 * Bytes32.count, "id")).flatMap {
            Bytes32($0)
        }
    }

    static func role(_ typed: String) throws -> Role {
        guard let role = Role.allCases.first(where: { "\($0)" == typed }) else {
            let all = Role.allCases.map { "\($0)" }.joined(separator: ", ")
            throw CommunityError(.invalidInput, "no role '\(typed)': there are \(all)")
        }
        return role
    }

    /// A nickname goes before the beginning of an id; "@" before it does no harm.
    static func person(_ typed: String, _ people: [(id: MemberID, nickname: String)], _ what: String) throws -> MemberID
    {
        let typed = typed.hasPrefix("@") ? String(typed.dropFirst()) : typed
        let named = people.filter { $0.nickname == typed }
        guard named.count < 2 else {
            throw CommunityError(
                .invalidInput,
                "\(named.count) are called '\(typed)': type how the id begins, as `tutti community members` shows it")
        }
        if let named = named.first { return named.id }
        return try match(typed, people.map(\.id), \.bytes, what)
    }
}

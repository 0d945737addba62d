// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// People, roles and entries by what is typed for them.
extension CommunityState {
    /// Whoever is a member, else who was one: by nickname, or by how the id begins.
    func member(typed: String) throws -> MemberID {
        let all = members.values.sorted { $0.id < $1.id }.map { member in
            Names.Person(
                id: member.id, nickname: member.nickname, note: member.sponsor.map { "invited by \(nickname($0))" })
        }
        do {
            return try Names.person(typed, all.filter { isMember($0.id) }, "member")
        } catch let error as CommunityError where error.code == .notFound {
            return try Names.person(typed, all, "member")
        }
    }

    /// Somebody who waits to be admitted. Of several joins of one person the first in the order of ids.
    func pendingJoin(typed: String) throws -> EntryID {
        let joins = pendingJoins.values.sorted { $0.id < $1.id }
        var people: [Names.Person] = []
        for join in joins where !people.contains(where: { $0.id == join.member }) {
            people.append(Names.Person(id: join.member, nickname: join.nickname))
        }
        let member = try Names.person(typed, people, "waiting member")
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

    struct Person {
        let id: MemberID
        let nickname: String
        /// What tells people of one nickname apart.
        var note: String?
    }

    /// So many letters of an id: fewer are more likely a nickname that was mistyped, and letters go to one person alone.
    private static let idLettersMin = 4

    /// A nickname goes before the beginning of an id; "@" before it does no harm.
    static func person(_ typed: String, _ people: [Person], _ what: String) throws -> MemberID {
        let typed = typed.hasPrefix("@") ? String(typed.dropFirst()) : typed
        let named = people.filter { $0.nickname == typed }
        if let only = named.first, named.count == 1 { return only.id }
        guard named.isEmpty else {
            let list = named.map { person in
                "@\(text(person.id.bytes).prefix(12))" + (person.note.map { ", \($0)" } ?? "")
            }
            throw CommunityError(
                .invalidInput,
                "\(named.count) \(what)s are called '\(typed)': name one by its id, \(list.joined(separator: "; "))")
        }
        guard typed.utf8.count >= idLettersMin else {
            throw CommunityError(
                .notFound, "there is no \(what) '\(typed)' here: `tutti community members` lists them")
        }
        return try match(typed, people.map(\.id), \.bytes, what)
    }
}

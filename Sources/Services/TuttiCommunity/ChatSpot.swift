// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiJournal

/// Where something is said, as people name it.
struct ChatSpot: Sendable {
    /// Open in every community from its beginning.
    static let general = "general"

    let place: ChatPlace
    /// Under which its rows stand.
    let id: Bytes32
    /// As it is typed and shown.
    let name: String

    /// The other member of a conversation.
    var other: MemberID? {
        if case .direct(let member) = place { member } else { nil }
    }

    init(channel name: String, in community: CommunityID) {
        id = ChannelBody.id(of: name, in: community)
        place = .channel(id)
        self.name = name
    }

    init(with member: MemberID, called nickname: String, own: MemberID, in community: CommunityID) {
        place = .direct(member)
        id = place.id(author: own, in: community)
        name = "@" + nickname
    }

    /// A member by nickname, or by how the id begins.
    static func member(_ typed: String, in state: CommunityState) throws -> MemberID {
        let members = state.members.values.filter { state.isMember($0.id) }.sorted { $0.id < $1.id }
        let named = members.filter { $0.nickname == typed }
        if let only = named.first, named.count == 1 { return only.id }
        guard named.isEmpty else {
            let list = named.map { member in
                let sponsor = member.sponsor.flatMap { state.members[$0]?.nickname }.map { ", invited by \($0)" } ?? ""
                return "@\(Names.text(member.id.bytes).prefix(12))\(sponsor)"
            }
            throw CommunityError(
                .invalidInput,
                "\(named.count) members are called '\(typed)': name one by its id, \(list.joined(separator: "; "))")
        }
        if typed.utf8.count >= 4, let found = try? Names.match(typed, members.map(\.id), \.bytes, "member") {
            return found
        }
        throw CommunityError(.notFound, "no member '\(typed)': `tutti community members` lists them")
    }
}

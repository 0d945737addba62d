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
}

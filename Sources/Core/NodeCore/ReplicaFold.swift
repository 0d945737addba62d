// SPDX-License-Identifier: Apache-2.0
import TuttiCommunityCore
import TuttiJournal

/// What entries mean to this node: governance to CommunityCore, chat in channels to the rows that are shown. One batch at a
/// time. What is sealed is MailboxCore's.
struct ReplicaFold: Sendable {
    private(set) var community: CommunityCore
    private var chat: ChatFold
    /// Chat of the batch under way.
    private var arrivals: [ChatArrival] = []
    /// Openings of channels in it.
    private var openings: [JournalRow] = []

    init(community: CommunityID, member: MemberID) {
        self.community = CommunityCore(community: community)
        chat = ChatFold(community: community, own: member)
    }

    mutating func restore(_ governance: [StoredEntry], forks: [DeviceID: EntrySequence]) {
        _ = community.insert(governance)
        _ = community.addForks(forks)
    }

    mutating func setForks(_ forks: [DeviceID: EntrySequence]) -> CommunityCore.Change {
        community.addForks(forks)
    }

    mutating func undo(_ ids: [EntryID]) -> CommunityCore.Change { community.remove(ids) }

    /// - Returns: the messages whose rows `finish` must see.
    mutating func begin(_ entries: [StoredEntry]) -> (change: CommunityCore.Change, needed: [EntryID]) {
        let change = community.insert(entries)
        arrivals = entries.compactMap(arrival)
        openings = entries.compactMap(opening)
        return (change, arrivals.isEmpty ? [] : chat.rowsNeeded(for: arrivals))
    }

    mutating func finish(existing: [MessageRow]) -> [JournalRow] {
        defer { (arrivals, openings) = ([], []) }
        return openings + (arrivals.isEmpty ? [] : chat.rows(for: arrivals, existing: existing))
    }

    /// Nil for what isn't chat, and for chat that can't be read.
    private func arrival(_ stored: StoredEntry) -> ChatArrival? {
        guard stored.entry.header.kind == .chat, let content = stored.entry.content,
            let author = community.roster.devices[stored.entry.header.device]?.member,
            let body = try? ChatBody(bytes: content.body)
        else { return nil }
        return ChatArrival(stored, author: author, isSealed: false, body: body)
    }

    private func opening(_ stored: StoredEntry) -> JournalRow? {
        guard stored.entry.header.kind == .channel, let content = stored.entry.content,
            let author = community.roster.devices[stored.entry.header.device]?.member,
            let body = try? ChannelBody(bytes: content.body)
        else { return nil }
        return .message(ChatChannels.row(stored, author: author, body))
    }
}

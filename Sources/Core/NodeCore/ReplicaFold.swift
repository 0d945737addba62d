// SPDX-License-Identifier: Apache-2.0
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket

/// What entries mean to this node: governance to CommunityCore, chat in channels and listings to the rows that are shown.
/// One batch at a time. What is sealed is MailboxCore's.
struct ReplicaFold: Sendable {
    private(set) var community: CommunityCore
    private var chat: ChatFold
    private var listings = ListingFold()
    /// Chat of the batch under way.
    private var arrivals: [ChatArrival] = []
    /// Openings of channels in it.
    private var openings: [JournalRow] = []
    private var listingArrivals: [ListingArrival] = []

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

    /// - Returns: the rows that `finish` must see.
    mutating func begin(_ entries: [StoredEntry]) -> (change: CommunityCore.Change, needed: RowsNeeded) {
        let change = community.insert(entries)
        arrivals = entries.compactMap(arrival)
        openings = entries.compactMap(opening)
        listingArrivals = entries.compactMap(listingArrival)
        return (
            change,
            RowsNeeded(
                messages: arrivals.isEmpty ? [] : chat.rowsNeeded(for: arrivals),
                listings: listingArrivals.isEmpty ? [] : listings.rowsNeeded(for: listingArrivals))
        )
    }

    mutating func finish(existing: [JournalRow]) -> [JournalRow] {
        defer { (arrivals, openings, listingArrivals) = ([], [], []) }
        var (messageRows, listingRows): ([MessageRow], [ListingRow]) = ([], [])
        for row in existing {
            switch row {
            case .message(let row): messageRows.append(row)
            case .listing(let row): listingRows.append(row)
            case .document, .opened, .removed: break
            }
        }
        let said = arrivals.isEmpty ? [] : chat.rows(for: arrivals, existing: messageRows)
        return openings + said
            + (listingArrivals.isEmpty ? [] : listings.rows(for: listingArrivals, existing: listingRows))
    }

    /// Nil for what isn't chat, and for chat that can't be read.
    private func arrival(_ stored: StoredEntry) -> ChatArrival? {
        guard stored.entry.header.kind == .chat, let content = stored.entry.content,
            let author = community.roster.devices[stored.entry.header.device]?.member,
            let body = try? ChatBody(bytes: content.body)
        else { return nil }
        return ChatArrival(stored, author: author, isSealed: false, body: body)
    }

    private func listingArrival(_ stored: StoredEntry) -> ListingArrival? {
        community.roster.devices[stored.entry.header.device].flatMap { ListingArrival(stored, author: $0.member) }
    }

    private func opening(_ stored: StoredEntry) -> JournalRow? {
        guard stored.entry.header.kind == .channel, let content = stored.entry.content,
            let author = community.roster.devices[stored.entry.header.device]?.member,
            let body = try? ChannelBody(bytes: content.body)
        else { return nil }
        return .message(ChatChannels.row(stored, author: author, body))
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiNodeCore

/// Chat in channels and in conversations of two.
extension CommunityNode {
    /// Among so many of the newest a message is found by how its id begins.
    private static let lookBackMax = 1_000
    /// Messages that are new to a reader are counted up to here.
    private static let unreadMax = 100
    /// Own messages that are looked at when others have told what they hold.
    private static let sentMax = 20
    /// What is written and on disk is read within this, or says why not.
    private static let mailboxTimeout: Duration = .seconds(10)

    func chat(_ command: ChatCommand) async throws -> CommunityReply? {
        switch command {
        case .edit(let typed, let message, let text):
            let spot = try await spot(typed)
            let row = try await own(message, in: spot)
            return .message(try await say(.edit(row.id, text), in: spot, about: row.id))
        case .delete(let typed, let message):
            let spot = try await spot(typed)
            let row = try await own(message, in: spot)
            return .message(try await say(.deletion(row.id), in: spot, about: row.id))
        case .channels: return .channels(try await channels())
        case .open(let name, let purpose): return .channels([try await open(name, purpose: purpose)])
        case .read(let typed, let through):
            try await markRead(try await spot(typed), through: through)
            return nil
        }
    }

    func send(_ text: String, to typed: String) async throws -> MessageSummary {
        try await say(.post(text), in: try await spot(typed))
    }

    /// The newest, oldest first; then, with `follow`, each that is new or changes.
    func read(
        _ typed: String, count: Int, follow: Bool,
        reply: @escaping @Sendable (CommunityReply) async throws -> Void
    ) async throws {
        let changes = changes.watch()
        let spot = try await spot(typed)
        if spot.other != nil { try await waitForMailbox { $0.isLevel } }
        for message in try await summaries(try await rows(spot, count: count), in: spot) {
            try await reply(.message(message))
        }
        guard follow else { return }
        let device = try await read { $0.journal.ownDevice }
        for await change in changes {
            for message in try await summaries(try await rows(of: change, in: spot, own: device), in: spot) {
                try await reply(.message(message))
            }
        }
    }

    // MARK: Places

    private func ownMember() throws -> MemberID {
        guard let member = settings.member else { throw CommunityError.noDevice }
        return member
    }

    private func spot(_ typed: String) async throws -> ChatSpot {
        let own = try ownMember()
        let found: Result<ChatSpot, any Error> = try await read { port in
            let (state, community) = (port.community.state, port.journal.community)
            guard typed.hasPrefix("@") else { return .success(ChatSpot(channel: typed, in: community)) }
            return Result {
                let member = try state.member(typed: typed)
                return ChatSpot(
                    with: member, called: state.members[member]?.nickname ?? "?", own: own, in: community)
            }
        }
        let spot = try found.get()
        guard spot.other == nil, spot.name != ChatSpot.general else { return spot }
        guard try await openChannels().isOpen(spot.id) else {
            throw CommunityError(
                .notFound,
                "no channel '\(typed)' is open: `tutti chat channels` lists them, `tutti chat open \(typed)` opens it, and @ goes before a member's name"
            )
        }
        return spot
    }

    private func openChannels() async throws -> ChatChannels {
        let community = try await read { $0.journal.community }
        var channels = ChatChannels(community: community)
        let rows = try await rows(ChatChannels.rows(in: community), count: ChatLimits.openingsMax)
        for row in rows { channels.take(row) }
        return channels
    }

    private func open(_ name: String, purpose: String) async throws -> ChannelSummary {
        guard let body = ChannelBody(name: name, purpose: purpose), !name.hasPrefix("@") else {
            throw CommunityError(
                .invalidInput,
                "a channel's name is lower case, 1 to \(ChatLimits.channelNameBytesMax) bytes without spaces around it or @ before it; its purpose has at most \(ChatLimits.channelPurposeBytesMax)"
            )
        }
        let head = try await read { $0.community.head }
        _ = try await append([EntryDraft(kind: .channel, retention: .year, body: body.bytes, governance: head)])
        return ChannelSummary(place: name, purpose: purpose, newest: nil, unreadCount: nil)
    }

    private func channels() async throws -> [ChannelSummary] {
        let own = try ownMember()
        try await waitForMailbox { $0.isLevel }
        let open = try await openChannels().all.filter { $0.name != ChatSpot.general }
        let (community, members, marks) = try await read { port in
            let state = port.community.state
            return (
                port.journal.community,
                state.members.values.map { ($0.id, $0.nickname) }.sorted { ($0.1, $0.0) < ($1.1, $1.0) },
                port.mailbox?.core.hasFellows ?? false
            )
        }
        var all: [ChannelSummary] = []
        for (name, purpose) in [(ChatSpot.general, "")] + open.map({ ($0.name, $0.purpose) }) {
            let spot = ChatSpot(channel: name, in: community)
            let rows = try await rows(spot, count: Self.unreadMax)
            let unread = marks ? try await unread(rows, in: spot, by: own).count : nil
            all.append(
                ChannelSummary(
                    place: name, purpose: purpose, newest: rows.last.map { Names.date($0.time) }, unreadCount: unread))
        }
        let names = Dictionary(members.map { ($0.1, 1) }, uniquingKeysWith: +)
        for (member, nickname) in members {
            let isAlone = names[nickname] == 1
            let called = isAlone ? nickname : String(Names.text(member.bytes).prefix(12))
            let spot = ChatSpot(with: member, called: called, own: own, in: community)
            let rows = try await rows(spot, count: Self.unreadMax)
            guard let newest = rows.last else { continue }
            all.append(
                ChannelSummary(
                    place: spot.name, purpose: isAlone ? "" : nickname, newest: Names.date(newest.time),
                    unreadCount: try await unread(rows, in: spot, by: own).count))
        }
        return all
    }

    // MARK: Saying

    private func say(
        _ act: ChatBody.Act, in spot: ChatSpot, about message: EntryID? = nil
    ) async throws -> MessageSummary {
        guard let body = ChatBody(place: spot.place, act: act) else {
            throw CommunityError(
                act.textBytesCount > ChatLimits.textBytesMax ? .tooLarge : .invalidInput,
                "a message has 1 to \(ChatLimits.textBytesMax) bytes, and no control characters but tab and newline")
        }
        let changes = changes.watch()
        let entries = try await append(body, in: spot)
        guard let id = message ?? entries.first?.id else { throw CommunityError(.stopped, "the node stopped") }
        // What is open is in its rows when it is on the disk; what is sealed is read by our own mailbox after that.
        if spot.other != nil {
            try await within(Self.mailboxTimeout) {
                for await change in changes {
                    if case .mailbox(.rows(let ids)) = change, ids.contains(id) { return }
                }
            }
        }
        guard case .messages(let rows) = await host.writer.answer(.messageRows([id])) else {
            throw CommunityError(.storage, "the messages can't be read: run `tutti repair`")
        }
        guard let summary = try await summaries(rows, in: spot).first else {
            throw CommunityError(.storage, "the message was kept but isn't shown: run `tutti repair`")
        }
        return summary
    }

    private func append(_ body: ChatBody, in spot: ChatSpot) async throws -> [Entry] {
        guard let other = spot.other else {
            let head = try await read { $0.community.head }
            return try await append([EntryDraft(kind: .chat, retention: .year, body: body.bytes, governance: head)])
        }
        try await waitForMailbox { $0.isOpen }
        guard try await read({ $0.mailbox?.core.canWrite(to: other) ?? false }) else {
            throw CommunityError(
                .notAllowed,
                "\(spot.name)'s node has told no key to seal for yet: it does when it is next up; try again then")
        }
        return try await append(Letter(body.content, to: [other]))
    }

    func append(_ letter: Letter) async throws -> [Entry] {
        switch await host.append(letter) {
        case .success(let entries): return entries
        case .failure(let error): throw CommunityError(error)
        }
    }

    /// A message of our own member.
    private func own(_ typed: String, in spot: ChatSpot) async throws -> MessageRow {
        let own = try ownMember()
        if spot.other != nil { try await waitForMailbox { $0.isLevel } }
        let rows = try await rows(spot, count: Self.lookBackMax)
        if typed == "last" {
            guard let last = rows.last(where: { $0.author == own && $0.hiddenReason == nil }) else {
                throw CommunityError(.notFound, "you have said nothing in \(spot.name) lately")
            }
            return last
        }
        let id = try Names.match(typed, rows.map(\.id), \.bytes, "message of \(spot.name)")
        guard let row = rows.first(where: { $0.id == id }), row.author == own else {
            throw CommunityError(.notAllowed, "only its author changes a message or takes it back")
        }
        guard row.hiddenReason == nil else { throw CommunityError(.notAllowed, "you have taken it back already") }
        return row
    }

    // MARK: Reading

    private func rows(_ spot: ChatSpot, count: Int) async throws -> [MessageRow] {
        Array(try await rows(spot.id, count: max(1, min(count, Self.lookBackMax))).reversed())
    }

    /// Newest first.
    private func rows(_ place: Bytes32, count: Int) async throws -> [MessageRow] {
        guard
            case .messages(let rows) = await host.writer.answer(
                .messages(channel: place, before: .end, countMax: count))
        else { throw CommunityError(.storage, "the messages can't be read: run `tutti repair`") }
        return rows
    }

    /// Messages of a place that a change made, or told something new of.
    private func rows(of change: CommunityChange, in spot: ChatSpot, own device: DeviceID?) async throws -> [MessageRow]
    {
        var ids: [EntryID] = []
        switch change {
        case .admitted(let entries): ids = entries.compactMap(Self.message)
        case .mailbox(.rows(let changed)): ids = changed
        case .journal(.sent(let through)):
            // Own messages of late, of which two other disks are now known.
            return try await self.rows(spot, count: Self.sentMax).filter { row in
                row.sequence <= through && row.device == device
            }
        case .mailbox, .market, .communityChanged, .journal, .sync, .register: break
        }
        guard !ids.isEmpty, case .messages(let rows) = await host.writer.answer(.messageRows(ids)) else { return [] }
        if spot.other != nil, rows.contains(where: { $0.channel == ChatReads.rows(of: spot.id) }) {
            // The other has read; of what, their summaries say.
            let newest = try await self.rows(spot, count: Self.unreadMax)
            let own = try ownMember()
            return newest.filter { $0.author == own } + rows.filter { $0.channel == spot.id && $0.author != own }
        }
        return rows.filter { $0.channel == spot.id }
    }

    private static func message(_ stored: StoredEntry) -> EntryID? {
        guard stored.entry.header.kind == .chat, let body = stored.entry.content?.body,
            let chat = try? ChatBody(bytes: body)
        else { return nil }
        return switch chat.act {
        case .post: stored.entry.id
        case .edit(let target, _), .deletion(let target): target
        case .read: nil
        }
    }

    private func summaries(_ rows: [MessageRow], in spot: ChatSpot) async throws -> [MessageSummary] {
        let own = try ownMember()
        let reads = spot.other == nil ? ChatReads() : try await self.reads(of: spot)
        let choices = settings.choices
        return try await read { port in
            let state = port.community.state
            let hidden = state.hidingReasons
            return rows.compactMap { row in
                guard let standing = port.community.roster.devices[row.device],
                    !standing.isVoid(FeedPoint(sequence: row.sequence, id: row.id))
                else { return nil }
                let row = choices.shown(row, hidden)
                let isOwn = row.author == own
                return MessageSummary(
                    id: Names.text(row.id.bytes), place: spot.name, author: Names.text(row.author.bytes),
                    nickname: state.members[row.author]?.nickname ?? "?", time: Names.date(row.time),
                    text: row.hiddenReason.map { "[\($0)]" } ?? row.text, isOwn: isOwn, isEdited: row.isEdited,
                    holders: row.device == port.journal.ownDevice
                        ? port.journal.holders(of: FeedPoint(sequence: row.sequence, id: row.id)) : nil,
                    isRead: isOwn
                        && (spot.other.map { reads.hasRead($0, row.device, upTo: row.sequence) } ?? false))
            }
        }
    }

    // MARK: What was read

    private func reads(of spot: ChatSpot) async throws -> ChatReads {
        ChatReads(try await rows(ChatReads.rows(of: spot.id), count: Self.lookBackMax))
    }

    private func unread(_ rows: [MessageRow], in spot: ChatSpot, by own: MemberID) async throws -> [MessageRow] {
        let reads = try await reads(of: spot)
        return rows.filter { row in
            row.author != own && row.hiddenReason == nil && !reads.hasRead(own, row.device, upTo: row.sequence)
        }
    }

    /// In a conversation the other is told. In a channel only our own other devices are, and nobody when there are none.
    private func markRead(_ spot: ChatSpot, through typed: String) async throws {
        let own = try ownMember()
        if spot.other == nil, try await read({ !($0.mailbox?.core.hasFellows ?? false) }) { return }
        try await waitForMailbox { $0.isLevel }
        let all = try await rows(spot, count: Self.lookBackMax)
        let through = try Names.match(typed, all.map(\.id), \.bytes, "message of \(spot.name)")
        guard let end = all.lastIndex(where: { $0.id == through }) else { return }
        var points: [DeviceID: EntrySequence] = [:]
        for row in try await unread(Array(all[...end]), in: spot, by: own) {
            points[row.device] = max(points[row.device] ?? .none, row.sequence)
        }
        let marks = points.sorted { $0.key < $1.key }.prefix(ChatLimits.readPointsMax)
            .map { ChatReadPoint(device: $0.key, sequence: $0.value) }
        guard !marks.isEmpty, let body = ChatBody(place: spot.place, act: .read(marks)) else { return }
        let others = spot.other.map { [$0] } ?? []
        // Who can't be written to any more isn't told.
        let (isHeard, belongs) = try await read { port in
            (
                others.allSatisfy { port.mailbox?.core.canWrite(to: $0) ?? false },
                others.allSatisfy { port.community.state.isMember($0) }
            )
        }
        // A key that is on its way comes soon: what was marked for ourselves alone would never be told.
        guard isHeard || !belongs else {
            throw CommunityError(.notAllowed, "\(spot.name) has told no key to seal for yet")
        }
        _ = try await append(Letter(body.content, to: isHeard ? others : [], retention: .quarter))
    }

    // MARK: The mailbox

    /// Returns at the latest when the time is over: what isn't read by then isn't shown.
    func waitForMailbox(_ condition: @escaping @Sendable (MailboxCore) -> Bool) async throws {
        let changes = changes.watch()
        guard try await read({ $0.mailbox != nil }) else { throw CommunityError.noDevice }
        try await within(Self.mailboxTimeout) {
            if try await self.holds(condition) { return }
            for await change in changes {
                guard case .mailbox = change else { continue }
                if try await self.holds(condition) { return }
            }
        }
    }

    /// Until it is done, or the time is over.
    func within(_ duration: Duration, _ body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await Task.sleep(for: duration) }
            group.addTask { try await body() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func holds(_ condition: @escaping @Sendable (MailboxCore) -> Bool) async throws -> Bool {
        try await read { $0.mailbox.map { condition($0.core) } ?? false }
    }
}

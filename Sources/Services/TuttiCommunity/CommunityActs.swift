// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
package import TuttiJournal
import TuttiNodeCore

/// What commands ask to be done.
extension CommunityNode {
    /// Entry points that an invite link names at most.
    private static let linkEntryPointsMax = 5

    /// - Throws: `CommunityError` or `NodeError`; nothing was done then.
    public func perform(
        _ command: CommunityCommand, reply: @escaping @Sendable (CommunityReply) async throws -> Void
    ) async throws {
        switch command {
        case .status: try await reply(.status(try await status()))
        case .create(let name, let nickname):
            try await reply(.created(try await create(name: name, nickname: nickname)))
        case .invite(let uses, let days, let note):
            try await reply(.invited(link: try await invite(uses: uses, days: days, note: note)))
        case .join(let link, let nickname): try await reply(.created(try await join(link: link, nickname: nickname)))
        case .members: try await reply(.members(try await members()))
        case .charter: try await reply(.charter(try await charter()))
        case .propose(let title, let text, let action):
            try await reply(.proposed(id: try await propose(title: title, text: text, action: action)))
        case .proposals: try await reply(.proposals(try await proposals()))
        case .vote(let proposal, let choice): try await vote(proposal, choice)
        case .close(let proposal): try await close(proposal)
        case .leave: try await act { port, device in try [port.community.leave(heads: port.heads, by: device)] }
        case .devices: try await reply(.devices(try await devices()))
        case .revokeDevice(let device, let code, let reason):
            try await revoke(device, code: code, reason: reason)
        case .recover(let code, let link): try await reply(.joined(try await recover(code: code, link: link)))
        case .send(let channel, let text): try await reply(.message(try await send(text, to: channel)))
        case .read(let channel, let count, let follow):
            try await read(channel, count: count, follow: follow, reply: reply)
        case .log(let count): for entry in try await log(count: count) { try await reply(.entry(entry)) }
        case .verify: try await reply(.verified(try await verify()))
        case .counts: try await reply(.counts(try await countSummaries()))
        case .sync(let seconds): try await reply(try await sync(within: .seconds(max(1, min(seconds, 600)))))
        case .export(let path): try await reply(.exported(entries: try export(to: path)))
        case .backup(let path): try backup(to: path)
        }
    }

    /// Appends entries of this device; returns when they are on disk.
    package func append(_ drafts: [EntryDraft]) async throws -> [Entry] {
        switch await host.append(drafts) {
        case .success(let entries): return entries
        case .failure(let error): throw CommunityError(error)
        }
    }

    // MARK: Invites

    private func invite(uses: Int, days: Int, note: String) async throws -> String {
        var keys = KeySource.system
        let seed = keys.nextBytes32()
        let expiry = configuration.wallClock() + UInt64(clamping: max(1, min(days, 3_650))) * 86_400_000
        let entries = try await act { port, device in
            try [port.community.invite(key: KeyPair(seed: seed), uses: uses, expiry: expiry, note: note, by: device)]
        }
        guard let invite = entries.first else { throw CommunityError(.stopped, "the node stopped") }
        let (community, name) = try await read { ($0.journal.community, $0.community.state.charter?.name ?? "") }
        return try InviteLink(
            community: community, invite: invite.id, seed: seed, name: name, entryPoints: try await entryPoints()
        ).text
    }

    /// This node first, then members' nodes that we are connected with: whoever comes later finds one that is up.
    private func entryPoints() async throws -> [Multiaddr] {
        let own = try await node.listenAddresses.filter { !$0.isUnspecified }
        let outside = own.filter { !$0.isLoopback }
        var points = Array((outside.isEmpty ? own : outside).prefix(2))
        for peer in try await read({ $0.connectedPeers }) where points.count < Self.linkEntryPointsMax {
            if let address = try await node.knownAddresses(of: peer).first(where: { !$0.isLoopback || outside.isEmpty })
            {
                points.append(address.peerID == nil ? address.appending(.p2p(peer)) : address)
            }
        }
        return points
    }

    // MARK: Governance

    /// Drafts by the state as it is now, and appends.
    @discardableResult
    func act(
        _ draft: @escaping @Sendable (borrowing JournalPort, DeviceID) throws -> [EntryDraft]
    ) async throws -> [Entry] {
        let drafts: Result<[EntryDraft], any Error> = try await read { port in
            guard let device = port.journal.ownDevice else {
                return .failure(CommunityError.noDevice)
            }
            do { return .success(try draft(port, device)) } catch { return .failure(error) }
        }
        do {
            return try await append(try drafts.get())
        } catch let refusal as CommunityRefusal {
            throw CommunityError(.notAllowed, refusal.description)
        }
    }

    private func vote(_ proposal: String, _ choice: VoteChoice) async throws {
        let id = try await self.proposal(proposal)
        let vote: VoteBody.Choice =
            switch choice {
            case .yes: .yes
            case .no: .no
            case .abstain: .abstain
            }
        try await act { port, device in try [port.community.vote(vote, on: id, by: device)] }
    }

    private func close(_ proposal: String) async throws {
        let id = try await self.proposal(proposal)
        try await act { port, device in try [port.community.close(id, by: device)] }
    }

    private func proposal(_ typed: String) async throws -> EntryID {
        let all = try await read { port in port.community.state.proposals.keys.sorted() }
        return try Names.match(typed, all, \.bytes, "proposal")
    }

    // MARK: Chat

    private func send(_ text: String, to channel: String) async throws -> MessageSummary {
        let place = try await place(channel)
        guard let body = ChatBody(place: place, act: .post(text)) else {
            throw CommunityError(.tooLarge, "a message has 1 to \(ChatLimits.textBytesMax) bytes")
        }
        let head = try await read { $0.community.head }
        let entries = try await append([EntryDraft(kind: .chat, body: body.bytes, governance: head)])
        let answer = await host.writer.answer(.messageRows(entries.map(\.id)))
        guard case .messages(let rows) = answer, let summary = try await summaries(rows).first else {
            throw CommunityError(.storage, "the message was kept but isn't shown (\(answer)): run `tutti repair`")
        }
        return summary
    }

    private func place(_ channel: String) async throws -> ChatPlace {
        guard !channel.hasPrefix("@") else {
            throw CommunityError(.invalidInput, "messages to one member alone come later: name a channel")
        }
        return .channel(ChannelBody.id(of: channel, in: try await read { $0.journal.community }))
    }

    private func read(
        _ channel: String, count: Int, follow: Bool,
        reply: @escaping @Sendable (CommunityReply) async throws -> Void
    ) async throws {
        let changes = changes.watch()
        let community = try await read { $0.journal.community }
        let place = ChannelBody.id(of: channel, in: community)
        for message in try await messages(channel: place, count: count) { try await reply(.message(message)) }
        guard follow else { return }
        for await change in changes {
            guard case .admitted(let entries) = change else { continue }
            let ids = entries.filter { $0.entry.header.kind == .chat }.map(\.entry.id)
            guard !ids.isEmpty, case .messages(let rows) = await host.writer.answer(.messageRows(ids)) else { continue }
            for message in try await summaries(rows.filter { $0.channel == place }) {
                try await reply(.message(message))
            }
        }
    }

    // MARK: The journal

    private func sync(within duration: Duration) async throws -> CommunityReply {
        let changes = changes.watch()
        let before = try await status()
        try await node.replicaCommands()(.syncNow)
        let peers = try await withThrowingTaskGroup(of: Int.self) { group in
            group.addTask {
                try await Task.sleep(for: duration)
                return 0
            }
            group.addTask {
                var left = Set(try await self.read { $0.connectedPeers })
                let count = left.count
                for await change in changes where !left.isEmpty {
                    if case .sync(.caughtUp(let peer)) = change { left.remove(peer) }
                    if left.isEmpty { break }
                }
                return count
            }
            defer { group.cancelAll() }
            return try await group.next() ?? 0
        }
        return .synced(entries: Int(clamping: try await status().entryCount &- before.entryCount), peers: peers)
    }

    private func export(to path: String) throws -> Int {
        guard let community = try FolderSettings(journal).community else {
            throw CommunityError(.noCommunity, "this folder has no community")
        }
        do {
            return try journal.export(community: community, toFile: path).entries
        } catch {
            throw CommunityError(storage: error)
        }
    }

    private func backup(to path: String) throws {
        do { try journal.backup(to: path) } catch { throw CommunityError(storage: error) }
    }
}

extension CommunityError {
    static let noDevice = CommunityError(
        .noCommunity,
        "this folder has no device of its own: create or join a community or, in a restored or copied folder, run `tutti device recover`"
    )

    init(_ error: AppendError) {
        switch error {
        case .noDevice: self = .noDevice
        case .deviceEnded:
            self.init(
                .notAllowed, "this device's feed has ended (copied, revoked or forked): run `tutti device recover`")
        case .busy: self.init(.storage, "too much waits for the disk: try again in a moment")
        case .bodyTooLarge(let limit): self.init(.tooLarge, "over \(limit) bytes")
        case .retentionOfGovernance: self.init(.invalidInput, "governance is kept for ever")
        case .overQuota:
            self.init(.notAllowed, "your quota for today is used up: others would not take it; try tomorrow")
        case .sequencePassed: self.init(.storage, "another entry came between: try again")
        case .storage(let error): self.init(storage: error)
        }
    }
}

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
    /// - Throws: `CommunityError` or `NodeError`; nothing was done then.
    public func perform(
        _ command: CommunityCommand, reply: @escaping @Sendable (CommunityReply) async throws -> Void
    ) async throws {
        switch command {
        case .status: try await reply(.status(try await status()))
        case .create(let name, let nickname):
            try await reply(.created(try await create(name: name, nickname: nickname)))
        case .join(let link, let nickname): try await reply(.created(try await join(link: link, nickname: nickname)))
        case .govern(let command):
            if let answer = try await govern(command) { try await reply(answer) }
        case .devices: try await reply(.devices(try await devices()))
        case .revokeDevice(let device, let code, let reason):
            try await revoke(device, code: code, reason: reason)
        case .recover(let code, let peers, let link):
            let hints = RecoveryHints(peers: peers, link: link)
            try await reply(.joined(try await recover(code: code, hints) { try await reply(.searching($0)) }))
        case .send(let channel, let text): try await reply(.message(try await send(text, to: channel)))
        case .read(let channel, let count, let follow):
            try await read(channel, count: count, follow: follow, reply: reply)
        case .chat(let command): if let answer = try await chat(command) { try await reply(answer) }
        case .market(let command): try await reply(try await market(command))
        case .trade(let command): try await reply(try await trade(command))
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

    /// Drafts by the state as it is now, and appends.
    @discardableResult
    func act(
        _ draft: @escaping @Sendable (borrowing JournalPort, DeviceID) throws -> [EntryDraft]
    ) async throws -> [Entry] {
        let drafts = try await read { port in
            guard let device = port.journal.ownDevice else { throw CommunityError.noDevice }
            return try draft(port, device)
        }
        return try await append(drafts)
    }

    /// The same with one entry.
    @discardableResult
    func actAlone(
        _ draft: @escaping @Sendable (borrowing JournalPort, DeviceID) throws -> EntryDraft
    ) async throws -> Entry {
        guard let entry = try await act({ port, device in [try draft(port, device)] }).first else {
            throw CommunityError(.stopped, "the node stopped")
        }
        return entry
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
        guard let community = settings.community else { throw CommunityError.noCommunity }
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
        case .kindNotOpen(let kind):
            self.init(
                .notAllowed,
                "you wait to be admitted, or your role doesn't let you write this (\(Names.text(kind))): nobody would take it; ask an admin or moderator"
            )
        case .busy: self.init(.storage, "too much waits for the disk: try again in a moment")
        case .bodyTooLarge(let limit): self.init(.tooLarge, "over \(limit) bytes")
        case .retentionOfGovernance: self.init(.invalidInput, "governance is kept for ever")
        case .overQuota:
            self.init(.notAllowed, "your quota for today is used up: others would not take it; try tomorrow")
        case .sequencePassed: self.init(.storage, "another entry came between: try again")
        case .notSealed:
            self.init(.notAllowed, "it can't be sealed: the other's node has told no key yet, or it is too long")
        case .storage(let error): self.init(storage: error)
        }
    }
}

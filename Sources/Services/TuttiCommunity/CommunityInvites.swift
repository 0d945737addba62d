// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

/// Invites: made, listed, ended.
extension CommunityNode {
    /// After an end of invites has been written, or looked for, the next look waits so long.
    private static let closingPause: Duration = .seconds(1)
    private static let closingPeriod: Duration = .seconds(60)

    func invite(uses: Int, days: Int, role: String, note: String) async throws -> String {
        let role = try Names.role(role)
        guard role.rank >= .member, [.member, .guest, .observer].contains(role) else {
            throw CommunityError(
                .invalidInput, "an invite makes a member, guest or observer; other roles are granted later")
        }
        guard (1...CommunityLimits.inviteUsesMax).contains(uses) else {
            throw CommunityError(.invalidInput, "an invite is for 1 to \(CommunityLimits.inviteUsesMax) people")
        }
        var keys = KeySource.system
        let seed = keys.nextBytes32()
        let expiry = configuration.wallClock() + UInt64(clamping: max(1, min(days, 3_650))) * 86_400_000
        let entry = try await actAlone { port, device in
            try port.community.invite(
                key: KeyPair(seed: seed), role: role, uses: uses, expiry: expiry, note: note, by: device)
        }
        let (community, name) = try await read { ($0.journal.community, $0.community.state.charter?.name ?? "") }
        return try InviteLink(
            community: community, invite: entry.id, seed: seed, name: name, entryPoints: try await entryPoints()
        ).text
    }

    /// This node first, then members' nodes that we are connected with: whoever comes later finds one that is up.
    func entryPoints() async throws -> [Multiaddr] {
        let own = try await node.listenAddresses.filter { !$0.isUnspecified }
        let outside = own.filter { !$0.isLoopback }
        var points = Array((outside.isEmpty ? own : outside).prefix(2))
        for peer in try await read({ $0.connectedPeers }) where points.count < CommunityLimits.linkEntryPointsMax {
            if let address = try await node.knownAddresses(of: peer).first(where: { !$0.isLoopback || outside.isEmpty })
            {
                points.append(address.peerID == nil ? address.appending(.p2p(peer)) : address)
            }
        }
        return points
    }

    /// Ordered by when they end.
    func invites(all: Bool) async throws -> [InviteSummary] {
        let now = configuration.wallClock()
        return try await read { port in
            let state = port.community.state
            let invites = state.invites.values.sorted { ($0.body.expiry, $0.id) < ($1.body.expiry, $1.id) }
            return invites.map { invite in
                let standing =
                    invite.isClosed
                    ? "closed" : invite.usesLeft == 0 ? "used up" : now > invite.body.expiry ? "expired" : "open"
                return InviteSummary(
                    id: Names.text(invite.id.bytes), sponsor: state.nickname(invite.sponsor),
                    role: "\(invite.body.role)", note: invite.body.note, uses: invite.body.uses,
                    joined: invite.people.map(state.nickname), usesLeft: invite.usesLeft,
                    expiry: Date(timeIntervalSince1970: Double(invite.body.expiry) / 1_000), standing: standing)
            }
            .filter { all || $0.standing == "open" }
        }
    }

    func closeInvite(_ typed: String) async throws {
        let id = try await read { port in
            try Names.match(typed, port.community.state.invites.keys.sorted(), \.bytes, "invite")
        }
        try await actAlone { port, device in try port.community.inviteClose(id, by: device) }
    }

    /// Ends invites that are used up or expired, when it is this device's turn (``InviteClosing``): now, after changes of
    /// the community, and every minute.
    func closeInvites() async throws {
        try await begun.passed()
        let (occasions, occasion) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let changes = changes.watch()
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                for await change in changes {
                    if case .communityChanged = change { occasion.yield() }
                }
                occasion.finish()
            }
            group.addTask {
                while true {
                    occasion.yield()
                    try await Task.sleep(for: Self.closingPeriod)
                }
            }
            var closing = InviteClosing()
            for await _ in occasions {
                closing = try await closeInvites(closing)
                try await Task.sleep(for: Self.closingPause)
            }
        }
    }

    private func closeInvites(_ before: InviteClosing) async throws -> InviteClosing {
        let now = configuration.wallClock()
        let found = try await node.readReplica { port -> (InviteClosing, [EntryID])? in
            guard let device = port.journal.ownDevice else { return nil }
            var closing = before
            let due = closing.due(in: port.community, by: device, milliseconds: now)
            return (closing, due)
        }
        guard let (closing, due) = found ?? nil else { return before }
        for invite in due {
            do {
                try await actAlone { port, device in try port.community.inviteClose(invite, by: device) }
            } catch is CommunityError {
                // Its time comes again.
            }
        }
        return closing
    }
}

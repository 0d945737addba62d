// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

/// How a folder comes to a community: it founds one, joins one, or is a member's once more.
extension CommunityNode {
    /// From the link to the first screen.
    private static let joinTimeout: Duration = .seconds(30)

    func create(name: String, nickname: String) async throws -> CreatedCommunity {
        try await requireNoCommunity()
        let identity = try newIdentity()
        var keys = KeySource.system
        let nonce = keys.nextBytes32()
        let (community, draft) = try refusing {
            try CommunityCore.founding(
                charter: .standard(name: name, founder: identity.member.member), nonce: nonce, nickname: nickname,
                memberKey: identity.member, device: identity.device.device)
        }
        try await enter(
            community, as: identity.member.member, device: identity.device, nickname: nickname, first: draft)
        try await keepMemberKey(identity, in: community)
        return CreatedCommunity(status: try await status(), recoveryPage: identity.code.page)
    }

    func join(link text: String, nickname: String) async throws -> CreatedCommunity {
        try await requireNoCommunity()
        let link = try InviteLink(typed: text)
        let identity = try newIdentity()
        let draft = try refusing {
            try CommunityCore.join(
                link, nickname: nickname, memberKey: identity.member, device: identity.device.device)
        }
        try await enter(
            link.community, as: identity.member.member, device: identity.device, nickname: nickname,
            by: link.entryPoints, first: draft)
        try await meet(link.entryPoints, as: identity.device.device)
        try await keepMemberKey(identity, in: link.community)
        return CreatedCommunity(status: try await status(), recoveryPage: identity.code.page)
    }

    // MARK: Steps

    private struct NewIdentity {
        let member: KeyPair
        let code: RecoveryCode
        let device: KeyPair
    }

    /// A folder whose community never began (a crash between the two) may begin again.
    private func requireNoCommunity() async throws {
        guard
            let name = try await node.readReplica({ port in
                port.community.state.charter?.name ?? (port.journal.feeds.isEmpty ? nil : "")
            }), let name
        else { return }
        throw CommunityError(
            .notAllowed, "this folder already belongs to a community (\(name)): use another folder (--data)")
    }

    private func newIdentity() throws -> NewIdentity {
        var keys = KeySource.system
        let device = try KeyFile(path: folder.deviceKeyPath).loadOrCreate(passphrase: configuration.passphrase)
        return NewIdentity(member: KeyPair(), code: RecoveryCode(from: &keys), device: device)
    }

    /// The member's key, under the recovery code, where every replica keeps it.
    private func keepMemberKey(_ identity: NewIdentity, in community: CommunityID) async throws {
        var keys = KeySource.system
        let sealed = SealedMemberKey(
            sealing: identity.member, under: identity.code, in: community, by: identity.device.device, from: &keys)
        let draft = try await read { port in
            MemberKeyEntry.draft(sealed, parents: port.community.parents, head: port.community.head)
        }
        _ = try await append([draft])
    }

    /// Dials the entry points and waits until the community knows this device and we know the community.
    func meet(_ entryPoints: [Multiaddr], as device: DeviceID) async throws {
        let changes = changes.watch()
        let node = node
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for address in entryPoints {
                group.addTask {
                    _ = try? await node.dial(at: [address])
                    return false
                }
            }
            group.addTask {
                try await Task.sleep(for: Self.joinTimeout)
                throw CommunityError(
                    .deadline,
                    "nobody of the community answered: `tutti up` in this folder goes on trying, or ask for another link"
                )
            }
            group.addTask {
                if try await self.isKnown(device) { return true }
                for await change in changes {
                    guard case .communityChanged = change else { continue }
                    if try await self.isKnown(device) { return true }
                }
                return true
            }
            while try await group.next() == false {}
            group.cancelAll()
        }
    }

    private func isKnown(_ device: DeviceID) async throws -> Bool {
        try await read { port in port.community.state.charter != nil && port.community.roster.devices[device] != nil }
    }
}

extension InviteLink {
    /// As somebody typed or pasted it.
    init(typed text: String) throws {
        do { try self.init(text: text) } catch { throw CommunityError(.invalidInput, error.description) }
    }
}

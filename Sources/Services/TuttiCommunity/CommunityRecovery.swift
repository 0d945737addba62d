// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

/// A member's key comes back out of the recovery code, which opens the seal that every replica keeps.
///
/// Over `/tutti/recover/1` anybody may ask for a seal, as a fresh machine must: 32 bytes of community and 32 of lookup tag
/// go there, and the seal comes back, or nothing. The tag can't be guessed, and the seal is of no use without the code.
extension CommunityNode {
    static let recoverProtocol: ProtocolID = "/tutti/recover/1"
    private static let answerTimeout: Duration = .seconds(10)

    /// Answers those who ask for a seal.
    func serveRecovery() {
        node.handle(Self.recoverProtocol, inboundMax: 2) { stream in
            var request = try await stream.read(exactly: 64, deadline: Self.answerTimeout)
            guard let community = request.readBytes32(), let tag = request.readBytes32() else { return }
            let sealed = try await self.node.readReplica { port in
                port.journal.community.bytes == community ? port.memberKey(tag) : nil
            }
            if let sealed = sealed ?? nil { try await stream.write(ByteBuffer(bytes: sealed.bytes)) }
        }
    }

    /// - Parameter text: a link of the community, on a machine that holds nothing of it.
    func recover(code text: String, link: String?) async throws -> CommunityStatus {
        let code = try Self.code(text)
        var settings = try FolderSettings(journal)
        if settings.community == nil {
            guard let link else {
                throw CommunityError(.invalidInput, "this folder knows no community: give a link of yours (--link)")
            }
            return try await recover(code, by: try Self.link(link))
        }
        guard let community = settings.community else { throw CommunityError(.noCommunity, "no community") }
        let tag = code.lookupTag(in: community)
        guard let sealed = try await read({ $0.memberKey(tag) }) else {
            throw CommunityError(.notFound, "this code belongs to no member here: sync first, or check the code")
        }
        let member = try Self.open(sealed, code, community)
        let device = try replaceDeviceKey()
        settings.member = member.member
        settings.devicePlace = devicePlace
        try await host.write(settings.batch)
        host.typed(code.sealingKeys(in: community))
        try await start(community, device: device, settings)
        let entries = try await act { port, device in try [port.community.deviceCertificate(of: device, by: member)] }
        try await node.replicaCommands()(.introduce(entries.first))
        return try await status()
    }

    private func recover(_ code: RecoveryCode, by link: InviteLink) async throws -> CommunityStatus {
        let member = try Self.open(try await fetch(code, by: link), code, link.community)
        let device = try replaceDeviceKey()
        var settings = FolderSettings()
        settings.community = link.community
        settings.member = member.member
        settings.devicePlace = devicePlace
        settings.entryPoints = link.entryPoints
        try await host.write(settings.batch)
        host.typed(code.sealingKeys(in: link.community))
        try await start(link.community, device: device, settings)
        // Nothing of the community is here yet: the certificate builds on the invite of the link alone.
        let certificate = DeviceCertificate(of: device.device, at: link.community.bytes, by: member)
        let body = GovernanceMessage(parents: [link.invite], body: .deviceCertificate(certificate)).encoded
        let entries = try await append([
            EntryDraft(kind: .deviceCertificate, isCritical: true, body: body, governance: link.invite)
        ])
        try await node.replicaCommands()(.introduce(entries.first))
        try await meet(link.entryPoints, as: device.device)
        return try await status()
    }

    /// From the first entry point that has it.
    private func fetch(_ code: RecoveryCode, by link: InviteLink) async throws -> SealedMemberKey {
        var request = ByteBuffer()
        request.writeBytes32(link.community.bytes)
        request.writeBytes32(code.lookupTag(in: link.community))
        var reached = 0
        for address in link.entryPoints {
            guard let peer = address.peerID,
                let stream = try? await node.open(Self.recoverProtocol, to: peer, at: [address])
            else { continue }
            defer { stream.reset() }
            do {
                try await stream.write(request)
                stream.closeWriting()
                let answer = try await stream.read(exactly: SealedMemberKey.bytesCount, deadline: Self.answerTimeout)
                return try SealedMemberKey(bytes: Array(answer.readableBytesView))
            } catch {
                reached += 1
            }
        }
        throw reached == 0
            ? CommunityError(.deadline, "no node of the link answers: ask a member for another link")
            : CommunityError(.notFound, "this code belongs to no member of this community: check code and link")
    }

    func revoke(_ typed: String, code text: String, reason: String) async throws {
        let code = try Self.code(text)
        let settings = try FolderSettings(journal)
        guard let community = settings.community else { throw CommunityError(.noCommunity, "no community here") }
        let tag = code.lookupTag(in: community)
        guard let sealed = try await read({ $0.memberKey(tag) }) else {
            throw CommunityError(.notFound, "this code belongs to no member here")
        }
        let member = try Self.open(sealed, code, community)
        let own = try await read { port in port.community.state.devices.values.filter { $0.member == member.member } }
        let device = try Names.match(typed, own.map(\.id), \.bytes, "device of yours")
        try await act { port, _ in
            try [
                port.community.deviceRevocation(
                    of: device, after: port.heads[device] ?? .start, reason: reason, by: member)
            ]
        }
    }

    // MARK: Parts

    private static func code(_ text: String) throws -> RecoveryCode {
        do { return try RecoveryCode(parsing: text) } catch { throw CommunityError(.invalidInput, "\(error)") }
    }

    private static func link(_ text: String) throws -> InviteLink {
        do { return try InviteLink(text: text) } catch { throw CommunityError(.invalidInput, error.description) }
    }

    private static func open(
        _ sealed: SealedMemberKey, _ code: RecoveryCode, _ community: CommunityID
    ) throws -> KeyPair {
        do { return try sealed.open(with: code, in: community) } catch {
            throw CommunityError(.damaged, "the seal doesn't open with this code: ask another node")
        }
    }

    /// A new key for this machine; the one that was here is kept aside.
    private func replaceDeviceKey() throws -> KeyPair {
        let files = FileManager.default
        if files.fileExists(atPath: folder.deviceKeyPath) {
            var number = 1
            while files.fileExists(atPath: "\(folder.deviceKeyPath).ended-\(number)") { number += 1 }
            do {
                try files.moveItem(atPath: folder.deviceKeyPath, toPath: "\(folder.deviceKeyPath).ended-\(number)")
            } catch {
                throw CommunityError(.folder, "\(folder.deviceKeyPath) can't be moved: check the folder's rights")
            }
        }
        return try KeyFile(path: folder.deviceKeyPath).loadOrCreate(passphrase: configuration.passphrase)
    }
}

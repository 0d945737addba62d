// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

/// Whom else to ask in a recovery.
struct RecoveryHints: Sendable {
    var peers: [String]
    var link: String?

    func addresses() throws -> [Multiaddr] {
        var addresses: [Multiaddr] = []
        for text in peers {
            guard let address = Multiaddr(text) else {
                throw CommunityError(.invalidInput, "'\(text)' is not a multiaddr such as /ip4/192.0.2.7/tcp/4001")
            }
            addresses.append(address)
        }
        guard let link else { return addresses }
        return addresses + (try InviteLink(typed: link)).entryPoints
    }
}

/// A member's key comes back out of the recovery code, which opens the seal that every replica keeps.
extension CommunityNode {
    /// - Parameter hints: not needed; the code and any way to reach a member's node are enough.
    func recover(
        code text: String, _ hints: RecoveryHints, progress: @escaping @Sendable (RecoveryProgress) async throws -> Void
    ) async throws -> CommunityStatus {
        let code = try Self.code(text)
        let addresses = try hints.addresses()
        let known = settings.community
        if let known, let sealed = try await read({ $0.recovery.seal(code.lookupTag) }) {
            let member = try Self.open(sealed, code, known)
            let device = try replaceDeviceKey()
            host.typed(code.sealingKeys(in: known))
            let draft = try await read { try $0.community.deviceCertificate(of: device.device, by: member) }
            try await enter(known, as: member.member, device: device, first: draft)
            return try await status()
        }
        let search = RecoverySearch(node: node, code: code, timeout: configuration.recoveryTimeout)
        let found = try await search.run(addresses, progress: progress)
        guard known == nil || known == found.community else {
            throw CommunityError(
                .invalidInput, "this code is of another community than this folder: use another folder (--data)")
        }
        let device = try replaceDeviceKey()
        host.typed(code.sealingKeys(in: found.community))
        // Nothing of the community may be here yet: the certificate builds on the entry that holds the seal.
        let certificate = DeviceCertificate(of: device.device, at: found.community.bytes, by: found.member)
        let body = GovernanceMessage(parents: [found.entry], body: .deviceCertificate(certificate)).encoded
        let draft = EntryDraft(kind: .deviceCertificate, isCritical: true, body: body, governance: found.entry)
        try await enter(
            found.community, as: found.member.member, device: device, by: found.entryPoints, first: draft)
        if known == nil { try await meet(found.entryPoints, as: device.device) }
        return try await status()
    }

    func revoke(_ typed: String, code text: String, reason: String) async throws {
        let code = try Self.code(text)
        guard let community = settings.community else { throw CommunityError.noCommunity }
        guard let sealed = try await read({ $0.recovery.seal(code.lookupTag) }) else {
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

    private static func open(
        _ sealed: SealedMemberKey, _ code: RecoveryCode, _ community: CommunityID
    ) throws -> KeyPair {
        do { return try sealed.open(with: code, in: community) } catch {
            throw CommunityError(.damaged, "the seal in this folder is damaged: run `tutti repair`")
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

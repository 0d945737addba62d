// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// A governance entry as the fold keeps it: read once, without its salt and signature.
package struct GovernanceEntry: Hashable, Sendable {
    package let id: EntryID
    package let kind: EntryKind
    package let isCritical: Bool
    package let device: DeviceID
    package let sequence: EntrySequence
    package let time: HybridTime
    package let parents: [EntryID]
    package let body: GovernanceBody

    package var point: FeedPoint { FeedPoint(sequence: sequence, id: id) }

    /// - Throws: also when header and body don't fit together; such an entry has no effect anywhere.
    package init(_ entry: Entry) throws(DecodeError) {
        guard entry.header.kind.isGovernance else { throw .unsupported("kind") }
        guard let content = entry.content else { throw .truncated("governance body") }
        let message = try GovernanceMessage(kind: entry.header.kind, bytes: content.body)
        let header = entry.header
        id = entry.id
        kind = header.kind
        isCritical = header.isCritical
        device = header.device
        sequence = header.sequence
        time = header.time
        parents = message.parents
        body = message.body
        switch message.body {
        case .founding(let body):
            guard parents.isEmpty, header.governance == .none, sequence == .first,
                body.certificate.device == device, FoundingBody.community(content.body) == header.community
            else { throw .malformed("founding") }
        default:
            guard !parents.isEmpty, parents.contains(header.governance) else { throw .malformed("parents") }
        }
        switch message.body {
        case .deviceCertificate(let certificate) where certificate.device != device:
            throw .malformed("device certificate (of another device)")
        case .join(let body) where body.certificate.device != device:
            throw .malformed("join (of another device)")
        default: break
        }
    }

    /// One that is only tried, without an id and a signature.
    init(tried kind: EntryKind, device: DeviceID, sequence: EntrySequence, parents: [EntryID], body: GovernanceBody) {
        id = EntryID(Bytes32(words: (.max, .max, .max, .max)))
        self.kind = kind
        isCritical = true
        self.device = device
        self.sequence = sequence
        time = HybridTime(0)
        self.parents = parents
        self.body = body
    }

    /// What else must be here before this can be judged: entries that the body speaks of.
    package var cited: [EntryID] {
        switch body {
        case .inviteClose(let body): [body.invite] + body.joins
        case .join(let body): [body.invite]
        case .admit(let join): [join]
        case .vote(let body): [body.proposal]
        case .close(let body): [body.proposal] + body.votes + body.countersigned
        case .vouchWithdrawal(let vouch): [vouch]
        case .labelWithdrawal(let body): [body.label]
        default: []
        }
    }

    /// Whether the entry's signature is good and, of governance, also its form and the signatures that its body holds.
    /// What this refuses no replica takes. Costs up to three verifications: not for an EventLoop when there are many.
    ///
    /// A header alone is judged by its signature, whatever its kind: a fault proof has no bodies. (Nobody takes governance
    /// without its body.)
    package static func isAuthentic(_ entry: Entry) -> Bool {
        guard entry.header.kind.isGovernance, entry.content != nil else { return entry.isSignatureValid }
        guard let parsed = try? GovernanceEntry(entry), entry.isSignatureValid else { return false }
        let community = entry.header.community.bytes
        switch parsed.body {
        case .founding(let body): return body.certificate.isSignatureValid(at: body.nonce)
        case .deviceCertificate(let certificate): return certificate.isSignatureValid(at: community)
        case .deviceRevocation(let body): return body.isSignatureValid(in: entry.header.community)
        case .join(let body):
            return body.certificate.isSignatureValid(at: community) && body.isProofValid(in: entry.header.community)
        case .unknown where parsed.kind == .memberKey: return MemberKeyEntry.isAuthentic(entry)
        default: return true
        }
    }
}

extension FoundingBody {
    private static let domain: [UInt8] = Array("tutti-community".utf8)

    /// The community that this body founds.
    package static func community(_ encoded: [UInt8]) -> CommunityID {
        CommunityID(KeyDerivation.sha256(domain + encoded))
    }
}

// MARK: Signatures within bodies

/// Signed as RFC 0002 signs, with a domain of its own for each use, so that none can stand for another.
private func signed(_ domain: String, _ parts: [[UInt8]]) -> [UInt8] {
    SignedEnvelope.signedBytes(
        domain: domain, payloadType: [], payload: ByteBuffer(bytes: Array(parts.joined())))
}

private func isValid(_ signature: [UInt8], by key: Bytes32, for message: [UInt8]) -> Bool {
    Ed25519Verifier.preferred.isValid(signature, for: message, key: key.bytes)
}

extension KeyPair {
    package var member: MemberID { MemberID(Bytes32(publicKey.raw) ?? .zero) }
    package var device: DeviceID { DeviceID(Bytes32(publicKey.raw) ?? .zero) }
}

extension DeviceCertificate {
    private static let domain = "tutti-device-certificate"

    /// - Parameter place: the community, or the nonce of its founding, whose community has no name yet.
    package init(of device: DeviceID, at place: Bytes32, by memberKey: KeyPair) {
        let signature = memberKey.sign(signed(Self.domain, [place.bytes, device.bytes.bytes]))
        self.init(member: memberKey.member, device: device, signature: signature)
    }

    package func isSignatureValid(at place: Bytes32) -> Bool {
        isValid(signature, by: member.bytes, for: signed(Self.domain, [place.bytes, device.bytes.bytes]))
    }
}

extension DeviceRevocationBody {
    private static let domain = "tutti-device-revocation"

    package init(of cut: FeedCut, in community: CommunityID, reason: String, by memberKey: KeyPair) {
        member = memberKey.member
        self.cut = cut
        self.reason = reason
        signature = memberKey.sign(Self.signedBytes(cut, community, reason))
    }

    package func isSignatureValid(in community: CommunityID) -> Bool {
        isValid(signature, by: member.bytes, for: Self.signedBytes(cut, community, reason))
    }

    private static func signedBytes(_ cut: FeedCut, _ community: CommunityID, _ reason: String) -> [UInt8] {
        var sequence = ByteBuffer()
        sequence.writeInteger(cut.point.sequence.value)
        return signed(
            domain,
            [
                community.bytes.bytes, cut.device.bytes.bytes, Array(sequence.readableBytesView),
                cut.point.id.bytes.bytes, Array(reason.utf8),
            ])
    }
}

extension JoinBody {
    private static let domain = "tutti-join"

    package init(
        invite: EntryID, in community: CommunityID, certificate: DeviceCertificate, nickname: String,
        inviteKey: KeyPair
    ) {
        self.invite = invite
        self.certificate = certificate
        self.nickname = nickname
        self.inviteKey = inviteKey.device.bytes
        proof = inviteKey.sign(Self.signedBytes(invite, community, certificate))
    }

    package func isProofValid(in community: CommunityID) -> Bool {
        isValid(proof, by: inviteKey, for: Self.signedBytes(invite, community, certificate))
    }

    private static func signedBytes(
        _ invite: EntryID, _ community: CommunityID, _ certificate: DeviceCertificate
    ) -> [UInt8] {
        signed(
            domain,
            [
                community.bytes.bytes, invite.bytes.bytes, certificate.member.bytes.bytes,
                certificate.device.bytes.bytes,
            ])
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// Body and parents of a governance entry, and their one encoding (docs/protocols/community.md).
package struct GovernanceMessage: Hashable, Sendable {
    /// The tips that its author had applied, ascending.
    package var parents: [EntryID]
    package var body: GovernanceBody

    package init(parents: [EntryID], body: GovernanceBody) {
        self.parents = parents
        self.body = body
    }

    package init(kind: EntryKind, bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= JournalLimits.bodyBytesMax else {
            throw .tooLarge("governance body", limit: JournalLimits.bodyBytesMax)
        }
        var reader = try BodyReader(bytes)
        parents = try reader.set(1, countMax: CommunityLimits.parentsMax, "parents").map { EntryID($0) }
        guard GovernanceBody.known.contains(kind) else {
            // Whatever else a later version puts here, field 2 is what it is about.
            body = .unknown(object: (try? reader.bytes32IfThere(2, "object")) ?? nil)
            return
        }
        body = try GovernanceBody(kind: kind, from: &reader)
        try reader.end("governance body")
        guard encoded == bytes else { throw .malformed("governance body (not canonical)") }
    }

    /// Meaningless for unknown kinds.
    package var encoded: [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(1, parents)
        body.encode(into: &buffer)
        return Array(buffer.readableBytesView)
    }
}

extension GovernanceBody {
    static let known: Set<EntryKind> = [
        .founding, .deviceCertificate, .deviceRevocation, .invite, .inviteClose, .join, .admit, .leave, .roleGrant,
        .roleRemoval, .memberRemoval, .proposal, .vote, .close, .vouch, .vouchWithdrawal, .label, .labelWithdrawal,
        .acknowledgement,
    ]

    fileprivate init(kind: EntryKind, from reader: inout BodyReader) throws(DecodeError) {
        switch kind {
        case .founding: self = .founding(try FoundingBody(from: &reader))
        case .deviceCertificate: self = .deviceCertificate(try reader.certificate(2))
        case .deviceRevocation: self = .deviceRevocation(try DeviceRevocationBody(from: &reader))
        case .invite: self = .invite(try InviteBody(from: &reader))
        case .inviteClose: self = .inviteClose(try InviteCloseBody(from: &reader))
        case .join: self = .join(try JoinBody(from: &reader))
        case .admit: self = .admit(EntryID(try reader.bytes32(2, "join")))
        case .leave: self = .leave(LeaveBody(cuts: try reader.cuts(2)))
        case .roleGrant: self = .roleGrant(try reader.roleGrant())
        case .roleRemoval: self = .roleRemoval(try reader.roleRemoval())
        case .memberRemoval: self = .memberRemoval(try reader.memberRemoval())
        case .proposal: self = .proposal(try ProposalBody(from: &reader))
        case .vote: self = .vote(try VoteBody(from: &reader))
        case .close: self = .close(try CloseBody(from: &reader))
        case .vouch: self = .vouch(try VouchBody(from: &reader))
        case .vouchWithdrawal: self = .vouchWithdrawal(EntryID(try reader.bytes32(2, "vouch")))
        case .label: self = .label(try LabelBody(from: &reader))
        case .labelWithdrawal: self = .labelWithdrawal(try LabelWithdrawalBody(from: &reader))
        case .acknowledgement: self = .acknowledgement
        default: throw .unsupported("governance kind")
        }
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .founding(let body): body.encode(into: &buffer)
        case .deviceCertificate(let certificate): buffer.write(2, certificate)
        case .deviceRevocation(let body): body.encode(into: &buffer)
        case .invite(let body): body.encode(into: &buffer)
        case .inviteClose(let body):
            buffer.write(2, body.invite.bytes)
            buffer.write(3, body.joins)
        case .join(let body): body.encode(into: &buffer)
        case .admit(let id), .vouchWithdrawal(let id): buffer.write(2, id.bytes)
        case .leave(let body): buffer.write(2, body.cuts)
        case .roleGrant(let body): buffer.write(body)
        case .roleRemoval(let body): buffer.write(body)
        case .memberRemoval(let body): buffer.write(body)
        case .proposal(let body): body.encode(into: &buffer)
        case .vote(let body):
            buffer.write(2, body.proposal.bytes)
            buffer.write(3, Int(body.choice.rawValue))
        case .close(let body): body.encode(into: &buffer)
        case .vouch(let body):
            buffer.write(2, body.member.bytes)
            buffer.write(3, Int(body.amount))
            buffer.writeProtobuf(4, string: body.note)
        case .label(let body): body.encode(into: &buffer)
        case .labelWithdrawal(let body):
            buffer.write(2, body.label.bytes)
            buffer.writeProtobuf(3, string: body.reason)
        case .acknowledgement, .unknown: break
        }
    }
}

extension FoundingBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        nonce = try reader.bytes32(2, "nonce")
        nickname = try reader.text(3, bytesMax: CommunityLimits.nicknameBytesMax, "nickname")
        certificate = try reader.certificate(4)
        charter = try reader.bytes(5, countMax: CommunityLimits.charterBytesMax, "charter")
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(2, nonce)
        buffer.writeProtobuf(3, string: nickname)
        buffer.write(4, certificate)
        buffer.writeProtobuf(5, bytes: charter)
    }
}

extension DeviceRevocationBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        member = MemberID(try reader.bytes32(2, "member"))
        var message = try reader.message(3, "cut")
        cut = try message.cut()
        reason = try reader.text(4, bytesMax: CommunityLimits.reasonBytesMax, "reason")
        signature = try reader.signature(5, "signature of a device revocation")
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(2, member.bytes)
        buffer.write(3, cut)
        buffer.writeProtobuf(4, string: reason)
        buffer.writeProtobuf(5, bytes: signature)
    }
}

extension InviteBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        key = try reader.bytes32(2, "invite key")
        role = try reader.role(3)
        uses = try reader.number(4, in: 1...CommunityLimits.inviteUsesMax, "uses of an invite")
        expiry = UInt64(try reader.number(5, in: 0...Int(UInt64.max >> 16), "expiry of an invite"))
        note = try reader.text(6, bytesMax: CommunityLimits.noteBytesMax, "note")
        guard role >= .member else { throw .malformed("role of an invite") }
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(2, key)
        buffer.write(3, Int(role.rawValue))
        buffer.write(4, uses)
        buffer.writeProtobuf(5, varint: expiry)
        buffer.writeProtobuf(6, string: note)
    }
}

extension InviteCloseBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        invite = EntryID(try reader.bytes32(2, "invite"))
        joins = try reader.set(3, countMax: CommunityLimits.inviteJoinsMax, "joins").map { EntryID($0) }
    }
}

extension JoinBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        invite = EntryID(try reader.bytes32(2, "invite"))
        certificate = try reader.certificate(3)
        nickname = try reader.text(4, bytesMax: CommunityLimits.nicknameBytesMax, "nickname")
        inviteKey = try reader.bytes32(5, "invite key")
        proof = try reader.signature(6, "proof of an invite")
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(2, invite.bytes)
        buffer.write(3, certificate)
        buffer.writeProtobuf(4, string: nickname)
        buffer.write(5, inviteKey)
        buffer.writeProtobuf(6, bytes: proof)
    }
}

extension ProposalBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        charter = try reader.bytes32(2, "charter of a proposal")
        title = try reader.text(3, bytesMax: CommunityLimits.titleBytesMax, "title")
        text = try reader.text(4, bytesMax: CommunityLimits.proposalTextBytesMax, lines: true, "text of a proposal")
        let kind = try reader.number(5, in: 1...5, "action of a proposal")
        var message = try reader.message(6, "action of a proposal")
        switch kind {
        case 2:
            action = .amend(try message.bytes(2, countMax: CommunityLimits.charterBytesMax, "charter"))
        case 3: action = .grant(try message.roleGrant())
        case 4: action = .removeRole(try message.roleRemoval())
        case 5: action = .removeMember(try message.memberRemoval())
        default: action = .resolution
        }
        try message.end("action of a proposal")
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(2, charter)
        buffer.writeProtobuf(3, string: title)
        buffer.writeProtobuf(4, string: text)
        buffer.write(5, action.number)
        buffer.write(6) { message in
            switch action {
            case .resolution: break
            case .amend(let charter): message.writeProtobuf(2, bytes: charter)
            case .grant(let body): message.write(body)
            case .removeRole(let body): message.write(body)
            case .removeMember(let body): message.write(body)
            }
        }
    }
}

extension ProposalBody.Action {
    fileprivate var number: Int {
        switch self {
        case .resolution: 1
        case .amend: 2
        case .grant: 3
        case .removeRole: 4
        case .removeMember: 5
        }
    }
}

extension VoteBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        proposal = EntryID(try reader.bytes32(2, "proposal"))
        guard let choice = Choice(rawValue: UInt8(try reader.number(3, in: 1...3, "vote"))) else {
            throw .malformed("vote")
        }
        self.choice = choice
    }
}

extension CloseBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        proposal = EntryID(try reader.bytes32(2, "proposal"))
        passed = try reader.flag(3, "outcome")
        electorate = try reader.number(4, in: 0...Int(UInt32.max), "electorate")
        votes = try reader.set(5, countMax: CommunityLimits.votesMax, "counted votes").map { EntryID($0) }
        countersigned = try reader.set(6, countMax: CommunityLimits.countersignedMax, "countersigned closes")
            .map { EntryID($0) }
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(2, proposal.bytes)
        buffer.write(3, passed ? 1 : 0)
        buffer.write(4, electorate)
        buffer.write(5, votes)
        buffer.write(6, countersigned)
    }

    /// Whether both end the proposal in the same way, counting the same votes.
    func says(theSameAs other: CloseBody) -> Bool {
        proposal == other.proposal && passed == other.passed && electorate == other.electorate && votes == other.votes
    }
}

extension VouchBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        member = MemberID(try reader.bytes32(2, "member"))
        amount = Int64(try reader.number(3, in: 0...Int(Int64.max), "amount of a vouch"))
        note = try reader.text(4, bytesMax: CommunityLimits.noteBytesMax, "note")
    }
}

extension LabelBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        let isMember = try reader.number(2, in: 1...2, "subject of a label") == 2
        let id = try reader.bytes32(3, "subject of a label")
        subject = isMember ? .member(MemberID(id)) : .entry(EntryID(id))
        label = try reader.text(4, bytesMax: CommunityLimits.labelBytesMax, "label")
        reason = try reader.text(5, bytesMax: CommunityLimits.reasonBytesMax, "reason")
        guard Self.isLabel(label) else { throw .malformed("label") }
    }

    static func isLabel(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= CommunityLimits.labelBytesMax
            && text.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D }
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        switch subject {
        case .entry(let id):
            buffer.write(2, 1)
            buffer.write(3, id.bytes)
        case .member(let id):
            buffer.write(2, 2)
            buffer.write(3, id.bytes)
        }
        buffer.writeProtobuf(4, string: label)
        buffer.writeProtobuf(5, string: reason)
    }
}

extension LabelWithdrawalBody {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        label = EntryID(try reader.bytes32(2, "label"))
        reason = try reader.text(3, bytesMax: CommunityLimits.reasonBytesMax, "reason")
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiJournal

/// What a governance entry says, apart from what it builds on.
package enum GovernanceBody: Hashable, Sendable {
    case founding(FoundingBody)
    case deviceCertificate(DeviceCertificate)
    case deviceRevocation(DeviceRevocationBody)
    case invite(InviteBody)
    case inviteClose(InviteCloseBody)
    case join(JoinBody)
    /// Signs the join with this id.
    case admit(EntryID)
    case leave(LeaveBody)
    case roleGrant(RoleGrantBody)
    case roleRemoval(RoleRemovalBody)
    case memberRemoval(MemberRemovalBody)
    case proposal(ProposalBody)
    case vote(VoteBody)
    case close(CloseBody)
    case vouch(VouchBody)
    /// Takes back the vouch with this id.
    case vouchWithdrawal(EntryID)
    case label(LabelBody)
    case labelWithdrawal(LabelWithdrawalBody)
    case acknowledgement
    /// Of a kind that this version doesn't know. A critical one stops what is done with `object` (nil: with the
    /// community) until the program is newer.
    case unknown(object: Bytes32?)
}

/// The last entry of a feed that counts.
package struct FeedCut: Hashable, Sendable {
    package var device: DeviceID
    package var point: FeedPoint

    package init(device: DeviceID, point: FeedPoint) {
        self.device = device
        self.point = point
    }

    /// Whether an entry of this feed stands beyond the cut.
    package func isVoid(_ other: FeedPoint) -> Bool { other.isBeyond(point) }
}

/// The first entry of a community; the digest of its body is the community's name.
package struct FoundingBody: Hashable, Sendable {
    package var nonce: Bytes32
    package var nickname: String
    package var certificate: DeviceCertificate
    /// Its encoding, as it is hashed.
    package var charter: [UInt8]

    package init(nonce: Bytes32, nickname: String, certificate: DeviceCertificate, charter: [UInt8]) {
        self.nonce = nonce
        self.nickname = nickname
        self.certificate = certificate
        self.charter = charter
    }
}

/// "This device is mine", by a member's key.
package struct DeviceCertificate: Hashable, Sendable {
    package var member: MemberID
    package var device: DeviceID
    /// By the member's key over the place (the community; in a founding its nonce) and the device.
    package var signature: [UInt8]

    package init(member: MemberID, device: DeviceID, signature: [UInt8]) {
        self.member = member
        self.device = device
        self.signature = signature
    }
}

package struct DeviceRevocationBody: Hashable, Sendable {
    package var member: MemberID
    package var cut: FeedCut
    package var reason: String
    /// By the member's key.
    package var signature: [UInt8]

    package init(member: MemberID, cut: FeedCut, reason: String, signature: [UInt8]) {
        self.member = member
        self.cut = cut
        self.reason = reason
        self.signature = signature
    }
}

package struct InviteBody: Hashable, Sendable {
    /// Whose private half stands in the link.
    package var key: Bytes32
    /// Member, guest or observer.
    package var role: Role
    package var uses: Int
    /// Milliseconds since 1970. A joiner could claim any time: this keeps honest ones out, and closing the invite the others.
    package var expiry: UInt64
    package var note: String

    package init(key: Bytes32, role: Role = .member, uses: Int, expiry: UInt64, note: String) {
        self.key = key
        self.role = role
        self.uses = uses
        self.expiry = expiry
        self.note = note
    }
}

package struct InviteCloseBody: Hashable, Sendable {
    package var invite: EntryID
    /// The joins that count; others stay pending.
    package var joins: [EntryID]

    package init(invite: EntryID, joins: [EntryID]) {
        self.invite = invite
        self.joins = joins
    }
}

package struct JoinBody: Hashable, Sendable {
    package var invite: EntryID
    package var certificate: DeviceCertificate
    package var nickname: String
    /// By the invite's key over community, invite and member.
    package var inviteKey: Bytes32
    package var proof: [UInt8]

    package init(invite: EntryID, certificate: DeviceCertificate, nickname: String, inviteKey: Bytes32, proof: [UInt8])
    {
        self.invite = invite
        self.certificate = certificate
        self.nickname = nickname
        self.inviteKey = inviteKey
        self.proof = proof
    }
}

package struct LeaveBody: Hashable, Sendable {
    /// Of the member's other devices.
    package var cuts: [FeedCut]

    package init(cuts: [FeedCut]) {
        self.cuts = cuts
    }
}

package struct RoleGrantBody: Hashable, Sendable {
    package var member: MemberID
    package var role: Role

    package init(member: MemberID, role: Role) {
        self.member = member
        self.role = role
    }
}

package struct RoleRemovalBody: Hashable, Sendable {
    package var member: MemberID
    package var role: Role
    /// A device of the member that isn't named counts for nothing of this role.
    package var cuts: [FeedCut]
    package var reason: String

    package init(member: MemberID, role: Role, cuts: [FeedCut], reason: String) {
        self.member = member
        self.role = role
        self.cuts = cuts
        self.reason = reason
    }
}

package struct MemberRemovalBody: Hashable, Sendable {
    package var member: MemberID
    /// A device of the member that isn't named counts for nothing.
    package var cuts: [FeedCut]
    package var reason: String

    package init(member: MemberID, cuts: [FeedCut], reason: String) {
        self.member = member
        self.cuts = cuts
        self.reason = reason
    }
}

package struct ProposalBody: Hashable, Sendable {
    package enum Action: Hashable, Sendable {
        /// The words are all.
        case resolution
        /// The new charter's encoding; the one it replaces is the proposal's `charter`.
        case amend([UInt8])
        case grant(RoleGrantBody)
        case removeRole(RoleRemovalBody)
        case removeMember(MemberRemovalBody)
    }

    /// Digest of the charter by whose rule it is decided.
    package var charter: Bytes32
    package var title: String
    package var text: String
    package var action: Action

    package init(charter: Bytes32, title: String, text: String, action: Action) {
        self.charter = charter
        self.title = title
        self.text = text
        self.action = action
    }
}

package struct VoteBody: Hashable, Sendable {
    package enum Choice: UInt8, CaseIterable, Sendable {
        case yes = 1
        case no = 2
        case abstain = 3
    }

    package var proposal: EntryID
    package var choice: Choice

    package init(proposal: EntryID, choice: Choice) {
        self.proposal = proposal
        self.choice = choice
    }
}

/// One closer's signature under the end of a proposal. It is complete when, with those of `countersigned` that say the
/// same, enough closers have signed.
package struct CloseBody: Hashable, Sendable {
    package var proposal: EntryID
    package var passed: Bool
    /// Who could have voted, as the closers see it.
    package var electorate: Int
    /// The counted votes, ascending; at most one of a member.
    package var votes: [EntryID]
    /// Entries of other closers, ascending.
    package var countersigned: [EntryID]

    package init(proposal: EntryID, passed: Bool, electorate: Int, votes: [EntryID], countersigned: [EntryID]) {
        self.proposal = proposal
        self.passed = passed
        self.electorate = electorate
        self.votes = votes
        self.countersigned = countersigned
    }
}

package struct VouchBody: Hashable, Sendable {
    package var member: MemberID
    /// How much the author answers for, in minor units of whatever the community counts in.
    package var amount: Int64
    package var note: String

    package init(member: MemberID, amount: Int64, note: String) {
        self.member = member
        self.amount = amount
        self.note = note
    }
}

package struct LabelBody: Hashable, Sendable {
    package enum Subject: Hashable, Sendable {
        case entry(EntryID)
        case member(MemberID)
    }

    package var subject: Subject
    /// "spam", "hidden", …: lower-case letters, digits and hyphens.
    package var label: String
    package var reason: String

    package init(subject: Subject, label: String, reason: String) {
        self.subject = subject
        self.label = label
        self.reason = reason
    }
}

package struct LabelWithdrawalBody: Hashable, Sendable {
    package var label: EntryID
    package var reason: String

    package init(label: EntryID, reason: String) {
        self.label = label
        self.reason = reason
    }
}

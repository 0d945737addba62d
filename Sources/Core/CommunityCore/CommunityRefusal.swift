// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// Why something can't be done in a community now, and what to do about it.
package enum CommunityRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    case notFounded
    /// Critical entries of a later version concern this.
    case updateNeeded
    case notAMember
    case deviceEnded
    /// None of one's roles allows it; these would.
    case notAllowed(String, roles: [Role])
    case outranked(Role)
    case unknownMember
    case unknownInvite
    case unknownJoin
    case unknownProposal
    case unknownVouch
    case unknownLabel
    case alreadyMember
    case alreadyHasRole(Role)
    case hasNotRole(Role)
    case inviteUsedUp
    case inviteClosed
    case inviteExpired
    /// Of a member's places for invited people so many are left.
    case invitesExhausted(left: Int)
    case proposalEnded
    case joinedAfterProposal
    case notACloser
    /// This closer has signed another end of the same proposal.
    case signedOtherwise
    case charterUnchanged
    case ownMember
    case invalid(DecodeError)
    /// The entry would not count, for a reason that others' entries are the cause of.
    case withoutEffect

    package var description: String {
        switch self {
        case .notFounded: "the community's founding has not arrived yet; wait until the first sync has ended"
        case .updateNeeded: "this was changed by a newer version of the program; update this one first"
        case .notAMember: "you are not a member of this community; join with an invite, or wait until you are admitted"
        case .deviceEnded:
            "this device was revoked or has been copied and can't write any more; add a new device with the recovery code"
        case .notAllowed(let what, let roles):
            "none of your roles may \(what); " + (roles.isEmpty ? "nobody's does by this charter" : Self.ask(roles))
        case .outranked(let role):
            "this member is \(role), which is not below your own role; propose it, and let the members vote"
        case .unknownMember: "there is no such member here"
        case .unknownInvite: "there is no such invite here; sync first, or ask for a new link"
        case .unknownJoin: "nobody with this entry waits for admission"
        case .unknownProposal: "there is no such proposal here"
        case .unknownVouch: "there is no such vouch of yours"
        case .unknownLabel: "there is no such label here"
        case .alreadyMember: "this person is a member already"
        case .alreadyHasRole(let role): "this member is \(role) already"
        case .hasNotRole(let role): "this member is not \(role)"
        case .inviteUsedUp: "the invite has been used up; ask for a new link, or an admin to admit you"
        case .inviteClosed: "the invite was closed; ask for a new link"
        case .inviteExpired: "the invite has expired; ask for a new link"
        case .invitesExhausted(let left):
            "your role lets you invite \(left) more people; close invites that nobody uses, or invite fewer"
        case .proposalEnded: "the proposal has ended, or the charter that it names was replaced; propose it again"
        case .joinedAfterProposal: "only those vote who were members when this was proposed"
        case .notACloser: "only those whom the charter names may end a proposal"
        case .signedOtherwise: "you have signed another end of this proposal; a closer signs one end only"
        case .charterUnchanged: "the new charter is the one in force"
        case .ownMember: "this is you"
        case .invalid(let error): "\(error)"
        case .withoutEffect: "this would have no effect here; sync, then try again"
        }
    }

    private static func ask(_ roles: [Role]) -> String {
        "ask " + roles.map { "\($0)" }.joined(separator: ", ") + " to do it"
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiJournal

/// What the governance entries held make of a community. A pure function of their set and of the proven forks.
package struct CommunityState: Sendable {
    package struct Member: Hashable, Sendable {
        package var id: MemberID
        package var nickname: String
        /// Empty: no longer a member.
        package var roles: Set<Role>
        /// Who answers for the admission; nil for the founder.
        package var sponsor: MemberID?
        /// The founding, join or admission that let the member in.
        package var since: EntryID
        /// Ordered.
        package var devices: [DeviceID]
        /// Why the member is none any more.
        package var ended: Ending?

        package init(
            id: MemberID, nickname: String, roles: Set<Role>, sponsor: MemberID?, since: EntryID, devices: [DeviceID],
            ended: Ending?
        ) {
            self.id = id
            self.nickname = nickname
            self.roles = roles
            self.sponsor = sponsor
            self.since = since
            self.devices = devices
            self.ended = ended
        }
    }

    package enum Ending: Hashable, Sendable {
        case left(EntryID)
        case removed(by: EntryID, reason: String)
    }

    package struct Device: Hashable, Sendable {
        package enum Standing: Hashable, Sendable {
            case good
            /// Writes no more: revoked, or its member was removed.
            case ended
            /// Forked at this place; what stands before counts.
            case frozen(EntrySequence)
        }

        package var id: DeviceID
        package var member: MemberID
        package var standing: Standing
        /// The last entry that counts.
        package var cut: FeedPoint?
        package var certificate: EntryID

        package init(id: DeviceID, member: MemberID, standing: Standing, cut: FeedPoint?, certificate: EntryID) {
            self.id = id
            self.member = member
            self.standing = standing
            self.cut = cut
            self.certificate = certificate
        }
    }

    package struct Invite: Hashable, Sendable {
        package var id: EntryID
        package var body: InviteBody
        package var sponsor: MemberID
        /// The sponsor's that wrote it.
        package var device: DeviceID
        /// In the order in which they count.
        package var joins: [EntryID]
        /// Who has joined, in the same order.
        package var people: [MemberID]
        package var isClosed: Bool
        package var usesLeft: Int
    }

    package struct PendingJoin: Hashable, Sendable {
        package enum Reason: Hashable, Sendable {
            case approvalNeeded
            case inviteUsedUp
            case inviteExpired
            case inviteClosed
            case inviteVoid
            /// The member was removed: an invite is not enough.
            case removedBefore
        }

        package var id: EntryID
        package var member: MemberID
        package var nickname: String
        package var invite: EntryID
        package var reason: Reason
    }

    package struct Proposal: Hashable, Sendable {
        package enum Outcome: Hashable, Sendable {
            case open
            case passed(close: EntryID)
            case rejected(close: EntryID)
            /// The charter that it names is no longer in force.
            case lapsed
        }

        package var id: EntryID
        package var author: MemberID
        package var body: ProposalBody
        /// One for each member who voted, ordered by member. Of a closed proposal: the counted ones.
        package var votes: [Vote]
        package var outcome: Outcome
        /// Closers that have signed for an end of it that isn't complete, ordered.
        package var signers: [MemberID]
    }

    package struct Vote: Hashable, Sendable {
        package var id: EntryID
        package var member: MemberID
        package var choice: VoteBody.Choice
    }

    package struct Vouch: Hashable, Sendable {
        package var id: EntryID
        package var author: MemberID
        package var body: VouchBody
        /// Of the longest way to the founding: by (depth, id) the author's first vouches count before later ones.
        package var depth: Int

        package init(id: EntryID, author: MemberID, body: VouchBody, depth: Int) {
            self.id = id
            self.author = author
            self.body = body
            self.depth = depth
        }
    }

    package struct Label: Hashable, Sendable {
        package var id: EntryID
        package var author: MemberID
        package var body: LabelBody
        /// Why it was taken back.
        package var withdrawn: String?
    }

    package var community: CommunityID
    /// In force now, with its digest; nil before the founding is here.
    package var charter: Charter?
    package var charterDigest: Bytes32?
    /// 1 is the founding's.
    package var charterEdition = 0
    /// Who founded it, whether still a member or not.
    package var founder: MemberID?
    package var members: [MemberID: Member] = [:]
    package var devices: [DeviceID: Device] = [:]
    package var invites: [EntryID: Invite] = [:]
    package var pendingJoins: [EntryID: PendingJoin] = [:]
    package var proposals: [EntryID: Proposal] = [:]
    package var vouches: [EntryID: Vouch] = [:]
    /// They back nobody, but what they have brought about isn't forgotten.
    package var vouchesWithdrawn: [EntryID: Vouch] = [:]
    package var labels: [EntryID: Label] = [:]
    /// Critical entries of kinds that this version doesn't know; nil stands for the community as a whole.
    package var updatesNeeded: Set<Bytes32?> = []

    package init(community: CommunityID) { self.community = community }

    package func member(of device: DeviceID) -> MemberID? { devices[device]?.member }
    /// Whether the member belongs here now.
    package func isMember(_ member: MemberID) -> Bool { members[member].map { !$0.roles.isEmpty } ?? false }
}

// SPDX-License-Identifier: Apache-2.0
public import Foundation

/// What concerns who belongs to a community, what they may do, and by which rules. A member is named by its nickname or by
/// how its id begins; so is whatever else has an id.
public enum GovernanceCommand: Sendable, Codable {
    case members
    case charter
    /// - Parameter role: member, guest or observer.
    case invite(uses: Int, days: Int, role: String, note: String)
    /// - Parameter all: also those that have ended.
    case invites(all: Bool)
    case closeInvite(invite: String)
    /// Lets in who waits.
    case admit(member: String)
    case grant(member: String, role: String)
    case removeRole(member: String, role: String, reason: String)
    case removeMember(member: String, reason: String)
    /// - Parameter anyway: although nobody who ends proposals would be left.
    case leave(anyway: Bool)
    case vouch(member: String, amount: Int64, note: String)
    /// Takes back what one has vouched for the member.
    case withdrawVouches(member: String)
    /// - Parameter subject: a member, or an entry by its id.
    case label(subject: String, label: String, reason: String)
    case withdrawLabel(label: String, reason: String)
    case labels
    /// What this node shows, whatever others say; nobody else learns of it.
    case choose(subject: String, choice: ShownChoice)
    case propose(title: String, text: String, action: ProposedAction)
    case proposals
    case vote(proposal: String, choice: VoteChoice)
    /// Signs for the end of a proposal; complete when enough closers have.
    /// - Parameter early: although its time isn't over and not everybody has voted.
    case close(proposal: String, early: Bool)
}

/// For a message, or for all of a member's.
public enum ShownChoice: String, Hashable, Sendable, Codable {
    case show
    case hide
    /// As moderators have it.
    case unset
}

public enum ProposedAction: Hashable, Sendable, Codable {
    case resolution
    case grant(member: String, role: String)
    case removeRole(member: String, role: String)
    case removeMember(member: String, reason: String)
    case amend(CharterDocument)
}

public enum VoteChoice: String, Hashable, Sendable, Codable, CaseIterable {
    case yes
    case no
    case abstain
}

public struct MemberSummary: Hashable, Sendable, Codable {
    public var id: String
    public var nickname: String
    public var roles: [String]
    public var sponsor: String?
    public var deviceCount: Int
    /// Why the member still waits to be admitted; nil when it doesn't.
    public var pending: String?
    public var ended: String?
    public var vouches: [VouchSummary]
    /// In force.
    public var labels: [LabelSummary]
    /// This node's own.
    public var choice: ShownChoice
}

public struct VouchSummary: Hashable, Sendable, Codable {
    public var id: String
    public var author: String
    public var amount: Int64
    public var note: String
}

public struct LabelSummary: Hashable, Sendable, Codable {
    public var id: String
    public var author: String
    /// "member" or "entry".
    public var kind: String
    public var subject: String
    public var label: String
    public var reason: String
    /// Why it was taken back.
    public var withdrawn: String?
}

public struct InviteSummary: Hashable, Sendable, Codable {
    public var id: String
    public var sponsor: String
    public var role: String
    public var note: String
    public var uses: Int
    public var joined: [String]
    public var usesLeft: Int
    public var expiry: Date
    /// "open", or why nobody can join by it.
    public var standing: String
}

public struct CharterSummary: Hashable, Sendable, Codable {
    public var edition: Int
    public var digest: String
    /// One rule per line, for people.
    public var text: String
    /// The same, for amending it.
    public var rules: CharterDocument
}

public struct ProposalSummary: Hashable, Sendable, Codable {
    public var id: String
    public var title: String
    public var text: String
    public var author: String
    public var action: String
    public var yes: Int
    public var no: Int
    public var abstain: Int
    public var outcome: String
    /// How many may vote, while it is open.
    public var electorate: Int?
    /// Until when it is open at least.
    public var until: Date?
}

// SPDX-License-Identifier: Apache-2.0
public import Foundation

/// What may be asked of a community's node, in this process or by its control socket.
public enum CommunityCommand: Sendable, Codable {
    case status
    case create(name: String, nickname: String)
    case invite(uses: Int, days: Int, note: String)
    case join(link: String, nickname: String)
    case members
    case charter
    case propose(title: String, text: String, action: ProposedAction)
    case proposals
    case vote(proposal: String, choice: VoteChoice)
    /// Signs for the end of a proposal; complete when enough closers have.
    case close(proposal: String)
    case leave
    case devices
    case revokeDevice(device: String, code: String, reason: String)
    /// Becomes the member whose recovery code this is, on a new device.
    case recover(code: String, link: String?)
    case send(channel: String, text: String)
    /// The newest messages of a channel, oldest first; with `follow` those that come from now on too.
    case read(channel: String, count: Int, follow: Bool)
    case log(count: Int)
    case verify
    /// What was taken and what was refused since the node started.
    case counts
    /// Reconciles with every connected member now, and answers when nothing is left to take, at the latest then.
    case sync(seconds: Int)
    case export(path: String)
    case backup(path: String)
}

public enum ProposedAction: Hashable, Sendable, Codable {
    case resolution
    case grant(member: String, role: String)
    case removeRole(member: String, role: String)
    case removeMember(member: String, reason: String)
    /// The amended charter's text, as `tutti community charter --json` prints it.
    case amend(charter: String)
}

public enum VoteChoice: String, Hashable, Sendable, Codable, CaseIterable {
    case yes
    case no
    case abstain
}

/// Answers to a ``CommunityCommand``: any number of them, then the end.
public enum CommunityReply: Sendable, Codable {
    case done
    case status(CommunityStatus)
    case created(CreatedCommunity)
    case invited(link: String)
    case joined(CommunityStatus)
    case members([MemberSummary])
    case charter(CharterSummary)
    case proposals([ProposalSummary])
    case proposed(id: String)
    case devices([DeviceSummary])
    case message(MessageSummary)
    case entry(EntrySummary)
    case verified(VerifySummary)
    case counts([CountSummary])
    case synced(entries: Int, peers: Int)
    case exported(entries: Int)
    case failed(CommunityError)
}

public struct CommunityStatus: Hashable, Sendable, Codable {
    public var community: String
    public var name: String
    public var nickname: String
    public var member: String
    public var device: String
    /// Waiting for somebody to admit this member.
    public var isPending: Bool
    public var memberCount: Int
    public var feedCount: Int
    public var entryCount: UInt64
    /// Members' nodes that we are connected with.
    public var connectedCount: Int
    /// Own entries that fewer than two other nodes are known to hold.
    public var unsentCount: Int
}

public struct CreatedCommunity: Hashable, Sendable, Codable {
    public var status: CommunityStatus
    /// Shown once: print it.
    public var recoveryPage: String
}

public struct MemberSummary: Hashable, Sendable, Codable {
    public var id: String
    public var nickname: String
    public var roles: [String]
    public var sponsor: String?
    public var deviceCount: Int
    public var isPending: Bool
    public var ended: String?
}

public struct DeviceSummary: Hashable, Sendable, Codable {
    public var id: String
    public var isThis: Bool
    public var standing: String
    public var entryCount: UInt64
}

public struct CharterSummary: Hashable, Sendable, Codable {
    public var edition: Int
    public var digest: String
    /// One rule per line, for people.
    public var text: String
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
}

public struct MessageSummary: Hashable, Sendable, Codable {
    public var id: String
    public var author: String
    public var nickname: String
    public var time: Date
    public var text: String
    public var isOwn: Bool
    public var isEdited: Bool
    /// Of one's own: other nodes known to have it on disk.
    public var holders: Int
}

public struct EntrySummary: Hashable, Sendable, Codable {
    public var id: String
    public var device: String
    public var nickname: String?
    public var sequence: UInt64
    public var kind: String
    public var time: Date
    public var bytes: Int
}

/// docs/protocols/journal.md and sync.md say what each counts.
public struct CountSummary: Hashable, Sendable, Codable {
    /// `journal`, `sync`, `violations` (of peers that we asked), `refusals` (to peers that asked) or `disk`.
    public var group: String
    public var name: String
    public var count: UInt64
}

public struct VerifySummary: Hashable, Sendable, Codable {
    public var entries: Int
    public var feeds: Int
    public var problems: [String]
}

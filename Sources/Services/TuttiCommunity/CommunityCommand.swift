// SPDX-License-Identifier: Apache-2.0
public import Foundation

/// What may be asked of a community's node, in this process or by its control socket.
public enum CommunityCommand: Sendable, Codable {
    case status
    case create(name: String, nickname: String)
    case join(link: String, nickname: String)
    case govern(GovernanceCommand)
    case devices
    case revokeDevice(device: String, code: String, reason: String)
    /// Becomes the member whose recovery code this is, on a new device.
    /// - Parameters:
    ///   - peers: addresses of nodes to ask, beside those that the node finds by itself.
    ///   - link: of the community, for more such addresses.
    case recover(code: String, peers: [String], link: String?)
    case send(channel: String, text: String)
    /// The newest messages of a channel, oldest first; with `follow` those that come from now on too.
    case read(channel: String, count: Int, follow: Bool)
    case chat(ChatCommand)
    case market(MarketCommand)
    case trade(TradeCommand)
    case log(count: Int)
    case verify
    /// What was taken and what was refused since the node started.
    case counts
    /// Reconciles with every connected member now, and answers when nothing is left to take, at the latest then.
    case sync(seconds: Int)
    case export(path: String)
    case backup(path: String)
}

/// Answers to a ``CommunityCommand``: any number of them, then the end.
public enum CommunityReply: Sendable, Codable {
    case done
    case status(CommunityStatus)
    case created(CreatedCommunity)
    case invited(link: String)
    case joined(CommunityStatus)
    case invites([InviteSummary])
    /// How far the search for a recovery code's seal is; any number of them before `.joined`.
    case searching(RecoveryProgress)
    case members([MemberSummary])
    /// Who was admitted or had a role changed, as it is now.
    case member(MemberSummary)
    case labels([LabelSummary])
    case charter(CharterSummary)
    case proposals([ProposalSummary])
    case proposed(id: String)
    case devices([DeviceSummary])
    case message(MessageSummary)
    case channels([ChannelSummary])
    case listing(ListingSummary)
    case listings([ListingSummary])
    case categories([CategorySummary])
    case imported(ImportSummary)
    case trade(TradeSummary)
    case trades([TradeSummary])
    case entry(EntrySummary)
    case verified(VerifySummary)
    case counts([CountSummary])
    case synced(entries: Int, peers: Int)
    case exported(entries: Int)
    case failed(CommunityError)
}

public struct CommunityStatus: Hashable, Sendable, Codable {
    public var community: String
    /// The same on nodes that hold the same governance.
    public var digest: String
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

public struct RecoveryProgress: Hashable, Sendable, Codable {
    /// Nodes that were found.
    public var found: Int
    /// Of them those that were asked.
    public var asked: Int
    public var seconds: Int
    public var secondsMax: Int
}

public struct CreatedCommunity: Hashable, Sendable, Codable {
    public var status: CommunityStatus
    /// Shown once: print it.
    public var recoveryPage: String
}

public struct DeviceSummary: Hashable, Sendable, Codable {
    public var id: String
    public var isThis: Bool
    public var standing: String
    public var entryCount: UInt64
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

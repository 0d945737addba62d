// SPDX-License-Identifier: Apache-2.0
public import Foundation

/// What may be asked of chat beside sending and reading. A place is a channel's name, or "@" and a member.
public enum ChatCommand: Sendable, Codable {
    /// The text of a message of one's own becomes another. Messages are named by their id, by how it begins, or as "last".
    case edit(place: String, message: String, text: String)
    case delete(place: String, message: String)
    /// Channels that are open, and conversations in which something was said.
    case channels
    case open(channel: String, purpose: String)
    /// Everything up to this message was read: the other member of a conversation is told.
    case read(place: String, through: String)
}

public struct MessageSummary: Hashable, Sendable, Codable {
    public var id: String
    /// The channel, or "@" and the other member's name.
    public var place: String
    public var author: String
    public var nickname: String
    public var time: Date
    public var text: String
    public var isOwn: Bool
    public var isEdited: Bool
    /// Of what this device wrote: other nodes known to have it on disk.
    public var holders: Int?
    /// Of one's own, in a conversation: the other member has said so.
    public var isRead: Bool
}

public struct ChannelSummary: Hashable, Sendable, Codable {
    /// As commands take it: the channel, or "@" and the other member's name.
    public var place: String
    public var purpose: String
    public var newest: Date?
    /// Of others, among the newest 100, and not read yet. In channels known only to members with several devices.
    public var unreadCount: Int?
}

// SPDX-License-Identifier: Apache-2.0
import TuttiCommunity

/// Chat for people.
extension CommunityText {
    static func message(_ message: MessageSummary) -> String {
        let line = "\(time(message.time)) \(printable(message.nickname)): \(printable(message.text))"
        let marks = [message.isEdited ? "edited" : nil, delivery(message)].compactMap { $0 }
        return ([line] + marks.map { "(\($0))" }).joined(separator: "  ")
    }

    /// How far a message of one's own has come, as far as this machine was told.
    static func delivery(_ message: MessageSummary) -> String? {
        if message.isRead { return "read" }
        return switch message.holders {
        case nil: nil
        case 0: "only on this machine"
        case let count?: "on \(count) other disks"
        }
    }

    static func channel(_ channel: ChannelSummary) -> String {
        var line = printable(channel.place)
        if let count = channel.unreadCount, count > 0 { line += "  \(count == 100 ? "100 or more" : "\(count)") new" }
        if let newest = channel.newest { line += "  \(time(newest))" }
        return channel.purpose.isEmpty ? line : line + "  \(printable(channel.purpose))"
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity
package import TuttiJournal

/// The channels that were opened by members who may. A function of the set of openings, whatever their order.
package struct ChatChannels: Sendable {
    package struct Channel: Hashable, Sendable {
        package let id: Bytes32
        package let name: String
        package let purpose: String
        /// Of several openings of one name, the one with the lowest id.
        package let opening: EntryID
    }

    private let community: CommunityID
    private var channels: [Bytes32: Channel] = [:]
    /// Openings refused because there are too many channels.
    package private(set) var refusedCount = 0

    package init(community: CommunityID) { self.community = community }

    // MARK: Rows

    /// Where the rows of openings stand: no channel's id.
    package static func rows(in community: CommunityID) -> Bytes32 {
        KeyDerivation.sha256(Array("tutti-channels".utf8) + community.bytes.bytes)
    }

    /// One for each opening, whoever else opened the same.
    package static func row(_ stored: StoredEntry, author: MemberID, _ body: ChannelBody) -> MessageRow {
        let header = stored.entry.header
        return MessageRow(
            id: stored.entry.id, channel: rows(in: header.community), author: author, device: header.device,
            sequence: header.sequence, time: stored.displayTime, text: "\(body.name)\n\(body.purpose)")
    }

    /// As ``row(_:author:_:)`` wrote it.
    @discardableResult
    package mutating func take(_ row: MessageRow) -> Bool {
        let parts = row.text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let body = ChannelBody(name: String(parts[0]), purpose: String(parts[1])) else {
            return false
        }
        return opened(body, by: row.id)
    }

    /// An opening by somebody who may write.
    /// - Returns: whether anything changed.
    @discardableResult
    package mutating func opened(_ body: ChannelBody, by opening: EntryID) -> Bool {
        let id = body.id(in: community)
        if let known = channels[id] {
            guard opening < known.opening else { return false }
        } else if channels.count >= ChatLimits.channelsMax {
            refusedCount += 1
            return false
        }
        channels[id] = Channel(id: id, name: body.name, purpose: body.purpose, opening: opening)
        return true
    }

    /// What is said in any other is kept and not shown.
    package func isOpen(_ id: Bytes32) -> Bool { channels[id] != nil }

    package func channel(named name: String) -> Channel? {
        channels[ChannelBody.id(of: name, in: community)]
    }

    /// By the bytes of their names: texts that look the same may be two names.
    package var all: [Channel] {
        channels.values.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }
}

/// What was read of whom. A function of the set of read markers: the highest counts.
package struct ChatReads: Sendable {
    private struct Pair: Hashable {
        let reader: MemberID
        let device: DeviceID
    }

    private var points: [Pair: EntrySequence] = [:]
    package private(set) var refusedCount = 0

    package init() {}

    /// Where the rows of markers of a place stand: no channel's id.
    package static func rows(of place: Bytes32) -> Bytes32 {
        KeyDerivation.sha256(Array("tutti-chat-reads".utf8) + place.bytes)
    }

    package init(_ rows: [MessageRow]) {
        for row in rows { read([ChatReadPoint(device: row.device, sequence: row.sequence)], by: row.author) }
    }

    package mutating func read(_ marked: [ChatReadPoint], by reader: MemberID) {
        for point in marked {
            let pair = Pair(reader: reader, device: point.device)
            if let known = points[pair] {
                points[pair] = max(known, point.sequence)
            } else if points.count < ChatLimits.readPairsMax {
                points[pair] = point.sequence
            } else {
                refusedCount += 1
            }
        }
    }

    package func hasRead(_ reader: MemberID, _ device: DeviceID, upTo sequence: EntrySequence) -> Bool {
        points[Pair(reader: reader, device: device)].map { $0 >= sequence } ?? false
    }

    /// Nil: nothing yet.
    package func readUpTo(_ device: DeviceID, by reader: MemberID) -> EntrySequence? {
        points[Pair(reader: reader, device: device)]
    }
}

/// How far a message of our own has come, as far as we were told.
package enum ChatDelivery: Hashable, Sendable {
    case onlyHere
    /// On the disks of so many other nodes.
    case held(Int)
    /// The other member of the conversation has read it.
    case read

    /// Two other nodes have it on disk: one may fail.
    package static let sentHoldersMin = 2

    package var isSent: Bool {
        switch self {
        case .onlyHere: false
        case .held(let count): count >= Self.sentHoldersMin
        case .read: true
        }
    }

    /// - Parameters:
    ///   - receipts: of any feeds; those of other feeds and lower heads don't count, nor does a holder twice.
    ///   - other: the other member of a conversation of two; nil in a channel, where nobody says what was read.
    package static func of(
        _ sequence: EntrySequence, by device: DeviceID, receipts: [ReceiptRecord], other: MemberID? = nil,
        reads: ChatReads = ChatReads()
    ) -> ChatDelivery {
        if let other, reads.hasRead(other, device, upTo: sequence) { return .read }
        let holders = Set(receipts.filter { $0.device == device && $0.head >= sequence }.map(\.holder))
        return holders.isEmpty ? .onlyHere : .held(holders.count)
    }
}

/// What a member sees of a row: moderators hide with a reason, each member may decide otherwise for itself.
package enum ChatShown {
    package enum Choice: Hashable, Sendable {
        case show
        case hide
    }

    package static let blockedReason = "hidden here: its author is blocked"
    package static let hiddenReason = "hidden here"

    /// - Parameters:
    ///   - label: the reason of a moderator's label on the message that is in force.
    ///   - isBlocked: its author is blocked by this member or by a moderator.
    ///   - choice: this member's own, for this message; it beats both. Nothing brings back what its author took back.
    package static func row(
        _ row: MessageRow, label: String? = nil, isBlocked: Bool = false, choice: Choice? = nil
    ) -> MessageRow {
        guard row.hiddenReason == nil else { return row }
        let reason: String? =
            switch choice {
            case .show: nil
            case .hide: hiddenReason
            case nil: label ?? (isBlocked ? blockedReason : nil)
            }
        guard let reason else { return row }
        var hidden = row
        hidden.text = ""
        hidden.hiddenReason = reason
        return hidden
    }
}

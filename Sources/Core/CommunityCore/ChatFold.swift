// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
package import TuttiJournal

/// Something of chat, read from an entry whose author stands in the roster and isn't beyond a cut.
package struct ChatArrival: Hashable, Sendable {
    package let id: EntryID
    package let device: DeviceID
    package let sequence: EntrySequence
    /// To whom the roster says the device belongs.
    package let author: MemberID
    package let time: HybridTime
    package let firstSeen: HybridTime
    package let isSealed: Bool
    package let body: ChatBody

    /// - Parameter isSealed: the body was inside a sealed entry.
    package init(_ stored: StoredEntry, author: MemberID, isSealed: Bool, body: ChatBody) {
        id = stored.entry.id
        device = stored.entry.header.device
        sequence = stored.entry.header.sequence
        self.author = author
        time = stored.entry.header.time
        firstSeen = stored.firstSeen
        self.isSealed = isSealed
        self.body = body
    }
}

/// Turns what was said into the rows that are shown, in whatever order it arrives.
///
/// It keeps nothing: the state of a message is its row. For a batch the caller loads the rows that ``rowsNeeded(for:)``
/// names, and writes what ``rows(for:existing:)`` returns in one transaction before it does the next batch.
///
/// Rules. A member's message is changed and taken back by that member alone, from any device, in its own place. Of two
/// edits the one with the later claimed time is shown (of equals, the greater text): an author who lies about time can
/// only confuse the author's own message. What is taken back stays so. A change that comes before its message waits in a
/// row of its own, which no channel shows; a member can't have more of these than the quota has of entries. Read markers
/// stand in such rows too (``ChatReads/rows(of:)``), and openings of channels (``ChatChannels/rows(in:)``).
package struct ChatFold: Sendable {
    /// The reason on a message that its author took back; its text is gone from the row.
    package static let takenBack = "taken back by its author"
    /// The channel of rows that wait. No channel or conversation has this id, which would be a digest.
    private static let waiting = Bytes32.zero

    private let community: CommunityID
    private let own: MemberID
    /// Acts that break the rules.
    package private(set) var refusedCount = 0

    package init(community: CommunityID, own: MemberID) {
        self.community = community
        self.own = own
    }

    /// At most two for each arrival, of a read marker one for each point.
    package func rowsNeeded(for arrivals: [ChatArrival]) -> [EntryID] {
        var ids: Set<EntryID> = []
        for arrival in arrivals {
            if case .read(let points) = arrival.body.act {
                ids.formUnion(points.map { readID($0.device, arrival) })
            }
            guard let target = target(of: arrival) else { continue }
            ids.insert(target)
            ids.insert(waitingID(target, arrival))
        }
        return ids.sorted()
    }

    package mutating func rows(for arrivals: [ChatArrival], existing: [MessageRow]) -> [JournalRow] {
        var known = Dictionary(existing.map { ($0.id, $0) }) { first, _ in first }
        var changed: Set<EntryID> = []
        for arrival in arrivals {
            guard isInPlace(arrival) else {
                refusedCount += 1
                continue
            }
            if case .read(let points) = arrival.body.act {
                for row in points.map({ row($0, arrival) }) {
                    if let earlier = known[row.id], earlier.sequence >= row.sequence { continue }
                    known[row.id] = row
                    changed.insert(row.id)
                }
            }
            guard let target = target(of: arrival) else { continue }
            let waitingID = waitingID(target, arrival)
            switch arrival.body.act {
            case .post(let text):
                guard known[target] == nil else { continue }
                var row = row(target, arrival, text: text)
                if let change = known.removeValue(forKey: waitingID) {
                    Self.apply(change, to: &row)
                    changed.insert(waitingID)
                }
                known[target] = row
                changed.insert(target)
            case .edit, .deletion:
                let change = change(waitingID, arrival)
                if var row = known[target] {
                    guard row.author == arrival.author, row.channel == channel(of: arrival) else {
                        refusedCount += 1
                        continue
                    }
                    Self.apply(change, to: &row)
                    known[target] = row
                    changed.insert(target)
                } else if var earlier = known[waitingID] {
                    Self.apply(change, to: &earlier)
                    known[waitingID] = earlier
                    changed.insert(waitingID)
                } else {
                    known[waitingID] = change
                    changed.insert(waitingID)
                }
            case .read: continue
            }
        }
        return changed.sorted().map { id in known[id].map { .message($0) } ?? .removed(id) }
    }

    // MARK: Private parts

    /// The message that an act is about.
    private func target(of arrival: ChatArrival) -> EntryID? {
        switch arrival.body.act {
        case .post: arrival.id
        case .edit(let target, _), .deletion(let target): target
        case .read: nil
        }
    }

    /// Channels are open, conversations are sealed, and of a conversation we are one of the two. What we read of a channel
    /// concerns only us.
    private func isInPlace(_ arrival: ChatArrival) -> Bool {
        switch arrival.body.place {
        case .channel:
            if case .read = arrival.body.act { arrival.isSealed && arrival.author == own } else { !arrival.isSealed }
        case .direct(let other): arrival.isSealed && (arrival.author == own || other == own)
        }
    }

    private func channel(of arrival: ChatArrival) -> Bytes32 {
        arrival.body.place.id(author: arrival.author, in: community)
    }

    /// Of its message, author and place: nobody can take the place of another's change.
    private func waitingID(_ target: EntryID, _ arrival: ChatArrival) -> EntryID {
        EntryID(
            KeyDerivation.sha256(
                Array("tutti-chat-waiting".utf8) + target.bytes.bytes + arrival.author.bytes.bytes
                    + channel(of: arrival).bytes))
    }

    /// Of a place, who read and whose device's entries were read: the highest sequence counts.
    private func row(_ point: ChatReadPoint, _ arrival: ChatArrival) -> MessageRow {
        MessageRow(
            id: readID(point.device, arrival), channel: ChatReads.rows(of: channel(of: arrival)),
            author: arrival.author, device: point.device, sequence: point.sequence, time: HybridTime(0), text: "")
    }

    private func readID(_ device: DeviceID, _ arrival: ChatArrival) -> EntryID {
        EntryID(
            KeyDerivation.sha256(
                Array("tutti-chat-read".utf8) + channel(of: arrival).bytes + arrival.author.bytes.bytes
                    + device.bytes.bytes))
    }

    private func row(_ id: EntryID, _ arrival: ChatArrival, text: String) -> MessageRow {
        MessageRow(
            id: id, channel: channel(of: arrival), author: arrival.author, device: arrival.device,
            sequence: arrival.sequence, time: min(arrival.time, arrival.firstSeen), text: text,
            version: arrival.time)
    }

    private func change(_ id: EntryID, _ arrival: ChatArrival) -> MessageRow {
        var row = row(id, arrival, text: "")
        row.channel = Self.waiting
        if case .edit(_, let text) = arrival.body.act {
            row.text = text
            row.isEdited = true
        } else {
            Self.takeBack(&row)
        }
        return row
    }

    /// Commutative and idempotent over changes: a deletion, else the greatest (time, text).
    private static func apply(_ change: MessageRow, to row: inout MessageRow) {
        guard row.hiddenReason == nil else { return }
        guard change.hiddenReason == nil else { return takeBack(&row) }
        guard !row.isEdited || precedes(row, change) else { return }
        row.text = change.text
        row.isEdited = true
        row.version = change.version
    }

    private static func precedes(_ one: MessageRow, _ other: MessageRow) -> Bool {
        if one.version != other.version { return one.version < other.version }
        return one.text.utf8.lexicographicallyPrecedes(other.text.utf8)
    }

    private static func takeBack(_ row: inout MessageRow) {
        row.text = ""
        row.isEdited = false
        row.version = HybridTime(0)
        row.hiddenReason = takenBack
    }
}

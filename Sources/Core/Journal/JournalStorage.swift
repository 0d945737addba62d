// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

// What the cores ask of a journal's disk. Storage (SQLite) and the lab's memory store pass one contract test.
//
// Writes: one `JournalBatch` is one transaction, all or nothing, on disk when its `.persisted` comes back. Reads: a
// closed list of queries, `.load(query, id)` -> `.loaded(id, answer)`; none sees a batch that is not on disk.

/// An entry as a replica holds it.
package struct StoredEntry: Hashable, Sendable {
    package var entry: Entry
    /// By this node's clock: what is shown is ordered by the smaller of this and the claimed time.
    package var firstSeen: HybridTime
    /// Kept as evidence beside its feed, where it has no place: what a cut left behind, and what governance cites of a
    /// forked feed. Several may have the number of one place.
    package var isBeside: Bool

    package init(_ entry: Entry, firstSeen: HybridTime, isBeside: Bool = false) {
        self.entry = entry
        self.firstSeen = firstSeen
        self.isBeside = isBeside
    }

    package var displayTime: HybridTime { min(entry.header.time, firstSeen) }
}

/// How much of one device's feed a replica holds: every entry from `low` to `head`, and perhaps single governance
/// entries below.
package struct FeedRecord: Hashable, Sendable {
    package var device: DeviceID
    package var low: EntrySequence
    package var head: FeedPoint
    /// Two different entries stand at one sequence: a `FaultProof` is held, nothing more is taken.
    package var isFrozen: Bool

    package init(device: DeviceID, low: EntrySequence, head: FeedPoint, isFrozen: Bool) {
        self.device = device
        self.low = low
        self.head = head
        self.isFrozen = isFrozen
    }
}

/// Behind this point nothing has a place in the feed any more.
package struct FeedEnd: Hashable, Sendable {
    package var device: DeviceID
    package var point: FeedPoint

    package init(device: DeviceID, point: FeedPoint) {
        self.device = device
        self.point = point
    }

    package func isBehind(_ device: DeviceID, _ sequence: EntrySequence, _ id: EntryID) -> Bool {
        device == self.device && (sequence > point.sequence || (sequence == point.sequence && id != point.id))
    }
}

/// What quotas must know of a feed after a restart.
package struct FeedUsage: Hashable, Sendable {
    package var device: DeviceID
    /// When the head claims to be written.
    package var headTime: HybridTime
    /// Bytes first seen since the time asked for, by the day that the entries claim, ascending.
    package var arrived: [DayBytes]

    package struct DayBytes: Hashable, Sendable {
        /// Since 1970.
        package var day: UInt64
        package var bytes: Int

        package init(day: UInt64, bytes: Int) {
            self.day = day
            self.bytes = bytes
        }
    }

    package init(device: DeviceID, headTime: HybridTime, arrived: [DayBytes]) {
        self.device = device
        self.headTime = headTime
        self.arrived = arrived
    }
}

/// Where a line of chat stands among those of its channel: by time, and at one time by id.
package struct MessagePlace: Hashable, Sendable {
    package var time: HybridTime
    package var id: EntryID

    /// Behind all.
    package static let end = MessagePlace(
        time: HybridTime(.max), id: EntryID(Bytes32(words: (.max, .max, .max, .max))))

    package init(time: HybridTime, id: EntryID) {
        self.time = time
        self.id = id
    }
}

/// Two headers of one device, both signed, of which no feed can hold both: at one sequence, or the later doesn't name the
/// earlier as its predecessor. Proof, to anybody, that the key wrote two feeds. Whoever makes one has checked both
/// signatures.
package struct FaultProof: Hashable, Sendable {
    /// Without bodies, the lower sequence first, then the lower id.
    package let first: Entry
    package let second: Entry

    /// Nil unless the two can't stand in one feed of one community.
    package init?(_ one: Entry, _ other: Entry) {
        let isOneFirst = (one.header.sequence, one.id) < (other.header.sequence, other.id)
        let (first, second) = isOneFirst ? (one, other) : (other, one)
        let (a, b) = (first.header, second.header)
        guard first.id != second.id, a.device == b.device, a.community == b.community else { return nil }
        guard a.sequence == b.sequence || (a.sequence.next == b.sequence && b.previous != first.id) else { return nil }
        self.first = first.withoutBody
        self.second = second.withoutBody
    }

    package var device: DeviceID { first.header.device }
}

/// Another node says that it has a feed on its disk, up to a sequence.
package struct ReceiptRecord: Hashable, Sendable {
    package var device: DeviceID
    package var holder: PeerID
    package var head: EntrySequence

    package init(device: DeviceID, holder: PeerID, head: EntrySequence) {
        self.device = device
        self.holder = holder
        self.head = head
    }
}

/// What folds derive from entries, for reading. Every row can be made again from the entries (`tutti repair`).
package enum JournalRow: Hashable, Sendable {
    case message(MessageRow)
    case document(DocumentRow)
    case opened(OpenedRow)
    case listing(ListingRow)
    /// No longer shown: a message, document or listing by its entry.
    case removed(EntryID)
}

extension JournalRow {
    /// Of the entry that it is about.
    package var id: EntryID {
        switch self {
        case .message(let row): row.id
        case .document(let row): row.id
        case .opened(let row): row.id
        case .listing(let row): row.id
        case .removed(let id): id
        }
    }
}

/// A line of chat, as it is shown.
package struct MessageRow: Hashable, Sendable {
    /// The first entry; edits keep it.
    package var id: EntryID
    /// A channel, or a conversation of two (`Bytes32` of the channel's name or of the pair).
    package var channel: Bytes32
    package var author: MemberID
    package var device: DeviceID
    package var sequence: EntrySequence
    package var time: HybridTime
    package var text: String
    package var isEdited: Bool
    /// The claimed time of the entry whose text this is: of two edits the later one is shown, whichever came first.
    package var version: HybridTime
    /// The author took it back, or a moderator hid it; the reason says which.
    package var hiddenReason: String?

    package var place: MessagePlace { MessagePlace(time: time, id: id) }

    package init(
        id: EntryID, channel: Bytes32, author: MemberID, device: DeviceID, sequence: EntrySequence, time: HybridTime,
        text: String, isEdited: Bool = false, version: HybridTime = HybridTime(0), hiddenReason: String? = nil
    ) {
        self.id = id
        self.channel = channel
        self.author = author
        self.device = device
        self.sequence = sequence
        self.time = time
        self.text = text
        self.isEdited = isEdited
        self.version = version
        self.hiddenReason = hiddenReason
    }
}

/// Something to be found by its words: a file's description.
package struct DocumentRow: Hashable, Sendable {
    package var id: EntryID
    package var kind: EntryKind
    package var author: MemberID
    package var time: HybridTime
    package var title: String
    package var text: String

    package init(id: EntryID, kind: EntryKind, author: MemberID, time: HybridTime, title: String, text: String) {
        self.id = id
        self.kind = kind
        self.author = author
        self.time = time
        self.title = title
        self.text = text
    }
}

/// One transaction. Written in the order of its fields; a row that is there already is replaced.
package struct JournalBatch: Sendable {
    /// Feeds that end earlier than they did: what is behind steps beside.
    package var ends: [FeedEnd] = []
    /// New entries. One whose id is there already is left as it is, but for a body that was missing, and for its place
    /// in the feed, which it takes if it stood beside.
    package var entries: [StoredEntry] = []
    package var feeds: [FeedRecord] = []
    package var proofs: [FaultProof] = []
    package var receipts: [ReceiptRecord] = []
    package var rows: [JournalRow] = []
    /// Bodies and salts whose time is over.
    package var bodiesDropped: [EntryID] = []
    /// Small facts of this node, by name: its community, its device, its clock's high water.
    package var settings: [String: [UInt8]] = [:]
    package var slotsDropped: [SlotKey] = []
    package var slots: [SlotRecord] = []

    package init() {}

    package var isEmpty: Bool {
        ends.isEmpty && entries.isEmpty && feeds.isEmpty && proofs.isEmpty && receipts.isEmpty && rows.isEmpty
            && bodiesDropped.isEmpty && settings.isEmpty && slotsDropped.isEmpty && slots.isEmpty
    }
}

package enum JournalQuery: Hashable, Sendable {
    /// Everything that the cores keep in memory but governance: feeds, proofs, receipts, settings.
    case opening
    /// Governance entries in the order of their arrival, after the given arrival number.
    case governance(after: UInt64, countMax: Int)
    /// Of one feed, without what stands beside, ascending or (`newestFirst`) descending, within both ends; at least one entry, then as many as fit.
    case feed(DeviceID, ClosedRange<EntrySequence>, newestFirst: Bool, countMax: Int, bytesMax: Int)
    case entries([EntryID])
    /// Any entries in the order of arrival, after the given arrival number: to fold views anew, to export.
    case arrivals(after: UInt64, countMax: Int, bytesMax: Int)
    /// Entries of one kind in the order of arrival, after the given arrival number: what only a few can read, when they
    /// have a key more.
    case ofKind(EntryKind, after: UInt64, countMax: Int, bytesMax: Int)
    /// Any entries, those that came last first, before the given arrival number. Answered by `.arrivals`.
    case latest(before: UInt64, countMax: Int, bytesMax: Int)
    /// What is shown of a channel, newest first, before the given place.
    case messages(channel: Bytes32, before: MessagePlace, countMax: Int)
    /// Messages by their ids, at most as many rows; an id that has none is passed over. Answered by `.messages`.
    case messageRows([EntryID])
    /// What was opened, in the order in which it was written first, after the given number. Answered by `.opened`.
    case opened(after: UInt64, countMax: Int, bytesMax: Int)
    /// What was opened about one thing, likewise.
    case openedAbout(Bytes32, countMax: Int)
    /// About what something of a kind was opened, what came last first. Answered by `.subjects`.
    case openedSubjects(kind: UInt16, countMax: Int)
    /// Rows by their ids, messages first, also those that wait; an id that has none is passed over. Answered by `.rows`.
    case rows(RowsNeeded)
    /// Documents with all of these words, best first. The ranking is the store's own; no decision may rest on it.
    case search(String, countMax: Int)
    case listings(ListingQuery)
    /// Whose ids lie in the range, in any state, ascending: those that begin as somebody typed. Answered by `.listings`.
    case listingsNamed(ClosedRange<EntryID>, countMax: Int)
    /// Of what is open and not expired at the time (milliseconds since 1970), by name.
    case listingCategories(unexpiredAt: UInt64, countMax: Int)
    /// Entries whose body's time is over.
    case expired(RetentionClass, before: HybridTime, countMax: Int)
    /// Of feeds that hold something. Of what was first seen since the time the last 65,536 entries count.
    case usage(since: HybridTime)
    /// By their keys, in that order; a key that holds nothing is passed over.
    case slots([SlotKey])
    /// Of one shelf those whose keys begin so, in the order of keys, after the given one (nil: from the first); at least one,
    /// then as many as fit.
    case slotPage(SlotShelf, prefix: [UInt8] = [], after: [UInt8]? = nil, countMax: Int, bytesMax: Int)
}

package enum JournalAnswer: Sendable {
    case opening(JournalOpening)
    /// With the last one's arrival number, for the next page; fewer than asked means that there are no more.
    case arrivals([StoredEntry], last: UInt64)
    case entries([StoredEntry])
    case messages([MessageRow])
    case documents([DocumentRow])
    /// With the last one's number, for the next page.
    case opened([OpenedRow], last: UInt64)
    case subjects([Bytes32])
    case rows([JournalRow])
    case listings([ListingRow])
    case categories([ListingCategory])
    case ids([EntryID])
    /// Ordered by device.
    case usage([FeedUsage])
    case slots([SlotRecord])
    case failed(JournalStorageError)
}

package struct JournalOpening: Sendable {
    /// Ordered by device.
    package var feeds: [FeedRecord] = []
    package var proofs: [FaultProof] = []
    package var receipts: [ReceiptRecord] = []
    package var settings: [String: [UInt8]] = [:]

    package init() {}
}

package enum JournalStorageError: Error, Hashable, Sendable {
    case diskFull
    /// A page of the file doesn't read back as it was written.
    case damaged
    /// Any other refusal of the disk; the text is for the log.
    case failed(String)
}

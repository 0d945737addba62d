// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// Writes a device's feed, by the rules or not. A copy of it writes another branch.
struct Pen: Sendable {
    let key: KeyPair
    let community: CommunityID
    var sequence = EntrySequence.none
    var previous = EntryID.none
    /// The governance head that it names.
    var governance: EntryID
    private(set) var entries: [Entry] = []

    init(_ key: KeyPair, _ community: CommunityID, governance: EntryID) {
        (self.key, self.community, self.governance) = (key, community, governance)
    }

    var device: DeviceID { key.device }
    var point: FeedPoint { FeedPoint(sequence: sequence, id: previous) }

    @discardableResult
    mutating func write(_ draft: EntryDraft, milliseconds: UInt64 = Self.now()) -> Entry {
        let entry = next(draft, milliseconds: milliseconds)
        (sequence, previous) = (entry.header.sequence, entry.id)
        entries.append(entry)
        return entry
    }

    @discardableResult
    mutating func post(_ text: String, milliseconds: UInt64 = Self.now()) -> Entry {
        write(chat(text), milliseconds: milliseconds)
    }

    /// The next entry, without going on from it.
    func next(
        _ draft: EntryDraft, milliseconds: UInt64 = Self.now(), as device: DeviceID? = nil,
        in other: CommunityID? = nil, after point: FeedPoint? = nil
    ) -> Entry {
        let content = Entry.Content(salt: Bytes32(words: (sequence.value, 1, 2, 3)), body: draft.body)
        let before = point ?? self.point
        let header = EntryHeader(
            kind: draft.kind, isCritical: draft.isCritical, retention: draft.retention,
            bodyBytesCount: draft.body.count, sequence: before.sequence.next,
            time: HybridTime(milliseconds: milliseconds), community: other ?? community,
            device: device ?? self.device, previous: before.id, governance: draft.governance,
            bodyDigest: content.digest)
        return Entry(signing: header, content: content, with: key)
    }

    func chat(_ text: String) -> EntryDraft {
        let place = ChatPlace.channel(ChannelBody.id(of: "general", in: community))
        return EntryDraft(
            kind: .chat, body: ChatBody(place: place, act: .post(text))?.bytes ?? [], governance: governance)
    }

    static func now() -> UInt64 { UInt64(clamping: Int64(wallClock() * 1_000)) }
}

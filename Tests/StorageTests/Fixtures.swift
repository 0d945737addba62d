// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiSimulator
import TuttiStorage

/// A device that writes.
struct Author {
    static let community = CommunityID(Bytes32(words: (7, 7, 7, 7)))
    static let chat = EntryKind(0x0200)
    static let governance = EntryKind(0x0010)

    let key: KeyPair
    let device: DeviceID
    private(set) var head = FeedPoint.start

    init(_ number: UInt64) {
        key = KeyPair(seed: Bytes32(words: (number, 1, 2, 3)))
        device = DeviceID(Bytes32(key.publicKey.raw) ?? .zero)
    }

    mutating func write(
        _ text: String = "words", kind: EntryKind = chat, retention: RetentionClass = .permanent,
        at milliseconds: UInt64 = 1_000_000
    ) -> StoredEntry {
        let content = Entry.Content(salt: Bytes32(words: (head.sequence.value, 0, 0, 1)), body: Array(text.utf8))
        let header = EntryHeader(
            kind: kind, isCritical: false, retention: retention, bodyBytesCount: content.body.count,
            sequence: head.sequence.next, time: HybridTime(milliseconds: milliseconds), community: Self.community,
            device: device, previous: head.id, governance: .none, bodyDigest: content.digest)
        let entry = Entry(signing: header, content: content, with: key)
        head = entry.point
        return StoredEntry(entry, firstSeen: HybridTime(milliseconds: milliseconds + 5))
    }

    mutating func write(count: Int, bytes: Int = 12) -> [StoredEntry] {
        (0..<count).map { number in write(String(repeating: "x", count: max(0, bytes - 6)) + String(100_000 + number)) }
    }

    mutating func resume(at point: FeedPoint) { head = point }

    func record(low: EntrySequence = .first, isFrozen: Bool = false) -> FeedRecord {
        FeedRecord(device: device, low: low, head: head, isFrozen: isFrozen)
    }
}

extension JournalBatch {
    init(_ entries: [StoredEntry], _ feeds: [FeedRecord] = [], rows: [JournalRow] = []) {
        self.init()
        (self.entries, self.feeds, self.rows) = (entries, feeds, rows)
    }
}

func message(_ stored: StoredEntry, in channel: Bytes32 = .zero) -> JournalRow {
    .message(
        MessageRow(
            id: stored.entry.id, channel: channel, author: MemberID(stored.entry.header.device.bytes),
            device: stored.entry.header.device, sequence: stored.entry.header.sequence, time: stored.displayTime,
            text: String(decoding: stored.entry.content?.body ?? [], as: UTF8.self)))
}

/// Of 32 bytes.
func opened(_ stored: StoredEntry, about subject: UInt64, kind: UInt16) -> OpenedRow {
    OpenedRow(
        id: stored.entry.id, kind: kind, subject: Bytes32(words: (subject, 0, 0, 0)),
        author: MemberID(stored.entry.header.device.bytes), device: stored.entry.header.device,
        sequence: stored.entry.header.sequence, time: stored.displayTime,
        payload: [UInt8](repeating: UInt8(truncatingIfNeeded: stored.entry.header.sequence.value), count: 32))
}

func document(_ stored: StoredEntry, _ title: String, _ text: String) -> DocumentRow {
    DocumentRow(
        id: stored.entry.id, kind: stored.entry.header.kind, author: MemberID(stored.entry.header.device.bytes),
        time: stored.displayTime, title: title, text: text)
}

/// A folder that goes with its owner.
final class TestFolder: Sendable {
    let path: String

    init() throws {
        path =
            NSTemporaryDirectory() + "tutti-storage-\(ProcessInfo.processInfo.processIdentifier)-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }
    var journal: String { file("journal.sqlite") }
}

/// Either store behind one face, for the contract's tests.
enum StoreKind: CaseIterable, Sendable {
    case sqlite
    case memory
}

final class TestStore {
    private let folder: TestFolder
    private var sqlite: SQLiteJournal?
    private var memory: MemoryJournal?
    private var now = Instant.zero

    init(_ kind: StoreKind) throws {
        folder = try TestFolder()
        switch kind {
        case .sqlite: sqlite = try SQLiteJournal(path: folder.journal)
        case .memory: memory = MemoryJournal(seed: 1)
        }
    }

    func write(_ batch: JournalBatch) throws {
        try sqlite?.write(batch)
        if let done = try memory?.write(batch, at: now) { now = done }
    }

    func answer(_ query: JournalQuery) -> JournalAnswer {
        if let sqlite { return sqlite.answer(query) }
        return memory?.answer(query, at: now).answer ?? .ids([])
    }

    // MARK: Answers by kind

    func opening() -> JournalOpening? {
        if case .opening(let opening) = answer(.opening) { opening } else { nil }
    }

    func entries(_ query: JournalQuery) -> [StoredEntry]? {
        if case .entries(let entries) = answer(query) { entries } else { nil }
    }

    func arrivals(_ query: JournalQuery) -> (entries: [StoredEntry], last: UInt64)? {
        if case .arrivals(let entries, let last) = answer(query) { (entries, last) } else { nil }
    }

    func messages(_ channel: Bytes32, before: MessagePlace = .end, countMax: Int = 100) -> [MessageRow]? {
        let query = JournalQuery.messages(channel: channel, before: before, countMax: countMax)
        return if case .messages(let rows) = answer(query) { rows } else { nil }
    }

    func search(_ text: String, countMax: Int = 100) -> [DocumentRow]? {
        if case .documents(let rows) = answer(.search(text, countMax: countMax)) { rows } else { nil }
    }

    func expired(_ retention: RetentionClass, before: UInt64, countMax: Int = 100) -> [EntryID]? {
        let query = JournalQuery.expired(retention, before: HybridTime(milliseconds: before), countMax: countMax)
        return if case .ids(let ids) = answer(query) { ids } else { nil }
    }
}

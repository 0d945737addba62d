// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
import Testing
import TuttiBase
import TuttiJournal
import TuttiSimulator
import TuttiStorage

/// What a witness must find again after a crash, and what no copy of a folder may hold.
@Suite("Slots: a core's own records beside the journal")
struct SlotTests {
    private static let all = StoreKind.allCases
    private static let large = SlotRecord(
        SlotKey(.witness, Array(repeating: 9, count: SlotRecord.keyBytesMax)),
        Array(repeating: 7, count: SlotRecord.valueBytesMax))

    private let folder: TestFolder

    init() throws { folder = try TestFolder() }

    // MARK: The contract

    @Test("Records come back by their keys; a new value takes the place of the old one", arguments: all)
    func returnsRecords(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        let (a, b, c) = (slot(.witness, [1], "a"), slot(.witness, [2], ""), slot(.register, [1], "c"))
        try store.write(JournalBatch(slots: [a, b, c, Self.large]))
        #expect(store.slots(.slots([b.key, a.key])) == [b, a])
        #expect(store.slots(.slots([c.key, SlotKey(.register, [2]), Self.large.key])) == [c, Self.large])
        let changed = slot(.witness, [1], "another")
        try store.write(JournalBatch(slots: [changed]))
        #expect(store.slots(.slots([a.key, b.key])) == [changed, b])
        #expect(store.slots(.slots([])) == [])
    }

    @Test("What is dropped is gone; in one batch a drop comes before a write", arguments: all)
    func dropsRecords(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        let (a, b) = (slot(.witness, [1], "a"), slot(.witness, [2], "b"))
        try store.write(JournalBatch(slots: [a, b]))
        var batch = JournalBatch(slots: [a])
        batch.slotsDropped = [a.key, b.key, SlotKey(.witness, [3])]
        try store.write(batch)
        #expect(store.slots(.slots([a.key, b.key])) == [a])
    }

    @Test("Pages of a shelf follow each other by key, within count and bytes", arguments: all)
    func pages(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        let keys: [[UInt8]] = [[], [0], [0, 0], [0, 255], [1], [127], [128], [255], [255, 0]]
        let slots = keys.map { slot(.witness, $0, "v") }
        try store.write(
            JournalBatch(slots: slots.reversed() + [slot(.register, [5], "other"), slot(SlotShelf(0), [], "")]))
        var (read, after): ([SlotRecord], [UInt8]?) = ([], nil)
        while let page = store.page(.witness, after: after, countMax: 4), !page.isEmpty {
            #expect(page.count <= 4)
            read += page
            after = page.last?.key.bytes
        }
        #expect(read == slots)
        #expect(store.page(.register)?.map(\.key.bytes) == [[5]])
        #expect(store.page(SlotShelf(3)) == [])
        #expect(store.page(.witness, countMax: 0) == [])
        let first = slots[0].bytesCount
        for (bytes, count) in [(0, 1), (first, 1), (first + slots[1].bytesCount, 2), (.max, slots.count)] {
            #expect(store.page(.witness, bytesMax: bytes)?.count == count)
        }
    }

    @Test("Keys that begin alike are read together, and nothing beside them", arguments: all)
    func readsPrefixes(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        let keys: [[UInt8]] = [
            [0, 255], [1], [1, 0], [1, 1], [1, 1, 7], [1, 2], [1, 255], [2], [255], [255, 255],
        ]
        try store.write(JournalBatch(slots: keys.map { slot(.witness, $0, "v") } + [slot(.register, [1, 1], "other")]))
        func read(_ prefix: [UInt8], after: [UInt8]? = nil, _ countMax: Int = 100) -> [[UInt8]]? {
            store.page(.witness, prefix: prefix, after: after, countMax: countMax)?.map(\.key.bytes)
        }
        #expect(read([]) == keys)
        #expect(read([1]) == Array(keys[1...6]) && read([1, 1]) == Array(keys[3...4]))
        #expect(read([255]) == Array(keys[8...]) && read([255, 255, 255]) == [] && read([3]) == [])
        #expect(read([1], after: [1, 1]) == Array(keys[4...6]) && read([1], 2) == Array(keys[1...2]))
        // Before and behind all that begin so.
        #expect(read([1], after: [0]) == Array(keys[1...6]) && read([1], after: [2]) == [])
    }

    @Test("A record over its limits is refused with all of its batch", arguments: all)
    func refusesLarge(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        let (long, fat) = (Array(repeating: UInt8(1), count: 65), Array(repeating: UInt8(1), count: 262_145))
        for bad in [SlotRecord(SlotKey(.witness, long), []), SlotRecord(SlotKey(.witness, [1]), fat)] {
            #expect(throws: JournalStorageError.self) {
                try store.write(JournalBatch(slots: [slot(.witness, [2], "good"), bad]))
            }
        }
        #expect(store.page(.witness) == [])
    }

    // MARK: Crashes

    @Test("A crash leaves a slot and what was written with it together, or neither", arguments: 0..<40 as Range<UInt64>)
    func tearsNothing(_ seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var model = DiskModel()
        model.keepsOrder = seed % 2 == 0
        var journal = MemoryJournal(disk: model, seed: seed)
        var acknowledged: UInt8 = 0
        var now = Instant.zero
        var dones: [Instant] = []
        for number in 1...20 as ClosedRange<UInt8> {
            // Two records of different size that must never differ.
            var batch = JournalBatch(slots: [
                SlotRecord(SlotKey(.witness, [0]), [number]),
                SlotRecord(SlotKey(.witness, [1]), [number] + Array(repeating: 0, count: 4_000)),
            ])
            batch.settings = ["number": [number]]
            dones.append(try journal.write(batch, at: now))
            now = now + .microseconds(Int64.random(in: 0...300, using: &generator))
        }
        for (index, done) in dones.enumerated() where done <= now { acknowledged = UInt8(index + 1) }
        journal.crash(seed: seed, at: now)
        guard case .slots(let left) = journal.answer(.slotPage(.witness, countMax: 9, bytesMax: .max), at: now).answer,
            case .opening(let opening) = journal.answer(.opening, at: now).answer
        else { return #expect(Bool(false), "the journal doesn't answer") }
        let numbers = left.compactMap(\.value.first)
        #expect(Set(numbers).count <= 1 && numbers.count != 1)
        #expect(opening.settings["number"]?.first ?? 0 == numbers.first ?? 0)
        #expect(numbers.first ?? 0 >= acknowledged)
    }

    @Test("The file of an older version gets the table when it is opened")
    func migrates() throws {
        var author = Author(1)
        let entry = author.write("older")
        let journal = try SQLiteJournal(path: folder.journal)
        try journal.write(JournalBatch([entry] + author.write(count: 200), [author.record()]))
        try journal.close()
        let file = try DatabaseQueue(path: folder.journal)
        try file.write { db in
            try db.execute(sql: "DROP TABLE slots; DELETE FROM grdb_migrations WHERE identifier = '4 slots'")
        }
        try file.close()
        let opened = try SQLiteJournal(path: folder.journal)
        try opened.write(JournalBatch(slots: [slot(.witness, [1], "new")]))
        #expect(opened.check().isWhole && opened.check().entries == 201)
    }

    // MARK: Damage and copies

    @Test("A changed record is damage, never another value")
    func noticesChanges() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        try journal.write(JournalBatch(slots: [slot(.witness, [1], "vote"), slot(.witness, [2], "vote")]))
        try journal.close()
        for change in ["value = x'00'", "shelf = 2", "key = x'03'"] {
            let path = folder.file("changed.sqlite")
            try? FileManager.default.removeItem(atPath: path)
            try FileManager.default.copyItem(atPath: folder.journal, toPath: path)
            let file = try DatabaseQueue(path: path)
            try file.write { db in try db.execute(sql: "UPDATE slots SET \(change) WHERE key = x'01'") }
            try file.close()
            let changed = try SQLiteJournal(path: path)
            #expect(!changed.check().isWhole)
            let shelf: SlotShelf = change == "shelf = 2" ? .register : .witness
            guard case .failed(.damaged) = changed.answer(.slotPage(shelf, countMax: 9, bytesMax: .max))
            else { return #expect(Bool(false), "\(change) was read") }
        }
    }

    @Test("A backup and a restored journal hold a party's records, and nothing of the witness")
    func leavesOutTheWitness() throws {
        let journal = try SQLiteJournal(path: folder.journal)
        let party = slot(.register, [1], "asked")
        var batch = JournalBatch(slots: [party, slot(.witness, [1], "vote")])
        batch.settings = [SlotShelf.stampName: [1], "community": [2]]
        try journal.write(batch)
        let backup = folder.file("backup.sqlite")
        try journal.backup(to: backup)
        try journal.close()
        // A backup by other means is the file itself.
        for (number, source) in [backup, folder.journal].enumerated() {
            let restored = folder.file("restored-\(number).sqlite")
            try JournalRestore.run(from: source, to: restored, forgetting: [])
            try expectWithoutWitness(SQLiteJournal(path: restored), party)
        }
        try expectWithoutWitness(SQLiteJournal(path: backup), party)
        let original = try SQLiteJournal(path: folder.journal)
        #expect(slots(original, .witness)?.count == 1)
    }

    @Test("A repair of a whole file keeps the witness; what is salvaged from a damaged one has none")
    func repairs() throws {
        var author = Author(1)
        let journal = try SQLiteJournal(path: folder.journal)
        let party = slot(.register, [1], "asked")
        var batch = JournalBatch(author.write(count: 400), [author.record()])
        batch.slots = [party, slot(.witness, [1], "vote")]
        batch.settings = [SlotShelf.stampName: [1], "community": [2]]
        try journal.write(batch)
        try journal.close()
        #expect(try JournalRepair.run(path: folder.journal) { _ in [] }.setAside == nil)
        let whole = try SQLiteJournal(path: folder.journal)
        #expect(slots(whole, .witness)?.count == 1)
        try whole.close()
        let file = try DatabaseQueue(path: folder.journal)
        try file.write { db in try db.execute(sql: "UPDATE slots SET value = x'00' WHERE shelf = 1") }
        try file.close()
        let report = try JournalRepair.run(path: folder.journal) { _ in [] }
        #expect(report.setAside != nil && report.entries == 400 && report.lost == [])
        try expectWithoutWitness(SQLiteJournal(path: folder.journal), party)
    }

    private func expectWithoutWitness(_ journal: SQLiteJournal, _ party: SlotRecord) throws {
        #expect(slots(journal, .witness) == [] && slots(journal, .register) == [party])
        guard case .opening(let opening) = journal.answer(.opening) else { return #expect(Bool(false)) }
        #expect(opening.settings == ["community": [2]])
        try journal.close()
    }

    private func slots(_ journal: SQLiteJournal, _ shelf: SlotShelf) -> [SlotRecord]? {
        if case .slots(let slots) = journal.answer(.slotPage(shelf, countMax: 9, bytesMax: .max)) {
            slots
        } else {
            nil
        }
    }

    private func slot(_ shelf: SlotShelf, _ key: [UInt8], _ value: String) -> SlotRecord {
        SlotRecord(SlotKey(shelf, key), Array(value.utf8))
    }
}

extension JournalBatch {
    fileprivate init(slots: [SlotRecord]) {
        self.init()
        self.slots = slots
    }
}

extension TestStore {
    fileprivate func slots(_ query: JournalQuery) -> [SlotRecord]? {
        if case .slots(let slots) = answer(query) { slots } else { nil }
    }

    fileprivate func page(
        _ shelf: SlotShelf, prefix: [UInt8] = [], after: [UInt8]? = nil, countMax: Int = 100, bytesMax: Int = .max
    ) -> [SlotRecord]? {
        slots(.slotPage(shelf, prefix: prefix, after: after, countMax: countMax, bytesMax: bytesMax))
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

/// What cores may ask of a journal's disk, asked of both stores.
@Suite("What every journal store does")
struct ContractTests {
    private static let all = StoreKind.allCases

    @Test("A new store is empty", arguments: all)
    func startsEmpty(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        let opening = try #require(store.opening())
        #expect(opening.feeds.isEmpty && opening.proofs.isEmpty)
        #expect(opening.receipts.isEmpty && opening.settings.isEmpty)
        #expect(store.arrivals(.arrivals(after: 0, countMax: 9, bytesMax: .max))?.entries == [])
        #expect(store.entries(.entries([EntryID(.zero)])) == [])
        #expect(store.messages(.zero) == [])
        #expect(store.search("anything") == [])
    }

    @Test("Entries come back as they were written, by id, in the order asked for", arguments: all)
    func returnsEntries(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var (one, other) = (Author(1), Author(2))
        let written = [one.write("one"), other.write(""), one.write(String(repeating: "x", count: 65_536))]
        try store.write(JournalBatch(written))
        let ids = [written[2], written[0]].map(\.entry.id)
        #expect(store.entries(.entries(ids + [EntryID(.zero)])) == [written[2], written[0]])
        #expect(store.entries(.entries([written[1].entry.id])) == [written[1]])
        #expect(written[2].entry.encodedBytesCount == Entry.bytesMax)
    }

    @Test("Pages of arrivals follow each other in the order of writing and end", arguments: all)
    func pagesArrivals(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var authors = [Author(1), Author(2)]
        let written = (0..<25).map { authors[$0 % 2].write("number \($0)") }
        try store.write(JournalBatch(Array(written[..<10])))
        try store.write(JournalBatch(Array(written[10...])))
        var (read, last): ([StoredEntry], UInt64) = ([], 0)
        while let page = store.arrivals(.arrivals(after: last, countMax: 7, bytesMax: .max)), !page.entries.isEmpty {
            #expect(page.entries.count <= 7 && page.last > last)
            read += page.entries
            last = page.last
        }
        #expect(read == written)
        #expect(store.arrivals(.arrivals(after: last, countMax: 7, bytesMax: .max))?.last == last)
        #expect(store.arrivals(.arrivals(after: .max, countMax: 7, bytesMax: .max))?.entries == [])
    }

    @Test("A page in bytes holds at least one entry, then as many as fit", arguments: all)
    func boundsBytes(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let written = author.write(count: 5, bytes: 100)
        try store.write(JournalBatch(written))
        let size = written[0].entry.encodedBytesCount
        for (bytes, count) in [(0, 1), (size, 1), (2 * size - 1, 1), (2 * size, 2), (9 * size, 5)] {
            let range = EntrySequence.first...EntrySequence.max
            #expect(
                store.entries(.feed(author.device, range, newestFirst: false, countMax: 9, bytesMax: bytes))
                    == Array(written.prefix(count)))
            #expect(
                store.arrivals(.arrivals(after: 0, countMax: 9, bytesMax: bytes))?.entries
                    == Array(written.prefix(count)))
        }
    }

    @Test("A feed is read upwards or downwards within both ends", arguments: all)
    func readsFeeds(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var (author, other) = (Author(1), Author(2))
        let written = author.write(count: 10)
        // Backwards, as a fresh replica takes it.
        try store.write(JournalBatch(written.reversed() + other.write(count: 3)))
        func read(_ range: ClosedRange<UInt64>, newestFirst: Bool, _ countMax: Int = 100) -> [StoredEntry]? {
            store.entries(
                .feed(
                    author.device, EntrySequence(range.lowerBound)...EntrySequence(range.upperBound),
                    newestFirst: newestFirst, countMax: countMax, bytesMax: .max))
        }
        #expect(read(3...6, newestFirst: false) == Array(written[2...5]))
        #expect(read(3...6, newestFirst: true) == Array(written[2...5].reversed()))
        #expect(read(8...(1 << 48), newestFirst: false) == Array(written[7...]))
        #expect(read(0...100, newestFirst: true, 2) == [written[9], written[8]])
        #expect(read(11...20, newestFirst: false) == [])
        #expect(read(0...(.max), newestFirst: false)?.count == 10)
        let unknown = DeviceID(.zero)
        #expect(
            store.entries(
                .feed(unknown, .first...(.max), newestFirst: false, countMax: 1, bytesMax: .max)) == [])
    }

    @Test("Governance entries are found by themselves", arguments: all)
    func readsGovernance(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let kinds = [EntryKind(0), EntryKind(0x0100), EntryKind(0x00FF), EntryKind(0xFFFF), EntryKind(1)]
        let written = kinds.map { author.write(kind: $0) }
        try store.write(JournalBatch(written))
        let first = try #require(store.arrivals(.governance(after: 0, countMax: 2)))
        #expect(first.entries == [written[0], written[2]])
        #expect(store.arrivals(.governance(after: first.last, countMax: 2))?.entries == [written[4]])
    }

    @Test("Entries of one kind are found by themselves, in pages", arguments: all)
    func readsKinds(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let kinds: [UInt16] = [0x0200, 0x0201, 0x0211, 0x0200, 0x0201, 0x0200]
        let written = kinds.map { author.write(kind: EntryKind($0)) }
        try store.write(JournalBatch(written))
        func read(_ kind: UInt16, after: UInt64, _ countMax: Int = 2) -> (entries: [StoredEntry], last: UInt64)? {
            store.arrivals(.ofKind(EntryKind(kind), after: after, countMax: countMax, bytesMax: .max))
        }
        let first = try #require(read(0x0200, after: 0))
        #expect(first.entries == [written[0], written[3]])
        #expect(read(0x0200, after: first.last)?.entries == [written[5]])
        #expect(read(0x0201, after: 0)?.entries == [written[1], written[4]])
        #expect(read(0x0211, after: 0)?.entries == [written[2]])
        let none = try #require(read(0x0300, after: 4))
        #expect(none.entries.isEmpty && none.last == 4)
    }

    @Test("An entry written twice is there once, and keeps when it was first seen", arguments: all)
    func writesOnce(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let entry = author.write()
        var later = entry
        later.firstSeen = HybridTime(milliseconds: 9_999_999)
        try store.write(JournalBatch([entry, entry]))
        try store.write(JournalBatch([later]))
        #expect(store.arrivals(.arrivals(after: 0, countMax: 9, bytesMax: .max))?.entries == [entry])
    }

    @Test("A body that was missing is taken, and nothing else changes", arguments: all)
    func takesBodies(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let full = author.write("the body", retention: .day)
        let bare = StoredEntry(full.entry.withoutBody, firstSeen: HybridTime(milliseconds: 3))
        try store.write(JournalBatch([bare]))
        #expect(store.entries(.entries([full.entry.id])) == [bare])
        #expect(store.expired(.day, before: 5_000_000) == [])
        try store.write(JournalBatch([full]))
        #expect(store.entries(.entries([full.entry.id])) == [StoredEntry(full.entry, firstSeen: bare.firstSeen)])
        #expect(store.expired(.day, before: 5_000_000) == [full.entry.id])
        try store.write(JournalBatch([bare]))
        #expect(store.entries(.entries([full.entry.id]))?.first?.entry.content == full.entry.content)
    }

    @Test("Bodies whose time is over are listed by display time and dropped; the headers stay", arguments: all)
    func dropsBodies(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let written = [
            author.write(retention: .day, at: 3000), author.write(retention: .day, at: 1000),
            author.write(retention: .month, at: 1000), author.write(retention: .permanent, at: 1000),
            author.write(retention: .day, at: 2000),
        ]
        try store.write(JournalBatch(written))
        let ids = written.map(\.entry.id)
        #expect(store.expired(.day, before: 3000) == [ids[1], ids[4]])
        #expect(store.expired(.day, before: 3001) == [ids[1], ids[4], ids[0]])
        #expect(store.expired(.day, before: 3001, countMax: 1) == [ids[1]])
        #expect(store.expired(.permanent, before: 99_999) == [])
        var batch = JournalBatch()
        batch.bodiesDropped = [ids[1], ids[4], EntryID(.zero)]
        try store.write(batch)
        #expect(store.expired(.day, before: 3001) == [ids[0]])
        let read = try #require(store.entries(.entries(ids)))
        #expect(read.map { $0.entry.content == nil } == [false, true, false, false, true])
        #expect(read[1].entry == written[1].entry.withoutBody)
        #expect(read.allSatisfy { $0.entry.isSignatureValid })
    }

    @Test("An author who claims a far future keeps no body longer: the time it was seen counts", arguments: all)
    func boundsClaimedTimes(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        var liar = author.write(retention: .day, at: 1 << 47)
        liar.firstSeen = HybridTime(milliseconds: 1000)
        try store.write(JournalBatch([liar]))
        #expect(store.expired(.day, before: 1001) == [liar.entry.id])
    }

    @Test("Facts are replaced by newer ones and come back in order", arguments: all)
    func keepsFacts(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var authors = (1...5).map { Author($0) }
        for index in authors.indices { _ = authors[index].write() }
        let holders = (1...3).map { KeyPair(seed: Bytes32(words: ($0, 9, 9, 9))).peerID }
        var batch = JournalBatch([], authors.map { $0.record() })
        batch.settings = ["community": [1, 2, 3], "empty": []]
        batch.receipts = authors.flatMap { author in
            holders.map { ReceiptRecord(device: author.device, holder: $0, head: .first) }
        }
        try store.write(batch)
        _ = authors[2].write()
        batch = JournalBatch([], [authors[2].record(low: EntrySequence(2), isFrozen: true)])
        batch.settings = ["community": [4]]
        batch.receipts = [ReceiptRecord(device: authors[2].device, holder: holders[0], head: EntrySequence(2))]
        try store.write(batch)
        let opening = try #require(store.opening())
        let ordered = authors.sorted { $0.device < $1.device }
        #expect(
            opening.feeds
                == ordered.map { author in
                    author.device == authors[2].device
                        ? author.record(low: EntrySequence(2), isFrozen: true) : author.record()
                })
        #expect(opening.settings == ["community": [4], "empty": []])
        #expect(opening.receipts.count == 15)
        #expect(
            opening.receipts.map(\.device) == ordered.flatMap { [$0.device, $0.device, $0.device] })
        #expect(opening.receipts.filter { $0.head == EntrySequence(2) }.map(\.holder) == [holders[0]])
        for start in stride(from: 0, to: 15, by: 3) {
            #expect(opening.receipts[start..<(start + 3)].map(\.holder) == holders.sorted())
        }
    }

    @Test("The proof of a fork comes back whole, one for each device", arguments: all)
    func keepsProofs(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var proofs: [FaultProof] = []
        for number in 1...3 {
            var (one, copy) = (Author(UInt64(number)), Author(UInt64(number)))
            proofs.append(try #require(FaultProof(one.write("yes").entry, copy.write("no").entry)))
        }
        var batch = JournalBatch()
        batch.proofs = proofs + [proofs[1]]
        try store.write(batch)
        #expect(store.opening()?.proofs == proofs.sorted { $0.device < $1.device })
    }

    @Test("A second entry at one place is refused with its whole batch, and the store goes on", arguments: all)
    func refusesForks(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var (one, copy, other) = (Author(1), Author(1), Author(2))
        let first = one.write("yes")
        try store.write(JournalBatch([first]))
        #expect(throws: JournalStorageError.self) {
            try store.write(JournalBatch([other.write("goes with it"), copy.write("no")], [other.record()]))
        }
        #expect(store.arrivals(.arrivals(after: 0, countMax: 9, bytesMax: .max))?.entries == [first])
        #expect(store.opening()?.feeds.isEmpty == true)
        let next = one.write("and on")
        try store.write(JournalBatch([next]))
        #expect(store.entries(.entries([next.entry.id])) == [next])
    }

    @Test("A channel is read newest first, a page at a time; edits and removals take effect", arguments: all)
    func showsMessages(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let (here, there) = (Bytes32(words: (1, 0, 0, 0)), Bytes32(words: (2, 0, 0, 0)))
        let written = (0..<9).map { author.write("number \($0)", at: UInt64(1000 + $0)) }
        try store.write(JournalBatch(written, rows: written.map { message($0, in: here) }))
        let elsewhere = author.write("elsewhere")
        try store.write(JournalBatch([elsewhere], rows: [message(elsewhere, in: there)]))
        let first = try #require(store.messages(here, countMax: 4))
        #expect(first.map(\.text) == ["number 8", "number 7", "number 6", "number 5"])
        #expect(first.map(\.id) == written[5...].reversed().map(\.entry.id))
        #expect(first[0].author == MemberID(author.device.bytes) && first[0].device == author.device)
        #expect(store.messages(here, before: first[3].place)?.map(\.text).first == "number 4")
        #expect(store.messages(here, before: MessagePlace(time: written[0].displayTime, id: written[0].entry.id)) == [])
        #expect(store.messages(there)?.map(\.text) == ["elsewhere"])
        var edited = first[0]
        (edited.text, edited.isEdited, edited.hiddenReason) = ("", true, "spam")
        try store.write(JournalBatch([], rows: [.message(edited), .removed(first[1].id)]))
        #expect(store.messages(here, countMax: 2) == [edited, first[2]])
    }

    @Test("What stands beside its feed is found by its id and by its arrival, and by no range", arguments: all)
    func keepsEvidence(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var (one, copy, another) = (Author(1), Author(1), Author(1))
        let held = one.write("yes", kind: EntryKind(1))
        let beside = StoredEntry(copy.write("no", kind: EntryKind(1)).entry, firstSeen: held.firstSeen, isBeside: true)
        let third = StoredEntry(
            another.write("perhaps", kind: EntryKind(1)).entry, firstSeen: held.firstSeen, isBeside: true)
        try store.write(JournalBatch([held]))
        try store.write(JournalBatch([beside, third]))
        func feed() -> [StoredEntry]? {
            store.entries(.feed(one.device, .first...(.max), newestFirst: false, countMax: 9, bytesMax: .max))
        }
        #expect(feed() == [held])
        #expect(store.entries(.entries([third.entry.id, beside.entry.id])) == [third, beside])
        #expect(store.arrivals(.governance(after: 0, countMax: 9))?.entries == [held, beside, third])
        // It has its place now, if it is free.
        #expect(throws: JournalStorageError.self) {
            try store.write(JournalBatch([StoredEntry(beside.entry, firstSeen: beside.firstSeen)]))
        }
        var batch = JournalBatch([StoredEntry(beside.entry, firstSeen: beside.firstSeen)])
        batch.ends = [FeedEnd(device: one.device, point: .start)]
        try store.write(batch)
        #expect(feed()?.map(\.entry.id) == [beside.entry.id])
        #expect(store.entries(.entries([held.entry.id]))?.first?.isBeside == true)
    }

    @Test("A feed that ends earlier keeps what is behind beside it", arguments: all)
    func endsFeeds(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var (author, other) = (Author(1), Author(2))
        let written = author.write(count: 6)
        let elsewhere = other.write(count: 6)
        try store.write(JournalBatch(written + elsewhere))
        var batch = JournalBatch()
        batch.ends = [FeedEnd(device: author.device, point: written[3].entry.point)]
        try store.write(batch)
        func feed(_ device: DeviceID) -> [EntryID]? {
            store.entries(.feed(device, .first...(.max), newestFirst: true, countMax: 9, bytesMax: .max))?
                .map(\.entry.id)
        }
        #expect(feed(author.device) == written[...3].reversed().map(\.entry.id))
        #expect(feed(other.device)?.count == 6)
        #expect(store.entries(.entries([written[5].entry.id]))?.first?.isBeside == true)
        // They come again, as after a removal that was taken back.
        try store.write(JournalBatch(Array(written[4...])))
        #expect(feed(author.device) == written.reversed().map(\.entry.id))
    }

    @Test("The last arrivals are read backwards, a page at a time", arguments: all)
    func readsLatest(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let written = author.write(count: 10)
        try store.write(JournalBatch(written))
        var (read, before): ([StoredEntry], UInt64) = ([], .max)
        while let page = store.arrivals(.latest(before: before, countMax: 4, bytesMax: .max)), !page.entries.isEmpty {
            #expect(page.entries.count <= 4 && page.last < before)
            read += page.entries
            before = page.last
        }
        #expect(read == written.reversed())
        #expect(store.arrivals(.latest(before: .max, countMax: 9, bytesMax: 0))?.entries == [written[9]])
        #expect(store.arrivals(.latest(before: 0, countMax: 9, bytesMax: .max))?.entries == [])
    }

    @Test("What quotas must know is told by feed and claimed day", arguments: all)
    func tellsUsage(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var (author, other) = (Author(1), Author(2))
        let day: UInt64 = 86_400_000
        var written = [author.write("a", at: 3 * day), author.write("bb", at: 3 * day), author.write("c", at: 7 * day)]
        for (place, seen) in [5 * day, 9 * day, 9 * day].enumerated() {
            written[place].firstSeen = HybridTime(milliseconds: seen)
        }
        var old = other.write("d", at: 2 * day)
        old.firstSeen = HybridTime(milliseconds: 2 * day)
        try store.write(JournalBatch(written + [old], [author.record(), other.record()]))
        guard case .usage(let usages) = store.answer(.usage(since: HybridTime(milliseconds: 9 * day))) else {
            Issue.record("no answer")
            return
        }
        let expected = [
            FeedUsage(
                device: author.device, headTime: written[2].entry.header.time,
                arrived: [
                    .init(day: 3, bytes: written[1].entry.encodedBytesCount),
                    .init(day: 7, bytes: written[2].entry.encodedBytesCount),
                ]),
            FeedUsage(device: other.device, headTime: old.entry.header.time, arrived: []),
        ]
        #expect(usages == expected.sorted { $0.device < $1.device })
    }

    @Test("Messages of one moment lie on pages without loss", arguments: all)
    func pagesTies(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var authors = (1...7).map { Author($0) }
        let written = authors.indices.map { authors[$0].write("at once") }
        try store.write(JournalBatch(written, rows: written.map { message($0) }))
        var (read, before): ([EntryID], MessagePlace) = ([], .end)
        while let page = store.messages(.zero, before: before, countMax: 3), let last = page.last {
            read += page.map(\.id)
            before = last.place
        }
        #expect(read == written.map(\.entry.id).sorted(by: >))
    }

    @Test("Messages of one moment are ordered by their ids", arguments: all)
    func ordersTies(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var authors = (1...6).map { Author($0) }
        let written = authors.indices.map { authors[$0].write("at once") }
        try store.write(JournalBatch(written, rows: written.map { message($0) }))
        #expect(store.messages(.zero)?.map(\.id) == written.map(\.entry.id).sorted(by: >))
    }

    @Test(
        "What was opened comes in the order of its first writing, by what it is about, and changes in place",
        arguments: all)
    func keepsOpened(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let rows = (0..<6).map { opened(author.write(), about: UInt64($0 % 2), kind: $0 == 5 ? 9 : 7) }
        try store.write(JournalBatch([], rows: rows[..<3].map { .opened($0) }))
        var changed = rows[0]
        changed.payload = []
        try store.write(JournalBatch([], rows: (rows[3...] + [changed]).map { .opened($0) }))
        let all = [changed] + rows[1...]
        var (read, last): ([OpenedRow], UInt64) = ([], 0)
        while case .opened(let page, let end) = store.answer(.opened(after: last, countMax: 4, bytesMax: .max)),
            !page.isEmpty
        {
            #expect(page.count <= 4 && end > last)
            read += page
            last = end
        }
        #expect(read == all)
        guard case .opened(let none, last) = store.answer(.opened(after: last, countMax: 4, bytesMax: .max)),
            case .opened(let short, _) = store.answer(.opened(after: 1, countMax: 9, bytesMax: 70)),
            case .opened(let about, _) = store.answer(.openedAbout(Bytes32(words: (1, 0, 0, 0)), countMax: 2)),
            case .opened(let unknown, _) = store.answer(.openedAbout(Bytes32(words: (5, 0, 0, 0)), countMax: 2)),
            case .subjects(let subjects) = store.answer(.openedSubjects(kind: 7, countMax: 9)),
            case .subjects(let newest) = store.answer(.openedSubjects(kind: 7, countMax: 1))
        else {
            Issue.record("an answer of another kind")
            return
        }
        #expect(none.isEmpty && short == [rows[1], rows[2]] && about == [rows[1], rows[3]] && unknown.isEmpty)
        #expect(subjects == [0, 1].map { Bytes32(words: ($0, 0, 0, 0)) } && newest == [.zero])
    }

    @Test("Documents are found by all of their words, whatever the case", arguments: all)
    func findsDocuments(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let texts = [
            ("Red bicycle", "26 inch, hardly used"), ("Blue chair", "oak and RED cloth"), ("Radio", "a red, used"),
        ]
        let documents = texts.map { document(author.write(), $0.0, $0.1) }
        try store.write(JournalBatch([], rows: documents.map { .document($0) }))
        func found(_ text: String) -> Set<String>? { store.search(text).map { Set($0.map(\.title)) } }
        #expect(found("red") == ["Red bicycle", "Blue chair", "Radio"])
        #expect(found("USED red") == ["Red bicycle", "Radio"])
        #expect(found("red, used!") == ["Red bicycle", "Radio"])
        #expect(found("bicycle chair") == [])
        #expect(found("bicy") == [])
        #expect(found("") == [] && found(" -- \"") == [])
        #expect(store.search("red", countMax: 1)?.count == 1)
        #expect(store.search("oak") == [documents[1]])
    }

    @Test("No query's text is taken for a language", arguments: all)
    func searchesLiterally(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let row = document(author.write(), "to be or not to be", "near the end and so on")
        try store.write(JournalBatch([], rows: [.document(row)]))
        for text in [
            "be OR not", "NOT", "title : be", "\"be", "be*", "be) (or", "NEAR(the end)", "{title}: be", "b\0e",
        ] {
            guard case .documents = store.answer(.search(text, countMax: 5)) else {
                Issue.record("'\(text)' is no search")
                continue
            }
        }
        #expect(store.search("be AND so") == [row])
        #expect(store.search("absent OR be") == [])
        #expect(store.search(String(repeating: "be ", count: 5000)) == [row])
    }

    @Test("A document that changed is found by its new words only, one removed by none", arguments: all)
    func changesDocuments(_ kind: StoreKind) throws {
        let store = try TestStore(kind)
        var author = Author(1)
        let entry = author.write()
        let rows = [document(entry, "A lamp", "green"), document(entry, "A lamp", "yellow")]
        try store.write(JournalBatch([entry], rows: rows.map { .document($0) }))
        #expect(store.search("green") == [] && store.search("yellow lamp") == [rows[1]])
        try store.write(JournalBatch([], rows: [.removed(entry.entry.id)]))
        #expect(store.search("lamp") == [])
        try store.write(JournalBatch([], rows: [.document(rows[0])]))
        #expect(store.search("lamp") == [rows[0]])
    }
}

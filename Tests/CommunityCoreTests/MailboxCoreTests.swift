// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// One device: its mailbox, and its disk, which answers when it is asked to.
private struct Desk {
    static let key: [UInt8: KeyPair] = Dictionary(
        uniqueKeysWithValues: (1...9).map { ($0, KeyPair(seed: Sample.bytes32($0))) })

    let number: UInt8
    let member: MemberID
    var core: MailboxCore
    var disk: [StoredEntry] = []
    var rows: [EntryID: MessageRow] = [:]
    var opened: [EntryID: OpenedRow] = [:]
    var settings: [String: [UInt8]] = [:]
    var keyring: [UInt8]?
    var roster = Roster()
    var now: UInt64 = 1_000_000
    /// What the core asked of the disk and has no answer to.
    var asked: [MailboxEffect] = []
    var drafts: [MailboxDraft] = []
    var source: KeySource
    var refusals = 0

    static func device(_ number: UInt8) -> DeviceID { key[number]?.device ?? DeviceID(.zero) }
    var device: DeviceID { Self.device(number) }
    private var time: HybridTime { HybridTime(milliseconds: now) }

    init(_ number: UInt8, of member: MemberID, code: SealingKeyPair? = nil) {
        self.number = number
        self.member = member
        source = Sample.source(UInt64(number))
        core = Self.core(number, member, MailboxStart(code: code), [:], source)
        tell()
    }

    private static func core(
        _ number: UInt8, _ member: MemberID, _ start: MailboxStart, _ settings: [String: [UInt8]], _ source: KeySource
    ) -> MailboxCore {
        MailboxCore(
            start, community: Sample.community, member: member, key: key[number] ?? KeyPair(seed: .zero),
            settings: settings, from: source)
    }

    /// What wasn't on the disk is gone.
    mutating func restart() {
        asked = []
        drafts = []
        source = Sample.source(UInt64(disk.count) * 1_000 + UInt64(number))
        core = Self.core(number, member, MailboxStart(keyring: keyring), settings, source)
        tell()
    }

    mutating func tell() {
        core.handle(.communityChanged(CommunityState(community: Sample.community), roster), at: time)
        collect()
    }

    mutating func meet(_ number: UInt8, of member: MemberID) {
        roster.devices[Self.device(number)] = Roster.Device(member: member, quotaBytesPerDay: 1 << 20)
        tell()
    }

    mutating func admit(_ entries: [StoredEntry]) {
        disk += entries
        core.handle(.admitted(entries), at: time)
        collect()
    }

    mutating func wait(milliseconds: UInt64) {
        now += milliseconds
        core.handleTimeout(at: time)
        collect()
    }

    private mutating func collect() {
        while let effect = core.nextEffect() {
            switch effect {
            case .append(let draft):
                checkKept(draft)
                drafts.append(draft)
            case .emit: break
            case .load, .persist, .keep: asked.append(effect)
            }
        }
    }

    /// A key that is told of and then lost makes mail unreadable.
    private func checkKept(_ draft: MailboxDraft) {
        let held = keyring.flatMap { ring in
            Self.key[number].flatMap { try? MailboxKeys(keyring: ring, of: device, for: $0) }
        }
        let kept = Set((held?.readingKeys ?? []).map(\.publicKey))
        switch draft {
        case .announcement(let announcement):
            #expect(kept.contains(announcement.mailbox) && kept.contains(announcement.device))
        case .sealed(let content, _):
            let passed = (try? MailboxKeyPass(bytes: content.payload))?.keys.map(\.pair.publicKey) ?? []
            #expect(!passed.isEmpty && kept.isSuperset(of: passed))
        }
    }

    /// Answers one of the open questions; nothing when there is none.
    mutating func answer(_ place: Int = 0, isRefused: Bool = false) {
        guard asked.indices.contains(place) else { return }
        switch asked.remove(at: place) {
        case .load(let query, let id):
            core.handle(.loaded(id, isRefused ? .failed(.damaged) : answer(to: query)), at: time)
        case .persist(let batch, let id):
            guard !isRefused else { return refuse(.persistFailed(id)) }
            settings.merge(batch.settings) { $1 }
            for row in batch.rows {
                switch row {
                case .message(let message): rows[message.id] = message
                case .opened(let row): opened[row.id] = row
                case .document, .listing, .removed: rows[row.id] = nil
                }
            }
            core.handle(.persisted(id), at: time)
        case .keep(let ring, let id):
            guard !isRefused else { return refuse(.keepFailed(id)) }
            keyring = ring
            core.handle(.kept(id), at: time)
        case .append, .emit: break
        }
        collect()
    }

    private mutating func refuse(_ input: MailboxInput) {
        refusals += 1
        core.handle(input, at: time)
        collect()
    }

    private func answer(to query: JournalQuery) -> JournalAnswer {
        switch query {
        case .ofKind(let kind, let after, let countMax, _):
            let found = disk.indices.filter { UInt64($0) >= after && disk[$0].entry.header.kind == kind }.prefix(
                countMax)
            return .arrivals(found.map { disk[$0] }, last: found.last.map { UInt64($0 + 1) } ?? after)
        case .messageRows(let ids): return .messages(ids.compactMap { rows[$0] })
        default: return .failed(.failed("not asked by a mailbox"))
        }
    }

    /// The disk answers all, refusals are over.
    mutating func settle() {
        for _ in 0..<10_000 {
            if asked.isEmpty { wait(milliseconds: MailboxLimits.pauseMilliseconds) }
            if asked.isEmpty { return }
            answer()
        }
        Issue.record("a mailbox that never rests")
    }

    /// Conversations and what was read, as a person would see them.
    var shown: [MessageRow] { rows.values.sorted { $0.id < $1.id } }
}

/// Some devices that hear everything of each other, in order; and the log of all that was said.
private struct Street {
    static let alice = Sample.member(0xA)
    static let bob = Sample.member(0xB)

    var desks: [UInt8: Desk] = [:]
    var log: [StoredEntry] = []
    private var heads: [DeviceID: FeedPoint] = [:]

    mutating func add(_ number: UInt8, of member: MemberID, code: SealingKeyPair? = nil) {
        var desk = Desk(number, of: member, code: code)
        for other in desks.keys.sorted() {
            desks[other]?.meet(number, of: member)
            desk.meet(other, of: desks[other]?.member ?? member)
        }
        desk.meet(number, of: member)
        desk.admit(log)
        desks[number] = desk
        settle()
    }

    mutating func settle(waiting milliseconds: UInt64 = 120_000) {
        for _ in 0..<50 {
            var isQuiet = true
            for number in desks.keys.sorted() {
                desks[number]?.wait(milliseconds: milliseconds / 50)
                desks[number]?.settle()
                let drafts = desks[number]?.drafts ?? []
                desks[number]?.drafts = []
                for draft in drafts {
                    isQuiet = false
                    write(draft, by: number)
                }
            }
            if isQuiet, milliseconds == 0 { return }
        }
    }

    private mutating func write(_ draft: MailboxDraft, by number: UInt8) {
        switch draft {
        case .announcement(let announcement): write(.mailbox, announcement.bytes, by: number)
        case .sealed(let content, let recipients):
            let place = next(number)
            guard let body = try? desks[number]?.core.seal(content, to: recipients, at: place) else {
                Issue.record("a pass is sealed")
                return
            }
            write(.sealed, body.bytes, by: number)
        }
    }

    private func next(_ number: UInt8) -> EntrySequence {
        (heads[Desk.device(number)]?.sequence ?? .none).next
    }

    @discardableResult
    mutating func write(_ kind: EntryKind, _ body: [UInt8], by number: UInt8) -> EntryID {
        let device = Desk.device(number)
        let head = heads[device] ?? .start
        let content = Entry.Content(salt: .zero, body: body)
        let milliseconds = 1_000_000 + UInt64(log.count)
        let header = EntryHeader(
            kind: kind, isCritical: false, retention: .year, bodyBytesCount: body.count, sequence: head.sequence.next,
            time: HybridTime(milliseconds: milliseconds), community: Sample.community, device: device,
            previous: head.id, governance: .none, bodyDigest: content.digest)
        let entry = Entry(stored: header, signature: [UInt8](repeating: 0, count: 64), content: content)
        heads[device] = entry.point
        let stored = StoredEntry(entry, firstSeen: HybridTime(milliseconds: milliseconds))
        log.append(stored)
        for other in desks.keys.sorted() { desks[other]?.admit([stored]) }
        return entry.id
    }

    @discardableResult
    mutating func say(_ act: ChatBody.Act, to other: MemberID, by number: UInt8) throws -> EntryID {
        let body = try #require(ChatBody(place: .direct(other), act: act))
        let place = next(number)
        var desk = try #require(desks[number])
        let sealed = try desk.core.seal(body.content, to: [other], at: place)
        desks[number] = desk
        defer { settle(waiting: 0) }
        return write(.sealed, sealed.bytes, by: number)
    }

    @discardableResult
    mutating func send(
        _ kind: SealedKind, _ payload: [UInt8], to others: [MemberID], by number: UInt8
    ) throws -> EntryID {
        var desk = try #require(desks[number])
        let sealed = try desk.core.seal(SealedContent(kind: kind, payload: payload), to: others, at: next(number))
        desks[number] = desk
        defer { settle(waiting: 0) }
        return write(.sealed, sealed.bytes, by: number)
    }

    func texts(_ number: UInt8) -> [String] {
        let place = ChatPlace.direct(Self.bob).id(author: Self.alice, in: Sample.community)
        return (desks[number]?.shown ?? []).filter { $0.channel == place }
            .sorted { ($0.time, $0.id) < ($1.time, $1.id) }.map(\.text)
    }

    /// Alice with one device and Bob with two, of which the second came later, who talked before and after.
    static func talk() throws -> Street {
        var street = Street()
        street.add(1, of: alice)
        street.add(2, of: bob)
        let first = try street.say(.post("before the second device"), to: bob, by: 1)
        try street.say(.post("an answer"), to: alice, by: 2)
        street.add(3, of: bob)
        street.settle()
        try street.say(.edit(first, "edited"), to: bob, by: 1)
        let gone = try street.say(.post("taken back"), to: alice, by: 3)
        try street.say(.deletion(gone), to: alice, by: 2)
        try street.say(
            .read([ChatReadPoint(device: Desk.device(1), sequence: EntrySequence(5))]), to: alice, by: 3)
        try street.send(Self.parcel, Self.contents, to: [bob], by: 1)
        try street.send(.marketSecret, Self.secret, to: [], by: 2)
        street.settle()
        return street
    }

    /// For another part of the node than chat.
    static let parcel = SealedKind(0x0100)
    static let contents = Sample.bytes32(7).bytes + Array("for the market".utf8)
    static let secret = Sample.bytes32(9).bytes
}

@Suite struct MailboxCoreTests {
    @Test("What two say to each other all their devices read, also what came before a device was there; others nothing")
    func conversation() throws {
        var street = try Street.talk()
        street.add(4, of: Sample.member(0xC))
        for number: UInt8 in 1...3 { #expect(street.texts(number) == ["edited", "an answer", ""]) }
        #expect(street.desks[4]?.rows.isEmpty == true)
        #expect(street.desks[4]?.core.canWrite(to: Street.bob) == true)
        let marks = ChatReads.rows(of: ChatPlace.direct(Street.bob).id(author: Street.alice, in: Sample.community))
        let reads = ChatReads((street.desks[1]?.shown ?? []).filter { $0.channel == marks })
        #expect(reads.hasRead(Street.bob, Desk.device(1), upTo: EntrySequence(5)))
        #expect(!reads.hasRead(Street.bob, Desk.device(1), upTo: EntrySequence(6)))
    }

    @Test("What isn't chat is handed on to who is addressed, by what it is about; a secret stays under its seal")
    func handsOn() throws {
        var street = try Street.talk()
        try street.send(.marketSecret, Street.secret, to: [Street.bob], by: 1)
        try street.send(Street.parcel, [1, 2, 3], to: [Street.bob], by: 1)
        let bob = try #require(street.desks[3])
        #expect(bob.opened.count == 2)
        let parcel = try #require(bob.opened.values.first { $0.kind == Street.parcel.rawValue })
        #expect(parcel.payload == Street.contents && parcel.subject == Sample.bytes32(7))
        #expect(parcel.author == Street.alice && parcel.device == Desk.device(1))
        let secret = try #require(bob.opened.values.first { $0.kind == SealedKind.marketSecret.rawValue })
        #expect(secret.payload.isEmpty && secret.subject == .zero && secret.author == Street.bob)
        let entry = try #require(bob.disk.first { $0.entry.id == secret.id }).entry
        var core = bob.core
        #expect(core.open(entry)?.content.payload == Street.secret)
        // What somebody else calls a secret is none of his.
        #expect(street.desks[1]?.opened.values.count { $0.kind == Street.parcel.rawValue } == 1)
    }

    @Test("A key that is told of is on the disk, each is told of once, and a start tells nothing again")
    func restarts() throws {
        var street = try Street.talk()
        let announcements = street.log.count { $0.entry.header.kind == .mailbox }
        #expect(announcements == 3)
        let count = street.log.count
        for number: UInt8 in 1...3 {
            street.desks[number]?.settle()
            street.desks[number]?.restart()
        }
        street.settle()
        #expect(street.log.count == count)
        for number: UInt8 in 1...3 { #expect(street.texts(number) == ["edited", "an answer", ""]) }
    }

    @Test(
        "Messages, keys and who wrote them in any order, with crashes and refusals of the disk: the same rows in the end",
        arguments: 0..<150)
    func orders(seed: UInt64) throws {
        let street = try Street.talk()
        let expected = try #require(street.desks[3]).shown
        let opened = try #require(street.desks[3]).opened
        #expect(opened.count == 2)
        let ring = try #require(street.desks[3]?.keyring)
        var generator = SeededGenerator(seed: seed)
        // The second device again, with nothing on its disk but, sometimes, keys that it made itself.
        var desk = Desk(3, of: Street.bob)
        if Bool.random(using: &generator) {
            desk.keyring = ring
        } else {
            // Its device key is in the keyring alone: with another one only what is sealed to it from now on opens.
            desk.keyring = try Self.young(street)
        }
        desk.restart()
        var left = street.log.shuffled(using: &generator)
        var strangers: [(UInt8, MemberID)] = [(1, Street.alice), (2, Street.bob), (3, Street.bob)].shuffled(
            using: &generator)
        while !left.isEmpty || !strangers.isEmpty {
            switch Int.random(in: 0..<8, using: &generator) {
            case 0, 1:
                let page = Array(left.prefix(Int.random(in: 1...4, using: &generator)))
                left.removeFirst(page.count)
                desk.admit(page)
            case 2:
                guard let (number, member) = strangers.popLast() else { continue }
                desk.meet(number, of: member)
            case 3: desk.restart()
            case 4: desk.answer(isRefused: true)
            case 5: desk.wait(milliseconds: 2_000)
            default:
                if !desk.asked.isEmpty { desk.answer(Int.random(in: desk.asked.indices, using: &generator)) }
            }
        }
        desk.settle()
        #expect(desk.shown == expected)
        desk.restart()
        desk.settle()
        #expect(desk.shown == expected)
    }

    /// The second device's keyring as it was when it had made its own key and been passed nothing.
    private static func young(_ street: Street) throws -> [UInt8] {
        let key = try #require(Desk.key[3])
        var desk = Desk(3, of: Street.bob)
        desk.meet(3, of: Street.bob)
        desk.settle()
        let ring = try #require(desk.keyring)
        let keys = try MailboxKeys(keyring: ring, of: key.device, for: key)
        // The same source made the same keys as in the street.
        let own = try #require(street.log.first { $0.entry.header.device == key.device })
        let announcement = try MailboxAnnouncement(bytes: own.entry.content?.body ?? [])
        #expect(keys.devicePair.publicKey == announcement.device)
        return ring
    }

    @Test("A device that began by the recovery code reads what was passed to the code, then forgets the code's key")
    func recovery() throws {
        let code = try #require(RecoveryCode(secret: Array(0..<16))).sealingKeys(in: Sample.community)
        var street = Street()
        street.add(1, of: Street.alice)
        street.add(2, of: Street.bob)
        street.desks[1]?.core.handle(.restored([try Self.keyEntry(code.publicKey)]), at: HybridTime(milliseconds: 1))
        street.desks[1]?.tell()
        street.settle()
        try street.say(.post("for Alice's old machine"), to: Street.alice, by: 2)
        // Her machine is gone; a fresh one has the code.
        street.desks[1] = nil
        var fresh = Desk(5, of: Street.alice, code: code)
        // What it is passed comes before it may write.
        for (number, member) in [(1, Street.alice), (2, Street.bob)] as [(UInt8, MemberID)] {
            fresh.meet(number, of: member)
        }
        fresh.admit(street.log.reversed())
        fresh.settle()
        #expect(fresh.drafts.isEmpty)
        fresh.meet(5, of: Street.alice)
        fresh.settle()
        guard case .announcement(let announcement)? = fresh.drafts.first else {
            Issue.record("a device that may write tells its key")
            return
        }
        #expect(announcement.validFrom.milliseconds >= 1_000_000)
        #expect(fresh.shown.map(\.text) == ["for Alice's old machine"])
        func codeIsHeld(_ desk: Desk) throws -> Bool {
            let key = try #require(Desk.key[5])
            let keys = try MailboxKeys(keyring: try #require(desk.keyring), of: key.device, for: key)
            return keys.readingKeys.contains { $0.publicKey == code.publicKey }
        }
        #expect(try codeIsHeld(fresh))
        fresh.core.handle(.caughtUp, at: HybridTime(milliseconds: fresh.now))
        fresh.settle()
        #expect(try codeIsHeld(fresh))
        fresh.wait(milliseconds: MailboxLimits.codeKeptMilliseconds)
        fresh.settle()
        #expect(try !codeIsHeld(fresh))
        fresh.restart()
        fresh.settle()
        #expect(fresh.shown.map(\.text) == ["for Alice's old machine"])
    }

    /// A member's key under a code, in the feed by which Alice came.
    private static func keyEntry(_ key: SealingPublicKey) throws -> StoredEntry {
        let code = try #require(RecoveryCode(secret: Array(0..<16)))
        var source = Sample.source(9)
        let sealed = SealedMemberKey(
            sealing: KeyPair(seed: Sample.bytes32(0xA)), under: code, in: Sample.community,
            by: Desk.device(1), from: &source)
        #expect(sealed.recoveryKey == key)
        let draft = MemberKeyEntry.draft(sealed, parents: [Sample.entry(1)], head: Sample.entry(1))
        let content = Entry.Content(salt: .zero, body: draft.body)
        let header = EntryHeader(
            kind: draft.kind, isCritical: false, retention: .permanent, bodyBytesCount: draft.body.count,
            sequence: EntrySequence(2), time: HybridTime(1), community: Sample.community, device: Desk.device(1),
            previous: Sample.entry(1), governance: Sample.entry(1), bodyDigest: content.digest)
        let entry = Entry(stored: header, signature: [UInt8](repeating: 0, count: 64), content: content)
        return StoredEntry(entry, firstSeen: HybridTime(1))
    }

    @Test("A closed device is sealed to no more, and of what it announced nothing counts until it is open again")
    func closing() throws {
        var street = try Street.talk()
        let cut = FeedPoint(sequence: EntrySequence(99), id: Sample.entry(9))
        var desk = try #require(street.desks[1])
        for number: UInt8 in 2...3 { desk.roster.devices[Desk.device(number)]?.cut = cut }
        desk.tell()
        desk.settle()
        #expect(!desk.core.canWrite(to: Street.bob))
        desk.roster.devices[Desk.device(3)]?.cut = nil
        desk.tell()
        desk.settle()
        #expect(desk.core.canWrite(to: Street.bob))
        street.desks[1] = desk
        // Bob's other device learns it as well, and changes the key.
        street.desks[3]?.roster.devices[Desk.device(2)]?.cut = cut
        street.desks[3]?.tell()
        street.settle()
        try street.say(.post("not for the lost one"), to: Street.bob, by: 1)
        #expect(street.texts(3).last == "not for the lost one")
        #expect(!street.texts(2).contains("not for the lost one"))
    }

    @Test("A flood of sealed entries waits on the disk, not in memory, and is read all the same")
    func flood() throws {
        var street = Street()
        street.add(1, of: Street.alice)
        street.add(2, of: Street.bob)
        let body = try #require(ChatBody(place: .direct(Street.bob), act: .post("hello")))
        let start = street.log.count
        var slow = try #require(street.desks[2])
        street.desks[2] = nil
        for _ in 0..<(2 * MailboxLimits.pendingMax) {
            let place = EntrySequence(UInt64(street.log.count { $0.entry.header.device == Desk.device(1) }) + 1)
            var alice = try #require(street.desks[1])
            let sealed = try alice.core.seal(body.content, to: [Street.bob], at: place)
            street.write(.sealed, sealed.bytes, by: 1)
        }
        slow.admit(Array(street.log[start...]))
        slow.settle()
        #expect(slow.rows.count == 2 * MailboxLimits.pendingMax)
        #expect(slow.core.isLevel)
    }
}

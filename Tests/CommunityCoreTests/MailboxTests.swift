// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

@Suite struct MailboxMessagesTests {
    private static func announcement(
        _ epoch: UInt32, mailbox: UInt8 = 2, device: UInt8 = 3
    ) throws -> MailboxAnnouncement {
        MailboxAnnouncement(
            epoch: try #require(MailboxEpoch(epoch)), validFrom: HybridTime(0x1_0002),
            mailbox: SealingPublicKey(Sample.bytes32(mailbox)), device: SealingPublicKey(Sample.bytes32(device)))
    }

    @Test("An announcement has the bytes that the document gives it, and survives them")
    func announcements() throws {
        let bytes = try Self.announcement(258).bytes
        let (two, three) = (String(repeating: "02", count: 32), String(repeating: "03", count: 32))
        #expect(Sample.hex(bytes) == "01" + "00000102" + "0000000000010002" + two + three)
        #expect(try MailboxAnnouncement(bytes: bytes) == (try Self.announcement(258)))
        for count in 0..<bytes.count {
            #expect(throws: DecodeError.truncated("mailbox keys")) {
                try MailboxAnnouncement(bytes: Array(bytes.prefix(count)))
            }
        }
        #expect(throws: DecodeError.tooLarge("mailbox keys", limit: 77)) { try MailboxAnnouncement(bytes: bytes + [0]) }
        #expect(throws: DecodeError.unsupported("mailbox keys version")) {
            try MailboxAnnouncement(bytes: [0] + bytes.dropFirst())
        }
        for epoch: [UInt8] in [[0, 0, 0, 0], [0x80, 0, 0, 1], [0xFF, 0xFF, 0xFF, 0xFF]] {
            #expect(throws: DecodeError.malformed("mailbox keys epoch")) {
                try MailboxAnnouncement(bytes: [1] + epoch + bytes.dropFirst(5))
            }
        }
    }

    @Test("Passed keys have the bytes that the document gives them; cut, out of order or too many they are refused")
    func passes() throws {
        let device: [UInt8] = [0] + Sample.bytes32(9).bytes
        let code: [UInt8] = [1] + Sample.bytes32(8).bytes
        func key(_ epoch: UInt8) -> [UInt8] {
            [0, 0, 0, epoch, 0, 0, 0, 0, 0, 0, 0, 5] + Sample.bytes32(7).bytes
        }
        let bytes: [UInt8] = [1, 2] + device + code + [2] + key(1) + key(2)
        let pass = try MailboxKeyPass(bytes: bytes)
        #expect(pass.bytes == bytes)
        #expect(
            pass.holders == [.device(Sample.device(9)), .recovery(SealingPublicKey(Sample.bytes32(8)))])
        #expect(pass.keys.map(\.epoch.value) == [1, 2] && pass.keys[0].pair.privateBytes == Sample.bytes32(7))
        for count in 0..<bytes.count {
            #expect(throws: DecodeError.self) { try MailboxKeyPass(bytes: Array(bytes.prefix(count))) }
        }
        let bad: [[UInt8]] = [
            [2] + bytes.dropFirst(), [1, 0] + bytes.dropFirst(2), [1, 34] + bytes.dropFirst(2), bytes + [0],
            [1, 2] + code + device + [1] + key(1), [1, 2] + device + device + [1] + key(1),
            [1, 1] + device + [2] + key(2) + key(1), [1, 1] + device + [2] + key(1) + key(1), [1, 1] + device + [0],
            [1, 1] + device + [65] + (1...65).flatMap { key($0) }, [1, 1] + device + [1] + key(0),
            [1, 1, 2] + device.dropFirst() + [1] + key(1),
        ]
        for bytes in bad { #expect(throws: DecodeError.self) { try MailboxKeyPass(bytes: bytes) } }
        #expect((try? MailboxKeyPass(bytes: [1, 1] + device + [64] + (1...64).flatMap { key($0) })) != nil)
    }

    @Test(
        "The newest key of a live device counts, in whatever order announcements and closings come", arguments: 0..<100)
    func directory(seed: UInt64) throws {
        let (alice, bob) = (Sample.member(1), Sample.member(2))
        enum Step {
            case announced(MailboxAnnouncement, UInt8, MemberID)
            case closed(UInt8)
        }
        let steps: [Step] = [
            .announced(try Self.announcement(1, mailbox: 11), 1, alice),
            .announced(try Self.announcement(3, mailbox: 13), 1, alice),
            .announced(try Self.announcement(2, mailbox: 12), 2, alice),
            .announced(try Self.announcement(2, mailbox: 14), 4, alice),
            .announced(try Self.announcement(9, mailbox: 19), 3, alice), .closed(3),
            .announced(try Self.announcement(5, mailbox: 15), 5, bob), .closed(5),
            // A device is one member's: what it says as another's doesn't count for either (it can't be in a roster).
            .announced(try Self.announcement(4, mailbox: 16), 6, bob),
        ]
        var generator = SeededGenerator(seed: seed)
        var directory = MailboxDirectory()
        for step in steps.shuffled(using: &generator) + steps.shuffled(using: &generator) {
            switch step {
            case .announced(let announcement, let device, let member):
                directory.announced(announcement, by: Sample.device(device), of: member)
            case .closed(let device): directory.closed(Sample.device(device))
            }
        }
        #expect(directory.mailbox(of: alice)?.bytes == Sample.bytes32(13))
        #expect(directory.epoch(of: alice)?.value == 3)
        #expect(directory.devices(of: alice).map(\.device) == [1, 2, 4].map { Sample.device($0) })
        #expect(directory.mailbox(of: bob)?.bytes == Sample.bytes32(16))
        directory.closed(Sample.device(1))
        // Of equal epochs the greater key.
        #expect(directory.mailbox(of: alice)?.bytes == Sample.bytes32(14))
        for device: UInt8 in [2, 4] { directory.closed(Sample.device(device)) }
        #expect(directory.mailbox(of: alice) == nil && directory.devices(of: alice).isEmpty)
    }
}

/// The devices of one member, and what they write: every device sees all of it, in an order of its own.
private struct Household {
    enum Written {
        case announcement(MailboxAnnouncement)
        case sealed(SealedBody)
        case closed(DeviceID)
    }

    struct Device {
        var keys: MailboxKeys
        var directory = MailboxDirectory()
        var seen = 0
        var isClosed = false
        var keyring: [UInt8] = []
        var rotationsCount = 0
        var passesCount = 0
    }

    static let member = Sample.member(1)
    var devices: [Device] = []
    var feed: [(device: DeviceID, place: SealedPlace, what: Written)] = []
    var now: UInt64 = 1_000_000_000
    var source = Sample.source(77)
    var recovery: SealingPublicKey?

    static func key(_ index: Int) -> KeyPair { KeyPair(seed: Sample.bytes32(UInt8(index + 1))) }

    mutating func add() {
        let index = devices.count
        devices.append(
            Device(keys: MailboxKeys(device: Sample.device(UInt8(index + 1)), from: &source)))
        tell(index)
    }

    mutating func close(_ index: Int, by other: Int) {
        devices[index].isClosed = true
        write(.closed(devices[index].keys.device), by: other)
        devices[other].keys.handle(.rotationRequested, at: HybridTime(milliseconds: now), from: &source)
        drain(other)
    }

    private mutating func write(_ what: Written, by index: Int) {
        feed.append((devices[index].keys.device, place(of: index), what))
    }

    private func place(of index: Int) -> SealedPlace {
        SealedPlace(
            community: Sample.community, device: devices[index].keys.device,
            sequence: EntrySequence(UInt64(feed.count + 1)))
    }

    /// The device reads `count` more entries.
    mutating func read(_ index: Int, count: Int = .max) {
        guard !devices[index].isClosed else { return }
        // What it writes meanwhile it reads the next time.
        for entry in Array(feed[devices[index].seen...].prefix(count)) {
            devices[index].seen += 1
            switch entry.what {
            case .announcement(let announcement):
                devices[index].directory.announced(announcement, by: entry.device, of: Self.member)
            case .closed(let device):
                devices[index].directory.closed(device)
                devices[index].keys.handle(
                    .fellowClosed(device), at: HybridTime(milliseconds: now), from: &source)
            case .sealed(let body):
                var reader = SealedReader(keys: devices[index].keys.readingKeys)
                guard let opening = try? reader.open(body, at: entry.place), opening.content.kind == .mailboxKeys,
                    let pass = try? MailboxKeyPass(bytes: opening.content.payload)
                else { continue }
                devices[index].keys.handle(
                    .keysPassed(pass, by: entry.device), at: HybridTime(milliseconds: now), from: &source)
            }
            tell(index)
        }
    }

    private mutating func tell(_ index: Int) {
        let time = HybridTime(milliseconds: now)
        devices[index].keys.handle(.recoveryKeyChanged(recovery), at: time, from: &source)
        let fellows = devices[index].directory.devices(of: Self.member)
        devices[index].keys.handle(.fellowsChanged(fellows), at: time, from: &source)
        drain(index)
    }

    private mutating func drain(_ index: Int) {
        while let effect = devices[index].keys.nextEffect() {
            switch effect {
            case .keep: devices[index].keyring = devices[index].keys.keyring(for: Self.key(index), from: &source)
            case .announce(let announcement):
                devices[index].rotationsCount += 1
                write(.announcement(announcement), by: index)
            case .pass(let pass, let keys):
                devices[index].passesCount += 1
                let body = try? SealedBody(
                    sealing: pass.content, to: keys, as: devices[index].keys.devicePair, at: place(of: index),
                    from: &source)
                guard let body else {
                    Issue.record("a pass is sealed")
                    return
                }
                write(.sealed(body), by: index)
            }
        }
    }

    /// All that is due is done, by all, until nothing more happens at this time.
    mutating func settle(forMilliseconds: UInt64 = 0) {
        let end = now + forMilliseconds
        for _ in 0..<1_000 {
            for index in devices.indices { read(index) }
            let live = devices.indices.filter { !devices[$0].isClosed }
            if live.contains(where: { devices[$0].seen < feed.count }) { continue }
            let due = live.compactMap { devices[$0].keys.nextTimeout?.milliseconds }.min() ?? .max
            guard due <= end else { break }
            now = max(now, due)
            for index in live where devices[index].keys.nextTimeout.map({ $0.milliseconds <= now }) == true {
                devices[index].keys.handleTimeout(at: HybridTime(milliseconds: now), from: &source)
                drain(index)
            }
        }
        now = end
    }

    var live: [Device] { devices.filter { !$0.isClosed } }
}

@Suite struct MailboxKeysTests {
    private static let day: UInt64 = 86_400_000

    @Test("A device that begins makes a key at once, keeps it, then announces it")
    func beginning() {
        var source = Sample.source(1)
        var keys = MailboxKeys(device: Sample.device(1), from: &source)
        #expect(keys.nextTimeout == HybridTime(0))
        keys.handle(.fellowsChanged([]), at: HybridTime(milliseconds: 5), from: &source)
        guard case .keep = keys.nextEffect(), case .announce(let announcement) = keys.nextEffect() else {
            Issue.record("first kept, then announced")
            return
        }
        #expect(keys.nextEffect() == nil)
        #expect(announcement.epoch == .first && announcement.mailbox == keys.current?.pair.publicKey)
        #expect(announcement.device == keys.devicePair.publicKey)
        #expect(announcement.validFrom.milliseconds == 5)
    }

    @Test("An announcement that doesn't appear in the feed is made again, not before an hour")
    func announcedAgain() {
        var source = Sample.source(1)
        var keys = MailboxKeys(device: Sample.device(1), from: &source)
        keys.handleTimeout(at: HybridTime(milliseconds: 5), from: &source)
        while keys.nextEffect() != nil {}
        #expect(keys.nextTimeout?.milliseconds == 5 + 3_600_000)
        keys.handleTimeout(at: HybridTime(milliseconds: 5 + 3_600_000 - 1), from: &source)
        #expect(keys.nextEffect() == nil)
        keys.handleTimeout(at: HybridTime(milliseconds: 5 + 3_600_000), from: &source)
        guard case .announce = keys.nextEffect() else {
            Issue.record("announced again")
            return
        }
    }

    @Test("Devices that come one after another share all keys and agree on the current one")
    func sharing() {
        var household = Household()
        for _ in 0..<3 {
            household.add()
            household.settle(forMilliseconds: 10 * 60_000)
        }
        let all = household.devices.map { $0.keys.readingKeys.dropLast().map(\.publicKey) }
        #expect(all[0].count == 3 && all[1] == all[0] && all[2] == all[0])
        #expect(household.devices.map { $0.directory.mailbox(of: Household.member) } == all.map(\.first))
        #expect(household.devices.map(\.rotationsCount) == [1, 1, 1])
        // A newcomer's key from itself, to each whom it gets to know; all older ones from the first in turn alone.
        #expect(household.devices.map(\.passesCount) == [2, 1, 2])
    }

    @Test("The key changes every 30 days, by one device alone; after a year and a month a key is deleted")
    func rotation() throws {
        var household = Household()
        household.add()
        household.settle(forMilliseconds: Self.day)
        household.add()
        household.settle(forMilliseconds: Self.day)
        let first = try #require(household.devices[0].keys.readingKeys.dropLast().last?.publicKey)
        household.settle(forMilliseconds: 28 * Self.day)
        #expect(household.devices.map(\.rotationsCount) == [1, 1])
        household.settle(forMilliseconds: 2 * Self.day)
        #expect(household.devices.map(\.rotationsCount) == [2, 1])
        household.settle(forMilliseconds: 365 * Self.day)
        #expect(household.devices[0].keys.readingKeys.map(\.publicKey).contains(first))
        household.settle(forMilliseconds: 60 * Self.day)
        for device in household.devices {
            #expect(!device.keys.readingKeys.map(\.publicKey).contains(first))
            #expect((13...16).contains(device.keys.keysCount))
        }
        #expect(
            household.devices[0].keys.readingKeys.dropLast().map(\.publicKey)
                == household.devices[1].keys.readingKeys.dropLast().map(\.publicKey))
        let rotations: Int = household.devices.map(\.rotationsCount).reduce(0, +)
        #expect(rotations <= 2 + 456 / 30 + 1)
    }

    @Test("A closed device never gets another key; the others rotate at once", arguments: [0, 1, 2])
    func closing(gone: Int) throws {
        var household = Household()
        for _ in 0..<3 {
            household.add()
            household.settle(forMilliseconds: 10 * 60_000)
        }
        let other = (gone + 1) % 3
        household.close(gone, by: other)
        household.settle(forMilliseconds: 60 * Self.day)
        let lost = Set(household.devices[gone].keys.readingKeys.map(\.publicKey))
        let mailboxes = household.live.map { $0.directory.mailbox(of: Household.member) }
        #expect(mailboxes[0] == mailboxes[1])
        #expect(!lost.contains(try #require(mailboxes[0])))
        // What the closed one can still read of the replica's feed with all its keys: nothing from after its closing.
        var reader = SealedReader(keys: household.devices[gone].keys.readingKeys)
        let closing = try #require(
            household.feed.firstIndex {
                if case .closed = $0.what { true } else { false }
            })
        for entry in household.feed[closing...] {
            guard case .sealed(let body) = entry.what else { continue }
            #expect(throws: SealedError.notAddressed) { try reader.open(body, at: entry.place) }
        }
    }

    @Test("Others rotate by themselves when the device that closed another doesn't")
    func closingWithoutRotation() throws {
        var household = Household()
        for _ in 0..<3 {
            household.add()
            household.settle(forMilliseconds: 10 * 60_000)
        }
        let before = try #require(household.devices[0].directory.mailbox(of: Household.member))
        household.devices[2].isClosed = true
        household.feed.append(
            (Sample.device(9), Sample.place(9, 1), .closed(household.devices[2].keys.device)))
        household.settle(forMilliseconds: 5 * 60_000)
        let after = household.live.map { $0.directory.mailbox(of: Household.member) }
        #expect(after[0] != before && after[0] == after[1])
        let rotations: Int = household.live.map(\.rotationsCount).reduce(0, +)
        #expect(rotations == 3)
    }

    @Test("A fresh machine reads old mail by the recovery code alone")
    func recovery() throws {
        let code = try #require(RecoveryCode(secret: Array(0..<16)))
        var household = Household()
        household.recovery = code.sealingKeys(in: Sample.community).publicKey
        household.add()
        household.settle(forMilliseconds: 70 * Self.day)
        // Somebody writes.
        let place = Sample.place(0x99, 1)
        let mailbox = try #require(household.devices[0].directory.mailbox(of: Household.member))
        let mail = try SealedBody(
            sealing: SealedContent(kind: .chat, payload: [1]), to: [mailbox], as: Sample.pair(50), at: place,
            from: &household.source)

        // The machine is lost; what was written lies on replicas.
        var reader = SealedReader(keys: [code.sealingKeys(in: Sample.community)])
        var keys = MailboxKeys(device: Sample.device(0x55), from: &household.source)
        for entry in household.feed {
            guard case .sealed(let body) = entry.what else { continue }
            let opening = try reader.open(body, at: entry.place)
            let pass = try MailboxKeyPass(bytes: opening.content.payload)
            keys.handle(
                .keysPassed(pass, by: entry.device), at: HybridTime(milliseconds: household.now),
                from: &household.source)
        }
        var recovered = SealedReader(keys: keys.readingKeys)
        #expect(try recovered.open(mail, at: place).content.payload == [1])
        // The lost machine's keys are used no more once it is closed; the fresh one has a key of its own.
        #expect(keys.current?.epoch.value == 3)
        keys.handle(
            .fellowClosed(Sample.device(1)), at: HybridTime(milliseconds: household.now), from: &household.source)
        let current = try #require(keys.current?.pair.publicKey)
        #expect(!household.devices[0].keys.readingKeys.contains { $0.publicKey == current })
    }

    @Test("Another code is passed all keys anew")
    func newCode() throws {
        var household = Household()
        household.recovery = Sample.pair(70).publicKey
        household.add()
        household.settle(forMilliseconds: 40 * Self.day)
        household.recovery = Sample.pair(71).publicKey
        household.feed.append((Sample.device(9), Sample.place(9, 1), .closed(Sample.device(0x44))))
        household.settle(forMilliseconds: 60_000)
        var reader = SealedReader(keys: [Sample.pair(71)])
        var found: Set<SealingPublicKey> = []
        for entry in household.feed {
            guard case .sealed(let body) = entry.what, let opening = try? reader.open(body, at: entry.place) else {
                continue
            }
            found.formUnion(try MailboxKeyPass(bytes: opening.content.payload).keys.map(\.pair.publicKey))
        }
        #expect(found == Set(household.devices[0].keys.readingKeys.dropLast().map(\.publicKey)))
        #expect(found.count == 2)
    }

    @Test("Whatever is read in whatever order and time, in the end all live devices hold the same", arguments: 0..<20)
    func convergence(seed: UInt64) {
        var household = Household()
        household.source = Sample.source(seed)
        var generator = SeededGenerator(seed: seed)
        household.recovery = Sample.pair(70).publicKey
        for _ in 0..<60 {
            switch Int.random(in: 0..<12, using: &generator) {
            case 0 where household.devices.count < 5: household.add()
            case 1 where household.live.count > 1:
                let live = household.devices.indices.filter { !household.devices[$0].isClosed }
                household.close(live[1], by: live[0])
            case 2: household.now += UInt64.random(in: 0...(40 * Self.day), using: &generator)
            case 3...10 where !household.devices.isEmpty:
                household.read(
                    Int.random(in: household.devices.indices, using: &generator),
                    count: Int.random(in: 1...4, using: &generator))
            default: household.now += 120_000
            }
        }
        if household.live.isEmpty { household.add() }
        household.settle(forMilliseconds: 2 * Self.day)
        let held = Set(household.live.map { $0.keys.readingKeys.dropLast().map(\.publicKey) })
        #expect(held.count == 1)
        let mailbox = household.live[0].directory.mailbox(of: Household.member)
        #expect(household.live.allSatisfy { $0.directory.mailbox(of: Household.member) == mailbox })
        #expect(held.first?.first == mailbox)
        for device in household.devices where device.isClosed {
            #expect(!device.keys.readingKeys.contains { $0.publicKey == mailbox })
        }
    }

    @Test("A device that was closed itself does nothing more")
    func ownClosing() {
        var source = Sample.source(1)
        var keys = MailboxKeys(device: Sample.device(1), from: &source)
        let now = HybridTime(milliseconds: 5)
        keys.handle(.fellowsChanged([]), at: now, from: &source)
        keys.handle(.fellowClosed(Sample.device(1)), at: now, from: &source)
        while keys.nextEffect() != nil {}
        keys.handle(.rotationRequested, at: now, from: &source)
        keys.handleTimeout(at: HybridTime(milliseconds: 90 * Self.day), from: &source)
        #expect(keys.nextEffect() == nil && keys.nextTimeout == nil)
    }

    @Test("When epochs have run out timeouts still move on, and keys stay limited")
    func lastEpoch() throws {
        var source = Sample.source(1)
        var keys = MailboxKeys(device: Sample.device(1), from: &source)
        let fellow = MailboxFellow(device: Sample.device(2), key: Sample.pair(3).publicKey, epoch: .max)
        var now: UInt64 = 5
        for round in 0..<80 {
            let bytes: [UInt8] =
                [1, 1, 0] + Sample.bytes32(2).bytes + [1, 0x80, 0, 0, 0] + [UInt8](repeating: 0, count: 8)
            let pass = try MailboxKeyPass(bytes: bytes + Sample.bytes32(UInt8(round + 1)).bytes)
            keys.handle(.fellowsChanged([fellow]), at: HybridTime(milliseconds: now), from: &source)
            keys.handle(.keysPassed(pass, by: Sample.device(2)), at: HybridTime(milliseconds: now), from: &source)
            keys.handleTimeout(at: HybridTime(milliseconds: now), from: &source)
            let next = try #require(keys.nextTimeout)
            #expect(next.milliseconds > now && keys.keysCount <= MailboxLimits.keysMax)
            now = next.milliseconds
        }
    }

    @Test("Nobody makes a member keep more keys than the limit")
    func limit() throws {
        var source = Sample.source(1)
        var keys = MailboxKeys(device: Sample.device(1), from: &source)
        for number in 0..<3 {
            var bytes: [UInt8] = [1, 1, 0] + Sample.bytes32(9).bytes + [64]
            for epoch in 0..<64 {
                bytes += [0, 0, 1, UInt8(epoch)] + [UInt8](repeating: 0xFF, count: 8)
                bytes += Sample.bytes32(UInt8(number * 64 + epoch + 1)).bytes
            }
            keys.handle(
                .keysPassed(try MailboxKeyPass(bytes: bytes), by: Sample.device(9)), at: HybridTime(milliseconds: 9),
                from: &source)
        }
        #expect(keys.keysCount == MailboxLimits.keysMax)
        #expect(keys.refusedCount == 2 * 64)
        // A time in the future counts as the present: the next rotation comes.
        #expect(keys.nextTimeout.map { $0.milliseconds <= 9 + 31 * Self.day } == true)
    }
}

@Suite struct MailboxKeyringTests {
    private static func household() -> Household {
        var household = Household()
        household.recovery = Sample.pair(70).publicKey
        household.add()
        household.settle(forMilliseconds: 60_000)
        household.add()
        household.settle(forMilliseconds: 40 * 86_400_000)
        return household
    }

    @Test("A keyring gives back all keys, for the device whose it is, and nothing is passed twice because of it")
    func roundTrip() throws {
        var household = Self.household()
        let (ring, key) = (household.devices[0].keyring, Household.key(0))
        let again = try MailboxKeys(keyring: ring, of: Sample.device(1), for: key)
        #expect(again.readingKeys.map(\.publicKey) == household.devices[0].keys.readingKeys.map(\.publicKey))
        #expect(again.readingKeys.map(\.privateBytes) == household.devices[0].keys.readingKeys.map(\.privateBytes))
        #expect(again.keysCount == 3)
        let passes = household.devices.map(\.passesCount)
        household.devices[0].keys = again
        household.feed.append((Sample.device(9), Sample.place(9, 1), .closed(Sample.device(0x44))))
        household.settle(forMilliseconds: 86_400_000)
        #expect(household.devices.map(\.passesCount) == passes)
    }

    @Test("Damaged, cut or another device's it is refused")
    func damage() throws {
        let household = Self.household()
        let (ring, key) = (household.devices[0].keyring, Household.key(0))
        #expect(throws: DecodeError.malformed("keyring (another device's, or damaged)")) {
            try MailboxKeys(keyring: ring, of: Sample.device(2), for: Household.key(1))
        }
        for index in ring.indices {
            var changed = ring
            changed[index] ^= 1
            #expect(throws: DecodeError.self) { try MailboxKeys(keyring: changed, of: Sample.device(1), for: key) }
            #expect(throws: DecodeError.self) {
                try MailboxKeys(keyring: Array(ring.prefix(index)), of: Sample.device(1), for: key)
            }
        }
        #expect(throws: DecodeError.tooLarge("keyring", limit: MailboxKeys.keyringBytesMax)) {
            try MailboxKeys(
                keyring: [UInt8](repeating: 0, count: MailboxKeys.keyringBytesMax + 1), of: Sample.device(1), for: key)
        }
    }

    @Test("The same keys are never sealed to the same bytes")
    func salted() {
        var household = Self.household()
        let one = household.devices[0].keys.keyring(for: Household.key(0), from: &household.source)
        let other = household.devices[0].keys.keyring(for: Household.key(0), from: &household.source)
        #expect(one != other && one.count == other.count)
    }
}

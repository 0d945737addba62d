// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

@Suite struct SealedBodyTests {
    private static let author = Sample.pair(1)
    private static let alice = Sample.pair(2)
    private static let bob = Sample.pair(3)
    private static let stranger = Sample.pair(4)

    private static func content(_ count: Int = 5) -> SealedContent {
        SealedContent(kind: .chat, payload: (0..<count).map { UInt8(truncatingIfNeeded: $0) })
    }

    private static func sealed(
        _ content: SealedContent = content(), to recipients: [SealingKeyPair] = [alice, bob],
        at place: SealedPlace = Sample.place(), seed: UInt64 = 1
    ) throws -> SealedBody {
        var source = Sample.source(seed)
        return try SealedBody(
            sealing: content, to: recipients.map(\.publicKey), as: author, at: place, from: &source)
    }

    private static func opened(
        _ body: SealedBody, with keys: [SealingKeyPair], at place: SealedPlace = Sample.place()
    ) throws(SealedError) -> SealedContent {
        var reader = SealedReader(keys: keys)
        return try reader.open(body, at: place).content
    }

    @Test("Every recipient opens it, whichever of its keys it is sealed to, and nobody else does")
    func recipients() throws {
        let body = try SealedBody(bytes: Self.sealed().bytes)
        #expect(try Self.opened(body, with: [Self.alice]) == Self.content())
        #expect(try Self.opened(body, with: [Self.bob]) == Self.content())
        #expect(try Self.opened(body, with: [Self.stranger, Sample.pair(5), Self.bob]) == Self.content())
        #expect(throws: SealedError.notAddressed) { try Self.opened(body, with: [Self.stranger]) }
        #expect(throws: SealedError.notAddressed) { try Self.opened(body, with: []) }
        // Not even its author, who isn't among the recipients.
        #expect(throws: SealedError.notAddressed) { try Self.opened(body, with: [Self.author]) }
    }

    @Test("Who writes to itself reads it")
    func ownMail() throws {
        let body = try Self.sealed(to: [Self.author])
        #expect(try Self.opened(body, with: [Self.author]) == Self.content())
    }

    @Test("A body has the bytes that the document gives it")
    func golden() throws {
        let bytes = try Self.sealed().bytes
        #expect(bytes.count == 66 + 4 * 96 + 256 + 16)
        #expect(
            Sample.hex(bytes.prefix(66)) == "0104a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209"
                + "46d084b03b72cc80509e7851adc9a3ecdaad11aeabab5e686dec217c8a61c554")
        #expect(
            Sample.hex(KeyDerivation.sha256(bytes).bytes)
                == "44807adc3e079a961678c8b37b8b2b368e9a75f889fd01ec44267fa6cd74697f")
        #expect(try Self.sealed().bytes == bytes)
        #expect(try Self.sealed(seed: 2).bytes != bytes)
    }

    @Test("Elsewhere it is addressed to nobody", arguments: [0, 1, 2])
    func otherPlace(which: Int) throws {
        let body = try Self.sealed()
        let place = [
            SealedPlace(
                community: CommunityID(Sample.bytes32(9)), device: Sample.device(1), sequence: EntrySequence(7)),
            Sample.place(2), Sample.place(1, 8),
        ][which]
        #expect(throws: SealedError.notAddressed) { try Self.opened(body, with: [Self.alice, Self.bob], at: place) }
    }

    @Test("No single byte can be changed: both recipients refuse it, with a named error")
    func mutations() throws {
        let bytes = try Self.sealed().bytes
        var refusals: Set<SealedError> = []
        for index in bytes.indices {
            for change: UInt8 in [0x01, 0x80, 0xFF] {
                var changed = bytes
                changed[index] ^= change
                guard let body = try? SealedBody(bytes: changed) else { continue }
                for key in [Self.alice, Self.bob] {
                    do throws(SealedError) {
                        _ = try Self.opened(body, with: [key])
                        Issue.record("byte \(index) changed, and it opens")
                    } catch { refusals.insert(error) }
                }
            }
        }
        #expect(refusals == [.notAddressed, .keyRefused, .contentRefused])
    }

    @Test("Cut at any length or lengthened it is no body")
    func cuts() throws {
        let bytes = try Self.sealed().bytes
        for count in 0..<bytes.count {
            #expect(throws: DecodeError.self) { try SealedBody(bytes: Array(bytes.prefix(count))) }
        }
        #expect(throws: DecodeError.malformed("sealed body size")) { try SealedBody(bytes: bytes + [0]) }
        #expect(throws: DecodeError.tooLarge("sealed body", limit: SealedLimits.bodyBytesMax)) {
            try SealedBody(bytes: [UInt8](repeating: 1, count: SealedLimits.bodyBytesMax + 1))
        }
    }

    @Test("Unknown versions, other numbers of slots and slots in another order are refused")
    func forms() throws {
        let bytes = try Self.sealed().bytes
        #expect(throws: DecodeError.unsupported("sealed body version")) {
            try SealedBody(bytes: [2] + bytes.dropFirst())
        }
        for count: UInt8 in [0, 1, 5, 128, 255] {
            #expect(throws: DecodeError.malformed("sealed body slots")) {
                try SealedBody(bytes: [1, count] + bytes.dropFirst(2))
            }
        }
        var swapped = bytes
        swapped.replaceSubrange(66..<162, with: bytes[162..<258])
        swapped.replaceSubrange(162..<258, with: bytes[66..<162])
        #expect(throws: DecodeError.malformed("sealed body slots (order)")) { try SealedBody(bytes: swapped) }
        var twice = bytes
        twice.replaceSubrange(162..<258, with: bytes[66..<162])
        #expect(throws: DecodeError.malformed("sealed body slots (order)")) { try SealedBody(bytes: twice) }
    }

    @Test("Content of every size opens, and its size shows only as one of nine")
    func sizes() throws {
        var sizes: Set<Int> = []
        for bucket in SealedLimits.paddedBytesCounts {
            for count in [bucket / 2 - 36, bucket / 2 - 35, bucket - 37, bucket - 36] where count >= 0 {
                let body = try Self.sealed(Self.content(count))
                #expect(try Self.opened(SealedBody(bytes: body.bytes), with: [Self.bob]) == Self.content(count))
                sizes.insert(body.bytes.count)
            }
        }
        #expect(sizes == Set(SealedLimits.paddedBytesCounts.map { 66 + 4 * 96 + $0 + 16 }))
        #expect(throws: SealedError.payloadTooLarge(SealedLimits.payloadBytesMax + 1)) {
            try Self.sealed(Self.content(SealedLimits.payloadBytesMax + 1))
        }
    }

    @Test("How many recipients there are shows only as one of five", arguments: [1, 2, 4, 5, 9, 17, 33, 64])
    func slots(count: Int) throws {
        let keys = (0..<count).map { Sample.pair(UInt8(100 + $0)) }
        let body = try Self.sealed(to: keys)
        let slots = try #require(SealedLimits.slotCounts.first { $0 >= count })
        #expect(body.bytes.count == 66 + slots * 96 + 256 + 16)
        for key in [keys[0], keys[count - 1]] { #expect(try Self.opened(body, with: [key]) == Self.content()) }
    }

    @Test("Nobody, too many and those to whom nothing can be sealed are refused; a double counts once")
    func badRecipients() throws {
        var source = Sample.source(1)
        #expect(throws: SealedError.recipientsCount(0)) { try Self.sealed(to: []) }
        #expect(throws: SealedError.recipientsCount(65)) {
            try Self.sealed(to: (0..<65).map { Sample.pair(UInt8($0)) })
        }
        let weak = SealingPublicKey(.zero)
        #expect(throws: SealedError.weakKey(weak)) {
            try SealedBody(
                sealing: Self.content(), to: [weak, Self.alice.publicKey], as: Self.author, at: Sample.place(),
                from: &source)
        }
        let five = try Self.sealed(to: [Self.alice, Self.alice, Self.alice, Self.alice, Self.bob])
        #expect(five.bytes.count == 66 + 4 * 96 + 256 + 16)
    }

    @Test("The largest body fits an entry")
    func largest() throws {
        let keys = (0..<64).map { Sample.pair(UInt8(100 + $0)) }
        let body = try Self.sealed(Self.content(SealedLimits.payloadBytesMax), to: keys)
        #expect(body.bytes.count == SealedLimits.bodyBytesMax)
        #expect(body.bytes.count <= JournalLimits.bodyBytesMax)
    }

    @Test("Two entries between the same two have no bytes in common that a third could link")
    func unlinkable() throws {
        let one = try Self.sealed(at: Sample.place(1, 1), seed: 1).bytes
        let other = try Self.sealed(at: Sample.place(1, 2), seed: 2).bytes
        func words(_ bytes: [UInt8]) -> Set<[UInt8]> {
            // All runs of four bytes behind version, slots and the author's key, which is known anyway.
            Set((34..<bytes.count - 4).map { Array(bytes[$0..<$0 + 4]) })
        }
        #expect(words(one).isDisjoint(with: words(other)))
    }

    @Test("What was opened proves to a third party what the entry holds; anything else doesn't")
    func openings() throws {
        let body = try Self.sealed()
        var reader = SealedReader(keys: [Self.alice])
        let opening = try reader.open(body, at: Sample.place())
        #expect(body.isOpened(by: opening, at: Sample.place()))
        #expect(!body.isOpened(by: opening, at: Sample.place(1, 8)))
        #expect(
            !body.isOpened(by: SealedOpening(content: Self.content(6), salt: opening.salt), at: Sample.place()))
        #expect(!body.isOpened(by: SealedOpening(content: Self.content(), salt: .zero), at: Sample.place()))
        let renamed = SealedContent(kind: .mailboxKeys, payload: Self.content().payload)
        #expect(!body.isOpened(by: SealedOpening(content: renamed, salt: opening.salt), at: Sample.place()))
    }

    @Test("A reader with many authors forgets the oldest and still opens everything")
    func manyAuthors() throws {
        var reader = SealedReader(keys: [Self.alice])
        for number in Array(0..<SealedLimits.readerAuthorsMax + 2) + [0, SealedLimits.readerAuthorsMax] {
            var source = Sample.source(UInt64(number))
            let place = SealedPlace(
                community: Sample.community, device: DeviceID(Bytes32(words: (1, 2, 3, UInt64(number)))),
                sequence: .first)
            let author = SealingKeyPair(from: &source)
            let body = try SealedBody(
                sealing: Self.content(), to: [Self.alice.publicKey], as: author, at: place, from: &source)
            #expect(try reader.open(body, at: place).content == Self.content())
        }
    }

    @Test("A device that changes its key is read on")
    func changedSender() throws {
        var reader = SealedReader(keys: [Self.alice])
        for author in [Sample.pair(20), Sample.pair(21), Sample.pair(20)] {
            var source = Sample.source(3)
            let body = try SealedBody(
                sealing: Self.content(), to: [Self.alice.publicKey], as: author, at: Sample.place(), from: &source)
            #expect(try reader.open(body, at: Sample.place()).content == Self.content())
        }
    }
}

/// Makes bodies from the document alone, honest ones and such as nobody should.
private struct Forger {
    let author = Sample.pair(1)
    let place = Sample.place()
    /// To each its content key.
    var recipients: [(key: SealingKeyPair, content: Bytes32)]
    var committed = Forger.padded()
    var plain = Forger.padded()
    var contentKey = Sample.bytes32(0x77)

    /// Salt, kind 1, length, payload, zeros.
    static func padded(_ payload: [UInt8] = [1, 2, 3], count: Int = 256) -> [UInt8] {
        let head =
            Sample.bytes32(0x55).bytes + [0, 1, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)] + payload
        return head + [UInt8](repeating: 0, count: count - head.count)
    }

    init(to recipients: [SealingKeyPair]) {
        self.recipients = recipients.map { ($0, Sample.bytes32(0x77)) }
    }

    var placeBytes: [UInt8] {
        place.community.bytes.bytes + place.device.bytes.bytes + [0, 0, 0, 0, 0, 0, 0, 7]
    }

    func bytes() throws -> [UInt8] {
        var source = Sample.source(6)
        let count = Int(committed[34]) << 8 | Int(committed[35])
        let commitment = KeyDerivation.sha256(
            Array("tutti-sealed-commitment".utf8) + placeBytes + committed[..<34] + committed[36..<36 + count]
        ).bytes
        let sender = author.publicKey.bytes.bytes
        var slots: [[UInt8]] = []
        for recipient in recipients {
            let secret = try #require(author.secret(with: recipient.key.publicKey)).bytes
            let tagKey = KeyDerivation.hkdf(
                secret, info: Array("tutti-sealed-tag".utf8) + sender + recipient.key.publicKey.bytes.bytes)
            let tag = Array(KeyDerivation.authenticate(placeBytes, key: tagKey.bytes).bytes.prefix(16))
            let wrapped = HybridEncryption.seal(
                recipient.content.bytes, to: recipient.key.publicKey,
                info: Array("tutti-sealed-key".utf8) + placeBytes, authenticating: sender + commitment + tag,
                from: &source)
            slots.append(tag + (try #require(wrapped)))
        }
        while slots.count < 4 { slots.append([UInt8](repeating: UInt8(slots.count), count: 96)) }
        slots.sort { $0.lexicographicallyPrecedes($1) }
        let head = [1, 4] + sender + commitment + slots.joined()
        return head
            + SecretBox.seal(
                plain, key: contentKey, authenticating: Array("tutti-sealed-content".utf8) + placeBytes + head)
    }

    func open(with key: SealingKeyPair) throws -> SealedContent {
        var reader = SealedReader(keys: [key])
        return try reader.open(SealedBody(bytes: bytes()), at: place).content
    }
}

@Suite struct SealedForgeryTests {
    private static let alice = Sample.pair(2)
    private static let bob = Sample.pair(3)

    @Test("What the document says is what the program opens")
    func document() throws {
        let forger = Forger(to: [Self.alice, Self.bob])
        #expect(try forger.open(with: Self.alice) == SealedContent(kind: .chat, payload: [1, 2, 3]))
        #expect(try forger.open(with: Self.bob) == SealedContent(kind: .chat, payload: [1, 2, 3]))
    }

    @Test("A ciphertext made to open to something else than the author committed to is refused")
    func commitment() throws {
        var forger = Forger(to: [Self.alice])
        forger.plain = Forger.padded([1, 2, 4])
        #expect(throws: SealedError.commitmentBroken) { try forger.open(with: Self.alice) }
        forger.plain = Forger.padded()
        forger.plain[33] = 2
        #expect(throws: SealedError.commitmentBroken) { try forger.open(with: Self.alice) }
        forger.plain = Forger.padded()
        forger.plain[0] ^= 1
        #expect(throws: SealedError.commitmentBroken) { try forger.open(with: Self.alice) }
    }

    @Test("One of two recipients that was given another content key reads nothing, and knows it")
    func splitKeys() throws {
        var forger = Forger(to: [Self.alice, Self.bob])
        forger.recipients[1].content = Sample.bytes32(0x78)
        #expect(try forger.open(with: Self.alice).payload == [1, 2, 3])
        #expect(throws: SealedError.contentRefused) { try forger.open(with: Self.bob) }
    }

    @Test("Padding that isn't zero, isn't needed or is longer than the content is refused")
    func padding() throws {
        var forger = Forger(to: [Self.alice])
        forger.plain[255] = 1
        #expect(throws: SealedError.contentMalformed) { try forger.open(with: Self.alice) }
        forger.plain = Forger.padded(count: 512)
        #expect(throws: SealedError.contentMalformed) { try forger.open(with: Self.alice) }
        forger.plain = Forger.padded()
        forger.plain[34] = 1
        #expect(throws: SealedError.contentMalformed) { try forger.open(with: Self.alice) }
    }
}

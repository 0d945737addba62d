// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// Codes, and entries that hold their seals.
private enum Sealing {
    static let code = RecoveryCode(secret: Array(0..<16))
    static let memberSeed = Sample.bytes32(7)
    static let device = KeyPair(seed: Sample.bytes32(3))
    static let asker = KeyPair(seed: Sample.bytes32(11)).peerID
    static let answerer = KeyPair(seed: Sample.bytes32(12)).peerID

    static func code(_ byte: UInt8) throws -> RecoveryCode {
        try #require(RecoveryCode(secret: [UInt8](repeating: byte, count: 16)))
    }

    static func sealed(
        _ code: RecoveryCode, in community: CommunityID = Sample.community, by device: KeyPair = Self.device
    ) -> SealedMemberKey {
        var source = Sample.source(4)
        return SealedMemberKey(
            sealing: KeyPair(seed: memberSeed), under: code, in: community, by: device.device, from: &source)
    }

    static func entry(
        _ sealed: SealedMemberKey, in community: CommunityID = Sample.community, by device: KeyPair = Self.device
    ) -> Entry {
        let draft = MemberKeyEntry.draft(sealed, parents: [Sample.entry(1)], head: Sample.entry(1))
        let content = Entry.Content(salt: Sample.bytes32(9), body: draft.body)
        let header = EntryHeader(
            kind: .memberKey, isCritical: false, retention: .permanent, bodyBytesCount: draft.body.count,
            sequence: .first, time: HybridTime(milliseconds: 1), community: community, device: device.device,
            previous: .none, governance: draft.governance, bodyDigest: content.digest)
        return Entry(signing: header, content: content, with: device)
    }

    static func address(_ number: UInt8) throws -> Multiaddr {
        try #require(Multiaddr("/ip4/192.0.2.\(number)/tcp/4001/p2p/\(answerer)"))
    }

    static func bytes(_ answer: RecoveryAnswer) -> [UInt8] {
        var buffer = ByteBuffer()
        answer.encode(into: &buffer)
        return Array(buffer.readableBytesView)
    }
}

@Suite struct RecoveryQuestionTests {
    @Test("A question is two bytes of the tag and a digest that names both sides")
    func golden() throws {
        let question = RecoveryQuestion(Sample.bytes32(5), from: Sealing.asker, to: Sealing.answerer)
        var bytes = ByteBuffer()
        question.encode(into: &bytes)
        var named: [UInt8] = Array("tutti-recover".utf8) + Sample.bytes32(5).bytes
        for peer in [Sealing.asker, Sealing.answerer] { named += [UInt8(peer.bytes.count)] + peer.bytes }
        #expect(Array(bytes.readableBytesView) == [5, 5] + KeyDerivation.sha256(named).bytes)
        #expect(
            Sample.hex(bytes.readableBytesView)
                == "05056f9e95e25f70ee26585afc0e92bb5703345e66ca4812fb915b9e35cb9319ae73")
        #expect(bytes.readableBytes == RecoveryQuestion.bytesCount)
        for count in 0..<RecoveryQuestion.bytesCount {
            #expect(throws: DecodeError.self) {
                var cut = ByteBuffer(bytes: bytes.readableBytesView.prefix(count))
                _ = try RecoveryQuestion(from: &cut)
            }
        }
        #expect(try RecoveryQuestion(from: &bytes) == question)
    }

    @Test("A question that is handed on asks for nothing: another asker, another answerer, another tag")
    func relayed() {
        let tag = Sample.bytes32(5)
        let stranger = KeyPair(seed: Sample.bytes32(13)).peerID
        let question = RecoveryQuestion(tag, from: Sealing.asker, to: Sealing.answerer)
        #expect(question.asks(for: tag, from: Sealing.asker, to: Sealing.answerer))
        #expect(!question.asks(for: tag, from: stranger, to: Sealing.answerer))
        #expect(!question.asks(for: tag, from: Sealing.asker, to: stranger))
        #expect(!question.asks(for: tag, from: Sealing.answerer, to: Sealing.asker))
        #expect(!question.asks(for: Sample.bytes32(6), from: Sealing.asker, to: Sealing.answerer))
    }
}

@Suite struct RecoveryAnswerTests {
    @Test("An answer reads back; cut, lengthened, or with too much in it, it is refused")
    func coding() throws {
        let code = try #require(Sealing.code)
        let points = try (1...5).map { try Sealing.address($0) }
        let answer = RecoveryAnswer(entry: Sealing.entry(Sealing.sealed(code)), entryPoints: points)
        let bytes = Sealing.bytes(answer)
        #expect(
            Sample.hex(KeyDerivation.sha256(bytes).bytes)
                == "4fb9805a6d88854cc99380417b5da42895c2ced1a473381e951d0e6fec12aef9")
        let read = try RecoveryAnswer(ByteBuffer(bytes: bytes))
        #expect(read.entryPoints == points)
        #expect(read.entry.id == answer.entry.id)
        for count in bytes.indices {
            #expect(throws: DecodeError.self) { try RecoveryAnswer(ByteBuffer(bytes: bytes.prefix(count))) }
        }
        #expect(throws: DecodeError.self) { try RecoveryAnswer(ByteBuffer(bytes: bytes + [0])) }
        #expect(throws: DecodeError.tooLarge("recovery answer", limit: CommunityLimits.recoveryAnswerBytesMax)) {
            try RecoveryAnswer(ByteBuffer(repeating: 0, count: CommunityLimits.recoveryAnswerBytesMax + 1))
        }
        #expect(throws: DecodeError.tooLarge("entry points", limit: 5)) {
            try RecoveryAnswer(ByteBuffer(bytes: [6] + bytes.dropFirst()))
        }
        let nameless = try #require(Multiaddr("/ip4/192.0.2.1/tcp/1")).binary
        #expect(throws: DecodeError.self) {
            try RecoveryAnswer(ByteBuffer(bytes: [1, UInt8(nameless.count)] + nameless + bytes.suffix(600)))
        }
    }

    @Test("What no answer can hold is left out of it: a sixth address, one without a peer")
    func entryPoints() throws {
        let code = try #require(Sealing.code)
        let nameless = try #require(Multiaddr("/ip4/192.0.2.1/tcp/1"))
        let points = try [nameless] + (1...6).map { try Sealing.address($0) }
        let answer = RecoveryAnswer(entry: Sealing.entry(Sealing.sealed(code)), entryPoints: points)
        #expect(answer.entryPoints == Array(points[1...5]))
    }

    @Test("The code opens what its holder put there, and nothing else")
    func opening() throws {
        let code = try #require(Sealing.code)
        let other = try Sealing.code(1)
        let liar = KeyPair(seed: Sample.bytes32(21))
        let elsewhere = CommunityID(Sample.bytes32(2))
        let genuine = Sealing.sealed(code)
        #expect(
            try RecoveryAnswer(entry: Sealing.entry(genuine), entryPoints: []).open(with: code).seed
                == Sealing.memberSeed)
        let false_ = [
            Sealing.entry(Sealing.sealed(other)),
            // The seal of another community, the genuine one moved to another community or into another's feed.
            Sealing.entry(genuine, in: elsewhere),
            Sealing.entry(genuine, by: liar),
            Sealing.entry(Sealing.sealed(code, in: elsewhere), by: Sealing.device),
        ]
        for entry in false_ {
            #expect(throws: DecodeError.self) { try RecoveryAnswer(entry: entry, entryPoints: []).open(with: code) }
        }
    }

    @Test("No changed bit of an answer opens to another key, another community or another entry")
    func damage() throws {
        let code = try #require(Sealing.code)
        let entry = Sealing.entry(Sealing.sealed(code))
        let bytes = Sealing.bytes(RecoveryAnswer(entry: entry, entryPoints: []))
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 1 << UInt8(index & 7)
            guard let read = try? RecoveryAnswer(ByteBuffer(bytes: changed)) else { continue }
            #expect(throws: DecodeError.self) { try read.open(with: code) }
        }
    }

    @Test("No replica takes another's seal into a feed, or something else under another's tag")
    func squatting() throws {
        let code = try #require(Sealing.code)
        let thief = KeyPair(seed: Sample.bytes32(21))
        let genuine = Sealing.sealed(code)
        #expect(GovernanceEntry.isAuthentic(Sealing.entry(genuine)))
        #expect(!GovernanceEntry.isAuthentic(Sealing.entry(genuine, by: thief)))
        // The thief's own seal, with the victim's tag in place of its own.
        var bytes = Sealing.sealed(try Sealing.code(1), by: thief).bytes
        bytes.replaceSubrange(1..<33, with: genuine.lookupTag.bytes)
        #expect(!GovernanceEntry.isAuthentic(Sealing.entry(try SealedMemberKey(bytes: bytes), by: thief)))
    }
}

@Suite struct RecoveryIndexTests {
    @Test("Only who asks with the tag is answered, and of two seals of one code the first stays")
    func finding() throws {
        let (code, other) = (try #require(Sealing.code), try Sealing.code(1))
        let second = KeyPair(seed: Sample.bytes32(4))
        var index = RecoveryIndex()
        let entry = Sealing.entry(Sealing.sealed(code))
        index.insert(entry)
        index.insert(Sealing.entry(Sealing.sealed(code, by: second), by: second))
        func asked(_ code: RecoveryCode, _ asker: PeerID = Sealing.asker) -> EntryID? {
            let question = RecoveryQuestion(code.lookupTag, from: Sealing.asker, to: Sealing.answerer)
            return index.entry(for: question, from: asker, to: Sealing.answerer)?.id
        }
        #expect(asked(code) == entry.id)
        #expect(asked(code, Sealing.answerer) == nil)
        #expect(asked(other) == nil)
        #expect(index.tags == [code.lookupTag])
        #expect(index.seal(code.lookupTag) == Sealing.sealed(code))
    }

    @Test("One feed fills the index up to its limit, and takes nothing from others")
    func limits() throws {
        var index = RecoveryIndex()
        let count = CommunityLimits.codesPerDeviceMax + 4
        for number in 1...count { index.insert(Sealing.entry(Sealing.sealed(try Sealing.code(UInt8(number))))) }
        #expect(index.tags.count == CommunityLimits.codesPerDeviceMax)
        let other = KeyPair(seed: Sample.bytes32(4))
        index.insert(Sealing.entry(Sealing.sealed(try Sealing.code(200), by: other), by: other))
        #expect(index.tags.count == CommunityLimits.codesPerDeviceMax + 1)
    }

    @Test("Each tag is told by eight devices; in a small community by all", arguments: [1, 5, 8, 9, 60])
    func providers(count: Int) throws {
        var source = Sample.source(8)
        let devices = (0..<count).map { _ in DeviceID(source.nextBytes32()) }
        let tags = (0..<CommunityLimits.codesToldMax).map { _ in source.nextBytes32() }
        var tellers: [Bytes32: Int] = [:]
        for own in devices {
            for tag in RecoveryIndex.provided(tags, by: own, among: devices) { tellers[tag, default: 0] += 1 }
        }
        #expect(tags.allSatisfy { tellers[$0] == min(count, CommunityLimits.codeProvidersMax) })
    }
}

extension RecoveryIndexTests {
    @Test("However many tags there are, one node tells so many, and always the same")
    func tellingIsBounded() {
        var source = Sample.source(8)
        let tags = (0..<200).map { _ in source.nextBytes32() }
        let own = DeviceID(source.nextBytes32())
        let told = RecoveryIndex.provided(tags, by: own, among: [own])
        #expect(told.count == CommunityLimits.codesToldMax)
        #expect(told == RecoveryIndex.provided(tags.reversed(), by: own, among: []))
    }
}

@Suite struct RecoveryRatesTests {
    @Test("Eight questions at once, then one in ten seconds; another peer has eight of its own")
    func rate() {
        var rates = RecoveryRates()
        let start = Instant(nanoseconds: 5)
        func admitted(_ peer: PeerID, _ seconds: Int) -> Int {
            (0..<20).count { _ in rates.admits(peer, at: start + .seconds(seconds)) }
        }
        #expect(admitted(Sealing.asker, 0) == 8)
        #expect(admitted(Sealing.answerer, 0) == 8)
        #expect(admitted(Sealing.asker, 9) == 0)
        #expect(admitted(Sealing.asker, 10) == 1)
        #expect(admitted(Sealing.asker, 1_000) == 8)
    }

    @Test("However many peers ask, so many are remembered; who asked longest ago is forgotten")
    func table() {
        var rates = RecoveryRates()
        var source = Sample.source(6)
        let peers = (0..<CommunityLimits.recoveryAskersMax + 50).map { _ in KeyPair(from: &source).peerID }
        for (number, peer) in peers.enumerated() {
            let admitted = (0..<8).count { _ in rates.admits(peer, at: Instant(nanoseconds: Int64(number))) }
            #expect(admitted == 8)
            #expect(rates.count <= CommunityLimits.recoveryAskersMax)
        }
        let now = Instant(nanoseconds: 5_000)
        let (last, first) = (rates.admits(peers[peers.count - 1], at: now), rates.admits(peers[0], at: now))
        #expect(!last)
        #expect(first)
    }
}

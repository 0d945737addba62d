// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

@Suite struct ChatMessagesTests {
    private static let channel = ChatPlace.channel(Sample.bytes32(0xCC))
    private static let direct = ChatPlace.direct(Sample.member(2))

    private static func bodies() throws -> [ChatBody] {
        [
            try #require(ChatBody(place: channel, act: .post("hi"))),
            try #require(ChatBody(place: direct, act: .edit(Sample.entry(5), "hé\n\tö"))),
            try #require(ChatBody(place: direct, act: .deletion(Sample.entry(5)))),
            try #require(
                ChatBody(
                    place: direct,
                    act: .read([
                        ChatReadPoint(device: Sample.device(2), sequence: EntrySequence(258)),
                        ChatReadPoint(device: Sample.device(1), sequence: .first),
                    ]))),
        ]
    }

    @Test("Bodies have the bytes that the document gives them")
    func golden() throws {
        let (c, m, e) = (
            String(repeating: "cc", count: 32), String(repeating: "02", count: 32), String(repeating: "05", count: 32)
        )
        let d = String(repeating: "01", count: 32)
        #expect(
            try Self.bodies().map { Sample.hex($0.bytes) } == [
                "0101" + "00" + c + "6869",
                "0102" + "01" + m + e + "68c3a90a09c3b6",
                "0103" + "01" + m + e,
                "0104" + "01" + m + d + "0000000000000001" + m + "0000000000000102",
            ])
    }

    @Test("Bodies survive their encoding; cut before their end they are refused or shorter texts")
    func roundTrip() throws {
        for body in try Self.bodies() {
            let bytes = body.bytes
            #expect(try ChatBody(bytes: bytes) == body)
            for count in 0..<bytes.count {
                guard let cut = try? ChatBody(bytes: Array(bytes.prefix(count))) else { continue }
                #expect(cut.bytes == Array(bytes.prefix(count)))
                switch cut.act {
                case .post, .edit: #expect(count > 35)
                case .deletion: Issue.record("a deletion has one length")
                case .read(let points): #expect(points.count == 1)
                }
            }
        }
    }

    @Test("Empty and endless texts, control characters and broken UTF-8 can't be said")
    func texts() {
        let head = [1, 1, 0] + Sample.bytes32(0).bytes
        #expect(throws: DecodeError.truncated("chat text")) { try ChatBody(bytes: head) }
        for text: [UInt8] in [[0x1B], [0], [0x61, 0x0D], [0x7F], [0xC2, 0x9B], [0xFF], [0xC3], [0xED, 0xA0, 0x80]] {
            #expect(throws: DecodeError.malformed("chat text")) { try ChatBody(bytes: head + text) }
        }
        let long = [UInt8](repeating: 0x61, count: 8_192)
        #expect((try? ChatBody(bytes: head + long))?.act == .post(String(repeating: "a", count: 8_192)))
        #expect(throws: DecodeError.tooLarge("chat text", limit: 8_192)) { try ChatBody(bytes: head + long + [0x61]) }
        #expect(ChatBody(place: Self.channel, act: .post("")) == nil)
        #expect(ChatBody(place: Self.channel, act: .post("\u{1B}[2J")) == nil)
        #expect(ChatBody(place: Self.channel, act: .edit(.none, String(repeating: "é", count: 4_097))) == nil)
    }

    @Test("Unknown versions, places and acts, more after the end and endless bodies are refused")
    func forms() throws {
        let bytes = try Self.bodies()[2].bytes
        #expect(throws: DecodeError.unsupported("chat version")) { try ChatBody(bytes: [2] + bytes.dropFirst()) }
        #expect(throws: DecodeError.unsupported("chat act")) { try ChatBody(bytes: [1, 5] + bytes.dropFirst(2)) }
        #expect(throws: DecodeError.malformed("chat place")) { try ChatBody(bytes: [1, 3, 2] + bytes.dropFirst(3)) }
        #expect(throws: DecodeError.malformed("chat (more follows)")) { try ChatBody(bytes: bytes + [0]) }
        #expect(throws: DecodeError.tooLarge("chat", limit: ChatLimits.bodyBytesMax)) {
            try ChatBody(bytes: [UInt8](repeating: 1, count: ChatLimits.bodyBytesMax + 1))
        }
    }

    @Test("Read points are ascending, one for each device, not too many, with possible sequences")
    func readPoints() throws {
        let head: [UInt8] = [1, 4, 0] + Sample.bytes32(0).bytes
        func point(_ device: UInt8, _ sequence: UInt8) -> [UInt8] {
            Sample.bytes32(device).bytes + [0, 0, 0, 0, 0, 0, 0, sequence]
        }
        #expect(throws: DecodeError.truncated("chat read points")) { try ChatBody(bytes: head) }
        #expect(throws: DecodeError.malformed("chat read point")) { try ChatBody(bytes: head + point(1, 0)) }
        #expect(throws: DecodeError.malformed("chat read points (order)")) {
            try ChatBody(bytes: head + point(2, 1) + point(1, 1))
        }
        #expect(throws: DecodeError.malformed("chat read points (order)")) {
            try ChatBody(bytes: head + point(1, 1) + point(1, 2))
        }
        let many = (0..<65).flatMap { point(UInt8($0), 1) }
        #expect(throws: DecodeError.tooLarge("chat read points", limit: 64)) { try ChatBody(bytes: head + many) }
        #expect((try? ChatBody(bytes: head + many.dropLast(40))) != nil)
        #expect(ChatBody(place: Self.channel, act: .read([])) == nil)
    }

    @Test("A channel is its name; its body survives its encoding and odd names are refused")
    func channels() throws {
        let body = try #require(ChannelBody(name: "gear talk", purpose: "What we own"))
        #expect(Sample.hex(body.bytes) == "0109" + Sample.hex("gear talkWhat we own".utf8))
        #expect(try ChannelBody(bytes: body.bytes) == body)
        #expect(body.id(in: Sample.community) == ChannelBody.id(of: "gear talk", in: Sample.community))
        #expect(body.id(in: Sample.community) != body.id(in: CommunityID(.zero)))
        for name in ["", " a", "a ", "Gear", "a\nb", "a\tb", "a\u{7}", String(repeating: "a", count: 65)] {
            #expect(ChannelBody(name: name, purpose: "") == nil)
            let bytes = [1, UInt8(name.utf8.count)] + Array(name.utf8)
            #expect(throws: DecodeError.malformed("channel name")) { try ChannelBody(bytes: bytes) }
        }
        #expect(ChannelBody(name: "a", purpose: String(repeating: "a", count: 513)) == nil)
        #expect(throws: DecodeError.malformed("channel purpose")) { try ChannelBody(bytes: [1, 1, 0x61, 0x1B]) }
        for count in 0..<11 {
            #expect(throws: DecodeError.truncated("channel")) {
                try ChannelBody(bytes: Array(body.bytes.prefix(count)))
            }
        }
        #expect(throws: DecodeError.tooLarge("channel", limit: ChatLimits.channelBytesMax)) {
            try ChannelBody(bytes: [UInt8](repeating: 1, count: ChatLimits.channelBytesMax + 1))
        }
    }

    @Test("Of one name opened twice the lower entry counts, in any order; a limit holds")
    func openings() throws {
        let one = try #require(ChannelBody(name: "a", purpose: "first"))
        let other = try #require(ChannelBody(name: "a", purpose: "second"))
        for order in [[(one, 1), (other, 2)], [(other, 2), (one, 1)]] as [[(ChannelBody, UInt8)]] {
            var channels = ChatChannels(community: Sample.community)
            for (body, id) in order { channels.opened(body, by: Sample.entry(id)) }
            #expect(channels.all.map(\.purpose) == ["first"])
            #expect(channels.isOpen(one.id(in: Sample.community)) && !channels.isOpen(.zero))
        }
        var many = ChatChannels(community: Sample.community)
        for number in 0...ChatLimits.channelsMax {
            many.opened(try #require(ChannelBody(name: "c\(number)", purpose: "")), by: Sample.entry(1))
        }
        #expect(many.all.count == ChatLimits.channelsMax && many.refusedCount == 1)
        #expect(many.channel(named: "c5")?.name == "c5" && many.channel(named: "c\(ChatLimits.channelsMax)") == nil)
    }
}

@Suite struct ChatFoldTests {
    private static let own = Sample.member(1)
    private static let alice = Sample.member(2)
    private static let bob = Sample.member(3)
    private static let channel = ChatPlace.channel(ChannelBody.id(of: "general", in: Sample.community))

    /// The store: rows by id.
    private struct Rows {
        var rows: [EntryID: MessageRow] = [:]
        var fold = ChatFold(community: Sample.community, own: own)

        mutating func take(_ arrivals: [ChatArrival]) {
            let existing = fold.rowsNeeded(for: arrivals).compactMap { rows[$0] }
            for row in fold.rows(for: arrivals, existing: existing) {
                switch row {
                case .message(let message): rows[message.id] = message
                case .removed(let id): rows[id] = nil
                case .document, .listing, .opened: Issue.record("chat makes nothing else")
                }
            }
        }

        var shown: [MessageRow] {
            rows.values.filter { $0.channel != .zero }.sorted { ($0.time, $0.id) < ($1.time, $1.id) }
        }
    }

    private static func arrival(
        _ act: ChatBody.Act, in place: ChatPlace = channel, by author: MemberID = alice, at time: UInt64,
        seen: UInt64? = nil, device: UInt8 = 9, isSealed: Bool? = nil
    ) throws -> ChatArrival {
        let body = try #require(ChatBody(place: place, act: act))
        let content = Entry.Content(salt: .zero, body: body.bytes)
        let header = EntryHeader(
            kind: .chat, isCritical: false, retention: .year, bodyBytesCount: body.bytes.count,
            sequence: EntrySequence(time), time: HybridTime(milliseconds: time), community: Sample.community,
            device: Sample.device(device), previous: time == 1 ? .none : Sample.entry(1), governance: .none,
            bodyDigest: content.digest)
        let entry = Entry(stored: header, signature: [UInt8](repeating: 0, count: 64), content: content)
        let isDirect = if case .direct = place { true } else { false }
        return ChatArrival(
            StoredEntry(entry, firstSeen: HybridTime(milliseconds: seen ?? time)), author: author,
            isSealed: isSealed ?? isDirect, body: body)
    }

    @Test("A post is shown as it was written, at the earlier of its claimed time and when it was first seen")
    func post() throws {
        var rows = Rows()
        let late = try Self.arrival(.post("from the future"), at: 900, seen: 500)
        let early = try Self.arrival(.post("from before"), at: 100, seen: 600)
        rows.take([late, early])
        #expect(rows.shown.map(\.text) == ["from before", "from the future"])
        #expect(rows.shown.map(\.time.milliseconds) == [100, 500])
        #expect(rows.shown.map(\.isEdited) == [false, false])
        rows.take([late])
        #expect(rows.shown.count == 2)
    }

    @Test("Only its author changes a message, and takes it back for good")
    func authors() throws {
        var rows = Rows()
        let post = try Self.arrival(.post("one"), at: 1)
        rows.take([post, try Self.arrival(.edit(post.id, "mine now"), by: Self.bob, at: 2)])
        rows.take([try Self.arrival(.deletion(post.id), by: Self.bob, at: 3)])
        #expect(rows.shown.map(\.text) == ["one"] && rows.fold.refusedCount == 2)
        rows.take([try Self.arrival(.edit(post.id, "two"), at: 4, device: 8)])
        #expect(rows.shown.map(\.text) == ["two"] && rows.shown.map(\.isEdited) == [true])
        rows.take([try Self.arrival(.deletion(post.id), at: 5)])
        rows.take([try Self.arrival(.edit(post.id, "three"), at: 6), post])
        #expect(rows.shown.map(\.text) == [""])
        #expect(rows.shown.map(\.hiddenReason) == [ChatFold.takenBack])
    }

    @Test("A change by another that came before the message doesn't take the place of its author's")
    func changesBeforeTheMessage() throws {
        let post = try Self.arrival(.post("one"), at: 1)
        var rows = Rows()
        rows.take([try Self.arrival(.deletion(post.id), by: Self.bob, at: 9)])
        rows.take([try Self.arrival(.edit(post.id, "two"), at: 2)])
        #expect(rows.shown.isEmpty && rows.rows.count == 2)
        rows.take([post])
        #expect(rows.shown.map(\.text) == ["two"])
        #expect(rows.rows.count == 2)
    }

    @Test("Conversations are of the two whose names they have, sealed, and channels are open")
    func places() throws {
        var rows = Rows()
        let toOwn = ChatPlace.direct(Self.own)
        rows.take([
            try Self.arrival(.post("to me"), in: toOwn, at: 1),
            try Self.arrival(.post("from me"), in: .direct(Self.alice), by: Self.own, at: 2),
            try Self.arrival(.post("note to self"), in: toOwn, by: Self.own, at: 3),
        ])
        #expect(rows.shown.map(\.text) == ["to me", "from me", "note to self"])
        #expect(rows.shown[0].channel == rows.shown[1].channel && rows.shown[1].channel != rows.shown[2].channel)
        rows.take([
            try Self.arrival(.post("between others"), in: .direct(Self.bob), at: 4),
            try Self.arrival(.post("not sealed"), in: toOwn, at: 5, isSealed: false),
            try Self.arrival(.post("sealed in a channel"), at: 6, isSealed: true),
            // Whoever edits in the open tells everybody; it doesn't count.
            try Self.arrival(.edit(rows.shown[0].id, "elsewhere"), at: 7),
        ])
        #expect(rows.shown.map(\.text) == ["to me", "from me", "note to self"])
        #expect(rows.fold.refusedCount == 4)
    }

    @Test("Every order and every cut into batches gives the same rows", arguments: 0..<300)
    func permutations(seed: UInt64) throws {
        let posts = [
            try Self.arrival(.post("a"), at: 10), try Self.arrival(.post("b"), at: 20),
            try Self.arrival(.post("c"), by: Self.bob, at: 30),
            try Self.arrival(.post("d"), in: .direct(Self.own), at: 40),
        ]
        let all =
            posts + [
                try Self.arrival(.edit(posts[0].id, "a1"), at: 50), try Self.arrival(.edit(posts[0].id, "a2"), at: 60),
                try Self.arrival(.edit(posts[0].id, "a3"), at: 60, device: 8),
                // By a clock that is behind: earlier than the post itself.
                try Self.arrival(.edit(posts[1].id, "b1"), at: 5),
                try Self.arrival(.edit(posts[2].id, "not yours"), at: 70),
                try Self.arrival(.edit(posts[2].id, "c1"), by: Self.bob, at: 80),
                try Self.arrival(.deletion(posts[2].id), by: Self.bob, at: 75),
                try Self.arrival(.edit(posts[2].id, "c2"), by: Self.bob, at: 90),
                try Self.arrival(.edit(posts[3].id, "d1"), in: .direct(Self.own), at: 95),
                try Self.arrival(.deletion(Sample.entry(0xEE)), at: 99),
            ]
        var generator = SeededGenerator(seed: seed)
        var order = all.shuffled(using: &generator)
        // Some arrive twice.
        order += order.prefix(Int.random(in: 0...all.count, using: &generator))
        var rows = Rows()
        while !order.isEmpty {
            let count = Int.random(in: 1...order.count, using: &generator)
            rows.take(Array(order.prefix(count)))
            order.removeFirst(count)
        }
        #expect(rows.shown.map(\.text) == ["a3", "b1", "", "d1"])
        #expect(rows.shown.map(\.hiddenReason) == [nil, nil, ChatFold.takenBack, nil])
        #expect(rows.shown.map(\.time.milliseconds) == [10, 20, 30, 40])
        #expect(rows.shown.map(\.isEdited) == [true, true, false, true])
    }
}

@Suite struct ChatDeliveryTests {
    private static func receipt(_ device: UInt8, _ holder: UInt8, _ head: UInt64) -> ReceiptRecord {
        ReceiptRecord(
            device: Sample.device(device), holder: KeyPair(seed: Sample.bytes32(holder)).peerID,
            head: EntrySequence(head))
    }

    @Test("A message is only here until others say that they have it on disk, and sent when two do")
    func receipts() {
        func state(_ receipts: [ReceiptRecord]) -> ChatDelivery {
            ChatDelivery.of(EntrySequence(5), by: Sample.device(1), receipts: receipts)
        }
        #expect(state([]) == .onlyHere && !state([]).isSent)
        #expect(state([Self.receipt(1, 1, 4), Self.receipt(2, 2, 9)]) == .onlyHere)
        #expect(state([Self.receipt(1, 1, 5)]) == .held(1) && !state([Self.receipt(1, 1, 5)]).isSent)
        #expect(state([Self.receipt(1, 1, 5), Self.receipt(1, 1, 7)]) == .held(1))
        let two = state([Self.receipt(1, 1, 5), Self.receipt(1, 2, 6)])
        #expect(two == .held(2) && two.isSent)
    }

    @Test("It is read when the other member's marker has passed it, whatever the order of markers")
    func reads() {
        let (alice, bob) = (Sample.member(2), Sample.member(3))
        func state(_ sequence: UInt64, _ reads: ChatReads, of other: MemberID?) -> ChatDelivery {
            ChatDelivery.of(EntrySequence(sequence), by: Sample.device(1), receipts: [], other: other, reads: reads)
        }
        for markers in [[3, 8], [8, 3]] as [[UInt64]] {
            var reads = ChatReads()
            for marker in markers {
                reads.read([ChatReadPoint(device: Sample.device(1), sequence: EntrySequence(marker))], by: alice)
            }
            #expect(state(8, reads, of: alice) == .read && state(8, reads, of: alice).isSent)
            #expect(state(9, reads, of: alice) == .onlyHere)
            #expect(state(8, reads, of: bob) == .onlyHere && state(8, reads, of: nil) == .onlyHere)
            #expect(reads.readUpTo(Sample.device(1), by: alice) == EntrySequence(8))
            #expect(reads.readUpTo(Sample.device(2), by: alice) == nil)
        }
    }

    @Test("Read markers are limited")
    func readLimit() {
        var reads = ChatReads()
        for number in 0..<UInt64(ChatLimits.readPairsMax) + 3 {
            let device = DeviceID(Bytes32(words: (0, 0, 0, number)))
            reads.read([ChatReadPoint(device: device, sequence: .first)], by: Sample.member(1))
        }
        #expect(reads.refusedCount == 3)
    }

    @Test("Labels and blocks hide with their reason, a member's own choice beats them, what was taken back stays so")
    func moderation() {
        let row = MessageRow(
            id: Sample.entry(1), channel: .zero, author: Sample.member(1), device: Sample.device(1), sequence: .first,
            time: HybridTime(1), text: "text")
        #expect(ChatShown.row(row) == row)
        let labelled = ChatShown.row(row, label: "spam")
        #expect(labelled.hiddenReason == "spam" && labelled.text.isEmpty)
        #expect(ChatShown.row(row, isBlocked: true).hiddenReason == ChatShown.blockedReason)
        #expect(ChatShown.row(row, label: "spam", isBlocked: true, choice: .show) == row)
        #expect(ChatShown.row(row, choice: .hide).hiddenReason == ChatShown.hiddenReason)
        var gone = row
        gone.hiddenReason = ChatFold.takenBack
        #expect(ChatShown.row(gone, label: "spam", choice: .show) == gone)
    }
}

// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

/// What is done to a whole node with its disk, over real connections, by members and strangers (docs/attacks.md).
@Suite("Attacks on a community", .serialized, .timeLimit(.minutes(5)))
enum CommunityAttackTests {}

extension CommunityAttackTests {
    /// Rows 40 to 50: entries.
    @Suite("Entries")
    struct Entries {
        @Test("attack_40 A forged entry is refused and its bringer blamed; the author isn't harmed")
        func forged() async throws {
            try await Neighbourhood.run { all in
                let rosa = try #require(try await all.rosa.device)
                let point = try #require(try await all.camila.head(of: rosa))
                // By gossip: in Rosa's name, by another key.
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    let forged = intruder.pen.next(intruder.pen.chat("I sell all"), as: rosa, after: point)
                    try await intruder.gossip(forged)
                    try await until { try await all.camila.count("badSignature") == 1 }
                }
                // By sync: claimed, asked for, and given.
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    let forged = intruder.pen.next(intruder.pen.chat("I sell all"), as: rosa, after: point)
                    intruder.setReplies { request, answer in
                        if case .entries = request { .answer(.entries([[forged]])) } else { .answer(answer) }
                    }
                    try await intruder.claim(rosa, head: forged.point)
                    try await until { try await all.camila.count("forged", .violations) == 1 }
                    // It is left alone, and may still ask.
                    let before = intruder.asked.count
                    guard case .roots = try await intruder.ask(.roots(Self.emptyRoots)) else {
                        throw TestFailure("not answered")
                    }
                    try await intruder.claim(rosa, head: forged.point)
                    #expect(intruder.asked.count == before)
                }
                // A governance act in the founder's name.
                try await Intruder.run(at: all.rosa, all.link) { intruder in
                    let camila = try #require(try await all.camila.device)
                    let draft = try await all.camila.replica { port in
                        Result { () throws -> EntryDraft in
                            let member = try #require(port.community.state.devices[rosa]?.member)
                            return try port.community.memberRemoval(member, heads: [:], reason: "", by: camila)
                        }
                    }.get()
                    let head = try #require(try await all.rosa.head(of: camila))
                    try await intruder.gossip(intruder.pen.next(draft, as: camila, after: head))
                    try await until { try await all.rosa.count("badSignature") == 1 }
                    #expect(try await all.rosa.holds(rosa))
                }
                let (own, seen) = try await (all.rosa.head(of: rosa), all.camila.head(of: rosa))
                #expect(own == seen)
            }
        }

        @Test("attack_41 What is replayed is known: nothing comes twice, and another's hello opens nothing")
        func replayed() async throws {
            try await Neighbourhood.run { all in
                let rosa = try #require(try await all.rosa.device)
                try await all.rosa.perform(.send(channel: "general", text: "once")) { _ in }
                try await until { try await all.camila.texts() == ["once"] }
                let known = try await all.rosa.entries(of: rosa)
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    let post = intruder.write { $0.post("twice?") }
                    try await intruder.claim(intruder.pen.device, head: post.point)
                    try await until { try await all.camila.texts().contains("twice?") }
                    let before = try await all.camila.entryCount()
                    // Each was never gossiped here: the memory of messages doesn't know it.
                    let count = try await all.camila.count("known")
                    try await intruder.gossip(post)
                    try await until { try await all.camila.count("known") == count + 1 }
                    for entry in known { try await intruder.gossip(entry) }
                    intruder.setReplies { request, answer in
                        if case .governance(let after, _, _) = request {
                            .answer(.governance(known.filter(\.header.kind.isGovernance), next: after + 1, isEnd: true))
                        } else {
                            .answer(answer)
                        }
                    }
                    _ = try await intruder.ask(.parts(SyncParts(stamp: 9)))
                    #expect(try await all.camila.entryCount() == before)
                    #expect(try await all.camila.texts().sorted() == ["once", "twice?"])
                }
                // A hello that Rosa signed for Camila, said by somebody else.
                try await Intruder.run(at: all.camila, all.link, isMember: false) { intruder in
                    let key = KeyPair()
                    let recorded = try #require(
                        SyncHello(
                            community: all.community, own: all.rosa.node.peerID, remote: all.camila.node.peerID,
                            signedWith: key))
                    var stolen = recorded
                    stolen.device = rosa
                    #expect(try await intruder.ask(.hello(stolen)) == .refused(.badProof))
                    #expect(try await all.camila.count("badProof", .refusals) == 1)
                }
            }
        }

        @Test("attack_42 What is cut off is malformed, wherever it ends")
        func truncated() async throws {
            try await Neighbourhood.run { all in
                // A few of these, and gossip hears a peer no more.
                for end in [1, 186, 250, 281] {
                    let before = try await all.camila.count("malformed")
                    try await Intruder.run(at: all.camila, all.link) { intruder in
                        var whole = ByteBuffer()
                        intruder.pen.next(intruder.pen.chat("cut")).encode(into: &whole)
                        try await intruder.gossip(try #require(whole.getSlice(at: 0, length: end)))
                        try await until { try await all.camila.count("malformed") > before }
                    }
                }
                // Answers: a message that ends too early, and a stream that does.
                let cuts: [@Sendable (ByteBuffer) -> Intruder.Reply] = [
                    { .message($0.getSlice(at: 0, length: $0.readableBytes - 1) ?? $0) },
                    { message in
                        var bytes = ByteBuffer()
                        bytes.writeDelimited(message)
                        return .last(bytes.getSlice(at: 0, length: bytes.readableBytes - 1) ?? bytes)
                    },
                ]
                for cut in cuts {
                    let before = try await all.camila.count("malformed", .violations)
                    try await Intruder.run(at: all.camila, all.link) { intruder in
                        let post = intruder.write { $0.post("never whole") }
                        intruder.setReplies { request, answer in
                            guard case .entries = request else { return .answer(answer) }
                            var bytes = ByteBuffer()
                            SyncWire.encode(answer, into: &bytes)
                            return cut(bytes)
                        }
                        try await intruder.claim(intruder.pen.device, head: post.point)
                        try await until { try await all.camila.count("malformed", .violations) > before }
                    }
                }
                // Questions.
                let before = try await all.camila.count("malformed", .violations)
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    var message = ByteBuffer()
                    SyncWire.encode(.hello(try intruder.hello), into: &message)
                    try await intruder.say(ByteBuffer(bytes: [200, 1] + [UInt8](repeating: 1, count: 20)))
                    try await until { try await all.camila.count("malformed", .violations) > before }
                    var short = ByteBuffer()
                    short.writeDelimited(try #require(message.getSlice(at: 0, length: message.readableBytes - 1)))
                    try await intruder.say(short)
                    try await until { try await all.camila.count("malformed", .violations) > before + 1 }
                }
                #expect(try await all.camila.texts().isEmpty)
            }
        }

        @Test("attack_43 Another encoding of the same is malformed; of governance it is inauthentic")
        func reencoded() async throws {
            try await Neighbourhood.run { all in
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    var longer = ByteBuffer()
                    intruder.pen.next(intruder.pen.chat("more behind")).encode(into: &longer)
                    longer.writeInteger(UInt8(0))
                    try await intruder.gossip(longer)
                    try await until { try await all.camila.count("malformed") == 1 }
                    // The number of the request under a varint of two bytes where one is enough.
                    try await intruder.say(ByteBuffer(bytes: [34, 4, 0x81, 0x00] + [UInt8](repeating: 7, count: 32)))
                    try await until { try await all.camila.count("malformed", .violations) == 1 }
                }
                // An act whose body ends with a field that nobody knows, signed by a member who may act.
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    let parents = [all.link.invite]
                    let body = GovernanceMessage(parents: parents, body: .acknowledgement).encoded + [0xF8, 0x01, 0x01]
                    let draft = EntryDraft(
                        kind: .acknowledgement, body: body, governance: all.link.invite)
                    try await intruder.gossip(intruder.pen.next(draft))
                    try await until { try await all.camila.count("badSignature") == 1 }
                    #expect(try await !all.camila.isFrozen(intruder.pen.device))
                }
            }
        }

        @Test("attack_44 Keys of small order, under which anything is signed, open nothing")
        func smallOrder() async throws {
            // R the neutral element, S zero.
            let signature: [UInt8] = [1] + Array(repeating: 0, count: 63)
            let device = DeviceID(Bytes32(words: (0x0100_0000_0000_0000, 0, 0, 0)))
            try await Neighbourhood.run { all in
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    let member = KeyPair()
                    let body = JoinBody(
                        invite: all.link.invite, in: all.community,
                        certificate: DeviceCertificate(of: device, at: all.community.bytes, by: member),
                        nickname: "small", inviteKey: all.link.key)
                    let draft = EntryDraft(
                        kind: .join, isCritical: true,
                        body: GovernanceMessage(parents: [all.link.invite], body: .join(body)).encoded,
                        governance: all.link.invite)
                    let genuine = intruder.pen.next(draft, as: device, after: .start)
                    let join = Entry(stored: genuine.header, signature: signature, content: genuine.content)
                    let hello = SyncHello(community: all.community, device: device, signature: signature, join: join)
                    #expect(try await intruder.ask(.hello(hello)) == .refused(.badProof))
                    try await intruder.gossip(join)
                    try await until { try await all.camila.count("badSignature") == 1 }
                    #expect(try await !all.camila.holds(device))
                    // The same signature under an honest name.
                    let own = intruder.pen.next(intruder.pen.chat("small"))
                    try await intruder.gossip(Entry(stored: own.header, signature: signature, content: own.content))
                    try await until { try await all.camila.count("badSignature") == 2 }
                }
            }
        }

        @Test("attack_45 A member who forks its feed is frozen everywhere, by a proof that anybody can check")
        func fork() async throws {
            try await Neighbourhood.run { all in
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    let first = intruder.write { $0.post("to both") }
                    try await intruder.claim(intruder.pen.device, head: first.point)
                    let device = intruder.pen.device
                    try await until(syncing: all.rosa) { try await all.rosa.head(of: device) == first.point }
                    let other = intruder.pen.next(intruder.pen.chat("to Rosa"))
                    let one = intruder.write { $0.post("to Camila") }
                    try await Intruder.run(at: all.rosa, all.link, pen: intruder.pen) { second in
                        // Both at once: neither knows the other's yet.
                        async let told: Void = second.gossip(other)
                        try await intruder.gossip(one)
                        try await told
                        try await until { try await all.camila.isFrozen(device) }
                        try await until(syncing: all.rosa) { try await all.rosa.isFrozen(device) }
                    }
                    let proofs = try await [all.camila, all.rosa].asyncMap { node in
                        try await node.replica { $0.journal.proof(against: device) }
                    }
                    let proof = try #require(proofs[0] ?? nil)
                    #expect(proofs[0] == proofs[1] && proof.sequence == one.header.sequence)
                    #expect(proof.first.isSignatureValid && proof.second.isSignatureValid)
                    for node in [all.camila, all.rosa] { #expect(try await node.count("proofsTaken") >= 1) }
                    // What came before the fork stands; nothing more is taken.
                    for node in [all.camila, all.rosa] { #expect(try await node.texts().contains("to both")) }
                    let count = try await all.camila.count("frozen")
                    try await intruder.gossip(intruder.write { $0.post("and on") })
                    try await until { try await all.camila.count("frozen") > count }
                }
            }
        }

        @Test("attack_46 What is too long is refused unread")
        func oversized() async throws {
            try await Neighbourhood.run { all in
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    let body = [UInt8](repeating: 7, count: JournalLimits.bodyBytesMax + 1)
                    let draft = EntryDraft(kind: Self.unknown, body: body, governance: all.link.invite)
                    try await intruder.gossip(intruder.pen.next(draft))
                    try await until { try await all.camila.count("malformed") == 1 }
                    // A question of sync that says it has 4 GiB, and one of 1 MiB and a byte.
                    try await intruder.say(ByteBuffer(bytes: [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1, 2, 3]))
                    try await until { try await all.camila.count("malformed", .violations) == 1 }
                    var long = ByteBuffer()
                    long.writeDelimited(ByteBuffer(repeating: 0, count: SyncLimits().messageBytesMax + 1))
                    try? await intruder.say(long)
                    try await until { try await all.camila.count("malformed", .violations) == 2 }
                }
                let body = [UInt8](repeating: 7, count: JournalLimits.bodyBytesMax + 1)
                let error = await communityError {
                    _ = try await all.camila.append([
                        EntryDraft(kind: Self.unknown, body: body, governance: all.link.invite)
                    ])
                }
                #expect(error?.code == .tooLarge)
                let long = String(repeating: "x", count: ChatLimits.textBytesMax + 1)
                let text = await communityError {
                    try await all.camila.perform(.send(channel: "general", text: long)) { _ in }
                }
                #expect(text?.code == .tooLarge)
            }
        }

        @Test("attack_47 Over its quota a member is put off and nobody is blamed; others' entries go on")
        func overQuota() async throws {
            try await Neighbourhood.run(isWhole: false) { all in
                let quota = 8 << 20
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    let device = intruder.pen.device
                    let body = [UInt8](repeating: 7, count: JournalLimits.bodyBytesMax)
                    let draft = EntryDraft(kind: Self.unknown, body: body, governance: all.link.invite)
                    // Its quota, what is left of today's beside, and as much again.
                    intruder.write { pen in for _ in 0..<3 * quota / Entry.bytesMax { pen.write(draft) } }
                    try await intruder.claim(device, head: intruder.pen.point)
                    try await until { try await all.camila.count("overQuota") > 0 }
                    // Governance has room of its own.
                    let held = try await all.camila.entries(of: device).filter { !$0.header.kind.isGovernance }
                    // The newest page of a feed of which nothing was held counts downwards, by itself.
                    #expect(held.reduce(0) { $0 + $1.encodedBytesCount } <= 2 * quota + 4 * Entry.bytesMax)
                    for violation in SyncViolation.allCases {
                        #expect(try await all.camila.count("\(violation)", .violations) == 0)
                    }
                    #expect(try await !all.camila.isFrozen(device))
                }
                // The rule is the same for oneself.
                let body = [UInt8](repeating: 7, count: JournalLimits.bodyBytesMax)
                let draft = EntryDraft(kind: Self.unknown, body: body, governance: all.link.invite)
                let own = await communityError {
                    for _ in 0...2 * quota / Entry.bytesMax { _ = try await all.rosa.append([draft]) }
                }
                #expect(own?.code == .notAllowed && own?.message.contains("quota") == true)
                // A full quota doesn't keep governance away.
                try await all.rosa.perform(.govern(.propose(title: "More room", text: "", action: .resolution))) { _ in
                }
            }
        }

        @Test("attack_48 Another community's hello and entries are refused by name")
        func wrongCommunity() async throws {
            try await Neighbourhood.run { all in
                let other = CommunityID(Bytes32(words: (1, 2, 3, 4)))
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    var hello = try intruder.hello
                    hello.community = other
                    #expect(try await intruder.ask(.hello(hello)) == .refused(.unknownCommunity))
                    #expect(try await all.camila.count("unknownCommunity", .refusals) == 1)
                    try await intruder.gossip(intruder.pen.next(intruder.pen.chat("elsewhere"), in: other))
                    try await until { try await all.camila.count("wrongCommunity") == 1 }
                    #expect(try await all.camila.entries(of: intruder.pen.device).count == 1)
                }
            }
        }

        @Test("attack_49 Of what a version doesn't know forms are refused, kinds kept")
        func unknownVersion() async throws {
            try await Neighbourhood.run { all in
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    var newer = ByteBuffer()
                    intruder.pen.next(intruder.pen.chat("version 2")).encode(into: &newer)
                    newer.setInteger(EntryHeader.version + 1, at: newer.readerIndex + 1)
                    try await intruder.gossip(newer)
                    try await until { try await all.camila.count("malformed") == 1 }
                    // Kinds: ordinary, critical, and of governance, where a member's word stops nothing.
                    let head = all.link.invite
                    let governance = GovernanceMessage(parents: [head], body: .acknowledgement).encoded
                    let drafts = [
                        EntryDraft(kind: Self.unknown, body: [1], governance: head),
                        EntryDraft(kind: Self.unknown, isCritical: true, body: [2], governance: head),
                        EntryDraft(kind: EntryKind(0x00F0), isCritical: true, body: governance, governance: head),
                    ]
                    intruder.write { pen in for draft in drafts { pen.write(draft) } }
                    try await intruder.claim(intruder.pen.device, head: intruder.pen.point)
                    let point = intruder.pen.point
                    try await until { try await all.camila.head(of: intruder.pen.device) == point }
                    try await until(syncing: all.rosa) {
                        try await all.rosa.head(of: intruder.pen.device) == point
                    }
                    // A question that a later version may have.
                    try await intruder.say(ByteBuffer(bytes: [2, 200, 1]))
                    try await until { try await all.camila.count("malformed", .violations) == 1 }
                }
                try await all.camila.perform(.govern(.propose(title: "On", text: "", action: .resolution))) { _ in }
            }
        }

        @Test("attack_50 A feed that skips is asked for a few times, shown to nobody, and never grows a hole")
        func skips() async throws {
            try await Neighbourhood.run { all in
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    let device = intruder.pen.device
                    let first = intruder.write { $0.post("first") }
                    try await intruder.claim(device, head: first.point)
                    try await until { try await all.camila.head(of: device) == first.point }
                    intruder.write { pen in for number in 0..<5 { pen.post("kept back \(number)") } }
                    let last = intruder.write { $0.post("behind a hole") }
                    intruder.setReplies { request, answer in
                        switch request {
                        case .feeds(let devices):
                            .answer(
                                .feeds(
                                    devices.map {
                                        SyncFeed(device: $0, state: .held(low: .first, head: last.point))
                                    }))
                        case .entries(let ranges, _, _): .answer(.entries(ranges.map { _ in [] }))
                        default: .answer(answer)
                        }
                    }
                    try await intruder.gossip(last)
                    try await until { try await all.camila.count("gap") >= 1 }
                    // Asked for its feed, it has nothing to give: its turn is over.
                    try await until {
                        intruder.asked.contains { if case .feeds = $0 { true } else { false } }
                    }
                    for _ in 0..<20 { try await intruder.claim(device, head: last.point) }
                    let ranges = intruder.asked.count { if case .entries = $0 { true } else { false } }
                    #expect(ranges <= 8)
                    #expect(try await all.camila.entries(of: device).count == 2)
                    #expect(try await all.camila.texts() == ["first"])
                    // Nobody is blamed for it, and the whole is taken when it comes.
                    try await Intruder.run(at: all.camila, all.link, pen: intruder.pen) { again in
                        try await again.claim(device, head: last.point)
                        try await until { try await all.camila.head(of: device) == last.point }
                    }
                }
            }
        }

        private static let unknown = EntryKind(0x7777)

        private static let emptyRoots = SyncRoots(
            stamp: 1, feeds: .zero, feedCount: 0, governance: .zero, governanceCount: 0)
    }
}

extension Array {
    func asyncMap<Value>(_ body: (Element) async throws -> Value) async throws -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await body(element)) }
        return values
    }
}

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

extension CommunityAttackTests {
    /// Rows 51 to 53 and 59: who syncs with us, and who only wants to.
    @Suite("Relays")
    struct Relays {
        /// A way to lie, and what the node calls it; nil: nothing that can be told from bad luck.
        struct Lie: Sendable, CustomTestStringConvertible {
            let name: String
            let violation: SyncViolation?
            let reply: @Sendable (SyncRequest, SyncAnswer, Pen) -> Intruder.Reply
            var testDescription: String { name }
        }

        static let lies: [Lie] = [
            Lie(name: "nodes that don't add up to their root", violation: .garbageTree) { request, answer, _ in
                guard case .roots(let theirs) = request,
                    let children = TreeChildren(bitmap: 1, digests: [TreeDigest(high: 1, low: 2)])
                else { return .answer(answer) }
                var roots = theirs
                (roots.stamp, roots.feeds, roots.feedCount) = (77, Bytes32(words: (1, 1, 1, 1)), 50)
                var parts = SyncParts(stamp: 77)
                parts.feeds = [SyncPart(prefix: .root, content: .children(children))]
                return .answer(.roots(roots, parts))
            },
            Lie(name: "more feeds than a community has", violation: .endlessTree) { request, answer, _ in
                guard case .roots(let theirs) = request else { return .answer(answer) }
                var roots = theirs
                (roots.feeds, roots.feedCount) = (Bytes32(words: (1, 1, 1, 1)), JournalLimits.feedsMax + 1)
                return .answer(.roots(roots, SyncParts(stamp: theirs.stamp)))
            },
            Lie(name: "parts that nobody asked for", violation: .endlessTree) { request, answer, _ in
                guard case .roots(let theirs) = request, let place = SyncPrefix.root.appending(3) else {
                    return .answer(answer)
                }
                var parts = SyncParts(stamp: theirs.stamp)
                parts.feeds = [SyncPart(prefix: place, content: .leaves([]))]
                return .answer(.roots(theirs, parts))
            },
            Lie(name: "another answer than was asked for", violation: .wrongAnswer) { request, answer, _ in
                if case .entries = request { .answer(.accepted) } else { .answer(answer) }
            },
            Lie(name: "entries that nobody asked for", violation: .unasked) { request, answer, pen in
                guard case .entries(let ranges, _, _) = request else { return .answer(answer) }
                return .answer(.entries(ranges.map { _ in pen.entries.filter { $0.header.sequence == .first } }))
            },
            Lie(name: "pages beyond the ranges", violation: .unasked) { request, answer, pen in
                guard case .entries(let ranges, _, _) = request else { return .answer(answer) }
                return .answer(.entries(ranges.map { _ in [] } + [pen.entries]))
            },
            Lie(name: "entries that don't follow each other", violation: .unlinked) { request, answer, pen in
                guard case .entries(let ranges, _, _) = request else { return .answer(answer) }
                return .answer(
                    .entries(
                        ranges.map { range in
                            let bound = range.isNewestFirst ? range.sequences.upperBound : range.sequences.lowerBound
                            guard let first = pen.entries.first(where: { $0.header.sequence == bound }) else {
                                return []
                            }
                            // At the right place, and of no link with the one before.
                            let place = range.isNewestFirst ? bound.previous.previous : bound
                            let stranger = EntryID(Bytes32(words: (4, 4, 4, 4)))
                            let point = FeedPoint(sequence: place, id: stranger)
                            return [first, pen.next(pen.chat("unlinked"), after: point)]
                        }))
            },
            Lie(name: "fewer pages than ranges", violation: .noProgress) { request, answer, _ in
                if case .entries = request { .answer(.entries([])) } else { .answer(answer) }
            },
            Lie(name: "bodies kept back", violation: .bodyMissing) { request, answer, _ in
                guard case .entries = request, case .entries(let pages) = answer else { return .answer(answer) }
                return .answer(.entries(pages.map { $0.map(\.withoutBody) }))
            },
            Lie(name: "a listing that stands still", violation: .noProgress) { request, answer, _ in
                switch request {
                case .roots(let theirs):
                    guard let children = TreeChildren(bitmap: 1, digests: [TreeDigest(high: 1, low: 2)]) else { break }
                    var roots = theirs
                    roots.governanceCount = 50_000
                    roots.governance = HashTree<EntryID>.rootDigest(count: 50_000, children.digest)
                    var parts = SyncParts(stamp: theirs.stamp)
                    parts.governance = [SyncPart(prefix: .root, content: .children(children))]
                    return .answer(.roots(roots, parts))
                case .governance(let after, _, _): return .answer(.governance([], next: after, isEnd: false))
                default: break
                }
                return .answer(answer)
            },
            Lie(name: "empty pages", violation: nil) { request, answer, _ in
                guard case .entries(let ranges, _, _) = request else { return .answer(answer) }
                return .answer(.entries(ranges.map { _ in [] }))
            },
            Lie(name: "no answer", violation: nil) { request, answer, _ in
                if case .entries = request { .silence } else { .answer(answer) }
            },
            Lie(name: "roots that differ each time, and nothing beneath", violation: .garbageTree) {
                request, answer, _ in
                guard case .roots(let theirs) = request else { return .answer(answer) }
                var roots = theirs
                roots.stamp = theirs.stamp &+ 1
                roots.feeds = Bytes32(words: (theirs.stamp, 3, 3, 3))
                return .answer(.roots(roots, SyncParts(stamp: roots.stamp)))
            },
        ]

        @Test("attack_51 A liar is named, asked no more, and holds up nobody", arguments: lies)
        func lie(_ lie: Lie) async throws {
            try await Neighbourhood.run { all in
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    intruder.write { pen in for number in 0..<8 { pen.post("kept back \(number)") } }
                    let pen = intruder.pen
                    intruder.setReplies { request, answer in lie.reply(request, answer, pen) }
                    // A reconciliation, and a claim.
                    try await all.camila.perform(.sync(seconds: 1)) { _ in }
                    try await intruder.claim(intruder.pen.device, head: intruder.pen.point)
                    if let violation = lie.violation {
                        try await until { try await all.camila.count("\(violation)", .violations) >= 1 }
                        let count = intruder.asked.count
                        for _ in 0..<20 { try await intruder.claim(intruder.pen.device, head: intruder.pen.point) }
                        // What was under way then is all that comes.
                        #expect(intruder.asked.count <= count + 2)
                    }
                    // Whatever it says, the other goes on being synchronised with.
                    try await all.expectWhole()
                    #expect(intruder.asked.count < 60)
                }
            }
        }

        @Test("attack_52 Ranges without end: one entry at a time costs its sender as much as us, and ends")
        func drip() async throws {
            try await Neighbourhood.run { all in
                try await Intruder.run(at: all.camila, all.link) { intruder in
                    intruder.write { pen in for number in 0..<40 { pen.post("drop \(number)") } }
                    intruder.setReplies { request, answer in
                        guard case .entries = request, case .entries(let pages) = answer else { return .answer(answer) }
                        return .answer(.entries(pages.map { Array($0.prefix(1)) }))
                    }
                    let point = intruder.pen.point
                    try await intruder.claim(intruder.pen.device, head: point)
                    try await until { try await all.camila.head(of: intruder.pen.device) == point }
                    #expect(intruder.asked.count < 100)
                    // Questions without end: some are answered, the others are told that we are busy.
                    let busy = try await intruder.flood(.feeds([intruder.pen.device]), count: 400, refused: .busy)
                    #expect(busy > 100)
                    #expect(try await all.camila.count("busy", .refusals) > 0)
                }
            }
        }

        @Test("attack_53 Who isn't a member is told nothing, by sync and by gossip")
        func stranger() async throws {
            try await Neighbourhood.run { all in
                let rosa = try #require(try await all.rosa.device)
                try await all.camila.perform(.send(channel: "general", text: "among us")) { _ in }
                try await Intruder.run(at: all.camila, all.link, isMember: false) { stranger in
                    let range = SyncRange(
                        device: rosa, sequences: .first ... .max, isNewestFirst: false, countMax: 10)
                    let questions: [SyncRequest] = [
                        .roots(SyncRoots(stamp: 1, feeds: .zero, feedCount: 0, governance: .zero, governanceCount: 0)),
                        .parts(SyncParts(stamp: 1)), .feeds([rosa]),
                        .entries([range], bytesMax: 1 << 20, withBodies: true),
                        .governance(after: 0, countMax: 100, bytesMax: 1 << 20),
                        .named([all.link.invite], bytesMax: 1 << 20),
                        .proofs([rosa]),
                    ]
                    for question in questions {
                        #expect(try await stranger.ask(question) == .refused(.notIntroduced))
                    }
                    #expect(try await all.camila.count("notIntroduced", .refusals) == UInt64(questions.count))
                    // A device that nobody let in; and again with a join whose invite isn't one.
                    #expect(try await stranger.ask(.hello(try stranger.hello)) == .refused(.notMember))
                    let false1 = try InviteLink(
                        community: all.community, invite: all.link.invite, seed: Bytes32(words: (6, 6, 6, 6)),
                        name: "x", entryPoints: all.link.entryPoints)
                    stranger.write { pen in
                        if let draft = try? CommunityCore.join(
                            false1, nickname: "stranger", memberKey: KeyPair(), device: pen.device)
                        {
                            pen.write(draft)
                        }
                    }
                    #expect(try await stranger.ask(.hello(try stranger.hello)) == .refused(.notMember))
                    #expect(try await all.camila.count("notMember", .refusals) == 2)
                    // Gossip: it follows the topic, and speaks in it.
                    var subscription = ByteBuffer()
                    subscription.writeProtobuf(1, varint: 1)
                    subscription.writeProtobuf(2, string: JournalPort.topic(of: all.community).name)
                    var rpc = ByteBuffer()
                    rpc.writeProtobuf(1, message: subscription)
                    try await stranger.sendGossip(rpc)
                    try await stranger.gossip(stranger.pen.next(stranger.pen.chat("let me in")))
                    try await all.camila.perform(.send(channel: "general", text: "a secret of the house")) { _ in }
                    try await until { try await all.rosa.texts().contains("a secret of the house") }
                    _ = try await stranger.node.ping(all.camila.node.peerID)
                    #expect(!stranger.heard(Array("a secret".utf8)))
                    #expect(try await all.camila.count("unknownDevice") == 0)
                    // The recovery door answers who knows a tag, and no guess.
                    let door = try await stranger.node.open("/tutti/recover/1", to: all.camila.node.peerID)
                    var question = ByteBuffer()
                    question.writeBytes32(all.community.bytes)
                    question.writeBytes32(Bytes32(words: (1, 2, 3, 4)))
                    try await door.write(question)
                    #expect(try await door.read() == nil)
                }
                // Who was removed is a stranger from then on.
                try await Intruder.run(at: all.camila, all.link) { member in
                    let device = member.pen.device
                    let camila = try #require(try await all.camila.device)
                    let draft = try await all.camila.replica { port in
                        Result { () throws -> EntryDraft in
                            let id = try #require(port.community.state.devices[device]?.member)
                            return try port.community.memberRemoval(id, heads: port.heads, reason: "spam", by: camila)
                        }
                    }.get()
                    _ = try await all.camila.append([draft])
                    try await until {
                        try await !all.camila.replica { $0.connectedPeers.contains(member.node.peerID) }
                    }
                    #expect(try await member.ask(.feeds([rosa])) == .refused(.notIntroduced))
                    let again = try await member.ask(.hello(try member.hello))
                    #expect(again == .refused(.excluded))
                    let count = try await all.camila.entryCount()
                    try await member.gossip(member.write { $0.post("still here") })
                    _ = try await member.node.ping(all.camila.node.peerID)
                    #expect(try await all.camila.entryCount() == count)
                }
            }
        }

        @Test("attack_53 A founder who is alone lets no stranger in")
        func founderAlone() async throws {
            let folder = try Folder()
            try await withCommunityNode(folder.path) { camila in
                try await camila.perform(.create(name: "Rare gear", nickname: "camila")) { _ in }
                try await Intruder.run(at: camila, try await camila.inviteLink(), isMember: false) {
                    stranger async throws in
                    #expect(try await stranger.ask(.hello(try stranger.hello)) == .refused(.notMember))
                }
            }
        }

        @Test("Counts are told by name, all of them")
        func counts() async throws {
            try await Neighbourhood.run { all in
                let (stream, continuation) = AsyncStream<[CountSummary]>.makeStream()
                try await all.camila.perform(.counts) { reply in
                    if case .counts(let counts) = reply { continuation.yield(counts) }
                }
                continuation.finish()
                let counts = await stream.reduce(into: []) { $0 += $1 }
                #expect(Set(counts.map(\.group)) == ["journal", "sync", "violations", "refusals", "disk", "witness"])
                #expect(Set(counts.map { "\($0.group) \($0.name)" }).count == counts.count)
                #expect(counts.first { $0.group == "journal" && $0.name == "admitted" }?.count ?? 0 > 0)
                #expect(counts.first { $0.group == "disk" && $0.name == "failed" }?.count == 0)
            }
        }

        @Test("attack_59 Whatever a relay does with honest entries, their author never looks guilty")
        func innocent() async throws {
            try await Neighbourhood.run { all in
                let rosa = try #require(try await all.rosa.device)
                for number in 0..<6 {
                    try await all.rosa.perform(.send(channel: "general", text: "offer \(number)")) { _ in }
                }
                try await until { try await all.camila.texts().count == 6 }
                let feed = try await all.rosa.entries(of: rosa)
                let last = try #require(feed.last)
                // Proofs put together of what Rosa signed, and of what she didn't.
                try await Intruder.run(at: all.camila, all.link) { relay in
                    let forged = relay.pen.next(
                        relay.pen.chat("another last"), as: rosa, after: try #require(feed.dropLast().last).point)
                    let proof = try #require(FaultProof(last, forged))
                    try await relay.gossip(proof)
                    try await until { try await all.camila.count("badSignature") == 1 }
                    // No two honest entries make a proof.
                    for one in feed {
                        for other in feed where one.id != other.id { #expect(FaultProof(one, other) == nil) }
                    }
                }
                // By sync: a forged page, a broken link, a proof of a fork that isn't one.
                try await Intruder.run(at: all.camila, all.link) { relay in
                    let forged = relay.pen.next(
                        relay.pen.chat("x"), as: rosa, after: FeedPoint(sequence: last.header.sequence, id: feed[0].id))
                    relay.setReplies { request, answer in
                        switch request {
                        case .entries: .answer(.entries([[forged]]))
                        case .proofs: .answer(.proofs([FaultProof(last, forged)].compactMap(\.self)))
                        default: .answer(answer)
                        }
                    }
                    try await relay.claim(rosa, head: forged.point)
                    try await until { try await all.camila.count("forged", .violations) == 1 }
                }
                try await Intruder.run(at: all.camila, all.link) { relay in
                    let forged = relay.pen.next(relay.pen.chat("y"), as: rosa, after: feed[feed.count - 2].point)
                    relay.setReplies { request, answer in
                        if case .proofs = request {
                            .answer(.proofs([FaultProof(last, forged)].compactMap(\.self)))
                        } else {
                            .answer(answer)
                        }
                    }
                    try await relay.claim([SyncFeed(device: rosa, state: .frozen(at: last.header.sequence))])
                    try await until { try await all.camila.count("forged", .violations) == 2 }
                }
                #expect(try await all.camila.count("proofsTaken") == 0)
                #expect(try await !all.camila.isFrozen(rosa))
                // And the honest relay of such things isn't blamed for what it could not know: none of it is passed on.
                #expect(try await all.rosa.count("badSignature") == 0)
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

@Suite(.timeLimit(.minutes(1))) struct JournalIntakeTests {
    @Test("what others bring is accepted, folded and receipted once it is on disk")
    func persistFirst() {
        var author = Author(2)
        author.write(count: 3)
        var node = Node(roster: .of(author.device))
        node.isDiskSlow = true
        #expect(node.receive(author.entries, by: .gossip, from: 7) == nil)
        #expect(node.admitted.isEmpty && node.core.feeds.isEmpty)
        node.finishWrites()
        #expect(node.judged.values.first == [.accept, .accept, .accept])
        #expect(node.admitted == author.entries && node.disk.rows == 3)
        #expect(node.receipts.isEmpty)
        node.wait(.milliseconds(20))
        #expect(
            node.receipts == [
                JournalReceipt(device: author.device, head: EntrySequence(3), peers: [PeerIndex(7)])
            ])
        #expect(node.published.isEmpty)
    }

    @Test("forged: the source is blamed, the honest entry still comes in, and the author is not harmed")
    func forged() {
        var author = Author(2)
        author.write(count: 2)
        let forged = author.entry(
            at: EntrySequence(2), previous: author.entries[0].id, "forged", signer: Author(5).key)
        var node = Node(roster: .of(author.device))
        node.receive([author.entries[0]])
        #expect(node.receive([forged], by: .gossip, from: 3) == [.reject])
        #expect(node.violations == [.badSignature] && node.core.stats.badSignature == 1)
        #expect(node.receive([author.entries[1]], by: .gossip) == [.accept])
        #expect(node.core.proofs.isEmpty && !node.core.feeds[0].isFrozen)
    }

    @Test("an honest entry that comes while a forged one in its place is being checked waits and gets in")
    func forgedFirst() {
        var author = Author(2)
        author.write(count: 3)
        let forged = author.entry(
            at: EntrySequence(2), previous: author.entries[0].id, "forged", signer: Author(5).key)
        var node = Node(roster: .of(author.device))
        node.receive([author.entries[0]])
        node.isVerifierSlow = true
        node.receive([forged], by: .gossip, from: 3)
        node.receive(Array(author.entries[1...]), by: .gossip, from: 4)
        node.isVerifierSlow = false
        node.finishVerifies()
        #expect(node.core.feeds.map(\.head) == [author.entries[2].point])
        #expect(node.violations == [.badSignature])
    }

    @Test("the same header under a spoilt signature doesn't keep the good one out")
    func spoiltSignature() {
        var author = Author(2)
        let good = author.write()
        var signature = good.signature
        signature[40] ^= 1
        let spoilt = Entry(stored: good.header, signature: signature, content: good.content)
        #expect(spoilt.id == good.id)
        var node = Node(roster: .of(author.device))
        node.isVerifierSlow = true
        node.receive([spoilt], by: .gossip, from: 3)
        node.receive([good], by: .gossip, from: 4)
        node.isVerifierSlow = false
        node.finishVerifies()
        #expect(node.disk.entries[good.id]?.entry.signature == good.signature)
        #expect(node.core.stats.badSignature == 1)
    }

    @Test("replayed entries are known, cost no signature and no place")
    func replayed() {
        var author = Author(2)
        author.write(count: 5)
        var node = Node(roster: .of(author.device))
        node.receive(author.entries)
        let verified = node.verifiedCount
        #expect(node.receive(author.entries, by: .gossip) == Array(repeating: .ignore, count: 5))
        #expect(node.core.stats.known == 5 && node.verifiedCount == verified && node.disk.entries.count == 5)
        // And after a restart, when only the disk knows.
        var again = node.reopened(roster: .of(author.device))
        #expect(again.receive(author.entries) == Array(repeating: .ignore, count: 5))
        #expect(again.core.stats.known == 5 && again.verifiedCount == 0)
    }

    @Test("another community's entry: the source is blamed")
    func wrongCommunity() {
        var author = Author(2)
        author.write(community: CommunityID(.zero))
        var node = Node(roster: .of(author.device))
        #expect(node.receive(author.entries) == [.reject])
        #expect(node.violations == [.wrongCommunity] && node.core.stats.wrongCommunity == 1)
        #expect(node.verifiedCount == 0)
    }

    @Test("what is no entry is counted and blamed")
    func malformed() {
        var node = Node()
        node.handle(.malformed(from: JournalSource(peer: PeerIndex(1), door: .gossip)))
        #expect(node.violations == [.malformed] && node.core.stats.malformed == 1)
    }

    @Test("a device of small order, for which anybody can sign, is refused even if the roster names it")
    func smallOrder() {
        let identity = DeviceID(Bytes32(words: (0x0100_0000_0000_0000, 0, 0, 0)))
        let content = Entry.Content(salt: .zero, body: [1])
        let header = EntryHeader(
            kind: .chat, isCritical: false, retention: .permanent, bodyBytesCount: 1, sequence: .first,
            time: HybridTime(milliseconds: startMilliseconds), community: .test, device: identity, previous: .none,
            governance: .none, bodyDigest: content.digest)
        // R is the neutral element and S is zero: with a lax check this signs everything.
        let signature: [UInt8] = [1] + Array(repeating: 0, count: 63)
        var node = Node(roster: .of(identity))
        #expect(node.receive([Entry(stored: header, signature: signature, content: content)]) == [.reject])
        #expect(node.core.stats.badSignature == 1)
    }

    @Test("entries of strangers wait for a while, and come in when the roster knows them")
    func unknownDevice() {
        var author = Author(2)
        author.write(count: 3)
        var node = Node()
        #expect(node.receive(author.entries, by: .gossip) == [.ignore, .ignore, .ignore])
        #expect(node.core.stats.unknownDevice == 3 && node.verifiedCount == 0)
        node.handle(.rosterChanged(.of(author.device)))
        #expect(node.core.feeds.map(\.head) == [author.entries[2].point])

        var late = Node()
        late.receive(author.entries, by: .gossip)
        late.wait(.seconds(61))
        late.handle(.rosterChanged(.of(author.device)))
        #expect(late.core.feeds.isEmpty && late.core.nextTimeout != nil)
    }

    @Test("strangers can't fill the place where entries wait")
    func heldBounded() {
        var configuration = JournalConfiguration()
        configuration.limits.heldPerDeviceMax = 4
        configuration.limits.heldMax = 10
        var node = Node(configuration: configuration)
        for seed in 0..<10 {
            var author = Author(100 + UInt64(seed))
            author.write(count: 6)
            node.receive(author.entries, by: .gossip)
        }
        // Of 60: two too many of each, and of the 40 others all but ten pushed out.
        #expect(node.core.stats.throttled == 50)
    }

    @Test("a newcomer's own entry comes in if the community wants it, and not otherwise")
    func introduction() {
        var (welcome, unwelcome) = (Author(2), Author(3))
        welcome.write("let me in", kind: .join)
        unwelcome.write("me too", kind: .join)
        welcome.write("hello")
        var roster = Roster()
        roster.introducing = [.join]
        var node = Node(roster: roster)
        let device = welcome.device
        node.introduces = { $0.header.device == device }
        #expect(node.receive(unwelcome.entries, by: .gossip) == [.ignore])
        #expect(node.core.stats.notIntroduced == 1)
        #expect(node.receive(welcome.entries, by: .gossip) == [.accept, .ignore])
        roster.devices[device] = Roster.of(device).devices[device]
        node.handle(.rosterChanged(roster))
        #expect(
            node.core.feeds == [
                FeedRecord(device: device, low: .first, head: welcome.entries[1].point, isFrozen: false)
            ])
    }

    @Test("gossip out of order: the later entry waits for the earlier and both are accepted")
    func outOfOrder() {
        var author = Author(2)
        author.write(count: 4)
        var node = Node(roster: .of(author.device))
        node.receive([author.entries[0]])
        let late = node.request()
        let source = JournalSource(peer: PeerIndex(1), door: .gossip)
        node.handle(.received(late, [author.entries[3], author.entries[2]], from: source))
        #expect(node.judged[late] == nil && node.wanted.isEmpty)
        #expect(node.receive([author.entries[1]], by: .gossip, from: 2) == [.accept])
        #expect(node.judged[late] == [.accept, .accept])
        #expect(node.core.feeds[0].head == author.entries[3].point)
    }

    @Test(
        "a feed that skips: the verdict doesn't wait for ever, sync is asked, and the entry is used when the gap closes"
    )
    func skips() {
        var author = Author(2)
        author.write(count: 5)
        var node = Node(roster: .of(author.device))
        node.receive([author.entries[0]])
        #expect(node.receive([author.entries[4]], by: .gossip) == nil)
        node.wait(.milliseconds(300))
        #expect(node.judged.values.contains([.ignore]) && node.wanted == [author.device])
        #expect(node.core.stats.gap == 1)
        node.receive(Array(author.entries[1..<4]))
        #expect(node.core.feeds[0].head == author.entries[4].point)
        // By sync it is refused at once.
        var other = Node(roster: .of(author.device))
        #expect(other.receive([author.entries[0], author.entries[4]]) == [.accept, .ignore])
        #expect(other.wanted == [author.device] && other.disk.entries.count == 1)
    }

    @Test("a feed of which nothing is held may begin at its end and grow downwards")
    func newestFirst() {
        var author = Author(2)
        author.write(count: 6)
        var node = Node(roster: .of(author.device))
        #expect(node.receive(Array(author.entries[3...].reversed())) == [.accept, .accept, .accept])
        #expect(
            node.core.feeds == [
                FeedRecord(device: author.device, low: EntrySequence(4), head: author.entries[5].point, isFrozen: false)
            ])
        node.wait(.milliseconds(20))
        #expect(node.receipts.isEmpty, "a receipt means the whole feed")
        // After a restart the disk says what stands below.
        var again = node.reopened(roster: .of(author.device))
        #expect(again.receive(Array(author.entries[..<3].reversed())) == [.accept, .accept, .accept])
        #expect(again.core.feeds.map(\.low) == [.first])
        again.wait(.milliseconds(20))
        #expect(again.receipts.map(\.head) == [EntrySequence(6)])
    }

    @Test("single governance entries come alone by their door, and later become part of the range")
    func sparseGovernance() {
        var author = Author(2)
        author.write("1")
        author.write("2", kind: .rule)
        author.write("3", kind: .rule)
        author.write("4")
        author.write("5", kind: .rule)
        var node = Node(roster: .of(author.device))
        let rules = author.entries.filter(\.header.kind.isGovernance)
        #expect(node.receive(rules, by: .governanceSync) == [.accept, .accept, .accept])
        #expect(node.core.feeds.isEmpty && node.admitted == rules)
        #expect(node.receive(rules, by: .governanceSync) == [.ignore, .ignore, .ignore])
        // Not what is no governance.
        #expect(node.receive([author.entries[3]], by: .governanceSync) == [.ignore])
        node = node.reopened(roster: .of(author.device))
        #expect(node.receive([author.entries[3]]) == [.accept])
        // 5 above and 3, 2 below were there already.
        #expect(
            node.core.feeds == [
                FeedRecord(device: author.device, low: EntrySequence(2), head: author.entries[4].point, isFrozen: false)
            ])
        #expect(node.receive([author.entries[0]]) == [.accept])
        #expect(node.core.feeds.map(\.low) == [.first] && node.disk.entries.count == 5)
    }

    @Test("a body that a relay stripped is missing; after its time it may be; and it can be brought back")
    func bodies() {
        var author = Author(2)
        let old = author.write("old", retention: .day, milliseconds: startMilliseconds - 90_000_000)
        let new = author.write("new", retention: .day)
        author.write("for ever", milliseconds: 0)
        var node = Node(roster: .of(author.device))
        #expect(node.receive(author.entries.map(\.withoutBody)) == [.accept, .ignore, .ignore])
        #expect(node.core.stats.bodyMissing == 2)
        #expect(node.disk.entries[old.id]?.entry.content == nil)
        #expect(node.receive([new]) == [.accept])
        // A node that dropped it too early takes it again.
        var batch = JournalBatch()
        batch.bodiesDropped = [new.id]
        node.disk.write(batch)
        node = node.reopened(roster: .of(author.device))
        #expect(node.receive([new]) == [.accept])
        #expect(node.disk.entries[new.id]?.entry.content == new.content)
        #expect(node.receive([old]) == [.ignore])
    }

    @Test("over quota is held back and counted, never an error; the next day it comes in")
    func quota() {
        var author = Author(2)
        for number in 0..<4 { author.write(String(repeating: "\(number)", count: 718)) }
        #expect(author.entries[0].encodedBytesCount == 1_000)
        var node = Node(roster: .of(author.device, quota: 1_000))
        // One in the quota of the day that it claims, one in what is left of today's.
        #expect(node.receive(author.entries) == [.accept, .accept, .ignore, .ignore])
        #expect(node.core.stats.overQuota >= 1 && node.violations.isEmpty)
        node.handle(.clockRead(milliseconds: startMilliseconds + 86_400_000))
        #expect(node.receive(Array(author.entries[2...])) == [.accept, .ignore])
        node.handle(.rosterChanged(.of(author.device, quota: 100_000)))
        #expect(node.receive([author.entries[3]]) == [.accept])
    }

    @Test("a replica that catches up takes a year in an hour, and a liar no more than that")
    func quotaOverTime() {
        let day: UInt64 = 86_400_000
        var (honest, liar) = (Author(2), Author(3))
        for number in 0..<30 {
            let body = String(repeating: "x", count: 718)
            honest.write(body, milliseconds: startMilliseconds - (30 - UInt64(number)) * day)
            // Days go to and fro.
            liar.write(body, milliseconds: startMilliseconds - (number % 2 == 0 ? 1 : 2) * day)
        }
        var node = Node(roster: .of(honest.device, liar.device, quota: 1_000))
        node.receive(honest.entries)
        node.receive(liar.entries)
        #expect(node.core.feed(honest.device)?.head.sequence == EntrySequence(30))
        #expect(node.core.feed(liar.device)?.head.sequence == EntrySequence(2))
        // The same from the end downwards.
        var down = Node(roster: .of(honest.device, liar.device, quota: 1_000))
        down.receive(honest.entries.reversed())
        down.receive(liar.entries.reversed())
        #expect(down.core.feed(honest.device)?.low == .first)
        #expect((down.core.feed(liar.device)?.low.value ?? 0) >= 27)
    }

    @Test("beyond a cut everything is void, whenever it comes and whenever the cut does")
    func cuts() throws {
        var author = Author(2)
        author.write(count: 6)
        let cut = author.entries[2].point
        let expected = [FeedRecord(device: author.device, low: .first, head: cut, isFrozen: false)]
        var before = Node(roster: .of(author.device, cut: cut))
        #expect(before.receive(author.entries)?.suffix(3) == [.ignore, .ignore, .ignore])
        #expect(before.core.stats.void == 3 && before.core.feeds == expected)

        var after = Node(roster: .of(author.device))
        after.receive(author.entries)
        after.handle(.rosterChanged(.of(author.device, cut: cut)))
        #expect(after.core.feeds == expected)
        #expect(after.changes.last == expected[0])
        #expect(after.reopened(roster: .of(author.device, cut: cut)).core.feeds == expected)

        // Of another id at that place nothing is left but what stands before.
        let other = FeedPoint(sequence: cut.sequence, id: EntryID(.zero))
        after.handle(.rosterChanged(.of(author.device, cut: other)))
        #expect(after.core.feeds.map(\.head) == [author.entries[1].point])
        after.handle(.rosterChanged(.of(author.device, cut: .start)))
        #expect(after.core.feeds.map(\.head) == [.start])
        // Taken back: it all may come again.
        after.handle(.rosterChanged(.of(author.device)))
        #expect(after.receive(author.entries) == Array(repeating: .accept, count: 6))
        #expect(after.disk.entries.count == 6)
    }

    @Test("a cut below what is held leaves nothing, and the feed grows again from the cut downwards")
    func cutBelow() {
        var author = Author(2)
        author.write(count: 6)
        var node = Node(roster: .of(author.device))
        node.receive(Array(author.entries[4...].reversed()))
        node.handle(.rosterChanged(.of(author.device, cut: author.entries[1].point)))
        #expect(
            node.core.feeds == [
                FeedRecord(device: author.device, low: EntrySequence(3), head: author.entries[1].point, isFrozen: false)
            ])
        #expect(node.receive(Array(author.entries[..<2].reversed())) == [.accept, .accept])
        #expect(node.core.feeds.map(\.low) == [.first])
    }

    @Test("a kind that isn't open to its author is left alone")
    func openKinds() {
        var author = Author(2)
        author.write("rule", kind: .rule)
        author.write("chat")
        author.write("more", kind: EntryKind(0x300))
        var node = Node(roster: .of(author.device, open: .governance(and: [.chat])))
        #expect(node.receive(author.entries) == [.accept, .accept, .ignore])
        #expect(node.core.stats.kindNotOpen == 1)
        node.handle(.rosterChanged(.of(author.device)))
        #expect(node.receive([author.entries[2]]) == [.accept])
    }

    @Test("kinds that nobody knows are kept, critical or not, and told of")
    func unknownKinds() {
        var author = Author(2)
        author.write(kind: EntryKind(0xFFF0), isCritical: true)
        author.write(kind: EntryKind(0xFFF1), isCritical: false)
        var node = Node(roster: .of(author.device))
        #expect(node.receive(author.entries) == [.accept, .accept])
        #expect(node.admitted.map(\.header.isCritical) == [true, false])
    }

    @Test("a peer that floods is throttled alone, and what is under way is bounded")
    func floods() {
        var configuration = JournalConfiguration()
        configuration.limits.waitingPerPeerMax = 10
        configuration.limits.waitingMax = 15
        var authors = (0..<3).map { Author(20 + UInt64($0)) }
        for place in authors.indices { authors[place].write(count: 12) }
        var node = Node(
            configuration: configuration, roster: .of(authors[0].device, authors[1].device, authors[2].device))
        node.isVerifierSlow = true
        for (peer, author) in authors.enumerated() { node.receive(author.entries, from: UInt32(peer)) }
        #expect(node.core.stats.throttled > 0)
        node.isVerifierSlow = false
        node.finishVerifies()
        #expect(node.disk.entries.count == 15)
        for (peer, author) in authors.enumerated() { node.receive(author.entries, from: UInt32(peer)) }
        for (peer, author) in authors.enumerated() { node.receive(author.entries, from: UInt32(peer)) }
        #expect(node.disk.entries.count == 36)
    }

    @Test("verdicts of verifiers that answer in another order are used in order")
    func verifyOrder() {
        var author = Author(2)
        author.write(count: 4)
        var configuration = JournalConfiguration()
        configuration.limits.verifyBatchMax = 1
        var node = Node(configuration: configuration, roster: .of(author.device))
        node.isVerifierSlow = true
        node.receive(author.entries)
        #expect(node.pendingVerifies == 4)
        node.finishVerifies(isReversed: true)
        #expect(node.admitted == author.entries)
    }

    @Test("a disk that refuses what others bring: nobody is blamed, it is left alone for a while, then taken")
    func diskRefuses() {
        var author = Author(2)
        author.write(count: 2)
        var node = Node(roster: .of(author.device))
        node.diskError = .diskFull
        #expect(node.receive(author.entries, by: .gossip) == [.ignore, .ignore])
        #expect(node.undone == author.entries.map(\.id) && node.violations.isEmpty)
        #expect(node.receive(author.entries, by: .gossip) == [.ignore, .ignore])
        #expect(node.core.stats.diskPaused == 4 && node.verifiedCount == 2)
        node.diskError = nil
        node.wait(.seconds(1))
        #expect(node.receive(author.entries, by: .gossip) == [.accept, .accept])
    }

    @Test("bodies are dropped after their time, in turns, never those that are kept for ever")
    func retention() {
        var configuration = JournalConfiguration()
        configuration.limits.expiredBatchMax = 2
        var author = Author(2)
        let day: UInt64 = 86_400_000
        for age in [2, 2, 2, 40, 0] as [UInt64] {
            author.write("x", retention: .day, milliseconds: startMilliseconds - age * day)
        }
        author.write("month", retention: .month, milliseconds: startMilliseconds - 40 * day)
        author.write("for ever", milliseconds: 0)
        var node = Node(configuration: configuration, roster: .of(author.device))
        node.receive(author.entries)
        node.wait(.seconds(61))
        let kept = author.entries.filter { node.disk.entries[$0.id]?.entry.content != nil }
        #expect(kept == [author.entries[4], author.entries[6]])
        #expect(node.core.stats.bodiesDropped == 5)
        #expect(node.core.feeds[0].head == author.entries[6].point)
        // The rest when its time comes.
        node.handle(.clockRead(milliseconds: startMilliseconds + 2 * day))
        node.wait(.seconds(3_600))
        #expect(node.core.stats.bodiesDropped == 6)
    }
}

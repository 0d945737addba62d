// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

/// Governance that others refer to is kept whatever became of its feed, and changes nothing about the feed.
@Suite("Evidence", .timeLimit(.minutes(1))) struct JournalEvidenceTests {
    private static func stored(_ node: Node, _ entry: Entry) -> StoredEntry? { node.disk.entries[entry.id] }

    /// Two entries at place 3, after two that are common.
    private static func forked() -> (one: Author, other: Author) {
        var one = Author(2)
        one.write("a", kind: .rule)
        one.write("b", kind: .rule)
        var other = one.branch(after: 2)
        one.write("one", kind: .rule)
        other.write("other", kind: .rule)
        return (one, other)
    }

    @Test("an entry of a frozen feed is refused, and taken beside its feed once governance refers to it")
    func frozen() throws {
        let (one, other) = Self.forked()
        var node = Node(roster: .of(one.device))
        node.receive(Array(one.entries.prefix(2)))
        node.receive([try #require(FaultProof(one.entries[2], other.entries[2]))])
        #expect(node.receive([one.entries[2]], by: .governanceSync) == [.ignore])
        let feed = node.core.feed(one.device)
        node.handle(.missingChanged([one.entries[2].id]))
        #expect(node.receive([one.entries[2]], by: .governanceSync) == [.accept])
        #expect(Self.stored(node, one.entries[2])?.isBeside == true)
        #expect(node.core.feed(one.device) == feed && node.core.stats.evidence == 1)
        #expect(node.admitted.contains(one.entries[2]))
        // The other one isn't referred to.
        #expect(node.receive([other.entries[2]], by: .governanceSync) == [.ignore])
        #expect(Self.stored(node, other.entries[2]) == nil)
        let again = node.reopened(roster: .of(one.device))
        #expect(again.core.feed(one.device) == feed)
    }

    @Test("an entry that contradicts what is held proves the fork and is kept as well", arguments: [true, false])
    func contradiction(isAlone: Bool) throws {
        let (one, other) = Self.forked()
        var node = Node(roster: .of(one.device))
        if isAlone {
            node.receive([other.entries[2]], by: .governanceSync)
        } else {
            node.receive(other.entries)
        }
        node.handle(.missingChanged([one.entries[2].id]))
        node.receive([one.entries[2]], by: .governanceSync)
        #expect(node.core.feed(one.device)?.isFrozen == true)
        #expect(Self.stored(node, one.entries[2])?.isBeside == true)
        #expect(Self.stored(node, other.entries[2])?.isBeside == false)
        #expect(node.disk.conflicts == 0 && node.violations.isEmpty)
    }

    @Test("a false signature is the peer's fault, whoever refers to the entry")
    func forged() {
        var author = Author(2)
        author.write("a", kind: .rule)
        let stranger = Author(3)
        let false_ = author.entry(at: .first, previous: .none, "b", kind: .rule, signer: stranger.key)
        var node = Node(roster: .of(author.device))
        node.handle(.missingChanged([false_.id]))
        #expect(node.receive([false_], by: .governanceSync) == [.reject])
        #expect(Self.stored(node, false_) == nil && node.violations == [.badSignature])
    }

    @Test("what a cut leaves behind steps beside, and the entry that the cut names takes its place")
    func cut() throws {
        let (one, other) = Self.forked()
        var node = Node(roster: .of(one.device))
        var longer = one
        longer.write("behind", kind: .rule)
        node.receive(longer.entries)
        let point = other.entries[2].point
        node.handle(.rosterChanged(.of(one.device, cut: point)))
        #expect(node.core.feed(one.device)?.head == one.entries[1].point)
        #expect(Self.stored(node, longer.entries[2])?.isBeside == true)
        #expect(Self.stored(node, longer.entries[3])?.isBeside == true)
        #expect(node.receive([other.entries[2]]) == [.accept])
        #expect(node.core.feed(one.device)?.head == point)
        #expect(node.disk.conflicts == 0 && node.core.stats.persistFailures == 0)
        // The removal is taken back: what had gone comes again, and has its place again.
        node.handle(.rosterChanged(.of(one.device, cut: longer.entries[3].point)))
        #expect(node.disk.conflicts == 0)
    }

    @Test("a single entry beyond a cut steps beside as well, though nothing else of the feed is held")
    func cutAlone() throws {
        let (one, other) = Self.forked()
        var node = Node(roster: .of(one.device))
        node.receive([one.entries[2]], by: .governanceSync)
        node.handle(.rosterChanged(.of(one.device, cut: other.entries[2].point)))
        #expect(Self.stored(node, one.entries[2])?.isBeside == true)
        #expect(node.receive([other.entries[2]], by: .governanceSync) == [.accept])
        #expect(Self.stored(node, other.entries[2])?.isBeside == false && node.disk.conflicts == 0)
    }

    @Test("strangers who are cited have a day's quota together")
    func strangers() throws {
        var configuration = JournalConfiguration()
        configuration.limits.strangersBytesPerDay = 200
        var node = Node(configuration: configuration, roster: Roster())
        let entries = (10..<14).map { number in
            var author = Author(UInt64(number))
            return author.write("x", kind: .rule)
        }
        node.handle(.missingChanged(entries.map(\.id)))
        let verdicts = entries.map { node.receive([$0], by: .governanceSync) ?? [] }
        // Governance has twice the quota, so one of about 280 bytes of the day that they claim, and one of today's.
        #expect(verdicts == [[.accept], [.accept], [.ignore], [.ignore]])
        #expect(node.core.stats.overQuota == 2)
        node.wait(.seconds(86_400))
        #expect(node.receive([entries[2]], by: .governanceSync) == [.accept])
    }

    // MARK: Quotas

    private static func roster(_ devices: [Author], quota: Int) -> Roster {
        var roster = Roster()
        for author in devices {
            roster.devices[author.device] = Roster.Device(
                member: MemberID(.zero), quotaBytesPerDay: quota,
                since: startMilliseconds / 86_400_000 * 86_400_000)
        }
        return roster
    }

    @Test("all devices of a member have one quota")
    func member() {
        var authors = [Author(2), Author(3)]
        let entries = authors.indices.map { authors[$0].write(String(repeating: "x", count: 400)) }
        // One in the quota of the day that it claims, one in what is left of today's; it is the same day.
        var node = Node(roster: Self.roster(authors, quota: 800))
        #expect(node.receive([entries[0]]) == [.accept])
        #expect(node.receive([entries[1]]) == [.accept])
        let third = authors[1].write(String(repeating: "y", count: 400))
        #expect(node.receive([third]) == [.ignore])
        #expect(node.core.stats.overQuota >= 1)
    }

    @Test("a restart doesn't forget what a member has used today")
    func restarted() {
        var author = Author(2)
        author.write(String(repeating: "x", count: 400))
        author.write(String(repeating: "y", count: 400))
        author.write(String(repeating: "z", count: 400))
        let roster = Self.roster([author], quota: 800)
        var node = Node(roster: roster)
        #expect(node.receive([author.entries[0]]) == [.accept])
        #expect(node.receive([author.entries[1]]) == [.accept])
        node = node.reopened(roster: roster)
        #expect(node.receive([author.entries[2]]) == [.ignore])
        #expect(node.core.stats.overQuota >= 1)
        node.wait(.seconds(86_400))
        #expect(node.receive([author.entries[2]]) == [.accept])
    }

    @Test("who writes a little each day has it all taken by a replica that catches up", arguments: [false, true])
    func history(isDescending: Bool) {
        var author = Author(2)
        let day: UInt64 = 86_400_000
        for number in 0..<300 {
            author.write(
                String(repeating: "x", count: 300), milliseconds: startMilliseconds - (300 - UInt64(number)) * day)
        }
        var roster = Roster.of(author.device, quota: 700)
        roster.devices[author.device]?.since = startMilliseconds - 400 * day
        var node = Node(roster: roster)
        for entry in isDescending ? author.entries.reversed() : author.entries { node.receive([entry]) }
        #expect(node.core.feed(author.device)?.low == .first)
        #expect(node.core.feed(author.device)?.head == author.entries.last?.point)
    }
}

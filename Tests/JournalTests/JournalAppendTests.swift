// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

@Suite(.timeLimit(.minutes(1))) struct JournalAppendTests {
    static func node(_ configuration: JournalConfiguration = JournalConfiguration()) -> Node {
        let author = Author(1)
        return Node(author.key, configuration: configuration, roster: .of(author.device))
    }

    static func draft(_ body: String, kind: EntryKind = .chat, retention: RetentionClass = .permanent) -> EntryDraft {
        EntryDraft(kind: kind, retention: retention, body: Array(body.utf8), governance: .none)
    }

    @Test("entries are numbered, linked, salted and signed, and spoken of once they are on disk")
    func appends() throws {
        var node = Self.node()
        node.isDiskSlow = true
        let request = node.append("one", "two")
        #expect(node.appended[request] == nil && node.published.isEmpty && node.core.feeds.isEmpty)
        node.finishWrites()
        let entries = try #require(node.appended[request])
        #expect(entries.map(\.header.sequence.value) == [1, 2])
        #expect(entries[0].header.previous == .none && entries[1].header.previous == entries[0].id)
        #expect(entries[0].content?.salt != entries[1].content?.salt)
        #expect(entries.map(\.isSignatureValid) == [true, true])
        #expect(entries[0].header.time < entries[1].header.time)
        #expect(node.published == entries && node.admitted == entries)
        #expect(
            node.core.feeds == [
                FeedRecord(
                    device: Author(1).device, low: .first, head: entries[1].point, isFrozen: false)
            ])
        #expect(node.changes == node.core.feeds)
        #expect(node.core.stats.appended == 2)
    }

    @Test("appends that come while the disk is busy go together in the next batch")
    func groupCommit() {
        var node = Self.node()
        node.isDiskSlow = true
        let requests = (0..<20).map { node.append("\($0)") }
        #expect(node.pendingWrites == 1)
        node.finishWrites()
        #expect(node.pendingWrites == 1)
        node.finishWrites()
        let counts = requests.map { node.appended[$0]?.count }
        #expect(counts == Array(repeating: 1, count: 20))
        #expect(node.disk.batches == 2 && node.largestBatch == 19)
    }

    @Test(
        "an append is refused by name",
        arguments: [
            ("no device", AppendError.noDevice), ("large", .bodyTooLarge(limit: 65_536)),
            ("dropped governance", .retentionOfGovernance), ("too many", .busy), ("over quota", .overQuota),
            ("cut", .deviceEnded), ("not open", .kindNotOpen(.chat)), ("late", .sequencePassed(next: EntrySequence(1))),
        ])
    func refusals(_ what: String, _ error: AppendError) {
        var configuration = JournalConfiguration()
        configuration.limits.appendsWaitingMax = 2
        var node = Self.node(configuration)
        let device = Author(1).device
        let request: RequestID
        switch what {
        case "no device":
            node = Node(nil)
            request = node.append("x")
        case "large": request = node.append(String(repeating: "x", count: 65_537))
        case "dropped governance": request = node.append([Self.draft("x", kind: .rule, retention: .month)])
        case "too many": request = node.append("1", "2", "3")
        case "over quota":
            node.handle(.rosterChanged(.of(device, quota: 300)))
            request = node.append("12345678901234567890")
        case "cut":
            node.handle(.rosterChanged(.of(device, cut: .start)))
            request = node.append("x")
        case "not open":
            node.handle(.rosterChanged(.of(device, open: .governance(and: [.rule]))))
            request = node.append([Self.draft("x", kind: .rule), Self.draft("y")])
        default: request = node.append("x", sequence: EntrySequence(7))
        }
        #expect(node.failed[request] == error)
        #expect(node.core.stats.appendsRefused == 1)
        #expect(node.disk.batches == 0)
    }

    @Test("what waits for the disk when the author's standing changes is judged by the new one")
    func standingChanges() {
        var node = Self.node()
        node.isDiskSlow = true
        node.append("one")
        let waiting = node.append("two")
        node.handle(.rosterChanged(.of(Author(1).device, open: .governance(and: []))))
        node.finishWrites()
        node.finishWrites()
        #expect(node.failed[waiting] == .kindNotOpen(.chat))
        node.handle(.rosterChanged(.of(Author(1).device)))
        let third = node.append("three")
        node.finishWrites()
        #expect(node.appended[third]?.first?.header.sequence == EntrySequence(2))
    }

    @Test("a body that is bound to its place gets the place, or is told the next one")
    func boundToPlace() {
        var node = Self.node()
        node.append("one")
        #expect(node.core.nextOwnSequence == EntrySequence(2))
        let two = node.append("two", sequence: EntrySequence(2))
        let late = node.append("two again", sequence: EntrySequence(2))
        #expect(node.appended[two]?.first?.header.sequence == EntrySequence(2))
        #expect(node.failed[late] == .sequencePassed(next: EntrySequence(3)))
        node.isDiskSlow = true
        node.append("three")
        node.append("four", "five")
        #expect(node.core.nextOwnSequence == EntrySequence(6))
    }

    @Test("a full disk: callers are told, nothing was sent, and the feed goes on with the same number")
    func fullDisk() throws {
        var node = Self.node()
        node.append("one")
        node.diskError = .diskFull
        let refused = node.append("two")
        #expect(node.failed[refused] == .storage(.diskFull))
        #expect(node.published.count == 1 && node.admitted.count == 1)
        #expect(node.undone.count == 1)
        #expect(node.core.feeds[0].head.sequence == .first)
        #expect(node.events.contains(.diskFailed(.diskFull)))
        node.diskError = nil
        let done = node.append("two")
        let entry = try #require(node.appended[done]?.first)
        #expect(entry.header.sequence == EntrySequence(2) && entry.header.previous == node.published[0].id)
        #expect(node.disk.entries.count == 2)
    }

    @Test("a disk that refuses and has written all the same doesn't make us fork our feed")
    func lyingDisk() throws {
        var node = Self.node()
        node.diskError = .failed("late")
        node.isDiskLying = true
        let request = node.append("one")
        let entry = try #require(node.appended[request]?.first)
        #expect(node.published == [entry])
        #expect(node.core.stats.adopted == 1)
        node.diskError = nil
        let next = node.append("two")
        #expect(node.appended[next]?.first?.header.previous == entry.id)
        #expect(node.disk.entries.count == 2)
    }

    @Test("while the disk can't even say what it holds nothing is appended; then what it had is adopted")
    func doubt() throws {
        var node = Self.node()
        node.diskError = .failed("late")
        node.loadError = .failed("dead")
        node.isDiskLying = true
        let lost = node.append("one")
        #expect(node.failed[lost] == .storage(.failed("late")))
        let refused = node.append("two")
        #expect(node.failed[refused] == .storage(.failed("dead")))
        node.diskError = nil
        node.loadError = nil
        let done = node.append("three")
        let entry = try #require(node.appended[done]?.first)
        #expect(entry.header.sequence == EntrySequence(2))
        #expect(node.published.map(\.header.sequence.value) == [1, 2])
        #expect(node.published.first?.content?.body == Array("one".utf8))
        #expect(Set(node.disk.entries.values.map(\.entry.header.sequence)).count == node.disk.entries.count)
    }

    @Test("our clock never goes back, follows others by ten minutes at most, and forgets years")
    func clock() throws {
        var other = Author(2)
        let minute: UInt64 = 60_000
        other.write("ahead", milliseconds: startMilliseconds + 9 * minute)
        other.write("years", milliseconds: startMilliseconds * 2)
        var node = Node(Author(1).key, roster: .of(other.device, Author(1).device))
        node.receive(other.entries)
        let request = node.append("one", "two")
        let entries = try #require(node.appended[request])
        #expect(entries[0].header.time.milliseconds == startMilliseconds + 9 * minute)
        #expect(entries[0].header.time < entries[1].header.time)
        #expect(node.core.stats.clockLimited == 1)
        #expect(node.disk.entries[other.entries[1].id]?.displayTime == HybridTime(milliseconds: startMilliseconds))

        // Set back by a minute: what we claim goes on from where it was.
        node.handle(.clockRead(milliseconds: startMilliseconds - minute))
        let appended1 = node.appendedEntry("three")
        let third = try #require(appended1)
        #expect(third.header.time > entries[1].header.time)

        // It was years ahead, over a restart: that isn't kept for ever.
        node.handle(.clockRead(milliseconds: startMilliseconds * 2))
        node.append("four")
        var again = node.reopened(roster: .of(Author(1).device))
        let appended2 = again.appendedEntry("five")
        let fifth = try #require(appended2)
        #expect(fifth.header.time.milliseconds == startMilliseconds)
        #expect(fifth.header.sequence == EntrySequence(5))
    }

    @Test("a restart goes on where the disk is")
    func restart() throws {
        var node = Self.node()
        node.append("one", "two")
        var again = node.reopened(roster: .of(Author(1).device))
        #expect(again.core.feeds == node.core.feeds)
        let appended3 = again.appendedEntry("three")
        let entry = try #require(appended3)
        #expect(entry.header.sequence == EntrySequence(3) && entry.header.previous == node.published[1].id)
    }

    @Test("a restored folder hears of its own later entries, stops, and a new device goes on")
    func restoredBackup() throws {
        var original = Self.node()
        original.append("one")
        let backup = original.disk
        original.append("two", "three")

        let roster = Roster.of(Author(1).device, Author(9).device)
        var restored = Node(Author(1).key, disk: backup, roster: roster)
        #expect(restored.receive([original.published[1]]) == [.accept])
        #expect(restored.events == [.ownFeedElsewhere(original.published[1].point)])
        let refused = restored.append("mine")
        #expect(restored.failed[refused] == .deviceEnded)
        #expect(restored.core.stats.ownFeedElsewhere == 1)

        // Still so after a restart, before it hears anything.
        var again = restored.reopened(roster: roster)
        #expect(again.appendError("mine") == .deviceEnded)
        // And it keeps the rest of the old feed like anybody's.
        #expect(again.receive([original.published[2]]) == [.accept])

        again.handle(.deviceStarted(Author(9).key))
        let appended4 = again.appendedEntry("mine")
        let entry = try #require(appended4)
        #expect(entry.header.device == Author(9).device && entry.header.sequence == .first)
        #expect(again.reopened().core.proofs.isEmpty)
    }

    @Test("a folder copied while the original runs: a forged later entry doesn't stop us, a true fork does")
    func ownFork() {
        var node = Self.node()
        node.append("one", "two")
        var copy = Author(1)
        copy.write("other")
        let forged = Author(1).entry(
            at: EntrySequence(3), previous: node.published[1].id, "forged", signer: Author(5).key)
        #expect(node.receive([forged]) == [.reject])
        #expect(node.events.isEmpty)
        #expect(node.receive(copy.entries) == [.accept])
        #expect(node.events.first == .ownFeedElsewhere(copy.entries[0].point))
        #expect(node.core.feeds[0].isFrozen && node.publishedProofs.count == 1)
        #expect(node.appendError("three") == .deviceEnded)
        var again = node.reopened()
        #expect(again.appendError("three") == .deviceEnded)
    }
}

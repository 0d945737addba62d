// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

@Suite(.timeLimit(.minutes(1))) struct JournalForkTests {
    /// Two branches that part after `common` entries.
    static func fork(common: Int, then count: Int) -> (Author, Author) {
        var one = Author(2)
        one.write(count: common)
        var other = one.branch(after: common)
        for number in 0..<count {
            one.write("one \(number)")
            other.write("other \(number)")
        }
        return (one, other)
    }

    @Test("two headers at one place freeze the feed, and the proof goes to everybody")
    func freezes() throws {
        let (one, other) = Self.fork(common: 2, then: 3)
        var node = Node(roster: .of(one.device))
        node.receive(one.entries)
        #expect(node.receive([other.entries[2]], by: .gossip) == [.accept])
        let proof = try #require(FaultProof(one.entries[2], other.entries[2]))
        #expect(node.publishedProofs == [proof] && node.core.proofs == [proof])
        #expect(node.events == [.feedFrozen(one.device, proof)])
        #expect(node.core.feeds.map(\.isFrozen) == [true] && node.violations.isEmpty)
        // Nothing more is taken, of neither branch.
        var longer = one
        longer.write("more")
        #expect(node.receive([longer.entries[5], other.entries[4]]) == [.ignore, .ignore])
        #expect(node.core.stats.frozen == 2)
        let again = node.reopened(roster: .of(one.device))
        #expect(again.core.feeds.map(\.isFrozen) == [true] && again.core.proofs == [proof])
    }

    @Test("a header that doesn't name the one before it proves the same")
    func brokenLink() throws {
        var author = Author(2)
        author.write(count: 2)
        let broken = author.entry(at: EntrySequence(3), previous: author.entries[0].id, "broken")
        let alsoBroken = author.entry(
            at: EntrySequence(3), previous: EntryID(Bytes32(words: (9, 9, 9, 9))), "broken")
        #expect(FaultProof(author.entries[0], broken) == nil)
        #expect(FaultProof(author.entries[1], author.next("fine")) == nil)
        for bad in [broken, alsoBroken] {
            // Upwards, and downwards from it.
            var up = Node(roster: .of(author.device))
            up.receive(author.entries)
            #expect(up.receive([bad]) == [.accept])
            var down = Node(roster: .of(author.device))
            down.receive([bad])
            #expect(down.receive([author.entries[1]]) == [.accept])
            #expect(up.core.proofs == down.core.proofs)
            #expect(up.core.proofs.map(\.sequence) == [EntrySequence(2)])
        }
    }

    @Test("a relay can't make an honest author look guilty")
    func honestAuthor() throws {
        var author = Author(2)
        author.write(count: 3)
        let liar = Author(6).key
        let forged = author.entry(
            at: EntrySequence(2), previous: author.entries[0].id, "forged", signer: liar)
        let proof = try #require(FaultProof(author.entries[1], forged))
        var node = Node(roster: .of(author.device))
        node.receive(author.entries)
        #expect(node.receive([forged]) == [.reject])
        #expect(node.receive([proof]) == [.reject])
        #expect(node.core.stats.badSignature == 2 && node.core.proofs.isEmpty)
        #expect(node.core.feeds.map(\.isFrozen) == [false])
        // Nor by taking its entries apart or giving them in any order.
        #expect(node.receive(author.entries.reversed()) == [.ignore, .ignore, .ignore])
        #expect(node.core.proofs.isEmpty)
    }

    @Test("proofs are taken from others, once, and only against those who belong here")
    func received() throws {
        let (one, other) = Self.fork(common: 1, then: 1)
        let proof = try #require(FaultProof(one.entries[1], other.entries[1]))
        var node = Node(roster: .of(one.device))
        #expect(node.receive([proof]) == [.accept])
        #expect(node.receive([proof]) == [.ignore])
        #expect(node.core.stats.proofsTaken == 1 && node.core.feeds.map(\.isFrozen) == [true])
        var stranger = Node()
        #expect(stranger.receive([proof]) == [.ignore])
        #expect(stranger.core.stats.unknownDevice == 1)
        let wrong = (
            Author(2).next("a", community: CommunityID(.zero)), Author(2).next("b", community: CommunityID(.zero))
        )
        #expect(node.receive([try #require(FaultProof(wrong.0, wrong.1))]) == [.reject])
    }

    @Test("whatever comes first, all replicas end with the lowest proof, then the lower ids", arguments: 0..<12)
    func canonical(seed: Int) throws {
        let (one, other) = Self.fork(common: 3, then: 3)
        let third = one.branch(after: 3).next("third")
        let all =
            [3, 4, 5].compactMap { FaultProof(one.entries[$0], other.entries[$0]) }
            + [FaultProof(one.entries[3], third), FaultProof(other.entries[3], third)].compactMap(\.self)
        #expect(all.count == 5)
        var generator = SeededGenerator(seed: UInt64(seed))
        var node = Node(roster: .of(one.device))
        for proof in all.shuffled(using: &generator) { node.receive([proof]) }
        let lowest = try #require(all.min { $0.precedes($1) })
        #expect(lowest.sequence == EntrySequence(4))
        #expect(node.core.proofs == [lowest] && node.disk.proofs[one.device] == lowest)
    }

    @Test("a frozen feed takes what makes its proof a lower one")
    func lowers() throws {
        let (one, other) = Self.fork(common: 2, then: 3)
        var node = Node(roster: .of(one.device))
        node.receive(one.entries)
        node.receive([other.entries[4]])
        #expect(node.core.proofs.map(\.sequence) == [EntrySequence(5)])
        #expect(node.receive([other.entries[3]]) == [.accept])
        #expect(node.receive([other.entries[2]]) == [.accept])
        #expect(node.core.proofs.map(\.sequence) == [EntrySequence(3)])
        #expect(node.receive([other.entries[1]]) == [.ignore])
    }

    @Test("of a frozen feed governance before the fork is still taken")
    func governanceBefore() {
        var one = Author(2)
        one.write("1", kind: .rule)
        one.write("2")
        one.write("3", kind: .rule)
        var other = one.branch(after: 2)
        other.write("3!", kind: .rule)
        var node = Node(roster: .of(one.device))
        node.receive([FaultProof(one.entries[2], other.entries[2])].compactMap(\.self))
        #expect(node.receive(one.entries, by: .governanceSync) == [.accept, .ignore, .ignore])
        #expect(node.admitted == [one.entries[0]])
    }

    @Test("a fork between governance entries that came alone is found")
    func sparseFork() {
        let (one, other) = (Author(2).next("a", kind: .rule), Author(2).next("b", kind: .rule))
        var node = Node(roster: .of(one.header.device))
        #expect(node.receive([one], by: .governanceSync) == [.accept])
        #expect(node.receive([other], by: .governanceSync) == [.accept])
        #expect(node.core.proofs.count == 1)
        // And one that the range runs into.
        var again = Node(roster: .of(one.header.device))
        again.receive([one], by: .governanceSync)
        #expect(again.receive([other]) == [.accept])
        #expect(again.core.proofs == node.core.proofs)
    }

    @Test("a cut before the fork answers it, in whatever order the two come")
    func cutAnswers() throws {
        let (one, other) = Self.fork(common: 3, then: 2)
        let proof = try #require(FaultProof(one.entries[3], other.entries[3]))
        let roster = Roster.of(one.device, cut: one.entries[2].point)
        var first = Node(roster: .of(one.device))
        first.receive(one.entries)
        first.receive([proof])
        #expect(first.core.feeds.map(\.isFrozen) == [true])
        first.handle(.rosterChanged(roster))
        var second = Node(roster: roster)
        second.receive([proof])
        second.receive(one.entries)
        #expect(first.core.feeds == second.core.feeds && first.core.proofs == second.core.proofs)
        #expect(
            first.core.feeds == [
                FeedRecord(device: one.device, low: .first, head: one.entries[2].point, isFrozen: false)
            ])
    }

    @Test("both branches at once, while neither is on disk yet")
    func racing() {
        let (one, other) = Self.fork(common: 0, then: 1)
        var node = Node(roster: .of(one.device))
        node.isVerifierSlow = true
        node.receive(one.entries, by: .gossip, from: 1)
        node.receive(other.entries, by: .gossip, from: 2)
        node.isVerifierSlow = false
        node.finishVerifies()
        node.wait(.seconds(1))
        #expect(node.core.proofs.count == 1 && node.core.feeds.map(\.isFrozen) == [true])
    }
}

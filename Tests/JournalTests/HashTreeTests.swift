// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

/// Leaves whose keys agree in as many nibbles as a test wants.
private func id(_ first: UInt64, _ last: UInt64 = 0) -> EntryID { EntryID(Bytes32(words: (first, 0, 0, last))) }

private func tree(_ ids: some Sequence<EntryID>) -> HashTree<EntryID> {
    var tree = HashTree<EntryID>()
    for id in ids { tree.set(id) }
    return tree
}

private func digests(_ tree: HashTree<EntryID>) -> Bytes32 {
    var copy = tree
    return copy.rootDigest()
}

struct HashTreeTests {
    @Test("The root has these bytes")
    func golden() {
        var bytes: [UInt8] = [2]
        bytes += Array(repeating: 0, count: 8)
        #expect(digests(HashTree()) == KeyDerivation.sha256(bytes), "of nothing")
        let one = id(0x1234_5678_9ABC_DEF0)
        let leaf = Array(KeyDerivation.sha256([0] + one.bytes.bytes).bytes[..<16])
        #expect(digests(tree([one])) == KeyDerivation.sha256([2, 0, 0, 0, 0, 0, 0, 0, 1] + leaf), "of one leaf")
        let other = id(0xF000_0000_0000_0000)
        let second = Array(KeyDerivation.sha256([0] + other.bytes.bytes).bytes[..<16])
        let node = Array(KeyDerivation.sha256([1, 0x80, 0x02] + leaf + second).bytes[..<16])
        #expect(
            digests(tree([other, one])) == KeyDerivation.sha256([2, 0, 0, 0, 0, 0, 0, 0, 2] + node), "of two leaves")
    }

    @Test("The order in which leaves came and went doesn't show", arguments: 0..<20)
    func canonical(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        // Few bits, so that keys meet, and some that agree almost to the end.
        let all = (0..<300).map { _ in
            seed % 2 == 0
                ? id(UInt64.random(in: 0..<4_096, using: &random) << 52)
                : id(0, UInt64.random(in: 0..<512, using: &random))
        }
        var kept = Set<EntryID>()
        var grown = HashTree<EntryID>()
        for step in 0..<1_000 {
            let leaf = all[Int.random(in: 0..<all.count, using: &random)]
            if Bool.random(using: &random) {
                #expect(grown.set(leaf) == kept.insert(leaf).inserted)
            } else {
                #expect(grown.remove(leaf.key) == (kept.remove(leaf) != nil))
            }
            #expect(grown.count == kept.count)
            if step % 100 == 0 { #expect(digests(grown) == digests(tree(kept.sorted()))) }
        }
        let sorted = kept.sorted()
        #expect(grown.leaves(at: .root) == sorted)
        #expect(digests(grown) == digests(tree(sorted.shuffled(using: &random))))
        for leaf in sorted { #expect(grown[leaf.key] == leaf) }
        for leaf in sorted { grown.remove(leaf.key) }
        #expect(grown.count == 0 && digests(grown) == digests(HashTree()))
    }

    @Test("Any change of the set changes the root")
    func differs() {
        let leaves = (0..<64).map { id(UInt64($0) << 58, UInt64($0)) }
        let whole = digests(tree(leaves))
        for place in leaves.indices {
            var fewer = leaves
            fewer.remove(at: place)
            #expect(digests(tree(fewer)) != whole)
            #expect(digests(tree(fewer + [id(UInt64(place) << 58, 999)])) != whole)
        }
    }

    @Test("Children sum up to their parent, and places tell what is beneath them")
    func places() throws {
        var tree = tree((0..<256).map { id(UInt64($0) << 56) })
        let found = tree.children(at: .root)
        let children = try #require(found)
        let whole = tree.digest(at: .root)
        #expect(whole == children.digest)
        for nibble in 0..<16 {
            let place = try #require(SyncPrefix.root.appending(nibble))
            let digest = tree.digest(at: place)
            #expect(tree.count(at: place) == 16)
            #expect(digest == children[nibble])
            #expect(tree.leaves(at: place) == (0..<16).map { id(UInt64(nibble) << 60 | UInt64($0) << 56) })
        }
    }

    @Test("The depth that a replica holds of a feed is not in its leaf; the head and a fork's place are")
    func feedLeaves() {
        let device = syncDevice(1)
        let head = FeedPoint(sequence: EntrySequence(9), id: id(5))
        let whole = SyncFeed(device: device, state: .held(low: .first, head: head))
        #expect(SyncFeed(device: device, state: .held(low: EntrySequence(7), head: head)).digest == whole.digest)
        let other = FeedPoint(sequence: EntrySequence(9), id: id(6))
        #expect(SyncFeed(device: device, state: .held(low: .first, head: other)).digest != whole.digest)
        let frozen = SyncFeed(device: device, state: .frozen(at: EntrySequence(9)))
        #expect(frozen.digest != whole.digest)
        #expect(frozen.digest != SyncFeed(device: device, state: .frozen(at: EntrySequence(8))).digest)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiKademlia

/// Holds a table by reference, so that expectations can call it.
private final class Table {
    private(set) var table: RoutingTable
    let keys: Keyspace
    let limits = KademliaLimits()

    init(_ table: RoutingTable, _ keys: Keyspace) { (self.table, self.keys) = (table, keys) }

    func heard(_ peer: UInt32, group: UInt64 = 0) -> RoutingTable.Heard {
        table.heard(
            PeerIndex(peer), word: keys.word(of: PeerIndex(peer)), group: AddressGroup(group), limits: limits)
    }
    func failed(_ peer: UInt32) -> Bool {
        table.failed(PeerIndex(peer), word: keys.word(of: PeerIndex(peer)), limits: limits)
    }
    func remove(_ peer: UInt32) -> Bool {
        table.remove(PeerIndex(peer), word: keys.word(of: PeerIndex(peer)), limits: limits)
    }
    func contains(_ peer: UInt32) -> Bool { table.contains(PeerIndex(peer), word: keys.word(of: PeerIndex(peer))) }
    func settle(_ bucket: Int) { table.settle(bucket) }
    func bucket(_ peer: UInt32) -> Int { table.bucket(of: keys.word(of: PeerIndex(peer))) }
}

struct RoutingTableTests {
    let keys = Keyspace(derivedFrom: 7)

    func table(_ count: UInt32, k: Int = 20) -> RoutingTable {
        var table = RoutingTable(ownWord: 0, k: k)
        table.load(peers(1..<count + 1), keys: keys)
        return table
    }

    /// Keys with nothing but a first word.
    func space(_ words: [UInt64]) -> Keyspace { Keyspace(words.map { Bytes32(words: ($0, 0, 0, 0)) }) }

    @Test("The closest contacts are those that sorting the whole table finds", arguments: [1, 8, 20, 50])
    func closestIsRight(count: Int) {
        let table = table(3_000)
        var all: [PeerIndex] = []
        table.forEach { all.append($0) }
        for seed in 0..<200 {
            // Some targets near us, so that all kinds of buckets are asked for.
            let word = point(UInt64(seed)).key.word >> UInt64(seed % 20)
            var found: [PeerIndex] = []
            table.appendClosest(to: word, countMax: count, keys: keys, into: &found)
            let expected = all.sorted { keys.word(of: $0) ^ word < keys.word(of: $1) ^ word }.prefix(count)
            #expect(Set(found) == Set(expected))
            #expect(found.count == min(count, all.count))
        }
    }

    @Test("Who is excluded is not counted either")
    func excluded() {
        let table = table(500)
        var found: [PeerIndex] = []
        table.appendClosest(to: 1, countMax: 20, keys: keys, into: &found)
        var others: [PeerIndex] = []
        table.appendClosest(to: 1, countMax: 20, excluding: found[3], keys: keys, into: &others)
        #expect(others.count == 20)
        #expect(!others.contains(found[3]))
    }

    @Test("Loading keeps k a bucket and everybody in the right one")
    func loading() {
        let table = table(2_000)
        var counts = [Int](repeating: 0, count: 32)
        table.forEach { counts[table.bucket(of: keys.word(of: $0))] += 1 }
        for bucket in 0..<32 {
            #expect(counts[bucket] == table.count(inBucket: bucket))
            #expect(counts[bucket] <= 20)
        }
        #expect(counts[0] == 20)
        #expect(table.isFull(0))
    }

    @Test("A newcomer to a full bucket waits; who answers keeps its place; who is silent loses it")
    func longLivedStay() {
        let table = Table(RoutingTable(ownWord: 0, k: 4), space([0] + (0..<10).map { 1 << 63 | UInt64($0) << 40 }))
        for number in UInt32(1)...4 { #expect(table.heard(number) == .added) }
        #expect(table.heard(5) == .full)
        #expect(table.table.contested == 1)
        #expect(table.table.first(inBucket: 0) == PeerIndex(1))
        // It answers.
        #expect(table.heard(1) == .known)
        table.settle(0)
        #expect(table.table.contested == 0)
        #expect(table.table.first(inBucket: 0) == PeerIndex(2))
        #expect(!table.contains(5))
        // The newcomer comes again, and the next one doesn't answer.
        #expect(table.heard(5) == .full)
        #expect(table.failed(2))
        #expect(table.contains(5))
        #expect(!table.contains(2))
        #expect(table.table.count == 4)
    }

    @Test("Without a newcomer one silence is forgiven, two are not")
    func silence() {
        let table = Table(table(10), keys)
        #expect(!table.failed(3))
        #expect(table.contains(3))
        #expect(table.table.first(inBucket: table.bucket(3)) == PeerIndex(3))
        #expect(table.heard(3) == .known)
        #expect(!table.failed(3))
        #expect(table.failed(3))
        #expect(!table.contains(3))
    }

    @Test("An address group has two places in a bucket and three in the table")
    func groups() {
        let table = Table(RoutingTable(ownWord: 0, k: 20), keys)
        let added = (UInt32(1)...500).reduce(0) { $0 + (table.heard($1, group: 9) == .added ? 1 : 0) }
        #expect(added == 3)
        for bucket in 0..<32 { #expect(table.table.count(inBucket: bucket) <= 2) }
        #expect(table.table.count(of: AddressGroup(9)) == 3)
        // Others were never kept out.
        #expect(table.heard(501, group: 10) == .added)
        #expect(table.heard(502) == .added)
    }

    @Test("Groups stay with their contacts when these move")
    func groupsMove() {
        let table = Table(RoutingTable(ownWord: 0, k: 20), keys)
        for number in UInt32(1)...30 { _ = table.heard(number, group: UInt64(number / 2 + 1)) }
        for number in UInt32(1)...30 where number % 3 == 0 {
            _ = table.heard(number)
            _ = table.failed(number - 1)
            _ = table.remove(number - 2)
        }
        // What is left of each group is what its members' presence says.
        for group in UInt64(1)...16 {
            let present = (UInt32(1)...30).filter { UInt64($0 / 2 + 1) == group && table.contains($0) }
            #expect(table.table.count(of: AddressGroup(group)) == present.count)
        }
        #expect(table.table.count == 20)
    }

    @Test("Newcomers that wait are bounded")
    func replacementsAreBounded() {
        let table = Table(table(2_000), keys)
        let before = table.table.count
        for number in UInt32(3_000)..<4_000 where table.table.isFull(table.bucket(number)) {
            #expect(table.heard(number) == .full)
        }
        #expect(table.table.count == before)
        var waiting = 0
        table.table.forEachReplacement { _ in waiting += 1 }
        #expect(waiting == KademliaLimits().replacementsMax)
    }

    @Test("Numbers that don't fit an entry are refused")
    func numbersAreBounded() {
        var table = RoutingTable(ownWord: 0, k: 20)
        let heard = table.heard(PeerIndex(.max), word: 5, group: .none, limits: KademliaLimits())
        #expect(heard == .refused)
        table.load([PeerIndex(1 << 31), PeerIndex(4)], keys: keys)
        #expect(table.count == 1)
    }
}

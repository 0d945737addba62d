// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// SipHash-1-3 under a key from the seed: nobody outside can make ids collide, and the same seed gives the same digests
/// on every machine. Never zero.
struct KeyedHash: Sendable {
    private let key: (UInt64, UInt64)

    init(_ generator: inout SeededGenerator) { key = (generator.next(), generator.next()) }

    func callAsFunction(_ id: MessageID) -> UInt64 {
        var state = SipState(key)
        let words = id.words
        state.add(words.0)
        state.add(words.1)
        state.add(words.2)
        state.add(words.3)
        state.add(words.4)
        state.add(words.5)
        state.add(words.6)
        return state.finished(words.7)
    }

    func callAsFunction(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var state = SipState(key)
        var offset = 0
        while bytes.count - offset >= 8 {
            state.add(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset += 8
        }
        var last = UInt64(truncatingIfNeeded: bytes.count) << 56
        for place in offset..<bytes.count { last |= UInt64(bytes[place]) << UInt64(8 * (place - offset)) }
        return state.finished(last)
    }

    func callAsFunction(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { self($0) } }
}

private struct SipState {
    private var v: (UInt64, UInt64, UInt64, UInt64)

    init(_ key: (UInt64, UInt64)) {
        v = (
            key.0 ^ 0x736F_6D65_7073_6575, key.1 ^ 0x646F_7261_6E64_6F6D, key.0 ^ 0x6C79_6765_6E65_7261,
            key.1 ^ 0x7465_6462_7974_6573
        )
    }

    mutating func add(_ word: UInt64) {
        v.3 ^= word
        round()
        v.0 ^= word
    }

    mutating func finished(_ last: UInt64) -> UInt64 {
        add(last)
        v.2 ^= 0xFF
        round()
        round()
        round()
        return max(1, v.0 ^ v.1 ^ v.2 ^ v.3)
    }

    private mutating func round() {
        v.0 &+= v.1
        v.1 = v.1 << 13 | v.1 >> 51
        v.1 ^= v.0
        v.0 = v.0 << 32 | v.0 >> 32
        v.2 &+= v.3
        v.3 = v.3 << 16 | v.3 >> 48
        v.3 ^= v.2
        v.0 &+= v.3
        v.3 = v.3 << 21 | v.3 >> 43
        v.3 ^= v.0
        v.2 &+= v.1
        v.1 = v.1 << 17 | v.1 >> 47
        v.1 ^= v.2
        v.2 = v.2 << 32 | v.2 >> 32
    }
}

/// The ids that were seen, as digests, in three generations. A generation ends after half the lifetime or when a third of
/// the room is used; then the oldest is dropped whole. So an id is known for one to one and a half lifetimes, there are
/// no times or links per id, and an idle cache holds nothing.
struct SeenCache: Sendable {
    /// Open addressing with linear probing, at most half full; zero marks an empty place.
    private struct Generation: Sendable {
        var digests: [UInt64] = []
        var records: [UInt32] = []
        var count = 0

        func find(_ digest: UInt64) -> UInt32? {
            guard count > 0 else { return nil }
            let mask = digests.count - 1
            var place = Int(truncatingIfNeeded: digest) & mask
            while digests[place] != 0 {
                if digests[place] == digest { return records[place] }
                place = (place + 1) & mask
            }
            return nil
        }

        mutating func insert(_ digest: UInt64, _ record: UInt32) {
            if count * 2 >= digests.count { grow() }
            put(digest, record)
            count += 1
        }

        private mutating func put(_ digest: UInt64, _ record: UInt32) {
            let mask = digests.count - 1
            var place = Int(truncatingIfNeeded: digest) & mask
            while digests[place] != 0 { place = (place + 1) & mask }
            digests[place] = digest
            records[place] = record
        }

        private mutating func grow() {
            let (oldDigests, oldRecords) = (digests, records)
            let size = max(32, digests.count * 2)
            digests = [UInt64](repeating: 0, count: size)
            records = [UInt32](repeating: 0, count: size)
            for place in oldDigests.indices where oldDigests[place] != 0 { put(oldDigests[place], oldRecords[place]) }
        }
    }

    private let halfLife: Duration
    private let countMax: Int
    private var newest = Generation()
    private var middle = Generation()
    private var oldest = Generation()
    private var startedAt: Instant
    /// Which generation is the newest.
    private(set) var generation: UInt32 = 0

    init(lifetime: Duration, countMax: Int, at now: Instant) {
        halfLife = lifetime / 2
        self.countMax = max(1, countMax / 3)
        startedAt = now
    }

    var count: Int { newest.count + middle.count + oldest.count }

    /// The number of the id's record, which may be gone by now; nil when the id was not seen.
    func find(_ digest: UInt64) -> UInt32? {
        newest.find(digest) ?? middle.find(digest) ?? oldest.find(digest)
    }

    /// The digest must not be there.
    mutating func insert(_ digest: UInt64, record: UInt32, at now: Instant) {
        advance(to: now)
        if newest.count >= countMax { turn(at: now) }
        newest.insert(digest, record)
    }

    /// Drops what is too old.
    mutating func advance(to now: Instant) {
        guard count > 0 else {
            // Generations count also while nothing is held: authors' floors go by them.
            if now - startedAt >= halfLife { turn(at: now) }
            return
        }
        var turns = 0
        while now - startedAt >= halfLife, turns < 3 {
            turn(at: turns == 2 ? now : startedAt + halfLife)
            turns += 1
        }
    }

    private mutating func turn(at now: Instant) {
        oldest = middle
        middle = newest
        newest = Generation()
        generation &+= 1
        startedAt = now
    }
}

/// The highest sequence numbers of authors, to refuse what was recorded and is sent again after its id was forgotten.
///
/// A number enters its author's floor while its id is still seen, two generations after it came; what is at or below the
/// floor and not among the seen ids is a replay, or later than any honest network is. Authors that draw their numbers at
/// random (js-libp2p does) are told by the distance between them and are left out.
struct AuthorTable: Sendable {
    private struct Author: Sendable {
        let digest: UInt64
        var newest: UInt64?
        var previous: UInt64?
        var floor: UInt64?
        var generation: UInt32
        var heardAt: Instant
        var isUnordered = false

        mutating func advance(to now: UInt32) {
            let age = now &- generation
            guard age > 0 else { return }
            floor = higher(floor, previous)
            if age > 1 { floor = higher(floor, newest) }
            previous = age > 1 ? nil : newest
            newest = nil
            generation = now
        }

        func higher(_ one: UInt64?, _ other: UInt64?) -> UInt64? {
            guard let one, let other else { return one ?? other }
            return max(one, other)
        }
    }

    /// Numbers that count or tell nanoseconds never differ by so much (two years) while an author is remembered.
    private static let orderedSpan: UInt64 = 1 << 56

    private let countMax: Int
    private let lifetime: Duration
    private var authors: [Author] = []
    private var places: [UInt64: Int] = [:]
    private var hand = 0

    init(countMax: Int, lifetime: Duration) {
        self.countMax = countMax
        self.lifetime = lifetime
    }

    var count: Int { authors.count }

    mutating func isReplay(author: UInt64, sequence: UInt64, generation: UInt32, at now: Instant) -> Bool {
        guard let place = places[author] else { return false }
        guard now - authors[place].heardAt <= lifetime else { return false }
        authors[place].advance(to: generation)
        guard !authors[place].isUnordered, let floor = authors[place].floor else { return false }
        return sequence <= floor && floor - sequence < Self.orderedSpan
    }

    /// A message of the author was accepted.
    mutating func note(author: UInt64, sequence: UInt64, generation: UInt32, at now: Instant) {
        guard let place = places[author], now - authors[place].heardAt <= lifetime else {
            insert(Author(digest: author, newest: sequence, generation: generation, heardAt: now))
            return
        }
        authors[place].advance(to: generation)
        authors[place].heardAt = now
        let entry = authors[place]
        if let known = entry.newest ?? entry.previous ?? entry.floor,
            max(known, sequence) - min(known, sequence) >= Self.orderedSpan
        {
            authors[place].isUnordered = true
        }
        authors[place].newest = max(entry.newest ?? 0, sequence)
    }

    private mutating func insert(_ author: Author) {
        if let place = places[author.digest] {
            authors[place] = author
        } else if authors.count < countMax {
            places[author.digest] = authors.count
            authors.append(author)
        } else {
            // Of eight in turn, the one unheard of for longest.
            var victim = hand % authors.count
            for step in 1..<8 {
                let place = (hand + step) % authors.count
                if authors[place].heardAt < authors[victim].heardAt { victim = place }
            }
            hand = (hand + 8) % authors.count
            places[authors[victim].digest] = nil
            places[author.digest] = victim
            authors[victim] = author
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// The contacts of one node, in k-buckets by the length of the prefix that their key shares with ours.
///
/// Follows Kademlia (2002) sections 2.2 and 2.4. In a bucket the contact heard of longest ago stands first. A full
/// bucket takes nobody: the newcomer waits among the replacements, the owner asks the first contact whether it lives,
/// and only one that is silent twice gives up its place. So peers that stay are kept, and nobody displaces them by
/// turning up often. Contacts of one address group are capped per bucket and in the table.
///
/// All buckets lie in one array, four bytes a contact; the lab holds a million tables. Contacts that share 31 bits or
/// more are one bucket.
package struct RoutingTable: Sendable {
    package static let bucketsMax = 32
    /// The bit of an entry that says: was silent once.
    private static let suspectBit: UInt32 = 1 << 31
    private static let peerMask: UInt32 = suspectBit - 1

    package enum Heard: Hashable, Sendable {
        case known
        case added
        /// No place; it waits.
        case full
        /// Too many of its address group are here.
        case refused
    }

    private struct Replacement: Sendable {
        let peer: PeerIndex
        let bucket: UInt8
        let group: AddressGroup
    }

    package let ownWord: UInt64
    private let k: Int
    /// Bucket after bucket.
    private var entries: [UInt32] = []
    /// Where each bucket ends in `entries`.
    private var ends = SIMD32<UInt16>(repeating: 0)
    /// By place in `entries`; empty until a contact comes that has a group.
    private var groups: [AddressGroup] = []
    /// Oldest first.
    private var replacements: [Replacement] = []
    /// Buckets that newcomers wait for, one bit each.
    package private(set) var contested: UInt32 = 0

    package init(ownWord: UInt64, k: Int) {
        self.ownWord = ownWord
        // So that all places fit 16 bits.
        self.k = min(max(1, k), 1_024)
    }

    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }

    // MARK: Buckets

    package func bucket(of word: UInt64) -> Int {
        min(Self.bucketsMax - 1, (word ^ ownWord).leadingZeroBitCount)
    }

    package func count(inBucket bucket: Int) -> Int { range(bucket).count }
    package func isFull(_ bucket: Int) -> Bool { range(bucket).count >= k }

    /// The contact heard of longest ago.
    package func first(inBucket bucket: Int) -> PeerIndex? {
        let range = range(bucket)
        return range.isEmpty ? nil : PeerIndex(entries[range.lowerBound] & Self.peerMask)
    }

    /// The deepest bucket that holds anybody.
    package var deepestBucket: Int? {
        guard !entries.isEmpty else { return nil }
        var bucket = Self.bucketsMax - 1
        while bucket > 0, range(bucket).isEmpty { bucket -= 1 }
        return bucket
    }

    private func range(_ bucket: Int) -> Range<Int> {
        let start = bucket == 0 ? 0 : Int(ends[bucket - 1])
        return start..<Int(ends[bucket])
    }

    private func place(of peer: PeerIndex, in bucket: Int) -> Int? {
        for place in range(bucket) where entries[place] & Self.peerMask == peer.value { return place }
        return nil
    }

    package func contains(_ peer: PeerIndex, word: UInt64) -> Bool {
        place(of: peer, in: bucket(of: word)) != nil
    }

    /// A made-up point whose peers belong in `bucket`.
    func target(
        inBucket bucket: Int, _ settings: KademliaSettings, _ random: inout SeededGenerator
    ) -> KademliaTarget? {
        // The bucket's bit differs from ours, those before it don't.
        KademliaNames.target(
            sharing: bucket + 1, with: ownWord ^ (1 << UInt64(63 - bucket)),
            named: settings.configuration.areTargetsNamed, &random)
    }

    // MARK: Changes

    /// False when it is no contact.
    package mutating func contactHeard(_ peer: PeerIndex, word: UInt64) -> Bool {
        let bucket = bucket(of: word)
        guard let place = place(of: peer, in: bucket) else { return false }
        moveToEnd(place, of: bucket)
        return true
    }

    /// A peer that answers this protocol was heard.
    package mutating func heard(
        _ peer: PeerIndex, word: UInt64, group: AddressGroup, limits: KademliaLimits
    ) -> Heard {
        guard peer.value <= Self.peerMask else { return .refused }
        let bucket = bucket(of: word)
        if contactHeard(peer, word: word) { return .known }
        guard isWelcome(group, in: bucket, limits) else { return .refused }
        guard isFull(bucket) else {
            insert(peer, group, in: bucket)
            return .added
        }
        keepWaiting(Replacement(peer: peer, bucket: UInt8(bucket), group: group), countMax: limits.replacementsMax)
        return .full
    }

    /// A contact did not answer. True when it lost its place: silent twice, or a newcomer waits for it.
    package mutating func failed(_ peer: PeerIndex, word: UInt64, limits: KademliaLimits) -> Bool {
        let bucket = bucket(of: word)
        replacements.removeAll { $0.peer.value == peer.value }
        guard let place = place(of: peer, in: bucket) else { return false }
        let isContested = contested & (1 << UInt32(bucket)) != 0
        guard isContested || entries[place] & Self.suspectBit != 0 else {
            // Asked next, when it has not been heard until then.
            moveToStart(place, of: bucket)
            entries[range(bucket).lowerBound] |= Self.suspectBit
            return false
        }
        remove(place, from: bucket)
        fill(bucket, limits)
        return true
    }

    /// The peer answers this protocol no longer.
    package mutating func remove(_ peer: PeerIndex, word: UInt64, limits: KademliaLimits) -> Bool {
        let bucket = bucket(of: word)
        replacements.removeAll { $0.peer.value == peer.value }
        guard let place = place(of: peer, in: bucket) else { return false }
        remove(place, from: bucket)
        fill(bucket, limits)
        return true
    }

    /// Nobody waits for `bucket` any more: its first contact answered and keeps its place.
    package mutating func settle(_ bucket: Int) {
        contested &= ~(1 << UInt32(bucket))
    }

    /// Contacts for an empty table, without groups; what is over k in a bucket is left out.
    package mutating func load(_ peers: [PeerIndex], keys: Keyspace) {
        groups = []
        replacements = []
        contested = 0
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: max(1, peers.count)) { buckets in
            withUnsafeTemporaryAllocation(of: Int.self, capacity: Self.bucketsMax) { next in
                next.initialize(repeating: 0)
                for (place, peer) in peers.enumerated() {
                    let bucket = peer.value <= Self.peerMask ? bucket(of: keys.word(of: peer)) : Self.bucketsMax
                    buckets[place] = UInt8(bucket)
                    if bucket < Self.bucketsMax, next[bucket] < k { next[bucket] &+= 1 }
                }
                var sum = 0
                for bucket in 0..<Self.bucketsMax {
                    let count = next[bucket]
                    next[bucket] = sum
                    sum += count
                    ends[bucket] = UInt16(sum)
                }
                entries = [UInt32](unsafeUninitializedCapacity: sum) { entries, count in
                    for (place, peer) in peers.enumerated() {
                        let bucket = Int(buckets[place])
                        guard bucket < Self.bucketsMax, next[bucket] < Int(ends[bucket]) else { continue }
                        entries.initializeElement(at: next[bucket], to: peer.value)
                        next[bucket] &+= 1
                    }
                    count = sum
                }
            }
        }
    }

    // MARK: Reading

    /// Appends the contacts closest to `word`, at most `countMax`, in no order.
    ///
    /// Whole buckets are nearer or farther than each other, so that at most one needs to be looked into: first the
    /// bucket of `word`; then the deeper ones, those nearer than us by rising and those farther by falling number; then
    /// the shallower ones.
    package func appendClosest(
        to word: UInt64, countMax: Int, excluding excluded: PeerIndex? = nil, keys: Keyspace,
        into list: inout [PeerIndex]
    ) {
        var missing = min(countMax, entries.count)
        let difference = word ^ ownWord
        let home = bucket(of: word)
        func take(_ bucket: Int) {
            missing -= append(bucket, word, missing, excluded, keys, &list)
        }
        take(home)
        let deepest = missing > 0 ? deepestBucket ?? 0 : 0
        var bucket = home + 1
        while missing > 0, bucket <= deepest {
            if difference & (1 << UInt64(63 - bucket)) != 0 { take(bucket) }
            bucket += 1
        }
        bucket = deepest
        while missing > 0, bucket > home {
            if difference & (1 << UInt64(63 - bucket)) == 0 { take(bucket) }
            bucket -= 1
        }
        bucket = home - 1
        while missing > 0, bucket >= 0 {
            take(bucket)
            bucket -= 1
        }
    }

    private func append(
        _ bucket: Int, _ word: UInt64, _ countMax: Int, _ excluded: PeerIndex?, _ keys: Keyspace,
        _ list: inout [PeerIndex]
    ) -> Int {
        let range = range(bucket)
        guard !range.isEmpty, countMax > 0 else { return 0 }
        let before = list.count
        if range.count <= countMax {
            for place in range {
                let peer = PeerIndex(entries[place] & Self.peerMask)
                if peer != excluded { list.append(peer) }
            }
            return list.count - before
        }
        withUnsafeTemporaryAllocation(of: (distance: UInt64, peer: UInt32).self, capacity: range.count) { ranked in
            var count = 0
            for place in range {
                let peer = entries[place] & Self.peerMask
                if peer == excluded?.value { continue }
                let distance = keys.word(of: PeerIndex(peer)) ^ word
                var slot = count
                while slot > 0, ranked[slot - 1].distance > distance {
                    ranked[slot] = ranked[slot - 1]
                    slot -= 1
                }
                ranked[slot] = (distance, peer)
                count += 1
            }
            for slot in 0..<min(count, countMax) { list.append(PeerIndex(ranked[slot].peer)) }
        }
        return list.count - before
    }

    /// Reads the bucket and the replacements, one number of each cache line.
    package func warm(_ bucket: Int) -> UInt64 {
        var sum = UInt64(contested)
        for place in stride(from: 0, to: replacements.count, by: 4) { sum &+= UInt64(replacements[place].bucket) }
        let range = range(bucket)
        if let last = range.last { sum &+= UInt64(entries[range.lowerBound]) &+ UInt64(entries[last]) }
        return sum
    }

    package func forEach(_ body: (PeerIndex) -> Void) {
        for entry in entries { body(PeerIndex(entry & Self.peerMask)) }
    }

    package func forEachReplacement(_ body: (PeerIndex) -> Void) {
        for replacement in replacements { body(replacement.peer) }
    }

    /// Those near us first, then by how lately they were heard: what a new start needs most.
    package var mostUsefulFirst: [PeerIndex] {
        var list: [PeerIndex] = []
        for bucket in (0..<Self.bucketsMax).reversed() {
            for place in range(bucket).reversed() where entries[place] & Self.suspectBit == 0 {
                list.append(PeerIndex(entries[place] & Self.peerMask))
            }
        }
        return list
    }

    package func count(of group: AddressGroup) -> Int {
        groups.reduce(0) { $0 + ($1 == group ? 1 : 0) }
    }

    // MARK: Private

    private func isWelcome(_ group: AddressGroup, in bucket: Int, _ limits: KademliaLimits) -> Bool {
        guard group != .none, !groups.isEmpty else { return group == .none || limits.groupPerTableMax > 0 }
        guard count(of: group) < limits.groupPerTableMax else { return false }
        let here = groups[range(bucket)].reduce(0) { $0 + ($1 == group ? 1 : 0) }
        return here < limits.groupPerBucketMax
    }

    private mutating func insert(_ peer: PeerIndex, _ group: AddressGroup, in bucket: Int) {
        let place = range(bucket).upperBound
        entries.insert(peer.value, at: place)
        if groups.isEmpty, group != .none { groups = [AddressGroup](repeating: .none, count: entries.count - 1) }
        if !groups.isEmpty || group != .none { groups.insert(group, at: place) }
        for deeper in bucket..<Self.bucketsMax { ends[deeper] &+= 1 }
    }

    private mutating func remove(_ place: Int, from bucket: Int) {
        entries.remove(at: place)
        if !groups.isEmpty { groups.remove(at: place) }
        for deeper in bucket..<Self.bucketsMax { ends[deeper] &-= 1 }
    }

    /// Also forgets that the contact was silent.
    private mutating func moveToEnd(_ place: Int, of bucket: Int) {
        let end = range(bucket).upperBound - 1
        let entry = entries[place] & Self.peerMask
        var slot = place
        while slot < end {
            entries[slot] = entries[slot + 1]
            slot += 1
        }
        entries[end] = entry
        if !groups.isEmpty {
            let group = groups.remove(at: place)
            groups.insert(group, at: end)
        }
    }

    private mutating func moveToStart(_ place: Int, of bucket: Int) {
        let start = range(bucket).lowerBound
        entries.insert(entries.remove(at: place), at: start)
        if !groups.isEmpty { groups.insert(groups.remove(at: place), at: start) }
    }

    private mutating func keepWaiting(_ replacement: Replacement, countMax: Int) {
        guard countMax > 0 else { return }
        replacements.removeAll { $0.peer.value == replacement.peer.value }
        if replacements.count >= countMax { replacements.removeFirst() }
        replacements.append(replacement)
        contested |= 1 << UInt32(replacement.bucket)
    }

    /// The newcomer heard of last takes a free place.
    private mutating func fill(_ bucket: Int, _ limits: KademliaLimits) {
        while !isFull(bucket), let place = replacements.lastIndex(where: { Int($0.bucket) == bucket }) {
            let replacement = replacements.remove(at: place)
            if isWelcome(replacement.group, in: bucket, limits) {
                insert(replacement.peer, replacement.group, in: bucket)
            }
        }
        if !replacements.contains(where: { Int($0.bucket) == bucket }) { settle(bucket) }
    }
}

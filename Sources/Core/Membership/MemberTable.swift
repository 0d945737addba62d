// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

/// Who is a member and in what state, and whose turn it is to be probed.
///
/// A member that is alive at incarnation 0 costs nothing (peers 0..<`dense`) or four bytes (`listed`): only others are
/// stored with their state. Turns follow a keyed permutation of places, a new one each round, so no order is stored
/// either (SWIM section 4.3: round-robin bounds the time to the first probe by 2n - 1 turns).
struct MemberTable: Sendable {
    struct Member: Sendable {
        var state: MemberUpdate.State
        var incarnation: UInt32
    }

    private struct Tombstone: Sendable {
        let peer: PeerIndex
        let until: Instant
    }

    private let dense: UInt32
    private let countMax: Int
    /// Sorted.
    private var listed: [PeerIndex] = []
    private var differing: [PeerIndex: Member] = [:]
    private var tombstones = Deque<Tombstone>()
    private var goneCount = 0

    private var roundKey: UInt64 = 0
    private var roundCount: UInt32 = 0
    private var turn: UInt32 = 0

    init(dense: UInt32, countMax: Int) {
        self.dense = dense
        self.countMax = countMax
    }

    /// Places, those of the dead included until their tombstones go.
    var count: Int { Int(dense) + listed.count }
    /// Members that are alive or suspect.
    var liveCount: Int { count - goneCount }
    var listedPeers: [PeerIndex] { listed }

    func contains(_ peer: PeerIndex) -> Bool {
        peer.value < dense || place(of: peer).isFound
    }

    /// Nil for a peer that is no member.
    func member(_ peer: PeerIndex) -> Member? {
        if let member = differing[peer] { return member }
        return contains(peer) ? Member(state: .alive, incarnation: 0) : nil
    }

    /// False when the table is full.
    mutating func add(_ peer: PeerIndex) -> Bool {
        guard peer.value >= dense else { return true }
        let place = place(of: peer)
        guard !place.isFound else { return true }
        guard count < countMax else { return false }
        listed.insert(peer, at: place.index)
        return true
    }

    mutating func remove(_ peer: PeerIndex) {
        let place = place(of: peer)
        guard peer.value >= dense, place.isFound else { return }
        listed.remove(at: place.index)
        if let member = differing.removeValue(forKey: peer), member.state.isGone { goneCount -= 1 }
    }

    mutating func set(_ peer: PeerIndex, _ member: Member, tombstoneUntil: Instant) {
        assert(contains(peer), "only members have a state")
        let wasGone = differing[peer]?.state.isGone ?? false
        if member.state == .alive, member.incarnation == 0 {
            differing[peer] = nil
        } else {
            differing[peer] = member
        }
        if member.state.isGone, !wasGone {
            goneCount += 1
            if peer.value >= dense { tombstones.append(Tombstone(peer: peer, until: tombstoneUntil)) }
        } else if wasGone, !member.state.isGone {
            goneCount -= 1
        }
    }

    /// When the next of those is forgotten.
    var nextExpiry: Instant? { tombstones.first?.until }

    /// Forgets members that are gone for long. Those of the dense range stay: they have a place for good.
    mutating func expire(at now: Instant) {
        while let first = tombstones.first, first.until <= now {
            tombstones.removeFirst()
            if differing[first.peer]?.state.isGone ?? false { remove(first.peer) }
        }
    }

    // MARK: Turns

    /// The member whose turn it is: each live one once in a round.
    mutating func next(excluding own: PeerIndex, _ generator: inout SeededGenerator) -> PeerIndex? {
        guard liveCount > (contains(own) ? 1 : 0) else { return nil }
        // Within two rounds every place has had its turn.
        for _ in 0..<(2 * count + 2) {
            if turn >= roundCount {
                roundKey = generator.next()
                roundCount = UInt32(clamping: count)
                turn = 0
            }
            let place = KeyedPermutation.place(turn, of: roundCount, key: roundKey)
            turn += 1
            guard let peer = peer(at: place), peer != own, !isGone(peer) else { continue }
            return peer
        }
        return nil
    }

    /// Up to `count` live members by lot, all different.
    func sample(_ wanted: Int, _ generator: inout SeededGenerator, where isFit: (PeerIndex) -> Bool) -> [PeerIndex] {
        var chosen: [PeerIndex] = []
        guard count > 0 else { return chosen }
        for _ in 0..<(8 * wanted + 16) where chosen.count < wanted {
            let place = UInt32(truncatingIfNeeded: generator.next() % UInt64(count))
            guard let peer = peer(at: place), !isGone(peer), isFit(peer), !chosen.contains(peer) else { continue }
            chosen.append(peer)
        }
        return chosen
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for peer in listed { body(peer) }
        for stone in tombstones { body(stone.peer) }
    }

    private func isGone(_ peer: PeerIndex) -> Bool {
        goneCount > 0 && differing[peer]?.state.isGone ?? false
    }

    private func peer(at place: UInt32) -> PeerIndex? {
        if place < dense { return PeerIndex(place) }
        let index = Int(place - dense)
        return index < listed.count ? listed[index] : nil
    }

    private func place(of peer: PeerIndex) -> (index: Int, isFound: Bool) {
        var low = 0
        var high = listed.count
        while low < high {
            let middle = (low + high) / 2
            if listed[middle] < peer { low = middle + 1 } else { high = middle }
        }
        return (low, low < listed.count && listed[low] == peer)
    }
}

extension MemberUpdate.State {
    var isGone: Bool {
        switch self {
        case .dead, .left: true
        case .alive, .suspect: false
        }
    }
}

/// A bijection of 0..<count for each key: a Feistel network of four rounds over the next even number of bits, walked
/// until it lands inside.
enum KeyedPermutation {
    static func place(_ index: UInt32, of count: UInt32, key: UInt64) -> UInt32 {
        guard count > 1 else { return 0 }
        let bits = UInt32.bitWidth - (count - 1).leadingZeroBitCount
        let half = UInt64((bits + 1) / 2)
        let mask = (UInt64(1) << half) - 1
        var value = UInt64(index)
        repeat {
            var left = value >> half
            var right = value & mask
            for round in 0..<4 as Range<UInt64> {
                var mixed = (right &+ key &+ round &* 0x9E37_79B9_7F4A_7C15) &* 0xBF58_476D_1CE4_E5B9
                mixed = (mixed ^ (mixed >> 29)) &* 0x94D0_49BB_1331_11EB
                (left, right) = (right, left ^ (mixed >> 40) & mask)
            }
            value = left << half | right
        } while value >= UInt64(count)
        return UInt32(truncatingIfNeeded: value)
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// Gives every peer that a core speaks of its number, and the number back to whoever needs the id.
///
/// Numbers are dense. When the table is full, those that no core names any more are freed (`sweep`), between turns, so a
/// number never changes its meaning while somebody holds it. Own id: number 0.
package struct PeerTable: Sendable {
    private let countMax: Int
    private var ids: [PeerID?] = []
    private var numbers: [PeerID: UInt32] = [:]
    private var free: [UInt32] = []
    /// From so many on a sweep is due.
    private var sweepCount: Int
    /// By number; what Kademlia measures distances between: SHA-256 of the id.
    package private(set) var keys: [Bytes32] = []

    package init(own: PeerID, countMax: Int) {
        self.countMax = max(1, countMax)
        sweepCount = self.countMax / 4 * 3
        _ = index(of: own)
    }

    package static let own = PeerIndex(0)
    package var count: Int { numbers.count }
    /// Time to `sweep`: three quarters are used, and a sixteenth is new since the last time.
    package var isCrowded: Bool { numbers.count > sweepCount }

    /// Nil when the table is full.
    package mutating func index(of peer: PeerID) -> PeerIndex? {
        if let known = numbers[peer] { return PeerIndex(known) }
        guard numbers.count < countMax else { return nil }
        let key = KeyDerivation.sha256(peer.bytes)
        let number: UInt32
        if let reused = free.popLast() {
            number = reused
            ids[Int(number)] = peer
            keys[Int(number)] = key
        } else {
            number = UInt32(truncatingIfNeeded: ids.count)
            ids.append(peer)
            keys.append(key)
        }
        numbers[peer] = number
        return PeerIndex(number)
    }

    package func known(_ peer: PeerID) -> PeerIndex? { numbers[peer].map { PeerIndex($0) } }

    package func id(of peer: PeerIndex) -> PeerID? {
        let place = Int(peer.value)
        return place < ids.count ? ids[place] : nil
    }

    /// Frees every number but those that `mark` calls its argument with, and our own.
    package mutating func sweep(_ mark: ((PeerIndex) -> Void) -> Void) {
        var isUsed = [Bool](repeating: false, count: ids.count)
        if !isUsed.isEmpty { isUsed[0] = true }
        mark { peer in
            if Int(peer.value) < isUsed.count { isUsed[Int(peer.value)] = true }
        }
        for number in ids.indices where !isUsed[number] {
            guard let id = ids[number] else { continue }
            numbers[id] = nil
            ids[number] = nil
            free.append(UInt32(truncatingIfNeeded: number))
        }
        sweepCount = max(countMax / 4 * 3, numbers.count + countMax / 16)
    }
}

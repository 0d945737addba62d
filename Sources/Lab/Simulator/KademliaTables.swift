// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiKademlia

/// Peers in the order of their keys: who is nearest to a key, and the tables that they would have after a long time.
package struct KademliaTables: Sendable {
    /// The first 64 bits decide: among a million peers two share them once in 37 million networks.
    private var words: [UInt64] = []
    private var peers: [UInt32] = []

    package init(_ members: some Sequence<PeerIndex>, keys: Keyspace) {
        let pairs = members.map { (word: keys.key(of: $0).bytes.words.0, peer: $0.value) }
            .sorted { ($0.word, $0.peer) < ($1.word, $1.peer) }
        words = pairs.map(\.word)
        peers = pairs.map(\.peer)
    }

    package var count: Int { peers.count }

    /// The `count` nearest to a key, nearest first.
    package func closest(to key: KademliaKey, count: Int) -> [PeerIndex] {
        let target = key.bytes.words.0
        var range = 0..<words.count
        var bit: UInt64 = 1 << 63
        var prefix: UInt64 = 0
        // The smallest subtree of the target that holds enough.
        while bit > 0 {
            let inner = half(range, prefix: prefix | (target & bit), bit: bit)
            guard inner.count >= count else { break }
            range = inner
            prefix |= target & bit
            bit >>= 1
        }
        return range.sorted { (words[$0] ^ target, peers[$0]) < (words[$1] ^ target, peers[$1]) }
            .prefix(count).map { PeerIndex(peers[$0]) }
    }

    /// A settled table: in each bucket `k` of those who belong there, or all.
    package func sample(
        _ own: PeerIndex, key: KademliaKey, k: Int, draws: inout DrawStream, into table: inout [PeerIndex]
    ) {
        table.removeAll(keepingCapacity: true)
        let word = key.bytes.words.0
        var range = 0..<words.count
        var bit: UInt64 = 1 << 63
        var prefix: UInt64 = 0
        while bit > 0, range.count > 1 {
            let near = half(range, prefix: prefix | (word & bit), bit: bit)
            let far =
                near.lowerBound == range.lowerBound
                ? near.upperBound..<range.upperBound : range.lowerBound..<near.lowerBound
            take(far, k: k, own: own, draws: &draws, into: &table)
            range = near
            prefix |= word & bit
            bit >>= 1
        }
    }

    private func take(
        _ range: Range<Int>, k: Int, own: PeerIndex, draws: inout DrawStream, into table: inout [PeerIndex]
    ) {
        guard range.count > k else {
            for place in range where peers[place] != own.value { table.append(PeerIndex(peers[place])) }
            return
        }
        // In memory of its own: the compiler then compares eight numbers at a time.
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: k) { taken in
            var lots = draws
            var count = 0
            peers.withUnsafeBufferPointer { peers in
                while count < k {
                    let drawn = peers[range.lowerBound &+ Int(truncatingIfNeeded: lots.below(UInt64(range.count)))]
                    var same: UInt32 = 0
                    var place = 0
                    while place < count {
                        same |= taken[place] == drawn ? 1 : 0
                        place &+= 1
                    }
                    taken[count] = drawn
                    count &+= same == 0 ? 1 : 0
                }
            }
            draws = lots
            for place in 0..<k { table.append(PeerIndex(taken[place])) }
        }
    }

    /// The part of `range` whose words have `bit` as `prefix` has it; all share the bits above.
    private func half(_ range: Range<Int>, prefix: UInt64, bit: UInt64) -> Range<Int> {
        let boundary = (prefix & ~(bit &- 1)) | bit
        var (low, high) = (range.lowerBound, range.upperBound)
        while low < high {
            let middle = (low + high) / 2
            if words[middle] < boundary { low = middle + 1 } else { high = middle }
        }
        return prefix & bit != 0 ? low..<range.upperBound : range.lowerBound..<low
    }
}

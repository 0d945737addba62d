// SPDX-License-Identifier: Apache-2.0

/// The entries that one entry builds on, directly or not, as a set of places in the graph.
///
/// Places are numbered so that everything stands behind what it builds on. Histories are nearly lines, so nearly all of
/// the set is "everything before `full`"; the rest stands in blocks, which entries share as long as they don't differ.
struct GovernancePast: Sendable {
    private static let blockBits = 1_024
    private static let blockWords = blockBits / 64
    private static let emptyBlock = [UInt64](repeating: 0, count: blockWords)

    /// Every place below is in the set.
    private(set) var full = 0
    /// From the block in which `full` stands.
    private var blocks: [[UInt64]] = []

    init() {}

    /// The union of the pasts of `parents`, and they themselves.
    init(of parents: [Int], in pasts: (Int) -> GovernancePast) {
        guard let first = parents.max(by: { pasts($0).full < pasts($1).full }) else { return }
        self = pasts(first)
        for parent in parents where parent != first { formUnion(pasts(parent)) }
        for parent in parents { insert(parent) }
        advance()
    }

    func contains(_ place: Int) -> Bool {
        if place < full { return true }
        let block = place / Self.blockBits - full / Self.blockBits
        guard blocks.indices.contains(block) else { return false }
        return blocks[block][place % Self.blockBits / 64] & (1 << UInt64(place % 64)) != 0
    }

    private mutating func insert(_ place: Int) {
        guard place >= full else { return }
        let block = place / Self.blockBits - full / Self.blockBits
        while blocks.count <= block { blocks.append(Self.emptyBlock) }
        blocks[block][place % Self.blockBits / 64] |= 1 << UInt64(place % 64)
    }

    /// - Precondition: `other.full` is at most ours.
    private mutating func formUnion(_ other: GovernancePast) {
        let skipped = full / Self.blockBits - other.full / Self.blockBits
        guard skipped < other.blocks.count else { return }
        for index in skipped..<other.blocks.count {
            let own = index - skipped
            if own == blocks.count {
                blocks.append(other.blocks[index])
                continue
            }
            // Writing would make a copy of a block that is shared.
            let theirs = other.blocks[index]
            for word in 0..<Self.blockWords where blocks[own][word] | theirs[word] != blocks[own][word] {
                blocks[own][word] |= theirs[word]
            }
        }
    }

    /// Counts on over what has become complete. Bits below `full` in its own block stay, whatever they are.
    private mutating func advance() {
        let start = full / Self.blockBits
        while true {
            let block = full / Self.blockBits - start
            guard blocks.indices.contains(block) else { break }
            let word = blocks[block][full % Self.blockBits / 64] >> UInt64(full % 64)
            let ones = (~word).trailingZeroBitCount
            full += ones
            guard ones > 0, full % 64 == 0 else { break }
        }
        let done = full / Self.blockBits - start
        if done > 0 { blocks.removeFirst(min(done, blocks.count)) }
    }
}

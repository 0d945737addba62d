// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity

/// 128 bits: enough, since whoever finds two sets with one digest has only hidden his own entries from a peer.
package struct TreeDigest: Hashable, Sendable {
    package static let bytesCount = 16
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package init(truncating bytes: Bytes32) { self.init(high: bytes.words.0, low: bytes.words.1) }
}

package struct TreeChildren: Hashable, Sendable {
    /// Bit n: there is something under nibble n.
    package let bitmap: UInt16
    package let digests: [TreeDigest]

    /// Nil unless there is one digest for each bit, and a bit.
    package init?(bitmap: UInt16, digests: [TreeDigest]) {
        guard bitmap != 0, bitmap.nonzeroBitCount == digests.count else { return nil }
        self.bitmap = bitmap
        self.digests = digests
    }

    package subscript(nibble: Int) -> TreeDigest? {
        guard (0..<16).contains(nibble), bitmap >> UInt16(nibble) & 1 == 1 else { return nil }
        let place = (bitmap & ((1 << UInt16(nibble)) &- 1)).nonzeroBitCount
        return place < digests.count ? digests[place] : nil
    }

    /// The digest of their parent.
    package var digest: TreeDigest {
        var bytes: [UInt8] = [1, UInt8(truncatingIfNeeded: bitmap >> 8), UInt8(truncatingIfNeeded: bitmap)]
        bytes.reserveCapacity(3 + digests.count * TreeDigest.bytesCount)
        for digest in digests { bytes.append(digest) }
        return TreeDigest(truncating: KeyDerivation.sha256(bytes))
    }
}

/// One of the things that a tree sums up.
package protocol HashTreeLeaf: Hashable, Sendable {
    var key: Bytes32 { get }
    var digest: TreeDigest { get }
}

/// A set of leaves, each with a key and a digest, summed up so that two replicas find where theirs differ at a cost that
/// grows with the difference.
///
/// What a place (some first nibbles of keys) is worth is a function of the set of leaves beneath it alone, whatever the
/// order in which they came:
///
///     nothing beneath     no digest
///     one leaf            the leaf's digest, at whatever depth
///     more                SHA-256(1 ‖ bitmap of the children that exist ‖ their digests), its first 16 bytes
///     root                SHA-256(2 ‖ count of leaves, 8 bytes ‖ digest of the whole, if any), all 32 bytes
///
/// A change costs the depth of its leaf (log16 of the count where keys are as good as random); digests are made anew
/// when they are asked for, so that many changes share that work. Keys that agree in many nibbles make a longer path, at
/// most 64 nodes each; who wants such keys must search for them, sixteen times longer for each further nibble.
package struct HashTree<Leaf: HashTreeLeaf>: Sendable {
    /// Where a place leads. The top bit marks a leaf; zero is nothing.
    private struct Link: Hashable, Sendable {
        static var none: Link { Link(raw: 0) }
        private static var leafBit: UInt32 { 1 << 31 }
        let raw: UInt32

        private init(raw: UInt32) { self.raw = raw }
        static func leaf(_ index: Int) -> Link { Link(raw: UInt32(index) | leafBit) }
        static func node(_ index: Int) -> Link { Link(raw: UInt32(index)) }
        var isLeaf: Bool { raw & Self.leafBit != 0 }
        var index: Int { Int(raw & ~Self.leafBit) }
    }

    private struct Node: Sendable {
        /// Leaves beneath.
        var count = 0
        /// Nil: a leaf beneath has changed since.
        var digest: TreeDigest?
    }

    private var root = Link.none
    /// Index 0 is never used.
    private var nodes: [Node] = [Node()]
    /// Sixteen for each node.
    private var links: [Link] = Array(repeating: .none, count: 16)
    private var freeNodes: [Int] = []
    private var leaves: [Leaf] = []
    private var leafDigests: [TreeDigest] = []
    private var freeLeaves: [Int] = []
    package private(set) var count = 0

    package init() {}

    // MARK: Changes

    /// In place of the leaf of that key, if there is one. False when all digests stay as they were.
    @discardableResult
    package mutating func set(_ new: Leaf) -> Bool {
        let (key, digest) = (new.key, new.digest)
        if let place = place(of: key) {
            leaves[place] = new
            guard leafDigests[place] != digest else { return false }
            leafDigests[place] = digest
            walk(to: key) { $0.digest = nil }
            return true
        }
        let new = makeLeaf(new, digest)
        count += 1
        var parent: Int?
        var link = root
        var depth = 0
        while link != .none, !link.isLeaf {
            nodes[link.index].count += 1
            nodes[link.index].digest = nil
            parent = link.index
            link = links[link.index * 16 + key.nibble(depth)]
            depth += 1
        }
        guard link.isLeaf else {
            place(.leaf(new), under: parent, key.nibble(depth - 1))
            return true
        }
        // Two leaves at one place: nodes down to where their keys part.
        let old = leaves[link.index].key
        var slot = depth - 1
        while true {
            let node = makeNode(count: 2)
            place(.node(node), under: parent, key.nibble(slot))
            parent = node
            slot = depth
            depth += 1
            guard key.nibble(slot) == old.nibble(slot) else { break }
        }
        place(.leaf(new), under: parent, key.nibble(slot))
        place(link, under: parent, old.nibble(slot))
        return true
    }

    /// False when there was none.
    @discardableResult
    package mutating func remove(_ key: Bytes32) -> Bool {
        guard let leaf = place(of: key) else { return false }
        count -= 1
        var path: [Int] = []
        walk(to: key) { node in
            node.count -= 1
            node.digest = nil
        }
        var link = root
        while !link.isLeaf {
            path.append(link.index)
            link = links[link.index * 16 + key.nibble(path.count - 1)]
        }
        freeLeaves.append(leaf)
        place(.none, under: path.last, key.nibble(path.count - 1))
        // Nodes above a single leaf go; it takes the place of the highest.
        guard let highest = path.firstIndex(where: { nodes[$0].count == 1 }) else { return true }
        var last = Link.none
        for node in path[highest...].reversed() {
            for slot in node * 16..<node * 16 + 16 where links[slot] != .none {
                if links[slot].isLeaf { last = links[slot] }
                links[slot] = .none
            }
            freeNodes.append(node)
        }
        place(last, under: highest == 0 ? nil : path[highest - 1], key.nibble(highest - 1))
        return true
    }

    // MARK: Reading

    package mutating func rootDigest() -> Bytes32 {
        Self.rootDigest(count: count, digest(of: root))
    }

    /// What a tree of so many leaves and this digest of the whole is summed up by.
    package static func rootDigest(count: Int, _ whole: TreeDigest?) -> Bytes32 {
        var bytes: [UInt8] = [2]
        bytes.append(bigEndian: UInt64(count))
        if let whole { bytes.append(whole) }
        return KeyDerivation.sha256(bytes)
    }

    /// Nil: there is nothing.
    package mutating func digest(at prefix: SyncPrefix) -> TreeDigest? { digest(of: link(at: prefix)) }

    /// Nil unless there are two leaves or more.
    package mutating func children(at prefix: SyncPrefix) -> TreeChildren? {
        let link = link(at: prefix)
        guard link != .none, !link.isLeaf else { return nil }
        return children(of: link.index)
    }

    package func count(at prefix: SyncPrefix) -> Int { count(of: link(at: prefix)) }

    /// By rising key.
    package func leaves(at prefix: SyncPrefix) -> [Leaf] {
        var found: [Leaf] = []
        var waiting = [link(at: prefix)]
        while let link = waiting.popLast() {
            guard link != .none else { continue }
            if link.isLeaf {
                found.append(leaves[link.index])
            } else {
                waiting += links[link.index * 16..<link.index * 16 + 16].reversed()
            }
        }
        return found
    }

    package subscript(key: Bytes32) -> Leaf? { place(of: key).map { leaves[$0] } }

    // MARK: Inside

    private func place(of key: Bytes32) -> Int? {
        var link = root
        var depth = 0
        while link != .none, !link.isLeaf {
            link = links[link.index * 16 + key.nibble(depth)]
            depth += 1
        }
        return link.isLeaf && leaves[link.index].key == key ? link.index : nil
    }

    /// Every node above the leaf of this key.
    private mutating func walk(to key: Bytes32, _ change: (inout Node) -> Void) {
        var link = root
        var depth = 0
        while link != .none, !link.isLeaf {
            change(&nodes[link.index])
            link = links[link.index * 16 + key.nibble(depth)]
            depth += 1
        }
    }

    private func link(at prefix: SyncPrefix) -> Link {
        var link = root
        var depth = 0
        while depth < prefix.count, link != .none, !link.isLeaf {
            link = links[link.index * 16 + prefix.bytes.nibble(depth)]
            depth += 1
        }
        if link.isLeaf, !prefix.contains(leaves[link.index].key) { return .none }
        return link
    }

    private func count(of link: Link) -> Int {
        if link == .none { return 0 }
        return link.isLeaf ? 1 : nodes[link.index].count
    }

    private mutating func digest(of link: Link) -> TreeDigest? {
        if link == .none { return nil }
        if link.isLeaf { return leafDigests[link.index] }
        if let digest = nodes[link.index].digest { return digest }
        let digest = children(of: link.index)?.digest
        nodes[link.index].digest = digest
        return digest
    }

    /// Recursion at most 64 deep.
    private mutating func children(of node: Int) -> TreeChildren? {
        var bitmap: UInt16 = 0
        var digests: [TreeDigest] = []
        for nibble in 0..<16 {
            guard let digest = digest(of: links[node * 16 + nibble]) else { continue }
            bitmap |= 1 << UInt16(nibble)
            digests.append(digest)
        }
        return TreeChildren(bitmap: bitmap, digests: digests)
    }

    private mutating func place(_ link: Link, under parent: Int?, _ nibble: @autoclosure () -> Int) {
        if let parent { links[parent * 16 + nibble()] = link } else { root = link }
    }

    private mutating func makeLeaf(_ leaf: Leaf, _ digest: TreeDigest) -> Int {
        if let index = freeLeaves.popLast() {
            leaves[index] = leaf
            leafDigests[index] = digest
            return index
        }
        leaves.append(leaf)
        leafDigests.append(digest)
        return leaves.count - 1
    }

    private mutating func makeNode(count: Int) -> Int {
        if let index = freeNodes.popLast() {
            nodes[index] = Node(count: count)
            return index
        }
        nodes.append(Node(count: count))
        links += repeatElement(.none, count: 16)
        return nodes.count - 1
    }
}

extension SyncPrefix {
    /// Nil when something stands behind the prefix.
    init?(_ bytes: Bytes32, count: Int) {
        guard (0...Self.nibblesMax).contains(count), bytes.keepingNibbles(count) == bytes else { return nil }
        self.init(bytes: bytes, count: count)
    }

    /// Nil at full depth.
    package func appending(_ nibble: Int) -> SyncPrefix? {
        guard count < Self.nibblesMax, (0..<16).contains(nibble) else { return nil }
        return SyncPrefix(bytes: bytes.settingNibble(count, to: nibble), count: count + 1)
    }

    package func contains(_ key: Bytes32) -> Bool { key.keepingNibbles(count) == bytes }
}

extension Bytes32 {
    /// The first is the upper half of the first byte.
    fileprivate func nibble(_ place: Int) -> Int {
        let word =
            switch place >> 4 {
            case 0: words.0
            case 1: words.1
            case 2: words.2
            default: words.3
            }
        return Int(word >> UInt64(60 - 4 * (place & 15)) & 15)
    }

    fileprivate func settingNibble(_ place: Int, to nibble: Int) -> Bytes32 {
        let bits = UInt64(nibble & 15) << UInt64(60 - 4 * (place & 15))
        return switch place >> 4 {
        case 0: Bytes32(words: (words.0 | bits, words.1, words.2, words.3))
        case 1: Bytes32(words: (words.0, words.1 | bits, words.2, words.3))
        case 2: Bytes32(words: (words.0, words.1, words.2 | bits, words.3))
        default: Bytes32(words: (words.0, words.1, words.2, words.3 | bits))
        }
    }

    /// Zero behind the first `count` nibbles.
    fileprivate func keepingNibbles(_ count: Int) -> Bytes32 {
        func kept(_ word: UInt64, _ place: Int) -> UInt64 {
            let nibbles = count - place * 16
            if nibbles >= 16 { return word }
            return nibbles <= 0 ? 0 : word & ~(UInt64.max >> UInt64(4 * nibbles))
        }
        return Bytes32(words: (kept(words.0, 0), kept(words.1, 1), kept(words.2, 2), kept(words.3, 3)))
    }
}

extension Array where Element == UInt8 {
    fileprivate mutating func append(_ digest: TreeDigest) {
        append(bigEndian: digest.high)
        append(bigEndian: digest.low)
    }

    mutating func append(bigEndian word: UInt64) {
        for shift in stride(from: 56, through: 0, by: -8) { append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
    }
}

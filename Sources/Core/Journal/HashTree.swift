// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity

/// A set of leaves, each a digest under a 32-byte key, summed up so that two replicas find where theirs differ at a cost
/// that grows with the difference.
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
package struct HashTree: Sendable {
    /// 128 bits: enough, since whoever finds two sets with one digest has only hidden his own entries from a peer.
    package struct Digest: Hashable, Sendable {
        package static let bytesCount = 16
        package let high: UInt64
        package let low: UInt64

        package init(high: UInt64, low: UInt64) {
            self.high = high
            self.low = low
        }

        package init(truncating bytes: Bytes32) { self.init(high: bytes.words.0, low: bytes.words.1) }
    }

    package struct Children: Hashable, Sendable {
        /// Bit n: there is something under nibble n.
        package let bitmap: UInt16
        package let digests: [Digest]

        /// Nil unless there is one digest for each bit, and a bit.
        package init?(bitmap: UInt16, digests: [Digest]) {
            guard bitmap != 0, bitmap.nonzeroBitCount == digests.count else { return nil }
            self.bitmap = bitmap
            self.digests = digests
        }

        package subscript(nibble: Int) -> Digest? {
            guard (0..<16).contains(nibble), bitmap >> UInt16(nibble) & 1 == 1 else { return nil }
            let place = (bitmap & ((1 << UInt16(nibble)) &- 1)).nonzeroBitCount
            return place < digests.count ? digests[place] : nil
        }

        /// The digest of their parent.
        package var digest: Digest {
            var bytes: [UInt8] = [1, UInt8(truncatingIfNeeded: bitmap >> 8), UInt8(truncatingIfNeeded: bitmap)]
            bytes.reserveCapacity(3 + digests.count * Digest.bytesCount)
            for digest in digests { bytes.append(digest) }
            return Digest(truncating: KeyDerivation.sha256(bytes))
        }
    }

    /// Where a place leads. The top bit marks a leaf; zero is nothing.
    private struct Link: Hashable, Sendable {
        static let none = Link(raw: 0)
        private static let leafBit: UInt32 = 1 << 31
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
        var digest: Digest?
    }

    private var root = Link.none
    /// Index 0 is never used.
    private var nodes: [Node] = [Node()]
    /// Sixteen for each node.
    private var links: [Link] = Array(repeating: .none, count: 16)
    private var freeNodes: [Int] = []
    private var keys: [Bytes32] = []
    private var leafDigests: [Digest] = []
    private var freeLeaves: [Int] = []
    package private(set) var count = 0

    package init() {}

    // MARK: Changes

    /// False when the leaf was there already, with this digest.
    @discardableResult
    package mutating func set(_ key: Bytes32, _ digest: Digest) -> Bool {
        if let leaf = leaf(of: key) {
            guard leafDigests[leaf] != digest else { return false }
            leafDigests[leaf] = digest
            walk(to: key) { $0.digest = nil }
            return true
        }
        let new = makeLeaf(key, digest)
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
        let old = keys[link.index]
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
        guard let leaf = leaf(of: key) else { return false }
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
        var bytes: [UInt8] = [2]
        for shift in stride(from: 56, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: UInt64(count) >> UInt64(shift)))
        }
        if let digest = digest(of: root) { bytes.append(digest) }
        return KeyDerivation.sha256(bytes)
    }

    /// Nil: there is nothing.
    package mutating func digest(at prefix: SyncPrefix) -> Digest? { digest(of: link(at: prefix)) }

    /// Nil unless there are two leaves or more.
    package mutating func children(at prefix: SyncPrefix) -> Children? {
        let link = link(at: prefix)
        guard link != .none, !link.isLeaf else { return nil }
        return children(of: link.index)
    }

    package func count(at prefix: SyncPrefix) -> Int { count(of: link(at: prefix)) }

    /// By rising key.
    package func keys(at prefix: SyncPrefix) -> [Bytes32] {
        var found: [Bytes32] = []
        var waiting = [link(at: prefix)]
        while let link = waiting.popLast() {
            guard link != .none else { continue }
            if link.isLeaf {
                found.append(keys[link.index])
            } else {
                waiting += links[link.index * 16..<link.index * 16 + 16].reversed()
            }
        }
        return found
    }

    package func contains(_ key: Bytes32) -> Bool { leaf(of: key) != nil }

    // MARK: Inside

    private func leaf(of key: Bytes32) -> Int? {
        var link = root
        var depth = 0
        while link != .none, !link.isLeaf {
            link = links[link.index * 16 + key.nibble(depth)]
            depth += 1
        }
        return link.isLeaf && keys[link.index] == key ? link.index : nil
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
        if link.isLeaf, !prefix.contains(keys[link.index]) { return .none }
        return link
    }

    private func count(of link: Link) -> Int {
        if link == .none { return 0 }
        return link.isLeaf ? 1 : nodes[link.index].count
    }

    private mutating func digest(of link: Link) -> Digest? {
        if link == .none { return nil }
        if link.isLeaf { return leafDigests[link.index] }
        if let digest = nodes[link.index].digest { return digest }
        let digest = children(of: link.index)?.digest
        nodes[link.index].digest = digest
        return digest
    }

    /// Recursion at most 64 deep.
    private mutating func children(of node: Int) -> Children? {
        var bitmap: UInt16 = 0
        var digests: [Digest] = []
        for nibble in 0..<16 {
            guard let digest = digest(of: links[node * 16 + nibble]) else { continue }
            bitmap |= 1 << UInt16(nibble)
            digests.append(digest)
        }
        return Children(bitmap: bitmap, digests: digests)
    }

    private mutating func place(_ link: Link, under parent: Int?, _ nibble: @autoclosure () -> Int) {
        if let parent { links[parent * 16 + nibble()] = link } else { root = link }
    }

    private mutating func makeLeaf(_ key: Bytes32, _ digest: Digest) -> Int {
        if let index = freeLeaves.popLast() {
            keys[index] = key
            leafDigests[index] = digest
            return index
        }
        keys.append(key)
        leafDigests.append(digest)
        return keys.count - 1
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
    func keepingNibbles(_ count: Int) -> Bytes32 {
        func kept(_ word: UInt64, _ place: Int) -> UInt64 {
            let nibbles = count - place * 16
            if nibbles >= 16 { return word }
            return nibbles <= 0 ? 0 : word & ~(UInt64.max >> UInt64(4 * nibbles))
        }
        return Bytes32(words: (kept(words.0, 0), kept(words.1, 1), kept(words.2, 2), kept(words.3, 3)))
    }
}

extension Array where Element == UInt8 {
    fileprivate mutating func append(_ digest: HashTree.Digest) {
        for word in [digest.high, digest.low] {
            for shift in stride(from: 56, through: 0, by: -8) {
                append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
    }
}

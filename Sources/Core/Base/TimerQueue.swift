// SPDX-License-Identifier: Apache-2.0

/// Deadlines by key, earliest first; equal deadlines fire in the order in which they were set.
///
/// A binary heap with lazy deletion: `set` and `cancel` are O(log n) amortised, `next` is O(1). Each key has at most
/// one deadline. The order never depends on hashing.
package struct TimerQueue<Key: Hashable & Sendable>: Sendable {
    private struct Item: Sendable {
        let deadline: Instant
        let sequence: UInt64
        let key: Key

        func precedes(_ other: Item) -> Bool {
            deadline != other.deadline ? deadline < other.deadline : sequence < other.sequence
        }
    }

    /// The earliest deadline, or nil when nothing is set. Stored: cores ask for it in every turn.
    package private(set) var next: Instant?
    private var heap: [Item] = [] {
        didSet { next = heap.first?.deadline }
    }
    private var live: [Key: UInt64] = [:]
    private var sequence: UInt64 = 0

    package init() {}

    package var isEmpty: Bool { live.isEmpty }
    package var count: Int { live.count }

    package func isSet(_ key: Key) -> Bool { live[key] != nil }

    /// Sets or moves the deadline of `key`.
    package mutating func set(_ key: Key, at deadline: Instant) {
        sequence &+= 1
        live[key] = sequence
        push(Item(deadline: deadline, sequence: sequence, key: key))
        compactIfStale()
    }

    package mutating func cancel(_ key: Key) {
        live[key] = nil
        dropStaleHead()
        compactIfStale()
    }

    /// Removes and returns one key whose deadline is not after `now`. Call until nil.
    package mutating func popExpired(at now: Instant) -> Key? {
        guard let head = heap.first, head.deadline <= now else { return nil }
        live[head.key] = nil
        removeHead()
        dropStaleHead()
        return head.key
    }

    private mutating func dropStaleHead() {
        while let head = heap.first, live[head.key] != head.sequence {
            removeHead()
        }
    }

    /// Keys that are set again and again would otherwise fill the heap with dead items.
    private mutating func compactIfStale() {
        dropStaleHead()
        guard heap.count > 64, heap.count > live.count * 4 else { return }
        let kept = heap.filter { live[$0.key] == $0.sequence }
        heap.removeAll(keepingCapacity: true)
        for item in kept { push(item) }
    }

    private mutating func push(_ item: Item) {
        heap.append(item)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].precedes(heap[parent]) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func removeHead() {
        let last = heap.removeLast()
        guard !heap.isEmpty else { return }
        heap[0] = last
        var parent = 0
        while true {
            let left = parent * 2 + 1
            guard left < heap.count else { return }
            let right = left + 1
            let child = right < heap.count && heap[right].precedes(heap[left]) ? right : left
            guard heap[child].precedes(heap[parent]) else { return }
            heap.swapAt(child, parent)
            parent = child
        }
    }
}

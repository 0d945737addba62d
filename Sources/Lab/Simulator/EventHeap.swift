// SPDX-License-Identifier: Apache-2.0

/// Something that will happen at a peer. Events of one time happen in the order in which they were scheduled.
package struct ScheduledEvent<Payload> {
    package let time: UInt64
    package let sequence: UInt64
    package let peer: UInt32
    package let payload: Payload

    @inline(__always)
    func precedes(_ other: ScheduledEvent) -> Bool {
        time < other.time || (time == other.time && sequence < other.sequence)
    }
}

/// A heap with four children per node. Its memory is its own, and only its own code computes places in it.
struct EventHeap<Payload>: ~Copyable {
    private var items: UnsafeMutablePointer<ScheduledEvent<Payload>>
    private var capacity: Int
    private(set) var count = 0

    init() {
        capacity = 64
        items = .allocate(capacity: capacity)
    }

    deinit {
        items.deinitialize(count: count)
        items.deallocate()
    }

    @inline(__always) var isEmpty: Bool { count == 0 }

    /// Only when not empty.
    @inline(__always) var firstTime: UInt64 { items[0].time }

    /// Only when not empty.
    @inline(__always)
    func firstPrecedes(_ other: UnsafeMutablePointer<ScheduledEvent<Payload>>) -> Bool {
        items[0].precedes(other.pointee)
    }

    mutating func push(_ event: consuming ScheduledEvent<Payload>) {
        if count == capacity { grow() }
        let (time, sequence) = (event.time, event.sequence)
        var hole = count
        count &+= 1
        while hole > 0 {
            let parent = (hole &- 1) >> 2
            let isBefore =
                time < items[parent].time || (time == items[parent].time && sequence < items[parent].sequence)
            guard isBefore else { break }
            (items + hole).moveInitialize(from: items + parent, count: 1)
            hole = parent
        }
        (items + hole).initialize(to: event)
    }

    /// Only when not empty.
    mutating func pop() -> ScheduledEvent<Payload> {
        let first = items.move()
        count &-= 1
        guard count > 0 else { return first }
        let last = (items + count).move()
        var hole = 0
        while true {
            let child = hole &* 4 &+ 1
            guard child < count else { break }
            var best = child
            let end = min(child &+ 4, count)
            var other = child &+ 1
            while other < end {
                if items[other].precedes(items[best]) { best = other }
                other &+= 1
            }
            guard items[best].precedes(last) else { break }
            (items + hole).moveInitialize(from: items + best, count: 1)
            hole = best
        }
        (items + hole).initialize(to: last)
        return first
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<ScheduledEvent<Payload>>.allocate(capacity: capacity * 2)
        larger.moveInitialize(from: items, count: count)
        items.deallocate()
        items = larger
        capacity *= 2
    }
}

// SPDX-License-Identifier: Apache-2.0

/// All that is still to happen, in the order (time, sequence number).
///
/// Two wheels and a heap. The near wheel has 4,096 slots of `2^slotShift` ticks: two groups of 2,048, the one in which
/// time is and the next. The middle wheel has a slot for each of the following 2,046 groups; when time enters a group,
/// the one after it is dealt out to the near wheel. What lies beyond waits in a heap. With ticks of a nanosecond and a
/// shift of 20, a slot is about 1 ms, a group 2.1 s, and the heap begins at 73 minutes.
///
/// A slot is a list of chunks, unsorted; it is sorted when time reaches it. Arrivals into the open slot go to a small
/// heap beside it. Events are moved, never copied, and live in memory of the queue's own.
package struct EventQueue<Payload>: ~Copyable {
    package typealias Event = ScheduledEvent<Payload>

    package struct Slot {
        var head: Int32 = -1
        var tail: Int32 = -1
        var count: Int32 = 0
    }

    private static var groupBits: UInt64 { 11 }
    private static var nearCount: Int { 4_096 }
    private static var middleCount: Int { 2_048 }
    private static var bucketBitsMax: Int { 10 }
    private static var toldMax: Int { 16 }

    private let slotShift: UInt64
    private let chunkBits: Int

    /// The near slots, then the middle ones.
    private let slots: UnsafeMutablePointer<Slot>
    private let buckets: UnsafeMutablePointer<Int32>
    private var chunks: UnsafeMutablePointer<UnsafeMutablePointer<Event>>
    private var following: UnsafeMutablePointer<Int32>
    private var chunkCount = 0
    private var chunkCapacity = 1_024
    private var freeChunk: Int32 = -1

    private var open: UnsafeMutablePointer<Event>
    private var openCapacity = 256
    private var openCount = 0
    private var cursor = 0
    /// Events of the open slot before this were told by `takeUpcoming`.
    private var toldCount = 0
    private var openSlot: UInt64 = 0
    private var late = EventHeap<Payload>()
    private var far = EventHeap<Payload>()
    private var inNear = 0
    private var inMiddle = 0

    package private(set) var count = 0
    /// Events scheduled so far; the next one's number.
    package private(set) var sequence: UInt64 = 0

    package init(slotShift: Int = 20) {
        self.slotShift = UInt64(slotShift)
        // Chunks of about a kilobyte.
        var bits = 2
        while bits < 5, (2 << bits) * MemoryLayout<Event>.stride <= 1_024 { bits += 1 }
        chunkBits = bits
        slots = .allocate(capacity: Self.nearCount + Self.middleCount)
        slots.initialize(repeating: Slot(), count: Self.nearCount + Self.middleCount)
        buckets = .allocate(capacity: (1 << Self.bucketBitsMax) + 1)
        buckets.initialize(repeating: 0, count: (1 << Self.bucketBitsMax) + 1)
        chunks = .allocate(capacity: chunkCapacity)
        following = .allocate(capacity: chunkCapacity)
        open = .allocate(capacity: openCapacity)
    }

    deinit {
        (open + cursor).deinitialize(count: openCount - cursor)
        open.deallocate()
        for place in 0..<(Self.nearCount + Self.middleCount) {
            var (chunk, left) = (slots[place].head, Int(slots[place].count))
            while left > 0 {
                let here = min(left, 1 << chunkBits)
                chunks[Int(chunk)].deinitialize(count: here)
                left -= here
                chunk = following[Int(chunk)]
            }
        }
        for chunk in 0..<chunkCount { chunks[chunk].deallocate() }
        chunks.deallocate()
        following.deallocate()
        slots.deallocate()
        buckets.deallocate()
    }

    /// A time that has passed counts as now.
    @inline(__always)
    package mutating func push(at time: UInt64, peer: UInt32, _ payload: consuming Payload) {
        let event = Event(time: time, sequence: sequence, peer: peer, payload: payload)
        sequence &+= 1
        count &+= 1
        place(event)
    }

    /// The next event unless it is after `end`.
    @inline(__always)
    package mutating func pop(notAfter end: UInt64) -> Event? {
        if cursor == openCount, late.isEmpty, !advance() { return nil }
        if cursor < openCount, late.isEmpty || !late.firstPrecedes(open + cursor) {
            guard open[cursor].time <= end else { return nil }
            count &-= 1
            cursor &+= 1
            return (open + (cursor &- 1)).move()
        }
        guard late.firstTime <= end else { return nil }
        count &-= 1
        return late.pop()
    }

    /// Some events that come next, each told once, so that what they need can be read into the cache together; valid
    /// until the next call. Those that are scheduled for the slot in which time is are never told.
    @inline(__always)
    package mutating func takeUpcoming() -> UnsafeBufferPointer<Event> {
        if cursor == openCount, late.isEmpty { _ = advance() }
        guard cursor >= toldCount, cursor < openCount else { return UnsafeBufferPointer(start: nil, count: 0) }
        toldCount = min(openCount, cursor &+ Self.toldMax)
        return UnsafeBufferPointer(start: open + cursor, count: toldCount &- cursor)
    }

    // MARK: Places

    @inline(__always)
    private mutating func place(_ event: consuming Event) {
        let slot = event.time >> slotShift
        guard slot > openSlot else { return late.push(event) }
        let (group, current) = (slot >> Self.groupBits, openSlot >> Self.groupBits)
        if group <= current &+ 1 {
            inNear &+= 1
            append(event, to: Int(truncatingIfNeeded: slot & 4_095))
        } else if group < current &+ 2_048 {
            inMiddle &+= 1
            append(event, to: Self.nearCount &+ Int(truncatingIfNeeded: group & 2_047))
        } else {
            far.push(event)
        }
    }

    @inline(__always)
    private mutating func append(_ event: consuming Event, to place: Int) {
        let fill = Int(slots[place].count) & ((1 << chunkBits) &- 1)
        if fill == 0 {
            let chunk = takeChunk()
            if slots[place].count == 0 { slots[place].head = chunk } else { following[Int(slots[place].tail)] = chunk }
            slots[place].tail = chunk
        }
        (chunks[Int(slots[place].tail)] + fill).initialize(to: event)
        slots[place].count &+= 1
    }

    private mutating func takeChunk() -> Int32 {
        if freeChunk >= 0 {
            let chunk = freeChunk
            freeChunk = following[Int(chunk)]
            return chunk
        }
        if chunkCount == chunkCapacity {
            let (moreChunks, moreFollowing) = (
                UnsafeMutablePointer<UnsafeMutablePointer<Event>>.allocate(capacity: chunkCapacity * 2),
                UnsafeMutablePointer<Int32>.allocate(capacity: chunkCapacity * 2)
            )
            moreChunks.moveInitialize(from: chunks, count: chunkCount)
            moreFollowing.moveInitialize(from: following, count: chunkCount)
            chunks.deallocate()
            following.deallocate()
            (chunks, following) = (moreChunks, moreFollowing)
            chunkCapacity *= 2
        }
        (chunks + chunkCount).initialize(to: .allocate(capacity: 1 << chunkBits))
        (following + chunkCount).initialize(to: -1)
        chunkCount += 1
        return Int32(chunkCount - 1)
    }

    // MARK: Time

    /// Moves on to the next slot that holds something; false when nothing is left.
    private mutating func advance() -> Bool {
        cursor = 0
        toldCount = 0
        openCount = 0
        while openCount == 0, late.isEmpty {
            if inNear > 0 {
                openSlot &+= 1
            } else if inMiddle > 0 {
                openSlot = ((openSlot >> Self.groupBits) &+ 1) << Self.groupBits
            } else if !far.isEmpty {
                openSlot = far.firstTime >> slotShift
                admitFar()
                continue
            } else {
                return false
            }
            if openSlot & 2_047 == 0 { enterGroup(openSlot >> Self.groupBits) }
            openCurrent()
        }
        return true
    }

    /// What was beyond the wheels and no longer is.
    private mutating func admitFar() {
        while !far.isEmpty, far.firstTime >> (slotShift + Self.groupBits) < (openSlot >> Self.groupBits) &+ 2_048 {
            place(far.pop())
        }
    }

    private mutating func enterGroup(_ group: UInt64) {
        let source = Self.nearCount + Int((group &+ 1) & 2_047)
        let slot = slots[source]
        slots[source] = Slot()
        inMiddle -= Int(slot.count)
        inNear += Int(slot.count)
        var (chunk, left) = (slot.head, Int(slot.count))
        while left > 0 {
            let here = min(left, 1 << chunkBits)
            for place in 0..<here {
                let event = (chunks[Int(chunk)] + place).move()
                append(event, to: Int(truncatingIfNeeded: (event.time >> slotShift) & 4_095))
            }
            left -= here
            chunk = freed(chunk)
        }
        admitFar()
    }

    /// Gives each event of a slot to `body`, which takes it out, and frees the slot's chunks.
    @inline(__always)
    private mutating func forEachMoved(_ slot: Slot, _ body: (UnsafeMutablePointer<Event>) -> Void) {
        var (chunk, left) = (slot.head, Int(slot.count))
        while left > 0 {
            let here = min(left, 1 << chunkBits)
            let items = chunks[Int(chunk)]
            var place = 0
            while place < here {
                body(items + place)
                place &+= 1
            }
            left -= here
            chunk = freed(chunk)
        }
    }

    /// The one after it.
    private mutating func freed(_ chunk: Int32) -> Int32 {
        let next = following[Int(chunk)]
        following[Int(chunk)] = freeChunk
        freeChunk = chunk
        return next
    }

    /// Sorts the slot in which time is into `open`: dealt out by time first, so that little is left to insert.
    private mutating func openCurrent() {
        let place = Int(truncatingIfNeeded: openSlot & 4_095)
        let slot = slots[place]
        guard slot.count > 0 else { return }
        slots[place] = Slot()
        let total = Int(slot.count)
        inNear -= total
        if total > openCapacity {
            open.deallocate()
            while openCapacity < total { openCapacity *= 2 }
            open = .allocate(capacity: openCapacity)
        }
        deal(slot, total)
        sortOpen(total)
        openCount = total
    }

    private mutating func deal(_ slot: Slot, _ total: Int) {
        let target = open
        guard total > 16 else {
            var next = 0
            return forEachMoved(slot) { event in
                (target + next).moveInitialize(from: event, count: 1)
                next &+= 1
            }
        }
        let bits = min(Self.bucketBitsMax, Int.bitWidth - total.leadingZeroBitCount)
        let used = 1 << bits
        let shift = slotShift - UInt64(min(bits, Int(slotShift)))
        let mask = (UInt64(1) << slotShift) &- 1
        buckets.update(repeating: 0, count: used + 1)
        var (chunk, left) = (slot.head, total)
        while left > 0 {
            let here = min(left, 1 << chunkBits)
            for place in 0..<here {
                buckets[Int(truncatingIfNeeded: (chunks[Int(chunk)][place].time & mask) >> shift) &+ 1] &+= 1
            }
            left -= here
            chunk = following[Int(chunk)]
        }
        for bucket in 0..<used { buckets[bucket &+ 1] &+= buckets[bucket] }
        let starts = buckets
        forEachMoved(slot) { event in
            let bucket = Int(truncatingIfNeeded: (event.pointee.time & mask) >> shift)
            (target + Int(starts[bucket])).moveInitialize(from: event, count: 1)
            starts[bucket] &+= 1
        }
    }

    private func sortOpen(_ total: Int) {
        var place = 1
        while place < total {
            if open[place].precedes(open[place &- 1]) {
                let event = (open + place).move()
                var hole = place
                repeat {
                    (open + hole).moveInitialize(from: open + (hole &- 1), count: 1)
                    hole &-= 1
                } while hole > 0 && event.precedes(open[hole &- 1])
                (open + hole).initialize(to: event)
            }
            place &+= 1
        }
    }
}

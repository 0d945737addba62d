// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiSimulator

@Suite("Event queue")
struct EventQueueTests {
    private struct Due: Comparable {
        let time: UInt64
        let sequence: Int
        static func < (lhs: Due, rhs: Due) -> Bool { (lhs.time, lhs.sequence) < (rhs.time, rhs.sequence) }
    }

    @Test(
        "Events come in the order of (time, sequence), near, far and beyond both wheels",
        arguments: 1...20 as ClosedRange<UInt64>)
    func order(seed: UInt64) {
        var draws = DrawStream(seed: seed)
        var queue = EventQueue<Int>(slotShift: 10)
        var oracle: [Due] = []
        var now: UInt64 = 0
        var sequence = 0
        let spans: [UInt64] = [1, 3, 1_000, 50_000, 3_000_000, 5_000_000_000, 40_000_000_000]
        for _ in 0..<3_000 {
            for _ in 0..<draws.below(4) {
                let time = now + draws.below(spans[Int(draws.below(UInt64(spans.count)))])
                queue.push(at: time, peer: 0, sequence)
                oracle.append(Due(time: time, sequence: sequence))
                sequence += 1
            }
            guard draws.below(3) > 0, let next = oracle.min() else { continue }
            let event = queue.pop(notAfter: .max)
            #expect(event?.time == next.time)
            #expect(event?.payload == next.sequence)
            now = next.time
            oracle.removeAll { $0.sequence == next.sequence }
        }
        for due in oracle.sorted() {
            let event = queue.pop(notAfter: .max)
            #expect(event?.payload == due.sequence)
        }
        #expect(queue.count == 0)
    }

    @Test("Upcoming events are told once each, before they come, and change no order")
    func upcoming() {
        var queue = EventQueue<Int>(slotShift: 10)
        var draws = DrawStream(seed: 6)
        var due: [Due] = []
        for sequence in 0..<2_000 {
            let time = 5_000 + draws.below(100_000)
            queue.push(at: time, peer: 0, sequence)
            due.append(Due(time: time, sequence: sequence))
        }
        var told: [Int] = []
        for (place, expected) in due.sorted().enumerated() {
            for event in queue.takeUpcoming() { told.append(event.payload) }
            #expect(told.count > place)
            let event = queue.pop(notAfter: .max)
            #expect(event?.payload == expected.sequence)
        }
        #expect(told == due.sorted().map(\.sequence))
        #expect(queue.takeUpcoming().count == 0)
    }

    @Test("Many events in one slot, and many at one time, keep their order")
    func crowdedSlot() {
        var queue = EventQueue<Int>(slotShift: 20)
        var draws = DrawStream(seed: 5)
        var due: [Due] = []
        for sequence in 0..<20_000 {
            let time = 5_000_000 + draws.below(100) * 10_000
            queue.push(at: time, peer: 0, sequence)
            due.append(Due(time: time, sequence: sequence))
        }
        for expected in due.sorted() {
            let event = queue.pop(notAfter: .max)
            #expect(event?.payload == expected.sequence)
        }
    }

    @Test("Nothing after the end is given out, and it comes later")
    func end() {
        var queue = EventQueue<Int>()
        queue.push(at: 10, peer: 0, 1)
        queue.push(at: 90_000_000_000_000, peer: 0, 2)
        let ends: [UInt64] = [9, 10, 80_000_000_000_000]
        let early = ends.map { end -> Int? in queue.pop(notAfter: end)?.payload }
        #expect(early == [nil, 1, nil])
        queue.push(at: 85_000_000_000_000, peer: 0, 3)
        let late = (0..<2).map { _ -> Int? in queue.pop(notAfter: .max)?.payload }
        #expect(late == [3, 2])
    }

    @Test("What is left in a queue is freed with it, and what was taken lives on")
    func memory() {
        final class Witness {}
        weak var left: Witness?
        weak var taken: Witness?
        var kept: Witness?
        do {
            var queue = EventQueue<Witness>()
            let (a, b) = (Witness(), Witness())
            (taken, left) = (a, b)
            queue.push(at: 1, peer: 0, a)
            queue.push(at: 10_000_000_000, peer: 0, b)
            kept = queue.pop(notAfter: 1)?.payload
        }
        #expect(left == nil)
        #expect(taken === kept)
        #expect(kept != nil)
    }

    @Test(
        "The load that engines are compared by gives the digest of the others",
        arguments: [
            (1_000, 100, 299_878, "47a5dbaff21f0cf4"), (10_000, 20, 598_418, "8f75efefd5dd54a4"),
        ] as [(Int, UInt64, Int, String)])
    func workload(nodes: Int, seconds: UInt64, events: Int, digest: String) {
        var bench = WorkloadBench(nodes: nodes, seconds: seconds, seed: 1)
        bench.run()
        #expect(bench.events == events)
        #expect(bench.digest.text == digest)
    }
}

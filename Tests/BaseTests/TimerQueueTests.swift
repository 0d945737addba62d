// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase

@Suite("Timer queue")
struct TimerQueueTests {
    /// The same queue as a list that is searched.
    private struct Model {
        var items: [(key: Int, deadline: Instant, sequence: Int)] = []
        var sequence = 0

        private func precedes(_ left: (Int, Instant, Int), _ right: (Int, Instant, Int)) -> Bool {
            left.1 != right.1 ? left.1 < right.1 : left.2 < right.2
        }

        var first: (key: Int, deadline: Instant, sequence: Int)? { items.min { precedes($0, $1) } }

        mutating func set(_ key: Int, at deadline: Instant) {
            items.removeAll { $0.key == key }
            sequence += 1
            items.append((key, deadline, sequence))
        }

        mutating func cancel(_ key: Int) { items.removeAll { $0.key == key } }

        mutating func popExpired(at now: Instant) -> Int? {
            guard let first, first.deadline <= now else { return nil }
            cancel(first.key)
            return first.key
        }
    }

    @Test("Random sets, cancels and pops agree with a plain list", arguments: 0..<30 as Range<UInt64>)
    func model(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var queue = TimerQueue<Int>()
        var model = Model()
        // Few keys make moves frequent, many make the heap deep.
        let keys = [3, 20, 300][Int(seed % 3)]
        for _ in 0..<2_000 {
            let key = Int.random(in: 0..<keys, using: &generator)
            let time = Instant(nanoseconds: Int64.random(in: 0..<50, using: &generator))
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<6:
                queue.set(key, at: time)
                model.set(key, at: time)
            case 6..<8:
                queue.cancel(key)
                model.cancel(key)
            default:
                #expect(queue.popExpired(at: time) == model.popExpired(at: time))
            }
            #expect(queue.next == model.first?.deadline)
            #expect(queue.count == model.items.count)
            #expect(queue.isEmpty == model.items.isEmpty)
            #expect(queue.isSet(key) == model.items.contains { $0.key == key })
        }
        while let key = model.popExpired(at: .distantFuture) {
            #expect(queue.popExpired(at: .distantFuture) == key)
        }
        #expect(queue.popExpired(at: .distantFuture) == nil)
        #expect(queue.next == nil)
    }

    @Test("Equal deadlines fire in the order in which they were set, and setting again goes to the end")
    func ties() {
        var queue = TimerQueue<String>()
        for key in ["a", "b", "c", "a"] { queue.set(key, at: .zero) }
        var fired: [String] = []
        while let key = queue.popExpired(at: .zero) { fired.append(key) }
        #expect(fired == ["b", "c", "a"])
    }

    @Test("Nothing fires before its deadline")
    func early() {
        var queue = TimerQueue<Int>()
        queue.set(1, at: Instant(nanoseconds: 10))
        #expect(queue.popExpired(at: Instant(nanoseconds: 9)) == nil)
        #expect(queue.popExpired(at: Instant(nanoseconds: 10)) == 1)
        queue.cancel(1)
        #expect(queue.isEmpty)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase

@Suite("Queues, rates, generators and small values")
struct CollectionTests {
    @Test("A bounded queue keeps order, refuses what does not fit and counts it")
    func boundedQueue() {
        var queue = BoundedQueue<Int>(countMax: 3)
        for value in 1...3 { #expect(queue.append(value) == true) }
        #expect(queue.isFull)
        #expect(queue.append(4) == false)
        #expect(queue.append(5) == false)
        #expect(queue.refusedCount == 2)
        #expect(queue.first == 1)
        #expect(queue.popFirst() == 1)
        #expect(queue.append(6) == true)
        #expect([queue.popFirst(), queue.popFirst(), queue.popFirst(), queue.popFirst()] == [2, 3, 6, nil])
        #expect(queue.isEmpty && queue.count == 0 && !queue.isFull)
        #expect(queue.append(7) == true)
        queue.removeAll()
        #expect(queue.isEmpty && queue.refusedCount == 2)
    }

    @Test("A bucket gives its burst, then one token an interval")
    func tokenBucket() {
        var now = Instant.zero
        var bucket = TokenBucket(interval: .seconds(1), burst: 3, at: now)
        #expect([1, 2, 3, 4].map { _ in bucket.take(at: now) } == [true, true, true, false])
        now = now + .milliseconds(999)
        #expect(bucket.take(at: now) == false)
        now = now + .milliseconds(1)
        #expect(bucket.take(at: now) == true)
        #expect(bucket.take(at: now) == false)
        // A part of an interval is not lost.
        now = now + .milliseconds(1_700)
        #expect(bucket.take(at: now) == true)
        now = now + .milliseconds(300)
        #expect(bucket.take(at: now) == true)
        #expect(bucket.take(at: now) == false)
        // No more than the burst is saved, and several tokens are taken together or not at all.
        now = now + .seconds(1_000_000)
        #expect(bucket.take(4, at: now) == false)
        #expect(bucket.take(2, at: now) == true)
        #expect(bucket.take(2, at: now) == false)
        #expect(bucket.take(1, at: now) == true)
    }

    @Test("A bucket survives extreme times and settings")
    func tokenBucketExtremes() {
        var bucket = TokenBucket(interval: .nanoseconds(0), burst: .max, at: Instant(nanoseconds: .min))
        #expect(bucket.take(.max, at: Instant(nanoseconds: .min)) == true)
        #expect(bucket.take(.max, at: .distantFuture) == true)
        var slow = TokenBucket(interval: .seconds(Int64.max), burst: 0, at: .distantFuture)
        #expect(slow.take(at: .distantFuture) == true)
        // Time that goes back earns nothing.
        #expect(slow.take(at: Instant(nanoseconds: .min)) == false)
        #expect(slow.take(at: .distantFuture) == false)
    }

    @Test("Over any span a bucket gives no more than its burst and what the span earns")
    func tokenBucketRate() {
        var generator = SeededGenerator(seed: 1)
        var bucket = TokenBucket(interval: .milliseconds(10), burst: 5, at: .zero)
        var now = Instant.zero
        var taken = 0
        for _ in 0..<5_000 {
            now = now + .milliseconds(Int.random(in: 0...12, using: &generator))
            if bucket.take(at: now) { taken += 1 }
            #expect(Int64(taken) <= 5 + now.nanoseconds / 10_000_000)
        }
        #expect(taken > 1_000)
    }

    @Test(
        "The seeded generator is xoshiro256** seeded through SplitMix64",
        arguments: [
            (0, [0x99EC_5F36_CB75_F2B4, 0xBF6E_1F78_4956_452A, 0x1A5F_849D_4933_E6E0, 0x6AA5_94F1_262D_2D2C]),
            (1, [0xB3F2_AF6D_0FC7_10C5, 0x853B_5596_4736_4CEA, 0x92F8_9756_082A_4514, 0x642E_1C7B_C266_A3A7]),
            (42, [0x1578_0B2E_0C2E_C716, 0x6104_D986_6D11_3A7E, 0xAE17_5332_39E4_99A1, 0xECB8_AD47_03B3_60A1]),
        ] as [(UInt64, [UInt64])])
    func generatorGolden(seed: UInt64, expected: [UInt64]) {
        var generator = SeededGenerator(seed: seed)
        #expect(expected.map { _ in generator.next() } == expected)
    }

    @Test("Split generators repeat with their parent and differ from it")
    func split() {
        var first = SeededGenerator(seed: 9)
        var second = SeededGenerator(seed: 9)
        var child = first.split()
        var sameChild = second.split()
        let values = (0..<8).map { _ in child.next() }
        #expect(values == (0..<8).map { _ in sameChild.next() })
        #expect(values != (0..<8).map { _ in first.next() })
    }

    @Test("A seeded key source repeats, the system's does not")
    func keySources() {
        var first = KeySource.seeded(SeededGenerator(seed: 3))
        var second = KeySource.seeded(SeededGenerator(seed: 3))
        let value = first.nextBytes32()
        #expect(value == second.nextBytes32())
        #expect(value != first.nextBytes32())
        var system = KeySource.system
        #expect(system.nextBytes32() != system.nextBytes32())
    }

    @Test("Thirty-two bytes keep their order, their equality and themselves")
    func bytes32() throws {
        #expect(Bytes32([UInt8](repeating: 1, count: 31)) == nil)
        #expect(Bytes32([UInt8](repeating: 1, count: 33)) == nil)
        #expect(Bytes32([] as [UInt8]) == nil)
        let counted = try #require(Bytes32((0..<40).map { UInt8($0) }[4..<36]))
        #expect(counted.words.0 == 0x0405_0607_0809_0A0B)
        #expect(counted.bytes == (4..<36).map { UInt8($0) })
        #expect(counted.withUnsafeBytes { $0.last } == 35)
        #expect(Bytes32.zero.bytes == [UInt8](repeating: 0, count: 32))
        var generator = SeededGenerator(seed: 2)
        let values = (0..<100).map { _ in (0..<32).map { _ in UInt8.random(in: 0...1, using: &generator) * 255 } }
        for left in values {
            for right in values.prefix(20) {
                let (l, r) = (try #require(Bytes32(left)), try #require(Bytes32(right)))
                #expect((l < r) == left.lexicographicallyPrecedes(right))
                #expect((l == r) == (left == right))
            }
        }
        #expect(Set(values.compactMap { Bytes32($0) }).count == Set(values).count)
    }

    @Test("Errors say what broke, in words")
    func errors() {
        #expect(DecodeError.truncated("frame").description == "frame ends too early")
        #expect(DecodeError.tooLarge("frame", limit: 4).description == "frame is over the limit of 4")
        #expect(DecodeError.malformed("frame").description == "frame is malformed")
        #expect(DecodeError.unsupported("frame").description == "frame is not supported")
        #expect(DecodeError.truncated("frame") != .truncated("key"))
    }
}

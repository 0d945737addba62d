// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiTransport

struct PartsTests {
    @Test("The window pool gives all or nothing, and takes back")
    func windowPool() {
        let pool = WindowPool(bytes: 100)
        #expect(pool.take(60))
        #expect(!pool.take(41))
        #expect(!pool.take(-1))
        #expect(pool.take(40))
        #expect(pool.freeBytes == 0)
        pool.give(100)
        #expect(pool.freeBytes == 100)
    }

    @Test("Many tasks never take more from the pool than it has")
    func windowPoolTogether() async {
        let pool = WindowPool(bytes: 1000)
        await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask { (0..<1000).reduce(0) { sum, _ in pool.take(1) ? sum + 1 : sum } }
            }
            #expect(await group.reduce(0, +) == 1000)
        }
        #expect(pool.freeBytes == 0)
    }

    @Test("The meter reports a busy connection once a second, and once when it is no longer busy")
    func meter() {
        var meter = ProcessorMeter(at: .zero)
        var reports: [Int] = []
        // Half of each 10 ms for two seconds, then a tenth.
        for tick in 0..<400 {
            let start = Instant(nanoseconds: Int64(tick) * 10_000_000)
            let used: Duration = tick < 200 ? .milliseconds(5) : .milliseconds(1)
            if let percent = meter.turnEnded(from: start, to: start + used, threshold: 25) { reports.append(percent) }
        }
        // A quarter of a second is used up twice a second.
        #expect(reports.count == 5)
        #expect(reports.prefix(4).allSatisfy { (45...55).contains($0) })
        #expect(reports.last.map { $0 < 25 } == true)
    }

    @Test("A burst after a silence isn't diluted by it")
    func meterAfterSilence() {
        var meter = ProcessorMeter(at: .zero)
        let start = Instant.zero + .seconds(60)
        #expect(meter.turnEnded(from: start, to: start + .milliseconds(240), threshold: 25) == nil)
        let next = start + .milliseconds(950)
        #expect(meter.turnEnded(from: next, to: next + .milliseconds(50), threshold: 25) == 29)
    }

    @Test("Read buffers begin small, grow while reads fill them, and shrink after two short ones")
    func receiveAllocator() {
        var allocator = ReceiveAllocator(bytesMax: 256 * 1024)
        func size() -> Int { allocator.buffer(allocator: ByteBufferAllocator()).capacity }
        #expect(size() == 256)
        var sizes: [Int] = []
        for _ in 0..<7 {
            _ = allocator.record(actualReadBytes: size())
            sizes.append(size())
        }
        #expect(sizes == [1024, 4096, 16384, 65536, 262_144, 262_144, 262_144])
        _ = allocator.record(actualReadBytes: 10)
        #expect(size() == 262_144)
        for _ in 0..<40 { _ = allocator.record(actualReadBytes: 10) }
        #expect(size() == 1024)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiSimulator

@Suite("The lab's disk")
struct VirtualDiskTests {
    private static let log = VirtualDisk.FileID(1)
    private static let other = VirtualDisk.FileID(2)

    private static func bytes(_ count: Int, _ value: UInt8) -> [UInt8] { [UInt8](repeating: value, count: count) }

    private static func content(_ disk: inout VirtualDisk, _ file: VirtualDisk.FileID, _ now: Instant) -> [UInt8] {
        disk.read(file, at: 0, count: .max / 2, now: now).bytes
    }

    @Test("Readers see what was written, in order, at its place")
    func writes() throws {
        var disk = VirtualDisk(seed: 1)
        let first = try disk.append([1, 2, 3], to: Self.log, now: .zero)
        let second = try disk.append([4, 5], to: Self.log, now: .zero)
        #expect(first.offset == 0)
        #expect(second.offset == 3)
        #expect(second.done > first.done)
        try disk.write([9], to: Self.log, at: 1, now: second.done)
        try disk.write([7], to: Self.log, at: 7, now: second.done)
        #expect(Self.content(&disk, Self.log, second.done) == [1, 9, 3, 4, 5, 0, 0, 7])
        try disk.truncate(Self.log, to: 2, now: second.done)
        #expect(Self.content(&disk, Self.log, second.done) == [1, 9])
        #expect(disk.read(Self.log, at: 1, count: 10, now: second.done).bytes == [9])
        #expect(disk.read(Self.log, at: 5, count: 10, now: second.done).bytes.isEmpty)
        #expect(disk.read(Self.other, at: 0, count: 10, now: second.done).bytes.isEmpty)
        #expect(disk.files == [Self.log])
        #expect(throws: DiskError.badOffset(-1)) { try disk.write([1], to: Self.log, at: -1, now: second.done) }
        #expect(throws: DiskError.badOffset(.max)) { try disk.write([1], to: Self.log, at: .max, now: second.done) }
        #expect(throws: DiskError.badOffset(3)) { try disk.truncate(Self.log, to: 3, now: second.done) }
    }

    @Test("One operation is done after the other, each within its latency and rate")
    func latency() throws {
        var model = DiskModel()
        model.writeLatency = .fixed(.microseconds(50))
        model.syncLatency = .fixed(.milliseconds(2))
        model.readLatency = .uniform(.microseconds(10), .microseconds(20))
        model.bytesPerSecond = 1_000_000
        var disk = VirtualDisk(model, seed: 1)
        let first = try disk.append(Self.bytes(1_000, 1), to: Self.log, now: .zero).done
        #expect(first == .zero + .microseconds(1_050))
        let second = disk.sync(now: .zero)
        #expect(second == first + .milliseconds(2))
        let later = second + .seconds(1)
        for _ in 0..<100 {
            let start = disk.read(Self.other, at: 0, count: 1, now: later).done
            let end = disk.read(Self.other, at: 0, count: 1, now: later).done
            #expect((Duration.microseconds(10)...Duration.microseconds(20)).contains(end - start))
        }
    }

    @Test("A slow disk takes as many times longer as its model says, as often as it says")
    func slow() throws {
        var model = DiskModel()
        model.writeLatency = .fixed(.microseconds(10))
        model.bytesPerSecond = 0
        model.slow = 100_000
        model.slowFactor = 100
        var disk = VirtualDisk(model, seed: 4)
        var (now, slow) = (Instant.zero, 0)
        for _ in 0..<10_000 {
            let done = try disk.append([1], to: Self.log, now: now).done
            #expect([.microseconds(10), .milliseconds(1)].contains(done - now))
            if done - now == .milliseconds(1) { slow += 1 }
            now = done
        }
        #expect((900...1_100).contains(slow))
        disk.model.slow = 1_000_000
        #expect(try disk.append([1], to: Self.log, now: now).done == now + .milliseconds(1))
    }

    @Test("A full disk refuses the write as a whole, and takes one again when there is room")
    func full() throws {
        var model = DiskModel()
        model.capacityBytes = 1_000
        var disk = VirtualDisk(model, seed: 1)
        try disk.append(Self.bytes(600, 1), to: Self.log, now: .zero)
        try disk.append(Self.bytes(400, 2), to: Self.other, now: .zero)
        #expect(throws: DiskError.full(capacityBytes: 1_000)) { try disk.append([3], to: Self.log, now: .zero) }
        #expect(throws: DiskError.full(capacityBytes: 1_000)) {
            try disk.write(Self.bytes(2, 3), to: Self.log, at: 599, now: .zero)
        }
        #expect(Self.content(&disk, Self.log, .zero) == Self.bytes(600, 1))
        // In place there is room.
        try disk.write([9], to: Self.log, at: 599, now: .zero)
        try disk.truncate(Self.other, to: 399, now: .zero)
        try disk.append([3], to: Self.log, now: .zero)
        #expect(disk.usedBytes == 1_000)
        #expect(disk.stats.refused == 2)
    }

    @Test("What was before an ended sync survives every crash", arguments: [true, false])
    func synced(keepsOrder: Bool) throws {
        for seed in 0..<200 as Range<UInt64> {
            var model = DiskModel()
            model.keepsOrder = keepsOrder
            var disk = VirtualDisk(model, seed: seed)
            try disk.append(Self.bytes(5_000, 1), to: Self.log, now: .zero)
            try disk.append(Self.bytes(100, 2), to: Self.other, now: .zero)
            let safe = disk.sync(now: .zero)
            try disk.append(Self.bytes(3_000, 3), to: Self.log, now: .zero)
            disk.crash(seed: seed, now: safe)
            #expect(Self.content(&disk, Self.log, safe).starts(with: Self.bytes(5_000, 1)))
            #expect(Self.content(&disk, Self.other, safe) == Self.bytes(100, 2))
            #expect(disk.unsyncedCount(at: safe) == 0)
        }
    }

    @Test("A sync that has not ended saves nothing for certain")
    func syncUnderWay() throws {
        var outcomes: Set<Int> = []
        for seed in 0..<200 as Range<UInt64> {
            var disk = VirtualDisk(seed: 1)
            try disk.append(Self.bytes(512, 1), to: Self.log, now: .zero)
            let done = disk.sync(now: .zero)
            #expect(disk.unsyncedCount(at: .zero) == 1)
            disk.crash(seed: seed, now: Instant(nanoseconds: done.nanoseconds - 1))
            outcomes.insert(disk.size(of: Self.log))
            // Its end would have come now; it doesn't bring back what is lost.
            #expect(disk.unsyncedCount(at: done) == 0)
            #expect(disk.size(of: Self.log) == Self.content(&disk, Self.log, done).count)
        }
        #expect(outcomes == [0, 512])
    }

    @Test("A crash leaves the first unsynced writes, at most one of them torn, at a sector's edge")
    func tornInOrder() throws {
        var (sizes, torn, lost): (Set<Int>, UInt64, UInt64) = ([], 0, 0)
        for seed in 0..<500 as Range<UInt64> {
            var disk = VirtualDisk(seed: 1)
            var whole: [UInt8] = []
            for number in UInt8(1)...5 {
                let bytes = Self.bytes(1_300, number)
                whole += bytes
                try disk.append(bytes, to: Self.log, now: .zero)
            }
            disk.crash(seed: seed, now: .zero + .seconds(1))
            let left = Self.content(&disk, Self.log, .zero + .seconds(1))
            #expect(whole.starts(with: left))
            #expect(left.count % 1_300 == 0 || left.count % 512 == 0)
            sizes.insert(left.count)
            torn += disk.stats.torn
            lost += disk.stats.lost
        }
        // Every number of whole writes, and every tear.
        #expect(sizes.isSuperset(of: (0...5).map { $0 * 1_300 }))
        #expect(sizes.isSuperset(of: (1...12).map { $0 * 512 }))
        #expect(torn > 100)
        #expect(lost > 500)
    }

    @Test("Without order a later write may survive an earlier one, and any sectors of each")
    func tornOutOfOrder() throws {
        var model = DiskModel()
        model.keepsOrder = false
        var (laterOnly, holes) = (0, 0)
        for seed in 0..<500 as Range<UInt64> {
            var disk = VirtualDisk(model, seed: 1)
            try disk.append(Self.bytes(512, 1), to: Self.log, now: .zero)
            try disk.append(Self.bytes(512, 2), to: Self.other, now: .zero)
            try disk.append(Self.bytes(1_024, 3), to: Self.log, now: .zero)
            disk.crash(seed: seed, now: .zero)
            let (first, second) = (
                Self.content(&disk, Self.log, .zero), Self.content(&disk, Self.other, .zero)
            )
            if first.isEmpty, !second.isEmpty { laterOnly += 1 }
            if first.starts(with: Self.bytes(512, 0)), first.count > 512 { holes += 1 }
            #expect(second.isEmpty || second == Self.bytes(512, 2))
            #expect(first.allSatisfy { [0, 1, 3].contains($0) })
        }
        #expect(laterOnly > 20)
        #expect(holes > 20)
    }

    @Test("A truncation that was not synced may be undone, and then nothing is missing")
    func truncation() throws {
        var sizes: Set<Int> = []
        for seed in 0..<50 as Range<UInt64> {
            var disk = VirtualDisk(seed: 1)
            try disk.append(Self.bytes(100, 1), to: Self.log, now: .zero)
            let safe = disk.sync(now: .zero)
            try disk.truncate(Self.log, to: 10, now: safe)
            disk.crash(seed: seed, now: safe)
            let left = Self.content(&disk, Self.log, safe)
            #expect(left.allSatisfy { $0 == 1 })
            sizes.insert(left.count)
        }
        #expect(sizes == [10, 100])
    }

    @Test("The same seeds give the same disk, moment by moment")
    func deterministic() throws {
        func run(_ seed: UInt64, crash: UInt64) throws -> [Int64] {
            var model = DiskModel()
            model.slow = 50_000
            model.keepsOrder = false
            var disk = VirtualDisk(model, seed: seed)
            var trace: [Int64] = []
            var now = Instant.zero
            for number in 0..<200 {
                now = try disk.append(Self.bytes(number * 7, UInt8(number)), to: Self.log, now: now).done
                trace.append(now.nanoseconds)
                if number % 20 == 19 { now = disk.sync(now: now) }
                if number == 150 { disk.crash(seed: crash, now: now) }
            }
            return trace + Self.content(&disk, Self.log, now).map(Int64.init)
        }
        #expect(try run(1, crash: 1) == run(1, crash: 1))
        #expect(try run(1, crash: 1) != run(2, crash: 1))
        #expect(try run(1, crash: 1) != run(1, crash: 2))
    }
}

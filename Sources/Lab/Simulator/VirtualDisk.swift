// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// What a disk is like. Shares are parts per million.
package struct DiskModel: Sendable {
    package var writeLatency = NetworkModel.Latency.uniform(.microseconds(20), .microseconds(100))
    package var readLatency = NetworkModel.Latency.uniform(.microseconds(60), .microseconds(150))
    /// Beyond the writes that it waits for.
    package var syncLatency = NetworkModel.Latency.uniform(.microseconds(500), .milliseconds(3))
    /// Zero: any number.
    package var bytesPerSecond: UInt64 = 500_000_000
    /// This share of operations takes `slowFactor` times as long.
    package var slow: UInt32 = 0
    package var slowFactor: UInt64 = 100
    /// The sum of all files' sizes. Over it: the write is refused as a whole.
    package var capacityBytes = 1 << 30
    /// What is written whole or not at all.
    package var sectorBytes = 512
    /// A crash leaves the earliest unsynced writes, of the next one at most a part. Off: of all unsynced writes any sectors.
    package var keepsOrder = true

    package init() {}
}

package enum DiskError: Error, Hashable, Sendable {
    case full(capacityBytes: Int)
    /// An offset that is negative or beyond any file.
    case badOffset(Int)
}

/// A disk in virtual time: files that are written, synced and lost as on a real one, and by the same seed always alike.
///
/// A call takes effect at once and tells when it is done; the caller waits for that moment, as it waits for a completion.
/// Readers see every write. What a crash leaves is less: all that was before a sync that had ended, and of what came after
/// it what chance leaves, a torn write at its edge. Operations are done one after the other.
///
/// It does not: fail reads, flip bits, keep a sync that was promised from being true.
///
/// - Our bug: time that goes back.
/// - Invariants: what was before an ended sync survives every crash; sizes never exceed `capacityBytes`.
package struct VirtualDisk: Sendable {
    package struct FileID: Hashable, Comparable, Sendable {
        package let value: UInt32
        package init(_ value: UInt32) { self.value = value }
        package static func < (a: FileID, b: FileID) -> Bool { a.value < b.value }
    }

    package struct Stats: Hashable, Sendable {
        package var writes: UInt64 = 0
        package var bytesWritten: UInt64 = 0
        package var reads: UInt64 = 0
        package var syncs: UInt64 = 0
        package var refused: UInt64 = 0
        package var crashes: UInt64 = 0
        /// Unsynced operations that a crash left nothing of, and those that it left in part.
        package var lost: UInt64 = 0
        package var torn: UInt64 = 0
    }

    /// What is not on the disk for certain yet.
    private struct Change: Sendable {
        enum Kind: Sendable {
            case write(offset: Int, [UInt8])
            case truncate(size: Int)
        }
        let number: UInt64
        let file: FileID
        let kind: Kind
    }

    /// The largest file, so that an offset from a damaged record takes no memory.
    package static let fileBytesMax = 1 << 40

    package var model: DiskModel {
        didSet { latencies = Latencies(model) }
    }
    package private(set) var stats = Stats()
    private var latencies: Latencies
    private var draws: DrawStream
    private var now = Instant.zero
    private var busyUntil = Instant.zero
    /// As readers see them, and as a crash can't harm them.
    private var seen: [FileID: [UInt8]] = [:]
    private var kept: [FileID: [UInt8]] = [:]
    private var changes: [Change] = []
    private var lastChange: UInt64 = 0
    /// Syncs under way: what they cover and when they end, in order.
    private var syncs: [(covers: UInt64, done: Instant)] = []

    package init(_ model: DiskModel = DiskModel(), seed: UInt64) {
        self.model = model
        latencies = Latencies(model)
        draws = DrawStream(seed: seed, .disk)
    }

    // MARK: Reading

    package var files: [FileID] { seen.keys.sorted() }
    package var usedBytes: Int { seen.values.reduce(0) { $0 + $1.count } }
    package func size(of file: FileID) -> Int { seen[file]?.count ?? 0 }
    /// Operations that a crash could still undo, for all that this disk knows at that moment.
    package mutating func unsyncedCount(at now: Instant) -> Int {
        advance(to: now)
        return changes.count
    }

    /// Up to `count` bytes; fewer where the file ends.
    package mutating func read(
        _ file: FileID, at offset: Int, count: Int, now: Instant
    ) -> (bytes: [UInt8], done: Instant) {
        advance(to: now)
        stats.reads += 1
        let content = seen[file] ?? []
        let start = min(max(0, offset), content.count)
        let bytes = Array(content[start..<min(content.count, start + max(0, count))])
        return (bytes, occupy(latencies.read, bytes: bytes.count))
    }

    // MARK: Writing

    /// Where the bytes are now, and when the disk has taken them.
    @discardableResult
    package mutating func append(
        _ bytes: [UInt8], to file: FileID, now: Instant
    ) throws(DiskError) -> (offset: Int, done: Instant) {
        let offset = size(of: file)
        return (offset, try write(bytes, to: file, at: offset, now: now))
    }

    /// A gap before `offset` is zeros.
    @discardableResult
    package mutating func write(
        _ bytes: [UInt8], to file: FileID, at offset: Int, now: Instant
    ) throws(DiskError) -> Instant {
        advance(to: now)
        guard offset >= 0, offset <= Self.fileBytesMax - bytes.count else { throw .badOffset(offset) }
        let growth = max(0, offset + bytes.count - size(of: file))
        guard growth <= model.capacityBytes - usedBytes else {
            stats.refused += 1
            throw .full(capacityBytes: model.capacityBytes)
        }
        stats.writes += 1
        stats.bytesWritten += UInt64(bytes.count)
        change(file, .write(offset: offset, bytes))
        return occupy(latencies.write, bytes: bytes.count)
    }

    @discardableResult
    package mutating func truncate(_ file: FileID, to size: Int, now: Instant) throws(DiskError) -> Instant {
        advance(to: now)
        guard size >= 0, size <= self.size(of: file) else { throw .badOffset(size) }
        change(file, .truncate(size: size))
        return occupy(latencies.write, bytes: 0)
    }

    /// Everything written before is safe from the moment that this returns, not earlier.
    package mutating func sync(now: Instant) -> Instant {
        advance(to: now)
        stats.syncs += 1
        let done = occupy(latencies.sync, bytes: 0)
        syncs.append((lastChange, done))
        return done
    }

    /// The power fails. What was under way never ends; what was not synced is there, torn or gone, as `seed` has it.
    package mutating func crash(seed: UInt64, now: Instant) {
        advance(to: now)
        stats.crashes += 1
        var chance = DrawStream(seed: seed, .disk)
        if model.keepsOrder { keepFirst(&chance) } else { keepAny(&chance) }
        changes.removeAll()
        syncs.removeAll()
        seen = kept
        busyUntil = now
    }

    // MARK: Time

    private mutating func advance(to now: Instant) {
        assert(now >= self.now, "time went back")
        self.now = max(self.now, now)
        while let first = syncs.first, first.done <= self.now {
            syncs.removeFirst()
            let covered = changes.prefix { $0.number <= first.covers }
            for change in covered { Self.apply(change.kind, to: &kept[change.file, default: []]) }
            changes.removeFirst(covered.count)
        }
    }

    private mutating func occupy(_ latency: LatencyTable, bytes: Int) -> Instant {
        var nanoseconds = latency.latency(draws.next(), from: 0, to: 0)
        if model.bytesPerSecond > 0 {
            let (high, low) = UInt64(bytes).multipliedFullWidth(by: 1_000_000_000)
            nanoseconds &+=
                high < model.bytesPerSecond ? model.bytesPerSecond.dividingFullWidth((high, low)).quotient : 0
        }
        if draws.happens(model.slow) {
            nanoseconds = nanoseconds.multipliedReportingOverflow(by: model.slowFactor).partialValue
        }
        busyUntil = max(busyUntil, now) + .nanoseconds(Int64(clamping: nanoseconds))
        return busyUntil
    }

    // MARK: What is there

    private mutating func change(_ file: FileID, _ kind: Change.Kind) {
        lastChange += 1
        changes.append(Change(number: lastChange, file: file, kind: kind))
        Self.apply(kind, to: &seen[file, default: []])
    }

    private static func apply(_ kind: Change.Kind, to content: inout [UInt8]) {
        switch kind {
        case .write(let offset, let bytes):
            let end = offset + bytes.count
            if content.count < end { content.append(contentsOf: repeatElement(0, count: end - content.count)) }
            content.replaceSubrange(offset..<end, with: bytes)
        case .truncate(let size):
            content.removeLast(content.count - min(size, content.count))
        }
    }

    private mutating func keepFirst(_ chance: inout DrawStream) {
        let whole = Int(chance.below(UInt64(changes.count) + 1))
        for change in changes[..<whole] { Self.apply(change.kind, to: &kept[change.file, default: []]) }
        guard whole < changes.count else { return }
        var lost = changes.count - whole
        let (torn, file) = (changes[whole].kind, changes[whole].file)
        if case .write(let offset, let bytes) = torn {
            let sectors = sectors(offset, bytes.count)
            let left = sectors.prefix(Int(chance.below(UInt64(max(1, sectors.count)))))
            if !left.isEmpty {
                keep(left, of: bytes, at: offset, file)
                stats.torn += 1
                lost -= 1
            }
        }
        stats.lost += UInt64(lost)
    }

    private mutating func keepAny(_ chance: inout DrawStream) {
        for change in changes {
            switch change.kind {
            case .write(let offset, let bytes):
                let sectors = sectors(offset, bytes.count)
                let left = sectors.filter { _ in chance.below(2) == 0 }
                keep(left[...], of: bytes, at: offset, change.file)
                if left.isEmpty { stats.lost += 1 } else if left.count < sectors.count { stats.torn += 1 }
            case .truncate:
                if chance.below(2) == 0 {
                    Self.apply(change.kind, to: &kept[change.file, default: []])
                } else {
                    stats.lost += 1
                }
            }
        }
    }

    /// A write as the parts of sectors that it covers, in offsets of the file.
    private func sectors(_ offset: Int, _ count: Int) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var start = offset
        while start < offset + count {
            let end = min(offset + count, (start / max(1, model.sectorBytes) + 1) * max(1, model.sectorBytes))
            ranges.append(start..<end)
            start = end
        }
        return ranges
    }

    private mutating func keep(_ left: ArraySlice<Range<Int>>, of bytes: [UInt8], at offset: Int, _ file: FileID) {
        for sector in left {
            let part = Array(bytes[(sector.lowerBound - offset)..<(sector.upperBound - offset)])
            Self.apply(.write(offset: sector.lowerBound, part), to: &kept[file, default: []])
        }
    }

    private struct Latencies: Sendable {
        let (read, write, sync): (LatencyTable, LatencyTable, LatencyTable)

        init(_ model: DiskModel) {
            read = LatencyTable(model.readLatency)
            write = LatencyTable(model.writeLatency)
            sync = LatencyTable(model.syncLatency)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// When to look after the table, with one timer for all of it.
///
/// A tick asks one contact whether it lives, the one heard of longest ago in a bucket that newcomers wait for or else in
/// the bucket whose turn it is. So an idle node makes one call a minute. A full bucket whose first contact answers is
/// healthy. Buckets that nothing touched for the refresh interval get a lookup: those that can't be full together by
/// one for our own key, the others one by one.
package struct KademliaUpkeep: Sendable {
    private let start: Instant
    /// Minutes since `start`, modulo 2^16.
    private var touched = SIMD32<UInt16>(repeating: 0)
    private var nextBucket: UInt8 = 0
    private var joinRound: UInt8 = 0
    package private(set) var tickAt: Instant
    /// When to look for our own neighbours.
    package private(set) var joinAt = Instant.distantFuture

    package init(at now: Instant, settings: KademliaSettings, random: inout SeededGenerator) {
        start = now
        // Spread over the whole interval, so that a fleet started at once doesn't tick at once.
        let interval = max(1, settings.configuration.checkInterval.saturatedNanoseconds)
        tickAt = now + .nanoseconds(Int64(bitPattern: random.next() >> 1) % interval + 1)
    }

    package var next: Instant { min(tickAt, joinAt) }

    // MARK: Events

    package mutating func contactAdded(at now: Instant, _ settings: KademliaSettings) {
        if joinRound == 0 { joinAt = min(joinAt, now + settings.configuration.joinDelay) }
    }

    package mutating func contested(
        at now: Instant, _ settings: KademliaSettings, _ random: inout SeededGenerator
    ) {
        guard tickAt > now + settings.configuration.contestedCheckInterval * 2 else { return }
        tickAt = now + Self.jittered(settings.configuration.contestedCheckInterval, &random)
    }

    package mutating func touch(_ bucket: Int, at now: Instant) {
        if touched.indices.contains(bucket) { touched[bucket] = minutes(now) }
    }

    package mutating func loaded() {
        joinRound = 1
        joinAt = .distantFuture
    }

    package mutating func joinStarted() {
        joinAt = .distantFuture
        joinRound = max(1, joinRound)
    }

    /// A small table is looked after more often: new neighbours may come at any time.
    package mutating func joinEnded(
        tableCount: Int, at now: Instant, _ settings: KademliaSettings, _ random: inout SeededGenerator
    ) {
        guard tableCount < 2 * settings.configuration.k else { return }
        let pause = settings.configuration.joinIntervalMin * (1 << Int(min(joinRound, 10)))
        if joinRound < 10 { joinRound += 1 }
        let pauseMax = Duration.seconds(600)
        joinAt = now + Self.jittered(min(pause, pauseMax), &random)
    }

    package mutating func ticked(
        isContested: Bool, at now: Instant, _ settings: KademliaSettings, _ random: inout SeededGenerator
    ) {
        let interval =
            isContested ? settings.configuration.contestedCheckInterval : settings.configuration.checkInterval
        tickAt = now + max(.milliseconds(1), Self.jittered(interval, &random))
    }

    // MARK: Choices

    /// Where the contact stands that is likely to be asked next.
    package func bucketToCheck(_ table: RoutingTable) -> Int {
        table.contested != 0 ? table.contested.trailingZeroBitCount : Int(nextBucket) % RoutingTable.bucketsMax
    }

    /// The contact to ask whether it lives.
    package mutating func contactToCheck(_ table: RoutingTable) -> PeerIndex? {
        guard let deepest = table.deepestBucket else { return nil }
        if table.contested != 0 {
            let bucket = table.contested.trailingZeroBitCount
            if let peer = table.first(inBucket: bucket) { return peer }
        }
        for _ in 0...deepest {
            let bucket = Int(nextBucket) > deepest ? 0 : Int(nextBucket)
            nextBucket = UInt8(bucket + 1)
            if let peer = table.first(inBucket: bucket) { return peer }
        }
        return nil
    }

    package enum Refresh: Hashable, Sendable {
        /// A random target in this bucket.
        case bucket(Int)
        /// Our own key.
        case own
    }

    package mutating func refreshDue(
        _ table: RoutingTable, at now: Instant, _ settings: KademliaSettings
    ) -> Refresh? {
        let interval = settings.configuration.refreshInterval.saturatedNanoseconds / 60_000_000_000
        guard interval > 0, interval < 40_000, let deepest = table.deepestBucket else { return nil }
        let minute = minutes(now)
        var isFullSoFar = true
        for bucket in 0...deepest {
            isFullSoFar = isFullSoFar && table.isFull(bucket)
            guard minute &- touched[bucket] >= UInt16(interval) else { continue }
            if isFullSoFar {
                touched[bucket] = minute
                return .bucket(bucket)
            }
            for deeper in bucket..<RoutingTable.bucketsMax { touched[deeper] = minute }
            return .own
        }
        return nil
    }

    private func minutes(_ now: Instant) -> UInt16 {
        UInt16(truncatingIfNeeded: (now - start).saturatedNanoseconds / 60_000_000_000)
    }

    /// Three to five quarters of it.
    static func jittered(_ duration: Duration, _ random: inout SeededGenerator) -> Duration {
        let nanoseconds = max(0, duration.saturatedNanoseconds)
        return .nanoseconds(nanoseconds / 4 * 3 + Int64(bitPattern: random.next() >> 1) % max(1, nanoseconds / 2))
    }
}

// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase
import TuttiIdentity

/// Answers what peers ask, from memory where it can and else by reads of the disk: one read under way for each request,
/// a few requests for each peer, so many entries for each answer.
///
/// Who may ask is decided above. A peer that has gone gets no answer; its reads come back and are dropped.
/// Invariant: each request ends with one answer, or with its peer.
struct SyncServer: Sendable {
    enum Output: Sendable {
        case answer(RequestID, SyncAnswer)
        case load(JournalQuery, SyncLoadID)
    }

    private enum Work: Sendable {
        case ranges([SyncRange], pages: [[Entry]], withBodies: Bool)
        case governance(after: UInt64, countMax: Int)
        case named(count: Int)
    }

    private struct Serving: Sendable {
        let request: RequestID
        let peer: PeerID
        var work: Work
        let bytesMax: Int
        var bytes = 0
    }

    private struct Account: Sendable {
        var underWay = 0
        var rate: TokenBucket
    }

    private let limits: SyncLimits
    private var accounts: [PeerID: Account] = [:]
    private var servings: [SyncLoadID: Serving] = [:]
    private var nextLoad: UInt64 = 0
    private var outputs: Deque<Output> = []

    init(limits: SyncLimits) { self.limits = limits }

    var underWayCount: Int { servings.count }
    mutating func nextOutput() -> Output? { outputs.popFirst() }

    // MARK: Who asks how often

    /// False: too often, or too much at once.
    mutating func admit(_ peer: PeerID, at now: Instant) -> Bool {
        let fresh = Account(
            rate: TokenBucket(interval: limits.requestInterval, burst: limits.requestBurst, at: now))
        guard accounts[peer, default: fresh].rate.take(at: now) else { return false }
        return accounts[peer].map { $0.underWay < limits.servedPerPeerMax } ?? false
            && servings.count < limits.servedMax
    }

    mutating func peerGone(_ peer: PeerID) {
        accounts[peer] = nil
        // The order can't show: nothing follows.
        servings = servings.filter { $0.value.peer != peer }
    }

    // MARK: Requests

    mutating func entries(
        _ ranges: [SyncRange], bytesMax: Int, withBodies: Bool, _ request: RequestID, by peer: PeerID,
        _ replica: SyncReplica, _ stats: inout SyncStats
    ) {
        let serving = Serving(
            request: request, peer: peer, work: .ranges(ranges, pages: [], withBodies: withBodies),
            bytesMax: min(bytesMax, limits.answerBytesMax))
        goOn(serving, replica, &stats)
    }

    mutating func governance(
        after: UInt64, countMax: Int, bytesMax: Int, _ request: RequestID, by peer: PeerID, _ replica: SyncReplica,
        _ stats: inout SyncStats
    ) {
        let serving = Serving(
            request: request, peer: peer, work: .governance(after: after, countMax: max(1, countMax)),
            bytesMax: min(bytesMax, limits.answerBytesMax))
        goOn(serving, replica, &stats)
    }

    mutating func named(
        _ ids: [EntryID], bytesMax: Int, _ request: RequestID, by peer: PeerID, _ stats: inout SyncStats
    ) {
        let serving = Serving(
            request: request, peer: peer, work: .named(count: ids.count), bytesMax: min(bytesMax, limits.answerBytesMax)
        )
        load(.entries(ids), serving, &stats)
    }

    /// Empty pages are given at once; the first stretch that we hold is read.
    private mutating func goOn(_ start: Serving, _ replica: SyncReplica, _ stats: inout SyncStats) {
        var serving = start
        switch serving.work {
        case .ranges(let ranges, var pages, let withBodies):
            while pages.count < ranges.count {
                let range = ranges[pages.count]
                guard let held = Self.held(range, replica) else {
                    pages.append([])
                    continue
                }
                // Another entry might not fit.
                guard serving.bytes == 0 || serving.bytes + Entry.bytesMax <= serving.bytesMax else { break }
                serving.work = .ranges(ranges, pages: pages, withBodies: withBodies)
                let query = JournalQuery.feed(
                    range.device, held, newestFirst: range.isNewestFirst,
                    countMax: min(range.countMax, limits.entriesPerRangeMax),
                    bytesMax: max(1, serving.bytesMax - serving.bytes))
                return load(query, serving, &stats)
            }
            stats.entriesServed &+= pages.reduce(0) { $0 &+ UInt64($1.count) }
            end(serving, .entries(pages))
        case .governance(let after, let countMax):
            load(.governance(after: after, countMax: min(countMax, limits.entriesPerRangeMax)), serving, &stats)
        case .named: return
        }
    }

    /// What we have of a range; nothing of a frozen feed.
    private static func held(_ range: SyncRange, _ replica: SyncReplica) -> ClosedRange<EntrySequence>? {
        guard case .held(let low, let head) = replica[range.device]?.state else { return nil }
        let lower = max(low, range.sequences.lowerBound)
        let upper = min(head.sequence, range.sequences.upperBound)
        return lower <= upper ? lower...upper : nil
    }

    private mutating func load(_ query: JournalQuery, _ serving: Serving, _ stats: inout SyncStats) {
        nextLoad += 1
        stats.loads &+= 1
        if accounts[serving.peer] != nil { accounts[serving.peer]?.underWay += 1 }
        servings[SyncLoadID(nextLoad)] = serving
        outputs.append(.load(query, SyncLoadID(nextLoad)))
    }

    private mutating func end(_ serving: Serving, _ answer: SyncAnswer) {
        outputs.append(.answer(serving.request, answer))
    }

    // MARK: The disk answers

    /// False: nobody waits for it any more.
    mutating func loaded(
        _ id: SyncLoadID, _ answer: JournalAnswer, _ replica: SyncReplica, _ stats: inout SyncStats
    ) -> Bool {
        guard var serving = servings.removeValue(forKey: id) else { return false }
        accounts[serving.peer]?.underWay -= 1
        switch (serving.work, answer) {
        case (.ranges(let ranges, var pages, let withBodies), .entries(let stored)):
            let page = stored.map { withBodies ? $0.entry : $0.entry.withoutBody }
            serving.bytes += page.reduce(0) { $0 + $1.encodedBytesCount }
            pages.append(page)
            serving.work = .ranges(ranges, pages: pages, withBodies: withBodies)
            goOn(serving, replica, &stats)
        case (.governance(let after, let countMax), .arrivals(let stored, let last)):
            let bytes = stored.reduce(0) { $0 + $1.entry.encodedBytesCount }
            if bytes > serving.bytesMax, stored.count > 1 {
                // Too much: fewer, since only the last place of a page has a name.
                serving.work = .governance(after: after, countMax: max(1, stored.count / 2))
                goOn(serving, replica, &stats)
            } else {
                let isEnd = stored.count < countMax
                stats.entriesServed &+= UInt64(stored.count)
                end(serving, .governance(stored.map(\.entry), next: max(after, last), isEnd: isEnd))
            }
        case (.named, .entries(let stored)):
            // Other kinds are asked for by their feeds: whoever has a name of one got it from nobody's tree.
            var entries: [Entry] = []
            for item in stored where item.entry.header.kind.isGovernance {
                serving.bytes += item.entry.encodedBytesCount
                guard entries.isEmpty || serving.bytes <= serving.bytesMax else { break }
                entries.append(item.entry)
            }
            stats.entriesServed &+= UInt64(entries.count)
            end(serving, .named(entries))
        default:
            stats.loadsFailed &+= 1
            end(serving, .refused(.unavailable))
        }
        return true
    }
}

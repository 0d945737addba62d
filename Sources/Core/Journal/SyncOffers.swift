// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What one peer holds and we want, feed by feed, and whose turn it is.
///
/// Feeds take turns in rounds: each gets its next page before any gets the one after. In a round the feeds that we hold
/// come first, then the others by how recent the next page is. Signed times order this, and nothing else.
/// Invariant: each offer stands in one of the two rounds, or is under way.
struct SyncOffers: Sendable {
    /// Why a range is asked for, and what it must fit.
    enum Aim: Hashable, Sendable {
        /// Nothing of it is here: newest first.
        case anew
        /// From our head on.
        case up(FeedPoint)
        /// Below what we hold.
        case down
        /// The peer has another entry at the place of our head.
        case probe(FeedPoint)
    }

    struct Step: Hashable, Sendable {
        let aim: Aim
        let range: SyncRange
    }

    private var offers: [DeviceID: SyncFeed] = [:]
    /// The next is the last.
    private var thisRound: [DeviceID] = []
    private var nextRound: [DeviceID] = []
    private var newest: [DeviceID: HybridTime] = [:]

    init() {}

    var isEmpty: Bool { offers.isEmpty }
    var count: Int { offers.count }
    func contains(_ device: DeviceID) -> Bool { offers[device] != nil }

    // MARK: Changes

    /// False when the peer has nothing there that we want.
    mutating func learn(_ feed: SyncFeed, own: SyncFeed?, _ configuration: SyncConfiguration) -> Bool {
        guard Self.step(feed, own: own, configuration) != nil else { return false }
        guard offers[feed.device] != nil || offers.count < JournalLimits.feedsMax else { return false }
        if offers.updateValue(feed, forKey: feed.device) == nil { nextRound.append(feed.device) }
        return true
    }

    /// What is under way is over: its turn comes again while there is more to take.
    mutating func goOn(_ device: DeviceID, own: SyncFeed?, _ configuration: SyncConfiguration) {
        guard let feed = offers[device] else { return }
        guard Self.step(feed, own: own, configuration) != nil else { return forget(device) }
        nextRound.append(device)
    }

    /// It was not its turn's fault: first of the next that are asked for.
    mutating func putBack(_ device: DeviceID) {
        if offers[device] != nil { thisRound.append(device) }
    }

    /// Of an offer that is under way.
    mutating func forget(_ device: DeviceID) {
        offers[device] = nil
        newest[device] = nil
    }

    mutating func setNewest(_ time: HybridTime, _ device: DeviceID) { newest[device] = time }

    // MARK: Turns

    /// The next to ask for; each is under way until `goOn`, `putBack` or `forget`.
    mutating func next(
        countMax: Int, _ replica: SyncReplica, _ ledger: SyncLedger, _ configuration: SyncConfiguration
    ) -> [Step] {
        var steps: [Step] = []
        var isNewRound = false
        var looksLeft = Self.looksMax
        while steps.count < countMax, looksLeft > 0 {
            guard let device = thisRound.popLast() else {
                guard !isNewRound, !nextRound.isEmpty else { break }
                isNewRound = true
                beginRound(replica)
                continue
            }
            looksLeft -= 1
            guard let feed = offers[device] else { continue }
            let own = replica[device]
            guard let step = Self.step(feed, own: own, configuration) else {
                forget(device)
                continue
            }
            // Another peer brings it.
            guard !ledger.isClaimed(device) else {
                nextRound.append(device)
                continue
            }
            steps.append(step)
        }
        return steps
    }

    /// Feeds looked at in one go, most of them perhaps claimed by others.
    private static let looksMax = 512

    private mutating func beginRound(_ replica: SyncReplica) {
        let keyed = nextRound.map { device in
            (isHeld: replica[device] != nil && newest[device] == nil, time: newest[device] ?? HybridTime(0), device)
        }
        nextRound.removeAll(keepingCapacity: true)
        thisRound = keyed.sorted { one, other in
            if one.isHeld != other.isHeld { return other.isHeld }
            return one.time != other.time ? one.time < other.time : one.2 > other.2
        }.map(\.2)
    }

    // MARK: What is of use

    /// What to ask of a peer's feed, given ours; nil: nothing.
    static func step(
        _ theirs: SyncFeed, own: SyncFeed?, _ configuration: SyncConfiguration
    ) -> Step? {
        guard case .held(let theirLow, let theirHead) = theirs.state else { return nil }
        func step(_ aim: Aim, _ lower: EntrySequence, _ upper: EntrySequence, newestFirst: Bool, _ count: Int) -> Step?
        {
            guard lower <= upper else { return nil }
            let range = SyncRange(
                device: theirs.device, sequences: lower...upper, isNewestFirst: newestFirst, countMax: count)
            return Step(aim: aim, range: range)
        }
        guard let own else {
            let lower = max(theirLow, lowest(theirHead.sequence, configuration))
            return step(.anew, lower, theirHead.sequence, newestFirst: true, configuration.firstPageCount)
        }
        guard case .held(let low, let head) = own.state else { return nil }
        if theirHead.sequence == head.sequence, theirHead.id != head.id {
            guard theirLow <= head.sequence else { return nil }
            return step(.probe(head), head.sequence, head.sequence, newestFirst: false, 1)
        }
        if theirHead.sequence > head.sequence {
            // What doesn't reach down to our head can't be held: what is held has no gaps.
            guard theirLow <= head.sequence.next else { return nil }
            return step(.up(head), head.sequence.next, theirHead.sequence, newestFirst: false, configuration.pageCount)
        }
        let lower = max(theirLow, lowest(head.sequence, configuration))
        return step(.down, lower, low.previous, newestFirst: true, configuration.pageCount)
    }

    /// How far down a feed of this head is wanted.
    static func lowest(_ head: EntrySequence, _ configuration: SyncConfiguration) -> EntrySequence {
        guard let depth = configuration.depthMax, head.value > depth else { return .first }
        return EntrySequence(head.value - max(1, depth) + 1)
    }
}

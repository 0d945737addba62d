// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

/// One reconciliation, of the side that asks: from two roots that differ down to the leaves that differ, one message each
/// way at a time. Both sides learn the leaves; the side that answers keeps nothing.
///
///     roots differ -> (request: parts, answer: parts)* -> nothing left to ask
///
/// Whatever the peer says under one stamp must fit together: leaves and children add up to the digest that stood for
/// them one message earlier. A peer whose tree changes on the way says so by another stamp; from then on nothing can be
/// checked, and limits alone bound what it can cost.
package struct SyncDescent: Sendable {
    private var feeds: TreeDescent<SyncFeed>
    private var governance: TreeDescent<EntryID>
    private let stamp: UInt64
    private let limits: SyncLimits
    /// What is under way.
    private var sent = SyncParts(stamp: 0)
    private var trips = 0

    /// Leaves of the peer, in the order in which they were learnt.
    package typealias Learnt = (feeds: [SyncFeed], governance: [EntryID])

    /// - Parameter own: the roots that were sent.
    package init(
        own: SyncRoots, theirs: SyncRoots, withFeeds: Bool, withGovernance: Bool, _ limits: SyncLimits
    ) throws(SyncViolation) {
        guard theirs.feedCount <= JournalLimits.feedsMax, theirs.governanceCount <= limits.governanceMax else {
            throw .endlessTree
        }
        stamp = theirs.stamp
        self.limits = limits
        feeds = TreeDescent(
            root: theirs.feeds, count: theirs.feedCount, isNeeded: own.feeds != theirs.feeds, limits)
        governance = TreeDescent(
            root: theirs.governance, count: theirs.governanceCount,
            isNeeded: own.governance != theirs.governance, limits)
        feeds.isSkipped = !withFeeds
        governance.isSkipped = !withGovernance
    }

    package var isFinished: Bool { sent.isEmpty && feeds.isFinished && governance.isFinished }

    /// What came with the peer's roots.
    package mutating func begin(
        _ parts: SyncParts, _ replica: inout SyncReplica
    ) throws(SyncViolation) -> Learnt {
        let isChecked = parts.stamp == stamp
        guard parts.deferredCount == 0 else { throw .endlessTree }
        return (
            try feeds.begin(parts.feeds, &replica.feeds, isChecked: isChecked),
            try governance.begin(parts.governance, &replica.governance, isChecked: isChecked)
        )
    }

    /// The next message; nil when none is left or one is under way.
    package mutating func nextRequest(stamp: UInt64) -> SyncParts? {
        guard sent.isEmpty, !isFinished else { return nil }
        var parts = SyncParts(stamp: stamp)
        var room = limits.partsBytesMax
        parts.governance = governance.take(&room, countMax: limits.partsMax / 2)
        parts.feeds = feeds.take(&room, countMax: limits.partsMax / 2)
        sent = parts
        return parts
    }

    package mutating func answered(
        _ answer: SyncParts, _ replica: inout SyncReplica
    ) throws(SyncViolation) -> Learnt {
        let asked = sent
        sent = SyncParts(stamp: 0)
        trips += 1
        guard trips < limits.tripsMax, feeds.isWithinLimits, governance.isWithinLimits else { throw .endlessTree }
        guard !asked.isEmpty else { throw .wrongAnswer }
        guard answer.deferredCount >= 0, answer.deferredCount < asked.count else { throw .noProgress }
        let isChecked = answer.stamp == stamp
        // Governance comes first on the wire: what was put off is of the feeds, then of governance.
        let feedsDone = max(0, asked.feeds.count - answer.deferredCount)
        let governanceDone = min(asked.governance.count, asked.count - answer.deferredCount)
        let learntGovernance = try governance.answered(
            asked.governance, done: governanceDone, answer.governance, &replica.governance, isChecked: isChecked)
        let learntFeeds = try feeds.answered(
            asked.feeds, done: feedsDone, answer.feeds, &replica.feeds, isChecked: isChecked)
        return (learntFeeds, learntGovernance)
    }
}

/// The part of a descent that is in one tree.
private struct TreeDescent<Leaf: HashTreeLeaf>: Sendable {
    private enum Claim: Sendable {
        case unknown
        case nothing
        case digest(TreeDigest)

        init(_ digest: TreeDigest?) { self = digest.map(Claim.digest) ?? .nothing }

        func fits(_ digest: TreeDigest?) -> Bool {
            switch self {
            case .unknown: true
            case .nothing: digest == nil
            case .digest(let claimed): digest == claimed
            }
        }

        /// A node over a single leaf is that leaf: whether the one child is such can't be seen from its digest.
        func fits(children digests: [TreeDigest?]) -> Bool {
            let present = digests.compactMap { $0 }
            if present.count <= 1, fits(present.first) { return true }
            var bitmap: UInt16 = 0
            for (nibble, digest) in digests.enumerated() where digest != nil { bitmap |= 1 << UInt16(nibble) }
            return fits(TreeChildren(bitmap: bitmap, digests: present)?.digest)
        }
    }

    private let root: Bytes32
    private let count: Int
    private let isNeeded: Bool
    private let limits: SyncLimits
    /// Found by other means: no more is asked.
    var isSkipped = false
    private var waiting: Deque<SyncPart<Leaf>> = []
    /// What the peer has said of the places that it was asked about or will be.
    private var claims: [SyncPrefix: Claim] = [:]
    private var learntCount = 0

    init(root: Bytes32, count: Int, isNeeded: Bool, _ limits: SyncLimits) {
        self.root = root
        self.count = count
        self.isNeeded = isNeeded
        self.limits = limits
    }

    var isFinished: Bool { waiting.isEmpty }
    /// A peer that says how many leaves it has can't tell of twice as many, but by changing all of them on the way.
    var isWithinLimits: Bool {
        waiting.count <= limits.partsWaitingMax && learntCount <= 2 * count + limits.leavesPerPartMax
    }

    mutating func begin(
        _ parts: [SyncPart<Leaf>], _ tree: inout HashTree<Leaf>, isChecked: Bool
    ) throws(SyncViolation) -> [Leaf] {
        guard isNeeded else {
            guard parts.isEmpty else { throw .endlessTree }
            return []
        }
        guard let part = parts.first else { throw .garbageTree }
        guard parts.count == 1, part.prefix.count == 0 else { throw .endlessTree }
        if isChecked, HashTree<Leaf>.rootDigest(count: count, part.digest) != root { throw .garbageTree }
        guard !isSkipped else { return [] }
        return try go(on: part, &tree, answersLeaves: false, isChecked: isChecked)
    }

    mutating func take(_ room: inout Int, countMax: Int) -> [SyncPart<Leaf>] {
        var taken: [SyncPart<Leaf>] = []
        while room > 0, taken.count < countMax, let part = waiting.popFirst() {
            room -= part.bytesCountMax
            taken.append(part)
        }
        return taken
    }

    mutating func answered(
        _ asked: [SyncPart<Leaf>], done: Int, _ parts: [SyncPart<Leaf>], _ tree: inout HashTree<Leaf>, isChecked: Bool
    ) throws(SyncViolation) -> [Leaf] {
        for part in asked[done...].reversed() { waiting.prepend(part) }
        var replies: [SyncPrefix: SyncPart<Leaf>] = [:]
        for part in parts {
            guard replies.updateValue(part, forKey: part.prefix) == nil else { throw .endlessTree }
        }
        var learnt: [Leaf] = []
        for part in asked[..<done] {
            let claim = claims.removeValue(forKey: part.prefix) ?? .unknown
            switch part.content {
            case .told: continue
            case .leaves:
                let reply = replies.removeValue(forKey: part.prefix)
                if isChecked, !claim.fits((reply ?? part).digest) { throw .garbageTree }
                if let reply { learnt += try go(on: reply, &tree, answersLeaves: true, isChecked: isChecked) }
            case .children(let own):
                var digests: [TreeDigest?] = []
                for nibble in 0..<16 {
                    guard let child = part.prefix.appending(nibble), let reply = replies.removeValue(forKey: child)
                    else {
                        digests.append(own[nibble])
                        continue
                    }
                    digests.append(reply.digest)
                    learnt += try go(on: reply, &tree, answersLeaves: false, isChecked: isChecked)
                }
                if isChecked, !claim.fits(children: digests) { throw .garbageTree }
            }
        }
        guard replies.isEmpty else { throw .endlessTree }
        learntCount += learnt.count
        return learnt
    }

    /// - Parameter answersLeaves: the peer has seen our leaves there.
    private mutating func go(
        on part: SyncPart<Leaf>, _ tree: inout HashTree<Leaf>, answersLeaves: Bool, isChecked: Bool
    ) throws(SyncViolation) -> [Leaf] {
        switch part.content {
        case .told: throw .endlessTree
        case .children(let theirs):
            for nibble in 0..<16 {
                guard let child = part.prefix.appending(nibble) else { throw .garbageTree }
                guard tree.digest(at: child) != theirs[nibble] else { continue }
                ask(tree.part(at: child, limits), &tree, isNothingThere: theirs[nibble] == nil)
                claims[child] = isChecked ? Claim(theirs[nibble]) : .unknown
            }
            return []
        case .leaves(let theirs):
            guard !answersLeaves else { return theirs }
            let own = tree.leaves(at: part.prefix)
            if !Set(own).isSubset(of: theirs) {
                ask(tree.part(at: part.prefix, limits), &tree, isNothingThere: true)
                claims[part.prefix] = isChecked ? Claim(part.digest) : .unknown
            }
            return theirs
        }
    }

    /// - Parameter isNothingThere: nothing that we don't know, so that few leaves are told without asking back.
    private mutating func ask(_ part: SyncPart<Leaf>, _ tree: inout HashTree<Leaf>, isNothingThere: Bool) {
        guard isNothingThere else { return waiting.append(part) }
        let whole = tree.part(at: part.prefix, isNothingThere: true, limits)
        if case .leaves(let own) = whole.content {
            waiting.append(SyncPart(prefix: part.prefix, content: .told(own)))
        } else {
            waiting.append(whole)
        }
    }
}

extension SyncPart {
    /// What the place is worth by its content; the leaves are all beneath it, by rising key.
    fileprivate var digest: TreeDigest? {
        switch content {
        case .children(let children): return children.digest
        case .leaves(let leaves), .told(let leaves):
            var tree = HashTree<Leaf>()
            for leaf in leaves { tree.set(leaf) }
            return tree.digest(at: prefix)
        }
    }
}

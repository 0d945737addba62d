// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// Whom to ask next on the way to a key, and when the way is at its end.
///
/// Follows libp2p's kad-dht, "Peer routing", and S/Kademlia (2007) section 4.4 for disjoint paths. It knows nothing of
/// time, messages or values. A candidate is
///
///     new → waiting → answered | failed
///              ↓ ↑ (late answer)
///            overtaken → failed
///
/// An overtaken candidate no longer takes one of the alpha places, but is waited for. A path is at its end when the
/// `doneCount` closest live candidates that it knows have answered; only those among its `askCount` closest are asked.
/// With several paths, what one path heard is asked by that path alone: a candidate that both heard of is asked by the
/// one that comes first, and tells only that one. Late answers after `failed` are legal and still taken.
package struct LookupMachine: Sendable {
    package static let pathsMax = 8

    package enum State: UInt8, Sendable {
        case new, waiting, overtaken, answered, failed
    }

    package struct Candidate: Sendable {
        package let distance: UInt64
        package let peer: PeerIndex
        package var state: State
        /// Who heard of it, a bit per path.
        fileprivate var paths: UInt8
        /// On which path it was asked.
        fileprivate var path: UInt8
        package let depth: UInt8
    }

    package enum Step: Hashable, Sendable {
        case ask(PeerIndex, distance: UInt64)
        case wait
        case done
    }

    package let target: UInt64
    /// Nearest first.
    package private(set) var candidates: [Candidate] = []
    private let pathCount: Int
    private let waitingPerPathMax: UInt8
    package var askCount: Int
    package var doneCount: Int
    private let candidatesMax: Int
    private var waiting = SIMD8<UInt8>(repeating: 0)
    private var nextPath = 0

    package init(
        target: UInt64, askCount: Int, doneCount: Int, alpha: Int, paths: Int, candidatesMax: Int
    ) {
        self.target = target
        self.askCount = max(1, askCount)
        self.doneCount = max(1, doneCount)
        pathCount = min(max(1, paths), Self.pathsMax)
        waitingPerPathMax = UInt8(min(255, max(1, alpha / pathCount)))
        self.candidatesMax = max(1, candidatesMax)
    }

    /// Peers from our own table, nearest first or not; they are dealt out to the paths.
    package mutating func start(with peers: [PeerIndex], keys: Keyspace) {
        candidates.reserveCapacity(min(candidatesMax, 3 * askCount))
        guard pathCount > 1 else {
            for peer in peers { add(peer, word: keys.word(of: peer), depth: 1, paths: 1) }
            return
        }
        let ranked = peers.map { (keys.word(of: $0) ^ target, $0) }.sorted { $0 < $1 }
        for (place, item) in ranked.enumerated() {
            add(item.1, word: item.0 ^ target, depth: 1, paths: 1 << UInt8(place % pathCount))
        }
    }

    /// The candidate at `place` named these; `except` is ourselves.
    package mutating func heard(
        _ peers: [PeerIndex], countMax: Int, from place: Int, except own: PeerIndex, keys: Keyspace
    ) {
        let source = candidates[place]
        let depth = source.depth == .max ? .max : source.depth + 1
        for peer in peers.prefix(countMax) where peer != own {
            add(peer, word: keys.word(of: peer), depth: depth, paths: 1 << source.path)
        }
    }

    private mutating func add(_ peer: PeerIndex, word: UInt64, depth: UInt8, paths: UInt8) {
        let distance = word ^ target
        var slot = lowerBound(distance)
        while slot < candidates.count, candidates[slot].distance == distance {
            if candidates[slot].peer == peer {
                candidates[slot].paths |= paths
                return
            }
            slot += 1
        }
        if candidates.count >= candidatesMax {
            // One that is asked keeps its place: its answer would not be found.
            guard slot < candidates.count, let last = candidates.last,
                last.state == .new || last.state == .failed || last.state == .answered
            else { return }
            candidates.removeLast()
        }
        candidates.insert(
            Candidate(distance: distance, peer: peer, state: .new, paths: paths, path: 0, depth: depth), at: slot)
    }

    package func place(of peer: PeerIndex, distance: UInt64) -> Int? {
        var slot = lowerBound(distance)
        while slot < candidates.count, candidates[slot].distance == distance {
            if candidates[slot].peer == peer { return slot }
            slot += 1
        }
        return nil
    }

    private func lowerBound(_ distance: UInt64) -> Int {
        var low = 0
        var high = candidates.count
        while low < high {
            let middle = (low + high) / 2
            if candidates[middle].distance < distance { low = middle + 1 } else { high = middle }
        }
        return low
    }

    // MARK: Events

    /// Whom to ask now; call until it isn't `.ask`.
    package mutating func step() -> Step {
        var isDone = true
        for turn in 0..<pathCount {
            let path = (nextPath + turn) % pathCount
            let (place, isPathDone) = scan(path)
            if isPathDone { continue }
            isDone = false
            guard let place, waiting[path] < waitingPerPathMax else { continue }
            candidates[place].state = .waiting
            candidates[place].path = UInt8(path)
            waiting[path] += 1
            nextPath = (path + 1) % pathCount
            return .ask(candidates[place].peer, distance: candidates[place].distance)
        }
        return isDone ? .done : .wait
    }

    /// The nearest of the path's candidates that nobody was asked of yet, and whether the path is at its end.
    private func scan(_ path: Int) -> (Int?, Bool) {
        let bit = UInt8(1) << UInt8(path)
        var live = 0
        var isDone = true
        var place: Int?
        for slot in candidates.indices {
            guard candidates[slot].paths & bit != 0 else { continue }
            switch candidates[slot].state {
            case .failed:
                continue
            case .answered:
                live += 1
            case .waiting, .overtaken:
                live += 1
                if live <= doneCount { isDone = false }
            case .new:
                live += 1
                if live <= doneCount { isDone = false }
                if place == nil { place = slot }
            }
            if live >= askCount || (place != nil && !isDone) { break }
        }
        return (place, isDone)
    }

    /// Returns the candidate's place, to `add` what it named; nil when it is none.
    package mutating func answered(_ peer: PeerIndex, distance: UInt64) -> Int? {
        guard let place = place(of: peer, distance: distance) else { return nil }
        switch candidates[place].state {
        case .waiting: waiting[Int(candidates[place].path)] -= 1
        case .overtaken, .failed: break
        case .new, .answered: return nil
        }
        candidates[place].state = .answered
        return place
    }

    package mutating func overtaken(_ peer: PeerIndex, distance: UInt64) {
        guard let place = place(of: peer, distance: distance), candidates[place].state == .waiting else { return }
        candidates[place].state = .overtaken
        waiting[Int(candidates[place].path)] -= 1
    }

    package mutating func failed(_ peer: PeerIndex, distance: UInt64) {
        guard let place = place(of: peer, distance: distance) else { return }
        switch candidates[place].state {
        case .waiting: waiting[Int(candidates[place].path)] -= 1
        case .overtaken: break
        case .new, .answered, .failed: return
        }
        candidates[place].state = .failed
    }

    /// A call could not be made now: ask again later.
    package mutating func postponed(_ peer: PeerIndex, distance: UInt64) {
        guard let place = place(of: peer, distance: distance), candidates[place].state == .waiting else { return }
        candidates[place].state = .new
        waiting[Int(candidates[place].path)] -= 1
    }

    // MARK: Results

    /// The nearest that answered.
    package func closestAnswered(countMax: Int) -> [PeerIndex] {
        var list: [PeerIndex] = []
        for candidate in candidates where candidate.state == .answered {
            if list.count >= countMax { break }
            list.append(candidate.peer)
        }
        return list
    }

    /// The nearest that have not failed, asked or not.
    package func closestLive(countMax: Int) -> [Candidate] {
        var list: [Candidate] = []
        for candidate in candidates where candidate.state != .failed {
            if list.count >= countMax { break }
            list.append(candidate)
        }
        return list
    }

    /// How far the candidate number `count` is that answered; nil when fewer did.
    package func distance(ofAnswered count: Int) -> UInt64? {
        var seen = 0
        for candidate in candidates where candidate.state == .answered {
            seen += 1
            if seen == count { return candidate.distance }
        }
        return nil
    }

    /// Steps to the nearest that answered; a contact of our own is one step away.
    package var depth: Int {
        for candidate in candidates where candidate.state == .answered { return Int(candidate.depth) }
        return 0
    }
}

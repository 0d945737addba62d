// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

import struct NIOCore.ByteBuffer

/// Search without an index, as Lv et al. compare it ("Search and replication in unstructured peer-to-peer networks", ICS
/// 2002): bounded flooding, and random walks that check back with the asker.
///
/// A flood goes to all neighbours, each passes its first copy on to all but the sender until the time to live is used
/// up; hits return along the path. A walk is several walkers, each going to one neighbour by lot; before each
/// `walkCheckSteps`-th step it asks the asker whether to go on, and it ends where it found something; hits go straight
/// to the asker. The answer to `.match` is waited for by walkers, not by floods.
///
/// What is remembered of others' searches is limited and expires without a timer, when the next one comes.
struct SearchTable: Sendable {
    private struct Own: Sendable {
        let request: RequestID
        let search: UInt64
        let hitsMax: Int
        let deadline: Instant
        var hits = 0
    }

    private struct Seen: Sendable {
        let kind: SearchQuery.Kind
        let from: PeerIndex
        let origin: PeerIndex
        var hitsCount = 0
        var isAnswered = false
    }

    private struct Walker: Sendable {
        let query: SearchQuery
        let from: PeerIndex
        var isChecking: Bool
    }

    private struct Expiry: Sendable {
        let search: UInt64
        let at: Instant
    }

    private let configuration: SearchConfiguration
    private let limits: MembershipLimits
    private var own: [Own] = []
    private var seen: [UInt64: Seen] = [:]
    private var order = Deque<Expiry>()
    private var resting: [Walker] = []
    private var rates: [PeerIndex: TokenBucket] = [:]

    init(configuration: SearchConfiguration, limits: MembershipLimits) {
        self.configuration = configuration
        self.limits = limits
    }

    // MARK: Own searches

    mutating func start(
        _ request: RequestID, _ question: ByteBuffer, _ plan: SearchPlan, deadline: Instant,
        neighbours: [PeerIndex], _ links: inout MembershipLinks, at now: Instant
    ) {
        guard own.count < limits.searchesMax, question.readableBytes <= limits.questionBytesMax, deadline > now,
            plan.timeToLive > 0, !neighbours.isEmpty
        else { return links.emit(.searchFinished(request, hits: 0)) }
        let search = links.generator.next()
        own.append(
            Own(
                request: request, search: search, hitsMax: min(max(1, plan.hitsMax), limits.hitsPerSearchMax),
                deadline: deadline))
        let timeToLive = plan.kind == .flood ? min(plan.timeToLive, limits.floodTimeToLiveMax) : plan.timeToLive
        let query = SearchQuery(
            search: search, origin: links.own, kind: plan.kind, timeToLive: timeToLive, hops: 1, question: question)
        switch plan.kind {
        case .flood:
            for peer in neighbours { send(query, to: peer, &links) }
        case .walk:
            for _ in 0..<min(max(1, plan.walkers), limits.walkersMax) {
                send(query, to: neighbours[links.below(neighbours.count)], &links)
            }
        }
    }

    mutating func cancel(_ request: RequestID, _ links: inout MembershipLinks) {
        guard let place = own.firstIndex(where: { $0.request == request }) else { return }
        finish(at: place, &links)
    }

    private mutating func finish(at place: Int, _ links: inout MembershipLinks) {
        let search = own.remove(at: place)
        links.emit(.searchFinished(search.request, hits: search.hits))
    }

    // MARK: Searches of others

    mutating func received(
        _ query: SearchQuery, from peer: PeerIndex, neighbours: [PeerIndex], _ links: inout MembershipLinks,
        at now: Instant
    ) {
        guard mayAsk(peer, at: now) else { return links.stats.queriesLimited &+= 1 }
        guard query.question.readableBytes <= limits.questionBytesMax, query.timeToLive > 0 else {
            return links.stats.ignored &+= 1
        }
        expire(at: now)
        switch query.kind {
        case .flood: receivedFlood(query, from: peer, neighbours: neighbours, &links, at: now)
        case .walk: receivedWalker(query, from: peer, neighbours: neighbours, &links, at: now)
        }
    }

    private mutating func receivedFlood(
        _ query: SearchQuery, from peer: PeerIndex, neighbours: [PeerIndex], _ links: inout MembershipLinks,
        at now: Instant
    ) {
        guard query.origin != links.own, seen[query.search] == nil else {
            return links.stats.queriesDuplicate &+= 1
        }
        remember(query, from: peer, at: now)
        let timeToLive = min(query.timeToLive, limits.floodTimeToLiveMax)
        if timeToLive > 1 {
            let copy = query.next(timeToLive: timeToLive - 1)
            for neighbour in neighbours where neighbour != peer { send(copy, to: neighbour, &links) }
        }
        links.effect(.match(search: query.search, query.question))
    }

    private mutating func receivedWalker(
        _ query: SearchQuery, from peer: PeerIndex, neighbours: [PeerIndex], _ links: inout MembershipLinks,
        at now: Instant
    ) {
        let walker = Walker(query: query, from: peer, isChecking: false)
        if query.origin == links.own { return step(walker, neighbours: neighbours, &links, at: now) }
        if let known = seen[query.search] {
            if known.isAnswered { return step(walker, neighbours: neighbours, &links, at: now) }
            return rest(walker, &links)
        }
        remember(query, from: peer, at: now)
        rest(walker, &links)
        links.effect(.match(search: query.search, query.question))
    }

    /// What the application has. Walkers that wait for it end with a hit and go on without one.
    mutating func matched(
        _ search: UInt64, _ answer: ByteBuffer?, neighbours: [PeerIndex], _ links: inout MembershipLinks,
        at now: Instant
    ) {
        guard var known = seen[search], !known.isAnswered else { return }
        known.isAnswered = true
        seen[search] = known
        let waiting = resting.filter { $0.query.search == search && !$0.isChecking }
        resting.removeAll { $0.query.search == search && !$0.isChecking }
        if let answer, answer.readableBytes <= limits.hitBytesMax {
            links.stats.hitsSent &+= 1
            let hit = MembershipMessage.hit(search: search, at: links.own, answer)
            switch known.kind {
            case .flood: links.send(hit, to: known.from)
            case .walk: links.sendOnce(hit, to: known.origin, at: now)
            }
        } else {
            for walker in waiting { step(walker, neighbours: neighbours, &links, at: now) }
        }
    }

    mutating func received(
        _ message: MembershipMessage, from peer: PeerIndex, neighbours: [PeerIndex], _ links: inout MembershipLinks,
        at now: Instant
    ) {
        switch message {
        case .hit(let search, let place, let answer):
            receivedHit(search, at: place, answer, &links)
        case .walkCheck(let search):
            let isOpen = own.contains { $0.search == search }
            links.sendOnce(.walkCheckAnswer(search: search, isOpen: isOpen), to: peer, at: now)
        case .walkCheckAnswer(let search, let isOpen):
            let walkers = resting.filter { $0.query.search == search && $0.isChecking && $0.query.origin == peer }
            guard !walkers.isEmpty else { return links.stats.ignored &+= 1 }
            resting.removeAll { $0.query.search == search && $0.isChecking && $0.query.origin == peer }
            guard isOpen else { return }
            for walker in walkers { walk(walker, neighbours: neighbours, &links) }
        default: links.stats.ignored &+= 1
        }
    }

    private mutating func receivedHit(
        _ search: UInt64, at place: PeerIndex, _ answer: ByteBuffer, _ links: inout MembershipLinks
    ) {
        guard answer.readableBytes <= limits.hitBytesMax else { return links.stats.ignored &+= 1 }
        if let index = own.firstIndex(where: { $0.search == search }) {
            own[index].hits += 1
            links.emit(.searchHit(own[index].request, at: place, answer))
            if own[index].hits >= own[index].hitsMax { finish(at: index, &links) }
        } else if var known = seen[search], known.kind == .flood, known.hitsCount < limits.hitsPerSearchMax {
            known.hitsCount += 1
            seen[search] = known
            links.stats.hitsSent &+= 1
            links.send(.hit(search: search, at: place, answer), to: known.from)
        } else {
            links.stats.ignored &+= 1
        }
    }

    // MARK: Walkers

    /// One step on, after asking the asker where that is due.
    private mutating func step(
        _ walker: Walker, neighbours: [PeerIndex], _ links: inout MembershipLinks, at now: Instant
    ) {
        let isDue = configuration.walkCheckSteps > 0 && walker.query.hops % configuration.walkCheckSteps == 0
        guard isDue else { return walk(walker, neighbours: neighbours, &links) }
        if walker.query.origin == links.own {
            guard own.contains(where: { $0.search == walker.query.search }) else { return }
            return walk(walker, neighbours: neighbours, &links)
        }
        // One question serves all walkers of a search that rest here.
        let isAsked = resting.contains { $0.query.search == walker.query.search && $0.isChecking }
        rest(Walker(query: walker.query, from: walker.from, isChecking: true), &links)
        guard !isAsked else { return }
        links.stats.walkChecksSent &+= 1
        links.sendOnce(.walkCheck(search: walker.query.search), to: walker.query.origin, at: now)
    }

    private mutating func walk(_ walker: Walker, neighbours: [PeerIndex], _ links: inout MembershipLinks) {
        guard walker.query.timeToLive > 1, walker.query.hops < .max, !neighbours.isEmpty else { return }
        let others = neighbours.filter { $0 != walker.from }
        let choices = others.isEmpty ? neighbours : others
        let query = walker.query.next(timeToLive: walker.query.timeToLive - 1)
        send(query, to: choices[links.below(choices.count)], &links)
    }

    private mutating func rest(_ walker: Walker, _ links: inout MembershipLinks) {
        if resting.count >= limits.walkersRestingMax {
            resting.removeFirst()
            links.stats.dropped &+= 1
        }
        resting.append(walker)
    }

    private func send(_ query: SearchQuery, to peer: PeerIndex, _ links: inout MembershipLinks) {
        links.stats.queriesSent &+= 1
        links.send(.query(query), to: peer)
    }

    // MARK: What is remembered

    private mutating func remember(_ query: SearchQuery, from peer: PeerIndex, at now: Instant) {
        if order.count >= limits.searchesSeenMax, let oldest = order.popFirst() { forget(oldest.search) }
        seen[query.search] = Seen(kind: query.kind, from: peer, origin: query.origin)
        order.append(Expiry(search: query.search, at: now + configuration.seenDuration))
    }

    private mutating func expire(at now: Instant) {
        while let first = order.first, first.at <= now {
            order.removeFirst()
            forget(first.search)
        }
    }

    private mutating func forget(_ search: UInt64) {
        seen[search] = nil
        if !resting.isEmpty { resting.removeAll { $0.query.search == search } }
    }

    private mutating func mayAsk(_ peer: PeerIndex, at now: Instant) -> Bool {
        guard configuration.queryInterval > .zero else { return true }
        var bucket =
            rates[peer]
            ?? TokenBucket(interval: configuration.queryInterval, burst: configuration.queryBurst, at: now)
        let isAllowed = bucket.take(at: now)
        rates[peer] = bucket
        return isAllowed
    }

    mutating func disconnected(_ peer: PeerIndex) { rates[peer] = nil }

    // MARK: Timeouts

    var nextTimeout: Instant? {
        var next: Instant?
        for search in own { next = next.map { min($0, search.deadline) } ?? search.deadline }
        return next
    }

    mutating func handleTimeout(_ links: inout MembershipLinks, at now: Instant) {
        while let place = own.firstIndex(where: { $0.deadline <= now }) { finish(at: place, &links) }
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for known in seen.values {
            body(known.from)
            body(known.origin)
        }
        for walker in resting {
            body(walker.query.origin)
            body(walker.from)
        }
        for peer in rates.keys { body(peer) }
    }
}

extension SearchQuery {
    /// The query as it goes one hop on.
    fileprivate func next(timeToLive: UInt8) -> SearchQuery {
        SearchQuery(
            search: search, origin: origin, kind: kind, timeToLive: timeToLive, hops: hops == .max ? .max : hops + 1,
            question: question)
    }
}

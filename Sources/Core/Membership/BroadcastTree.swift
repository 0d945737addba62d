// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

import struct NIOCore.ByteBuffer

/// One payload to everybody for about n - 1 copies: Plumtree (Leitão, Pereira, Rodrigues, "Epidemic broadcast trees",
/// SRDS 2007) over the active view.
///
/// Links are eager or lazy. Payloads go along eager links, announcements along lazy ones. A second copy makes its link
/// lazy, so that the eager ones become a tree; an announced payload that does not come is fetched and its link becomes
/// eager, which mends the tree.
///
/// Deviation: announcements are sent at once, not gathered.
struct BroadcastTree: Sendable {
    private struct Link: Sendable {
        let peer: PeerIndex
        var isEager: Bool
    }

    private struct Missing: Sendable {
        let id: BroadcastID
        var deadline: Instant
        var announcers: [(peer: PeerIndex, hops: UInt16)]
    }

    private struct Cached: Sendable {
        let id: BroadcastID
        let hops: UInt16
        let payload: ByteBuffer
        let until: Instant
    }

    private let configuration: TreeConfiguration
    private let limits: MembershipLimits
    private var treeLinks: [Link] = []
    private var missing: [Missing] = []
    private var cached = Deque<Cached>()
    private var cachedBytes = 0
    private var seen: Set<BroadcastID> = []
    private var seenOrder = Deque<BroadcastID>()

    init(configuration: TreeConfiguration, limits: MembershipLimits) {
        self.configuration = configuration
        self.limits = limits
    }

    var eagerPeers: [PeerIndex] { treeLinks.filter(\.isEager).map(\.peer) }

    // MARK: Inputs

    mutating func neighbourUp(_ peer: PeerIndex) {
        guard !treeLinks.contains(where: { $0.peer == peer }) else { return }
        treeLinks.append(Link(peer: peer, isEager: true))
    }

    mutating func neighbourDown(_ peer: PeerIndex) {
        treeLinks.removeAll { $0.peer == peer }
        for place in missing.indices { missing[place].announcers.removeAll { $0.peer == peer } }
        missing.removeAll { $0.announcers.isEmpty }
    }

    mutating func broadcast(_ id: BroadcastID, _ payload: ByteBuffer, _ links: inout MembershipLinks, at now: Instant) {
        guard payload.readableBytes <= limits.payloadBytesMax, !seen.contains(id) else {
            return links.stats.dropped &+= 1
        }
        accept(id, hops: 0, payload, from: links.own, &links, at: now)
    }

    mutating func received(
        _ message: MembershipMessage, from peer: PeerIndex, _ links: inout MembershipLinks, at now: Instant
    ) {
        // Only neighbours take part: others would make us send to them.
        guard let place = treeLinks.firstIndex(where: { $0.peer == peer }) else { return links.stats.ignored &+= 1 }
        switch message {
        case .payload(let id, let hops, let payload):
            receivedPayload(id, hops, payload, from: place, &links, at: now)
        case .announce(let announcements):
            for announcement in announcements.prefix(limits.announcementsPerMessageMax) {
                announced(announcement, by: peer, at: now)
            }
        case .graft(let id):
            treeLinks[place].isEager = true
            guard let id, let copy = cached.first(where: { $0.id == id }) else { return }
            send(copy.id, copy.hops, copy.payload, to: peer, &links)
        case .prune:
            treeLinks[place].isEager = false
        default: links.stats.ignored &+= 1
        }
    }

    private mutating func receivedPayload(
        _ id: BroadcastID, _ hops: UInt16, _ payload: ByteBuffer, from place: Int, _ links: inout MembershipLinks,
        at now: Instant
    ) {
        guard payload.readableBytes <= limits.payloadBytesMax else { return links.stats.ignored &+= 1 }
        let peer = treeLinks[place].peer
        guard !seen.contains(id) else {
            links.stats.payloadsDuplicate &+= 1
            treeLinks[place].isEager = false
            return control(.prune, to: peer, &links)
        }
        treeLinks[place].isEager = true
        let announcers = missing.first { $0.id == id }?.announcers ?? []
        missing.removeAll { $0.id == id }
        links.effect(.deliver(id, payload, from: peer))
        accept(id, hops: hops, payload, from: peer, &links, at: now)
        optimise(hops, from: peer, announcers, &links)
    }

    /// A lazy link on which the payload would have come over far fewer hops takes the place of the eager one.
    private mutating func optimise(
        _ hops: UInt16, from peer: PeerIndex, _ announcers: [(peer: PeerIndex, hops: UInt16)],
        _ links: inout MembershipLinks
    ) {
        guard configuration.optimisationThreshold > 0, let best = announcers.min(by: { $0.hops < $1.hops }),
            best.peer != peer, hops > best.hops, hops - best.hops >= configuration.optimisationThreshold
        else { return }
        setEager(best.peer, true)
        setEager(peer, false)
        control(.graft(nil), to: best.peer, &links)
        control(.prune, to: peer, &links)
    }

    private mutating func accept(
        _ id: BroadcastID, hops: UInt16, _ payload: ByteBuffer, from peer: PeerIndex, _ links: inout MembershipLinks,
        at now: Instant
    ) {
        remember(id)
        let next = hops == .max ? .max : hops + 1
        cache(Cached(id: id, hops: next, payload: payload, until: now + configuration.cacheDuration), at: now)
        for link in treeLinks where link.peer != peer {
            if link.isEager {
                send(id, next, payload, to: link.peer, &links)
            } else {
                control(.announce([Announcement(id: id, hops: next)]), to: link.peer, &links)
            }
        }
    }

    private mutating func announced(_ announcement: Announcement, by peer: PeerIndex, at now: Instant) {
        guard !seen.contains(announcement.id) else { return }
        let announcer = (peer: peer, hops: announcement.hops)
        if let place = missing.firstIndex(where: { $0.id == announcement.id }) {
            guard missing[place].announcers.count < limits.announcersPerBroadcastMax,
                !missing[place].announcers.contains(where: { $0.peer == peer })
            else { return }
            missing[place].announcers.append(announcer)
        } else if missing.count < limits.broadcastsMissingMax {
            missing.append(
                Missing(id: announcement.id, deadline: now + configuration.graftTimeout, announcers: [announcer]))
        }
    }

    // MARK: Timeouts

    var nextTimeout: Instant? {
        var next: Instant?
        for item in missing { next = next.map { min($0, item.deadline) } ?? item.deadline }
        return next
    }

    mutating func handleTimeout(_ links: inout MembershipLinks, at now: Instant) {
        for place in missing.indices where missing[place].deadline <= now {
            // The last announcer's time is up as well: others will announce again.
            guard !missing[place].announcers.isEmpty else { continue }
            let announcer = missing[place].announcers.removeFirst()
            missing[place].deadline = now + configuration.graftRetryTimeout
            setEager(announcer.peer, true)
            control(.graft(missing[place].id), to: announcer.peer, &links)
        }
        missing.removeAll { $0.announcers.isEmpty && $0.deadline <= now }
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for link in treeLinks { body(link.peer) }
        for item in missing { for announcer in item.announcers { body(announcer.peer) } }
    }

    // MARK: Private

    private mutating func setEager(_ peer: PeerIndex, _ isEager: Bool) {
        guard let place = treeLinks.firstIndex(where: { $0.peer == peer }) else { return }
        treeLinks[place].isEager = isEager
    }

    private func send(
        _ id: BroadcastID, _ hops: UInt16, _ payload: ByteBuffer, to peer: PeerIndex, _ links: inout MembershipLinks
    ) {
        links.stats.payloadsSent &+= 1
        links.send(.payload(id, hops: hops, payload), to: peer)
    }

    private func control(_ message: MembershipMessage, to peer: PeerIndex, _ links: inout MembershipLinks) {
        links.stats.controlsSent &+= 1
        links.send(message, to: peer)
    }

    private mutating func remember(_ id: BroadcastID) {
        if seenOrder.count >= limits.broadcastsSeenMax, let oldest = seenOrder.popFirst() { seen.remove(oldest) }
        seen.insert(id)
        seenOrder.append(id)
    }

    private mutating func cache(_ item: Cached, at now: Instant) {
        cached.append(item)
        cachedBytes += item.payload.readableBytes
        while let first = cached.first,
            first.until <= now || cached.count > limits.broadcastsCachedMax
                || cachedBytes > limits.broadcastsCachedBytesMax
        {
            cachedBytes -= first.payload.readableBytes
            cached.removeFirst()
        }
    }
}

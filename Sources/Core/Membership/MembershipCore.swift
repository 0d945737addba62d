// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// Who is there and who my neighbours are, search among them and broadcast to them: `/tutti/mesh/1`
/// (docs/protocols/mesh.md).
///
/// It owns four machines and passes what one learns to the others: `NeighbourViews` (HyParView), `FailureDetector` (SWIM,
/// Lifeguard), `SearchTable` (floods and walks) and `BroadcastTree` (Plumtree). It does not dial, know addresses or read
/// bytes. The caller drains `nextEffect()` until nil after every call, then sets one timer for `nextTimeout`.
///
/// Nothing here proves who says what beyond the connection it came on: views and states are hints, and nothing of worth
/// may hang on them alone.
package struct MembershipCore: Sendable {
    private var links: MembershipLinks
    private var views: NeighbourViews
    private var detector: FailureDetector
    private var searches: SearchTable
    private var tree: BroadcastTree

    package init(own: PeerIndex, configuration: MembershipConfiguration, seed: UInt64, at now: Instant) {
        let configuration = configuration.validated
        links = MembershipLinks(own: own, configuration: configuration, seed: seed)
        views = NeighbourViews(configuration: configuration.views)
        detector = FailureDetector(
            configuration: configuration.detector, limits: configuration.limits, &links, at: now)
        searches = SearchTable(configuration: configuration.search, limits: configuration.limits)
        tree = BroadcastTree(configuration: configuration.tree, limits: configuration.limits)
    }

    // MARK: Inputs

    package mutating func handle(_ input: MembershipInput, at now: Instant) {
        switch input {
        case .peerConnected(let peer, let group):
            guard peer != links.own else { break }
            if links.connected(peer, group: group) { detector.found(peer, &links, at: now) }
        case .peerDisconnected(let peer):
            links.disconnected(peer)
            searches.disconnected(peer)
            detector.linkLost(peer, &links, at: now)
            detector.unreachable(peer, &links, at: now)
            views.lost(peer, &links, at: now)
        case .connectFailed(let peer):
            links.disconnected(peer)
            detector.unreachable(peer, &links, at: now)
            views.connectFailed(peer, &links, at: now)
        case .received(let peer, let message):
            guard peer != links.own else { break }
            received(message, from: peer, at: now)
        case .peersFound(let peers):
            views.found(peers, &links, at: now)
            for peer in peers { detector.found(peer, &links, at: now) }
        case .viewsRestored(let snapshot): views.restore(snapshot, &links, at: now)
        case .joinRequested(let contact): views.join(through: contact, &links, at: now)
        case .leaveRequested:
            detector.leave(&links)
            views.leave(&links)
        case .searchRequested(let request, let question, let plan, let deadline):
            searches.start(
                request, question, plan, deadline: deadline, neighbours: views.active, &links, at: now)
        case .searchCancelled(let request): searches.cancel(request, &links)
        case .matched(let search, let answer):
            searches.matched(search, answer, neighbours: views.active, &links, at: now)
        case .broadcastRequested(let id, let payload): tree.broadcast(id, payload, &links, at: now)
        }
        passNotices(at: now)
    }

    private mutating func received(_ message: MembershipMessage, from peer: PeerIndex, at now: Instant) {
        switch message {
        case .join, .forwardJoin, .neighbour, .neighbourAnswer, .disconnect, .shuffle, .shuffleAnswer:
            views.received(message, from: peer, &links, at: now)
        case .probe, .ack, .nack, .indirectProbe, .updates:
            detector.received(message, from: peer, &links, at: now)
        case .query(let query):
            searches.received(query, from: peer, neighbours: views.active, &links, at: now)
        case .hit, .walkCheck, .walkCheckAnswer:
            searches.received(message, from: peer, neighbours: views.active, &links, at: now)
        case .payload, .announce, .graft, .prune:
            tree.received(message, from: peer, &links, at: now)
        }
    }

    /// For the lab: what repair makes of a failure is seen by switching it off.
    package mutating func setRepair(_ isOn: Bool) { views.setRepair(isOn) }

    // MARK: Timeouts

    package var nextTimeout: Instant? {
        var next = links.nextTimeout
        for other in [views.nextTimeout, detector.nextTimeout, searches.nextTimeout, tree.nextTimeout] {
            guard let other else { continue }
            next = next.map { min($0, other) } ?? other
        }
        return next
    }

    package mutating func handleTimeout(at now: Instant) {
        links.handleTimeout(at: now)
        views.handleTimeout(&links, at: now)
        detector.handleTimeout(&links, at: now)
        searches.handleTimeout(&links, at: now)
        tree.handleTimeout(&links, at: now)
        passNotices(at: now)
    }

    // MARK: Outputs

    package mutating func nextEffect() -> MembershipEffect? { links.nextEffect() }

    package var stats: MembershipStats { links.stats }
    package var neighbours: [PeerIndex] { views.active }
    package var snapshot: MembershipSnapshot {
        MembershipSnapshot(active: views.active, passive: views.passivePeers)
    }
    /// Neighbours that get payloads at once; the others get announcements.
    package var eagerNeighbours: [PeerIndex] { tree.eagerPeers }
    /// Lifeguard's local health: 0 is well.
    package var awareness: Int { detector.awareness }
    /// Members that are alive or suspect, as far as is known here.
    package var memberCount: Int { detector.members.liveCount }

    /// Nil for a peer that is not watched.
    package func state(of peer: PeerIndex) -> MemberUpdate.State? { detector.state(of: peer) }

    /// Every peer that this core may name again, in no order, some more than once.
    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        links.forEachPeer(body)
        views.forEachPeer(body)
        detector.forEachPeer(body)
        searches.forEachPeer(body)
        tree.forEachPeer(body)
    }

    // MARK: Between the machines

    private mutating func passNotices(at now: Instant) {
        while let notice = links.notices.popFirst() {
            switch notice {
            case .neighbourUp(let peer):
                detector.neighbourUp(peer, &links, at: now)
                tree.neighbourUp(peer)
                links.emit(.neighbourUp(peer))
            case .neighbourDown(let peer):
                detector.neighbourDown(peer)
                tree.neighbourDown(peer)
                links.emit(.neighbourDown(peer))
            case .memberGone(let peer), .pathDown(let peer):
                // A neighbour that we don't reach is none, whoever else reaches it.
                if views.isActive(peer) { views.lost(peer, &links, at: now) }
            case .pathRestored(let peer):
                views.found([peer], &links, at: now)
            }
        }
    }
}

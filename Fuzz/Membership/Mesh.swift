// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiMembership

import struct NIOCore.ByteBuffer

/// One core among sixteen peers, and a driver that keeps its contract; everything else is up to the input.
struct Mesh {
    private var core: MembershipCore
    private let configuration: MembershipConfiguration
    private var now = Instant.zero
    private var connected: Set<PeerIndex> = []
    private var connecting: [PeerIndex] = []
    private var matches: [UInt64] = []
    private var searches: Set<RequestID> = []
    private var lastRequest: UInt64 = 0
    private var sequences: [UInt32] = []

    init(_ source: inout ByteSource) {
        var configuration = source.bool() ? MembershipConfiguration() : .lab
        configuration.transport = source.bool() ? .connections : .datagrams
        configuration.views.activeMax = source.pick([5, 1, 2, 64, 0, -1])
        configuration.views.passiveMax = source.pick([30, 1, 4, 0])
        configuration.views.activePerGroupMax = source.pick([2, 1, 64])
        configuration.detector.arm = source.pick([.lifeguard, .suspicion, .basic])
        configuration.detector.scope = source.pick([.neighbours, .members])
        configuration.detector.membersAtStart = source.pick([0, 1, 12])
        configuration.detector.gossipInterval = source.pick([.zero, .milliseconds(200)])
        configuration.limits.membersMax = source.pick([65_536, 3])
        configuration.limits.suspicionsMax = source.pick([1_024, 1])
        configuration.limits.updatesQueuedMax = source.pick([1_024, 2])
        configuration.limits.connectsMax = source.pick([64, 1])
        configuration.limits.searchesSeenMax = source.pick([4_096, 2])
        configuration.limits.walkersRestingMax = source.pick([256, 1])
        configuration.limits.broadcastsSeenMax = source.pick([4_096, 2])
        configuration.limits.broadcastsCachedMax = source.pick([256, 1])
        self.configuration = configuration.validated
        core = MembershipCore(own: PeerIndex(0), configuration: configuration, seed: source.word64(), at: now)
        drain()
    }

    mutating func run(_ source: inout ByteSource) {
        var steps = 0
        while !source.isEmpty, steps < 500 {
            steps += 1
            step(&source)
            drain()
            check()
        }
        now = now + .seconds(3_600)
        timeout()
        check()
        require(searches.isEmpty, "every search ends by its deadline")
    }

    private mutating func step(_ source: inout ByteSource) {
        let choice = source.byte() % 16
        trace("at \(now): step \(choice)")
        let peer = PeerIndex(UInt32(source.below(16)))
        switch choice {
        case 0: connect(peer, &source)
        case 1:
            guard connected.remove(peer) != nil else { return }
            core.handle(.peerDisconnected(peer), at: now)
        case 2: answerConnect(&source)
        case 3: core.handle(.peersFound([peer, PeerIndex(UInt32(source.below(16)))]), at: now)
        case 4: core.handle(.joinRequested(peer), at: now)
        case 5: search(&source)
        case 6:
            let search = matches.popLast() ?? source.word64()
            core.handle(.matched(search: search, source.bool() ? ByteBuffer(bytes: [1]) : nil), at: now)
        case 7:
            core.handle(.broadcastRequested(BroadcastID(UInt64(source.byte())), ByteBuffer(bytes: [1])), at: now)
        case 8:
            now = now + .milliseconds(source.pick([1, 100, 1_000, 5_000, 60_000]))
            timeout()
        case 9: rare(peer, &source)
        default:
            guard configuration.transport == .datagrams || connected.contains(peer) else { return }
            core.handle(.received(peer, message(&source)), at: now)
        }
    }

    private mutating func rare(_ peer: PeerIndex, _ source: inout ByteSource) {
        switch source.byte() % 4 {
        case 0: core.handle(.leaveRequested, at: now)
        case 1: core.handle(.searchCancelled(RequestID(UInt64(source.byte()))), at: now)
        case 2: core.handle(.viewsRestored(MembershipSnapshot(active: [peer], passive: [peer, PeerIndex(0)])), at: now)
        default: core.setRepair(source.bool())
        }
    }

    private mutating func connect(_ peer: PeerIndex, _ source: inout ByteSource) {
        connected.insert(peer)
        connecting.removeAll { $0 == peer }
        core.handle(.peerConnected(peer, group: AddressGroup(UInt64(source.byte() & 3))), at: now)
    }

    private mutating func answerConnect(_ source: inout ByteSource) {
        guard !connecting.isEmpty else { return }
        let peer = connecting[source.below(connecting.count)]
        if source.bool() { return connect(peer, &source) }
        connecting.removeAll { $0 == peer }
        core.handle(.connectFailed(peer), at: now)
    }

    private mutating func search(_ source: inout ByteSource) {
        lastRequest += 1
        let request = RequestID(lastRequest)
        searches.insert(request)
        let plan = SearchPlan(
            kind: source.bool() ? .flood : .walk, timeToLive: source.byte(), walkers: Int(source.byte()) - 1,
            hitsMax: Int(source.byte()) - 1)
        let deadline = now + .milliseconds(Int(source.byte()) * 100)
        core.handle(.searchRequested(request, ByteBuffer(), plan, deadline: deadline), at: now)
    }

    private mutating func message(_ source: inout ByteSource) -> MembershipMessage {
        let peer = PeerIndex(UInt32(source.below(16)))
        let search = matches.last ?? UInt64(source.byte())
        let sequence = source.bool() ? (sequences.last ?? 0) : source.word32()
        switch source.byte() % 20 {
        case 0: return .join
        case 1: return .forwardJoin(peer, timeToLive: source.byte())
        case 2: return .neighbour(isHighPriority: source.bool())
        case 3, 4: return .neighbourAnswer(isAccepted: source.bool())
        case 5: return .disconnect
        case 6: return .shuffle(origin: peer, peers: peers(&source), timeToLive: source.byte())
        case 7: return .shuffleAnswer(peers(&source))
        case 8: return .probe(sequence: sequence, updates(&source))
        case 9, 10: return .ack(sequence: sequence, updates(&source))
        case 11: return .nack(sequence: sequence)
        case 12: return .indirectProbe(sequence: sequence, peer, updates(&source))
        case 13: return .updates(updates(&source))
        case 14:
            return .query(
                SearchQuery(
                    search: UInt64(source.byte()), origin: peer, kind: source.bool() ? .flood : .walk,
                    timeToLive: source.byte(), hops: source.byte(), question: ByteBuffer()))
        case 15: return .hit(search: search, at: peer, ByteBuffer(bytes: [2]))
        case 16:
            return source.bool()
                ? .walkCheck(search: search) : .walkCheckAnswer(search: search, isOpen: source.bool())
        case 17:
            return .payload(BroadcastID(UInt64(source.byte())), hops: source.word16(), ByteBuffer(bytes: [3]))
        case 18:
            return .announce([Announcement(id: BroadcastID(UInt64(source.byte())), hops: source.word16())])
        default: return source.bool() ? .prune : .graft(source.bool() ? BroadcastID(UInt64(source.byte())) : nil)
        }
    }

    private func peers(_ source: inout ByteSource) -> [PeerIndex] {
        (0..<source.below(40)).map { _ in PeerIndex(UInt32(source.below(64))) }
    }

    private func updates(_ source: inout ByteSource) -> [MemberUpdate] {
        (0..<source.below(4)).map { _ in
            MemberUpdate(
                peer: PeerIndex(UInt32(source.below(16))), incarnation: source.boundary32(around: 65_536),
                state: source.pick([.alive, .suspect, .dead, .left]), accuser: PeerIndex(UInt32(source.below(16))))
        }
    }

    // MARK: The driver

    private mutating func timeout() {
        for _ in 0..<16 {
            guard let next = core.nextTimeout, next <= now else { return }
            core.handleTimeout(at: now)
            drain()
        }
        require(core.nextTimeout.map { $0 > now } ?? true, "timeouts move on")
    }

    private mutating func drain() {
        var count = 0
        while let effect = core.nextEffect() {
            count += 1
            require(count < 10_000, "one input has a limited effect")
            switch effect {
            case .send(let peer, let message):
                require(peer != PeerIndex(0), "nothing is sent to ourselves")
                require(
                    configuration.transport == .datagrams || connected.contains(peer), "who is sent to is connected")
                if case .probe(let sequence, _) = message { sequences.append(sequence) }
            case .connect(let peer):
                require(!connecting.contains(peer) && !connected.contains(peer), "nobody is dialled twice at a time")
                connecting.append(peer)
            case .match(let search, _): matches.append(search)
            case .emit(.searchFinished(let request, _)):
                require(searches.remove(request) != nil, "a search ends once")
            case .emit, .release, .protect, .deliver: break
            }
        }
    }

    private func check() {
        let snapshot = core.snapshot
        require(snapshot.active.count <= configuration.views.activeMax, "the active view is limited")
        require(snapshot.passive.count <= configuration.views.passiveMax, "the passive view is limited")
        let all = snapshot.active + snapshot.passive
        require(Set(all).count == all.count && !all.contains(PeerIndex(0)), "each peer is in one view, we in none")
        require(
            configuration.transport == .datagrams || snapshot.active.allSatisfy { connected.contains($0) },
            "neighbours are connected")
        var known: Set<PeerIndex> = []
        core.forEachPeer { known.insert($0) }
        require(known.isSuperset(of: all), "every peer of the views is told of")
        require(core.awareness <= 8, "awareness is limited")
    }
}

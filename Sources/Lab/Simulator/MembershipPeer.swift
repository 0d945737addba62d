// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiMembership

import struct NIOCore.ByteBuffer

package struct MembershipWorld: Sendable {
    package var configuration: MembershipConfiguration
    /// Through whom a peer joins that starts with nothing.
    package var contact = PeerIndex(0)
    /// Peers that have what searches look for.
    package var holders: Set<PeerIndex> = []
    /// How many of the fleet each peer knows of beside the mesh, as from the hash table. Through one of them, chosen by
    /// lot, it comes back when it has lost all neighbours; zero: it stays alone.
    package var knownCount = 0
    package var fleetCount = 0

    package init(configuration: MembershipConfiguration) { self.configuration = configuration }
}

package enum MembershipCommand: Sendable {
    indirect case handle(MembershipInput)
    case broadcast(UInt64)
    case setRepair(Bool)
}

package enum MembershipReport: Sendable {
    case delivered(BroadcastID)
    case event(MembershipEvent)
}

/// A MembershipCore whose connections are the fleet's links.
package struct MembershipPeer: SimulatedCore {
    package typealias Message = MembershipMessage
    package typealias Command = MembershipCommand
    package typealias Report = MembershipReport
    package typealias World = MembershipWorld

    package private(set) var core: MembershipCore
    private let own: PeerIndex
    private var hadNeighbours = false
    private var isRepairOn = true
    private var rejoinAt: Instant?
    private var rejoinsCount = 0
    private static let patience = Duration.seconds(5)
    private static let rejoinInterval = Duration.seconds(1)

    package init(_ own: PeerIndex, world: MembershipWorld, seed: UInt64, at now: Instant) {
        self.own = own
        core = MembershipCore(own: own, configuration: world.configuration, seed: seed, at: now)
    }

    package mutating func restart(keepsDisk: Bool, world: MembershipWorld, seed: UInt64, at now: Instant) {
        let views = core.snapshot
        core = MembershipCore(own: own, configuration: world.configuration, seed: seed, at: now)
        if keepsDisk, !views.active.isEmpty || !views.passive.isEmpty { core.handle(.viewsRestored(views), at: now) }
        if own != world.contact { core.handle(.joinRequested(world.contact), at: now) }
    }

    package mutating func handle(_ command: MembershipCommand, world: MembershipWorld, at now: Instant) {
        switch command {
        case .handle(let input): core.handle(input, at: now)
        case .broadcast(let id):
            core.handle(.broadcastRequested(BroadcastID(id), ByteBuffer(bytes: [1, 2, 3, 4])), at: now)
        case .setRepair(let isOn):
            isRepairOn = isOn
            core.setRepair(isOn)
        }
    }

    package mutating func receive(
        _ message: consuming MembershipMessage, from peer: PeerIndex, world: MembershipWorld, at now: Instant
    ) {
        core.handle(.received(peer, message), at: now)
    }

    package mutating func linkChanged(
        _ change: LinkChange, with peer: PeerIndex, world: MembershipWorld, at now: Instant
    ) {
        switch change {
        case .up: core.handle(.peerConnected(peer, group: AddressGroup(UInt64(peer.value) + 1)), at: now)
        case .down: core.handle(.peerDisconnected(peer), at: now)
        case .failed: core.handle(.connectFailed(peer), at: now)
        }
    }

    package mutating func handleTimeout(world: MembershipWorld, at now: Instant) {
        core.handleTimeout(at: now)
        if let due = rejoinAt, due <= now { rejoin(world, at: now) }
    }

    package var nextTimeout: Instant? {
        guard let rejoinAt else { return core.nextTimeout }
        return min(rejoinAt, core.nextTimeout ?? rejoinAt)
    }

    /// As a node's discovery does, which dials candidates until it has enough connections.
    private mutating func rejoin(_ world: MembershipWorld, at now: Instant) {
        rejoinAt = now + Self.rejoinInterval
        var draws = DrawStream(seed: UInt64(world.fleetCount), peer: own, .placement)
        var known = own
        for _ in 0...(rejoinsCount % world.knownCount) {
            known = PeerIndex(UInt32(draws.below(UInt64(max(1, world.fleetCount)))))
        }
        rejoinsCount += 1
        core.handle(.joinRequested(known), at: now)
    }

    private mutating func watch(_ world: MembershipWorld, at now: Instant) {
        if !core.neighbours.isEmpty {
            hadNeighbours = true
            rejoinAt = nil
        } else if rejoinAt == nil, hadNeighbours, isRepairOn {
            rejoinAt = now + Self.patience
        }
    }

    package mutating func nextStep(world: MembershipWorld, at now: Instant) -> FleetStep<MembershipPeer>? {
        while let effect = core.nextEffect() {
            switch effect {
            case .send(let peer, let message): return .send(peer, message)
            case .connect(let peer): return .connect(peer)
            case .release(let peer): return .release(peer)
            case .protect: continue
            case .match(let search, let question):
                core.handle(.matched(search: search, world.holders.contains(own) ? question : nil), at: now)
            case .deliver(let id, _, _): return .report(.delivered(id))
            case .emit(let event): return .report(.event(event))
            }
        }
        if world.knownCount > 0 { watch(world, at: now) }
        return nil
    }

    // MARK: Messages

    package static func byteCount(_ message: borrowing MembershipMessage) -> Int {
        switch message {
        case .shuffle(_, let peers, _): 20 + 60 * peers.count
        case .shuffleAnswer(let peers): 10 + 60 * peers.count
        case .probe(_, let updates), .ack(_, let updates), .indirectProbe(_, _, let updates): 12 + 48 * updates.count
        case .updates(let updates): 8 + 48 * updates.count
        case .query(let query): 80 + query.question.readableBytes
        case .hit(_, _, let bytes): 60 + bytes.readableBytes
        case .payload(_, _, let bytes): 16 + bytes.readableBytes
        case .announce(let announcements): 8 + 11 * announcements.count
        case .forwardJoin: 60
        case .join, .neighbour, .neighbourAnswer, .disconnect, .nack, .walkCheck, .walkCheckAnswer, .graft, .prune: 12
        }
    }

    package static func fingerprint(_ message: borrowing MembershipMessage) -> UInt64 {
        func word(_ kind: UInt64, _ value: UInt64) -> UInt64 { value &* 31 &+ kind }
        func word(_ kind: UInt64, _ peers: [PeerIndex]) -> UInt64 {
            peers.reduce(kind) { $0 &* 0x100_0000_01B3 &+ UInt64($1.value) }
        }
        func word(_ kind: UInt64, _ sequence: UInt32, _ updates: [MemberUpdate]) -> UInt64 {
            updates.reduce(word(kind, UInt64(sequence))) {
                ($0 &* 0x100_0000_01B3) ^ (UInt64($1.peer.value) << 2 | UInt64($1.state.rawValue))
            }
        }
        return switch message {
        case .join: 1
        case .forwardJoin(let peer, let left): word(2, UInt64(peer.value) << 8 | UInt64(left))
        case .neighbour(let isHigh): isHigh ? 3 : 4
        case .neighbourAnswer(let isAccepted): isAccepted ? 5 : 6
        case .disconnect: 7
        case .shuffle(let origin, let peers, let left): word(8 + UInt64(origin.value) << 8 + UInt64(left), peers)
        case .shuffleAnswer(let peers): word(9, peers)
        case .probe(let sequence, let updates): word(10, sequence, updates)
        case .ack(let sequence, let updates): word(11, sequence, updates)
        case .nack(let sequence): word(12, UInt64(sequence))
        case .indirectProbe(let sequence, let peer, let updates):
            word(13, sequence, updates) ^ (UInt64(peer.value) << 32)
        case .updates(let updates): word(14, 0, updates)
        case .query(let query): word(15, query.search ^ (UInt64(query.hops) << 56))
        case .hit(let search, let peer, _): word(16, search ^ (UInt64(peer.value) << 32))
        case .walkCheck(let search): word(17, search)
        case .walkCheckAnswer(let search, let isOpen): word(isOpen ? 18 : 19, search)
        case .payload(let id, let hops, _): word(20, id.value ^ (UInt64(hops) << 48))
        case .announce(let announcements): announcements.reduce(21) { $0 &* 31 &+ $1.id.value }
        case .graft(let id): word(22, id?.value ?? 0)
        case .prune: 23
        }
    }

    package static func isAnswer(_ message: borrowing MembershipMessage) -> Bool { true }
}

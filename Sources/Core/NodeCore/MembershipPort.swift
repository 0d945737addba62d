// SPDX-License-Identifier: Apache-2.0
package import DequeModule
package import TuttiBase
package import TuttiIdentity
package import TuttiMembership
import TuttiPeers

import struct NIOCore.ByteBuffer

/// MembershipCore on the streams of peers that speak `/tutti/mesh/1` (`PeerStreams`), and its way in: a node that wants
/// neighbours and has none asks those that it is connected with (`RejoinMachine`).
package struct MembershipPort: Sendable {
    private enum Wish: Sendable {
        /// Nobody has asked for neighbours yet.
        case unasked
        case neighbours
        /// It left on purpose.
        case solitude
    }

    private var core: MembershipCore
    private var wish = Wish.unasked
    private var entry: RejoinMachine
    private var streams = PeerStreams(owner: 3)
    private var numbers = RequestNumbers(owner: 4)
    private static let dialTimeout = Duration.seconds(10)
    private let limits: MembershipLimits
    private var dials: [RequestID: PeerIndex] = [:]
    /// Connected for the core, and not known to speak our protocol yet.
    private var awaited: [PeerID: PeerIndex] = [:]

    package init(configuration: MembershipConfiguration, seed: UInt64, at now: Instant) {
        core = MembershipCore(own: PeerTable.own, configuration: configuration, seed: seed, at: now)
        entry = RejoinMachine(seed: ~seed)
        limits = configuration.limits
    }

    package var protocols: [CoreProtocol] {
        [CoreProtocol(MembershipWire.protocolID, messageBytesMax: limits.messageBytesMax, inboundMax: 2)]
    }
    package func speaks(_ name: ProtocolID) -> Bool { name == MembershipWire.protocolID }
    package func owns(_ request: RequestID) -> Bool { streams.owns(request) || numbers.owns(request) }
    package func neighbours(_ context: NodeContext) -> [PeerID] {
        core.neighbours.compactMap { context.table.id(of: $0) }
    }
    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        core.forEachPeer(body)
        streams.forEachPeer(body)
        for index in dials.values { body(index) }
        for index in awaited.values { body(index) }
    }
    package var nextTimeout: Instant? {
        var earliest = core.nextTimeout
        if let next = streams.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = entry.nextTimeout { earliest = min(earliest ?? next, next) }
        return earliest
    }

    package mutating func handleTimeout(at now: Instant, _ context: inout NodeContext) {
        streams.handleTimeout(at: now)
        if let next = core.nextTimeout, next <= now { core.handleTimeout(at: now) }
        // A neighbour may have come in this turn.
        if core.neighbours.isEmpty, let due = entry.nextTimeout, due <= now,
            let peer = entry.handleTimeout(at: now, connected: streams.connectedPeers)
        {
            join(peer, at: now, &context)
        }
    }

    package mutating func handle(_ command: MembershipCommand, at now: Instant, _ context: inout NodeContext) {
        switch command {
        case .join(let peer): join(peer, at: now, &context)
        case .leave:
            wish = .solitude
            core.handle(.leaveRequested, at: now)
        case .found(let peers):
            core.handle(.peersFound(peers.compactMap { context.table.index(of: $0) }), at: now)
        case .search(let request, let question, let plan, let deadline):
            core.handle(.searchRequested(request, question, plan, deadline: deadline), at: now)
        case .cancelSearch(let request): core.handle(.searchCancelled(request), at: now)
        case .broadcast(let id, let payload): core.handle(.broadcastRequested(id, payload), at: now)
        case .matched(let search, let answer): core.handle(.matched(search: search, answer), at: now)
        }
    }

    package mutating func handle(_ input: PortInput, at now: Instant, _ context: inout NodeContext) {
        switch input {
        case .peerIdentified(let peer, let profile, let id):
            guard profile.protocols.contains(MembershipWire.protocolID) else {
                if let index = awaited.removeValue(forKey: peer) { core.handle(.connectFailed(index), at: now) }
                return
            }
            connect(peer, over: id, at: now, &context)
            // The first that discovery comes upon is the way in.
            if context.hasDiscovery, wish != .solitude, core.neighbours.isEmpty, !entry.wasAsked(peer) {
                join(peer, at: now, &context)
            }
        case .streamArrived(let key, _, let peer):
            streams.streamArrived(key, from: peer)
            connect(peer, over: key.connection, at: now, &context)
        case .message(let key, let bytes):
            if let index = streams.speaker(on: key) { receive(bytes, from: index, on: key, at: now, &context) }
        case .peerDisconnected(let peer):
            let index = streams.peerDisconnected(peer)
            entry.peerDisconnected(peer)
            if let index = awaited.removeValue(forKey: peer) { core.handle(.connectFailed(index), at: now) }
            if let index { core.handle(.peerDisconnected(index), at: now) }
        case .streamEnded, .streamFailed, .connectionPreferred, .connectionClosed, .streamOpened, .openFailed:
            streams.handle(input, at: now, &context)
        case .dialed(let request, let id): dialed(request, over: id, at: now, &context)
        case .dialFailed(let request):
            if let index = dials.removeValue(forKey: request) { core.handle(.connectFailed(index), at: now) }
        }
    }

    /// The connection is there; whether the peer speaks our protocol is known when it has identified itself.
    private mutating func dialed(
        _ request: RequestID, over id: ConnectionID, at now: Instant, _ context: inout NodeContext
    ) {
        guard let index = dials.removeValue(forKey: request), let peer = context.table.id(of: index),
            !streams.isConnected(peer)
        else { return }
        guard let profile = context.peers.profile(of: peer) else {
            awaited[peer] = index
            return
        }
        if profile.protocols.contains(MembershipWire.protocolID) {
            connect(peer, over: id, at: now, &context)
        } else {
            core.handle(.connectFailed(index), at: now)
        }
    }

    private mutating func join(_ peer: PeerID, at now: Instant, _ context: inout NodeContext) {
        guard let index = context.table.index(of: peer) else { return }
        wish = .neighbours
        if streams.isConnected(peer) { entry.didAsk(peer) }
        core.handle(.joinRequested(index), at: now)
    }

    private mutating func connect(
        _ peer: PeerID, over id: ConnectionID, at now: Instant, _ context: inout NodeContext
    ) {
        awaited[peer] = nil
        guard let index = streams.connect(peer, MembershipWire.protocolID, over: id, &context) else { return }
        core.handle(.peerConnected(index, group: context.group(of: peer)), at: now)
    }

    private mutating func receive(
        _ bytes: ByteBuffer, from peer: PeerIndex, on key: StreamKey, at now: Instant, _ context: inout NodeContext
    ) {
        do throws(DecodeError) {
            let message = try MembershipWire.decode(bytes, limits: limits) { named in
                let isDialable = !named.addresses.isEmpty && context.peers.connection(to: named.id) == nil
                if context.hasDiscovery, isDialable, named.id != context.peers.ownID {
                    context.exchanged.append(named.id)
                }
                return context.learn(named.id, named.addresses, at: now)
            }
            // Nil: a kind of a later version.
            if let message { core.handle(.received(peer, message), at: now) }
        } catch {
            streams.refuse(key, &context)
        }
    }

    package mutating func settle(
        at now: Instant, _ context: inout NodeContext, _ outbox: inout Deque<NodeCore.Effect>
    ) {
        while true {
            if let index = streams.nextLoss() {
                core.handle(.peerDisconnected(index), at: now)
            } else if let effect = core.nextEffect() {
                perform(effect, at: now, &context, &outbox)
            } else {
                break
            }
        }
        let isAlone = core.neighbours.isEmpty
        // Others have joined through it.
        if !isAlone, wish == .unasked { wish = .neighbours }
        entry.update(isAlone: isAlone && wish == .neighbours, canAsk: streams.isAnyConnected, at: now)
        streams.hand(over: &context)
    }

    private mutating func perform(
        _ effect: MembershipEffect, at now: Instant, _ context: inout NodeContext,
        _ outbox: inout Deque<NodeCore.Effect>
    ) {
        switch effect {
        case .send(let index, let message):
            guard let peer = context.table.id(of: index) else { return }
            let bytes = MembershipWire.encode(message, limits: limits) { index, isDialled in
                context.table.id(of: index).map {
                    NamedPeer(id: $0, addresses: isDialled ? context.addresses(of: $0) : [])
                }
            }
            if let bytes { streams.send(bytes, to: peer) }
        case .connect(let index):
            guard let peer = context.table.id(of: index) else { return }
            let request = numbers.next()
            dials[request] = index
            context.commands.append(.dial(request, peer, deadline: now + Self.dialTimeout))
        case .release(let index):
            guard let peer = context.table.id(of: index) else { return }
            context.peers.handle(.protectionChanged(peer, isProtected: false), at: now)
        case .protect(let index, let isProtected):
            guard let peer = context.table.id(of: index) else { return }
            context.peers.handle(.protectionChanged(peer, isProtected: isProtected), at: now)
        case .match(let search, let question): outbox.append(.membership(.match(search: search, question)))
        case .emit(let event):
            if let event = named(event, context) { outbox.append(.membership(event)) }
        case .deliver(let id, let payload, let index):
            guard let peer = context.table.id(of: index) else { return }
            outbox.append(.membership(.broadcast(id, payload, from: peer)))
        }
    }

    private func named(_ event: MembershipEvent, _ context: NodeContext) -> MembershipResult? {
        let table = context.table
        switch event {
        case .neighbourUp(let index): return table.id(of: index).map { .neighbourUp($0) }
        case .neighbourDown(let index): return table.id(of: index).map { .neighbourDown($0) }
        case .stateChanged(let index, let state): return table.id(of: index).map { .stateChanged($0, state) }
        case .pathDown(let index, let helper):
            guard let peer = table.id(of: index), let via = table.id(of: helper) else { return nil }
            return .pathDown(peer, via: via)
        case .pathRestored(let index): return table.id(of: index).map { .pathRestored($0) }
        case .searchHit(let request, let index, let answer):
            return table.id(of: index).map { .searchHit(request, at: $0, answer) }
        case .searchFinished(let request, let hits): return .searchFinished(request, hits: hits)
        }
    }
}

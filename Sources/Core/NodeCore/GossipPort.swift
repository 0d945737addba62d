// SPDX-License-Identifier: Apache-2.0
package import DequeModule
package import TuttiBase
package import TuttiGossip
import TuttiIdentity
import TuttiPeers

import struct NIOCore.ByteBuffer

/// GossipCore on streams: one of ours to each peer that speaks a version of it, any number of theirs to us.
///
/// A peer counts as connected to the core as soon as either side begins to speak: what we say meanwhile waits for our
/// stream to open.
package struct GossipPort: Sendable {
    private var core: GossipCore
    private var streams = MessageStreams(owner: 2)
    /// Of dials to peers that others named; nobody waits for how they end.
    private var numbers = RequestNumbers(owner: 5)
    private let versions: [(name: ProtocolID, version: GossipVersion)]
    private let limits: GossipLimits
    /// Whom the core believes connected, in the version given.
    private var connected: [PeerID: PeerIndex] = [:]
    private var arrived: [StreamKey: PeerID] = [:]

    package init(configuration: GossipConfiguration, seed: UInt64, at now: Instant) {
        core = GossipCore(configuration: configuration, seed: seed, at: now)
        versions = GossipVersion.preferred.map { ($0.protocolID, $0) }
        limits = configuration.limits
    }

    package var protocols: [CoreProtocol] {
        versions.map { CoreProtocol($0.name, messageBytesMax: limits.rpcBytesMax, inboundMax: 2) }
    }
    package func speaks(_ name: ProtocolID) -> Bool { versions.contains { $0.name == name } }
    package func owns(_ request: RequestID) -> Bool { streams.owns(request) || numbers.owns(request) }
    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        core.forEachPeer(body)
        for index in connected.values { body(index) }
    }
    package var nextTimeout: Instant? {
        guard let own = streams.nextTimeout else { return core.nextTimeout }
        return min(own, core.nextTimeout ?? own)
    }

    package mutating func handleTimeout(at now: Instant, _ context: inout NodeContext) {
        streams.handleTimeout(at: now)
        if let next = core.nextTimeout, next <= now { core.handleTimeout(at: now) }
    }

    package mutating func handle(_ command: GossipCommand, at now: Instant, _ context: inout NodeContext) {
        switch command {
        case .subscribe(let topic): core.handle(.subscribeRequested(topic), at: now)
        case .unsubscribe(let topic): core.handle(.unsubscribeRequested(topic), at: now)
        case .publish(let request, let topic, let data): core.handle(.publishRequested(request, topic, data), at: now)
        case .validated(let request, let verdicts): core.handle(.validated(request, verdicts), at: now)
        }
    }

    package mutating func handle(_ input: PortInput, at now: Instant, _ context: inout NodeContext) {
        switch input {
        case .peerIdentified(let peer, let profile, let id):
            guard let best = versions.first(where: { profile.protocols.contains($0.name) }) else { return }
            connect(peer, best.name, best.version, over: id, at: now, &context)
        case .streamArrived(let key, let name, let peer):
            arrived[key] = peer
            guard let version = versions.first(where: { $0.name == name })?.version else { return }
            connect(peer, name, version, over: key.connection, at: now, &context)
        case .message(let key, let bytes):
            guard let peer = arrived[key], let index = connected[peer] else { return }
            receive(bytes, from: index, at: now)
        case .streamEnded(let key):
            if arrived.removeValue(forKey: key) != nil {
                context.commands.append(.closeWriting(key))
            } else {
                streams.lost(key, at: now)
            }
        case .streamFailed(let key):
            if arrived.removeValue(forKey: key) == nil { streams.lost(key, at: now) }
        case .peerDisconnected(let peer):
            streams.peerDisconnected(peer)
            disconnect(peer, at: now)
        case .connectionPreferred(let peer, let id): streams.connectionPreferred(peer, id)
        case .connectionClosed(let id):
            for key in arrived.keys where key.connection == id { arrived[key] = nil }
            streams.connectionClosed(id)
        case .streamOpened(let request, let key): streams.opened(request, key)
        case .openFailed(let request): streams.openFailed(request, at: now)
        case .dialed, .dialFailed: break
        }
    }

    private mutating func connect(
        _ peer: PeerID, _ name: ProtocolID, _ version: GossipVersion, over id: ConnectionID, at now: Instant,
        _ context: inout NodeContext
    ) {
        guard connected[peer] == nil, let index = context.table.index(of: peer) else { return }
        connected[peer] = index
        streams.open(peer, name, over: id)
        let direction: Direction = id.value & 1 == 1 ? .outbound : .inbound
        core.handle(
            .peerConnected(index, version, direction, group: context.group(of: peer), author: peer.bytes), at: now)
    }

    private mutating func disconnect(_ peer: PeerID, at now: Instant) {
        guard let index = connected.removeValue(forKey: peer) else { return }
        core.handle(.peerDisconnected(index), at: now)
    }

    private mutating func receive(_ bytes: ByteBuffer, from peer: PeerIndex, at now: Instant) {
        do throws(DecodeError) {
            core.handle(.received(peer, try GossipWire.decode(bytes, limits: limits)), at: now)
        } catch {
            core.handle(.malformed(peer), at: now)
        }
    }

    /// Does what the core wants until it wants nothing more; what is for the embedder goes to `outbox`.
    package mutating func settle(
        at now: Instant, _ context: inout NodeContext, _ outbox: inout Deque<NodeCore.Effect>
    ) {
        while true {
            if let peer = streams.nextLoss() {
                disconnect(peer, at: now)
            } else if let effect = core.nextEffect() {
                perform(effect, at: now, &context, &outbox)
            } else {
                break
            }
        }
        while let command = streams.nextCommand() { context.commands.append(command) }
    }

    private mutating func perform(
        _ effect: GossipEffect, at now: Instant, _ context: inout NodeContext,
        _ outbox: inout Deque<NodeCore.Effect>
    ) {
        switch effect {
        case .send(let index, let rpc):
            guard let peer = context.table.id(of: index) else { return }
            var bytes = ByteBuffer()
            GossipWire.encode(rpc, into: &bytes) { index in
                context.table.id(of: index).map { ($0.bytes, context.peers.store.record(of: $0) ?? []) }
            }
            streams.send(bytes, to: peer)
        case .validate(let request, let messages, let index):
            guard let peer = context.table.id(of: index) else { return }
            outbox.append(.gossip(.validate(request, messages, from: peer)))
        case .deliver(let message, let index):
            guard let peer = context.table.id(of: index) else { return }
            outbox.append(.gossip(.deliver(message, from: peer)))
        case .published(let request, let id, let count):
            outbox.append(.gossip(.published(request, id, sentTo: count)))
        case .publishFailed(let request, let error): outbox.append(.gossip(.publishFailed(request, error)))
        case .peersExchanged(let peers, _): exchanged(peers, at: now, &context)
        case .disconnect(let index):
            guard let peer = context.table.id(of: index) else { return }
            for key in arrived.filter({ $0.value == peer }).keys.sorted() {
                arrived[key] = nil
                context.commands.append(.reset(key))
            }
            streams.close(peer)
        }
    }

    /// Only whoever comes with a record of its own making is dialled: the peer that named it may not choose where to.
    private mutating func exchanged(_ peers: [ExchangedPeer], at now: Instant, _ context: inout NodeContext) {
        var dials = 0
        for case .heard(let bytes, let envelope) in peers where dials < Self.exchangeDialsMax && !envelope.isEmpty {
            do throws(DecodeError) {
                let id = try PeerID(multihash: bytes)
                guard id != context.peers.ownID, context.peers.connection(to: id) == nil else { continue }
                let record = try PeerRecord(envelope: ByteBuffer(bytes: envelope))
                guard record.peerID == id else { continue }
                context.peers.handle(.addressesFound(id, record.addresses), at: now)
                context.commands.append(.dial(numbers.next(), id, deadline: now + .seconds(10)))
                dials += 1
            } catch {
                continue
            }
        }
    }

    /// Of one PRUNE. Each costs us the check of a signature.
    private static let exchangeDialsMax = 4
}

// SPDX-License-Identifier: Apache-2.0
package import DequeModule
package import TuttiBase
package import TuttiGossip
import TuttiIdentity
import TuttiPeers

import struct NIOCore.ByteBuffer

/// GossipCore on the streams of peers that speak a version of it (`PeerStreams`).
package struct GossipPort: Sendable {
    private var core: GossipCore
    private var streams = PeerStreams(owner: 2)
    /// Of dials to peers that others named where no discovery chooses; nobody waits for how they end.
    private var numbers = RequestNumbers(owner: 5)
    private let versions: [(name: ProtocolID, version: GossipVersion)]
    private let limits: GossipLimits
    /// Topics of the journal are for members only.
    private var guarded: GuardedTopics
    /// Messages of topics that another core judges, until it takes them.
    private var unjudged: Deque<UnjudgedMessages> = []

    package init(configuration: GossipConfiguration, seed: UInt64, at now: Instant) {
        core = GossipCore(configuration: configuration, seed: seed, at: now)
        versions = GossipVersion.preferred.map { ($0.protocolID, $0) }
        limits = configuration.limits
        guarded = GuardedTopics(families: configuration.families)
    }

    package var protocols: [CoreProtocol] {
        versions.map { CoreProtocol($0.name, messageBytesMax: limits.rpcBytesMax, inboundMax: 2) }
    }
    package func speaks(_ name: ProtocolID) -> Bool { versions.contains { $0.name == name } }
    package func owns(_ request: RequestID) -> Bool { streams.owns(request) || numbers.owns(request) }
    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        core.forEachPeer(body)
        streams.forEachPeer(body)
        guarded.forEachPeer(body)
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
            streams.streamArrived(key, from: peer)
            guard let version = versions.first(where: { $0.name == name })?.version else { return }
            connect(peer, name, version, over: key.connection, at: now, &context)
        case .message(let key, let bytes):
            if let index = streams.speaker(on: key) { receive(bytes, from: index, at: now) }
        case .peerDisconnected(let peer):
            if let index = context.table.known(peer) { guarded.forget(index) }
            if let index = streams.peerDisconnected(peer) { core.handle(.peerDisconnected(index), at: now) }
        case .streamEnded, .streamFailed, .connectionPreferred, .connectionClosed, .streamOpened, .openFailed:
            streams.handle(input, at: now, &context)
        case .dialed, .dialFailed: break
        }
    }

    /// A connected peer has shown that it may take part in the topics of the journal, or ceased to be one that may. It may
    /// show so before we know that it speaks gossip.
    mutating func setMember(_ peer: PeerID, _ isMember: Bool, at now: Instant, _ context: inout NodeContext) {
        guard let index = context.table.index(of: peer) else { return }
        guard let rpc = guarded.set(index, isMember: isMember) else { return }
        core.handle(.received(index, rpc), at: now)
    }

    mutating func nextUnjudged() -> UnjudgedMessages? { unjudged.popFirst() }

    private mutating func connect(
        _ peer: PeerID, _ name: ProtocolID, _ version: GossipVersion, over id: ConnectionID, at now: Instant,
        _ context: inout NodeContext
    ) {
        guard let index = streams.connect(peer, name, over: id, &context) else { return }
        let direction: Direction = id.value & 1 == 1 ? .outbound : .inbound
        core.handle(
            .peerConnected(index, version, direction, group: context.group(of: peer), author: peer.bytes), at: now)
    }

    private mutating func receive(_ bytes: ByteBuffer, from peer: PeerIndex, at now: Instant) {
        do throws(DecodeError) {
            var rpc = try GossipWire.decode(bytes, limits: limits)
            guarded.admit(&rpc, from: peer)
            core.handle(.received(peer, rpc), at: now)
        } catch {
            core.handle(.malformed(peer), at: now)
        }
    }

    /// Does what the core wants until it wants nothing more; what is for the embedder goes to `outbox`.
    package mutating func settle(
        at now: Instant, _ context: inout NodeContext, _ outbox: inout Deque<NodeCore.Effect>
    ) {
        while true {
            if let index = streams.nextLoss() {
                guarded.fallenSilent(index)
                core.handle(.peerDisconnected(index), at: now)
            } else if let effect = core.nextEffect() {
                perform(effect, at: now, &context, &outbox)
            } else {
                break
            }
        }
        streams.hand(over: &context)
    }

    private mutating func perform(
        _ effect: GossipEffect, at now: Instant, _ context: inout NodeContext,
        _ outbox: inout Deque<NodeCore.Effect>
    ) {
        switch effect {
        case .send(let index, let rpc):
            guard let peer = context.table.id(of: index) else { return }
            var bytes = ByteBuffer()
            bytes.reserveCapacity(rpc.messages.reduce(64) { $0 + $1.byteCount + 6 })
            GossipWire.encode(rpc, into: &bytes) { index in
                context.table.id(of: index).map { ($0.bytes, context.peers.store.record(of: $0) ?? []) }
            }
            streams.send(bytes, to: peer)
        case .validate(let request, let messages, let index, let judge):
            guard let peer = context.table.id(of: index) else { return }
            switch judge {
            case .application: outbox.append(.gossip(.validate(request, messages, from: peer)))
            case .journal: unjudged.append(UnjudgedMessages(request: request, messages: messages, peer: peer))
            }
        case .deliver(let message, let index):
            guard let peer = context.table.id(of: index) else { return }
            outbox.append(.gossip(.deliver(message, from: peer)))
        case .published(let request, let id, let count):
            outbox.append(.gossip(.published(request, id, sentTo: count)))
        case .publishFailed(let request, let error): outbox.append(.gossip(.publishFailed(request, error)))
        case .peersExchanged(let peers, _): exchanged(peers, at: now, &context)
        case .disconnect(let index):
            guard let peer = context.table.id(of: index) else { return }
            streams.close(peer, &context)
        }
    }

    /// Only whoever comes with a record of its own making is a candidate: the peer that named it may not choose where to.
    private mutating func exchanged(_ peers: [ExchangedPeer], at now: Instant, _ context: inout NodeContext) {
        var dials = 0
        for case .heard(let bytes, let envelope) in peers where dials < Self.exchangeDialsMax && !envelope.isEmpty {
            do throws(DecodeError) {
                let id = try PeerID(multihash: bytes)
                guard id != context.peers.ownID, context.peers.connection(to: id) == nil else { continue }
                let record = try PeerRecord(envelope: ByteBuffer(bytes: envelope))
                guard record.peerID == id else { continue }
                context.peers.handle(.addressesFound(id, record.addresses), at: now)
                if context.hasDiscovery {
                    context.exchanged.append(id)
                } else {
                    context.commands.append(.dial(numbers.next(), id, deadline: now + .seconds(10)))
                }
                dials += 1
            } catch {
                continue
            }
        }
    }

    /// Of one PRUNE. Each costs us the check of a signature.
    private static let exchangeDialsMax = 4
}

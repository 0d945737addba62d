// SPDX-License-Identifier: Apache-2.0
package import DequeModule
package import TuttiBase
package import TuttiIdentity
package import TuttiKademlia
import TuttiPeers

import struct NIOCore.ByteBuffer

/// KademliaCore on streams: calls go out over `RequestStreams`; what peers ask is answered on their streams, in order.
///
/// Answers are made in the turn of the question, so that those on one stream never overtake each other.
package struct KademliaPort: Sendable {
    private var core: KademliaCore
    private var streams: QuestionStreams
    private let name: ProtocolID
    private let limits: KademliaLimits
    package private(set) var isServer: Bool
    /// What a peer asked and the core has not answered yet.
    private var asked: [RequestID: (key: StreamKey, request: KademliaRequest)] = [:]
    private var requests: [RequestID: KademliaRequest] = [:]
    private var lastAsked: UInt64 = 0
    /// For the embedder, until the next `settle`.
    private var results: [KademliaResult] = []

    package init(configuration: KademliaConfiguration, own: PeerID, key: KademliaKey, seed: UInt64, at now: Instant) {
        core = KademliaCore(
            own: PeerTable.own, settings: KademliaSettings(configuration), ownKey: key, ownName: own.bytes, seed: seed,
            at: now)
        name = configuration.protocolID
        limits = configuration.limits
        isServer = configuration.isServer
        var streamLimits = RequestStreams.Limits()
        streamLimits.callTimeout = configuration.callTimeout
        streams = QuestionStreams(calls: RequestStreams(name, owner: 1, limits: streamLimits))
    }

    /// A client answers to nobody.
    package var protocols: [CoreProtocol] {
        isServer ? [CoreProtocol(name, messageBytesMax: limits.messageBytesMax, inboundMax: 8)] : []
    }
    package func speaks(_ name: ProtocolID) -> Bool { name == self.name }
    package func owns(_ request: RequestID) -> Bool { streams.calls.owns(request) }
    package func forEachPeer(_ body: (PeerIndex) -> Void) { core.forEachPeer(body) }
    package var stats: KademliaStats { core.stats }
    package var tableCount: Int { core.tableCount }
    package var nextTimeout: Instant? {
        guard let own = streams.calls.nextTimeout else { return core.nextTimeout }
        return min(own, core.nextTimeout ?? own)
    }

    package mutating func handleTimeout(at now: Instant, _ context: inout NodeContext) {
        streams.calls.handleTimeout(at: now)
        if let next = core.nextTimeout, next <= now { core.handleTimeout(at: now, keys: context.keys) }
    }

    // MARK: The embedder

    package mutating func handle(_ command: KademliaCommand, at now: Instant, _ context: inout NodeContext) {
        let input: KademliaInput
        switch command {
        case .findPeer(let request, let peer, let deadline):
            guard let index = context.table.index(of: peer) else {
                results.append(.finished(request, KademliaAnswer(KademliaOutcome(status: .limit)) { _ in nil }))
                return
            }
            input = .lookupRequested(request, .peer(index, KademliaNames.target(peer.bytes)), deadline: deadline)
        case .closest(let request, let name, let deadline):
            input = .lookupRequested(request, .closest(KademliaNames.target(name)), deadline: deadline)
        case .get(let request, let name, let quorum, let deadline):
            input = .lookupRequested(request, .value(KademliaNames.target(name), quorum: quorum), deadline: deadline)
        case .put(let request, let name, let value, let deadline):
            input = .putRequested(request, KademliaNames.target(name), KademliaRecord(value: value), deadline: deadline)
        case .provide(let request, let name, let deadline):
            input = .provideRequested(request, KademliaNames.target(name), deadline: deadline)
        case .withdraw(let name): input = .provideWithdrawn(KademliaNames.target(name))
        case .findProviders(let request, let name, let countMax, let deadline):
            input = .lookupRequested(
                request, .providers(KademliaNames.target(name), countMax: countMax), deadline: deadline)
        case .cancel(let request): input = .lookupCancelled(request)
        case .remember(let peers): input = .peersRemembered(peers.compactMap { context.table.index(of: $0) })
        }
        core.handle(input, at: now, keys: context.keys)
    }

    /// We became reachable or ceased to be. What peers ask on streams that are open is then refused.
    package mutating func setServer(_ isServer: Bool, at now: Instant, _ context: NodeContext) {
        self.isServer = isServer
        core.handle(.modeChanged(isServer: isServer), at: now, keys: context.keys)
    }

    /// Peers worth remembering over a restart, most useful first.
    package func snapshot(_ context: NodeContext) -> [PeerID] {
        core.snapshot().compactMap { context.table.id(of: $0) }
    }

    // MARK: Streams

    package mutating func handle(_ input: PortInput, at now: Instant, _ context: inout NodeContext) {
        switch input {
        case .peerIdentified(let peer, let profile, _):
            guard let index = context.table.index(of: peer) else { return }
            let answers = profile.protocols.contains(name)
            core.handle(
                .peerIdentified(index, isServer: answers, group: context.group(of: peer)), at: now, keys: context.keys)
        default:
            guard let question = streams.handle(input, at: now, &context) else { return }
            receive(question.bytes, from: question.peer, on: question.key, at: now, &context)
        }
    }

    private mutating func receive(
        _ bytes: ByteBuffer, from peer: PeerID, on key: StreamKey, at now: Instant, _ context: inout NodeContext
    ) {
        guard let index = context.table.index(of: peer) else { return streams.refuse(key, &context) }
        let request: KademliaRequest
        do throws(DecodeError) {
            request = try KademliaWire.decodeRequest(bytes, from: peer, limits: limits) { named in
                _ = context.learn(named.id, named.addresses, at: now)
            }
        } catch {
            return streams.refuse(key, &context)
        }
        lastAsked += 1
        let id = RequestID(lastAsked)
        asked[id] = (key, request)
        core.handle(.asked(id, by: index, group: context.group(of: peer), request), at: now, keys: context.keys)
    }

    // MARK: Effects

    package mutating func settle(
        at now: Instant, _ context: inout NodeContext, _ outbox: inout Deque<NodeCore.Effect>
    ) {
        for result in results { outbox.append(.kademlia(result)) }
        results.removeAll()
        while true {
            if let outcome = streams.calls.nextOutcome() {
                returned(outcome, at: now, &context)
            } else if let effect = core.nextEffect() {
                perform(effect, at: now, &context, &outbox)
            } else {
                break
            }
        }
        while let command = streams.calls.nextCommand() { context.commands.append(command) }
    }

    private mutating func returned(_ outcome: RequestStreams.Outcome, at now: Instant, _ context: inout NodeContext) {
        switch outcome {
        case .failed(let id):
            requests[id] = nil
            core.handle(.callFailed(id), at: now, keys: context.keys)
        case .answered(let id, let bytes):
            guard let request = requests.removeValue(forKey: id) else { return }
            if case .addProvider = request {
                // Nobody answers to it.
                return core.handle(.answered(id, KademliaResponse()), at: now, keys: context.keys)
            }
            do throws(DecodeError) {
                let response = try KademliaWire.decodeResponse(bytes, to: request, limits: limits) { named in
                    context.learn(named.id, named.addresses, at: now)
                }
                core.handle(.answered(id, response), at: now, keys: context.keys)
            } catch {
                core.handle(.callFailed(id), at: now, keys: context.keys)
            }
        }
    }

    private mutating func perform(
        _ effect: KademliaEffect, at now: Instant, _ context: inout NodeContext, _ outbox: inout Deque<NodeCore.Effect>
    ) {
        switch effect {
        case .call(let id, let index, let request):
            guard let peer = context.table.id(of: index) else {
                return core.handle(.callFailed(id), at: now, keys: context.keys)
            }
            let bytes = KademliaWire.encode(request, own: Self.contact(PeerTable.own, context), limits: limits)
            var expectsAnswer = true
            if case .addProvider = request { expectsAnswer = false }
            requests[id] = request
            streams.calls.call(
                id, peer, bytes, expectsAnswer: expectsAnswer, over: context.peers.connection(to: peer), at: now)
        case .cancelCall(let id):
            requests[id] = nil
            streams.calls.cancel(id, at: now)
        case .answer(let id, let response):
            guard let (key, request) = asked.removeValue(forKey: id) else { return }
            if case .addProvider = request { return }
            let bytes = KademliaWire.encode(response, to: request, limits: limits) { Self.contact($0, context) }
            context.commands.append(.send(key, bytes))
        case .refuse(let id):
            guard let (key, _) = asked.removeValue(forKey: id) else { return }
            streams.refuse(key, &context)
        case .finished(let id, let outcome):
            outbox.append(.kademlia(.finished(id, KademliaAnswer(outcome) { context.table.id(of: $0) })))
        case .providerFound(let id, let index):
            if let peer = context.table.id(of: index) { outbox.append(.kademlia(.providerFound(id, peer))) }
        }
    }

    private static func contact(_ index: PeerIndex, _ context: NodeContext) -> KademliaWirePeer? {
        context.table.id(of: index).map { KademliaWirePeer(id: $0, addresses: context.addresses(of: $0)) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiConnection
import TuttiGossip
import TuttiIdentity
import TuttiNodeCore
import TuttiPeers

import struct NIOCore.ByteBuffer

/// Nodes joined by a network that exists only in virtual time: sockets, handshakes and streams as PeersCore sees them.
///
/// Each socket has its own latency out of a seeded generator, so that what two sockets carry is reordered; within one
/// socket and direction, order is kept. Some diallers are established before their listeners, as with an early muxer,
/// some after, as when the muxer is negotiated.
struct VirtualLink {
    fileprivate struct Event {
        let at: Instant
        let sequence: UInt64
        let node: Int
        let input: PeersInput
        /// Only delivered while this socket exists (nil: always).
        let socket: Int?
    }

    private struct Socket {
        let dialler: Int
        let listener: Int
        let dialID: ConnectionID
        let acceptID: ConnectionID
        let remoteOfListener: Multiaddr
        let address: Multiaddr
        let security: ProtocolID
        let expected: PeerID?
        let latency: Duration
        let isDiallerFirst: Bool
        var isEstablished = false
        var isClosed = false
        var lastArrival: [Instant] = [.zero, .zero]
        var nextStream: [UInt64] = [1, 2]
        /// Sides (0 the dialler's) that have finished writing, per open stream.
        var finished: [StreamID: Set<Int>] = [:]
    }

    struct Node {
        var core: NodeCore
        let key: KeyPair
        /// Where it listens.
        let address: Multiaddr
        let securities: [ProtocolID]
        /// What the embedder answers to.
        let handled: [ProtocolID]
        var protocols: Set<ProtocolID>
        var statement: IdentifyStatement?
        var isStopped = false
    }

    private(set) var nodes: [Node] = []
    private(set) var now = Instant.zero
    /// FNV-1a over every effect with its time and node.
    private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    private(set) var log: [(at: Instant, node: Int, effect: PeersEffect)] = []
    /// What cores said to the embedder.
    private(set) var results: [(at: Instant, node: Int, effect: NodeCore.Effect)] = []
    private var generator: SeededGenerator
    private var sockets: [Socket] = []
    private var socketOf: [[ConnectionID: Int]] = []
    private var events: [Event] = []
    private var sequence: UInt64 = 0
    private var nextInbound: UInt64 = 2
    private let latency: ClosedRange<Int64>

    /// - Parameter latencyMilliseconds: one way, chosen per socket.
    init(seed: UInt64, latencyMilliseconds: ClosedRange<Int64>) {
        generator = SeededGenerator(seed: seed)
        latency = latencyMilliseconds
    }

    /// Adds a node; it listens at `/ip4/10.INDEX.0.1/tcp/4001`.
    /// - Parameter announced: where it believes to listen.
    mutating func add(
        _ key: KeyPair, securities: [ProtocolID] = [.noise, .tls], protocols: [ProtocolID] = [],
        at own: Multiaddr? = nil, announced: Multiaddr? = nil,
        configure: (inout NodeCoreConfiguration) -> Void = { _ in }
    ) {
        let index = nodes.count
        var configuration = NodeCoreConfiguration(
            peers: PeersConfiguration(
                identity: key, limits: .internet, agent: "node/\(index)", securities: securities))
        configure(&configuration)
        let address = own ?? Multiaddr(components: [.ip4(0x0A00_0001 + UInt32(index) << 16), .tcp(4_001)])
        let core = NodeCore(configuration: configuration, seed: UInt64(index), at: now)
        let answered = protocols + core.protocols.map(\.name)
        nodes.append(
            Node(
                core: core, key: key, address: address, securities: securities, handled: protocols,
                protocols: Set(answered)))
        socketOf.append([:])
        give(index, .listening([announced ?? address]))
        give(index, .protocolsChanged(answered))
    }

    mutating func give(_ node: Int, _ input: PeersInput) {
        give(node, .peers(input))
    }

    mutating func give(_ node: Int, _ input: NodeCore.Input) {
        nodes[node].core.handle(input, at: now)
        drain(node)
    }

    /// Its process ends: sockets close, and nobody reaches it any more.
    mutating func stop(_ node: Int) {
        nodes[node].isStopped = true
        for index in sockets.indices where sockets[index].dialler == node || sockets[index].listener == node {
            close(index, from: sockets[index].dialler == node ? 0 : 1, reason: .local)
        }
    }

    /// Runs until nothing happens any more, or until `end`.
    mutating func run(until end: Instant) {
        while true {
            let event = events.indices.min { events[$0].isBefore(events[$1]) }
            let timer = nodes.indices.filter { !nodes[$0].isStopped }.compactMap { node in
                nodes[node].core.nextTimeout.map { (at: $0, node: node) }
            }.min { ($0.at, $0.node) < ($1.at, $1.node) }
            if let event, events[event].at <= timer?.at ?? .distantFuture, events[event].at <= end {
                let event = events.remove(at: event)
                now = max(now, event.at)
                if !nodes[event.node].isStopped, !takesAlong(event) { deliver(event) }
            } else if let timer, timer.at <= end {
                now = max(now, timer.at)
                nodes[timer.node].core.handleTimeout(at: now)
                drain(timer.node)
            } else {
                now = max(now, end)
                return
            }
        }
    }

    // MARK: Network

    private mutating func post(_ node: Int, _ input: PeersInput, after delay: Duration, socket: Int? = nil) {
        sequence += 1
        events.append(Event(at: now + delay, sequence: sequence, node: node, input: input, socket: socket))
    }

    /// To the other side of a socket, in order.
    private mutating func cross(_ socket: Int, from side: Int, _ input: PeersInput) {
        let arrival = max(now + sockets[socket].latency, sockets[socket].lastArrival[side])
        sockets[socket].lastArrival[side] = arrival
        let node = side == 0 ? sockets[socket].listener : sockets[socket].dialler
        post(node, input, after: arrival - now, socket: socket)
    }

    /// True for a message that others of the same moment follow: all are handled before the node is drained.
    private mutating func takesAlong(_ event: Event) -> Bool {
        guard case .message = event.input else { return false }
        let isFollowed = events.contains { next in
            guard next.at == event.at, next.node == event.node, case .message = next.input else { return false }
            return true
        }
        guard isFollowed else { return false }
        if let socket = event.socket, sockets[socket].isClosed { return true }
        nodes[event.node].core.handle(.peers(event.input), at: now)
        return true
    }

    private mutating func deliver(_ event: Event) {
        if let socket = event.socket, sockets[socket].isClosed {
            switch event.input {
            case .closed, .dialFailed: break
            default: return drain(event.node)
            }
        }
        if case .established(_, _, .outbound, _) = event.input, let socket = event.socket {
            sockets[socket].isEstablished = true
        }
        switch event.input {
        case .streamOpened(let id, let stream, IdentifyMessage.protocolID, .inbound, _):
            return answer(event.node, id, stream)
        case .established(let id, _, _, _):
            let version = nodes[event.node].statement?.version ?? 0
            give(event.node, event.input)
            give(event.node, .told(id, version: version))
            open(event.node, id, IdentifyMessage.protocolID, PeersCore.query)
        default:
            give(event.node, event.input)
        }
    }

    /// As a connection does it: with the statement that it holds.
    private mutating func answer(_ node: Int, _ id: ConnectionID, _ stream: StreamID) {
        guard let index = socketOf[node][id], let statement = nodes[node].statement else { return }
        let isListener = sockets[index].acceptID == id && sockets[index].listener == node
        let remote = isListener ? sockets[index].remoteOfListener : sockets[index].address
        let message = statement.message(toPeerAt: remote)
        forward(node, id) { .message($0, stream, message) }
        forward(node, id) { .streamEnded($0, stream) }
    }

    private mutating func drain(_ node: Int) {
        while let effect = nodes[node].core.nextEffect() {
            switch effect {
            case .peers(let effect):
                log.append((now, node, effect))
                note(node, effect)
                perform(node, effect)
            case .kademlia(let result):
                mix("kademlia \(result)")
                results.append((now, node, .kademlia(result)))
            case .gossip(.validate(let request, let messages, _)):
                let verdicts = messages.map { GossipSignature.isValid($0) ? GossipVerdict.accept : .reject }
                nodes[node].core.handle(.gossip(.validated(request, verdicts)), at: now)
            case .gossip(let result):
                if case .deliver(let message, _) = result {
                    mix("deliver")
                    for byte in message.encoded.readableBytesView { mix(byte) }
                }
                results.append((now, node, .gossip(result)))
            case .membership(let result):
                mix("membership \(result)")
                results.append((now, node, .membership(result)))
            case .protocolsChanged:
                let answered = nodes[node].handled + nodes[node].core.protocols.map(\.name)
                nodes[node].protocols = Set(answered)
                nodes[node].core.handle(.peers(.protocolsChanged(answered)), at: now)
            case .reachabilityChanged(let reachability):
                mix("reachability \(reachability)")
                results.append((now, node, effect))
            }
        }
    }

    private mutating func perform(_ node: Int, _ effect: PeersEffect) {
        switch effect {
        case .dial(let id, let address, let expected, let security, _):
            dial(node, id, address, expected, security)
        case .cancelDial(let id):
            guard let socket = socketOf[node][id], !sockets[socket].isEstablished else { return }
            close(socket, from: 0, reason: .local)
        case .resolve(let id, _):
            post(node, .resolved(id, []), after: .milliseconds(1))
        case .admit(let id):
            guard let socket = socketOf[node][id] else { return }
            admitted(socket)
        case .close(let id), .refuse(let id, _):
            guard let socket = socketOf[node][id] else { return }
            close(
                socket, from: sockets[socket].acceptID == id && sockets[socket].listener == node ? 1 : 0, reason: .local
            )
        case .openStream(let id, let name, let request, let first):
            open(node, id, name, request, first)
        case .send(let id, let stream, let bytes):
            forward(node, id) { .message($0, stream, bytes) }
        case .closeWriting(let id, let stream):
            guard let socket = socketOf[node][id] else { return }
            let side = sockets[socket].dialler == node && sockets[socket].dialID == id ? 0 : 1
            guard sockets[socket].finished[stream]?.insert(side).inserted == true else { return }
            forward(node, id) { .streamEnded($0, stream) }
        case .resetStream(let id, let stream):
            forward(node, id) { .streamFailed($0, stream, .reset) }
        case .announce(let statement):
            nodes[node].statement = statement
        case .dialed, .dialRejected, .emit:
            break
        }
    }

    private mutating func forward(_ node: Int, _ id: ConnectionID, _ input: (ConnectionID) -> PeersInput) {
        guard let socket = socketOf[node][id], !sockets[socket].isClosed else { return }
        let side = sockets[socket].dialler == node && sockets[socket].dialID == id ? 0 : 1
        cross(socket, from: side, input(side == 0 ? sockets[socket].acceptID : sockets[socket].dialID))
    }

    private mutating func dial(
        _ node: Int, _ id: ConnectionID, _ address: Multiaddr, _ expected: PeerID?, _ security: ProtocolID
    ) {
        let latency = Duration.milliseconds(Int64.random(in: latency, using: &generator))
        guard let listener = nodes.firstIndex(where: { $0.address == address && !$0.isStopped }) else {
            return post(node, .dialFailed(id, .transport("connection refused", .dial)), after: latency * 2)
        }
        let acceptID = ConnectionID(nextInbound)
        nextInbound += 2
        let port = UInt16(truncatingIfNeeded: 30_000 + sockets.count)
        let remote = Multiaddr(components: [nodes[node].address.components[0], .tcp(port)])
        sockets.append(
            Socket(
                dialler: node, listener: listener, dialID: id, acceptID: acceptID, remoteOfListener: remote,
                address: address, security: security, expected: expected, latency: latency,
                isDiallerFirst: Bool.random(using: &generator)))
        socketOf[node][id] = sockets.count - 1
        socketOf[listener][acceptID] = sockets.count - 1
        cross(sockets.count - 1, from: 0, .accepted(acceptID, remote: remote))
    }

    /// One round trip to negotiate, one for the handshake; one side is done half of one before the other.
    private mutating func admitted(_ index: Int) {
        let socket = sockets[index]
        let listener = nodes[socket.listener].key
        guard nodes[socket.listener].securities.contains(socket.security) else {
            return fail(index, .violation(.refused(socket.security), .negotiate))
        }
        if let expected = socket.expected, expected != listener.peerID {
            return fail(index, .violation(.wrongPeer(expected: expected, actual: listener.peerID), .secure))
        }
        func establishment(_ key: KeyPair) -> Establishment {
            Establishment(peer: key.peerID, publicKey: key.publicKey, security: socket.security, hadEarlyMuxer: true)
        }
        let outbound = PeersInput.established(socket.dialID, establishment(listener), .outbound, remote: socket.address)
        let inbound = PeersInput.established(
            socket.acceptID, establishment(nodes[socket.dialler].key), .inbound, remote: socket.remoteOfListener)
        let listenerDelay = socket.latency * (socket.isDiallerFirst ? 4 : 2)
        sockets[index].lastArrival = [now + listenerDelay, now + socket.latency * 3]
        post(socket.dialler, outbound, after: socket.latency * 3, socket: index)
        post(socket.listener, inbound, after: listenerDelay, socket: index)
    }

    private mutating func fail(_ index: Int, _ reason: CloseReason) {
        sockets[index].isClosed = true
        post(sockets[index].dialler, .dialFailed(sockets[index].dialID, reason), after: sockets[index].latency)
        post(sockets[index].listener, .closed(sockets[index].acceptID, reason), after: .zero)
    }

    private mutating func close(_ index: Int, from side: Int, reason: CloseReason) {
        let socket = sockets[index]
        guard !socket.isClosed else { return }
        sockets[index].isClosed = true
        let ends: [PeersInput] = [
            socket.isEstablished
                ? .closed(socket.dialID, side == 0 ? reason : .remote) : .dialFailed(socket.dialID, reason),
            .closed(socket.acceptID, side == 1 ? reason : .remote),
        ]
        let order = [socket.dialler, socket.listener]
        post(order[side], ends[side], after: .zero)
        let arrival = max(now + socket.latency, socket.lastArrival[side])
        post(order[1 - side], ends[1 - side], after: arrival - now)
    }

    private mutating func open(
        _ node: Int, _ id: ConnectionID, _ name: ProtocolID, _ request: RequestID, _ first: [ByteBuffer] = []
    ) {
        guard let index = socketOf[node][id], !sockets[index].isClosed else { return }
        let side = sockets[index].dialler == node && sockets[index].dialID == id ? 0 : 1
        let stream = StreamID(sockets[index].nextStream[side])
        sockets[index].nextStream[side] += 2
        sockets[index].finished[stream] = []
        post(node, .streamOpened(id, stream, name, .outbound, request: request), after: .zero, socket: index)
        let other = side == 0 ? sockets[index].listener : sockets[index].dialler
        guard nodes[other].protocols.contains(name) else {
            return post(node, .streamFailed(id, stream, .refused), after: sockets[index].latency * 2, socket: index)
        }
        forward(node, id) { .streamOpened($0, stream, name, .inbound, request: nil) }
        for bytes in first { forward(node, id) { .message($0, stream, bytes) } }
    }

    // MARK: Digest

    private mutating func note(_ node: Int, _ effect: PeersEffect) {
        mix("\(now.nanoseconds) \(node) ")
        switch effect {
        case .dial(let id, let address, let expected, let security, let deadline):
            mix("dial \(id) \(address) \(expected.map(\.description) ?? "-") \(security) \(deadline.nanoseconds)")
        case .cancelDial(let id): mix("cancelDial \(id)")
        case .resolve(let id, let name): mix("resolve \(id) \(name)")
        case .admit(let id): mix("admit \(id)")
        case .refuse(let id, let until): mix("refuse \(id) \(until.nanoseconds)")
        case .close(let id): mix("close \(id)")
        case .openStream(let id, let name, let request, let first):
            mix("open \(id) \(name) \(request.value)")
            for bytes in first { for byte in bytes.readableBytesView { mix(byte) } }
        case .send(let id, let stream, let bytes):
            mix("send \(id) \(stream)")
            for byte in bytes.readableBytesView { mix(byte) }
        case .closeWriting(let id, let stream): mix("closeWriting \(id) \(stream)")
        case .resetStream(let id, let stream): mix("reset \(id) \(stream)")
        case .dialed(let request, let id, let peer): mix("dialed \(request.value) \(id) \(peer)")
        case .dialRejected(let request, let error): mix("rejected \(request.value) \(error.code)")
        case .announce(let statement): mix("announce \(statement.version)")
        case .emit(let event): note(event)
        }
    }

    private mutating func note(_ event: PeersEvent) {
        switch event {
        case .listening(let addresses): mix("listening \(addresses)")
        case .peerConnected(let peer, let id): mix("connected \(peer) \(id)")
        case .peerDisconnected(let peer, _): mix("disconnected \(peer)")
        case .peerIdentified(let peer, let profile):
            mix("identified \(peer) \(profile.agent) \(profile.protocols) \(profile.listenAddresses)")
        case .connectionPreferred(let peer, let id): mix("preferred \(peer) \(id)")
        case .inboundRefused(let remote, let reason): mix("refused \(remote) \(reason.text)")
        }
    }

    private mutating func mix(_ text: String) {
        for byte in text.utf8 { mix(byte) }
    }

    private mutating func mix(_ byte: UInt8) {
        digest = (digest ^ UInt64(byte)) &* 0x100_0000_01B3
    }
}

extension VirtualLink.Event {
    fileprivate func isBefore(_ other: Self) -> Bool { (at, sequence) < (other.at, other.sequence) }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiConnection
import TuttiGossip
package import TuttiIdentity
package import TuttiNodeCore
package import TuttiPeers

import struct NIOCore.ByteBuffer

/// Whole nodes joined by sockets that exist only in virtual time.
///
/// Message by message: dials, handshakes and streams as NodeCore sees them, without their bytes; for hundreds of nodes.
/// Byte by byte (`ByteLinks`): each socket is two real connections, with their negotiation, encryption and multiplexing,
/// and a pipe between them; for tens.
///
/// Each socket has its own latency, and within one socket and direction order is kept. A loss delays what a socket
/// carries; a crash ends sockets. Message by message some diallers are established before their listeners, as with an
/// early muxer, some after. A node may be behind an address translator (`VirtualHost`): what that drops is a dial that
/// nobody answers.
package struct NodeFleet: ~Copyable {
    package enum Level: Sendable {
        case messages
        case bytes
    }

    package struct Member: Sendable {
        package fileprivate(set) var core: NodeCore
        package let key: KeyPair
        package let host: VirtualHost
        /// Where others dial it.
        package let address: Multiaddr
        let listening: [Multiaddr]
        let configuration: NodeCoreConfiguration
        /// What the embedder answers to, and what the node does.
        let handled: [ProtocolID]
        var protocols: Set<ProtocolID>
        /// The router's, which outlives the node's process.
        var nat: VirtualNAT?
        var armed = UInt64.max
        package fileprivate(set) var isAlive = true
        /// How often its process began again: what was asked of its disk before comes back to nobody.
        var life = 0
        /// Connection ids of this life, and what socket each is an end of.
        var sockets: [ConnectionID: Int] = [:]
        var nextInbound: UInt64 = 2
        /// Dials that a translator dropped, looked up only.
        var unheard: [ConnectionID: NodeSocket.Source] = [:]
        /// What its connections say of it.
        var statement: IdentifyStatement?

        // Mutating, to be read in place: out of an array the getter would come after a copy of the whole member.
        mutating func socket(of id: ConnectionID) -> Int? { sockets[id] }
        mutating func speaks(_ name: ProtocolID) -> Bool { protocols.contains(name) }
        mutating func isUnheard(_ id: ConnectionID) -> Bool { unheard[id] != nil }
        mutating func said() -> IdentifyStatement? { statement }
    }

    // Not private: in debug the compiler fails on private parts of a type that is stored in another file.
    enum Happening {
        case timer
        /// Only while this socket lives, unless it tells of its end. Negative: always.
        case input(socket: Int, NodeCore.Input)
        case established(socket: Int, NodeCore.Input)
        case last(NodeCore.Input)
        case unheard(ConnectionID)
        case severed(socket: Int)
        case journal(life: Int, JournalCommand)
        case bytes(ByteLinks.Event)
    }

    package private(set) var members: [Member] = []
    private var trace = EventDigest()
    package private(set) var events: UInt64 = 0
    /// What the cores beside PeersCore told their embedders.
    package private(set) var results: [(at: Instant, node: Int, effect: NodeCore.Effect)] = []
    /// What PeersCore wanted, where somebody reads it.
    package var keepsLog = false
    package private(set) var log: [(at: Instant, node: Int, effect: PeersEffect)] = []
    /// Published messages are judged by their signatures; off: the embedder accepts whatever comes.
    package var checksSignatures = false
    /// Do what replicas want of disks and of other threads; nobody: it is left in `results`.
    package var hosts: JournalHosts?
    /// Nodes of different numbers don't hear each other. Empty: all do.
    private var sides: [Int] = []
    private var queue = EventQueue<Happening>()
    private var time: UInt64 = 0
    private var draws: DrawStream
    private var sockets: [NodeSocket] = []
    private var dialCount = 0
    /// By outside address. Looked up only, never walked through.
    private var nodeAt: [UInt32: Int] = [:]
    private let latencies: LatencyTable
    private let network: NetworkModel
    private let seed: UInt64
    private let level: Level
    private var links: ByteLinks

    package init(network: NetworkModel, seed: UInt64, level: Level = .messages) {
        self.network = network
        self.seed = seed
        self.level = level
        latencies = LatencyTable(network.latency)
        draws = DrawStream(seed: seed, .link)
        links = ByteLinks(network: network, seed: seed)
    }

    package var now: Instant { Instant(nanoseconds: Int64(time)) }

    package var digest: EventDigest {
        var digest = trace
        if level == .bytes { digest.mix(links.digest.value) }
        return digest
    }

    /// At byte level: what happens to bytes from now on, and what came of it.
    package var wireFaults: WireFaults {
        get { links.faults }
        set { links.faults = newValue }
    }
    package var wireStats: WireStats { links.stats }

    /// Adds a node; it listens at `/ip4/10.HIGH.LOW.1/tcp/4001`, unless it is told where it is.
    /// - Parameter listening: where it believes to listen, if not there.
    package mutating func add(
        _ key: KeyPair, protocols: [ProtocolID] = [], limits: NodeLimits = .lab, host: VirtualHost? = nil,
        listening: [Multiaddr]? = nil, configure: (inout NodeCoreConfiguration) -> Void = { _ in }
    ) {
        let place = members.count
        let host = host ?? .site(place)
        var configuration = NodeCoreConfiguration(
            peers: PeersConfiguration(identity: key, limits: limits, agent: "node/\(place)", securities: [.noise]))
        configure(&configuration)
        let core = NodeCore(configuration: configuration, seed: seed &+ UInt64(place), at: now)
        members.append(
            Member(
                core: core, key: key, host: host, address: host.dialled.multiaddr,
                listening: listening ?? [host.listening.multiaddr], configuration: configuration,
                handled: protocols, protocols: Set(protocols + core.protocols.map(\.name)),
                nat: host.nat.map(VirtualNAT.init)))
        nodeAt[host.outside] = place
        if level == .bytes { links.add(key, limits: configuration.peers.limits.connection, protocols: core.protocols) }
        begin(place)
    }

    private mutating func begin(_ node: Int) {
        give(node, .peers(.listening(members[node].listening)))
        give(node, .peers(.protocolsChanged(members[node].protocols.sorted())))
    }

    package mutating func takeResults() -> [(at: Instant, node: Int, effect: NodeCore.Effect)] {
        var taken: [(at: Instant, node: Int, effect: NodeCore.Effect)] = []
        swap(&taken, &results)
        return taken
    }

    package mutating func give(_ node: Int, _ input: NodeCore.Input) {
        guard members[node].isAlive else { return }
        members[node].core.handle(input, at: now)
        settle(node)
        carry()
    }

    package mutating func dial(_ node: Int, _ other: Int, request: UInt64) {
        give(
            node,
            .peers(
                .dialRequested(
                    RequestID(request), peer: members[other].key.peerID, addresses: [members[other].address],
                    deadline: now + .seconds(30))))
    }

    package mutating func run(until end: Instant) {
        let end = UInt64(max(0, end.nanoseconds))
        while let event = queue.pop(notAfter: end) {
            time = max(time, event.time)
            let node = Int(event.peer)
            guard members[node].isAlive else { continue }
            switch event.payload {
            case .timer:
                guard members[node].armed == event.time else { continue }
                members[node].armed = .max
                record(0, node)
                if let due = members[node].core.timeoutInPlace(), due <= now {
                    members[node].core.handleTimeout(at: now)
                }
                settle(node)
                carry()
            case .input(let socket, let input):
                guard socket < 0 || !sockets[socket].isClosed else { continue }
                record(1, node)
                deliver(node, input)
            case .established(let socket, let input):
                guard !sockets[socket].isClosed else { continue }
                sockets[socket].isEstablished = true
                record(2, node)
                deliver(node, input)
            case .last(let input):
                record(3, node)
                give(node, input)
            case .unheard(let id):
                record(5, node)
                fail(node, id, .timeout(.dial))
            case .severed(let socket):
                guard !sockets[socket].isClosed else { continue }
                record(7, node)
                abandon(socket)
            case .journal(let life, let command):
                guard members[node].life == life else { continue }
                record(7, node)
                give(node, .journal(command))
            case .bytes(let event):
                record(6, node)
                links.handle(event, at: time)
                carry()
            }
        }
        time = max(time, end)
    }

    /// At byte level: lets connections send, and nodes hear what connections tell, until both have no more to say.
    private mutating func carry() {
        guard level == .bytes else { return }
        while true {
            links.work(at: time)
            for (at, node, event) in links.takeScheduled() { queue.push(at: at, peer: UInt32(node), .bytes(event)) }
            for index in links.takeOver() { end(index) }
            let told = links.takeTold()
            if told.isEmpty { return }
            for (place, (node, input)) in told.enumerated() where members[node].isAlive {
                members[node].core.handle(.peers(input), at: now)
                // What comes together is answered together.
                if place + 1 == told.count || told[place + 1].node != node { settle(node) }
            }
        }
    }

    /// What connections do by themselves: they ask who the peer is, and answer with the statement that they hold.
    private mutating func deliver(_ node: Int, _ input: NodeCore.Input) {
        guard case .peers(let happening) = input else { return give(node, input) }
        switch happening {
        case .streamOpened(let id, let stream, IdentifyMessage.protocolID, .inbound, _):
            answer(node, id, stream)
        case .established(let id, _, _, _):
            let version = members[node].said()?.version ?? 0
            give(node, input)
            give(node, .peers(.told(id, version: version)))
            open(node, id, IdentifyMessage.protocolID, PeersCore.query)
        default:
            give(node, input)
        }
    }

    private mutating func answer(_ node: Int, _ id: ConnectionID, _ stream: StreamID) {
        guard let index = members[node].socket(of: id), let statement = members[node].said() else { return }
        let remote = side(of: id, index) == 1 ? sockets[index].remoteOfListener : sockets[index].address
        let message = statement.message(toPeerAt: remote)
        forward(node, id) { .message($0, stream, message) }
        forward(node, id) { .streamEnded($0, stream) }
    }

    /// The process ends; the others learn it one way later.
    package mutating func crash(_ node: Int) {
        guard members[node].isAlive else { return }
        members[node].isAlive = false
        for id in members[node].unheard.keys.sorted() { forget(node, id) }
        guard level == .messages else {
            links.crash(node, at: time)
            return carry()
        }
        for socket in sockets.indices
        where !sockets[socket].isClosed && (sockets[socket].dialler == node || sockets[socket].listener == node) {
            close(socket, from: sockets[socket].dialler == node ? 0 : 1)
        }
    }

    package mutating func restart(_ node: Int) {
        guard !members[node].isAlive else { return }
        members[node].isAlive = true
        members[node].life += 1
        members[node].armed = .max
        members[node].sockets = [:]
        members[node].core = NodeCore(configuration: members[node].configuration, seed: seed &+ UInt64(node), at: now)
        begin(node)
    }

    // MARK: Partitions

    /// Message by message only: from now on nodes of different numbers don't hear each other, and connections between
    /// them end after the timeout; with no numbers, all can dial all again.
    package mutating func split(_ sides: [Int]) {
        self.sides = sides
        guard !sides.isEmpty else { return }
        for index in sockets.indices where !sockets[index].isClosed {
            let (dialler, listener) = (sockets[index].dialler, sockets[index].listener)
            guard areApart(dialler, listener) else { continue }
            sockets[index].isSevered = true
            let end = now + network.breakTimeout
            queue.push(at: UInt64(max(0, end.nanoseconds)), peer: UInt32(dialler), .severed(socket: index))
            queue.push(at: UInt64(max(0, end.nanoseconds)), peer: UInt32(listener), .severed(socket: index))
        }
    }

    private func areApart(_ node: Int, _ other: Int) -> Bool { !sides.isEmpty && sides[node] != sides[other] }

    /// Both ends give it up.
    private mutating func abandon(_ index: Int) {
        let socket = sockets[index]
        end(index)
        let reason = CloseReason.timeout(.stream)
        let farewell = PeersInput.closed(socket.dialID, reason)
        let failure = PeersInput.dialFailed(socket.dialID, .timeout(.dial))
        queue.push(at: time, peer: UInt32(socket.dialler), .last(.peers(socket.isEstablished ? farewell : failure)))
        queue.push(at: time, peer: UInt32(socket.listener), .last(.peers(.closed(socket.acceptID, reason))))
    }

    // MARK: Effects

    private mutating func record(_ kind: UInt64, _ node: Int) {
        events &+= 1
        trace.mix(time)
        trace.mix(kind &+ UInt64(node) &* 8)
    }

    private mutating func settle(_ node: Int) {
        while let effect = members[node].core.nextEffect() {
            switch effect {
            case .peers(let effect):
                if keepsLog { log.append((now, node, effect)) }
                perform(node, effect)
            case .gossip(.validate(let request, let messages, _)):
                let verdicts = messages.map { message in
                    !checksSignatures || GossipSignature.isValid(message) ? GossipVerdict.accept : .reject
                }
                members[node].core.handle(.gossip(.validated(request, verdicts)), at: now)
            case .membership(.match(let search, let question)):
                members[node].core.handle(.membership(.matched(search: search, question)), at: now)
            case .journal(let result) where hosts != nil:
                trace.mix(5 &+ UInt64(node) &* 8)
                let now = now
                guard let done = hosts?.perform(node, result, at: now) else { continue }
                let at = UInt64(max(0, done.at.nanoseconds))
                queue.push(at: at, peer: UInt32(node), .journal(life: members[node].life, done.command))
            case .kademlia, .gossip, .membership, .journal, .reachabilityChanged:
                trace.mix(4 &+ UInt64(node) &* 8)
                results.append((now, node, effect))
            case .protocolsChanged:
                let answered = members[node].core.protocols
                members[node].protocols = Set(members[node].handled + answered.map(\.name))
                if level == .bytes { links.setProtocols(node, answered) }
                members[node].core.handle(.peers(.protocolsChanged(members[node].protocols.sorted())), at: now)
            }
        }
        guard let due = members[node].core.timeoutInPlace(), due < .distantFuture else { return }
        let at = max(UInt64(max(0, due.nanoseconds)), time)
        guard at < members[node].armed else { return }
        members[node].armed = at
        queue.push(at: at, peer: UInt32(node), .timer)
    }

    private mutating func perform(_ node: Int, _ effect: PeersEffect) {
        switch effect {
        case .dial(let id, let address, let expected, let security, let deadline):
            return dial(node, id, address, expected, security, deadline)
        case .cancelDial(let id) where members[node].isUnheard(id): return fail(node, id, .local)
        case .resolve(let id, _):
            return queue.push(at: time &+ 1_000_000, peer: UInt32(node), .input(socket: -1, .peers(.resolved(id, []))))
        case .announce(let statement):
            if level == .bytes { links.announce(node, statement) }
            members[node].statement = statement
            return
        case .emit, .dialed, .dialRejected: return
        case .cancelDial, .admit, .close, .refuse, .openStream, .send, .closeWriting, .resetStream: break
        }
        switch level {
        case .messages: performOnMessages(node, effect)
        case .bytes:
            guard let id = effect.connection, let socket = members[node].socket(of: id) else { return }
            links.perform(effect, on: socket, side(of: id, socket), at: time)
        }
    }

    private mutating func performOnMessages(_ node: Int, _ effect: PeersEffect) {
        switch effect {
        case .cancelDial(let id):
            guard let socket = members[node].socket(of: id), !sockets[socket].isEstablished else { return }
            close(socket, from: 0)
        case .admit(let id): if let socket = members[node].socket(of: id) { admitted(socket) }
        case .close(let id), .refuse(let id, _):
            if let socket = members[node].socket(of: id) { close(socket, from: side(of: id, socket)) }
        case .openStream(let id, let name, let request, let first): open(node, id, name, request, first)
        case .send(let id, let stream, let bytes): say(node, id, stream, bytes)
        case .closeWriting(let id, let stream): forward(node, id) { .streamEnded($0, stream) }
        case .resetStream(let id, let stream): forward(node, id) { .streamFailed($0, stream, .reset) }
        case .dial, .resolve, .announce, .emit, .dialed, .dialRejected: break
        }
    }

    /// Our dials have odd ids.
    private func side(of id: ConnectionID, _ socket: Int) -> Int { id.value & 1 == 1 ? 0 : 1 }

    /// To the other side, in order; a loss is sent again.
    private mutating func cross(_ index: Int, from side: Int, _ input: PeersInput) {
        guard !sockets[index].isSevered else { return }
        let delay = sockets[index].latency &+ network.resendDelay(&draws).delay
        let earlier = side == 0 ? sockets[index].lastArrival.0 : sockets[index].lastArrival.1
        let arrival = max(time &+ delay, earlier)
        if side == 0 { sockets[index].lastArrival.0 = arrival } else { sockets[index].lastArrival.1 = arrival }
        let node = side == 0 ? sockets[index].listener : sockets[index].dialler
        queue.push(at: arrival, peer: UInt32(node), .input(socket: index, .peers(input)))
    }

    private mutating func forward(_ node: Int, _ id: ConnectionID, _ input: (ConnectionID) -> PeersInput) {
        guard let socket = members[node].socket(of: id), !sockets[socket].isClosed else { return }
        let side = side(of: id, socket)
        cross(socket, from: side, input(side == 0 ? sockets[socket].acceptID : sockets[socket].dialID))
    }

    // MARK: Dials

    private mutating func dial(
        _ node: Int, _ id: ConnectionID, _ address: Multiaddr, _ expected: PeerID?, _ security: ProtocolID,
        _ deadline: Instant
    ) {
        guard let remote = VirtualEndpoint(address) else { return refuse(node, id, latency: 1_000_000) }
        let now = now
        let listener = nodeAt[remote.address]
        let latency = latencies.latency(draws.next(), from: UInt32(node), to: UInt32(listener ?? 0))
        let host = members[node].host
        let inside =
            host.dialsFromListeningPort
            ? VirtualHost.listeningPort : UInt16(truncatingIfNeeded: 1_024 + dialCount % 60_000)
        dialCount += 1
        let source = NodeSocket.Source(inside: inside, remote: remote)
        let port = members[node].nat?.opened(from: inside, to: remote, at: now) ?? inside
        let seen = VirtualEndpoint(host.outside, port)
        guard let listener else {
            members[node].nat?.closed(from: inside, to: remote, at: now)
            return refuse(node, id, latency: latency)
        }
        var reached: UInt16? = remote.port
        if members[listener].nat != nil {
            reached = listener == node ? nil : members[listener].nat?.admits(seen, to: remote.port, at: now)
        }
        guard let reached, !areApart(node, listener) else {
            members[node].unheard[id] = source
            let end = min(now + network.dialTimeout, deadline)
            return queue.push(at: UInt64(max(0, end.nanoseconds)), peer: UInt32(node), .unheard(id))
        }
        guard reached == VirtualHost.listeningPort, members[listener].isAlive else {
            members[node].nat?.closed(from: inside, to: remote, at: now)
            return refuse(node, id, latency: latency)
        }
        let acceptID = ConnectionID(members[listener].nextInbound)
        members[listener].nextInbound += 2
        sockets.append(
            NodeSocket(
                dialler: node, listener: listener, source: source, dialID: id, acceptID: acceptID,
                remoteOfListener: seen.multiaddr, address: address, security: security, expected: expected,
                latency: latency, isDiallerFirst: draws.below(2) == 0))
        members[node].sockets[id] = sockets.count - 1
        members[listener].sockets[acceptID] = sockets.count - 1
        guard level == .bytes else {
            return cross(sockets.count - 1, from: 0, .accepted(acceptID, remote: seen.multiaddr))
        }
        links.open(
            ByteLinks.Plan(
                dialler: node, listener: listener, dialID: id, acceptID: acceptID, remoteOfListener: seen.multiaddr,
                remoteOfDialler: address, expected: expected, security: security, deadline: deadline, latency: latency),
            at: time)
    }

    private mutating func refuse(_ node: Int, _ id: ConnectionID, latency: UInt64) {
        let failure = PeersInput.dialFailed(id, .transport("connection refused", .dial))
        queue.push(at: time &+ latency &* 2, peer: UInt32(node), .last(.peers(failure)))
    }

    /// A dial that nobody heard ends.
    private mutating func fail(_ node: Int, _ id: ConnectionID, _ reason: CloseReason) {
        guard members[node].isUnheard(id) else { return }
        forget(node, id)
        queue.push(at: time, peer: UInt32(node), .last(.peers(.dialFailed(id, reason))))
    }

    private mutating func forget(_ node: Int, _ id: ConnectionID) {
        let now = now
        guard let source = members[node].unheard.removeValue(forKey: id) else { return }
        members[node].nat?.closed(from: source.inside, to: source.remote, at: now)
    }

    private mutating func end(_ index: Int) {
        let now = now
        sockets[index].isClosed = true
        let (dialler, source) = (sockets[index].dialler, sockets[index].source)
        members[dialler].nat?.closed(from: source.inside, to: source.remote, at: now)
    }

    /// One round trip to negotiate, one for the handshake; one side is done half of one before the other.
    private mutating func admitted(_ index: Int) {
        let socket = sockets[index]
        let (dialler, listener) = (members[socket.dialler].key, members[socket.listener].key)
        if let reason = refusal(socket, by: listener) {
            end(index)
            queue.push(
                at: time &+ socket.latency, peer: UInt32(socket.dialler),
                .last(.peers(.dialFailed(socket.dialID, reason))))
            return queue.push(at: time, peer: UInt32(socket.listener), .last(.peers(.closed(socket.acceptID, reason))))
        }
        func establishment(_ key: KeyPair) -> Establishment {
            Establishment(peer: key.peerID, publicKey: key.publicKey, security: socket.security, hadEarlyMuxer: true)
        }
        let outbound = PeersInput.established(socket.dialID, establishment(listener), .outbound, remote: socket.address)
        let inbound = PeersInput.established(
            socket.acceptID, establishment(dialler), .inbound, remote: socket.remoteOfListener)
        let (first, second) = (time &+ socket.latency &* 3, time &+ socket.latency &* (socket.isDiallerFirst ? 4 : 2))
        sockets[index].lastArrival = (second, first)
        queue.push(at: first, peer: UInt32(socket.dialler), .established(socket: index, .peers(outbound)))
        queue.push(at: second, peer: UInt32(socket.listener), .input(socket: index, .peers(inbound)))
    }

    private func refusal(_ socket: NodeSocket, by listener: KeyPair) -> CloseReason? {
        guard members[socket.listener].configuration.peers.securities.contains(socket.security) else {
            return .violation(.refused(socket.security), .negotiate)
        }
        guard let expected = socket.expected, expected != listener.peerID else { return nil }
        return .violation(.wrongPeer(expected: expected, actual: listener.peerID), .secure)
    }

    private mutating func close(_ index: Int, from side: Int) {
        let socket = sockets[index]
        guard !socket.isClosed else { return }
        end(index)
        func farewell(_ of: Int, _ reason: CloseReason) -> NodeCore.Input {
            guard of == 0 else { return .peers(.closed(socket.acceptID, reason)) }
            return .peers(socket.isEstablished ? .closed(socket.dialID, reason) : .dialFailed(socket.dialID, reason))
        }
        let nodes = [socket.dialler, socket.listener]
        queue.push(at: time, peer: UInt32(nodes[side]), .last(farewell(side, .local)))
        let arrival = max(time &+ socket.latency, side == 0 ? socket.lastArrival.0 : socket.lastArrival.1)
        queue.push(at: arrival, peer: UInt32(nodes[1 - side]), .last(farewell(1 - side, .remote)))
    }

    private mutating func open(
        _ node: Int, _ id: ConnectionID, _ name: ProtocolID, _ request: RequestID, _ first: [ByteBuffer] = []
    ) {
        guard let index = members[node].socket(of: id), !sockets[index].isClosed else { return }
        let side = side(of: id, index)
        let number = side == 0 ? sockets[index].nextStream.0 : sockets[index].nextStream.1
        if side == 0 { sockets[index].nextStream.0 += 2 } else { sockets[index].nextStream.1 += 2 }
        let stream = StreamID(number)
        let opened = PeersInput.streamOpened(id, stream, name, .outbound, request: request)
        queue.push(at: time, peer: UInt32(node), .input(socket: index, .peers(opened)))
        let other = side == 0 ? sockets[index].listener : sockets[index].dialler
        guard PeersCore.protocols.contains(name) || members[other].speaks(name) else {
            let failed = PeersInput.streamFailed(id, stream, .refused)
            return queue.push(
                at: time &+ sockets[index].latency &* 2, peer: UInt32(node), .input(socket: index, .peers(failed)))
        }
        if hosts != nil, name == JournalPort.syncProtocol { sockets[index].syncStreams.insert(stream) }
        forward(node, id) { .streamOpened($0, stream, name, .inbound, request: nil) }
        for bytes in first { say(node, id, stream, bytes) }
    }

    private mutating func say(_ node: Int, _ id: ConnectionID, _ stream: StreamID, _ bytes: ByteBuffer) {
        for bytes in liedAbout(node, id, stream, bytes) {
            trace.mix(UInt64(bytes.readableBytes))
            forward(node, id) { .message($0, stream, bytes) }
        }
    }

    private mutating func liedAbout(
        _ node: Int, _ id: ConnectionID, _ stream: StreamID, _ bytes: ByteBuffer
    ) -> [ByteBuffer] {
        guard hosts != nil, let index = members[node].socket(of: id), sockets[index].syncStreams.contains(stream) else {
            return [bytes]
        }
        let side = side(of: id, index)
        let other = side == 0 ? sockets[index].listener : sockets[index].dialler
        let now = now
        // The dialler's streams have odd numbers.
        let isAsking = (stream.value & 1 == 1) == (side == 0)
        return hosts?.say(node, bytes, isAsking: isAsking, to: other, at: now) ?? [bytes]
    }
}

// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers

import struct NIOCore.ByteBuffer

let ownKey = KeyPair(seed: Bytes32(words: (1, 1, 1, 1)))
let peerKeys = (0..<6).map { KeyPair(seed: Bytes32(words: (2, 2, 2, UInt64($0)))) }
/// Signing costs more than a whole run: made once.
let records: [[UInt8]] = peerKeys.map { key in
    let addresses = [Multiaddr(components: [.ip4(0x0808_0808), .tcp(4_001)])]
    return Array(PeerRecord(peerID: key.peerID, sequence: 7, addresses: addresses).sealed(with: key).readableBytesView)
}

/// PeersCore and everything around it: a driver that keeps its contract, peers that do as they like.
final class World {
    enum Phase {
        case attempt, abandoned, accepted, admitted, refused, up, closing
    }

    struct Connection {
        var phase: Phase
        var expected: PeerID?
        var remote: Multiaddr
        var peer: PeerID?
        var streams: Set<StreamID> = []
        var opening: [(request: RequestID, name: ProtocolID)] = []
        var nextStream: UInt64 = 2
    }

    var core: PeersCore
    let limits: NodeLimits
    var now = Instant(nanoseconds: 1_000_000_000)
    var connections: [ConnectionID: Connection] = [:]
    var resolutions: [ConnectionID] = []
    var requests: [RequestID: Instant] = [:]
    var lastRequest: UInt64 = 0
    var nextAccepted: UInt64 = 2
    var used: Set<ConnectionID> = []
    var announced: UInt64 = 0
    var connected: Set<PeerID> = []

    init(_ source: inout ByteSource) {
        var limits = NodeLimits()
        limits.connectionsMax = source.pick([6, 192, 3])
        limits.connectionsInboundMax = min(source.pick([4, 128, 2]), limits.connectionsMax)
        limits.connectionsHighWater = min(source.pick([160, 3, 2]), limits.connectionsMax)
        limits.connectionsLowWater = min(source.pick([128, 1]), limits.connectionsHighWater)
        limits.unauthenticatedMax = source.pick([32, 2])
        limits.dialsMax = source.pick([32, 1, 2])
        limits.dialQueueMax = source.pick([256, 1])
        limits.dialRequestsMax = source.pick([1_024, 3])
        limits.attemptsPerDialMax = source.pick([8, 1, 2])
        limits.addressesPerDialMax = source.pick([32, 2])
        limits.addressesPerPeerMax = source.pick([16, 2])
        limits.peersMax = source.pick([20_000, 2, 3])
        limits.recordBytesTotalMax = source.pick([32 << 20, 8_192])
        limits.addressBackoffsMax = source.pick([4_096, 1])
        limits.busySourcesMax = source.pick([1_024, 1])
        self.limits = limits
        do { try limits.validate() } catch { require(false, "the limits are valid: \(error)") }
        var configuration = PeersConfiguration(identity: ownKey, limits: limits, agent: "fuzz/1")
        configuration.dialsMemory = source.bool()
        if source.byte() < 40 {
            configuration.gate = { _, address, peer in address.binary.count % 3 != 0 && peer != peerKeys[1].peerID }
        }
        core = PeersCore(configuration: configuration, at: now)
        drain()
    }

    func run(_ source: inout ByteSource) {
        var steps = 0
        while !source.isEmpty, steps < 400 {
            steps += 1
            step(&source)
            drain()
            check()
        }
        // Whatever is still asked for has an answer when its time is over.
        while let last = requests.values.max() {
            now = max(now, last)
            core.handleTimeout(at: now)
            drain()
            require(requests.values.allSatisfy { $0 > now }, "every request is answered by its deadline")
        }
        check()
    }

    // MARK: Inputs

    private func step(_ source: inout ByteSource) {
        let choice = source.byte() % 24
        trace("at \(now): step \(choice)")
        switch choice {
        case 0, 1, 2: dial(&source)
        case 3: core.handle(.dialCancelled(RequestID(UInt64(source.byte()) % (lastRequest + 2))), at: now)
        case 4:
            let id = resolutions.popLast() ?? ConnectionID(UInt64(source.byte()))
            core.handle(.resolved(id, addresses(&source)), at: now)
        case 5, 6: accept(&source)
        case 7, 8, 9: establish(&source)
        case 10: fail(&source)
        case 11: close(&source)
        case 12, 13: openStream(&source)
        case 14, 15: message(&source)
        case 16, 17: endStream(&source)
        case 18, 19: advance(&source)
        case 20: identify(&source)
        default: other(&source)
        }
    }

    private func other(_ source: inout ByteSource) {
        let id = anyConnection(&source)
        switch source.byte() % 10 {
        case 9: core.handle(.told(id, version: UInt64(source.byte())), at: now)
        case 0: core.handle(.listening(addresses(&source)), at: now)
        case 1: core.handle(.protocolsChanged([ProtocolID("/x/\(source.byte())"), "/y"]), at: now)
        case 2: core.handle(.streamsInUse(id, count: Int(source.byte() & 3)), at: now)
        case 3: core.handle(.roundTripMeasured(id, .milliseconds(Int(source.byte()))), at: now)
        case 4: core.handle(.disconnectRequested(peer(&source)), at: now)
        case 5: core.handle(.processorUsed(id, percent: source.pick([0, 10, 26, 100, .max, .min])), at: now)
        case 6: core.handle(.protectionChanged(peer(&source), isProtected: source.bool()), at: now)
        default: core.handle(.addressesFound(peer(&source), addresses(&source)), at: now)
        }
    }

    private func dial(_ source: inout ByteSource) {
        lastRequest += 1
        let id = RequestID(lastRequest)
        let deadline = now + .milliseconds(source.pick([5_000, 100, 0, 60_000, -1]))
        requests[id] = deadline
        let wanted = source.byte() < 160 ? peer(&source) : nil
        core.handle(.dialRequested(id, peer: wanted, addresses: addresses(&source), deadline: deadline), at: now)
    }

    private func accept(_ source: inout ByteSource) {
        let id = ConnectionID(nextAccepted)
        nextAccepted += 2
        let remote = address(&source)
        connections[id] = Connection(phase: .accepted, remote: remote)
        core.handle(.accepted(id, remote: remote), at: now)
    }

    private func establish(_ source: inout ByteSource) {
        guard let (id, connection) = pick(&source, [.attempt, .abandoned, .admitted]) else { return }
        let key = source.pick(peerKeys + [ownKey])
        // Transport checks who is expected, but not everybody names somebody.
        let owner = connection.expected.flatMap { wanted in (peerKeys + [ownKey]).first { $0.peerID == wanted } } ?? key
        let establishment = Establishment(
            peer: owner.peerID, publicKey: owner.publicKey, security: .noise, hadEarlyMuxer: true)
        let direction: Direction = connection.phase == .admitted ? .inbound : .outbound
        connections[id]?.phase = .up
        connections[id]?.peer = owner.peerID
        connections[id]?.opening.append((PeersCore.query, IdentifyMessage.protocolID))
        core.handle(.established(id, establishment, direction, remote: connection.remote), at: now)
    }

    private func fail(_ source: inout ByteSource) {
        guard let (id, _) = pick(&source, [.attempt, .abandoned]) else { return }
        connections[id] = nil
        let reasons: [CloseReason] = [
            .transport("refused", .dial), .timeout(.dial), .local, .violation(.refused(.noise), .negotiate),
            .violation(.refused(.tls), .negotiate),
            .violation(.wrongPeer(expected: peerKeys[0].peerID, actual: peerKeys[1].peerID), .secure),
        ]
        core.handle(.dialFailed(id, source.pick(reasons)), at: now)
    }

    private func close(_ source: inout ByteSource) {
        guard let (id, connection) = pick(&source, [.up, .closing, .admitted, .refused]) else { return }
        connections[id] = nil
        if connection.phase == .refused, source.bool() { return }
        core.handle(.closed(id, source.bool() ? .remote : .transport("reset", .stream)), at: now)
    }

    private func openStream(_ source: inout ByteSource) {
        guard let (id, connection) = pick(&source, [.up, .closing]) else { return }
        if let opening = connection.opening.first, source.byte() < 170 {
            connections[id]?.opening.removeFirst()
            guard source.byte() < 200 else {
                return core.handle(.openFailed(id, request: opening.request), at: now)
            }
            let stream = StreamID(connection.nextStream + 1)
            connections[id]?.nextStream += 2
            connections[id]?.streams.insert(stream)
            core.handle(.streamOpened(id, stream, opening.name, .outbound, request: opening.request), at: now)
        } else {
            let stream = StreamID(connection.nextStream)
            connections[id]?.nextStream += 2
            connections[id]?.streams.insert(stream)
            core.handle(.streamOpened(id, stream, source.pick(PeersCore.protocols), .inbound, request: nil), at: now)
        }
    }

    private func message(_ source: inout ByteSource) {
        guard let (id, connection) = pick(&source, [.up, .closing]), !connection.streams.isEmpty else { return }
        let stream = source.pick(connection.streams.sorted())
        core.handle(.message(id, stream, identification(of: connection.peer, &source)), at: now)
    }

    private func identification(of peer: PeerID?, _ source: inout ByteSource) -> ByteBuffer {
        if source.byte() < 40 { return ByteBuffer(bytes: source.blob(countMax: 512)) }
        var message = IdentifyMessage()
        let owner = source.byte() < 200 ? peerKeys.firstIndex { $0.peerID == peer } ?? 0 : source.below(peerKeys.count)
        if source.bool() { message.publicKey = peerKeys[owner].publicKey.protobuf }
        if source.bool() { message.signedRecord = records[source.byte() < 200 ? owner : 0] }
        message.listenAddresses = addresses(&source)
        message.observedAddress = source.bool() ? address(&source) : nil
        message.protocols = source.bool() ? PeersCore.protocols : ["/z"]
        message.agent = "agent"
        return message.encoded
    }

    /// A whole identification, the way it nearly always goes.
    private func identify(_ source: inout ByteSource) {
        guard let (id, connection) = pick(&source, [.up]), let peer = connection.peer else { return }
        let stream = StreamID(connection.nextStream + (connection.opening.isEmpty ? 0 : 1))
        connections[id]?.nextStream += 2
        connections[id]?.streams.insert(stream)
        if let opening = connection.opening.first {
            connections[id]?.opening.removeFirst()
            core.handle(.streamOpened(id, stream, opening.name, .outbound, request: opening.request), at: now)
        } else {
            let name = IdentifyMessage.pushProtocolID
            core.handle(.streamOpened(id, stream, name, .inbound, request: nil), at: now)
        }
        drain()
        for _ in 0...source.below(2) where connections[id]?.streams.contains(stream) == true {
            core.handle(.message(id, stream, identification(of: peer, &source)), at: now)
            drain()
        }
        guard connections[id]?.streams.remove(stream) != nil else { return }
        core.handle(.streamEnded(id, stream), at: now)
    }

    private func endStream(_ source: inout ByteSource) {
        guard let (id, connection) = pick(&source, [.up, .closing]), !connection.streams.isEmpty else { return }
        let stream = source.pick(connection.streams.sorted())
        connections[id]?.streams.remove(stream)
        core.handle(source.byte() < 200 ? .streamEnded(id, stream) : .streamFailed(id, stream, .reset), at: now)
    }

    private func advance(_ source: inout ByteSource) {
        switch source.byte() % 4 {
        case 0: now = now + .milliseconds(Int(source.byte()))
        case 1: now = now + .seconds(Int(source.byte()))
        default: if let next = core.nextTimeout, next > now, next < now + .seconds(7_200) { now = next }
        }
        core.handleTimeout(at: now)
        drain()
        require(requests.values.allSatisfy { $0 > now }, "every request is answered by its deadline")
        if let next = core.nextTimeout { require(next > now, "after a timeout the next one is later: \(next), \(now)") }
    }

    // MARK: Choices

    private func peer(_ source: inout ByteSource) -> PeerID {
        let choice = Int(source.byte())
        if choice >= 250 { return ownKey.peerID }
        return peerKeys[choice % peerKeys.count].peerID
    }

    private func address(_ source: inout ByteSource) -> Multiaddr {
        let host = UInt32(source.byte() & 7)
        var components: [Multiaddr.Component]
        switch source.byte() % 12 {
        case 0, 1, 2: components = [.ip4(0x0808_0800 | host), .tcp(4_001)]
        case 3: components = [.ip4(0x7F00_0001), .tcp(UInt16(host) + 1)]
        case 4: components = [.ip4(0x0A00_0000 | host), .tcp(4_001)]
        case 5, 6: components = [.ip6(high: 0x2001_0000_0000_0000 | UInt64(host), low: 1), .tcp(4_001)]
        case 7: components = [.ip6(high: 0xFE80 << 48, low: 1), .tcp(4_001)]
        case 8: components = [.dns("n\(host)"), .tcp(4_001)]
        case 9: components = [.dnsaddr("n\(host)")]
        case 10: components = [.memory(UInt64(host))]
        default: components = [.ip4(0x0808_0800 | host), .udp(4_001), .quicV1]
        }
        if source.byte() < 60 { components.append(.p2p(peer(&source))) }
        return Multiaddr(components: components)
    }

    private func addresses(_ source: inout ByteSource) -> [Multiaddr] {
        (0..<source.below(5)).map { _ in address(&source) }
    }

    private func anyConnection(_ source: inout ByteSource) -> ConnectionID {
        let known = connections.keys.sorted()
        return known.isEmpty || source.byte() < 10 ? ConnectionID(UInt64(source.byte())) : source.pick(known)
    }

    private func pick(_ source: inout ByteSource, _ phases: Set<Phase>) -> (ConnectionID, Connection)? {
        let known = connections.filter { phases.contains($0.value.phase) }.keys.sorted()
        guard !known.isEmpty else { return nil }
        let id = source.pick(known)
        return connections[id].map { (id, $0) }
    }

    // MARK: Effects

    private func drain() {
        while let effect = core.nextEffect() {
            trace("  \(effect)")
            handle(effect)
        }
    }

    private func handle(_ effect: PeersEffect) {
        switch effect {
        case .dial(let id, let address, let expected, _, let deadline):
            require(id.value & 1 == 1 && used.insert(id).inserted, "an attempt has a new odd id")
            require(address.kind != .unusable && address.kind != .name, "an attempt has an address for a socket")
            require(deadline > now, "an attempt has time")
            connections[id] = Connection(phase: .attempt, expected: expected, remote: address)
        case .cancelDial(let id):
            require(connections[id]?.phase == .attempt, "only attempts under way are cancelled, once")
            connections[id]?.phase = .abandoned
        case .resolve(let id, let name):
            require(used.insert(id).inserted && name.kind == .name, "a name is looked up under a new id")
            resolutions.append(id)
        case .admit(let id):
            require(connections[id]?.phase == .accepted, "only what was accepted is admitted, once")
            connections[id]?.phase = .admitted
        case .refuse(let id, _):
            require(connections[id]?.phase == .accepted, "only what was accepted is refused")
            closed(id)
        case .close(let id): closed(id)
        case .openStream(let id, let name, let request, _):
            require(connections[id]?.phase == .up, "streams are opened on connections that are up")
            connections[id]?.opening.append((request, name))
        case .send(let id, let stream, let bytes):
            require(connections[id]?.streams.contains(stream) == true, "messages go to streams that are open")
            require(bytes.readableBytes <= PeersCore.messageBytesMax, "our messages are within the limit")
        case .closeWriting(let id, _):
            require(connections[id] != nil, "streams of connections that are known are ended")
        case .resetStream(let id, let stream):
            require(connections[id] != nil, "streams of connections that are known are reset")
            connections[id]?.streams.remove(stream)
        case .dialed(let request, let id, let peer):
            require(requests.removeValue(forKey: request) != nil, "a request is answered once")
            require(
                connections[id]?.phase == .up && connections[id]?.peer == peer, "the answer is a connection to the peer"
            )
        case .dialRejected(let request, _):
            require(requests.removeValue(forKey: request) != nil, "a request is answered once")
        case .announce(let statement):
            require(statement.version > announced, "what we say of ourselves has a new number each time")
            announced = statement.version
        case .emit(let event): emitted(event)
        }
    }

    private func closed(_ id: ConnectionID) {
        switch connections[id]?.phase {
        case .accepted: connections[id]?.phase = .refused
        case .up: connections[id]?.phase = .closing
        default: require(false, "only what is up or waits to be admitted is closed, once")
        }
    }

    private func emitted(_ event: PeersEvent) {
        switch event {
        case .peerConnected(let peer, _):
            require(connected.insert(peer).inserted && peer != ownKey.peerID, "a peer is connected once")
        case .peerDisconnected(let peer, _):
            require(connected.remove(peer) != nil, "a peer that was connected is disconnected")
        case .peerIdentified(let peer, let profile):
            require(connected.contains(peer), "a peer that is connected is identified")
            require(profile.listenAddresses.count <= limits.addressesPerPeerMax, "addresses are limited")
        case .connectionPreferred(let peer, let id):
            require(connections[id]?.peer == peer, "a preferred connection is known")
        case .listening, .inboundRefused:
            break
        }
    }

    // MARK: What must always hold

    private func check() {
        require(core.connectedPeers == connected.sorted(), "who is connected was told")
        for peer in core.connectedPeers {
            let all = core.connections(to: peer)
            require((1...limits.connectionsPerPeerMax).contains(all.count), "a peer's connections are limited")
            require(core.connection(to: peer).map { all.contains($0) } == true, "one of them is preferred")
            for id in all { require(connections[id]?.phase == .up, "connections in use are up") }
        }
        let counted = core.connectionCount + core.unauthenticatedCount + core.activeDialCount
        require(counted <= limits.connectionsMax, "connections are limited: \(counted)")
        require(core.inboundCount <= limits.connectionsInboundMax, "inbound connections are limited")
        require(core.unauthenticatedCount <= limits.unauthenticatedMax, "unproven connections are limited")
        require(
            core.activeDialCount <= limits.dialsMax && core.queuedDialCount <= limits.dialQueueMax, "dials are limited")
        require(core.pendingRequestCount == requests.count, "requests under way are those without an answer")
        require(requests.count <= limits.dialRequestsMax, "requests are limited")
        require(core.store.count <= limits.peersMax, "peers that are remembered are limited")
        let attempts = connections.values.count { $0.phase == .attempt }
        require(attempts <= limits.dialsMax * limits.attemptsPerDialMax, "attempts are limited")
    }
}

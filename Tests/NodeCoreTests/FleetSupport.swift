// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiNodeCore
import TuttiPeers
import TuttiSimulator

/// The lab's fleet as these tests use it: everything that nodes want is kept, and signatures are checked.
extension NodeFleet {
    /// - Parameter latencyMilliseconds: one way, chosen per socket.
    init(seed: UInt64, latencyMilliseconds: ClosedRange<Int64>, _ level: Level = .messages) {
        var network = NetworkModel()
        network.latency = .uniform(
            .milliseconds(latencyMilliseconds.lowerBound), .milliseconds(latencyMilliseconds.upperBound))
        self.init(network: network, seed: seed, level: level)
        keepsLog = true
        checksSignatures = true
    }

    /// - Parameters:
    ///   - own: where it listens.
    ///   - announced: where it believes to listen.
    mutating func addNode(
        _ key: KeyPair, securities: [ProtocolID] = [.noise, .tls], protocols: [ProtocolID] = [],
        at own: UInt32? = nil, announced: Multiaddr? = nil,
        configure: (inout NodeCoreConfiguration) -> Void = { _ in }
    ) {
        add(
            key, protocols: protocols, limits: .internet, host: own.map(VirtualHost.open),
            listening: announced.map { [$0] }
        ) { configuration in
            configuration.peers.securities = securities
            configure(&configuration)
        }
    }

    /// With a request of its own for each pair.
    mutating func dial(_ node: Int, _ other: Int) {
        dial(node, other, request: UInt64(node * 100 + other + 1))
    }

    mutating func give(_ node: Int, _ input: PeersInput) {
        give(node, .peers(input))
    }

    /// Of everything that nodes wanted and of what events there were.
    var fullDigest: UInt64 {
        var trace = EffectDigest()
        for (at, node, effect) in log { trace.note(at, node, effect) }
        return trace.value ^ digest.value
    }
}

/// FNV-1a over effects with their times and nodes.
private struct EffectDigest {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func note(_ at: Instant, _ node: Int, _ effect: PeersEffect) {
        mix("\(at.nanoseconds) \(node) ")
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
        value = (value ^ UInt64(byte)) &* 0x100_0000_01B3
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers

import struct NIOCore.ByteBuffer

/// A key made of a number; the larger number doesn't make the larger peer id.
func key(_ number: UInt64) -> KeyPair {
    KeyPair(seed: Bytes32(words: (number, 0, 0, 1)))
}

/// Two keys in the order of their peer ids.
let ordered: (smaller: KeyPair, larger: KeyPair) =
    key(1).peerID < key(2).peerID ? (key(1), key(2)) : (key(2), key(1))

func address(_ text: String) -> Multiaddr {
    guard let address = Multiaddr(text) else { preconditionFailure("a test address must parse: \(text)") }
    return address
}

func establishment(_ key: KeyPair, security: ProtocolID = .noise) -> Establishment {
    Establishment(peer: key.peerID, publicKey: key.publicKey, security: security, hadEarlyMuxer: true)
}

let unreachable = CloseReason.transport("connection refused", .dial)

/// A PeersCore under a clock of its own.
struct Bench {
    var core: PeersCore
    var now = Instant.zero
    private var nextInbound: UInt64 = 2
    private var lastRequest: UInt64 = 0

    init(
        _ identity: KeyPair = ordered.smaller, limits: NodeLimits = .internet,
        change: (inout PeersConfiguration) -> Void = { _ in }
    ) {
        var configuration = PeersConfiguration(identity: identity, limits: limits, agent: "test/1")
        change(&configuration)
        core = PeersCore(configuration: configuration, at: now)
        // What the core says of itself at its start.
        _ = drain()
    }

    mutating func drain() -> [PeersEffect] {
        var effects: [PeersEffect] = []
        while let effect = core.nextEffect() { effects.append(effect) }
        return effects
    }

    @discardableResult
    mutating func handle(_ input: PeersInput) -> [PeersEffect] {
        core.handle(input, at: now)
        return drain()
    }

    /// Runs all timers up to `milliseconds` from now, each at its own time.
    @discardableResult
    mutating func advance(_ milliseconds: Int64) -> [(at: Int64, effect: PeersEffect)] {
        let end = now + .milliseconds(milliseconds)
        var result: [(Int64, PeersEffect)] = []
        while let next = core.nextTimeout, next <= end {
            now = max(now, next)
            core.handleTimeout(at: now)
            for effect in drain() { result.append((now.nanoseconds / 1_000_000, effect)) }
        }
        now = end
        return result
    }

    mutating func dial(
        _ peer: PeerID?, _ addresses: [String], deadline seconds: Int64 = 10
    ) -> (request: RequestID, effects: [PeersEffect]) {
        lastRequest += 1
        let request = RequestID(lastRequest)
        let effects = handle(
            .dialRequested(
                request, peer: peer, addresses: addresses.map { address($0) }, deadline: now + .seconds(seconds)))
        return (request, effects)
    }

    mutating func accept(from remote: String) -> (id: ConnectionID, effects: [PeersEffect]) {
        let id = ConnectionID(nextInbound)
        nextInbound += 2
        return (id, handle(.accepted(id, remote: address(remote))))
    }

    /// An inbound connection that is up.
    mutating func inbound(
        _ key: KeyPair, from remote: String = "/ip4/192.0.2.9/tcp/4000"
    ) -> (
        id: ConnectionID, effects: [PeersEffect]
    ) {
        let (id, first) = accept(from: remote)
        return (id, first + handle(.established(id, establishment(key), .inbound, remote: address(remote))))
    }

    /// An outbound connection that is up.
    mutating func outbound(
        _ key: KeyPair, at text: String = "/ip4/198.51.100.7/tcp/4001"
    ) -> (
        id: ConnectionID, effects: [PeersEffect]
    ) {
        let attempt = dial(key.peerID, [text]).effects.attempts.last?.id ?? ConnectionID(0)
        return (attempt, handle(.established(attempt, establishment(key), .outbound, remote: address(text))))
    }
}

struct Dialled: Equatable {
    var id: ConnectionID
    var address: String
    var security: ProtocolID
    var deadline: Instant
}

extension [PeersEffect] {
    var attempts: [Dialled] {
        compactMap { effect in
            guard case .dial(let id, let address, _, let security, let deadline) = effect else { return nil }
            return Dialled(id: id, address: address.description, security: security, deadline: deadline)
        }
    }
    var resolutions: [(id: ConnectionID, name: String)] {
        compactMap { effect in
            guard case .resolve(let id, let name) = effect else { return nil }
            return (id, name.description)
        }
    }
    var cancelled: [ConnectionID] {
        compactMap { effect in if case .cancelDial(let id) = effect { id } else { nil } }
    }
    var closed: [ConnectionID] {
        compactMap { effect in
            switch effect {
            case .close(let id), .refuse(let id, _): id
            default: nil
            }
        }
    }
    var admitted: [ConnectionID] {
        compactMap { effect in if case .admit(let id) = effect { id } else { nil } }
    }
    var answers: [(request: RequestID, connection: ConnectionID)] {
        compactMap { effect in
            guard case .dialed(let request, let connection, _) = effect else { return nil }
            return (request, connection)
        }
    }
    var rejections: [(request: RequestID, error: DialError)] {
        compactMap { effect in
            guard case .dialRejected(let request, let error) = effect else { return nil }
            return (request, error)
        }
    }
    var opened: [(connection: ConnectionID, name: ProtocolID, request: RequestID)] {
        compactMap { effect in
            guard case .openStream(let connection, let name, let request, _) = effect else { return nil }
            return (connection, name, request)
        }
    }
    var announced: [IdentifyStatement] {
        compactMap { effect in if case .announce(let statement) = effect { statement } else { nil } }
    }
    var sent: [ByteBuffer] {
        compactMap { effect in if case .send(_, _, let bytes) = effect { bytes } else { nil } }
    }
    var resets: [StreamID] {
        compactMap { effect in if case .resetStream(_, let stream) = effect { stream } else { nil } }
    }
    var identified: [PeerProfile] {
        compactMap { effect in if case .emit(.peerIdentified(_, let profile)) = effect { profile } else { nil } }
    }
    var events: [String] {
        compactMap { effect in
            guard case .emit(let event) = effect else { return nil }
            switch event {
            case .listening: return "listening"
            case .peerConnected(_, let id): return "connected \(id)"
            case .peerDisconnected: return "disconnected"
            case .peerIdentified: return "identified"
            case .connectionPreferred(_, let id): return "preferred \(id)"
            case .inboundRefused(_, let reason): return "refused: \(reason.text)"
            }
        }
    }
}

extension [(at: Int64, effect: PeersEffect)] {
    var effects: [PeersEffect] { map(\.effect) }
    var attemptTimes: [Int64] {
        compactMap { timed in if case .dial = timed.effect { timed.at } else { nil } }
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiKademlia

/// What all Kademlia peers of a fleet share.
package struct KademliaWorld: Sendable {
    package let keys: Keyspace
    package let settings: KademliaSettings
    /// Whom a peer knows that starts with nothing.
    package var bootstrap: [PeerIndex] = []
    /// Peers from this number on are the attacker's, in so many address groups.
    package var sybilsFrom: UInt32 = .max
    package var sybilGroups: UInt32 = 3
    /// Whom the attacker names in answers.
    package var sybils: KademliaTables?
    /// A share of the others that takes requests and answers none, in parts per million.
    package var swallowing: UInt32 = 0
    /// A share that is dead and yet in tables: who calls one learns after the dial's time-out that it failed. Of them
    /// `slowDials` have a second address, given up later. Both in parts per million.
    package var undialable: UInt32 = 0
    package var slowDials: UInt32 = 0
    package static let dialTimeout = Duration.seconds(5)
    package static let slowDialTimeout = Duration.seconds(15)

    package init(keys: Keyspace, configuration: KademliaConfiguration) {
        self.keys = keys
        settings = KademliaSettings(configuration)
    }

    package func group(of peer: PeerIndex) -> AddressGroup {
        peer.value >= sybilsFrom
            ? AddressGroup(1 << 40 | UInt64(peer.value % max(1, sybilGroups))) : AddressGroup(UInt64(peer.value) + 1)
    }
}

package enum KademliaMessage: Sendable {
    case request(UInt32, KademliaRequest)
    case response(UInt32, KademliaResponse)
    case refusal(UInt32)
}

package enum KademliaCommand: Sendable {
    indirect case handle(KademliaInput)
}

package struct KademliaReport: Sendable {
    package let request: RequestID
    package let outcome: KademliaOutcome
}

/// A KademliaCore with the streams of its requests: the id of a call travels with it, and names the asker with the
/// asker's number.
package struct KademliaPeer: SimulatedCore {
    package typealias Message = KademliaMessage
    package typealias Command = KademliaCommand
    package typealias Report = KademliaReport
    package typealias World = KademliaWorld

    private enum Role: UInt8, Sendable {
        case honest
        case swallowing
        case undialable
        case undialableSlowly
        case sybil
    }

    package private(set) var core: KademliaCore
    private let own: PeerIndex
    private let role: Role
    /// The attacker's turn.
    private var nextAttack = Instant.distantFuture
    /// What is sent beside the core's messages, in order of time.
    private var pending: [(at: Instant, to: PeerIndex, message: KademliaMessage)] = []
    private var draws: DrawStream

    package init(_ own: PeerIndex, world: KademliaWorld, seed: UInt64, at now: Instant) {
        self.own = own
        core = KademliaCore(own: own, settings: world.settings, ownKey: world.keys.key(of: own), seed: seed, at: now)
        draws = DrawStream(seed: seed)
        if own.value >= world.sybilsFrom {
            role = .sybil
            nextAttack = now + .milliseconds(Int64(draws.below(10_000)))
        } else {
            // Drawn in any case, so that a share of zero moves nothing.
            let lot = draws.below(1_000_000)
            if lot < UInt64(world.swallowing) {
                role = .swallowing
            } else if lot < UInt64(world.swallowing) + UInt64(world.undialable) {
                role = draws.happens(world.slowDials) ? .undialableSlowly : .undialable
            } else {
                role = .honest
            }
        }
    }

    package var isHonest: Bool { role == .honest }

    package mutating func restart(keepsDisk: Bool, world: KademliaWorld, seed: UInt64, at now: Instant) {
        let remembered = keepsDisk ? core.snapshot() : []
        core = KademliaCore(own: own, settings: world.settings, ownKey: world.keys.key(of: own), seed: seed, at: now)
        if !remembered.isEmpty { core.handle(.peersRemembered(remembered), at: now, keys: world.keys) }
        meetBootstrap(world: world, at: now)
    }

    package mutating func meetBootstrap(world: KademliaWorld, at now: Instant) {
        for peer in world.bootstrap where peer != own { identify(peer, world, now) }
    }

    package mutating func load(_ table: [PeerIndex], world: KademliaWorld) {
        core.load(table, keys: world.keys)
    }

    package mutating func handle(_ command: KademliaCommand, world: KademliaWorld, at now: Instant) {
        switch command {
        case .handle(let input): core.handle(input, at: now, keys: world.keys)
        }
    }

    package mutating func receive(
        _ message: consuming KademliaMessage, from peer: PeerIndex, world: KademliaWorld, at now: Instant
    ) {
        switch message {
        case .request(let id, let request):
            switch role {
            case .swallowing: return
            case .undialable: return pending.append((now + KademliaWorld.dialTimeout, peer, .refusal(id)))
            case .undialableSlowly: return pending.append((now + KademliaWorld.slowDialTimeout, peer, .refusal(id)))
            case .sybil: return poison(id, request, peer, world, now)
            case .honest: break
            }
            // A stream comes over a connection, and a connection with identify.
            identify(peer, world, now)
            core.handle(
                .asked(
                    RequestID(UInt64(peer.value) << 32 | UInt64(id)), by: peer, group: world.group(of: peer), request),
                at: now, keys: world.keys)
        case .response(let id, let response):
            identify(peer, world, now)
            core.handle(.answered(RequestID(UInt64(id)), response), at: now, keys: world.keys)
        case .refusal(let id):
            core.handle(.callFailed(RequestID(UInt64(id))), at: now, keys: world.keys)
        }
    }

    private mutating func identify(_ peer: PeerIndex, _ world: KademliaWorld, _ now: Instant) {
        core.handle(.peerIdentified(peer, isServer: true, group: world.group(of: peer)), at: now, keys: world.keys)
    }

    package mutating func linkChanged(
        _ change: LinkChange, with peer: PeerIndex, world: KademliaWorld, at now: Instant
    ) {}

    package mutating func handleTimeout(world: KademliaWorld, at now: Instant) {
        if now >= nextAttack {
            nextAttack = now + .seconds(10)
            let victim = PeerIndex(UInt32(truncatingIfNeeded: draws.below(UInt64(max(1, world.sybilsFrom)))))
            let target = KademliaTarget(key: world.keys.key(of: own))
            pending.append((now, victim, .request(0, .findNode(target))))
        }
        if isRunning { core.handleTimeout(at: now, keys: world.keys) }
    }

    private var isRunning: Bool { role == .honest || role == .swallowing }

    package mutating func warm(for peer: PeerIndex?, world: KademliaWorld) -> UInt64 {
        core.warm(for: peer, keys: world.keys)
    }

    package var nextTimeout: Instant? {
        switch role {
        case .honest, .swallowing: core.nextTimeout
        case .undialable, .undialableSlowly: pending.first?.at
        case .sybil: nextAttack
        }
    }

    package mutating func nextStep(world: KademliaWorld, at now: Instant) -> FleetStep<KademliaPeer>? {
        if let first = pending.first, first.at <= now {
            pending.removeFirst()
            return .send(first.to, first.message)
        }
        while let effect = core.nextEffect() {
            switch effect {
            case .call(let id, let peer, let request):
                if case .addProvider = request {
                    core.handle(.answered(id, KademliaResponse()), at: now, keys: world.keys)
                }
                return .send(peer, .request(UInt32(truncatingIfNeeded: id.value), request))
            case .answer(let id, let response):
                let asker = PeerIndex(UInt32(truncatingIfNeeded: id.value >> 32))
                return .send(asker, .response(UInt32(truncatingIfNeeded: id.value), response))
            case .refuse(let id):
                return .send(
                    PeerIndex(UInt32(truncatingIfNeeded: id.value >> 32)),
                    .refusal(UInt32(truncatingIfNeeded: id.value)))
            case .finished(let request, let outcome):
                return .report(KademliaReport(request: request, outcome: outcome))
            case .cancelCall, .providerFound: continue
            }
        }
        return nil
    }

    /// The attacker names its own peers, as near to the target as it has them.
    private mutating func poison(
        _ id: UInt32, _ request: KademliaRequest, _ peer: PeerIndex, _ world: KademliaWorld, _ now: Instant
    ) {
        let target: KademliaTarget? =
            switch request {
            case .findNode(let target), .getValue(let target), .getProviders(let target): target
            case .ping, .putValue, .addProvider: nil
            }
        let named = target.flatMap { world.sybils?.closest(to: $0.key, count: 20) } ?? []
        pending.append((now, peer, .response(id, KademliaResponse(closer: named))))
    }

    // MARK: Messages

    package static func byteCount(_ message: borrowing KademliaMessage) -> Int {
        switch message {
        case .request(_, let request):
            switch request {
            case .ping: 40
            case .findNode, .getValue, .getProviders: 80
            case .putValue(_, let record): 90 + record.value.count
            case .addProvider: 160
            }
        // An id of 38 bytes and two addresses a peer.
        case .response(_, let response):
            40 + 80 * (response.closer.count + response.providers.count) + (response.record?.value.count ?? 0)
        case .refusal: 20
        }
    }

    package static func fingerprint(_ message: borrowing KademliaMessage) -> UInt64 {
        switch message {
        case .request(let id, let request):
            switch request {
            case .ping: UInt64(id) << 3
            case .findNode(let target): word(id, target, 1)
            case .getValue(let target): word(id, target, 2)
            case .putValue(let target, _): word(id, target, 3)
            case .getProviders(let target): word(id, target, 4)
            case .addProvider(let target): word(id, target, 5)
            }
        case .response(let id, let response):
            UInt64(id) << 3 | 6 ^ UInt64(response.closer.count) << 40
                ^ response.closer.reduce(0) { $0 &* 31 &+ UInt64($1.value) }
        case .refusal(let id): UInt64(id) << 3 | 7
        }
    }

    private static func word(_ id: UInt32, _ target: KademliaTarget, _ kind: UInt64) -> UInt64 {
        (UInt64(id) << 3 | kind) ^ target.key.bytes.words.0
    }

    package static func isAnswer(_ message: borrowing KademliaMessage) -> Bool {
        switch message {
        case .request: false
        case .response, .refusal: true
        }
    }
}

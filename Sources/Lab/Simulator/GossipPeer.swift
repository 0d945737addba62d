// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiGossip

import struct NIOCore.ByteBuffer

package struct GossipWorld: Sendable {
    package enum Attack: Int, Sendable {
        /// Takes part in everything but forwards no message.
        case drop = 0
        /// And asks, advertises and grafts as often as it can.
        case flood = 1
    }

    package let configuration: GossipConfiguration
    package let topic: Topic
    /// Peers from this number on are the attacker's, in so many address groups.
    package var sybilsFrom: UInt32 = .max
    package var sybilGroups: UInt32 = .max
    package var attack = Attack.drop

    package init(configuration: GossipConfiguration, topic: Topic) {
        self.configuration = configuration
        self.topic = topic
    }

    package func group(of peer: PeerIndex) -> AddressGroup {
        peer.value >= sybilsFrom
            ? AddressGroup(1 << 40 | UInt64(peer.value % max(1, sybilGroups))) : AddressGroup(UInt64(peer.value) + 1)
    }
}

package enum GossipCommand: Sendable {
    case subscribe
    /// A message of this number and size.
    case publish(UInt32, bytes: Int)
}

package enum GossipReport: Sendable {
    case delivered(UInt32)
    case published(UInt32, isDone: Bool)
}

/// A GossipCore that checks messages at once and counts what it is given.
package struct GossipPeer: SimulatedCore {
    package typealias Message = GossipRPC
    package typealias Command = GossipCommand
    package typealias Report = GossipReport
    package typealias World = GossipWorld

    package private(set) var core: GossipCore
    private let own: PeerIndex
    private let isSybil: Bool
    private var isSubscribed = false
    /// How many streams to others are open; neighbours are dialled when an exchange names them.
    private var linked: [PeerIndex] = []
    private var dials: [PeerIndex] = []
    private var attacks: [(PeerIndex, GossipRPC)] = []
    private var nextAttack = Instant.distantFuture

    private static let dialsMax = 4

    package init(_ own: PeerIndex, world: GossipWorld, seed: UInt64, at now: Instant) {
        self.own = own
        isSybil = own.value >= world.sybilsFrom
        if isSybil, world.attack == .flood { nextAttack = now + .milliseconds(Int64(own.value % 1_000)) }
        core = Self.makeCore(own, world, seed, now)
    }

    private static func makeCore(_ own: PeerIndex, _ world: GossipWorld, _ seed: UInt64, _ now: Instant) -> GossipCore {
        var configuration = world.configuration
        configuration.author = author(own)
        configuration.firstSequence = UInt64(max(1, now.nanoseconds))
        return GossipCore(configuration: configuration, seed: seed, at: now)
    }

    private static func author(_ peer: PeerIndex) -> [UInt8] {
        withUnsafeBytes(of: peer.value.bigEndian) { Array("peer".utf8) + Array($0) }
    }

    package mutating func restart(keepsDisk: Bool, world: GossipWorld, seed: UInt64, at now: Instant) {
        // What a node dials after a restart: those whom it knew.
        dials = keepsDisk ? linked : Array(linked.prefix(1))
        linked = []
        core = Self.makeCore(own, world, seed, now)
        if isSubscribed { core.handle(.subscribeRequested(world.topic), at: now) }
    }

    package mutating func handle(_ command: GossipCommand, world: GossipWorld, at now: Instant) {
        switch command {
        case .subscribe:
            isSubscribed = true
            core.handle(.subscribeRequested(world.topic), at: now)
        case .publish(let number, let bytes):
            var data = ByteBuffer()
            data.writeInteger(number)
            data.writeRepeatingByte(0x2A, count: max(0, bytes - 4))
            core.handle(.publishRequested(RequestID(UInt64(number)), world.topic, data), at: now)
        }
    }

    package mutating func receive(
        _ message: consuming GossipRPC, from peer: PeerIndex, world: GossipWorld, at now: Instant
    ) {
        core.handle(.received(peer, message), at: now)
    }

    package mutating func linkChanged(_ change: LinkChange, with peer: PeerIndex, world: GossipWorld, at now: Instant) {
        switch change {
        case .up(let direction):
            linked.append(peer)
            core.handle(
                .peerConnected(peer, .v1_2, direction, group: world.group(of: peer), author: Self.author(peer)), at: now
            )
        case .down:
            linked.removeAll { $0 == peer }
            core.handle(.peerDisconnected(peer), at: now)
        case .failed: break
        }
    }

    package mutating func handleTimeout(world: GossipWorld, at now: Instant) {
        if now >= nextAttack {
            nextAttack = now + .seconds(1)
            flood(world, now)
        }
        core.handleTimeout(at: now)
    }

    package var nextTimeout: Instant? {
        guard nextAttack < .distantFuture else { return core.nextTimeout }
        return min(nextAttack, core.nextTimeout ?? .distantFuture)
    }

    package mutating func nextStep(world: GossipWorld, at now: Instant) -> FleetStep<GossipPeer>? {
        if let attack = attacks.popLast() { return .send(attack.0, attack.1) }
        if let peer = dials.popLast() { return .connect(peer) }
        while let effect = core.nextEffect() {
            switch effect {
            case .send(let peer, var rpc):
                if isSybil {
                    rpc.messages = []
                    guard !rpc.isEmpty else { continue }
                }
                return .send(peer, rpc)
            case .validate(let id, let messages, _, _):
                core.handle(.validated(id, Array(repeating: .accept, count: messages.count)), at: now)
            case .deliver(let message, _):
                var data = message.data
                return .report(.delivered(data.readInteger() ?? .max))
            case .published(let id, _, _):
                return .report(.published(UInt32(truncatingIfNeeded: id.value), isDone: true))
            case .publishFailed(let id, _):
                return .report(.published(UInt32(truncatingIfNeeded: id.value), isDone: false))
            case .peersExchanged(let peers, _):
                for case .known(let peer) in peers
                where peer != own && dials.count < Self.dialsMax && !linked.contains(peer) && !dials.contains(peer) {
                    dials.append(peer)
                }
                if let peer = dials.popLast() { return .connect(peer) }
            case .disconnect(let peer): return .release(peer)
            }
        }
        return nil
    }

    /// To each neighbour: ids that nobody has, the same demand again and again, and a graft.
    private mutating func flood(_ world: GossipWorld, _ now: Instant) {
        var rpc = GossipRPC()
        let ids = (0..<100).compactMap { place in
            MessageID(withUnsafeBytes(of: UInt64(now.nanoseconds) &+ UInt64(place)) { Array($0) })
        }
        rpc.ihave = Array(repeating: (topic: world.topic, ids: ids), count: 20)
        rpc.iwant = ids
        rpc.graft = [world.topic]
        rpc.idontwant = ids
        for peer in linked { attacks.append((peer, rpc)) }
    }

    // MARK: Messages

    package static func byteCount(_ message: borrowing GossipRPC) -> Int {
        var bytes = 4
        for published in message.messages { bytes += published.byteCount + 4 }
        for entry in message.ihave { bytes += 8 + entry.ids.count * 18 }
        bytes += (message.iwant.count + message.idontwant.count) * 18
        bytes += (message.graft.count + message.subscriptions.count) * 12
        for prune in message.prune { bytes += 16 + prune.exchanged.count * 240 }
        return bytes
    }

    package static func fingerprint(_ message: borrowing GossipRPC) -> UInt64 {
        var digest = EventDigest()
        digest.mix(UInt64(message.messages.count) << 32 | UInt64(message.iwant.count))
        digest.mix(UInt64(message.ihave.count) << 32 | UInt64(message.graft.count))
        digest.mix(UInt64(message.prune.count) << 32 | UInt64(message.idontwant.count))
        for published in message.messages { digest.mix(UInt64(published.byteCount)) }
        for entry in message.ihave { digest.mix(UInt64(entry.ids.count)) }
        return digest.value
    }

    package static func isAnswer(_ message: borrowing GossipRPC) -> Bool { true }
}

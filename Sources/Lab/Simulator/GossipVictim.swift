// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiGossip

import struct NIOCore.ByteBuffer

/// One GossipCore between honest peers and those of an attacker, all played here: what it asks for, serves and delivers.
struct GossipVictim {
    private struct Served: Hashable {
        let peer: PeerIndex
        let id: MessageID
    }

    private static let authors = 64

    private(set) var core: GossipCore
    private(set) var now = Instant.zero
    private(set) var askedTotal = 0
    private(set) var askedMost = 0
    private(set) var servedMost = 0
    /// When the last attacker was cut off.
    private(set) var lastOutSecond = 0
    private(set) var repeated = 0
    private let topic: Topic
    private let honest: Int
    private var attackers: [PeerIndex] = []
    private var published: [(message: GossipMessage, id: MessageID)] = []
    private var places: [MessageID: Int] = [:]
    private var isDelivered: [Bool] = []
    private var asked: [PeerIndex: Int] = [:]
    private var served: [Served: Int] = [:]
    private var heartbeats: UInt64 = 0
    private var draws: DrawStream
    private var digest = EventDigest()
    private var inputs: UInt64 = 0

    init(_ configuration: GossipConfiguration, _ topic: Topic, honest: Int, attackers: Int, seed: UInt64) {
        self.topic = topic
        self.honest = honest
        core = GossipCore(configuration: configuration, seed: seed, at: .zero)
        draws = DrawStream(seed: seed, .traffic)
        core.handle(.subscribeRequested(topic), at: now)
        // The attacker was here first.
        let numbers = Array(UInt32(honest + 1)..<UInt32(honest + 1 + attackers)) + Array(1...UInt32(honest))
        for number in numbers {
            let peer = PeerIndex(number)
            let isHonest = isHonest(peer)
            if !isHonest { self.attackers.append(peer) }
            core.handle(
                .peerConnected(
                    peer, .v1_2, isHonest ? .outbound : .inbound, group: AddressGroup(UInt64(number)),
                    author: Array("peer \(number)".utf8)), at: now)
            var hello = GossipRPC()
            hello.subscriptions = [(topic: topic, isSubscribed: true)]
            if !isHonest { hello.graft = [topic] }
            receive(peer, hello)
        }
    }

    // MARK: What is measured

    func isHonest(_ peer: PeerIndex) -> Bool { Int(peer.value) <= honest }
    var mesh: [PeerIndex] { core.meshPeers(of: topic) }
    var attackersLeft: Int { attackers.count }
    var publishedCount: Int { published.count }
    var recentIDs: [MessageID] { published.suffix(20).map(\.id) }

    var deliveredShare: Double {
        isDelivered.isEmpty ? 0 : Double(isDelivered.count { $0 }) / Double(isDelivered.count)
    }

    var result: ScenarioResult {
        var result = ScenarioResult()
        result.digest = digest.value
        result.events = inputs
        result.simulatedSeconds = (now - Instant.zero).secondsForDisplay
        result.add("RPCs received", Double(core.stats.rpcsReceived))
        result.add("RPCs sent", Double(core.stats.rpcsSent))
        return result
    }

    // MARK: What the others do

    /// A new message from every honest peer at once; again, when `copies` says so.
    mutating func publishByHonest(copies: Int = 1) {
        let number = UInt64(published.count)
        let message = GossipMessage.signed(
            topic: topic, data: ByteBuffer(integer: number),
            author: Array("author \(number % UInt64(Self.authors))".utf8),
            sequence: 1_000 + number, by: nil)
        guard let id = MessageID.ofOrigin(message) else { return }
        places[id] = published.count
        published.append((message, id))
        isDelivered.append(false)
        var rpc = GossipRPC()
        rpc.messages = [message]
        for _ in 0..<copies {
            for number in 1...UInt32(honest) { receive(PeerIndex(number), rpc) }
        }
    }

    /// A valid message that nobody waits for.
    mutating func publishByAttacker(_ number: UInt64) {
        var rpc = GossipRPC()
        rpc.messages = [
            .signed(
                topic: topic, data: ByteBuffer(integer: number), author: Array("attacker \(number % 8)".utf8),
                sequence: number + 1, by: nil)
        ]
        receive(PeerIndex(1), rpc)
    }

    mutating func replayAll() {
        for entry in published {
            var rpc = GossipRPC()
            rpc.messages = [entry.message]
            receive(PeerIndex(2), rpc)
        }
    }

    mutating func madeUpIDs(_ count: Int) -> [MessageID] {
        (0..<count).compactMap { _ in
            let word = draws.next()
            return MessageID((0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * UInt64($0))) })
        }
    }

    /// The same of each attacker that is still connected.
    mutating func attack(_ change: (inout GossipRPC) -> Void) {
        var rpc = GossipRPC()
        change(&rpc)
        for peer in attackers { receive(peer, rpc) }
    }

    mutating func run(until end: Instant) {
        while let due = core.nextTimeout, due <= end {
            now = max(now, due)
            core.handleTimeout(at: now)
            drain()
        }
        now = max(now, end)
    }

    // MARK: What the victim does

    private mutating func receive(_ peer: PeerIndex, _ rpc: GossipRPC) {
        inputs += 1
        core.handle(.received(peer, rpc), at: now)
        drain()
    }

    private mutating func drain() {
        if core.stats.heartbeats != heartbeats {
            heartbeats = core.stats.heartbeats
            asked.removeAll(keepingCapacity: true)
        }
        while let effect = core.nextEffect() {
            switch effect {
            case .send(let peer, let rpc): take(peer, rpc)
            case .validate(let request, let messages, _, _):
                core.handle(.validated(request, messages.map { _ in .accept }), at: now)
            case .deliver(let message, _):
                guard let id = MessageID.ofOrigin(message), let place = places[id] else { continue }
                if isDelivered[place] { repeated += 1 }
                isDelivered[place] = true
            case .disconnect(let peer):
                guard let place = attackers.firstIndex(of: peer) else { continue }
                attackers.remove(at: place)
                lastOutSecond = Int((now - Instant.zero).components.seconds)
                core.handle(.peerDisconnected(peer), at: now)
            case .published, .publishFailed, .peersExchanged: continue
            }
        }
    }

    private mutating func take(_ peer: PeerIndex, _ rpc: GossipRPC) {
        digest.mix(UInt64(peer.value) << 32 | UInt64(rpc.iwant.count) << 16 | UInt64(rpc.messages.count))
        digest.mix(UInt64(rpc.graft.count) << 32 | UInt64(rpc.prune.count))
        askedTotal += rpc.iwant.count
        if !rpc.iwant.isEmpty {
            asked[peer, default: 0] += rpc.iwant.count
            askedMost = max(askedMost, asked[peer] ?? 0)
        }
        guard !isHonest(peer) else { return }
        for message in rpc.messages {
            guard let id = MessageID.ofOrigin(message) else { continue }
            served[Served(peer: peer, id: id), default: 0] += 1
            servedMost = max(servedMost, served[Served(peer: peer, id: id)] ?? 0)
        }
    }
}

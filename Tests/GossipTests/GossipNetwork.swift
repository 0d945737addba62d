// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiGossip
import TuttiIdentity

import struct NIOCore.ByteBuffer

/// Some cores under virtual time: a place in the list is the peer's index, each link has a fixed delay, and every
/// message is validated after a while. Everything is in one queue, ordered by (time, sequence).
struct GossipNetwork {
    struct Event {
        enum Kind {
            case rpc(from: Int, GossipRPC)
            case verdict(RequestID, [GossipVerdict])
            case timer
        }
        let at: Instant
        let sequence: UInt64
        let node: Int
        let kind: Kind
    }

    var cores: [GossipCore] = []
    var now = Instant.zero
    private var events: [Event] = []
    private var sequence: UInt64 = 0
    private var timers: [Instant?]
    var generator: SeededGenerator
    /// Per node: what was delivered, as text.
    var delivered: [[String]]
    var published: [(RequestID, sentTo: Int)] = []
    var failures: [GossipError] = []
    var disconnects: [(node: Int, peer: PeerIndex)] = []
    var exchanged: [(node: Int, peers: Int)] = []
    /// FNV-1a of every effect in order.
    var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    /// Nodes that read everything and send nothing: sybils of the simplest kind.
    var silent: Set<Int> = []
    var bytesSent = 0
    var messagesSent = 0
    var verdictDelay: Duration = .microseconds(500)
    var verdict: (GossipMessage) -> GossipVerdict = { _ in .accept }

    init(_ count: Int, seed: UInt64, _ change: (Int, inout GossipConfiguration) -> Void = { _, _ in }) {
        generator = SeededGenerator(seed: seed)
        timers = Array(repeating: nil, count: count)
        delivered = Array(repeating: [], count: count)
        for node in 0..<count {
            var configuration = GossipConfiguration(author: Self.author(node))
            change(node, &configuration)
            cores.append(GossipCore(configuration: configuration, seed: generator.next(), at: now))
        }
    }

    static func author(_ node: Int) -> [UInt8] { [0xA0, UInt8(node >> 8), UInt8(node & 255)] }

    mutating func connect(_ dialler: Int, _ listener: Int, _ version: GossipVersion = .v1_2) {
        handle(
            .peerConnected(
                PeerIndex(UInt32(listener)), version, .outbound, group: .none, author: Self.author(listener)),
            at: dialler)
        handle(
            .peerConnected(PeerIndex(UInt32(dialler)), version, .inbound, group: .none, author: Self.author(dialler)),
            at: listener)
    }

    /// Each node dials `count` others.
    mutating func connectAtRandom(_ count: Int, version: (Int) -> GossipVersion = { _ in .v1_2 }) {
        var links: Set<Int> = []
        for node in cores.indices {
            var made = 0
            while made < count {
                let other = Int(generator.next() % UInt64(cores.count))
                let link = min(node, other) * cores.count + max(node, other)
                guard other != node, links.insert(link).inserted else { continue }
                connect(node, other, min(version(node), version(other)))
                made += 1
            }
        }
    }

    mutating func handle(_ input: GossipInput, at node: Int) {
        cores[node].handle(input, at: now)
        drain(node)
    }

    mutating func publish(_ text: String, topic: Topic = "news", at node: Int) {
        sequence += 1
        handle(.publishRequested(RequestID(sequence), topic, ByteBuffer(string: text)), at: node)
    }

    mutating func run(for duration: Duration) {
        let end = now + duration
        while let event = events.first, event.at <= end {
            popFirst()
            now = event.at
            switch event.kind {
            case .rpc(let from, let rpc):
                cores[event.node].handle(.received(PeerIndex(UInt32(from)), rpc), at: now)
            case .verdict(let request, let verdicts):
                cores[event.node].handle(.validated(request, verdicts), at: now)
            case .timer:
                guard timers[event.node] == event.at else { continue }
                timers[event.node] = nil
                cores[event.node].handleTimeout(at: now)
            }
            drain(event.node)
        }
        now = end
    }

    private mutating func drain(_ node: Int) {
        while let effect = cores[node].nextEffect() { perform(effect, at: node) }
        if let timeout = cores[node].nextTimeout, timers[node] != timeout {
            timers[node] = timeout
            push(max(timeout, now), node, .timer)
        }
    }

    private mutating func perform(_ effect: GossipEffect, at node: Int) {
        note(UInt64(node))
        switch effect {
        case .send(let peer, let rpc):
            guard !silent.contains(node) || rpc.messages.isEmpty && rpc.ihave.isEmpty else { return }
            var bytes = ByteBuffer()
            GossipWire.encode(rpc, into: &bytes) { ([UInt8($0.value & 255)], []) }
            for byte in bytes.readableBytesView { note(UInt64(byte)) }
            bytesSent += bytes.readableBytes
            messagesSent += rpc.messages.count
            let delay = Duration.microseconds(
                1_000 + Int64((UInt64(node) * 7919 + UInt64(peer.value) * 104_729) % 9_000))
            push(now + delay, Int(peer.value), .rpc(from: node, rpc))
        case .validate(let request, let messages, _, _):
            push(now + verdictDelay, node, .verdict(request, messages.map(verdict)))
        case .deliver(let message, _):
            delivered[node].append(String(decoding: message.data.readableBytesView.prefix(40), as: UTF8.self))
        case .published(let request, _, let sentTo): published.append((request, sentTo))
        case .publishFailed(_, let error): failures.append(error)
        case .peersExchanged(let peers, _): exchanged.append((node, peers.count))
        case .disconnect(let peer): disconnects.append((node, peer))
        }
    }

    private mutating func note(_ value: UInt64) {
        digest = (digest ^ value) &* 0x100_0000_01B3
    }

    // A binary heap, as tests with thousands of events need one.
    private mutating func push(_ at: Instant, _ node: Int, _ kind: Event.Kind) {
        sequence += 1
        events.append(Event(at: at, sequence: sequence, node: node, kind: kind))
        var child = events.count - 1
        while child > 0, precedes(child, (child - 1) / 2) {
            events.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func popFirst() {
        events.swapAt(0, events.count - 1)
        events.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < events.count && precedes(child, least) {
                least = child
            }
            guard least != parent else { return }
            events.swapAt(parent, least)
            parent = least
        }
    }

    private func precedes(_ one: Int, _ other: Int) -> Bool {
        (events[one].at, events[one].sequence) < (events[other].at, events[other].sequence)
    }
}

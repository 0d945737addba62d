// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiNodeCore
import TuttiPeers
import TuttiSimulator

private func key(_ number: UInt64) -> KeyPair {
    KeyPair(seed: Bytes32(words: (number, 0, 0, 2)))
}

extension NodeFleet {
    fileprivate mutating func dial(_ node: Int, _ other: Int, request: UInt64, at address: Multiaddr? = nil) {
        give(
            node,
            .dialRequested(
                RequestID(request), peer: members[other].key.peerID, addresses: [address ?? members[other].address],
                deadline: now + .seconds(10)))
    }

    fileprivate func connections(_ node: Int, to other: Int) -> [ConnectionID] {
        members[node].core.peers.connections(to: members[other].key.peerID)
    }
}

@Suite("NodeCore")
struct NodeCoreTests {
    private static let levels: [NodeFleet.Level] = [.messages, .bytes]

    /// Two nodes dial each other at nearly the same time, then one changes its protocols.
    private static func simultaneous(
        seed: UInt64, skewMilliseconds: Int64 = 1, latencyMilliseconds: ClosedRange<Int64> = 5...40,
        _ level: NodeFleet.Level = .messages
    ) -> NodeFleet {
        var link = NodeFleet(seed: seed, latencyMilliseconds: latencyMilliseconds, level)
        link.addNode(key(1), protocols: ["/a"])
        link.addNode(key(2), protocols: ["/b"])
        link.run(until: .zero + .milliseconds(10))
        link.dial(0, 1, request: 1)
        link.run(until: link.now + .milliseconds(skewMilliseconds))
        link.dial(1, 0, request: 2)
        link.run(until: .zero + .seconds(30))
        link.give(0, .protocolsChanged(["/a", "/c"]))
        link.run(until: .zero + .seconds(60))
        return link
    }

    @Test("Inputs and effects are at most 24 bytes")
    func size() {
        #expect(MemoryLayout<NodeCore.Input>.size <= 24)
        #expect(MemoryLayout<NodeCore.Effect>.size <= 24)
    }

    @Test("Two runs give the same digest, in this process and in any other, in debug and in release", arguments: levels)
    func digest(level: NodeFleet.Level) {
        let first = Self.simultaneous(seed: 7, level).fullDigest
        #expect(first == Self.simultaneous(seed: 7, level).fullDigest)
        #expect(first != Self.simultaneous(seed: 8, level).fullDigest)
        // Byte by byte scripts/determinism compares processes and builds: every change of the wire is another digest.
        if level == .messages { #expect(first == 12_550_372_161_437_457_632) }
    }

    @Test(
        "After simultaneous dials both sides keep the same connection, for every order of events",
        arguments: 0..<300 as Range<UInt64>, levels)
    func simultaneousDials(seed: UInt64, level: NodeFleet.Level) throws {
        let link = Self.simultaneous(
            seed: seed, skewMilliseconds: Int64(seed % 20) * 7, latencyMilliseconds: 1...Int64(1 + seed * 2 % 2_000),
            level)
        let (a, b) = (link.connections(0, to: 1), link.connections(1, to: 0))
        #expect(a.count == 1)
        #expect(b.count == 1)
        #expect(link.members[0].core.peers.connectionCount == 1)
        #expect(link.members[1].core.peers.connectionCount == 1)
        // One dialled, the other accepted, of the same socket: exactly one of the two ids is odd.
        #expect((try #require(a.first)).value & 1 != (try #require(b.first)).value & 1)
        // Where both came up, it is the one that the smaller id dialled.
        let bothUp = link.members.allSatisfy { $0.core.peers.stats.connectionsEstablished == 2 }
        if bothUp {
            let smaller = link.members[0].key.peerID < link.members[1].key.peerID ? a : b
            #expect(smaller[0].value & 1 == 1)
        }
        for request in [UInt64(1), 2] {
            let answers = link.log.count { entry in
                switch entry.effect {
                case .dialed(let id, _, _), .dialRejected(let id, _): id == RequestID(request)
                default: false
                }
            }
            #expect(answers == 1)
        }
        // Nobody was cut off at any time: the peers met once and never parted.
        #expect(!link.log.contains { if case .emit(.peerDisconnected) = $0.effect { true } else { false } })
    }

    @Test("A surplus connection ends 5 s after its last stream, not earlier", arguments: levels)
    func surplusEnds(level: NodeFleet.Level) {
        let link = Self.simultaneous(seed: 3, latencyMilliseconds: 20...20, level)
        let closes = link.log.filter { if case .close = $0.effect { true } else { false } }
        let lastStream = link.log.last { entry in
            guard case .emit(.peerIdentified) = entry.effect else { return false }
            return entry.node == closes.first?.node && entry.at < .zero + .seconds(10)
        }
        let established = link.members.map(\.core.peers.stats.connectionsEstablished)
        #expect(established == [2, 2])
        guard let first = closes.first, let lastStream else {
            Issue.record("a connection was expected to be closed")
            return
        }
        #expect(first.at - lastStream.at >= .milliseconds(4_900))
        #expect(first.at - lastStream.at <= .milliseconds(5_100))
    }

    @Test("Both sides identify each other, and a later change is pushed", arguments: levels)
    func identify(level: NodeFleet.Level) {
        let link = Self.simultaneous(seed: 11, level)
        let peers = link.members.map(\.key.peerID)
        let ofB = link.members[0].core.peers.profile(of: peers[1])
        let ofA = link.members[1].core.peers.profile(of: peers[0])
        #expect(ofB?.agent == "node/1")
        #expect(ofB?.protocols == ["/b", "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0"])
        #expect(ofB?.listenAddresses == [link.members[1].address])
        #expect(ofA?.agent == "node/0")
        #expect(ofA?.protocols == ["/a", "/c", "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0"])
        #expect(link.members[0].core.peers.store.certifiedAddresses(of: peers[1]) == [link.members[1].address])
        #expect(link.members[0].core.peers.stats.pushesSent == 1)
        #expect(link.members[1].core.peers.stats.pushesReceived == 1)
        #expect(link.members.allSatisfy { $0.core.peers.stats.identifyViolations == 0 })
    }

    @Test("A node that speaks only TLS is reached over TLS after Noise was refused")
    func securityFallback() {
        var link = NodeFleet(seed: 1, latencyMilliseconds: 10...10)
        link.addNode(key(1))
        link.addNode(key(2), securities: [.tls])
        link.dial(0, 1, request: 1)
        link.run(until: .zero + .seconds(1))
        #expect(link.connections(0, to: 1).count == 1)
        #expect(link.members[0].core.peers.stats.securityFallbacks == 1)
        #expect(link.members[0].core.peers.store.security(of: link.members[1].key.peerID) == .tls)
    }

    @Test("Somebody else at the address is refused by the dialler, and nothing is left of it", arguments: levels)
    func wrongPeer(level: NodeFleet.Level) {
        var link = NodeFleet(seed: 1, latencyMilliseconds: 10...10, level)
        for number in UInt64(1)...3 { link.addNode(key(number)) }
        link.dial(0, 1, request: 1, at: link.members[2].address)
        link.run(until: .zero + .seconds(20))
        let errors = link.log.compactMap { entry -> DialError? in
            if case .dialRejected(_, let error) = entry.effect { error } else { nil }
        }
        #expect(errors.map(\.code) == [.allAttemptsFailed])
        #expect(link.members.allSatisfy { $0.core.peers.connectionCount == 0 && $0.core.peers.inboundCount == 0 })
        #expect(link.members.allSatisfy { $0.core.nextTimeout == nil })
    }

    @Test("Thirty nodes that all dial each other end with one connection a pair", arguments: [1, 2] as [UInt64])
    func mesh(seed: UInt64) {
        var link = NodeFleet(seed: seed, latencyMilliseconds: 1...60)
        let count = 30
        for number in 0..<count { link.addNode(key(UInt64(10 + number))) }
        var request: UInt64 = 0
        for a in 0..<count {
            for b in 0..<count where a != b {
                request += 1
                link.dial(a, b, request: request)
            }
            link.run(until: link.now + .milliseconds(3))
        }
        link.run(until: link.now + .seconds(60))
        for a in 0..<count {
            for b in 0..<count where a != b {
                #expect(link.connections(a, to: b).count == 1, "\(a) to \(b)")
            }
        }
    }
}

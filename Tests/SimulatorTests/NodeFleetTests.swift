// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiNodeCore
import TuttiPeers
import TuttiSimulator

@Suite("Whole nodes on virtual sockets")
struct NodeFleetTests {
    private static func key(_ number: UInt64) -> KeyPair { KeyPair(seed: Bytes32(words: (number, 0, 0, 9))) }

    /// Two nodes, of which the first dials the second.
    private static func pair(
        _ level: NodeFleet.Level = .bytes, latency: Duration = .milliseconds(20),
        securities: [ProtocolID] = [.noise], hosts: [VirtualHost?] = [nil, nil],
        change: (inout NodeFleet) -> Void = { _ in }
    ) -> NodeFleet {
        var network = NetworkModel()
        network.latency = .fixed(latency)
        var fleet = NodeFleet(network: network, seed: 1, level: level)
        for (number, host) in hosts.enumerated() {
            fleet.add(key(UInt64(number) + 1), host: host) { $0.peers.securities = securities }
        }
        change(&fleet)
        fleet.dial(0, 1, request: 1)
        return fleet
    }

    private static func joined(_ fleet: borrowing NodeFleet, _ a: Int, _ b: Int) -> Int {
        fleet.members[a].core.peers.connections(to: fleet.members[b].key.peerID).count
    }

    @Test("Byte by byte a dial takes three round trips: the socket, Noise behind its proposal, and its third message")
    func handshake() {
        var fleet = Self.pair(latency: .milliseconds(20))
        // Socket 40 ms, first messages there and back 40 ms.
        fleet.run(until: .zero + .milliseconds(79))
        #expect(Self.joined(fleet, 0, 1) == 0)
        fleet.run(until: .zero + .milliseconds(80))
        #expect(Self.joined(fleet, 0, 1) == 1)
        #expect(Self.joined(fleet, 1, 0) == 0)
        fleet.run(until: .zero + .milliseconds(100))
        #expect(Self.joined(fleet, 1, 0) == 1)
        fleet.run(until: .zero + .milliseconds(200))
        let peer = fleet.members[1].key.peerID
        #expect(fleet.members[0].core.peers.profile(of: peer)?.agent == "node/1")
        #expect(fleet.wireStats.bytes > 1_000)
    }

    @Test("Two runs give the same digest; another seed, or message by message, is another run")
    func digest() {
        func run(_ level: NodeFleet.Level, latency: Int) -> UInt64 {
            var fleet = Self.pair(level, latency: .milliseconds(latency))
            fleet.run(until: .zero + .seconds(100))
            return fleet.digest.value
        }
        #expect(run(.bytes, latency: 20) == run(.bytes, latency: 20))
        #expect(run(.bytes, latency: 20) != run(.bytes, latency: 21))
        #expect(run(.bytes, latency: 20) != run(.messages, latency: 20))
    }

    @Test("A bit turned over in the handshake or after it ends the connection, and both nodes hear of it")
    func flips() {
        var fleet = Self.pair()
        fleet.wireFaults.flips = 1_000_000
        fleet.run(until: .zero + .seconds(60))
        #expect(Self.joined(fleet, 0, 1) == 0)
        #expect(fleet.members[0].core.peers.connectionCount == 0)
        #expect(fleet.members[1].core.peers.connectionCount == 0)
        #expect(fleet.wireStats.endsDamaged > 0)
        #expect(fleet.wireStats.toldAfterDamage == 0)
        #expect(fleet.wireStats.endsWaiting == 0)

        fleet.wireFaults = WireFaults()
        fleet.dial(0, 1, request: 2)
        fleet.run(until: fleet.now + .seconds(1))
        #expect(Self.joined(fleet, 0, 1) == 1)
        fleet.wireFaults.flips = 1_000_000
        // The next ping is damaged.
        fleet.run(until: fleet.now + .seconds(100))
        #expect(Self.joined(fleet, 0, 1) == 0)
        #expect(Self.joined(fleet, 1, 0) == 0)
        #expect(fleet.wireStats.endsByViolation > 0)
        #expect(fleet.wireStats.endsWaiting == 0)
    }

    @Test("Missing bytes end the connection as well")
    func cuts() {
        var fleet = Self.pair()
        fleet.run(until: .zero + .seconds(1))
        #expect(Self.joined(fleet, 0, 1) == 1)
        fleet.wireFaults.cuts = 1_000_000
        fleet.run(until: fleet.now + .seconds(200))
        #expect(Self.joined(fleet, 0, 1) == 0)
        #expect(fleet.wireStats.endsDamaged > 0)
        #expect(fleet.wireStats.toldAfterDamage == 0)
        #expect(fleet.wireStats.endsWaiting == 0)
    }

    @Test("A loss delays what comes and changes nothing of it; a narrow uplink delays it as well")
    func delays() {
        var network = NetworkModel()
        network.latency = .fixed(.milliseconds(20))
        network.loss = 300_000
        network.uplinkBytesPerSecond = 2_000
        var fleet = NodeFleet(network: network, seed: 3, level: .bytes)
        for number in UInt64(1)...2 { fleet.add(Self.key(number)) }
        fleet.dial(0, 1, request: 1)
        fleet.run(until: .zero + .milliseconds(200))
        #expect(Self.joined(fleet, 1, 0) == 0)
        fleet.run(until: .zero + .seconds(30))
        #expect(Self.joined(fleet, 0, 1) == 1)
        #expect(Self.joined(fleet, 1, 0) == 1)
        #expect(fleet.wireStats.resent > 0)
    }

    @Test("A crash ends the other's connection one way later; after a restart they meet again", arguments: [0, 1])
    func crash(node: Int) {
        var fleet = Self.pair(latency: .milliseconds(20))
        fleet.run(until: .zero + .seconds(1))
        fleet.crash(node)
        fleet.run(until: .zero + .milliseconds(1_019))
        #expect(Self.joined(fleet, 1 - node, node) == 1)
        fleet.run(until: .zero + .milliseconds(1_020))
        #expect(Self.joined(fleet, 1 - node, node) == 0)
        fleet.dial(1 - node, node, request: 2)
        fleet.run(until: .zero + .seconds(3))
        #expect(fleet.members[1 - node].core.peers.connectionCount == 0)
        fleet.restart(node)
        fleet.dial(node, 1 - node, request: 3)
        fleet.run(until: .zero + .seconds(5))
        #expect(Self.joined(fleet, 1 - node, node) == 1)
        #expect(Self.joined(fleet, node, 1 - node) == 1)
    }

    @Test("Both levels: a node that is dialled under another's name is refused", arguments: [true, false])
    func wrongPeer(isBytes: Bool) {
        var fleet = NodeFleet(network: NetworkModel(), seed: 1, level: isBytes ? .bytes : .messages)
        for number in UInt64(1)...3 { fleet.add(Self.key(number)) }
        fleet.give(
            0,
            .peers(
                .dialRequested(
                    RequestID(1), peer: Self.key(2).peerID, addresses: [fleet.members[2].address],
                    deadline: .zero + .seconds(10))))
        fleet.run(until: .zero + .seconds(20))
        for node in 0..<3 { #expect(fleet.members[node].core.peers.connectionCount == 0) }
    }

    @Test("A dial that is given up leaves nothing behind, whenever that is", arguments: 0..<12)
    func cancelled(step: Int) {
        var fleet = Self.pair(latency: .milliseconds(20))
        fleet.run(until: .zero + .milliseconds(step * 10))
        fleet.give(0, .peers(.dialCancelled(RequestID(1))))
        fleet.run(until: .zero + .seconds(20))
        #expect(Self.joined(fleet, 0, 1) == Self.joined(fleet, 1, 0))
        #expect((Self.joined(fleet, 0, 1) == 0) == (step < 8))
    }

    @Test(
        "Behind a translator nobody is dialled, but dials; who dials is seen at the translator",
        arguments: [true, false])
    func translator(isBytes: Bool) {
        let level: NodeFleet.Level = isBytes ? .bytes : .messages
        let hosts: [VirtualHost?] = [.open(0x3300_0001), .behind(.portRestricted, 0x3400_0001)]
        var inwards = Self.pair(level, hosts: hosts)
        inwards.run(until: .zero + .seconds(4))
        #expect(inwards.members[0].core.peers.stats.dialsRejected == 0)
        inwards.run(until: .zero + .seconds(20))
        #expect(Self.joined(inwards, 0, 1) == 0)
        #expect(inwards.members[0].core.peers.stats.dialsRejected == 1)

        var outwards = Self.pair(level, hosts: hosts.reversed())
        outwards.run(until: .zero + .seconds(4))
        #expect(Self.joined(outwards, 0, 1) == 1)
        let id = outwards.members[1].core.peers.connections(to: outwards.members[0].key.peerID).first
        let remote = id.flatMap { outwards.members[1].core.peers.remote(of: $0) }
        #expect(remote?.components.first == .ip4(0x3400_0001))
    }
}

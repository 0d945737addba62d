// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiKademlia
import TuttiNodeCore
import TuttiPeers
import TuttiSimulator

/// Whole nodes that ask each other to dial back, in virtual time.
@Suite("AutoNAT between nodes")
struct AutoNATPortTests {
    private static let levels: [NodeFleet.Level] = [.messages, .bytes]

    private static func key(_ number: UInt64) -> KeyPair { KeyPair(seed: Bytes32(words: (number, 0, 0, 5))) }

    private static func address(_ text: String) throws -> Multiaddr { try #require(Multiaddr(text)) }

    private static func configure(_ configuration: inout NodeCoreConfiguration) {
        configuration.autonat = AutoNATConfiguration(nonces: .seeded(SeededGenerator(seed: 3)))
        configuration.kademlia = KademliaConfiguration()
        configuration.kademliaFollowsReachability = true
    }

    @Test(
        "On one site each is confirmed by another and serves the DHT; a closed port doesn't", arguments: 1...5, levels)
    func site(seed: Int, level: NodeFleet.Level) throws {
        var link = NodeFleet(seed: UInt64(seed), latencyMilliseconds: 1...20, level)
        for number in 1...3 as ClosedRange<UInt64> { link.addNode(Self.key(number), configure: Self.configure) }
        // It believes to listen at a port that isn't open.
        link.addNode(
            Self.key(4), at: 0x0A03_0001, announced: try Self.address("/ip4/10.3.0.1/tcp/9"), configure: Self.configure)
        #expect(link.members.allSatisfy { !$0.core.isKademliaServer })
        for node in 1...3 { link.dial(node, 0) }
        link.run(until: .zero + .seconds(3))
        for node in 0...2 {
            #expect(link.members[node].core.reachability == .local)
            #expect(link.members[node].core.isKademliaServer)
        }
        #expect(link.members[3].core.reachability == .nowhere)
        #expect(!link.members[3].core.isKademliaServer)
        // They learnt of each other that they serve.
        #expect(link.members[1].core.kademliaTableCount >= 1)
        #expect(link.members[0].core.kademliaTableCount == 2, "not the one that nobody can dial")
    }

    @Test(
        "The connection of a dial-back is closed, and the one that was there stays the preferred one", arguments: 1...5,
        levels)
    func connections(seed: Int, level: NodeFleet.Level) {
        var link = NodeFleet(seed: UInt64(seed), latencyMilliseconds: 1...20, level)
        for number in 1...2 as ClosedRange<UInt64> { link.addNode(Self.key(number), configure: Self.configure) }
        link.dial(1, 0)
        link.run(until: .zero + .seconds(3))
        #expect(link.members[0].core.autoNATStats?.server.dialled == 1)
        #expect(link.members[0].core.autoNATStats?.client.reached == 1)
        for node in link.members { #expect(node.core.peers.connectionCount == 1) }
        let changes = link.log.filter { entry in
            if case .emit(.connectionPreferred) = entry.effect { true } else { false }
        }
        #expect(changes.isEmpty)
    }

    @Test("An address elsewhere is dialled only once 30 to 100 kB were paid for it, and the answer is right")
    func elsewhere() throws {
        var link = NodeFleet(seed: 1, latencyMilliseconds: 1...20)
        let (seen, other) = (try Self.address("/ip4/52.0.0.1/tcp/4001"), try Self.address("/ip4/53.0.0.1/tcp/4001"))
        link.addNode(Self.key(1), at: 0x3300_0001, configure: Self.configure)
        // Its announced address is the victim's.
        link.addNode(Self.key(2), at: 0x3400_0001, announced: other, configure: Self.configure)
        link.addNode(Self.key(3), at: 0x3500_0001)
        link.dial(1, 0)
        link.run(until: .zero + .seconds(30))
        var paid = 0
        var asked: UInt64 = 0
        for entry in link.log {
            switch entry.effect {
            case .send(_, _, let bytes):
                switch try? AutoNATMessage(bytes) {
                case .dialDataResponse(let count) where entry.node == 1: paid += count
                case .dialDataRequest(_, let bytes) where entry.node == 0: asked = bytes
                default: break
                }
            case .dial(_, let address, _, _, _) where entry.node == 0 && address == other:
                #expect((30_000...100_000).contains(asked))
                #expect(paid >= Int(asked))
            default: break
            }
        }
        #expect(paid > 0)
        let stats = link.members[0].core.autoNATStats?.server
        #expect(stats?.dialledElsewhere == 1)
        // Somebody else answered there.
        #expect(link.members[1].core.peers.reachability.state(of: other) == .unreachable)
        // It guesses that its port is open where it is seen, which is so.
        #expect(link.members[1].core.peers.reachability.state(of: seen) == .reachable)
        #expect(link.members[1].core.reachability == .everywhere)
    }

    @Test("One that dials outside is no server for what its own site says")
    func behindTranslation() {
        var link = NodeFleet(seed: 2, latencyMilliseconds: 1...20)
        link.addNode(Self.key(1), configure: Self.configure)
        link.addNode(Self.key(2), configure: Self.configure)
        link.addNode(Self.key(3), at: 0x3300_0001, configure: Self.configure)
        link.dial(1, 0)
        link.run(until: .zero + .seconds(3))
        #expect(link.members[1].core.isKademliaServer)
        link.dial(1, 2)
        link.run(until: .zero + .seconds(6))
        #expect(!link.members[1].core.isKademliaServer)
        #expect(link.members[0].core.isKademliaServer)
        link.give(1, .disconnectRequested(link.members[2].key.peerID))
        link.run(until: .zero + .seconds(9))
        #expect(link.members[1].core.isKademliaServer)
    }

    @Test("An explicit mode stays, whatever others find")
    func explicit() {
        var link = NodeFleet(seed: 3, latencyMilliseconds: 1...20)
        for (number, isServer) in [(1, true), (2, false)] as [(UInt64, Bool)] {
            link.addNode(Self.key(number), announced: nil) { configuration in
                Self.configure(&configuration)
                configuration.kademlia?.isServer = isServer
                configuration.kademliaFollowsReachability = false
            }
        }
        link.dial(1, 0)
        link.run(until: .zero + .seconds(3))
        #expect(link.members[1].core.reachability == .local)
        #expect(link.members[0].core.isKademliaServer)
        #expect(!link.members[1].core.isKademliaServer)
    }
}

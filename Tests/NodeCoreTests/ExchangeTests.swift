// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiGossip
import TuttiIdentity
import TuttiMembership
import TuttiNodeCore
import TuttiPeers
import TuttiSimulator

/// Peers that others name become discovery's candidates.
@Suite("Peer exchange")
struct ExchangeTests {
    private static let count = 20

    /// All dial node 0 and no other; each has discovery and no table to walk in, so that whom it dials somebody named.
    private static func star(_ configure: (KeyPair, inout NodeCoreConfiguration) -> Void) -> NodeFleet {
        var link = NodeFleet(seed: 6, latencyMilliseconds: 1...20)
        for number in 0..<count {
            let key = KeyPair(seed: Bytes32(words: (UInt64(700 + number), 0, 0, 4)))
            link.addNode(key) { configuration in
                configure(key, &configuration)
                configuration.discovery = DiscoveryConfiguration()
            }
        }
        for node in 1..<count {
            link.give(
                node,
                .dialRequested(
                    RequestID(UInt64(node)), peer: link.members[0].key.peerID, addresses: [link.members[0].address],
                    deadline: link.now + .seconds(10)))
        }
        link.run(until: .zero + .seconds(2))
        return link
    }

    @Test("Those that gossip's PRUNE names are dialled by discovery's choice")
    func gossip() {
        var link = Self.star { key, configuration in
            configuration.gossip = GossipConfiguration(identity: key)
            configuration.gossip?.score.acceptPXThreshold = 0
        }
        for node in 0..<Self.count { link.give(node, .gossip(.subscribe("news"))) }
        link.run(until: .zero + .seconds(60))
        Self.expectDialled(link)
    }

    @Test("Those that the mesh's shuffles name are dialled by discovery's choice")
    func mesh() {
        var link = Self.star { _, configuration in configuration.membership = MembershipConfiguration() }
        let entry = link.members[0].key.peerID
        for node in 1..<Self.count { link.give(node, .membership(.join(entry))) }
        link.run(until: .zero + .seconds(60))
        Self.expectDialled(link)
    }

    private static func expectDialled(_ link: borrowing NodeFleet) {
        let stats = link.members.map(\.core.discoveryStats)
        #expect(stats.count { $0.dials >= 1 } >= count / 4)
        let connected = link.members.dropFirst().map { $0.core.peers.connectedPeers.count }
        #expect(connected.count { $0 >= 4 } >= count / 4)
    }
}

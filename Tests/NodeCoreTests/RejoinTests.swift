// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiMembership
import TuttiNodeCore
import TuttiPeers
import TuttiSimulator

/// A node that has lost its neighbours comes back to the mesh through those that it is still connected with.
@Suite("The way back into the mesh")
struct RejoinTests {
    private static func peers(_ count: Int) -> [PeerID] {
        (0..<count).map { KeyPair(seed: Bytes32(words: (UInt64($0 + 1), 0, 0, 6))).peerID }.sorted()
    }

    /// Node 0 is connected with all others and joins through node 1; nothing but the mesh is on, nobody is probed.
    private static func star(_ count: Int, seed: UInt64, hasDiscovery: Bool = false) -> NodeFleet {
        var link = NodeFleet(seed: seed, latencyMilliseconds: 1...30)
        for number in 0..<count { add(number, &link, hasDiscovery: hasDiscovery && number == 0) }
        for node in 1..<count { link.dial(0, node) }
        link.run(until: link.now + .seconds(1))
        link.give(0, .membership(.join(link.members[1].key.peerID)))
        link.run(until: link.now + .seconds(1))
        return link
    }

    private static func add(_ number: Int, _ link: inout NodeFleet, hasDiscovery: Bool = false) {
        link.addNode(KeyPair(seed: Bytes32(words: (UInt64(number + 1), 0, 0, 6)))) { configuration in
            var membership = MembershipConfiguration()
            membership.detector.isOn = false
            membership.views.shuffleInterval = .seconds(86_400)
            configuration.membership = membership
            if hasDiscovery { configuration.discovery = DiscoveryConfiguration() }
        }
    }

    private static func neighbours(_ link: borrowing NodeFleet, _ node: Int = 0) -> [PeerID] {
        link.members[node].core.neighbours
    }

    @Test("A node that loses all neighbours has one again a second later")
    func lost() {
        var link = Self.star(3, seed: 1)
        #expect(Self.neighbours(link) == [link.members[1].key.peerID])
        link.crash(1)
        link.run(until: link.now + .milliseconds(900))
        #expect(Self.neighbours(link).isEmpty)
        link.run(until: link.now + .milliseconds(400))
        #expect(Self.neighbours(link) == [link.members[2].key.peerID])
        #expect(Self.neighbours(link, 2) == [link.members[0].key.peerID])
    }

    @Test("Those that refuse and those that are gone don't keep it from the one that takes it", arguments: 1...6)
    func refused(seed: Int) {
        var link = Self.star(6, seed: UInt64(seed))
        for node in 2...4 { link.give(node, .membership(.leave)) }
        link.crash(1)
        // The fourth turn begins after 1 + 2 + 4 + 8 s.
        link.run(until: link.now + .seconds(16))
        #expect(Self.neighbours(link) == [link.members[5].key.peerID])
    }

    @Test("One that others joined through comes back as well; one that nobody asked for neighbours stays as it is")
    func unasked() {
        var link = Self.star(4, seed: 2)
        link.dial(1, 2)
        link.dial(2, 3)
        link.run(until: link.now + .seconds(1))
        link.crash(0)
        link.run(until: link.now + .seconds(5))
        #expect(Self.neighbours(link, 1) == [link.members[2].key.peerID])
        #expect(Self.neighbours(link, 2) == [link.members[1].key.peerID])
        #expect(Self.neighbours(link, 3).isEmpty)
    }

    @Test("A node that left on purpose stays alone, whoever comes, until it is told to join", arguments: [false, true])
    func left(hasDiscovery: Bool) {
        var link = Self.star(3, seed: 3, hasDiscovery: hasDiscovery)
        link.give(0, .membership(.leave))
        link.run(until: link.now + .seconds(60))
        Self.add(3, &link)
        link.dial(3, 0)
        link.run(until: link.now + .seconds(60))
        #expect((0...3).allSatisfy { !Self.neighbours(link, $0).contains(link.members[0].key.peerID) })
        #expect(Self.neighbours(link).isEmpty)
        link.give(0, .membership(.join(link.members[2].key.peerID)))
        link.run(until: link.now + .seconds(1))
        #expect(Self.neighbours(link).contains(link.members[2].key.peerID))
    }

    @Test("It has a timer for this only while it has no neighbour and somebody to ask")
    func timer() throws {
        var link = Self.star(3, seed: 4)
        let soon = Duration.seconds(60)
        link.run(until: link.now + soon)
        #expect(try #require(link.members[0].core.nextTimeout) > link.now + soon)
        link.crash(1)
        link.run(until: link.now + .milliseconds(100))
        #expect(Self.neighbours(link).isEmpty)
        #expect(try #require(link.members[0].core.nextTimeout) <= link.now + .seconds(1))
        link.crash(2)
        link.run(until: link.now + soon)
        #expect(try #require(link.members[0].core.nextTimeout) > link.now + soon)
    }

    // MARK: The machine

    @Test("It asks after one second, then after twice as long, up to thirty; a neighbour sets that back")
    func delays() {
        let peers = Self.peers(3)
        var machine = RejoinMachine(seed: 1)
        var now = Instant.zero
        func gaps(_ count: Int) -> [Duration] {
            (0..<count).map { _ in
                let due = machine.nextTimeout ?? .distantFuture
                let gap = due - now
                now = due
                #expect(machine.handleTimeout(at: now + .nanoseconds(-1), connected: peers) == nil)
                #expect(machine.handleTimeout(at: now, connected: peers) != nil)
                return gap
            }
        }
        machine.update(isAlone: true, canAsk: true, at: now)
        #expect(gaps(8) == [1, 2, 4, 8, 16, 30, 30, 30].map { .seconds($0) })
        machine.update(isAlone: false, canAsk: true, at: now)
        #expect(machine.nextTimeout == nil)
        machine.update(isAlone: true, canAsk: true, at: now)
        #expect(gaps(3) == [1, 2, 4].map { .seconds($0) })
        // Nobody to ask for a while changes nothing: who comes and goes can't make it ask faster.
        machine.update(isAlone: true, canAsk: false, at: now)
        #expect(machine.nextTimeout == nil)
        machine.update(isAlone: true, canAsk: true, at: now)
        #expect(gaps(2) == [8, 16].map { .seconds($0) })
    }

    @Test("By lot first, in rotation then; the seed alone decides")
    func turns() {
        func order(_ seed: UInt64) -> [PeerID] {
            let peers = Self.peers(5)
            var machine = RejoinMachine(seed: seed)
            machine.update(isAlone: true, canAsk: true, at: .zero)
            machine.didAsk(peers[2])
            return (0..<14).compactMap { _ in
                machine.handleTimeout(at: machine.nextTimeout ?? .distantFuture, connected: peers)
            }
        }
        let asked = order(7)
        let first = Self.peers(5)[2]
        #expect(Set(asked[0..<4]) == Set(Self.peers(5)).subtracting([first]))
        #expect(asked[4] == first)
        #expect(asked[5..<14] == asked[0..<9])
        #expect(asked == order(7))
        #expect(asked != order(8))
    }

    @Test("A peer that comes later is asked before those that were asked already")
    func newcomer() {
        let peers = Self.peers(3)
        var machine = RejoinMachine(seed: 1)
        machine.update(isAlone: true, canAsk: true, at: .zero)
        for _ in 0..<2 {
            _ = machine.handleTimeout(at: machine.nextTimeout ?? .distantFuture, connected: Array(peers.prefix(2)))
        }
        let next = machine.handleTimeout(at: machine.nextTimeout ?? .distantFuture, connected: peers)
        #expect(next == peers[2])
        #expect(machine.wasAsked(peers[0]))
        machine.peerDisconnected(peers[0])
        #expect(!machine.wasAsked(peers[0]))
    }
}

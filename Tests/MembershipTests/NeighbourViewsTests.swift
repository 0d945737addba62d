// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiMembership

@Suite("The views") struct NeighbourViewsTests {
    static var quiet: MembershipConfiguration {
        var configuration = MembershipConfiguration.lab
        configuration.detector.isOn = false
        return configuration
    }

    @Test(
        "Nodes that join through one contact make one connected and symmetric overlay",
        arguments: [1, 2, 3] as [UInt64])
    func joins(seed: UInt64) {
        let network = Network.joined(300, Self.quiet, seed: seed, rounds: 20)
        #expect(network.largestPart == 1)
        #expect(network.asymmetricLinkCount == 0)
        let full = network.cores.count { $0.neighbours.count == 5 }
        #expect(full >= 285)
        #expect(network.cores.allSatisfy { $0.neighbours.count <= 5 && $0.snapshot.passive.count <= 30 })
        for (place, core) in network.cores.enumerated() {
            let own = PeerIndex(UInt32(place))
            let all = core.neighbours + core.snapshot.passive
            #expect(Set(all).count == all.count && !all.contains(own))
        }
    }

    @Test("After half of the nodes died the rest are one overlay again within two rounds of shuffles")
    func heals() {
        var network = Network.joined(300, Self.quiet, seed: 7, rounds: 20)
        for node in stride(from: 0, to: 300, by: 2) { network.kill(node) }
        network.run(for: Self.quiet.views.shuffleInterval * 2)
        #expect(network.largestPart == 1)
        #expect(network.asymmetricLinkCount == 0)
    }

    @Test("Without repair four in five deaths break the overlay")
    func floor() {
        var network = Network.joined(300, Self.quiet, seed: 7, rounds: 20)
        for place in network.cores.indices { network.cores[place].setRepair(false) }
        for node in 0..<300 where node % 5 != 0 { network.kill(node) }
        network.run(for: Self.quiet.views.shuffleInterval * 2)
        #expect(network.largestPart < 0.5)
    }

    @Test("No more neighbours than allowed come from one group of addresses")
    func groups() {
        var configuration = Self.quiet
        configuration.views.activePerGroupMax = 2
        var network = Network(configuration, seed: 3)
        for place in 0..<120 {
            let node = network.add(group: place % 3 == 0 ? AddressGroup(UInt64(place + 1)) : AddressGroup(9_999))
            if place > 0 { network.tell(node, .joinRequested(PeerIndex(0))) }
            network.run(for: .milliseconds(100))
        }
        network.run(for: configuration.views.shuffleInterval * 10)
        for core in network.cores {
            #expect(core.neighbours.count { network.groups[Int($0.value)] == AddressGroup(9_999) } <= 2)
        }
        #expect(network.asymmetricLinkCount == 0)
    }

    @Test("A node that leaves is nobody's neighbour")
    func leaves() {
        var network = Network.joined(40, Self.quiet, seed: 5)
        network.tell(7, .leaveRequested)
        network.run(for: .seconds(90))
        #expect(network.cores[7].neighbours.isEmpty)
        #expect(network.cores.allSatisfy { !$0.neighbours.contains(PeerIndex(7)) })
    }

    @Test("A node that has left asks for no more time, and can join again")
    func rejoins() {
        var network = Network.joined(20, .lab, seed: 5)
        network.tell(7, .leaveRequested)
        network.run(for: .seconds(60))
        #expect(network.cores[7].nextTimeout == nil)
        network.tell(7, .joinRequested(PeerIndex(0)))
        network.run(for: .seconds(60))
        #expect(!network.cores[7].neighbours.isEmpty)
        #expect(network.asymmetricLinkCount == 0)
    }

    @Test("After a restart the former neighbours are asked first, and none is asked twice")
    func restarts() {
        var core = MembershipCore(own: PeerIndex(0), configuration: Self.quiet, seed: 1, at: .zero)
        let active = (1...3).map { PeerIndex($0) }
        core.handle(
            .viewsRestored(MembershipSnapshot(active: active, passive: (10...39).map { PeerIndex($0) })), at: .zero)
        var asked: [PeerIndex] = []
        while let effect = core.nextEffect() { if case .connect(let peer) = effect { asked.append(peer) } }
        #expect(Set(asked.prefix(3)) == Set(active))
        #expect(asked.count == 5 && Set(asked).count == 5)
    }

    @Test("A node with few neighbours that everybody else refuses insists once at each shuffle but the first")
    func insists() {
        var core = MembershipCore(own: PeerIndex(0), configuration: Self.quiet, seed: 1, at: .zero)
        core.handle(.peersFound((1...8).map { PeerIndex($0) }), at: .zero)
        var now = Instant.zero
        var insistedCount = 0
        while core.stats.shufflesSent < 4 {
            while let effect = core.nextEffect() {
                switch effect {
                case .connect(let peer): core.handle(.peerConnected(peer, group: .none), at: now)
                case .send(let peer, .neighbour(let isHighPriority)):
                    if isHighPriority, now > .zero { insistedCount += 1 }
                    core.handle(.received(peer, .neighbourAnswer(isAccepted: peer == PeerIndex(1))), at: now)
                default: break
                }
            }
            #expect(core.neighbours == [PeerIndex(1)])
            guard let next = core.nextTimeout else { break }
            now = next
            core.handleTimeout(at: now)
        }
        while let effect = core.nextEffect() {
            if case .send(_, .neighbour(true)) = effect { insistedCount += 1 }
        }
        #expect(core.stats.shufflesSent == 4)
        #expect(insistedCount == 3)
    }

    @Test("A node that is joined by many at once keeps neighbours that have settled")
    func crowd() {
        var core = MembershipCore(own: PeerIndex(0), configuration: Self.quiet, seed: 1, at: .zero)
        func joins(_ peer: UInt32, at now: Instant) -> [PeerIndex] {
            core.handle(.peerConnected(PeerIndex(peer), group: .none), at: now)
            core.handle(.received(PeerIndex(peer), .join), at: now)
            var walksFrom: [PeerIndex] = []
            while let effect = core.nextEffect() {
                if case .send(let other, .forwardJoin(PeerIndex(peer), _)) = effect { walksFrom.append(other) }
            }
            return walksFrom
        }
        for peer in 1...4 as ClosedRange<UInt32> { _ = joins(peer, at: .zero + .seconds(10 * Int(peer))) }
        let settled = Set(core.neighbours)
        for peer in 5...50 as ClosedRange<UInt32> {
            #expect(Set(joins(peer, at: .zero + .seconds(60) + .milliseconds(Int(peer)))) == settled)
            #expect(Set(core.neighbours) == settled.union([PeerIndex(peer)]))
        }
        // Those that come one after the other displace whom the lot hits.
        for peer in 51...80 as ClosedRange<UInt32> { _ = joins(peer, at: .zero + .seconds(100 + 10 * Int(peer))) }
        #expect(settled.isDisjoint(with: core.neighbours))
    }

    @Test("A candidate counts only when it has agreed")
    func tested() {
        var core = MembershipCore(own: PeerIndex(0), configuration: Self.quiet, seed: 1, at: .zero)
        core.handle(.peersFound([PeerIndex(1)]), at: .zero)
        core.handle(.peerConnected(PeerIndex(1), group: .none), at: .zero)
        #expect(core.neighbours.isEmpty)
        core.handle(.received(PeerIndex(1), .neighbourAnswer(isAccepted: true)), at: .zero)
        #expect(core.neighbours == [PeerIndex(1)])
    }

    @Test("Candidates take no room from one who asks, and neighbours do")
    func room() {
        var core = MembershipCore(own: PeerIndex(0), configuration: Self.quiet, seed: 1, at: .zero)
        core.handle(.peersFound((1...5).map { PeerIndex($0) }), at: .zero)
        var asked: [PeerIndex] = []
        while let effect = core.nextEffect() { if case .connect(let peer) = effect { asked.append(peer) } }
        #expect(asked.count == 5)
        guard let reached = asked.first else { return }
        core.handle(.peerConnected(reached, group: .none), at: .zero)
        while core.nextEffect() != nil {}
        for number in 10...15 as ClosedRange<UInt32> {
            let peer = PeerIndex(number)
            core.handle(.peerConnected(peer, group: .none), at: .zero)
            core.handle(.received(peer, .neighbour(isHighPriority: false)), at: .zero)
            var answers: [Bool] = []
            while let effect = core.nextEffect() {
                if case .send(peer, .neighbourAnswer(let isAccepted)) = effect { answers.append(isAccepted) }
            }
            #expect(answers == [number < 14])
            // The fifth place goes to the one that was reached.
            if number == 13 { core.handle(.received(reached, .neighbourAnswer(isAccepted: true)), at: .zero) }
        }
        #expect(core.neighbours == [10, 11, 12, 13].map { PeerIndex($0) } + [reached])
    }

    @Test("An answer that nobody waits for makes no neighbour and ends the other side's belief")
    func unasked() {
        var core = MembershipCore(own: PeerIndex(0), configuration: Self.quiet, seed: 1, at: .zero)
        core.handle(.peerConnected(PeerIndex(1), group: .none), at: .zero)
        core.handle(.received(PeerIndex(1), .neighbourAnswer(isAccepted: true)), at: .zero)
        #expect(core.neighbours.isEmpty)
        guard case .send(PeerIndex(1), .disconnect) = core.nextEffect() else {
            Issue.record("no disconnect")
            return
        }
    }

    @Test("The same seed gives the same effects, another seed others")
    func determinism() {
        func digest(_ seed: UInt64) -> UInt64? {
            var network = Network(.lab, seed: seed)
            network.digest = 0xCBF2_9CE4_8422_2325
            for place in 0..<60 {
                let node = network.add()
                if place > 0 { network.tell(node, .joinRequested(PeerIndex(0))) }
            }
            network.run(for: .seconds(60))
            for node in 10..<30 { network.kill(node) }
            network.run(for: .seconds(60))
            return network.digest
        }
        let first = digest(11)
        #expect(first == digest(11))
        #expect(first != digest(12))
    }
}

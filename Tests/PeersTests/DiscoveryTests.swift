// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiPeers

/// A core whose dials end as the test says.
private struct Scene {
    var core: DiscoveryCore
    var now = Instant.zero
    var walks = 0
    /// Dials in their order: when, whom, under which request.
    var dials: [(at: Instant, peer: PeerID?, addresses: [Multiaddr], request: RequestID)] = []

    init(_ configuration: DiscoveryConfiguration = DiscoveryConfiguration(), seed: UInt64 = 1) {
        core = DiscoveryCore(own: ids[0], configuration: configuration, seed: seed)
    }

    mutating func handle(_ input: DiscoveryInput) {
        core.handle(input, at: now)
        drain()
    }

    mutating func drain() {
        while let effect = core.nextEffect() {
            switch effect {
            case .dial(let request, let peer, let addresses, _): dials.append((now, peer, addresses, request))
            case .walk: walks += 1
            }
        }
    }

    mutating func run(_ duration: Duration, failing: Bool = false) {
        let end = now + duration
        while let next = core.nextTimeout, next <= end {
            now = max(now, next)
            core.handleTimeout(at: now)
            let before = dials.count
            drain()
            if failing { for dial in dials[before...] { handle(.dialFailed(dial.request)) } }
        }
        now = end
    }

    /// Until what was heard is chosen from.
    mutating func gather() { run(DiscoveryConfiguration().gatherTime) }

    /// The last dials succeed.
    mutating func succeed(from first: Int, groupOf: (PeerID) -> AddressGroup) {
        for dial in dials[first...] {
            guard let peer = dial.peer else { continue }
            handle(.connected(peer, isOutbound: true, groupOf(peer)))
            handle(.dialed(dial.request, peer))
        }
    }
}

private let ids: [PeerID] = (0..<400).map { _ in KeyPair().peerID }.sorted()
private let bootstrap = [Multiaddr("/ip4/192.0.2.1/tcp/4001")].compactMap(\.self)

struct DiscoveryTests {
    @Test("A bootstrap address is tried for ever, after waits that double up to the longest")
    func bootstrapForEver() {
        var scene = Scene()
        scene.handle(.bootstrap(bootstrap))
        #expect(scene.dials.count == 1)
        scene.handle(.dialFailed(scene.dials[0].request))
        scene.run(.seconds(7_200), failing: true)
        let gaps = zip(scene.dials, scene.dials.dropFirst()).map { $1.at - $0.at }
        #expect(gaps.count > 20)
        for (index, gap) in gaps.enumerated() {
            let base = min(Duration.seconds(1 << min(index, 12)), .seconds(300))
            #expect(gap >= base && gap <= base + base / 4)
        }
    }

    @Test("Who answered at a bootstrap address is not dialled again while connected, and is when lost")
    func bootstrapLost() {
        var scene = Scene()
        scene.handle(.bootstrap(bootstrap))
        scene.handle(.connected(ids[5], isOutbound: true, AddressGroup(7)))
        scene.handle(.dialed(scene.dials[0].request, ids[5]))
        scene.run(.seconds(600))
        #expect(scene.dials.count == 1)
        scene.handle(.disconnected(ids[5]))
        scene.run(.seconds(2))
        #expect(scene.dials.count == 2)
    }

    @Test("Who is being dialled at a bootstrap address is not dialled as a candidate as well")
    func bootstrapIsCandidate() {
        var scene = Scene()
        scene.handle(.bootstrap(bootstrap.map { $0.appending(.p2p(ids[5])) }))
        scene.handle(.found(ids[5], AddressGroup(7), .local))
        scene.gather()
        #expect(scene.dials.count == 1)
        scene.handle(.dialFailed(scene.dials[0].request))
        scene.run(.seconds(1))
        #expect(scene.dials.count == 2)
    }

    @Test(
        "Outbound connections are spread over as many parts of the network as there are",
        arguments: [1, 2, 3] as [UInt64])
    func groups(seed: UInt64) {
        var scene = Scene(seed: seed)
        // Nine in ten candidates are of one network.
        func group(_ peer: PeerID) -> AddressGroup {
            let index = ids.firstIndex(of: peer) ?? 0
            return index % 10 == 0 ? AddressGroup(UInt64(index)) : AddressGroup(9_999)
        }
        for id in ids[1...200] { scene.core.handle(.found(id, group(id), .table), at: scene.now) }
        scene.gather()
        var done = 0
        while done < scene.dials.count {
            let next = done
            done = scene.dials.count
            scene.succeed(from: next, groupOf: group)
        }
        #expect(scene.core.outboundGroupCount >= 8)
        #expect(scene.core.outboundCount <= 16)
        #expect(scene.core.neighbourCount >= 8)
    }

    @Test("One source, however much it names, displaces no candidate of another")
    func stuffing() {
        var scene = Scene()
        let limits = DiscoveryConfiguration()
        for id in ids[1...4] { scene.core.handle(.found(id, AddressGroup(1), .anchor), at: scene.now) }
        for round in 0..<100_000 {
            let peer = ids[5 + round % 390]
            scene.core.handle(.found(peer, AddressGroup(UInt64(round % 3_000)), .exchange), at: scene.now)
        }
        #expect(scene.core.candidateCount <= limits.candidatesPerSourceMax + 4)
        scene.gather()
        #expect(Set(scene.dials.prefix(4).compactMap(\.peer)) == Set(ids[1...4]))
        #expect(scene.core.stats.candidatesDisplaced > 0)
    }

    @Test("One part of the network can't fill a source")
    func oneGroup() {
        var scene = Scene()
        for id in ids[1...300] { scene.core.handle(.found(id, AddressGroup(1), .table), at: scene.now) }
        #expect(scene.core.candidateCount == DiscoveryConfiguration().candidatesPerGroupMax)
        #expect(scene.core.stats.candidatesRefused > 0)
    }

    @Test("Anchors are dialled before others, and are those connected longest")
    func anchors() {
        var scene = Scene()
        for (index, id) in ids[1...20].enumerated() {
            scene.core.handle(
                .connected(id, isOutbound: index % 2 == 0, AddressGroup(UInt64(index + 1))), at: scene.now)
        }
        #expect(scene.core.anchors == [ids[1], ids[3], ids[5], ids[7]])
        scene.handle(.disconnected(ids[1]))
        #expect(scene.core.anchors == [ids[3], ids[5], ids[7], ids[9]])
    }

    @Test("Of two nodes of one link that hear of each other, one waits for the other's dial")
    func local() {
        var scene = Scene()
        scene.handle(.found(ids[5], .none, .local))
        #expect(scene.dials.map(\.peer) == [ids[5]])
        var other = Scene()
        other.core = DiscoveryCore(own: ids[9], seed: 1)
        other.handle(.found(ids[5], .none, .local))
        #expect(other.dials.isEmpty)
        other.run(.milliseconds(250))
        #expect(other.dials.map(\.peer) == [ids[5]])
    }

    @Test("A candidate that fails again and again is given up")
    func givenUp() {
        var scene = Scene()
        scene.handle(.found(ids[5], AddressGroup(3), .table))
        scene.run(.seconds(3_600), failing: true)
        #expect(scene.dials.count == DiscoveryConfiguration().failuresMax)
        #expect(scene.core.candidateCount == 0)
        #expect(scene.core.stats.candidatesGivenUp == 1)
    }

    @Test("With few neighbours the network is asked for more, ever more rarely; with none nobody can be asked")
    func walks() {
        var scene = Scene()
        scene.run(.seconds(60))
        #expect(scene.walks == 0)
        scene.handle(.connected(ids[1], isOutbound: true, AddressGroup(1)))
        scene.run(.seconds(1))
        #expect(scene.walks == 1)
        scene.run(.seconds(3_600))
        #expect((5...25).contains(scene.walks))
    }

    @Test("Enough neighbours: nobody is dialled; at the high water not even a neighbour of the link")
    func enough() {
        var configuration = DiscoveryConfiguration()
        configuration.connectionsMax = 20
        var scene = Scene(configuration)
        for (index, id) in ids[1...20].enumerated() {
            scene.core.handle(.connected(id, isOutbound: index < 12, AddressGroup(UInt64(index + 1))), at: scene.now)
        }
        scene.handle(.found(ids[50], AddressGroup(99), .table))
        scene.handle(.found(ids[51], .none, .local))
        scene.run(.seconds(60))
        #expect(scene.dials.isEmpty)
    }

    @Test("No more dials are under way than the limit says")
    func bounded() {
        var scene = Scene()
        for (index, id) in ids[1...60].enumerated() {
            scene.core.handle(.found(id, AddressGroup(UInt64(index + 1)), .table), at: scene.now)
        }
        scene.gather()
        #expect(scene.core.dialCount == DiscoveryConfiguration().dialsMax)
        #expect(scene.dials.count == DiscoveryConfiguration().dialsMax)
    }

    @Test("The same seed makes the same choices")
    func deterministic() {
        func choices(_ seed: UInt64) -> [PeerID?] {
            var scene = Scene(seed: seed)
            scene.handle(.connected(ids[399], isOutbound: false, .none))
            for (index, id) in ids[1...100].enumerated() {
                scene.core.handle(.found(id, AddressGroup(UInt64(index % 30)), .remembered), at: scene.now)
            }
            scene.run(.seconds(600), failing: true)
            return scene.dials.map(\.peer)
        }
        #expect(choices(5) == choices(5))
        #expect(choices(5) != choices(6))
    }
}

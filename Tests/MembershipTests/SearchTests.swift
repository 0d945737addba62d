// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiMembership

@Suite("Search and broadcast") struct SearchTests {
    static let network = Network.joined(200, NeighbourViewsTests.quiet, seed: 21, rounds: 20)

    static func queries(_ network: Network) -> UInt64 { network.cores.reduce(0) { $0 + $1.stats.queriesSent } }

    static func search(_ network: inout Network, _ plan: SearchPlan) -> (hits: [PeerIndex], finished: Int?) {
        let request = RequestID(1)
        let before = network.events.count
        network.tell(
            0, .searchRequested(request, ByteBuffer(string: "lute"), plan, deadline: network.now + .seconds(30)))
        network.run(for: .seconds(31))
        var hits: [PeerIndex] = []
        var finished: Int?
        for item in network.events[before...] where item.node == 0 {
            switch item.event {
            case .searchHit(request, let peer, _): hits.append(peer)
            case .searchFinished(request, let count): finished = count
            default: break
            }
        }
        return (hits, finished)
    }

    @Test("A flood reaches as far as its time to live and no further", arguments: [1, 2, 3] as [UInt8])
    func flood(timeToLive: UInt8) {
        var network = Self.network
        var distance: [Int: Int] = [0: 0]
        var ring = [0]
        for hop in 1...Int(timeToLive) {
            var next: [Int] = []
            for node in ring {
                for peer in network.cores[node].neighbours where distance[Int(peer.value)] == nil {
                    distance[Int(peer.value)] = hop
                    next.append(Int(peer.value))
                }
            }
            ring = next
        }
        network.holders = Set(1..<200)
        let result = Self.search(&network, SearchPlan(kind: .flood, timeToLive: timeToLive, hitsMax: 1_000))
        // The answers of a whole neighbourhood are more than the asker takes.
        let expected = min(distance.count - 1, 64)
        #expect(result.hits.count == expected)
        #expect(result.hits.allSatisfy { distance[Int($0.value)] != nil })
        #expect(result.finished == expected)
    }

    @Test("A flood costs one message for each copy, and each node passes on only the first")
    func floodCost() {
        var network = Self.network
        let before = Self.queries(network)
        _ = Self.search(&network, SearchPlan(kind: .flood, timeToLive: 8))
        let sent = Self.queries(network) - before
        // Everybody is reached well within 8 hops; those reached at the last hop would not forward.
        let links = network.cores.reduce(0) { $0 + $1.neighbours.count }
        #expect(sent == UInt64(links - (network.cores.count - 1)))
    }

    @Test("Walkers find a single holder and stop soon after, for fewer messages than a flood")
    func walk() {
        var network = Self.network
        network.holders = [137, 20, 61, 180]
        let before = Self.queries(network)
        let result = Self.search(&network, SearchPlan(kind: .walk, timeToLive: 200, walkers: 8))
        #expect(result.hits.count == 1 && network.holders.contains(Int(result.hits[0].value)))
        #expect(result.finished == 1)
        let sent = Self.queries(network) - before
        #expect(sent < 700, "\(sent)")
        let checks = network.cores.reduce(0) { $0 + $1.stats.walkChecksSent }
        #expect(checks > 0 && checks <= sent / 3)
    }

    @Test("Walkers whose asker has what it wanted take at most four more steps")
    func walkersStop() {
        var network = Self.network
        let before = Self.queries(network)
        network.tell(
            0,
            .searchRequested(
                RequestID(1), ByteBuffer(), SearchPlan(kind: .walk, timeToLive: 255, walkers: 10),
                deadline: network.now + .seconds(30)))
        network.tell(0, .searchCancelled(RequestID(1)))
        network.run(for: .seconds(30))
        #expect(Self.queries(network) - before <= 40)
    }

    @Test("A peer that asks too often is not answered")
    func rate() {
        var core = MembershipCore(own: PeerIndex(0), configuration: MembershipConfiguration(), seed: 1, at: .zero)
        core.handle(.peerConnected(PeerIndex(1), group: .none), at: .zero)
        for search in 0..<1_000 as Range<UInt64> {
            let query = SearchQuery(
                search: search, origin: PeerIndex(1), kind: .flood, timeToLive: 4, hops: 1, question: ByteBuffer())
            core.handle(.received(PeerIndex(1), .query(query)), at: .zero)
        }
        var asked = 0
        while let effect = core.nextEffect() { if case .match = effect { asked += 1 } }
        #expect(asked == 256)
        #expect(core.stats.queriesLimited == 744)
    }

    // MARK: Broadcast

    @Test("A broadcast reaches everybody once, and settles at n - 1 payloads")
    func tree() {
        var network = Self.network
        let others = network.cores.count - 1
        var payloads: UInt64 = 0
        for number in 0..<30 as Range<UInt64> {
            let before = network.cores.reduce(0) { $0 + $1.stats.payloadsSent }
            network.tell(0, .broadcastRequested(BroadcastID(number), ByteBuffer(string: "hello")))
            network.run(for: .seconds(2))
            #expect(network.deliveries[BroadcastID(number)] == others)
            payloads = network.cores.reduce(0) { $0 + $1.stats.payloadsSent } - before
        }
        #expect(Double(payloads) <= 1.01 * Double(others))
    }

    @Test("The tree mends itself after deaths")
    func treeMends() {
        var network = Self.network
        for number in 0..<5 as Range<UInt64> {
            network.tell(0, .broadcastRequested(BroadcastID(number), ByteBuffer(string: "hello")))
            network.run(for: .seconds(2))
        }
        for node in stride(from: 1, to: 200, by: 4) { network.kill(node) }
        network.run(for: .seconds(40))
        network.tell(0, .broadcastRequested(BroadcastID(99), ByteBuffer(string: "hello")))
        network.run(for: .seconds(5))
        #expect(network.deliveries[BroadcastID(99)] == network.live.count - 1)
    }

    @Test("Payloads and announcements of those that are no neighbours count for nothing")
    func strangers() {
        var core = MembershipCore(own: PeerIndex(0), configuration: .lab, seed: 1, at: .zero)
        core.handle(.peerConnected(PeerIndex(1), group: .none), at: .zero)
        while core.nextEffect() != nil {}
        core.handle(.received(PeerIndex(1), .payload(BroadcastID(1), hops: 1, ByteBuffer(string: "x"))), at: .zero)
        core.handle(.received(PeerIndex(1), .announce([Announcement(id: BroadcastID(2), hops: 1)])), at: .zero)
        #expect(core.nextEffect() == nil)
        #expect(core.stats.ignored == 2)
    }
}

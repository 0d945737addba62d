// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiMarket

@Suite("The greatest flow", .timeLimit(.minutes(1)))
struct FlowNetworkTests {
    private static func arcs(_ nodes: Int, _ count: Int, _ random: inout SeededGenerator) -> [FlowNetwork.Arc] {
        (0..<count).map { _ in
            FlowNetwork.Arc(
                from: Int.random(in: 0..<nodes, using: &random), to: Int.random(in: 0..<nodes, using: &random),
                capacity: Int64.random(in: 0...9, using: &random))
        }
    }

    /// Of arcs that lead out of a set of nodes.
    private static func capacity(of set: Int, _ arcs: [FlowNetwork.Arc]) -> Int64 {
        arcs.reduce(0) { $0 + (set >> $1.from & 1 == 1 && set >> $1.to & 1 == 0 ? $1.capacity : 0) }
    }

    /// By trying every cut.
    private static func leastCut(_ nodes: Int, _ arcs: [FlowNetwork.Arc], from source: Int, to sink: Int) -> Int64 {
        (0..<1 << nodes).filter { $0 >> source & 1 == 1 && $0 >> sink & 1 == 0 }
            .map { capacity(of: $0, arcs) }.min() ?? 0
    }

    @Test("is the least cut", arguments: 1...200)
    func leastCut(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let nodes = Int.random(in: 2...7, using: &random)
        let arcs = Self.arcs(nodes, Int.random(in: 0...24, using: &random), &random)
        let network = FlowNetwork(nodesCount: nodes, arcs: arcs)
        for source in 0..<nodes {
            for sink in 0..<nodes where sink != source {
                let expected = Self.leastCut(nodes, arcs, from: source, to: sink)
                #expect(network.flow(from: source, to: sink) == expected)
                #expect(network.flow(upTo: 3, from: source, to: sink) == min(3, expected))
            }
        }
    }

    @Test("and what is reserved before it never pass a cut together", arguments: 1...200)
    func reserved(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let nodes = 6
        let arcs = Self.arcs(nodes, 20, &random)
        var network = FlowNetwork(nodesCount: nodes, arcs: arcs)
        var demands: [FlowNetwork.Arc] = []
        for _ in 0..<8 {
            let source = Int.random(in: 0..<nodes, using: &random)
            let sink = (source + Int.random(in: 1..<nodes, using: &random)) % nodes
            let wanted = Int64.random(in: 1...8, using: &random)
            let placed = network.reserve(upTo: wanted, from: source, to: sink)
            #expect(placed <= wanted)
            demands.append(FlowNetwork.Arc(from: source, to: sink, capacity: placed))
        }
        let last = network.flow(from: 0, to: nodes - 1)
        demands.append(FlowNetwork.Arc(from: 0, to: nodes - 1, capacity: last))
        for set in 0..<1 << nodes {
            #expect(Self.capacity(of: set, demands) <= Self.capacity(of: set, arcs))
        }
    }

    @Test("opens no way back: who sells to a cheat doesn't make room for him")
    func noWayBack() {
        // The cheat (2) trusts everybody for free, and buys of 1.
        var network = FlowNetwork(
            nodesCount: 3,
            arcs: [
                .init(from: 0, to: 1, capacity: 50), .init(from: 1, to: 2, capacity: 5),
                .init(from: 2, to: 1, capacity: 900),
            ])
        #expect(network.reserve(upTo: 40, from: 2, to: 1) == 40)
        #expect(network.flow(from: 0, to: 2) == 5)
    }

    @Test("of arcs that can't be is nothing")
    func odd() {
        let network = FlowNetwork(
            nodesCount: 2,
            arcs: [
                .init(from: 0, to: 0, capacity: 5), .init(from: 0, to: 7, capacity: 5),
                .init(from: -1, to: 1, capacity: 5),
                .init(from: 0, to: 1, capacity: -5), .init(from: 0, to: 1, capacity: 0),
            ])
        #expect(network.flow(from: 0, to: 1) == 0)
        #expect(network.flow(from: 0, to: 0) == 0)
        #expect(network.flow(from: 0, to: 9) == 0)
        #expect(FlowNetwork(nodesCount: 0, arcs: []).flow(from: 0, to: 0) == 0)
        let great = FlowNetwork(
            nodesCount: 2, arcs: Array(repeating: .init(from: 0, to: 1, capacity: .max), count: 1_000))
        #expect(great.flow(from: 0, to: 1) == 1_000 * FlowNetwork.capacityMax)
    }
}

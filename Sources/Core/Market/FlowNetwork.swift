// SPDX-License-Identifier: Apache-2.0

/// The greatest flow from one node to another, by Dinic's algorithm (Soviet Math. Doklady, 1970) over whole numbers.
///
/// Capacity can be used up: ``reserve(upTo:from:to:)`` takes what flows out of the arcs and opens no way back on them. So
/// the sum of all that was reserved and of any flow found later stays below the capacity of every cut.
///
/// Networks are made of what members say, so one could be built that takes the algorithm very long. The work is bounded;
/// what is found by then is a flow, only perhaps not the greatest.
package struct FlowNetwork: Sendable {
    package struct Arc: Hashable, Sendable {
        package let from: Int
        package let to: Int
        package let capacity: Int64

        package init(from: Int, to: Int, capacity: Int64) {
            self.from = from
            self.to = to
            self.capacity = capacity
        }
    }

    /// Of one arc; 2²² of them add up without overflow.
    package static let capacityMax: Int64 = 1 << 40
    package static let arcsMax = 1 << 22
    /// Arcs that one question looks at: about a tenth of a second.
    package static let stepsMax = 20_000_000

    package let nodesCount: Int
    /// Of arc 2i, the i-th given, and of 2i + 1, the way back on it.
    private var heads: [Int32] = []
    private var capacities: [Int64] = []
    /// Node n is left by the arcs `leaving[starts[n]..<starts[n + 1]]`.
    private var starts: [Int]
    private var leaving: [Int32]

    /// Arcs from a node to itself and from or to no node are passed over, and those beyond `arcsMax`.
    package init(nodesCount: Int, arcs: [Arc]) {
        self.nodesCount = nodesCount
        starts = [Int](repeating: 0, count: nodesCount + 1)
        for arc in arcs.prefix(Self.arcsMax) {
            guard (0..<nodesCount).contains(arc.from), (0..<nodesCount).contains(arc.to), arc.from != arc.to,
                arc.capacity > 0
            else { continue }
            heads.append(Int32(arc.to))
            heads.append(Int32(arc.from))
            capacities.append(min(arc.capacity, Self.capacityMax))
            capacities.append(0)
            starts[arc.from + 1] += 1
            starts[arc.to + 1] += 1
        }
        for node in 0..<nodesCount { starts[node + 1] += starts[node] }
        leaving = [Int32](repeating: 0, count: heads.count)
        var next = starts
        for arc in heads.indices {
            let tail = Int(heads[arc ^ 1])
            leaving[next[tail]] = Int32(arc)
            next[tail] += 1
        }
    }

    package func flow(upTo limit: Int64 = .max, from source: Int, to sink: Int) -> Int64 {
        var residual = capacities
        return push(upTo: limit, from: source, to: sink, &residual)
    }

    /// - Returns: what there was room for.
    package mutating func reserve(upTo limit: Int64, from source: Int, to sink: Int) -> Int64 {
        var residual = capacities
        let flow = push(upTo: limit, from: source, to: sink, &residual)
        for arc in stride(from: 0, to: capacities.count, by: 2) {
            capacities[arc] = min(capacities[arc], residual[arc])
        }
        return flow
    }

    private func push(upTo limit: Int64, from source: Int, to sink: Int, _ residual: inout [Int64]) -> Int64 {
        guard (0..<nodesCount).contains(source), (0..<nodesCount).contains(sink), source != sink, limit > 0 else {
            return 0
        }
        var total: Int64 = 0
        var steps = 0
        var layers = [Int32](repeating: 0, count: nodesCount)
        while total < limit, steps < Self.stepsMax, layer(&layers, from: source, to: sink, residual, &steps) {
            total += blockingFlow(upTo: limit - total, from: source, to: sink, &layers, &residual, &steps)
        }
        return total
    }

    /// How far each node is from the source, from 1; 0 beyond the sink.
    private func layer(
        _ layers: inout [Int32], from source: Int, to sink: Int, _ residual: [Int64], _ steps: inout Int
    ) -> Bool {
        for node in layers.indices { layers[node] = 0 }
        layers[source] = 1
        var queue = [Int32(source)]
        queue.reserveCapacity(nodesCount)
        var first = 0
        while first < queue.count {
            let node = Int(queue[first])
            first += 1
            if layers[sink] != 0, layers[node] + 1 >= layers[sink] { break }
            steps += starts[node + 1] - starts[node]
            for place in starts[node]..<starts[node + 1] {
                let arc = Int(leaving[place])
                let head = Int(heads[arc])
                guard layers[head] == 0, residual[arc] > 0 else { continue }
                layers[head] = layers[node] + 1
                queue.append(Int32(head))
            }
        }
        return layers[sink] != 0
    }

    /// Along arcs from layer to layer, until every way is full.
    private func blockingFlow(
        upTo limit: Int64, from source: Int, to sink: Int, _ layers: inout [Int32], _ residual: inout [Int64],
        _ steps: inout Int
    ) -> Int64 {
        var next = starts
        var path: [Int] = []
        var node = source
        var total: Int64 = 0
        while steps < Self.stepsMax {
            steps += 1
            if node == sink {
                var amount = limit - total
                for arc in path { amount = min(amount, residual[arc]) }
                var full = path.count
                for (place, arc) in path.enumerated() {
                    residual[arc] -= amount
                    residual[arc ^ 1] += amount
                    if residual[arc] == 0 { full = min(full, place) }
                }
                steps += path.count
                total += amount
                guard total < limit, full < path.count else { return total }
                node = Int(heads[path[full] ^ 1])
                path.removeLast(path.count - full)
            } else if next[node] < starts[node + 1] {
                let arc = Int(leaving[next[node]])
                let head = Int(heads[arc])
                if residual[arc] > 0, layers[head] == layers[node] + 1 {
                    path.append(arc)
                    node = head
                } else {
                    next[node] += 1
                }
            } else {
                guard let arc = path.popLast() else { return total }
                // Nothing gets through here any more.
                layers[node] = 0
                node = Int(heads[arc ^ 1])
                next[node] += 1
            }
        }
        return total
    }
}

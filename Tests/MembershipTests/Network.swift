// SPDX-License-Identifier: Apache-2.0
import NIOCore
import TuttiBase
import TuttiMembership

/// A small network under virtual time: cores, links that break when an end dies, and messages that take a while.
struct Network {
    enum Event {
        case message(from: Int, to: Int, MembershipMessage)
        case connected(Int, to: Int)
        case connectFailed(Int, to: Int)
        case disconnected(Int, from: Int)
        case timer(Int)
    }

    private struct Item {
        let at: Instant
        let sequence: UInt64
        let event: Event
        func precedes(_ other: Item) -> Bool { at != other.at ? at < other.at : sequence < other.sequence }
    }

    private struct Pair: Hashable {
        let low: Int
        let high: Int
        init(_ a: Int, _ b: Int) { (low, high) = (min(a, b), max(a, b)) }
    }

    let configuration: MembershipConfiguration
    var cores: [MembershipCore] = []
    var isAlive: [Bool] = []
    var groups: [AddressGroup] = []
    var now = Instant.zero
    var generator: SeededGenerator
    /// Of 1,000 datagrams so many are lost.
    var lossPerMille: UInt64 = 0
    /// Nothing passes directly between these.
    private var cuts: Set<Pair> = []
    private var links: Set<Pair> = []
    /// A stream keeps its order: no message before the last one of the same sender.
    private var lastArrivals: [[Int]: Instant] = [:]
    /// A slow node neither sends nor receives until then; its timers run.
    var pausedUntil: [Instant] = []
    /// Nodes that have what is searched for.
    var holders: Set<Int> = []
    var events: [(node: Int, event: MembershipEvent, at: Instant)] = []
    var deliveries: [BroadcastID: Int] = [:]
    var messageCount = 0
    /// FNV-1a over everything that cores ask for.
    private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325

    private var heap: [Item] = []
    private var sequence: UInt64 = 0
    private var armed: [Instant?] = []

    init(_ configuration: MembershipConfiguration, seed: UInt64) {
        self.configuration = configuration
        generator = SeededGenerator(seed: seed)
    }

    var live: [Int] { cores.indices.filter { isAlive[$0] } }

    mutating func add(group: AddressGroup = .none) -> Int {
        let place = cores.count
        cores.append(
            MembershipCore(
                own: PeerIndex(UInt32(place)), configuration: configuration, seed: generator.next(), at: now))
        isAlive.append(true)
        groups.append(group)
        pausedUntil.append(.zero)
        armed.append(nil)
        drain(place)
        return place
    }

    mutating func tell(_ node: Int, _ input: MembershipInput) {
        guard isAlive[node] else { return }
        cores[node].handle(input, at: now)
        drain(node)
    }

    mutating func kill(_ node: Int) {
        isAlive[node] = false
        for pair in links.filter({ $0.low == node || $0.high == node }).sorted(by: {
            ($0.low, $0.high) < ($1.low, $1.high)
        }) {
            links.remove(pair)
            schedule(.disconnected(pair.low == node ? pair.high : pair.low, from: node))
        }
    }

    /// Breaks the direct path between two nodes, both of which live on.
    mutating func cut(_ a: Int, _ b: Int) {
        cuts.insert(Pair(a, b))
        guard links.remove(Pair(a, b)) != nil else { return }
        schedule(.disconnected(a, from: b))
        schedule(.disconnected(b, from: a))
    }

    mutating func mend(_ a: Int, _ b: Int) { cuts.remove(Pair(a, b)) }

    /// Silently: links stay up and carry nothing.
    mutating func blackhole(_ a: Int, _ b: Int) { cuts.insert(Pair(a, b)) }

    mutating func run(for duration: Duration) {
        let end = now + duration
        while let first = heap.first, first.at <= end {
            pop()
            now = max(now, first.at)
            apply(first.event)
        }
        now = end
    }

    private mutating func apply(_ event: Event) {
        switch event {
        case .message(let from, let to, let message):
            guard isAlive[to], !cuts.contains(Pair(from, to)) else { return }
            if pausedUntil[to] > now { return schedule(event, at: pausedUntil[to]) }
            guard configuration.transport == .datagrams || links.contains(Pair(from, to)) else { return }
            tell(to, .received(PeerIndex(UInt32(from)), message))
        case .connected(let node, let other):
            guard isAlive[other], isAlive[node], !cuts.contains(Pair(node, other)) else {
                return tell(node, .connectFailed(PeerIndex(UInt32(other))))
            }
            links.insert(Pair(node, other))
            tell(other, .peerConnected(PeerIndex(UInt32(node)), group: groups[node]))
            tell(node, .peerConnected(PeerIndex(UInt32(other)), group: groups[other]))
        case .connectFailed(let node, let other): tell(node, .connectFailed(PeerIndex(UInt32(other))))
        case .disconnected(let node, let other): tell(node, .peerDisconnected(PeerIndex(UInt32(other))))
        case .timer(let node):
            guard armed[node] == now else { return }
            armed[node] = nil
            guard isAlive[node] else { return }
            cores[node].handleTimeout(at: now)
            drain(node)
        }
    }

    private mutating func drain(_ node: Int) {
        while let effect = cores[node].nextEffect() {
            mix("\(node) \(effect)")
            switch effect {
            case .send(let peer, let message):
                messageCount += 1
                if lossPerMille > 0, generator.next() % 1_000 < lossPerMille { continue }
                var arrival = max(now, pausedUntil[node]) + latency
                if configuration.transport == .connections {
                    arrival = max(arrival, lastArrivals[[node, Int(peer.value)]] ?? .zero)
                    lastArrivals[[node, Int(peer.value)]] = arrival
                }
                schedule(.message(from: node, to: Int(peer.value), message), at: arrival)
            case .connect(let peer): schedule(.connected(node, to: Int(peer.value)))
            case .release, .protect: break
            case .match(let search, _):
                let answer = holders.contains(node) ? ByteBuffer(string: "here") : nil
                cores[node].handle(.matched(search: search, answer), at: now)
            case .deliver(let id, _, _): deliveries[id, default: 0] += 1
            case .emit(let event): events.append((node, event, now))
            }
        }
        guard let next = cores[node].nextTimeout else { return }
        if let set = armed[node], set <= next, set >= now { return }
        armed[node] = max(now, next)
        schedule(.timer(node), at: max(now, next))
    }

    private mutating func mix(_ text: String) {
        for byte in text.utf8 { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01B3 }
    }

    private var latency: Duration {
        mutating get { .microseconds(5_000 + Int64(generator.next() % 10_000)) }
    }

    private mutating func schedule(_ event: Event, at time: Instant? = nil) {
        sequence += 1
        let at = time ?? now + latency
        heap.append(Item(at: at, sequence: sequence, event: event))
        var child = heap.count - 1
        while child > 0, heap[child].precedes(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func pop() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].precedes(heap[least])
            {
                least = child
            }
            guard least != parent else { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }

    // MARK: What the overlay looks like

    /// Of the live nodes the share in the largest connected part of the active views.
    var largestPart: Double {
        var isSeen = [Bool](repeating: false, count: cores.count)
        var largest = 0
        for start in live where !isSeen[start] {
            var stack = [start]
            isSeen[start] = true
            var count = 0
            while let node = stack.popLast() {
                count += 1
                for peer in cores[node].neighbours where isAlive[Int(peer.value)] && !isSeen[Int(peer.value)] {
                    isSeen[Int(peer.value)] = true
                    stack.append(Int(peer.value))
                }
            }
            largest = max(largest, count)
        }
        return Double(largest) / Double(max(1, live.count))
    }

    var asymmetricLinkCount: Int {
        var count = 0
        for node in live {
            for peer in cores[node].neighbours
            where !isAlive[Int(peer.value)] || !cores[Int(peer.value)].neighbours.contains(PeerIndex(UInt32(node))) {
                count += 1
            }
        }
        return count
    }

    /// `count` nodes that joined one by one through the first, and some rounds of shuffles.
    static func joined(_ count: Int, _ configuration: MembershipConfiguration, seed: UInt64, rounds: Int = 5) -> Network
    {
        var network = Network(configuration, seed: seed)
        for place in 0..<count {
            let node = network.add()
            if place > 0 { network.tell(node, .joinRequested(PeerIndex(0))) }
            network.run(for: .milliseconds(100))
        }
        network.run(for: configuration.views.shuffleInterval * rounds)
        return network
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiKademlia

/// Some cores and the messages between them, in virtual time. Peer number n is core n.
final class TinyNetwork {
    private enum Event {
        case request(from: Int, RequestID, KademliaRequest)
        case response(RequestID, KademliaResponse)
        case refusal(RequestID)
        case timer
    }

    private struct Item {
        let time: Instant
        let sequence: Int
        let peer: Int
        let event: Event
    }

    private(set) var cores: [KademliaCore] = []
    let keys: Keyspace
    private(set) var now = Instant.zero
    private var queue: [Item] = []
    private var sequence = 0
    private var armed: [Instant?] = []
    private var asked: [(asker: Int, id: RequestID)] = []
    /// Peers that swallow what they get.
    var silent: Set<Int> = []
    /// Peers that say nothing true: what they answer to requests instead.
    var liars: [Int: [PeerIndex]] = [:]
    var latency = Duration.milliseconds(20)
    var groups: [Int: AddressGroup] = [:]
    /// Who asks is identified first, as on a new connection.
    var areAskersIdentified = false
    private(set) var outcomes: [UInt64: (outcome: KademliaOutcome, at: Instant)] = [:]
    private(set) var foundProviders: [PeerIndex] = []
    private(set) var requestCounts: [Int]
    private(set) var eventCount = 0
    /// Everything that happened, as one number.
    private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    private var nextRequest: UInt64 = 0

    init(_ count: Int, seed: UInt64, _ configuration: KademliaConfiguration = .lab, keys: Keyspace? = nil) {
        self.keys = keys ?? Keyspace(derivedFrom: seed)
        let settings = KademliaSettings(configuration)
        for number in 0..<count {
            let own = PeerIndex(UInt32(number))
            cores.append(
                KademliaCore(
                    own: own, settings: settings, ownKey: self.keys.key(of: own), ownName: [UInt8(number & 255)],
                    seed: seed &+ UInt64(number), at: now))
        }
        armed = Array(repeating: nil, count: count)
        requestCounts = Array(repeating: 0, count: count)
    }

    /// Everybody's table as it would be after a long time: in every bucket k of those who belong there.
    func settle(_ members: Range<Int>? = nil, k: Int = 20, seed: UInt64 = 1) {
        let members = members ?? cores.indices
        var random = SeededGenerator(seed: seed)
        let words = members.map { (keys.word(of: PeerIndex(UInt32($0))), UInt32($0)) }
        for number in members {
            let ownWord = keys.word(of: PeerIndex(UInt32(number)))
            var buckets: [[PeerIndex]] = Array(repeating: [], count: 65)
            for (word, peer) in words where peer != UInt32(number) {
                buckets[(word ^ ownWord).leadingZeroBitCount].append(PeerIndex(peer))
            }
            var list: [PeerIndex] = []
            for bucket in buckets { list += bucket.shuffled(using: &random).prefix(k) }
            cores[number].load(list, keys: keys)
        }
    }

    func input(_ input: KademliaInput, to peer: Int) {
        cores[peer].handle(input, at: now, keys: keys)
        drain(peer)
    }

    func request(_ make: (RequestID) -> KademliaInput, of peer: Int) -> UInt64 {
        nextRequest += 1
        input(make(RequestID(nextRequest)), to: peer)
        return nextRequest
    }

    /// Runs a lookup to its end.
    func find(_ goal: KademliaGoal, by peer: Int, within time: Duration = .seconds(120)) -> KademliaOutcome? {
        let id = request({ .lookupRequested($0, goal, deadline: now + time) }, of: peer)
        run(until: id)
        return outcomes[id]?.outcome
    }

    func run(until id: UInt64) {
        while outcomes[id] == nil, step() {}
    }

    func run(for time: Duration) {
        let end = now + time
        for peer in cores.indices { arm(peer) }
        while let next = queue.first?.time, next <= end { _ = step() }
        now = end
    }

    private func step() -> Bool {
        guard !queue.isEmpty else { return false }
        let item = queue.removeFirst()
        now = item.time
        eventCount += 1
        for part in [UInt64(item.time.nanoseconds), UInt64(item.peer)] { digest = (digest ^ part) &* 0x100_0000_01B3 }
        switch item.event {
        case .timer:
            guard armed[item.peer] == item.time else { return true }
            armed[item.peer] = nil
            cores[item.peer].handleTimeout(at: now, keys: keys)
        case .response(let id, let response):
            cores[item.peer].handle(.answered(id, response), at: now, keys: keys)
        case .refusal(let id):
            cores[item.peer].handle(.callFailed(id), at: now, keys: keys)
        case .request(let asker, let id, let request):
            requestCounts[item.peer] += 1
            if silent.contains(item.peer) { return true }
            if let lie = liars[item.peer] {
                push(.response(id, KademliaResponse(closer: lie)), to: asker, after: latency)
                return true
            }
            if areAskersIdentified {
                cores[item.peer].handle(
                    .peerIdentified(PeerIndex(UInt32(asker)), isServer: true, group: groups[asker] ?? .none), at: now,
                    keys: keys)
            }
            asked.append((asker, id))
            cores[item.peer].handle(
                .asked(
                    RequestID(UInt64(asked.count - 1)), by: PeerIndex(UInt32(asker)), group: groups[asker] ?? .none,
                    request), at: now, keys: keys)
        }
        drain(item.peer)
        return true
    }

    private func drain(_ peer: Int) {
        while let effect = cores[peer].nextEffect() {
            switch effect {
            case .call(let id, let other, let request):
                push(.request(from: peer, id, request), to: Int(other.value), after: latency)
            case .cancelCall:
                break
            case .answer(let id, let response):
                let (asker, call) = asked[Int(id.value)]
                push(.response(call, response), to: asker, after: latency)
            case .refuse(let id):
                let (asker, call) = asked[Int(id.value)]
                push(.refusal(call), to: asker, after: latency)
            case .finished(let id, let outcome):
                precondition(outcomes[id.value] == nil, "a request ends once")
                outcomes[id.value] = (outcome, now)
            case .providerFound(_, let provider):
                foundProviders.append(provider)
            }
        }
        arm(peer)
    }

    private func arm(_ peer: Int) {
        guard let next = cores[peer].nextTimeout, armed[peer].map({ next < $0 }) ?? true else { return }
        // A core that nobody has driven yet may be late.
        armed[peer] = max(next, now)
        push(.timer, to: peer, at: max(next, now))
    }

    private func push(_ event: Event, to peer: Int, after delay: Duration) {
        push(event, to: peer, at: now + delay)
    }

    private func push(_ event: Event, to peer: Int, at time: Instant) {
        sequence += 1
        var low = 0
        var high = queue.count
        while low < high {
            let middle = (low + high) / 2
            if queue[middle].time <= time { low = middle + 1 } else { high = middle }
        }
        queue.insert(Item(time: time, sequence: sequence, peer: peer, event: event), at: low)
    }

    /// Who is closest among `members`, nearest first.
    func closest(to target: KademliaTarget, among members: Range<Int>? = nil, except: Set<Int> = []) -> [PeerIndex] {
        (members ?? cores.indices).filter { !except.contains($0) }.map { PeerIndex(UInt32($0)) }
            .sorted { keys.key(of: $0).distance(to: target.key) < keys.key(of: $1).distance(to: target.key) }
    }
}

/// A point made from a number.
func point(_ number: UInt64) -> KademliaTarget {
    KademliaTarget(key: Keyspace(derivedFrom: 0xABCD).key(of: PeerIndex(UInt32(truncatingIfNeeded: number))))
}

func peers(_ range: Range<UInt32>) -> [PeerIndex] { range.map { PeerIndex($0) } }

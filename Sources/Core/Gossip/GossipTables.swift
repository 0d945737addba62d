// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What a peer did in one topic: the counters of P1 to P4.
struct PeerTopic: Sendable {
    let topic: Int
    var isSubscribed = false
    /// When it joined our mesh; nil: it is not in it.
    var meshSince: Instant?
    var meshLeftAt: Instant?
    var firstDeliveries = 0.0
    var meshDeliveries = 0.0
    var meshFailures = 0.0
    var invalid = 0.0

    var isIdle: Bool {
        !isSubscribed && meshSince == nil && firstDeliveries == 0 && meshDeliveries == 0 && meshFailures == 0
            && invalid == 0
    }
}

/// A connected peer, or the score of one that left.
struct GossipPeer: Sendable {
    struct Unwanted: Sendable {
        let digest: UInt64
        let heartbeat: UInt32
    }

    let index: PeerIndex
    let version: GossipVersion
    let isOutbound: Bool
    let group: AddressGroup
    /// Digest of the bytes that name it as an author.
    let author: UInt64
    var isConnected = true
    var isDirect = false
    var isGraylisted = false

    var topics: [PeerTopic] = []
    var behaviour = 0.0
    var application = 0
    /// As of the last heartbeat or violation.
    var score = 0.0

    // Since the last heartbeat.
    var ihaveMessages = 0
    var asked = 0
    var iwantIDs = 0
    var servedBytes = 0
    var idontwantMessages = 0

    var pending = 0
    var unwanted: [Unwanted] = []
    var outbox = GossipRPC()
    /// The numbers of the forwarded messages in the outbox, in order, as long as it holds no others.
    var outboxRecords: [UInt32] = []
    var outboxBytes = 0
    var isQueued = false

    func place(of topic: Int) -> Int? { topics.firstIndex { $0.topic == topic } }

    mutating func ensurePlace(of topic: Int) -> Int {
        if let place = place(of: topic) { return place }
        topics.append(PeerTopic(topic: topic))
        return topics.count - 1
    }
}

/// The connected peers. A slot is a small number that is used again; slots are given out in an order that depends on
/// nothing but the inputs.
struct GossipPeers: Sendable {
    private(set) var slots: [GossipPeer] = []
    private var free: [Int] = []
    /// Sorted by index.
    private var order: [(index: PeerIndex, slot: Int)] = []

    var count: Int { order.count }
    var indices: Range<Int> { 0..<slots.count }

    subscript(_ slot: Int) -> GossipPeer {
        get { slots[slot] }
        _modify { yield &slots[slot] }
    }

    /// The slots of connected peers, by index.
    var connected: [Int] { order.map(\.slot) }

    func slot(of peer: PeerIndex) -> Int? {
        let place = place(of: peer)
        return place < order.count && order[place].index == peer ? order[place].slot : nil
    }

    /// The peer must not be there.
    mutating func insert(_ peer: GossipPeer) -> Int {
        let slot: Int
        if let reused = free.popLast() {
            slot = reused
            slots[slot] = peer
        } else {
            slot = slots.count
            slots.append(peer)
        }
        order.insert((peer.index, slot), at: place(of: peer.index))
        return slot
    }

    mutating func remove(_ slot: Int) {
        let index = slots[slot].index
        let place = place(of: index)
        guard place < order.count, order[place].index == index else { return }
        order.remove(at: place)
        slots[slot].isConnected = false
        slots[slot].topics = []
        slots[slot].unwanted = []
        slots[slot].outbox = GossipRPC()
        slots[slot].outboxRecords = []
        slots[slot].outboxBytes = 0
        free.append(slot)
    }

    private func place(of peer: PeerIndex) -> Int {
        var low = 0
        var high = order.count
        while low < high {
            let middle = (low + high) / 2
            if order[middle].index < peer { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// One topic that we or a peer of ours takes part in.
struct TopicState: Sendable {
    struct Backoff: Sendable {
        let peer: PeerIndex
        var until: Instant
    }

    let topic: Topic
    let digest: UInt64
    let settings: GossipTopicConfiguration
    /// False: the number is free.
    var isLive = true
    var isSubscribed = false
    /// Slots of subscribed peers, in the order in which they came.
    var members: [Int] = []
    /// Of these, direct peers and those that speak floodsub: outside the mesh, they get everything.
    var flooded: [Int] = []
    var mesh: [Int] = []
    var fanout: [Int] = []
    var fanoutUntil: Instant?
    var backoffs: [Backoff] = []
    /// Messages of this topic in the cache.
    var recordCount = 0

    var isUnused: Bool {
        !isSubscribed && members.isEmpty && fanoutUntil == nil && recordCount == 0 && backoffs.isEmpty
    }

    func backoff(of peer: PeerIndex) -> Instant? { backoffs.first { $0.peer == peer }?.until }

    /// A backoff is never shortened.
    mutating func setBackoff(_ peer: PeerIndex, until: Instant, countMax: Int) {
        if let place = backoffs.firstIndex(where: { $0.peer == peer }) {
            backoffs[place].until = max(backoffs[place].until, until)
            return
        }
        if backoffs.count >= countMax, let first = backoffs.indices.min(by: { backoffs[$0].until < backoffs[$1].until })
        {
            backoffs.remove(at: first)
        }
        backoffs.append(Backoff(peer: peer, until: until))
    }
}

/// The topics by number. A number is used again once nothing refers to the topic.
struct GossipTopics: Sendable {
    private var states: [TopicState] = []
    private var free: [Int] = []
    private var numbers: [UInt64: Int] = [:]

    var count: Int { numbers.count }
    var indices: Range<Int> { 0..<states.count }

    /// The number must be of a topic that is there.
    subscript(_ number: Int) -> TopicState {
        get { states[number] }
        _modify { yield &states[number] }
    }

    func number(_ digest: UInt64) -> Int? { numbers[digest] }

    mutating func insert(_ state: TopicState) -> Int {
        let number: Int
        if let reused = free.popLast() {
            number = reused
            states[number] = state
        } else {
            number = states.count
            states.append(state)
        }
        numbers[state.digest] = number
        return number
    }

    mutating func remove(_ number: Int) {
        let state = states[number]
        numbers[state.digest] = nil
        states[number] = TopicState(topic: "", digest: 0, settings: GossipTopicConfiguration(), isLive: false)
        free.append(number)
    }
}

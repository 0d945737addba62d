// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase

/// GossipSub 1.2 for one node, with peers that speak 1.1, 1.0 or floodsub among its own: subscriptions, a mesh per topic,
/// gossip about what the mesh carried, and a score of each peer. Follows libp2p specs, pubsub/README.md and
/// pubsub/gossipsub/gossipsub-v1.0.md to v1.2.md; docs/protocols/gossip.md lists parameters, limits and deviations.
///
/// It does not verify signatures (`.validate` asks for that), open streams or know ids and addresses of peers.
///
/// A message is *pending* from its first arrival to its verdict, then *valid*, *rejected* or *ignored*. It is
/// forwarded only when valid, as the bytes that it came in, never to a peer that has it or wrote it. What is for one peer
/// goes into one RPC per turn, that is between two drains of `nextEffect`. Messages to forward that follow others within
/// `gatherInterval` wait for its end and leave together: under load, an RPC for each costs more than all that is in it.
///
/// Legal and late: inputs about peers, requests and topics that are gone; they are dropped. The peer's fault: malformed
/// RPCs and messages, grafts within a backoff, promises that are not kept; the score tells. Nothing traps.
///
/// Parts: GossipMessaging (messages), GossipControl (control messages), GossipHeartbeat (upkeep of meshes),
/// GossipScore.
package struct GossipCore: Sendable {
    struct Batch: Sendable {
        let numbers: [UInt32]
        let from: PeerIndex
    }

    struct Promise: Sendable {
        let peer: PeerIndex
        let until: Instant
    }

    struct Retained: Sendable {
        var peer: GossipPeer
        let until: Instant
    }

    package let configuration: GossipConfiguration
    package internal(set) var stats = GossipStats()
    var limits: GossipLimits { configuration.limits }
    var mesh: GossipMeshParameters { configuration.mesh }

    var generator: SeededGenerator
    let hash: KeyedHash
    let ownAuthor: UInt64
    var sequence: UInt64

    var peers = GossipPeers()
    var groups: [AddressGroup: Int] = [:]
    var retained: [Retained] = []
    var directPeers: [PeerIndex] = []
    var topics = GossipTopics()
    var subscriptionCount = 0
    var fanoutCount = 0

    var cache = MessageCache()
    var seen: SeenCache
    var authors: AuthorTable
    var batches: [RequestID: Batch] = [:]
    var nextRequest: UInt64 = 0
    var pendingCount = 0
    var pendingBytes = 0
    /// By id: who promised it by IHAVE and was asked.
    var promises: [UInt64: [Promise]] = [:]
    var promiseCount = 0

    var heartbeat: UInt32 = 0
    var heartbeatAt: Instant?
    var decayedAt: Instant

    private var effects: Deque<GossipEffect> = []
    /// Slots with something in the outbox, in the order in which it came.
    private var queued: Deque<Int> = []
    /// What is queued leaves at the next drain.
    private var isLeaving = false
    /// Among what is queued are messages to forward; something that may not wait.
    var holdsForwards = false
    var isPressing = false
    /// Forwards left; they do again from `gatheredUntil` on.
    private var gatheredUntil: Instant?
    private var leavesAt: Instant?

    package init(configuration: GossipConfiguration, seed: UInt64, at now: Instant) {
        self.configuration = configuration
        generator = SeededGenerator(seed: seed)
        hash = KeyedHash(&generator)
        ownAuthor = configuration.author.isEmpty ? 0 : hash(configuration.author)
        sequence = configuration.firstSequence
        seen = SeenCache(
            lifetime: configuration.mesh.seenLifetime, countMax: configuration.limits.seenMax, at: now)
        authors = AuthorTable(
            countMax: configuration.limits.authorsMax, lifetime: configuration.mesh.authorLifetime)
        decayedAt = now
    }

    // MARK: Inputs

    package mutating func handle(_ input: GossipInput, at now: Instant) {
        switch input {
        case .peerConnected(let peer, let version, let direction, let group, let author):
            connect(peer, version, direction, group, author, at: now)
        case .peerDisconnected(let peer):
            if let slot = peers.slot(of: peer) { disconnect(slot, at: now) }
        case .received(let peer, let rpc):
            if let slot = peers.slot(of: peer) { receive(rpc, from: slot, at: now) }
        case .malformed(let peer):
            guard let slot = peers.slot(of: peer) else { return }
            penalise(slot, by: configuration.score.malformedPenalty, at: now)
        case .subscribeRequested(let topic): subscribe(topic, at: now)
        case .unsubscribeRequested(let topic): unsubscribe(topic, at: now)
        case .publishRequested(let request, let topic, let data): publish(request, topic, data, at: now)
        case .validated(let request, let verdicts): conclude(request, verdicts, at: now)
        case .applicationScoreChanged(let peer, let score):
            guard let slot = peers.slot(of: peer) else { return }
            peers[slot].application = score
            refreshScore(slot, at: now)
        case .directPeersChanged(let list): setDirectPeers(list, at: now)
        }
        release(at: now)
    }

    package mutating func handleTimeout(at now: Instant) {
        if let due = heartbeatAt, due <= now { beat(due, at: now) }
        release(at: now)
    }

    private mutating func beat(_ due: Instant, at now: Instant) {
        beat(at: now)
        guard needsHeartbeat else {
            heartbeatAt = nil
            return
        }
        let next = due + mesh.heartbeatInterval
        heartbeatAt = next > now ? next : now + mesh.heartbeatInterval
    }

    // MARK: Outputs

    package var nextTimeout: Instant? {
        guard let leavesAt else { return heartbeatAt }
        return min(leavesAt, heartbeatAt ?? leavesAt)
    }

    package mutating func nextEffect() -> GossipEffect? {
        if let effect = effects.popFirst() { return effect }
        while isLeaving, let slot = queued.popFirst() {
            guard peers[slot].isConnected, peers[slot].isQueued else { continue }
            spareHolder(slot)
            let rpc: GossipRPC
            if peers[slot].outboxBytes <= limits.rpcBytesMax {
                rpc = peers[slot].outbox
                peers[slot].outbox = GossipRPC()
                peers[slot].outboxBytes = 0
                peers[slot].isQueued = false
            } else {
                rpc = peers[slot].outbox.splitOff(bytesMax: limits.rpcBytesMax)
                peers[slot].outboxBytes = peers[slot].outbox.byteCountEstimate
                if peers[slot].outbox.isEmpty { peers[slot].isQueued = false } else { queued.prepend(slot) }
            }
            guard !rpc.isEmpty else { continue }
            stats.rpcsSent &+= 1
            return .send(peers[slot].index, rpc)
        }
        isLeaving = false
        return nil
    }

    /// Decides whether what is queued leaves now.
    private mutating func release(at now: Instant) {
        guard !queued.isEmpty else {
            leavesAt = nil
            return
        }
        if holdsForwards, !isPressing, let until = gatheredUntil, until > now {
            leavesAt = until
            return
        }
        if holdsForwards, mesh.gatherInterval > .zero { gatheredUntil = now + mesh.gatherInterval }
        (isLeaving, holdsForwards, isPressing, leavesAt) = (true, false, false, nil)
    }

    /// Takes out of a peer's RPC what it has sent or said to have while it waited.
    private mutating func spareHolder(_ slot: Int) {
        let numbers = peers[slot].outboxRecords
        guard !numbers.isEmpty else { return }
        peers[slot].outboxRecords = []
        let index = peers[slot].index
        guard numbers.contains(where: { cache.isHeld($0, by: index) }) else { return }
        var kept: [GossipMessage] = []
        for (place, message) in peers[slot].outbox.messages.enumerated() {
            if place < numbers.count, cache.isHeld(numbers[place], by: index) {
                stats.messagesSent &-= 1
                stats.duplicatesSpared &+= 1
            } else {
                kept.append(message)
            }
        }
        peers[slot].outbox.messages = kept
        peers[slot].outboxBytes = peers[slot].outbox.byteCountEstimate
    }

    /// Every peer that anything here refers to.
    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        for slot in peers.connected { body(peers[slot].index) }
        for entry in retained { body(entry.peer.index) }
        for peer in directPeers { body(peer) }
        for number in topics.indices where topics[number].isLive {
            for backoff in topics[number].backoffs { body(backoff.peer) }
        }
        for peers in promises.values { for promise in peers { body(promise.peer) } }
        cache.forEachPeer(body)
    }

    package var peerCount: Int { peers.count }
    package var seenCount: Int { seen.count }
    /// What is known of a peer's conduct: at or above zero is good.
    package func score(of peer: PeerIndex) -> Double? { peers.slot(of: peer).map { peers[$0].score } }
    package func meshPeers(of topic: Topic) -> [PeerIndex] {
        number(of: topic).map { topics[$0].mesh.map { peers[$0].index } } ?? []
    }
    package func peers(of topic: Topic) -> [PeerIndex] {
        number(of: topic).map { topics[$0].members.map { peers[$0].index } } ?? []
    }
    package var subscriptions: [Topic] {
        topics.indices.filter { topics[$0].isSubscribed }.map { topics[$0].topic }
    }

    mutating func emit(_ effect: GossipEffect) { effects.append(effect) }

    /// Puts something into a peer's next RPC; `bytes` is at least what it takes there.
    mutating func enqueue(_ slot: Int, bytes: Int, _ change: (inout GossipRPC) -> Void) {
        change(&peers[slot].outbox)
        peers[slot].outboxBytes += bytes
        guard !peers[slot].isQueued else { return }
        peers[slot].isQueued = true
        queued.append(slot)
    }

    // MARK: Peers

    private mutating func connect(
        _ index: PeerIndex, _ version: GossipVersion, _ direction: Direction, _ group: AddressGroup,
        _ author: [UInt8], at now: Instant
    ) {
        if let slot = peers.slot(of: index) { disconnect(slot, at: now) }
        guard peers.count < limits.peersMax else {
            stats.refusals &+= 1
            return
        }
        var peer = GossipPeer(
            index: index, version: version, isOutbound: direction == .outbound, group: group,
            author: author.isEmpty ? 0 : hash(author))
        peer.isDirect = directPeers.contains(index)
        if let place = retained.firstIndex(where: { $0.peer.index == index }) {
            let old = retained.remove(at: place)
            if old.until > now {
                peer.topics = old.peer.topics
                peer.behaviour = old.peer.behaviour
                peer.application = old.peer.application
            }
        }
        let slot = peers.insert(peer)
        if group != .none { groups[group, default: 0] += 1 }
        refreshScore(slot, at: now)
        for number in topics.indices where topics[number].isSubscribed {
            let topic = topics[number].topic
            enqueue(slot, bytes: topic.name.utf8.count + 12) { $0.subscriptions.append((topic, true)) }
        }
    }

    private mutating func disconnect(_ slot: Int, at now: Instant) {
        for place in peers[slot].topics.indices {
            let number = peers[slot].topics[place].topic
            leaveMesh(slot, number, at: now)
            if peers[slot].topics[place].isSubscribed { removeMember(slot, number) }
            peers[slot].topics[place].firstDeliveries = 0
        }
        retain(slot, at: now)
        let group = peers[slot].group
        if let count = groups[group] { groups[group] = count > 1 ? count - 1 : nil }
        let numbers = peers[slot].topics.map(\.topic)
        peers.remove(slot)
        queued.removeAll { $0 == slot }
        for number in numbers { releaseTopic(number) }
    }

    /// Only scores that are no merit outlive a connection, and they don't decay meanwhile: leaving mends nothing.
    private mutating func retain(_ slot: Int, at now: Instant) {
        // It is leaving: whatever its last score is, nobody has to send it away.
        peers[slot].isGraylisted = true
        refreshScore(slot, at: now)
        let score = peers[slot].score
        guard score < 0 || peers[slot].behaviour > 0 else { return }
        retained.removeAll { $0.until <= now }
        if retained.count >= limits.retainedScoresMax,
            let best = retained.indices.max(by: { retained[$0].peer.score < retained[$1].peer.score })
        {
            guard retained[best].peer.score > score else { return }
            retained.remove(at: best)
        }
        var peer = peers[slot]
        peer.isConnected = false
        peer.outbox = GossipRPC()
        peer.outboxRecords = []
        peer.unwanted = []
        peer.topics.removeAll { $0.meshFailures == 0 && $0.invalid == 0 }
        for place in peer.topics.indices { peer.topics[place].isSubscribed = false }
        retained.append(Retained(peer: peer, until: now + configuration.score.retention))
    }

    private mutating func setDirectPeers(_ list: [PeerIndex], at now: Instant) {
        directPeers = Array(list.prefix(limits.directPeersMax))
        for slot in peers.connected {
            let isDirect = directPeers.contains(peers[slot].index)
            guard isDirect != peers[slot].isDirect else { continue }
            peers[slot].isDirect = isDirect
            for entry in peers[slot].topics {
                // Also from meshes of topics that it grafted without being subscribed.
                if isDirect { leaveMesh(slot, entry.topic, at: now) }
                guard entry.isSubscribed else { continue }
                topics[entry.topic].flooded.removeAll { $0 == slot }
                if isDirect || peers[slot].version == .floodsub { topics[entry.topic].flooded.append(slot) }
            }
        }
    }

    // MARK: Topics

    func digest(of topic: Topic) -> UInt64 {
        var name = topic.name
        return name.withUTF8 { hash(UnsafeRawBufferPointer($0)) }
    }

    func number(of topic: Topic) -> Int? { topics.number(digest(of: topic)) }

    /// Nil when there is no room for a topic that is not ours.
    mutating func ensureNumber(of topic: Topic, isOurs: Bool) -> Int? {
        let digest = digest(of: topic)
        if let number = topics.number(digest) { return number }
        guard isOurs || topics.count - subscriptionCount < limits.topicsMax else { return nil }
        return topics.insert(
            TopicState(
                topic: topic, digest: digest, settings: configuration.settings(of: topic)))
    }

    /// Forgets a topic that nobody takes part in any more.
    mutating func releaseTopic(_ number: Int) {
        guard topics[number].isLive, topics[number].isUnused else { return }
        for slot in peers.connected { peers[slot].topics.removeAll { $0.topic == number } }
        for place in retained.indices { retained[place].peer.topics.removeAll { $0.topic == number } }
        topics.remove(number)
    }

    private mutating func subscribe(_ topic: Topic, at now: Instant) {
        guard topic.name.utf8.count <= limits.topicBytesMax, subscriptionCount < limits.subscriptionsMax,
            let number = ensureNumber(of: topic, isOurs: true)
        else {
            stats.refusals &+= 1
            return
        }
        guard !topics[number].isSubscribed else { return }
        topics[number].isSubscribed = true
        subscriptionCount += 1
        announce(topic, isSubscribed: true)
        armHeartbeat(at: now)
        // Peers of the fanout first: they have been getting our messages.
        let fanout = topics[number].fanout.filter { isGraftable($0, number, at: now) }
        endFanout(number)
        for slot in fanout.prefix(mesh.d) { graft(slot, number, at: now) }
        let missing = mesh.d - topics[number].mesh.count
        for slot in candidates(number, at: now).prefix(max(0, missing)) { graft(slot, number, at: now) }
    }

    private mutating func unsubscribe(_ topic: Topic, at now: Instant) {
        guard let number = number(of: topic), topics[number].isSubscribed else { return }
        topics[number].isSubscribed = false
        subscriptionCount -= 1
        announce(topic, isSubscribed: false)
        for slot in topics[number].mesh {
            leaveMesh(slot, number, at: now)
            prune(slot, number, isUnsubscribe: true, exchange: false, at: now)
        }
        releaseTopic(number)
    }

    private mutating func announce(_ topic: Topic, isSubscribed: Bool) {
        let bytes = topic.name.utf8.count + 12
        for slot in peers.connected {
            enqueue(slot, bytes: bytes) { $0.subscriptions.append((topic, isSubscribed)) }
        }
    }

    mutating func endFanout(_ number: Int) {
        guard topics[number].fanoutUntil != nil else { return }
        topics[number].fanoutUntil = nil
        topics[number].fanout = []
        fanoutCount -= 1
    }

    mutating func removeMember(_ slot: Int, _ number: Int) {
        topics[number].members.removeAll { $0 == slot }
        topics[number].flooded.removeAll { $0 == slot }
        topics[number].fanout.removeAll { $0 == slot }
    }

    // MARK: Heartbeat

    private var needsHeartbeat: Bool {
        subscriptionCount > 0 || fanoutCount > 0 || !cache.isEmpty || promiseCount > 0
    }

    mutating func armHeartbeat(at now: Instant) {
        guard heartbeatAt == nil, needsHeartbeat else { return }
        let interval = max(1, mesh.heartbeatInterval.saturatedNanoseconds)
        let phase = Int64(generator.next() % UInt64(interval))
        heartbeatAt = now + mesh.heartbeatInitialDelay + .nanoseconds(phase)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Synchronization
public import TuttiBase
public import TuttiIdentity
import TuttiPeers

/// What happens to a node, for embedders to follow.
public enum NodeEvent: Sendable {
    /// The addresses that others can dial, without `/p2p`.
    case listening([Multiaddr])
    /// The first connection to this peer is up.
    case peerConnected(PeerID)
    /// The last connection to this peer is gone; `reason` is for people.
    case peerDisconnected(PeerID, reason: String)
    /// The peer said what it is and speaks, for the first time or anew.
    case peerIdentified(PeerID, PeerDescription)
    /// Somebody's connection was turned away.
    case inboundRefused(remote: Multiaddr, reason: String)
    /// The peer is a neighbour in the mesh from now on, or no longer.
    case neighbourUp(PeerID)
    case neighbourDown(PeerID)
    /// Others can dial this node now, or can't any more.
    case reachabilityChanged(NodeReachability.Status)
    /// The reader was too slow: this many events were dropped at this point.
    case missed(count: Int)
}

/// What a peer says of itself through identify. Claims, not facts.
public struct PeerDescription: Hashable, Sendable {
    /// Its software.
    public let agent: String
    public let protocolVersion: String
    public let protocols: [ProtocolID]
    public let listenAddresses: [Multiaddr]
    /// Where the peer sees us.
    public let observedAddress: Multiaddr?

    init(_ profile: PeerProfile) {
        agent = profile.agent
        protocolVersion = profile.protocolVersion
        protocols = profile.protocols
        listenAddresses = profile.listenAddresses
        observedAddress = profile.observedAddress
    }
}

/// The events of a node from the moment of the call on, in order. One consumer; ends when the node stops.
public struct NodeEvents: AsyncSequence, Sendable {
    public typealias Element = NodeEvent
    public typealias Failure = Never

    private let subscription: EventSubscription

    init(_ subscription: EventSubscription) {
        self.subscription = subscription
    }

    public func makeAsyncIterator() -> Iterator {
        Iterator(subscription: subscription)
    }

    /// Takes the events over in batches and gives them out one by one.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let subscription: EventSubscription
        private var batch: [NodeEvent] = []
        private var position = 0

        fileprivate init(subscription: EventSubscription) {
            self.subscription = subscription
        }

        public mutating func next() async -> NodeEvent? {
            if position == batch.count {
                guard let next = await subscription.nextBatch() else { return nil }
                batch = next
                position = 0
            }
            defer { position += 1 }
            return batch[position]
        }
    }
}

/// Spreads events to subscribers. A slow one misses the newest and is told how many; it never holds up the node.
final class EventHub: Sendable {
    private struct State: Sendable {
        var subscribers: [UInt64: BatchQueue<NodeEvent>] = [:]
        var missed: [UInt64: Int] = [:]
        var lastID: UInt64 = 0
        var isFinished = false
    }

    static let queuedMax = 4096
    private let state = Mutex(State())

    func subscribe() -> EventSubscription {
        let queue = BatchQueue<NodeEvent>(countMax: Self.queuedMax)
        let id = state.withLock { state in
            if state.isFinished { queue.finish() }
            state.lastID += 1
            state.subscribers[state.lastID] = queue
            return state.lastID
        }
        return EventSubscription(hub: self, id: id, queue: queue)
    }

    func emit(_ event: NodeEvent) {
        let subscribers = state.withLock { $0.subscribers }
        for (id, queue) in subscribers where !queue.append(event) {
            state.withLock { $0.missed[id, default: 0] += 1 }
        }
    }

    func finish() {
        let subscribers = state.withLock { state in
            state.isFinished = true
            return state.subscribers
        }
        for queue in subscribers.values { queue.finish() }
    }

    fileprivate func remove(_ id: UInt64) {
        state.withLock {
            $0.subscribers[id] = nil
            $0.missed[id] = nil
        }
    }

    fileprivate func takeMissed(_ id: UInt64) -> Int {
        state.withLock { $0.missed.removeValue(forKey: id) ?? 0 }
    }
}

/// Registered as long as it lives.
final class EventSubscription: Sendable {
    private let hub: EventHub
    private let id: UInt64
    private let queue: BatchQueue<NodeEvent>

    init(hub: EventHub, id: UInt64, queue: BatchQueue<NodeEvent>) {
        self.hub = hub
        self.id = id
        self.queue = queue
    }

    deinit {
        hub.remove(id)
    }

    func nextBatch() async -> [NodeEvent]? {
        guard var batch = await queue.next() else { return nil }
        // A full queue refuses the newest, so what was missed comes after what is here.
        let missed = hub.takeMissed(id)
        if missed > 0 { batch.append(.missed(count: missed)) }
        return batch
    }
}

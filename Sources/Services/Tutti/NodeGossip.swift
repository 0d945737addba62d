// SPDX-License-Identifier: Apache-2.0
public import NIOCore
import Synchronization
import TuttiBase
import TuttiGossip
public import TuttiIdentity
import TuttiNodeCore

/// A message that somebody published to a topic. Its signature was checked: `author` wrote it.
public struct PublishedMessage: Sendable {
    public let topic: String
    public let author: PeerID
    public let data: ByteBuffer

    init?(_ message: GossipMessage) {
        do throws(DecodeError) { author = try PeerID(multihash: message.author) } catch { return nil }
        topic = message.topic.name
        data = message.data
    }
}

/// Topics: what is published reaches every subscriber. Needs `NodeConfiguration.gossip`.
public struct NodeGossip: Sendable {
    private let node: Node

    init(_ node: Node) { self.node = node }

    /// Follows a topic until the last copy of the returned sequence is let go of. One's own messages are not among them.
    public func subscribe(_ topic: String) async throws(NodeError) -> TopicMessages {
        let driver = try await runtime(nil).driver
        return TopicMessages(
            node.topics.subscribe(topic) { isFollowed in
                driver.submit(.gossip(isFollowed ? .subscribe(Topic(topic)) : .unsubscribe(Topic(topic))))
            })
    }

    /// Signs the data and sends it to those who follow the topic.
    /// - Returns: to how many peers it went directly.
    @discardableResult
    public func publish(
        _ data: ByteBuffer, to topic: String, deadline: Duration = .seconds(10)
    ) async throws(NodeError) -> Int {
        let runtime = try await runtime(deadline)
        let end = await runtime.driver.call(within: deadline, cancel: { _ in nil }) { request, _ in
            .gossip(.publish(request, Topic(topic), data))
        }
        switch end {
        case .published(let count): return count
        case .publishFailed(let error): throw .publish(error)
        case .cancelled: throw .cancelled(.publish)
        case .answered, .searched, .stopped: throw .stopped(.publish)
        }
    }

    private func runtime(_ deadline: Duration?) async throws(NodeError) -> NodeRuntime {
        guard node.configuration.gossip != nil else { throw .off("gossip", "gossip", .publish) }
        return try await node.started(.publish, peer: nil, deadline: deadline)
    }
}

extension Node {
    /// Topics.
    public var gossip: NodeGossip { NodeGossip(self) }
}

/// The messages of a topic from the subscription on. One consumer; ends when the node stops.
public struct TopicMessages: AsyncSequence, Sendable {
    public typealias Element = PublishedMessage
    public typealias Failure = Never

    private let subscription: TopicSubscription

    init(_ subscription: TopicSubscription) { self.subscription = subscription }

    /// Messages that were lost because the reader was too slow.
    public var missedCount: Int { subscription.missedCount }

    public func makeAsyncIterator() -> Iterator { Iterator(subscription: subscription) }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let subscription: TopicSubscription
        private var batch: [PublishedMessage] = []
        private var position = 0

        fileprivate init(subscription: TopicSubscription) { self.subscription = subscription }

        public mutating func next() async -> PublishedMessage? {
            if position == batch.count {
                guard let next = await subscription.queue.next() else { return nil }
                batch = next
                position = 0
            }
            defer { position += 1 }
            return batch[position]
        }

        /// What has come since; not to be mixed with `next`.
        package mutating func nextBatch() async -> [PublishedMessage]? { await subscription.queue.next() }
    }
}

/// Registered as long as it lives.
final class TopicSubscription: Sendable {
    static let queuedMax = 4_096
    let queue = BatchQueue<PublishedMessage>(countMax: queuedMax)
    private let missed = Atomic<Int>(0)
    private let onEnd: @Sendable () -> Void

    init(onEnd: @escaping @Sendable () -> Void) { self.onEnd = onEnd }

    deinit { onEnd() }

    var missedCount: Int { missed.load(ordering: .relaxed) }

    func deliver(_ message: PublishedMessage) {
        if !queue.append(message) { missed.wrappingAdd(1, ordering: .relaxed) }
    }
}

/// Who follows which topic.
final class TopicHub: Sendable {
    private struct Weak: Sendable {
        weak let subscription: TopicSubscription?
    }

    private struct State: Sendable {
        var topics: [String: [UInt64: Weak]] = [:]
        var lastID: UInt64 = 0
        var isFinished = false
    }

    private let state = Mutex(State())

    /// - Parameter change: called with whether the topic is followed from now on, when that changes.
    func subscribe(_ topic: String, _ change: @escaping @Sendable (Bool) -> Void) -> TopicSubscription {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        let subscription = TopicSubscription { [weak self] in self?.remove(topic, id, change) }
        let (isFirst, isFinished) = state.withLock { state in
            state.topics[topic, default: [:]][id] = Weak(subscription: subscription)
            return (state.topics[topic]?.count == 1, state.isFinished)
        }
        if isFinished { subscription.queue.finish() }
        if isFirst { change(true) }
        return subscription
    }

    private func remove(_ topic: String, _ id: UInt64, _ change: @Sendable (Bool) -> Void) {
        let isLast = state.withLock { state in
            state.topics[topic]?[id] = nil
            guard state.topics[topic]?.isEmpty == true else { return false }
            state.topics[topic] = nil
            return true
        }
        if isLast { change(false) }
    }

    func deliver(_ message: PublishedMessage) {
        for subscription in subscriptions(of: message.topic) { subscription.deliver(message) }
    }

    private func subscriptions(of topic: String) -> [TopicSubscription] {
        state.withLock { $0.topics[topic]?.values.compactMap(\.subscription) ?? [] }
    }

    func finish() {
        let all = state.withLock { state in
            state.isFinished = true
            return state.topics.values.flatMap { $0.values.compactMap(\.subscription) }
        }
        for subscription in all { subscription.queue.finish() }
    }
}

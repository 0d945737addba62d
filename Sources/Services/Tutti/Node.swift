// SPDX-License-Identifier: Apache-2.0
public import ServiceLifecycle
import Synchronization
public import TuttiBase
public import TuttiIdentity
import TuttiPeers
import TuttiTransport

/// A node of the network: it listens, dials, and opens and serves streams.
///
///     let node = try Node(configuration: NodeConfiguration())
///     await node.handle("/hello/1.0.0") { stream in
///         try await stream.write(ByteBuffer(string: "hello"))
///     }
///     try await node.run()        // or: ServiceGroup(services: [node], …)
///
/// `run()` does the work and returns after a graceful shutdown or when its task is cancelled. Every other call may be
/// made from any task; one that is made before `run()` has started waits for it, within its deadline. A node runs once.
public final class Node: Service, Sendable {
    private enum Lifecycle: Sendable {
        case idle
        case starting
        case running(NodeRuntime, listening: [Multiaddr])
        case stopped
    }

    private struct State: Sendable {
        var lifecycle = Lifecycle.idle
        var waiters: [UInt64: UnsafeContinuation<Void, Never>] = [:]
        var lastWaiter: UInt64 = 0
    }

    /// The name under which others know this node.
    public let peerID: PeerID
    public let configuration: NodeConfiguration

    private let identity: KeyPair
    private let directory = PeerDirectory()
    private let hub = EventHub()
    let topics = TopicHub()
    private let handlers: StreamHandlers
    private let memory: MemoryNetwork?
    private let state = Mutex(State())

    /// Loads or makes the key; opens nothing yet.
    public convenience init(configuration: NodeConfiguration = NodeConfiguration()) throws(NodeError) {
        try self.init(configuration: configuration, memory: nil)
    }

    /// A node that reaches the others of `network` without sockets, over the same code as between machines: for tests.
    public static func inMemory(
        network: InMemoryNetwork, configuration: NodeConfiguration = NodeConfiguration()
    ) throws(NodeError) -> Node {
        var configuration = configuration
        configuration.listen = [Multiaddr(components: [.memory(0)])]
        return try Node(configuration: configuration, memory: network.network)
    }

    private init(configuration: NodeConfiguration, memory: MemoryNetwork?) throws(NodeError) {
        try configuration.validate()
        self.configuration = configuration
        self.memory = memory
        handlers = StreamHandlers(limits: configuration.limits)
        switch configuration.key {
        case .generated: identity = KeyPair()
        case .keyPair(let pair): identity = pair
        case .file(let path, let passphrase):
            identity = try KeyFile(path: path).loadOrCreate(passphrase: passphrase)
        }
        peerID = identity.peerID
        PerfProtocol.serve(on: handlers, limits: configuration.limits)
    }

    // MARK: Running

    /// Listens and serves until graceful shutdown or cancellation; then closes every connection in order. At a graceful
    /// shutdown handlers that run may finish within `handlerTimeout`; cancellation reaches them at once.
    /// - Throws: `NodeError` when an address can't be listened on, or when the node ran before.
    public func run() async throws {
        let runtime = try begin()
        var failure: NodeError?
        do throws(NodeError) {
            let bound = try await runtime.listen(on: configuration.listen, logger: configuration.logger)
            enter(.running(runtime, listening: bound))
            await withTaskCancellationOrGracefulShutdownHandler {
                await serve(runtime)
            } onCancelOrGracefulShutdown: {
                runtime.arrivals.finish()
            }
        } catch {
            failure = error
        }
        enter(.stopped)
        await runtime.shutDown(within: configuration.closeTimeout)
        hub.finish()
        topics.finish()
        if let failure { throw failure }
    }

    /// Where this node listens, complete with its peer id, to give to others. Waits until it does.
    public var listenAddresses: [Multiaddr] {
        get async throws(NodeError) {
            _ = try await started(.listen, peer: nil, deadline: nil)
            guard case .running(_, let bound) = state.withLock({ $0.lifecycle }) else { throw .stopped(.listen) }
            return bound.map { $0.appending(.p2p(peerID)) }
        }
    }

    /// What happens from now on. Each call starts a subscription of its own.
    public var events: NodeEvents {
        NodeEvents(hub.subscribe())
    }

    // MARK: Peers

    /// The peers that we are connected to.
    public var peers: [PeerID] {
        directory.peers
    }

    /// Connects to `peer`; nil: to whoever answers at these addresses. Several addresses are raced. Without addresses,
    /// those that are known of the peer are tried. Connected already: returns at once.
    @discardableResult
    public func dial(
        _ peer: PeerID? = nil, at addresses: [Multiaddr] = [], deadline: Duration = .seconds(15)
    ) async throws(NodeError) -> PeerID {
        let wanted = try expected(peer, addresses)
        let began = ContinuousClock.now
        let runtime = try await started(.dial, peer: wanted, deadline: deadline)
        return try await runtime.driver.dial(wanted, at: addresses, within: deadline - began.duration(to: .now))
    }

    /// Gives up every connection to the peer: when this returns, none takes streams any more, and each says goodbye. Not
    /// connected: does nothing.
    public func disconnect(_ peer: PeerID, deadline: Duration = .seconds(10)) async throws(NodeError) {
        let runtime = try await started(.stream, peer: peer, deadline: deadline)
        runtime.driver.disconnect(peer)
    }

    /// What a connected peer says of itself; waits until it has.
    public func profile(
        of peer: PeerID, deadline: Duration = .seconds(10)
    ) async throws(NodeError) -> PeerDescription {
        if let known = directory.description(of: peer) { return known }
        let began = ContinuousClock.now
        let runtime = try await started(.identify, peer: peer, deadline: deadline)
        return try await runtime.driver.profile(of: peer, within: deadline - began.duration(to: .now))
    }

    func isConnectedTo(_ peer: PeerID) -> Bool { directory.isConnected(peer) }

    // MARK: Streams

    /// Opens a stream on the preferred connection to the peer, and dials first where there is none.
    ///
    /// With one protocol nothing is waited for: the first write, read or half-close opens the stream, and what was written
    /// by then leaves with it, before the peer has agreed. A refusal, or one stream too many (`.limit`), shows at the
    /// first read. A stream that was never used is unknown to the peer and doesn't hold the connection. With several
    /// protocols, the first that the peer speaks is chosen, which takes a round trip.
    public func open(
        _ protocols: ProtocolID..., to peer: PeerID, at addresses: [Multiaddr] = [], deadline: Duration = .seconds(15)
    ) async throws(NodeError) -> NodeStream {
        let began = ContinuousClock.now
        if directory.preferred(peer) == nil {
            try await dial(peer, at: addresses, deadline: deadline)
        }
        guard let handle = directory.preferred(peer) else {
            throw NodeError(
                code: .disconnected, peer: peer, stage: .stream, message: "the connection was lost at once: dial again")
        }
        do {
            if protocols.count == 1 { return NodeStream(try await handle.openStream(protocols)) }
            return try await withDeadline(deadline - began.duration(to: .now)) {
                NodeStream(try await handle.openStream(protocols))
            }
        } catch {
            throw .stream(error, peer: peer, protocols: protocols, deadline: deadline)
        }
    }

    /// Answers to a protocol from now on: `body` runs as a task of its own for each inbound stream, inside `run()`.
    ///
    /// When it returns, our direction is closed, and the stream is reset if the peer sends more; when it throws, the stream
    /// is reset.
    /// - Parameter inboundMax: streams of this protocol that one connection may hold open.
    public func handle(
        _ name: ProtocolID, inboundMax: Int = 32, _ body: @escaping @Sendable (NodeStream) async throws -> Void
    ) {
        handlers.set(name, inboundMax: inboundMax, body)
        protocolsChanged()
    }

    /// Stops answering to a protocol; streams that are open go on.
    public func removeHandler(_ name: ProtocolID) {
        handlers.remove(name)
        protocolsChanged()
    }

    // MARK: Measuring

    /// Round trips of 32 random bytes, one after the other on one stream.
    public func ping(
        _ peer: PeerID, count: Int = 1, deadline: Duration = .seconds(10)
    ) async throws(NodeError) -> [Duration] {
        let stream = try await open(PingClient.protocolID, to: peer, deadline: deadline)
        do {
            return try await withDeadline(deadline) { try await PingClient.measure(on: stream, count: count) }
        } catch {
            throw .stream(error, peer: peer, protocols: [PingClient.protocolID], deadline: deadline)
        }
    }

    /// Sends and fetches as many zero bytes under `/perf/1.0.0` and says how long it took.
    /// - Parameter progress: told now and then how far it is; called from the task that moves the bytes.
    public func perf(
        _ peer: PeerID, upload: UInt64, download: UInt64, deadline: Duration = .seconds(600),
        progress: @escaping @Sendable (PerfProgress) -> Void = { _ in }
    ) async throws(NodeError) -> PerfResult {
        let stream = try await open(PerfProtocol.protocolID, to: peer, deadline: deadline)
        do {
            return try await withDeadline(deadline) {
                try await PerfProtocol.measure(on: stream, upload: upload, download: download, progress: progress)
            }
        } catch {
            throw .stream(error, peer: peer, protocols: [PerfProtocol.protocolID], deadline: deadline)
        }
    }

    // MARK: Private parts

    private func begin() throws(NodeError) -> NodeRuntime {
        let isFirst = state.withLock { state in
            guard case .idle = state.lifecycle else { return false }
            state.lifecycle = .starting
            return true
        }
        guard isFirst else {
            throw NodeError(
                code: .invalidUse, stage: .start,
                message: "run() was called before on this node: make a new one")
        }
        do {
            return try NodeRuntime(
                identity: identity, configuration: configuration, directory: directory, events: hub, topics: topics,
                protocols: handlers.table, memory: memory)
        } catch {
            enter(.stopped)
            hub.finish()
            throw error
        }
    }

    private func enter(_ lifecycle: Lifecycle) {
        let waiters = state.withLock { state in
            state.lifecycle = lifecycle
            defer { state.waiters = [:] }
            return state.waiters.values
        }
        for waiter in waiters { waiter.resume() }
        // A handler that was added while the node started is not in its first table.
        if case .running = lifecycle { protocolsChanged() }
    }

    private func protocolsChanged() {
        guard case .running(let runtime, _) = state.withLock({ $0.lifecycle }) else { return }
        runtime.driver.setProtocols(handlers.table)
    }

    /// The runtime, once there is one.
    func started(
        _ stage: NodeError.Stage, peer: PeerID?, deadline: Duration?
    ) async throws(NodeError) -> NodeRuntime {
        switch state.withLock({ $0.lifecycle }) {
        case .running(let runtime, _): return runtime
        case .stopped: throw .stopped(stage, peer: peer)
        case .idle, .starting: break
        }
        do {
            if let deadline {
                try await withDeadline(deadline) { await self.lifecycleChange() }
            } else {
                await lifecycleChange()
            }
        } catch {
            throw Task.isCancelled ? .cancelled(stage, peer: peer) : .deadline(stage, peer: peer, deadline ?? .zero)
        }
        guard case .running(let runtime, _) = state.withLock({ $0.lifecycle }) else {
            throw Task.isCancelled ? .cancelled(stage, peer: peer) : .stopped(stage, peer: peer)
        }
        return runtime
    }

    /// Returns once the node runs or has stopped, or when the task is cancelled.
    private func lifecycleChange() async {
        let id = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        await withTaskCancellationHandler {
            await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
                let mustWait = state.withLock { state in
                    switch state.lifecycle {
                    case .running, .stopped: return false
                    case .idle, .starting:
                        if Task.isCancelled { return false }
                        state.waiters[id] = continuation
                        return true
                    }
                }
                if !mustWait { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
        }
    }

    private func expected(_ peer: PeerID?, _ addresses: [Multiaddr]) throws(NodeError) -> PeerID? {
        let named = Set(addresses.compactMap(\.peerID) + [peer].compactMap(\.self))
        guard named.count <= 1 else {
            throw NodeError(
                code: .noAddress, peer: peer, stage: .dial,
                message: "the addresses name different peers: dial one peer at a time")
        }
        return named.first
    }

    private func serve(_ runtime: NodeRuntime) async {
        let logger = configuration.logger
        await withDiscardingTaskGroup { group in
            group.addTask { await runtime.lookUpNames() }
            group.addTask { await runtime.discovery.keep() }
            while let batch = await runtime.arrivals.next() {
                for mailbox in batch {
                    guard let body = handlers.body(for: mailbox.protocolID) else {
                        mailbox.reset()
                        continue
                    }
                    runtime.handlers.began()
                    group.addTask {
                        defer { runtime.handlers.ended() }
                        let stream = NodeStream(mailbox)
                        do {
                            try await body(stream)
                            stream.finish()
                        } catch {
                            stream.reset()
                            logger.debug(
                                "stream handler failed",
                                metadata: ["peer.id": "\(stream.peer)", "protocol": "\(stream.protocolID)"])
                        }
                    }
                }
            }
            await runtime.finishHandlers(within: configuration.handlerTimeout)
            group.cancelAll()
        }
    }
}

/// Nodes of one process that were made with the same network reach each other at `/memory/N` addresses.
public final class InMemoryNetwork: Sendable {
    fileprivate let network = MemoryNetwork()

    public init() {}
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Logging
import Metrics
import NIOCore
import NIOPosix
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiNodeCore
import TuttiPeers
import TuttiTransport

/// Event loops that several nodes of one process share. Whoever made them ends them, after the nodes.
package struct NodeLoops: Sendable {
    fileprivate let sockets: MultiThreadedEventLoopGroup
    fileprivate let driver: MultiThreadedEventLoopGroup

    /// With one or two processors one loop does all: there, waking another thread for every message costs more than the
    /// loops could share. With more, one loop for each processor, and one for the driver, which carries no socket.
    package init() {
        let count = System.coreCount
        sockets = MultiThreadedEventLoopGroup(numberOfThreads: count <= 2 ? 1 : count)
        driver = count <= 2 ? sockets : MultiThreadedEventLoopGroup(numberOfThreads: 1)
    }

    /// Runs tasks on the driver's loop: what they ask of the node then wakes no other thread. They must not block.
    package var executor: any TaskExecutor { LoopExecutor(driver.next()) }

    package func shutDown() async {
        // Sockets first: their last events still go to the driver's loop.
        try? await sockets.shutdownGracefully()
        if driver !== sockets { try? await driver.shutdownGracefully() }
    }
}

/// A loop as a place for tasks.
private final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// What exists only while a node runs: its loops, its sockets, its driver.
final class NodeRuntime: Sendable {
    /// Streams that wait for a handler's task. Connections bound them too; this bounds them all.
    private static let arrivalsMax = 16_384
    private static let lookupsMax = 256

    let driver: NodeDriver
    let transport: Transport
    let arrivals = BatchQueue<StreamMailbox>(countMax: arrivalsMax)
    let lookups = BatchQueue<NodeDriver.Lookup>(countMax: lookupsMax)
    let handlers = RunningHandlers()
    private let protocols: ProtocolTable
    let discovery: NodeDiscovery
    private let loops: NodeLoops
    private let ownsLoops: Bool

    init(
        identity: KeyPair, configuration: NodeConfiguration, directory: PeerDirectory, events: EventHub,
        topics: TopicHub,
        protocols: ProtocolTable, memory: MemoryNetwork?
    ) throws(NodeError) {
        let limits = configuration.limits.nodeLimits
        let securities = configuration.securities.map(\.protocolID)
        var peers = PeersConfiguration(
            identity: identity, limits: limits, agent: configuration.agent, securities: securities)
        // Later runs under the same key must have higher numbers.
        let startMilliseconds = UInt64(clamping: Int64(Date().timeIntervalSince1970 * 1000))
        peers.recordSequence = startMilliseconds
        peers.dialsMemory = memory != nil
        let gate = configuration.gate
        peers.gate = { direction, address, peer in gate(peer, address, NodeConfiguration.Direction(direction)) }
        var connection = ConnectionConfiguration()
        connection.limits = limits.connection
        connection.securityProposed = securities.first ?? .noise
        connection.securityAccepted = securities

        loops = configuration.loops ?? NodeLoops()
        ownsLoops = configuration.loops == nil
        driver = NodeDriver(
            configuration: configuration.coreConfiguration(
                peers: peers, identity: identity, startNanoseconds: startMilliseconds &* 1_000_000),
            settings: configuration, seed: .random(in: .min ... .max), loop: loops.driver.next(), directory: directory,
            events: events, topics: topics, arrivals: arrivals, lookups: lookups, logger: configuration.logger,
            metrics: NodeMetrics(factory: configuration.metricsFactory ?? MetricsSystem.factory))
        self.protocols = protocols
        discovery = NodeDiscovery(
            configuration, own: identity.peerID, driver: driver, loop: loops.sockets.next())
        do {
            transport = try Transport(
                identity: identity, configuration: connection, protocols: ProtocolTable(), group: loops.sockets,
                owner: driver,
                memory: memory)
        } catch {
            if ownsLoops {
                loops.sockets.shutdownGracefully { _ in }
                if loops.driver !== loops.sockets { loops.driver.shutdownGracefully { _ in } }
            }
            throw NodeError(
                code: .invalidConfiguration, stage: .start, message: "the sockets can't be set up: \(error)",
                cause: error)
        }
    }

    /// Binds every address, or throws for the first that can't be bound. Returns what was bound.
    func listen(on addresses: [Multiaddr], logger: Logger) async throws(NodeError) -> [Multiaddr] {
        await driver.start(transport, protocols: protocols)
        var bound: [Multiaddr] = []
        for address in addresses {
            do {
                bound += try await transport.listen(on: address)
            } catch {
                // A machine without IPv6 serves IPv4 only.
                if Self.isFamilyMissing(error), !bound.isEmpty {
                    logger.debug("address skipped", metadata: ["address": "\(address)"])
                    continue
                }
                let isInUse = (error as? TransportError)?.code == .addressInUse
                throw NodeError(
                    code: isInUse ? .addressInUse : .cannotListen, stage: .listen, message: "\(error)", cause: error)
            }
        }
        driver.submit(.listening(bound))
        await discovery.start(listening: bound)
        return bound
    }

    private static func isFamilyMissing(_ error: any Error) -> Bool {
        guard let error = error as? TransportError, let cause = error.cause as? IOError else { return false }
        return cause.errnoCode == EAFNOSUPPORT || cause.errnoCode == EADDRNOTAVAIL
    }

    /// Looks names up until cancelled, several at a time; PeersCore bounds how many.
    func lookUpNames() async {
        await withDiscardingTaskGroup { group in
            while let batch = await lookups.next() {
                for lookup in batch {
                    group.addTask {
                        let addresses = await self.transport.resolve(lookup.address)
                        self.driver.submit(.resolved(lookup.id, addresses))
                    }
                }
            }
        }
    }

    /// Accepts, dials and begins nothing any more, and lets the handlers that run finish. When the time is up they are
    /// left to their cancellation.
    func finishHandlers(within duration: Duration) async {
        arrivals.finish()
        await discovery.stop()
        driver.refuseNew()
        await transport.close()
        try? await withDeadline(duration) { await self.handlers.finish() }
    }

    /// Stops listening, says goodbye on every connection, ends the loops. Works in a cancelled task too.
    func shutDown(within duration: Duration) async {
        arrivals.finish()
        await discovery.stop()
        await transport.close()
        await driver.closeAll(within: duration)
        await driver.stop()
        if ownsLoops { await loops.shutDown() }
    }
}

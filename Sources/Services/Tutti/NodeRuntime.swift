// SPDX-License-Identifier: Apache-2.0
import Glibc
import Logging
import NIOCore
import NIOPosix
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers
import TuttiTransport

/// What exists only while a node runs: its loops, its sockets, its driver.
final class NodeRuntime: Sendable {
    /// Streams that wait for a handler's task. Connections bound them too; this bounds them all.
    private static let arrivalsMax = 16_384
    private static let lookupsMax = 256

    let driver: NodeDriver
    let transport: Transport
    let arrivals = BatchQueue<StreamMailbox>(countMax: arrivalsMax)
    let lookups = BatchQueue<NodeDriver.Lookup>(countMax: lookupsMax)
    private let socketLoops: MultiThreadedEventLoopGroup
    private let driverLoop: MultiThreadedEventLoopGroup

    init(
        identity: KeyPair, configuration: NodeConfiguration, directory: PeerDirectory, events: EventHub,
        protocols: ProtocolTable
    ) throws(NodeError) {
        let limits = configuration.limits.nodeLimits
        let securities = configuration.securities.map(\.protocolID)
        let peers = PeersConfiguration(
            identity: identity, limits: limits, agent: configuration.agent, securities: securities)
        var connection = ConnectionConfiguration()
        connection.limits = limits.connection
        connection.securityProposed = securities.first ?? .noise
        connection.securityAccepted = securities

        socketLoops = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
        driverLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        driver = NodeDriver(
            configuration: peers, seed: .random(in: .min ... .max), loop: driverLoop.next(), directory: directory,
            events: events, arrivals: arrivals, lookups: lookups, logger: configuration.logger)
        do {
            transport = try Transport(
                identity: identity, configuration: connection, protocols: protocols, group: socketLoops, owner: driver)
        } catch {
            socketLoops.shutdownGracefully { _ in }
            driverLoop.shutdownGracefully { _ in }
            throw NodeError(
                code: .invalidConfiguration, stage: .start, message: "the sockets can't be set up: \(error)",
                cause: error)
        }
        driver.start(transport, protocols: protocols)
    }

    /// Binds every address, or throws for the first that can't be bound. Returns what was bound.
    func listen(on addresses: [Multiaddr], logger: Logger) async throws(NodeError) -> [Multiaddr] {
        var bound: [Multiaddr] = []
        for address in addresses {
            do {
                bound += try await transport.listen(on: address)
            } catch {
                let failure = ListenFailure(error)
                // A machine without IPv6 serves IPv4 only.
                if failure == .noSuchFamily, !bound.isEmpty {
                    logger.debug("address skipped", metadata: ["address": "\(address)"])
                    continue
                }
                throw failure.error(address, cause: error)
            }
        }
        driver.submit(.listening(bound))
        return bound
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

    /// Stops listening, says goodbye on every connection, ends the loops. Works in a cancelled task too.
    func shutDown(within duration: Duration) async {
        arrivals.finish()
        await transport.close()
        await driver.closeAll(within: duration)
        await driver.stop()
        // Sockets first: their last events still go to the driver's loop.
        try? await socketLoops.shutdownGracefully()
        try? await driverLoop.shutdownGracefully()
    }
}

/// Why an address can't be listened on.
private enum ListenFailure {
    case inUse
    case notPermitted
    case noSuchFamily
    case other

    init(_ error: any Error) {
        switch (error as? IOError)?.errnoCode {
        case EADDRINUSE: self = .inUse
        case EACCES, EPERM: self = .notPermitted
        case EAFNOSUPPORT, EADDRNOTAVAIL: self = .noSuchFamily
        default: self = .other
        }
    }

    func error(_ address: Multiaddr, cause: any Error) -> NodeError {
        switch self {
        case .inUse:
            NodeError(
                code: .addressInUse, stage: .listen,
                message: "\(address) is in use: stop the program that listens there or choose another port",
                cause: cause)
        case .notPermitted:
            NodeError(
                code: .cannotListen, stage: .listen,
                message: "listening on \(address) is not permitted: choose a port above 1023", cause: cause)
        case .noSuchFamily:
            NodeError(
                code: .cannotListen, stage: .listen,
                message: "this machine has no such address as in \(address): choose one of its own", cause: cause)
        case .other:
            NodeError(
                code: .cannotListen, stage: .listen, message: "listening on \(address) failed: \(cause)", cause: cause)
        }
    }
}

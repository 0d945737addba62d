// SPDX-License-Identifier: Apache-2.0
package import NIOCore
import NIOPosix
import Synchronization
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Listeners, dials and names. One instance per node.
///
/// It decides nothing: which connection is admitted, which address is dialled and when is its owner's choice, told in
/// `ConnectionEvent`s. Accepted connections have even ids; the owner numbers its dials, with odd ones. A connection stays
/// on the loop that it began on.
package final class Transport: Sendable {
    private struct State {
        var protocols: ProtocolTable
        var listeners: [any Channel] = []
        var memoryListeners: [UInt64] = []
        var isClosed = false
    }

    private let environment: DriverEnvironment
    private let group: any EventLoopGroup
    private let shares: [ObjectIdentifier: LoopShare]
    private let memory: MemoryNetwork?
    private let resolver: Resolver
    private let lastAccepted = Atomic<UInt64>(0)
    private let state: Mutex<State>

    /// - Parameters:
    ///   - windows: shared by all transports of the process; its own when nil.
    ///   - memory: where `/memory/N` addresses lead; without it they can't be used.
    ///   - keySource: `.system` in every live node.
    /// - Throws: `TransportError`.
    package init(
        identity: KeyPair, configuration: ConnectionConfiguration, protocols: ProtocolTable,
        group: any EventLoopGroup, owner: any ConnectionOwner, limits: TransportLimits = TransportLimits(),
        windows: WindowPool? = nil, memory: MemoryNetwork? = nil, nameServers: [SocketAddress]? = nil,
        keySource: KeySource = .system
    ) throws {
        let tls: TLSContext
        do {
            tls = try TLSContext(identity: identity)
        } catch {
            throw TransportError(
                code: .identityUnusable, message: "no TLS certificate can be made of the node's key", cause: error)
        }
        environment = DriverEnvironment(
            identity: identity, configuration: configuration, limits: limits, owner: owner,
            windows: windows ?? WindowPool(bytes: limits.windowPoolBytes), tls: tls, keySource: keySource)
        self.group = group
        shares = Dictionary(
            group.makeIterator().map { (ObjectIdentifier($0), LoopShare()) }, uniquingKeysWith: { first, _ in first })
        self.memory = memory
        resolver = Resolver(limits: limits, group: group, servers: nameServers)
        state = Mutex(State(protocols: protocols))
    }

    // MARK: Listening

    /// Binds `/ip4|ip6/…/tcp/…` (port 0: the system chooses) or `/memory/N` (0: any that is free). Returns the bound
    /// addresses, interfaces expanded.
    /// - Throws: `TransportError`.
    package func listen(on address: Multiaddr) async throws -> [Multiaddr] {
        switch Endpoint(address) {
        case .socket(let socket): try await listen(on: socket, as: address)
        case .memory(let number): try listen(onMemory: number, as: address)
        case nil: throw TransportError.unsupported(address)
        }
    }

    private func listen(on socket: SocketAddress, as address: Multiaddr) async throws -> [Multiaddr] {
        let channel: any Channel
        do {
            channel = try await serverBootstrap(isIPv6: socket.protocol == .inet6).bind(to: socket).get()
        } catch {
            throw TransportError.binding(address, failed: error)
        }
        let isKept = state.withLock { state in
            guard !state.isClosed else { return false }
            state.listeners.append(channel)
            return true
        }
        guard isKept else {
            try? await channel.close()
            throw TransportError(code: .closed, message: "the node is stopping: nothing listens any more")
        }
        return channel.localAddress?.reachable() ?? []
    }

    private func serverBootstrap(isIPv6: Bool) -> ServerBootstrap {
        let limits = environment.limits
        var bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(ChannelOptions.backlog, value: Int32(clamping: limits.listenBacklog))
            .serverChannelOption(ChannelOptions.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { [door = environment.door] channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DoorHandler(door))
                }
            }
            .childChannelOption(ChannelOptions.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(ChannelOptions.autoRead, value: false)
            .childChannelOption(ChannelOptions.maxMessagesPerRead, value: 1)
            .childChannelOption(
                ChannelOptions.recvAllocator,
                value: ReceiveAllocator(bytesMax: limits.readBytesMax, buffers: environment.readBuffers)
            )
            .childChannelOption(
                ChannelOptions.writeBufferWaterMark,
                value: ChannelOptions.Types.WriteBufferWaterMark(
                    low: limits.linkLowWater, high: limits.linkHighWater)
            )
            .childChannelInitializer { channel in self.initialise(accepted: channel) }
        if isIPv6 {
            // An IPv4 address would be bound beside it.
            bootstrap = bootstrap.serverChannelOption(
                ChannelOptions.Types.SocketOption(
                    level: .init(IPPROTO_IPV6), name: .init(IPV6_V6ONLY)), value: 1)
        }
        return bootstrap
    }

    private func initialise(accepted channel: any Channel) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            guard let remote = channel.remoteAddress?.multiaddr() else { throw ChannelError.unknownLocalAddress }
            try adopt(channel, from: remote)
        }
    }

    /// Makes an inbound connection of a channel that carries bytes. On the channel's loop.
    package func adopt(_ channel: any Channel, from remote: Multiaddr) throws {
        let driver = makeDriver(nextAcceptedID(), .inbound, remote, channel.eventLoop, nil)
        try channel.pipeline.syncOperations.addHandler(ConnectionHandler(driver))
    }

    private func listen(onMemory number: UInt64, as address: Multiaddr) throws -> [Multiaddr] {
        guard let memory else { throw TransportError.unsupported(address) }
        let bound = memory.listen(on: number) { [weak self] remote in
            guard let self else { return nil }
            return makeDriver(nextAcceptedID(), .inbound, remote, group.next(), nil)
        }
        guard let bound else {
            throw TransportError(
                code: .addressInUse, message: "\(address) is already in use: choose another number, or 0 for any")
        }
        state.withLock { $0.memoryListeners.append(bound) }
        return [Multiaddr(components: [.memory(bound)])]
    }

    // MARK: Dialling

    /// One attempt: `.established` or one `.dialFailed` follows, within `timeout`.
    package func dial(
        _ id: ConnectionID, to address: Multiaddr, expected: PeerID?, security: ProtocolID, timeout: Duration
    ) {
        environment.dials.begin(id)
        let loop = group.next()
        let start = Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds))
        let plan = DialPlan(expected: expected, security: security, deadline: start + timeout)
        guard timeout > .zero else { return fail(id, .timeout(.dial)) }
        switch Endpoint(address) {
        case .socket(let socket):
            let driver = makeDriver(id, .outbound, address.withoutPeerID, loop, plan)
            connect(driver, to: socket, timeout: timeout)
        case .memory(let number):
            guard let memory, let accept = memory.listener(on: number) else {
                return fail(id, .transport("nobody listens there", .dial))
            }
            guard let listener = accept(Multiaddr(components: [.memory(memory.ephemeral())])) else {
                return fail(id, .transport("nobody listens there", .dial))
            }
            let driver = makeDriver(id, .outbound, address.withoutPeerID, loop, plan)
            MemoryLink.join(driver, listener, highWater: environment.limits.linkHighWater)
        case nil:
            fail(id, .transport("this kind of address can't be dialled", .dial))
        }
    }

    package func cancelDial(_ id: ConnectionID) {
        environment.dials.cancel(id)
    }

    private func connect(_ driver: ConnectionDriver, to socket: SocketAddress, timeout: Duration) {
        let limits = environment.limits
        ClientBootstrap(group: driver.loop)
            .connectTimeout(.nanoseconds(timeout.saturatedNanoseconds))
            .channelOption(ChannelOptions.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(ChannelOptions.autoRead, value: false)
            .channelOption(ChannelOptions.maxMessagesPerRead, value: 1)
            .channelOption(
                ChannelOptions.recvAllocator,
                value: ReceiveAllocator(bytesMax: limits.readBytesMax, buffers: environment.readBuffers)
            )
            .channelOption(
                ChannelOptions.writeBufferWaterMark,
                value: ChannelOptions.Types.WriteBufferWaterMark(low: limits.linkLowWater, high: limits.linkHighWater)
            )
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard self.environment.dials.connecting(driver.id, channel) else { throw CancellationError() }
                    try channel.pipeline.syncOperations.addHandler(ConnectionHandler(driver))
                }
            }
            .connect(to: socket)
            // A connection that came up speaks for itself.
            .whenFailure { error in
                let isTimeout = if case .connectTimeout = error as? ChannelError { true } else { false }
                self.fail(driver.id, isTimeout ? .timeout(.dial) : .transport(failureText(error), .dial))
            }
    }

    /// Tells the owner, unless the dial was cancelled: then that is the reason.
    private func fail(_ id: ConnectionID, _ reason: CloseReason) {
        let wasCancelled = environment.dials.endedBeforeConnection(id)
        environment.owner.receive([.dialFailed(id, wasCancelled ? .local : reason)])
    }

    // MARK: The rest

    /// `/dns`, `/dns4`, `/dns6`, `/dnsaddr` -> addresses, at most 16; empty when there are none.
    package func resolve(_ address: Multiaddr) async -> [Multiaddr] {
        await resolver.resolve(address)
    }

    /// For connections made from now on; living ones get `.setProtocols`.
    package func setProtocols(_ protocols: ProtocolTable) {
        state.withLock { $0.protocols = protocols }
    }

    /// Stops listening; living connections are the owner's to close.
    package func close() async {
        let (listeners, numbers) = state.withLock { state in
            state.isClosed = true
            defer {
                state.listeners = []
                state.memoryListeners = []
            }
            return (state.listeners, state.memoryListeners)
        }
        for number in numbers { memory?.stop(number) }
        for listener in listeners { try? await listener.close() }
        await resolver.close()
    }

    /// Sockets that were closed as they were accepted, since the node had refused their source a moment before.
    package var turnedAwayCount: UInt64 { environment.door.turnedAwayCount }

    /// Bytes by which the windows of this transport's connections may still grow.
    package var freeWindowBytes: Int { environment.windows.freeBytes }

    private func nextAcceptedID() -> ConnectionID {
        ConnectionID(lastAccepted.wrappingAdd(2, ordering: .relaxed).newValue)
    }

    private func makeDriver(
        _ id: ConnectionID, _ direction: Direction, _ remote: Multiaddr, _ loop: any EventLoop, _ dial: DialPlan?
    ) -> ConnectionDriver {
        let protocols = state.withLock { $0.protocols }
        return ConnectionDriver(
            id: id, direction: direction, remote: remote, loop: loop,
            share: shares[ObjectIdentifier(loop)] ?? LoopShare(), environment: environment,
            protocols: protocols, dial: dial)
    }
}

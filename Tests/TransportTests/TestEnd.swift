// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import Synchronization
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

/// Keeps what connections say, admits what is accepted, and lets a test wait for what it needs to hear.
final class TestOwner: ConnectionOwner {
    private struct State {
        var events: [ConnectionEvent] = []
        var waiting: [(matches: @Sendable (ConnectionEvent) -> Bool, continuation: CheckedContinuation<Void, Never>)] =
            []
        var admits = true
        /// Batches whose receipts a test keeps, so that they count as not handled.
        var holdsReceipts = false
    }

    private let state = Mutex(State())

    init(admits: Bool = true, holdsReceipts: Bool = false) {
        state.withLock {
            $0.admits = admits
            $0.holdsReceipts = holdsReceipts
        }
    }

    func receive(_ batch: [ConnectionEvent]) {
        var admitted: [ConnectionHandle] = []
        var woken: [CheckedContinuation<Void, Never>] = []
        state.withLock { state in
            for event in batch {
                if case .accepted(let handle) = event, state.admits { admitted.append(handle) }
                if case .receipt = event, !state.holdsReceipts { continue }
                state.events.append(event)
            }
            var rest: [(matches: @Sendable (ConnectionEvent) -> Bool, continuation: CheckedContinuation<Void, Never>)] =
                []
            for waiter in state.waiting {
                if state.events.contains(where: waiter.matches) {
                    woken.append(waiter.continuation)
                } else {
                    rest.append(waiter)
                }
            }
            state.waiting = rest
        }
        for handle in admitted { handle.perform([.admit]) }
        for continuation in woken { continuation.resume() }
    }

    /// The first event that `pick` makes something of; it is taken out.
    func first<Found>(_ pick: @escaping @Sendable (ConnectionEvent) -> Found?) async -> Found {
        while true {
            if let found = take(pick) { return found }
            await withCheckedContinuation { continuation in
                let isThere = state.withLock { state in
                    if state.events.contains(where: { pick($0) != nil }) { return true }
                    state.waiting.append(({ pick($0) != nil }, continuation))
                    return false
                }
                if isThere { continuation.resume() }
            }
        }
    }

    func take<Found>(_ pick: (ConnectionEvent) -> Found?) -> Found? {
        state.withLock { state in
            for (index, event) in state.events.enumerated() {
                guard let found = pick(event) else { continue }
                state.events.remove(at: index)
                return found
            }
            return nil
        }
    }

    func letGoOfReceipts() {
        var kept: [ConnectionEvent] = []
        state.withLock { state in
            state.holdsReceipts = false
            kept = state.events
            state.events.removeAll { if case .receipt = $0 { true } else { false } }
        }
        _ = kept
    }

    func count(_ matches: (ConnectionEvent) -> Bool) -> Int {
        state.withLock { $0.events.count { matches($0) } }
    }

    func established() async -> ConnectionHandle {
        await first { if case .established(let handle, _, _) = $0 { handle } else { nil } }
    }

    func arrived() async -> StreamMailbox {
        await first { if case .streamArrived(_, let mailbox) = $0 { mailbox } else { nil } }
    }

    func closed() async -> CloseReason {
        await first { if case .closed(_, let reason) = $0 { reason } else { nil } }
    }

    func dialFailed() async -> CloseReason {
        await first { if case .dialFailed(_, let reason) = $0 { reason } else { nil } }
    }
}

/// One transport with its owner and key.
final class TestEnd: Sendable {
    static let echo: ProtocolID = "/test/echo/1"
    static let messages: ProtocolID = "/test/messages/1"
    static let ping: ProtocolID = "/ipfs/ping/1.0.0"
    static let table = ProtocolTable(entries: [
        echo: .init(owner: .application, inboundMax: 64),
        messages: .init(owner: .core(messageBytesMax: 1024), inboundMax: 64),
        ping: .init(owner: .ping, inboundMax: 2),
    ])

    let key: KeyPair
    let owner: TestOwner
    let transport: Transport
    private let lastDial = Atomic<UInt64>(1)

    init(
        _ seed: UInt8, memory: MemoryNetwork? = nil, owner: TestOwner = TestOwner(),
        configuration: ConnectionConfiguration = ConnectionConfiguration(), limits: TransportLimits = TransportLimits(),
        protocols: ProtocolTable = TestEnd.table, nameServers: [SocketAddress]? = [],
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) throws {
        key = KeyPair(seed: Bytes32(words: (UInt64(seed), 1, 2, 3)))
        self.owner = owner
        transport = try Transport(
            identity: key, configuration: configuration, protocols: protocols,
            group: group, owner: owner, limits: limits, memory: memory, nameServers: nameServers)
    }

    func nextDial() -> ConnectionID {
        ConnectionID(lastDial.wrappingAdd(2, ordering: .relaxed).oldValue)
    }

    /// Dials and waits until both ends are established.
    func connect(
        to other: TestEnd, at address: Multiaddr, security: ProtocolID = .noise
    ) async -> (near: ConnectionHandle, far: ConnectionHandle) {
        transport.dial(
            nextDial(), to: address, expected: other.key.peerID, security: security, timeout: .seconds(20))
        return (await owner.established(), await other.owner.established())
    }
}

/// Two ends in memory, connected.
struct TestPair {
    let near: TestEnd
    let far: TestEnd
    let nearConnection: ConnectionHandle
    let farConnection: ConnectionHandle

    init(
        configuration: ConnectionConfiguration = ConnectionConfiguration(), limits: TransportLimits = TransportLimits(),
        farOwner: TestOwner = TestOwner(), security: ProtocolID = .noise, protocols: ProtocolTable = TestEnd.table
    ) async throws {
        let network = MemoryNetwork()
        near = try TestEnd(1, memory: network, configuration: configuration, limits: limits, protocols: protocols)
        far = try TestEnd(
            2, memory: network, owner: farOwner, configuration: configuration, limits: limits, protocols: protocols)
        let address = try await far.transport.listen(on: Multiaddr(components: [.memory(0)]))
        (nearConnection, farConnection) = await near.connect(to: far, at: address[0], security: security)
    }

    /// An application's stream, seen from both ends.
    func stream() async throws -> (near: StreamMailbox, far: StreamMailbox) {
        let mailbox = try await nearConnection.openStream([TestEnd.echo])
        try await mailbox.write(ByteBuffer(string: "x"))
        let other = await far.owner.arrived()
        _ = try await other.readWhole(1)
        return (mailbox, other)
    }
}

extension StreamMailbox {
    /// Exactly `count` bytes, or fewer at the stream's end.
    func readWhole(_ count: Int) async throws -> ByteBuffer {
        var whole = ByteBuffer()
        while whole.readableBytes < count, let parts = try await read() {
            for part in parts { whole.writeImmutableBuffer(part) }
        }
        return whole
    }
}

func faultOf(_ body: () async throws -> Void) async -> StreamFault? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? StreamFailure)?.fault
    }
}

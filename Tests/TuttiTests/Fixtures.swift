// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import Tutti

/// How the nodes of a test reach each other.
enum Medium: String, CaseIterable, CustomTestStringConvertible {
    case noise
    case tls
    case memory

    var testDescription: String { rawValue }
}

struct Pair: Sendable {
    let dialler: Node
    let listener: Node
    let addresses: [Multiaddr]

    /// Connects the two and waits until both sides know.
    func connect() async throws {
        let events = listener.events
        try await dialler.dial(at: addresses)
        for await event in events {
            if case .peerConnected(dialler.peerID) = event { return }
        }
    }
}

func makeNode(
    _ medium: Medium, _ network: InMemoryNetwork, _ configure: (inout NodeConfiguration) -> Void = { _ in }
) throws -> Node {
    var configuration = NodeConfiguration()
    switch medium {
    case .noise: configuration.securities = [.noise]
    case .tls: configuration.securities = [.tls]
    case .memory: break
    }
    configure(&configuration)
    guard medium != .memory else { return try Node.inMemory(network: network, configuration: configuration) }
    return try Node(configuration: configuration)
}

/// Two running nodes; the listener serves `serve`.
func withPair(
    _ medium: Medium, configure: (inout NodeConfiguration) -> Void = { _ in }, serve: (Node) -> Void = { _ in },
    _ body: @escaping @Sendable (Pair) async throws -> Void
) async throws {
    let network = InMemoryNetwork()
    let dialler = try makeNode(medium, network)
    let listener = try makeNode(medium, network, configure)
    serve(listener)
    try await withNode(listener) { listener in
        try await withNode(dialler) { dialler in
            let pair = Pair(dialler: dialler, listener: listener, addresses: try await listener.listenAddresses)
            _ = try await dialler.listenAddresses
            try await body(pair)
        }
    }
}

extension Node {
    /// Sends back what comes.
    func echo(_ name: ProtocolID = "/echo/1.0.0") {
        handle(name) { stream in
            while let batch = try await stream.readBatch() {
                for part in batch { try await stream.write(part) }
            }
        }
    }
}

/// What a call threw, when it was a `NodeError`.
func nodeError(_ body: () async throws -> Void) async -> NodeError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? NodeError
    }
}

/// Set once, from any task.
final class Flag: Sendable {
    private let state = Mutex(false)

    var isSet: Bool { state.withLock { $0 } }
    func set() { state.withLock { $0 = true } }
}

/// Lets tasks of a test wait for each other.
final class Signal: Sendable {
    private struct State {
        var isRaised = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func raise() {
        let waiters = state.withLock { state in
            state.isRaised = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isRaised = state.withLock { state in
                if !state.isRaised { state.waiters.append(continuation) }
                return state.isRaised
            }
            if isRaised { continuation.resume() }
        }
    }
}

/// A port on which connections come up and nobody ever speaks.
final class SilentListener: Sendable {
    let address: Multiaddr
    private let descriptor: Int32

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        try withUnsafeMutablePointer(to: &name) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                try #require(bind(descriptor, name, length) == 0)
                try #require(listen(descriptor, 8) == 0)
                try #require(getsockname(descriptor, name, &length) == 0)
            }
        }
        address = try #require(Multiaddr("/ip4/127.0.0.1/tcp/\(UInt16(bigEndian: name.sin_port))"))
    }

    deinit {
        close(descriptor)
    }
}

func pattern(_ count: Int) -> ByteBuffer {
    ByteBuffer(bytes: (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })
}

// SPDX-License-Identifier: Apache-2.0
import Synchronization
import TuttiBase
import TuttiPeers
import TuttiTransport

/// What an embedder does with one inbound stream.
typealias StreamHandler = @Sendable (NodeStream) async throws -> Void

/// How many handlers run, so that a stopping node can wait for them.
final class RunningHandlers: Sendable {
    private struct State: Sendable {
        var count = 0
        var waiter: UnsafeContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func began() {
        state.withLock { $0.count += 1 }
    }

    func ended() {
        let waiter = state.withLock { state -> UnsafeContinuation<Void, Never>? in
            state.count -= 1
            return state.count == 0 ? state.waiter.take() : nil
        }
        waiter?.resume()
    }

    /// Returns when none runs, or when the task is cancelled. One caller at a time.
    func finish() async {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let mustWait = state.withLock { state in
                    guard state.count > 0, !Task.isCancelled else { return false }
                    state.waiter = continuation
                    return true
                }
                if !mustWait { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiter.take() }?.resume()
        }
    }
}

/// The protocols that this node answers to, and who answers.
final class StreamHandlers: Sendable {
    private struct Entry: Sendable {
        let inboundMax: Int
        let body: StreamHandler
    }

    private let limits: NodeLimits
    private let pingInboundMax: Int
    private let entries = Mutex<[ProtocolID: Entry]>([:])

    init(limits: NodeConfiguration.Limits) {
        self.limits = limits.nodeLimits
        pingInboundMax =
            switch limits {
            case .internet: 2
            case .lab: 64
            }
    }

    func set(_ name: ProtocolID, inboundMax: Int, _ body: @escaping StreamHandler) {
        entries.withLock { $0[name] = Entry(inboundMax: inboundMax, body: body) }
    }

    func remove(_ name: ProtocolID) {
        entries.withLock { $0[name] = nil }
    }

    func body(for name: ProtocolID) -> StreamHandler? {
        entries.withLock { $0[name]?.body }
    }

    /// The node's own protocols and the embedder's; an embedder can't take over the node's.
    var table: ProtocolTable {
        var all: [ProtocolID: ProtocolTable.Entry] = [:]
        entries.withLock { entries in
            for (name, entry) in entries {
                all[name] = .init(owner: .application, inboundMax: entry.inboundMax)
            }
        }
        let inboundMax = limits.identifyStreamsInboundMax
        all[IdentifyMessage.pushProtocolID] = .init(
            owner: .core(messageBytesMax: PeersCore.messageBytesMax), inboundMax: inboundMax)
        all[IdentifyMessage.protocolID] = .init(
            owner: .statement(interval: limits.identifyInterval, burst: limits.identifyBurst), inboundMax: inboundMax)
        all[PingClient.protocolID] = .init(owner: .ping, inboundMax: pingInboundMax)
        return ProtocolTable(entries: all)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Synchronization
package import TuttiBase
import TuttiConnection
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// A connection seen from other threads. Calls that come before the loop has run share one hop to it.
package final class ConnectionHandle: Sendable {
    package let id: ConnectionID
    package let remote: Multiaddr
    private let driver: ConnectionDriver?

    init(_ driver: ConnectionDriver) {
        id = driver.id
        remote = driver.remote
        self.driver = driver
    }

    /// A handle without a connection behind it: commands are dropped, streams fail.
    package init(id: ConnectionID, remote: Multiaddr) {
        self.id = id
        self.remote = remote
        driver = nil
    }

    /// What the node's cores want done; one hop for the whole batch.
    package func perform(_ commands: [ConnectionCommand]) {
        driver?.enqueue(.perform(commands))
    }

    /// An application's stream. With one protocol it is optimistic: it returns at once, the first use opens the stream,
    /// and what stands in the way (the peer's refusal, `.streamLimit`) shows at the first read. With several, it returns
    /// when one is agreed.
    /// - Throws: `StreamFailure`, `TransportError` (`.streamLimit`, `.closed`), `CancellationError`.
    package func openStream(_ protocols: [ProtocolID]) async throws -> StreamMailbox {
        guard let driver else { throw TransportError(code: .closed, message: "the connection is closed") }
        if protocols.count == 1 {
            let peer = try driver.errands.openPeer()
            let pipe = StreamPipe(
                stream: nil, protocolID: protocols[0], driver: driver, limits: driver.environment.configuration.limits)
            return StreamMailbox(connection: id, peer: peer, pipe: pipe)
        }
        let request = StreamRequest(protocols)
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                request.begin(continuation)
                driver.enqueue(.open(request))
            }
        } onCancel: {
            request.fail(CancellationError())
        }
    }
}

package enum ConnectionCommand: Sendable {
    case admit
    /// Ends an accepted connection unread, and until then those that its source still opens.
    case refuse(sourceUntil: Instant)
    case close
    /// The messages of `first` go out behind the proposal.
    case openStream(ProtocolID, request: UInt64, first: [ByteBuffer] = [])
    /// One whole message; the varint length is put before it.
    case send(StreamID, ByteBuffer)
    case closeWriting(StreamID)
    case resetStream(StreamID)
    case setProtocols(ProtocolTable)
}

/// An application's wish for a stream under one of several protocols, answered once.
final class StreamRequest: Sendable {
    private enum State {
        case created
        case waiting(UnsafeContinuation<StreamMailbox, any Error>)
        case answered
        /// Cancelled before the wait began.
        case failed(any Error)
    }

    let protocols: [ProtocolID]
    private let state = Mutex(State.created)

    init(_ protocols: [ProtocolID]) {
        self.protocols = protocols
    }

    func begin(_ continuation: UnsafeContinuation<StreamMailbox, any Error>) {
        let failure = state.withLock { state -> (any Error)? in
            switch state {
            case .created:
                state = .waiting(continuation)
                return nil
            case .failed(let error):
                state = .answered
                return error
            case .waiting, .answered:
                assertionFailure("a request is begun once")
                return nil
            }
        }
        if let failure { continuation.resume(throwing: failure) }
    }

    /// False when nobody waits any more; the mailbox, let go of, then resets its stream.
    @discardableResult
    func succeed(_ mailbox: StreamMailbox) -> Bool {
        guard let continuation = take() else { return false }
        continuation.resume(returning: mailbox)
        return true
    }

    func fail(_ error: any Error) {
        let continuation = state.withLock { state -> UnsafeContinuation<StreamMailbox, any Error>? in
            switch state {
            case .created:
                state = .failed(error)
                return nil
            case .waiting(let continuation):
                state = .answered
                return continuation
            case .answered, .failed:
                return nil
            }
        }
        continuation?.resume(throwing: error)
    }

    var isWanted: Bool {
        state.withLock { state in
            switch state {
            case .created, .waiting: true
            case .answered, .failed: false
            }
        }
    }

    private func take() -> UnsafeContinuation<StreamMailbox, any Error>? {
        state.withLock { state in
            guard case .waiting(let continuation) = state else { return nil }
            state = .answered
            return continuation
        }
    }
}

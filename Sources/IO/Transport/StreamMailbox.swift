// SPDX-License-Identifier: Apache-2.0
package import NIOCore
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

/// One stream between a connection's loop and an application's tasks. Letting go of it without `closeWriting` resets
/// the stream.
///
/// A stream of ours under one protocol is opened by the first `write`, `read` or `closeWriting`; until then the peer knows
/// nothing of it, and letting go of it costs nothing. That it can't be opened shows like any other failure: at the next
/// write, or at the read that waits.
package final class StreamMailbox: Sendable {
    package let connection: ConnectionID
    package let peer: PeerID
    private let pipe: StreamPipe

    init(connection: ConnectionID, peer: PeerID, pipe: StreamPipe) {
        self.connection = connection
        self.peer = peer
        self.pipe = pipe
    }

    deinit {
        pipe.abandon()
    }

    package var protocolID: ProtocolID { pipe.protocolID }

    /// All bytes that have arrived, in order; nil after the peer's half-close. Reading re-credits the peer's window.
    /// Cancelling resets the stream. One reader at a time. What arrived before a failure is still given out.
    /// - Throws: `StreamFailure`, `TransportError` (`.streamLimit`); `CancellationError` when the task was cancelled.
    package func read() async throws -> [ByteBuffer]? {
        while true {
            switch pipe.read() {
            case .bytes(let batch): return batch
            case .ended: return nil
            case .failed(let failure):
                try Task.checkCancellation()
                throw failure
            case .busy:
                throw TransportError(
                    code: .concurrentRead, message: "a stream has one reader at a time: wait for the other read")
            case .wait:
                await withTaskCancellationHandler {
                    await withUnsafeContinuation { pipe.waitForRead($0) }
                } onCancel: {
                    pipe.reset()
                }
            }
        }
    }

    /// Queues the bytes; suspends while more than `sendQueueHighWater` are queued. Cancelling resets the stream.
    /// - Throws: `StreamFailure`, after `closeWriting` too; `TransportError` (`.streamLimit`); `CancellationError` when the
    ///   task was cancelled.
    package func write(_ bytes: ByteBuffer) async throws {
        switch pipe.write(bytes) {
        case .taken:
            return
        case .failed(let failure):
            try Task.checkCancellation()
            throw failure
        case .wait:
            await withTaskCancellationHandler {
                await withUnsafeContinuation { pipe.waitForRoom($0) }
            } onCancel: {
                pipe.reset()
            }
            guard let failure = pipe.failure else { return }
            try Task.checkCancellation()
            throw failure
        }
    }

    /// Half-close: the peer reads to the end; we may go on reading.
    package func closeWriting() {
        pipe.closeWriting()
    }

    package func reset() {
        pipe.reset()
    }
}

package struct StreamFailure: Error, Sendable {
    package let fault: StreamFault
    package init(_ fault: StreamFault) { self.fault = fault }
}

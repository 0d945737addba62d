// SPDX-License-Identifier: Apache-2.0
package import NIOCore
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

/// One stream between a connection's loop and an application's tasks. Letting go of it without `closeWriting` resets
/// the stream.
package final class StreamMailbox: Sendable {
    package let connection: ConnectionID
    package let peer: PeerID
    package let protocolID: ProtocolID
    private let pipe: StreamPipe

    init(connection: ConnectionID, peer: PeerID, protocolID: ProtocolID, pipe: StreamPipe) {
        self.connection = connection
        self.peer = peer
        self.protocolID = protocolID
        self.pipe = pipe
    }

    deinit {
        pipe.abandon()
    }

    package var id: StreamID { pipe.stream }

    /// All bytes that have arrived, in order; nil after the peer's half-close. Reading re-credits the peer's window.
    /// Cancelling resets the stream. One reader at a time. What arrived before a failure is still given out.
    /// - Throws: `StreamFailure`; `CancellationError` when the task was cancelled.
    package func read() async throws -> [ByteBuffer]? {
        while true {
            switch pipe.read() {
            case .bytes(let batch): return batch
            case .ended: return nil
            case .failed(let fault):
                try Task.checkCancellation()
                throw StreamFailure(fault)
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
    /// - Throws: `StreamFailure`, after `closeWriting` too; `CancellationError` when the task was cancelled.
    package func write(_ bytes: ByteBuffer) async throws {
        switch pipe.write(bytes) {
        case .taken:
            return
        case .failed(let fault):
            try Task.checkCancellation()
            throw StreamFailure(fault)
        case .wait:
            await withTaskCancellationHandler {
                await withUnsafeContinuation { pipe.waitForRoom($0) }
            } onCancel: {
                pipe.reset()
            }
            guard let fault = pipe.fault else { return }
            try Task.checkCancellation()
            throw StreamFailure(fault)
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

// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import TuttiConnection
import TuttiIdentity

/// Asked of a connection from other threads.
enum Errand {
    case perform([ConnectionCommand])
    case serve(StreamPipe)
    case open(StreamRequest)
    case resumeReading
}

/// What other threads ask of a connection, and what they may know of it.
struct ErrandQueue: ~Copyable, Sendable {
    /// Not private: in debug builds Swift 6.3 fails on private types of values that other files store.
    struct State {
        var errands: [Errand] = []
        /// Known once the connection is established.
        var peer: PeerID?
        var end: CloseReason?
    }

    private let state = Mutex(State())

    // MARK: From any thread

    /// True when the loop must be told: errands that come before it has run share one hop.
    func append(_ errand: Errand) -> Bool {
        let (isFirst, end) = state.withLock { state in
            state.errands.append(errand)
            return (state.errands.count == 1, state.end)
        }
        // The loop itself may be over by now.
        if let end, case .serve(let pipe) = errand { pipe.missedConnection(end) }
        return isFirst
    }

    /// Whom streams of ours would go to.
    func openPeer() throws -> PeerID {
        let (peer, end) = state.withLock { ($0.peer, $0.end) }
        if let end { throw StreamFailure(.connectionClosed(end)) }
        guard let peer else { throw TransportError(code: .closed, message: "the connection is not established") }
        return peer
    }

    // MARK: On the connection's loop

    func take() -> [Errand] {
        state.withLock { state in
            var batch: [Errand] = []
            swap(&batch, &state.errands)
            return batch
        }
    }

    func established(_ peer: PeerID) {
        state.withLock { $0.peer = peer }
    }

    func ended(_ reason: CloseReason) {
        state.withLock { $0.end = reason }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Stands for the bytes of one batch's messages until their owner has handled the batch.
package final class InboxReceipt: Sendable {
    private let meter: InboxMeter
    private let bytes: Int

    init(_ meter: InboxMeter, bytes: Int) {
        self.meter = meter
        self.bytes = bytes
    }

    deinit {
        meter.handled(bytes)
    }
}

/// Counts what one connection has handed to the node and the node has not handled.
final class InboxMeter: Sendable {
    private struct State {
        var bytes = 0
        /// Set while the connection waits for the count to fall.
        var waiting: ConnectionDriver?
    }

    private let state = Mutex(State())
    private let bytesMax: Int

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    /// True when the connection must stop reading; it is woken when half of the budget is free again.
    func handedOver(_ bytes: Int, by driver: ConnectionDriver) -> Bool {
        state.withLock { state in
            state.bytes += bytes
            guard state.bytes > bytesMax else { return false }
            state.waiting = driver
            return true
        }
    }

    func handled(_ bytes: Int) {
        let woken = state.withLock { state -> ConnectionDriver? in
            state.bytes -= bytes
            guard state.bytes <= bytesMax / 2 else { return nil }
            defer { state.waiting = nil }
            return state.waiting
        }
        woken?.enqueue(.resumeReading)
    }

    func forget() {
        state.withLock { $0.waiting = nil }
    }
}

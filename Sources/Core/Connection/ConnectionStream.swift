// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

import struct NIOCore.ByteBuffer

/// One stream as `ConnectionCore` keeps it: its protocol's negotiation and what waits to be sent.
struct ConnectionStream {
    enum Negotiation {
        /// Bytes of the stream are multistream-select's; `input` is what hasn't made a whole message yet.
        case running(NegotiationMachine, input: ByteBuffer)
        case agreed
    }

    let direction: Direction
    var negotiation: Negotiation
    /// Several protocols were proposed: the owner's bytes wait in `held` until one is agreed.
    var isHeld: Bool
    private(set) var held: [ByteBuffer] = []
    private(set) var heldBytes = 0
    var queue: Deque<ByteBuffer> = []
    var queuedBytes = 0
    /// The owner has no more to send; FIN follows the queue.
    var isFinishing = false
    /// FIN was written.
    var isFinished = false
    var isEndedRemotely = false
    /// In the list of streams that have something to send and the credit to do so.
    var isReady = false
    var wasAboveHighWater = false

    init(direction: Direction, negotiation: NegotiationMachine, isHeld: Bool) {
        self.direction = direction
        self.negotiation = .running(negotiation, input: ByteBuffer())
        self.isHeld = isHeld
    }

    var isNegotiated: Bool {
        if case .agreed = negotiation { return true }
        return false
    }

    /// FIN is due: nothing of ours is left before it.
    var mustFinish: Bool {
        isFinishing && !isFinished && queue.isEmpty && !isHeld
    }

    mutating func hold(_ bytes: ByteBuffer) {
        held.append(bytes)
        heldBytes += bytes.readableBytes
    }

    /// What was held may be sent now.
    mutating func agree() -> [ByteBuffer] {
        defer { held = [] }
        negotiation = .agreed
        isHeld = false
        heldBytes = 0
        return held
    }

    mutating func enqueue(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        queue.append(bytes)
        queuedBytes += bytes.readableBytes
    }

    /// At most `count` bytes from the front of the queue, never across two of the owner's buffers.
    mutating func dequeue(_ count: Int) -> ByteBuffer? {
        guard count > 0, var front = queue.popFirst() else { return nil }
        let size = min(count, front.readableBytes)
        guard let part = front.readSlice(length: size) else { return nil }
        if front.readableBytes > 0 { queue.prepend(front) }
        queuedBytes -= size
        return part
    }
}

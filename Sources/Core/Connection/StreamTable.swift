// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

import struct NIOCore.ByteBuffer

/// The streams of one connection, the line of those that may send, and the deadlines of those still negotiating.
struct StreamTable {
    private var streams: [StreamID: ConnectionStream] = [:]
    /// Streams with something to send and the credit for it, in turn.
    private var ready: Deque<StreamID> = []
    /// In the order of their deadlines, since every negotiation gets the same time.
    private var negotiations: Deque<(deadline: Instant, stream: StreamID)> = []

    var count: Int { streams.count }
    var isEmpty: Bool { streams.isEmpty }
    var hasReady: Bool { !ready.isEmpty }
    /// In a fixed order, whatever the hash seed.
    var sortedIDs: [StreamID] { streams.keys.sorted() }

    subscript(id: StreamID) -> ConnectionStream? {
        get { streams[id] }
        _modify { yield &streams[id] }
    }

    mutating func insert(_ stream: ConnectionStream, as id: StreamID, negotiateBy deadline: Instant) {
        streams[id] = stream
        negotiations.append((deadline, id))
        // One that stays keeps those behind it, which a peer may open and reset without end.
        guard negotiations.count > 64 + 2 * streams.count else { return }
        negotiations = Deque(negotiations.filter { isNegotiating($0.stream) })
    }

    mutating func remove(_ id: StreamID) {
        streams[id] = nil
        dropFinishedNegotiations()
    }

    mutating func removeReady() {
        ready.removeAll()
    }

    // MARK: Negotiations

    /// The protocol is agreed; what the owner had to hold back is returned and may be sent.
    mutating func agree(_ id: StreamID) -> [ByteBuffer] {
        let held = streams[id]?.agree() ?? []
        dropFinishedNegotiations()
        return held
    }

    var nextDeadline: Instant? { negotiations.first?.deadline }

    /// A stream whose negotiation took too long. Call until nil.
    mutating func popOverdue(at now: Instant) -> StreamID? {
        while let first = negotiations.first, first.deadline <= now {
            negotiations.removeFirst()
            if isNegotiating(first.stream) { return first.stream }
        }
        return nil
    }

    private func isNegotiating(_ id: StreamID) -> Bool {
        guard let stream = streams[id] else { return false }
        return !stream.isNegotiated
    }

    private mutating func dropFinishedNegotiations() {
        while let first = negotiations.first, !isNegotiating(first.stream) { negotiations.removeFirst() }
    }

    // MARK: The line

    mutating func enqueue(_ bytes: ByteBuffer, on id: StreamID, highWater: Int) {
        streams[id]?.enqueue(bytes)
        if let queued = streams[id]?.queuedBytes, queued >= highWater { streams[id]?.wasAboveHighWater = true }
    }

    /// True once after the queue was above high water and has now fallen below `lowWater`.
    mutating func drained(_ id: StreamID, lowWater: Int) -> Bool {
        guard let stream = streams[id], stream.wasAboveHighWater, stream.queuedBytes < lowWater else { return false }
        streams[id]?.wasAboveHighWater = false
        return true
    }

    /// Puts the stream in line if it has something to send and may send it.
    mutating func makeReady(_ id: StreamID, hasCredit: Bool) {
        guard let stream = streams[id], !stream.isReady else { return }
        guard (hasCredit && !stream.queue.isEmpty) || stream.mustFinish else { return }
        streams[id]?.isReady = true
        ready.append(id)
    }

    mutating func popReady() -> StreamID? {
        while let id = ready.popFirst() {
            guard streams[id] != nil else { continue }
            streams[id]?.isReady = false
            return id
        }
        return nil
    }
}

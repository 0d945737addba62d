// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import TuttiBase
import TuttiConnection

/// What one stream's mailbox and its connection's loop share: two arrays under one mutex, swapped whole.
///
/// The loop puts in what arrived, once per read; the reader takes all of it at once. The writer appends; the loop takes
/// all of it at once. Whoever finds nothing waits on a continuation that the other side resumes, after the lock. The
/// mailbox may be let go of while the connection lives; the pipe then asks the loop to reset the stream.
///
/// A pipe of ours may be there before its stream. Then the first write, read or half-close asks the loop for both in one:
/// what was written by then leaves in the packet that opens the stream. Let go of before, it has asked for nothing.
///
/// Bounded by the stream's receive window on the one side and by `highWater` plus one write on the other.
final class StreamPipe: Sendable {
    private struct State {
        /// Nil once the stream is over: nothing can be asked of the connection any more.
        var driver: ConnectionDriver?
        /// The loop has been asked for something, and has taken it up.
        var isBegun: Bool
        var isTaken: Bool
        var isQueued = false

        var arrived: [ByteBuffer] = []
        var arrivedBytes = 0
        var creditable = 0
        var hasEnded = false
        var failure: (any Error)?
        var reader: UnsafeContinuation<Void, Never>?

        var outgoing: [ByteBuffer] = []
        var outgoingBytes = 0
        /// Bytes that the connection holds and had not sent when it last said so.
        var bytesInCore = 0
        var writers: [UnsafeContinuation<Void, Never>] = []
        var isWritingClosed = false
        var isCloseTaken = false
        var isReset = false
        var isAbandoned = false
    }

    /// What the loop is asked to do.
    struct Work {
        var outgoing: [ByteBuffer] = []
        var consumed = 0
        var closesWriting = false
        var resets = false
        var discards = false
    }

    enum Read {
        case bytes([ByteBuffer])
        case ended
        case failed(any Error)
        case busy
        case wait
    }

    enum Write {
        case taken
        case failed(any Error)
        case wait
    }

    let protocolID: ProtocolID
    /// Nil before the stream is opened. Guard: touched on the connection's loop only.
    private(set) nonisolated(unsafe) var stream: StreamID?
    private let highWater: Int
    /// Consumed bytes that are worth a hop: a quarter of the smallest window, so that the peer never runs dry.
    private let creditBytes: Int
    private let state: Mutex<State>
    /// Arrived in this turn and not yet handed over. Guard: touched on the connection's loop only.
    private nonisolated(unsafe) var arriving: [ByteBuffer] = []
    private nonisolated(unsafe) var arrivingBytes = 0
    private nonisolated(unsafe) var heldBuffers = 0
    private nonisolated(unsafe) var lastBuffer: UInt64 = 0

    /// - Parameter stream: nil for one that is to be opened at its first use.
    init(stream: StreamID?, protocolID: ProtocolID, driver: ConnectionDriver, limits: ConnectionLimits) {
        self.stream = stream
        self.protocolID = protocolID
        highWater = limits.sendQueueHighWater
        creditBytes = max(1, limits.streamWindowInitial / 4)
        state = Mutex(State(driver: driver, isBegun: stream != nil, isTaken: stream != nil))
    }

    // MARK: On the connection's loop

    func opened(as stream: StreamID) {
        assert(self.stream == nil, "a stream is opened once")
        self.stream = stream
    }

    /// True for the first slice since the last `publish`.
    /// - Parameter buffer: numbers the read that the slice came from.
    func collect(_ slice: consuming ByteBuffer, ofBuffer buffer: UInt64, heldMax: Int) -> Bool {
        let bytes = slice.readableBytes
        if bytes * 4 < slice.storageCapacity, bytes < 4096 || heldBuffers >= heldMax {
            slice = ByteBuffer(bytes: slice.readableBytesView)
        } else if buffer != lastBuffer {
            lastBuffer = buffer
            heldBuffers += 1
        }
        arriving.append(slice)
        arrivingBytes += bytes
        return arriving.count == 1
    }

    func publish() {
        guard !arriving.isEmpty else { return }
        var batch: [ByteBuffer] = []
        swap(&batch, &arriving)
        let bytes = arrivingBytes
        arrivingBytes = 0
        let (reader, wasEmpty) = state.withLock { state -> (UnsafeContinuation<Void, Never>?, Bool) in
            guard !state.isReset else { return (nil, true) }
            let wasEmpty = state.arrived.isEmpty
            if wasEmpty { state.arrived = batch } else { state.arrived.append(contentsOf: batch) }
            state.arrivedBytes += bytes
            defer { state.reader = nil }
            return (state.reader, wasEmpty)
        }
        if wasEmpty { heldBuffers = min(heldBuffers, 1) }
        reader?.resume()
    }

    /// The peer's half-close.
    func end() {
        publish()
        let reader = state.withLock { state in
            state.hasEnded = true
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume()
    }

    /// Both directions ended in order.
    func finish() {
        publish()
        let (reader, writers) = state.withLock { state in
            state.hasEnded = true
            state.isWritingClosed = true
            state.driver = nil
            defer {
                state.reader = nil
                state.writers = []
            }
            return (state.reader, state.writers)
        }
        reader?.resume()
        for writer in writers { writer.resume() }
    }

    func fail(_ failure: any Error) {
        publish()
        conclude(failure)
    }

    private func conclude(_ failure: any Error) {
        let (reader, writers) = state.withLock { state in
            if state.failure == nil { state.failure = failure }
            state.driver = nil
            state.outgoing = []
            state.outgoingBytes = 0
            defer {
                state.reader = nil
                state.writers = []
            }
            return (state.reader, state.writers)
        }
        reader?.resume()
        for writer in writers { writer.resume() }
    }

    func takeWork() -> Work {
        state.withLock { state in
            state.isQueued = false
            state.isTaken = true
            var work = Work()
            swap(&work.outgoing, &state.outgoing)
            state.bytesInCore += state.outgoingBytes
            state.outgoingBytes = 0
            work.consumed = state.creditable
            state.creditable = 0
            work.closesWriting = state.isWritingClosed && !state.isCloseTaken
            if work.closesWriting { state.isCloseTaken = true }
            work.resets = state.isReset
            work.discards = state.isAbandoned
            return work
        }
    }

    /// What the connection still holds of this stream after a turn: writers go on when it is less than the high water.
    func settle(queuedBytes: Int) {
        let writers = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            state.bytesInCore = queuedBytes
            guard state.outgoingBytes + queuedBytes <= highWater else { return [] }
            defer { state.writers = [] }
            return state.writers
        }
        for writer in writers { writer.resume() }
    }

    // MARK: From any task

    func read() -> Read {
        var woken: ConnectionDriver?
        let result = state.withLock { state -> Read in
            if !state.arrived.isEmpty {
                var batch: [ByteBuffer] = []
                swap(&batch, &state.arrived)
                state.creditable += state.arrivedBytes
                state.arrivedBytes = 0
                if state.creditable >= creditBytes { woken = Self.queue(&state) }
                return .bytes(batch)
            }
            if let failure = state.failure { return .failed(failure) }
            if state.hasEnded { return .ended }
            if !state.isBegun { woken = Self.queue(&state) }
            return state.reader == nil ? .wait : .busy
        }
        woken?.enqueue(.serve(self))
        return result
    }

    /// Resumes when `read` has something to say.
    func waitForRead(_ continuation: UnsafeContinuation<Void, Never>) {
        let isReady = state.withLock { state in
            guard state.arrived.isEmpty, state.failure == nil, !state.hasEnded, state.reader == nil else { return true }
            state.reader = continuation
            return false
        }
        if isReady { continuation.resume() }
    }

    func write(_ bytes: ByteBuffer) -> Write {
        var woken: ConnectionDriver?
        let result = state.withLock { state -> Write in
            if let failure = state.failure { return .failed(failure) }
            guard !state.isWritingClosed else { return .failed(StreamFailure(.reset)) }
            guard bytes.readableBytes > 0 else { return .taken }
            state.outgoing.append(bytes)
            state.outgoingBytes += bytes.readableBytes
            woken = Self.queue(&state)
            return state.outgoingBytes + state.bytesInCore > highWater ? .wait : .taken
        }
        woken?.enqueue(.serve(self))
        return result
    }

    /// Resumes when there is room again, or the stream has ended.
    func waitForRoom(_ continuation: UnsafeContinuation<Void, Never>) {
        let isReady = state.withLock { state in
            guard state.failure == nil, state.driver != nil, state.outgoingBytes + state.bytesInCore > highWater else {
                return true
            }
            state.writers.append(continuation)
            return false
        }
        if isReady { continuation.resume() }
    }

    var failure: (any Error)? { state.withLock { $0.failure } }

    func closeWriting() {
        let woken = state.withLock { state -> ConnectionDriver? in
            guard !state.isWritingClosed else { return nil }
            state.isWritingClosed = true
            return Self.queue(&state)
        }
        woken?.enqueue(.serve(self))
    }

    func reset() {
        var reader: UnsafeContinuation<Void, Never>?
        var writers: [UnsafeContinuation<Void, Never>] = []
        let woken = state.withLock { state -> ConnectionDriver? in
            swap(&reader, &state.reader)
            swap(&writers, &state.writers)
            guard !state.isReset else { return nil }
            state.isReset = true
            if state.failure == nil { state.failure = StreamFailure(.reset) }
            state.arrived = []
            state.arrivedBytes = 0
            state.outgoing = []
            state.outgoingBytes = 0
            return state.isBegun ? Self.queue(&state) : nil
        }
        woken?.enqueue(.serve(self))
        reader?.resume()
        for writer in writers { writer.resume() }
    }

    /// The connection was over before it was asked for this stream. On any thread.
    func missedConnection(_ reason: CloseReason) {
        guard !state.withLock({ $0.isTaken }) else { return }
        conclude(StreamFailure(.connectionClosed(reason)))
    }

    /// The application let go of its mailbox. A stream whose writing was closed may end in order by itself, but nobody
    /// reads what the peer still sends; any other is reset.
    func abandon() {
        let (woken, resets) = state.withLock { state -> (ConnectionDriver?, Bool) in
            guard state.isBegun, state.driver != nil, !state.isReset else { return (nil, false) }
            guard state.isWritingClosed, state.arrived.isEmpty else { return (nil, true) }
            guard !state.hasEnded else { return (nil, false) }
            state.isAbandoned = true
            return (Self.queue(&state), false)
        }
        woken?.enqueue(.serve(self))
        if resets { reset() }
    }

    /// The connection, when it must be told that there is work and has not been told yet.
    private static func queue(_ state: inout State) -> ConnectionDriver? {
        guard !state.isQueued, let driver = state.driver else { return nil }
        state.isQueued = true
        state.isBegun = true
        return driver
    }
}

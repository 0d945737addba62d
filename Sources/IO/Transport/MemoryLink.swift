// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization

/// One direction of a pair in memory: bounded, between two loops.
///
/// The writer flushes into it and, above the high water, is not writable until the reader has taken half. The reader
/// takes everything at once, one hop per flush at most.
final class MemoryPipe: Sendable {
    private struct State {
        var chunks: [ByteBuffer] = []
        var bytes = 0
        var hasEnded = false
        var isReading = false
        var isReaderQueued = false
        var isWriterWaiting = false
        var reader: MemoryLink?
        var writer: MemoryLink?
    }

    private let state = Mutex(State())
    private let highWater: Int

    init(highWater: Int) {
        self.highWater = highWater
    }

    func join(reader: MemoryLink, writer: MemoryLink) {
        state.withLock { state in
            state.reader = reader
            state.writer = writer
        }
    }

    /// False when the pipe is over its high water now; the writer is called when it has room.
    func append(_ chunks: [ByteBuffer], bytes: Int) -> Bool {
        let (woken, isWritable) = state.withLock { state -> (MemoryLink?, Bool) in
            guard !state.hasEnded, state.reader != nil else { return (nil, true) }
            state.chunks.append(contentsOf: chunks)
            state.bytes += bytes
            if state.bytes >= highWater { state.isWriterWaiting = true }
            return (Self.queueReader(&state), !state.isWriterWaiting)
        }
        woken?.wakeToRead()
        return isWritable
    }

    func finish() {
        let woken = state.withLock { state -> MemoryLink? in
            guard !state.hasEnded else { return nil }
            state.hasEnded = true
            return Self.queueReader(&state)
        }
        woken?.wakeToRead()
    }

    func setReading(_ isOn: Bool) {
        let woken = state.withLock { state -> MemoryLink? in
            state.isReading = isOn
            return Self.queueReader(&state)
        }
        woken?.wakeToRead()
    }

    func take() -> (chunks: [ByteBuffer], hasEnded: Bool) {
        let (chunks, hasEnded, woken) = state.withLock { state -> ([ByteBuffer], Bool, MemoryLink?) in
            state.isReaderQueued = false
            guard state.isReading else { return ([], false, nil) }
            var chunks: [ByteBuffer] = []
            swap(&chunks, &state.chunks)
            state.bytes = 0
            guard state.isWriterWaiting else { return (chunks, state.hasEnded, nil) }
            state.isWriterWaiting = false
            return (chunks, state.hasEnded, state.writer)
        }
        woken?.wakeToWrite()
        return (chunks, hasEnded)
    }

    /// Lets go of both ends; what is still in it is lost.
    func cut() {
        state.withLock { state in
            state.reader = nil
            state.writer = nil
            state.chunks = []
            state.hasEnded = true
        }
    }

    private static func queueReader(_ state: inout State) -> MemoryLink? {
        guard state.isReading, !state.isReaderQueued, !state.chunks.isEmpty || state.hasEnded else { return nil }
        state.isReaderQueued = true
        return state.reader
    }
}

/// One end of a pair in memory, for nodes of one process without sockets.
///
/// `@unchecked Sendable`: other threads only call `wakeToRead` and `wakeToWrite`, which hop to the driver's loop.
final class MemoryLink: ByteLink, @unchecked Sendable {
    private let driver: ConnectionDriver
    private let incoming: MemoryPipe
    private let outgoing: MemoryPipe
    private var pending: [ByteBuffer] = []
    private var pendingBytes = 0
    private(set) var isWritable = true
    private var isClosed = false

    private init(_ driver: ConnectionDriver, incoming: MemoryPipe, outgoing: MemoryPipe) {
        self.driver = driver
        self.incoming = incoming
        self.outgoing = outgoing
    }

    /// Joins two connections and starts them, each on its own loop.
    static func join(_ dialler: ConnectionDriver, _ listener: ConnectionDriver, highWater: Int) {
        let forth = MemoryPipe(highWater: highWater)
        let back = MemoryPipe(highWater: highWater)
        let near = MemoryLink(dialler, incoming: back, outgoing: forth)
        let far = MemoryLink(listener, incoming: forth, outgoing: back)
        forth.join(reader: far, writer: near)
        back.join(reader: near, writer: far)
        listener.loop.execute { listener.linkStarted(far) }
        dialler.loop.execute { dialler.linkStarted(near) }
    }

    func write(_ bytes: ByteBuffer) {
        guard !isClosed else { return }
        pending.append(bytes)
        pendingBytes += bytes.readableBytes
    }

    func flush() {
        guard !pending.isEmpty else { return }
        isWritable = outgoing.append(pending, bytes: pendingBytes)
        pending = []
        pendingBytes = 0
    }

    func setReading(_ isOn: Bool) {
        guard !isClosed else { return }
        incoming.setReading(isOn)
    }

    func finishWriting() {
        flush()
        outgoing.finish()
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        pending = []
        outgoing.finish()
        incoming.cut()
    }

    // MARK: From the other end's loop

    func wakeToRead() {
        driver.loop.execute { self.read() }
    }

    func wakeToWrite() {
        driver.loop.execute {
            self.isWritable = true
            self.driver.linkWritabilityChanged()
        }
    }

    private func read() {
        guard !isClosed else { return }
        let (chunks, hasEnded) = incoming.take()
        if !chunks.isEmpty {
            for chunk in chunks { driver.linkReceived(chunk) }
            driver.linkReadCompleted()
        }
        if hasEnded { driver.linkEnded(nil) }
    }
}

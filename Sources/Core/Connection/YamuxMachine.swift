// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// Many streams over one byte stream: Yamux (libp2p/specs, yamux/README.md; hashicorp/yamux spec.md).
///
/// Holds stream numbers and windows and writes control frames; payloads and queues are `ConnectionCore`'s. The dialer's
/// streams are odd, the listener's even. Each stream:
///
///     open ──FIN sent──▶ halfClosedLocal ──FIN received──▶ forgotten
///       └──FIN received──▶ halfClosedRemote ──FIN sent──▶ forgotten       RST, either way ──▶ forgotten
///
/// Windows: the peer may send what it has credit for; consumed bytes are credited again in steps, so that two sides that
/// both write never wait for each other. A window doubles, up to `streamWindowMax`, while half of it is consumed
/// within four round trips, which means that the reader keeps up and the window is the brake.
///
/// - Our bug: calls for a stream that was never opened (`assertionFailure`).
/// - The peer's fault (thrown, closes the connection): unknown version or type, more data than credit, a credit over
///   32 bits, a stream number of the wrong side or in use, frames for streams never opened, data after FIN.
/// - Legal and late (dropped): frames for a stream that we forgot; its payload is skipped.
package struct YamuxMachine: Sendable {
    package enum OnReceive {
        case needsMoreBytes
        case opened(StreamID)
        /// Part of a data frame's payload, in order.
        case data(StreamID, ByteBuffer)
        case ended(StreamID)
        case reset(StreamID)
        case creditArrived(StreamID)
        /// The answer to our ping.
        case answered
        case goneAway
        /// A frame that needs nothing from the owner.
        case handled
    }

    private struct Stream {
        var sendCredit: Int
        var receiveCredit: Int
        /// The size of our window, of which `receiveCredit` is open, `uncredited` consumed, and the rest unread.
        var window: Int
        var uncredited = 0
        /// Of `window`, what came from the process pool.
        var granted = 0
        var isAwaitingGrant = false
        var isEndedLocally = false
        var isEndedRemotely = false
        var epochBegan: Instant
        var epochBytes = 0
    }

    private enum Reading {
        case header
        /// The header was acted upon as far as SYN; the rest of it is next.
        case opened(YamuxHeader)
        case payload(stream: UInt32, remaining: Int, isLast: Bool)
        /// FIN or RST of the header just read.
        case ending(stream: UInt32, isReset: Bool)
        /// Payload of a stream that we forgot.
        case skipping(remaining: Int)
    }

    private let direction: Direction
    private let limits: ConnectionLimits
    private var streams: [UInt32: Stream] = [:]
    private var reading = Reading.header
    private var headerPart = ByteBuffer()
    private var nextID: UInt32
    private var highestInbound: UInt32 = 0
    private var pingInFlight: UInt32?
    private var pingCounter: UInt32 = 0
    private var isRefusingStreams = false
    package private(set) var inboundCount = 0
    package private(set) var outboundCount = 0
    /// The sum of all receive windows, bytes.
    package private(set) var windowSum = 0
    /// Control frames to send before anything else.
    package private(set) var control = ByteBuffer()
    /// Of these, the ones that the peer made us queue.
    private var demandedFrames = 0
    /// Until the first measurement, what a local network needs.
    package var roundTrip: Duration = .milliseconds(1)

    package init(direction: Direction, limits: ConnectionLimits) {
        self.direction = direction
        self.limits = limits
        nextID = direction == .outbound ? 1 : 2
    }

    // MARK: Our side

    /// A new stream; its SYN is queued. Nil at a limit, or after the peer's go-away.
    package mutating func open(at now: Instant) -> StreamID? {
        guard outboundCount < limits.streamsOutboundMax, !isRefusingStreams, nextID < UInt32.max - 2,
            windowSum + limits.streamWindowInitial <= limits.connectionWindowMax
        else { return nil }
        let id = nextID
        nextID += 2
        outboundCount += 1
        insert(id, at: now)
        writeControl(.windowUpdate, .syn, stream: id, length: 0)
        return StreamID(UInt64(id))
    }

    package func sendCredit(of stream: StreamID) -> Int {
        streams[wire(stream)]?.sendCredit ?? 0
    }

    /// Takes `count` bytes of credit and writes the header of the data frame that will carry them.
    package mutating func writeDataHeader(_ stream: StreamID, count: Int, into output: inout ByteBuffer) {
        let id = wire(stream)
        guard let credit = streams[id]?.sendCredit, count <= credit, count <= Int(UInt32.max) else {
            assertionFailure("data without credit")
            return
        }
        streams[id]?.sendCredit = credit - count
        YamuxHeader(.data, [], stream: id, length: UInt32(count)).write(into: &output)
    }

    /// Writes our FIN. True when the peer's had come before, so that the stream is over and forgotten.
    package mutating func finish(_ stream: StreamID, into output: inout ByteBuffer) -> Bool {
        let id = wire(stream)
        guard let state = streams[id], !state.isEndedLocally else { return false }
        YamuxHeader(.windowUpdate, .fin, stream: id, length: 0).write(into: &output)
        guard state.isEndedRemotely else {
            streams[id]?.isEndedLocally = true
            return false
        }
        return true
    }

    /// Queues our RST. The caller then calls `forget`.
    package mutating func reset(_ stream: StreamID) {
        guard streams[wire(stream)] != nil else { return }
        writeControl(.windowUpdate, .rst, stream: wire(stream), length: 0)
    }

    /// Drops the stream. Returns the bytes to give back to the process pool.
    package mutating func forget(_ stream: StreamID) -> Int {
        let id = wire(stream)
        guard let state = streams.removeValue(forKey: id) else { return 0 }
        if isOurs(id) { outboundCount -= 1 } else { inboundCount -= 1 }
        windowSum -= state.window
        return state.granted
    }

    /// The owner used up `count` bytes. Returns by how many bytes the window could grow, 0 for not at all.
    package mutating func consumed(_ count: Int, on stream: StreamID, at now: Instant) -> Int {
        let id = wire(stream)
        guard count > 0, var state = streams[id], !state.isEndedRemotely else { return 0 }
        // Never more than was received, whatever the owner says: credit is a promise of memory.
        let count = min(count, state.window - state.receiveCredit - state.uncredited)
        state.uncredited += count
        state.epochBytes += count
        var growth = 0
        if state.epochBytes >= state.window / 2 {
            let isFast = now - state.epochBegan < roundTrip * 4
            let room = min(limits.streamWindowMax - state.window, growthRoom)
            if isFast, !state.isAwaitingGrant, room > 0 {
                growth = min(state.window, room)
                state.isAwaitingGrant = true
            }
            state.epochBegan = now
            state.epochBytes = 0
        }
        let step = max(min(state.window / 2, 128 * 1024), state.window / 16)
        if state.uncredited >= step {
            writeControl(.windowUpdate, [], stream: id, length: UInt32(truncatingIfNeeded: state.uncredited))
            state.receiveCredit += state.uncredited
            state.uncredited = 0
        }
        streams[id] = state
        return growth
    }

    /// What windows may still grow by. An eighth is left to new streams.
    private var growthRoom: Int {
        limits.connectionWindowMax - limits.connectionWindowMax / 8 - windowSum
    }

    /// The process pool's answer to a growth; 0 for a refusal. False when the bytes have no use: the stream is gone, or
    /// other streams took the room since it was asked for.
    package mutating func grant(_ bytes: Int, on stream: StreamID) -> Bool {
        let id = wire(stream)
        guard var state = streams[id], state.isAwaitingGrant else { return false }
        state.isAwaitingGrant = false
        guard bytes <= max(0, growthRoom) else {
            streams[id] = state
            return false
        }
        if bytes > 0 {
            state.window += bytes
            state.granted += bytes
            state.receiveCredit += bytes
            windowSum += bytes
            writeControl(.windowUpdate, [], stream: id, length: UInt32(truncatingIfNeeded: bytes))
        }
        streams[id] = state
        return true
    }

    package mutating func ping() {
        guard pingInFlight == nil else { return }
        pingCounter &+= 1
        pingInFlight = pingCounter
        writeControl(.ping, .syn, stream: 0, length: pingCounter)
    }

    package var isAwaitingPong: Bool { pingInFlight != nil }

    package mutating func goAway(_ code: YamuxGoAway) {
        writeControl(.goAway, [], stream: 0, length: code.rawValue)
    }

    /// Hands the queued control frames over.
    package mutating func takeControl() -> ByteBuffer {
        demandedFrames = 0
        let taken = control
        control = ByteBuffer()
        return taken
    }

    // MARK: The peer's side

    /// Consumes `input` up to the next thing that the owner must know. Call until `.needsMoreBytes`.
    package mutating func receive(
        _ input: inout ByteBuffer, at now: Instant
    ) throws(ConnectionViolation) -> OnReceive {
        switch reading {
        case .header:
            guard let header = try readHeader(&input) else { return .needsMoreBytes }
            return try act(on: header, at: now)
        case .opened(let header):
            reading = .header
            return try actAfterOpening(header)
        case .payload(let id, let remaining, let isLast):
            return deliver(&input, id: id, remaining: remaining, isLast: isLast)
        case .ending(let id, let isReset):
            reading = .header
            return end(id, isReset: isReset)
        case .skipping(let remaining):
            guard input.readableBytes > 0 else { return .needsMoreBytes }
            let count = min(remaining, input.readableBytes)
            input.moveReaderIndex(forwardBy: count)
            reading = count == remaining ? .header : .skipping(remaining: remaining - count)
            return .handled
        }
    }

    /// True in the middle of a frame: the byte stream must not end here.
    package var isInsideFrame: Bool {
        if case .header = reading { return headerPart.readableBytes > 0 }
        return true
    }

    private mutating func readHeader(_ input: inout ByteBuffer) throws(ConnectionViolation) -> YamuxHeader? {
        guard headerPart.readableBytes > 0 || input.readableBytes < YamuxHeader.bytes else {
            return try YamuxHeader(from: &input)
        }
        let missing = YamuxHeader.bytes - headerPart.readableBytes
        if var part = input.readSlice(length: min(missing, input.readableBytes)) {
            headerPart.writeBuffer(&part)
        }
        guard headerPart.readableBytes == YamuxHeader.bytes else { return nil }
        let header = try YamuxHeader(from: &headerPart)
        headerPart = ByteBuffer()
        return header
    }

    private mutating func act(on header: YamuxHeader, at now: Instant) throws(ConnectionViolation) -> OnReceive {
        // Streams opened and reset, or refused by their owner, cost us a frame each that nobody demanded.
        guard control.readableBytes <= limits.controlBytesMax else {
            throw .flood("frames that wait for the peer to read")
        }
        switch header.kind {
        case .ping:
            guard header.stream == 0 else { throw .multiplexer("a ping on a stream") }
            if header.flags.contains(.syn) {
                try demandFrame()
                writeControl(.ping, .ack, stream: 0, length: header.length)
                return .handled
            }
            guard header.flags.contains(.ack), header.length == pingInFlight else { return .handled }
            pingInFlight = nil
            return .answered
        case .goAway:
            isRefusingStreams = true
            return .goneAway
        case .data, .windowUpdate:
            guard header.stream != 0 else { throw .multiplexer("a stream frame on the session") }
            guard header.flags.contains(.syn) else { return try actAfterOpening(header) }
            return try accept(header, at: now)
        }
    }

    private mutating func accept(_ header: YamuxHeader, at now: Instant) throws(ConnectionViolation) -> OnReceive {
        guard !isOurs(header.stream) else { throw .multiplexer("a stream number of the wrong side") }
        guard streams[header.stream] == nil else { throw .multiplexer("a stream number in use") }
        // Checked before anything is made for the stream: the first frame has the initial window and no more.
        guard header.kind != .data || header.length <= UInt32(limits.streamWindowInitial) else {
            throw .multiplexer("more data than credit")
        }
        highestInbound = max(highestInbound, header.stream)
        guard inboundCount < limits.streamsInboundMax,
            windowSum + limits.streamWindowInitial <= limits.connectionWindowMax
        else {
            try demandFrame()
            writeControl(.windowUpdate, .rst, stream: header.stream, length: 0)
            if header.kind == .data, header.length > 0 { reading = .skipping(remaining: Int(header.length)) }
            return .handled
        }
        inboundCount += 1
        insert(header.stream, at: now)
        writeControl(.windowUpdate, .ack, stream: header.stream, length: 0)
        reading = .opened(header)
        return .opened(StreamID(UInt64(header.stream)))
    }

    private mutating func actAfterOpening(_ header: YamuxHeader) throws(ConnectionViolation) -> OnReceive {
        guard let state = streams[header.stream] else {
            guard wasOpened(header.stream) else { throw .multiplexer("a frame for a stream that was never opened") }
            if header.kind == .data, header.length > 0 { reading = .skipping(remaining: Int(header.length)) }
            return .handled
        }
        let ends = header.flags.contains(.fin)
        switch header.kind {
        case .windowUpdate:
            // No credit over 32 bits is ever needed; a peer that overflows it is broken or hostile.
            let credit = state.sendCredit + Int(header.length)
            guard credit <= Int(UInt32.max) else { throw .multiplexer("a credit over 32 bits") }
            streams[header.stream]?.sendCredit = credit
            if header.flags.contains(.rst) {
                return end(header.stream, isReset: true)
            }
            if ends {
                guard header.length > 0 else { return end(header.stream, isReset: false) }
                reading = .ending(stream: header.stream, isReset: false)
            }
            return .creditArrived(StreamID(UInt64(header.stream)))
        case .data:
            if header.flags.contains(.rst), header.length == 0 {
                return end(header.stream, isReset: true)
            }
            guard !state.isEndedRemotely else { throw .multiplexer("data after the end of a stream") }
            guard Int(header.length) <= state.receiveCredit else { throw .multiplexer("more data than credit") }
            streams[header.stream]?.receiveCredit = state.receiveCredit - Int(header.length)
            guard header.length > 0 else {
                return ends ? end(header.stream, isReset: false) : .handled
            }
            reading = .payload(stream: header.stream, remaining: Int(header.length), isLast: ends)
            return .handled
        case .ping, .goAway:
            return .handled
        }
    }

    private mutating func deliver(
        _ input: inout ByteBuffer, id: UInt32, remaining: Int, isLast: Bool
    ) -> OnReceive {
        guard let part = input.readSlice(length: min(remaining, input.readableBytes)), part.readableBytes > 0 else {
            return .needsMoreBytes
        }
        let left = remaining - part.readableBytes
        if left > 0 {
            reading = .payload(stream: id, remaining: left, isLast: isLast)
        } else {
            reading = isLast ? .ending(stream: id, isReset: false) : .header
        }
        // A stream that was forgotten in the middle of a frame: the rest is skipped.
        guard streams[id] != nil else { return .handled }
        return .data(StreamID(UInt64(id)), part)
    }

    private mutating func end(_ id: UInt32, isReset: Bool) -> OnReceive {
        guard let state = streams[id] else { return .handled }
        if isReset { return .reset(StreamID(UInt64(id))) }
        guard !state.isEndedRemotely else { return .handled }
        streams[id]?.isEndedRemotely = true
        return .ended(StreamID(UInt64(id)))
    }

    package func isEndedLocally(_ stream: StreamID) -> Bool {
        streams[wire(stream)]?.isEndedLocally ?? true
    }

    private mutating func insert(_ id: UInt32, at now: Instant) {
        streams[id] = Stream(
            sendCredit: limits.streamWindowInitial, receiveCredit: limits.streamWindowInitial,
            window: limits.streamWindowInitial, epochBegan: now)
        windowSum += limits.streamWindowInitial
    }

    private mutating func demandFrame() throws(ConnectionViolation) {
        demandedFrames += 1
        guard demandedFrames <= limits.controlFramesMax else {
            throw .flood("frames that demand answers, without reading them")
        }
    }

    private mutating func writeControl(
        _ kind: YamuxHeader.Kind, _ flags: YamuxHeader.Flags, stream: UInt32, length: UInt32
    ) {
        YamuxHeader(kind, flags, stream: stream, length: length).write(into: &control)
    }

    private func isOurs(_ id: UInt32) -> Bool {
        (id & 1 == 1) == (direction == .outbound)
    }

    private func wasOpened(_ id: UInt32) -> Bool {
        isOurs(id) ? id < nextID : id <= highestInbound
    }

    private func wire(_ stream: StreamID) -> UInt32 {
        UInt32(truncatingIfNeeded: stream.value)
    }
}

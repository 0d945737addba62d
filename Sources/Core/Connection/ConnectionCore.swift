// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// One libp2p connection without its I/O: bytes in and out, streams (libp2p/specs, connections/README.md).
///
///     plain, secured ─▶ handshaking (HandshakeMachine) ─▶ open ─▶ closed        multiplexed ─▶ open
///
/// The owner calls an input, drains `nextEffect()` until nil, takes what `produce` gives while the byte stream accepts
/// bytes, and sets one timer for `nextTimeout`. The dialer proposes one security protocol and its first message leaves
/// right behind; with the early muxer a stream's first answer arrives in the third round trip, TCP's own counted.
///
/// It does not: open sockets, speak TLS, choose whom to dial, know what a protocol's bytes mean.
///
/// - Our bug: none that closes; calls on streams that are gone are legal and late (the peer may have reset them).
/// - The peer's fault: `ConnectionViolation`, closes this connection with the multiplexer's own code and nothing else.
/// - Invariants: after `.closed` nothing more is emitted; every stream ends with exactly one of `.streamClosed` and
///   `.streamFailed`, unless it was reset by the owner; granted window bytes are released exactly once.
package struct ConnectionCore: ~Copyable {
    private enum State {
        case handshaking(HandshakeMachine)
        case open
        case closed
    }

    /// The largest payload of one data frame, bytes.
    private static let framePayloadMax = 64 * 1024
    private let direction: Direction
    private let configuration: ConnectionConfiguration
    private let identity: NoiseIdentity
    private let expectedPeer: PeerID?
    private let isExternal: Bool
    private var keySource: KeySource
    private var protocols: [ProtocolID]
    private var state: State
    private var establishment: Establishment?
    private var records = RecordLayer(nil)
    private var plaintexts: [ByteBuffer] = []
    private var yamux: YamuxMachine
    private var nextExternalID: UInt64
    private var streams = StreamTable()
    private var effects: Deque<ConnectionEffect> = []
    /// Handshake messages to send: before the session they leave as they are, `outbound` is sealed once there is one.
    private var unsealed = ByteBuffer()
    private var outbound = ByteBuffer()
    private var timers: ConnectionTimers
    private var openingRate: TokenBucket
    private var isOverShare = false
    private var hasMeasured = false

    package init(
        direction: Direction, door: ConnectionDoor, configuration: ConnectionConfiguration, identity: NoiseIdentity,
        expectedPeer: PeerID?, protocols: [ProtocolID], keySource: KeySource, at now: Instant
    ) {
        self.direction = direction
        self.configuration = configuration
        self.identity = identity
        self.expectedPeer = expectedPeer
        self.protocols = protocols
        self.keySource = keySource
        let limits = configuration.limits
        yamux = YamuxMachine(direction: direction, limits: limits)
        nextExternalID = direction == .outbound ? 1 : 2
        timers = ConnectionTimers(limits: limits, at: now)
        let rate = max(1, min(limits.streamsOpenedPerSecondMax, 1_000_000))
        openingRate = TokenBucket(interval: .seconds(1) / rate, burst: rate * 5, at: now)
        if case .multiplexed = door { isExternal = true } else { isExternal = false }
        switch door {
        case .plain:
            timers.beginHandshake(direction, isSilent: true, at: now)
            if direction == .outbound { timers.noteAsked(at: now) }
            var source = keySource
            let handshake = HandshakeMachine(
                direction: direction, configuration: configuration,
                noise: Self.makeNoise(direction, identity, expectedPeer, &source), into: &unsealed)
            self.keySource = source
            state = .handshaking(handshake)
            if direction == .outbound, configuration.securityProposed == .tls { effects.append(.startTLS) }
        case .secured(let establishment):
            timers.beginHandshake(direction, isSilent: false, at: now)
            self.establishment = establishment
            state = .handshaking(
                HandshakeMachine(direction: direction, configuration: configuration, muxerInto: &outbound))
        case .multiplexed(let establishment):
            self.establishment = establishment
            state = .open
            becomeOpen(at: now)
        }
    }

    // MARK: Inputs of the transport

    /// Bytes of the byte stream, or of the TLS beneath us. They are decrypted in place: give the buffer up.
    package mutating func receive(_ bytes: consuming ByteBuffer, at now: Instant) {
        guard bytes.readableBytes > 0 else { return }
        timers.noteReceived(at: now)
        do throws(ConnectionViolation) {
            switch state {
            case .handshaking:
                noteAnswered(at: now)
                try receiveRecords(bytes, at: now)
                if case .handshaking = state, hasOutput { timers.noteAsked(at: now) }
            case .open:
                try receiveRecords(bytes, at: now)
            case .closed:
                return
            }
        } catch {
            fail(.violation(error, stage), code: .protocolError)
        }
    }

    /// The byte stream ended (`failure` nil: in order).
    package mutating func transportEnded(_ failure: String?, at now: Instant) {
        switch state {
        case .closed:
            return
        case .open:
            let isCut = records.isInsideRecord || yamux.isInsideFrame
            if failure == nil, !isCut {
                fail(.remote, code: nil)
            } else {
                fail(.transport(failure ?? "the byte stream ended in the middle of a frame", .stream), code: nil)
            }
        case .handshaking:
            fail(.transport(failure ?? "the peer closed the connection", stage), code: nil)
        }
    }

    /// TLS, agreed with `.tlsAgreed`, has proven who the peer is. `muxer` is what ALPN agreed on.
    package mutating func tlsEstablished(_ establishment: Establishment, muxer: ProtocolID?, at now: Instant) {
        guard case .handshaking(var handshake) = state, handshake.tlsEstablished() else { return }
        timers.noteReceived(at: now)
        self.establishment = establishment
        guard muxer != .yamux else { return becomeOpen(at: now) }
        handshake.beginMuxer(into: &outbound)
        state = .handshaking(handshake)
    }

    package mutating func tlsFailed(_ violation: ConnectionViolation, at now: Instant) {
        guard !isClosed else { return }
        fail(.violation(violation, stage), code: nil)
    }

    package mutating func handleTimeout(at now: Instant) {
        guard !isClosed else { return }
        switch timers.expire(at: now) {
        case .nothing: break
        case .handshake: return fail(.timeout(stage), code: nil)
        case .dead: return fail(.timeout(.stream), code: nil)
        case .pingDue: ping(at: now)
        }
        while let stream = streams.popOverdue(at: now) { failStream(stream, .negotiationTimeout) }
    }

    /// When `handleTimeout` is due; nil for never.
    package var nextTimeout: Instant? {
        guard !isClosed else { return nil }
        guard let next = timers.next else { return streams.nextDeadline }
        return min(next, streams.nextDeadline ?? next)
    }

    // MARK: Inputs of the owner

    /// A new stream; nil when not open, or at a limit. With one protocol the negotiation is optimistic: what the caller
    /// sends goes out right behind the proposal. With several it waits until one is agreed.
    package mutating func openStream(_ protocols: [ProtocolID], at now: Instant) -> StreamID? {
        guard case .open = state, !protocols.isEmpty,
            protocols.count <= configuration.limits.protocolsProposedMax,
            streams.count < configuration.limits.streamsInboundMax + configuration.limits.streamsOutboundMax,
            let id = isExternal ? takeExternalID() : yamux.open(at: now)
        else { return nil }
        if isExternal { effects.append(.external(.open(id))) }
        let machine = NegotiationMachine(proposing: protocols)
        var greeting = ByteBuffer()
        machine.start(into: &greeting)
        streams.insert(
            ConnectionStream(direction: .outbound, negotiation: machine, isHeld: protocols.count > 1), as: id,
            negotiateBy: now + configuration.limits.streamNegotiationTimeout)
        enqueue(greeting, on: id, at: now)
        return id
    }

    package mutating func send(_ bytes: ByteBuffer, on stream: StreamID, at now: Instant) {
        guard let entry = streams[stream], !entry.isFinishing, bytes.readableBytes > 0 else { return }
        if entry.isHeld {
            streams[stream]?.hold(bytes)
        } else {
            enqueue(bytes, on: stream, at: now)
        }
    }

    /// Bytes given to `send` and not yet produced, those that wait for a protocol included.
    package func queuedBytes(on stream: StreamID) -> Int {
        streams[stream].map { $0.queuedBytes + $0.heldBytes } ?? 0
    }

    /// Half-close: the peer reads to the end of what was sent; we may go on reading.
    package mutating func closeWriting(_ stream: StreamID, at now: Instant) {
        guard let entry = streams[stream], !entry.isFinishing else { return }
        streams[stream]?.isFinishing = true
        guard isExternal else { return makeReady(stream, at: now) }
        if !entry.isHeld { finishExternal(stream) }
    }

    /// Ends the stream both ways; nothing more is emitted for it.
    package mutating func reset(_ stream: StreamID, at now: Instant) {
        guard streams[stream] != nil else { return }
        resetAndForget(stream)
        noteOutput(at: now)
    }

    /// The owner used up bytes of `.streamData`: the peer may send as many more.
    package mutating func consumed(_ bytes: Int, on stream: StreamID, at now: Instant) {
        guard !isExternal else {
            if streams[stream] != nil { effects.append(.external(.consumed(stream, bytes: bytes))) }
            return
        }
        let growth = yamux.consumed(bytes, on: stream, at: now)
        if growth > 0 { effects.append(.requestWindow(stream, bytes: growth)) }
        noteOutput(at: now)
    }

    /// Answers `.requestWindow`; 0 when the process pool has nothing left.
    package mutating func grantWindow(_ bytes: Int, on stream: StreamID, at now: Instant) {
        guard !yamux.grant(bytes, on: stream), bytes > 0 else { return noteOutput(at: now) }
        effects.append(.releaseWindow(bytes: bytes))
    }

    package mutating func setProtocols(_ protocols: [ProtocolID]) { self.protocols = protocols }

    /// Whether this peer's work takes more than its share of a core; only then stream rates count.
    package mutating func setOverShare(_ isOverShare: Bool) { self.isOverShare = isOverShare }

    package mutating func ping(at now: Instant) {
        guard case .open = state, !isExternal, !yamux.isAwaitingPong else { return }
        yamux.ping()
        timers.notePinged(at: now)
        noteOutput(at: now)
    }

    /// Says goodbye and ends. Streams that are still open fail with `.connectionClosed(.local)`.
    package mutating func close(at now: Instant) {
        guard !isClosed else { return }
        fail(.local, code: .normal)
    }

    package var openStreamCount: Int { streams.count }

    package var isClosed: Bool {
        if case .closed = state { return true }
        return false
    }

    // MARK: Outputs

    package mutating func nextEffect() -> ConnectionEffect? {
        effects.popFirst()
    }

    /// True when `produce` would write something.
    package var hasOutput: Bool {
        unsealed.readableBytes > 0 || outbound.readableBytes > 0 || yamux.control.readableBytes > 0 || streams.hasReady
    }

    /// Appends bytes for the byte stream, about `bytesMax` at most; true when there is more.
    package mutating func produce(into output: inout ByteBuffer, bytesMax: Int, at now: Instant) -> Bool {
        let start = output.writerIndex
        if unsealed.readableBytes > 0 {
            output.writeBuffer(&unsealed)
            unsealed = ByteBuffer()
        }
        if outbound.readableBytes > 0 {
            let handshake = outbound
            outbound = ByteBuffer()
            records.write(handshake, into: &output)
        }
        if yamux.control.readableBytes > 0 {
            records.write(yamux.takeControl(), into: &output)
        }
        while output.writerIndex - start < bytesMax, let stream = streams.popReady() {
            produce(stream, into: &output)
        }
        records.endRecord(in: &output)
        timers.noteTaken(hasMore: hasOutput, at: now)
        return hasOutput
    }

    // MARK: Door `.multiplexed`: what the transport's streams do

    package mutating func externalOpened(_ stream: StreamID, at now: Instant) {
        guard case .open = state, streams[stream] == nil else { return }
        accept(stream, at: now)
    }

    package mutating func externalReceived(_ bytes: ByteBuffer, on stream: StreamID, at now: Instant) {
        timers.noteReceived(at: now)
        receiveOnStream(bytes, stream, at: now)
    }

    package mutating func externalEnded(_ stream: StreamID, at now: Instant) {
        endRemotely(stream)
    }

    package mutating func externalReset(_ stream: StreamID, at now: Instant) {
        forgetFailed(stream, .reset)
    }

    // MARK: Handshake

    private var stage: ConnectionStage {
        switch state {
        case .handshaking(let handshake): handshake.stage
        case .open, .closed: .stream
        }
    }

    private static func makeNoise(
        _ direction: Direction, _ identity: NoiseIdentity, _ expectedPeer: PeerID?, _ source: inout KeySource
    ) -> NoiseMachine {
        NoiseMachine(
            direction: direction, identity: identity, expectedPeer: expectedPeer, muxers: [.yamux],
            keySource: &source)
    }

    private mutating func becomeOpen(at now: Instant) {
        state = .open
        timers.becomeOpen(keepsAlive: !isExternal, at: now)
        // Windows grow by round trips; TLS beneath us hides those of its handshake.
        if !hasMeasured { ping(at: now) }
        if let establishment { effects.append(.established(establishment)) }
    }

    /// One read's worth of bytes: handshake messages, or records of frames.
    private mutating func receiveRecords(
        _ bytes: consuming ByteBuffer, at now: Instant
    ) throws(ConnectionViolation) {
        var chunks = plaintexts
        plaintexts = []
        defer {
            chunks.removeAll(keepingCapacity: chunks.count <= 64)
            plaintexts = chunks
        }
        try records.open(bytes, into: &chunks)
        for index in chunks.indices {
            switch state {
            case .handshaking(let handshake): try advance(handshake, chunks[index], at: now)
            case .open: try receiveFrames(&chunks[index], at: now)
            case .closed: return
            }
        }
    }

    private mutating func advance(
        _ handshake: HandshakeMachine, _ bytes: ByteBuffer, at now: Instant
    ) throws(ConnectionViolation) {
        var handshake = handshake
        var source = keySource
        // Kept also when it throws: the state says at which stage.
        defer { keySource = source }
        let outcome: HandshakeMachine.OnReceive
        do throws(ConnectionViolation) {
            outcome = try handshake.receive(
                bytes, into: &outbound, noise: Self.makeNoise(direction, identity, expectedPeer, &source))
        } catch {
            state = .handshaking(handshake)
            throw error
        }
        state = .handshaking(handshake)
        switch outcome {
        case .needsMoreBytes:
            break
        case .tlsAgreed(let leftover):
            if direction == .inbound { effects.append(.startTLS) }
            effects.append(.tlsAgreed(leftover: leftover))
        case .secured(let session, let leftover):
            try install(session, handshake, leftover, at: now)
        case .multiplexed(var leftover):
            becomeOpen(at: now)
            try receiveFrames(&leftover, at: now)
        }
    }

    /// Noise is done: from here on everything is sealed, except its own last message.
    private mutating func install(
        _ session: NoiseSession, _ handshake: HandshakeMachine, _ leftover: ByteBuffer, at now: Instant
    ) throws(ConnectionViolation) {
        unsealed.writeBuffer(&outbound)
        outbound = ByteBuffer()
        session.sealing.accelerate(with: configuration.recordCipherLibrary)
        session.opening.accelerate(with: configuration.recordCipherLibrary)
        records = RecordLayer(session)
        establishment = Establishment(
            peer: session.peer, publicKey: session.publicKey, security: .noise,
            hadEarlyMuxer: session.muxer == .yamux)
        if session.muxer == .yamux {
            becomeOpen(at: now)
        } else {
            var handshake = handshake
            handshake.beginMuxer(into: &outbound)
            state = .handshaking(handshake)
        }
        if leftover.readableBytes > 0 { try receiveRecords(leftover, at: now) }
    }

    private mutating func receiveFrames(_ bytes: inout ByteBuffer, at now: Instant) throws(ConnectionViolation) {
        while !isClosed {
            switch try yamux.receive(&bytes, at: now) {
            case .needsMoreBytes:
                return
            case .handled:
                continue
            case .opened(let stream):
                if isOverShare, !openingRate.take(at: now) { throw .flood("streams opened faster than allowed") }
                accept(stream, at: now)
            case .data(let stream, let part):
                receiveOnStream(part, stream, at: now)
            case .ended(let stream):
                endRemotely(stream)
            case .reset(let stream):
                forgetFailed(stream, .reset)
            case .creditArrived(let stream):
                makeReady(stream, at: now)
            case .answered:
                noteAnswered(at: now)
            case .goneAway:
                if streams.isEmpty { fail(.remote, code: nil) }
            }
            if yamux.control.readableBytes > 0 { noteOutput(at: now) }
        }
    }

    // MARK: Streams

    private mutating func accept(_ stream: StreamID, at now: Instant) {
        let machine = NegotiationMachine(listeningFor: configuration.limits.protocolsProposedMax)
        streams.insert(
            ConnectionStream(direction: .inbound, negotiation: machine, isHeld: true), as: stream,
            negotiateBy: now + configuration.limits.streamNegotiationTimeout)
    }

    private mutating func receiveOnStream(_ bytes: ByteBuffer, _ stream: StreamID, at now: Instant) {
        guard let entry = streams[stream] else { return }
        guard case .running(var machine, var input) = entry.negotiation else {
            effects.append(.streamData(stream, bytes))
            return
        }
        if input.readableBytes > 0 { input.writeImmutableBuffer(bytes) } else { input = bytes }
        let before = input.readableBytes
        var answer = ByteBuffer()
        do throws(DecodeError) {
            let outcome = try machine.receive(&input, into: &answer, accepting: protocols)
            // Negotiation is used up here; only what follows it is the owner's to consume.
            consumed(before - input.readableBytes, on: stream, at: now)
            switch outcome {
            case .needsMoreBytes:
                // What a partial message still holds is counted when it is whole; it is under the message limit.
                streams[stream]?.negotiation = .running(machine, input: input)
                enqueue(answer, on: stream, at: now)
            case .agreed(let name):
                agree(on: name, stream, answer: answer, leftover: input, at: now)
            case .refused:
                resetAndForget(stream)
                effects.append(.streamFailed(stream, .refused))
            }
        } catch {
            resetAndForget(stream)
            effects.append(.streamFailed(stream, .negotiation(error)))
        }
    }

    private mutating func agree(
        on name: ProtocolID, _ stream: StreamID, answer: ByteBuffer, leftover: ByteBuffer, at now: Instant
    ) {
        guard let entry = streams[stream] else { return }
        let held = streams.agree(stream)
        enqueue(answer, on: stream, at: now)
        for bytes in held { enqueue(bytes, on: stream, at: now) }
        if isExternal, entry.isFinishing { finishExternal(stream) } else { makeReady(stream, at: now) }
        effects.append(.streamOpened(stream, name, entry.direction))
        if leftover.readableBytes > 0 { effects.append(.streamData(stream, leftover)) }
    }

    private mutating func endRemotely(_ stream: StreamID) {
        guard let entry = streams[stream], !entry.isEndedRemotely else { return }
        guard entry.isNegotiated else { return failStream(stream, .negotiation(.truncated("multistream message"))) }
        streams[stream]?.isEndedRemotely = true
        effects.append(.streamEnded(stream))
        if entry.isFinished { finishBoth(stream) }
    }

    private mutating func finishBoth(_ stream: StreamID) {
        forget(stream)
        effects.append(.streamClosed(stream))
    }

    private mutating func failStream(_ stream: StreamID, _ fault: StreamFault) {
        resetAndForget(stream)
        effects.append(.streamFailed(stream, fault))
    }

    private mutating func forgetFailed(_ stream: StreamID, _ fault: StreamFault) {
        guard streams[stream] != nil else { return }
        forget(stream)
        effects.append(.streamFailed(stream, fault))
    }

    private mutating func resetAndForget(_ stream: StreamID) {
        if isExternal {
            effects.append(.external(.reset(stream)))
        } else {
            yamux.reset(stream)
        }
        forget(stream)
    }

    private mutating func forget(_ stream: StreamID) {
        streams.remove(stream)
        let granted = yamux.forget(stream)
        if granted > 0 { effects.append(.releaseWindow(bytes: granted)) }
    }

    // MARK: Sending

    private mutating func enqueue(_ bytes: ByteBuffer, on stream: StreamID, at now: Instant) {
        guard bytes.readableBytes > 0 else { return }
        if isExternal {
            effects.append(.external(.send(stream, bytes)))
            return
        }
        streams.enqueue(bytes, on: stream, highWater: configuration.limits.sendQueueHighWater)
        makeReady(stream, at: now)
    }

    private mutating func makeReady(_ stream: StreamID, at now: Instant) {
        streams.makeReady(stream, hasCredit: yamux.sendCredit(of: stream) > 0)
        noteOutput(at: now)
    }

    /// One turn of a stream: up to one data frame, and FIN if that was all.
    private mutating func produce(_ stream: StreamID, into output: inout ByteBuffer) {
        let countMax = min(yamux.sendCredit(of: stream), Self.framePayloadMax)
        if let payload = streams[stream]?.dequeue(countMax) {
            records.prepareForHeader(in: &output)
            yamux.writeDataHeader(stream, count: payload.readableBytes, into: &output)
            records.writePayload(payload, into: &output)
            if streams.drained(stream, lowWater: configuration.limits.sendQueueLowWater) {
                effects.append(.streamDrained(stream))
            }
        }
        if streams[stream]?.mustFinish == true {
            streams[stream]?.isFinished = true
            records.prepareForHeader(in: &output)
            if yamux.finish(stream, into: &output) { finishBoth(stream) }
        } else {
            streams.makeReady(stream, hasCredit: yamux.sendCredit(of: stream) > 0)
        }
    }

    private mutating func finishExternal(_ stream: StreamID) {
        guard let entry = streams[stream], !entry.isFinished else { return }
        streams[stream]?.isFinished = true
        effects.append(.external(.finish(stream)))
        if entry.isEndedRemotely { finishBoth(stream) }
    }

    private mutating func takeExternalID() -> StreamID? {
        defer { nextExternalID += 2 }
        return StreamID(nextExternalID)
    }

    // MARK: Time and end

    private mutating func noteOutput(at now: Instant) {
        if hasOutput { timers.noteWaiting(at: now) }
    }

    private mutating func noteAnswered(at now: Instant) {
        guard let roundTrip = timers.noteAnswered(at: now) else { return }
        hasMeasured = true
        yamux.roundTrip = max(roundTrip, .microseconds(50))
        effects.append(.roundTripMeasured(roundTrip))
    }

    private mutating func fail(_ reason: CloseReason, code: YamuxGoAway?) {
        guard !isClosed else { return }
        if let code, case .open = state, !isExternal { yamux.goAway(code) }
        state = .closed
        for stream in streams.sortedIDs {
            forget(stream)
            effects.append(.streamFailed(stream, .connectionClosed(reason)))
        }
        streams.removeReady()
        effects.append(.closed(reason))
    }
}

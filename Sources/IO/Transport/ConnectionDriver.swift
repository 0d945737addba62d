// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import TuttiBase
import TuttiConnection
import TuttiIdentity

/// Does the I/O of one `ConnectionCore`: bytes from its link go in, effects come out, output goes to the link.
///
/// Everything happens in turns. A turn begins with a read, an errand from another thread, a writable link or the timer;
/// then effects are drained, streams' bytes and events are handed on in one batch each, and output is produced while the
/// link takes it, up to `turnBytesMax`. What is left then waits until the loop has looked at other sockets. It does not
/// decide anything about peers, and knows nothing of sockets (`ByteLink`).
///
/// ```
/// new --accepted--> awaitingAdmission --admit--> running --established--> established --closed--> lingering --> ended
/// new --dialled--> running                                              any --link gone--> ended
/// ```
///
/// Invariants: one `.accepted` and one `.closed` for an inbound connection; `.established` then `.closed`, or one
/// `.dialFailed`, for an outbound one. After `ended` the driver holds no link, core, stream or timer, whoever holds it.
///
/// `@unchecked Sendable`: confined to `loop`; other threads use only the immutable properties and `enqueue`.
final class ConnectionDriver: @unchecked Sendable {
    private enum Phase {
        case new
        case awaitingAdmission(until: Instant)
        case running
        case established(PeerID)
        case lingering(until: Instant, CloseReason)
        case ended(CloseReason)
    }

    private struct Pauses: OptionSet {
        let rawValue: UInt8
        /// The node has too many of our messages.
        static let inbox = Pauses(rawValue: 1)
        /// The peer has too many of the node's messages to read.
        static let unsent = Pauses(rawValue: 2)
    }

    let id: ConnectionID
    let direction: Direction
    let remote: Multiaddr
    let loop: any EventLoop
    private let environment: DriverEnvironment
    private let scratch: LoopScratch
    private let errands = Mutex<[Errand]>([])

    private var phase = Phase.new
    private var link: (any ByteLink)?
    private var core: ConnectionCore?
    private var tls: TLSEngine?
    /// TLS has failed: what the core would still say can't be said.
    private var isMute = false
    private var dial: DialPlan?
    private var protocols: ProtocolTable

    private var streams: [StreamID: StreamEntry] = [:]
    private var applicationStreams = 0
    private var applicationStreamsTold = 0
    private var grantedWindowBytes = 0

    // One turn.
    private var isInTurn = false
    private var now = Instant.zero
    private var events: [ConnectionEvent] = []
    private var messageBytes = 0
    private var touched: [StreamPipe] = []
    private var written: [StreamPipe] = []
    private var needsFlush = false
    private var closing: CloseReason?
    private var bufferNumber: UInt64 = 0
    private var linkEnd: (failure: String?, isPending: Bool) = (nil, false)

    // Between turns.
    private var isContinuationQueued = false
    private var timer: DriverTimer?
    private var armedAt: Instant?
    private var pauses: Pauses = []
    private var pausedUntil = Instant.distantFuture
    private var inbox: InboxMeter?
    private var sentSinceCount = 0
    private var meter: ProcessorMeter

    init(
        id: ConnectionID, direction: Direction, remote: Multiaddr, loop: any EventLoop, scratch: LoopScratch,
        environment: DriverEnvironment, protocols: ProtocolTable, dial: DialPlan?
    ) {
        self.id = id
        self.direction = direction
        self.remote = remote
        self.loop = loop
        self.scratch = scratch
        self.environment = environment
        self.protocols = protocols
        self.dial = dial
        meter = ProcessorMeter(at: .zero)
    }

    // MARK: From any thread

    func enqueue(_ errand: Errand) {
        let isFirst = errands.withLock { queue in
            queue.append(errand)
            return queue.count == 1
        }
        if isFirst { loop.execute { self.runErrands() } }
    }

    // MARK: From the link

    /// The byte stream is there. An accepted one is not read before the node admits it.
    func linkStarted(_ link: any ByteLink) {
        guard case .new = phase else {
            assertionFailure("a connection has one link")
            return
        }
        self.link = link
        startTurn()
        meter = ProcessorMeter(at: now)
        switch direction {
        case .inbound:
            phase = .awaitingAdmission(until: now + environment.limits.admissionTimeout)
            events.append(.accepted(ConnectionHandle(self)))
        case .outbound:
            begin()
        }
        finishTurn()
    }

    /// `linkReadCompleted` follows in the same turn of the loop.
    func linkReceived(_ bytes: consuming ByteBuffer) {
        guard core != nil else { return }
        startTurn()
        bufferNumber &+= 1
        if tls == nil {
            core?.receive(bytes, at: now)
        } else {
            receiveThroughTLS(bytes)
        }
        drainEffects()
    }

    func linkReadCompleted() {
        startTurn()
        finishTurn()
    }

    func linkWritabilityChanged() {
        // The link may call back out of our own flush; the turn under way looks at it again.
        guard !isInTurn, core != nil else { return }
        startTurn()
        finishTurn()
    }

    /// The byte stream has ended; `failure` is nil when the peer ended it in order.
    func linkEnded(_ failure: String?) {
        guard !isInTurn else {
            linkEnd = (failure, true)
            return
        }
        link?.close()
        link = nil
        switch phase {
        case .new, .ended:
            break
        case .lingering(_, let reason):
            end(reason)
        case .awaitingAdmission:
            startTurn()
            close(failure.map { .transport($0, .negotiate) } ?? .remote)
            finishTurn()
        case .running, .established:
            startTurn()
            let wasCut = tls.map { !$0.hasEnded } ?? false
            core?.transportEnded(failure ?? (wasCut ? "the peer ended the socket without ending TLS" : nil), at: now)
            finishTurn()
        }
    }

    // MARK: From the loop

    func timerFired() {
        guard let armed = armedAt else { return }
        let time = currentInstant()
        // An earlier timer was set after this one; it has done this one's work.
        guard time >= armed else { return }
        armedAt = nil
        startTurn()
        if time >= ownDeadline { ownDeadlinePassed() }
        if let next = core?.nextTimeout, time >= next { core?.handleTimeout(at: time) }
        finishTurn()
    }

    private func runErrands() {
        var batch: [Errand] = []
        errands.withLock { swap(&batch, &$0) }
        startTurn()
        for errand in batch {
            switch errand {
            case .perform(let commands): for command in commands { perform(command) }
            case .serve(let pipe): serve(pipe)
            case .open(let request): open(request)
            case .resumeReading: resume(.inbox)
            }
        }
        finishTurn()
    }

    private func continueOutput() {
        isContinuationQueued = false
        guard core != nil else { return }
        startTurn()
        finishTurn()
    }

    // MARK: A turn

    private func currentInstant() -> Instant {
        Instant(nanoseconds: Int64(clamping: loop.now.uptimeNanoseconds))
    }

    private func startTurn() {
        guard !isInTurn else { return }
        loop.assertInEventLoop()
        isInTurn = true
        now = currentInstant()
    }

    private func finishTurn() {
        drainEffects()
        deliver()
        pump()
        settleWriters()
        tellStreamsInUse()
        deliver()
        if let reason = closing {
            closing = nil
            finish(reason)
        }
        arm()
        account()
        isInTurn = false
        if linkEnd.isPending {
            let failure = linkEnd.failure
            linkEnd = (nil, false)
            linkEnded(failure)
        }
    }

    private func drainEffects() {
        while let effect = core?.nextEffect() { handle(effect) }
    }

    private func deliver() {
        if !touched.isEmpty {
            for pipe in touched { pipe.publish() }
            touched = []
        }
        guard !events.isEmpty else { return }
        if messageBytes > 0 {
            let meter = inbox ?? InboxMeter(bytesMax: environment.limits.inboxBytesMax)
            inbox = meter
            events.append(.receipt(InboxReceipt(meter, bytes: messageBytes)))
            if meter.handedOver(messageBytes, by: self) { pause(.inbox) }
            messageBytes = 0
        }
        var batch: [ConnectionEvent] = []
        swap(&batch, &events)
        environment.owner.receive(batch)
    }

    /// Produces and writes while the link takes it. A closing connection has one last chunk, whatever the link says.
    private func pump() {
        guard let link, core != nil else { return }
        var budget = environment.limits.turnBytesMax
        while link.isWritable || (closing != nil && budget == environment.limits.turnBytesMax) {
            guard budget > 0 else {
                queueContinuation()
                break
            }
            let count = produceChunk(to: link, bytesMax: min(budget, environment.limits.chunkBytesMax))
            drainEffects()
            guard count > 0 else { break }
            budget -= count
        }
        if needsFlush {
            needsFlush = false
            link.flush()
        }
    }

    private func produceChunk(to link: any ByteLink, bytesMax: Int) -> Int {
        var chunk = scratch.take()
        _ = core?.produce(into: &chunk, bytesMax: bytesMax, at: now)
        let count = chunk.readableBytes
        if count == 0 || isMute {
            scratch.putBack(chunk)
            return count
        }
        if let tls {
            var sealed = ByteBuffer()
            do throws(ConnectionViolation) {
                try tls.seal(&chunk, into: &sealed)
                link.write(sealed)
                needsFlush = true
            } catch {
                isMute = true
                core?.tlsFailed(error, at: now)
            }
        } else if count <= environment.limits.chunkBytesMax / 4 {
            // A peer that doesn't read must not make a few bytes hold a large buffer.
            link.write(ByteBuffer(copying: chunk))
            needsFlush = true
        } else {
            link.write(chunk)
            link.flush()
            needsFlush = false
        }
        scratch.putBack(chunk)
        return count
    }

    /// A plain `execute` would run before the loop looks at its sockets again, and starve them.
    private func queueContinuation() {
        guard !isContinuationQueued else { return }
        isContinuationQueued = true
        loop.scheduleTask(in: .microseconds(5)) { self.continueOutput() }
    }

    private func settleWriters() {
        guard !written.isEmpty else { return }
        for pipe in written { pipe.settle(queuedBytes: core?.queuedBytes(on: pipe.stream) ?? 0) }
        written = []
        if pauses.contains(.unsent), unsentBytes() <= environment.limits.unsentBytesMax / 2 { resume(.unsent) }
    }

    private func tellStreamsInUse() {
        guard (applicationStreams == 0) != (applicationStreamsTold == 0) else { return }
        applicationStreamsTold = applicationStreams
        guard case .established = phase else { return }
        events.append(.streamsInUse(id, count: applicationStreams))
    }

    private func account() {
        let time = currentInstant()
        guard
            let percent = meter.turnEnded(
                from: now, to: time, threshold: environment.limits.processorPercentReported)
        else { return }
        guard case .established = phase else { return }
        environment.owner.receive([.processorUsed(id, percent: percent)])
    }

    // MARK: Time

    private var ownDeadline: Instant {
        switch phase {
        case .awaitingAdmission(let until): until
        case .lingering(let until, _): until
        case .running, .established: pausedUntil
        case .new, .ended: .distantFuture
        }
    }

    private func ownDeadlinePassed() {
        switch phase {
        case .awaitingAdmission: close(.timeout(.negotiate))
        case .lingering(_, let reason): end(reason)
        case .running, .established: core?.close(at: now)
        case .new, .ended: break
        }
    }

    /// One timer at a time unless an earlier one is needed: a late one that finds nothing to do costs less than its
    /// cancellation.
    private func arm() {
        let next = min(core?.nextTimeout ?? .distantFuture, ownDeadline)
        guard next < armedAt ?? .distantFuture else { return }
        let timer = self.timer ?? DriverTimer(self)
        self.timer = timer
        armedAt = next
        // Fails only when the loop has shut down, and then nothing waits any more.
        _ = try? loop.scheduleCallback(
            at: .uptimeNanoseconds(UInt64(clamping: next.nanoseconds)), handler: timer)
    }

    private func pause(_ reason: Pauses) {
        guard core != nil, !pauses.contains(reason) else { return }
        if pauses.isEmpty {
            pausedUntil = now + environment.limits.pausedTimeout
            link?.setReading(false)
        }
        pauses.insert(reason)
    }

    private func resume(_ reason: Pauses) {
        guard pauses.contains(reason) else { return }
        pauses.remove(reason)
        guard pauses.isEmpty else { return }
        pausedUntil = .distantFuture
        link?.setReading(true)
    }

    // MARK: Beginning and end

    private func begin() {
        var configuration = environment.configuration
        if let dial {
            configuration.securityProposed = dial.security
            configuration.limits.handshakeTimeout = min(configuration.limits.handshakeTimeout, dial.deadline - now)
        }
        core = ConnectionCore(
            direction: direction, door: .plain, configuration: configuration, identity: environment.identity,
            expectedPeer: dial?.expected, protocols: protocols.names, keySource: environment.keySource, at: now)
        phase = .running
        link?.setReading(true)
    }

    /// Tells the node and every stream; the link is shut at the turn's end.
    private func close(_ reason: CloseReason) {
        guard closing == nil else { return }
        closing = reason
        let ended = streams.values
        streams = [:]
        applicationStreams = 0
        for entry in ended {
            switch entry.owner {
            case .application(let pipe): pipe.fail(.connectionClosed(reason))
            case .choosing(let request): request.fail(StreamFailure(.connectionClosed(reason)))
            case .opening, .core, .ping: break
            }
        }
        environment.windows.give(grantedWindowBytes)
        grantedWindowBytes = 0
        switch phase {
        case .established:
            events.append(.closed(id, reason))
        case .new, .awaitingAdmission, .running:
            events.append(direction == .inbound ? .closed(id, reason) : .dialFailed(id, reason))
        case .lingering, .ended:
            break
        }
    }

    private func finish(_ reason: CloseReason) {
        if direction == .outbound { environment.dials.ended(id) }
        inbox?.forget()
        guard let link, core != nil else { return end(reason) }
        if case .timeout = reason { return end(reason) }
        if let tls {
            var goodbye = ByteBuffer()
            tls.closeNotify(into: &goodbye)
            if goodbye.readableBytes > 0 { link.write(goodbye) }
        }
        core = nil
        tls = nil
        dial = nil
        phase = .lingering(until: now + environment.limits.lingerTimeout, reason)
        link.finishWriting()
        link.setReading(true)
    }

    private func end(_ reason: CloseReason) {
        phase = .ended(reason)
        core = nil
        tls = nil
        dial = nil
        timer?.driver = nil
        timer = nil
        armedAt = nil
        let last = link
        link = nil
        last?.close()
    }

    // MARK: TLS

    private func startTLS(_ leftover: ByteBuffer) {
        guard let link else { return }
        // The agreement on TLS goes out in the clear, before TLS's own first bytes.
        while produceChunk(to: link, bytesMax: environment.limits.chunkBytesMax) > 0 {}
        do {
            let engine = try TLSEngine(context: environment.tls, direction: direction, expectedPeer: dial?.expected)
            tls = engine
            if direction == .outbound {
                var hello = ByteBuffer()
                try engine.start(into: &hello)
                writeRaw(hello)
            }
        } catch {
            isMute = true
            core?.tlsFailed(error as? ConnectionViolation ?? .tls("TLS could not be set up"), at: now)
            return
        }
        if leftover.readableBytes > 0 { receiveThroughTLS(leftover) }
    }

    private func receiveThroughTLS(_ bytes: consuming ByteBuffer) {
        guard let tls, !isMute else { return }
        var plaintext = ByteBuffer()
        var output = ByteBuffer()
        do throws(ConnectionViolation) {
            let progress = try tls.receive(&bytes, plaintext: &plaintext, output: &output)
            writeRaw(output)
            if case .established(let establishment, let muxer) = progress {
                core?.tlsEstablished(establishment, muxer: muxer, at: now)
            }
            if plaintext.readableBytes > 0 { core?.receive(plaintext, at: now) }
            if case .endedByPeer = progress { core?.transportEnded(nil, at: now) }
        } catch {
            writeRaw(output)
            isMute = true
            core?.tlsFailed(error, at: now)
        }
    }

    private func writeRaw(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0, let link else { return }
        link.write(bytes)
        needsFlush = true
    }

    // MARK: Commands

    private func perform(_ command: ConnectionCommand) {
        switch command {
        case .admit:
            guard case .awaitingAdmission = phase else { return }
            begin()
        case .close:
            switch phase {
            case .awaitingAdmission: close(.local)
            case .running, .established: core?.close(at: now)
            case .new, .lingering, .ended: break
            }
        case .openStream(let name, let request):
            guard let stream = core?.openStream([name], at: now) else {
                events.append(.openFailed(id, request: request))
                return
            }
            let bytesMax: Int
            if case .core(let limit) = protocols.entries[name]?.owner {
                bytesMax = limit
            } else {
                bytesMax = environment.limits.messageBytesMax
            }
            streams[stream] = StreamEntry(
                owner: .opening(request: request, messageBytesMax: bytesMax), protocolID: name, direction: .outbound)
        case .send(let stream, let message):
            guard streams[stream] != nil else { return }
            var framed = ByteBufferAllocator().buffer(capacity: message.readableBytes + Varint.bytesMax)
            framed.writeDelimited(message)
            core?.send(framed, on: stream, at: now)
            countUnsent(framed.readableBytes)
        case .closeWriting(let stream):
            core?.closeWriting(stream, at: now)
        case .resetStream(let stream):
            guard streams[stream] != nil else { return }
            core?.reset(stream, at: now)
            forget(stream)
        case .setProtocols(let table):
            protocols = table
            core?.setProtocols(table.names)
        }
    }

    private func countUnsent(_ bytes: Int) {
        sentSinceCount += bytes
        guard sentSinceCount > environment.limits.unsentBytesMax / 2 else { return }
        sentSinceCount = 0
        if unsentBytes() > environment.limits.unsentBytesMax { pause(.unsent) }
    }

    /// What the peer has not read of the node's own messages.
    private func unsentBytes() -> Int {
        streams.reduce(0) { sum, item in
            item.value.isApplication ? sum : sum + (core?.queuedBytes(on: item.key) ?? 0)
        }
    }

    private func open(_ request: StreamRequest) {
        guard request.isWanted else { return }
        guard case .established(let peer) = phase, closing == nil else {
            return request.fail(StreamFailure(.connectionClosed(lastReason)))
        }
        guard let stream = core?.openStream(request.protocols, at: now) else {
            let message = "the connection has as many open streams as it may: close some, or wait"
            return request.fail(TransportError(code: .streamLimit, message: message))
        }
        applicationStreams += 1
        guard request.protocols.count == 1, let name = request.protocols.first else {
            streams[stream] = StreamEntry(owner: .choosing(request), protocolID: "", direction: .outbound)
            return
        }
        let pipe = StreamPipe(stream: stream, driver: self, limits: environment.configuration.limits)
        streams[stream] = StreamEntry(owner: .application(pipe), protocolID: name, direction: .outbound)
        request.succeed(StreamMailbox(connection: id, peer: peer, protocolID: name, pipe: pipe))
    }

    private var lastReason: CloseReason {
        switch phase {
        case .lingering(_, let reason), .ended(let reason): reason
        case .new, .awaitingAdmission, .running, .established: closing ?? .local
        }
    }

    private func serve(_ pipe: StreamPipe) {
        let work = pipe.takeWork()
        let stream = pipe.stream
        guard streams[stream] != nil else { return }
        if work.resets {
            core?.reset(stream, at: now)
            forget(stream)
            return pipe.fail(.reset)
        }
        if work.consumed > 0 { core?.consumed(work.consumed, on: stream, at: now) }
        for bytes in work.outgoing { core?.send(bytes, on: stream, at: now) }
        if !work.outgoing.isEmpty { written.append(pipe) }
        if work.closesWriting { core?.closeWriting(stream, at: now) }
    }

    // MARK: Effects

    private func handle(_ effect: ConnectionEffect) {
        switch effect {
        case .startTLS(let leftover): startTLS(leftover)
        case .established(let establishment):
            phase = .established(establishment.peer)
            dial = nil
            if direction == .outbound { environment.dials.ended(id) }
            events.append(.established(ConnectionHandle(self), establishment, direction))
        case .streamOpened(let stream, let name, .inbound): accept(stream, name)
        case .streamOpened(let stream, let name, .outbound): opened(stream, name)
        case .streamData(let stream, let bytes): received(bytes, on: stream)
        case .streamEnded(let stream): ended(stream)
        case .streamFailed(let stream, let fault): failed(stream, fault)
        case .streamDrained(let stream):
            if case .application(let pipe) = streams[stream]?.owner {
                pipe.settle(queuedBytes: core?.queuedBytes(on: stream) ?? 0)
            } else if pauses.contains(.unsent), unsentBytes() <= environment.limits.unsentBytesMax / 2 {
                resume(.unsent)
            }
        case .streamClosed(let stream):
            if case .application(let pipe) = streams[stream]?.owner { pipe.finish() }
            forget(stream)
        case .requestWindow(let stream, let bytes):
            guard environment.windows.take(bytes) else { return }
            grantedWindowBytes += bytes
            core?.grantWindow(bytes, on: stream, at: now)
        case .releaseWindow(let bytes):
            // Never more than was granted, so that an error elsewhere can't fill the pool.
            let released = min(bytes, grantedWindowBytes)
            grantedWindowBytes -= released
            environment.windows.give(released)
        case .roundTripMeasured(let duration): events.append(.roundTripMeasured(id, duration))
        case .closed(let reason): close(reason)
        case .external: assertionFailure("only a transport with streams of its own has external effects")
        }
    }

    private func accept(_ stream: StreamID, _ name: ProtocolID) {
        guard let entry = protocols.entries[name], case .established(let peer) = phase else {
            core?.reset(stream, at: now)
            return
        }
        if entry.inboundMax < environment.configuration.limits.streamsInboundMax {
            let open = streams.values.reduce(0) { count, other in
                other.direction == .inbound && other.protocolID == name ? count + 1 : count
            }
            guard open < entry.inboundMax else {
                core?.reset(stream, at: now)
                return
            }
        }
        let owner: StreamEntry.Owner
        switch entry.owner {
        case .core(let bytesMax):
            owner = .core(MessageReader(bytesMax: bytesMax))
            events.append(.streamOpened(id, stream, name, .inbound, request: nil))
        case .ping:
            owner = .ping(PingEcho())
        case .application:
            let pipe = StreamPipe(stream: stream, driver: self, limits: environment.configuration.limits)
            owner = .application(pipe)
            applicationStreams += 1
            events.append(
                .streamArrived(id, StreamMailbox(connection: id, peer: peer, protocolID: name, pipe: pipe)))
        }
        streams[stream] = StreamEntry(owner: owner, protocolID: name, direction: .inbound)
    }

    private func opened(_ stream: StreamID, _ name: ProtocolID) {
        guard case .established(let peer) = phase, let owner = streams[stream]?.owner else { return }
        switch owner {
        case .opening(let request, let bytesMax):
            streams[stream]?.owner = .core(MessageReader(bytesMax: bytesMax))
            events.append(.streamOpened(id, stream, name, .outbound, request: request))
        case .choosing(let request):
            let pipe = StreamPipe(stream: stream, driver: self, limits: environment.configuration.limits)
            streams[stream]?.owner = .application(pipe)
            streams[stream]?.protocolID = name
            // Nobody waits any more: the mailbox is let go of at once, which resets the stream.
            request.succeed(StreamMailbox(connection: id, peer: peer, protocolID: name, pipe: pipe))
        case .application, .core, .ping:
            break
        }
    }

    private func received(_ bytes: consuming ByteBuffer, on stream: StreamID) {
        guard let owner = streams[stream]?.owner else { return }
        let count = bytes.readableBytes
        switch owner {
        case .application(let pipe):
            let isFirst = pipe.collect(
                bytes, ofBuffer: bufferNumber, heldMax: environment.limits.heldBuffersMax)
            if isFirst { touched.append(pipe) }
        case .core(let reader):
            do throws(DecodeError) {
                try reader.receive(bytes) { message in
                    messageBytes += message.readableBytes
                    events.append(.message(id, stream, message))
                }
                core?.consumed(count, on: stream, at: now)
            } catch {
                core?.reset(stream, at: now)
                forget(stream)
                events.append(.streamFailed(id, stream, .negotiation(error)))
            }
        case .ping(let echo):
            let unsent = core?.queuedBytes(on: stream) ?? 0
            guard unsent + count <= environment.limits.pingUnsentBytesMax else {
                core?.reset(stream, at: now)
                return forget(stream)
            }
            let blocks = echo.receive(bytes)
            if blocks.readableBytes > 0 { core?.send(blocks, on: stream, at: now) }
            core?.consumed(count, on: stream, at: now)
        case .opening, .choosing:
            // The core gives no data before the protocol is agreed.
            break
        }
    }

    private func ended(_ stream: StreamID) {
        guard let owner = streams[stream]?.owner else { return }
        switch owner {
        case .application(let pipe): pipe.end()
        case .core(let reader):
            if reader.isBetweenMessages {
                events.append(.streamEnded(id, stream))
            } else {
                core?.reset(stream, at: now)
                forget(stream)
                events.append(.streamFailed(id, stream, .negotiation(.truncated("message"))))
            }
        case .ping: core?.closeWriting(stream, at: now)
        case .opening, .choosing: break
        }
    }

    private func failed(_ stream: StreamID, _ fault: StreamFault) {
        guard let owner = streams[stream]?.owner else { return }
        forget(stream)
        switch owner {
        case .application(let pipe): pipe.fail(fault)
        case .choosing(let request): request.fail(StreamFailure(fault))
        case .opening(let request, _): events.append(.openFailed(id, request: request))
        case .core: events.append(.streamFailed(id, stream, fault))
        case .ping: break
        }
    }

    private func forget(_ stream: StreamID) {
        guard let entry = streams.removeValue(forKey: stream) else { return }
        if entry.isApplication { applicationStreams -= 1 }
        // A dictionary keeps its largest table; an idle connection should not.
        if streams.isEmpty { streams = [:] }
    }
}

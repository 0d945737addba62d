// SPDX-License-Identifier: Apache-2.0
import NIOCore
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
        case established
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
    let environment: DriverEnvironment
    private let share: LoopShare
    let errands = ErrandQueue()

    private var phase = Phase.new
    private var link: (any ByteLink)?
    /// The core and its streams; nil before admission and after the end.
    private var table: ConnectionStreams?
    private var tls = ConnectionTLS()
    private var dial: DialPlan?
    private var protocols: ProtocolTable
    private var streamUse: StreamUse

    // One turn.
    private var isInTurn = false
    private var isFinishing = false
    private var now = Instant.zero
    private var events: [ConnectionEvent] = []
    private var needsFlush = false
    private var closing: CloseReason?
    private var linkEnd: (failure: String?, isPending: Bool) = (nil, false)

    // Between turns.
    /// Output that may still be made before the loop has looked at its sockets again.
    private var budget: Int
    private var isContinuationQueued = false
    private var timer: DriverTimer?
    private var pauses: Pauses = []
    private var pausedUntil = Instant.distantFuture
    private var inbox: InboxMeter?
    private var sentSinceCount = 0
    private var forgottenBytes = 0
    private var meter: ProcessorMeter

    init(
        id: ConnectionID, direction: Direction, remote: Multiaddr, loop: any EventLoop, share: LoopShare,
        environment: DriverEnvironment, protocols: ProtocolTable, dial: DialPlan?
    ) {
        self.id = id
        self.direction = direction
        self.remote = remote
        self.loop = loop
        self.share = share
        self.environment = environment
        self.protocols = protocols
        self.dial = dial
        meter = ProcessorMeter(at: .zero)
        streamUse = StreamUse(freeDelay: environment.limits.streamsFreeDelay)
        budget = environment.limits.turnBytesMax
    }

    // MARK: From any thread

    func enqueue(_ errand: Errand) {
        if errands.append(errand) { loop.execute { self.runErrands() } }
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
            if environment.dials.driven(id, self) { begin() } else { close(.local) }
        }
        finishTurn()
    }

    /// `linkReadCompleted` follows in the same turn of the loop.
    func linkReceived(_ bytes: consuming ByteBuffer) {
        guard let table else { return forget(bytes.readableBytes) }
        startTurn()
        table.readBegan(bytes.readableBytes, at: now)
        if tls.takesBytes {
            receiveThroughTLS(bytes)
        } else {
            table.box.core.receive(bytes, at: now)
        }
        drainEffects()
    }

    /// Bytes that come after the end. Who sends on and on is cut off.
    private func forget(_ count: Int) {
        guard case .lingering(_, let reason) = phase else { return }
        forgottenBytes += count
        if forgottenBytes > environment.limits.lingerBytesMax { end(reason) }
    }

    func linkReadCompleted() {
        guard !isFinishing else { return }
        startTurn()
        finishTurn()
    }

    func linkWritabilityChanged() {
        // The link may call back out of our own flush; the turn under way looks at it again.
        guard !isInTurn, table != nil else { return }
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
            table?.box.core.transportEnded(
                failure ?? (tls.isOpenEnded ? "the peer ended the socket without ending TLS" : nil), at: now)
            finishTurn()
        }
    }

    // MARK: From the loop

    func timerFired() {
        let time = currentInstant()
        guard timer?.takeDue(at: time) == true else { return }
        startTurn()
        if time >= ownDeadline { ownDeadlinePassed() }
        if let table, let next = table.box.core.nextTimeout, time >= next { table.box.core.handleTimeout(at: time) }
        finishTurn()
    }

    private func runErrands() {
        startTurn()
        for errand in errands.take() {
            switch errand {
            case .perform(let commands): for command in commands { perform(command) }
            case .serve(let pipe): serve(pipe)
            case .open(let request): open(request)
            case .resumeReading: resume(.inbox)
            }
        }
        finishTurn()
    }

    /// The loop has looked at its sockets since our budget was used up.
    func continueOutput() {
        isContinuationQueued = false
        budget = environment.limits.turnBytesMax
        guard table != nil else { return }
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
        isFinishing = true
        drainEffects()
        deliver()
        pump()
        table?.settleWriters()
        if pauses.contains(.unsent) { resumeIfRead() }
        tellStreamsInUse()
        deliver()
        if let reason = closing {
            closing = nil
            finish(reason)
        }
        arm()
        account()
        isFinishing = false
        isInTurn = false
        if linkEnd.isPending {
            let failure = linkEnd.failure
            linkEnd = (nil, false)
            linkEnded(failure)
        }
    }

    private func drainEffects() {
        while let table, let effect = table.box.core.nextEffect() { handle(effect, table) }
    }

    /// One batch of what this turn has brought so far.
    private func deliver() {
        if let table {
            let (batch, messageBytes) = table.takeEvents(at: now)
            if !batch.isEmpty { events.append(contentsOf: batch) }
            if messageBytes > 0 {
                let meter = inbox ?? InboxMeter(bytesMax: environment.limits.inboxBytesMax)
                inbox = meter
                events.append(.receipt(InboxReceipt(meter, bytes: messageBytes)))
                if meter.handedOver(messageBytes, by: self) { pause(.inbox) }
            }
        }
        guard !events.isEmpty else { return }
        var batch: [ConnectionEvent] = []
        swap(&batch, &events)
        environment.owner.receive(batch)
    }

    /// Produces, writes and flushes while the link takes it. A closing connection has one last chunk, whatever the link
    /// says. The link may become writable inside a flush, and says so to a turn that doesn't listen: so it is asked again.
    private func pump() {
        guard let link, let table else { return }
        var lastChunks = closing == nil ? 0 : 1
        var hasMore = true
        while hasMore {
            hasMore = false
            while (budget > 0 && link.isWritable) || lastChunks > 0 {
                let bytesMax = environment.limits.chunkBytesMax
                let count = produceChunk(table, to: link, bytesMax: budget > 0 ? min(budget, bytesMax) : bytesMax)
                lastChunks -= 1
                drainEffects()
                guard count > 0 else { break }
                hasMore = true
                budget -= count
            }
            if needsFlush {
                needsFlush = false
                link.flush()
            }
        }
        if budget <= 0, !isContinuationQueued {
            isContinuationQueued = true
            share.continueLater(self)
        }
    }

    private func produceChunk(_ table: ConnectionStreams, to link: any ByteLink, bytesMax: Int) -> Int {
        var chunk = share.take()
        _ = table.box.core.produce(into: &chunk, bytesMax: bytesMax, at: now)
        let count = chunk.readableBytes
        if count == 0 || tls.hasFailed {
            share.putBack(chunk)
            return count
        }
        if tls.takesBytes {
            var sealed = ByteBuffer()
            do throws(ConnectionViolation) {
                try tls.seal(&chunk, into: &sealed)
                link.write(sealed)
                needsFlush = true
                if count > environment.limits.chunkBytesMax / 4 {
                    needsFlush = false
                    link.flush()
                }
            } catch {
                table.box.core.tlsFailed(error, at: now)
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
        share.putBack(chunk)
        return count
    }

    private func tellStreamsInUse() {
        guard let table, case .established = phase,
            let count = streamUse.counted(table.applicationCount, at: now)
        else { return }
        events.append(.streamsInUse(id, count: count))
    }

    private func account() {
        let time = currentInstant()
        guard
            let percent = meter.turnEnded(
                from: now, to: time, threshold: environment.limits.processorPercentReported)
        else { return }
        guard case .established = phase else { return }
        table?.box.core.setOverShare(percent >= environment.limits.processorPercentReported)
        environment.owner.receive([.processorUsed(id, percent: percent)])
    }

    // MARK: Time

    private var ownDeadline: Instant {
        switch phase {
        case .awaitingAdmission(let until), .lingering(let until, _): until
        case .running, .established: pausedUntil
        case .new, .ended: .distantFuture
        }
    }

    private func ownDeadlinePassed() {
        switch phase {
        case .awaitingAdmission: close(.timeout(.negotiate))
        case .lingering(_, let reason): end(reason)
        case .running, .established: table?.box.core.close(at: now)
        case .new, .ended: break
        }
    }

    private func arm() {
        var next = ownDeadline
        if let table { next = min(next, table.nextTimeout, streamUse.deadline) }
        guard next < .distantFuture else { return }
        let timer = self.timer ?? DriverTimer(self)
        self.timer = timer
        timer.arm(for: next, on: loop)
    }

    private func pause(_ reason: Pauses) {
        guard table != nil, !pauses.contains(reason) else { return }
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
        let core = ConnectionCore(
            direction: direction, door: .plain, configuration: configuration, identity: environment.noise,
            expectedPeer: dial?.expected, protocols: protocols.names, keySource: environment.keySource, at: now)
        table = ConnectionStreams(box: CoreBox(core), driver: self, environment: environment, protocols: protocols)
        phase = .running
        link?.setReading(true)
    }

    /// Tells the node and every stream; the link is shut at the turn's end.
    private func close(_ reason: CloseReason) {
        guard closing == nil else { return }
        closing = reason
        errands.ended(reason)
        deliver()
        table?.connectionClosed(reason)
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
        guard let link, table != nil else { return end(reason) }
        if case .timeout = reason { return end(reason) }
        var goodbye = ByteBuffer()
        tls.end(into: &goodbye)
        if goodbye.readableBytes > 0 { link.write(goodbye) }
        table = nil
        dial = nil
        phase = .lingering(until: now + environment.limits.lingerTimeout, reason)
        link.finishWriting()
        link.setReading(true)
    }

    private func end(_ reason: CloseReason) {
        phase = .ended(reason)
        table = nil
        tls = ConnectionTLS()
        dial = nil
        timer?.driver = nil
        timer = nil
        let last = link
        link = nil
        last?.close()
    }

    // MARK: TLS

    private func startTLS(_ table: ConnectionStreams) {
        guard let link else { return }
        // The negotiation goes out in the clear, before TLS's own first bytes.
        while produceChunk(table, to: link, bytesMax: environment.limits.chunkBytesMax) > 0 {}
        var hello = ByteBuffer()
        do throws(ConnectionViolation) {
            try tls.start(environment.tls, direction, expectedPeer: dial?.expected, into: &hello)
            writeRaw(hello)
        } catch {
            table.box.core.tlsFailed(error, at: now)
        }
    }

    private func receiveThroughTLS(_ bytes: consuming ByteBuffer) {
        guard let table, bytes.readableBytes > 0 else { return }
        var plaintext = environment.readBuffers.take(capacity: bytes.readableBytes) ?? ByteBuffer()
        var output = ByteBuffer()
        do throws(ConnectionViolation) {
            let progress = try tls.receive(&bytes, plaintext: &plaintext, output: &output)
            writeRaw(output)
            if case .established(let establishment, let muxer) = progress {
                table.box.core.tlsEstablished(establishment, muxer: muxer, at: now)
            }
            if plaintext.readableBytes > 0 {
                environment.readBuffers.adopt(plaintext)
                table.box.core.receive(plaintext, at: now)
            }
            if case .endedByPeer = progress { table.box.core.transportEnded(nil, at: now) }
        } catch {
            writeRaw(output)
            table.box.core.tlsFailed(error, at: now)
        }
    }

    private func writeRaw(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0, let link else { return }
        link.write(bytes)
        needsFlush = true
    }

    // MARK: Commands and effects

    private func perform(_ command: ConnectionCommand) {
        switch command {
        case .admit:
            if case .awaitingAdmission = phase, closing == nil { begin() }
        case .refuse(let until):
            // Also when the peer has left already: who comes and goes is a flood as well.
            environment.door.shut(for: remote, until: until, at: now)
            if case .awaitingAdmission = phase { close(.local) }
        case .close:
            switch phase {
            case .awaitingAdmission: close(.local)
            case .running, .established: table?.box.core.close(at: now)
            case .new, .lingering, .ended: break
            }
        case .openStream(let name, let request, let first):
            guard let table else { return events.append(.openFailed(id, request: request)) }
            sentSinceCount += table.openForCore(name, request: request, messageBytesMax: nil, first: first, at: now)
        case .send(let stream, let message):
            sentSinceCount += table?.send(message, on: stream, at: now) ?? 0
            pauseIfUnread()
        case .closeWriting(let stream): table?.box.core.closeWriting(stream, at: now)
        case .resetStream(let stream): table?.reset(stream, at: now)
        case .setProtocols(let replacement):
            protocols = replacement
            table?.protocols = replacement
            table?.box.core.setProtocols(replacement.names)
        }
    }

    private func serve(_ pipe: StreamPipe) {
        switch phase {
        case .lingering(_, let reason), .ended(let reason): pipe.missedConnection(reason)
        case .new, .awaitingAdmission, .running, .established: table?.serve(pipe, at: now)
        }
    }

    private func open(_ request: StreamRequest) {
        switch phase {
        case .established where closing == nil: table?.open(request, at: now)
        case .lingering(_, let reason), .ended(let reason): request.fail(StreamFailure(.connectionClosed(reason)))
        case .new, .awaitingAdmission, .running, .established:
            request.fail(StreamFailure(.connectionClosed(closing ?? .local)))
        }
    }

    /// The sum over streams is only taken when enough was sent to matter.
    private func pauseIfUnread() {
        guard sentSinceCount > environment.limits.unsentBytesMax / 2, let table else { return }
        sentSinceCount = 0
        if table.unsentMessageBytes > environment.limits.unsentBytesMax { pause(.unsent) }
    }

    private func resumeIfRead() {
        guard let table, table.unsentMessageBytes <= environment.limits.unsentBytesMax / 2 else { return }
        resume(.unsent)
    }

    private func handle(_ effect: ConnectionEffect, _ table: ConnectionStreams) {
        switch effect {
        case .startTLS: startTLS(table)
        case .tlsAgreed(let leftover):
            tls.agreed()
            receiveThroughTLS(leftover)
        case .established(let establishment):
            phase = .established
            table.peer = establishment.peer
            errands.established(establishment.peer)
            dial = nil
            if direction == .outbound { environment.dials.ended(id) }
            events.append(.established(ConnectionHandle(self), establishment, direction))
            table.query(at: now)
        case .streamOpened(let stream, let name, .inbound): table.accept(stream, name, at: now)
        case .streamOpened(let stream, let name, .outbound): table.opened(stream, name)
        case .streamData(let stream, let bytes): table.received(bytes, on: stream, at: now)
        case .streamEnded(let stream): table.ended(stream, at: now)
        case .streamFailed(let stream, let fault): table.failed(stream, fault)
        case .streamDrained(let stream): table.drained(stream)
        case .streamClosed(let stream): table.closed(stream)
        case .requestWindow(let stream, let bytes): table.windowRequested(bytes, on: stream, at: now)
        case .releaseWindow(let bytes): table.windowReleased(bytes)
        case .roundTripMeasured(let duration): events.append(.roundTripMeasured(id, duration))
        case .closed(let reason): close(reason)
        case .external: assertionFailure("only a transport with streams of its own has external effects")
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import NIOCore
import TuttiBase
import TuttiConnection
import TuttiIdentity

/// The streams of one connection: who owns each, and what its owner is to be told after this turn.
///
/// Belongs to a `ConnectionDriver` and lives on its loop, from the connection's admission to its end. It gathers events
/// and slices; the driver hands them on once per turn.
///
/// A stream that is not in the table is over for its owner; what still comes of it is a legal late event and dropped.
final class ConnectionStreams {
    let box: CoreBox
    // soundness: allow unowned: the driver owns this table and drops it first; a weak reference costs on every read
    private unowned let driver: ConnectionDriver
    private let environment: DriverEnvironment
    private let connection: ConnectionID
    private var entries: [StreamID: StreamEntry] = [:]
    private var grantedWindowBytes = 0
    private(set) var applicationCount = 0
    /// Made with the first answer.
    private var statementRate: TokenBucket?
    var protocols: ProtocolTable
    /// Known once the connection is established.
    var peer: PeerID?

    // Gathered in this turn.
    var events: [ConnectionEvent] = []
    private(set) var messageBytes = 0
    private var touched: [StreamPipe] = []
    private var written: [StreamPipe] = []
    /// Numbers the reads, so that a mailbox knows how many read buffers its slices keep alive.
    private var bufferNumber: UInt64 = 0
    /// Reads whose bytes wait for those of the next, and when they no longer do.
    private var heldReads = 0
    private var heldUntil = Instant.distantFuture

    init(box: CoreBox, driver: ConnectionDriver, environment: DriverEnvironment, protocols: ProtocolTable) {
        self.box = box
        self.driver = driver
        self.environment = environment
        self.protocols = protocols
        connection = driver.id
    }

    // MARK: Of the turn

    /// A read that filled its buffer has more behind it. Waking a reader costs about as much as decrypting 32 KiB, so
    /// several such reads are handed over at once.
    func readBegan(_ count: Int, at now: Instant) {
        bufferNumber &+= 1
        let limits = environment.limits
        guard count >= limits.readBytesMax, heldReads < limits.heldReadsMax else {
            heldReads = 0
            heldUntil = .distantFuture
            return
        }
        if heldReads == 0 { heldUntil = now + limits.heldTimeout }
        heldReads += 1
    }

    var nextTimeout: Instant { min(box.core.nextTimeout ?? .distantFuture, heldUntil) }

    /// Hands arrived bytes to their mailboxes and gives out what is to be told to the node.
    func takeEvents(at now: Instant) -> (events: [ConnectionEvent], messageBytes: Int) {
        if now >= heldUntil {
            heldReads = 0
            heldUntil = .distantFuture
        }
        if heldReads == 0, !touched.isEmpty {
            for pipe in touched { pipe.publish() }
            touched = []
        }
        guard !events.isEmpty else { return ([], 0) }
        var batch: [ConnectionEvent] = []
        swap(&batch, &events)
        defer { messageBytes = 0 }
        return (batch, messageBytes)
    }

    /// After output was produced: writers whose bytes have gone out may go on.
    func settleWriters() {
        guard !written.isEmpty else { return }
        for pipe in written {
            guard let stream = pipe.stream else { continue }
            pipe.settle(queuedBytes: box.core.queuedBytes(on: stream))
        }
        written = []
    }

    /// What the peer has not read of the node's own messages.
    var unsentMessageBytes: Int {
        entries.reduce(0) { sum, item in
            item.value.isApplication ? sum : sum + box.core.queuedBytes(on: item.key)
        }
    }

    // MARK: What owners ask for

    /// The connection is up: asks what the node wants to know of each peer.
    func query(at now: Instant) {
        events.append(
            .answering(
                connection, tableRevision: protocols.revision, statementVersion: protocols.statement?.version ?? 0))
        guard let query = protocols.query else { return }
        _ = openForCore(query.name, request: query.request, messageBytesMax: query.messageBytesMax, first: [], at: now)
    }

    /// The bytes queued of the messages that go out behind the proposal.
    func openForCore(
        _ name: ProtocolID, request: UInt64, messageBytesMax: Int?, first: [ByteBuffer], at now: Instant
    ) -> Int {
        guard let stream = box.core.openStream([name], at: now) else {
            events.append(.openFailed(connection, request: request))
            return 0
        }
        let bytesMax: Int
        if let messageBytesMax {
            bytesMax = messageBytesMax
        } else if case .core(let limit) = protocols.entries[name]?.owner {
            bytesMax = limit
        } else {
            bytesMax = environment.limits.messageBytesMax
        }
        entries[stream] = StreamEntry(
            owner: .opening(request: request, messageBytesMax: bytesMax), protocolID: name, direction: .outbound)
        return first.reduce(0) { $0 + send($1, on: stream, at: now) }
    }

    func open(_ request: StreamRequest, at now: Instant) {
        guard request.isWanted else { return }
        guard let stream = openForApplication(request.protocols, at: now) else { return request.fail(openFailure) }
        entries[stream] = StreamEntry(owner: .choosing(request), protocolID: "", direction: .outbound)
    }

    private func openForApplication(_ protocols: [ProtocolID], at now: Instant) -> StreamID? {
        var opened = box.core.openStream(protocols, at: now)
        if opened == nil, let oldest = oldestAbandoned {
            // Peers exist that never end their direction; streams that nobody waits for must not hold up new ones.
            reset(oldest, at: now)
            opened = box.core.openStream(protocols, at: now)
        }
        if opened != nil { applicationCount += 1 }
        return opened
    }

    private var openFailure: any Error {
        // Closed in this very turn, of which the table has not heard yet: that was our own doing.
        guard !box.core.isClosed else { return StreamFailure(.connectionClosed(.local)) }
        let message = "the connection has as many open streams as it may: close some, or wait"
        return TransportError(code: .streamLimit, message: message)
    }

    /// Of our streams, the one that its owner let go of first. Looked for only at the limit.
    private var oldestAbandoned: StreamID? {
        entries.lazy.filter { _, entry in
            guard case .abandoned = entry.owner else { return false }
            return entry.direction == .outbound
        }.map(\.key).min()
    }

    /// The bytes queued for it, framed.
    func send(_ message: ByteBuffer, on stream: StreamID, at now: Instant) -> Int {
        guard entries[stream] != nil else { return 0 }
        var framed = ByteBufferAllocator().buffer(capacity: message.readableBytes + Varint.bytesMax)
        framed.writeDelimited(message)
        box.core.send(framed, on: stream, at: now)
        return framed.readableBytes
    }

    func reset(_ stream: StreamID, at now: Instant) {
        guard entries[stream] != nil else { return }
        box.core.reset(stream, at: now)
        forget(stream)
    }

    /// What a mailbox wants. The first time, one of ours wants its stream opened.
    func serve(_ pipe: StreamPipe, at now: Instant) {
        let work = pipe.takeWork()
        if pipe.stream == nil, !work.resets {
            guard let stream = openForApplication([pipe.protocolID], at: now) else { return pipe.fail(openFailure) }
            pipe.opened(as: stream)
            entries[stream] = StreamEntry(
                owner: .application(pipe), protocolID: pipe.protocolID, direction: .outbound)
        }
        guard let stream = pipe.stream, entries[stream] != nil else { return }
        if work.resets {
            reset(stream, at: now)
            return pipe.fail(StreamFailure(.reset))
        }
        if work.consumed > 0 { box.core.consumed(work.consumed, on: stream, at: now) }
        for bytes in work.outgoing { box.core.send(bytes, on: stream, at: now) }
        if !work.outgoing.isEmpty { written.append(pipe) }
        if work.closesWriting { box.core.closeWriting(stream, at: now) }
        if work.discards { entries[stream]?.owner = .abandoned }
    }

    // MARK: What the core says

    func accept(_ stream: StreamID, _ name: ProtocolID, at now: Instant) {
        guard let entry = protocols.entries[name], let peer, hasRoom(for: name, entry.inboundMax) else {
            box.core.reset(stream, at: now)
            return
        }
        let owner: StreamEntry.Owner
        switch entry.owner {
        case .core(let bytesMax):
            owner = .core(MessageReader(bytesMax: bytesMax))
            events.append(.streamOpened(connection, stream, name, .inbound, request: nil))
        case .ping:
            owner = .ping(PingEcho())
        case .statement(let interval, let burst):
            return answer(stream, name, interval: interval, burst: burst, at: now)
        case .application:
            let pipe = makePipe(stream, name)
            owner = .application(pipe)
            applicationCount += 1
            let mailbox = StreamMailbox(connection: connection, peer: peer, pipe: pipe)
            events.append(.streamArrived(connection, mailbox))
        }
        entries[stream] = StreamEntry(owner: owner, protocolID: name, direction: .inbound)
    }

    private func makePipe(_ stream: StreamID, _ name: ProtocolID) -> StreamPipe {
        StreamPipe(
            stream: stream, protocolID: name, driver: driver, limits: environment.configuration.limits)
    }

    /// One message, and the end of our side.
    private func answer(_ stream: StreamID, _ name: ProtocolID, interval: Duration, burst: Int, at now: Instant) {
        var rate = statementRate ?? TokenBucket(interval: interval, burst: burst, at: now)
        let mayAnswer = rate.take(at: now)
        statementRate = rate
        guard mayAnswer, let statement = protocols.statement else { return box.core.reset(stream, at: now) }
        entries[stream] = StreamEntry(owner: .answered, protocolID: name, direction: .inbound)
        _ = send(statement.message(toPeerAt: driver.remote), on: stream, at: now)
        box.core.closeWriting(stream, at: now)
    }

    private func hasRoom(for name: ProtocolID, _ inboundMax: Int) -> Bool {
        guard inboundMax < environment.configuration.limits.streamsInboundMax else { return true }
        let open = entries.values.reduce(0) { count, other in
            other.direction == .inbound && other.protocolID == name ? count + 1 : count
        }
        return open < inboundMax
    }

    func opened(_ stream: StreamID, _ name: ProtocolID) {
        guard let peer, let owner = entries[stream]?.owner else { return }
        switch owner {
        case .opening(let request, let bytesMax):
            entries[stream]?.owner = .core(MessageReader(bytesMax: bytesMax))
            events.append(.streamOpened(connection, stream, name, .outbound, request: request))
        case .choosing(let request):
            let pipe = makePipe(stream, name)
            entries[stream]?.owner = .application(pipe)
            entries[stream]?.protocolID = name
            // When nobody waits any more, the mailbox is let go of at once, and that resets the stream.
            request.succeed(StreamMailbox(connection: connection, peer: peer, pipe: pipe))
        case .application, .abandoned, .answered, .core, .ping:
            break
        }
    }

    func received(_ bytes: consuming ByteBuffer, on stream: StreamID, at now: Instant) {
        guard let owner = entries[stream]?.owner else { return }
        let count = bytes.readableBytes
        switch owner {
        case .application(let pipe):
            let isFirst = pipe.collect(bytes, ofBuffer: bufferNumber, heldMax: environment.limits.heldBuffersMax)
            if isFirst { touched.append(pipe) }
        case .abandoned, .answered:
            reset(stream, at: now)
        case .core(let reader):
            do throws(DecodeError) {
                try reader.receive(bytes) { message in
                    messageBytes += message.readableBytes
                    events.append(.message(connection, stream, message))
                }
                box.core.consumed(count, on: stream, at: now)
            } catch {
                reset(stream, at: now)
                events.append(.streamFailed(connection, stream, .negotiation(error)))
            }
        case .ping(let echo):
            guard box.core.queuedBytes(on: stream) + count <= environment.limits.pingUnsentBytesMax else {
                return reset(stream, at: now)
            }
            let blocks = echo.receive(bytes)
            if blocks.readableBytes > 0 { box.core.send(blocks, on: stream, at: now) }
            box.core.consumed(count, on: stream, at: now)
        case .opening, .choosing:
            // The core gives no data before the protocol is agreed.
            break
        }
    }

    func ended(_ stream: StreamID, at now: Instant) {
        guard let owner = entries[stream]?.owner else { return }
        switch owner {
        case .application(let pipe): pipe.end()
        case .core(let reader):
            if reader.isBetweenMessages {
                events.append(.streamEnded(connection, stream))
                if isQuery(stream) { box.core.closeWriting(stream, at: now) }
            } else {
                reset(stream, at: now)
                events.append(.streamFailed(connection, stream, .negotiation(.truncated("message"))))
            }
        case .ping: box.core.closeWriting(stream, at: now)
        case .abandoned, .answered, .opening, .choosing: break
        }
    }

    /// Nothing is left to say where a peer has answered a query.
    private func isQuery(_ stream: StreamID) -> Bool {
        guard let entry = entries[stream], entry.direction == .outbound else { return false }
        return entry.protocolID == protocols.query?.name
    }

    func drained(_ stream: StreamID) {
        guard case .application(let pipe) = entries[stream]?.owner else { return }
        pipe.settle(queuedBytes: box.core.queuedBytes(on: stream))
    }

    /// Both directions ended in order.
    func closed(_ stream: StreamID) {
        if case .application(let pipe) = entries[stream]?.owner { pipe.finish() }
        forget(stream)
    }

    func failed(_ stream: StreamID, _ fault: StreamFault) {
        guard let owner = entries[stream]?.owner else { return }
        forget(stream)
        switch owner {
        case .application(let pipe): pipe.fail(StreamFailure(fault))
        case .choosing(let request): request.fail(StreamFailure(fault))
        case .opening(let request, _): events.append(.openFailed(connection, request: request))
        case .core: events.append(.streamFailed(connection, stream, fault))
        case .abandoned, .answered, .ping: break
        }
    }

    func windowRequested(_ bytes: Int, on stream: StreamID, at now: Instant) {
        guard environment.windows.take(bytes) else { return box.core.grantWindow(0, on: stream, at: now) }
        grantedWindowBytes += bytes
        box.core.grantWindow(bytes, on: stream, at: now)
    }

    func windowReleased(_ bytes: Int) {
        // Never more than was granted, so that an error elsewhere can't fill the pool.
        let released = min(bytes, grantedWindowBytes)
        grantedWindowBytes -= released
        environment.windows.give(released)
    }

    /// The connection is over. Applications are told here; the node hears it of the connection as a whole.
    func connectionClosed(_ reason: CloseReason) {
        let last = entries
        entries = [:]
        applicationCount = 0
        for entry in last.values {
            switch entry.owner {
            case .application(let pipe): pipe.fail(StreamFailure(.connectionClosed(reason)))
            case .choosing(let request): request.fail(StreamFailure(.connectionClosed(reason)))
            case .abandoned, .answered, .opening, .core, .ping: break
            }
        }
        environment.windows.give(grantedWindowBytes)
        grantedWindowBytes = 0
    }

    private func forget(_ stream: StreamID) {
        guard let entry = entries.removeValue(forKey: stream) else { return }
        if entry.isApplication { applicationCount -= 1 }
        // A dictionary keeps its largest table; an idle connection should not.
        if entries.isEmpty { entries = [:] }
    }
}

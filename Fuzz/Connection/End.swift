// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiConnection
import TuttiIdentity

import struct NIOCore.ByteBuffer

struct Party {
    let key: KeyPair
    let noise: NoiseIdentity

    init(seed: UInt64) {
        var keys = KeySource.seeded(SeededGenerator(seed: seed))
        key = KeyPair(from: &keys)
        noise = NoiseIdentity(key, keySource: &keys)
    }
}

let parties = [Party(seed: 1), Party(seed: 2)]
let protocols: [ProtocolID] = ["/echo", "/a", "/b"]

/// One core with an owner that keeps its contract, and a record of what it was told.
final class End {
    struct Stream {
        var isAgreed = false
        /// Bytes given to `send`, and bytes of `.streamData`.
        var sent = 0
        var received = 0
        var unconsumed = 0
        var isEnded = false
        var isFinishing = false
    }

    let direction: Direction
    let kind: Kind
    let limits: ConnectionLimits
    let peer: Party
    var core: ConnectionCore
    var streams: [StreamID: Stream] = [:]
    /// Streams of ours that are gone.
    var over: [StreamID] = []
    var isEstablished = false
    var hasStartedTLS = false
    var closeReason: CloseReason?
    /// Window growths that were asked for and not yet answered.
    var requested: [(stream: StreamID, bytes: Int)] = []
    /// Bytes of the process pool that the connection holds.
    var pool = 0
    var isGranting = false
    private var outbox = ByteBuffer()
    private var externals: [ExternalStreamEffect] = []

    init(_ direction: Direction, _ kind: Kind, _ limits: ConnectionLimits, _ source: inout ByteSource) {
        self.direction = direction
        self.kind = kind
        self.limits = limits
        let own = parties[direction == .outbound ? 0 : 1]
        peer = parties[direction == .outbound ? 1 : 0]
        var configuration = ConnectionConfiguration()
        configuration.limits = limits
        if kind == .tls || (kind == .stranger && source.byte() % 4 == 0) { configuration.securityProposed = .tls }
        let establishment = Establishment(
            peer: peer.key.peerID, publicKey: peer.key.publicKey, security: "/test", hadEarlyMuxer: false)
        let door: ConnectionDoor =
            switch kind {
            case .noise, .tls, .stranger: .plain
            case .secured, .hostile: .secured(establishment)
            case .multiplexed: .multiplexed(establishment)
            }
        core = ConnectionCore(
            direction: direction, door: door, configuration: configuration, identity: own.noise,
            expectedPeer: kind == .noise && source.bool() ? peer.key.peerID : nil, protocols: ["/echo", "/a"],
            keySource: .seeded(SeededGenerator(seed: direction == .outbound ? 3 : 4)), at: .zero)
    }

    /// What stands at `offset` of a stream in one direction.
    static func pattern(_ stream: StreamID, _ direction: Direction, at offset: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: offset &* 7 &+ Int(stream.value) &* 13 &+ (direction == .outbound ? 0 : 101))
    }

    // MARK: The owner's calls

    func act(_ source: inout ByteSource, at now: Instant) {
        let known = streams.keys.sorted()
        // Now and then a stream of ours that is gone: late calls are legal.
        let gone = known.isEmpty || source.byte() < 8
        let id = gone ? over.isEmpty ? StreamID(1_001) : source.pick(over) : source.pick(known)
        let choice = source.byte() % 12
        trace("\(direction) acts \(choice) on \(id)")
        switch choice {
        case 0, 1:
            let names =
                source.byte() < 180 ? [source.pick(protocols)] : [source.pick(protocols), source.pick(protocols)]
            if let opened = core.openStream(names, at: now) {
                require(streams[opened] == nil, "a new stream has a new id")
                streams[opened] = Stream()
            }
        case 2, 3, 4:
            send(id, source.pick([1, 30, 300, 3_000, 10, 100, 1_000, 5_000, 20_000, 70_000, 300_000, 2]), at: now)
        case 5:
            core.closeWriting(id, at: now)
            streams[id]?.isFinishing = true
        case 6:
            core.reset(id, at: now)
            drain(at: now)
            forget(id)
        case 7, 8:
            guard let stream = streams[id] else { return core.consumed(10, on: id, at: now) }
            consume(id, source.bool() ? stream.unconsumed : Int(source.byte()), at: now)
        case 9:
            core.ping(at: now)
        case 10:
            switch source.byte() & 15 {
            case 0: close(at: now)
            case 1: core.setProtocols([])
            case 2: core.setProtocols(protocols)
            case 3: core.setOverShare(source.bool())
            case 4: core.tlsEstablished(establishment, muxer: .yamux, at: now)
            default: core.consumed(0, on: id, at: now)
            }
        default:
            // Nobody asked, or the pool refuses.
            core.grantWindow(0, on: id, at: now)
        }
        drain(at: now)
    }

    private func send(_ id: StreamID, _ count: Int, at now: Instant) {
        let stream = streams[id]
        let start = stream?.sent ?? 0
        let isTaken = stream != nil && stream?.isFinishing == false && !core.isClosed
        let before = core.queuedBytes(on: id)
        let bytes = (0..<count).map { Self.pattern(id, direction, at: start + $0) }
        core.send(ByteBuffer(bytes: bytes), on: id, at: now)
        if kind != .multiplexed, isTaken {
            require(core.queuedBytes(on: id) == before + count, "what is sent counts as queued until it is produced")
        }
        if isTaken { streams[id]?.sent += count }
    }

    private func consume(_ id: StreamID, _ countMax: Int, at now: Instant) {
        guard let stream = streams[id] else { return }
        let count = min(countMax, stream.unconsumed)
        guard count > 0 else { return }
        streams[id]?.unconsumed -= count
        core.consumed(count, on: id, at: now)
        drain(at: now)
    }

    func consumeAll(at now: Instant) {
        for id in streams.keys.sorted() { consume(id, .max, at: now) }
    }

    func answerGrants(_ source: inout ByteSource, at now: Instant) {
        while let request = requested.popLast() {
            let bytes = source.bool() ? request.bytes : 0
            pool += bytes
            core.grantWindow(bytes, on: request.stream, at: now)
            // Of a connection that is closed as well: what it can't use comes back.
            isGranting = true
            drain(at: now)
            isGranting = false
        }
    }

    func grantAll(at now: Instant) {
        var all = ByteSource([UInt8](repeating: 1, count: requested.count))
        answerGrants(&all, at: now)
    }

    func close(at now: Instant) {
        core.close(at: now)
        drain(at: now)
        grantAll(at: now)
    }

    func expire(at now: Instant) {
        trace("\(direction) at \(now)")
        core.handleTimeout(at: now)
        drain(at: now)
        if let next = core.nextTimeout { require(next > now, "after a timeout the next one is later") }
    }

    // MARK: Bytes

    var hasOutput: Bool { core.hasOutput || outbox.readableBytes > 0 || !externals.isEmpty }

    func produce(bytesMax: Int, at now: Instant) {
        let hadOutput = core.hasOutput
        let before = outbox.readableBytes
        let hasMore = core.produce(into: &outbox, bytesMax: bytesMax, at: now)
        require(hasMore == core.hasOutput, "produce says whether there is more")
        require(hadOutput || outbox.readableBytes == before, "without output nothing is produced")
        drain(at: now)
    }

    func produceAll(at now: Instant) {
        var rounds = 0
        while core.hasOutput {
            produce(bytesMax: 256 * 1_024, at: now)
            rounds += 1
            require(rounds < 10_000, "production comes to an end")
        }
    }

    func takeOutbox() -> ByteBuffer {
        defer { outbox = ByteBuffer() }
        return outbox
    }

    func takeExternals() -> [ExternalStreamEffect] {
        defer { externals = [] }
        return externals
    }

    func receive(_ pieces: [ByteBuffer], at now: Instant) {
        for piece in pieces {
            // A copy, as a socket would make it: the core decrypts in place.
            core.receive(ByteBuffer(bytes: piece.readableBytesView), at: now)
            drain(at: now)
        }
    }

    func receive(_ effects: [ExternalStreamEffect], at now: Instant) {
        for effect in effects {
            switch effect {
            case .open(let id): core.externalOpened(id, at: now)
            case .send(let id, let bytes): core.externalReceived(bytes, on: id, at: now)
            case .finish(let id): core.externalEnded(id, at: now)
            case .reset(let id): core.externalReset(id, at: now)
            case .consumed: break
            }
            drain(at: now)
        }
    }

    // MARK: What the core tells

    func drain(at now: Instant) {
        while let effect = core.nextEffect() { handle(effect, at: now) }
    }

    private func handle(_ effect: ConnectionEffect, at now: Instant) {
        trace("  \(direction) is told \(effect)")
        if case .releaseWindow(let bytes) = effect {
            pool -= bytes
            require(bytes > 0 && pool >= 0, "no more is given back than was granted")
            require(closeReason == nil || isGranting, "after the end only late grants come back")
            return
        }
        require(closeReason == nil, "nothing follows the end: \(effect)")
        switch effect {
        case .startTLS:
            require(!hasStartedTLS, "TLS starts once")
            hasStartedTLS = true
        case .tlsAgreed(let leftover): tlsAgreed(leftover, at: now)
        case .established:
            require(!isEstablished, "a connection is established once")
            isEstablished = true
        case .streamOpened(let id, let name, let direction): opened(id, name, direction)
        case .streamData(let id, let bytes): received(id, bytes)
        case .streamEnded(let id):
            require(streams[id]?.isAgreed == true && streams[id]?.isEnded == false, "a known stream ends once")
            streams[id]?.isEnded = true
        case .streamFailed(let id, _):
            forget(id)
        case .streamDrained(let id):
            require(streams[id] != nil, "a stream that drained is known")
        case .streamClosed(let id):
            require(
                streams[id]?.isEnded == true && streams[id]?.isFinishing == true, "a closed stream has ended both ways")
            forget(id)
        case .requestWindow(let id, let bytes):
            require(streams[id] != nil || kind == .hostile, "a stream that may grow is known")
            require(bytes > 0 && bytes < limits.streamWindowMax, "a window grows within its limit")
            requested.append((id, bytes))
        case .releaseWindow, .roundTripMeasured:
            break
        case .closed(let reason):
            require(streams.isEmpty, "every stream has its end before the connection")
            closeReason = reason
        case .external(let external):
            require(kind == .multiplexed, "only a transport with streams of its own is asked for them")
            externals.append(external)
        }
    }

    private func forget(_ id: StreamID) {
        let isOurs = (id.value & 1 == 1) == (direction == .outbound)
        if streams.removeValue(forKey: id) != nil, isOurs { over.append(id) }
    }

    private func opened(_ id: StreamID, _ name: ProtocolID, _ direction: Direction) {
        require(protocols.contains(name), "only known protocols are agreed on")
        switch direction {
        case .inbound:
            require(streams[id] == nil, "a stream is opened once")
            streams[id] = Stream(isAgreed: true)
        case .outbound:
            require(streams[id]?.isAgreed == false, "a stream that we opened is agreed on once")
            streams[id]?.isAgreed = true
        }
    }

    private func received(_ id: StreamID, _ bytes: ByteBuffer) {
        guard let stream = streams[id], stream.isAgreed, !stream.isEnded else {
            return require(false, "data comes on streams that are open")
        }
        require(bytes.readableBytes > 0, "data is not empty")
        streams[id]?.received += bytes.readableBytes
        streams[id]?.unconsumed += bytes.readableBytes
        switch kind {
        case .noise, .multiplexed:
            // Whatever happened on the way: only what the peer sent is delivered.
            let sender: Direction = direction == .outbound ? .inbound : .outbound
            for (offset, byte) in bytes.readableBytesView.enumerated() {
                require(byte == Self.pattern(id, sender, at: stream.received + offset), "what was sent is what arrives")
            }
        case .tls, .secured, .hostile, .stranger:
            break
        }
    }

    private var establishment: Establishment {
        Establishment(peer: peer.key.peerID, publicKey: peer.key.publicKey, security: .tls, hadEarlyMuxer: true)
    }

    /// Both sides prove themselves at once; whether a muxer was agreed on is each side's same guess.
    private func tlsAgreed(_ leftover: ByteBuffer, at now: Instant) {
        require(hasStartedTLS, "TLS is started before it is agreed")
        var clear = ByteBuffer()
        _ = core.produce(into: &clear, bytesMax: 64 * 1_024, at: now)
        outbox.writeBuffer(&clear)
        core.tlsEstablished(establishment, muxer: limits.streamsInboundMax == 8 ? .yamux : nil, at: now)
        if leftover.readableBytes > 0 { core.receive(leftover, at: now) }
    }

    // MARK: What must always hold

    func check(isHonest: Bool, at now: Instant) {
        require(core.isClosed == (closeReason != nil), "an end is told")
        require(core.openStreamCount >= streams.count, "every stream that is told of exists")
        let agreed = streams.values.count { $0.isAgreed }
        require(
            agreed <= limits.streamsInboundMax + limits.streamsOutboundMax || kind == .multiplexed,
            "streams are limited")
        if kind != .multiplexed {
            let held = streams.values.reduce(0) { $0 + $1.unconsumed }
            require(held <= limits.connectionWindowMax, "what is held unread is limited")
        }
        if core.isClosed {
            require(core.openStreamCount == 0 && core.nextTimeout == nil, "nothing is left after the end")
            require(pool == 0 || !requested.isEmpty, "what was granted is given back")
        }
        guard isHonest, case .violation(let violation, _)? = closeReason else { return }
        if case .flood = violation { return }
        require(false, "two of us don't blame each other: \(violation)")
    }
}

// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiConnection

import struct NIOCore.ByteBuffer

/// One machine between a hostile peer and an owner that keeps its contract, and what both must find true.
struct Session {
    struct Stream {
        var isOurs: Bool
        var granted = 0
        /// Bytes that the machine has allowed the peer: the initial window and every update written.
        var allowed: Int
        var received = 0
        var consumed = 0
        var requested = 0
        var isEndedRemotely = false
        var isFinished = false
    }

    let limits: ConnectionLimits
    let direction: Direction
    var machine: YamuxMachine
    var streams: [StreamID: Stream] = [:]
    var now = Instant.zero
    var controlPart = ByteBuffer()
    var isOver = false

    init(_ source: inout ByteSource) {
        limits = smallLimits(&source)
        direction = source.bool() ? .outbound : .inbound
        machine = YamuxMachine(direction: direction, limits: limits)
        if source.bool() { machine.roundTrip = .seconds(1) }
    }

    mutating func run(_ source: inout ByteSource) {
        var steps = 0
        while !source.isEmpty, !isOver, steps < 400 {
            steps += 1
            step(&source)
            check()
        }
        readControl()
        if isOver { return }
        for id in streams.keys.sorted() { forget(id) }
        require(machine.windowSum == 0 && machine.inboundCount == 0 && machine.outboundCount == 0, "nothing is left")
    }

    private mutating func step(_ source: inout ByteSource) {
        let known = streams.keys.sorted()
        switch source.byte() % 16 {
        case 0:
            guard let id = machine.open(at: now) else { return }
            require(streams[id] == nil && (id.value & 1 == 1) == (direction == .outbound), "a new stream of our side")
            streams[id] = Stream(isOurs: true, allowed: limits.streamWindowInitial)
        case 1:
            guard !known.isEmpty else { return }
            consume(source.pick(known), source.bool() ? .max : Int(source.byte()))
        case 2:
            guard !known.isEmpty else { return }
            let id = source.pick(known)
            grant(id, refuse: source.bool())
        case 3:
            guard !known.isEmpty else { return }
            let id = source.pick(known)
            machine.reset(id)
            readControl()
            forget(id)
        case 4:
            guard !known.isEmpty else { return }
            finish(source.pick(known))
        case 5:
            guard !known.isEmpty else { return }
            send(source.pick(known), source.bool() ? .max : Int(source.byte()))
        case 6:
            machine.ping()
            require(machine.isAwaitingPong, "a ping is awaited")
        case 7:
            readControl()
        case 8:
            now = now + .milliseconds(Int(source.byte()) * Int(source.byte()))
        default:
            receive(source.pieces(of: frame(&source, limits: limits)), isEager: source.bool())
        }
    }

    private mutating func receive(_ pieces: [ByteBuffer], isEager: Bool) {
        do throws(ConnectionViolation) {
            for var piece in pieces {
                while true {
                    let waitingBefore = machine.control.readableBytes
                    let told = try machine.receive(&piece, at: now)
                    if case .needsMoreBytes = told { break }
                    // Two frames: one that acts on a frame, and an update for what its owner uses up.
                    let waiting = machine.control.readableBytes
                    require(
                        waiting <= max(waitingBefore, limits.controlBytesMax) + 24, "what waits for the peer is limited"
                    )
                    handle(told, isEager: isEager)
                    check()
                }
            }
        } catch {
            isOver = true
        }
    }

    private mutating func handle(_ told: YamuxMachine.OnReceive, isEager: Bool) {
        switch told {
        case .needsMoreBytes, .handled, .answered, .goneAway:
            break
        case .opened(let id):
            require(streams[id] == nil && (id.value & 1 == 1) != (direction == .outbound), "a new stream of the peer")
            streams[id] = Stream(isOurs: false, allowed: limits.streamWindowInitial)
        case .data(let id, let part):
            require(part.readableBytes > 0, "data is not empty")
            require(streams[id]?.isEndedRemotely == false, "data comes on a stream that is known and not ended")
            streams[id]?.received += part.readableBytes
            // The update that allowed it may still be queued: read it first.
            readControl()
            if let stream = streams[id] {
                require(stream.received <= stream.allowed, "no more is received than was allowed")
                let held = stream.received - stream.consumed
                require(held <= limits.streamWindowInitial + stream.granted, "no more is held than the window")
            }
            if isEager { consume(id, part.readableBytes) }
        case .ended(let id):
            require(streams[id]?.isEndedRemotely == false, "a stream ends once")
            streams[id]?.isEndedRemotely = true
            if streams[id]?.isFinished == true { forget(id) }
        case .reset(let id):
            require(streams[id] != nil, "a reset is of a stream that is known")
            forget(id)
        case .creditArrived(let id):
            require(streams[id] != nil, "credit is for a stream that is known")
        }
    }

    private mutating func consume(_ id: StreamID, _ countMax: Int) {
        guard let stream = streams[id] else { return }
        let count = min(countMax, stream.received - stream.consumed)
        // An owner that claims too much must not gain anything by it.
        let claimed = countMax == .max ? stream.received + 1 : count
        let growth = machine.consumed(claimed, on: id, at: now)
        require(growth >= 0, "a window grows, if at all")
        streams[id]?.consumed += count
        if growth > 0 {
            require(stream.requested == 0, "one growth at a time")
            require(
                limits.streamWindowInitial + stream.granted + growth <= limits.streamWindowMax, "a window has a limit")
            streams[id]?.requested = growth
        }
    }

    private mutating func grant(_ id: StreamID, refuse: Bool) {
        guard let stream = streams[id] else { return }
        guard stream.requested > 0 else {
            return require(!machine.grant(64, on: id), "what was not asked for is not taken")
        }
        let bytes = refuse ? 0 : stream.requested
        // Other streams may have taken the room since.
        let isTaken = machine.grant(bytes, on: id)
        require(isTaken || !refuse, "a refusal is taken")
        if isTaken { streams[id]?.granted += bytes }
        streams[id]?.requested = 0
    }

    private mutating func finish(_ id: StreamID) {
        guard let stream = streams[id], !stream.isFinished else { return }
        var output = ByteBuffer()
        let isOver = machine.finish(id, into: &output)
        require(output.readableBytes == YamuxHeader.bytes, "a FIN is one frame")
        require(isOver == stream.isEndedRemotely, "a stream is over when both sides have ended it")
        streams[id]?.isFinished = true
        if isOver { forget(id) }
    }

    private mutating func send(_ id: StreamID, _ countMax: Int) {
        guard streams[id]?.isFinished == false else { return }
        let credit = machine.sendCredit(of: id)
        let count = min(countMax, credit)
        var output = ByteBuffer()
        machine.writeDataHeader(id, count: count, into: &output)
        require(machine.sendCredit(of: id) == credit - count, "what is sent is taken off the credit")
    }

    private mutating func forget(_ id: StreamID) {
        let released = machine.forget(id)
        require(released == streams[id]?.granted, "what was granted is given back")
        require(machine.forget(id) == 0, "and only once")
        streams[id] = nil
    }

    /// Reads what the machine queued, as the peer would.
    private mutating func readControl() {
        var control = machine.takeControl()
        while control.readableBytes > 0 {
            guard let header = try? YamuxHeader(from: &control) else {
                return require(false, "control frames are whole and well formed")
            }
            let id = StreamID(UInt64(header.stream))
            if header.kind == .windowUpdate, header.length > 0 { streams[id]?.allowed += Int(header.length) }
        }
        require(machine.control.readableBytes == 0, "control frames are handed over once")
    }

    private func check() {
        let inbound = streams.values.count { !$0.isOurs }
        require(
            machine.inboundCount == inbound && inbound <= limits.streamsInboundMax, "the peer's streams are counted")
        let outbound = streams.values.count { $0.isOurs }
        require(machine.outboundCount == outbound && outbound <= limits.streamsOutboundMax, "our streams are counted")
        let sum = streams.values.reduce(0) { $0 + limits.streamWindowInitial + $1.granted }
        require(machine.windowSum == sum && sum <= limits.connectionWindowMax, "windows are counted and limited")
        for id in streams.keys {
            require((0...Int(UInt32.max)).contains(machine.sendCredit(of: id)), "credit fits 32 bits")
        }
    }
}

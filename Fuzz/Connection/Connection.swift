// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiConnection
import TuttiIdentity

import struct NIOCore.ByteBuffer

/// A whole connection: two cores joined by a byte stream or by streams, or one core before a hostile peer.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    var pair = Pair(&source)
    pair.run(&source)
    return 0
}

enum Kind {
    /// Door `.plain` with Noise.
    case noise
    /// Door `.plain`; TLS is agreed on and then taken to be there, without its bytes.
    case tls
    /// Door `.secured`.
    case secured
    /// Door `.multiplexed`.
    case multiplexed
    /// One core behind door `.secured` and a peer that says anything.
    case hostile
    /// One core behind door `.plain` and a peer that says anything.
    case stranger
}

struct Pair {
    let kind: Kind
    var dialer: End
    var listener: End
    var now = Instant.zero
    /// Bytes on their way were damaged: from here on the two may blame each other.
    var isDamaged = false

    init(_ source: inout ByteSource) {
        kind = source.pick([.noise, .secured, .hostile, .multiplexed, .tls, .stranger, .secured, .hostile])
        let limits = Self.limits(&source)
        dialer = End(.outbound, kind, limits, &source)
        listener = End(.inbound, kind, limits, &source)
    }

    static func limits(_ source: inout ByteSource) -> ConnectionLimits {
        var limits = ConnectionLimits()
        limits.streamWindowInitial = source.pick([1_024, 256 * 1_024, 4_096])
        limits.streamWindowMax = source.pick([16, 2, 1]) * limits.streamWindowInitial
        limits.connectionWindowMax = source.pick([128, 8, 3]) * limits.streamWindowInitial
        limits.streamsInboundMax = source.pick([64, 2, 8])
        limits.streamsOutboundMax = source.pick([256, 2, 8])
        limits.sendQueueHighWater = 4_096
        limits.sendQueueLowWater = 1_024
        return limits
    }

    var isHonest: Bool {
        switch kind {
        case .noise, .tls, .secured, .multiplexed: !isDamaged
        case .hostile, .stranger: false
        }
    }

    mutating func run(_ source: inout ByteSource) {
        dialer.drain(at: now)
        listener.drain(at: now)
        // Most runs should get past the handshake.
        if source.byte() < 224 { for _ in 0..<8 { carryAll() } }
        var steps = 0
        while !source.isEmpty, steps < 300 {
            steps += 1
            step(&source)
            dialer.check(isHonest: isHonest, at: now)
            listener.check(isHonest: isHonest, at: now)
        }
        trace("\(kind), honest: \(isHonest)")
        if isHonest { settle() }
        for end in [dialer, listener] {
            end.close(at: now)
            end.check(isHonest: isHonest, at: now)
        }
    }

    private mutating func step(_ source: inout ByteSource) {
        let isDialer = source.bool()
        let end = isDialer ? dialer : listener
        let other = isDialer ? listener : dialer
        switch source.byte() % 10 {
        case 0, 1, 2:
            end.act(&source, at: now)
        case 3, 4, 5:
            if kind == .hostile || kind == .stranger {
                end.receive(source.pieces(of: hostileBytes(&source)), at: now)
            } else {
                carry(from: end, to: other, &source)
            }
        case 6:
            carryAll()
        case 7:
            advance(&source)
        case 8:
            if source.byte() < 24, kind != .multiplexed {
                // The byte stream ends; whatever follows is late.
                end.core.transportEnded(source.bool() ? "reset" : nil, at: now)
                end.drain(at: now)
                isDamaged = true
            } else {
                end.act(&source, at: now)
            }
        default:
            end.answerGrants(&source, at: now)
        }
    }

    private mutating func advance(_ source: inout ByteSource) {
        switch source.byte() % 4 {
        case 0: now = now + .milliseconds(Int(source.byte()))
        case 1: now = now + .seconds(Int(source.byte() & 7))
        case 2:
            let next = [dialer.core.nextTimeout, listener.core.nextTimeout].compactMap { $0 }.min()
            if let next, next < now + .seconds(3_600) { now = max(now, next) }
        default: now = now + .nanoseconds(1)
        }
        for end in [dialer, listener] { end.expire(at: now) }
    }

    // MARK: Bytes on their way

    private mutating func carry(from sender: End, to receiver: End, _ source: inout ByteSource) {
        trace("carry from \(sender.direction)")
        sender.produce(bytesMax: source.pick([64 * 1_024, 1, 100, 5_000]), at: now)
        if kind == .multiplexed { return receiver.receive(sender.takeExternals(), at: now) }
        var bytes = sender.takeOutbox()
        if source.byte() < 12, bytes.readableBytes > 0 {
            isDamaged = true
            bytes = ByteBuffer(bytes: source.mutate(Array(bytes.readableBytesView)))
        }
        receiver.receive(source.pieces(of: bytes), at: now)
    }

    private func carryAll() {
        trace("carry all")
        for (sender, receiver) in [(dialer, listener), (listener, dialer)] {
            sender.produceAll(at: now)
            if kind == .multiplexed {
                receiver.receive(sender.takeExternals(), at: now)
            } else {
                let bytes = sender.takeOutbox()
                if kind == .hostile || kind == .stranger { continue }
                if bytes.readableBytes > 0 { receiver.receive([bytes], at: now) }
            }
        }
    }

    /// Both sides read everything, and nobody interferes: then everything arrives.
    private func settle() {
        var rounds = 0
        repeat {
            carryAll()
            for end in [dialer, listener] {
                end.grantAll(at: now)
                end.consumeAll(at: now)
                end.produceAll(at: now)
            }
            rounds += 1
            require(rounds < 10_000, "an exchange comes to rest")
        } while dialer.hasOutput || listener.hasOutput
        guard !dialer.core.isClosed, !listener.core.isClosed, dialer.isEstablished, listener.isEstablished else {
            return
        }
        for (id, here) in dialer.streams {
            guard let there = listener.streams[id], here.isAgreed, there.isAgreed else { continue }
            require(there.received == here.sent, "what the dialer sent arrived: \(there.received) of \(here.sent)")
            require(here.received == there.sent, "what the listener sent arrived: \(here.received) of \(there.sent)")
            require(there.isEnded == here.isFinishing, "an end arrives")
            require(here.isEnded == there.isFinishing, "an end arrives")
        }
    }
}

/// Frames, negotiations and garbage, in the clear.
func hostileBytes(_ source: inout ByteSource) -> ByteBuffer {
    var bytes = ByteBuffer()
    for _ in 0...source.below(4) {
        switch source.byte() % 8 {
        case 0:
            bytes.writeBytes(source.blob(countMax: 600))
        case 1:
            writeMessage(
                source.pick(["/multistream/1.0.0", "/yamux/1.0.0", "/noise", "/tls/1.0.0", "na", "ls"]), &bytes)
        case 2, 3:
            // A stream with its negotiation in one go, as everybody does it.
            var payload = ByteBuffer()
            writeMessage("/multistream/1.0.0", &payload)
            writeMessage(source.pick(["/echo", "/a", "/unknown", "/b", "na"]), &payload)
            payload.writeBytes(source.take(Int(source.byte())))
            let flags: YamuxHeader.Flags = source.bool() ? [.syn] : source.bool() ? [.syn, .fin] : []
            let id = UInt32(source.byte() & 15)
            YamuxHeader(.data, flags, stream: id, length: UInt32(payload.readableBytes)).write(into: &bytes)
            bytes.writeBuffer(&payload)
        default:
            let kind = source.pick([YamuxHeader.Kind.data, .windowUpdate, .windowUpdate, .ping, .goAway])
            let flags = YamuxHeader.Flags(rawValue: UInt16(source.byte() & 15))
            let id = UInt32(source.byte() & 15)
            let length = source.bool() ? UInt32(source.byte()) : source.boundary32(around: 256 * 1_024)
            YamuxHeader(kind, flags, stream: id, length: length).write(into: &bytes)
            if kind == .data, length < 2_048 { bytes.writeRepeatingByte(7, count: Int(length)) }
        }
    }
    return bytes
}

func writeMessage(_ name: String, _ bytes: inout ByteBuffer) {
    bytes.writeVarint(UInt64(name.utf8.count + 1))
    bytes.writeString(name + "\n")
}

@_cdecl("Connection_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

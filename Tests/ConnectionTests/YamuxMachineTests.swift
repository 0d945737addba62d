// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection

@Suite("Yamux")
struct YamuxMachineTests {
    private enum Seen: Equatable {
        case opened(UInt64), data(UInt64, [UInt8]), ended(UInt64), reset(UInt64), credit(UInt64), answered, goneAway
    }

    private func frame(
        _ kind: YamuxHeader.Kind, _ flags: YamuxHeader.Flags, _ stream: UInt32, _ length: UInt32, _ body: [UInt8] = []
    ) -> ByteBuffer {
        var buffer = ByteBuffer()
        YamuxHeader(kind, flags, stream: stream, length: length).write(into: &buffer)
        buffer.writeBytes(body)
        return buffer
    }

    private func feed(_ machine: inout YamuxMachine, _ bytes: ByteBuffer) throws -> [Seen] {
        var input = bytes
        var seen: [Seen] = []
        while true {
            switch try machine.receive(&input, at: .zero) {
            case .needsMoreBytes: return seen
            case .handled: continue
            case .opened(let id): seen.append(.opened(id.value))
            case .data(let id, let part): seen.append(.data(id.value, Array(part.readableBytesView)))
            case .ended(let id): seen.append(.ended(id.value))
            case .reset(let id): seen.append(.reset(id.value))
            case .creditArrived(let id): seen.append(.credit(id.value))
            case .answered: seen.append(.answered)
            case .goneAway: seen.append(.goneAway)
            }
        }
    }

    private func listener(_ change: (inout ConnectionLimits) -> Void = { _ in }) -> YamuxMachine {
        var limits = ConnectionLimits()
        change(&limits)
        return YamuxMachine(direction: .inbound, limits: limits)
    }

    @Test("A header is twelve bytes: version, type, flags, stream, length, all big-endian")
    func goldenHeader() throws {
        var buffer = ByteBuffer()
        YamuxHeader(.windowUpdate, [.syn, .fin], stream: 0x0102_0304, length: 0x0506_0708).write(into: &buffer)
        #expect(Array(buffer.readableBytesView) == [0, 1, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8])
        let header = try #require(try YamuxHeader(from: &buffer))
        #expect(header == YamuxHeader(.windowUpdate, [.syn, .fin], stream: 0x0102_0304, length: 0x0506_0708))
    }

    @Test("SYN, data and FIN in one frame are told in order, cut at every byte")
    func oneFrameForAll() throws {
        let bytes = frame(.data, [.syn, .fin], 1, 5, Array("hello".utf8))
        for cut in 0...bytes.readableBytes {
            var machine = listener()
            var rest = bytes
            let head = rest.readSlice(length: cut) ?? ByteBuffer()
            let seen = try feed(&machine, head) + feed(&machine, rest)
            #expect(seen.first == .opened(1))
            #expect(seen.last == .ended(1))
            let data = seen.compactMap { if case .data(_, let part) = $0 { part } else { nil } }.flatMap { $0 }
            #expect(data == Array("hello".utf8))
        }
    }

    @Test("Our streams are numbered 1, 3, 5 as dialer and 2, 4, 6 as listener")
    func numbers() {
        var dialer = YamuxMachine(direction: .outbound, limits: ConnectionLimits())
        var listener = YamuxMachine(direction: .inbound, limits: ConnectionLimits())
        let odd = (0..<3).map { _ in dialer.open(at: .zero)?.value }
        #expect(odd == [1, 3, 5])
        let even = (0..<3).map { _ in listener.open(at: .zero)?.value }
        #expect(even == [2, 4, 6])
    }

    @Test("A ping is answered with its own value; a pong we never asked for is ignored")
    func pings() throws {
        var machine = listener()
        #expect(try feed(&machine, frame(.ping, .syn, 0, 77)) == [])
        let control = machine.takeControl()
        #expect(control == frame(.ping, .ack, 0, 77))
        #expect(try feed(&machine, frame(.ping, .ack, 0, 77)) == [])
        machine.ping()
        #expect(try feed(&machine, frame(.ping, .ack, 0, 1)) == [.answered])
    }

    static let violations: [(String, [YamuxHeader])] = [
        ("stream number of our side", [YamuxHeader(.windowUpdate, .syn, stream: 2, length: 0)]),
        (
            "number in use",
            [
                YamuxHeader(.windowUpdate, .syn, stream: 1, length: 0),
                YamuxHeader(.windowUpdate, .syn, stream: 1, length: 0),
            ]
        ),
        ("never opened", [YamuxHeader(.windowUpdate, [], stream: 7, length: 1)]),
        ("never opened by us", [YamuxHeader(.windowUpdate, [], stream: 8, length: 1)]),
        ("first frame over the initial window", [YamuxHeader(.data, .syn, stream: 1, length: 262_145)]),
        ("four gigabytes declared", [YamuxHeader(.data, .syn, stream: 1, length: .max)]),
        (
            "more data than credit",
            [
                YamuxHeader(.windowUpdate, .syn, stream: 1, length: 0),
                YamuxHeader(.data, [], stream: 1, length: 262_145),
            ]
        ),
        (
            "credit over 32 bits",
            [
                YamuxHeader(.windowUpdate, .syn, stream: 1, length: .max),
                YamuxHeader(.windowUpdate, [], stream: 1, length: .max),
            ]
        ),
        (
            "data after the end",
            [
                YamuxHeader(.windowUpdate, [.syn, .fin], stream: 1, length: 0),
                YamuxHeader(.data, [], stream: 1, length: 1),
            ]
        ),
        ("ping on a stream", [YamuxHeader(.ping, .syn, stream: 1, length: 0)]),
        ("data on the session", [YamuxHeader(.data, .syn, stream: 0, length: 1)]),
    ]

    @Test("What breaks the rules is the peer's fault and closes", arguments: violations)
    func violation(_ row: (name: String, frames: [YamuxHeader])) {
        var machine = listener()
        #expect(throws: ConnectionViolation.self, "\(row.name)") {
            for header in row.frames {
                var bytes = ByteBuffer()
                header.write(into: &bytes)
                _ = try feed(&machine, bytes)
            }
        }
        #expect(machine.inboundCount <= 1)
    }

    @Test("An unknown version or type is refused")
    func unknownFrames() {
        for first in [0x01_00_0000 as UInt32, 0x00_04_0000, 0xFF_FF_FFFF] {
            var machine = listener()
            var bytes = ByteBuffer()
            bytes.writeMultipleIntegers(first, UInt32(0), UInt32(0))
            #expect(throws: ConnectionViolation.self) { _ = try feed(&machine, bytes) }
        }
    }

    @Test("Frames for a stream that we forgot are late and legal; their payload is skipped")
    func lateFrames() throws {
        var machine = listener()
        _ = try feed(&machine, frame(.windowUpdate, .syn, 1, 0))
        machine.reset(StreamID(1))
        _ = machine.forget(StreamID(1))
        var bytes = frame(.data, [], 1, 4, [1, 2, 3, 4])
        bytes.writeImmutableBuffer(frame(.windowUpdate, .syn, 3, 0))
        #expect(try feed(&machine, bytes) == [.opened(3), .credit(3)])
    }

    @Test("Streams over the limit are reset, with their payload skipped, and the rest goes on")
    func tooManyStreams() throws {
        var machine = listener { $0.streamsInboundMax = 2 }
        var bytes = ByteBuffer()
        for id in [1, 3, 5] as [UInt32] { bytes.writeImmutableBuffer(frame(.data, .syn, id, 2, [9, 9])) }
        let seen = try feed(&machine, bytes)
        #expect(seen == [.opened(1), .data(1, [9, 9]), .opened(3), .data(3, [9, 9])])
        var control = machine.takeControl()
        var flags: [YamuxHeader.Flags] = []
        while let header = try YamuxHeader(from: &control) { flags.append(header.flags) }
        #expect(flags == [.ack, .ack, .rst])
    }

    @Test("A peer that demands answers without reading them is cut off")
    func pingFlood() throws {
        var machine = listener { $0.controlFramesMax = 64 }
        for value in 0..<64 { _ = try feed(&machine, frame(.ping, .syn, 0, UInt32(value))) }
        #expect(throws: ConnectionViolation.flood("frames that demand answers, without reading them")) {
            _ = try feed(&machine, frame(.ping, .syn, 0, 64))
        }
    }

    @Test("A window grows while its reader keeps up, to 16 MiB and no further, and is given back")
    func growth() throws {
        var machine = listener()
        machine.roundTrip = .milliseconds(60)
        _ = try feed(&machine, frame(.windowUpdate, .syn, 1, 0))
        var now = Instant.zero
        var window = 256 * 1024
        var granted = 0
        for _ in 0..<200 {
            now = now + .milliseconds(1)
            _ = try feed(&machine, frame(.data, [], 1, 128 * 1024, Array(repeating: 0, count: 128 * 1024)))
            let growth = machine.consumed(128 * 1024, on: StreamID(1), at: now)
            if growth > 0 {
                let isKnown = machine.grant(growth, on: StreamID(1))
                #expect(isKnown)
                window += growth
                granted += growth
            }
        }
        #expect(window == 16 * 1024 * 1024)
        #expect(machine.windowSum == window)
        let returned = machine.forget(StreamID(1))
        #expect(returned == granted)
        #expect(machine.windowSum == 0)
    }

    @Test("A slow reader's window stays as it is")
    func noGrowthWhenSlow() throws {
        var machine = listener()
        machine.roundTrip = .milliseconds(1)
        _ = try feed(&machine, frame(.windowUpdate, .syn, 1, 0))
        var now = Instant.zero
        for _ in 0..<50 {
            now = now + .seconds(1)
            _ = try feed(&machine, frame(.data, [], 1, 128 * 1024, Array(repeating: 0, count: 128 * 1024)))
            let growth = machine.consumed(128 * 1024, on: StreamID(1), at: now)
            #expect(growth == 0)
        }
        #expect(machine.windowSum == 256 * 1024)
    }

    @Test("The windows of a connection never sum to more than 32 MiB")
    func windowSum() throws {
        var machine = listener { $0.streamsInboundMax = 1000 }
        machine.roundTrip = .milliseconds(60)
        var now = Instant.zero
        var opened = 0
        for index in 0..<200 {
            let id = UInt32(index * 2 + 1)
            opened += try feed(&machine, frame(.windowUpdate, .syn, id, 0)).filter { $0 == .opened(UInt64(id)) }.count
            for _ in 0..<20 where opened == index + 1 {
                now = now + .milliseconds(1)
                _ = try feed(&machine, frame(.data, [], id, 128 * 1024, Array(repeating: 0, count: 128 * 1024)))
                let growth = machine.consumed(128 * 1024, on: StreamID(UInt64(id)), at: now)
                _ = machine.grant(growth, on: StreamID(UInt64(id)))
            }
            _ = machine.takeControl()
            #expect(machine.windowSum <= 32 * 1024 * 1024)
        }
        #expect(opened >= 16)
        #expect(opened < 200)
    }

    @Test("Random frames never trap, and never leave more streams than allowed", arguments: 0..<40 as Range<UInt64>)
    func randomFrames(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var machine = listener { $0.streamsInboundMax = 8 }
        let lengths: [UInt32] = [0, 1, 12, 262_143, 262_144, 262_145, 0x7FFF_FFFF, 0x8000_0000, .max - 1, .max]
        for _ in 0..<400 {
            var bytes = ByteBuffer()
            let kind = YamuxHeader.Kind(rawValue: UInt8.random(in: 0...3, using: &generator)) ?? .data
            let flags = YamuxHeader.Flags(rawValue: UInt16.random(in: 0...15, using: &generator))
            let length = lengths.randomElement(using: &generator) ?? 0
            YamuxHeader(kind, flags, stream: UInt32.random(in: 0...9, using: &generator), length: length)
                .write(into: &bytes)
            if kind == .data { bytes.writeRepeatingByte(7, count: Int(min(length, 1000))) }
            if Bool.random(using: &generator) {
                _ = machine.consumed(Int.random(in: 0...10, using: &generator), on: StreamID(1), at: .zero)
            }
            guard (try? feed(&machine, bytes)) != nil else {
                machine = listener { $0.streamsInboundMax = 8 }
                continue
            }
            #expect(machine.inboundCount <= 8)
            _ = machine.takeControl()
        }
    }
}

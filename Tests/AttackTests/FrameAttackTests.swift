// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import Tutti
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers

extension AttackTests {
    /// Rows 1 to 5 and 9: bytes that lie.
    @Suite("Frames")
    struct Frames {
        @Test("attack_01 Sizes that are declared and never sent cost what was sent")
        func declaredSizes() async throws {
            try await Scene.run { scene in
                let held = 60
                let (figures, growth) = try await scene.measure { victim in
                    // Handshakes cost memory as well: those of peers that behave are the measure.
                    let honest = try (0..<held).map { try RawPeer(to: victim.port, from: .network($0)) }
                    for peer in honest { try peer.read(within: .milliseconds(20)) }
                    let before = victim.memory
                    // A record of 65,535 bytes of which ten come: legal, and waits.
                    for peer in honest {
                        peer.socket.send(ByteBuffer(bytes: [0xFF, 0xFF] + [UInt8](repeating: 1, count: 10)))
                    }
                    for peer in honest { try peer.read(within: .milliseconds(2)) }
                    return victim.memory - before
                }
                let each = growth / held
                #expect(each <= 8 * 1024, "a declared size was allocated")
                for security in RawPeer.Security.allCases {
                    let ending = try await onThread { [victim = scene.victim] in
                        let peer = try RawPeer(to: victim.port, from: .network(100), security)
                        try peer.send(
                            YamuxHeader(.data, .syn, stream: 1, length: .max),
                            followedBy: ByteBuffer(string: "ten bytes."))
                        return try peer.read()
                    }
                    #expect(ending.isClosed && ending.goAway == YamuxGoAway.protocolError.rawValue)
                }
                #expect(try await scene.victim.hasClosed(for: "more data than credit", count: 2))
                try await onThread { [victim = scene.victim] in
                    // Multistream-select with a message of 4 GiB, Noise's handshake with one of 64 KiB.
                    let lengths: [ByteBuffer] = [
                        ByteBuffer(bytes: [0x80, 0x80, 0x80, 0x80, 0x10] + [UInt8](repeating: 1, count: 10)),
                        RawPeer.greeting("/noise")
                            + ByteBuffer(bytes: [0xFF, 0xFF] + [UInt8](repeating: 1, count: 10)),
                    ]
                    for bytes in lengths {
                        let socket = try RawSocket(to: victim.port, from: .network(101))
                        socket.send(bytes)
                        #expect(socket.isClosed(within: 1500), "not closed at once")
                    }
                    // A message of 2^40 bytes on a stream of identify ends the stream, not the connection.
                    let peer = try RawPeer(to: victim.port, from: .network(102))
                    try peer.openStream(
                        1, "/ipfs/id/push/1.0.0", ByteBuffer(bytes: [0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 1]))
                    let ending = try peer.read { $0.resetStreams.contains(1) }
                    #expect(ending.resetStreams.contains(1) && !ending.isClosed)
                }
                #expect(try await scene.victim.hasClosed(for: "negotiation"))
                #expect(try await scene.victim.hasClosed(for: "Noise handshake frame"))
                Scene.expectHolds(
                    "attack_01", figures, "\(each) bytes each for \(held) connections that declare 64 KiB")
            }
        }

        @Test("attack_02 Containers inside containers are read without recursion")
        func nesting() async throws {
            // As deep as any message can be, and far deeper than any message may be.
            var nested: [UInt8] = []
            for _ in 0..<100_000 { nested = [0x0A] + [UInt8(truncatingIfNeeded: 0x7F)] + nested.prefix(126) }
            let deep = ByteBuffer(bytes: [UInt8](repeating: 0x0A, count: 100_000))
            let relays = ByteBuffer(bytes: (0..<100_000).flatMap { _ in [0xA2, 0x02] as [UInt8] })
            let text = String(repeating: "/p2p-circuit", count: 100_000)
            let clock = ContinuousClock()
            var slowest = Duration.zero
            for bytes in [ByteBuffer(bytes: nested), deep, relays] {
                let attempts: [() -> Bool] = [
                    { (try? IdentifyMessage(bytes, limits: .internet)) == nil },
                    { (try? PeerRecord(envelope: bytes)) == nil },
                    { (try? PublicKey(protobuf: bytes)) == nil },
                    { (try? Multiaddr(binary: bytes)) == nil },
                    { Multiaddr(text) == nil },
                ]
                for attempt in attempts {
                    var isRefused = false
                    // The least of five: a scheduler's pause is not the decoder's.
                    let time = (0..<5).map { _ in clock.measure { isRefused = attempt() } }.min() ?? .zero
                    slowest = max(slowest, time)
                    #expect(isRefused)
                }
            }
            print("attack_02: 10^5 deep, slowest of 15 decodings \(slowest / .microseconds(1)) us")
            #expect(slowest < .milliseconds(20))

            try await Scene.run { scene in
                let ending = try await onThread { [victim = scene.victim] in
                    let peer = try RawPeer(to: victim.port, from: .network(0))
                    var message = ByteBuffer()
                    message.writeVarint(8 * 1024)
                    message.writeRepeatingByte(0x0A, count: 8 * 1024)
                    try peer.openStream(1, "/ipfs/id/push/1.0.0", message, isEnded: true)
                    return try peer.read { $0.resetStreams.contains(1) }
                }
                #expect(ending.resetStreams.contains(1) && !ending.isClosed)
            }
        }

        @Test("attack_03 Numbers at their edges never trap")
        func varints() async throws {
            let edges: [UInt32] = [0, 1, .max, .max - 1, 1 << 31, (1 << 31) - 1, 2, 3, 256 * 1024, 256 * 1024 + 1]
            let flags: [UInt16] = Array(0...15) + [.max, 1 << 15]
            var cases = 0
            var closed = 0
            for kind in UInt8(0)...4 {
                for flag in flags {
                    for stream in edges {
                        for length in edges {
                            cases += 1
                            closed += try Self.feed(kind, flag, stream, length)
                        }
                    }
                }
            }
            // Every combination that a machine could not survive has ended the process by now.
            #expect(closed > 0 && closed < cases)
            let numbers = Self.varints
            for number in numbers {
                let field = ByteBuffer(bytes: [0x0A]) + number
                _ = try? IdentifyMessage(field, limits: .internet)
                _ = try? IdentifyMessage(number, limits: .internet)
                _ = try? PeerRecord(envelope: field)
                _ = try? PeerRecord(payload: ByteBuffer(bytes: [0x10]) + number)
                _ = try? PublicKey(protobuf: ByteBuffer(bytes: [0x08]) + number)
                _ = try? Multiaddr(binary: number)
                _ = try? PeerID(multihash: Array((ByteBuffer(bytes: [0x12]) + number).readableBytesView))
            }
            print("attack_03: \(cases) frame headers (\(closed) close their connection), \(numbers.count) varints")
            try await Scene.run { scene in
                try await onThread { [victim = scene.victim] in
                    for (index, number) in Self.varints.enumerated() {
                        let socket = try RawSocket(to: victim.port, from: .network(index))
                        socket.send(number + ByteBuffer(repeating: 0x41, count: 64))
                        _ = socket.isClosed(within: 20)
                        let peer = try RawPeer(to: victim.port, from: .network(100 + index))
                        try peer.openStream(1, "/ipfs/id/push/1.0.0", number, isEnded: true)
                        try peer.openStream(
                            3, "/ipfs/id/push/1.0.0", ByteBuffer(bytes: [0x0C, 0x0A]) + number, isEnded: true)
                        let ending = try peer.read(within: .milliseconds(100)) { $0.resetStreams.count == 2 }
                        #expect(!ending.isClosed)
                    }
                }
                #expect(scene.victim.isAlive)
            }
        }

        /// Overlong, overflowing and cut ones.
        private static var varints: [ByteBuffer] {
            var all: [ByteBuffer] = []
            for value in [0, 1, .max, .max - 1, 1 << 63, 1 << 31, 1 << 32, UInt64(Int64.max)] as [UInt64] {
                var bytes: [UInt8] = []
                var rest = value
                repeat {
                    bytes.append(UInt8(truncatingIfNeeded: rest & 0x7F) | (rest > 0x7F ? 0x80 : 0))
                    rest >>= 7
                } while rest > 0
                all.append(ByteBuffer(bytes: bytes))
            }
            for count in [1, 2, 9, 10, 11, 64] {
                all.append(ByteBuffer(bytes: [UInt8](repeating: 0x80, count: count) + [0]))
                all.append(ByteBuffer(bytes: [UInt8](repeating: 0xFF, count: count) + [0x7F]))
                all.append(ByteBuffer(bytes: [UInt8](repeating: 0xFF, count: count)))
            }
            return all
        }

        /// Gives a connection that is up one header, with a stream open on either side. 1: that closed it.
        private static func feed(_ kind: UInt8, _ flags: UInt16, _ stream: UInt32, _ length: UInt32) throws -> Int {
            var machine = YamuxMachine(direction: .inbound, limits: ConnectionLimits())
            _ = machine.open(at: .zero)
            var input = ByteBuffer()
            YamuxHeader(.windowUpdate, .syn, stream: 1, length: 0).write(into: &input)
            for _ in 0..<2 {
                input.writeMultipleIntegers(UInt8(0), kind, flags, stream, length)
                input.writeString("payload")
            }
            do throws(ConnectionViolation) {
                while true {
                    switch try machine.receive(&input, at: .zero) {
                    case .needsMoreBytes: return 0
                    case .data(let id, let bytes): _ = machine.consumed(bytes.readableBytes, on: id, at: .zero)
                    case .ended(let id), .reset(let id): _ = machine.forget(id)
                    case .opened, .creditArrived, .answered, .goneAway, .handled: break
                    }
                }
            } catch {
                return 1
            }
        }

        @Test("attack_04 A window that overflows closes its own connection", arguments: RawPeer.Security.allCases)
        func windowOverflow(_ security: RawPeer.Security) async throws {
            try await Scene.run { scene in
                let (figures, endings) = try await scene.measure { victim in
                    try (0..<20).map { number in
                        let peer = try RawPeer(to: victim.port, from: .network(number), security)
                        try peer.openStream(1, "/ipfs/ping/1.0.0")
                        try peer.send(
                            YamuxHeader(.windowUpdate, [], stream: 1, length: .max),
                            YamuxHeader(.windowUpdate, [], stream: 1, length: .max))
                        return try peer.read()
                    }
                }
                #expect(endings.allSatisfy { $0.isClosed && $0.goAway == YamuxGoAway.protocolError.rawValue })
                #expect(try await scene.victim.hasClosed(for: "a credit over 32 bits", count: endings.count))
                Scene.expectHolds("attack_04 \(security.rawValue)", figures, "\(endings.count) connections closed")
            }
        }

        @Test("attack_05 A first frame beyond its credit makes no stream", arguments: RawPeer.Security.allCases)
        func firstFrame(_ security: RawPeer.Security) async throws {
            try await Scene.run { scene in
                let lengths: [UInt32] = [256 * 1024 + 1, 1 << 31, .max]
                let (figures, endings) = try await scene.measure { victim in
                    try lengths.enumerated().map { number, length in
                        let peer = try RawPeer(to: victim.port, from: .network(number), security)
                        try peer.send(
                            YamuxHeader(.data, .syn, stream: 1, length: length),
                            followedBy: ByteBuffer(repeating: 0, count: 300_000))
                        return try peer.read()
                    }
                }
                #expect(endings.allSatisfy { $0.isClosed })
                #expect(try await scene.victim.hasClosed(for: "more data than credit", count: lengths.count))
                Scene.expectHolds("attack_05 \(security.rawValue)", figures, "\(endings.count) connections closed")
            }
        }

        @Test("attack_09 Garbage at every stage ends at most its own connection", arguments: RawPeer.Security.allCases)
        func garbage(_ security: RawPeer.Security) async throws {
            let rounds = AttackTests.size("attack_09", full: 2000, reduced: 40)
            try await Scene.run { scene in
                let (figures, count) = try await scene.measure { victim in
                    var random = SeededGenerator(seed: 9)
                    var connections = 0
                    func bytes() -> ByteBuffer {
                        ByteBuffer(
                            bytes: (0..<Int.random(in: 1...600, using: &random)).map { _ in
                                UInt8.random(in: .min ... .max, using: &random)
                            })
                    }
                    for round in 0..<rounds {
                        let source = Source.network(round)
                        for start in [ByteBuffer(), RawPeer.greeting("/\(security == .tls ? "tls/1.0.0" : "noise")")] {
                            let socket = try RawSocket(to: victim.port, from: source)
                            socket.send(start + bytes())
                            socket.finishWriting()
                            connections += 1
                        }
                        // Beneath the encryption, then as frames, then on a stream of each protocol.
                        let beneath = try RawPeer(to: victim.port, from: source, security)
                        beneath.socket.send(bytes())
                        let frames = try RawPeer(to: victim.port, from: source, security)
                        try frames.send(bytes())
                        let streams = try RawPeer(to: victim.port, from: .network(round + 5000), security)
                        let names = [
                            "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", "/perf/1.0.0", "/none",
                        ]
                        for (index, name) in names.enumerated() {
                            try streams.openStream(UInt32(1 + 2 * index), name, bytes(), isEnded: index % 2 == 0)
                        }
                        var raw = bytes()
                        raw.writeImmutableBuffer(bytes())
                        // Ended, since garbage may promise a message that is longer than itself.
                        try streams.send(
                            YamuxHeader(.data, [.syn, .fin], stream: 99, length: UInt32(raw.readableBytes)),
                            followedBy: raw)
                        let ending = try streams.read { $0.resetStreams.contains(99) }
                        #expect(
                            ending.resetStreams.contains(99) && !ending.isClosed,
                            "a stream's garbage closed its connection")
                        connections += 3
                    }
                    return connections
                }
                Scene.expectHolds("attack_09 \(security.rawValue)", figures, "\(count) connections of garbage")
            }
        }
    }
}

func + (left: ByteBuffer, right: ByteBuffer) -> ByteBuffer {
    var sum = left
    sum.writeImmutableBuffer(right)
    return sum
}

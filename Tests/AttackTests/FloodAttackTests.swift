// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOCore
import Testing
import Tutti
import TuttiBase
import TuttiConnection
import TuttiIdentity

extension AttackTests {
    /// Rows 6, 7, 11 and 13: too much of what is allowed.
    @Suite("Floods")
    struct Floods {
        @Test(
            "attack_06 Streams opened and reset without end cost their connection", arguments: RawPeer.Security.allCases
        )
        func openReset(_ security: RawPeer.Security) async throws {
            let networks = AttackTests.size("attack_06", full: 250, reduced: 1)
            try await Scene.run { scene in
                let limit = Duration.seconds(networks == 1 ? 4 : 20)
                let (figures, outcome) = try await scene.measure { victim in
                    try Self.flood(victim, security, networks: networks, for: limit)
                }
                // Rates count peers that take more than a quarter of a core. Hundreds that share the victim take less each:
                // then memory and the others' times alone are held.
                if networks == 1 {
                    #expect(outcome.closed > 0, "the flood was never stopped")
                    #expect(try await scene.victim.hasClosed(for: "flood"))
                    // Each is closed soon, and its address gets few more turns. The honest peer's own share is in here.
                    #expect(outcome.lateTime <= limit / 2 * 0.25)
                }
                Scene.expectHolds(
                    "attack_06 \(security.rawValue)", figures,
                    "\(outcome.frames) frames sent, \(outcome.closed) connections closed, "
                        + "\(outcome.lateTime / .milliseconds(1)) ms of the victim's processor in the last half")
            }
        }

        struct Flood: Sendable {
            var frames = 0
            var closed = 0
            var lateTime = Duration.zero
        }

        /// Four connections of each network open and reset as fast as they can, and dial again when they were closed.
        private static func flood(
            _ victim: Victim, _ security: RawPeer.Security, networks: Int, for limit: Duration
        ) throws -> Flood {
            var flood = Flood()
            var peers: [Int: (peer: RawPeer, next: UInt32)] = [:]
            let began = ContinuousClock.now
            var lateBegan: Duration?
            // Dialling is another flood (rows 12 and 13).
            var dialledAt: [Int: ContinuousClock.Instant] = [:]
            while began.duration(to: .now) < limit {
                if lateBegan == nil, began.duration(to: .now) > limit / 2 { lateBegan = victim.processorTime }
                for slot in 0..<networks * 4 {
                    let isRested = dialledAt[slot].map { $0.duration(to: .now) > .milliseconds(50) } ?? true
                    if peers[slot] == nil, !isRested { continue }
                    if peers[slot] == nil { dialledAt[slot] = .now }
                    if peers[slot] == nil, let peer = try? RawPeer(to: victim.port, from: .network(slot / 4), security)
                    {
                        peers[slot] = (peer, 1)
                    }
                    guard let (peer, next) = peers[slot] else { continue }
                    var frames = ByteBuffer()
                    for index in UInt32(0)..<2000 {
                        YamuxHeader(.windowUpdate, .syn, stream: next &+ 2 * index, length: 0).write(into: &frames)
                        YamuxHeader(.windowUpdate, .rst, stream: next &+ 2 * index, length: 0).write(into: &frames)
                    }
                    flood.frames += 4000
                    let isSent = try peer.send(frames, timeoutMilliseconds: 1000)
                    peers[slot] = (peer, next + 4000)
                    let isOpen = try peer.read(timeoutMilliseconds: 0)
                    if !isSent || !isOpen {
                        flood.closed += 1
                        peers[slot] = nil
                    }
                }
            }
            flood.lateTime = victim.processorTime - (lateBegan ?? .zero)
            return flood
        }

        enum Demand: String, CaseIterable, Sendable {
            case pings
            /// Each is acknowledged, and forgotten by the next frame.
            case streams
            case refusedStreams
        }

        @Test(
            "attack_07 Answers that a peer demands and doesn't read don't pile up",
            arguments: RawPeer.Security.allCases, Demand.allCases)
        func unreadAnswers(_ security: RawPeer.Security, _ demand: Demand) async throws {
            // It is over before ten pings are: one slice of another program would be their median.
            for isLast in [false, false, true] {
                if try await floods(security, demand, isLast: isLast) { return }
            }
        }

        /// - Returns: whether it was judged; pings that were late are measured again, unless it is the last time.
        private func floods(_ security: RawPeer.Security, _ demand: Demand, isLast: Bool) async throws -> Bool {
            try await Scene.run { scene in
                let bytesMax = 96 << 20
                let (figures, outcome) = try await scene.measure { victim in
                    let peer = try RawPeer(to: victim.port, from: .network(0), security, receiveBytes: 4096)
                    var sent = 0
                    var next: UInt32 = 1
                    // After its goodbye the victim reads on for a second, and forgets.
                    while sent < bytesMax {
                        var frames = ByteBuffer()
                        for _ in 0..<20_000 {
                            switch demand {
                            case .pings: YamuxHeader(.ping, .syn, stream: 0, length: 7).write(into: &frames)
                            case .streams:
                                YamuxHeader(.windowUpdate, .syn, stream: next, length: 0).write(into: &frames)
                                YamuxHeader(.windowUpdate, .rst, stream: next, length: 0).write(into: &frames)
                                next += 2
                            case .refusedStreams:
                                YamuxHeader(.windowUpdate, .syn, stream: next, length: 0).write(into: &frames)
                                next += 2
                            }
                        }
                        guard try peer.send(frames, timeoutMilliseconds: 2000) else { break }
                        sent += frames.readableBytes
                    }
                    return sent
                }
                #expect(try await scene.victim.hasClosed(for: "flood"))
                // A link's and a core's output, and what one read brings; not what was demanded.
                #expect(figures.memoryGrowth <= 8 << 20)
                guard isLast || figures.isPingHeld else { return false }
                Scene.expectHolds(
                    "attack_07 \(security.rawValue) \(demand.rawValue)", figures, "\(outcome >> 10) KiB sent in all")
                return true
            }
        }

        @Test("attack_11 A thousand connections that hardly speak don't keep others out")
        func slowloris() async throws {
            let count = 1000
            try await Scene.run { scene in
                let (figures, outcome) = try await scene.measure { victim in try Self.creep(victim, count) }
                #expect(outcome.open == 0, "a connection outlived its deadline")
                #expect(outcome.heldMax <= 32, "more handshakes at once than allowed")
                #expect(figures.processorPercent <= 25)
                Scene.expectHolds(
                    "attack_11", figures,
                    "\(count) connections, \(outcome.heldMax) held at once, all closed after "
                        + String(format: "%.1f s", outcome.seconds))
            }
        }

        struct Creeping: Sendable {
            var open = 0
            var heldMax = 0
            var seconds = 0.0
        }

        /// Connects `count` times, each from another network, and sends one byte of a greeting now and then.
        private static func creep(_ victim: Victim, _ count: Int) throws -> Creeping {
            let began = ContinuousClock.now
            var sockets = try (0..<count).map { try RawSocket(to: victim.port, from: .network($0), isBlocking: false) }
            let greeting = Array(RawPeer.greeting("/noise").readableBytesView)
            var outcome = Creeping()
            // Long enough for the victim to have turned away whom it can't take.
            var isSettled = false
            for position in greeting.indices {
                for socket in sockets { socket.send(ByteBuffer(bytes: [greeting[position]]), timeoutMilliseconds: 0) }
                RawSocket.dropEnded(&sockets, downTo: 0, within: .milliseconds(400))
                if isSettled { outcome.heldMax = max(outcome.heldMax, sockets.count) }
                isSettled = true
                if sockets.isEmpty { break }
                if began.duration(to: .now) > .seconds(9) { break }
            }
            outcome.open = sockets.count
            outcome.seconds = began.duration(to: .now) / .seconds(1)
            return outcome
        }

        @Test("attack_13 Thousands of connections from one address cost nothing that lasts")
        func oneAddress() async throws {
            let count = AttackTests.size("attack_13", full: 10_000, reduced: 2_000)
            try await Scene.run(isTold: false) { scene in
                let (figures, heldMax) = try await scene.measure { victim in
                    var held: [RawSocket] = []
                    var heldMax = 0
                    for index in 0..<count {
                        // Held until the victim closes it; it has a moment for the newest.
                        held.append(try RawSocket(to: victim.port, from: .network(0)))
                        guard index % 100 == 99 else { continue }
                        RawSocket.dropEnded(&held, downTo: 4, within: .seconds(1))
                        heldMax = max(heldMax, held.count)
                    }
                    return heldMax
                }
                #expect(heldMax <= 4, "more connections of one address than allowed")
                Scene.expectHolds("attack_13", figures, "\(count) connects from one address, \(heldMax) held at once")
                // Another address of another network still gets in; so does the attacker's, once it behaves.
                let isWelcome = try await onThread { [victim = scene.victim] in
                    let peer = try RawPeer(to: victim.port, from: .network(1))
                    return !(try peer.read(within: .milliseconds(50)).isClosed)
                }
                #expect(isWelcome)
            }
        }
    }
}

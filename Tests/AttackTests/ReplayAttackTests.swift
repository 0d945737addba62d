// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import Testing
import Tutti
import TuttiConnection

extension AttackTests {
    /// Row 22: what was said once is said again, by somebody else.
    @Suite("Replays")
    struct Replays {
        /// Both directions of one connection.
        private final class Recording: Sendable {
            private let bytes = Mutex((sent: ByteBuffer(), answered: ByteBuffer()))

            var sent: ByteBuffer { bytes.withLock { $0.sent } }
            var answered: ByteBuffer { bytes.withLock { $0.answered } }

            /// Passes everything on until one side is gone.
            func relay(_ inner: RawSocket, to outer: RawSocket) {
                while true {
                    switch inner.receive(timeoutMilliseconds: 2) {
                    case .bytes(let more):
                        bytes.withLock { _ = $0.sent.writeImmutableBuffer(more) }
                        outer.send(more)
                    case .ended: return
                    case .silent: break
                    }
                    switch outer.receive(timeoutMilliseconds: 2) {
                    case .bytes(let more):
                        bytes.withLock { _ = $0.answered.writeImmutableBuffer(more) }
                        inner.send(more)
                    case .ended: return
                    case .silent: break
                    }
                }
            }
        }

        /// A connection of an honest peer from its first byte to its first frames, both ways.
        private static func record(_ victim: Victim, _ security: RawPeer.Security) throws -> Recording {
            let recording = Recording()
            let port = victim.port
            let listener = try RawListener { inner in
                recording.relay(inner, to: try RawSocket(to: port))
            }
            let peer = try RawPeer(to: listener.port, from: .own, security)
            var frames = ByteBuffer()
            YamuxHeader(.ping, .syn, stream: 0, length: 7).write(into: &frames)
            _ = try peer.send(frames)
            while peer.ending.frameCount == 0 {
                guard try peer.read(timeoutMilliseconds: 1000) else { throw Mishap("the honest peer was cut off") }
            }
            return recording
        }

        /// What came back until the other side closed; nil: it didn't.
        private static func replay(_ bytes: ByteBuffer, to victim: Victim, from source: Source) throws -> Int? {
            let socket = try RawSocket(to: victim.port, from: source)
            socket.send(bytes)
            var count = 0
            while true {
                switch socket.receive() {
                case .bytes(let more): count += more.readableBytes
                case .ended: return count
                case .silent: return nil
                }
            }
        }

        @Test(
            "attack_22 A recorded connection, said again, ends in its handshake, with nothing of what followed done",
            arguments: RawPeer.Security.allCases)
        func recorded(_ security: RawPeer.Security) async throws {
            let rounds = AttackTests.size("attack_22", full: 1000, reduced: 60)
            try await Scene.run { scene in
                let recording = try await onThread { [victim = scene.victim] in try Self.record(victim, security) }
                let sent = recording.sent
                let answered = recording.answered.readableBytes
                let time = scene.victim.processorTime
                let (figures, counts) = try await scene.measure { victim in
                    try (0..<rounds).map { try Self.replay(sent, to: victim, from: .network($0 / 2)) }
                }
                let each = (scene.victim.processorTime - time) / .milliseconds(1) / Double(rounds)
                let closed = counts.compactMap(\.self)
                #expect(closed.count == rounds, "one was left open")
                // The handshake's own messages, and no frame behind them.
                #expect((closed.max() ?? 0) < answered)
                let words = security == .noise ? "noise(" : "tls("
                #expect(try await scene.victim.hasClosed(for: words, count: rounds))
                #expect(each < 20)
                Scene.expectHolds(
                    "attack_22 \(security.rawValue)", figures,
                    "\(sent.readableBytes) bytes said again \(rounds) times, refused \(closed.count) times with at most "
                        + "\(closed.max() ?? 0) of \(answered) bytes answered, \(each) ms of processor each")
            }
        }
    }
}

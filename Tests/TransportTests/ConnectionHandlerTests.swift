// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOEmbedded
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

/// The handler in a channel without a socket, against a bare core as the peer.
struct ConnectionHandlerTests {
    /// A dialler that is nothing but the core: what it says is cut as the test wants.
    private struct Peer: ~Copyable {
        var core: ConnectionCore
        var stream: StreamID?
        var echoed = ByteBuffer()
        var isEstablished = false
        var closed: CloseReason?

        init(expecting peer: PeerID) {
            let key = KeyPair(seed: Bytes32(words: (77, 1, 1, 1)))
            var source = KeySource.seeded(SeededGenerator(seed: 1))
            core = ConnectionCore(
                direction: .outbound, door: .plain, configuration: ConnectionConfiguration(),
                identity: NoiseIdentity(key, keySource: &source), expectedPeer: peer, protocols: [], keySource: source,
                at: .zero)
        }

        /// Opens a ping stream as soon as it may, and keeps what comes back.
        mutating func drain() {
            while let effect = core.nextEffect() {
                switch effect {
                case .established:
                    isEstablished = true
                    stream = core.openStream([TestEnd.ping], at: .zero)
                    if let stream { core.send(ByteBuffer(repeating: 5, count: 32), on: stream, at: .zero) }
                case .streamData(_, let bytes): echoed.writeImmutableBuffer(bytes)
                case .closed(let reason): closed = reason
                default: break
                }
            }
        }

        mutating func speak() -> ByteBuffer {
            drain()
            var output = ByteBuffer()
            while core.produce(into: &output, bytesMax: 1 << 20, at: .zero) {}
            drain()
            return output
        }

        mutating func hear(_ bytes: ByteBuffer) {
            core.receive(bytes, at: .zero)
            drain()
        }
    }

    private func channel(_ end: TestEnd) throws -> EmbeddedChannel {
        let channel = EmbeddedChannel()
        try end.transport.adopt(channel, from: try Multiaddr(text: "/ip4/10.0.0.1/tcp/1"))
        try channel.connect(to: try SocketAddress(ipAddress: "10.0.0.1", port: 1)).wait()
        channel.embeddedEventLoop.run()
        return channel
    }

    private func heard(_ channel: EmbeddedChannel) throws -> ByteBuffer {
        var all = ByteBuffer()
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) { all.writeImmutableBuffer(bytes) }
        return all
    }

    /// The whole conversation; `cut` gives the pieces of each flight, by its number.
    private func converse(_ cut: (Int, ByteBuffer) -> [ByteBuffer]) throws -> Int {
        let end = try TestEnd(9)
        let channel = try channel(end)
        var peer = Peer(expecting: end.key.peerID)
        var flight = 0
        while peer.echoed.readableBytes < 32, flight < 10 {
            for piece in cut(flight, peer.speak()) { try channel.writeInbound(piece) }
            peer.hear(try heard(channel))
            flight += 1
        }
        let (isEstablished, echoed) = (peer.isEstablished, peer.echoed)
        #expect(isEstablished)
        #expect(echoed == ByteBuffer(repeating: 5, count: 32))
        #expect(end.owner.count { if case .established = $0 { true } else { false } } == 1)
        _ = try channel.finish(acceptAlreadyClosed: true)
        return flight
    }

    @Test("A conversation is the same whole and byte by byte")
    func byteByByte() throws {
        let whole = try converse { _, bytes in [bytes] }
        let bytewise = try converse { _, bytes in bytes.readableBytesView.map { ByteBuffer(bytes: [$0]) } }
        #expect(whole == bytewise)
    }

    @Test("A conversation is the same wherever a flight is cut in two", arguments: 0..<3)
    func everySplit(flight: Int) throws {
        var length = 0
        _ = try converse { number, bytes in
            if number == flight { length = bytes.readableBytes }
            return [bytes]
        }
        for position in 1..<max(2, length) {
            _ = try converse { number, bytes in
                guard number == flight, position < bytes.readableBytes else { return [bytes] }
                var rest = bytes
                return [rest.readSlice(length: position) ?? ByteBuffer(), rest]
            }
        }
    }

    @Test("Garbage closes the connection with a violation and nothing else")
    func garbage() throws {
        let end = try TestEnd(9)
        let channel = try channel(end)
        try channel.writeInbound(ByteBuffer(repeating: 0xFF, count: 300))
        let reason = end.owner.take { if case .closed(_, let reason) = $0 { reason } else { nil } }
        guard case .violation(.negotiation, .negotiate) = reason else {
            Issue.record("\(String(describing: reason))")
            return
        }
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test("A peer that never speaks is closed at the first byte's deadline, one that dawdles at the handshake's")
    func silence() throws {
        let end = try TestEnd(9)
        let silent = try channel(end)
        silent.embeddedEventLoop.advanceTime(by: .seconds(3))
        #expect(end.owner.take { if case .closed(_, let reason) = $0 { reason } else { nil } } == .timeout(.negotiate))
        #expect(!silent.isActive)
        let slow = try channel(end)
        for byte in [0x13, 0x2F, 0x6D, 0x75] as [UInt8] {
            slow.embeddedEventLoop.advanceTime(by: .milliseconds(1500))
            if slow.isActive { try slow.writeInbound(ByteBuffer(bytes: [byte])) }
        }
        #expect(end.owner.take { if case .closed(_, let reason) = $0 { reason } else { nil } } == .timeout(.negotiate))
        _ = try? silent.finish(acceptAlreadyClosed: true)
        _ = try? slow.finish(acceptAlreadyClosed: true)
    }

    @Test("A socket that ends in the handshake is closed once, and says where")
    func endsEarly() throws {
        let end = try TestEnd(9)
        let channel = try channel(end)
        var peer = Peer(expecting: end.key.peerID)
        try channel.writeInbound(peer.speak())
        _ = try channel.finish(acceptAlreadyClosed: true)
        let reason = end.owner.take { if case .closed(_, let reason) = $0 { reason } else { nil } }
        #expect(reason == .transport("the peer closed the connection", .secure))
        #expect(end.owner.take { if case .closed(_, let reason) = $0 { reason } else { nil } } == nil)
    }
}

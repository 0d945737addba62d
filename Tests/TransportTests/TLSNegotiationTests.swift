// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTestSupport
import TuttiTransport

/// The ClientHello leaves behind the proposal of TLS, before the peer has agreed to it.
@Suite("TLS offered with its proposal", .timeLimit(.minutes(1)))
struct TLSNegotiationTests {
    private static func message(_ text: String) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeVarint(UInt64(text.utf8.count + 1))
        bytes.writeString(text + "\n")
        return bytes
    }

    private static func answer(_ text: String, then rest: [UInt8] = []) -> ByteBuffer {
        var bytes = message(ProtocolID.multistream.name)
        bytes.writeImmutableBuffer(message(text))
        bytes.writeBytes(rest)
        return bytes
    }

    /// A dialer that has sent its first flight and is given `bytes`, cut in two at `position`.
    private func dialer(hearing bytes: ByteBuffer, cutAt position: Int) throws -> ConnectionEnd {
        let pair = try ConnectionPair(.tls)
        pair.dialer.drain(at: pair.now)
        pair.dialer.collect(at: pair.now)
        pair.dialer.outbox.clear()
        var rest = bytes
        let first = rest.readSlice(length: position) ?? ByteBuffer()
        for piece in [first, rest] where piece.readableBytes > 0 {
            pair.dialer.receive(ByteBuffer(bytes: piece.readableBytesView), at: pair.now)
        }
        return pair.dialer
    }

    @Test("The first answer comes in the second exchange: with TCP's own that makes three round trips")
    func roundTripsToFirstByte() throws {
        let pair = try ConnectionPair(.tls)
        pair.listener.echoes = ["/echo"]
        pair.dialer.drain(at: pair.now)
        _ = pair.carry(from: pair.dialer, to: pair.listener)
        _ = pair.carry(from: pair.listener, to: pair.dialer)
        #expect(pair.dialer.establishment?.security == .tls)
        #expect(pair.dialer.roundTrips.count == 1)
        let stream = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.dialer.core.send(ByteBuffer(string: "x"), on: stream, at: pair.now)
        _ = pair.carry(from: pair.dialer, to: pair.listener)
        _ = pair.carry(from: pair.listener, to: pair.dialer)
        #expect(pair.dialer.streams[stream]?.received == Array("x".utf8))
    }

    @Test("The proposal stands before the ClientHello, and nothing between them")
    func firstFlight() throws {
        let pair = try ConnectionPair(.tls)
        pair.dialer.drain(at: pair.now)
        pair.dialer.collect(at: pair.now)
        let proposal = Self.answer("/tls/1.0.0")
        #expect(pair.dialer.outbox.readSlice(length: proposal.readableBytes) == proposal)
        // A handshake record of the version that TLS 1.3 writes there.
        #expect(pair.dialer.outbox.getBytes(at: pair.dialer.outbox.readerIndex, length: 3) == [0x16, 3, 1])
    }

    @Test("Wherever a flight is cut in two, both are established", arguments: 0..<3)
    func everySplit(flight: Int) throws {
        var position = 1
        var length = 2
        while position < length {
            let pair = try ConnectionPair(.tls)
            var ends = (from: pair.dialer, to: pair.listener)
            ends.from.drain(at: pair.now)
            for number in 0..<3 {
                ends.from.collect(at: pair.now)
                var rest = ends.from.outbox
                ends.from.outbox = ByteBuffer()
                if number == flight { length = rest.readableBytes }
                let cut = number == flight ? min(position, rest.readableBytes) : 0
                for piece in [rest.readSlice(length: cut) ?? ByteBuffer(), rest] where piece.readableBytes > 0 {
                    ends.to.receive(ByteBuffer(bytes: piece.readableBytesView), at: pair.now)
                }
                swap(&ends.from, &ends.to)
            }
            #expect(pair.dialer.establishment?.peer == pair.listener.identity.peerID)
            #expect(pair.listener.establishment?.peer == pair.dialer.identity.peerID)
            position += 1
        }
        #expect(length > 50)
    }

    @Test("A refusal closes the connection as one, whatever follows it and wherever it is cut")
    func refusal() throws {
        for rest in [[], Array(Self.message("na").readableBytesView), [UInt8](repeating: 0xFF, count: 40)] {
            let bytes = Self.answer("na", then: rest)
            for position in 0..<bytes.readableBytes {
                let end = try dialer(hearing: bytes, cutAt: position)
                #expect(end.closeReason == .violation(.refused(.tls), .negotiate))
                end.collect(at: .zero)
                #expect(end.outbox.readableBytes == 0)
            }
        }
    }

    @Test("Another answer than the proposal or a refusal is a broken negotiation")
    func otherAnswers() throws {
        for text in ["/noise", "/tls/1.0.1", ""] {
            let end = try dialer(hearing: Self.answer(text), cutAt: 0)
            #expect(end.closeReason == .violation(.negotiation(.malformed("multistream answer")), .negotiate))
        }
    }

    @Test("Garbage behind the agreement is TLS's to refuse, wherever it is cut")
    func garbageBehindAgreement() throws {
        let bytes = Self.answer("/tls/1.0.0", then: [UInt8](repeating: 0xFF, count: 16))
        let agreement = Self.answer("/tls/1.0.0").readableBytes
        for position in 0..<bytes.readableBytes {
            let end = try dialer(hearing: bytes, cutAt: position)
            guard case .violation(.tls, .secure)? = end.closeReason else {
                Issue.record("cut at \(position): \(String(describing: end.closeReason))")
                return
            }
        }
        #expect(try dialer(hearing: Self.answer("/tls/1.0.0"), cutAt: agreement - 1).closeReason == nil)
    }

    @Test(
        "A listener that speaks only Noise refuses, and the same node then dials it with Noise",
        arguments: [false, true])
    func noiseOnlyListener(overTCP: Bool) async throws {
        let network = MemoryNetwork()
        var configuration = ConnectionConfiguration()
        configuration.securityAccepted = [.noise]
        let near = try TestEnd(1, memory: network)
        let far = try TestEnd(2, memory: network, configuration: configuration)
        let place = overTCP ? try Multiaddr(text: "/ip4/127.0.0.1/tcp/0") : Multiaddr(components: [.memory(0)])
        let address = try await far.transport.listen(on: place)
        near.transport.dial(
            near.nextDial(), to: address[0], expected: far.key.peerID, security: .tls, timeout: .seconds(20))
        #expect(await near.owner.dialFailed() == .violation(.refused(.tls), .negotiate))
        guard case .violation(.negotiation, .negotiate) = await far.owner.closed() else {
            Issue.record("the listener should see a broken proposal")
            return
        }
        _ = await near.connect(to: far, at: address[0])
    }
}

// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTestSupport

/// Whatever is beneath (Noise, TLS, a transport with streams of its own), streams look the same above.
@Suite("Streams look the same over every transport")
struct StreamTableTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let kind: ConnectionPair.Kind
        let pieceBytes: Int
        var testDescription: String { "\(kind.rawValue), cut every \(pieceBytes) bytes" }
    }

    static let rows = ConnectionPair.Kind.allCases.flatMap { kind in
        [1, 7, 1000, 65_536].map { Row(kind: kind, pieceBytes: $0) }
    }

    private func pair(_ row: Row) throws -> ConnectionPair {
        let pair = try ConnectionPair(row.kind, pieceBytes: row.pieceBytes).established()
        try #require(pair.dialer.closeReason == nil)
        try #require(pair.listener.closeReason == nil)
        #expect(pair.dialer.establishment?.peer == pair.listener.identity.peerID)
        #expect(pair.listener.establishment?.peer == pair.dialer.identity.peerID)
        return pair
    }

    @Test("What is sent comes back, and the stream ends for both", arguments: rows)
    func echo(_ row: Row) throws {
        let pair = try pair(row)
        pair.listener.echoes = ["/echo"]
        let stream = try #require(pair.dialer.open(["/echo"], at: pair.now))
        let sent = patternBytes(5000)
        pair.dialer.core.send(ByteBuffer(bytes: sent), on: stream, at: pair.now)
        pair.dialer.core.closeWriting(stream, at: pair.now)
        pair.run()
        #expect(pair.dialer.streams[stream]?.received == sent)
        #expect(pair.dialer.streams[stream]?.protocolID == "/echo")
        #expect(pair.dialer.streams[stream]?.isEnded == true)
        #expect(pair.dialer.streams[stream]?.isClosed == true)
        #expect(pair.listener.streams[pair.listener.arrived[0]]?.isClosed == true)
        #expect(pair.dialer.core.openStreamCount == 0)
        #expect(pair.listener.core.openStreamCount == 0)
    }

    @Test("Half-close: after our end the peer goes on sending", arguments: rows)
    func halfCloseByDialer(_ row: Row) throws {
        let pair = try pair(row)
        let stream = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.dialer.core.closeWriting(stream, at: pair.now)
        pair.run()
        let inbound = pair.listener.arrived[0]
        #expect(pair.listener.streams[inbound]?.isEnded == true)
        #expect(pair.dialer.streams[stream]?.isClosed == false)
        let sent = patternBytes(3000)
        pair.listener.core.send(ByteBuffer(bytes: sent), on: inbound, at: pair.now)
        pair.run()
        #expect(pair.dialer.streams[stream]?.received == sent)
        pair.listener.core.closeWriting(inbound, at: pair.now)
        pair.run()
        #expect(pair.dialer.streams[stream]?.isClosed == true)
        #expect(pair.listener.streams[inbound]?.isClosed == true)
    }

    @Test("Half-close: after the peer's end we go on sending", arguments: rows)
    func halfCloseByListener(_ row: Row) throws {
        let pair = try pair(row)
        let stream = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.run()
        let inbound = pair.listener.arrived[0]
        pair.listener.core.closeWriting(inbound, at: pair.now)
        pair.run()
        #expect(pair.dialer.streams[stream]?.isEnded == true)
        pair.dialer.core.send(ByteBuffer(string: "still here"), on: stream, at: pair.now)
        pair.dialer.core.closeWriting(stream, at: pair.now)
        pair.run()
        #expect(pair.listener.streams[inbound]?.received == Array("still here".utf8))
        #expect(pair.listener.streams[inbound]?.isClosed == true)
    }

    @Test("Two sides that both write never wait for each other", arguments: rows.filter { $0.pieceBytes > 1 })
    func bothWrite(_ row: Row) throws {
        let pair = try pair(row)
        let stream = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.run()
        let inbound = pair.listener.arrived[0]
        let there = patternBytes(700_000)
        let back = patternBytes(700_000, seed: 9)
        pair.dialer.core.send(ByteBuffer(bytes: there), on: stream, at: pair.now)
        pair.listener.core.send(ByteBuffer(bytes: back), on: inbound, at: pair.now)
        pair.run()
        #expect(pair.listener.streams[inbound]?.received == there)
        #expect(pair.dialer.streams[stream]?.received == back)
    }

    @Test("An unknown protocol is refused, the connection lives", arguments: rows)
    func unknownProtocol(_ row: Row) throws {
        let pair = try pair(row)
        let stream = try #require(pair.dialer.open(["/nobody"], at: pair.now))
        pair.run()
        // The listener says `na` and waits for another proposal; it has none, so the dialer resets.
        #expect(pair.dialer.streams[stream]?.fault == .refused)
        #expect(pair.listener.arrived.isEmpty)
        #expect(pair.dialer.core.openStreamCount == 0)
        #expect(pair.listener.core.openStreamCount == 0)
        #expect(pair.dialer.closeReason == nil)
        #expect(pair.listener.closeReason == nil)
    }

    @Test("Of several proposals the first that both speak is used; bytes wait for it", arguments: rows)
    func severalProposals(_ row: Row) throws {
        let pair = try pair(row)
        let stream = try #require(pair.dialer.open(["/nobody", "/echo"], at: pair.now))
        pair.dialer.core.send(ByteBuffer(string: "later"), on: stream, at: pair.now)
        pair.dialer.core.closeWriting(stream, at: pair.now)
        pair.run()
        #expect(pair.dialer.streams[stream]?.protocolID == "/echo")
        #expect(pair.listener.streams[pair.listener.arrived[0]]?.received == Array("later".utf8))
        #expect(pair.listener.streams[pair.listener.arrived[0]]?.isEnded == true)
    }

    @Test("A reset ends the stream for the other side and nothing else", arguments: rows)
    func reset(_ row: Row) throws {
        let pair = try pair(row)
        pair.listener.echoes = []
        let first = try #require(pair.dialer.open(["/echo"], at: pair.now))
        let second = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.run()
        pair.dialer.core.reset(first, at: pair.now)
        pair.listener.core.send(ByteBuffer(string: "late"), on: pair.listener.arrived[0], at: pair.now)
        pair.dialer.core.send(ByteBuffer(string: "fine"), on: second, at: pair.now)
        pair.run()
        #expect(pair.listener.streams[pair.listener.arrived[0]]?.fault == .reset)
        #expect(pair.listener.streams[pair.listener.arrived[1]]?.received == Array("fine".utf8))
        #expect(pair.dialer.closeReason == nil)
    }

    @Test("A stream that ends before its protocol is agreed fails", arguments: rows)
    func endsDuringNegotiation(_ row: Row) throws {
        let pair = try ConnectionPair(row.kind, pieceBytes: row.pieceBytes, listenerProtocols: []).established()
        let stream = try #require(pair.dialer.open(["/a", "/b"], at: pair.now))
        pair.dialer.core.closeWriting(stream, at: pair.now)
        pair.run()
        #expect(pair.dialer.streams[stream]?.fault == .refused)
        #expect(pair.listener.core.openStreamCount == 0)
    }

    @Test("When the connection closes, every stream is told why", arguments: rows)
    func closing(_ row: Row) throws {
        let pair = try pair(row)
        let streams = try (0..<3).map { _ in try #require(pair.dialer.open(["/echo"], at: pair.now)) }
        pair.run()
        pair.dialer.core.close(at: pair.now)
        pair.dialer.drain(at: pair.now)
        #expect(pair.dialer.closeReason == .local)
        for stream in streams {
            #expect(pair.dialer.streams[stream]?.fault == .connectionClosed(.local))
        }
        // Late calls are legal and do nothing.
        pair.dialer.core.send(ByteBuffer(string: "x"), on: streams[0], at: pair.now)
        pair.dialer.core.consumed(10, on: streams[0], at: pair.now)
        pair.dialer.core.closeWriting(streams[0], at: pair.now)
        pair.dialer.core.reset(streams[0], at: pair.now)
        let after = pair.dialer.core.nextEffect()
        #expect(after == nil)
        #expect(pair.dialer.core.nextTimeout == nil)
    }

    @Test("Sixty streams at once carry their own bytes", arguments: rows.filter { $0.pieceBytes > 1 })
    func manyStreams(_ row: Row) throws {
        let pair = try pair(row)
        pair.listener.echoes = ["/echo"]
        let streams = try (0..<60).map { index in
            let stream = try #require(pair.dialer.open(["/echo"], at: pair.now))
            pair.dialer.core.send(
                ByteBuffer(bytes: patternBytes(2000, seed: UInt8(index))), on: stream, at: pair.now)
            pair.dialer.core.closeWriting(stream, at: pair.now)
            return stream
        }
        pair.run()
        for (index, stream) in streams.enumerated() {
            #expect(pair.dialer.streams[stream]?.received == patternBytes(2000, seed: UInt8(index)))
            #expect(pair.dialer.streams[stream]?.isClosed == true)
        }
    }
}

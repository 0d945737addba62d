// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTestSupport

@Suite("A connection")
struct ConnectionCoreTests {
    @Test("Noise with the early muxer is up after one and a half round trips, cut at every byte")
    func earlyMuxer() throws {
        for pieceBytes in [1, 2, 3, 50, 10_000] {
            let pair = try ConnectionPair(pieceBytes: pieceBytes)
            #expect(pair.carry(from: pair.dialer, to: pair.listener))
            #expect(pair.carry(from: pair.listener, to: pair.dialer))
            #expect(pair.dialer.establishment?.hadEarlyMuxer == true)
            #expect(pair.listener.establishment == nil)
            #expect(pair.carry(from: pair.dialer, to: pair.listener))
            #expect(pair.listener.establishment?.peer == pair.dialer.identity.peerID)
        }
    }

    @Test("The first answer on a stream comes in the second exchange: with TCP's own that makes three round trips")
    func roundTripsToFirstByte() throws {
        let pair = try ConnectionPair()
        pair.listener.echoes = ["/echo"]
        _ = pair.carry(from: pair.dialer, to: pair.listener)
        _ = pair.carry(from: pair.listener, to: pair.dialer)
        let stream = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.dialer.core.send(ByteBuffer(string: "x"), on: stream, at: pair.now)
        _ = pair.carry(from: pair.dialer, to: pair.listener)
        _ = pair.carry(from: pair.listener, to: pair.dialer)
        #expect(pair.dialer.streams[stream]?.received == Array("x".utf8))
    }

    @Test("The same seeds give the same bytes")
    func deterministic() throws {
        func bytes() throws -> [UInt8] {
            let pair = try ConnectionPair()
            var sent: [UInt8] = []
            pair.dialer.collect(at: pair.now)
            sent += Array(pair.dialer.outbox.readableBytesView)
            _ = pair.carry(from: pair.dialer, to: pair.listener)
            pair.listener.collect(at: pair.now)
            sent += Array(pair.listener.outbox.readableBytesView)
            return sent
        }
        let first = try bytes()
        #expect(try bytes() == first)
    }

    @Test("A dial to another peer's id fails and names both")
    func wrongPeer() throws {
        var source = KeySource.seeded(SeededGenerator(seed: 99))
        let other = KeyPair(from: &source).peerID
        let pair = try ConnectionPair(expectedPeer: other).established()
        let actual = pair.listener.identity.peerID
        #expect(pair.dialer.closeReason == .violation(.wrongPeer(expected: other, actual: actual), .secure))
        #expect(pair.dialer.establishment == nil)
    }

    @Test("Garbage at any stage closes with a typed reason and takes nothing along", arguments: 0..<60 as Range<Int>)
    func garbage(_ at: Int) throws {
        let pair = try ConnectionPair()
        var generator = SeededGenerator(seed: UInt64(at))
        // Some turns go well, then one side's bytes are replaced.
        for _ in 0..<(at % 4) {
            _ = pair.carry(from: pair.dialer, to: pair.listener)
            _ = pair.carry(from: pair.listener, to: pair.dialer)
        }
        let victim = at % 2 == 0 ? pair.listener : pair.dialer
        let noise = (0..<300).map { _ in UInt8.random(in: 0...255, using: &generator) }
        for byte in noise { victim.receive(ByteBuffer(bytes: [byte]), at: pair.now) }
        pair.advance(by: .seconds(6), running: false)
        guard case .violation? = victim.closeReason else {
            // Random lengths may promise more than came; then the handshake's deadline ends it.
            if victim.establishment == nil { #expect(victim.closeReason.map { "\($0)".contains("timeout") } == true) }
            return
        }
    }

    @Test("A peer that never speaks is dropped after two seconds, one that stops after five")
    func silence() throws {
        let silent = try ConnectionPair()
        silent.advance(by: .milliseconds(1999), running: false)
        #expect(silent.listener.closeReason == nil)
        silent.advance(by: .milliseconds(1), running: false)
        #expect(silent.listener.closeReason == .timeout(.negotiate))

        let stopping = try ConnectionPair()
        stopping.dialer.collect(at: .zero)
        // One byte a second is progress, and doesn't help.
        for index in 0..<6 {
            stopping.listener.receive(
                ByteBuffer(bytes: [[0x13, 0x2F, 0x6D, 0x75, 0x6C, 0x74][index]]), at: stopping.now)
            stopping.advance(by: .seconds(1), running: false)
        }
        #expect(stopping.listener.closeReason == .timeout(.negotiate))
        #expect(stopping.now == Instant.zero + .seconds(6))
    }

    @Test("A stream whose protocol is never agreed fails after ten seconds; the connection lives")
    func negotiationTimeout() throws {
        let pair = try ConnectionPair().established()
        let stream = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.advance(by: .seconds(10), running: false)
        #expect(pair.dialer.streams[stream]?.fault == .negotiationTimeout)
        pair.run()
        #expect(pair.dialer.closeReason == nil)
        #expect(pair.listener.core.openStreamCount == 0)
    }

    @Test("A quiet connection is pinged after a minute and lives; without an answer it is dead")
    func keepAlive() throws {
        let pair = try ConnectionPair().established()
        pair.dialer.roundTrips = []
        pair.advance(by: .seconds(60))
        #expect(pair.dialer.roundTrips.count == 1)
        for _ in 0..<5 { pair.advance(by: .seconds(60)) }
        #expect(pair.dialer.closeReason == nil)
        // From now on nothing crosses.
        pair.advance(by: .seconds(60), running: false)
        pair.dialer.collect(at: pair.now)
        pair.advance(by: .seconds(30), running: false)
        #expect(pair.dialer.closeReason == .timeout(.stream))
    }

    @Test("Output that nobody takes for half a minute means a dead peer")
    func stalledOutput() throws {
        let pair = try ConnectionPair().established()
        let stream = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.dialer.core.send(ByteBuffer(string: "x"), on: stream, at: pair.now)
        pair.advance(by: .seconds(9), running: false)
        #expect(pair.dialer.closeReason == nil)
        pair.advance(by: .seconds(21), running: false)
        #expect(pair.dialer.closeReason == .timeout(.stream))
    }

    @Test("The byte stream's end: in order between frames, a failure inside one")
    func endOfTransport() throws {
        let orderly = try ConnectionPair().established()
        orderly.dialer.core.transportEnded(nil, at: orderly.now)
        orderly.dialer.drain(at: orderly.now)
        #expect(orderly.dialer.closeReason == .remote)

        let cut = try ConnectionPair().established()
        cut.listener.core.ping(at: cut.now)
        cut.listener.collect(at: cut.now)
        cut.dialer.receive(ByteBuffer(bytes: cut.listener.outbox.readableBytesView.prefix(5)), at: cut.now)
        cut.dialer.core.transportEnded(nil, at: cut.now)
        cut.dialer.drain(at: cut.now)
        #expect(cut.dialer.closeReason == .transport("the byte stream ended in the middle of a frame", .stream))

        let early = try ConnectionPair()
        early.dialer.core.transportEnded("connection reset", at: early.now)
        early.dialer.drain(at: early.now)
        #expect(early.dialer.closeReason == .transport("connection reset", .negotiate))
    }

    @Test("A goodbye is told to the peer as such")
    func goodbye() throws {
        let pair = try ConnectionPair().established()
        pair.dialer.core.close(at: pair.now)
        pair.run()
        #expect(pair.dialer.closeReason == .local)
        #expect(pair.listener.closeReason == .remote)
    }

    @Test("A changed record is refused and the connection closed")
    func forgedRecord() throws {
        let pair = try ConnectionPair().established()
        pair.dialer.core.ping(at: pair.now)
        pair.dialer.collect(at: pair.now)
        var bytes = Array(pair.dialer.outbox.readableBytesView)
        bytes[10] ^= 1
        pair.listener.receive(ByteBuffer(bytes: bytes), at: pair.now)
        #expect(pair.listener.closeReason == .violation(.noise(.malformed("noise record")), .stream))
    }

    @Test("One stream that nobody reads stops at its window; another on the same connection goes on")
    func unreadStream() throws {
        let pair = try ConnectionPair().established()
        pair.listener.isReading = false
        let stuck = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.dialer.core.send(ByteBuffer(repeating: 1, count: 2_000_000), on: stuck, at: pair.now)
        pair.run()
        let unread = try #require(pair.listener.streams[pair.listener.arrived[0]])
        #expect(unread.received.count + "/multistream/1.0.0\n/echo\n".utf8.count + 2 == 256 * 1024)
        #expect(pair.dialer.core.queuedBytes(on: stuck) > 1_700_000)
        pair.listener.unread = [pair.listener.arrived[0]]
        pair.listener.isReading = true
        pair.listener.echoes = ["/echo"]
        let lively = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.dialer.core.send(ByteBuffer(repeating: 2, count: 1_000_000), on: lively, at: pair.now)
        pair.run()
        #expect(pair.dialer.streams[lively]?.received.count == 1_000_000)
        // The reader comes back: what was held up flows, and the writer hears that there is room again.
        pair.listener.echoes = []
        pair.listener.unread = []
        while pair.dialer.core.queuedBytes(on: stuck) > 0 {
            pair.listener.readAll(at: pair.now)
            pair.run()
        }
        #expect(pair.dialer.streams[stuck]?.drainedCount == 1)
    }

    @Test("A peer over its share of a core that opens streams without end is cut off; others are not counted")
    func streamFlood() throws {
        for isOverShare in [true, false] {
            var limits = ConnectionLimits()
            limits.streamsOpenedPerSecondMax = 10
            let pair = try ConnectionPair(listenerLimits: limits).established()
            pair.listener.core.setOverShare(isOverShare)
            for _ in 0..<60 where pair.dialer.closeReason == nil {
                guard let stream = pair.dialer.open(["/echo"], at: pair.now) else { break }
                pair.run()
                pair.dialer.core.reset(stream, at: pair.now)
                pair.run()
            }
            let flood = CloseReason.violation(.flood("streams opened faster than allowed"), .stream)
            #expect((pair.listener.closeReason == flood) == isOverShare)
        }
    }

    @Test("Granted window bytes are all given back when streams end")
    func windowsReturned() throws {
        let pair = try ConnectionPair().established()
        let stream = try #require(pair.dialer.open(["/echo"], at: pair.now))
        pair.dialer.core.send(ByteBuffer(repeating: 1, count: 8_000_000), on: stream, at: pair.now)
        pair.run()
        #expect(pair.listener.streams[pair.listener.arrived[0]]?.received.count == 8_000_000)
        #expect(pair.listener.grantedBytes > 0)
        pair.dialer.core.reset(stream, at: pair.now)
        pair.run()
        #expect(pair.listener.grantedBytes == 0)
    }

    @Test("Random calls in random order hold the invariants", arguments: 0..<60 as Range<UInt64>)
    func randomCalls(_ seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let pair = try ConnectionPair(pieceBytes: Int.random(in: 1...5000, using: &generator)).established()
        pair.listener.echoes = seed % 2 == 0 ? ["/echo"] : []
        let ends = [pair.dialer, pair.listener]
        for _ in 0..<300 {
            let end = ends[Int.random(in: 0...1, using: &generator)]
            let known = end.streams.keys.sorted()
            let id = known.randomElement(using: &generator) ?? StreamID(UInt64.random(in: 0...9, using: &generator))
            switch Int.random(in: 0...9, using: &generator) {
            case 0: _ = end.open(Bool.random(using: &generator) ? ["/echo"] : ["/nobody", "/echo"], at: pair.now)
            case 1, 2:
                let count = Int.random(in: 0...90_000, using: &generator)
                end.core.send(ByteBuffer(repeating: 5, count: count), on: id, at: pair.now)
            case 3: end.core.closeWriting(id, at: pair.now)
            case 4: end.core.reset(id, at: pair.now)
            case 5: end.core.consumed(Int.random(in: 0...9, using: &generator), on: id, at: pair.now)
            case 6: end.core.ping(at: pair.now)
            case 7: _ = pair.carry(from: pair.dialer, to: pair.listener)
            case 8: _ = pair.carry(from: pair.listener, to: pair.dialer)
            default: pair.advance(by: .milliseconds(Int.random(in: 0...900, using: &generator)))
            }
            end.drain(at: pair.now)
        }
        pair.run()
        #expect(pair.dialer.closeReason == nil)
        #expect(pair.listener.closeReason == nil)
        for end in ends {
            for record in end.streams.values where record.isClosed { #expect(record.fault == nil) }
            end.core.close(at: pair.now)
            end.drain(at: pair.now)
            #expect(end.grantedBytes == 0)
            #expect(end.core.openStreamCount == 0)
        }
    }
}

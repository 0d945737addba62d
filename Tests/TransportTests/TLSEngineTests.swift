// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

/// Two engines and the bytes between them.
final class TLSPair {
    let dialer: TLSEngine
    let listener: TLSEngine
    var toListener = ByteBuffer()
    var toDialer = ByteBuffer()
    var dialerPlaintext = ByteBuffer()
    var listenerPlaintext = ByteBuffer()
    private(set) var dialerEstablished: (Establishment, muxer: ProtocolID?)?
    private(set) var listenerEstablished: (Establishment, muxer: ProtocolID?)?
    private(set) var dialerProgress = TLSEngine.Progress.handshaking
    private(set) var listenerProgress = TLSEngine.Progress.handshaking

    static let dialerKey = KeyPair(seed: Bytes32(words: (1, 1, 1, 1)))
    static let listenerKey = KeyPair(seed: Bytes32(words: (2, 2, 2, 2)))

    init(
        dialer: TLSContext? = nil, listener: TLSContext? = nil, dialerExpects: PeerID? = nil,
        listenerExpects: PeerID? = nil
    ) throws {
        self.dialer = try TLSEngine(
            context: try dialer ?? TLSContext(identity: TLSPair.dialerKey), direction: .outbound,
            expectedPeer: dialerExpects)
        self.listener = try TLSEngine(
            context: try listener ?? TLSContext(identity: TLSPair.listenerKey), direction: .inbound,
            expectedPeer: listenerExpects)
    }

    func feedListener(_ bytes: inout ByteBuffer) throws {
        listenerProgress = try listener.receive(&bytes, plaintext: &listenerPlaintext, output: &toDialer)
        #expect(bytes.readableBytes == 0)
        guard case .established(let establishment, let muxer) = listenerProgress else { return }
        #expect(listenerEstablished == nil)
        listenerEstablished = (establishment, muxer)
    }

    func feedDialer(_ bytes: inout ByteBuffer) throws {
        dialerProgress = try dialer.receive(&bytes, plaintext: &dialerPlaintext, output: &toListener)
        #expect(bytes.readableBytes == 0)
        guard case .established(let establishment, let muxer) = dialerProgress else { return }
        #expect(dialerEstablished == nil)
        dialerEstablished = (establishment, muxer)
    }

    /// Carries all bytes, in parts of at most `partBytesMax`, until both are silent.
    func pump(partBytesMax: Int = .max) throws {
        while toListener.readableBytes > 0 || toDialer.readableBytes > 0 {
            if var part = toListener.readSlice(length: min(partBytesMax, toListener.readableBytes)),
                part.readableBytes > 0
            {
                try feedListener(&part)
            }
            if var part = toDialer.readSlice(length: min(partBytesMax, toDialer.readableBytes)), part.readableBytes > 0
            {
                try feedDialer(&part)
            }
        }
    }

    func handshake() throws {
        try dialer.start(into: &toListener)
        try pump()
    }

    /// What each side throws; the other one's alert is carried on.
    func refusals() -> (dialer: ConnectionViolation?, listener: ConnectionViolation?) {
        var dialerViolation: ConnectionViolation?
        var listenerViolation: ConnectionViolation?
        do { try dialer.start(into: &toListener) } catch { return (error, nil) }
        for _ in 0..<8 {
            if listenerViolation == nil, toListener.readableBytes > 0 {
                do { try feedListener(&toListener) } catch { listenerViolation = error as? ConnectionViolation }
            }
            if dialerViolation == nil, toDialer.readableBytes > 0 {
                do { try feedDialer(&toDialer) } catch { dialerViolation = error as? ConnectionViolation }
            }
        }
        return (dialerViolation, listenerViolation)
    }

    func send(_ text: String, fromDialer: Bool) throws {
        var bytes = ByteBuffer(string: text)
        if fromDialer {
            try dialer.seal(&bytes, into: &toListener)
        } else {
            try listener.seal(&bytes, into: &toDialer)
        }
        #expect(bytes.readableBytes == 0)
    }
}

@Suite("TLSEngine")
struct TLSEngineTests {
    @Test("Both learn who the other is, agree on the muxer, and data flows both ways")
    func establishes() throws {
        let pair = try TLSPair(dialerExpects: TLSPair.listenerKey.peerID, listenerExpects: TLSPair.dialerKey.peerID)
        try pair.handshake()
        let dialer = try #require(pair.dialerEstablished)
        let listener = try #require(pair.listenerEstablished)
        #expect(dialer.0.peer == TLSPair.listenerKey.peerID)
        #expect(dialer.0.publicKey == TLSPair.listenerKey.publicKey)
        #expect(listener.0.peer == TLSPair.dialerKey.peerID)
        #expect(dialer.0.security == .tls && listener.0.security == .tls)
        #expect(dialer.muxer == .yamux && listener.muxer == .yamux)
        #expect(dialer.0.hadEarlyMuxer && listener.0.hadEarlyMuxer)
        for index in 0..<5 {
            try pair.send("to the listener \(index)", fromDialer: true)
            try pair.send("to the dialer \(index)", fromDialer: false)
            try pair.pump()
            #expect(
                pair.listenerPlaintext.readString(length: pair.listenerPlaintext.readableBytes)
                    == "to the listener \(index)")
            #expect(
                pair.dialerPlaintext.readString(length: pair.dialerPlaintext.readableBytes) == "to the dialer \(index)")
        }
        guard case .open = pair.dialerProgress, case .open = pair.listenerProgress else {
            Issue.record("both should be open")
            return
        }
    }

    @Test("The hello is small, names no server, and offers one key share")
    func helloIsSmall() throws {
        let engine = try TLSEngine(
            context: TLSContext(identity: TLSPair.dialerKey), direction: .outbound, expectedPeer: nil)
        var hello = ByteBuffer()
        try engine.start(into: &hello)
        #expect(hello.readableBytes < 300)
        let extensions = try #require(TLSEngineTests.extensions(ofHello: hello))
        #expect(extensions[0] == nil, "server_name")
        #expect(extensions[35] == nil, "session_ticket")
        #expect(extensions[16] == [0, 20, 12] + Array("/yamux/1.0.0".utf8) + [6] + Array("libp2p".utf8))
        #expect(extensions[43] == [2, 3, 4], "only TLS 1.3")
        #expect(extensions[10] == [0, 2, 0, 29], "only X25519")
    }

    /// The extensions of a ClientHello by number (RFC 8446 section 4.1.2).
    private static func extensions(ofHello record: ByteBuffer) -> [UInt16: [UInt8]]? {
        var bytes = record
        guard bytes.readBytes(length: 5 + 4 + 2 + 32) != nil,
            let sessionBytes = bytes.readInteger(as: UInt8.self), bytes.readBytes(length: Int(sessionBytes)) != nil,
            let cipherBytes = bytes.readInteger(as: UInt16.self), bytes.readBytes(length: Int(cipherBytes)) != nil,
            let methodBytes = bytes.readInteger(as: UInt8.self), bytes.readBytes(length: Int(methodBytes)) != nil,
            bytes.readInteger(as: UInt16.self) == UInt16(exactly: bytes.readableBytes)
        else { return nil }
        var result: [UInt16: [UInt8]] = [:]
        while let number = bytes.readInteger(as: UInt16.self), let count = bytes.readInteger(as: UInt16.self) {
            result[number] = bytes.readBytes(length: Int(count))
        }
        return result
    }

    @Test("A handshake and data cut into two at every byte, and into single bytes, come out the same")
    func splitAtEveryByte() throws {
        let dialer = try TLSContext(identity: TLSPair.dialerKey)
        let listener = try TLSContext(identity: TLSPair.listenerKey)
        let whole = try TLSPair(dialer: dialer, listener: listener)
        try whole.dialer.start(into: &whole.toListener)
        var longest = whole.toListener.readableBytes
        try whole.feedListener(&whole.toListener)
        longest = max(longest, whole.toDialer.readableBytes)
        for part in 1...longest {
            let pair = try TLSPair(dialer: dialer, listener: listener)
            try pair.dialer.start(into: &pair.toListener)
            try pair.pump(partBytesMax: part)
            #expect(pair.dialerEstablished != nil && pair.listenerEstablished != nil)
            try pair.send("whole", fromDialer: true)
            try pair.send("too", fromDialer: false)
            try pair.pump(partBytesMax: part)
            #expect(String(buffer: pair.listenerPlaintext) == "whole")
            #expect(String(buffer: pair.dialerPlaintext) == "too")
        }
    }

    @Test("Data behind the dialer's last handshake message comes out with the establishment")
    func dataBehindHandshake() throws {
        let pair = try TLSPair()
        try pair.dialer.start(into: &pair.toListener)
        try pair.feedListener(&pair.toListener)
        try pair.feedDialer(&pair.toDialer)
        #expect(pair.dialerEstablished != nil)
        try pair.send("early", fromDialer: true)
        try pair.feedListener(&pair.toListener)
        #expect(pair.listenerEstablished != nil)
        #expect(String(buffer: pair.listenerPlaintext) == "early")
    }

    struct Muxers: Sendable, CustomTestStringConvertible {
        let dialer: [ProtocolID]
        let listener: [ProtocolID]
        let agreed: ProtocolID?
        var testDescription: String { "\(dialer) and \(listener)" }
    }

    @Test(
        "The first of the dialer's list that both have is agreed, else none",
        arguments: [
            Muxers(dialer: ["/yamux/1.0.0"], listener: ["/yamux/1.0.0"], agreed: "/yamux/1.0.0"),
            Muxers(dialer: ["/a", "/b"], listener: ["/b", "/a"], agreed: "/a"),
            Muxers(dialer: ["/x", "/b"], listener: ["/a", "/b"], agreed: "/b"),
            Muxers(dialer: [], listener: ["/a"], agreed: nil),
            Muxers(dialer: ["/a"], listener: [], agreed: nil),
            Muxers(dialer: ["/a"], listener: ["/b"], agreed: nil),
        ])
    func agrees(row: Muxers) throws {
        let pair = try TLSPair(
            dialer: TLSContext(identity: TLSPair.dialerKey, muxers: row.dialer),
            listener: TLSContext(identity: TLSPair.listenerKey, muxers: row.listener))
        try pair.handshake()
        let dialer = try #require(pair.dialerEstablished)
        let listener = try #require(pair.listenerEstablished)
        #expect(dialer.muxer == row.agreed && listener.muxer == row.agreed)
        #expect(dialer.0.hadEarlyMuxer == (row.agreed != nil))
    }

    @Test("Ten million bytes each way arrive as they were sent, cut anyhow")
    func transfersMuch() throws {
        let pair = try TLSPair()
        try pair.handshake()
        var generator = SeededGenerator(seed: 7)
        var sent = ByteBuffer()
        for _ in 0..<1_250_000 { sent.writeInteger(generator.next()) }
        var rest = sent
        var back = sent
        var arrived = ByteBuffer()
        var arrivedBack = ByteBuffer()
        while rest.readableBytes > 0 {
            let count = min(rest.readableBytes, 1 + Int(generator.next() % 100_000))
            var part = rest.readSlice(length: count) ?? ByteBuffer()
            try pair.dialer.seal(&part, into: &pair.toListener)
            var partBack = back.readSlice(length: count) ?? ByteBuffer()
            try pair.listener.seal(&partBack, into: &pair.toDialer)
            try pair.pump(partBytesMax: 1 + Int(generator.next() % 40_000))
            arrived.writeBuffer(&pair.listenerPlaintext)
            arrivedBack.writeBuffer(&pair.dialerPlaintext)
            pair.listenerPlaintext.clear()
            pair.dialerPlaintext.clear()
        }
        #expect(arrived == sent)
        #expect(arrivedBack == sent)
    }

    @Test("Plaintext goes out in records of 16 KiB and a rest, 22 bytes more each")
    func recordSizes() throws {
        let pair = try TLSPair()
        try pair.handshake()
        var bytes = ByteBuffer(repeating: 1, count: 40_000)
        try pair.dialer.seal(&bytes, into: &pair.toListener)
        #expect(pair.toListener.readableBytes == 40_000 + 3 * 22)
        #expect(pair.toListener.getInteger(at: pair.toListener.readerIndex + 3, as: UInt16.self) == UInt16(16_401))
        var nothing = ByteBuffer()
        let before = pair.toListener.readableBytes
        try pair.dialer.seal(&nothing, into: &pair.toListener)
        #expect(pair.toListener.readableBytes == before)
    }

    @Test("A close_notify ends one direction in order; the other goes on; later bytes are dropped")
    func closes() throws {
        let pair = try TLSPair()
        try pair.handshake()
        try pair.send("last words", fromDialer: true)
        pair.dialer.closeNotify(into: &pair.toListener)
        try pair.pump()
        #expect(String(buffer: pair.listenerPlaintext) == "last words")
        guard case .endedByPeer = pair.listenerProgress else {
            Issue.record("the listener should have seen the end")
            return
        }
        #expect(pair.listener.hasEnded)
        #expect(!pair.dialer.hasEnded)
        try pair.send("still here", fromDialer: false)
        try pair.pump()
        #expect(String(buffer: pair.dialerPlaintext) == "still here")
        var late = ByteBuffer(string: "anything")
        pair.listenerPlaintext.clear()
        try pair.feedListener(&late)
        #expect(pair.listenerPlaintext.readableBytes == 0)
        guard case .endedByPeer = pair.listenerProgress else {
            Issue.record("the end should stay")
            return
        }
    }

    @Test("A close_notify in the same bytes as the handshake's end is not lost")
    func closesAtOnce() throws {
        let pair = try TLSPair()
        try pair.dialer.start(into: &pair.toListener)
        try pair.feedListener(&pair.toListener)
        try pair.feedDialer(&pair.toDialer)
        try pair.send("hi", fromDialer: true)
        pair.dialer.closeNotify(into: &pair.toListener)
        try pair.feedListener(&pair.toListener)
        #expect(pair.listenerEstablished != nil)
        #expect(String(buffer: pair.listenerPlaintext) == "hi")
        #expect(pair.listener.hasEnded)
    }

    @Test("A byte stream cut off, inside a record or between two, never counts as ended by the peer")
    func truncation() throws {
        let dialer = try TLSContext(identity: TLSPair.dialerKey)
        let listener = try TLSContext(identity: TLSPair.listenerKey)
        for count in [0, 1, 5, 6, 20, 30, 31, 32, 40] {
            let pair = try TLSPair(dialer: dialer, listener: listener)
            try pair.handshake()
            try pair.send("one record", fromDialer: true)
            pair.dialer.closeNotify(into: &pair.toListener)
            // The record takes 32 bytes, the close_notify 24.
            #expect(pair.toListener.readableBytes == 56)
            var cut = pair.toListener.readSlice(length: count) ?? ByteBuffer()
            try pair.feedListener(&cut)
            #expect(!pair.listener.hasEnded)
            #expect(String(buffer: pair.listenerPlaintext) == (count < 32 ? "" : "one record"))
        }
    }

    @Test("Before the handshake's end, close_notify sends nothing")
    func closesEarly() throws {
        let pair = try TLSPair()
        pair.dialer.closeNotify(into: &pair.toListener)
        #expect(pair.toListener.readableBytes == 0)
        try pair.dialer.start(into: &pair.toListener)
        let hello = pair.toListener.readableBytes
        pair.dialer.closeNotify(into: &pair.toListener)
        #expect(pair.toListener.readableBytes == hello)
    }
}

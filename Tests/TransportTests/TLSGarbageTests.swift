// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

/// Bytes that no honest peer sends, at every stage.
@Suite("TLS garbage")
struct TLSGarbageTests {
    private let dialer: TLSContext
    private let listener: TLSContext

    init() throws {
        dialer = try TLSContext(identity: TLSPair.dialerKey)
        listener = try TLSContext(identity: TLSPair.listenerKey)
    }

    /// The violation by which `engine` refuses these bytes; nil when it waits for more.
    private func refusal(of engine: TLSEngine, _ bytes: ByteBuffer) -> ConnectionViolation? {
        var bytes = bytes
        var plaintext = ByteBuffer()
        var output = ByteBuffer()
        do {
            if case .established = try engine.receive(&bytes, plaintext: &plaintext, output: &output) {
                Issue.record("garbage was taken for a peer")
            }
            #expect(bytes.readableBytes == 0)
            return nil
        } catch {
            #expect(plaintext.readableBytes == 0)
            return error
        }
    }

    @Test("Plain text, another protocol's hello or an old TLS version instead of a hello is refused with an alert")
    func otherProtocols() throws {
        let hellos: [ByteBuffer] = [
            ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n"), ByteBuffer(string: "\u{13}/multistream/1.0.0\n"),
            ByteBuffer(bytes: [UInt8](repeating: 0, count: 64)), ByteBuffer(bytes: [UInt8](repeating: 0xFF, count: 64)),
            // A record that declares more than TLS allows.
            ByteBuffer(bytes: [0x16, 0x03, 0x01, 0xFF, 0xFF]),
        ]
        for hello in hellos {
            let engine = try TLSEngine(context: listener, direction: .inbound, expectedPeer: nil)
            #expect(refusal(of: engine, hello) != nil)
            let pair = try TLSPair(dialer: dialer, listener: listener)
            try pair.dialer.start(into: &pair.toListener)
            #expect(refusal(of: pair.dialer, hello) != nil)
        }
    }

    @Test("A bit turned in any byte of the handshake's first two flights keeps the listener from establishing")
    func damagedHandshake() throws {
        let whole = try TLSPair(dialer: dialer, listener: listener)
        try whole.dialer.start(into: &whole.toListener)
        let helloCount = whole.toListener.readableBytes
        try whole.feedListener(&whole.toListener)
        let answerCount = whole.toDialer.readableBytes
        for index in 5..<helloCount {
            let pair = try TLSPair(dialer: dialer, listener: listener)
            try pair.dialer.start(into: &pair.toListener)
            turn(&pair.toListener, index)
            #expect(pumpFails(pair) || isStuck(pair))
            #expect(pair.listenerEstablished == nil)
        }
        // The first record, the server's hello, is 127 bytes; behind it stands a change_cipher_spec that means nothing.
        for index in (5..<answerCount) where !(127..<133).contains(index) {
            let pair = try TLSPair(dialer: dialer, listener: listener)
            try pair.dialer.start(into: &pair.toListener)
            try pair.feedListener(&pair.toListener)
            // ECDSA signatures vary in length, and so does the flight.
            guard index < pair.toDialer.readableBytes else { continue }
            turn(&pair.toDialer, index)
            #expect(pumpFails(pair) || isStuck(pair))
            #expect(pair.dialerEstablished == nil)
            #expect(pair.listenerEstablished == nil)
        }
    }

    private func pumpFails(_ pair: TLSPair) -> Bool {
        do {
            try pair.pump()
            return false
        } catch {
            return true
        }
    }

    /// A length made larger leaves one side waiting for bytes that don't come; the connection's deadline ends that.
    private func isStuck(_ pair: TLSPair) -> Bool {
        guard case .handshaking = pair.listenerProgress else { return false }
        return true
    }

    private func turn(_ bytes: inout ByteBuffer, _ index: Int) {
        let position = bytes.readerIndex + index
        bytes.setInteger((bytes.getInteger(at: position, as: UInt8.self) ?? 0) ^ 0x20, at: position)
    }

    @Test("A bit turned anywhere in a data record is refused, nothing of it comes out, and the engine stays closed")
    func damagedRecord() throws {
        for index in 0..<32 {
            let pair = try TLSPair(dialer: dialer, listener: listener)
            try pair.handshake()
            try pair.send("one record", fromDialer: true)
            #expect(pair.toListener.readableBytes == 32)
            turn(&pair.toListener, index)
            // A length made larger is only a record that is not all there yet.
            if index == 3 || index == 4 { pair.toListener.writeRepeatingByte(0, count: 16_384) }
            #expect(refusal(of: pair.listener, pair.toListener) != nil)
            pair.toListener.clear()
            var output = ByteBuffer()
            var bytes = ByteBuffer(string: "x")
            #expect(throws: ConnectionViolation.self) { try pair.listener.seal(&bytes, into: &output) }
        }
    }

    @Test(
        "Bytes drawn at random never establish and never trap, before, within and after the handshake",
        arguments: UInt64(0)..<48)
    func randomBytes(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        func noise() -> ByteBuffer {
            var bytes = ByteBuffer()
            // Half of them look like a record at first.
            if generator.next() % 2 == 0 {
                bytes.writeBytes([[0x14, 0x15, 0x16, 0x17][Int(generator.next() % 4)], 0x03, 0x03])
                bytes.writeInteger(UInt16(generator.next() % 300))
            }
            for _ in 0..<(generator.next() % 400) {
                bytes.writeInteger(UInt8(truncatingIfNeeded: generator.next() >> 13))
            }
            return bytes
        }
        let fresh = try TLSEngine(context: listener, direction: .inbound, expectedPeer: nil)
        feed(fresh, noise)
        let dialling = try TLSPair(dialer: dialer, listener: listener)
        try dialling.dialer.start(into: &dialling.toListener)
        feed(dialling.dialer, noise)
        try dialling.feedListener(&dialling.toListener)
        feed(dialling.listener, noise)
        let open = try TLSPair(dialer: dialer, listener: listener)
        try open.handshake()
        feed(open.listener, noise)
        feed(open.dialer, noise)
    }

    private func feed(_ engine: TLSEngine, _ noise: () -> ByteBuffer) {
        for _ in 0..<60 where refusal(of: engine, noise()) != nil { return }
    }

    @Test("A handshake message that declares a mebibyte is refused at its header")
    func hugeHandshakeMessage() throws {
        // A handshake message that declares 1 MiB: refused at its header, long before it is there.
        let engine = try TLSEngine(context: listener, direction: .inbound, expectedPeer: nil)
        #expect(refusal(of: engine, ByteBuffer(bytes: [0x16, 0x03, 0x01, 0x00, 0x04, 0x01, 0x10, 0x00, 0x00])) != nil)
    }
}

// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity

/// Two machines and the bytes between them.
struct NoisePair {
    var dialer: NoiseMachine
    var listener: NoiseMachine

    init(
        dialerIdentity: NoiseIdentity? = nil, listenerIdentity: NoiseIdentity? = nil,
        dialerExpects: PeerID? = nil, listenerExpects: PeerID? = nil,
        dialerMuxers: [ProtocolID] = [.yamux], listenerMuxers: [ProtocolID] = [.yamux]
    ) {
        var dialerKeys = KeySource.seeded(SeededGenerator(seed: 11))
        var listenerKeys = KeySource.seeded(SeededGenerator(seed: 22))
        let dialerOwn = NoiseIdentity(NoisePair.dialerKey, keySource: &dialerKeys)
        let listenerOwn = NoiseIdentity(NoisePair.listenerKey, keySource: &listenerKeys)
        dialer = NoiseMachine(
            direction: .outbound, identity: dialerIdentity ?? dialerOwn, expectedPeer: dialerExpects,
            muxers: dialerMuxers, keySource: &dialerKeys)
        listener = NoiseMachine(
            direction: .inbound, identity: listenerIdentity ?? listenerOwn, expectedPeer: listenerExpects,
            muxers: listenerMuxers, keySource: &listenerKeys)
    }

    static let dialerKey = KeyPair(seed: Bytes32(words: (word(1), word(1), word(1), word(1))))
    static let listenerKey = KeyPair(seed: Bytes32(words: (word(2), word(2), word(2), word(2))))

    private static func word(_ byte: UInt64) -> UInt64 { byte &* 0x0101_0101_0101_0101 }

    /// Runs the whole handshake; the three messages are kept.
    mutating func run() throws -> (dialer: NoiseSession, listener: NoiseSession, messages: [ByteBuffer]) {
        var messages: [ByteBuffer] = []
        var bytes = ByteBuffer()
        dialer.start(into: &bytes)
        messages.append(bytes)
        var answer = ByteBuffer()
        guard case .needsMoreBytes = try listener.receive(&bytes, into: &answer) else { throw Surprise() }
        messages.append(answer)
        bytes.clear()
        guard case .established(let dialerSession) = try dialer.receive(&answer, into: &bytes) else { throw Surprise() }
        messages.append(bytes)
        var nothing = ByteBuffer()
        guard case .established(let listenerSession) = try listener.receive(&bytes, into: &nothing) else {
            throw Surprise()
        }
        guard nothing.readableBytes == 0 else { throw Surprise() }
        return (dialerSession, listenerSession, messages)
    }

    struct Surprise: Error {}
}

extension RecordCipher {
    func sealed(_ text: String) -> [UInt8] {
        let plaintext = Array(text.utf8)
        var output = [UInt8](repeating: 0, count: plaintext.count + RecordCipher.tagBytes)
        plaintext.withUnsafeBytes { source in
            output.withUnsafeMutableBytes { _ = seal(source, into: $0) }
        }
        return output
    }

    func opened(_ record: [UInt8]) -> String? {
        var record = record
        guard record.withUnsafeMutableBytes({ open($0) }) else { return nil }
        return String(decoding: record.dropLast(RecordCipher.tagBytes), as: UTF8.self)
    }
}

@Suite("NoiseMachine")
struct NoiseMachineTests {
    /// Computed by a second implementation of Noise XX over the Python packages `hashlib`, `hmac` and `cryptography`,
    /// with the identity seeds 01…01 (dialer) and 02…02 (listener) and the X25519 keys that our seeded generator draws
    /// from the seeds 11 and 22: first the static, then the ephemeral one. Both sides offer `/yamux/1.0.0`.
    private static let golden = [
        "00205962ba7f15f836790f2957213c51b2df751b252ac914044c73171123e83bc462",
        """
        00d845e15017a1ec37239f1b0a55d341c4932b00cf80788d53b9d720938d98e3c15ebcc1844a9e15d7119a1e932e94a7e646\
        09a5098ec8ac59c339d39805dbbbb6e10a16a3c74d75ff6f89ab8c8ba01e55413090eb62bc414842fa9739ce45921c691bee\
        d94d2ece8f53e7ed382677275ac4e32ceae5bf42d6998f5ae3e98e9c005c1efb05835294a809c5723132f8bf5ed02650ffb1\
        ad68b486b3368a02456e11e938560b03f6907d7775240f8c17f831db784f789c15b8e58ea79a95ba234c8c94a4ea191b9784\
        b417f032f77d066e472cbfb89b7fe6c691f0
        """,
        """
        00b8c09e08740dd9232ef8e025114c6cadf99727fb7f6408ef79d11118ccfab7ee0b5041f77965f2d69811d49cf34034d9a7\
        a3f7bd4af7144a61c35137053a1c010b06861b04b38a84f6af895f6bb5a7eb2900338c4c8db5e70655bb942504d9a006bb8a\
        a291f71d502c89014610265f35066acd62e18b73d1aca084499667c53fa460d71e7704dcb534034fc7c62b77d3d1601686df\
        6039ffc2388a307432fdd1cbd5dd0fd4a09a17e47942cba4cafa53a4347fed15479a3070
        """,
    ]

    @Test("The handshake and the first records are those of an independent implementation")
    func goldenVector() throws {
        var pair = NoisePair()
        let (dialer, listener, messages) = try pair.run()
        #expect(messages.map { hex($0.readableBytesView) } == Self.golden)
        #expect(hex(dialer.sealing.sealed("first")) == "8fa6219e0971b8c712f01bbc6bea42de7bd29284e3")
        #expect(hex(dialer.sealing.sealed("second")) == "b34e0b26882c726bbbb34f136c43a98b9b68e1e64eff")
        #expect(hex(listener.sealing.sealed("answer")) == "381da9a40b78699b368b906d0de60708333c5102c7b1")
    }

    @Test("Both learn who the other is, and records flow both ways")
    func establishes() throws {
        var pair = NoisePair(
            dialerExpects: NoisePair.listenerKey.peerID, listenerExpects: NoisePair.dialerKey.peerID)
        let (dialer, listener, _) = try pair.run()
        #expect(dialer.peer == NoisePair.listenerKey.peerID)
        #expect(dialer.publicKey == NoisePair.listenerKey.publicKey)
        #expect(listener.peer == NoisePair.dialerKey.peerID)
        #expect(listener.publicKey == NoisePair.dialerKey.publicKey)
        for text in ["", "one", "two", String(repeating: "three", count: 9_000)] {
            #expect(listener.opening.opened(dialer.sealing.sealed(text)) == text)
            #expect(dialer.opening.opened(listener.sealing.sealed(text)) == text)
        }
        // The directions have different keys: a record sent back to its sender doesn't open.
        #expect(dialer.opening.opened(dialer.sealing.sealed("mirror")) == nil)
    }

    @Test("The same seed gives the same bytes, another seed others")
    func isDeterministic() {
        func hello(_ seed: UInt64) -> [UInt8] {
            var keys = KeySource.seeded(SeededGenerator(seed: seed))
            var machine = NoiseMachine(
                direction: .outbound, identity: NoisePair.dialerKey, expectedPeer: nil, muxers: [], keySource: &keys)
            var output = ByteBuffer()
            machine.start(into: &output)
            return Array(output.readableBytesView)
        }
        #expect(hello(1) == hello(1))
        #expect(hello(1) != hello(2))
    }

    @Test("A handshake cut into two at every byte, and into single bytes, comes out the same")
    func splitAtEveryByte() throws {
        var whole = NoisePair()
        let lengths = try whole.run().messages.map(\.readableBytes)
        for cut in 0...(lengths.max() ?? 0) {
            try runSplit { buffer in
                buffer.readableBytes > cut ? [cut, buffer.readableBytes - cut] : [buffer.readableBytes]
            }
        }
        try runSplit { Array(repeating: 1, count: $0.readableBytes) }
    }

    private func runSplit(_ parts: (ByteBuffer) -> [Int]) throws {
        var pair = NoisePair()
        var sent = ByteBuffer()
        pair.dialer.start(into: &sent)
        var answer = ByteBuffer()
        #expect(try feed(&pair.listener, &sent, parts, &answer) == nil)
        var proof = ByteBuffer()
        let dialerSession = try #require(try feed(&pair.dialer, &answer, parts, &proof))
        var nothing = ByteBuffer()
        let listenerSession = try #require(try feed(&pair.listener, &proof, parts, &nothing))
        #expect(nothing.readableBytes == 0)
        #expect(listenerSession.opening.opened(dialerSession.sealing.sealed("whole")) == "whole")
        #expect(dialerSession.opening.opened(listenerSession.sealing.sealed("too")) == "too")
    }

    private func feed(
        _ machine: inout NoiseMachine, _ bytes: inout ByteBuffer, _ parts: (ByteBuffer) -> [Int],
        _ output: inout ByteBuffer
    ) throws -> NoiseSession? {
        var input = ByteBuffer()
        for count in parts(bytes) {
            input.writeImmutableBuffer(bytes.readSlice(length: count) ?? ByteBuffer())
            guard case .established(let session) = try machine.receive(&input, into: &output) else { continue }
            #expect(bytes.readableBytes == 0)
            #expect(input.readableBytes == 0)
            return session
        }
        return nil
    }

    @Test("Bytes behind the last message stay in the input, for the records' reader")
    func leavesWhatFollows() throws {
        var pair = NoisePair()
        var first = ByteBuffer()
        pair.dialer.start(into: &first)
        var second = ByteBuffer()
        _ = try pair.listener.receive(&first, into: &second)
        second.writeString("behind 2")
        var third = ByteBuffer()
        guard case .established = try pair.dialer.receive(&second, into: &third) else { throw NoisePair.Surprise() }
        #expect(String(buffer: second) == "behind 2")
        third.writeString("behind 3")
        var nothing = ByteBuffer()
        guard case .established = try pair.listener.receive(&third, into: &nothing) else { throw NoisePair.Surprise() }
        #expect(String(buffer: third) == "behind 3")
    }

    @Test("A listener says nothing first, and a machine is quiet after it failed")
    func listenerStartIsSilent() {
        var pair = NoisePair()
        var output = ByteBuffer()
        pair.listener.start(into: &output)
        #expect(output.readableBytes == 0)
        var bad = ByteBuffer(bytes: [0, 31])
        #expect(throws: ConnectionViolation.noise(.truncated("Noise handshake frame"))) {
            try pair.listener.receive(&bad, into: &output)
        }
        var later = ByteBuffer(bytes: [0, 32] + [UInt8](repeating: 9, count: 32))
        #expect(throws: Never.self) { _ = try pair.listener.receive(&later, into: &output) }
        #expect(output.readableBytes == 0)
    }
}

@Suite("Noise early muxer")
struct NoiseMuxerTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let dialer: [ProtocolID]
        let listener: [ProtocolID]
        let agreed: ProtocolID?
        var testDescription: String { "\(dialer) and \(listener)" }
    }

    @Test(
        "The first of the dialer's list that both have is agreed, and nothing when one list is missing",
        arguments: [
            Row(dialer: ["/yamux/1.0.0"], listener: ["/yamux/1.0.0"], agreed: "/yamux/1.0.0"),
            Row(dialer: ["/a", "/b"], listener: ["/b", "/a"], agreed: "/a"),
            Row(dialer: ["/b", "/a"], listener: ["/a", "/b"], agreed: "/b"),
            Row(dialer: ["/x", "/b"], listener: ["/a", "/b"], agreed: "/b"),
            Row(dialer: [], listener: ["/a"], agreed: nil),
            Row(dialer: ["/a"], listener: [], agreed: nil),
            Row(dialer: [], listener: [], agreed: nil),
        ])
    func agrees(row: Row) throws {
        var pair = NoisePair(dialerMuxers: row.dialer, listenerMuxers: row.listener)
        let (dialer, listener, _) = try pair.run()
        #expect(dialer.muxer == row.agreed)
        #expect(listener.muxer == row.agreed)
    }

    @Test("Two lists with nothing in common fail the handshake")
    func failsWithoutOverlap() throws {
        var pair = NoisePair(dialerMuxers: ["/a"], listenerMuxers: ["/b"])
        #expect(throws: ConnectionViolation.noise(.unsupported("Noise muxer list"))) { try pair.run() }
    }
}

// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity

/// What a Noise handshake must refuse, and how it says so.
@Suite("Noise refusals")
struct NoiseRefusalTests {
    private static let staticKey = Bytes32(words: (5, 6, 7, 8))
    private static let stranger = KeyPair(seed: Bytes32(words: (9, 9, 9, 9)))

    /// An identity with the payload fields that `body` writes, given the signature over its static key.
    private func identity(_ body: (inout ByteBuffer, _ signature: [UInt8]) -> Void) -> NoiseIdentity {
        let publicKey = NoiseIdentity(Self.stranger, staticKey: Self.staticKey).publicKey
        var payload = ByteBuffer()
        body(&payload, Self.stranger.sign(NoiseIdentity.signedMessage(for: publicKey)))
        return NoiseIdentity(staticKey: Self.staticKey, provenKey: payload)
    }

    /// What the dialer throws when the listener has this identity, and what the listener throws when the dialer has it.
    private func refusals(_ identity: NoiseIdentity) -> [ConnectionViolation?] {
        [NoisePair(listenerIdentity: identity), NoisePair(dialerIdentity: identity)].map { pair in
            var pair = pair
            do {
                _ = try pair.run()
                return nil
            } catch {
                return error as? ConnectionViolation
            }
        }
    }

    @Test("Another peer than the expected one is refused on both sides, by its proven id")
    func wrongPeer() throws {
        let expected = Self.stranger.peerID
        var dialling = NoisePair(dialerExpects: expected)
        #expect(throws: ConnectionViolation.wrongPeer(expected: expected, actual: NoisePair.listenerKey.peerID)) {
            try dialling.run()
        }
        var listening = NoisePair(listenerExpects: expected)
        #expect(throws: ConnectionViolation.wrongPeer(expected: expected, actual: NoisePair.dialerKey.peerID)) {
            try listening.run()
        }
    }

    @Test("A dialer that refuses the listener sends no message 3")
    func refusalIsSilent() throws {
        var pair = NoisePair(dialerExpects: Self.stranger.peerID)
        var first = ByteBuffer()
        pair.dialer.start(into: &first)
        var second = ByteBuffer()
        _ = try pair.listener.receive(&first, into: &second)
        var third = ByteBuffer()
        #expect(throws: ConnectionViolation.self) { try pair.dialer.receive(&second, into: &third) }
        #expect(third.readableBytes == 0)
    }

    @Test("A signature by another key, over another static key, or with a bit turned is refused")
    func forgedSignature() {
        let forged = ConnectionViolation.noise(.malformed("Noise identity signature"))
        let byAnother = identity { payload, signature in
            payload.writeProtobuf(1, bytes: NoisePair.dialerKey.publicKey.protobuf)
            payload.writeProtobuf(2, bytes: signature)
        }
        #expect(refusals(byAnother) == [forged, forged])
        let overAnother = NoiseIdentity(
            staticKey: Self.staticKey,
            provenKey: {
                var payload = ByteBuffer()
                payload.writeProtobuf(1, bytes: Self.stranger.publicKey.protobuf)
                payload.writeProtobuf(2, bytes: Self.stranger.sign(NoiseIdentity.signedMessage(for: .zero)))
                return payload
            }())
        #expect(refusals(overAnother) == [forged, forged])
        for index in [0, 31, 32, 63] {
            let turned = identity { payload, signature in
                var signature = signature
                signature[index] ^= 1
                payload.writeProtobuf(1, bytes: Self.stranger.publicKey.protobuf)
                payload.writeProtobuf(2, bytes: signature)
            }
            #expect(refusals(turned) == [forged, forged])
        }
    }

    @Test("A payload without key or signature, with a key of unknown type, or none at all is refused")
    func incompletePayload() {
        let noKey = ConnectionViolation.noise(.malformed("Noise identity key (missing)"))
        let noSignature = ConnectionViolation.noise(.malformed("Noise identity signature (missing)"))
        #expect(
            refusals(identity { payload, signature in payload.writeProtobuf(2, bytes: signature) }) == [noKey, noKey])
        #expect(
            refusals(identity { payload, _ in payload.writeProtobuf(1, bytes: Self.stranger.publicKey.protobuf) })
                == [noSignature, noSignature])
        #expect(refusals(identity { _, _ in }) == [noKey, noKey])
        let unknownType = identity { payload, signature in
            payload.writeProtobuf(1, bytes: [0x08, 0x09, 0x12, 0x20] + [UInt8](repeating: 1, count: 32))
            payload.writeProtobuf(2, bytes: signature)
        }
        #expect(!refusals(unknownType).contains(nil))
    }

    @Test("Unknown fields in a payload are passed over; bytes that are no field are refused")
    func unknownFields() {
        let fields = identity { payload, signature in
            payload.writeProtobuf(3, bytes: [1, 2, 3])
            payload.writeProtobuf(1, bytes: Self.stranger.publicKey.protobuf)
            payload.writeProtobuf(2, bytes: signature)
            payload.writeProtobuf(77, varint: 5)
        }
        #expect(refusals(fields) == [nil, nil])
        let garbage = identity { payload, signature in
            payload.writeProtobuf(1, bytes: Self.stranger.publicKey.protobuf)
            payload.writeProtobuf(2, bytes: signature)
            payload.writeBytes([0xFF, 0xFF])
        }
        #expect(!refusals(garbage).contains(nil))
    }

    @Test("A list of muxers that is too long, or has a name that is too long or no text, is refused")
    func badMuxers() {
        func with(_ names: [[UInt8]]) -> [ConnectionViolation?] {
            refusals(
                identity { payload, signature in
                    payload.writeProtobuf(1, bytes: Self.stranger.publicKey.protobuf)
                    payload.writeProtobuf(2, bytes: signature)
                    var extensions = ByteBuffer()
                    for name in names { extensions.writeProtobuf(2, bytes: name) }
                    payload.writeProtobuf(4, message: extensions)
                })
        }
        let yamux = Array(ProtocolID.yamux.name.utf8)
        #expect(with(Array(repeating: yamux, count: NoiseLimits.muxersMax - 1)) == [nil, nil])
        let tooMany = ConnectionViolation.noise(.tooLarge("Noise muxer list", limit: NoiseLimits.muxersMax))
        #expect(with(Array(repeating: yamux, count: NoiseLimits.muxersMax + 1)) == [tooMany, tooMany])
        let tooLong = ConnectionViolation.noise(.tooLarge("Noise muxer", limit: ProtocolID.bytesMax))
        #expect(with([[UInt8](repeating: 0x61, count: ProtocolID.bytesMax + 1)]) == [tooLong, tooLong])
        let noText = ConnectionViolation.noise(.malformed("Noise muxer"))
        #expect(with([[0xC3, 0x28]]) == [noText, noText])
    }

    /// Points of order 1, 2, 4 and 8 on Curve25519 and its twist, with the forms above the prime (RFC 7748, section 7;
    /// the list is that of Cremers and Jackson, "Prime, Order Please!", 2019).
    private static let lowOrderPoints = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]

    @Test("A key of low order is refused in message 1 and in message 2", arguments: lowOrderPoints)
    func lowOrderKey(text: String) throws {
        let point = bytes(text)
        let refused = ConnectionViolation.noise(.malformed("Noise key (low order)"))
        var pair = NoisePair()
        var hello = ByteBuffer(bytes: [0, 32] + point)
        var output = ByteBuffer()
        #expect(throws: refused) { try pair.listener.receive(&hello, into: &output) }

        var other = NoisePair()
        other.dialer.start(into: &output)
        var answer = ByteBuffer()
        answer.writeInteger(UInt16(200))
        answer.writeBytes(point)
        answer.writeRepeatingByte(0x5A, count: 200 - point.count)
        #expect(throws: refused) { try other.dialer.receive(&answer, into: &output) }
    }

    @Test("A declared length over or under what a message can have is refused before its bytes come")
    func lengths() throws {
        let tooShort = ConnectionViolation.noise(.truncated("Noise handshake frame"))
        func tooLong(_ limit: Int) -> ConnectionViolation { .noise(.tooLarge("Noise handshake frame", limit: limit)) }
        func listenerSays(_ length: UInt16, after count: Int) throws -> ConnectionViolation? {
            var pair = NoisePair()
            var output = ByteBuffer()
            if count == 1 {
                var first = ByteBuffer()
                pair.dialer.start(into: &first)
                _ = try pair.listener.receive(&first, into: &output)
            }
            return refusal(of: &pair.listener, length)
        }
        #expect(try listenerSays(31, after: 0) == tooShort)
        #expect(try listenerSays(0, after: 0) == tooShort)
        #expect(try listenerSays(32, after: 0) == nil)
        #expect(try listenerSays(33, after: 0) == tooLong(32))
        #expect(try listenerSays(63, after: 1) == tooShort)
        #expect(try listenerSays(64, after: 1) == nil)
        #expect(try listenerSays(UInt16(NoiseLimits.handshakeFrameBytesMax), after: 1) == nil)
        #expect(
            try listenerSays(UInt16(NoiseLimits.handshakeFrameBytesMax) + 1, after: 1)
                == tooLong(NoiseLimits.handshakeFrameBytesMax))
        for (length, expected) in [(95, tooShort), (96, nil), (65_535, tooLong(NoiseLimits.handshakeFrameBytesMax))] {
            var pair = NoisePair()
            var output = ByteBuffer()
            pair.dialer.start(into: &output)
            #expect(refusal(of: &pair.dialer, UInt16(length)) == expected)
        }
    }

    private func refusal(of machine: inout NoiseMachine, _ length: UInt16) -> ConnectionViolation? {
        var input = ByteBuffer(integer: length)
        var output = ByteBuffer()
        do {
            _ = try machine.receive(&input, into: &output)
            return nil
        } catch {
            return error
        }
    }

    @Test("A bit turned anywhere in message 2 or 3 is refused")
    func damagedMessages() throws {
        var whole = NoisePair()
        let messages = try whole.run().messages
        for index in 2..<messages[1].readableBytes {
            var pair = NoisePair()
            var output = ByteBuffer()
            pair.dialer.start(into: &output)
            var damaged = messages[1]
            damaged.setInteger(damaged.getInteger(at: index, as: UInt8.self).map { $0 ^ 0x40 } ?? 0, at: index)
            #expect(throws: ConnectionViolation.self) { try pair.dialer.receive(&damaged, into: &output) }
        }
        for index in 2..<messages[2].readableBytes {
            var pair = NoisePair()
            var output = ByteBuffer()
            var first = messages[0]
            _ = try pair.listener.receive(&first, into: &output)
            var damaged = messages[2]
            damaged.setInteger(damaged.getInteger(at: index, as: UInt8.self).map { $0 ^ 0x40 } ?? 0, at: index)
            #expect(throws: ConnectionViolation.self) { try pair.listener.receive(&damaged, into: &output) }
        }
    }

    @Test("Message 2 cut short, with its length set right, is refused at every length")
    func cutMessages() throws {
        var whole = NoisePair()
        let message = try whole.run().messages[1]
        for count in 0..<(message.readableBytes - 2) {
            var pair = NoisePair()
            var output = ByteBuffer()
            pair.dialer.start(into: &output)
            var cut = ByteBuffer(integer: UInt16(count))
            cut.writeBytes(message.readableBytesView.dropFirst(2).prefix(count))
            #expect(throws: ConnectionViolation.self) { try pair.dialer.receive(&cut, into: &output) }
        }
    }

    @Test("Bytes drawn at random never establish and never trap", arguments: UInt64(0)..<64)
    func garbage(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var pair = NoisePair()
        var output = ByteBuffer()
        pair.dialer.start(into: &output)
        for direction in [Direction.inbound, .outbound] {
            var input = ByteBuffer()
            for _ in 0..<200 {
                let count = Int(generator.next() % 40)
                for _ in 0..<count { input.writeInteger(UInt8(truncatingIfNeeded: generator.next() >> 20)) }
                // A plausible length now and then, so that more than the first check is reached.
                if generator.next() % 8 == 0, input.readableBytes >= 2 {
                    input.setInteger(UInt16(32 + generator.next() % 200), at: input.readerIndex)
                }
                do {
                    let outcome =
                        direction == .inbound
                        ? try pair.listener.receive(&input, into: &output)
                        : try pair.dialer.receive(&input, into: &output)
                    if case .established = outcome { Issue.record("random bytes were taken for a peer") }
                } catch {
                    input.clear()
                    break
                }
            }
        }
    }

    private func bytes(_ text: String) -> [UInt8] {
        var result: [UInt8] = []
        var rest = text[...]
        while !rest.isEmpty {
            result.append(UInt8(rest.prefix(2), radix: 16) ?? 0)
            rest = rest.dropFirst(2)
        }
        return result
    }
}

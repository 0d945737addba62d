// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiConnection
import TuttiIdentity

import struct NIOCore.ByteBuffer

/// Noise: handshakes from garbage, handshakes with damage, records with damage. The first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 4 {
    case 0: fuzzGarbage(&source)
    case 1: fuzzHandshake(&source)
    default: fuzzRecords(&source)
    }
    return 0
}

struct Party {
    let key: KeyPair
    let noise: NoiseIdentity

    init(seed: UInt64) {
        var keys = KeySource.seeded(SeededGenerator(seed: seed))
        key = KeyPair(from: &keys)
        noise = NoiseIdentity(key, keySource: &keys)
    }

    func machine(_ direction: Direction, expecting peer: PeerID?, muxers: [ProtocolID] = [.yamux]) -> NoiseMachine {
        var keys = KeySource.seeded(SeededGenerator(seed: direction == .outbound ? 11 : 12))
        return NoiseMachine(
            direction: direction, identity: noise, expectedPeer: peer, muxers: muxers, keySource: &keys)
    }
}

let dialer = Party(seed: 1)
let listener = Party(seed: 2)

/// Feeds pieces until the machine is done with them, as its owner does.
func feed(
    _ machine: inout NoiseMachine, _ pieces: [ByteBuffer], into output: inout ByteBuffer
) throws(ConnectionViolation) -> (session: NoiseSession, leftover: ByteBuffer)? {
    var input = ByteBuffer()
    var established: NoiseSession?
    for var piece in pieces {
        input.writeBuffer(&piece)
        guard established == nil else { continue }
        while true {
            let before = input.readableBytes
            if case .established(let session) = try machine.receive(&input, into: &output) {
                established = session
                break
            }
            if input.readableBytes == before { break }
        }
    }
    return established.map { ($0, input) }
}

func fuzzGarbage(_ source: inout ByteSource) {
    let isDialer = source.bool()
    var machine = isDialer ? dialer.machine(.outbound, expecting: nil) : listener.machine(.inbound, expecting: nil)
    var output = ByteBuffer()
    machine.start(into: &output)
    // Whole frames of any content pass the framing more often than plain garbage.
    var input = ByteBuffer()
    for _ in 0..<source.below(4) {
        let bytes = source.blob(countMax: 300)
        input.writeInteger(UInt16(bytes.count))
        input.writeBytes(bytes)
    }
    input.writeBytes(source.take(64))
    let pieces = source.pieces(of: input)
    do throws(ConnectionViolation) {
        let done = try feed(&machine, pieces, into: &output)
        require(done == nil, "garbage proves nobody")
    } catch {
        // Late bytes after a failure are dropped.
        var late = ByteBuffer(bytes: [1, 2, 3])
        if case .established? = try? machine.receive(&late, into: &output) {
            require(false, "a failed machine stays failed")
        }
    }
}

/// A genuine handshake in which any of the three messages may be damaged on its way.
func fuzzHandshake(_ source: inout ByteSource) {
    let wrongPeer = source.byte() % 8 == 0
    let muxers: [[ProtocolID]] = [[.yamux], [], ["/mplex/6.7.0"], ["/mplex/6.7.0", .yamux]]
    var first = dialer.machine(
        .outbound, expecting: wrongPeer ? dialer.key.peerID : listener.key.peerID, muxers: source.pick(muxers))
    var second = listener.machine(.inbound, expecting: nil, muxers: source.pick(muxers))
    let damaged = source.byte() % 5
    func carry(_ message: ByteBuffer, _ number: UInt8, _ source: inout ByteSource) -> (ByteBuffer, Bool) {
        guard number == damaged else { return (message, true) }
        let genuine = Array(message.readableBytesView)
        let bytes = source.mutate(genuine)
        // What follows a whole message is not the handshake's.
        return (ByteBuffer(bytes: bytes), bytes.starts(with: genuine))
    }
    var hello = ByteBuffer()
    first.start(into: &hello)
    let (carriedHello, helloIntact) = carry(hello, 0, &source)
    var reply = ByteBuffer()
    var nothing = ByteBuffer()
    do throws(ConnectionViolation) {
        let early = try feed(&second, source.pieces(of: carriedHello), into: &reply)
        require(early == nil, "one message proves nobody")
        let (carriedReply, replyIntact) = carry(reply, 1, &source)
        var proof = ByteBuffer()
        guard let ours = try feed(&first, source.pieces(of: carriedReply), into: &proof) else { return }
        require(!wrongPeer && helloIntact && replyIntact, "a dialer accepts only what its peer said to it")
        require(ours.session.peer == listener.key.peerID, "the listener is who it is")
        let (carriedProof, proofIntact) = carry(proof, 2, &source)
        guard let theirs = try feed(&second, source.pieces(of: carriedProof), into: &nothing) else { return }
        require(proofIntact, "a listener accepts only what its peer said to it")
        require(theirs.session.peer == dialer.key.peerID, "the dialer is who it is")
        require(ours.session.muxer == theirs.session.muxer, "both agree on the muxer")
        require(nothing.readableBytes == 0, "a listener has the last word only in records")
        exchange(ours.session, theirs.session, &source)
    } catch {
        let isHonest = damaged > 2 && !wrongPeer
        if isHonest, case .noise(.unsupported("Noise muxer list")) = error { return }
        require(!isHonest, "an honest handshake succeeds: \(error)")
    }
}

// MARK: Records

let recordKeys = (Bytes32(words: (5, 6, 7, 8)), Bytes32(words: (9, 10, 11, 12)))

func fuzzRecords(_ source: inout ByteSource) {
    func session(_ sealing: Bytes32, _ opening: Bytes32) -> NoiseSession {
        NoiseSession(
            peer: dialer.key.peerID, publicKey: dialer.key.publicKey, muxer: nil,
            sealing: RecordCipher(key: sealing), opening: RecordCipher(key: opening))
    }
    exchange(session(recordKeys.0, recordKeys.1), session(recordKeys.1, recordKeys.0), &source)
}

/// What one side writes in any manner is what the other reads; with damage, a beginning of it and then a refusal.
func exchange(_ sender: NoiseSession, _ receiver: NoiseSession, _ source: inout ByteSource) {
    var sealing = RecordLayer(sender)
    var opening = RecordLayer(receiver)
    var wire = ByteBuffer()
    var sent: [UInt8] = []
    for _ in 0..<source.below(12) {
        let sizes = [0, 1, 12, 300, 4_095, 4_096, 4_097, 16_371, 16_384, 16_385, 40_000]
        let count = source.bool() ? Int(source.byte()) : source.pick(sizes)
        let seed = source.byte()
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) &+ seed }
        switch source.byte() % 4 {
        case 0:
            sealing.write(ByteBuffer(bytes: bytes), into: &wire)
            sent += bytes
        case 1:
            sealing.prepareForHeader(in: &wire)
            wire.writeBytes(bytes.prefix(12))
            sent += bytes.prefix(12)
            sealing.writePayload(ByteBuffer(bytes: bytes), into: &wire)
            sent += bytes
        case 2:
            sealing.writePayload(ByteBuffer(bytes: bytes), into: &wire)
            sent += bytes
        default:
            sealing.endRecord(in: &wire)
        }
    }
    sealing.endRecord(in: &wire)
    let genuine = Array(wire.readableBytesView)
    let isDamaged = source.byte() % 3 == 0
    var carried = genuine
    if isDamaged { carried = source.mutate(carried) }
    if isDamaged, source.bool() { carried = source.mutate(carried) }
    var received: [UInt8] = []
    var isRefused = false
    do throws(ConnectionViolation) {
        for piece in source.pieces(of: ByteBuffer(bytes: carried)) {
            var plaintexts: [ByteBuffer] = []
            defer { for part in plaintexts { received += Array(part.readableBytesView) } }
            try opening.open(piece, into: &plaintexts)
        }
    } catch {
        isRefused = true
    }
    if carried == genuine {
        require(!isRefused && received == sent, "what was written is read")
        require(!opening.isInsideRecord, "whole records leave nothing behind")
    } else {
        require(sent.starts(with: received), "of damaged records only what came before the damage is read")
    }
}

@_cdecl("Noise_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

import struct NIOCore.ByteBuffer

/// TLS: flights from garbage, flights with damage, records with damage, certificates. The first byte chooses.
///
/// BoringSSL draws its own random numbers, so a run can't always be repeated; what it found is in the input, though.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 8 {
    case 0: fuzzGarbage(&source)
    case 1, 2, 3: fuzzSession(&source)
    default: fuzzCertificate(&source)
    }
    return 0
}

@_cdecl("TLS_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

/// A node's key and what its connections share; made once, since it costs a key and a signature.
struct Party {
    let key: KeyPair
    let certificate: TLSCertificate
    let context: TLSContext

    init(seed: UInt64, muxers: [ProtocolID]) {
        key = KeyPair(seed: Bytes32(words: (seed, 2, 3, 4)))
        do {
            certificate = try TLSCertificate(identity: key)
            context = try TLSContext(certificate: certificate, muxers: muxers)
        } catch {
            fatalError("no context: \(error)")
        }
    }

    func engine(_ direction: Direction, expecting peer: PeerID?) -> TLSEngine {
        do {
            return try TLSEngine(context: context, direction: direction, expectedPeer: peer)
        } catch {
            fatalError("no engine: \(error)")
        }
    }
}

let dialers = [Party(seed: 1, muxers: [.yamux]), Party(seed: 2, muxers: [])]
let listeners = [Party(seed: 3, muxers: [.yamux]), Party(seed: 4, muxers: ["/other/1.0.0"])]

/// One engine and what it has told.
final class End {
    let engine: TLSEngine
    var output = ByteBuffer()
    var received: [UInt8] = []
    var sent: [UInt8] = []
    var establishment: Establishment?
    var muxer: ProtocolID?
    var violation: ConnectionViolation?
    var hasEnded = false
    var hasSaidEnd = false

    init(_ engine: TLSEngine) {
        self.engine = engine
    }

    func receive(_ pieces: [ByteBuffer]) {
        for var piece in pieces {
            var rounds = 0
            while piece.readableBytes > 0 {
                let before = piece.readableBytes
                var plaintext = ByteBuffer()
                do throws(ConnectionViolation) {
                    switch try engine.receive(&piece, plaintext: &plaintext, output: &output) {
                    case .established(let establishment, let muxer):
                        require(self.establishment == nil, "a peer is proven once")
                        self.establishment = establishment
                        self.muxer = muxer
                    case .handshaking:
                        require(
                            establishment == nil && plaintext.readableBytes == 0, "no data before the peer is proven")
                    case .open:
                        break
                    case .endedByPeer:
                        hasEnded = true
                    }
                } catch {
                    require(violation == nil, "a failed engine fails once")
                    violation = error
                }
                require(establishment != nil || plaintext.readableBytes == 0, "no data before the peer is proven")
                received += Array(plaintext.readableBytesView)
                rounds += 1
                if piece.readableBytes == before { break }
                require(rounds < 1_000, "reading comes to an end")
            }
        }
    }

    func seal(_ bytes: [UInt8]) {
        guard establishment != nil, violation == nil, !hasSaidEnd else { return }
        var plaintext = ByteBuffer(bytes: bytes)
        do throws(ConnectionViolation) {
            try engine.seal(&plaintext, into: &output)
            sent += bytes
        } catch {
            violation = error
        }
    }

    func takeOutput() -> ByteBuffer {
        defer { output = ByteBuffer() }
        return output
    }
}

func fuzzGarbage(_ source: inout ByteSource) {
    let isDialer = source.bool()
    let end = End(
        isDialer ? dialers[0].engine(.outbound, expecting: nil) : listeners[0].engine(.inbound, expecting: nil))
    if isDialer {
        do { try end.engine.start(into: &end.output) } catch { require(false, "a dialer can start: \(error)") }
    }
    var input = ByteBuffer()
    for _ in 0..<source.below(5) {
        // A record of any type: handshake, alert, change of cipher, data.
        let bytes = source.blob(countMax: 700)
        input.writeMultipleIntegers(
            source.pick([UInt8(22), 21, 20, 23, source.byte()]), UInt16(0x0303), UInt16(bytes.count))
        input.writeBytes(bytes)
    }
    input.writeBytes(source.take(16))
    end.receive(source.pieces(of: input))
    require(end.establishment == nil && end.received.isEmpty, "garbage proves nobody")
    end.engine.closeNotify(into: &end.output)
}

/// A genuine session in which one flight may be damaged on its way.
func fuzzSession(_ source: inout ByteSource) {
    let (first, second) = (source.pick(dialers), source.pick(listeners))
    let wrongPeer = source.byte() % 8 == 0
    let dialer = End(first.engine(.outbound, expecting: wrongPeer ? first.key.peerID : second.key.peerID))
    let listener = End(second.engine(.inbound, expecting: nil))
    let damaged = Int(source.byte() % 8)
    var isDamaged = false
    do { try dialer.engine.start(into: &dialer.output) } catch { require(false, "a dialer can start: \(error)") }
    for turn in 0..<8 {
        let (sender, receiver) = turn % 2 == 0 ? (dialer, listener) : (listener, dialer)
        if turn >= 3 {
            sender.seal((0..<source.pick([0, 1, 100, 16_384, 20_000])).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        }
        if turn >= 5, source.byte() < 20 {
            sender.engine.closeNotify(into: &sender.output)
            sender.hasSaidEnd = true
        }
        var bytes = Array(sender.takeOutput().readableBytesView)
        if turn == damaged, source.bool() {
            let genuine = bytes
            bytes = source.mutate(bytes)
            isDamaged = bytes != genuine
        }
        receiver.receive(source.pieces(of: ByteBuffer(bytes: bytes)))
    }
    for (end, peer, other) in [(dialer, second, listener), (listener, first, dialer)] {
        if let proven = end.establishment { require(proven.peer == peer.key.peerID, "the peer is who it is") }
        require(other.sent.starts(with: end.received), "what is read was sent")
        guard !isDamaged, !wrongPeer else { continue }
        require(end.violation == nil, "an honest session has no violation: \(String(describing: end.violation))")
        require(end.establishment != nil && end.muxer == other.muxer, "an honest session comes up")
        if !end.hasEnded {
            require(end.received == other.sent || other.output.readableBytes > 0, "what was sent is read")
        }
    }
    if wrongPeer { require(dialer.establishment == nil, "another peer than the expected one is refused") }
}

// MARK: Certificates

func fuzzCertificate(_ source: inout ByteSource) {
    let owner = source.pick(listeners)
    var der = owner.certificate.der
    switch source.byte() % 4 {
    case 0: der = source.rest()
    case 1:
        // The extension's own value is where our decoder works.
        let value = source.bool() ? source.rest() : signedKey(&source)
        var contents = TLSCertificate.Contents(identity: owner.key)
        contents.extensions = { _ in [.init(oid: TLSCertificate.extensionOID, isCritical: false, value: value)] }
        guard let made = try? TLSCertificate(contents) else { return }
        require(
            (try? TLSCertificate.verify(made.der, expectedPeer: nil, at: 1_700_000_000)) == nil, "nobody signed this")
        return
    default: for _ in 0...source.below(3) { der = source.mutate(der) }
    }
    let times: [Int64] = [1_700_000_000, 0, .min, .max, 67_090_118_400, 157_766_400]
    let proven = try? TLSCertificate.verify(
        der, expectedPeer: source.bool() ? owner.key.peerID : nil, at: source.pick(times))
    if let proven { require(proven == owner.key.publicKey, "a damaged certificate proves nobody else") }
}

func signedKey(_ source: inout ByteSource) -> [UInt8] {
    let key = source.bool() ? listeners[0].key.publicKey.protobuf : source.blob(countMax: 300)
    let whole = TLSCertificate.signedKey(publicKey: key, signature: source.blob(countMax: 300))
    return source.bool() ? whole : source.mutate(whole)
}

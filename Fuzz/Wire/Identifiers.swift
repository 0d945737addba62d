// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiConnection
import TuttiIdentity

import struct NIOCore.ByteBuffer

let textMax = 4_096

// MARK: Peer ids, content ids, hashes, text

func fuzzPeerID(_ bytes: [UInt8]) {
    guard let id = try? PeerID(multihash: bytes) else { return }
    require(id.bytes == bytes && id.byteCount == bytes.count, "a peer id has one binary form")
    require((try? PeerID(text: id.description)) == id, "a peer id survives base58")
    require((try? PeerID(text: id.cidText)) == id, "a peer id survives as CID")
    if let key = id.publicKey { require(key.peerID == id, "an inlined key has the id that holds it") }
    let next = (try? PeerID(multihash: bytes.dropLast() + [bytes[bytes.count - 1] &+ 1])) ?? id
    require((id < next) == id.bytes.lexicographicallyPrecedes(next.bytes), "ids are ordered as their bytes are")
}

func fuzzPeerIDText(_ text: String) {
    guard let id = try? PeerID(text: text) else { return }
    require((try? PeerID(text: id.description)) == id, "a peer id survives base58")
    fuzzPeerID(id.bytes)
}

func fuzzCID(_ bytes: [UInt8]) {
    guard let cid = try? CID(bytes: bytes) else { return }
    require(cid.bytes == bytes, "a CID has one binary form")
    for base in Multibase.allCases {
        require((try? CID(text: cid.text(in: base))) == cid, "a CID survives as text in \(base)")
    }
}

func fuzzCIDText(_ text: String) {
    guard let cid = try? CID(text: text) else { return }
    fuzzCID(cid.bytes)
}

func fuzzMultihash(_ bytes: [UInt8]) {
    guard let hash = try? Multihash(bytes: bytes) else { return }
    require(hash.bytes == bytes, "a multihash has one binary form")
    require(Multihash(code: hash.code, digest: hash.digest) == hash, "a multihash is made of its parts")
}

func fuzzMultibaseText(_ text: String) {
    guard let bytes = try? Multibase.decode(text, textBytesMax: textMax, "text"), let prefix = text.utf8.first,
        let base = Multibase(rawValue: prefix)
    else { return }
    require(Array(base.encode(bytes).utf8) == Array(text.utf8), "bytes have one text in \(base)")
}

func fuzzMultibaseBytes(_ bytes: [UInt8]) {
    let bytes = Array(bytes.prefix(512))
    for base in Multibase.allCases {
        let text = base.encode(bytes)
        require((try? Multibase.decode(text, textBytesMax: textMax, "text")) == bytes, "bytes survive \(base)")
        require(
            (try? Multibase.decode(text, textBytesMax: 8, "text")) == nil || text.utf8.count <= 8, "text has a limit")
    }
}

// MARK: Keys, envelopes, records

let signer = KeyPair(seed: Bytes32(words: (1, 2, 3, 4)))

func fuzzPublicKey(_ source: inout ByteSource) {
    let signature = source.blob(countMax: 80)
    let bytes = source.rest()
    guard let key = try? PublicKey(protobuf: bytes) else { return }
    require(key.protobuf == bytes, "a public key has one encoding")
    require((try? PublicKey(kind: key.kind, raw: key.raw)) == key, "a public key is made of its parts")
    fuzzPeerID(key.peerID.bytes)
    require(!key.isValidSignature(signature, for: Array("nobody signed this".utf8)), "a made-up signature is refused")
}

/// Genuine envelopes with damage, and anything else.
func fuzzEnvelope(_ source: inout ByteSource) {
    let address = Multiaddr(components: [.ip4(0xC000_0201), .tcp(4_001)])
    let record = PeerRecord(peerID: signer.peerID, sequence: source.word64(), addresses: [address])
    let genuine = Array(record.sealed(with: signer).readableBytesView)
    var bytes = genuine
    switch source.byte() % 4 {
    case 0: bytes = source.rest()
    case 1: bytes += source.rest()
    default: for _ in 0...source.below(3) { bytes = source.mutate(bytes) }
    }
    let buffer = ByteBuffer(bytes: bytes)
    if let opened = try? SignedEnvelope(buffer, domain: PeerRecord.domain), opened.publicKey == signer.publicKey {
        require(opened.payload == record.payload, "what is signed can't be changed")
        require(opened.payloadType == PeerRecord.payloadType, "the type of what is signed can't be changed")
        require((try? SignedEnvelope(buffer, domain: "another domain")) == nil, "a signature is for one domain")
    }
    if let opened = try? PeerRecord(envelope: buffer), opened.peerID == signer.peerID {
        require(opened == record, "a signed record can't be changed")
    }
}

func fuzzPeerRecordPayload(_ payload: ByteBuffer) {
    guard let record = try? PeerRecord(payload: payload) else { return }
    require(record.addresses.count <= IdentityLimits.peerRecordAddressesMax, "a record's addresses are limited")
    let again = record.payload
    // Our own fields may be longer than a short form that a peer chose; what fits must survive.
    guard again.readableBytes <= IdentityLimits.peerRecordBytesMax else { return }
    require((try? PeerRecord(payload: again)) == record, "a record survives its encoding")
}

func fuzzSealedKey(_ source: inout ByteSource) {
    let header = Array("tuttikey".utf8) + [1, 14]
    let bytes = source.bool() ? source.rest() : source.mutate(header + source.take(116))
    guard let sealed = try? SealedKey(bytes: bytes) else { return }
    require(sealed.bytes == bytes && bytes.count == SealedKey.bytesCount, "a sealed key has one form")
}

func fuzzNoisePayload(_ message: ByteBuffer) {
    guard let payload = try? NoisePayload(message) else { return }
    require(payload.muxers.count <= NoiseLimits.muxersMax, "a list of muxers is limited")
    _ = payload.identityKey.isValidSignature(payload.signature, for: [1])
}

// MARK: Addresses

func fuzzMultiaddrBinary(_ bytes: [UInt8]) {
    guard let address = try? Multiaddr(binary: ByteBuffer(bytes: bytes)) else { return }
    require(address.binary == bytes, "an address has one binary form")
    require(Multiaddr(components: address.components) == address, "an address is made of its parts")
    let text = address.description
    require((try? Multiaddr(text: text)) == address, "an address survives as text: \(text)")
    _ = address.peerID
    require(address.withoutPeerID.binary.count <= bytes.count, "an address without its peer is no longer")
}

func fuzzMultiaddrText(_ text: String) {
    guard let address = try? Multiaddr(text: text) else { return }
    require((try? Multiaddr(binary: ByteBuffer(bytes: address.binary))) == address, "an address survives as bytes")
    fuzzMultiaddrBinary(address.binary)
}

func fuzzMultiaddrComponents(_ source: inout ByteSource) {
    var components: [Multiaddr.Component] = []
    for _ in 0...source.below(6) { components.append(component(&source)) }
    let address = Multiaddr(components: components)
    guard let read = try? Multiaddr(binary: ByteBuffer(bytes: address.binary)) else { return }
    require(read.components == components, "components survive as bytes")
    fuzzMultiaddrBinary(address.binary)
    require(address.appending(.tls).components == components + [.tls] || components.isUnixLast, "a part is appended")
}

extension [Multiaddr.Component] {
    var isUnixLast: Bool {
        if case .unix = last { return true }
        return false
    }
}

func component(_ source: inout ByteSource) -> Multiaddr.Component {
    func text(_ source: inout ByteSource) -> String {
        String(decoding: source.blob(countMax: 300), as: UTF8.self)
    }
    switch source.byte() % 25 {
    case 0: return .ip4(source.word32())
    case 1: return .ip6(high: source.bool() ? 0 : source.word64(), low: source.word64())
    case 2: return .ip6zone(text(&source))
    case 3: return .dns(text(&source))
    case 4: return .dns4(text(&source))
    case 5: return .dns6(text(&source))
    case 6: return .dnsaddr(text(&source))
    case 7: return .tcp(source.word16())
    case 8: return .udp(source.word16())
    case 9: return .quicV1
    case 10: return .quic
    case 11: return .ws
    case 12: return .wss
    case 13: return .tls
    case 14: return .noise
    case 15: return .p2pCircuit
    case 16: return .webtransport
    case 17: return .webrtcDirect
    case 18: return .http
    case 19:
        return .p2p(
            source.bool() ? signer.peerID : (try? PeerID(multihash: source.blob(countMax: 44))) ?? signer.peerID)
    case 20: return .certhash(Multihash(sha256Of: source.blob(countMax: 8)).bytes)
    case 21: return .certhash(source.blob(countMax: 70))
    case 22: return .sni(text(&source))
    case 23: return .unix("/" + text(&source))
    default: return .memory(source.word64())
    }
}

func fuzzIPAddress(_ source: inout ByteSource) {
    let address: IPAddress
    switch source.byte() % 3 {
    case 0: address = .v4(source.word32())
    case 1:
        let zeros = source.byte()
        func part(_ bit: UInt8) -> UInt64 { zeros >> bit & 1 == 0 ? 0 : UInt64(source.word16()) }
        let high = part(0) << 48 | part(1) << 32 | part(2) << 16 | part(3)
        address = .v6(high: high, low: part(4) << 48 | part(5) << 32 | part(6) << 16 | part(7))
    default:
        guard let parsed = IPAddress(String(decoding: source.rest(), as: UTF8.self)) else { return }
        address = parsed
    }
    let text = address.description
    require(IPAddress(text) == address, "an IP address survives as text: \(text)")
    require(!(address.isGlobal && (address.isPrivate || address.isLoopback)), "a global address is not private")
    require(address.isGlobal == address.unwrapped.isGlobal, "a wrapped address is judged as what it wraps")
    for bits in [-1, 0, 1, 24, 31, 32, 33, 56, 63, 64, 65, 128] { _ = address.group(prefixBits: bits) }
    require(address.hostGroup == address.unwrapped.hostGroup, "a wrapped address is grouped as what it wraps")
    _ = address.networkGroup
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity

import struct NIOCore.ByteBuffer

@Suite("Signed envelopes and peer records")
struct EnvelopeTests {
    private let key = KeyPair(seed: .zero)

    @Test("An envelope that another implementation signed opens, and ours has the same bytes")
    func golden() throws {
        let record = try PeerRecord(envelope: buffer(KeyVectors.peerRecordEnvelope))
        let signer = try KeyPair(plainBytes: KeyVectors.ed25519Private)
        #expect(record.peerID == signer.peerID)
        #expect(record.sequence == 1_570_215_229)
        #expect(record.addresses.map(\.description) == ["/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/tcp/8080/ws"])
        #expect(bytes(record.sealed(with: signer)) == KeyVectors.peerRecordEnvelope)
    }

    @Test("A record signed with secp256k1 is accepted too")
    func foreignKey() throws {
        let record = try PeerRecord(envelope: buffer(KeyVectors.secp256k1Envelope))
        #expect(record.peerID.publicKey?.kind == .secp256k1)
        #expect(record.sequence == 7)
    }

    @Test("An envelope opens for its domain and no other")
    func domains() throws {
        let sealed = SignedEnvelope.seal(payloadType: [1, 2], payload: buffer([3, 4, 5]), domain: "one", with: key)
        let opened = try SignedEnvelope(sealed, domain: "one")
        #expect(opened.publicKey == key.publicKey)
        #expect(opened.payloadType == [1, 2])
        #expect(bytes(opened.payload) == [3, 4, 5])
        for domain in ["", "on", "one1", "two"] {
            #expect(throws: DecodeError.malformed("envelope signature")) { try SignedEnvelope(sealed, domain: domain) }
        }
    }

    @Test("No byte can move between domain, type and payload")
    func boundaries() throws {
        let sealed = SignedEnvelope.seal(payloadType: [0x61], payload: buffer([0x62, 0x63]), domain: "d", with: key)
        let signature = Array(bytes(sealed).suffix(64))
        var moved = ByteBuffer()
        moved.writeProtobuf(1, bytes: key.publicKey.protobuf)
        moved.writeProtobuf(2, bytes: [0x61, 0x62])
        moved.writeProtobuf(3, bytes: [0x63])
        moved.writeProtobuf(5, bytes: signature)
        #expect(throws: DecodeError.malformed("envelope signature")) { try SignedEnvelope(moved, domain: "d") }
    }

    @Test("An envelope cut at each length, or with any bit changed, is refused")
    func damaged() throws {
        let whole = KeyVectors.peerRecordEnvelope
        expectEveryCutRefused(whole) { try PeerRecord(envelope: buffer($0)) }
        for index in whole.indices {
            var changed = whole
            changed[index] ^= UInt8(1) << UInt8(index % 8)
            #expect(throws: DecodeError.self, "byte \(index)") { try PeerRecord(envelope: buffer(changed)) }
        }
        var generator = SeededGenerator(seed: 12)
        for _ in 0..<1_000 {
            let changed = damage(whole, &generator)
            guard changed != whole, let record = try? PeerRecord(envelope: buffer(changed)) else { continue }
            // Only an unknown field may come and go without breaking the signature.
            #expect(try record == PeerRecord(envelope: buffer(whole)))
        }
    }

    @Test("A field given twice is refused, a missing one is named, an unknown one is skipped")
    func fields() throws {
        let sealed = SignedEnvelope.seal(payloadType: [1], payload: buffer([2]), domain: "d", with: key)
        var twice = sealed
        twice.writeProtobuf(3, bytes: [2])
        #expect(throws: DecodeError.malformed("envelope (field twice)")) { try SignedEnvelope(twice, domain: "d") }
        #expect(throws: DecodeError.truncated("envelope")) { try SignedEnvelope(ByteBuffer(), domain: "d") }
        var unknown = sealed
        unknown.writeProtobuf(9, varint: 1)
        #expect(bytes(try SignedEnvelope(unknown, domain: "d").payload) == [2])
        var wrongType = ByteBuffer()
        wrongType.writeProtobuf(1, varint: 1)
        #expect(throws: DecodeError.malformed("envelope field")) { try SignedEnvelope(wrongType, domain: "d") }
    }

    @Test("An empty payload and type may be left out, as proto3 does")
    func emptyFields() throws {
        let sealed = SignedEnvelope.seal(payloadType: [], payload: ByteBuffer(), domain: "d", with: key)
        let signature = Array(bytes(sealed).suffix(64))
        var short = ByteBuffer()
        short.writeProtobuf(1, bytes: key.publicKey.protobuf)
        short.writeProtobuf(5, bytes: signature)
        let opened = try SignedEnvelope(short, domain: "d")
        #expect(opened.payloadType.isEmpty && opened.payload.readableBytes == 0)
    }

    @Test("Envelopes, types, signatures and records over their limits are refused before they are checked")
    func limits() throws {
        let large = buffer([UInt8](repeating: 0, count: IdentityLimits.envelopeBytesMax + 1))
        #expect(throws: DecodeError.tooLarge("envelope", limit: IdentityLimits.envelopeBytesMax)) {
            try SignedEnvelope(large, domain: "d")
        }
        let type = [UInt8](repeating: 1, count: IdentityLimits.payloadTypeBytesMax + 1)
        let sealed = SignedEnvelope.seal(payloadType: type, payload: ByteBuffer(), domain: "d", with: key)
        #expect(throws: DecodeError.tooLarge("envelope payload type", limit: 64)) {
            try SignedEnvelope(sealed, domain: "d")
        }
        var long = ByteBuffer()
        long.writeProtobuf(1, bytes: key.publicKey.protobuf)
        long.writeProtobuf(5, bytes: [UInt8](repeating: 1, count: 1_025))
        #expect(throws: DecodeError.tooLarge("envelope signature", limit: 1_024)) {
            try SignedEnvelope(long, domain: "d")
        }
        let padding = SignedEnvelope.seal(
            payloadType: PeerRecord.payloadType, payload: buffer([UInt8](repeating: 0, count: 8_192)),
            domain: PeerRecord.domain, with: key)
        #expect(throws: DecodeError.tooLarge("peer record", limit: 8_192)) { try PeerRecord(envelope: padding) }
    }

    @Test("A record about another peer, or of another type, is refused although its signature is good")
    func wrongRecord() throws {
        let other = try PeerID(text: "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
        let foreign = PeerRecord(peerID: other, sequence: 1, addresses: [])
        let stolen = SignedEnvelope.seal(
            payloadType: PeerRecord.payloadType, payload: foreign.payload, domain: PeerRecord.domain, with: key)
        #expect(throws: DecodeError.malformed("peer record (of another peer)")) { try PeerRecord(envelope: stolen) }
        let own = PeerRecord(peerID: key.peerID, sequence: 1, addresses: [])
        let mistyped = SignedEnvelope.seal(
            payloadType: [0x03, 0x02], payload: own.payload, domain: PeerRecord.domain, with: key)
        #expect(throws: DecodeError.unsupported("peer record payload type")) { try PeerRecord(envelope: mistyped) }
    }

    @Test("Of many addresses the first sixteen that we can read are kept")
    func addresses() throws {
        var payload = ByteBuffer()
        payload.writeProtobuf(1, bytes: key.peerID.bytes)
        for index in 0..<40 as Range<UInt8> {
            // Each second address is of an unknown protocol or broken.
            var info = ByteBuffer()
            info.writeProtobuf(1, bytes: index % 2 == 0 ? [4, 192, 0, 2, index] : [0x84, 0x01, index])
            payload.writeProtobuf(3, message: info)
        }
        payload.writeProtobuf(3, message: ByteBuffer())
        let record = try PeerRecord(payload: payload)
        #expect(record.sequence == 0)
        #expect(record.addresses.count == 16)
        #expect(record.addresses.map(\.description) == (0..<16).map { "/ip4/192.0.2.\($0 * 2)" })
    }

    @Test("The greatest sequence number survives, and inner messages are refused when broken")
    func innerMessage() throws {
        let record = PeerRecord(
            peerID: key.peerID, sequence: .max, addresses: [try Multiaddr(text: "/ip4/192.0.2.1/tcp/1")])
        #expect(try PeerRecord(payload: record.payload) == record)
        #expect(try PeerRecord(envelope: record.sealed(with: key)) == record)
        var twice = record.payload
        twice.writeProtobuf(2, varint: 1)
        #expect(throws: DecodeError.malformed("peer record (field twice)")) { try PeerRecord(payload: twice) }
        #expect(throws: DecodeError.truncated("peer record")) { try PeerRecord(payload: ByteBuffer()) }
        var generator = SeededGenerator(seed: 13)
        let whole = bytes(record.payload)
        for _ in 0..<2_000 {
            guard let changed = try? PeerRecord(payload: buffer(damage(whole, &generator))) else { continue }
            #expect(try PeerRecord(payload: changed.payload) == changed)
        }
    }
}

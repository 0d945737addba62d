// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// The addresses at which a peer says it can be reached, with a number that grows with each change (libp2p RFC 0003).
///
/// The number orders one peer's records and is never read as a time.
package struct PeerRecord: Hashable, Sendable {
    package static let domain = "libp2p-peer-record"
    /// The multicodec libp2p-peer-record, 0x0301.
    package static let payloadType: [UInt8] = [0x03, 0x01]

    package let peerID: PeerID
    package let sequence: UInt64
    package let addresses: [Multiaddr]

    package init(peerID: PeerID, sequence: UInt64, addresses: [Multiaddr]) {
        self.peerID = peerID
        self.sequence = sequence
        self.addresses = addresses
    }

    /// A signed envelope whose signer is the peer the record is about.
    package init(envelope: ByteBuffer) throws(DecodeError) {
        guard envelope.readableBytes <= IdentityLimits.peerRecordBytesMax else {
            throw .tooLarge("peer record", limit: IdentityLimits.peerRecordBytesMax)
        }
        let opened = try SignedEnvelope(envelope, domain: Self.domain)
        guard opened.payloadType == Self.payloadType else { throw .unsupported("peer record payload type") }
        try self.init(payload: opened.payload)
        guard peerID == opened.publicKey.peerID else { throw .malformed("peer record (of another peer)") }
    }

    /// The inner message, unsigned. Addresses that this node can't read are left out, and so are those over the limit.
    package init(payload: ByteBuffer) throws(DecodeError) {
        guard payload.readableBytes <= IdentityLimits.peerRecordBytesMax else {
            throw .tooLarge("peer record", limit: IdentityLimits.peerRecordBytesMax)
        }
        var peerID: PeerID?
        var sequence: UInt64?
        var addresses: [Multiaddr] = []
        var reader = ProtobufReader(payload)
        while let field = try reader.next() {
            switch field.number {
            case 1:
                guard peerID == nil else { throw .malformed("peer record (field twice)") }
                peerID = try PeerID(multihash: try field.bytes("peer record id").readableBytesView)
            case 2:
                guard sequence == nil else { throw .malformed("peer record (field twice)") }
                sequence = try field.varint("peer record sequence")
            case 3:
                let info = try field.bytes("peer record address")
                guard addresses.count < IdentityLimits.peerRecordAddressesMax else { continue }
                if let address = try Self.address(info) { addresses.append(address) }
            default: break
            }
        }
        guard let peerID else { throw .truncated("peer record") }
        self.init(peerID: peerID, sequence: sequence ?? 0, addresses: addresses)
    }

    package var payload: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeProtobuf(1, bytes: peerID.bytes)
        buffer.writeProtobuf(2, varint: sequence)
        for address in addresses {
            var info = ByteBuffer()
            info.writeProtobuf(1, bytes: address.binary)
            buffer.writeProtobuf(3, message: info)
        }
        return buffer
    }

    /// The record in an envelope signed by `key`, which must be the key of the peer it is about.
    package func sealed(with key: KeyPair) -> ByteBuffer {
        assert(key.peerID == peerID, "a record is signed by the peer it is about")
        return SignedEnvelope.seal(payloadType: Self.payloadType, payload: payload, domain: Self.domain, with: key)
    }

    /// Nil for an address that this node has no use for.
    private static func address(_ info: ByteBuffer) throws(DecodeError) -> Multiaddr? {
        var reader = ProtobufReader(info)
        while let field = try reader.next() {
            guard field.number == 1 else { continue }
            let bytes = try field.bytes("peer record address")
            do throws(DecodeError) { return try Multiaddr(binary: bytes) } catch { return nil }
        }
        return nil
    }
}

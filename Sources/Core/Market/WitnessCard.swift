// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiCommunityCore
package import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// A member's witness: the key with which it signs, and where it is asked. A witness that lost its disk has a new key, and
/// so a new card.
///
/// | field | what |
/// |---|---|
/// | 1 | key with which the witness signs |
/// | 2 | the node's PeerID, at most 64 bytes |
/// | 3 | signature by the key, domain `tutti-witness-card`, over community, device and fields 1 and 2 |
package struct WitnessCard: Hashable, Sendable {
    package let key: TradeKey
    package let peer: PeerID
    package let proof: [UInt8]

    private static let domain = "tutti-witness-card"

    package init(peer: PeerID, in community: CommunityID, device: DeviceID, key: KeyPair) {
        let tradeKey = TradeKey(key.device.bytes)
        self.key = tradeKey
        self.peer = peer
        proof = key.sign(Self.signedBytes(tradeKey, peer, community, device))
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= StandingLimits.bodyBytesMax else {
            throw .tooLarge("witness card", limit: StandingLimits.bodyBytesMax)
        }
        var reader = try BodyReader(bytes)
        key = TradeKey(try reader.bytes32(1, "key of a witness"))
        peer = try PeerID(multihash: try reader.bytes(2, countMax: StandingLimits.peerBytesMax, "peer of a witness"))
        proof = try reader.signature(3, "proof of a witness card")
        try reader.end("witness card")
        guard self.bytes == bytes else { throw .malformed("witness card") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        Self.write(&buffer, key, peer)
        buffer.writeProtobuf(3, bytes: proof)
        return Array(buffer.readableBytesView)
    }

    private static func write(_ buffer: inout ByteBuffer, _ key: TradeKey, _ peer: PeerID) {
        buffer.write(1, key.bytes)
        buffer.writeProtobuf(2, bytes: peer.bytes)
    }

    private static func signedBytes(
        _ key: TradeKey, _ peer: PeerID, _ community: CommunityID, _ device: DeviceID
    ) -> [UInt8] {
        SignedBody.bytes(domain) { buffer in
            buffer.write(1, community.bytes)
            buffer.write(2, device.bytes)
            buffer.write(3) { write(&$0, key, peer) }
        }
    }

    /// Whether who holds the key wrote it for this device. About 0.1 ms.
    package func isProofValid(in community: CommunityID, device: DeviceID) -> Bool {
        SignedBody.isValid(proof, by: key.bytes, for: Self.signedBytes(key, peer, community, device))
    }
}

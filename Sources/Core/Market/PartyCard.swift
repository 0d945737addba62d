// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiCommunityCore
package import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

package import struct NIOCore.ByteBuffer

/// "This trade key is mine", by a member's device. With the entry by which the member's key certifies the device, it shows
/// who stands behind a key in a contract, to whoever holds the charter's community and nothing else.
///
/// | field | what |
/// |---|---|
/// | 1, 2, 3 | community, member, device |
/// | 4 | trade key |
/// | 5 | nonce: of the trade or listing that it is for |
/// | 6 | signature by the device, domain `tutti-party-card`, over fields 1 to 5 |
package struct PartyCard: Hashable, Sendable {
    package let community: CommunityID
    package let member: MemberID
    package let device: DeviceID
    package let key: TradeKey
    package let nonce: Bytes32
    package let signature: [UInt8]

    private static let domain = "tutti-party-card"

    package init(community: CommunityID, member: MemberID, key: TradeKey, nonce: Bytes32, device: KeyPair) {
        self.community = community
        self.member = member
        self.device = device.device
        self.key = key
        self.nonce = nonce
        let (community, id) = (community, device.device)
        signature = device.sign(
            SignedBody.bytes(Self.domain) { Self.write(&$0, community, member, id, key, nonce) })
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        community = CommunityID(try reader.bytes32(1, "community of a card"))
        member = MemberID(try reader.bytes32(2, "member of a card"))
        device = DeviceID(try reader.bytes32(3, "device of a card"))
        key = TradeKey(try reader.bytes32(4, "key of a card"))
        nonce = try reader.bytes32(5, "nonce of a card")
        signature = try reader.signature(6, "signature of a card")
    }

    package func write(into buffer: inout ByteBuffer) {
        Self.write(&buffer, community, member, device, key, nonce)
        buffer.writeProtobuf(6, bytes: signature)
    }

    private static func write(
        _ buffer: inout ByteBuffer, _ community: CommunityID, _ member: MemberID, _ device: DeviceID,
        _ key: TradeKey, _ nonce: Bytes32
    ) {
        buffer.write(1, community.bytes)
        buffer.write(2, member.bytes)
        buffer.write(3, device.bytes)
        buffer.write(4, key.bytes)
        buffer.write(5, nonce)
    }

    /// About 0.1 ms.
    package var isSignatureValid: Bool {
        SignedBody.isValid(
            signature, by: device.bytes,
            for: SignedBody.bytes(Self.domain) { Self.write(&$0, community, member, device, key, nonce) })
    }

    /// Whether the community knows the device as this member's, ended or not: a trade outlives a device.
    package func isOf(_ state: CommunityState) -> Bool {
        community == state.community && state.devices[device]?.member == member
    }
}

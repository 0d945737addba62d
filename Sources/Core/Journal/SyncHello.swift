// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiIdentity

/// Ties a peer to a device for one connection: the device's signature over both ends' names.
///
/// Nothing else ties them, and nobody else can use it: a third peer has another name.
package struct SyncHello: Hashable, Sendable {
    package static let domain: [UInt8] = Array("tutti-sync-hello".utf8)

    package var community: CommunityID
    package var device: DeviceID
    package var signature: [UInt8]
    /// The join of a newcomer, whom the roster doesn't know yet.
    package var join: Entry?

    package init(community: CommunityID, device: DeviceID, signature: [UInt8], join: Entry?) {
        self.community = community
        self.device = device
        self.signature = signature
        self.join = join
    }

    /// - Parameter key: the device's.
    package init?(
        community: CommunityID, own: PeerID, remote: PeerID, join: Entry? = nil, signedWith key: KeyPair
    ) {
        guard key.publicKey.kind == .ed25519, let bytes = Bytes32(key.publicKey.raw) else { return nil }
        self.init(
            community: community, device: DeviceID(bytes),
            signature: key.sign(Self.signedBytes(community, from: own, to: remote)), join: join)
    }

    /// Whether the device signed this for a connection from `sender` to `receiver`.
    package func isValid(from sender: PeerID, to receiver: PeerID) -> Bool {
        Ed25519Verifier.preferred.isValid(
            signature, for: Self.signedBytes(community, from: sender, to: receiver), key: device.bytes.bytes)
    }

    /// Domain, community, and both names behind their lengths.
    private static func signedBytes(
        _ community: CommunityID, from sender: PeerID, to receiver: PeerID
    ) -> [UInt8] {
        var bytes = domain + community.bytes.bytes
        for name in [sender.bytes, receiver.bytes] {
            bytes.append(UInt8(clamping: name.count))
            bytes += name
        }
        return bytes
    }
}

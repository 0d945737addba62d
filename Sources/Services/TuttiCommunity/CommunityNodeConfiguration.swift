// SPDX-License-Identifier: Apache-2.0
public import Tutti

public struct CommunityNodeConfiguration: Sendable {
    /// The data folder: keys, journal, what is known of peers. One node at a time.
    public var folder: String
    /// Seals the keys in the folder; nil: they lie open, readable by their owner only.
    public var passphrase: String?
    /// Of the node beneath. Its key, peer file and journal are the folder's, whatever stands here.
    public var node = NodeConfiguration()
    /// How long a recovery looks for somebody who holds the code's seal: mDNS needs a second, a lookup in the DHT ten.
    package var recoveryTimeout: Duration = .seconds(30)

    /// Milliseconds since 1970. Tests set it wrong.
    package var wallClock: @Sendable () -> UInt64 = CommunityNode.systemMilliseconds

    public init(folder: String) {
        self.folder = folder
        node.gossip = GossipSettings()
        node.mesh = MeshSettings()
        node.dht = DHTSettings()
    }
}

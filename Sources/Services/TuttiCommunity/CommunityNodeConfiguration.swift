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

    /// Milliseconds since 1970. Tests set it wrong, or let it run faster.
    package var wallClock: @Sendable () -> UInt64 = CommunityNode.systemMilliseconds
    /// How often the clock is read again.
    package var clockInterval: Duration = .seconds(60)

    /// From a moment on (milliseconds since 1970) time runs so many times as fast: deadlines of days pass in seconds. For tests,
    /// where all nodes of a community are told the same.
    package mutating func hasten(since origin: UInt64, by rate: UInt64) {
        wallClock = {
            let now = CommunityNode.systemMilliseconds()
            let (passed, overflow) = (now - min(now, origin)).multipliedReportingOverflow(by: rate)
            return overflow ? now : min(now, origin) + passed
        }
        clockInterval = max(.milliseconds(20), .seconds(60) / Int(clamping: max(1, rate)))
    }

    public init(folder: String) {
        self.folder = folder
        node.gossip = GossipSettings()
        node.mesh = MeshSettings()
        node.dht = DHTSettings()
    }
}

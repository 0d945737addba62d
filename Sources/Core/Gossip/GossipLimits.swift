// SPDX-License-Identifier: Apache-2.0

/// The bound of every table, queue, list and message of GossipCore and its codec.
package struct GossipLimits: Hashable, Sendable {
    /// One RPC as bytes; ours are split at it, longer ones are refused.
    package var rpcBytesMax = 1 << 20
    /// What one publish may carry; leaves room for the rest of the RPC.
    package var messageDataBytesMax = 1 << 20 - 2_048
    package var topicBytesMax = 256
    /// Per RPC; what is beyond is passed over.
    package var messagesPerRPCMax = 4_096
    package var subscriptionsPerRPCMax = 1_024
    /// IHAVE, GRAFT and PRUNE entries, each.
    package var controlEntriesPerRPCMax = 1_024
    /// Ids of IHAVE, IWANT and IDONTWANT, each.
    package var idsPerRPCMax = 5_000
    package var exchangedPerPruneMax = 16
    package var recordBytesMax = 8_192
    /// A peer named in a PRUNE of ours, with its record.
    static let exchangedBytesMax = 8_192 + 64

    /// Connected peers; further ones are not served.
    package var peersMax = 1_024
    /// Our own subscriptions.
    package var subscriptionsMax = 1_024
    /// Topics that others name; further ones are not remembered.
    package var topicsMax = 4_096
    package var topicsPerPeerMax = 256
    /// Topics to which we publish without being subscribed.
    package var fanoutTopicsMax = 256

    /// Messages waiting for their verdicts; further ones are dropped unseen, so that others can bring them.
    package var pendingMax = 4_096
    package var pendingPerPeerMax = 512
    package var pendingBytesMax = 32 << 20
    /// The message cache; the oldest go first.
    package var cachedMax = 16_384
    package var cachedBytesMax = 32 << 20
    /// Ids that were seen; the oldest third goes at once.
    package var seenMax = 100_000
    /// Authors whose sequence numbers are remembered beyond the seen ids; the one unheard of for longest goes first.
    package var authorsMax = 8_192
    /// What is asked for and was promised; beyond it nothing is asked for.
    package var promisesMax = 4_096
    /// Ids that a peer does not want; the oldest go first.
    package var idontwantPerPeerMax = 2_048
    /// Backoffs per topic; the one that ends first goes first.
    package var backoffsPerTopicMax = 1_024
    /// Scores of peers that left; the best goes first.
    package var retainedScoresMax = 1_024
    /// What one peer is served by IWANT between two heartbeats.
    package var servedBytesPerHeartbeatMax = 8 << 20
    package var directPeersMax = 128

    package init() {}
}

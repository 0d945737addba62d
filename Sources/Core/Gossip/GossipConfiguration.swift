// SPDX-License-Identifier: Apache-2.0
package import TuttiIdentity

/// The parameters of GossipSub 1.0 to 1.2 by their names in the specification. docs/protocols/gossip.md has the table.
package struct GossipConfiguration: Sendable {
    /// Ids that name us as author, for messages with a signature: our peer id's bytes.
    package var author: [UInt8]
    /// Signs what we publish. Nil only in the lab: messages then carry a stand-in, which its validation accepts.
    package var identity: KeyPair?
    /// Our messages are numbered from here; must be higher than anything used before under this identity. A node passes
    /// the nanoseconds of the time at which it starts.
    package var firstSequence: UInt64

    package var mesh = GossipMeshParameters()
    package var score = GossipScoreParameters()
    package var limits = GossipLimits()
    /// How topics are treated that are not named in `topics`.
    package var topic = GossipTopicConfiguration()
    package var topics: [Topic: GossipTopicConfiguration] = [:]
    /// How topics are treated whose names begin in the same way; the first that fits counts.
    package var families: [GossipTopicFamily] = []

    package init(author: [UInt8] = [], identity: KeyPair? = nil, firstSequence: UInt64 = 1) {
        self.author = author.isEmpty ? identity?.peerID.bytes ?? [] : author
        self.identity = identity
        self.firstSequence = firstSequence
    }

    func settings(of topic: Topic) -> GossipTopicConfiguration {
        if let settings = topics[topic] { return settings }
        return families.first { $0.contains(topic) }?.settings ?? self.topic
    }

    /// The first rule that the values break, nil when they break none.
    package func validate() -> GossipConfigurationError? {
        if let error = mesh.validate() ?? score.validate() ?? topic.validate() { return error }
        for name in topics.keys.sorted() {
            if let error = topics[name]?.validate() { return error }
        }
        let least = [
            limits.messageDataBytesMax, limits.topicBytesMax, limits.messagesPerRPCMax, limits.idsPerRPCMax,
            limits.peersMax, limits.subscriptionsMax, limits.topicsMax, limits.topicsPerPeerMax, limits.pendingMax,
            limits.pendingPerPeerMax, limits.cachedMax, limits.authorsMax, limits.backoffsPerTopicMax,
            limits.controlEntriesPerRPCMax,
        ]
        if least.contains(where: { $0 < 1 }) { return "a limit is below 1" }
        if limits.seenMax < 3 { return "seenMax is below 3" }
        if limits.peersMax > Int(UInt16.max) { return "peersMax is over 65,535" }
        if limits.topicsMax + limits.subscriptionsMax > Int(UInt16.max) { return "topicsMax is over 65,535" }
        if limits.rpcBytesMax < 4_096 { return "rpcBytesMax is below 4,096" }
        if limits.messageDataBytesMax + limits.topicBytesMax + 512 > limits.rpcBytesMax {
            return "a message of messageDataBytesMax does not fit into an RPC"
        }
        return nil
    }
}

/// A rule between parameters that does not hold, in words.
package struct GossipConfigurationError: Error, Hashable, Sendable, ExpressibleByStringLiteral {
    package let rule: String
    package init(stringLiteral value: String) { rule = value }
}

package enum GossipJudge: Hashable, Sendable {
    case application
    /// Another core of this node.
    case journal
}

package enum GossipSigning: Hashable, Sendable {
    /// Author, sequence number and signature are there and right.
    case strictSign
    /// None of them is there; the id is made of the data.
    case strictNoSign
}

/// Topics of one use, known by how their names begin.
package struct GossipTopicFamily: Sendable {
    package let prefix: String
    package let settings: GossipTopicConfiguration

    package init(prefix: String, settings: GossipTopicConfiguration) {
        self.prefix = prefix
        self.settings = settings
    }

    package func contains(_ topic: Topic) -> Bool { topic.name.hasPrefix(prefix) }
    /// Without making a string of the message's topic.
    package func contains(_ message: GossipMessage) -> Bool {
        message.withBytes(of: message.topicPart) { $0.starts(with: prefix.utf8) }
    }
}

/// How one topic is treated. All its peers must agree on signing and ids.
package struct GossipTopicConfiguration: Sendable {
    package var signing: GossipSigning
    /// Nil: author and sequence number; without signatures the keyless digest of the data (`MessageID.ofData`).
    package var messageID: (@Sendable (GossipMessage) -> MessageID)?
    /// Who judges the messages: those of different judges are never in one `.validate`.
    package var judge = GossipJudge.application
    package var score = GossipTopicScoreParameters()

    package init(
        signing: GossipSigning = .strictSign, messageID: (@Sendable (GossipMessage) -> MessageID)? = nil,
        judge: GossipJudge = .application
    ) {
        self.signing = signing
        self.messageID = messageID
        self.judge = judge
    }

    func validate() -> GossipConfigurationError? { score.validate() }
}

package struct GossipMeshParameters: Hashable, Sendable {
    package var d = 6
    package var dLow = 5
    package var dHigh = 12
    /// Of those kept when a mesh is too large: chosen by score.
    package var dScore = 4
    /// At least so many mesh peers that we dialled.
    package var dOut = 2
    /// At least so many peers are told of new ids by a heartbeat.
    package var dLazy = 6
    package var gossipFactor = 0.25
    /// Heartbeats for which messages can be asked for, and for which they are advertised.
    package var historyLength = 5
    package var historyGossip = 3
    package var heartbeatInterval: Duration = .seconds(1)
    /// The first heartbeat; a random part of the interval comes on top.
    package var heartbeatInitialDelay: Duration = .milliseconds(100)
    package var fanoutLifetime: Duration = .seconds(60)
    package var pruneBackoff: Duration = .seconds(60)
    package var unsubscribeBackoff: Duration = .seconds(10)
    /// What a peer may at most demand of us.
    package var backoffMax: Duration = .seconds(3_600)
    /// Heartbeats that we wait beyond a backoff before we graft.
    package var backoffSlackHeartbeats = 2
    /// A GRAFT this soon after a PRUNE is penalised twice.
    package var graftFloodThreshold: Duration = .seconds(10)
    /// Peers named in a PRUNE; zero: none.
    package var exchangedPeers = 16
    /// Ids asked of one peer between two heartbeats, and advertised at once.
    package var ihaveLengthMax = 5_000
    /// IHAVEs read from one peer between two heartbeats.
    package var ihaveMessagesMax = 10
    /// How often one id is served to one peer.
    package var gossipRetransmission = 3
    package var iwantFollowUp: Duration = .seconds(3)
    /// IDONTWANT from this size of the data on.
    package var idontwantThresholdBytes = 1_024
    /// Ids read from one RPC's IDONTWANT, RPCs with IDONTWANT read between two heartbeats.
    package var idontwantLengthMax = 10
    package var idontwantMessagesMax = 1_000
    package var idontwantHeartbeats = 3
    /// Messages to forward leave at most this often, unless a message of our own takes them along. Zero: at once.
    package var gatherInterval: Duration = .zero
    package var floodPublish = true
    package var opportunisticGraftHeartbeats = 60
    package var opportunisticGraftPeers = 2
    package var seenLifetime: Duration = .seconds(120)
    /// How long an author's sequence numbers are remembered after its last message.
    package var authorLifetime: Duration = .seconds(3_600)
    /// A message without a verdict for so long counts as ignored.
    package var validationTimeout: Duration = .seconds(30)

    package init() {}

    func validate() -> GossipConfigurationError? {
        if dLow < 1 || d < dLow || dHigh < d { return "1 <= dLow <= d <= dHigh does not hold" }
        if dOut < 0 || dOut >= dLow || dOut > d / 2 { return "dOut is not below dLow and at most d / 2" }
        if dScore < 0 || dScore > d { return "dScore is not between 0 and d" }
        if dLazy < 0 || !(0...1).contains(gossipFactor) { return "dLazy or gossipFactor is out of range" }
        if historyGossip < 1 || historyLength < historyGossip || historyLength > 64 {
            return "1 <= historyGossip <= historyLength <= 64 does not hold"
        }
        if heartbeatInterval < .milliseconds(10) { return "heartbeatInterval is below 10 ms" }
        if heartbeatInitialDelay < .zero { return "heartbeatInitialDelay is negative" }
        if gatherInterval < .zero || gatherInterval >= heartbeatInterval {
            return "gatherInterval is negative or not below heartbeatInterval"
        }
        let backoffs = [pruneBackoff, unsubscribeBackoff, fanoutLifetime, iwantFollowUp]
        if backoffs.contains(where: { $0 < .seconds(1) }) { return "a backoff or lifetime is below 1 s" }
        if backoffMax < pruneBackoff || backoffMax < unsubscribeBackoff || backoffMax > .seconds(86_400) {
            return "backoffMax is below a backoff of ours or over a day"
        }
        if backoffSlackHeartbeats < 0 || graftFloodThreshold < .zero { return "a slack is negative" }
        if exchangedPeers < 0 || ihaveLengthMax < 0 || ihaveMessagesMax < 0 { return "a limit of gossip is negative" }
        if !(0...255).contains(gossipRetransmission) { return "gossipRetransmission is not between 0 and 255" }
        if idontwantLengthMax < 0 || idontwantMessagesMax < 0 || idontwantHeartbeats < 1 {
            return "a limit of IDONTWANT is out of range"
        }
        if opportunisticGraftHeartbeats < 1 || opportunisticGraftPeers < 0 {
            return "opportunistic grafting is out of range"
        }
        if seenLifetime < heartbeatInterval * historyLength { return "seenLifetime is shorter than the message cache" }
        if authorLifetime < seenLifetime { return "authorLifetime is shorter than seenLifetime" }
        if validationTimeout < heartbeatInterval { return "validationTimeout is shorter than a heartbeat" }
        return nil
    }
}

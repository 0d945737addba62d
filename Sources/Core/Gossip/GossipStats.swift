// SPDX-License-Identifier: Apache-2.0

/// What GossipCore counts. All only grow.
package struct GossipStats: Hashable, Sendable {
    package var heartbeats: UInt64 = 0
    package var rpcsReceived: UInt64 = 0
    package var rpcsSent: UInt64 = 0
    package var messagesPublished: UInt64 = 0
    package var messagesReceived: UInt64 = 0
    package var messagesSent: UInt64 = 0
    package var messagesDelivered: UInt64 = 0
    package var duplicates: UInt64 = 0
    /// Not sent, because the receiver had said that it has them.
    package var duplicatesSpared: UInt64 = 0
    package var rejected: UInt64 = 0
    package var ignored: UInt64 = 0
    /// Not of the form that the topic's signing policy asks for.
    package var malformed: UInt64 = 0
    package var replays: UInt64 = 0
    /// Dropped because too much waits for verdicts.
    package var validationOverflows: UInt64 = 0
    package var validationTimeouts: UInt64 = 0
    package var unsubscribedTopics: UInt64 = 0
    package var graftsSent: UInt64 = 0
    package var prunesSent: UInt64 = 0
    package var graftsRefused: UInt64 = 0
    package var backoffViolations: UInt64 = 0
    package var idsAsked: UInt64 = 0
    package var idsServed: UInt64 = 0
    package var promisesBroken: UInt64 = 0
    package var opportunisticGrafts: UInt64 = 0
    package var graylisted: UInt64 = 0
    /// RPCs or parts of them that were passed over because of a limit or the sender's score.
    package var refusals: UInt64 = 0

    package init() {}
}

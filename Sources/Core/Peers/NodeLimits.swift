// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiConnection

/// What this node allows, everywhere, as one value. Two named profiles: `internet` for a node that strangers reach, `lab`
/// for measurements on one machine (per-IP, per-group, rate and idle rules off).
///
/// Every limit says what happens at it. A loopback address counts as an address like others.
package struct NodeLimits: Hashable, Sendable {
    package var connection = ConnectionLimits()

    // MARK: Connections

    /// Accepted connections, secured or not. At it: new sockets are closed unread. Leaves a third of the total to dials.
    package var connectionsInboundMax = 128
    /// All connections, dials under way included. At it: sockets are closed unread, dials are refused.
    package var connectionsMax = 192
    /// Accepted connections that have not proven who they are. They cost handshakes; the honest need milliseconds.
    package var unauthenticatedMax = 32
    /// Accepted connections from one IPv4 address (/32). A household behind one address fits.
    package var inboundPerIP4Max = 4
    /// Accepted connections from one IPv4 /24, the smallest block that is routed.
    package var inboundPerIP4GroupMax = 8
    /// Accepted connections from one IPv6 /56, what one customer is given.
    package var inboundPerIP6GroupMax = 4
    /// Connections to one peer that are in use. Two, since simultaneous dials make two. At it: the newest is closed.
    package var connectionsPerPeerMax = 2
    /// A connection that isn't the preferred one of its peer is closed when it carried no stream for this long.
    package var surplusConnectionTimeout: Duration = .seconds(5)
    /// Above this many connections those without streams are closed, least valuable first, down to the low water.
    package var connectionsHighWater = 160
    package var connectionsLowWater = 128
    /// The same for accepted connections alone, so that idle strangers don't keep every place that others could have.
    package var inboundHighWater = 112
    package var inboundLowWater = 96
    /// A connection younger than this is not closed for the high water: it had no chance to be useful.
    package var connectionGracePeriod: Duration = .seconds(20)

    // MARK: Rates

    /// Rates count only sources whose connections took more than this share of one core lately, in percent.
    package var processorShareMax = 25
    /// How long a source that exceeded the share is held to the rates.
    package var processorShareMemory: Duration = .seconds(30)
    /// Handshakes per second that such a source (an IPv4 address or an IPv6 /56) may begin, on average. A flood is noticed
    /// when it has used a quarter of a second, so that one connection per second is a quarter of a core.
    package var handshakesPerSecondMax = 1
    /// Handshakes per second that any source may begin; as many more at first. They cost up to a millisecond each, so that
    /// this is a tenth of a core; a connection that ends in its handshake has no share that could be measured. `.max`: any
    /// number.
    package var handshakesPerSourceMax = 100
    /// Connections of one source that break the rules: one per so long on average, a second's worth at first. At it: its
    /// next connections are refused for a moment.
    package var violationPause: Duration = .milliseconds(250)
    /// A source that was refused for its own count or rate: for this long its sockets are closed as they are accepted,
    /// unseen. A flood then costs little more than the kernel's part.
    package var refusalPause: Duration = .milliseconds(100)
    /// Sources whose latest handshakes are counted. At it: the one that was quiet longest is forgotten.
    package var sourcesCountedMax = 4_096
    /// Such sources remembered after their connections are gone. At it: the earliest is forgotten.
    package var busySourcesMax = 1_024

    // MARK: Dialing

    /// Dials under way at once; each is for one peer. At it: dials queue.
    package var dialsMax = 32
    /// Dials that wait for their turn. At it: refused.
    package var dialQueueMax = 256
    /// Requests that wait for an answer, several may share one dial. At it: refused.
    package var dialRequestsMax = 1_024
    /// Attempts (sockets) under way at once for one dial.
    package var attemptsPerDialMax = 8
    /// Addresses one dial may try, those of names included. At it: further ones are ignored.
    package var addressesPerDialMax = 32
    /// Names that one dial may have resolved, answers that are names included.
    package var resolutionsPerDialMax = 8
    /// The head start of one attempt over the next (RFC 8305 section 8: 250 ms).
    package var dialStagger: Duration = .milliseconds(250)
    /// After the first failure an address is left alone for this long, doubled by each further one. Zero: never.
    package var addressBackoffMin: Duration = .seconds(1)
    package var addressBackoffMax: Duration = .seconds(300)
    /// Addresses whose failures are remembered. At it: the least recently failed is forgotten.
    package var addressBackoffsMax = 4_096

    // MARK: Identify

    /// One message with a signed record, bytes. Over it: the stream is reset.
    package var identifySignedBytesMax = 8 * 1_024
    /// One message without a signed record, bytes. Over it: the stream is reset.
    package var identifyPartBytesMax = 4 * 1_024
    /// Messages merged into one identification.
    package var identifyMessagesMax = 10
    /// From the wish to open a stream of ours to its end. Over it: the stream is reset.
    package var identifyTimeout: Duration = .seconds(10)
    /// Streams of identify and push that a peer may hold open on one connection. Over it: reset.
    package var identifyStreamsInboundMax = 4
    /// Identify streams and pushes that a peer may open: one per interval, with a burst. Over it: reset.
    package var identifyInterval: Duration = .seconds(1)
    package var identifyBurst = 8
    /// Our own pushes, in rounds: after one the next waits this long, after each further one four times as long, up to the
    /// longest, until twice the longest has passed without. A node that begins learns much about itself in its first second, and its peers need it.
    package var pushIntervalMin: Duration = .milliseconds(100)
    package var pushIntervalMax: Duration = .seconds(5)
    /// Connections in one step of a round, a step every 20 ms.
    package var pushStepMax = 64
    package var addressesPerPeerMax = 16
    package var protocolsPerPeerMax = 128
    /// `agentVersion` and `protocolVersion`, bytes. Over it: the message is malformed.
    package var agentBytesMax = 256

    // MARK: Peer store

    /// Peers remembered. At it: the least useful is forgotten (never connected first, then longest unused).
    package var peersMax = 20_000
    /// One signed record, bytes. Over it: not stored.
    package var recordBytesMax = 8 * 1_024
    /// All signed records, bytes. At it: as with `peersMax`.
    package var recordBytesTotalMax = 32 * 1_024 * 1_024

    package init() {}

    package static let internet = NodeLimits()

    package static let lab: NodeLimits = {
        var limits = NodeLimits()
        limits.connection.streamsOpenedPerSecondMax = .max
        limits.connectionsInboundMax = 8_192
        limits.connectionsMax = 8_192
        limits.unauthenticatedMax = 8_192
        limits.inboundPerIP4Max = .max
        limits.inboundPerIP4GroupMax = .max
        limits.inboundPerIP6GroupMax = .max
        limits.connectionsHighWater = 8_192
        limits.connectionsLowWater = 8_192
        limits.inboundHighWater = 8_192
        limits.inboundLowWater = 8_192
        limits.processorShareMax = .max
        limits.handshakesPerSourceMax = .max
        limits.dialQueueMax = 8_192
        limits.dialRequestsMax = 16_384
        limits.addressBackoffMin = .zero
        limits.addressBackoffMax = .zero
        return limits
    }()

    /// - Throws: the first contradiction found.
    package func validate() throws(NodeLimitsError) {
        let counts: [(StaticText, Int)] = [
            ("connectionsInboundMax", connectionsInboundMax), ("connectionsMax", connectionsMax),
            ("unauthenticatedMax", unauthenticatedMax), ("inboundPerIP4Max", inboundPerIP4Max),
            ("inboundPerIP4GroupMax", inboundPerIP4GroupMax), ("inboundPerIP6GroupMax", inboundPerIP6GroupMax),
            ("connectionsPerPeerMax", connectionsPerPeerMax), ("connectionsLowWater", connectionsLowWater),
            ("processorShareMax", processorShareMax), ("handshakesPerSecondMax", handshakesPerSecondMax),
            ("handshakesPerSourceMax", handshakesPerSourceMax), ("sourcesCountedMax", sourcesCountedMax),
            ("busySourcesMax", busySourcesMax), ("dialsMax", dialsMax), ("dialQueueMax", dialQueueMax),
            ("dialRequestsMax", dialRequestsMax), ("attemptsPerDialMax", attemptsPerDialMax),
            ("addressesPerDialMax", addressesPerDialMax), ("resolutionsPerDialMax", resolutionsPerDialMax),
            ("addressBackoffsMax", addressBackoffsMax), ("identifyPartBytesMax", identifyPartBytesMax),
            ("identifyMessagesMax", identifyMessagesMax), ("identifyStreamsInboundMax", identifyStreamsInboundMax),
            ("identifyBurst", identifyBurst), ("pushStepMax", pushStepMax), ("agentBytesMax", agentBytesMax),
            ("addressesPerPeerMax", addressesPerPeerMax), ("protocolsPerPeerMax", protocolsPerPeerMax),
            ("peersMax", peersMax), ("recordBytesMax", recordBytesMax),
        ]
        for (name, value) in counts where value < 1 {
            throw NodeLimitsError(name: name, requirement: "must be at least 1")
        }
        let durations: [(StaticText, Duration)] = [
            ("surplusConnectionTimeout", surplusConnectionTimeout), ("dialStagger", dialStagger),
            ("violationPause", violationPause), ("identifyTimeout", identifyTimeout),
            ("identifyInterval", identifyInterval),
            ("pushIntervalMin", pushIntervalMin), ("pushIntervalMax", pushIntervalMax),
            ("processorShareMemory", processorShareMemory),
            ("connectionGracePeriod", connectionGracePeriod),
        ]
        for (name, value) in durations where value <= .zero {
            throw NodeLimitsError(name: name, requirement: "must be longer than zero")
        }
        let orders: [(Bool, StaticText, StaticText)] = [
            (connectionsInboundMax <= connectionsMax, "connectionsInboundMax", "must not exceed connectionsMax"),
            (connectionsLowWater <= connectionsHighWater, "connectionsLowWater", "must not exceed the high water"),
            (connectionsHighWater <= connectionsMax, "connectionsHighWater", "must not exceed connectionsMax"),
            (inboundLowWater <= inboundHighWater, "inboundLowWater", "must not exceed the high water"),
            (identifyPartBytesMax <= identifySignedBytesMax, "identifyPartBytesMax", "must not exceed the signed size"),
            (addressBackoffMin >= .zero, "addressBackoffMin", "must not be negative"),
            (refusalPause >= .zero, "refusalPause", "must not be negative"),
            (addressBackoffMin <= addressBackoffMax, "addressBackoffMin", "must not exceed addressBackoffMax"),
            (recordBytesMax <= recordBytesTotalMax, "recordBytesMax", "must not exceed recordBytesTotalMax"),
        ]
        for (holds, name, requirement) in orders where !holds {
            throw NodeLimitsError(name: name, requirement: requirement)
        }
    }
}

package struct NodeLimitsError: Error, Hashable, Sendable, CustomStringConvertible {
    package let name: StaticText
    package let requirement: StaticText

    package init(name: StaticText, requirement: StaticText) {
        self.name = name
        self.requirement = requirement
    }

    package var description: String { "limit \(name.text) \(requirement.text)" }
}

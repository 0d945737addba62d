// SPDX-License-Identifier: Apache-2.0

/// The knobs of sync.
package struct SyncConfiguration: Sendable {
    /// Between two reconciliations with one peer, whoever began; a quarter more or less by lot.
    package var interval = Duration.seconds(30)
    /// The peer of the higher name waits so long for the other to begin.
    package var patience = Duration.seconds(3)
    /// Reconciliations that found a difference and nothing to take are repeated later and later, up to so many intervals.
    package var fruitlessIntervalsMax = 16
    /// So many entries of each feed are kept, counted from its head when they are fetched; nil: all.
    package var depthMax: UInt64?
    /// Of a feed that is new here, at first so many entries: something of every feed before all of one.
    package var firstPageCount = 4
    package var pageCount = 256
    /// What one request asks for at most.
    package var pageBytes = 512 * 1_024
    /// An answer that takes longer costs the peer its claims.
    package var requestTimeout = Duration.seconds(10)
    /// After so long the listing of governance entries goes on with another peer, if there is one.
    package var listingTurn = Duration.seconds(60)
    /// After a peer said that it is busy.
    package var busyDelay = Duration.seconds(1)
    /// After a stall, twice as long each time, up to the longest.
    package var stallDelay = Duration.seconds(2)
    package var stallDelayMax = Duration.seconds(300)
    /// After a violation, twice as long each time, up to the longest.
    package var penalty = Duration.seconds(30)
    package var penaltyMax = Duration.seconds(3_600)
    /// A feed of which a peer's entries weren't taken isn't fetched from it again for so long, twice as long each time.
    package var holdOff = Duration.seconds(60)
    package var holdOffMax = Duration.seconds(3_600)
    /// Receipts to one peer go together.
    package var receiptDelay = Duration.milliseconds(20)
    package var limits = SyncLimits()

    package init() {}

    /// Knobs that exclude each other or make no sense are put right, so that no value of theirs can trap or spin.
    package var validated: Self {
        var valid = self
        for knob in [\Self.interval, \.patience, \.requestTimeout, \.busyDelay, \.stallDelay, \.penalty, \.holdOff] {
            valid[keyPath: knob] = max(.milliseconds(1), self[keyPath: knob])
        }
        valid.fruitlessIntervalsMax = max(1, fruitlessIntervalsMax)
        valid.firstPageCount = min(max(1, firstPageCount), limits.entriesPerRangeMax)
        valid.pageCount = min(max(1, pageCount), limits.entriesPerRangeMax)
        valid.pageBytes = min(max(2 * Entry.bytesMax, pageBytes), limits.answerBytesMax)
        return valid
    }
}

/// What sync holds and accepts at most; each comment says what happens at the limit.
package struct SyncLimits: Sendable {
    // The wire: more is refused as malformed.
    package var messageBytesMax = 1 << 20
    package var partsMax = 8_192
    package var leavesMax = 32_768
    package var devicesPerRequestMax = 1_024
    package var rangesPerRequestMax = 64
    package var entriesPerRangeMax = 1_024
    package var idsPerRequestMax = 1_024
    package var proofsPerAnswerMax = 1_024
    package var receiptsPerMessageMax = 1_024

    // Trees.
    /// A subtree of at most so many leaves is told by its leaves.
    package var leavesTold = 4
    /// One of more leaves than this is never told by its leaves.
    package var leavesPerPartMax = 256
    /// A peer that says it has more breaks a rule.
    package var governanceMax = 1 << 20
    /// Round trips of one reconciliation; a longer one breaks a rule.
    package var tripsMax = 256
    /// What waits to be told in one reconciliation; a larger one breaks a rule.
    package var partsWaitingMax = 65_536
    /// Bytes of parts in one message; the rest goes in the next.
    package var partsBytesMax = 256 * 1_024

    // What we ask.
    /// Further peers are not synchronised with.
    package var peersMax = 128
    /// Requests for entries under way with one peer; further ones wait.
    package var requestsPerPeerMax = 2
    /// Received or asked for and not yet settled; at it nothing is asked for.
    package var unsettledBytesPerPeerMax = 2 << 20
    package var unsettledBytesMax = 16 << 20
    /// Governance entries that a peer has and we don't; further ones are found by the next reconciliation.
    package var governanceWantedMax = 16_384
    /// Governance entries that somebody refers to and that one peer is asked for; further ones come after those.
    package var missingMax = 16_384
    /// Feeds to ask one peer about; further ones are found by the next reconciliation.
    package var queriesMax = 1_024
    /// Receipts that wait for one peer; further ones are dropped and counted.
    package var receiptsWaitingMax = 4_096
    /// Peers whose misdeeds are remembered when they have gone; who misbehaved least and longest ago is forgotten.
    package var remembered = 1_024

    // What we answer.
    /// Requests of one peer, of all peers, under way; further ones are refused as `busy`.
    package var servedPerPeerMax = 4
    package var servedMax = 128
    /// One request in this time from each peer, with so many saved up; more are refused as `busy`.
    package var requestInterval = Duration.milliseconds(10)
    package var requestBurst = 128
    /// Entries of one answer; the rest is to be asked for again. Leaves room in a message for all that isn't entries.
    package var answerBytesMax = (1 << 20) - 64 * 1_024

    package init() {}
}

// SPDX-License-Identifier: Apache-2.0

/// Counts since the start; never read by a decision.
package struct MembershipStats: Hashable, Sendable {
    // Views
    package var joinsServed: UInt64 = 0
    package var promotionsTried: UInt64 = 0
    package var promotionsDone: UInt64 = 0
    package var neighboursLost: UInt64 = 0
    package var neighboursRefused: UInt64 = 0
    package var shufflesSent: UInt64 = 0
    // Detector
    package var probesSent: UInt64 = 0
    package var acksReceived: UInt64 = 0
    /// Probes that were answered neither directly nor through a helper.
    package var probesFailed: UInt64 = 0
    package var indirectProbesSent: UInt64 = 0
    package var nacksReceived: UInt64 = 0
    package var suspicions: UInt64 = 0
    package var deathsDeclared: UInt64 = 0
    package var refutations: UInt64 = 0
    // Search
    package var queriesSent: UInt64 = 0
    package var queriesDuplicate: UInt64 = 0
    package var queriesLimited: UInt64 = 0
    package var walkChecksSent: UInt64 = 0
    package var hitsSent: UInt64 = 0
    // Broadcast
    package var payloadsSent: UInt64 = 0
    package var payloadsDuplicate: UInt64 = 0
    package var controlsSent: UInt64 = 0
    // Everywhere
    /// Messages dropped because a named limit was reached.
    package var dropped: UInt64 = 0
    /// Messages that make no sense here and now: late, stale or made up.
    package var ignored: UInt64 = 0

    package init() {}
}

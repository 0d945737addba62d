// SPDX-License-Identifier: Apache-2.0

/// Counts since the start; never read by a decision.
package struct SyncStats: Hashable, Sendable {
    // Asking
    package var requestsSent: UInt64 = 0
    package var reconciliations: UInt64 = 0
    /// Of those, with equal roots.
    package var reconciliationsEqual: UInt64 = 0
    /// Of those, with unequal roots and nothing to take.
    package var reconciliationsFruitless: UInt64 = 0
    package var entriesReceived: UInt64 = 0
    package var bytesReceived: UInt64 = 0
    package var proofsReceived: UInt64 = 0
    package var stalls: UInt64 = 0
    package var busyAnswers: UInt64 = 0
    /// Feeds whose entries from one peer brought us no further.
    package var holdOffs: UInt64 = 0
    /// Heads that an entry of a peer doesn't follow.
    package var forksSuspected: UInt64 = 0
    package var violations: [SyncViolation: UInt64] = [:]
    // Answering
    package var requestsServed: UInt64 = 0
    package var requestsRefused: [SyncRefusal: UInt64] = [:]
    package var entriesServed: UInt64 = 0
    package var loads: UInt64 = 0
    package var loadsFailed: UInt64 = 0
    // Everywhere
    /// Dropped because a named limit was reached.
    package var dropped: UInt64 = 0
    /// Legal late events.
    package var ignored: UInt64 = 0

    package init() {}
}

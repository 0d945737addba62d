// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What is known of a peer over its connections.
struct SyncMemory: Sendable {
    var faults = 0
    var stalls = 0
    var refusals = 0
    var until = Instant.zero
    var listingAfter: UInt64 = 0
    var touched: UInt64 = 0
}

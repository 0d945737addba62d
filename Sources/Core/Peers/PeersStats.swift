// SPDX-License-Identifier: Apache-2.0

/// What PeersCore has counted since its start. The driver exports it.
package struct PeersStats: Hashable, Sendable {
    package var dialsRequested: UInt64 = 0
    package var dialsSucceeded: UInt64 = 0
    package var dialsRejected: UInt64 = 0
    package var attempts: UInt64 = 0
    package var attemptsFailed: UInt64 = 0
    package var attemptsCancelled: UInt64 = 0
    package var securityFallbacks: UInt64 = 0
    package var resolutions: UInt64 = 0
    package var inboundAdmitted: UInt64 = 0
    package var inboundRefused: UInt64 = 0
    package var connectionsEstablished: UInt64 = 0
    package var connectionsClosed: UInt64 = 0
    /// Closed because the peer had enough connections, or one that stayed free of streams.
    package var connectionsSurplus: UInt64 = 0
    /// Closed to come down to the low water.
    package var connectionsTrimmed: UInt64 = 0
    package var identifyReceived: UInt64 = 0
    package var identifyFailed: UInt64 = 0
    package var pushesSent: UInt64 = 0
    package var pushesReceived: UInt64 = 0
    /// Streams of identify that were reset because a peer broke the format or a limit.
    package var identifyViolations: UInt64 = 0
    /// Inputs that named nothing known: legal and late, or a mistake of the driver.
    package var lateInputs: UInt64 = 0

    package init() {}
}

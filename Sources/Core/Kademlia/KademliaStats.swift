// SPDX-License-Identifier: Apache-2.0

/// Counts since the start. Four bytes each: a fleet holds a million of these.
package struct KademliaStats: Hashable, Sendable {
    package var calls: UInt32 = 0
    package var callsOvertaken: UInt32 = 0
    package var callsFailed: UInt32 = 0
    package var answers: UInt32 = 0
    package var requestsRefused: UInt32 = 0
    package var lookups: UInt32 = 0
    package var lookupsRefused: UInt32 = 0
    package var checks: UInt32 = 0
    package var refreshes: UInt32 = 0
    package var contactsAdded: UInt32 = 0
    package var contactsRemoved: UInt32 = 0
    package var groupRefusals: UInt32 = 0
    package var recordsRefused: UInt32 = 0
    package var providersRefused: UInt32 = 0
    /// Keys whose nearest peers stood too dense.
    package var denseKeys: UInt32 = 0

    package init() {}
}

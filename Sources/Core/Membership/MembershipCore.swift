// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// A stub: see `MembershipInput` and `MembershipEffect` for what it will do.
package struct MembershipCore: Sendable {
    package init(own: PeerIndex, configuration: MembershipConfiguration, seed: UInt64, at now: Instant) {}

    package mutating func handle(_ input: MembershipInput, at now: Instant) {}
    package mutating func handleTimeout(at now: Instant) {}
    package var nextTimeout: Instant? { nil }
    package mutating func nextEffect() -> MembershipEffect? { nil }
    package func forEachPeer(_ body: (PeerIndex) -> Void) {}

    package var stats: MembershipStats { MembershipStats() }
    package var snapshot: MembershipSnapshot { MembershipSnapshot(active: [], passive: []) }
    /// For the lab: what repair makes of a failure is seen by switching it off.
    package mutating func setRepair(_ isOn: Bool) {}
}

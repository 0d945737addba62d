// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
package import TuttiMarket

/// The market of a replica's member: MarketCore on the journal's time.
package struct MarketPort: Sendable {
    /// The wall clock may be set meanwhile.
    private static let waitMax = Duration.seconds(3_600)

    package private(set) var core: MarketCore
    private(set) var nextTimeout: Instant?

    /// Nil for a node that reads nothing that is sealed.
    init?(_ start: JournalStart) {
        guard start.mailbox != nil, let device = start.device else { return nil }
        core = MarketCore(member: start.member, device: device, settings: start.opening.settings)
    }

    mutating func handle(_ input: MarketInput, _ time: HybridTime, at now: Instant) {
        core.handle(input, at: time)
        schedule(time, at: now)
    }

    mutating func handleTimeout(_ time: HybridTime, at now: Instant) {
        core.handleTimeout(at: time)
        schedule(time, at: now)
    }

    private mutating func schedule(_ time: HybridTime, at now: Instant) {
        nextTimeout = core.nextTimeout.map { due in
            let left = due.milliseconds > time.milliseconds ? due.milliseconds - time.milliseconds : 0
            return now + min(.milliseconds(Int64(clamping: left)), Self.waitMax)
        }
    }

    mutating func nextEffect() -> MarketEffect? { core.nextEffect() }
}

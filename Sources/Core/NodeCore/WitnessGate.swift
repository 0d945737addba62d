// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiJournal

/// What members may make a witness do. A certificate takes two questions; a lively trade asks a few an hour.
package struct WitnessServingLimits: Hashable, Sendable {
    /// Of one member, on average.
    package var questionInterval: Duration = .milliseconds(20)
    /// And at once. Over both: told to come again.
    package var questionBurst = 200
    /// Unanswered ones of one member. At it: told to come again.
    package var openPerMemberMax = 64
    /// Unanswered ones of all. At it: told to come again.
    package var openMax = 1_024
    /// Of whom questions are counted; more members than a community has. At it: told to come again.
    package var membersMax = 4_096
    /// After so long, whoever is told to.
    package var retryMilliseconds: UInt64 = 1_000

    package init() {}

    /// For benchmarks, where one node asks for all members.
    package static var lab: WitnessServingLimits {
        var limits = WitnessServingLimits()
        limits.questionInterval = .microseconds(10)
        limits.questionBurst = 100_000
        limits.openPerMemberMax = limits.openMax
        return limits
    }
}

/// Counts what each member asks of a witness, whichever of its devices and connections it comes over.
package struct WitnessGate: Sendable {
    private struct Asker: Sendable {
        var tokens: TokenBucket
        var openCount = 0
    }

    private let limits: WitnessServingLimits
    private var askers: [MemberID: Asker] = [:]
    package private(set) var openCount = 0

    package init(limits: WitnessServingLimits) { self.limits = limits }

    /// False: too much at once. Otherwise ``left(_:)`` follows when it is answered or its stream is gone.
    package mutating func enter(_ member: MemberID, at now: Instant) -> Bool {
        guard openCount < limits.openMax, askers[member] != nil || askers.count < limits.membersMax else {
            return false
        }
        var asker =
            askers[member]
            ?? Asker(
                tokens: TokenBucket(interval: limits.questionInterval, burst: limits.questionBurst, at: now))
        let isFree = asker.openCount < limits.openPerMemberMax && asker.tokens.take(at: now)
        if isFree {
            asker.openCount += 1
            openCount += 1
        }
        askers[member] = asker
        return isFree
    }

    package mutating func left(_ member: MemberID) {
        guard let count = askers[member]?.openCount, count > 0 else { return }
        askers[member]?.openCount = count - 1
        openCount -= 1
    }
}

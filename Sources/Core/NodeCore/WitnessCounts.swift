// SPDX-License-Identifier: Apache-2.0
package import TuttiJournal

package struct WitnessPortStats: Hashable, Sendable {
    /// Questions of those who aren't members, or not yet for us.
    package var strangers: UInt64 = 0
    package var malformed: UInt64 = 0
    /// Questions over a member's rate.
    package var throttled: UInt64 = 0
    package var answersMalformed: UInt64 = 0

    package init() {}
}

/// What a witness signed and refused, and what was asked of others, for whoever keeps the node.
extension WitnessPort {
    /// Since the node began, always in this order.
    package var counts: [JournalCount] {
        let (core, signed, asked) = (coreStats, coreSigned, clientStats)
        let served: [(String, UInt64)] = [
            ("questions", core.questions), ("answers", core.answers), ("busy", core.busy),
            ("badSignature", core.badSignature), ("signaturesChecked", core.checks), ("loads", core.loads),
            ("loadsFailed", core.loadsFailed), ("records", core.records), ("persistFailures", core.persistFailures),
            ("late", core.late), ("strangers", stats.strangers), ("malformed", stats.malformed),
            ("throttled", stats.throttled), ("answersMalformed", stats.answersMalformed),
        ]
        let own: [(String, Int)] = [
            ("votes", signed.votes), ("commits", signed.commits), ("reports", signed.reports),
            ("closes", signed.closes), ("decided", signed.decided), ("refused", signed.refused),
            ("behind", signed.behind), ("tasksDecided", asked.decided), ("tasksPassed", asked.passed),
            ("tasksFailed", asked.failed), ("ballots", asked.ballots), ("asked", asked.asked),
            ("retries", asked.retries), ("faults", asked.faults), ("forged", asked.forged),
        ]
        return served.map { JournalCount(.witness, $0, $1) }
            + own.map { JournalCount(.witness, $0, UInt64(clamping: $1)) }
    }
}

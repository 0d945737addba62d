// SPDX-License-Identifier: Apache-2.0

/// A count as whoever keeps the node sees it.
package struct JournalCount: Hashable, Sendable {
    package enum Group: String, Hashable, Sendable, CaseIterable {
        /// Entries that were taken, and those that were not, by the reason.
        case journal
        case sync
        /// What peers did wrong, as we asked them.
        case violations
        /// What we refused to peers who asked.
        case refusals
        /// The deadline register: what is served as a witness, and what is asked of witnesses.
        case witness
    }

    package let group: Group
    package let name: String
    package let count: UInt64

    package init(_ group: Group, _ name: String, _ count: UInt64) {
        self.group = group
        self.name = name
        self.count = count
    }
}

extension JournalStats {
    /// All of them, always in this order.
    package var counts: [JournalCount] {
        [
            ("appended", appended), ("admitted", admitted), ("proofsTaken", proofsTaken),
            ("receiptsTaken", receiptsTaken), ("bodiesDropped", bodiesDropped), ("malformed", malformed),
            ("wrongCommunity", wrongCommunity), ("badSignature", badSignature), ("known", known),
            ("unknownDevice", unknownDevice), ("notIntroduced", notIntroduced), ("kindNotOpen", kindNotOpen),
            ("overQuota", overQuota), ("void", void), ("gap", gap), ("frozen", frozen), ("bodyMissing", bodyMissing),
            ("feedsFull", feedsFull), ("throttled", throttled), ("diskPaused", diskPaused),
            ("appendsRefused", appendsRefused), ("persistFailures", persistFailures), ("adopted", adopted),
            ("ownFeedElsewhere", ownFeedElsewhere), ("clockLimited", clockLimited),
            ("receiptsIgnored", receiptsIgnored), ("late", late),
        ].map { JournalCount(.journal, $0, $1) }
    }
}

extension SyncStats {
    /// All of them, always in this order.
    package var counts: [JournalCount] {
        let plain = [
            ("requestsSent", requestsSent), ("reconciliations", reconciliations),
            ("reconciliationsEqual", reconciliationsEqual), ("reconciliationsFruitless", reconciliationsFruitless),
            ("entriesReceived", entriesReceived), ("bytesReceived", bytesReceived),
            ("proofsReceived", proofsReceived), ("stalls", stalls), ("busyAnswers", busyAnswers),
            ("holdOffs", holdOffs), ("forksSuspected", forksSuspected), ("requestsServed", requestsServed),
            ("entriesServed", entriesServed), ("loads", loads), ("loadsFailed", loadsFailed), ("dropped", dropped),
            ("ignored", ignored),
        ].map { JournalCount(.sync, $0, $1) }
        return plain
            + SyncViolation.allCases.map { JournalCount(.violations, "\($0)", violations[$0] ?? 0) }
            + SyncRefusal.allCases.map { JournalCount(.refusals, "\($0)", requestsRefused[$0] ?? 0) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// Reports of one purpose as they come in, and what of them is true.
struct ReportTally: Sendable {
    private struct Item: Sendable {
        let report: SignedReport
        /// The votes of the lock that it names.
        let lock: Lock?
    }

    private var items: [Int: Item] = [:]

    var count: Int { items.count }

    /// - Returns: false when it names a lock and doesn't show the votes.
    mutating func add(_ report: SignedReport, _ lock: Lock?, in set: WitnessSet) -> Bool {
        let shown = lock.map { BallotValue(ballot: $0.ballot, value: $0.value) }
        guard report.report.lock == shown, lock?.votes.isComplete(in: set) ?? true else { return false }
        items[report.signature.witness] = Item(report: report, lock: lock)
        return true
    }

    mutating func remove(_ witness: Int) { items[witness] = nil }

    /// By witness.
    var reports: [SignedReport] { items.sorted { $0.key < $1.key }.map(\.value.report) }

    /// The highest that was shown.
    var lock: Lock? {
        items.sorted { $0.key < $1.key }.compactMap(\.value.lock).max { $0.ballot < $1.ballot }
    }

    /// First each report's, then the lock's.
    func checks(_ slot: SlotID, in set: WitnessSet) -> [SignatureCheck] {
        reports.compactMap { $0.check(slot, in: set) } + (lock?.checks(slot, in: set) ?? [])
    }

    /// Those whose report, or whose highest lock, is forged.
    func liars(_ verdicts: [Bool]) -> [Int] {
        let lockIsForged = verdicts.dropFirst(count).contains(false)
        return zip(reports, verdicts).compactMap { report, isGood in
            let witness = report.signature.witness
            return !isGood || lockIsForged && items[witness]?.lock == lock ? witness : nil
        }
    }
}

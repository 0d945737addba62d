// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What a driver would like to propose in a ballot above 0, and what it can show.
struct BallotWish {
    /// Our own event; nil: silence.
    let own: Bytes32?
    let requests: [Bytes32: SlotRequest]

    /// A quorum of the reports that allows something we can propose; our own event if possible.
    /// - Parameter lock: the highest that the reports name, with its votes.
    func choose(
        _ reports: [SignedReport], _ lock: Lock?, in set: WitnessSet, hasDeadline: Bool
    ) -> (Justification, SlotValue)? {
        guard let justification = justification(reports, lock, in: set) else { return nil }
        let value: SlotValue
        switch justification.choice(in: set, hasDeadline: hasDeadline) {
        case .only(let only): value = only
        case .events(let digests):
            let digest = digests.first { $0 == own } ?? digests.first { requests[$0] != nil }
            guard let digest else { return nil }
            value = .event(digest)
        case .anyEvent:
            guard let digest = own ?? requests.keys.min() else { return nil }
            value = .event(digest)
        case .nothingYet: return nil
        }
        if case .event = value, requests[value] == nil { return nil }
        return (justification, value)
    }

    func justification(_ reports: [SignedReport], _ lock: Lock?, in set: WitnessSet) -> Justification? {
        let chosen = preferred(reports, lock, count: set.quorum)
        return Justification(chosen, locks: lock.map { [$0] } ?? [], quorum: set.quorum)
    }

    /// Those that serve us best: with the highest lock first, then with our own event, then with the deadline passed.
    private func preferred(_ reports: [SignedReport], _ lock: Lock?, count: Int) -> [SignedReport] {
        func rank(_ report: SignedReport) -> Int {
            if let lock, report.report.lock?.ballot == lock.ballot { return 0 }
            if let own, report.report.views.contains(own) { return 1 }
            return report.report.hasPassed ? 2 : 3
        }
        let ordered = reports.enumerated().sorted {
            (rank($0.element), $0.offset) < (rank($1.element), $1.offset)
        }
        return ordered.prefix(count).map(\.element)
    }
}

extension [Bytes32: SlotRequest] {
    subscript(value: SlotValue) -> SlotRequest? {
        if case .event(let digest) = value { self[digest] } else { nil }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What those who lie can bring about from what the honest witnesses signed.
extension AgreementSystem {
    /// For each value the highest lock, plus 1, with which it can be proposed: 0 without any lock, -1 not at all.
    typealias Proposable = [3 of Int8]

    /// Whether D's vote makes 2f + 1.
    func isLocked(_ value: Int, in ballot: Int) -> Bool {
        var count = 0
        for name in 0..<Self.honestCount { count += Int(honest[name].votes(in: ballot) >> UInt16(value) & 1) }
        return count >= honestNeeded
    }

    /// Bit v: there is a certificate of value v, with D's commit.
    var certified: UInt8 {
        var values: UInt8 = 0
        for ballot in 0..<scope.ballots {
            for value in 0..<scope.values where values >> UInt8(value) & 1 == 0 {
                var count = 0
                for name in 0..<Self.honestCount {
                    count += Int(honest[name].commits(in: ballot) >> UInt16(value) & 1)
                }
                if count >= honestNeeded { values |= 1 << UInt8(value) }
            }
        }
        return values
    }

    func proposable(in ballot: Int) -> Proposable {
        justified(by: .init { honest[$0].report(for: ballot) }, below: ballot)
    }

    /// What a new set may be given, by the CLOSEs that name it.
    func handedOver(to set: Int) -> Proposable {
        justified(
            by: .init { honest[$0].closedTo >> UInt8(set) & 1 == 1 ? honest[$0].closing : nil }, below: scope.ballots)
    }

    private func justified(by reports: [3 of AgreementReport?], below ballot: Int) -> Proposable {
        var proposable = Proposable(repeating: -1)
        // Each set of 2f + 1 reports: the three honest ones, or two and what suits D.
        for left in 0...Self.honestCount {
            var quorum: [AgreementReport] = []
            for name in 0..<Self.honestCount where name != left {
                if let report = reports[name] { quorum.append(report) }
            }
            guard quorum.count == (left == Self.honestCount ? 3 : 2) else { continue }
            add(quorum, below: ballot, to: &proposable)
        }
        return proposable
    }

    private func add(_ quorum: [AgreementReport], below ballot: Int, to proposable: inout Proposable) {
        let liars = Self.honestCount - quorum.count
        let top = quorum.map(\.lockBallot).max() ?? 0
        for value in 0..<scope.values {
            var shown: Int8 = -1
            if top == 0 {
                if isJustified(value, by: quorum, liars: liars) { shown = 0 }
            } else if flaw.contains(.highestLockIgnored)
                || quorum.contains(where: { $0.lockBallot == top && Int($0.lockValue) == value })
            {
                shown = Int8(top)
            }
            if liars > 0 {
                // A lock that D alone reports.
                for higher in Int(top)..<max(Int(top), ballot)
                where isLocked(value, in: higher) || flaw.contains(.lockUnproven) {
                    shown = Int8(higher + 1)
                }
            }
            proposable[value] = max(proposable[value], shown)
        }
    }

    /// Without a lock.
    private func isJustified(_ value: Int, by quorum: [AgreementReport], liars: Int) -> Bool {
        guard scope.views else { return true }
        let enough = flaw.contains(.eventByOneReport) ? 1 : 2
        func listing(_ event: Int) -> Int { quorum.count { $0.lists(event) } }
        if value != noEvent { return listing(value) + liars >= enough }
        if flaw.contains(.firstViewOnly) { return (0..<noEvent).allSatisfy { listing($0) < 2 } }
        if flaw.contains(.silenceByOpenReports) {
            return (0..<noEvent).allSatisfy { listing($0) < 2 } && quorum.count(where: \.passed) + liars >= 2
        }
        return (0..<noEvent).allSatisfy { event in
            quorum.count { $0.passed && !$0.lists(event) } + liars >= 2
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The agreement over one slot as DESIGN section 6 and docs/decisions/0013 state it, without any machine: a specification that can be
/// explored. Three honest witnesses A, B, C and one, D, that lies; whoever drives the ballots may lie as well.
///
/// - What was signed stays signed: the state is what each honest witness did, and whoever acts may use all of it at any
///   time or never. So loss, delay, duplication, reordering and partition are in it, and a crash with the disk kept changes
///   nothing. A crash without it is a witness that never acts again.
/// - D signs anything, several times, whenever it helps: its votes, commits, reports and CLOSEs are counted in wherever they
///   could matter, and lie in no state.
/// - Clocks are worth nothing: a witness's deadline passes at any time, before or after any other's.
/// - The three honest witnesses may be renamed, and so may values that the rules treat alike.
package struct AgreementSystem: ExploredSystem {
    package struct Scope: Hashable, Sendable {
        /// 0 and later ones, at most four.
        package var ballots: Int
        /// Two or three. With `views` the last is NO-EVENT, the others are events of different authors.
        package var values: Int
        /// Whether it is told who held which event in time. Without, everything may be proposed where no lock forbids it:
        /// more courses in fewer states; agreement alone is checked.
        package var views: Bool
        /// Whether witnesses may close the slot, towards two new sets.
        package var closing: Bool

        /// Reports of a witness for one ballot, at most two: it may be asked again when it knows more.
        package var reports: Int

        package init(ballots: Int, values: Int, views: Bool, closing: Bool = false, reports: Int = 1) {
            precondition((1...AgreementWitness.ballotsMax).contains(ballots))
            precondition((2...AgreementWitness.valuesMax).contains(values))
            precondition((1...AgreementWitness.reportsMax).contains(reports))
            self.ballots = ballots
            self.values = values
            self.views = views
            self.closing = closing
            self.reports = reports
        }
    }

    package enum Action: Hashable, Sendable {
        case hold(Int, value: Int)
        case pass(Int)
        case vote(Int, ballot: Int, value: Int)
        case commit(Int, ballot: Int, value: Int)
        /// Is shown a lock without committing to it.
        case learn(Int, ballot: Int, value: Int)
        case report(Int, ballot: Int)
        case close(Int, set: Int)
    }

    static let honestCount = 3
    let scope: Scope
    let flaw: AgreementFlaw
    private(set) var honest = [3 of AgreementWitness](repeating: AgreementWitness())

    package init(_ scope: Scope, flaw: AgreementFlaw = []) {
        self.scope = scope
        self.flaw = flaw
    }

    /// Beside D's: one less than 2f + 1.
    var honestNeeded: Int { flaw.contains(.smallQuorum) ? 1 : 2 }
    var noEvent: Int { scope.values - 1 }
}

// MARK: What may happen

extension AgreementSystem {
    package var actions: [Action] {
        var actions: [Action] = []
        for name in 0..<Self.honestCount {
            appendViews(of: name, to: &actions)
            if scope.closing { appendCloses(of: name, to: &actions) }
        }
        for ballot in 0..<scope.ballots {
            let proposable = ballot == 0 ? Proposable(repeating: 0) : proposable(in: ballot)
            for name in 0..<Self.honestCount {
                appendVotes(of: name, in: ballot, for: proposable, to: &actions)
                appendCommits(of: name, in: ballot, to: &actions)
                appendLocks(of: name, in: ballot, to: &actions)
                if ballot > 0, mayReport(name, for: ballot) { actions.append(.report(name, ballot: ballot)) }
            }
        }
        return actions
    }

    private func appendViews(of name: Int, to actions: inout [Action]) {
        guard scope.views, !honest[name].passed else { return }
        for value in 0..<noEvent where honest[name].held >> UInt8(value) & 1 == 0 {
            actions.append(.hold(name, value: value))
        }
        actions.append(.pass(name))
    }

    private func appendCloses(of name: Int, to actions: inout [Action]) {
        for set in 0...1 {
            let others = honest[name].closedTo & ~(1 << UInt8(set))
            let isNew = honest[name].closedTo >> UInt8(set) & 1 == 0
            if isNew, others == 0 || flaw.contains(.closeTwice) { actions.append(.close(name, set: set)) }
        }
    }

    private func appendVotes(of name: Int, in ballot: Int, for proposable: Proposable, to actions: inout [Action]) {
        let witness = honest[name]
        guard ballot >= witness.promise, witness.votes(in: ballot) == 0 || flaw.contains(.voteTwice) else { return }
        for value in 0..<scope.values
        where proposable[value] >= 0 && witness.votes(in: ballot) >> UInt16(value) & 1 == 0 {
            guard !scope.views || mayVote(value, in: ballot, witness) else { continue }
            let isBound = witness.lockBallot > 0 && witness.lockValue != value && !flaw.contains(.ownLockIgnored)
            if isBound, proposable[value] <= witness.lockBallot { continue }
            actions.append(.vote(name, ballot: ballot, value: value))
        }
    }

    /// Its own clock and what it holds: they decide in ballot 0 alone. A witness that holds an event in time doesn't start with
    /// NO-EVENT.
    private func mayVote(_ value: Int, in ballot: Int, _ witness: AgreementWitness) -> Bool {
        if value != noEvent { return ballot > 0 || witness.held >> UInt8(value) & 1 == 1 }
        if flaw.contains(.firstViewOnly) { return witness.passed && (ballot > 0 || witness.held == 0) }
        return ballot > 0 || witness.passed && (witness.held == 0 || flaw.contains(.silenceDespiteEvent))
    }

    private func appendCommits(of name: Int, in ballot: Int, to actions: inout [Action]) {
        let witness = honest[name]
        let isClosed = witness.promise == AgreementWitness.closed
        guard ballot >= witness.promise || isClosed && flaw.contains(.commitAfterClose) else { return }
        for value in 0..<scope.values where witness.commits(in: ballot) >> UInt16(value) & 1 == 0 {
            let isBlind =
                flaw.contains(.commitWithoutLock) && witness.votes(in: ballot) >> UInt16(value) & 1 == 1
            if isBlind || isLocked(value, in: ballot) { actions.append(.commit(name, ballot: ballot, value: value)) }
        }
    }

    private func appendLocks(of name: Int, in ballot: Int, to actions: inout [Action]) {
        guard ballot + 1 > honest[name].lockBallot, honest[name].promise != AgreementWitness.closed else { return }
        for value in 0..<scope.values where isLocked(value, in: ballot) {
            actions.append(.learn(name, ballot: ballot, value: value))
        }
    }

    private func mayReport(_ name: Int, for ballot: Int) -> Bool {
        let witness = honest[name]
        guard witness.promise != AgreementWitness.closed else { return false }
        let given = witness.reports(for: ballot)
        guard given.count < scope.reports, given.first != report(of: name) else { return false }
        // In the ballot that it votes in it may report later, too.
        return ballot >= witness.promise || given.isEmpty && flaw.contains(.reportIsNoPromise)
    }

    package func after(_ action: Action) -> AgreementSystem {
        var next = self
        switch action {
        case .hold(let name, let value): next.honest[name].hold(value)
        case .pass(let name): next.honest[name].passed = true
        case .vote(let name, let ballot, let value):
            next.honest[name].vote(value, in: ballot)
            if !flaw.contains(.voteIsNoPromise) { next.promise(ballot, of: name) }
        case .commit(let name, let ballot, let value):
            next.honest[name].commit(value, in: ballot)
            if !flaw.contains(.voteIsNoPromise) { next.promise(ballot, of: name) }
        case .learn(let name, let ballot, let value): next.honest[name].learn(value, in: ballot)
        case .report(let name, let ballot):
            next.honest[name].report(report(of: name), for: ballot)
            if !flaw.contains(.reportIsNoPromise) { next.promise(ballot, of: name) }
        case .close(let name, let set):
            var report = report(of: name)
            if flaw.contains(.closeWithoutLock) { (report.lockBallot, report.lockValue) = (0, 0) }
            next.honest[name].report(report, for: 0)
            next.honest[name].closedTo |= 1 << UInt8(set)
            next.honest[name].promise = AgreementWitness.closed
        }
        return next
    }

    private mutating func promise(_ ballot: Int, of name: Int) {
        honest[name].promise = max(honest[name].promise, UInt8(ballot))
    }

    func report(of name: Int) -> AgreementReport {
        let witness = honest[name]
        let listed = flaw.contains(.firstViewOnly) ? witness.first : witness.held
        return AgreementReport(
            lockBallot: witness.lockBallot, lockValue: witness.lockValue, listed: listed, passed: witness.passed)
    }
}

// MARK: What must hold

extension AgreementSystem {
    package var fault: String? {
        let certified = certified
        guard certified.nonzeroBitCount < 2 else { return "two certificates: \(names(of: certified))" }
        return scope.views ? viewFault(certified) ?? closeFault(certified) : closeFault(certified)
    }

    private func viewFault(_ certified: UInt8) -> String? {
        guard certified != 0 else { return nil }
        let value = certified.trailingZeroBitCount
        if value != noEvent {
            for name in 0..<Self.honestCount where honest[name].held >> UInt8(value) & 1 == 1 { return nil }
            return "\(names(of: certified)) is certified, and no honest witness held it in time"
        }
        if !(0..<Self.honestCount).contains(where: { honest[$0].passed }) {
            return "NO-EVENT is certified, and no honest witness's deadline has passed"
        }
        let heldByAll = honest[0].held & honest[1].held & honest[2].held
        return heldByAll == 0
            ? nil : "NO-EVENT is certified, and all honest witnesses held \(names(of: heldByAll)) in time"
    }

    private func closeFault(_ certified: UInt8) -> String? {
        guard scope.closing else { return nil }
        let sets = [handedOver(to: 0), handedOver(to: 1)]
        for value in 0..<scope.values where certified != 0 && certified >> UInt8(value) & 1 == 0 {
            guard sets.contains(where: { $0[value] >= 0 }) else { continue }
            return "\(names(of: certified)) is certified, and a new set may decide \(name(of: value))"
        }
        let both = sets.allSatisfy { set in (0..<scope.values).contains { set[$0] >= 0 } }
        return both ? "two new sets may decide" : nil
    }

    package static var landmarkNames: [String] {
        ["certified", "certified in a later ballot", "NO-EVENT certified", "handed over with a certificate"]
    }

    package var landmarks: UInt64 {
        let certified = certified
        guard certified != 0 else { return 0 }
        let first = (0..<scope.values).contains { value in
            (0..<Self.honestCount).count { honest[$0].commits(in: 0) >> UInt16(value) & 1 == 1 } >= honestNeeded
        }
        let silent = scope.views && certified >> UInt8(noEvent) & 1 == 1
        let over = scope.closing && (0..<scope.values).contains { handedOver(to: 0)[$0] >= 0 }
        return 1 | (first ? 0 : 2) | (silent ? 4 : 0) | (over ? 8 : 0)
    }
}

// MARK: Names

extension AgreementSystem {
    package func mix(into fingerprint: inout Fingerprint) {
        var canonical: [(UInt64, UInt64, UInt64)] = []
        for names in renamings {
            var words: [(UInt64, UInt64, UInt64)] = []
            for name in 0..<Self.honestCount { words.append(honest[name].renamed(names).words) }
            words.sort(by: <)
            if canonical.isEmpty || words.lexicographicallyPrecedes(canonical, by: <) { canonical = words }
        }
        for (first, second, third) in canonical {
            fingerprint.mix(first)
            fingerprint.mix(second)
            fingerprint.mix(third)
        }
    }

    /// Of the values: events may change names among each other, and without views all may.
    private var renamings: [[UInt8]] {
        switch (scope.views, scope.values) {
        case (true, 2): [[0, 1, 2, 3]]
        case (true, _), (false, 2): [[0, 1, 2, 3], [1, 0, 2, 3]]
        case (false, _):
            [[0, 1, 2, 3], [1, 0, 2, 3], [0, 2, 1, 3], [2, 1, 0, 3], [1, 2, 0, 3], [2, 0, 1, 3]]
        }
    }

    func name(of value: Int) -> String { value == noEvent ? "NO-EVENT" : "EVENT(h\(value + 1))" }

    private func names(of values: UInt8) -> String {
        (0..<scope.values).filter { values >> UInt8($0) & 1 == 1 }.map(name(of:)).joined(separator: ", ")
    }

    package func sentence(of action: Action) -> String {
        func who(_ name: Int) -> String { ["A", "B", "C"][name] }
        return switch action {
        case .hold(let name, let value): "\(who(name)) holds h\(value + 1) in time."
        case .pass(let name): "The deadline passes for \(who(name))."
        case .vote(let name, let ballot, let value): "\(who(name)) votes \(self.name(of: value)) in ballot \(ballot)."
        case .commit(let name, let ballot, let value):
            "\(who(name)) commits \(self.name(of: value)) in ballot \(ballot)."
        case .learn(let name, let ballot, let value):
            "\(who(name)) is shown the lock of \(self.name(of: value)) in ballot \(ballot)."
        case .report(let name, let ballot): "\(who(name)) reports for ballot \(ballot)."
        case .close(let name, let set): "\(who(name)) closes the slot towards the new set \(set + 1)."
        }
    }
}

extension AgreementSystem.Scope: CustomStringConvertible {
    package var description: String {
        "\(ballots) ballots, \(values) values" + (views ? ", clocks" : "") + (closing ? ", closing" : "")
            + (reports > 1 ? ", \(reports) reports each" : "")
    }
}

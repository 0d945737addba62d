// SPDX-License-Identifier: Apache-2.0

/// Three real ``WitnessMachine``s and a liar decide one slot: what ``AgreementSystem`` says of the rules, held against the code.
///
/// Whoever drives asks any honest witness anything that can be put together of what was signed so far and of what the liar
/// signs, at any time, in any order, again or never; deadlines pass at any time. After each answer the rules must have
/// allowed what was signed (the witnesses refine ``AgreementSystem``, and so its oracle: undecided, then EVENT or NO-EVENT for
/// ever), and what it demands must hold. Every answer comes from the disk's state, and every state is restarted from its disk.
package struct RegisterSystem: ExploredSystem {
    package enum Action: Hashable, Sendable {
        case pass(Int)
        case ask(Int, question: Int)
        case askUnsynced(Int, question: Int)
        case loseDisk(Int)
    }

    private let world: RegisterWorld
    private let flaw: RegisterFlaw?
    /// What was signed, and what that means.
    private(set) var facts: AgreementSystem
    /// Of each machine, by number.
    private var states = [3 of Int](repeating: 0)
    private var broken: String?

    private let endsEverywhere: Bool

    /// - Parameters:
    ///   - ballots: 0 and later ones.
    ///   - endsEverywhere: whether it is tried, from each state, that everybody comes to an end.
    package init(ballots: Int, flaw: RegisterFlaw? = nil, endsEverywhere: Bool = false) {
        self.flaw = flaw
        self.endsEverywhere = endsEverywhere
        world = RegisterWorld(flaw: flaw)
        facts = AgreementSystem(.init(ballots: ballots, values: 3, views: true, reports: 2))
    }

    /// How often a real machine was asked.
    package var runs: Int { world.runs }
}

// MARK: What may happen

extension RegisterSystem {
    package var actions: [Action] {
        var actions: [Action] = []
        let questions = questions
        for name in 0..<AgreementSystem.honestCount {
            if !facts.honest[name].passed { actions.append(.pass(name)) }
            for index in questions.indices where changesAnything(name, questions[index]) {
                actions.append(.ask(name, question: index))
                if flaw == .answersBeforeDisk { actions.append(.askUnsynced(name, question: index)) }
            }
            if flaw == .keepsKeyWithoutDisk, states[name] != 0 { actions.append(.loseDisk(name)) }
        }
        return actions
    }

    private func changesAnything(_ name: Int, _ question: RegisterQuestion) -> Bool {
        let outcome = self.outcome(name, question)
        return outcome.state != states[name] || outcome.signed.map { !isKnown($0, of: name) } ?? false
    }

    private func outcome(_ name: Int, _ question: RegisterQuestion) -> RegisterReply {
        world.ask(name, in: states[name], hasPassed: facts.honest[name].passed, question)
    }

    /// Everything that can be asked now.
    private var questions: [RegisterQuestion] {
        var questions: [RegisterQuestion] = (0..<facts.scope.values).map { .propose(value: $0) }
        for ballot in 0..<facts.scope.ballots {
            for value in 0..<facts.scope.values {
                questions.append(.lock(ballot: ballot, value: value, isForged: !facts.isLocked(value, in: ballot)))
            }
            guard ballot > 0 else { continue }
            questions += ([nil, 0, 1] as [Int?]).map { RegisterQuestion.report(ballot: ballot, event: $0) }
            for reports in quorums(for: ballot) {
                questions += (0..<facts.scope.values).map {
                    RegisterQuestion.proposeAfter(ballot: ballot, value: $0, reports: reports)
                }
            }
        }
        return questions
    }

    private func quorums(for ballot: Int) -> [[AgreementReport?]] {
        var quorums: [[AgreementReport?]] = []
        for left in 0...AgreementSystem.honestCount {
            var some: [[AgreementReport?]] = [[]]
            for name in 0..<AgreementSystem.honestCount {
                let choices: [AgreementReport?] = name == left ? [nil] : facts.honest[name].reports(for: ballot)
                some = some.flatMap { quorum in choices.map { quorum + [$0] } }
            }
            let lies: [AgreementReport?] = left == AgreementSystem.honestCount ? [nil] : lies(for: ballot)
            quorums += some.flatMap { quorum in lies.map { quorum + [$0] } }
        }
        return quorums
    }

    /// What the liar may report that makes a difference.
    private func lies(for ballot: Int) -> [AgreementReport] {
        var lies = [0, 1, 2].map { AgreementReport(lockBallot: 0, lockValue: 0, listed: $0, passed: false) }
        lies.append(AgreementReport(lockBallot: 0, lockValue: 0, listed: 0, passed: true))
        for lower in 0..<ballot {
            for value in 0..<facts.scope.values where facts.isLocked(value, in: lower) {
                lies.append(
                    AgreementReport(
                        lockBallot: UInt8(lower + 1), lockValue: UInt8(value), listed: 0, passed: false))
            }
        }
        return lies
    }

    package func after(_ action: Action) -> RegisterSystem {
        var next = self
        switch action {
        case .pass(let name): next.facts = facts.after(.pass(name))
        case .ask(let name, let question): next.ask(name, questions[question], isSynced: true)
        case .askUnsynced(let name, let question): next.ask(name, questions[question], isSynced: false)
        case .loseDisk(let name): next.states[name] = 0
        }
        return next
    }

    private mutating func ask(_ name: Int, _ question: RegisterQuestion, isSynced: Bool) {
        let outcome = self.outcome(name, question)
        if isSynced { states[name] = outcome.state }
        let witness = facts.honest[name]
        if let event = question.event, event < facts.noEvent, !witness.passed, witness.held >> UInt8(event) & 1 == 0 {
            facts = facts.after(.hold(name, value: event))
        }
        if let signed = outcome.signed, !isKnown(signed, of: name) { sign(signed, name) }
    }

    private func isKnown(_ signed: RegisterReply.Signed, of name: Int) -> Bool {
        switch signed {
        case .vote(let ballot, let value): facts.honest[name].votes(in: ballot) >> UInt16(value) & 1 == 1
        case .commit(let ballot, let value): facts.honest[name].commits(in: ballot) >> UInt16(value) & 1 == 1
        case .report(let ballot, let report):
            facts.honest[name].reports(for: ballot).contains(report)
                || facts.honest[name].reports(for: ballot).count == facts.scope.reports
        }
    }

    /// The rules must allow what was signed.
    private mutating func sign(_ signed: RegisterReply.Signed, _ name: Int) {
        let step: AgreementSystem.Action
        switch signed {
        case .vote(let ballot, let value): step = .vote(name, ballot: ballot, value: value)
        case .commit(let ballot, let value): step = .commit(name, ballot: ballot, value: value)
        case .report(let ballot, let report):
            if report.lockBallot > facts.honest[name].lockBallot {
                follow(.learn(name, ballot: Int(report.lockBallot) - 1, value: Int(report.lockValue)))
            }
            if report != facts.report(of: name) { broken = "it reports what isn't so" }
            step = .report(name, ballot: ballot)
        }
        follow(step)
    }

    private mutating func follow(_ step: AgreementSystem.Action) {
        guard broken == nil else { return }
        guard facts.actions.contains(step) else {
            broken = "The rules don't allow that \(facts.sentence(of: step))"
            return
        }
        facts = facts.after(step)
    }
}

// MARK: What must hold

extension RegisterSystem {
    package var fault: String? {
        world.misdeed ?? broken ?? facts.fault ?? (endsEverywhere ? endingFault : nil)
    }

    /// Buyer, seller and an arbiter each drive the slot to its end from here, alone.
    private var endingFault: String? {
        let certified = facts.certified
        for (party, name) in ["the buyer", "the seller", "an arbiter"].enumerated() {
            for liar in RegisterLiar.allCases {
                guard let value = world.ending(of: states, by: party, against: liar) else {
                    return "\(name) doesn't come to an end while D is \(liar)"
                }
                if certified != 0, certified >> UInt8(value) & 1 == 0 {
                    return "\(name) comes to \(facts.name(of: value)), which wasn't certified"
                }
            }
        }
        return nil
    }

    package static var landmarkNames: [String] { AgreementSystem.landmarkNames }
    package var landmarks: UInt64 { facts.landmarks }

    /// Witnesses may be renamed: states of machines have the same numbers for all three.
    package func mix(into fingerprint: inout Fingerprint) {
        var words: [(UInt64, UInt64, UInt64, Int)] = []
        for name in 0..<AgreementSystem.honestCount {
            let (first, second, third) = facts.honest[name].words
            words.append((first, second, third, states[name]))
        }
        words.sort(by: <)
        for (first, second, third, state) in words {
            fingerprint.mix(first)
            fingerprint.mix(second)
            fingerprint.mix(third)
            fingerprint.mix(state)
        }
        fingerprint.mix(broken == nil ? 0 : 1)
    }

    package func sentence(of action: Action) -> String {
        func who(_ name: Int) -> String { ["A", "B", "C"][name] }
        return switch action {
        case .pass(let name): facts.sentence(of: .pass(name))
        case .ask(let name, let question):
            "\(who(name)) is asked: \(text(questions[question])) \(result(name, question))"
        case .askUnsynced(let name, let question):
            "\(who(name)) is asked: \(text(questions[question])) \(result(name, question)) It crashes before its disk has it."
        case .loseDisk(let name): "\(who(name)) loses its disk and goes on under its key."
        }
    }

    private func text(_ question: RegisterQuestion) -> String {
        switch question {
        case .propose(let value): "vote \(facts.name(of: value)) in ballot 0?"
        case .proposeAfter(let ballot, let value, let reports):
            "vote \(facts.name(of: value)) in ballot \(ballot), by reports of \(names(reports))?"
        case .lock(let ballot, let value, let isForged):
            "commit \(facts.name(of: value)) in ballot \(ballot), by \(isForged ? "a forged" : "the") lock?"
        case .report(let ballot, let event):
            "report for ballot \(ballot)\(event.map { ", holding \(facts.name(of: $0))" } ?? "")?"
        }
    }

    private func names(_ reports: [AgreementReport?]) -> String {
        zip(["A", "B", "C", "D"], reports).filter { $0.1 != nil }.map(\.0).joined(separator: ", ")
    }

    private func result(_ name: Int, _ question: Int) -> String {
        switch outcome(name, questions[question]).signed {
        case nil: "It signs nothing."
        case .vote(let ballot, let value)?: facts.sentence(of: .vote(name, ballot: ballot, value: value))
        case .commit(let ballot, let value)?: facts.sentence(of: .commit(name, ballot: ballot, value: value))
        case .report(let ballot, _)?: facts.sentence(of: .report(name, ballot: ballot))
        }
    }
}

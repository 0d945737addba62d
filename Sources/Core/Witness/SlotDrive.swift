// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// One slot on its way to a certificate, driven by a party. It trusts no witness: only what verifies counts, and the party
/// loses at most time.
///
///     voting(b) -- 2f + 1 equal votes --> committing -- 2f + 1 commits, verified --> informing -> (gone)
///        |  ^                                  |
///        |  '-- a value is allowed ----.       | promised elsewhere
///        '-- no value can be locked --> reporting(b + 1) <--'
///
/// Ballot 0 asks 2f + 1 witnesses and the rest when they are slow; later ballots ask all. Votes aren't verified here: the
/// witnesses do that, and if they refuse a lock we look for the forger.
struct SlotDrive: Sendable {
    enum Phase: Hashable, Sendable {
        case voting(Ballot)
        case committing(Lock)
        case reporting(Ballot)
        case closing(to: WitnessSetID)
        case looking
        case informing(Certificate)
    }

    /// What was given to be verified.
    enum Verifying: Sendable {
        case commits(Certificate, [Int])
        case votes([Int])
        case reports(ReportTally)
        case certificate(Certificate, SlotRequest?)
        case evidence(ChainEvidence)
        case fault(WitnessFault)
    }

    enum Order: Sendable {
        case ask(witness: Int, generation: UInt32, WitnessQuestion)
        case verify(generation: UInt32, [SignatureCheck])
        case finished(RegisterOutcome)
        case fault(WitnessFault)
        case gone
    }

    let task: RegisterTask
    let id: SlotID
    private let state: ChainState
    private let ownDigest: Bytes32?
    private let signer: TradeSigner
    private let configuration: RegisterConfiguration

    private var phase = Phase.voting(.first)
    private(set) var generation: UInt32 = 0
    private var asked: Set<Int> = []
    private var waitingFor: Set<Int> = []
    private var votes: [Int: WitnessFault.SignedValue] = [:]
    private var commits: [Int: WitnessSignature] = [:]
    private var reports = ReportTally()
    private var justification: Justification?
    private var value: SlotValue
    private var requests: [Bytes32: SlotRequest] = [:]
    private var refusals: [Int: WitnessRefusal] = [:]
    /// Whoever gave a signature that doesn't verify.
    private var excluded: Set<Int> = []
    private var needEvidence: Set<Int> = []
    private var verifying: Verifying?
    private var promisedMax = Ballot.first
    private var attempts = 0
    private var isResting = false
    private var openCount = 0
    /// Steps up through ballots that one phase may ask for: a liar would never arrive.
    private var climbsLeft = 0
    /// Where the chain stands after the certificate.
    private var after: ChainEvidence?
    private var waitMilliseconds: UInt64?
    private(set) var wake: Instant?
    private(set) var stats = RegisterStats()
    private var orders: [Order] = []
    private var random: SeededGenerator

    /// Nil when the parts of the task don't fit each other.
    init?(_ task: RegisterTask, signer: TradeSigner, _ configuration: RegisterConfiguration, random: SeededGenerator) {
        guard let state = task.state, !state.isOver else { return nil }
        guard task.request != nil || task.slot.hasDeadline || task.closeTo != nil || task.isLook else { return nil }
        self.task = task
        self.state = state
        self.signer = signer
        self.configuration = configuration
        self.random = random
        id = task.id
        ownDigest = task.request.flatMap { state.digest(of: $0) }
        guard (ownDigest == nil) == (task.request == nil) else { return nil }
        value = ownDigest.map { .event($0) } ?? .noEvent
        if let ownDigest, let request = task.request { requests[ownDigest] = request }
        // What the old set may have decided is all that the new one can.
        if let lock = task.handover?.closes.lock, lock.value != value { return nil }
    }

    private var set: WitnessSet { task.set }

    mutating func drain() -> [Order] {
        defer { orders = [] }
        return orders
    }

    /// What happened since the last time.
    mutating func takeStats() -> RegisterStats {
        defer { stats = RegisterStats() }
        return stats
    }

    // MARK: Inputs

    mutating func start(at now: Instant) {
        let first: Phase = task.closeTo.map { .closing(to: $0) } ?? (task.isLook ? .looking : .voting(.first))
        enter(first, at: now)
    }

    mutating func answered(_ witness: Int, _ generation: UInt32, _ answer: WitnessAnswer, at now: Instant) {
        guard generation == self.generation, waitingFor.remove(witness) != nil, !excluded.contains(witness) else {
            return
        }
        switch answer {
        case .voted(let ballot, let value, let signature, let held):
            voted(witness, ballot, value, signature, held, at: now)
        case .committed(let ballot, let value, let signature):
            guard case .committing(let lock) = phase, signature.witness == witness, lock.ballot == ballot,
                lock.value == value
            else { break }
            commits[witness] = signature
        case .reported(let report, let lock, let held):
            guard let purpose, report.signature.witness == witness else { break }
            keep(held)
            guard report.report.purpose == purpose else {
                // It is on its way up to our ballot.
                if case .ballot(let lower) = report.report.purpose { climbAlong(witness, from: lower) }
                break
            }
            if !reports.add(report, lock, in: set) { exclude(witness) }
        case .decided(let certificate, let request, let evidence): decided(certificate, request, evidence)
        case .open(let held):
            keep(held)
            openCount += 1
        case .clock: break
        case .behind: behind(witness)
        case .refused(let reason, let ballot, let lock, let milliseconds):
            refused(witness, reason, ballot, lock, milliseconds)
        }
        proceed(at: now)
    }

    mutating func failed(_ witness: Int, _ generation: UInt32, at now: Instant) {
        guard generation == self.generation, waitingFor.remove(witness) != nil else { return }
        proceed(at: now)
    }

    mutating func verified(_ generation: UInt32, _ verdicts: [Bool], at now: Instant) {
        guard generation == self.generation, let verifying else { return }
        self.verifying = nil
        switch verifying {
        case .commits(let certificate, let witnesses):
            if verdicts.allSatisfy(\.self) { return finish(certificate, requests[certificate.value], at: now) }
            for (witness, isGood) in zip(witnesses, verdicts) where !isGood { exclude(witness) }
        case .votes(let witnesses):
            guard verdicts.contains(false) else {
                // Whoever complained is wrong.
                for witness in set.keys.indices where refusals[witness] == .badSignature { refusals[witness] = .busy }
                break
            }
            for (witness, isGood) in zip(witnesses, verdicts) where !isGood { exclude(witness) }
            if case .committing(let lock) = phase { return enter(.voting(lock.ballot), at: now) }
        case .reports(let tally): judged(tally, verdicts, at: now)
        case .certificate(let certificate, let request):
            if verdicts.allSatisfy(\.self) { return finish(certificate, request, at: now) }
            stats.forged += 1
        case .evidence(let evidence):
            guard verdicts.allSatisfy(\.self) else {
                stats.forged += 1
                break
            }
            stats.passed += 1
            orders.append(.finished(.passed(evidence)))
            orders.append(.gone)
            return
        case .fault(let fault):
            guard verdicts.allSatisfy(\.self) else {
                stats.forged += 1
                break
            }
            stats.faults += 1
            orders.append(.fault(fault))
        }
        proceed(at: now)
    }

    mutating func handleTimeout(at now: Instant) {
        guard let due = wake, due <= now else { return }
        wake = nil
        switch phase {
        case .voting, .committing:
            // The hedge first; then again whoever didn't help.
            let rest = preferred.filter { !asked.contains($0) }
            if rest.isEmpty { retry(at: now) } else { ask(rest, at: now) }
        case .reporting, .closing:
            if reports.count < set.quorum || isResting { retry(at: now) }
        case .looking: retry(at: now)
        case .informing: break
        }
        proceed(at: now, graceIsOver: true)
    }
}

// MARK: Phases

extension SlotDrive {
    private mutating func enter(_ next: Phase, at now: Instant) {
        phase = next
        generation &+= 1
        asked = []
        waitingFor = []
        refusals = [:]
        verifying = nil
        waitMilliseconds = nil
        isResting = false
        climbsLeft = WitnessSet.countMax * 4
        wake = nil
        switch next {
        case .voting(let ballot):
            votes = [:]
            let all = preferred
            ask(ballot == .first ? Array(all.prefix(set.quorum)) : all, at: now)
        case .committing:
            commits = [:]
            // Whoever voted is there.
            ask(preferred.filter { votes[$0] != nil }, at: now)
        case .looking:
            openCount = 0
            ask(preferred, at: now)
        case .reporting, .closing:
            stats.ballots += 1
            reports = ReportTally()
            justification = nil
            ask(preferred, at: now)
        case .informing:
            // Whoever hasn't voted for it may not hold what the chain needs to go on.
            needEvidence = Set(set.keys.indices.filter { votes[$0] == nil })
            ask(set.keys.indices.filter { !excluded.contains($0) }, at: now)
        }
    }

    /// By place, from one that depends on the slot: so the load is shared.
    private var preferred: [Int] {
        let count = set.keys.count
        let first = Int(id.bytes.words.3 % UInt64(count))
        return (0..<count).map { (first + $0) % count }.filter { !excluded.contains($0) }
    }

    private mutating func ask(_ witnesses: [Int], at now: Instant) {
        for witness in witnesses where !waitingFor.contains(witness) {
            asked.insert(witness)
            waitingFor.insert(witness)
            stats.asked += 1
            orders.append(.ask(witness: witness, generation: generation, question(for: witness)))
        }
        if wake == nil { wake = now + configuration.hedge }
    }

    private func question(for witness: Int) -> WitnessQuestion {
        let evidence = needEvidence.contains(witness) || beginsTrade ? task.evidence : nil
        let ask: WitnessAsk
        switch phase {
        case .voting(let ballot):
            let needsDriver = ballot > .first && state.plan != nil
            ask = .propose(
                Proposal(
                    ballot: ballot, value: value, request: requests[value], justification: justification,
                    driver: needsDriver ? BallotDriver(signer, id, ballot, proposing: value) : nil,
                    handover: task.handover))
        case .committing(let lock): ask = .lock(lock)
        case .reporting(let ballot): ask = report(ballot)
        case .closing(let successor): ask = .close(to: successor)
        case .looking: ask = .fetch
        case .informing(let certificate):
            // Of a reservation the trade's own chain has to know, so that its time begins.
            if case .trade(let proof)? = after, case .reservation = task.slot {
                return WitnessQuestion(
                    set: set.id, slot: .step(proof.plan.trade, number: 1), evidence: after, ask: .fetch)
            }
            return WitnessQuestion(
                set: set.id, slot: task.slot, evidence: needEvidence.contains(witness) ? after : nil,
                ask: .inform(certificate))
        }
        return WitnessQuestion(set: set.id, slot: task.slot, evidence: evidence, ask: ask)
    }

    private func report(_ ballot: Ballot) -> WitnessAsk {
        .report(ballot, BallotDriver(signer, id, ballot, proposing: nil), task.request)
    }

    /// No witness can know the first step's trade of itself.
    private var beginsTrade: Bool { state.plan != nil && task.slot.number == task.slot.chain.firstNumber }

    private mutating func proceed(at now: Instant, graceIsOver: Bool = false) {
        guard verifying == nil else { return }
        switch phase {
        case .voting(let ballot): tally(ballot, at: now)
        case .committing(let lock):
            if commits.count >= set.quorum,
                let proof = QuorumProof(commits.sorted { $0.key < $1.key }.map(\.value), quorum: set.quorum)
            {
                let certificate = Certificate(
                    slot: task.slot, set: set.id, ballot: lock.ballot, value: lock.value, commits: proof)
                let statement = Statement.commit(id, lock.ballot, lock.value)
                verify(.commits(certificate, proof.signatures.map(\.witness)), proof.checks(of: statement, in: set))
            } else if refusals.values.contains(.badSignature) {
                let statement = Statement.vote(id, lock.ballot, lock.value)
                verify(.votes(lock.votes.signatures.map(\.witness)), lock.votes.checks(of: statement, in: set))
            } else if !isResting, isHopeless(having: commits.count) {
                refusals.values.contains(.promised) ? climb(at: now) : waitAndRetry(at: now)
            }
        case .reporting, .closing:
            let isComplete = !isResting && (waitingFor.isEmpty || graceIsOver)
            if reports.count >= set.quorum, isComplete {
                verify(.reports(reports), reports.checks(id, in: set))
            } else if reports.count >= set.quorum {
                wake = min(wake ?? .distantFuture, now + configuration.grace)
            } else if waitingFor.isEmpty, !isResting {
                if let reason = finalRefusal { return fail(reason) }
                waitAndRetry(at: now)
            }
        case .looking:
            // A quorum that knows nothing shares an honest witness with any quorum that was informed.
            if openCount >= set.quorum {
                orders.append(.finished(.open(held: held)))
                orders.append(.gone)
            } else if waitingFor.isEmpty, !isResting {
                waitAndRetry(at: now)
            }
        case .informing: if waitingFor.isEmpty { orders.append(.gone) }
        }
    }

    /// Not enough witnesses are left that could still help in this phase.
    private func isHopeless(having count: Int) -> Bool {
        let undecided = set.keys.indices.count { index in
            !excluded.contains(index) && (waitingFor.contains(index) || !asked.contains(index))
        }
        return count + undecided < set.quorum
    }

    private mutating func tally(_ ballot: Ballot, at now: Instant) {
        var values: [(value: SlotValue, signatures: [WitnessSignature])] = []
        for (witness, vote) in votes.sorted(by: { $0.key < $1.key }) {
            let signature = WitnessSignature(witness: witness, signature: vote.signature)
            if let index = values.firstIndex(where: { $0.value == vote.value }) {
                values[index].signatures.append(signature)
            } else {
                values.append((vote.value, [signature]))
            }
        }
        let most = values.max { $0.signatures.count < $1.signatures.count }
        if let most, let proof = QuorumProof(most.signatures, quorum: set.quorum) {
            value = most.value
            return enter(.committing(Lock(ballot: ballot, value: most.value, votes: proof)), at: now)
        }
        guard !isResting else { return }
        guard isHopeless(having: most?.signatures.count ?? 0) else {
            // A refusal or a failure: whoever wasn't asked is asked now.
            if waitingFor.isEmpty || !refusals.isEmpty || values.count > 1 { askRest(at: now) }
            return
        }
        if let reason = finalRefusal { return fail(reason) }
        let contested: [WitnessRefusal] = [.promised, .unsure, .late, .locked, .unjustified]
        if values.count > 1 || refusals.values.contains(where: contested.contains) {
            climb(at: now)
        } else {
            // A deadline that hasn't passed, or nobody there: a higher ballot would not help.
            waitAndRetry(at: now)
        }
    }

    private mutating func askRest(at now: Instant) {
        let rest = preferred.filter { !asked.contains($0) }
        if !rest.isEmpty { ask(rest, at: now) }
    }

    /// More than f say no for a reason that time doesn't mend: at least one of them is honest.
    private var finalRefusal: WitnessRefusal? {
        for reason in [WitnessRefusal.notAdmitted, .notOnAccount, .notServed, .closed, .badSignature] {
            if refusals.values.count(where: { $0 == reason }) > set.faultsMax { return reason }
        }
        return nil
    }

    private mutating func climb(at now: Instant) {
        let present: Ballot =
            switch phase {
            case .voting(let ballot), .reporting(let ballot): ballot
            case .committing(let lock): lock.ballot
            case .closing, .looking, .informing: .first
            }
        let next = max(promisedMax, present.next)
        guard next.value <= WitnessLimits.ballotMax else { return waitAndRetry(at: now) }
        enter(.reporting(next), at: now)
    }

    private mutating func waitAndRetry(at now: Instant) {
        isResting = true
        attempts += 1
        let doubled = configuration.retryMin * (1 << min(attempts - 1, 8))
        let longest = min(doubled, configuration.retryMax).saturatedNanoseconds
        let jitter = Int64(random.next() % UInt64(max(longest / 4, 1)))
        let asked = waitMilliseconds.map { Duration.milliseconds(Int64(clamping: $0)) }
        wake = now + (asked ?? .nanoseconds(longest - jitter))
    }

    private mutating func retry(at now: Instant) {
        stats.retries += 1
        isResting = false
        waitMilliseconds = nil
        switch phase {
        case .voting: askAgain(preferred.filter { votes[$0] == nil }, at: now)
        case .committing: askAgain(preferred.filter { commits[$0] == nil }, at: now)
        case .reporting(let ballot): enter(.reporting(max(ballot, promisedMax)), at: now)
        case .closing, .looking: enter(phase, at: now)
        case .informing: break
        }
    }

    private mutating func askAgain(_ witnesses: [Int], at now: Instant) {
        for witness in witnesses { refusals[witness] = nil }
        ask(witnesses, at: now)
        if waitingFor.isEmpty { waitAndRetry(at: now) }
    }
}

// MARK: Answers

extension SlotDrive {
    private mutating func voted(
        _ witness: Int, _ ballot: Ballot, _ value: SlotValue, _ signature: WitnessSignature, _ held: SlotRequest?,
        at now: Instant
    ) {
        guard case .voting(let present) = phase, signature.witness == witness else { return }
        if let held { keep([held]) }
        let vote = WitnessFault.SignedValue(value: value, signature: signature.signature)
        guard ballot == present else { return }
        if let known = votes[witness],
            let fault = WitnessFault(
                witness: set.keys[witness], slot: id, ballot: ballot, areCommits: false, known, vote)
        {
            verify(.fault(fault), fault.checks)
        }
        votes[witness] = vote
    }

    private mutating func keep(_ held: [SlotRequest]) {
        for request in held.prefix(WitnessLimits.heldMax) where requests.count < 4 * WitnessLimits.heldMax {
            guard let digest = state.digest(of: request), requests[digest] == nil else { continue }
            requests[digest] = request
        }
    }

    private mutating func behind(_ witness: Int) {
        if case .informing = phase {
            guard after != nil, needEvidence.insert(witness).inserted else { return }
        } else {
            guard task.evidence != nil, needEvidence.insert(witness).inserted else {
                refusals[witness] = .busy
                return
            }
        }
        waitingFor.insert(witness)
        orders.append(.ask(witness: witness, generation: generation, question(for: witness)))
    }

    private mutating func climbAlong(_ witness: Int, from lower: Ballot) {
        guard case .reporting(let ballot) = phase, lower < ballot, climbsLeft > 0 else { return }
        climbsLeft -= 1
        waitingFor.insert(witness)
        orders.append(
            .ask(
                witness: witness, generation: generation,
                WitnessQuestion(set: set.id, slot: task.slot, ask: report(lower.next))))
    }

    private mutating func decided(_ certificate: Certificate?, _ request: SlotRequest?, _ evidence: ChainEvidence?) {
        if case .informing = phase { return }
        guard verifying == nil else { return }
        if let certificate, certificate.slot == task.slot, let checks = certificate.checks(in: set) {
            if let request { keep([request]) }
            verify(.certificate(certificate, requests[certificate.value]), checks)
        } else if let evidence, let next = evidence.next, next.chain == task.slot.chain, next.number > task.slot.number,
            let checks = evidence.checks(in: [set])
        {
            verify(.evidence(evidence), checks)
        }
    }

    private mutating func refused(
        _ witness: Int, _ reason: WitnessRefusal, _ ballot: Ballot, _ lock: Lock?, _ milliseconds: UInt64
    ) {
        refusals[witness] = reason
        if milliseconds > 0 { waitMilliseconds = min(waitMilliseconds ?? .max, milliseconds) }
        guard reason == .promised else { return }
        if ballot.value <= WitnessLimits.ballotMax {
            // One liar must not send us up: a witness that really promised tells so in its report.
            if ballot > promisedMax { promisedMax = min(ballot, promisedMax.next.next) }
            if case .reporting(let present) = phase, ballot.next < present {
                refusals[witness] = nil
                climbAlong(witness, from: ballot)
            }
        }
    }

    private mutating func exclude(_ witness: Int) {
        stats.forged += 1
        excluded.insert(witness)
        votes[witness] = nil
        commits[witness] = nil
        reports.remove(witness)
    }

    private mutating func verify(_ what: Verifying, _ checks: [SignatureCheck]) {
        verifying = what
        orders.append(.verify(generation: generation, checks))
    }
}

// MARK: Reports

extension SlotDrive {
    private mutating func judged(_ tally: ReportTally, _ verdicts: [Bool], at now: Instant) {
        let liars = tally.liars(verdicts)
        for liar in liars { exclude(liar) }
        // Without them there may be another highest lock to look at.
        guard liars.isEmpty else { return }
        if case .closing = phase { return closed(tally, at: now) }
        guard case .reporting(let ballot) = phase else { return }
        let wish = BallotWish(own: ownDigest, requests: requests)
        guard let chosen = wish.choose(tally.reports, tally.lock, in: set, hasDeadline: task.slot.hasDeadline) else {
            return waitAndRetry(at: now)
        }
        (justification, value) = chosen
        attempts = 0
        if let plan = state.plan, plan.turn(of: ballot) != signer.key {
            // Another's turn: if it doesn't come to anything, the next ballot follows.
            waitMilliseconds = max(SlotState.hold(ballot), 1)
            promisedMax = max(promisedMax, ballot.next)
            return waitAndRetry(at: now)
        }
        enter(.voting(ballot), at: now)
    }
}

// MARK: The end

extension SlotDrive {
    private mutating func closed(_ tally: ReportTally, at now: Instant) {
        let wish = BallotWish(own: ownDigest, requests: requests)
        guard let closes = wish.justification(tally.reports, tally.lock, in: set) else { return waitAndRetry(at: now) }
        let handover = Handover(number: task.slot.number, from: set.id, closes: closes)
        orders.append(.finished(.closed(handover, held: held)))
        orders.append(.gone)
    }

    private var held: [SlotRequest] { requests.sorted { $0.key < $1.key }.map(\.value) }

    /// What the reports that we collect are for.
    private var purpose: ReportPurpose? {
        switch phase {
        case .reporting(let ballot): .ballot(ballot)
        case .closing(let successor): .close(to: successor)
        case .voting, .committing, .looking, .informing: nil
        }
    }
}

extension SlotDrive {
    private mutating func fail(_ reason: WitnessRefusal) {
        stats.failed += 1
        orders.append(.finished(.failed(.refused(reason))))
        orders.append(.gone)
    }

    private mutating func finish(_ certificate: Certificate, _ request: SlotRequest?, at now: Instant) {
        stats.decided += 1
        if case .reservation(let request)? = request {
            after = .trade(TradeProof(plan: request.plan, reservation: certificate))
        } else {
            after = state.evidence(after: certificate, request)
        }
        orders.append(.finished(.decided(certificate, request, after)))
        // The time of the next step runs for a witness from when it holds the certificate.
        enter(.informing(certificate), at: now)
    }
}

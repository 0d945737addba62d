// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiWitness

/// A trade as a growing file that both sides hold: the contract, what was signed, what the witnesses decided. A pure fold:
/// the same content in whatever order it came gives the same state on every side. Delivery of anything is never part of it.
///
/// What it decides by:
/// - **Witnessed:** slot after slot as decided (``DecidedStep``), through ``TradeCourse``. An event that no slot holds has no
///   effect; it is shown, with the reason (``TradeRefusal``).
/// - **Without witnesses**, from a MODE event on, signed by both parties or by the first arbiter: events count as they are
///   signed, each building on the one before; nobody's silence counts; where two contradict each other nothing goes on by
///   itself. A settlement of both or one ruling of the first arbiter ends it.
///
/// What it leaves to its caller: signatures (``signatureChecks(of:)``: they cost 50 to 100 µs each), certificates
/// (``TradeProof``), storage and transport. Whatever is passed in is taken to be verified.
package struct Dossier: Hashable, Sendable {
    /// One decided slot, or in lesser mode one signed event.
    package struct Record: Hashable, Sendable {
        package let number: UInt32
        package let decided: DecidedStep
        /// Nil: its bytes haven't come, or nobody can read them.
        package fileprivate(set) var event: TradeEvent?
        package fileprivate(set) var breach: ContractBreach?
        /// Whether witnesses certified it.
        package let isCertified: Bool
        /// Where the trade stood then.
        package let course: TradeCourse
    }

    package struct Refused: Hashable, Sendable {
        package let event: TradeEvent
        package let reason: TradeRefusal
    }

    package let contract: Contract
    /// The seller's signature under the contract, first in the chain.
    package let acceptance: TradeEvent
    /// Whether the unit is reserved, by certificate.
    package private(set) var isReserved = false
    private var decided: [DecidedStep] = []
    /// Ascending by hash.
    private var events: [TradeEvent] = []
    private var rejected: [Refused] = []

    // The fold of all that.
    package private(set) var records: [Record] = []
    package private(set) var course: TradeCourse
    /// Signed and admissible for the next slot, not decided yet. Ascending by hash.
    package private(set) var pending: [TradeEvent] = []
    /// What has no effect, and why. Ascending by number and hash; then what never belonged here, as it came.
    package private(set) var refused: [Refused] = []
    /// By which the trade left its witnesses.
    package private(set) var mode: TradeEvent?
    /// Ended in lesser mode by the first arbiter or by both, whatever the course.
    private var evidenceEnd: TradeCourse.State?

    /// Nil unless the acceptance holds the contract and names the seller as its only author.
    package init?(acceptance: TradeEvent) {
        guard case .accept(let contract) = acceptance.body, acceptance.trade == contract.trade,
            acceptance.number == 0, acceptance.authors == [.seller]
        else { return nil }
        self.contract = contract
        self.acceptance = acceptance
        course = contract.course
    }

    package var trade: TradeID { contract.trade }
    package var state: TradeCourse.State { evidenceEnd ?? course.state }
    package var isOver: Bool { evidenceEnd != nil || course.isTerminal }
    package var isWitnessed: Bool { mode == nil }

    /// What the next event of the chain builds on.
    package var tip: Bytes32 {
        for record in records.reversed() {
            if case .event(_, _, let hash) = record.decided { return hash }
        }
        return acceptance.hash
    }

    /// How it ends for goods and money, once it is over; nil before, and where nothing is owed.
    package var outcome: TradeOutcome? {
        switch state {
        case .settled(let outcome), .ruled(let outcome, _): outcome
        case .ruledByTable: contract.table.outcome(at: course.stage)
        default: nil
        }
    }

    /// Everything held beside the contract, in the order of the file.
    package var allEvents: [TradeEvent] { events }
    package var decisions: [DecidedStep] { decided }
}

// MARK: What comes

extension Dossier {
    /// What has to be verified before an event is taken. Nil: it is refused without (``refuse(_:_:)``).
    package func signatureChecks(of event: TradeEvent) -> [SignatureCheck]? {
        guard event.trade == trade else { return nil }
        var checks: [SignatureCheck] = []
        for signature in event.signatures {
            guard let party = contract.party(signature.role) else { return nil }
            checks.append(SignatureCheck(key: party.key, message: event.signedBytes, signature: signature.bytes))
        }
        return checks
    }

    /// An event whose signatures are good, whatever its place.
    /// - Returns: why it isn't kept; nil when it is, also when it is refused by the fold.
    @discardableResult
    package mutating func take(_ event: TradeEvent) -> TradeRefusal? {
        guard event.trade == trade else { return refuse(event, .otherTrade) }
        guard event.hash != acceptance.hash else { return nil }
        if let index = events.firstIndex(where: { $0.hash == event.hash }) {
            // Two who sign one after the other; each may hold the other's half.
            let known = Set(events[index].signatures.map(\.role))
            let more = event.signatures.filter { !known.contains($0.role) }
            guard !more.isEmpty else { return nil }
            events[index] = more.reduce(events[index]) { $0.adding($1) }
        } else {
            guard decidedHashes.contains(event.hash) || hasRoom(for: event) else { return refuse(event, .full) }
            events.insert(event, at: events.firstIndex { $0.hash > event.hash } ?? events.endIndex)
        }
        fold()
        return nil
    }

    /// Whoever signs too much fills nobody's place but its own.
    private func hasRoom(for event: TradeEvent) -> Bool {
        let signers = event.signatures.map(\.role)
        let likeIt = events.filter { $0.signatures.map(\.role) == signers }
        return likeIt.count < TradeLimits.eventsPerAuthorMax
            && likeIt.count { $0.number == event.number } < TradeLimits.eventsPerSlotMax
    }

    /// Keeps, to show it, what was refused before the fold.
    @discardableResult
    package mutating func refuse(_ event: TradeEvent, _ reason: TradeRefusal) -> TradeRefusal {
        let refusal = Refused(event: event, reason: reason)
        guard !rejected.contains(refusal) else { return reason }
        if rejected.count == TradeLimits.refusalsMax { rejected.removeFirst() }
        rejected.append(refusal)
        fold()
        return reason
    }

    /// The unit is reserved for this contract: its certificate verified.
    package mutating func reserved() {
        isReserved = true
        fold()
    }

    /// What the witnesses decided from the first slot on; verified (``TradeProof``). What goes less far than what is known
    /// changes nothing.
    /// - Returns: false when it contradicts what was decided before, which takes more faulty witnesses than there may be, or
    ///   when the rules don't admit it.
    @discardableResult
    package mutating func decide(_ steps: [DecidedStep]) -> Bool {
        guard zip(steps, decided).allSatisfy({ $0 == $1 }) else { return false }
        guard steps.count > decided.count else { return true }
        var course = contract.course
        for step in steps {
            guard let next = course.after(step) else { return false }
            course = next
        }
        decided = steps
        isReserved = true
        fold()
        return true
    }

    private var decidedHashes: Set<Bytes32> {
        Set(
            decided.compactMap { step in
                if case .event(_, _, let hash) = step { hash } else { nil }
            })
    }
}

extension TradeCourse {
    package func after(_ step: DecidedStep) -> TradeCourse? {
        switch step {
        case .silence: afterSilence()
        case .event(let act, let roles, _): after(act, by: Set(roles.roles))
        }
    }
}

extension TradeEvent {
    /// Whether it says of itself what it was registered as.
    fileprivate func isRegistered(_ act: StepAct, _ roles: RoleSet, _ number: UInt32) -> Bool {
        self.act == act && RoleSet(authors) == roles && self.number == number
    }
}

// MARK: The fold

extension Dossier {
    private mutating func fold() {
        records = []
        course = contract.course
        mode = nil
        evidenceEnd = nil
        let witnessed = foldDecided(upTo: decided.count)
        // A trade that its witnesses saw end has ended: nobody takes it back to an earlier certificate.
        if !witnessed.isTerminal, let change = modeChange() {
            mode = change.event
            course = foldDecided(upTo: change.count)
            foldEvidence()
        } else {
            course = witnessed
        }
        judgeTheRest()
    }

    private mutating func foldDecided(upTo count: Int) -> TradeCourse {
        records = []
        var course = contract.course
        for step in decided.prefix(count) {
            guard let next = course.after(step) else { break }
            append(step, at: course, after: next, isCertified: true)
            course = next
        }
        return course
    }

    private mutating func append(
        _ step: DecidedStep, at course: TradeCourse, after next: TradeCourse, isCertified: Bool
    ) {
        var record = Record(
            number: course.number, decided: step, event: nil, breach: nil, isCertified: isCertified, course: next)
        if case .event(let act, let roles, let hash) = step, let event = events.first(where: { $0.hash == hash }) {
            record.event = event
            let challenged = act.kind == .opening ? challengedIndex : nil
            let isPlaced = event.isRegistered(act, roles, course.number) && event.previous == tip
            record.breach =
                isPlaced ? contract.breach(of: event, challenged: challenged.flatMap(hashOfRecord)) : .misplaced
            if let challenged, record.breach == nil, case .opening(let bytes) = event.body {
                open(challenged, bytes)
            }
        }
        records.append(record)
    }

    /// The record of the event that the last one challenges.
    private var challengedIndex: Int? {
        guard records.count >= 2, case .event(let act, _, _) = records[records.count - 1].decided,
            act.kind == .challenge
        else { return nil }
        return records.count - 2
    }

    private func hashOfRecord(_ index: Int) -> Bytes32? {
        if case .event(_, _, let hash) = records[index].decided { hash } else { nil }
    }

    /// What an opening shows is the challenged event: its hash says so, and that hash was registered with the signature of
    /// its author.
    private mutating func open(_ index: Int, _ bytes: [UInt8]) {
        guard records[index].event == nil, let event = try? TradeEvent(bytes: bytes),
            case .event(let act, let roles, _) = records[index].decided
        else { return }
        let isPlaced = event.isRegistered(act, roles, records[index].number)
        records[index].event = event
        records[index].breach = isPlaced ? contract.breach(of: event, challenged: nil) : .misplaced
    }

    // MARK: Without witnesses

    /// The change that counts: one of both rather than the first arbiter's, of equals the one with the lower hash.
    private func modeChange() -> (event: TradeEvent, count: Int)? {
        let changes = events.compactMap { event in
            modeCount(event).map { (event: event, count: $0) }
        }
        return changes.first { $0.event.authors == [.buyer, .seller] } ?? changes.first
    }

    /// How many decided slots a change leaves; nil when it isn't one that can count.
    private func modeCount(_ event: TradeEvent) -> Int? {
        guard case .mode(let change) = event.body, Self.mayChangeMode(event.authors), event.isComplete, isReserved,
            Int(change.lastNumber) <= decided.count
        else { return nil }
        let history = contract.history(of: decided.prefix(Int(change.lastNumber)))
        return history?.digest == change.history ? Int(change.lastNumber) : nil
    }

    private static func mayChangeMode(_ authors: Set<TradeRole>) -> Bool {
        authors == [.buyer, .seller] || authors == [.arbiter(0)]
    }

    private mutating func foldEvidence() {
        while !course.isTerminal {
            let next = candidates()
            guard next.count == 1, let event = next.first, let act = event.act,
                let after = course.after(act, by: event.authors)
            else { break }
            let step = DecidedStep.event(act, RoleSet(event.authors), event: event.hash)
            append(step, at: course, after: after, isCertified: false)
            course = after
        }
        guard !course.isTerminal else { return }
        if let event = sole(.settlement, by: [.buyer, .seller]), let outcome = event.act?.outcome {
            evidenceEnd = .settled(outcome)
            appendEnd(event)
        } else if let event = sole(.ruling, by: [.arbiter(0)]), let outcome = event.act?.outcome {
            evidenceEnd = .ruled(outcome, arbiter: 0)
            appendEnd(event)
        }
    }

    private mutating func appendEnd(_ event: TradeEvent) {
        guard let act = event.act else { return }
        records.append(
            Record(
                number: event.number, decided: .event(act, RoleSet(event.authors), event: event.hash), event: event,
                breach: nil, isCertified: false, course: course))
    }

    /// What may come next in the chain, of whoever may say it.
    private func candidates() -> [TradeEvent] {
        events.filter { refusal(ofNext: $0) == nil }
    }

    /// One such event, if all say the same outcome.
    private func sole(_ kind: StepKind, by roles: Set<TradeRole>) -> TradeEvent? {
        let all = events.filter { event in
            event.kind == .step(kind) && event.authors == roles && event.isComplete && event.number > modeNumber
        }
        return all.allSatisfy { $0.act == all.first?.act } ? all.first : nil
    }

    private var modeNumber: UInt32 {
        if case .mode(let change)? = mode?.body { change.lastNumber } else { 0 }
    }

    // MARK: What has no effect

    /// Why an event can't stand in the next slot.
    private func refusal(ofNext event: TradeEvent) -> TradeRefusal? {
        guard let act = event.act else { return .notNow }
        guard !isOver else { return .over }
        guard event.number <= course.number else { return .early }
        guard event.number == course.number else { return .superseded }
        guard let signers = course.signers(of: act.kind) else { return .notNow }
        guard signers.admit(event.authors) else { return .wrongRole }
        guard event.isComplete else { return .halfSigned }
        guard event.previous == tip else { return .wrongPrevious }
        let challenged = act.kind == .opening ? challengedIndex.flatMap(hashOfRecord) : nil
        return contract.breach(of: event, challenged: challenged).map { .againstContract($0) }
    }

    private mutating func judgeTheRest() {
        pending = []
        refused = []
        let used = Set(records.compactMap { $0.event?.hash })
        for event in events where !used.contains(event.hash) && event.hash != mode?.hash {
            if let reason = reason(of: event) {
                refused.append(Refused(event: event, reason: reason))
            } else {
                pending.append(event)
            }
        }
        if !isWitnessed, pending.count > 1 {
            refused += pending.map { Refused(event: $0, reason: .contradiction) }
            pending = []
        }
        refused.sort { ($0.event.number, $0.event.hash) < ($1.event.number, $1.event.hash) }
        refused += rejected
    }

    private func reason(of event: TradeEvent) -> TradeRefusal? {
        if case .mode = event.body {
            if isOver { return .over }
            if !Self.mayChangeMode(event.authors) { return .wrongRole }
            if !event.isComplete { return .halfSigned }
            return modeCount(event) == nil ? .wrongCertificate : .superseded
        }
        if let record = records.first(where: { $0.number == event.number }) {
            return record.decided == .silence ? .late : .superseded
        }
        return refusal(ofNext: event)
    }
}

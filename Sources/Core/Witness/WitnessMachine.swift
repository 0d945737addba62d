// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// Names a write until its completion comes back.
package struct WitnessBatchID: Hashable, Comparable, Sendable {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
}

package enum WitnessEffect: Sendable {
    /// In one transaction, in this order; then `persisted` or `persistFailed`. A record replaces that of the same key.
    case persist([WitnessRecord], WitnessBatchID)
    case answer(RequestID, WitnessAnswer)
}

/// A question and the signatures that it stands on.
package struct ExaminedQuestion: Sendable {
    package let question: WitnessQuestion
    fileprivate let context: WitnessContext
    package let checks: [SignatureCheck]
    /// The open slot then. Rules, keys and what is already known depend on it.
    fileprivate let number: UInt32?
}

package struct WitnessStats: Hashable, Sendable {
    package var votes = 0
    package var commits = 0
    package var reports = 0
    package var closes = 0
    /// Slots that became decided here.
    package var decided = 0
    package var refused = 0
    package var behind = 0

    package init() {}
}

/// One witness and one chain: what it knows, what it has signed, and what it answers (DESIGN section 6; docs/protocols/witness.md;
/// docs/decisions/0013-what-a-report-says-and-whose-ballot-it-is.md).
///
/// Slots of a chain are decided one after the other, so only one is open. A question about it is judged by the rules of the
/// chain (``ChainState``) and of agreement (``SlotState``); what is signed for it goes to the disk first, and every
/// answer waits for the writes before it. A witness that loses its disk comes back under a new key, so it never signs what
/// contradicts what it forgot.
///
/// The owner has `examine` name the signatures, verifies them, and calls `handle`; it asks the chain's machine of the disk (all records with the chain's prefix), and keeps as many
/// machines as it likes.
///
///     unknown trade -> open -> (certificate or evidence) -> open, the next one -> ... -> over
///
/// A failed write poisons the machine: it answers `busy`, and its owner drops it and loads it again.
/// Illegal calls of others (their questions) are refused with a reason; a completion nobody waits for is dropped.
package struct WitnessMachine: Sendable {
    package let chain: Chain
    package let set: WitnessSet
    /// Our place in the set.
    package let index: Int
    /// The prefix of all its records.
    package let digest: Bytes32
    private let signer: TradeSigner

    var state: ChainState
    var open: SlotState
    /// Slots of a trade, as far as they are kept here.
    private var decided: [UInt32: DecidedSlot] = [:]

    private var lastBatch: UInt64 = 0
    private var persisted: UInt64 = 0
    private var isPoisoned = false
    private var waiting: Deque<(after: UInt64, id: RequestID, answer: WitnessAnswer)> = []
    private var effects: Deque<WitnessEffect> = []
    package private(set) var stats = WitnessStats()

    /// Nil when the signer isn't of the set, or the records are damaged: then this witness must not answer for the chain.
    package init?(_ chain: Chain, in set: WitnessSet, signer: TradeSigner, records: [WitnessRecord] = []) {
        guard let index = set.index(of: signer.key) else { return nil }
        self.chain = chain
        self.set = set
        self.index = index
        self.signer = signer
        digest = chain.digest(in: set.id)
        state = ChainState(chain)
        open = SlotState(number: chain.firstNumber)
        guard records.isEmpty || restore(records) else { return nil }
    }

    // MARK: Inputs

    /// What has to be verified before the question is handled. Nil: too much, or nothing could make it good; answer
    /// `badSignature` and blame the peer.
    package func examine(_ question: WitnessQuestion, in context: WitnessContext) -> ExaminedQuestion? {
        checks(of: question, in: context).map {
            ExaminedQuestion(question: question, context: context, checks: $0, number: state.number)
        }
    }

    private func checks(of question: WitnessQuestion, in context: WitnessContext) -> [SignatureCheck]? {
        guard question.set == set.id, question.slot.chain == chain else { return [] }
        var after = self
        var checks: [SignatureCheck] = []
        if let evidence = question.evidence, state.isAhead(evidence, of: chain) {
            guard let more = evidence.checks(in: context.sets) else { return nil }
            checks += more
            after.absorb(evidence, in: context, at: 0)
        }
        if question.slot.number == after.state.number {
            guard let more = after.checks(of: question.ask, question.slot, in: context) else { return nil }
            checks += more
        }
        return checks.count <= WitnessLimits.checksMax ? checks : nil
    }

    /// - Parameter examined: all that it names was verified.
    /// - Returns: false when the chain has gone on since it was examined: examine it again.
    package mutating func handle(_ examined: ExaminedQuestion, _ id: RequestID, at clock: WitnessClock) -> Bool {
        let (question, context) = (examined.question, examined.context)
        guard !isPoisoned, waiting.count < WitnessLimits.waitingAnswersMax else {
            effects.append(.answer(id, refusal(.busy)))
            return true
        }
        guard question.set == set.id, question.slot.chain == chain else {
            effects.append(.answer(id, refusal(.notServed)))
            return true
        }
        guard examined.number == state.number else { return false }
        let before = (state, open)
        if let evidence = question.evidence, state.isAhead(evidence, of: chain) {
            absorb(evidence, in: context, at: clock.milliseconds)
        }
        let answer = answer(to: question, at: clock, in: context)
        if case .refused = answer { stats.refused += 1 }
        if before.0 != state || before.1 != open { persist(stateChanged: before.0 != state) }
        reply(id, answer)
        return true
    }

    package mutating func persisted(_ id: WitnessBatchID) {
        persisted = max(persisted, id.value)
        while let first = waiting.first, first.after <= persisted {
            waiting.removeFirst()
            effects.append(.answer(first.id, first.answer))
        }
    }

    package mutating func persistFailed(_ id: WitnessBatchID) {
        isPoisoned = true
        while let first = waiting.popFirst() { effects.append(.answer(first.id, refusal(.busy))) }
    }

    // MARK: Outputs

    package mutating func nextEffect() -> WitnessEffect? { effects.popFirst() }

    /// Nothing waits for the disk: the owner may forget the machine.
    package var isIdle: Bool { persisted == lastBatch && waiting.isEmpty && effects.isEmpty }

    /// Of the open slot; nil: a trade that it doesn't know.
    package var number: UInt32? { state.number }
    /// On the witness's own clock.
    package var deadline: UInt64? { state.deadline }

    /// Whatever was signed for the open slot, for who explores states.
    package var openBytes: ByteBuffer { open.encoded }
    package var stateBytes: ByteBuffer { state.record?.encoded ?? ByteBuffer() }

    // MARK: Disk

    private mutating func persist(stateChanged: Bool) {
        var records: [WitnessRecord] = []
        if stateChanged, let record = state.record {
            records.append(WitnessRecord(key: WitnessRecord.key(digest, .standing), value: record.encoded))
        }
        for number in unsaved {
            guard let slot = decided[number] else { continue }
            let key = WitnessRecord.key(digest, .decided, number: number)
            records.append(WitnessRecord(key: key, value: slot.encoded))
        }
        unsaved = []
        records.append(WitnessRecord(key: WitnessRecord.key(digest, .open), value: open.encoded))
        lastBatch += 1
        effects.append(.persist(records, WitnessBatchID(lastBatch)))
    }

    private var unsaved: [UInt32] = []

    private mutating func reply(_ id: RequestID, _ answer: WitnessAnswer) {
        guard lastBatch > persisted else { return effects.append(.answer(id, answer)) }
        waiting.append((lastBatch, id, answer))
    }

    private mutating func restore(_ records: [WitnessRecord]) -> Bool {
        var hasOpen = false
        for record in records {
            guard record.key.count == Bytes32.count + 5, record.key.prefix(Bytes32.count).elementsEqual(digest.bytes),
                let part = WitnessRecord.Part(rawValue: record.key[Bytes32.count])
            else { return false }
            let number = record.key.suffix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            let value = record.value
            switch part {
            case .standing:
                guard let known = try? ChainState.Record(encoded: value, bytesMax: .max, "state of a chain"),
                    let restored = ChainState(chain, known)
                else { return false }
                state = restored
            case .open:
                guard let slot = try? SlotState(encoded: value, bytesMax: .max, "state of a slot") else { return false }
                open = slot
                hasOpen = true
            case .decided:
                guard let slot = try? DecidedSlot(encoded: value, bytesMax: .max, "decided slot") else { return false }
                decided[number] = slot
            }
        }
        return hasOpen && open.number == (state.number ?? chain.firstNumber)
    }
}

// MARK: The chain goes on

extension WitnessMachine {
    struct DecidedSlot: Hashable, Sendable, CanonicalBody {
        let certificate: Certificate?
        let request: SlotRequest?

        init(certificate: Certificate?, request: SlotRequest?) {
            self.certificate = certificate
            self.request = request
        }

        init(from reader: inout BodyReader) throws(DecodeError) {
            certificate = try reader.bodyIfThere(1, "certificate")
            request = try reader.bodyIfThere(2, "request")
        }

        func write(into buffer: inout ByteBuffer) {
            if let certificate { buffer.write(1, certificate) }
            if let request { buffer.write(2, request) }
        }
    }

    /// Its signatures are good.
    private mutating func absorb(_ evidence: ChainEvidence, in context: WitnessContext, at milliseconds: UInt64) {
        let isNew = state.number == nil
        guard state.absorb(evidence, of: set.id, predecessor: context.predecessor, at: milliseconds),
            let number = state.number
        else { return }
        if case .trade(let proof) = evidence {
            for certificate in proof.certificates {
                guard case .step(_, let number) = certificate.slot else { continue }
                keep(certificate, number)
            }
        }
        if !isNew { stats.decided += 1 }
        open = SlotState(number: number, closedTo: open.closedTo)
    }

    private mutating func keep(_ certificate: Certificate, _ number: UInt32) {
        guard decided[number]?.certificate == nil else { return }
        var request = decided[number]?.request
        if number == open.number, case .event(let digest) = certificate.value { request = open.request(of: digest) }
        decided[number] = DecidedSlot(certificate: certificate, request: request)
        unsaved.append(number)
    }

    private func requestHeld(for certificate: Certificate) -> SlotRequest? {
        if case .event(let digest) = certificate.value { open.request(of: digest) } else { nil }
    }

    /// - Returns: false when evidence is needed to go on.
    private mutating func decide(_ certificate: Certificate, in context: WitnessContext, at clock: WitnessClock) -> Bool
    {
        open.certificate = certificate
        if case .unit = chain { return true }
        guard let next = state.evidence(after: certificate, requestHeld(for: certificate)) else { return false }
        absorb(next, in: context, at: clock.milliseconds)
        return true
    }
}

// MARK: Answers

extension WitnessMachine {
    private func refusal(_ reason: WitnessRefusal, milliseconds: UInt64 = 0) -> WitnessAnswer {
        .refused(reason, open.promised, reason == .locked ? open.lock : nil, milliseconds: milliseconds)
    }

    private func signature(_ statement: Statement) -> WitnessSignature {
        WitnessSignature(witness: index, signature: signer.sign(statement.bytes))
    }

    private mutating func answer(
        to question: WitnessQuestion, at clock: WitnessClock, in context: WitnessContext
    ) -> WitnessAnswer {
        if case .clock = question.ask { return .clock(milliseconds: clock.milliseconds) }
        guard let number = state.number, question.slot.number <= number else {
            stats.behind += 1
            return .behind(state.number ?? 0)
        }
        guard question.slot.number == number else {
            let slot = decided[question.slot.number]
            return .decided(slot?.certificate, slot?.request, state.evidence)
        }
        if let certificate = open.certificate, !question.ask.isClose {
            return .decided(certificate, requestHeld(for: certificate), nil)
        }
        guard !state.isOver else { return .decided(nil, nil, state.evidence) }
        switch question.ask {
        case .propose(let proposal): return propose(proposal, question.slot, at: clock, in: context)
        case .lock(let lock): return commit(lock, question.slot, at: clock)
        case .report(let ballot, let driver, let request):
            return report(ballot, driver, request, question.slot, at: clock, in: context)
        case .close(let to): return close(to: to, question.slot, at: clock, in: context)
        case .inform(let certificate):
            guard certificate.slot == question.slot, certificate.set == set.id else { return refusal(.notAdmitted) }
            guard decide(certificate, in: context, at: clock) else { return .behind(number) }
            return .decided(certificate, nil, nil)
        case .fetch, .clock: return .open(held: open.held.map(\.request))
        }
    }

    /// Whether the open slot's deadline has passed, by a clock that isn't known to be wrong.
    private func hasPassed(_ clock: WitnessClock) -> Bool {
        guard let deadline = state.deadline, !clock.isOff else { return false }
        return clock.milliseconds > deadline
    }

    /// Holds a request that the rules admit, and sees it if it comes in time.
    private mutating func note(
        _ request: SlotRequest, _ slot: Slot, at clock: WitnessClock, in context: WitnessContext
    ) -> Result<Bytes32, WitnessRefusal> {
        switch state.admit(request, slot, in: set, context) {
        case .failure(let refusal): return .failure(refusal)
        case .success(let admitted):
            open.hold(SlotState.Held(digest: admitted.digest, request: request))
            if !hasPassed(clock) { open.see(SlotState.View(author: admitted.author, digest: admitted.digest)) }
            return .success(admitted.digest)
        }
    }

    private mutating func propose(
        _ proposal: Proposal, _ slot: Slot, at clock: WitnessClock, in context: WitnessContext
    ) -> WitnessAnswer {
        // Both of these also drop what of the request isn't to be held.
        defer { open.dropUnused() }
        if let request = proposal.request, open.closedTo == nil {
            switch note(request, slot, at: clock, in: context) {
            case .failure(let reason): return refusal(reason)
            case .success(let digest):
                guard proposal.value == .event(digest) else { return refusal(.notAdmitted) }
            }
        }
        if let vote = open.vote, vote.ballot == proposal.ballot { return voted(vote, asked: proposal.value, slot) }
        guard open.closedTo == nil else { return refusal(.closed) }
        guard proposal.ballot >= open.promised else { return refusal(.promised) }
        if let reason = unjustified(proposal, slot, in: context) { return refusal(reason) }
        // 2f + 1 witnesses are in that ballot: we follow, whatever we think of the value.
        if proposal.justification != nil { open.promise(proposal.ballot, at: clock.milliseconds) }
        let shown = proposal.justification?.lock
        if let lock = open.lock, lock.value != proposal.value, shown.map({ $0.ballot <= lock.ballot }) ?? true {
            return refusal(.locked)
        }
        if let shown { open.show(shown) }
        switch proposal.value {
        case .event(let digest):
            guard open.request(of: digest) != nil else { return refusal(.notHeld) }
            guard proposal.ballot > .first || !hasPassed(clock) else { return refusal(.late) }
        case .noEvent:
            guard slot.hasDeadline else { return refusal(.notAdmitted) }
            if proposal.ballot == .first {
                if let reason = early(clock) { return reason }
                // Something came in time: only reports can tell whether enough others lack it.
                guard open.views.isEmpty else { return refusal(.unsure) }
            }
        }
        let vote = BallotValue(ballot: proposal.ballot, value: proposal.value)
        open.vote(vote, at: clock.milliseconds)
        stats.votes += 1
        return voted(vote, asked: proposal.value, slot)
    }

    private func voted(_ vote: BallotValue, asked: SlotValue, _ slot: Slot) -> WitnessAnswer {
        var held: SlotRequest?
        if vote.value != asked, case .event(let digest) = vote.value { held = open.request(of: digest) }
        return .voted(
            vote.ballot, vote.value, signature(.vote(slot.id(in: set.id), vote.ballot, vote.value)), held: held)
    }

    /// Why it can't vote NO-EVENT by its own clock.
    private func early(_ clock: WitnessClock) -> WitnessAnswer? {
        guard let deadline = state.deadline else { return refusal(.notAdmitted) }
        guard !clock.isOff else { return refusal(.unsure) }
        guard clock.milliseconds > deadline else {
            return refusal(.early, milliseconds: deadline - clock.milliseconds + 1)
        }
        return clock.steadySince <= state.since ? nil : refusal(.unsure)
    }

    /// Whether reports, turn and handover allow the proposal.
    private func unjustified(_ proposal: Proposal, _ slot: Slot, in context: WitnessContext) -> WitnessRefusal? {
        if let from = closingSet(proposal, in: context) {
            guard let handover = proposal.handover, handover.from == from, handover.to == set.id,
                handover.number == slot.number,
                let closed = context.sets.first(where: { $0.id == from })
            else { return .unjustified }
            switch handover.closes.choice(in: closed, hasDeadline: slot.hasDeadline) {
            case .only(let value) where handover.closes.lock != nil || proposal.ballot == .first:
                guard value == proposal.value else { return .unjustified }
            case .events(let digests) where proposal.ballot == .first:
                guard case .event(let digest) = proposal.value, digests.contains(digest) else { return .unjustified }
            case .only, .events, .anyEvent, .nothingYet: break
            }
        }
        guard proposal.ballot > .first else { return proposal.justification == nil ? nil : .unjustified }
        guard let justification = proposal.justification, justification.purpose == .ballot(proposal.ballot),
            justification.choice(in: set, hasDeadline: slot.hasDeadline).admits(proposal.value)
        else { return .unjustified }
        guard let plan = state.plan else { return nil }
        return proposal.driver?.key == plan.turn(of: proposal.ballot) ? nil : .unjustified
    }

    private func closingSet(_ proposal: Proposal, in context: WitnessContext) -> WitnessSetID? {
        if let from = state.closingSet(set.id, context) { return from }
        guard case .unit(nil) = state.standing, let stub = proposedStub(proposal) else { return nil }
        return stub.witnesses == set.id ? nil : stub.witnesses
    }

    private func proposedStub(_ proposal: Proposal) -> UnitStub? {
        guard case .event(let digest) = proposal.value,
            case .reservation(let request) = proposal.request ?? open.request(of: digest)
        else { return nil }
        return request.stub
    }

    private mutating func commit(_ lock: Lock, _ slot: Slot, at clock: WitnessClock) -> WitnessAnswer {
        let statement = Statement.commit(slot.id(in: set.id), lock.ballot, lock.value)
        if let commit = open.commit, commit.ballot == lock.ballot {
            guard commit.value == lock.value else { return refusal(.locked) }
            return .committed(lock.ballot, lock.value, signature(statement))
        }
        guard slot.hasDeadline || lock.value != .noEvent else { return refusal(.notAdmitted) }
        guard open.closedTo == nil else { return refusal(.closed) }
        guard lock.ballot >= open.promised else { return refusal(.promised) }
        open.commit(lock, at: clock.milliseconds)
        stats.commits += 1
        return .committed(lock.ballot, lock.value, signature(statement))
    }

    private mutating func report(
        _ ballot: Ballot, _ driver: BallotDriver, _ request: SlotRequest?, _ slot: Slot, at clock: WitnessClock,
        in context: WitnessContext
    ) -> WitnessAnswer {
        guard open.closedTo == nil else { return refusal(.closed) }
        defer { open.dropUnused() }
        if let request, case .failure(let reason) = note(request, slot, at: clock, in: context) {
            return refusal(reason)
        }
        guard mayDrive(driver.key, in: context) else { return refusal(.unjustified) }
        guard ballot >= open.promised, ballot > .first, ballot.value <= open.promised.value + 1 else {
            return refusal(.promised)
        }
        if ballot > open.promised {
            guard open.mayLeaveBallot(at: clock.milliseconds) else {
                let left = SlotState.hold(open.promised) - (clock.milliseconds - open.promisedAt)
                return refusal(.early, milliseconds: left)
            }
            open.promise(ballot, at: clock.milliseconds)
        }
        stats.reports += 1
        return reported(.ballot(ballot), slot, at: clock)
    }

    private func reported(_ purpose: ReportPurpose, _ slot: Slot, at clock: WitnessClock) -> WitnessAnswer {
        let report = BallotReport(
            purpose: purpose, lock: open.lock.map { BallotValue(ballot: $0.ballot, value: $0.value) },
            views: open.views.map(\.digest), hasPassed: hasPassed(clock))
        let signature = WitnessSignature(
            witness: index, signature: signer.sign(report.signedBytes(slot.id(in: set.id))))
        return .reported(
            SignedReport(report: report, signature: signature), open.lock, held: open.held.map(\.request))
    }

    /// Any key that the slot's chain knows.
    private func mayDrive(_ key: TradeKey, in context: WitnessContext) -> Bool {
        switch state.standing {
        case .trade(let proof, _): proof.plan.keys.contains(key)
        case .exposure: context.account?.devices.contains(key) ?? false
        case .unit:
            open.held.contains { held in
                if case .reservation(let request) = held.request { request.stub.seller == key } else { false }
            }
        case .unknownTrade: false
        }
    }

    private mutating func close(
        to successor: WitnessSetID, _ slot: Slot, at clock: WitnessClock, in context: WitnessContext
    ) -> WitnessAnswer {
        guard successor != set.id, open.closedTo ?? context.successor == successor else { return refusal(.notAdmitted) }
        open.closedTo = successor
        stats.closes += 1
        return reported(.close(to: successor), slot, at: clock)
    }
}

extension WitnessAsk {
    fileprivate var isClose: Bool { if case .close = self { true } else { false } }
}

extension TradePlan {
    /// Whose proposal a ballot above 0 may hold.
    package func turn(of ballot: Ballot) -> TradeKey {
        keys[Int((ballot.value &- 1) % UInt32(keys.count))]
    }
}

// MARK: Signatures

extension WitnessMachine {
    /// Of what is asked about the open slot.
    private func checks(of ask: WitnessAsk, _ slot: Slot, in context: WitnessContext) -> [SignatureCheck]? {
        let id = slot.id(in: set.id)
        switch ask {
        case .propose(let proposal):
            var checks: [SignatureCheck] = []
            if let request = proposal.request { checks += self.checks(of: request, slot, in: context) }
            if let justification = proposal.justification {
                guard let more = justification.checks(id, in: set) else { return nil }
                checks += more
            }
            if let driver = proposal.driver {
                checks.append(driver.check(id, proposal.ballot, proposing: proposal.value))
            }
            if let handover = proposal.handover {
                guard let closed = context.sets.first(where: { $0.id == handover.from }),
                    let more = handover.closes.checks(slot.id(in: closed.id), in: closed)
                else { return nil }
                checks += more
            }
            return checks
        case .lock(let lock):
            guard lock.votes.isComplete(in: set) else { return nil }
            return others(lock.checks(id, in: set))
        case .report(let ballot, let driver, let request):
            return [driver.check(id, ballot, proposing: nil)]
                + (request.map { checks(of: $0, slot, in: context) } ?? [])
        case .inform(let certificate):
            guard certificate.slot == slot, let checks = certificate.checks(in: set) else { return nil }
            return others(checks)
        case .close, .fetch, .clock: return []
        }
    }

    /// What isn't admitted is refused without a look at its signatures; what is held was verified.
    private func checks(of request: SlotRequest, _ slot: Slot, in context: WitnessContext) -> [SignatureCheck] {
        guard case .success(let admitted) = state.admit(request, slot, in: set, context) else { return [] }
        return open.request(of: admitted.digest) == request ? [] : admitted.checks
    }

    /// Our own signatures are made again and compared, at less than half the price.
    private func others(_ checks: [SignatureCheck]) -> [SignatureCheck] {
        checks.filter { $0.key != signer.key || signer.sign($0.message) != $0.signature }
    }
}

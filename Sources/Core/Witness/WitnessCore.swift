// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase

/// What is asked of a witness that has many chains.
package enum WitnessInput: Sendable {
    /// `.answer` follows, once.
    case asked(RequestID, WitnessQuestion, WitnessContext)
    /// All records of the chain; nil when the disk can't be read.
    case loaded(RequestID, [WitnessRecord]?)
    case checked(RequestID, [Bool])
    case persisted(RequestID)
    case persistFailed(RequestID)
}

package enum WitnessCoreEffect: Sendable {
    /// All records whose keys begin so; `.loaded` follows.
    case load(Bytes32, RequestID)
    /// Off the loop; `.checked` follows.
    case check([SignatureCheck], RequestID)
    /// In one transaction, in this order; `.persisted` or `.persistFailed` follows.
    case persist([WitnessRecord], RequestID)
    case answer(RequestID, WitnessAnswer)
}

package struct WitnessCoreLimits: Hashable, Sendable {
    /// Chains in memory. At it the one that was used the longest ago makes room; when all are busy, the question waits
    /// for another time.
    package var chainsMax = 2_048
    /// Questions about one chain that aren't answered. At it: busy.
    package var questionsPerChainMax = 32
    /// Signatures that wait for their verdicts. At it: busy.
    package var checksMax = 16_384
    /// Of records that go to the disk together.
    package var writeBytesMax = 4 << 20
    /// Told to whom it is too much.
    package var retryMilliseconds: UInt64 = 1_000

    package init() {}
}

package struct WitnessCoreStats: Hashable, Sendable {
    package var questions: UInt64 = 0
    package var answers: UInt64 = 0
    package var busy: UInt64 = 0
    package var badSignature: UInt64 = 0
    package var loads: UInt64 = 0
    package var loadsFailed: UInt64 = 0
    package var checks: UInt64 = 0
    package var records: UInt64 = 0
    package var persistFailures: UInt64 = 0
    /// Completions that nobody waited for.
    package var late: UInt64 = 0

    package init() {}
}

/// One witness, all of its chains: loads a chain when it is asked about, has signatures checked, and lets no answer out
/// before what it says is on the disk. What is signed and why is ``WitnessMachine``'s.
///
/// It does not: know members, streams or rates; judge what the charter says of sets and accounts (``WitnessContext``).
///
///     asked -> (load) -> examined -> (check) -> handled by the machine -> (persist) -> answered
///
/// The checks of one turn go out together, and so do its records: a turn is what happens until the caller has drained
/// `nextEffect`.
///
/// - The peer's fault: signatures that are false, a question that nothing could make good. Answered `badSignature`.
/// - Dropped and counted: completions of what nobody waits for.
/// - Invariant: each question is answered once; a chain whose write failed is read from the disk again before it signs
///   anything.
package struct WitnessCore: Sendable {
    private struct Asked: Sendable {
        let id: RequestID
        let question: WitnessQuestion
        let context: WitnessContext
    }

    private enum Stage: Sendable {
        case loading(Deque<Asked>)
        case open(WitnessMachine)
    }

    private struct Desk: Sendable {
        let chain: Chain
        let set: WitnessSet
        /// Tells it from an earlier one of the same chain.
        let load: RequestID
        var stage: Stage
        /// Unanswered.
        var questionCount = 0
        /// In ``uses``; earlier places there count no more.
        var use: UInt64 = 0
    }

    /// A machine, and no later one of the same chain.
    private struct Place: Hashable, Sendable {
        let name: Bytes32
        let load: RequestID
    }

    /// Checks of one question within those that went out together.
    private struct Examination: Sendable {
        let place: Place
        let asked: Asked
        let examined: ExaminedQuestion
    }

    private struct Write: Sendable {
        let place: Place
        let batch: WitnessBatchID
    }

    private let signer: TradeSigner
    private let limits: WitnessCoreLimits
    private var desks: [Bytes32: Desk] = [:]
    /// The one that was used the longest ago first.
    private var uses: Deque<(desk: Bytes32, use: UInt64)> = []
    private var lastUse: UInt64 = 0
    /// Whose answer to which question is due.
    private var places: [RequestID: Place] = [:]
    private var loads: [RequestID: Bytes32] = [:]
    private var examinations: [RequestID: [Examination]] = [:]
    private var writes: [RequestID: [Write]] = [:]
    private var checksOpen = 0
    private var dueExaminations: [Examination] = []
    private var dueRecords: [WitnessRecord] = []
    private var dueBytes = 0
    private var dueWrites: [Write] = []
    private var effects: Deque<WitnessCoreEffect> = []
    private var lastRequest: UInt64
    /// Of machines that were dropped.
    private var retired = WitnessStats()
    package private(set) var stats = WitnessCoreStats()

    /// - Parameter requestBase: its own requests have the numbers above.
    package init(signer: TradeSigner, limits: WitnessCoreLimits = WitnessCoreLimits(), requestBase: UInt64 = 0) {
        self.signer = signer
        self.limits = limits
        lastRequest = requestBase
    }

    package var key: TradeKey { signer.key }
    package var chainCount: Int { desks.count }
    /// Of all chains since the start.
    package var signed: WitnessStats {
        var sum = retired
        for desk in desks.values { if case .open(let machine) = desk.stage { sum.add(machine.stats) } }
        return sum
    }

    // MARK: Inputs

    package mutating func handle(_ input: WitnessInput, at clock: WitnessClock) {
        switch input {
        case .asked(let id, let question, let context):
            stats.questions += 1
            asked(Asked(id: id, question: question, context: context), at: clock)
        case .loaded(let id, let records): loaded(id, records, at: clock)
        case .checked(let id, let verdicts): checked(id, verdicts, at: clock)
        case .persisted(let id): persisted(id)
        case .persistFailed(let id): persistFailed(id)
        }
    }

    package mutating func nextEffect() -> WitnessCoreEffect? {
        if effects.isEmpty { writeRecords() }
        if effects.isEmpty { checkSignatures() }
        return effects.popFirst()
    }

    private mutating func writeRecords() {
        guard !dueRecords.isEmpty else { return }
        let id = nextRequest()
        writes[id] = dueWrites
        effects.append(.persist(dueRecords, id))
        (dueRecords, dueWrites, dueBytes) = ([], [], 0)
    }

    private mutating func checkSignatures() {
        guard !dueExaminations.isEmpty else { return }
        let id = nextRequest()
        examinations[id] = dueExaminations
        effects.append(.check(dueExaminations.flatMap(\.examined.checks), id))
        dueExaminations = []
    }

    private mutating func nextRequest() -> RequestID {
        lastRequest += 1
        return RequestID(lastRequest)
    }

    // MARK: Questions

    private mutating func asked(_ asked: Asked, at clock: WitnessClock) {
        let question = asked.question
        // A set that isn't known here may be by the next time: cards are on their way.
        guard let set = asked.context.sets.first(where: { $0.id == question.set }) else {
            return answerBusy(asked.id)
        }
        guard set.index(of: key) != nil else {
            return answer(asked.id, .refused(.notServed, .first, nil, milliseconds: 0))
        }
        let chain = question.slot.chain
        let name = chain.digest(in: set.id)
        if desks[name] == nil {
            guard makeRoom() else { return answerBusy(asked.id) }
            let load = nextRequest()
            loads[load] = name
            stats.loads += 1
            desks[name] = Desk(chain: chain, set: set, load: load, stage: .loading([]))
            effects.append(.load(name, load))
        }
        guard let desk = desks[name], desk.questionCount < limits.questionsPerChainMax else {
            return answerBusy(asked.id)
        }
        desks[name]?.questionCount += 1
        let place = Place(name: name, load: desk.load)
        places[asked.id] = place
        touch(name)
        guard case .loading(var waiting) = desk.stage else { return examine(asked, place, at: clock) }
        waiting.append(asked)
        desks[name]?.stage = .loading(waiting)
    }

    private mutating func examine(_ asked: Asked, _ place: Place, at clock: WitnessClock) {
        guard case .open(let machine)? = desks[place.name]?.stage else { return answerBusy(asked.id) }
        guard let examined = machine.examine(asked.question, in: asked.context) else { return answerFalse(asked.id) }
        let examination = Examination(place: place, asked: asked, examined: examined)
        guard !examined.checks.isEmpty else { return conclude(examination, at: clock) }
        guard checksOpen + examined.checks.count <= limits.checksMax else { return answerBusy(asked.id) }
        checksOpen += examined.checks.count
        stats.checks += UInt64(examined.checks.count)
        dueExaminations.append(examination)
    }

    /// Everything that it stands on is verified.
    private mutating func conclude(_ examination: Examination, at clock: WitnessClock) {
        var isHandled = false
        withMachine(examination.place) { isHandled = $0.handle(examination.examined, examination.asked.id, at: clock) }
        // The chain has gone on meanwhile, or was dropped: what must be checked may be something else now.
        if !isHandled { again(examination.asked, at: clock) }
    }

    private mutating func again(_ asked: Asked, at clock: WitnessClock) {
        guard let place = places[asked.id] else { return }
        if desks[place.name]?.load == place.load { return examine(asked, place, at: clock) }
        release(asked.id)
        self.asked(asked, at: clock)
    }

    /// Changes the machine in its place and takes what it wants done.
    private mutating func withMachine(_ place: Place, _ body: (inout WitnessMachine) -> Void) {
        guard let desk = desks[place.name], desk.load == place.load, case .open(var machine) = desk.stage else {
            return
        }
        body(&machine)
        while let effect = machine.nextEffect() {
            switch effect {
            case .answer(let id, let answer): self.answer(id, answer)
            case .persist(let records, let batch):
                dueRecords += records
                dueWrites.append(Write(place: place, batch: batch))
                stats.records += UInt64(records.count)
                dueBytes += records.reduce(0) { $0 + $1.value.readableBytes }
                if dueBytes >= limits.writeBytesMax { writeRecords() }
            }
        }
        desks[place.name]?.stage = .open(machine)
    }

    // MARK: Answers

    private mutating func answer(_ id: RequestID, _ answer: WitnessAnswer) {
        release(id)
        stats.answers += 1
        effects.append(.answer(id, answer))
    }

    private mutating func answerBusy(_ id: RequestID) {
        stats.busy += 1
        answer(id, .refused(.busy, .first, nil, milliseconds: limits.retryMilliseconds))
    }

    private mutating func answerFalse(_ id: RequestID) {
        stats.badSignature += 1
        answer(id, .refused(.badSignature, .first, nil, milliseconds: 0))
    }

    private mutating func release(_ id: RequestID) {
        guard let place = places.removeValue(forKey: id), desks[place.name]?.load == place.load else { return }
        desks[place.name]?.questionCount -= 1
    }

    // MARK: Completions

    private mutating func loaded(_ id: RequestID, _ records: [WitnessRecord]?, at clock: WitnessClock) {
        guard let name = loads.removeValue(forKey: id), let desk = desks[name],
            desk.load == id, case .loading(let waiting) = desk.stage
        else {
            stats.late += 1
            return
        }
        let machine = records.flatMap { WitnessMachine(desk.chain, in: desk.set, signer: signer, records: $0) }
        guard let machine else {
            stats.loadsFailed += 1
            for asked in waiting { answerBusy(asked.id) }
            desks[name] = nil
            return
        }
        desks[name]?.stage = .open(machine)
        for asked in waiting { examine(asked, Place(name: name, load: id), at: clock) }
    }

    private mutating func checked(_ id: RequestID, _ verdicts: [Bool], at clock: WitnessClock) {
        guard let examined = examinations.removeValue(forKey: id) else {
            stats.late += 1
            return
        }
        var start = 0
        for examination in examined {
            let count = examination.examined.checks.count
            checksOpen -= count
            // Fewer verdicts than checks: what has none counts as false.
            let isGood = start + count <= verdicts.count && verdicts[start..<(start + count)].allSatisfy(\.self)
            start += count
            if isGood { conclude(examination, at: clock) } else { answerFalse(examination.asked.id) }
        }
    }

    private mutating func persisted(_ id: RequestID) {
        guard let done = writes.removeValue(forKey: id) else {
            stats.late += 1
            return
        }
        for write in done { withMachine(write.place) { $0.persisted(write.batch) } }
    }

    private mutating func persistFailed(_ id: RequestID) {
        guard let failed = writes.removeValue(forKey: id) else {
            stats.late += 1
            return
        }
        stats.persistFailures += 1
        for write in failed {
            withMachine(write.place) { $0.persistFailed(write.batch) }
            // What is in memory is no longer what is on the disk. Questions under way begin again with what is.
            if desks[write.place.name]?.load == write.place.load { drop(write.place.name) }
        }
    }

    // MARK: Room

    private mutating func touch(_ name: Bytes32) {
        lastUse += 1
        desks[name]?.use = lastUse
        uses.append((name, lastUse))
        // Places that count no more are as many as those that do, at most.
        if uses.count > 2 * limits.chainsMax { uses.removeAll { desks[$0.desk]?.use != $0.use } }
    }

    /// False: as many as may be, all of them busy.
    private mutating func makeRoom() -> Bool {
        guard desks.count >= limits.chainsMax else { return true }
        for _ in 0..<uses.count {
            guard let (name, use) = uses.popFirst() else { break }
            guard let desk = desks[name], desk.use == use else { continue }
            guard desk.questionCount == 0, case .open(let machine) = desk.stage, machine.isIdle else {
                uses.append((name, use))
                continue
            }
            drop(name)
            return true
        }
        return false
    }

    private mutating func drop(_ name: Bytes32) {
        guard let desk = desks.removeValue(forKey: name) else { return }
        if case .open(let machine) = desk.stage { retired.add(machine.stats) }
    }
}

extension WitnessStats {
    fileprivate mutating func add(_ other: WitnessStats) {
        votes += other.votes
        commits += other.commits
        reports += other.reports
        closes += other.closes
        decided += other.decided
        refused += other.refused
        behind += other.behind
    }
}

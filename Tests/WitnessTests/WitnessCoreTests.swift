// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiWitness

@Suite("All chains of one witness")
struct WitnessCoreTests {
    private static let clock = WitnessClock(milliseconds: 1_800_000_000_000, steadySince: 0)
    private let signer = TradeSigner(KeyPair(seed: Bytes32(words: (1, 1, 1, 1))))
    private let seller = TradeSigner(KeyPair(seed: Bytes32(words: (2, 2, 2, 2))))
    private let set: WitnessSet

    init() throws {
        let others = (1...3).map { TradeKey(Bytes32(words: ($0, 7, 7, 7))) }
        set = try #require(WitnessSet(others + [signer.key]))
    }

    private func question(_ unit: Int, for buyer: UInt64 = 1, isForged: Bool = false) throws -> WitnessQuestion {
        let stub = UnitStub(
            seller: seller.key, witnesses: set.id, quantity: 100, nonce: Bytes32(words: (9, 9, 9, 9)))
        let seconds = Array(repeating: UInt32(WitnessLimits.deadlineSecondsMin), count: DeadlineName.allCases.count)
        func name(_ number: UInt64) -> Bytes32 { Bytes32(words: (buyer, number, 5, UInt64(unit))) }
        let plan = TradePlan(
            trade: TradeID(name(1)), unit: stub.unit(unit), buyer: TradeKey(name(2)), seller: seller.key,
            arbiters: [TradeKey(name(3)), TradeKey(name(4))], witnesses: set.id,
            deadlines: try #require(TradeDeadlines(seconds)), contract: name(5), account: name(6), amount: 0,
            charter: name(7))
        let slot = Slot.reservation(plan.unit, round: 0)
        let request = ReservationRequest(
            stub: stub, unitNumber: unit, plan: plan, exposure: nil, slot: slot.id(in: set.id),
            signer: isForged ? TradeSigner(key: seller.key) { _ in Array(repeating: 1, count: 64) } : seller)
        return WitnessQuestion(
            set: set.id, slot: slot,
            ask: .propose(
                Proposal(ballot: .first, value: .event(plan.digest), request: .reservation(request))))
    }

    /// A disk and a checker, as fast as the test says.
    private struct World {
        var core: WitnessCore
        let set: WitnessSet
        var disk: [[UInt8]: WitnessRecord] = [:]
        var answers: [RequestID: WitnessAnswer] = [:]
        var loads: [(chain: Bytes32, id: RequestID)] = []
        var checks: [(checks: [SignatureCheck], id: RequestID)] = []
        var writes: [(records: [WitnessRecord], id: RequestID)] = []
        private var last: UInt64 = 0

        init(_ signer: TradeSigner, _ set: WitnessSet, limits: WitnessCoreLimits = WitnessCoreLimits()) {
            core = WitnessCore(signer: signer, limits: limits, requestBase: 1_000)
            self.set = set
        }

        @discardableResult
        mutating func ask(_ question: WitnessQuestion) -> RequestID {
            last += 1
            tell(.asked(RequestID(last), question, WitnessContext(sets: [set])))
            return RequestID(last)
        }

        mutating func tell(_ input: WitnessInput) { core.handle(input, at: WitnessCoreTests.clock) }

        mutating func drain() {
            while let effect = core.nextEffect() {
                switch effect {
                case .load(let chain, let id): loads.append((chain, id))
                case .check(let checks, let id): self.checks.append((checks, id))
                case .persist(let records, let id): writes.append((records, id))
                case .answer(let id, let answer): answers[id] = answer
                }
            }
        }

        mutating func load() {
            for (chain, id) in loads {
                tell(.loaded(id, disk.values.filter { $0.key.starts(with: chain.bytes) }))
            }
            loads = []
            drain()
        }

        mutating func check() {
            for (checks, id) in checks { tell(.checked(id, checks.map(\.isValid))) }
            checks = []
            drain()
        }

        mutating func write() {
            for (records, id) in writes {
                for record in records { disk[record.key] = record }
                tell(.persisted(id))
            }
            writes = []
            drain()
        }

        mutating func finish() {
            drain()
            while !(loads.isEmpty && checks.isEmpty && writes.isEmpty) {
                load()
                check()
                write()
            }
        }

        func value(_ id: RequestID) -> SlotValue? {
            if case .voted(_, let value, _, _)? = answers[id] { value } else { nil }
        }

        func refusal(_ id: RequestID) -> WitnessRefusal? {
            if case .refused(let reason, _, _, _)? = answers[id] { reason } else { nil }
        }
    }

    @Test("Questions of one turn share a check and a write, and are answered when they are on the disk")
    func batches() throws {
        var world = World(signer, set)
        let ids = try (0..<5).map { world.ask(try question($0)) }
        world.drain()
        #expect(world.loads.count == 5)
        world.load()
        #expect(world.checks.count == 1 && world.checks.first?.checks.count == 5)
        world.check()
        #expect(world.writes.count == 1 && world.answers.isEmpty)
        world.write()
        #expect(ids.allSatisfy { world.value($0) != nil } && world.core.signed.votes == 5)
    }

    @Test("What was voted is read from the disk again, by another process with the same key")
    func restarts() throws {
        var world = World(signer, set)
        let first = world.ask(try question(0, for: 1))
        world.finish()
        var later = World(signer, set)
        later.disk = world.disk
        let second = later.ask(try question(0, for: 2))
        later.finish()
        #expect(later.value(second) == world.value(first) && world.value(first) != nil)
        #expect(later.writes.isEmpty)
    }

    @Test("After a failed write nothing is answered from memory: the chain is read again")
    func rereads() throws {
        var world = World(signer, set)
        let first = world.ask(try question(0, for: 1))
        world.drain()
        world.load()
        world.check()
        let write = try #require(world.writes.popLast())
        // Another one is on its way when the disk refuses.
        let second = world.ask(try question(0, for: 2))
        world.drain()
        world.tell(.persistFailed(write.id))
        world.drain()
        #expect(world.refusal(first) == .busy && world.answers[second] == nil)
        world.finish()
        let own = try #require(world.value(second))
        #expect(try own == value(of: question(0, for: 2)))
        // The completion of a lost write frees nothing that came later.
        let third = world.ask(try question(1))
        world.drain()
        world.load()
        world.check()
        world.tell(.persisted(write.id))
        world.drain()
        #expect(world.answers[third] == nil && world.core.stats.late == 1)
        world.write()
        #expect(world.value(third) != nil)
    }

    private func value(of question: WitnessQuestion) -> SlotValue? {
        if case .propose(let proposal) = question.ask { proposal.value } else { nil }
    }

    @Test("A false signature is refused, too few verdicts count as false, and a set that isn't ours isn't served")
    func refuses() throws {
        var world = World(signer, set)
        let forged = world.ask(try question(0, isForged: true))
        let good = world.ask(try question(1))
        world.finish()
        #expect(world.refusal(forged) == .badSignature && world.value(good) != nil)
        let short = world.ask(try question(2))
        world.drain()
        world.load()
        for (_, id) in world.checks { world.tell(.checked(id, [])) }
        world.drain()
        #expect(world.refusal(short) == .badSignature && world.core.stats.badSignature == 2)
        let foreign = try #require(WitnessSet((1...4).map { TradeKey(Bytes32(words: ($0, 3, 3, 3))) }))
        world.tell(.asked(RequestID(99), try question(3), WitnessContext(sets: [foreign])))
        world.drain()
        #expect(world.refusal(RequestID(99)) == .notServed && world.core.chainCount == 3)
    }

    @Test("The chain that was used the longest ago makes room; while all are busy a new one is told to wait")
    func makesRoom() throws {
        var limits = WitnessCoreLimits()
        limits.chainsMax = 3
        var world = World(signer, set, limits: limits)
        for unit in 0..<20 {
            let id = world.ask(try question(unit))
            world.finish()
            #expect(world.value(id) != nil && world.core.chainCount <= 3)
        }
        #expect(world.core.signed.votes == 20)
        for unit in 20..<23 { world.ask(try question(unit)) }
        let fourth = world.ask(try question(23))
        world.drain()
        #expect(world.refusal(fourth) == .busy)
        world.finish()
        #expect(world.value(world.ask(try question(0, for: 2))) == nil)
        world.finish()
        #expect(world.core.stats.busy == 1)
    }

    @Test("A chain whose records can't be read is not answered for")
    func refusesDamage() throws {
        var world = World(signer, set)
        let id = world.ask(try question(0))
        world.drain()
        world.tell(.loaded(try #require(world.loads.first?.id), nil))
        world.drain()
        #expect(world.refusal(id) == .busy && world.core.chainCount == 0 && world.core.stats.loadsFailed == 1)
    }

    @Test("One chain holds so many questions and no more")
    func bounds() throws {
        var limits = WitnessCoreLimits()
        limits.questionsPerChainMax = 4
        var world = World(signer, set, limits: limits)
        let ids = try (0..<6).map { world.ask(try question(0, for: UInt64($0))) }
        world.drain()
        #expect(ids.map { world.refusal($0) == .busy } == [false, false, false, false, true, true])
        world.finish()
        #expect(world.core.signed.votes == 1 && world.answers.count == 6)
        let values = Set(ids.prefix(4).compactMap { world.value($0) })
        #expect(values.count == 1)
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiWitness

import struct NIOCore.ByteBuffer

/// What a fixture makes is there.
func made<Value>(_ value: Value?) -> Value {
    guard let value else { preconditionFailure("the fixture is wrong") }
    return value
}

/// Witnesses with disks and clocks, parties with clients, and a network that delays, loses and repeats. Time is virtual.
struct RegisterTown {
    enum Event {
        case question(client: Int, RequestID, witness: Int, WitnessQuestion)
        case answer(client: Int, RequestID, WitnessAnswer)
        case failure(client: Int, RequestID)
        case verdicts(client: Int, RequestID, [Bool])
        case written(witness: Int, twin: Int, Chain, [WitnessRecord], WitnessBatchID)
    }

    struct Seat {
        /// More than one: a cheat that shows each client another face.
        var faces: [[Chain: WitnessMachine]] = [[:]]
        var disks: [[[UInt8]: ByteBuffer]] = [[:]]
        var isDown = false
        var clockOffset: Int64 = 0
        var steadySince: UInt64 = 0
        var isOff = false
        /// Questions under way: where the answer goes.
        var asked: [RequestID: (client: Int, id: RequestID)] = [:]
    }

    let set: WitnessSet
    let signers: [TradeSigner]
    var sets: [WitnessSet]
    var successor: WitnessSetID?
    var predecessor: WitnessSetID?
    var seats: [Seat]
    var clients: [RegisterClient] = []
    var accounts: [Bytes32: WitnessAccount] = [:]
    var now = Instant.zero
    var lossPercent = 0
    var repeatPercent = 0
    var delay: ClosedRange<Int> = 5...20
    /// Nil: everybody reaches everybody.
    var reaches: (@Sendable (_ client: Int, _ witness: Int) -> Bool)?
    private(set) var outcomes: [[SlotID: RegisterOutcome]] = []
    private(set) var faults: [WitnessFault] = []
    private(set) var checksCount = 0
    private var events: [(at: Instant, order: UInt64, event: Event)] = []
    private var order: UInt64 = 0
    private var lastRequest: UInt64 = 0
    var random: SeededGenerator

    /// Signatures that cost nothing and can't be forged by mistake.
    static func cheap(_ number: UInt64) -> TradeSigner {
        let key = TradeKey(Bytes32(words: (number &* 0x9E37_79B9_7F4A_7C15, 1, 2, number)))
        return TradeSigner(key: key) { Self.cheapSignature(key, $0) }
    }

    static func cheapSignature(_ key: TradeKey, _ message: [UInt8]) -> [UInt8] {
        let digest = KeyDerivation.sha256(key.bytes.bytes + message).bytes
        return digest + digest
    }

    let isCheap: Bool

    init(witnesses: Int = 4, clients: Int = 1, seed: UInt64 = 1, isCheap: Bool = true, firstKey: UInt64 = 100) {
        self.isCheap = isCheap
        let unsorted = (0..<witnesses).map { index in
            isCheap
                ? Self.cheap(firstKey + UInt64(index))
                : TradeSigner(KeyPair(seed: Bytes32(words: (firstKey, 0, 0, UInt64(index)))))
        }
        signers = unsorted.sorted { $0.key < $1.key }
        set = made(WitnessSet(signers.map(\.key)))
        sets = [set]
        seats = signers.map { _ in Seat() }
        random = SeededGenerator(seed: seed)
        for _ in 0..<clients {
            self.clients.append(RegisterClient(seed: random.next()))
            outcomes.append([:])
        }
    }

    static let start: UInt64 = 1_800_000_000_000

    func wall(_ witness: Int) -> UInt64 {
        UInt64(Int64(Self.start) + now.nanoseconds / 1_000_000 + seats[witness].clockOffset)
    }

    // MARK: What is done to it

    mutating func drive(_ client: Int, _ task: RegisterTask, _ signer: TradeSigner) {
        clients[client].drive(task, signer: signer, at: now)
        drain(client)
    }

    /// The party's process begins anew.
    mutating func restartClient(_ client: Int) {
        clients[client] = RegisterClient(seed: random.next())
    }

    /// The process ends at once; what isn't written is lost, the disk stays.
    mutating func crash(_ witness: Int) {
        seats[witness].faces = seats[witness].faces.map { _ in [:] }
        seats[witness].asked = [:]
        seats[witness].steadySince = wall(witness)
        events.removeAll {
            if case .written(let other, _, _, _, _) = $0.event { other == witness } else { false }
        }
    }

    /// What is on its way to witnesses is lost.
    mutating func forgetQuestions() {
        events.removeAll { if case .question = $0.event { true } else { false } }
    }

    mutating func makeCheat(_ witness: Int) {
        seats[witness].faces = [[:], [:]]
        seats[witness].disks = [[:], [:]]
    }

    mutating func advance(milliseconds: Int64) {
        run(until: now + .milliseconds(milliseconds))
    }

    /// Until every client has what it wants, or so long.
    mutating func settle(seconds: Int64 = 600) {
        run(until: now + .seconds(seconds), stopWhenIdle: true)
    }

    private mutating func run(until end: Instant, stopWhenIdle: Bool = false) {
        var turns = 0
        while turns < 400_000 {
            turns += 1
            if stopWhenIdle, clients.allSatisfy({ $0.count == 0 }), events.isEmpty { return }
            let timer = clients.compactMap(\.nextTimeout).min() ?? .distantFuture
            let next = events.indices.min { (events[$0].at, events[$0].order) < (events[$1].at, events[$1].order) }
            let due = min(next.map { events[$0].at } ?? .distantFuture, timer)
            guard due <= end else { break }
            now = max(now, due)
            if let next, events[next].at <= timer {
                deliver(events.remove(at: next).event)
            } else {
                for client in clients.indices {
                    clients[client].handleTimeout(at: now)
                    drain(client)
                }
            }
        }
        now = max(now, end)
    }

    // MARK: Network

    private mutating func chance(_ percent: Int) -> Bool { Int(random.next() % 100) < percent }

    private mutating func post(_ event: Event, milliseconds: Int? = nil) {
        let span = UInt64(delay.upperBound - delay.lowerBound + 1)
        let drawn = milliseconds ?? delay.lowerBound + Int(random.next() % span)
        order += 1
        events.append((now + .milliseconds(Int64(drawn)), order, event))
    }

    private mutating func deliver(_ event: Event) {
        switch event {
        case .question(let client, let id, let witness, let question): ask(witness, client, id, question)
        case .answer(let client, let id, let answer):
            clients[client].answered(id, answer, at: now)
            drain(client)
        case .failure(let client, let id):
            clients[client].callFailed(id, at: now)
            drain(client)
        case .verdicts(let client, let id, let verdicts):
            clients[client].verified(id, verdicts, at: now)
            drain(client)
        case .written(let witness, let face, let chain, let records, let batch):
            for record in records { seats[witness].disks[face][record.key] = record.value }
            seats[witness].faces[face][chain]?.persisted(batch)
            drain(witness, face, chain)
        }
    }

    mutating func isValid(_ check: SignatureCheck) -> Bool {
        checksCount += 1
        return isCheap ? check.signature == Self.cheapSignature(check.key, check.message) : check.isValid
    }

    private mutating func drain(_ client: Int) {
        while let effect = clients[client].nextEffect() {
            switch effect {
            case .ask(let id, let key, let question):
                let witness = made(set.keys.firstIndex(of: key))
                let isReached = reaches?(client, witness) ?? true
                // What is said survives its encoding.
                let said = made(
                    try? WitnessQuestion(
                        encoded: question.encoded, bytesMax: WitnessLimits.questionBytesMax, "question"))
                if !isReached || chance(lossPercent) {
                    post(.failure(client: client, id), milliseconds: 1_000)
                } else {
                    post(.question(client: client, id, witness: witness, said))
                    if chance(repeatPercent) { post(.question(client: client, id, witness: witness, said)) }
                }
            case .verify(let id, let checks):
                var verdicts: [Bool] = []
                for check in checks { verdicts.append(isValid(check)) }
                post(.verdicts(client: client, id, verdicts), milliseconds: 1)
            case .finished(let slot, let outcome): outcomes[client][slot] = outcome
            case .fault(let fault): faults.append(fault)
            }
        }
    }

    // MARK: Witnesses

    func context(_ question: WitnessQuestion) -> WitnessContext {
        var account: WitnessAccount?
        if case .exposure(let name, _) = question.slot { account = accounts[name] }
        return WitnessContext(sets: sets, account: account, successor: successor, predecessor: predecessor)
    }

    mutating func machine(_ witness: Int, _ face: Int, _ chain: Chain) -> WitnessMachine? {
        if let machine = seats[witness].faces[face][chain] { return machine }
        let prefix = chain.digest(in: set.id).bytes
        let records = seats[witness].disks[face].filter { $0.key.starts(with: prefix) }
            .sorted { $0.key.lexicographicallyPrecedes($1.key) }
            .map { WitnessRecord(key: $0.key, value: $0.value) }
        return WitnessMachine(chain, in: set, signer: signers[witness], records: records)
    }

    private mutating func ask(_ witness: Int, _ client: Int, _ id: RequestID, _ question: WitnessQuestion) {
        guard !seats[witness].isDown else { return post(.failure(client: client, id), milliseconds: 1_000) }
        let face = client % seats[witness].faces.count
        let chain = question.slot.chain
        guard var machine = machine(witness, face, chain) else { return }
        let clock = WitnessClock(
            milliseconds: wall(witness), steadySince: seats[witness].steadySince, isOff: seats[witness].isOff)
        guard let examined = machine.examine(question, in: context(question)) else {
            return post(.answer(client: client, id, .refused(.badSignature, .first, nil, milliseconds: 0)))
        }
        for check in examined.checks where !isValid(check) {
            return post(.answer(client: client, id, .refused(.badSignature, .first, nil, milliseconds: 0)))
        }
        lastRequest += 1
        let request = RequestID(lastRequest)
        seats[witness].asked[request] = (client, id)
        _ = machine.handle(examined, request, at: clock)
        seats[witness].faces[face][chain] = machine
        drain(witness, face, chain)
    }

    private mutating func drain(_ witness: Int, _ face: Int, _ chain: Chain) {
        guard var machine = seats[witness].faces[face].removeValue(forKey: chain) else { return }
        while let effect = machine.nextEffect() {
            switch effect {
            case .persist(let records, let batch):
                post(.written(witness: witness, twin: face, chain, records, batch), milliseconds: 3)
            case .answer(let request, let answer):
                guard let (client, id) = seats[witness].asked.removeValue(forKey: request) else { continue }
                let said = made(
                    try? WitnessAnswer(encoded: answer.encoded, bytesMax: WitnessLimits.answerBytesMax, "answer"))
                if chance(lossPercent) {
                    post(.failure(client: client, id), milliseconds: 1_000)
                } else {
                    post(.answer(client: client, id, said))
                }
            }
        }
        seats[witness].faces[face][chain] = machine
    }
}

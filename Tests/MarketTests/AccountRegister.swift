// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiMarket
import TuttiWitness

/// Four real witnesses and any number of sellers who debit accounts all at once, in an order that chance makes; no network is
/// between them. Signatures are digests: nobody here forges any.
struct AccountRegister {
    private enum Event {
        case question(seller: Int, RequestID, witness: Int, WitnessQuestion)
        case answer(seller: Int, RequestID, WitnessAnswer)
        case verdicts(seller: Int, RequestID, count: Int)
        case written(witness: Int, Chain, WitnessBatchID)
    }

    private struct Seller {
        var client: RegisterClient
        let device: TradeSigner
        let account: Bytes32
        var amounts: [Int64]
        var known: ExposureProof?
    }

    private let signers: [TradeSigner]
    private let set: WitnessSet
    private let accounts: (Bytes32) -> WitnessAccount?
    private var witnesses: [[Chain: WitnessMachine]]
    private var asked: [[RequestID: (seller: Int, id: RequestID)]]
    private var sellers: [Seller] = []
    private var events: [Event] = []
    private var lastRequest: UInt64 = 0
    private var plansCount = 0
    private var now = Instant.zero
    private var random: SeededGenerator
    /// Of each account what its last certificate says.
    private(set) var certified: [Bytes32: ExposureProof] = [:]
    private(set) var refusals = 0

    static func signer(_ key: Bytes32) -> TradeSigner {
        TradeSigner(key: TradeKey(key)) { message in
            let digest = KeyDerivation.sha256(key.bytes + message).bytes
            return digest + digest
        }
    }

    init?(seed: UInt64, accounts: @escaping (Bytes32) -> WitnessAccount?) {
        let signers = (0..<4).map { Self.signer(Village.id($0, 50)) }.sorted { $0.key < $1.key }
        guard let set = WitnessSet(signers.map(\.key)) else { return nil }
        self.signers = signers
        self.set = set
        self.accounts = accounts
        witnesses = signers.map { _ in [:] }
        asked = signers.map { _ in [:] }
        random = SeededGenerator(seed: seed)
    }

    /// A device that debits as much as it gets, amount after amount.
    mutating func add(_ device: Bytes32, on account: Bytes32, amounts: [Int64]) {
        let client = RegisterClient(seed: random.next())
        sellers.append(Seller(client: client, device: Self.signer(device), account: account, amounts: amounts))
        debit(sellers.count - 1)
    }

    private mutating func debit(_ who: Int) {
        let seller = sellers[who]
        guard let amount = seller.amounts.first else { return }
        plansCount += 1
        let item = ExposureItem(
            plan: Village.id(plansCount, 60), unit: UnitID(Village.id(plansCount, 61)), round: 0, amount: amount)
        let slot = Slot.exposure(account: seller.account, number: (seller.known?.certificate.slot.number ?? 0) + 1)
        let request = ExposureRequest(change: .debit(item), slot: slot.id(in: set.id), signer: seller.device)
        let task = RegisterTask(
            set: set, slot: slot, request: .exposure(request), evidence: seller.known.map { .exposure($0) })
        sellers[who].client.drive(task, signer: seller.device, at: now)
        drain(seller: who)
    }

    /// Until nobody wants any more.
    /// - Returns: whether that was reached.
    mutating func run(turnsMax: Int = 2_000_000) -> Bool {
        for _ in 0..<turnsMax {
            if !events.isEmpty {
                let index = Int.random(in: events.indices, using: &random)
                events.swapAt(index, events.count - 1)
                deliver(events.removeLast())
            } else if let next = sellers.compactMap(\.client.nextTimeout).min() {
                now = max(now, next)
                for who in sellers.indices where sellers[who].client.nextTimeout.map({ $0 <= now }) ?? false {
                    sellers[who].client.handleTimeout(at: now)
                    drain(seller: who)
                }
            } else {
                // Who saw that another was first, but not with what, asks again.
                let waiting = sellers.indices.filter { !sellers[$0].amounts.isEmpty }
                guard !waiting.isEmpty else { return true }
                for who in waiting { debit(who) }
                guard !events.isEmpty else { return false }
            }
        }
        return false
    }

    private mutating func deliver(_ event: Event) {
        switch event {
        case .question(let who, let id, let witness, let question): ask(witness, who, id, question)
        case .answer(let who, let id, let answer):
            sellers[who].client.answered(id, answer, at: now)
            drain(seller: who)
        case .verdicts(let who, let id, let count):
            sellers[who].client.verified(id, Array(repeating: true, count: count), at: now)
            drain(seller: who)
        case .written(let witness, let chain, let batch):
            witnesses[witness][chain]?.persisted(batch)
            drain(witness: witness, chain)
        }
    }

    private mutating func ask(_ witness: Int, _ who: Int, _ id: RequestID, _ question: WitnessQuestion) {
        let chain = question.slot.chain
        guard case .exposure(let account) = chain,
            var machine = witnesses[witness][chain] ?? WitnessMachine(chain, in: set, signer: signers[witness])
        else { return }
        let context = WitnessContext(sets: [set], account: accounts(account))
        guard let examined = machine.examine(question, in: context) else { return }
        lastRequest += 1
        asked[witness][RequestID(lastRequest)] = (who, id)
        let clock = WitnessClock(
            milliseconds: 1_800_000_000_000 + UInt64(now.nanoseconds / 1_000_000), steadySince: 0)
        _ = machine.handle(examined, RequestID(lastRequest), at: clock)
        witnesses[witness][chain] = machine
        drain(witness: witness, chain)
    }

    private mutating func drain(witness: Int, _ chain: Chain) {
        guard var machine = witnesses[witness].removeValue(forKey: chain) else { return }
        while let effect = machine.nextEffect() {
            switch effect {
            case .persist(_, let batch): events.append(.written(witness: witness, chain, batch))
            case .answer(let request, let answer):
                guard let (who, id) = asked[witness].removeValue(forKey: request) else { continue }
                events.append(.answer(seller: who, id, answer))
            }
        }
        witnesses[witness][chain] = machine
    }

    private mutating func drain(seller who: Int) {
        while let effect = sellers[who].client.nextEffect() {
            switch effect {
            case .ask(let id, let key, let question):
                guard let witness = set.keys.firstIndex(of: key) else { continue }
                events.append(.question(seller: who, id, witness: witness, question))
            case .verify(let id, let checks): events.append(.verdicts(seller: who, id, count: checks.count))
            case .finished(_, let outcome): finished(who, outcome)
            case .fault: break
            }
        }
    }

    private mutating func finished(_ who: Int, _ outcome: RegisterOutcome) {
        switch outcome {
        case .decided(_, _, .exposure(let proof)?), .passed(.exposure(let proof)):
            let account = sellers[who].account
            if proof.certificate.slot.number > certified[account]?.certificate.slot.number ?? 0 {
                certified[account] = proof
            }
            sellers[who].known = proof
        case .decided, .passed, .open, .closed: break
        case .failed:
            refusals += 1
            sellers[who].amounts.removeFirst()
        }
        debit(who)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiIdentity
import TuttiWitness

/// How reservations begin.
enum Pace: Sendable {
    /// So many under way at once.
    case window(Int)
    /// So many in each second.
    case rate(Double)
}

/// Has units of one listing reserved: two rounds of questions to all witnesses, each over with the first quorum.
struct Registrar: Sendable {
    private let set: WitnessSet
    private let links: [WitnessLink]
    private let seller = TradeSigner(KeyPair())
    private let stub: UnitStub

    init(set: WitnessSet, links: [WitnessLink]) {
        (self.set, self.links) = (set, links)
        stub = UnitStub(
            seller: seller.key, witnesses: set.id, quantity: WitnessLimits.quantityMax, nonce: Self.random())
    }

    /// - Returns: how long each took.
    func register(_ units: Range<Int>, _ pace: Pace) async throws -> [Duration] {
        try await withThrowingTaskGroup(of: Duration.self) { group in
            var times: [Duration] = []
            let began = ContinuousClock.now
            for (index, unit) in units.enumerated() {
                switch pace {
                case .window(let width):
                    if index >= width, let time = try await group.next() { times.append(time) }
                case .rate(let rate): try await Task.sleep(until: began + .seconds(Double(index) / rate))
                }
                group.addTask { try await reserve(unit) }
            }
            for try await time in group { times.append(time) }
            return times
        }
    }

    private func reserve(_ number: Int) async throws -> Duration {
        let began = ContinuousClock.now
        let unit = stub.unit(number)
        let slot = Slot.reservation(unit, round: 0)
        guard let plan = plan(unit) else { throw CommunityError(.invalidInput, "no plan") }
        let request = ReservationRequest(
            stub: stub, unitNumber: number, plan: plan, exposure: nil, slot: slot.id(in: set.id), signer: seller)
        let value = SlotValue.event(plan.digest)
        let votes = try await quorum(
            slot, .propose(Proposal(ballot: .first, value: value, request: .reservation(request)))
        ) { answer in
            if case .voted(.first, value, let signature, _) = answer { signature } else { nil }
        }
        let lock = Lock(ballot: .first, value: value, votes: votes)
        let commits = try await quorum(slot, .lock(lock)) { answer in
            if case .committed(.first, value, let signature) = answer { signature } else { nil }
        }
        let certificate = Certificate(slot: slot, set: set.id, ballot: .first, value: value, commits: commits)
        guard certificate.isValid(in: set) else { throw CommunityError(.invalidInput, "a certificate doesn't verify") }
        return began.duration(to: .now)
    }

    /// Asks all; enough is a quorum.
    private func quorum(
        _ slot: Slot, _ ask: WitnessAsk, _ signature: @escaping @Sendable (WitnessAnswer) -> WitnessSignature?
    ) async throws -> QuorumProof {
        let question = WitnessQuestion(set: set.id, slot: slot, ask: ask).encoded
        return try await withCheckedThrowingContinuation { continuation in
            let poll = Poll(quorum: set.quorum, of: links.count, continuation)
            for link in links { link.ask(question) { poll.add($0, signature) } }
        }
    }

    private func plan(_ unit: UnitID) -> TradePlan? {
        let seconds = Array(repeating: UInt32(WitnessLimits.deadlineSecondsMin), count: DeadlineName.allCases.count)
        guard let deadlines = TradeDeadlines(seconds) else { return nil }
        return TradePlan(
            trade: TradeID(Self.random()), unit: unit, buyer: TradeKey(Self.random()), seller: seller.key,
            arbiters: [TradeKey(Self.random()), TradeKey(Self.random())], witnesses: set.id, deadlines: deadlines,
            contract: Self.random(), account: Self.random(), amount: 0, charter: Self.random())
    }

    private static func random() -> Bytes32 {
        var source = KeySource.system
        return source.nextBytes32()
    }
}

/// Ends with a quorum, or when none can come any more.
private final class Poll: Sendable {
    private struct State {
        var signatures: [WitnessSignature] = []
        var openCount: Int
        var continuation: CheckedContinuation<QuorumProof, any Error>?
    }

    private let quorum: Int
    private let state: Mutex<State>

    init(quorum: Int, of count: Int, _ continuation: CheckedContinuation<QuorumProof, any Error>) {
        self.quorum = quorum
        state = Mutex(State(openCount: count, continuation: continuation))
    }

    func add(_ result: Result<WitnessAnswer, any Error>, _ signature: (WitnessAnswer) -> WitnessSignature?) {
        state.withLock { state in
            state.openCount -= 1
            if case .success(let answer) = result, let signature = signature(answer) {
                state.signatures.append(signature)
            }
            if let proof = QuorumProof(state.signatures, quorum: quorum) {
                state.continuation?.resume(returning: proof)
                state.continuation = nil
            } else if state.openCount == 0 {
                state.continuation?.resume(throwing: CommunityError(.notAllowed, "no quorum; the last said: \(result)"))
                state.continuation = nil
            }
        }
    }
}

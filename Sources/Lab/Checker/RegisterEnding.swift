// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiWitness

/// What the liar does while others want to come to an end.
package enum RegisterLiar: CaseIterable, Hashable, Sendable {
    case silent
    /// Votes otherwise, names locks that there aren't, and signs rubbish.
    case contrary
}

/// From a state on, the network heals: one real ``RegisterClient`` in contact with the honest witnesses must come to a certificate,
/// whatever the liar does.
extension RegisterWorld {
    private static let stepsMax = 5_000

    /// - Parameter party: 0 the buyer, with its event; 1 the seller, with its own; 2 an arbiter, who has none.
    /// - Returns: what was decided; nil when it didn't come to an end.
    func ending(of states: [3 of Int], by party: Int, against liar: RegisterLiar) -> Int? {
        var machines = (0..<AgreementSystem.honestCount).map { machine(in: states[$0], at: $0) }
        var client = RegisterClient(seed: 1)
        var now = Instant.zero
        let task = RegisterTask(
            set: set, slot: slot, request: party < requests.count ? requests[party] : nil, evidence: evidence)
        client.drive(task, signer: parties[party], at: now)
        for _ in 0..<Self.stepsMax {
            guard let effect = client.nextEffect() else {
                guard let due = client.nextTimeout else { return nil }
                now = max(now, due)
                client.handleTimeout(at: now)
                continue
            }
            switch effect {
            case .verify(let id, let checks): client.verified(id, checks.map(StandInSigner.isValid), at: now)
            case .ask(let id, let key, let question):
                let place = set.index(of: key) ?? 0
                let answer =
                    place < machines.count
                    ? self.answer(of: &machines[place], to: question, at: now) : lie(to: question, liar)
                if let answer { client.answered(id, answer, at: now) } else { client.callFailed(id, at: now) }
            case .finished(_, .decided(let certificate, _, _)):
                guard let checks = certificate.checks(in: set), checks.allSatisfy(StandInSigner.isValid) else {
                    return nil
                }
                return values.firstIndex(of: certificate.value)
            case .finished: return nil
            case .fault: break
            }
        }
        return nil
    }

    private func answer(
        of machine: inout WitnessMachine?, to question: WitnessQuestion, at now: Instant
    )
        -> WitnessAnswer?
    {
        guard var asked = machine, let examined = asked.examine(question, in: context),
            examined.checks.allSatisfy(StandInSigner.isValid)
        else { return .refused(.badSignature, .first, nil, milliseconds: 0) }
        // A day after the deadline, by all honest clocks.
        let elapsed = UInt64(clamping: (now - Instant.zero).saturatedNanoseconds / 1_000_000)
        let clock = WitnessClock(
            milliseconds: Self.start + UInt64(Self.paySeconds) * 3_000 + elapsed, steadySince: 0)
        guard asked.handle(examined, RequestID(1), at: clock) else { return nil }
        var disk: [WitnessRecord] = []
        let answer = drain(&asked, onto: &disk)
        machine = asked
        return answer
    }

    private func lie(to question: WitnessQuestion, _ liar: RegisterLiar) -> WitnessAnswer? {
        guard liar == .contrary else { return nil }
        let place = AgreementSystem.honestCount
        func rubbish(_ ballot: Ballot) -> WitnessSignature {
            WitnessSignature(witness: place, signature: signers[0].sign([UInt8(truncatingIfNeeded: ballot.value)]))
        }
        switch question.ask {
        case .propose(let proposal):
            guard proposal.ballot > .first else {
                return .voted(proposal.ballot, proposal.value, rubbish(proposal.ballot), held: nil)
            }
            return .refused(.promised, Ballot(WitnessLimits.ballotMax), nil, milliseconds: 0)
        case .lock(let lock): return .committed(lock.ballot, lock.value, rubbish(lock.ballot))
        case .report(let ballot, _, _):
            let report = BallotReport(
                purpose: .ballot(ballot), lock: BallotValue(ballot: ballot, value: values[0]), views: [],
                hasPassed: false)
            let signature = signers[place].sign(report.signedBytes(slotID))
            return .reported(
                SignedReport(report: report, signature: WitnessSignature(witness: place, signature: signature)), nil,
                held: [])
        case .close, .inform, .fetch, .clock: return .open(held: [])
        }
    }
}

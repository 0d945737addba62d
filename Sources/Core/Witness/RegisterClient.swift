// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase

/// Drives slots to their certificates for a party: each slot by a ``SlotDrive``, any number at once.
///
/// The owner stores a task before it gives it here, sends what is asked to the witness of that key, and verifies signatures
/// off the loop. Nothing here needs a disk: after a restart the same tasks are given again, and witnesses answer the same question
/// with the same vote. Answers to what is no longer asked are dropped.
package struct RegisterClient: Sendable {
    private struct Call: Sendable {
        let slot: SlotID
        let witness: Int
        let generation: UInt32
    }

    private let configuration: RegisterConfiguration
    private var random: SeededGenerator
    private var drives: [SlotID: SlotDrive] = [:]
    private var calls: [RequestID: Call] = [:]
    private var verifications: [RequestID: (slot: SlotID, generation: UInt32)] = [:]
    private var timers = TimerQueue<SlotID>()
    private var lastRequest: UInt64 = 0
    private var effects: Deque<RegisterEffect> = []
    package private(set) var stats = RegisterStats()

    package init(_ configuration: RegisterConfiguration = RegisterConfiguration(), seed: UInt64) {
        self.configuration = configuration
        random = SeededGenerator(seed: seed)
    }

    // MARK: Inputs

    /// A slot that is driven already goes on as it is.
    /// - Parameter signer: an own key that may sign for the slot's chain.
    package mutating func drive(_ task: RegisterTask, signer: TradeSigner, at now: Instant) {
        guard drives[task.id] == nil else { return }
        guard drives.count < configuration.tasksMax,
            var drive = SlotDrive(task, signer: signer, configuration, random: random.split())
        else { return effects.append(.finished(task.id, .failed(.badTask))) }
        drive.start(at: now)
        settle(&drive)
    }

    /// Nobody waits for it any more. What was signed stays signed.
    package mutating func cancel(_ slot: SlotID) { remove(slot) }

    package mutating func answered(_ id: RequestID, _ answer: WitnessAnswer, at now: Instant) {
        guard let call = calls.removeValue(forKey: id) else { return }
        change(call.slot) { $0.answered(call.witness, call.generation, answer, at: now) }
    }

    /// No answer, or none that can be read.
    package mutating func callFailed(_ id: RequestID, at now: Instant) {
        guard let call = calls.removeValue(forKey: id) else { return }
        change(call.slot) { $0.failed(call.witness, call.generation, at: now) }
    }

    package mutating func verified(_ id: RequestID, _ verdicts: [Bool], at now: Instant) {
        guard let (slot, generation) = verifications.removeValue(forKey: id) else { return }
        change(slot) { $0.verified(generation, verdicts, at: now) }
    }

    // MARK: Timeouts

    package var nextTimeout: Instant? { timers.next }

    package mutating func handleTimeout(at now: Instant) {
        while let slot = timers.popExpired(at: now) {
            change(slot) { $0.handleTimeout(at: now) }
        }
    }

    // MARK: Outputs

    package mutating func nextEffect() -> RegisterEffect? { effects.popFirst() }

    package var count: Int { drives.count }
    package func isDriving(_ slot: SlotID) -> Bool { drives[slot] != nil }

    // MARK: Drives

    private mutating func change(_ slot: SlotID, _ body: (inout SlotDrive) -> Void) {
        // Taken out, so that it is changed in place.
        guard var drive = drives.removeValue(forKey: slot) else { return }
        body(&drive)
        settle(&drive)
    }

    private mutating func settle(_ drive: inout SlotDrive) {
        let slot = drive.id
        var isGone = false
        for order in drive.drain() {
            switch order {
            case .ask(let witness, let generation, let question):
                let id = nextRequest()
                calls[id] = Call(slot: slot, witness: witness, generation: generation)
                effects.append(.ask(id, witness: drive.task.set.keys[witness], question))
            case .verify(let generation, let checks):
                let id = nextRequest()
                verifications[id] = (slot, generation)
                effects.append(.verify(id, checks))
            case .finished(let outcome): effects.append(.finished(slot, outcome))
            case .fault(let fault): effects.append(.fault(fault))
            case .gone: isGone = true
            }
        }
        stats.add(drive.takeStats())
        guard !isGone else { return remove(slot) }
        drives[slot] = drive
        if let wake = drive.wake { timers.set(slot, at: wake) } else { timers.cancel(slot) }
    }

    private mutating func remove(_ slot: SlotID) {
        drives[slot] = nil
        timers.cancel(slot)
    }

    private mutating func nextRequest() -> RequestID {
        lastRequest += 1
        return RequestID(lastRequest)
    }
}

extension RegisterStats {
    fileprivate mutating func add(_ more: RegisterStats) {
        decided += more.decided
        passed += more.passed
        failed += more.failed
        ballots += more.ballots
        asked += more.asked
        retries += more.retries
        faults += more.faults
        forged += more.forged
    }
}

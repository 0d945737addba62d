// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

/// All dials of the node: who asked, which run, which wait for their turn, which addresses are left alone for a while.
///
/// Each request has one deadline, that of the whole dial: names, queueing and every attempt count. Requests for one peer
/// share a dial. The order of addresses within a dial is `DialPlanMachine`'s.
///
/// Invariants: each request gets exactly one answer; at most `dialsMax` dials are active; every attempt that was started
/// and not reported over is known here, as running or as abandoned.
package struct DialTable: Sendable {
    package enum OnEstablished: Sendable {
        /// Not one of ours, or no longer wanted: close it.
        case unwanted
        case won(waiters: [RequestID], address: Multiaddr, security: ProtocolID, isDialBack: Bool)
    }

    /// An address at which somebody else answered.
    package struct WrongPeer: Hashable, Sendable {
        package let address: Multiaddr
        package let expected: PeerID
    }

    private struct PlanID: Hashable, Sendable {
        let value: UInt64
    }

    private struct Plan: Sendable {
        let peer: PeerID?
        var machine: DialPlanMachine
        var names: [(Multiaddr, PeerID?)]
        var waiters: [RequestID]
        var deadline: Instant
        var isActive = false
        /// Asked for by another: one address, shared with nobody, and nothing is learnt from its failure.
        var isDialBack = false
    }

    private enum TimerKey: Hashable, Sendable {
        case request(RequestID)
        case plan(PlanID)
    }

    private let configuration: PeersConfiguration
    private var limits: NodeLimits { configuration.limits }
    private var plans: [PlanID: Plan] = [:]
    private var planOfPeer: [PeerID: PlanID] = [:]
    private var planOfRequest: [RequestID: PlanID] = [:]
    private var planOfAttempt: [ConnectionID: PlanID] = [:]
    private var planOfResolution: [ConnectionID: PlanID] = [:]
    /// Cancelled attempts whose end was not reported yet.
    private var abandoned: Set<ConnectionID> = []
    private var queue: Deque<PlanID> = []
    private var timers = TimerQueue<TimerKey>()
    private var lastPlan: UInt64 = 0
    private var nextConnection: UInt64 = 1
    private var isActivating = false
    package private(set) var backoff: AddressBackoff
    package private(set) var activeCount = 0
    /// How many more connections the node may hold, dials under way not yet subtracted. Kept current by PeersCore.
    package var connectionRoom: Int
    /// Sites that we may be on ourselves.
    package var localBlocks: Set<UInt8> = []

    package init(configuration: PeersConfiguration) {
        self.configuration = configuration
        backoff = AddressBackoff(limits: configuration.limits)
        connectionRoom = configuration.limits.connectionsMax
    }

    package var queuedCount: Int { queue.count }
    package var requestCount: Int { planOfRequest.count }
    package var attemptCount: Int { planOfAttempt.count }
    package var nextTimeout: Instant? { timers.next }

    // MARK: Inputs

    /// - Parameters:
    ///   - addresses: in the order of trust; a trailing `/p2p` says who is expected there.
    ///   - lastGood: the address that worked last.
    ///   - securities: in the order in which to propose them to this peer.
    ///   - isDialBack: a connection of its own, whatever dials or connections to the peer there are.
    package mutating func request(
        _ id: RequestID, peer: PeerID?, addresses: [Multiaddr], lastGood: Multiaddr?, securities: [ProtocolID],
        deadline: Instant, isDialBack: Bool = false, at now: Instant, _ outbox: inout PeersOutbox
    ) {
        guard planOfRequest[id] == nil else {
            outbox.stats.lateInputs += 1
            return
        }
        guard deadline > now else { return outbox.reject(id, .deadline) }
        guard planOfRequest.count < limits.dialRequestsMax else { return outbox.reject(id, .limit) }
        let usable = sort(addresses, peer: peer, lastGood: lastGood, at: now, mindsFailures: !isDialBack)
        if !isDialBack, let peer, let shared = planOfPeer[peer], plans[shared]?.machine.isSettled == false {
            join(shared, id, usable, deadline: deadline, at: now, &outbox)
            return
        }
        guard !usable.candidates.isEmpty || !usable.names.isEmpty else {
            return outbox.reject(id, usable.gateRefused ? .refusedByGate : .noUsableAddress)
        }
        guard activeCount < connectionRoom else { return outbox.reject(id, .limit) }
        guard activeCount < limits.dialsMax || queue.count < limits.dialQueueMax else {
            return outbox.reject(id, .limit)
        }
        lastPlan += 1
        let planID = PlanID(value: lastPlan)
        var machine = DialPlanMachine(securities: securities, limits: limits, at: now)
        machine.add(usable.candidates)
        plans[planID] = Plan(
            peer: peer, machine: machine, names: usable.names, waiters: [id], deadline: deadline,
            isDialBack: isDialBack)
        if let peer, !isDialBack { planOfPeer[peer] = planID }
        planOfRequest[id] = planID
        timers.set(.request(id), at: deadline)
        queue.append(planID)
        activateQueued(at: now, &outbox)
    }

    package mutating func cancel(_ id: RequestID, at now: Instant, _ outbox: inout PeersOutbox) {
        guard let planID = planOfRequest[id] else { return }
        outbox.reject(id, .cancelled, plans[planID]?.machine.failures ?? [])
        leave(id, planID, at: now, &outbox)
    }

    package mutating func resolved(
        _ id: ConnectionID, _ addresses: [Multiaddr], at now: Instant, _ outbox: inout PeersOutbox
    ) {
        guard let planID = planOfResolution.removeValue(forKey: id), var plan = plans[planID],
            let ended = plan.machine.endResolution(id)
        else {
            outbox.stats.lateInputs += 1
            return
        }
        let answers = sort(addresses, peer: ended.expected, lastGood: nil, at: now)
        plan.machine.add(answers.candidates)
        plans[planID] = plan
        for (name, expected) in answers.names {
            resolve(name, expected: expected, depth: ended.depth + 1, for: planID, &outbox)
        }
        step(planID, at: now, &outbox)
    }

    /// An attempt that never became a connection.
    package mutating func failed(
        _ id: ConnectionID, _ reason: CloseReason, at now: Instant, _ outbox: inout PeersOutbox
    ) -> WrongPeer? {
        if abandoned.remove(id) != nil { return nil }
        guard let planID = planOfAttempt.removeValue(forKey: id), let deadline = plans[planID]?.deadline else {
            outbox.stats.lateInputs += 1
            return nil
        }
        outbox.stats.attemptsFailed += 1
        let isDialBack = plans[planID]?.isDialBack == true
        var wrong: WrongPeer?
        switch plans[planID]?.machine.failed(id, reason, deadline: deadline, at: now) {
        case .securityFallback:
            outbox.stats.securityFallbacks += 1
        case .addressFailed(let address):
            switch reason {
            case _ where isDialBack: break
            case .violation(.wrongPeer(let expected, _), _): wrong = WrongPeer(address: address, expected: expected)
            // Ours, or ended in good order: neither says that the address is bad.
            case .local: break
            default: backoff.failed(address, reason, at: now)
            }
        case .again, .unknown, nil:
            break
        }
        step(planID, at: now, &outbox)
        return wrong
    }

    package mutating func established(
        _ id: ConnectionID, peer: PeerID, at now: Instant, _ outbox: inout PeersOutbox
    ) -> OnEstablished {
        if abandoned.remove(id) != nil { return .unwanted }
        guard let planID = planOfAttempt[id],
            let attempt = plans[planID]?.machine.running.first(where: { $0.id == id })
        else {
            outbox.stats.lateInputs += 1
            return .unwanted
        }
        let expected = attempt.candidate.expected ?? peer
        guard peer == expected, peer != configuration.identity.peerID else {
            _ = failed(id, .violation(.wrongPeer(expected: expected, actual: peer), .secure), at: now, &outbox)
            return .unwanted
        }
        let waiters = plans[planID]?.waiters ?? []
        guard configuration.gate(.outbound, attempt.candidate.address, peer) else {
            _ = plans[planID]?.machine.established(id)
            planOfAttempt[id] = nil
            finish(planID, .refusedByGate, at: now, &outbox)
            return .unwanted
        }
        _ = plans[planID]?.machine.established(id)
        planOfAttempt[id] = nil
        // Before the next dial takes the place of this one.
        connectionRoom -= 1
        backoff.succeeded(attempt.candidate.address)
        let isDialBack = plans[planID]?.isDialBack == true
        for waiter in waiters { forget(waiter) }
        plans[planID]?.waiters = []
        remove(planID, at: now, &outbox)
        return .won(
            waiters: waiters, address: attempt.candidate.address, security: attempt.security, isDialBack: isDialBack)
    }

    /// A connection to `peer` came up by other means: whoever waits for one has it, and no further attempt begins.
    ///
    /// Attempts under way may finish: the peer may have one of them up already and use it, and where both sides dialled
    /// and both cancelled, each could lose the connection that the other kept.
    package mutating func connected(
        _ peer: PeerID, at now: Instant, _ outbox: inout PeersOutbox
    ) -> [RequestID] {
        guard let planID = planOfPeer[peer], let plan = plans[planID] else { return [] }
        for waiter in plan.waiters { forget(waiter) }
        plans[planID]?.waiters = []
        if plan.isActive {
            dropResolutions(planID)
            plans[planID]?.machine.settle()
            step(planID, at: now, &outbox)
        } else {
            remove(planID, at: now, &outbox)
        }
        return plan.waiters
    }

    /// `connectionRoom` may have grown: dials that wait may begin.
    package mutating func roomChanged(at now: Instant, _ outbox: inout PeersOutbox) {
        if !queue.isEmpty { activateQueued(at: now, &outbox) }
    }

    package mutating func handleTimeout(at now: Instant, _ outbox: inout PeersOutbox) {
        while let key = timers.popExpired(at: now) {
            switch key {
            case .plan(let planID):
                step(planID, at: now, &outbox)
            case .request(let id):
                guard let planID = planOfRequest[id], let plan = plans[planID] else { continue }
                let met = plan.machine.failures + plan.machine.running.map { ($0.candidate.address, .timeout(.dial)) }
                outbox.reject(id, .deadline, met)
                leave(id, planID, at: now, &outbox)
            }
        }
    }

    // MARK: Addresses

    private struct Usable {
        var candidates: [DialPlanMachine.Candidate] = []
        var names: [(Multiaddr, PeerID?)] = []
        var gateRefused = false
    }

    /// Drops what can't be dialled, what the gate refuses and what names another peer; ranks the rest.
    private func sort(
        _ addresses: [Multiaddr], peer: PeerID?, lastGood: Multiaddr?, at now: Instant, mindsFailures: Bool = true
    ) -> Usable {
        var usable = Usable()
        for address in addresses {
            let named = address.peerID
            if let peer, let named, named != peer { continue }
            let bare = address.withoutPeerID
            let kind = bare.kind
            switch kind {
            case .unusable: continue
            case .memory where !configuration.dialsMemory: continue
            case .memory, .ip4, .ip6, .name: break
            }
            guard configuration.gate(.outbound, bare, peer ?? named) else {
                usable.gateRefused = true
                continue
            }
            if kind == .name {
                usable.names.append((bare, peer ?? named))
                continue
            }
            var candidate = DialPlanMachine.Candidate(address: bare, expected: peer ?? named)
            candidate.rank = bare == lastGood ? 0 : rank(kind)
            if mindsFailures, let failed = backoff[bare], failed.until > now {
                candidate.notBefore = failed.until
                candidate.lastFailure = failed.reason
            }
            usable.candidates.append(candidate)
        }
        return usable
    }

    /// What worked last goes first (0). Then this machine, which answers or refuses at once; then a site that we may be
    /// on; then the internet; then sites that we don't seem to be on.
    private func rank(_ kind: AddressKind) -> Int {
        switch kind.scope {
        case .loopback: 1
        case .local(let block): localBlocks.contains(block) ? 2 : 4
        case .global: 3
        }
    }

    // MARK: Plans

    private mutating func join(
        _ planID: PlanID, _ id: RequestID, _ usable: Usable, deadline: Instant, at now: Instant,
        _ outbox: inout PeersOutbox
    ) {
        guard var plan = plans[planID] else { return }
        plan.waiters.append(id)
        plan.deadline = max(plan.deadline, deadline)
        plan.machine.add(usable.candidates)
        if !plan.isActive { plan.names += usable.names }
        let isActive = plan.isActive
        plans[planID] = plan
        planOfRequest[id] = planID
        timers.set(.request(id), at: deadline)
        guard isActive else { return }
        for (name, expected) in usable.names { resolve(name, expected: expected, depth: 0, for: planID, &outbox) }
        step(planID, at: now, &outbox)
    }

    private mutating func activateQueued(at now: Instant, _ outbox: inout PeersOutbox) {
        // A dial that ends while it begins must not begin the next one from inside: the loop does.
        guard !isActivating else { return }
        isActivating = true
        defer { isActivating = false }
        while activeCount < min(limits.dialsMax, connectionRoom), let planID = queue.popFirst() {
            guard let names = plans[planID]?.names else { continue }
            plans[planID]?.isActive = true
            activeCount += 1
            for (name, expected) in names { resolve(name, expected: expected, depth: 0, for: planID, &outbox) }
            step(planID, at: now, &outbox)
        }
    }

    private mutating func resolve(
        _ name: Multiaddr, expected: PeerID?, depth: Int, for planID: PlanID, _ outbox: inout PeersOutbox
    ) {
        let id = ConnectionID(nextConnection)
        guard plans[planID]?.machine.beginResolution(of: name, expected: expected, as: id, depth: depth) == true else {
            return
        }
        nextConnection += 2
        planOfResolution[id] = planID
        outbox.stats.resolutions += 1
        outbox.append(.resolve(id, name))
    }

    /// Starts what may start, and sets the timer for the rest.
    private mutating func step(_ planID: PlanID, at now: Instant, _ outbox: inout PeersOutbox) {
        guard let plan = plans[planID], plan.isActive else { return }
        // Past the deadline nothing begins; the timers of the requests are due and end it.
        if plan.deadline <= now, !plan.waiters.isEmpty { return }
        while let next = plans[planID]?.machine.next(at: now), let deadline = plans[planID]?.deadline {
            switch next {
            case .start(let candidate, let security):
                let id = ConnectionID(nextConnection)
                nextConnection += 2
                planOfAttempt[id] = planID
                plans[planID]?.machine.started(candidate, security: security, as: id, deadline: deadline, at: now)
                outbox.stats.attempts += 1
                outbox.append(
                    .dial(
                        id, address: candidate.address, expected: candidate.expected, security: security,
                        deadline: deadline))
            case .wait(let until):
                if plans[planID]?.machine.isHopeless(until: deadline) == true {
                    return finish(planID, .allAttemptsFailed, at: now, &outbox)
                }
                return timers.set(.plan(planID), at: until)
            case .idle:
                return timers.cancel(.plan(planID))
            case .exhausted:
                let isEmpty = plans[planID]?.machine.failures.isEmpty ?? true
                return finish(planID, isEmpty ? .noUsableAddress : .allAttemptsFailed, at: now, &outbox)
            }
        }
    }

    private mutating func finish(
        _ planID: PlanID, _ code: DialError.Code, at now: Instant, _ outbox: inout PeersOutbox
    ) {
        guard let plan = plans[planID] else { return }
        let met = plan.machine.failures + plan.machine.backedOff()
        for waiter in plan.waiters {
            forget(waiter)
            outbox.reject(waiter, code, met)
        }
        plans[planID]?.waiters = []
        remove(planID, at: now, &outbox)
    }

    /// One request is answered; a dial that nobody waits for ends.
    private mutating func leave(_ id: RequestID, _ planID: PlanID, at now: Instant, _ outbox: inout PeersOutbox) {
        forget(id)
        plans[planID]?.waiters.removeAll { $0 == id }
        guard plans[planID]?.waiters.isEmpty == true else { return }
        remove(planID, at: now, &outbox)
    }

    private mutating func forget(_ id: RequestID) {
        planOfRequest[id] = nil
        timers.cancel(.request(id))
    }

    private mutating func dropResolutions(_ planID: PlanID) {
        for id in plans[planID]?.machine.resolutionIDs ?? [] { planOfResolution[id] = nil }
    }

    /// Ends the dial: what still runs is cancelled, and the next in the queue gets its turn.
    private mutating func remove(_ planID: PlanID, at now: Instant, _ outbox: inout PeersOutbox) {
        dropResolutions(planID)
        guard let plan = plans.removeValue(forKey: planID) else { return }
        assert(plan.waiters.isEmpty, "a request must not lose its dial before it has its answer")
        for attempt in plan.machine.running {
            planOfAttempt[attempt.id] = nil
            abandoned.insert(attempt.id)
            outbox.stats.attemptsCancelled += 1
            outbox.append(.cancelDial(attempt.id))
        }
        timers.cancel(.plan(planID))
        if let peer = plan.peer, planOfPeer[peer] == planID { planOfPeer[peer] = nil }
        if plan.isActive {
            activeCount -= 1
            activateQueued(at: now, &outbox)
        } else {
            queue.removeAll { $0 == planID }
        }
    }
}

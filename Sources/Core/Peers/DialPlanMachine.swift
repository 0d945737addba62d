// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

/// One dial: which address is tried when, until one attempt leads to a connection or none is left.
///
/// Follows RFC 8305 (Happy Eyeballs 2): sections 4 (order: families interleaved, IPv6 first) and 5 (attempts staggered,
/// the next one at once when one fails). It does not follow section 3: a name is resolved as a whole, both families in
/// one answer, so there is no resolution delay.
///
/// It holds no deadline and sends nothing; `DialTable` does. It decides only what comes next:
///
///     racing ──(waiters answered elsewhere)──> settled ──(last attempt over)──> done
///
/// Legal and late: an answer or a failure for an id that is no longer known. There is no way for a peer to be at fault
/// here other than the failure of its attempt.
///
/// Invariants: an address is waiting, running or over, never two of them; at most `attemptsPerDialMax` run; at most
/// `addressesPerDialMax` addresses are ever known, at most `resolutionsPerDialMax` names are ever resolved.
package struct DialPlanMachine: Sendable {
    package struct Candidate: Hashable, Sendable {
        package let address: Multiaddr
        /// Who must answer; nil: anybody.
        package var expected: PeerID?
        /// Where the list of securities stands for this address.
        package var securityIndex = 0
        /// An address that failed lately waits until then.
        package var notBefore: Instant = .zero
        /// What it met when it failed.
        package var lastFailure: CloseReason?
        /// Lower goes first: see `DialTable.rank`.
        package var rank = 0

        package init(address: Multiaddr, expected: PeerID?) {
            self.address = address
            self.expected = expected
        }
    }

    package struct Attempt: Hashable, Sendable {
        package let id: ConnectionID
        package let candidate: Candidate
        package let security: ProtocolID
        package let deadline: Instant
    }

    package enum Next: Hashable, Sendable {
        /// Start this one now, then ask again.
        case start(Candidate, security: ProtocolID)
        /// Nothing before then, unless something happens.
        case wait(until: Instant)
        /// Nothing until an attempt or a resolution ends.
        case idle
        /// Nothing runs and nothing is left to try.
        case exhausted
    }

    package enum OnFailed: Hashable, Sendable {
        case unknown
        /// The same address with the next security, which goes first.
        case securityFallback
        /// The address is over.
        case addressFailed(Multiaddr)
        /// It ran into a deadline that has been extended since: it goes back to the list.
        case again
    }

    private enum State: Sendable {
        case racing
        case settled
    }

    private var state: State = .racing
    /// Sorted; the next one is the first whose `notBefore` has come.
    private var waiting: [Candidate] = []
    package private(set) var running: [Attempt] = []
    /// Resolutions under way: how many names deep each is.
    private var resolving: [(id: ConnectionID, depth: Int, expected: PeerID?)] = []
    private var known: Set<Multiaddr> = []
    private var resolutionsBegun = 0
    private var nextStart: Instant
    private var lastWasIP6 = false
    private var securities: [ProtocolID]
    private let limits: NodeLimits
    /// What each attempt met, in order.
    package private(set) var failures: [(address: Multiaddr, reason: CloseReason)] = []

    /// - Parameter securities: in the order in which to propose them; not empty.
    package init(securities: [ProtocolID], limits: NodeLimits, at now: Instant) {
        precondition(!securities.isEmpty, "a dial needs a security protocol to propose")
        self.securities = securities
        self.limits = limits
        nextStart = now
    }

    package var isSettled: Bool {
        switch state {
        case .racing: false
        case .settled: true
        }
    }

    package var resolutionIDs: [ConnectionID] { resolving.map(\.id) }

    package var hasWork: Bool { !running.isEmpty || !resolving.isEmpty }

    // MARK: Inputs

    /// Adds addresses; those known and those over the limit are dropped.
    package mutating func add(_ candidates: [Candidate]) {
        switch state {
        case .settled:
            return
        case .racing:
            for candidate in candidates where known.count < limits.addressesPerDialMax {
                guard known.insert(candidate.address).inserted else { continue }
                waiting.append(candidate)
            }
            waiting = DialPlanMachine.interleaved(waiting, startingWithIP6: !lastWasIP6)
        }
    }

    /// Whether this name may be looked up; when it may, it counts as under way under `id`.
    package mutating func beginResolution(
        of name: Multiaddr, expected: PeerID?, as id: ConnectionID, depth: Int
    ) -> Bool {
        switch state {
        case .settled:
            return false
        case .racing:
            guard resolutionsBegun < limits.resolutionsPerDialMax, depth < 3 else { return false }
            guard known.insert(name).inserted else { return false }
            resolutionsBegun += 1
            resolving.append((id, depth, expected))
            return true
        }
    }

    /// The depth of the name that was answered and the peer it was for; nil when nobody waits for it.
    package mutating func endResolution(_ id: ConnectionID) -> (depth: Int, expected: PeerID?)? {
        guard let position = resolving.firstIndex(where: { $0.id == id }) else { return nil }
        let ended = resolving.remove(at: position)
        return (ended.depth, ended.expected)
    }

    /// What to do now. A `.start` is then either `started` or `skipped`.
    package mutating func next(at now: Instant) -> Next {
        switch state {
        case .settled:
            return hasWork ? .idle : .exhausted
        case .racing:
            guard !waiting.isEmpty else { return hasWork ? .idle : .exhausted }
            guard running.count < limits.attemptsPerDialMax else { return .idle }
            if nextStart > now { return .wait(until: nextStart) }
            guard let position = waiting.firstIndex(where: { $0.notBefore <= now }) else {
                return .wait(until: waiting.map(\.notBefore).min() ?? now)
            }
            let candidate = waiting.remove(at: position)
            return .start(candidate, security: security(of: candidate))
        }
    }

    package mutating func started(
        _ candidate: Candidate, security: ProtocolID, as id: ConnectionID, deadline: Instant, at now: Instant
    ) {
        running.append(Attempt(id: id, candidate: candidate, security: security, deadline: deadline))
        lastWasIP6 = candidate.address.kind.isIP6
        nextStart = now + limits.dialStagger
    }

    package mutating func failed(
        _ id: ConnectionID, _ reason: CloseReason, deadline: Instant, at now: Instant
    ) -> OnFailed {
        guard let position = running.firstIndex(where: { $0.id == id }) else { return .unknown }
        let attempt = running.remove(at: position)
        // The next one needn't wait for the rest of the head start.
        nextStart = now
        switch state {
        case .settled:
            return .addressFailed(attempt.candidate.address)
        case .racing:
            if case .violation(.refused(attempt.security), _) = reason, let index = indexAfter(attempt) {
                var candidate = attempt.candidate
                candidate.securityIndex = index
                candidate.notBefore = .zero
                // What one address of a peer refuses, its others will.
                for other in waiting.indices
                where candidate.expected != nil && waiting[other].expected == candidate.expected {
                    waiting[other].securityIndex = max(waiting[other].securityIndex, index)
                }
                waiting.insert(candidate, at: 0)
                return .securityFallback
            }
            if case .timeout = reason, attempt.deadline <= now, deadline > now {
                waiting.append(attempt.candidate)
                return .again
            }
            failures.append((attempt.candidate.address, reason))
            return .addressFailed(attempt.candidate.address)
        }
    }

    /// The attempt that became a connection; it is no longer running. Nil when it isn't one of ours.
    package mutating func established(_ id: ConnectionID) -> Attempt? {
        guard let position = running.firstIndex(where: { $0.id == id }) else { return nil }
        return running.remove(at: position)
    }

    /// No new attempts: whoever waited has an answer. Attempts that run may finish.
    package mutating func settle() {
        state = .settled
        waiting = []
        resolving = []
    }

    /// Addresses that are still left alone because they failed lately, with what they met then.
    package func backedOff() -> [(address: Multiaddr, reason: CloseReason)] {
        waiting.compactMap { candidate in candidate.lastFailure.map { (candidate.address, $0) } }
    }

    /// Nothing runs, and what is left must not be tried before `deadline`.
    package func isHopeless(until deadline: Instant) -> Bool {
        !hasWork && waiting.allSatisfy { $0.notBefore > deadline }
    }

    // MARK: Private parts

    private func security(of candidate: Candidate) -> ProtocolID {
        candidate.securityIndex < securities.count ? securities[candidate.securityIndex] : securities[0]
    }

    private func indexAfter(_ attempt: Attempt) -> Int? {
        let index = attempt.candidate.securityIndex + 1
        return index < securities.count ? index : nil
    }

    /// By rank, then in the order given; within a rank the families take turns (RFC 8305 section 4).
    static func interleaved(_ candidates: [Candidate], startingWithIP6: Bool) -> [Candidate] {
        var result: [Candidate] = []
        result.reserveCapacity(candidates.count)
        for rank in Set(candidates.map(\.rank)).sorted() {
            var families: (ip6: [Candidate], other: [Candidate]) = ([], [])
            for candidate in candidates where candidate.rank == rank {
                if candidate.address.kind.isIP6 {
                    families.ip6.append(candidate)
                } else {
                    families.other.append(candidate)
                }
            }
            let first = startingWithIP6 ? families.ip6 : families.other
            let second = startingWithIP6 ? families.other : families.ip6
            for index in 0..<max(first.count, second.count) {
                if index < first.count { result.append(first[index]) }
                if index < second.count { result.append(second[index]) }
            }
        }
        return result
    }
}

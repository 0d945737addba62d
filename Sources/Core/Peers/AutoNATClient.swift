// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiIdentity

/// Asks others whether they can dial us, one address at a time: the client of AutoNAT v2 (libp2p specs
/// autonat/autonat-v2.md).
///
/// Each address is asked about until `judgementsWanted` judges from different parts of the network have answered, again
/// when that is `recheckInterval` ago, and by others at once when one contradicts those before it. Global addresses are
/// put to servers outside this site only (one on our own network may take a short way that nobody else has), other
/// addresses only to servers that see us there.
///
///     request: asked -> (data paid ->) answered | failed | timed out
///
/// A server's word that it reached us counts only with the nonce, which it can deliver only by reaching us. One that says
/// so without, or answers about an address that it wasn't asked about, is never asked again. Legal late events: anything
/// for a request that is gone.
package struct AutoNATClient: Sendable {
    package struct Limits: Sendable {
        /// Servers that may be asked, of those connected. At it: further ones are passed over.
        package var serversMax = 64
        /// Addresses of ours. At it: the least likely are left out.
        package var addressesMax = 16
        package var addressesPerRequestMax = 8
        package var requestsMax = 3
        package var judgementsWanted = 3
        package var recheckInterval: Duration = .seconds(15 * 60)
        /// From the moment that a server is known to the first question.
        package var settleTime: Duration = .milliseconds(50)
        /// Between two questions to one server: short for the first few, then such that no server finds it too often.
        package var pauseMin: Duration = .seconds(1)
        package var quickQuestions = 3
        package var pause: Duration = .seconds(15)
        /// After a refusal or a failure.
        package var refusalPause: Duration = .seconds(60)
        /// Longer than servers take.
        package var requestTimeout: Duration = .seconds(40)
        /// What is paid for a dial to another address than the one that the server sees. Over it: the question is given up.
        package var dataBytesMax: UInt64 = 100_000
        /// Payments: one per interval on average. Over it: the question is given up.
        package var dataInterval: Duration = .seconds(120)
        package var dataBurst = 4

        package init() {}
    }

    package enum Input: Sendable {
        /// Where we might be reachable, the most likely first.
        case candidates([Multiaddr])
        /// A connected peer that dials back, and where it sees us.
        case serverFound(PeerID, remote: Multiaddr, observed: Multiaddr?)
        case serverLost(PeerID)
        /// An answer on the stream of a question.
        case received(RequestID, AutoNATMessage)
        /// The stream of a question could not be opened, failed or ended.
        case failed(RequestID)
    }

    package enum Effect: Hashable, Sendable {
        /// On a new stream. The server's connection is its dial-back, until `.end` or `.abandon`.
        case ask(RequestID, PeerID, AutoNATMessage)
        /// So many bytes in `.dialDataResponse`s.
        case pay(RequestID, bytes: UInt64)
        /// The answer was read: close the stream.
        case end(RequestID)
        /// Reset the stream.
        case abandon(RequestID)
        case judged(Multiaddr, by: ReachabilityTable.Judge, isReachable: Bool)
    }

    package struct Stats: Hashable, Sendable {
        package var requests: UInt64 = 0
        package var reached: UInt64 = 0
        package var notReached: UInt64 = 0
        package var refused: UInt64 = 0
        package var failed: UInt64 = 0
        package var bytesPaid: UInt64 = 0
        /// Servers that claimed what can't be.
        package var liars: UInt64 = 0
    }

    private struct Server: Sendable {
        let peer: PeerID
        let judge: ReachabilityTable.Judge
        /// Whether it is outside this machine and site.
        let isOutside: Bool
        var observed: IPAddress?
        var notBefore: Instant
        var questions = 0
        var isBarred = false
    }

    private struct Candidate: Sendable {
        let address: Multiaddr
        /// Whose judgement is how old, the oldest first.
        var judgements: [(judge: ReachabilityTable.Judge, at: Instant)] = []
        /// What the latest of them said.
        var isReachable: Bool?
    }

    private struct Request: Sendable {
        let peer: PeerID
        let judge: ReachabilityTable.Judge
        let addresses: [Multiaddr]
        let nonce: UInt64
        var wasDialledBack = false
        var wasPaid = false
    }

    private let limits: Limits
    private var generator: SeededGenerator
    private var nonces: KeySource
    private var candidates: [Candidate] = []
    /// In the order in which they were found.
    private var servers: [Server] = []
    private var requests: [RequestID: Request] = [:]
    private var deadlines = TimerQueue<RequestID>()
    private var lastRequest: UInt64 = 0
    private var payments: TokenBucket
    private var wakeAt: Instant?
    private var effects: Deque<Effect> = []
    package private(set) var stats = Stats()

    /// - Parameters:
    ///   - seed: for the choice among servers.
    ///   - nonces: `.system` in every live node.
    package init(limits: Limits = Limits(), seed: UInt64, nonces: KeySource, at now: Instant) {
        self.limits = limits
        generator = SeededGenerator(seed: seed)
        self.nonces = nonces
        payments = TokenBucket(interval: limits.dataInterval, burst: limits.dataBurst, at: now)
    }

    package var requestCount: Int { requests.count }
    package var serverCount: Int { servers.count }
    package var nextTimeout: Instant? {
        guard let wakeAt, let next = deadlines.next else { return wakeAt ?? deadlines.next }
        return min(wakeAt, next)
    }
    package mutating func nextEffect() -> Effect? { effects.popFirst() }

    // MARK: Inputs

    package mutating func handle(_ input: Input, at now: Instant) {
        switch input {
        case .candidates(let addresses): change(addresses)
        case .serverFound(let peer, let remote, let observed): found(peer, remote, observed, at: now)
        case .serverLost(let peer):
            servers.removeAll { $0.peer == peer }
            for id in requests.filter({ $0.value.peer == peer }).keys.sorted() {
                remove(id)
                stats.failed += 1
                effects.append(.abandon(id))
            }
        case .received(let id, let message): received(id, message, at: now)
        case .failed(let id):
            guard let request = remove(id) else { return }
            stats.failed += 1
            pause(request.peer, for: limits.refusalPause, at: now)
        }
        work(at: now)
    }

    /// A peer dialled us and says the nonce. False: it is none of ours.
    package mutating func dialledBack(nonce: UInt64) -> Bool {
        guard let id = requests.first(where: { $0.value.nonce == nonce })?.key else { return false }
        requests[id]?.wasDialledBack = true
        return true
    }

    package mutating func handleTimeout(at now: Instant) {
        while let id = deadlines.popExpired(at: now) {
            guard let request = remove(id) else { continue }
            stats.failed += 1
            pause(request.peer, for: limits.refusalPause, at: now)
            effects.append(.abandon(id))
        }
        work(at: now)
    }

    private mutating func change(_ addresses: [Multiaddr]) {
        let known = candidates
        candidates = []
        for address in addresses where candidates.count < limits.addressesMax {
            guard !candidates.contains(where: { $0.address == address }) else { continue }
            candidates.append(known.first { $0.address == address } ?? Candidate(address: address))
        }
    }

    private mutating func found(_ peer: PeerID, _ remote: Multiaddr, _ observed: Multiaddr?, at now: Instant) {
        let ip = observed?.ipAddress?.unwrapped
        if let index = servers.firstIndex(where: { $0.peer == peer }) {
            servers[index].observed = ip ?? servers[index].observed
            return
        }
        guard servers.count < limits.serversMax else { return }
        let group = remote.group
        servers.append(
            Server(
                peer: peer, judge: group == .none ? .peer(peer) : .group(group),
                isOutside: remote.kind.scope == .global, observed: ip, notBefore: now + limits.settleTime))
    }

    // MARK: Answers

    private mutating func received(_ id: RequestID, _ message: AutoNATMessage, at now: Instant) {
        guard let request = requests[id] else { return }
        switch message {
        case .dialDataRequest(let index, let bytes):
            guard request.addresses.indices.contains(index), !request.wasPaid else { return bar(id) }
            guard bytes <= limits.dataBytesMax, payments.take(at: now) else {
                remove(id)
                stats.refused += 1
                pause(request.peer, for: limits.refusalPause, at: now)
                return effects.append(.abandon(id))
            }
            requests[id]?.wasPaid = true
            stats.bytesPaid += bytes
            effects.append(.pay(id, bytes: bytes))
        case .dialResponse(.ok, let index, let dial):
            guard request.addresses.indices.contains(index) else { return bar(id) }
            let address = request.addresses[index]
            switch dial {
            case .ok where !request.wasDialledBack: bar(id)
            case .ok: answered(id, request, address, isReachable: true, at: now)
            // It reached us, whatever it says of what came then.
            case .dialBackError where request.wasDialledBack:
                answered(id, request, address, isReachable: true, at: now)
            case .dialError: answered(id, request, address, isReachable: false, at: now)
            case .dialBackError, .unused: refused(id, request, at: now)
            }
        case .dialResponse: refused(id, request, at: now)
        case .dialRequest, .dialDataResponse: bar(id)
        }
    }

    private mutating func answered(
        _ id: RequestID, _ request: Request, _ address: Multiaddr, isReachable: Bool, at now: Instant
    ) {
        remove(id)
        if isReachable { stats.reached += 1 } else { stats.notReached += 1 }
        effects.append(.end(id))
        guard let index = candidates.firstIndex(where: { $0.address == address }) else { return }
        effects.append(.judged(address, by: request.judge, isReachable: isReachable))
        candidates[index].judgements.removeAll { $0.judge == request.judge }
        if candidates[index].isReachable == !isReachable {
            // Something has changed, or somebody lies: the others are asked anew.
            candidates[index].judgements = []
        }
        candidates[index].isReachable = isReachable
        candidates[index].judgements.append((request.judge, now))
        if candidates[index].judgements.count > limits.judgementsWanted { candidates[index].judgements.removeFirst() }
    }

    private mutating func refused(_ id: RequestID, _ request: Request, at now: Instant) {
        remove(id)
        stats.refused += 1
        pause(request.peer, for: limits.refusalPause, at: now)
        effects.append(.end(id))
    }

    private mutating func bar(_ id: RequestID) {
        guard let request = remove(id) else { return }
        stats.liars += 1
        if let index = servers.firstIndex(where: { $0.peer == request.peer }) { servers[index].isBarred = true }
        effects.append(.abandon(id))
    }

    @discardableResult
    private mutating func remove(_ id: RequestID) -> Request? {
        deadlines.cancel(id)
        return requests.removeValue(forKey: id)
    }

    private mutating func pause(_ peer: PeerID, for duration: Duration, at now: Instant) {
        guard let index = servers.firstIndex(where: { $0.peer == peer }) else { return }
        servers[index].notBefore = max(servers[index].notBefore, now + duration)
    }

    // MARK: Questions

    /// Asks whom it can, and finds out when it can ask next.
    private mutating func work(at now: Instant) {
        wakeAt = nil
        while requests.count < limits.requestsMax {
            var ready: [Int] = []
            wakeAt = nil
            for index in servers.indices {
                guard let due = dueAt(servers[index], at: now) else { continue }
                if due <= now { ready.append(index) } else { wakeAt = min(wakeAt ?? due, due) }
            }
            guard !ready.isEmpty else { return }
            ask(ready[Int.random(in: ready.indices, using: &generator)], at: now)
        }
    }

    /// When the server has something to answer.
    private func dueAt(_ server: Server, at now: Instant) -> Instant? {
        guard !server.isBarred, !requests.values.contains(where: { $0.judge == server.judge }) else { return nil }
        let due = candidates.compactMap { dueAt($0, server, at: now) }.min()
        return due.map { max($0, server.notBefore) }
    }

    private func dueAt(_ candidate: Candidate, _ server: Server, at now: Instant) -> Instant? {
        let isTheirs =
            candidate.address.kind.scope == .global
            ? server.isOutside : candidate.address.ipAddress?.unwrapped == server.observed
        guard isTheirs else { return nil }
        let expiries = candidate.judgements.map { $0.at + limits.recheckInterval }
        let pending = requests.values.count { $0.addresses.first == candidate.address }
        if let own = candidate.judgements.first(where: { $0.judge == server.judge }) {
            return own.at + limits.recheckInterval
        }
        let fresh = expiries.filter { $0 > now }
        return fresh.count + pending < limits.judgementsWanted ? now : fresh.min()
    }

    private mutating func ask(_ index: Int, at now: Instant) {
        let server = servers[index]
        let due = candidates.filter { dueAt($0, server, at: now).map { $0 <= now } ?? false }.map(\.address)
        let addresses = Array(due.prefix(limits.addressesPerRequestMax))
        servers[index].questions += 1
        let isQuick = servers[index].questions <= limits.quickQuestions
        servers[index].notBefore = now + (isQuick ? limits.pauseMin : limits.pause)
        lastRequest += 1
        let id = RequestID(lastRequest)
        let nonce = nonces.nextWord()
        requests[id] = Request(peer: server.peer, judge: server.judge, addresses: addresses, nonce: nonce)
        deadlines.set(id, at: now + limits.requestTimeout)
        stats.requests += 1
        effects.append(.ask(id, server.peer, .dialRequest(addresses: addresses, nonce: nonce)))
    }
}

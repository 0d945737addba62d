// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiIdentity

/// Dials peers back at an address that they name, and says whether it worked: the server of AutoNAT v2.
///
/// A peer could have us dial a stranger. So an address that isn't the peer's own IP address costs it more bytes than the
/// dial costs anybody, and requests are limited per peer and in all. An address that isn't global is dialled only when
/// it is the very one at which we see the peer: that names no third machine, and a community on one network can then
/// tell who is reachable there (deviation: the specification would have no private address dialled).
///
///     asked -> (data wanted -> enough data ->) dialling -> answered
///
/// Legal late events: data, ends of dials and of streams for a request that is gone; they are dropped.
package struct AutoNATServer: Sendable {
    package struct Limits: Sendable {
        /// Requests under way. At it: rejected.
        package var requestsMax = 8
        /// Requests under way of one peer. At it: rejected.
        package var requestsPerPeerMax = 1
        /// Requests in all: one per interval on average. Over it: rejected.
        package var requestInterval: Duration = .seconds(1)
        package var requestBurst = 30
        /// Requests of one peer: one per interval on average. Over it: rejected.
        package var peerInterval: Duration = .seconds(12)
        package var peerBurst = 5
        /// Peers whose rates are remembered. At it: the one that asked longest ago is forgotten.
        package var peersMax = 1_024
        /// What an address elsewhere costs, in bytes.
        package var dataMin: UInt64 = 30_000
        package var dataMax: UInt64 = 100_000
        /// From the question to the answer. Over it: the stream is reset.
        package var requestTimeout: Duration = .seconds(30)
        package var dialTimeout: Duration = .seconds(10)

        package init() {}
    }

    package enum Input: Sendable {
        /// `observed`: where the connection comes from that carries the question.
        case asked(RequestID, PeerID, observed: Multiaddr, addresses: [Multiaddr?], nonce: UInt64)
        case dataReceived(RequestID, bytes: Int)
        /// What came of `.dialBack`; nil: there was no room for the dial, or it isn't allowed.
        case dialBackEnded(RequestID, AutoNATMessage.DialStatus?)
        /// The peer will say no more; it may wait for our answer.
        case streamEnded(RequestID)
        case streamFailed(RequestID)
    }

    package enum Effect: Hashable, Sendable {
        case send(RequestID, AutoNATMessage)
        /// Answer and close.
        case answer(RequestID, AutoNATMessage)
        case reset(RequestID)
        /// A connection of its own, from a port of its own, with the nonce; then `.dialBackEnded`.
        case dialBack(RequestID, PeerID, Multiaddr, nonce: UInt64, deadline: Instant)
    }

    package struct Stats: Hashable, Sendable {
        package var requests: UInt64 = 0
        package var rejected: UInt64 = 0
        package var refused: UInt64 = 0
        package var dialled: UInt64 = 0
        package var dialledElsewhere: UInt64 = 0
        package var abandoned: UInt64 = 0
    }

    private enum State: Sendable {
        case wantsData(left: UInt64)
        case dialling
    }

    private struct Request: Sendable {
        let peer: PeerID
        let address: Multiaddr
        let index: Int
        let nonce: UInt64
        var state: State
        /// Whoever asked is gone; the dial still counts.
        var isUnheard = false
    }

    private let limits: Limits
    /// Whether IPv6 addresses are dialled, other than those at which we see who asks.
    package var speaksIPv6: Bool
    private var generator: SeededGenerator
    private var requests: [RequestID: Request] = [:]
    private var deadlines = TimerQueue<RequestID>()
    private var total: TokenBucket
    private var rates: [PeerID: TokenBucket] = [:]
    /// Deadlines here are the moments of the last question, so that the head asked longest ago.
    private var asked = TimerQueue<PeerID>()
    private var effects: Deque<Effect> = []
    package private(set) var stats = Stats()

    package init(limits: Limits = Limits(), speaksIPv6: Bool = true, seed: UInt64, at now: Instant) {
        self.limits = limits
        self.speaksIPv6 = speaksIPv6
        generator = SeededGenerator(seed: seed)
        total = TokenBucket(interval: limits.requestInterval, burst: limits.requestBurst, at: now)
    }

    package var requestCount: Int { requests.count }
    package var ratedCount: Int { rates.count }
    package var nextTimeout: Instant? { deadlines.next }
    package mutating func nextEffect() -> Effect? { effects.popFirst() }

    package mutating func handle(_ input: Input, at now: Instant) {
        switch input {
        case .asked(let id, let peer, let observed, let addresses, let nonce):
            begin(id, peer, observed, addresses, nonce, at: now)
        case .dataReceived(let id, let bytes):
            received(id, bytes, at: now)
        case .dialBackEnded(let id, let status):
            guard let request = requests[id], case .dialling = request.state else { return }
            remove(id)
            if request.isUnheard { return }
            guard let status else {
                stats.refused += 1
                return effects.append(.answer(id, .dialResponse(.dialRefused, index: 0, .unused)))
            }
            effects.append(.answer(id, .dialResponse(.ok, index: request.index, status)))
        case .streamEnded(let id):
            guard let request = requests[id], case .wantsData = request.state else { return }
            abandon(id)
            effects.append(.reset(id))
        case .streamFailed(let id):
            guard let request = requests[id], !request.isUnheard else { return }
            switch request.state {
            case .wantsData: abandon(id)
            case .dialling:
                stats.abandoned += 1
                requests[id]?.isUnheard = true
            }
        }
    }

    package mutating func handleTimeout(at now: Instant) {
        while let id = deadlines.popExpired(at: now) {
            let wasUnheard = requests.removeValue(forKey: id)?.isUnheard == true
            if !wasUnheard { stats.abandoned += 1 }
            effects.append(.reset(id))
        }
    }

    private mutating func abandon(_ id: RequestID) {
        if requests[id] != nil { stats.abandoned += 1 }
        remove(id)
    }

    private mutating func remove(_ id: RequestID) {
        requests[id] = nil
        deadlines.cancel(id)
    }

    private mutating func begin(
        _ id: RequestID, _ peer: PeerID, _ observed: Multiaddr, _ addresses: [Multiaddr?], _ nonce: UInt64,
        at now: Instant
    ) {
        stats.requests += 1
        guard requests[id] == nil, isAllowed(peer, at: now) else {
            stats.rejected += 1
            return effects.append(.answer(id, .dialResponse(.rejected, index: 0, .unused)))
        }
        guard let (index, address) = choose(addresses, observed.ipAddress?.unwrapped) else {
            stats.refused += 1
            return effects.append(.answer(id, .dialResponse(.dialRefused, index: 0, .unused)))
        }
        deadlines.set(id, at: now + limits.requestTimeout)
        let isOwn = address.ipAddress?.unwrapped == observed.ipAddress?.unwrapped
        let prices = limits.dataMin...max(limits.dataMin, limits.dataMax)
        let price = UInt64.random(in: prices, using: &generator)
        requests[id] = Request(
            peer: peer, address: address, index: index, nonce: nonce, state: .wantsData(left: isOwn ? 0 : price))
        if isOwn {
            dial(id, at: now)
        } else {
            effects.append(.send(id, .dialDataRequest(index: index, bytes: price)))
        }
    }

    private mutating func isAllowed(_ peer: PeerID, at now: Instant) -> Bool {
        guard requests.count < limits.requestsMax,
            requests.values.count(where: { $0.peer == peer }) < limits.requestsPerPeerMax
        else { return false }
        if rates[peer] == nil, rates.count >= limits.peersMax, let oldest = asked.popExpired(at: .distantFuture) {
            rates[oldest] = nil
        }
        asked.set(peer, at: now)
        var rate = rates[peer] ?? TokenBucket(interval: limits.peerInterval, burst: limits.peerBurst, at: now)
        let isWithinRate = rate.take(at: now)
        rates[peer] = rate
        return isWithinRate && total.take(at: now)
    }

    /// The first that we can dial: public and of a family that we speak, or where we see the peer.
    private func choose(_ addresses: [Multiaddr?], _ observed: IPAddress?) -> (Int, Multiaddr)? {
        for (index, address) in addresses.enumerated() {
            guard let address = address?.withoutPeerID, let ip = address.ipAddress?.unwrapped else { continue }
            let isOwn = ip == observed
            guard isOwn || ip.isGlobal else { continue }
            switch address.kind {
            case .ip4: return (index, address)
            case .ip6 where speaksIPv6 || isOwn: return (index, address)
            case .ip6, .name, .memory, .unusable: continue
            }
        }
        return nil
    }

    private mutating func received(_ id: RequestID, _ bytes: Int, at now: Instant) {
        guard let request = requests[id], case .wantsData(let left) = request.state else { return }
        let count = UInt64(clamping: bytes)
        // Tiny messages cost us more than they cost the sender.
        guard count >= 100 || count >= left else {
            remove(id)
            stats.abandoned += 1
            return effects.append(.reset(id))
        }
        guard count < left else {
            stats.dialledElsewhere += 1
            return dial(id, at: now)
        }
        requests[id]?.state = .wantsData(left: left - count)
    }

    private mutating func dial(_ id: RequestID, at now: Instant) {
        guard let request = requests[id] else { return }
        requests[id]?.state = .dialling
        stats.dialled += 1
        effects.append(
            .dialBack(id, request.peer, request.address, nonce: request.nonce, deadline: now + limits.dialTimeout))
    }
}

// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiIdentity
import TuttiPeers

package import struct NIOCore.ByteBuffer

/// Finds the nodes of the local network and lets them find us: when to ask, what to answer, what to believe.
///
/// Follows libp2p specs discovery/mdns.md and RFC 6762 (5.2 queries, 6 responses, 7.1 known answers, 11 source check). It
/// owns no socket and no clock; `MulticastDNSService` moves the datagrams.
///
/// It speaks to everybody or not at all, so nobody can have an answer sent to a third party: each link carries at most one
/// response per `responseInterval`, and only after a query. A query is sent when a link comes up, and again after intervals
/// that double. What others say is believed as far as it concerns addresses of the very link that it came over; others'
/// claims to loopback, to names and to networks elsewhere are dropped, so that a neighbour can't aim our dials.
///
/// Deviation: only the addresses of the link in question are told over it. Others can't be used there, and would say to
/// strangers in which other networks this machine is.
package struct MulticastDNSCore: Sendable {
    package struct Limits: Sendable {
        /// Links (an interface in one address family). At it: further ones are not used.
        package var linksMax = 32
        /// Ranges of addresses of one link. At it: further ones are ignored.
        package var prefixesPerLinkMax = 16
        /// After a query the next one waits this long, then twice as long, up to the longest.
        package var queryIntervalMin: Duration = .seconds(1)
        package var queryIntervalMax: Duration = .seconds(300)
        /// Queries and responses wait at random in this range, so that a network that wakes up doesn't speak at once.
        package var jitterMin: Duration = .milliseconds(20)
        package var jitterMax: Duration = .milliseconds(120)
        /// Between two responses on one link.
        package var responseInterval: Duration = .seconds(1)
        /// Datagrams read per link: one per interval on average. Over it: dropped unread.
        package var datagramInterval: Duration = .milliseconds(2)
        package var datagramBurst = 512
        /// Addresses in one response of ours, and of one peer in another's. At it: further ones are left out.
        package var addressesPerPeerMax = 8
        /// Peers in one response. At it: further ones are ignored.
        package var peersPerMessageMax = 16
        /// Peers reported: one per interval on average. Over it: ignored; they will answer the next query.
        package var foundInterval: Duration = .milliseconds(100)
        package var foundBurst = 64
        /// A peer at the same addresses is reported again after this long only.
        package var repeatInterval: Duration = .seconds(30)
        /// Peers remembered for that. At it: the one reported longest ago is forgotten.
        package var rememberedMax = 512

        package init() {}
    }

    /// An interface, in one address family.
    package struct Link: Hashable, Comparable, Sendable {
        package let interface: Int
        package let isIPv6: Bool

        package init(interface: Int, isIPv6: Bool) {
            self.interface = interface
            self.isIPv6 = isIPv6
        }

        package static func < (lhs: Self, rhs: Self) -> Bool {
            lhs.interface != rhs.interface ? lhs.interface < rhs.interface : !lhs.isIPv6 && rhs.isIPv6
        }
    }

    /// Addresses that are on a link, of either family.
    package struct Prefix: Hashable, Sendable {
        private let high: UInt64
        private let low: UInt64
        private let bits: Int
        private let isIPv6: Bool

        package init(_ address: IPAddress, bits: Int) {
            isIPv6 = address.isIPv6
            self.bits = min(max(bits, 0), isIPv6 ? 128 : 32)
            (high, low) = Self.masked(address, bits: self.bits)
        }

        package func contains(_ address: IPAddress) -> Bool {
            address.isIPv6 == isIPv6 && Self.masked(address, bits: bits) == (high, low)
        }

        private static func masked(_ address: IPAddress, bits: Int) -> (UInt64, UInt64) {
            func mask(_ bits: Int) -> UInt64 { bits <= 0 ? 0 : bits >= 64 ? .max : .max << UInt64(64 - bits) }
            switch address {
            case .v4(let word): return (UInt64(word) << 32 & mask(bits), 0)
            case .v6(let high, let low): return (high & mask(bits), low & mask(bits - 64))
            }
        }
    }

    package enum Input: Sendable {
        /// Where this node listens, without `/p2p`.
        case listening([Multiaddr])
        case linkUp(Link, [Prefix])
        case linkDown(Link)
        case received(ByteBuffer, on: Link, from: IPAddress)
    }

    package enum Effect: Sendable {
        /// To the group of the link's family.
        case send(ByteBuffer, on: Link)
        case found(PeerID, [Multiaddr])
    }

    package struct Stats: Hashable, Sendable {
        package var queriesSent: UInt64 = 0
        package var responsesSent: UInt64 = 0
        package var peersFound: UInt64 = 0
        package var datagramsOverRate: UInt64 = 0
        package var datagramsFromElsewhere: UInt64 = 0
        package var datagramsMalformed: UInt64 = 0
        /// Addresses that are not on the link that they were told over.
        package var addressesElsewhere: UInt64 = 0
        package var peersOverRate: UInt64 = 0
    }

    private struct LinkState: Sendable {
        let prefixes: [Prefix]
        var datagrams: TokenBucket
        var respondedAt: Instant?
        /// Who asked what, until the response is due.
        var owesResponse = false
        var owesDirectory = false

        func contains(_ address: IPAddress) -> Bool { prefixes.contains { $0.contains(address) } }
    }

    private enum TimerKey: Hashable, Sendable {
        case query
        case response(Link)
    }

    private let own: PeerID
    private let limits: Limits
    /// Says nothing about the node; new at each start.
    package let peerName: String
    private let instance: [UInt8]
    private let host: [UInt8]
    private var generator: SeededGenerator
    private var listening: [Multiaddr] = []
    private var links: [Link: LinkState] = [:]
    private var queryInterval: Duration
    private var timers = TimerQueue<TimerKey>()
    private var found: TokenBucket
    private var remembered: [PeerID: [Multiaddr]] = [:]
    private var forgetting = TimerQueue<PeerID>()
    private var effects: Deque<Effect> = []
    package private(set) var stats = Stats()

    package init(own: PeerID, limits: Limits = Limits(), seed: UInt64, at now: Instant) {
        self.own = own
        self.limits = limits
        generator = SeededGenerator(seed: seed)
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz0123456789".utf8)
        var name: [UInt8] = []
        for _ in 0..<40 { name.append(alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]) }
        peerName = String(decoding: name, as: UTF8.self)
        instance = name + Array(".\(MulticastDNSMessage.service)".utf8)
        host = name + Array(".\(MulticastDNSMessage.hostDomain)".utf8)
        queryInterval = limits.queryIntervalMin
        found = TokenBucket(interval: limits.foundInterval, burst: limits.foundBurst, at: now)
    }

    package var nextTimeout: Instant? { timers.next }
    package mutating func nextEffect() -> Effect? { effects.popFirst() }

    // MARK: Inputs

    package mutating func handle(_ input: Input, at now: Instant) {
        switch input {
        case .listening(let addresses):
            listening = addresses
        case .linkUp(let link, let prefixes):
            guard links[link] != nil || links.count < limits.linksMax else { return }
            // A link whose addresses changed is up already: what was said on it still counts.
            let respondedAt = links[link]?.respondedAt
            links[link] = LinkState(
                prefixes: Array(prefixes.prefix(limits.prefixesPerLinkMax)),
                datagrams: TokenBucket(interval: limits.datagramInterval, burst: limits.datagramBurst, at: now))
            links[link]?.respondedAt = respondedAt
            queryInterval = limits.queryIntervalMin
            timers.set(.query, at: now + jitter())
        case .linkDown(let link):
            links[link] = nil
            timers.cancel(.response(link))
            if links.isEmpty { timers.cancel(.query) }
        case .received(let bytes, let link, let source):
            received(bytes, on: link, from: source, at: now)
        }
    }

    package mutating func handleTimeout(at now: Instant) {
        while let key = timers.popExpired(at: now) {
            switch key {
            case .query: query(at: now)
            case .response(let link): respond(on: link, at: now)
            }
        }
    }

    private mutating func query(at now: Instant) {
        for link in links.keys.sorted() {
            stats.queriesSent += 1
            effects.append(.send(MulticastDNSMessage.query(), on: link))
            // A node answers its own question, so that those who only listen hear of it.
            owe(on: link, at: now)
        }
        timers.set(.query, at: now + queryInterval + jitter())
        queryInterval = min(queryInterval * 2, limits.queryIntervalMax)
    }

    private mutating func jitter() -> Duration {
        let range =
            limits.jitterMin
            .saturatedNanoseconds...max(
                limits.jitterMin.saturatedNanoseconds, limits.jitterMax.saturatedNanoseconds)
        return .nanoseconds(Int64.random(in: range, using: &generator))
    }

    // MARK: Answering

    private mutating func owe(on link: Link, directory: Bool = false, at now: Instant) {
        guard var state = links[link] else { return }
        if directory { state.owesDirectory = true } else { state.owesResponse = true }
        links[link] = state
        guard !timers.isSet(.response(link)) else { return }
        var due = now + jitter()
        if let last = state.respondedAt { due = max(due, last + limits.responseInterval) }
        timers.set(.response(link), at: due)
    }

    private mutating func respond(on link: Link, at now: Instant) {
        guard var state = links[link] else { return }
        let addresses = announced(on: state)
        let (owesResponse, owesDirectory) = (state.owesResponse, state.owesDirectory)
        state.owesResponse = false
        state.owesDirectory = false
        // Who can't be reached here isn't here.
        if !addresses.isEmpty {
            state.respondedAt = now
            if owesDirectory { send(MulticastDNSMessage.directoryResponse(), on: link) }
            if owesResponse { send(MulticastDNSMessage.response(peerName: peerName, addresses: addresses), on: link) }
        }
        links[link] = state
    }

    private mutating func send(_ response: ByteBuffer, on link: Link) {
        stats.responsesSent += 1
        effects.append(.send(response, on: link))
    }

    private func announced(on state: LinkState) -> [Multiaddr] {
        let here = listening.filter { address in
            guard let ip = address.ipAddress, address.kind != .unusable else { return false }
            return !ip.isLoopback && state.contains(ip)
        }
        return here.prefix(limits.addressesPerPeerMax).map { $0.withoutPeerID.appending(.p2p(own)) }
    }

    // MARK: Listening

    private mutating func received(_ bytes: ByteBuffer, on link: Link, from source: IPAddress, at now: Instant) {
        guard var state = links[link] else { return }
        let isWithinRate = state.datagrams.take(at: now)
        links[link] = state
        guard isWithinRate else { return stats.datagramsOverRate += 1 }
        guard source.isIPv6 == link.isIPv6, state.contains(source) || source.isIPv6 && source.isLinkLocal else {
            return stats.datagramsFromElsewhere += 1
        }
        let message: MulticastDNSMessage
        do throws(DecodeError) { message = try MulticastDNSMessage(bytes) } catch {
            return stats.datagramsMalformed += 1
        }
        if message.isResponse {
            believe(message, on: state, at: now)
        } else {
            answer(message, on: link, at: now)
        }
    }

    private mutating func answer(_ query: MulticastDNSMessage, on link: Link, at now: Instant) {
        typealias RecordType = MulticastDNSMessage.RecordType
        for question in query.questions {
            let isAny = question.type == RecordType.any
            if question.name.elementsEqual(MulticastDNSMessage.service.utf8) {
                if isAny || question.type == RecordType.pointer, !isKnown(to: query) { owe(on: link, at: now) }
            } else if question.name == instance {
                if isAny || [RecordType.text, RecordType.service].contains(question.type) { owe(on: link, at: now) }
            } else if question.name == host {
                if isAny || [RecordType.address, RecordType.address6].contains(question.type) {
                    owe(on: link, at: now)
                }
            } else if question.name.elementsEqual(MulticastDNSMessage.serviceDirectory.utf8) {
                if isAny || question.type == RecordType.pointer { owe(on: link, directory: true, at: now) }
            }
        }
    }

    /// Who asks names us already, and will believe it for a while yet (RFC 6762, section 7.1).
    private func isKnown(to query: MulticastDNSMessage) -> Bool {
        query.records.contains { record in
            record.content == .pointer(instance) && record.timeToLive >= MulticastDNSMessage.timeToLive / 2
        }
    }

    private mutating func believe(_ response: MulticastDNSMessage, on state: LinkState, at now: Instant) {
        let suffix = Array(".\(MulticastDNSMessage.service)".utf8)
        var peers: [(id: PeerID, addresses: [Multiaddr])] = []
        for record in response.records {
            guard case .texts(let texts) = record.content, record.timeToLive > 0, record.name != instance,
                record.name.count > suffix.count, record.name.suffix(suffix.count).elementsEqual(suffix)
            else { continue }
            for text in texts {
                guard let (id, address) = Self.entry(text), id != own else { continue }
                guard let ip = address.ipAddress, !ip.isLoopback, address.kind != .unusable, state.contains(ip) else {
                    stats.addressesElsewhere += 1
                    continue
                }
                if let position = peers.firstIndex(where: { $0.id == id }) {
                    guard peers[position].addresses.count < limits.addressesPerPeerMax else { continue }
                    if !peers[position].addresses.contains(address) { peers[position].addresses.append(address) }
                } else if peers.count < limits.peersPerMessageMax {
                    peers.append((id, [address]))
                }
            }
        }
        for (id, addresses) in peers { report(id, addresses.sorted(), at: now) }
    }

    /// `dnsaddr=/…/p2p/ID`; some number the key.
    private static func entry(_ text: [UInt8]) -> (PeerID, Multiaddr)? {
        guard text.starts(with: "dnsaddr".utf8), let equals = text.firstIndex(of: UInt8(ascii: "=")) else { return nil }
        guard text["dnsaddr".utf8.count..<equals].allSatisfy({ (0x30...0x39).contains($0) }),
            let value = String(validating: text[(equals + 1)...], as: UTF8.self),
            let address = Multiaddr(value), case .p2p(let id) = address.components.last
        else { return nil }
        return (id, address.withoutPeerID)
    }

    private mutating func report(_ id: PeerID, _ addresses: [Multiaddr], at now: Instant) {
        while let old = forgetting.popExpired(at: now) { remembered[old] = nil }
        guard remembered[id] != addresses else { return }
        guard found.take(at: now) else { return stats.peersOverRate += 1 }
        if remembered[id] == nil, remembered.count >= limits.rememberedMax,
            let oldest = forgetting.popExpired(at: .distantFuture)
        {
            remembered[oldest] = nil
        }
        remembered[id] = addresses
        forgetting.set(id, at: now + limits.repeatInterval)
        stats.peersFound += 1
        effects.append(.found(id, addresses))
    }
}

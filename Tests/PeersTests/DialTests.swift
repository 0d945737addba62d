// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers

@Suite("Dials")
struct DialTests {
    private let peer = ordered.larger

    @Test("Families take turns, IPv6 first, 250 ms apart")
    func happyEyeballs() {
        var bench = Bench()
        let first = bench.dial(
            peer.peerID,
            [
                "/ip4/198.51.100.1/tcp/1", "/ip4/198.51.100.2/tcp/1", "/ip4/198.51.100.3/tcp/1",
                "/ip6/2001:db8::1/tcp/1", "/ip6/2001:db8::2/tcp/1",
            ]
        ).effects
        #expect(first.attempts.map(\.address) == ["/ip6/2001:db8::1/tcp/1"])
        let rest = bench.advance(2_000)
        #expect(
            rest.effects.attempts.map(\.address) == [
                "/ip4/198.51.100.1/tcp/1", "/ip6/2001:db8::2/tcp/1", "/ip4/198.51.100.2/tcp/1",
                "/ip4/198.51.100.3/tcp/1",
            ])
        #expect(rest.attemptTimes == [250, 500, 750, 1_000])
    }

    @Test(
        "The order of an address follows from where it can be reached",
        arguments: [
            // What we listen on, what the peer has, the order expected.
            ([], ["/ip4/8.8.8.8/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"], [2, 0, 1]),
            (["/ip4/10.1.1.1/tcp/9"], ["/ip4/8.8.8.8/tcp/1", "/ip4/10.0.0.1/tcp/1"], [1, 0]),
            (["/ip4/192.168.1.1/tcp/9"], ["/ip4/8.8.8.8/tcp/1", "/ip4/10.0.0.1/tcp/1"], [0, 1]),
            (["/ip6/fd00::1/tcp/9"], ["/ip6/2001:db8::1/tcp/1", "/ip6/fd12::1/tcp/1"], [1, 0]),
        ] as [([String], [String], [Int])])
    func order(listening: [String], addresses: [String], expected: [Int]) {
        var bench = Bench()
        bench.handle(.listening(listening.map { address($0) }))
        let first = bench.dial(peer.peerID, addresses).effects.attempts
        let all = first + bench.advance(5_000).effects.attempts
        #expect(all.map(\.address) == expected.map { addresses[$0] })
    }

    @Test("When an attempt fails, the next begins at once and the head start counts from it")
    func failureStartsNext() {
        var bench = Bench()
        let first = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1", "/ip4/8.8.8.2/tcp/1", "/ip4/8.8.8.3/tcp/1"])
        bench.advance(100)
        let second = bench.handle(.dialFailed(first.effects.attempts[0].id, unreachable))
        #expect(second.attempts.map(\.address) == ["/ip4/8.8.8.2/tcp/1"])
        #expect(bench.advance(249).isEmpty)
        #expect(bench.advance(1).effects.attempts.map(\.address) == ["/ip4/8.8.8.3/tcp/1"])
    }

    @Test("One attempt wins: it answers all who asked, the others are cancelled, a late one is closed")
    func losersAreCancelled() {
        var bench = Bench()
        let a = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1", "/ip4/8.8.8.2/tcp/1"])
        let b = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1"])
        #expect(b.effects.isEmpty)
        let loser = bench.advance(250).effects.attempts[0].id
        let winner = a.effects.attempts[0].id
        let won = bench.handle(
            .established(winner, establishment(peer), .outbound, remote: address("/ip4/8.8.8.1/tcp/1")))
        #expect(won.answers.map(\.request) == [a.request, b.request])
        #expect(won.answers.allSatisfy { $0.connection == winner })
        #expect(won.cancelled == [loser])
        // The cancellation crossed the handshake's end.
        let late = bench.handle(
            .established(loser, establishment(peer), .outbound, remote: address("/ip4/8.8.8.2/tcp/1")))
        #expect(late.closed == [loser])
        #expect(bench.core.connectionCount == 1)
        // Once connected, a request has its answer at once.
        let again = bench.dial(peer.peerID, [])
        #expect(again.effects.answers.map(\.connection) == [winner])
    }

    @Test("The deadline ends the whole dial, names included")
    func deadline() {
        var bench = Bench()
        let dial = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1", "/dns4/example.org/tcp/1"], deadline: 3)
        #expect(dial.effects.resolutions.map(\.name) == ["/dns4/example.org/tcp/1"])
        let attempt = dial.effects.attempts[0]
        #expect(attempt.deadline == Instant.zero + .seconds(3))
        let end = bench.advance(3_000)
        #expect(end.effects.rejections.map(\.error.code) == [.deadline])
        #expect(end.effects.rejections[0].error.attempts.map(\.reason) == [.timeout(.dial)])
        #expect(end.effects.cancelled == [attempt.id])
        let late = bench.handle(.resolved(dial.effects.resolutions[0].id, [address("/ip4/8.8.8.9/tcp/1")]))
        #expect(late.isEmpty)
        #expect(bench.core.nextTimeout == nil)
    }

    @Test("Of two requests with different deadlines each ends at its own")
    func sharedDeadlines() {
        var bench = Bench()
        let short = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1"], deadline: 2)
        let long = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1"], deadline: 6)
        let first = bench.advance(2_000).effects
        #expect(first.rejections.map(\.request) == [short.request])
        #expect(first.cancelled.isEmpty)
        // The attempt ran under the earlier deadline: it is made again under the later one.
        let again = bench.handle(.dialFailed(short.effects.attempts[0].id, .timeout(.dial)))
        #expect(again.attempts.map(\.deadline) == [Instant.zero + .seconds(6)])
        let second = bench.advance(4_000).effects
        #expect(second.rejections.map(\.request) == [long.request])
        #expect(second.cancelled == [again.attempts[0].id])
    }

    @Test("Cancelling ends one request; the last one to leave ends the dial")
    func cancellation() {
        var bench = Bench()
        let a = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1"])
        let b = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1"])
        let first = bench.handle(.dialCancelled(a.request))
        #expect(first.rejections.map(\.error.code) == [.cancelled])
        #expect(first.cancelled.isEmpty)
        let second = bench.handle(.dialCancelled(b.request))
        #expect(second.cancelled == [a.effects.attempts[0].id])
        #expect(bench.handle(.dialCancelled(b.request)).isEmpty)
        #expect(bench.core.activeDialCount == 0)
    }

    @Test("A refused security protocol is followed by the next at the same address, and what worked is remembered")
    func securityFallback() {
        var bench = Bench()
        let a = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1", "/ip4/8.8.8.2/tcp/1"])
        #expect(a.effects.attempts.map(\.security) == [.noise])
        let refused = CloseReason.violation(.refused(.noise), .negotiate)
        let second = bench.handle(.dialFailed(a.effects.attempts[0].id, refused))
        #expect(second.attempts.map(\.address) == ["/ip4/8.8.8.1/tcp/1"])
        #expect(second.attempts.map(\.security) == [.tls])
        // What one address refused, the peer's others will.
        #expect(bench.advance(250).effects.attempts.map(\.security) == [.tls])
        let id = second.attempts[0].id
        bench.handle(
            .established(id, establishment(peer, security: .tls), .outbound, remote: address("/ip4/8.8.8.1/tcp/1")))
        bench.handle(.closed(id, .remote))
        let again = bench.dial(peer.peerID, []).effects.attempts
        #expect(again.map(\.security) == [.tls])
        #expect(again.map(\.address) == ["/ip4/8.8.8.1/tcp/1"], "the last good address goes first")
    }

    @Test("A peer that refuses every security protocol is an address that failed")
    func noCommonSecurity() {
        var bench = Bench()
        let a = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1"])
        let b = bench.handle(.dialFailed(a.effects.attempts[0].id, .violation(.refused(.noise), .negotiate)))
        let c = bench.handle(.dialFailed(b.attempts[0].id, .violation(.refused(.tls), .negotiate)))
        #expect(c.attempts.isEmpty)
        #expect(c.rejections.map(\.error.code) == [.allAttemptsFailed])
        #expect(c.rejections[0].error.attempts.map(\.reason) == [.violation(.refused(.tls), .negotiate)])
    }

    @Test("An address where somebody else answers is not tried again in this dial, and is forgotten")
    func wrongPeer() {
        var bench = Bench()
        bench.handle(.addressesFound(peer.peerID, [address("/ip4/8.8.8.1/tcp/1"), address("/ip4/8.8.8.2/tcp/1")]))
        let a = bench.dial(peer.peerID, ["/ip4/8.8.8.1/tcp/1"])
        let wrong = CloseReason.violation(.wrongPeer(expected: peer.peerID, actual: key(9).peerID), .secure)
        let b = bench.handle(.dialFailed(a.effects.attempts[0].id, wrong))
        #expect(b.attempts.map(\.address) == ["/ip4/8.8.8.2/tcp/1"])
        #expect(bench.core.store.addresses(of: peer.peerID).map(\.description) == ["/ip4/8.8.8.2/tcp/1"])
        let c = bench.handle(.dialFailed(b.attempts[0].id, unreachable))
        #expect(c.rejections[0].error.attempts.map(\.reason) == [wrong, unreachable])
        // It is no fault of the address: another peer may be dialled there at once.
        #expect(bench.dial(key(9).peerID, ["/ip4/8.8.8.1/tcp/1"]).effects.attempts.count == 1)
    }

    @Test("Names are resolved under the deadline; answers for another peer are dropped, names in answers are followed")
    func names() {
        var bench = Bench()
        let a = bench.dial(peer.peerID, ["/dnsaddr/example.org"])
        #expect(a.effects.attempts.isEmpty)
        let b = bench.handle(
            .resolved(
                a.effects.resolutions[0].id,
                [
                    address("/ip4/8.8.8.1/tcp/1/p2p/\(key(9).peerID)"),
                    address("/ip4/8.8.8.2/tcp/1/p2p/\(peer.peerID)"),
                    address("/dns6/inner.example.org/tcp/2/p2p/\(peer.peerID)"),
                    address("/ip4/8.8.8.3/udp/1/quic-v1/p2p/\(peer.peerID)"),
                ]))
        #expect(b.attempts.map(\.address) == ["/ip4/8.8.8.2/tcp/1"])
        #expect(b.resolutions.map(\.name) == ["/dns6/inner.example.org/tcp/2"])
        let c = bench.handle(.dialFailed(b.attempts[0].id, unreachable))
        #expect(c.rejections.isEmpty, "a name is still looked up")
        let d = bench.handle(.resolved(b.resolutions[0].id, []))
        #expect(d.rejections.map(\.error.code) == [.allAttemptsFailed])
    }

    @Test("A chain of names ends")
    func nameChain() {
        var bench = Bench()
        var pending = bench.dial(peer.peerID, ["/dnsaddr/a0.example.org"]).effects
        var count = 0
        while let name = pending.resolutions.first {
            count += 1
            pending = bench.handle(.resolved(name.id, [address("/dnsaddr/a\(count).example.org")]))
        }
        #expect(count == 3)
        #expect(pending.rejections.map(\.error.code) == [.noUsableAddress])
    }

    @Test(
        "Addresses that no socket can be opened to are refused at once",
        arguments: [
            [], ["/ip4/8.8.8.8/udp/1/quic-v1"], ["/ip4/0.0.0.0/tcp/1"], ["/ip4/8.8.8.8/tcp/0"], ["/ip6/fe80::1/tcp/1"],
            ["/ip6/ff02::1/tcp/1"], ["/ip4/224.0.0.1/tcp/1"], ["/ip4/8.8.8.8/tcp/1/ws"], ["/memory/7"],
            ["/ip4/8.8.8.8/tcp/1/p2p/\(key(9).peerID)"],
        ])
    func unusable(addresses: [String]) {
        var bench = Bench()
        let dial = bench.dial(peer.peerID, addresses)
        #expect(dial.effects.rejections.map(\.error.code) == [.noUsableAddress])
        #expect(dial.effects.count == 1)
    }

    @Test("We don't dial ourselves, by id, by address or by surprise")
    func ourselves() {
        var bench = Bench()
        #expect(
            bench.dial(ordered.smaller.peerID, ["/ip4/8.8.8.1/tcp/1"]).effects.rejections[0].error.code == .ourselves)
        let named = bench.dial(nil, ["/ip4/8.8.8.1/tcp/1/p2p/\(ordered.smaller.peerID)"])
        #expect(named.effects.rejections[0].error.code == .ourselves)
        let blind = bench.dial(nil, ["/ip4/8.8.8.1/tcp/1"])
        let id = blind.effects.attempts[0].id
        let end = bench.handle(
            .established(id, establishment(ordered.smaller), .outbound, remote: address("/ip4/8.8.8.1/tcp/1")))
        #expect(end.closed == [id])
        #expect(end.rejections.map(\.error.code) == [.allAttemptsFailed])
    }

    @Test("A dial without a peer takes whoever answers")
    func anybody() {
        var bench = Bench()
        let dial = bench.dial(nil, ["/ip4/8.8.8.1/tcp/1"])
        let id = dial.effects.attempts[0].id
        let end = bench.handle(.established(id, establishment(peer), .outbound, remote: address("/ip4/8.8.8.1/tcp/1")))
        #expect(end.answers.map(\.request) == [dial.request])
    }

    @Test("At most 8 attempts run at once for one dial")
    func attemptsPerDial() {
        var bench = Bench()
        let addresses = (1...12).map { "/ip4/8.8.8.\($0)/tcp/1" }
        let first = bench.dial(peer.peerID, addresses, deadline: 60)
        let rest = bench.advance(30_000).effects
        #expect(rest.attempts.count == 7)
        let ninth = bench.handle(.dialFailed(first.effects.attempts[0].id, unreachable))
        #expect(ninth.attempts.map(\.address) == ["/ip4/8.8.8.9/tcp/1"])
    }

    @Test("32 dials run at once, as many as fit wait in order, the rest is refused")
    func queue() {
        var limits = NodeLimits.internet
        limits.dialQueueMax = 3
        var bench = Bench(limits: limits)
        var attempts: [Dialled] = []
        for number in 0..<32 {
            attempts +=
                bench.dial(key(UInt64(100 + number)).peerID, ["/ip4/8.8.8.1/tcp/\(number + 1)"]).effects.attempts
        }
        #expect(attempts.count == 32)
        let waiting = (0..<3).map { bench.dial(key(UInt64(200 + $0)).peerID, ["/ip4/8.8.9.1/tcp/\($0 + 1)"]) }
        #expect(waiting.allSatisfy { $0.effects.isEmpty })
        let refused = bench.dial(key(300).peerID, ["/ip4/8.8.9.1/tcp/9"])
        #expect(refused.effects.rejections.map(\.error.code) == [.limit])
        // The one in the middle gives up; then the first gets its turn, and then the third.
        #expect(bench.handle(.dialCancelled(waiting[1].request)).rejections.count == 1)
        let next = bench.handle(.dialFailed(attempts[4].id, unreachable))
        #expect(next.rejections.count == 1)
        #expect(next.attempts.map(\.address) == ["/ip4/8.8.9.1/tcp/1"])
        let last = bench.handle(.dialFailed(attempts[5].id, unreachable))
        #expect(last.attempts.map(\.address) == ["/ip4/8.8.9.1/tcp/3"])
        #expect(bench.core.activeDialCount == 32)
        #expect(bench.core.queuedDialCount == 0)
    }

    @Test("An address that failed is left alone, longer each time; a dial that can't wait for it ends at once")
    func backoff() {
        var bench = Bench()
        let text = ["/ip4/8.8.8.1/tcp/1"]
        var waits: [Int64] = []
        for _ in 0..<4 {
            let start = bench.now
            var dial = bench.dial(peer.peerID, text, deadline: 60).effects
            while dial.attempts.isEmpty { dial = bench.advance(100).effects }
            waits.append((bench.now - start).saturatedNanoseconds / 1_000_000_000)
            let end = bench.handle(.dialFailed(dial.attempts[0].id, unreachable))
            #expect(end.rejections.map(\.error.code) == [.allAttemptsFailed])
        }
        #expect(waits == [0, 1, 2, 4])
        let hopeless = bench.dial(peer.peerID, text, deadline: 5).effects
        #expect(hopeless.rejections.map(\.error.code) == [.allAttemptsFailed])
        #expect(hopeless.rejections[0].error.attempts.map(\.reason) == [unreachable])
        let other = bench.dial(peer.peerID, text + ["/ip4/8.8.8.2/tcp/1"], deadline: 5).effects
        #expect(other.attempts.map(\.address) == ["/ip4/8.8.8.2/tcp/1"])
    }

    @Test("The table of failures is bounded and forgets the earliest")
    func backoffBound() {
        var limits = NodeLimits.internet
        limits.addressBackoffsMax = 100
        var table = AddressBackoff(limits: limits)
        for port in 1...1_000 {
            table.failed(address("/ip4/8.8.8.1/tcp/\(port)"), unreachable, at: Instant(nanoseconds: Int64(port)))
        }
        #expect(table.count == 100)
        #expect(table[address("/ip4/8.8.8.1/tcp/900")] == nil)
        #expect(table[address("/ip4/8.8.8.1/tcp/901")] != nil)
        table.succeeded(address("/ip4/8.8.8.1/tcp/901"))
        #expect(table.count == 99)
    }

    @Test("What the gate refuses is not dialled, and a peer it refuses is closed")
    func gate() {
        let banned = peer.peerID
        var bench = Bench { configuration in
            configuration.gate = { direction, address, peer in
                direction == .inbound || (address.description != "/ip4/8.8.8.1/tcp/1" && peer != banned)
            }
        }
        #expect(bench.dial(nil, ["/ip4/8.8.8.1/tcp/1"]).effects.rejections[0].error.code == .refusedByGate)
        let dial = bench.dial(nil, ["/ip4/8.8.8.2/tcp/1"])
        let id = dial.effects.attempts[0].id
        let end = bench.handle(.established(id, establishment(peer), .outbound, remote: address("/ip4/8.8.8.2/tcp/1")))
        #expect(end.closed == [id])
        #expect(end.cancelled.isEmpty)
        #expect(end.rejections.map(\.error.code) == [.refusedByGate])
    }
}

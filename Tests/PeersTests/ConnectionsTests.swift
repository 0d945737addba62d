// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers

@Suite("Connections")
struct ConnectionsTests {
    @Test("Of an inbound and an outbound connection the one dialled by the smaller id is used, on both sides")
    func preferred() {
        // We are the smaller: ours wins. We are the larger: theirs does.
        for (own, other, oursWins) in [
            (ordered.smaller, ordered.larger, true), (ordered.larger, ordered.smaller, false),
        ] {
            for outboundFirst in [true, false] {
                var bench = Bench(own)
                let ours: ConnectionID
                let theirs: ConnectionID
                if outboundFirst {
                    ours = bench.outbound(other).id
                    theirs = bench.inbound(other).id
                } else {
                    // Begun before the inbound one came up, as in a simultaneous dial.
                    let attempt = bench.dial(other.peerID, ["/ip4/8.8.8.1/tcp/1"]).effects.attempts[0].id
                    let (id, effects) = bench.inbound(other)
                    theirs = id
                    ours = attempt
                    #expect(effects.answers.map(\.connection) == [theirs], "who waits has a connection")
                    #expect(effects.cancelled.isEmpty, "the peer may have it up already")
                    let late = bench.handle(
                        .established(attempt, establishment(other), .outbound, remote: address("/ip4/8.8.8.1/tcp/1")))
                    #expect(late.closed.isEmpty)
                    #expect(late.answers.isEmpty)
                }
                #expect(bench.core.connection(to: other.peerID) == (oursWins ? ours : theirs))
                #expect(bench.core.connections(to: other.peerID).count == 2)
            }
        }
    }

    @Test("The other connection is closed once it was free of streams for 5 s, our own streams included")
    func surplus() {
        var bench = Bench(ordered.smaller)
        let ours = bench.outbound(ordered.larger).id
        let theirs = bench.inbound(ordered.larger).id
        bench.handle(.streamOpened(theirs, StreamID(2), "/ipfs/id/1.0.0", .outbound, request: PeersCore.query))
        bench.handle(.streamsInUse(theirs, count: 1))
        #expect(bench.advance(6_000).effects.closed.isEmpty, "an application uses it")
        bench.handle(.streamsInUse(theirs, count: 0))
        #expect(bench.advance(3_000).effects.closed.isEmpty, "our own identify stream is open")
        bench.handle(.streamFailed(theirs, StreamID(2), .reset))
        #expect(bench.advance(4_000).effects.closed.isEmpty)
        bench.handle(.streamsInUse(theirs, count: 1))
        bench.handle(.streamsInUse(theirs, count: 0))
        let end = bench.advance(5_000)
        #expect(end.effects.closed == [theirs])
        #expect(end.last?.at == 18_000)
        #expect(bench.core.connection(to: ordered.larger.peerID) == ours)
        #expect(bench.handle(.closed(theirs, .local)).isEmpty)
    }

    @Test("Of two connections that one side dialled the newer is used, and only the dialler closes the older")
    func sameDirection() {
        var listener = Bench()
        let first = listener.inbound(ordered.larger).id
        let (second, effects) = listener.inbound(ordered.larger)
        #expect(effects.events.contains("preferred \(second)"))
        listener.handle(.openFailed(first, request: PeersCore.query))
        #expect(listener.advance(60_000).effects.closed.isEmpty)

        var dialler = Bench()
        let named = dialler.outbound(ordered.larger).id
        let blind = dialler.dial(nil, ["/ip4/8.8.8.1/tcp/1"]).effects.attempts[0].id
        dialler.handle(
            .established(blind, establishment(ordered.larger), .outbound, remote: address("/ip4/8.8.8.1/tcp/1")))
        #expect(dialler.core.connection(to: ordered.larger.peerID) == blind)
        #expect(dialler.advance(60_000).effects.closed == [named])
    }

    @Test("A peer that comes back before we saw its earlier connections end is let in: the oldest makes room")
    func comesBack() {
        var bench = Bench(ordered.smaller)
        // Its dialler has closed both; the news is still on its way through other sockets.
        let first = bench.inbound(ordered.larger).id
        let second = bench.inbound(ordered.larger).id
        let (third, effects) = bench.inbound(ordered.larger)
        #expect(effects.closed == [first])
        #expect(bench.core.connections(to: ordered.larger.peerID) == [second, third])
        #expect(bench.core.connection(to: ordered.larger.peerID) == third)
        #expect(!effects.events.contains("disconnected"))
        for (id, reason) in [(first, CloseReason.local), (second, .remote)] {
            #expect(bench.handle(.closed(id, reason)).events.isEmpty, "the peer is still connected")
        }
        #expect(bench.handle(.closed(third, .remote)).events == ["disconnected"])
        #expect(bench.core.connectionCount == 0)
    }

    @Test("A third connection to a peer is closed where an application uses what it would replace; the two go on")
    func third() {
        var bench = Bench()
        let first = bench.outbound(ordered.larger).id
        let second = bench.inbound(ordered.larger).id
        bench.handle(.streamsInUse(second, count: 1))
        let (third, effects) = bench.inbound(ordered.larger)
        #expect(effects.closed == [third])
        #expect(effects.events.isEmpty)
        #expect(bench.core.connections(to: ordered.larger.peerID) == [first, second])
        #expect(bench.handle(.closed(third, .local)).events.isEmpty)
    }

    @Test("Connected and disconnected are told once each, the change of the preferred connection between")
    func events() {
        var bench = Bench(ordered.smaller)
        let (ours, first) = bench.outbound(ordered.larger)
        #expect(first.events == ["connected \(ours)"])
        let (theirs, second) = bench.inbound(ordered.larger)
        #expect(second.events.isEmpty)
        #expect(bench.handle(.closed(ours, .remote)).events == ["preferred \(theirs)"])
        #expect(bench.handle(.closed(theirs, .remote)).events == ["disconnected"])
        #expect(bench.handle(.closed(theirs, .remote)).isEmpty)
        #expect(bench.core.connectionCount == 0)
        #expect(bench.core.inboundCount == 0)
    }

    @Test("Letting go of a peer closes all its connections")
    func disconnect() {
        var bench = Bench()
        let a = bench.outbound(ordered.larger).id
        let b = bench.inbound(ordered.larger).id
        let effects = bench.handle(.disconnectRequested(ordered.larger.peerID))
        #expect(effects.closed == [a, b])
        #expect(effects.events.last == "disconnected")
        #expect(bench.core.connection(to: ordered.larger.peerID) == nil)
        #expect(bench.dial(ordered.larger.peerID, ["/ip4/8.8.8.1/tcp/1"]).effects.attempts.count == 1)
    }

    @Test("Above high water the least valuable connections go: old enough, free of streams, unprotected, inbound first")
    func highWater() {
        var limits = NodeLimits.internet
        limits.connectionsHighWater = 6
        limits.connectionsLowWater = 4
        limits.inboundPerIP4Max = 100
        limits.inboundPerIP4GroupMax = 100
        var bench = Bench(limits: limits)
        var ids: [ConnectionID] = []
        for number in 0..<6 {
            let peer = key(UInt64(50 + number))
            ids.append(number == 0 ? bench.outbound(peer).id : bench.inbound(peer).id)
            bench.advance(10)
        }
        bench.handle(.streamsInUse(ids[1], count: 1))
        bench.handle(.protectionChanged(key(52).peerID, isProtected: true))
        // Our identify streams end unanswered.
        #expect(bench.advance(15_000).effects.closed.isEmpty, "not above high water")
        let young = bench.inbound(key(60)).id
        #expect(bench.advance(4_000).effects.closed.isEmpty, "all are within their grace period or were")
        let end = bench.advance(20_000).effects.closed
        #expect(end == [ids[3], ids[4], ids[5]])
        #expect(!end.contains(young))
        #expect(bench.core.stats.connectionsTrimmed == 3)
    }

    @Test("Idle strangers can't keep every inbound place: above their own high water they go, and nobody else does")
    func inboundHighWater() {
        var limits = NodeLimits.internet
        limits.connectionsInboundMax = 8
        limits.inboundHighWater = 6
        limits.inboundLowWater = 4
        limits.inboundPerIP4Max = 100
        limits.inboundPerIP4GroupMax = 100
        var bench = Bench(limits: limits)
        let ours = (0..<4).map { bench.outbound(key(UInt64(40 + $0))).id }
        let strangers = (0..<8).map { bench.inbound(key(UInt64(50 + $0))).id }
        bench.handle(.streamsInUse(strangers[0], count: 1))
        #expect(bench.accept(from: "/ip4/9.9.9.9/tcp/1").effects.admitted.isEmpty, "all places are taken")
        let gone = bench.advance(25_000).effects.closed
        #expect(gone == Array(strangers[1...4]), "the longest unused, but not one in use")
        #expect(ours.allSatisfy { !gone.contains($0) })
        for id in gone { bench.handle(.closed(id, .local)) }
        #expect(bench.accept(from: "/ip4/9.9.9.9/tcp/1").effects.admitted.count == 1)
    }
}

@Suite("Admission")
struct AdmissionTests {
    @Test("32 sockets may be unauthenticated at once")
    func unauthenticated() {
        var bench = Bench()
        var ids: [ConnectionID] = []
        for number in 0..<40 {
            let (id, effects) = bench.accept(from: "/ip4/10.\(number).0.1/tcp/1")
            if number < 32 {
                #expect(effects.admitted == [id])
                ids.append(id)
            } else {
                #expect(effects.closed == [id])
                #expect(effects.events == ["refused: unauthenticated connections"])
            }
        }
        bench.handle(.established(ids[0], establishment(key(7)), .inbound, remote: address("/ip4/10.0.0.1/tcp/1")))
        #expect(bench.accept(from: "/ip4/10.50.0.1/tcp/1").effects.admitted.count == 1)
        bench.handle(.closed(ids[1], .timeout(.secure)))
        #expect(bench.accept(from: "/ip4/10.51.0.1/tcp/1").effects.admitted.count == 1)
        #expect(bench.accept(from: "/ip4/10.52.0.1/tcp/1").effects.admitted.isEmpty)
    }

    @Test(
        "One address and one group have their limits, loopback like others",
        arguments: [
            ("/ip4/127.0.0.1/tcp/", "/ip4/127.0.0.1/tcp/", 4),
            ("/ip4/8.8.8.1/tcp/", "/ip4/8.8.8.1/tcp/", 4),
            ("/ip6/2001:db8::1/tcp/", "/ip6/2001:db8:0:ff::9/tcp/", 4),
            ("/ip6/fe80::1/tcp/", "/ip6/fe80::2/tcp/", 4),
            // A v4 address inside a v6 one is a v4 address.
            ("/ip6/::ffff:8.8.8.1/tcp/", "/ip4/8.8.8.1/tcp/", 4),
        ])
    func perAddress(first: String, second: String, countMax: Int) {
        var bench = Bench()
        var ids: [ConnectionID] = []
        for port in 1...countMax { ids += bench.accept(from: first + "\(port)").effects.admitted }
        #expect(ids.count == countMax)
        #expect(bench.accept(from: second + "99").effects.admitted.isEmpty)
        bench.handle(.closed(ids[0], .remote))
        #expect(bench.accept(from: second + "99").effects.admitted.count == 1)
    }

    @Test("A /24 may hold 8; its neighbour is not touched")
    func perGroup() {
        var bench = Bench()
        let admitted = (1...10).map { bench.accept(from: "/ip4/8.8.8.\($0)/tcp/1").effects.admitted.count }
        #expect(admitted == [1, 1, 1, 1, 1, 1, 1, 1, 0, 0])
        #expect(bench.accept(from: "/ip4/8.8.9.1/tcp/1").effects.admitted.count == 1)
    }

    @Test("128 inbound connections, 192 in all, dials under way included")
    func totals() {
        var limits = NodeLimits.internet
        limits.connectionsHighWater = limits.connectionsMax
        var bench = Bench(limits: limits)
        for number in 0..<130 {
            let remote = "/ip4/20.\(number).0.1/tcp/1"
            let (id, effects) = bench.accept(from: remote)
            #expect(effects.admitted.count == (number < 128 ? 1 : 0))
            guard number < 128 else { continue }
            bench.handle(
                .established(id, establishment(key(UInt64(1_000 + number))), .inbound, remote: address(remote)))
        }
        #expect(bench.core.inboundCount == 128)
        for number in 0..<64 { _ = bench.outbound(key(UInt64(2_000 + number)), at: "/ip4/30.\(number).0.1/tcp/1") }
        #expect(bench.core.connectionCount == 192)
        #expect(bench.dial(key(3_000).peerID, ["/ip4/8.8.8.8/tcp/1"]).effects.rejections[0].error.code == .limit)
    }

    @Test("A socket is refused when dials under way would need the last places")
    func dialsHoldPlaces() {
        var limits = NodeLimits.internet
        limits.connectionsMax = 4
        limits.connectionsInboundMax = 4
        var bench = Bench(limits: limits)
        for number in 0..<3 { _ = bench.dial(key(UInt64(100 + number)).peerID, ["/ip4/8.8.8.1/tcp/\(number + 1)"]) }
        #expect(bench.accept(from: "/ip4/9.0.0.1/tcp/1").effects.admitted.count == 1)
        let refused = bench.accept(from: "/ip4/9.0.1.1/tcp/1")
        #expect(refused.effects.events == ["refused: connections"])
        #expect(bench.dial(key(110).peerID, ["/ip4/8.8.8.1/tcp/9"]).effects.rejections[0].error.code == .limit)
    }

    @Test("Only a source that took more than a quarter of a core is held to the handshake rate, for a while")
    func busySources() {
        var bench = Bench()
        func cycle(_ bench: inout Bench, _ remote: String) -> Bool {
            let (id, effects) = bench.accept(from: remote)
            guard effects.admitted == [id] else { return false }
            bench.handle(.processorUsed(id, percent: remote.hasPrefix("/ip4/6.") ? 13 : 0))
            bench.handle(.closed(id, .remote))
            return true
        }
        // 13 % alone is not too much; a thousand reconnects by quiet sources are fine too.
        #expect((0..<100).allSatisfy { _ in cycle(&bench, "/ip4/5.5.5.5/tcp/1") })
        #expect((0..<10).allSatisfy { _ in cycle(&bench, "/ip4/6.6.6.6/tcp/1") })
        // Two connections of one address at 13 % each are.
        let a = bench.accept(from: "/ip4/7.7.7.7/tcp/1").id
        let b = bench.accept(from: "/ip4/7.7.7.7/tcp/2").id
        bench.handle(.processorUsed(a, percent: 13))
        bench.handle(.processorUsed(b, percent: 13))
        bench.handle(.closed(a, .remote))
        bench.handle(.closed(b, .remote))
        #expect((0..<5).map { _ in cycle(&bench, "/ip4/7.7.7.7/tcp/1") } == [true, false, false, false, false])
        #expect(cycle(&bench, "/ip4/7.7.7.8/tcp/1"), "its neighbour is another source")
        bench.advance(1000)
        #expect(cycle(&bench, "/ip4/7.7.7.7/tcp/1"))
        #expect(!cycle(&bench, "/ip4/7.7.7.7/tcp/1"))
        bench.advance(30_000)
        #expect((0..<20).allSatisfy { _ in cycle(&bench, "/ip4/7.7.7.7/tcp/1") })
    }

    @Test("100 handshakes of one address a second, however little each costs, and its neighbours are not touched")
    func handshakesPerSource() {
        var bench = Bench()
        func cycle(_ bench: inout Bench, _ remote: String) -> Bool {
            let (id, effects) = bench.accept(from: remote)
            if effects.admitted == [id] { bench.handle(.closed(id, .remote)) }
            return effects.admitted == [id]
        }
        #expect((0..<300).filter { _ in cycle(&bench, "/ip4/5.5.5.5/tcp/1") }.count == 100)
        #expect(cycle(&bench, "/ip4/5.5.5.6/tcp/1"))
        bench.advance(100)
        #expect((0..<300).filter { _ in cycle(&bench, "/ip4/5.5.5.5/tcp/1") }.count == 10)
        bench.advance(1000)
        #expect((0..<300).filter { _ in cycle(&bench, "/ip4/5.5.5.5/tcp/1") }.count == 100)
        // Four that break the rules are borne with, then one per quarter of a second.
        let violation = CloseReason.violation(.multiplexer("more data than credit"), .stream)
        bench.advance(1000)
        for expected in [4, 1, 1] {
            let served = (0..<20).filter { _ in
                let (id, effects) = bench.accept(from: "/ip4/5.5.5.5/tcp/1")
                if effects.admitted == [id] { bench.handle(.closed(id, violation)) }
                return effects.admitted == [id]
            }
            #expect(served.count == expected)
            bench.advance(250)
        }
        bench.advance(2000)
        // Sources beyond what is remembered are served as new ones.
        for number in 0..<10_000 { #expect(cycle(&bench, "/ip4/9.\(number / 250).\(number % 250).1/tcp/1")) }
    }

    @Test("In the lab profile one address may bring thousands, without a rate")
    func lab() {
        var bench = Bench(limits: .lab)
        for port in 1...5_000 {
            #expect(bench.accept(from: "/ip4/127.0.0.1/tcp/\(port)").effects.admitted.count == 1)
        }
    }

    @Test("When all is closed nothing is left of the counters")
    func counters() {
        var gate = AdmissionGate(limits: .internet)
        for number in 0..<32 {
            let remote = address("/ip4/20.\(number).0.1/tcp/1")
            #expect(gate.accept(ConnectionID(UInt64(number)), remote: remote, connectionRoom: 9, at: .zero) == nil)
            gate.processorUsed(ConnectionID(UInt64(number)), percent: 90, at: .zero)
        }
        #expect(gate.busyCount == 32)
        for number in 0..<32 { gate.closed(ConnectionID(UInt64(number))) }
        gate.handleTimeout(at: Instant.zero + .seconds(30))
        #expect(gate.sourceCount == 0)
        #expect(gate.busyCount == 0)
        #expect(gate.inboundCount == 0)
        #expect(gate.unauthenticatedCount == 0)
        #expect(gate.nextTimeout == nil)
    }

    @Test("A source is turned away for a moment for its own count, not for that of others")
    func refusalPause() {
        func pauses(_ effects: [PeersEffect]) -> [Duration] {
            effects.compactMap { if case .refuse(_, let until) = $0 { .zero + (until - .zero) } else { nil } }
        }
        var bench = Bench()
        for port in 1...4 { #expect(bench.accept(from: "/ip4/20.0.0.1/tcp/\(port)").effects.admitted.count == 1) }
        #expect(pauses(bench.accept(from: "/ip4/20.0.0.1/tcp/5").effects) == [.milliseconds(100)])
        for number in 1...28 { _ = bench.accept(from: "/ip4/20.\(number).0.1/tcp/1") }
        #expect(pauses(bench.accept(from: "/ip4/21.0.0.1/tcp/1").effects) == [.zero], "32 are unauthenticated")
    }

    @Test("Refusals are told at a bounded rate and all counted")
    func refusalEvents() {
        var limits = NodeLimits.internet
        limits.unauthenticatedMax = 1
        var bench = Bench(limits: limits)
        var told = 0
        for number in 0..<100 { told += bench.accept(from: "/ip4/20.\(number).0.1/tcp/1").effects.events.count }
        #expect(told == 10)
        #expect(bench.core.stats.inboundRefused == 99)
    }

    @Test("The profiles are valid, and contradictions are named")
    func validation() throws {
        try NodeLimits.internet.validate()
        try NodeLimits.lab.validate()
        var limits = NodeLimits.internet
        limits.connectionsInboundMax = 500
        #expect(throws: NodeLimitsError(name: "connectionsInboundMax", requirement: "must not exceed connectionsMax")) {
            try limits.validate()
        }
        limits = .internet
        limits.dialsMax = 0
        #expect(throws: NodeLimitsError(name: "dialsMax", requirement: "must be at least 1")) { try limits.validate() }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiSimulator

@Suite("Fleet")
struct FleetTests {
    private static let (a, b, c) = (PeerIndex(0), PeerIndex(1), PeerIndex(2))

    private static func network(_ change: (inout NetworkModel) -> Void = { _ in }) -> NetworkModel {
        var network = NetworkModel()
        network.latency = .fixed(.milliseconds(20))
        network.jitter = 0
        change(&network)
        return network
    }

    private static func fleet(_ network: NetworkModel, count: Int = 3, links: Bool = false) -> Fleet<EchoPeer> {
        Fleet(count: count, world: 0, network: network, seed: 1, usesLinks: links)
    }

    /// So many messages from `a` to `b`, one a millisecond; returns when which arrived.
    private static func burst(_ fleet: inout Fleet<EchoPeer>, _ count: Int) -> [(at: Instant, number: Int)] {
        let start = fleet.now
        for number in 0..<count {
            fleet.schedule(.send(b, number), for: a, at: start + .milliseconds(number))
        }
        fleet.run(until: start + .milliseconds(count) + .seconds(200))
        return fleet.takeReports().compactMap { at, _, report in
            if case .got(let number, _) = report { (at, number) } else { nil }
        }
    }

    @Test("A fixed latency is kept to the nanosecond")
    func latency() {
        var fleet = Self.fleet(Self.network())
        let got = Self.burst(&fleet, 10)
        #expect(got.map(\.number) == Array(0..<10))
        #expect(got.map(\.at) == (0..<10).map { .zero + .milliseconds($0 + 20) })
    }

    @Test("Latencies of a log-normal model have its median and spread")
    func longTail() {
        var fleet = Self.fleet(
            Self.network {
                $0.latency = .longTail(median: .milliseconds(50), spread: 500)
                $0.isLatencyOfPair = false
            })
        var histogram = Histogram()
        for (at, number) in Self.burst(&fleet, 20_000) {
            histogram.add(UInt64((at - (.zero + .milliseconds(number))).saturatedNanoseconds))
        }
        let median = Double(histogram.percentile(partsPerThousand: 500)) / 1e6
        // e^0.5 = 1.6487, at 84.13 %.
        let upper = Double(histogram.percentile(partsPerThousand: 841)) / 1e6
        #expect(abs(median - 50) < 2)
        #expect(abs(upper - 82.4) < 4)
    }

    @Test("Loss and duplicates have their shares")
    func shares() {
        var fleet = Self.fleet(
            Self.network {
                $0.loss = 200_000
                $0.duplicate = 100_000
            })
        let got = Self.burst(&fleet, 20_000)
        #expect(abs(Double(fleet.counts.lost) / 20_000 - 0.2) < 0.02)
        #expect(abs(Double(got.count) / 16_000 - 1.1) < 0.02)
    }

    @Test("Losses of Gilbert and Elliott come in bursts")
    func bursts() {
        var fleet = Self.fleet(
            Self.network {
                $0.turnsBad = 10_000
                $0.turnsGood = 100_000
                $0.lossWhenBad = 1_000_000
            })
        let numbers = Set(Self.burst(&fleet, 20_000).map(\.number))
        let lost = (0..<20_000).filter { !numbers.contains($0) }
        let runs = lost.count { !lost.contains($0 - 1) }
        // 1 in 11 of the time bad, ten messages at a time.
        #expect(abs(Double(lost.count) / 20_000 - 0.09) < 0.03)
        #expect((7...13).contains(lost.count / max(1, runs)))
    }

    @Test("A narrow line delays, and drops what its queue does not hold")
    func bandwidth() {
        var fleet = Self.fleet(
            Self.network {
                $0.uplinkBytesPerSecond = 10_000
                $0.uplinkQueueBytesMax = 1_000
            })
        // 100 bytes a millisecond are ten times what the line carries.
        let got = Self.burst(&fleet, 1_000)
        #expect(fleet.counts.overflowed > 800)
        #expect(got.count + Int(fleet.counts.overflowed) == 1_000)
        #expect(got.allSatisfy { $0.at - (.zero + .milliseconds($0.number)) <= .milliseconds(20 + 110 + 10) })
    }

    @Test("A partition of one way stops one way only, and heals")
    func partition() {
        var fleet = Self.fleet(Self.network())
        fleet.apply(.partition(first: 1, rotation: 0, oneWay: true))
        fleet.schedule(.send(Self.b, 1), for: Self.a, at: .zero)
        fleet.schedule(.send(Self.a, 2), for: Self.b, at: .zero)
        fleet.run(until: .zero + .seconds(1))
        #expect(fleet.takeReports().map(\.report) == [.got(2, from: Self.b)])
        fleet.apply(.healPartition)
        fleet.schedule(.send(Self.b, 3), for: Self.a, at: fleet.now)
        fleet.run(until: .zero + .seconds(2))
        #expect(fleet.takeReports().map(\.report) == [.got(3, from: Self.a)])
    }

    @Test("A peer behind a NAT gets answers only")
    func unreachable() {
        var fleet = Self.fleet(Self.network())
        fleet.setUnreachable(Self.b)
        fleet.schedule(.send(Self.b, 1), for: Self.a, at: .zero)
        fleet.schedule(.send(Self.b, 1_000_001), for: Self.a, at: .zero)
        fleet.run(until: .zero + .seconds(1))
        #expect(fleet.takeReports().map(\.report) == [.got(1_000_001, from: Self.a)])
    }

    @Test("A timer that was put off fires once, at its new time")
    func lazyTimer() {
        var fleet = Self.fleet(Self.network())
        fleet.schedule(.setTimer(.zero + .seconds(10)), for: Self.a, at: .zero)
        fleet.schedule(.setTimer(.zero + .seconds(30)), for: Self.a, at: .zero + .seconds(5))
        fleet.schedule(.setTimer(.zero + .seconds(20)), for: Self.a, at: .zero + .seconds(6))
        fleet.run(until: .zero + .seconds(60))
        #expect(fleet.takeReports().map(\.report) == [.fired(.zero + .seconds(20))])
    }

    @Test(
        "A clock that runs fast or was set forward fires timers earlier, never twice",
        arguments: [-200, 0, 200] as [Int32])
    func clocks(drift: Int32) {
        var fleet = Self.fleet(Self.network())
        fleet.apply(.driftClock(Self.a, drift))
        fleet.apply(.stepClock(Self.a, .seconds(5)))
        fleet.schedule(.setTimer(.zero + .seconds(1_005)), for: Self.a, at: .zero)
        fleet.run(until: .zero + .seconds(2_000))
        let reports = fleet.takeReports()
        #expect(reports.count == 1)
        let expected = 1_000.0 / (1 + Double(drift) / 1e6)
        let got = reports.first.map { ($0.at - Instant.zero).secondsForDisplay } ?? 0
        #expect(abs(got - expected) < 0.01)
    }

    @Test("A paused peer does everything later, in order")
    func pause() {
        var fleet = Self.fleet(Self.network())
        fleet.apply(.pause(Self.b, .seconds(3)))
        let got = Self.burst(&fleet, 5)
        #expect(got.map(\.number) == [0, 1, 2, 3, 4])
        #expect(got.allSatisfy { $0.at == .zero + .seconds(3) })
    }

    @Test("What a stalled peer sends and gets waits, as much as its socket holds; its timers fire")
    func stall() {
        var fleet = Self.fleet(Self.network { $0.socketMessagesMax = 4 })
        fleet.apply(.stall(Self.b, .seconds(3)))
        fleet.schedule(.setTimer(.zero + .seconds(1)), for: Self.b, at: .zero)
        fleet.schedule(.send(Self.a, 9), for: Self.b, at: .zero)
        for number in 0..<6 { fleet.schedule(.send(Self.b, number), for: Self.a, at: .zero + .milliseconds(number)) }
        fleet.run(until: .zero + .seconds(2))
        #expect(fleet.takeReports().map(\.report) == [.fired(.zero + .seconds(1))])
        fleet.run(until: .zero + .seconds(4))
        #expect(fleet.takeReports().map(\.report) == (0..<4).map { .got($0, from: Self.a) } + [.got(9, from: Self.b)])
        #expect(fleet.counts.overflowed == 2)
    }

    @Test("A link keeps the order and loses nothing while it lives")
    func linkOrder() {
        var fleet = Self.fleet(
            Self.network {
                $0.latency = .uniform(.milliseconds(1), .milliseconds(400))
                $0.isLatencyOfPair = false
                $0.loss = 100_000
            }, links: true)
        fleet.link(Self.a, Self.b)
        _ = fleet.takeReports()
        #expect(Self.burst(&fleet, 500).map(\.number) == Array(0..<500))
    }

    @Test("A crash ends links at once, a silent one only for those who send", arguments: [false, true])
    func crash(isSilent: Bool) {
        var fleet = Self.fleet(Self.network(), links: true)
        fleet.link(Self.a, Self.b)
        fleet.link(Self.b, Self.c)
        _ = fleet.takeReports()
        fleet.apply(.crash(Self.b, isSilent: isSilent))
        fleet.schedule(.send(Self.b, 1), for: Self.a, at: .zero + .seconds(1))
        fleet.run(until: .zero + .seconds(60))
        let reports = fleet.takeReports()
        let told = reports.map(\.peer)
        #expect(told == (isSilent ? [Self.a] : [Self.a, Self.c]))
        #expect(reports.allSatisfy { $0.report == .link(.down, Self.b) })
        #expect(reports.first?.at == .zero + (isSilent ? .seconds(16) : .milliseconds(20)))
    }

    @Test("A dial leads to a link at both ends, or to one failure")
    func dial() {
        var fleet = Self.fleet(Self.network(), links: true)
        fleet.apply(.crash(Self.c, isSilent: true))
        fleet.schedule(.connect(Self.b), for: Self.a, at: .zero)
        fleet.schedule(.connect(Self.c), for: Self.a, at: .zero)
        fleet.run(until: .zero + .seconds(60))
        #expect(
            fleet.takeReports().map(\.report) == [
                .link(.up(.inbound), Self.a), .link(.up(.outbound), Self.b), .link(.failed, Self.c),
            ])
    }

    @Test("Both dial at once: each has one link, and what is sent arrives")
    func simultaneousDials() {
        var fleet = Self.fleet(Self.network(), links: true)
        fleet.schedule(.connect(Self.b), for: Self.a, at: .zero)
        fleet.schedule(.connect(Self.a), for: Self.b, at: .zero)
        fleet.run(until: .zero + .seconds(1))
        #expect(fleet.takeReports().count == 2)
        #expect(Self.burst(&fleet, 20).count == 20)
    }

    @Test("Sessions of Mainline: half end within 200 minutes, 3 % last over 9,000")
    func mainline() {
        var fleet = Self.fleet(Self.network(), count: 4_000)
        let day = Duration.seconds(86_400)
        for place in 0..<4_000 as Range<UInt32> { fleet.setAbsent(PeerIndex(place)) }
        // Nobody is there; absences end almost at once, and sessions begin.
        fleet.setChurn(ChurnModel(session: .mainline, absence: .exponential(mean: .seconds(1))), permanent: 0)
        fleet.run(until: .zero + .seconds(30))
        let begun = fleet.counts.restarts
        #expect(begun >= 3_990)
        fleet.run(until: .zero + .seconds(200 * 60))
        // Those who came back meanwhile began again: crashes are ends of sessions, of which some are short.
        #expect(fleet.counts.crashes > 1_900)
        fleet.setChurn(nil, permanent: 0)
        fleet.run(until: fleet.now + day)
        #expect(fleet.aliveCount > 3_900)
    }
}

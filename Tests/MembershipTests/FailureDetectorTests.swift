// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiMembership

@Suite("The failure detector") struct FailureDetectorTests {
    static func swim(_ count: UInt32, _ arm: DetectorConfiguration.Arm) -> MembershipConfiguration {
        var configuration = MembershipConfiguration.lab
        configuration.transport = .datagrams
        configuration.detector.arm = arm
        configuration.detector.scope = .members
        configuration.detector.membersAtStart = count
        configuration.detector.probeInterval = .seconds(1)
        configuration.detector.probeTimeout = .milliseconds(500)
        configuration.detector.isStartJittered = false
        return configuration
    }

    static func network(_ configuration: MembershipConfiguration, seed: UInt64) -> Network {
        var network = Network(configuration, seed: seed)
        for _ in 0..<configuration.detector.membersAtStart { _ = network.add() }
        return network
    }

    @Test(
        "A death is first detected after 1.58 periods on average, whatever the size",
        arguments: [32, 128, 256] as [UInt32])
    func detection(count: UInt32) {
        let runs = 400
        var periods = 0
        for run in 0..<runs {
            var network = Self.network(Self.swim(count, .basic), seed: UInt64(run))
            // Just before the third period begins.
            network.run(for: .milliseconds(2_999))
            network.kill(5)
            network.run(for: .seconds(12))
            let first = network.events.first { $0.event == .stateChanged(PeerIndex(5), .dead) }
            // Probed in period p, found dead when it ends: p + 1.
            periods += Int(((first?.at ?? network.now) - .zero) / .seconds(1)) - 3
        }
        let mean = Double(periods) / Double(runs)
        #expect(mean > 1.40 && mean < 1.78, "\(mean)")
    }

    @Test("Everybody is probed once in each round, so a death is found within 2n - 1 periods by each")
    func rounds() {
        var core = MembershipCore(own: PeerIndex(3), configuration: Self.swim(40, .basic), seed: 9, at: .zero)
        var probed: [[UInt32]] = [[]]
        while probed.count < 4 {
            let now = core.nextTimeout ?? .zero
            core.handleTimeout(at: now)
            while let effect = core.nextEffect() {
                guard case .send(let peer, .probe(let sequence, _)) = effect else { continue }
                if probed[probed.count - 1].count == 39 { probed.append([]) }
                probed[probed.count - 1].append(peer.value)
                core.handle(.received(peer, .ack(sequence: sequence, [])), at: now)
            }
        }
        let everybody = (0..<40 as Range<UInt32>).filter { $0 != 3 }
        #expect(probed.prefix(3).allSatisfy { $0.sorted() == everybody })
        #expect(probed[0] != probed[1])
    }

    @Test("Probes that fail by loss alone: (1 - q^2)(1 - q^4)^K", arguments: [(0, 0.19), (1, 0.065)])
    func falseSuspicions(helpers: Int, expected: Double) {
        var configuration = Self.swim(100, .suspicion)
        configuration.detector.helpers = helpers
        var network = Self.network(configuration, seed: 4)
        network.lossPerMille = 100
        network.run(for: .seconds(200))
        let sent = network.cores.reduce(0) { $0 + $1.stats.probesSent }
        let failed = network.cores.reduce(0) { $0 + $1.stats.probesFailed }
        let rate = Double(failed) / Double(sent)
        #expect(sent > 15_000)
        #expect(rate > expected / 1.25 && rate < expected * 1.25, "\(rate)")
    }

    @Test("With loss suspicion keeps everybody alive where the basic detector does not")
    func suspicion() {
        func deaths(_ arm: DetectorConfiguration.Arm) -> Int {
            var network = Self.network(Self.swim(28, arm), seed: 2)
            network.lossPerMille = 100
            network.run(for: .seconds(120))
            return network.events.count { if case .stateChanged(_, .dead) = $0.event { true } else { false } }
        }
        #expect(deaths(.basic) > 0)
        #expect(deaths(.suspicion) == 0)
        #expect(deaths(.lifeguard) == 0)
    }

    @Test(
        "Logarithms by integers are those of a table",
        arguments: [
            (1, 0, 0, 0), (2, 1_000, 693, 301), (10, 3_321, 2_302, 999), (128, 7_000, 4_852, 2_107),
            (10_000, 13_287, 9_210, 3_999),
        ])
    func logarithms(value: Int, binary: Int, natural: Int, decimal: Int) {
        #expect(abs(IntegerLogarithm.log2Milli(value) - binary) <= 1)
        #expect(abs(IntegerLogarithm.lnMilli(value) - natural) <= 1)
        #expect(abs(IntegerLogarithm.log10Milli(value) - decimal) <= 1)
    }

    @Test("A death reaches every member", arguments: [.basic, .suspicion, .lifeguard] as [DetectorConfiguration.Arm])
    func dissemination(arm: DetectorConfiguration.Arm) {
        var network = Self.network(Self.swim(100, arm), seed: 3)
        network.run(for: .seconds(3))
        network.kill(17)
        network.run(for: .seconds(90))
        for node in network.live { #expect(network.cores[node].state(of: PeerIndex(17)) == .dead) }
        let others = network.events.filter {
            if case .stateChanged(let peer, .dead) = $0.event { peer != PeerIndex(17) } else { false }
        }
        #expect(others.isEmpty)
    }

    /// Deaths that members declared although nobody died, with 16 of 128 members slow at random.
    static func falseDeaths(_ arm: DetectorConfiguration.Arm, seed: UInt64) -> Int {
        var network = network(swim(128, arm), seed: seed)
        var generator = SeededGenerator(seed: seed &+ 99)
        for _ in 0..<120 {
            for slow in 0..<16 where network.pausedUntil[slow * 8] <= network.now && generator.next() % 4 == 0 {
                let pause = Duration.milliseconds(64 + Int64(generator.next() % 20_000))
                network.pausedUntil[slow * 8] = network.now + pause
            }
            network.run(for: .seconds(1))
        }
        // Of healthy members, as counted by those that are told.
        return network.events.count {
            if case .stateChanged(let peer, .dead) = $0.event { peer.value % 8 != 0 } else { false }
        }
    }

    @Test("With slow members Lifeguard declares at most a twentieth of the false deaths", .timeLimit(.minutes(2)))
    func lifeguard() {
        let plain = Self.falseDeaths(.suspicion, seed: 1)
        let guarded = Self.falseDeaths(.lifeguard, seed: 1)
        #expect(plain >= 20, "\(plain)")
        #expect(guarded * 20 <= plain, "\(guarded) against \(plain)")
    }

    @Test("A suspected member is told first of all, refutes, and only it raises its incarnation")
    func refutation() {
        var core = MembershipCore(own: PeerIndex(1), configuration: Self.swim(3, .lifeguard), seed: 1, at: .zero)
        while core.nextEffect() != nil {}
        let suspicion = MemberUpdate(peer: PeerIndex(1), incarnation: 4, state: .suspect, accuser: PeerIndex(2))
        core.handle(.received(PeerIndex(2), .probe(sequence: 7, [suspicion])), at: .zero)
        guard case .send(PeerIndex(2), .ack(7, let updates)) = core.nextEffect() else {
            Issue.record("no ack")
            return
        }
        #expect(updates == [MemberUpdate(peer: PeerIndex(1), incarnation: 5, state: .alive)])
        #expect(core.awareness == 1)
    }

    @Test("An incarnation far ahead is believed only from the member itself")
    func forgedIncarnation() {
        var core = MembershipCore(own: PeerIndex(1), configuration: Self.swim(4, .lifeguard), seed: 1, at: .zero)
        let forged = MemberUpdate(peer: PeerIndex(3), incarnation: .max, state: .dead, accuser: PeerIndex(2))
        core.handle(.received(PeerIndex(2), .updates([forged])), at: .zero)
        #expect(core.state(of: PeerIndex(3)) == .alive)
        core.handle(.received(PeerIndex(3), .updates([forged])), at: .zero)
        #expect(core.state(of: PeerIndex(3)) == .dead)
    }

    // MARK: Neighbours

    /// Twelve nodes, each with a link to each.
    static func fullMesh(seed: UInt64) -> Network {
        var configuration = MembershipConfiguration.lab
        configuration.views.activeMax = 11
        return Network.joined(12, configuration, seed: seed, rounds: 10)
    }

    @Test("A broken path is told from a dead peer within 8 s, and so is its return", arguments: [true, false])
    func pathDown(isSilent: Bool) {
        var network = Self.fullMesh(seed: 6)
        #expect(network.cores[2].neighbours.contains(PeerIndex(9)))
        let cutAt = network.now
        if isSilent { network.blackhole(2, 9) } else { network.cut(2, 9) }
        network.run(for: .seconds(60))
        for (node, peer) in [(2, 9), (9, 2)] {
            let told = network.events.first {
                if case .pathDown(PeerIndex(UInt32(peer)), _) = $0.event { $0.node == node } else { false }
            }
            #expect(((told?.at ?? .distantFuture) - cutAt) <= .seconds(8))
            #expect(network.cores[node].state(of: PeerIndex(UInt32(peer))) == .alive)
        }
        network.mend(2, 9)
        network.run(for: .seconds(30))
        #expect(network.events.contains { $0.node == 2 && $0.event == .pathRestored(PeerIndex(9)) })
        #expect(!network.events.contains { if case .stateChanged(_, .dead) = $0.event { true } else { false } })
    }

    @Test("A dead neighbour is dead and no broken path")
    func peerDown() {
        var network = Self.fullMesh(seed: 6)
        network.kill(9)
        network.run(for: .seconds(60))
        #expect(network.cores[2].state(of: PeerIndex(9)) != .alive)
        #expect(network.events.contains { $0.node == 2 && $0.event == .stateChanged(PeerIndex(9), .dead) })
        #expect(!network.events.contains { if case .pathDown = $0.event { true } else { false } })
    }

    @Test("Nobody talks a neighbour dead that answers us")
    func slander() {
        var network = Self.fullMesh(seed: 8)
        for incarnation in 0..<20 as Range<UInt32> {
            let slander = MemberUpdate(
                peer: PeerIndex(9), incarnation: incarnation, state: .dead, accuser: PeerIndex(5))
            network.tell(2, .received(PeerIndex(5), .updates([slander])))
            network.run(for: .seconds(10))
        }
        #expect(!network.events.contains { $0.event == .stateChanged(PeerIndex(9), .dead) })
        #expect(network.cores[2].neighbours.contains(PeerIndex(9)))
    }

    /// Acks of the core to a probe that carries this.
    private static func acks(_ core: inout MembershipCore, _ news: MemberUpdate, at now: Instant) -> [MemberUpdate] {
        core.handle(.received(PeerIndex(1), .probe(sequence: 7, [news])), at: now)
        var told: [MemberUpdate] = []
        while let effect = core.nextEffect() {
            if case .send(_, .ack(_, let updates)) = effect { told += updates }
        }
        return told
    }

    @Test("Whoever has not heard of a refutation is told again, however long ago it was")
    func staleSuspicion() {
        let own = PeerIndex(3)
        var core = MembershipCore(own: own, configuration: Self.swim(8, .lifeguard), seed: 9, at: .zero)
        let suspicion = MemberUpdate(peer: own, incarnation: 0, state: .suspect, accuser: PeerIndex(1))
        let refutation = MemberUpdate(peer: own, incarnation: 1, state: .alive)
        #expect(Self.acks(&core, suspicion, at: .zero).contains(refutation))
        // Of no interest to us, until the refutation has been passed on often enough.
        let other = MemberUpdate(peer: PeerIndex(5), incarnation: 0, state: .alive)
        for _ in 0..<100 { _ = Self.acks(&core, other, at: .zero) }
        #expect(Self.acks(&core, other, at: .zero).isEmpty)
        #expect(Self.acks(&core, suspicion, at: .zero) == [refutation])
        #expect(core.stats.refutations == 1)
    }

    /// One core with one neighbour, run for a while. The neighbour is talked dead at once; it answers probes or not.
    private static func neighbour(
        isAnswering: Bool, for duration: Duration
    ) -> (states: [MemberUpdate.State], last: MemberUpdate.State?) {
        let peer = PeerIndex(1)
        var core = MembershipCore(own: PeerIndex(3), configuration: .lab, seed: 9, at: .zero)
        core.handle(.peerConnected(peer, group: .none), at: .zero)
        core.handle(.received(peer, .join), at: .zero)
        let death = MemberUpdate(peer: peer, incarnation: 4, state: .dead, accuser: PeerIndex(2))
        core.handle(.received(PeerIndex(2), .updates([death])), at: .zero)
        var states: [MemberUpdate.State] = []
        while let now = core.nextTimeout, now < .zero + duration {
            core.handleTimeout(at: now)
            while let effect = core.nextEffect() {
                switch effect {
                case .send(peer, .probe(let sequence, _)) where isAnswering:
                    core.handle(.received(peer, .ack(sequence: sequence, [])), at: now)
                case .emit(.stateChanged(peer, let state)): states.append(state)
                default: continue
                }
            }
        }
        return (states, core.state(of: peer))
    }

    @Test("A neighbour that answers is not talked dead, one that does not is dead and later forgotten")
    func talkedDead() {
        let answering = Self.neighbour(isAnswering: true, for: .seconds(1_000))
        #expect(answering.states == [.suspect, .alive])
        #expect(answering.last == .alive)
        let silent = Self.neighbour(isAnswering: false, for: .seconds(300))
        #expect(silent.states == [.suspect, .dead])
        #expect(silent.last == .dead)
        // Nobody is left to be probed, and the tombstone goes nevertheless.
        #expect(Self.neighbour(isAnswering: false, for: .seconds(1_000)).last == nil)
    }
}

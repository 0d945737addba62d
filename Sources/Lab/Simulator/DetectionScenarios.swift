// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiMembership

/// What the papers of SWIM, Lifeguard and RON report.
enum DetectionScenarios {
    static let all: [Scenario] = [load, worst, falseSuspicion, lifeguard, detour]

    private static let nodes = ScenarioParameter("nodes", 100, 3...100_000, "members")
    private static let periods = ScenarioParameter("periods", 50, 1...1_000_000, "periods")
    private static let loss = ScenarioParameter("loss", 0, 0...90, "messages lost each way, in percent")
    private static let interval = Duration.seconds(1)

    /// Members that know each other from the start, as SWIM's paper has them: no connections, periods aligned.
    private static func swim(_ settings: ScenarioSettings) -> MembershipConfiguration {
        var configuration = MembershipConfiguration.lab
        configuration.transport = .datagrams
        configuration.detector.scope = .members
        configuration.detector.arm = .suspicion
        configuration.detector.probeInterval = interval
        configuration.detector.probeTimeout = .milliseconds(300)
        configuration.detector.membersAtStart = UInt32(settings.nodes)
        configuration.detector.isStartJittered = false
        return configuration
    }

    private static func lab(
        _ settings: ScenarioSettings, _ configuration: MembershipConfiguration, loss: Int = 0
    ) -> MeshLab {
        var network = NetworkModel()
        network.latency = .uniform(.milliseconds(1), .milliseconds(20))
        network.loss = UInt32(loss) * 10_000
        return MeshLab(
            nodes: settings.nodes, world: MembershipWorld(configuration: configuration), seed: settings.seed,
            network: network, usesLinks: false)
    }

    // MARK: SWIM

    static let load = Scenario(
        "swim-load", "messages that each member of a SWIM group sends in a period", [nodes, periods, loss]
    ) { settings, _ in
        var lab = lab(settings, swim(settings), loss: settings["loss"])
        lab.run(until: .zero + .seconds(settings["periods"]) + .milliseconds(-1))
        var result = ScenarioResult()
        lab.describe(&result)
        let each = Double(lab.fleet.counts.sent) / Double(settings.nodes) / Double(settings["periods"])
        // One probe and one ack, whatever the size: ten percent either way.
        result.check("messages per member and period", each, expected: 2, tolerance: 0.2)
        return result
    }

    static let worst = Scenario(
        "swim-worst", "a member crashes, nobody tells: how long until each one has found out by its own probe",
        [
            nodes, ScenarioParameter("groups", 10, 1...10_000, "groups with one crash each"),
            ScenarioParameter("slow", 0, 0...1, "1: members probe at half the pace"),
        ]
    ) { settings, progress in
        var configuration = swim(settings)
        // No update is ever passed on.
        configuration.detector.retransmitMultiplier = 0
        configuration.detector.suspicionMultiplier = 1_000
        if settings["slow"] == 1 { configuration.detector.probeInterval = interval * 2 }
        let bound = 2 * settings.nodes - 1
        var (latest, unaware) = (0.0, 0)
        var result = ScenarioResult()
        for number in 0..<settings["groups"] {
            var network = NetworkModel()
            network.latency = .uniform(.milliseconds(1), .milliseconds(20))
            var lab = MeshLab(
                nodes: settings.nodes, world: MembershipWorld(configuration: configuration),
                seed: settings.seed &+ UInt64(number) &* 7_919, network: network, usesLinks: false)
            lab.keepsEvents = true
            let victim = PeerIndex(UInt32(number % settings.nodes))
            let begin = Instant.zero + .seconds(3 + number)
            lab.run(until: begin + .milliseconds(-1))
            lab.fleet.apply(.crash(victim, isSilent: true))
            lab.run(until: begin + .seconds(4 * bound))
            var first: [PeerIndex: Instant] = [:]
            for event in lab.events where event.event == .stateChanged(victim, .suspect) && first[event.peer] == nil {
                first[event.peer] = event.at
                // The verdict falls at the end of the period that it belongs to.
                latest = max(latest, ((event.at - begin).secondsForDisplay).rounded(.up))
            }
            unaware += settings.nodes - 1 - first.count
            if number == 0 { lab.describe(&result) }
            progress.reached(Double(number) / Double(settings["groups"]))
        }
        result.check("members that never found out", Double(unaware), expected: 0, tolerance: 0)
        result.check("periods until the last one knows", latest, in: Double(settings.nodes - 1)...Double(bound))
        return result
    }

    static let falseSuspicion = Scenario(
        "swim-false", "how often a probe of a live member comes to nothing while messages are lost",
        [
            nodes, periods, loss, ScenarioParameter("helpers", 3, 0...8, "members that probe on our behalf"),
            ScenarioParameter("extra", 0, 0...4, "helpers beyond those that the formula is told of"),
        ]
    ) { settings, _ in
        var configuration = swim(settings)
        configuration.detector.helpers = settings["helpers"] + settings["extra"]
        // Nobody dies of it.
        configuration.detector.suspicionMultiplier = 1_000_000
        var lab = lab(settings, configuration, loss: settings["loss"])
        lab.run(until: .zero + .seconds(settings["periods"]))
        var (probes, failed) = (0.0, 0.0)
        for peer in lab.fleet.peers {
            probes += Double(peer.core.stats.probesSent)
            failed += Double(peer.core.stats.probesFailed)
        }
        let arrives = 1 - Double(settings["loss"]) / 100
        let twice = arrives * arrives
        var expected = 1 - twice
        for _ in 0..<settings["helpers"] { expected *= 1 - twice * twice }
        var result = ScenarioResult()
        lab.describe(&result)
        result.add("probes", probes)
        result.add("closed form", expected)
        let got = failed / max(1, probes)
        result.check("false suspicions per probe", got, in: (expected / 1.25)...(expected * 1.25))
        return result
    }

    // MARK: Lifeguard

    private struct Verdicts {
        var falseDeaths = 0
        var falseDeathsAtHealthy = 0
        var detection = Histogram()
        var missed = 0
    }

    private static func watch(
        _ settings: ScenarioSettings, _ arm: DetectorConfiguration.Arm, _ result: inout ScenarioResult
    ) -> Verdicts {
        var configuration = swim(settings)
        configuration.detector.arm = arm
        configuration.detector.isStartJittered = true
        configuration.detector.probeTimeout = .milliseconds(500)
        // 2 * ceil(ln 129) = 10 periods, as alpha * log10(128) = 10.5 is for the other arm.
        configuration.detector.suspicionMultiplier = 2
        configuration.detector.gossipInterval = .milliseconds(200)
        configuration.detector.tombstoneDuration = .seconds(20)
        if settings["news"] == 0 {
            configuration.detector.retransmitMultiplier = 0
            configuration.detector.gossipInterval = .zero
        }
        var lab = lab(settings, configuration)
        lab.keepsEvents = true
        let slow = Array(stride(from: 0, to: settings.nodes, by: 8))
        let isSlow = { (peer: PeerIndex) in peer.value % 8 == 0 }
        var draws = DrawStream(seed: settings.seed, .faults)
        var due = slow.map { _ in Int64(5_000 + draws.below(10_000)) }
        var crashes: [(PeerIndex, Instant)] = []
        // One in 10 s, and a quarter of the members at most.
        let crashSteps = max(40, settings["seconds"] * 16 / settings.nodes)
        for step in 0..<(settings["seconds"] * 4) {
            let now = Int64(step) * 250
            lab.run(until: .zero + .milliseconds(now))
            for place in slow.indices where due[place] <= now && settings["stalls"] == 1 {
                // 64 ms to 32 s, each power of two as likely as any other, and as long a rest after it.
                let length = Int64(64) << Int64(draws.below(10))
                lab.fleet.apply(.stall(PeerIndex(UInt32(slow[place])), .milliseconds(length)))
                due[place] = now + length + Int64(64) << Int64(draws.below(10))
            }
            if step % crashSteps == crashSteps - 1, step < settings["seconds"] * 4 - 240 {
                var victim = PeerIndex(UInt32(draws.below(UInt64(settings.nodes))))
                while isSlow(victim) || !lab.fleet.isAlive(victim) {
                    victim = PeerIndex(UInt32(draws.below(UInt64(settings.nodes))))
                }
                lab.fleet.apply(.crash(victim, isSilent: true))
                crashes.append((victim, lab.fleet.now))
            }
        }
        var verdicts = Verdicts()
        let gone = Set(crashes.map(\.0))
        // As in the paper: who is slow may well be taken for dead, who is healthy may not.
        for case (_, let peer, .stateChanged(let victim, .dead)) in lab.events
        where !gone.contains(victim) && !isSlow(victim) {
            verdicts.falseDeaths += 1
            if !isSlow(peer) { verdicts.falseDeathsAtHealthy += 1 }
        }
        for (victim, at) in crashes {
            let first = lab.events.first {
                $0.event == .stateChanged(victim, .dead) && $0.at > at && !isSlow($0.peer)
            }
            if let first {
                verdicts.detection.add(UInt64((first.at - at).saturatedNanoseconds))
            } else {
                verdicts.missed += 1
            }
        }
        if result.digest == 0 { lab.describe(&result) }
        return verdicts
    }

    static let lifeguard = Scenario(
        "lifeguard", "false deaths and time of detection with SWIM and with Lifeguard, an eighth of the members slow",
        [
            ScenarioParameter("nodes", 128, 16...10_000, "members"),
            ScenarioParameter("seconds", 240, 120...100_000, "simulated time"),
            ScenarioParameter("lifeguard", 1, 0...1, "0: both arms are SWIM"),
            ScenarioParameter("news", 1, 0...1, "0: no update is passed on, so that nobody confirms a suspicion"),
            ScenarioParameter("stalls", 1, 0...1, "0: nobody is slow"),
        ]
    ) { settings, progress in
        var result = ScenarioResult()
        let plain = watch(settings, .suspicion, &result)
        progress.reached(0.5)
        let guarded = watch(settings, settings["lifeguard"] == 1 ? .lifeguard : .suspicion, &result)
        result.add("false deaths, SWIM", Double(plain.falseDeaths))
        result.add("false deaths, Lifeguard", Double(guarded.falseDeaths))
        result.add("false deaths at healthy members, SWIM", Double(plain.falseDeathsAtHealthy))
        result.add("false deaths at healthy members, Lifeguard", Double(guarded.falseDeathsAtHealthy))
        result.add(latency: plain.detection, of: "detections, SWIM")
        result.add(latency: guarded.detection, of: "detections, Lifeguard")
        result.check("crashes nobody noticed", Double(plain.missed + guarded.missed), expected: 0, tolerance: 0)
        let share = Double(guarded.falseDeaths) / Double(max(1, plain.falseDeaths))
        result.check("false deaths, Lifeguard to SWIM", share, atMost: 0.05)
        let healthy = Double(guarded.falseDeathsAtHealthy) / Double(max(1, plain.falseDeathsAtHealthy))
        result.check("false deaths at healthy members, Lifeguard to SWIM", healthy, atMost: 0.05)
        let median = Double(guarded.detection.percentile(partsPerThousand: 500))
        let base = Double(max(1, plain.detection.percentile(partsPerThousand: 500)))
        result.check("median detection, Lifeguard to SWIM", median / base, atMost: 1.1)
        return result
    }

    // MARK: RON

    static let detour = Scenario(
        "detour", "twelve peers, all neighbours: one direct path breaks, and another peer reaches on behalf of both",
        [
            ScenarioParameter("nodes", 12, 3...60, "peers"),
            ScenarioParameter("breaks", 30, 1...10_000, "paths that break, one after the other"),
            ScenarioParameter("ron", 0, 0...1, "1: RON's timers"),
            ScenarioParameter("helpers", 3, 0...8, "peers that probe on our behalf"),
        ]
    ) { settings, progress in
        var configuration = MembershipConfiguration.lab
        configuration.views.activeMax = settings.nodes - 1
        configuration.detector.helpers = settings["helpers"]
        if settings["ron"] == 1 {
            // Every 14 s on average, and four time-outs of 3 s: here one of 12 s.
            configuration.detector.probeInterval = .seconds(14)
            configuration.detector.probeTimeout = .seconds(12)
        }
        var network = NetworkModel()
        // The connection itself does not notice.
        network.breakTimeout = .seconds(600)
        var (times, unavoided) = (Histogram(), 0)
        var result = ScenarioResult()
        for number in 0..<settings["breaks"] {
            var lab = MeshLab(
                nodes: settings.nodes, world: MembershipWorld(configuration: configuration),
                seed: settings.seed &+ UInt64(number) &* 104_729, network: network)
            lab.keepsEvents = true
            lab.join(interval: .seconds(1), settle: .seconds(120), ScenarioProgress.none)
            var draws = DrawStream(seed: settings.seed &+ UInt64(number), .faults)
            lab.run(until: lab.fleet.now + .milliseconds(Int64(draws.below(30_000))))
            let a = UInt32(draws.below(UInt64(settings.nodes)))
            let others = lab.fleet.peers[Int(a)].core.neighbours
            guard !others.isEmpty else {
                unavoided += 1
                continue
            }
            let b = others[Int(draws.below(UInt64(others.count)))].value
            lab.fleet.cutPath = (a, b)
            let (begin, seen) = (lab.fleet.now, lab.events.count)
            lab.run(until: begin + .seconds(60))
            let first = lab.events[seen...].first { event in
                if case .pathDown(let peer, _) = event.event {
                    return event.peer.value == a && peer.value == b || event.peer.value == b && peer.value == a
                }
                return false
            }
            if let first { times.add(UInt64((first.at - begin).saturatedNanoseconds)) } else { unavoided += 1 }
            if number == 0 { lab.describe(&result) }
            progress.reached(Double(number) / Double(settings["breaks"]))
        }
        result.add(latency: times, of: "detours")
        let avoided = 1 - Double(unavoided) / Double(settings["breaks"])
        result.check("broken paths avoided", avoided, expected: 1, tolerance: 0)
        let mean = times.count == 0 ? 60 : times.mean / 1e9
        if settings["ron"] == 1 {
            result.check("seconds until the detour is known, mean", mean, in: 15...22)
        } else {
            result.check("seconds until the detour is known, mean", mean, atMost: 8)
        }
        return result
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

enum JournalScenario {
    static let journal = Scenario(
        "journal",
        "whole nodes with a community's journal: found, join, write, crash, part, lie, and be the same again",
        [
            ScenarioParameter("nodes", 50, 3...1_000, "nodes, all in one community"),
            ScenarioParameter("entries", 200, 1...100_000, "chat entries, by random nodes at random times"),
            ScenarioParameter("seconds", 120, 10...100_000, "simulated time of the writing"),
            ScenarioParameter("faults", 1, 0...1, "0: nobody crashes, parts or lies; every link takes 50 ms"),
            ScenarioParameter("liars", 20, 0...50, "nodes that lie, each in one of seven manners, in percent"),
            ScenarioParameter("bound", 300, 10...10_000, "seconds in which all must be the same again"),
            ScenarioParameter(
                "planted", 0, 0...8,
                "wrong on purpose: 1 no wait for the disk, 2 no signature is checked, 3 nobody answers those that lack "
                    + "something, 4 one receipt is enough, 5 who lies in sync is asked again at once, 6 usurpers are "
                    + "admins, 7 signatures in governance bodies aren't checked, 8 liars end proposals"),
        ]
    ) { settings, progress in
        var course = JournalCourse(settings)
        course.run(progress)
        return course.result()
    }
}

/// One run: its course, and what its checkers say.
private struct JournalCourse: ~Copyable {
    private let settings: ScenarioSettings
    private let network: NetworkModel
    private let hasFaults: Bool
    private var lab: JournalNetwork
    private var draws: DrawStream
    private var joined = 0
    private var joining: Duration?
    private var healing: Duration?
    private var ending: Duration?
    private var writtenInCourse = 0..<0
    private var digestsApart = 0

    init(_ settings: ScenarioSettings) {
        self.settings = settings
        hasFaults = settings["faults"] == 1
        var network = NetworkModel()
        var disk = DiskModel()
        if hasFaults {
            network.loss = 10_000
            disk.slow = 300_000
        } else {
            network.latency = .fixed(.milliseconds(50))
        }
        self.network = network
        draws = DrawStream(seed: settings.seed, .faults)
        lab = JournalNetwork(
            nodes: settings.nodes, liars: hasFaults ? settings["liars"] : 0, network: network, disk: disk,
            planted: JournalHosts.Planted(rawValue: settings["planted"]) ?? .nothing, seed: settings.seed)
    }

    private var bound: Duration { .seconds(settings["bound"]) }

    mutating func run(_ progress: ScenarioProgress) {
        do throws(CommunityRefusal) {
            try lab.found()
            for node in 1..<lab.count {
                try lab.join(node)
                lab.run(for: .milliseconds(100))
            }
        } catch {
            return
        }
        joining = lab.converge(within: bound)
        joined = lab.membersKnown
        if hasFaults {
            lab.appoint()
            lab.propose()
        }
        progress.reached(0.3)
        let first = lab.written.count
        write(progress)
        writtenInCourse = first..<lab.written.count
        heal()
        healing = lab.converge(within: bound)
        progress.reached(0.9)
        for node in lab.honest.prefix(20) { lab.write(node) }
        if hasFaults { end() }
        ending = lab.converge(within: bound)
    }

    /// The proposal ends while liars have their last say.
    private mutating func end() {
        for node in lab.nodes(.usurper) + lab.nodes(.corrupted) + lab.nodes(.forger) { lab.lie(node) }
        for node in lab.nodes(.corrupted) { lab.closeFalsely(by: node) }
        lab.run(for: .seconds(2))
        lab.close(by: 0)
        lab.run(for: .seconds(5))
        if let deputy = lab.deputy { lab.close(by: deputy) }
        lab.run(for: .seconds(5))
    }

    /// Writing and, meanwhile, what goes wrong.
    private mutating func write(_ progress: ScenarioProgress) {
        let seconds = settings["seconds"]
        let times = (0..<settings["entries"]).map { _ in draws.below(UInt64(seconds) * 1_000) }.sorted()
        let start = lab.fleet.now
        var nextCrash = start + .seconds(2)
        var returns: [(at: Instant, node: Int)] = []
        var isParted = false
        for (number, milliseconds) in times.enumerated() {
            let at = start + .milliseconds(Int64(milliseconds))
            while hasFaults {
                let next = min(at, min(nextCrash, returns.map(\.at).min() ?? at))
                guard next < at else { break }
                if next > lab.fleet.now { lab.run(for: next - lab.fleet.now) }
                for (_, node) in returns where lab.fleet.now >= next { if isDue(node, returns) { lab.restart(node) } }
                returns.removeAll { lab.fleet.members[$0.node].isAlive || lab.dead.contains($0.node) }
                if lab.fleet.now >= nextCrash {
                    let node = lab.randomAlive()
                    // At the worst moment: others may have it before its own disk.
                    lab.write(node)
                    lab.run(for: .milliseconds(Int64(draws.within(1...250))))
                    if lab.manners[node] == .honest, node > 0, node != lab.deputy, lab.dead.count < lab.count / 25 {
                        lab.kill(node)
                    } else {
                        lab.crash(node)
                    }
                    returns.append((lab.fleet.now + .seconds(Int(draws.within(2...30))), node))
                    nextCrash = lab.fleet.now + .milliseconds(Int64(draws.within(500...4_000)))
                }
                let elapsed = lab.fleet.now - start
                let isTime = elapsed > .seconds(seconds / 3) && elapsed < .seconds(seconds * 2 / 3)
                if isTime != isParted { part(isTime) }
                isParted = isTime
            }
            if at > lab.fleet.now { lab.run(for: at - lab.fleet.now) }
            let node = lab.randomAlive()
            lab.write(node)
            if hasFaults { lab.vote(node) }
            progress.reached(0.3 + 0.5 * Double(number) / Double(times.count))
        }
        lab.run(for: .seconds(hasFaults ? 1 : 5))
    }

    private func isDue(_ node: Int, _ returns: [(at: Instant, node: Int)]) -> Bool {
        returns.contains { $0.node == node && $0.at <= lab.fleet.now }
    }

    private mutating func part(_ apart: Bool) {
        if apart {
            lab.fleet.split((0..<lab.count).map { _ in Int(draws.below(2)) })
            // Nobody hears of what the others do with the same people meanwhile.
            if let deputy = lab.deputy { lab.appointTrader(by: deputy) }
            for _ in 0..<3 {
                for node in lab.nodes(.usurper) + lab.nodes(.corrupted) { lab.lie(node) }
                lab.run(for: .milliseconds(500))
            }
        } else {
            digestsApart = max(digestsApart, lab.digestsCount)
            lab.fleet.split([])
            for node in 0..<lab.count where lab.fleet.members[node].isAlive { lab.meet(node) }
        }
    }

    private mutating func heal() {
        part(false)
        for node in 0..<lab.count { lab.restart(node) }
    }

    // MARK: Checkers

    consuming func result() -> ScenarioResult {
        var result = ScenarioResult()
        result.digest = lab.fleet.digest.value
        result.events = lab.fleet.events
        result.simulatedSeconds = (lab.fleet.now - Instant.zero).secondsForDisplay
        result.model.append(network.summary)
        describe(&result)
        result.check("members that every honest node knows", Double(joined), expected: Double(lab.count), tolerance: 0)
        result.check("different digests of honest replicas", Double(lab.digestsCount), expected: 1, tolerance: 0)
        result.check(
            "converged within the bound, of 3 times", Double([joining, healing, ending].count { $0 != nil }),
            expected: 3, tolerance: 0)
        if lab.digestsCount > 1 {
            result.add("different states of the community", Double(lab.communitiesCount))
        }
        let findings = JournalFindings(&lab)
        findings.check(&result)
        if hasFaults {
            findings.checkGovernance(&result)
        } else {
            times(&result)
        }
        return result
    }

    private func describe(_ result: inout ScenarioResult) {
        result.add("entries written", Double(lab.written.count))
        result.add("crashes", Double(lab.crashes))
        result.add("forgeries sent", Double(lab.forgeries + (lab.fleet.hosts?.forged ?? 0)))
        result.add("signatures checked, each once", Double(lab.fleet.hosts?.checked ?? 0))
        for (name, time) in [("joining", joining), ("healing", healing), ("the last entries", ending)] {
            result.add("until all are the same after \(name)", time?.secondsForDisplay ?? -1, "s")
        }
        guard hasFaults else { return }
        result.add("nodes that died with their disks", Double(lab.dead.count))
        result.add("acts of usurpers and corrupted admins", Double(lab.usurpations))
        result.add("lies in sync", Double(lab.fleet.hosts?.liesInSync ?? 0))
        result.add("lies in sync that honest nodes noticed", Double(lab.liesNoticed))
        result.add("false receipts", Double(lab.fleet.hosts?.falseReceipts.liars ?? 0))
        result.add("forks", Double(lab.forks))
        result.add("forkers", Double(lab.forked.count))
        result.add("forkers whom nobody honest has seen", Double(max(0, lab.forked.count - lab.forkersSeenCount)))
        result.add("different digests before the end of the partition", Double(digestsApart))
        result.add("entries that a crash took before anybody was told of them", Double(lab.lost))
    }

    /// From the append to the disks of 99 % of all other nodes.
    private func times(_ result: inout ScenarioResult) {
        var (times, single) = (Histogram(), Histogram())
        var unseen = 0
        for item in lab.written[writtenInCourse] {
            let arrivals = item.arrivals.sorted()
            for arrival in arrivals { single.add(UInt64(max(0, arrival.saturatedNanoseconds))) }
            let needed = (item.others * 99 + 99) / 100
            guard needed > 0, arrivals.count >= needed else {
                unseen += 1
                continue
            }
            times.add(UInt64(max(0, arrivals[needed - 1].saturatedNanoseconds)))
        }
        result.add(latency: single, of: "an entry to one disk")
        result.add(latency: times, of: "an entry to 99 % of all disks")
        result.check("entries that 99 % never saw", Double(unseen), expected: 0, tolerance: 0)
        result.check(
            "entry on 99 % of all disks, 99th percentile, ms",
            Double(times.percentile(partsPerThousand: 990)) / 1e6, atMost: 2_000)
    }
}

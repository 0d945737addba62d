// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// Something that goes wrong, or is put right.
package enum FaultAction: Hashable, Sendable {
    /// Messages of peers whose number is below `first` and of others don't reach each other; with `oneWay`, only what
    /// the former send is lost. `rotation` is added to numbers first, so that it isn't always the same peers.
    case partition(first: UInt32, rotation: UInt32, oneWay: Bool)
    case healPartition
    /// Parts per million.
    case setLoss(UInt32)
    case setDuplicate(UInt32)
    case setReorder(UInt32)
    /// Without a word: nobody is told that links ended.
    case crash(PeerIndex, isSilent: Bool)
    case restart(PeerIndex, keepsDisk: Bool)
    /// The process stands still, then does all that came in the meantime.
    case pause(PeerIndex, Duration)
    /// All that a peer sends waits.
    case clog(PeerIndex, Duration)
    /// What a peer sends and what comes for it wait, but its timers fire: a process too slow to read and write.
    case stall(PeerIndex, Duration)
    case stepClock(PeerIndex, Duration)
    /// Parts per million fast or slow.
    case driftClock(PeerIndex, Int32)
    /// A share of those alive, in parts per million, vanishes at once.
    case massDeparture(UInt32, isSilent: Bool)
    /// Everybody who is away comes at once.
    case flashCrowd
    /// All faults of network, clocks and processes end; peers stay dead that are.
    case healAll
}

/// Which faults a run has, drawn from its seed. The ranges are those of TigerBeetle's VOPR, per second here.
package struct FaultMenu: Sendable {
    package var loss: UInt32 = 0
    package var duplicate: UInt32 = 0
    package var reorder: UInt32 = 0
    /// Chances per second, in parts per million; of a peer where one is hit.
    package var partition: UInt32 = 0
    package var heal: UInt32 = 100_000
    package var partitionSecondsMin: UInt64 = 1
    package var isPartitionOneWay = false
    /// Otherwise the share of peers that are cut off is drawn each time.
    package var isPartitionOfOne = false
    package var crash: UInt32 = 0
    package var isCrashSilent = false
    package var restart: UInt32 = 0
    package var losesDisk: UInt32 = 300_000
    package var pause: UInt32 = 0
    package var clog: UInt32 = 0
    package var clockStep: UInt32 = 0
    package var clockDrift: Int32 = 0

    /// Nothing goes wrong.
    package init() {}

    package init(seed: UInt64) {
        var draws = DrawStream(seed: seed, .faults)
        loss = UInt32(draws.below(300_001))
        duplicate = UInt32(draws.below(500_001))
        reorder = UInt32(draws.below(500_001))
        partition = UInt32(draws.below(30_001))
        heal = UInt32(draws.within(10_000...100_000))
        partitionSecondsMin = draws.within(1...5)
        isPartitionOneWay = draws.below(2) == 0
        isPartitionOfOne = draws.below(3) == 0
        crash = UInt32(draws.below(5_001))
        isCrashSilent = draws.below(2) == 0
        restart = UInt32(draws.within(20_000...200_000))
        pause = UInt32(draws.below(5_001))
        clog = UInt32(draws.below(20_001))
        clockStep = UInt32(draws.below(501))
        clockDrift = Int32(draws.below(401)) - 200
    }

    package var summary: String {
        func share(_ value: UInt32) -> String { NumberText.fixed(Double(value) / 10_000, 1) + " %" }
        return "loss \(share(loss)), duplicates \(share(duplicate)), reordered \(share(reorder)), partition "
            + "\(share(partition))/s\(isPartitionOneWay ? " one way" : "")\(isPartitionOfOne ? " of one peer" : ""), crash "
            + "\(share(crash))/s\(isCrashSilent ? " silent" : ""), restart \(share(restart))/s, pause \(share(pause))/s, "
            + "clog \(share(clog))/s, clock step \(share(clockStep))/s, drift \(clockDrift) ppm"
    }

    /// What happens when, for `nodes` peers from `start` on; ends with `.healAll` and the return of all who are away.
    package func schedule(
        nodes: Int, from start: Instant, seconds: Int, seed: UInt64
    ) -> [(at: Instant, action: FaultAction)] {
        var draws = DrawStream(seed: seed &+ 1, .faults)
        var events: [(at: Instant, action: FaultAction)] = [
            (start, .setLoss(loss)), (start, .setDuplicate(duplicate)), (start, .setReorder(reorder)),
        ]
        var away: [PeerIndex] = []
        var isAway = [Bool](repeating: false, count: nodes)
        var partitionedSince: Int?
        if clockDrift != 0 {
            for peer in 0..<nodes {
                let drift = Int32(draws.below(UInt64(abs(clockDrift)) * 2 + 1)) - abs(clockDrift)
                events.append((start, .driftClock(PeerIndex(UInt32(peer)), drift)))
            }
        }
        for second in 0..<max(0, seconds) {
            let at = start + .seconds(second) + .nanoseconds(Int64(draws.below(1_000_000_000)))
            partitionedSince = partition(&draws, nodes, second, partitionedSince, at, &events)
            for peer in 0..<nodes where !isAway[peer] {
                let peer = PeerIndex(UInt32(peer))
                if draws.happens(crash), away.count * 3 < nodes {
                    isAway[Int(peer.value)] = true
                    away.append(peer)
                    events.append((at, .crash(peer, isSilent: isCrashSilent)))
                } else if draws.happens(pause) {
                    events.append((at, .pause(peer, .milliseconds(Int64(draws.within(64...16_000))))))
                } else if draws.happens(clog) {
                    events.append((at, .clog(peer, .milliseconds(Int64(draws.within(10...2_000))))))
                } else if draws.happens(clockStep) {
                    events.append((at, .stepClock(peer, .milliseconds(Int64(draws.within(100...60_000))))))
                }
            }
            away.removeAll { peer in
                guard draws.happens(restart) else { return false }
                isAway[Int(peer.value)] = false
                events.append((at + .milliseconds(1), .restart(peer, keepsDisk: !draws.happens(losesDisk))))
                return true
            }
        }
        let end = start + .seconds(seconds + 1)
        events.append((end, .healAll))
        for peer in away { events.append((end, .restart(peer, keepsDisk: !draws.happens(losesDisk)))) }
        return events
    }

    private func partition(
        _ draws: inout DrawStream, _ nodes: Int, _ second: Int, _ since: Int?, _ at: Instant,
        _ events: inout [(at: Instant, action: FaultAction)]
    ) -> Int? {
        if let since {
            guard second - since >= Int(partitionSecondsMin), draws.happens(heal) else { return since }
            events.append((at, .healPartition))
            return nil
        }
        guard draws.happens(partition) else { return nil }
        let first = isPartitionOfOne ? 1 : UInt32(draws.within(1...UInt64(max(1, nodes - 1))))
        let rotation = UInt32(draws.below(UInt64(nodes)))
        events.append((at, .partition(first: first, rotation: rotation, oneWay: isPartitionOneWay)))
        return second
    }
}

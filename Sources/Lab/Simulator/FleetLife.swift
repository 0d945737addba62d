// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// What goes wrong in a fleet, who comes and who goes.
extension Fleet {
    // MARK: Faults

    package mutating func apply(_ action: FaultAction) {
        switch action {
        case .partition(let first, let rotation, let oneWay):
            partition = Partition(first: first, rotation: rotation, oneWay: oneWay)
        case .healPartition: partition = nil
        case .setLoss(let share): network.loss = share
        case .setDuplicate(let share): network.duplicate = share
        case .setReorder(let share): network.reorder = share
        case .crash(let peer, let isSilent): crash(Int(peer.value), isSilent: isSilent)
        case .restart(let peer, let keepsDisk):
            guard !cells[Int(peer.value)].isAlive else { return }
            counts.restarts &+= 1
            begin(Int(peer.value), keepsDisk: keepsDisk)
        case .pause(let peer, let duration):
            if busyUntil.isEmpty { busyUntil = Array(repeating: 0, count: cells.count) }
            let end = time &+ UInt64(max(0, duration.saturatedNanoseconds))
            busyUntil[Int(peer.value)] = max(end, busyUntil[Int(peer.value)])
        case .clog(let peer, let duration):
            if clogUntil.isEmpty { clogUntil = Array(repeating: 0, count: cells.count) }
            clogUntil[Int(peer.value)] = time &+ UInt64(max(0, duration.saturatedNanoseconds))
        case .stall(let peer, let duration):
            apply(.clog(peer, duration))
            if stalls.isEmpty { stalls = Array(repeating: Stall(), count: cells.count) }
            stalls[Int(peer.value)] = Stall(until: clogUntil[Int(peer.value)])
        case .stepClock(let peer, let duration):
            if clocks.isEmpty { clocks = Array(repeating: LocalClock(), count: cells.count) }
            clocks[Int(peer.value)].offset &+= max(0, duration.saturatedNanoseconds)
            arrangeTimer(Int(peer.value))
        case .driftClock(let peer, let drift):
            if clocks.isEmpty { clocks = Array(repeating: LocalClock(), count: cells.count) }
            setDrift(Int(peer.value), Int64(drift))
        case .massDeparture(let share, let isSilent):
            var draws = DrawStream(seed: seed ^ time, .faults)
            for place in cells.indices where cells[place].isAlive && draws.happens(share) {
                crash(place, isSilent: isSilent)
            }
        case .flashCrowd:
            for place in cells.indices where !cells[place].isAlive { begin(place, keepsDisk: true) }
        case .healAll: healAll()
        }
    }

    private mutating func crash(_ place: Int, isSilent: Bool) {
        guard cells[place].isAlive else { return }
        counts.crashes &+= 1
        let life = cells[place].life
        cells[place].isAlive = false
        cells[place].isSilent = isSilent
        forEachLinked(place) { fleet, link in
            guard !isSilent else { return }
            let at = max(fleet.time &+ fleet.drawLatency(place, to: link.peer), link.lastArrival)
            fleet.queue.push(at: at, peer: link.peer, .linkDown(with: UInt32(place), life: life))
        }
    }

    /// A clock never goes back: what drift had added stays.
    private mutating func setDrift(_ place: Int, _ drift: Int64) {
        let before = localTime(place).nanoseconds
        clocks[place].drift = drift
        clocks[place].offset &+= before &- localTime(place).nanoseconds
        arrangeTimer(place)
    }

    /// The timer in the queue may now be late.
    private mutating func arrangeTimer(_ place: Int) {
        cells[place].armed = .max
        settle(place)
    }

    private mutating func healAll() {
        partition = nil
        (network.loss, network.duplicate, network.reorder, network.turnsBad) = (0, 0, 0, 0)
        clogUntil = []
        for place in stalls.indices { stalls[place].until = min(stalls[place].until, time) }
        for place in busyUntil.indices where busyUntil[place] > time { busyUntil[place] = time }
        guard !clocks.isEmpty else { return }
        for place in cells.indices { setDrift(place, 0) }
    }

    // MARK: Churn

    /// From now on peers leave and come back; those below `permanent` stay.
    package mutating func setChurn(_ model: ChurnModel?, permanent: Int) {
        churn = model
        permanentCount = UInt32(permanent)
        guard let model else { return }
        let seed = seed
        churnDraws = cells.indices.map { DrawStream(seed: seed, peer: PeerIndex(UInt32($0)), .churn) }
        for place in permanent..<max(permanent, cells.count) {
            let shape = cells[place].isAlive ? model.session : model.absence
            // Sessions are under way already: the first one ends at any point of its length.
            let length = ChurnModel.draw(shape, &churnDraws[place])
            let left = churnDraws[place].below(length) &+ 1
            queue.push(at: time &+ left, peer: UInt32(place), .churn(life: cells[place].life))
        }
    }

    mutating func turnChurn(_ place: Int) {
        guard let churn, UInt32(place) >= permanentCount else { return }
        if cells[place].isAlive {
            crash(place, isSilent: churn.isSilent)
            let absence = ChurnModel.draw(churn.absence, &churnDraws[place])
            queue.push(at: time &+ absence, peer: UInt32(place), .churn(life: cells[place].life))
        } else {
            counts.restarts &+= 1
            begin(place, keepsDisk: churn.keepsDisk)
            let session = ChurnModel.draw(churn.session, &churnDraws[place])
            queue.push(at: time &+ session, peer: UInt32(place), .churn(life: cells[place].life))
        }
    }

    // MARK: Set-up

    package mutating func setUnreachable(_ peer: PeerIndex) {
        isAnyUnreachable = true
        cells[Int(peer.value)].isUnreachable = true
    }

    /// Not there yet: comes by `.restart`, `.flashCrowd` or churn.
    package mutating func setAbsent(_ peer: PeerIndex) {
        cells[Int(peer.value)].isAlive = false
        cells[Int(peer.value)].armed = .max
    }

    /// As if both had always been linked; the lower number dialled.
    package mutating func link(_ a: PeerIndex, _ b: PeerIndex) {
        guard usesLinks, a != b, linkPlace(Int(a.value), with: b.value) == nil else { return }
        links[Int(a.value)].append(Link(peer: b.value, life: cells[Int(b.value)].life))
        links[Int(b.value)].append(Link(peer: a.value, life: cells[Int(a.value)].life))
        let low = min(a, b)
        for (place, peer) in [(a, b), (b, a)] {
            tell(.up(place == low ? .outbound : .inbound), Int(place.value), with: peer.value)
            settle(Int(place.value))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// Messages and links between the peers of a fleet.
extension Fleet {
    @inline(__always)
    mutating func send(_ message: consuming Core.Message, from place: Int, to peer: UInt32) {
        guard Int(peer) < cells.count else { return }
        cells[place].sent &+= 1
        counts.sent &+= 1
        let size = UInt64(Core.byteCount(message))
        counts.bytes &+= size
        if usesLinks { return sendOnLink(message, from: place, to: peer, size: size) }
        if isBlocked(UInt32(place), peer) {
            counts.blocked &+= 1
            return
        }
        if isAnyUnreachable, cells[Int(peer)].isUnreachable, !Core.isAnswer(message) {
            counts.blocked &+= 1
            return
        }
        if isLost(place) {
            counts.lost &+= 1
            return
        }
        guard let queued = lineDelay(place, size: size) else { return }
        var delay = drawLatency(place, to: peer) &+ queued
        if network.reorder > 0, cells[place].draws.happens(network.reorder) {
            delay &+= cells[place].draws.below(delay &* 3 &+ 1)
        }
        let life = cells[place].life
        if network.duplicate > 0, cells[place].draws.happens(network.duplicate) {
            counts.duplicated &+= 1
            let again = delay &+ cells[place].draws.below(delay &* 2 &+ 1)
            queue.push(at: time &+ again, peer: peer, .message(from: UInt32(place), life: life, copy message))
        }
        queue.push(at: time &+ delay, peer: peer, .message(from: UInt32(place), life: life, message))
    }

    @inline(__always)
    func isBlocked(_ from: UInt32, _ to: UInt32) -> Bool {
        if let cutPath, cutPath == (from, to) || cutPath == (to, from) { return true }
        guard let partition else { return false }
        let count = UInt32(cells.count)
        let isFromInside = (from &+ partition.rotation) % count < partition.first
        let isToInside = (to &+ partition.rotation) % count < partition.first
        guard isFromInside != isToInside else { return false }
        return !partition.oneWay || isFromInside
    }

    @inline(__always)
    mutating func isLost(_ place: Int) -> Bool {
        if network.turnsBad > 0 {
            let isBad = cells[place].isLineBad
            if cells[place].draws.happens(isBad ? network.turnsGood : network.turnsBad) {
                cells[place].isLineBad = !isBad
            }
            if cells[place].isLineBad, cells[place].draws.happens(network.lossWhenBad) { return true }
        }
        return cells[place].draws.happens(network.loss)
    }

    /// How long a message waits to be sent; nil when the queue has no room for it.
    @inline(__always)
    private mutating func lineDelay(_ place: Int, size: UInt64) -> UInt64? {
        var delay: UInt64 = 0
        if !clogUntil.isEmpty, clogUntil[place] > time { delay = clogUntil[place] &- time }
        guard network.uplinkBytesPerSecond > 0 else { return delay }
        if lineFreeAt.isEmpty { lineFreeAt = Array(repeating: 0, count: cells.count) }
        let free = max(lineFreeAt[place], time)
        let perByte = 1_000_000_000 / network.uplinkBytesPerSecond
        guard (free &- time) <= network.uplinkQueueBytesMax &* perByte else {
            counts.overflowed &+= 1
            return nil
        }
        lineFreeAt[place] = free &+ size &* perByte
        return delay &+ (lineFreeAt[place] &- time)
    }

    @inline(__always)
    mutating func drawLatency(_ place: Int, to peer: UInt32) -> UInt64 {
        let from = UInt32(place)
        let word: UInt64
        if network.isLatencyOfPair {
            var pair = DrawStream(seed: (seed &+ UInt64(max(from, peer))) ^ (UInt64(min(from, peer)) << 32))
            word = pair.next()
        } else {
            word = cells[place].draws.next()
        }
        let base = latencies.latency(word, from: from, to: peer)
        guard network.jitter > 0 else { return base }
        return base &+ cells[place].draws.below(base / 1_000 &* UInt64(network.jitter) / 1_000 &+ 1)
    }

    // MARK: Links

    func hasLink(_ place: Int, with peer: UInt32, life: UInt16) -> Bool {
        links[place].contains { $0.peer == peer && $0.life == life }
    }

    func linkPlace(_ place: Int, with peer: UInt32) -> Int? {
        links[place].firstIndex { $0.peer == peer }
    }

    /// In order, and never lost while the link lives: a loss costs the time to send again.
    private mutating func sendOnLink(
        _ message: consuming Core.Message, from place: Int, to peer: UInt32, size: UInt64
    ) {
        guard let link = linkPlace(place, with: peer) else {
            counts.undeliverable &+= 1
            return
        }
        let remote = cells[Int(peer)]
        guard !isBlocked(UInt32(place), peer), remote.isAlive || !remote.isSilent else {
            counts.blocked &+= 1
            return breakLink(place, link)
        }
        guard let queued = lineDelay(place, size: size) else { return }
        var delay = drawLatency(place, to: peer) &+ queued
        var again = UInt64(max(1, network.resendTimeout.saturatedNanoseconds))
        var tries = 0
        while isLost(place) {
            counts.lost &+= 1
            tries += 1
            guard tries < 8 else { return breakLink(place, link) }
            delay &+= again
            again &*= 2
        }
        let arrival = max(time &+ delay, links[place][link].lastArrival)
        links[place][link].lastArrival = arrival
        queue.push(at: arrival, peer: peer, .message(from: UInt32(place), life: cells[place].life, message))
    }

    /// Both ends notice after the time-out.
    private mutating func breakLink(_ place: Int, _ link: Int) {
        guard !links[place][link].isBreaking else { return }
        links[place][link].isBreaking = true
        counts.linksBroken &+= 1
        let peer = links[place][link].peer
        let at = time &+ UInt64(max(1, network.breakTimeout.saturatedNanoseconds))
        queue.push(at: at, peer: UInt32(place), .linkDown(with: peer, life: links[place][link].life))
        queue.push(at: at, peer: peer, .linkDown(with: UInt32(place), life: cells[place].life))
    }

    mutating func dial(from place: Int, to peer: UInt32) {
        guard Int(peer) < cells.count else { return }
        counts.dials &+= 1
        let latency = drawLatency(place, to: peer)
        if Int(peer) == place { return queue.push(at: time, peer: UInt32(place), .dialFailed(to: peer)) }
        if let link = linkPlace(place, with: peer) {
            let (life, own) = (links[place][link].life, cells[place].life)
            return queue.push(at: time, peer: UInt32(place), .accepted(by: peer, life: life, own: own))
        }
        let remote = cells[Int(peer)]
        let isUnanswered = remote.isSilent && !remote.isAlive || remote.isUnreachable
        if isUnanswered || isBlocked(UInt32(place), peer) || isBlocked(peer, UInt32(place)) {
            let timeout = UInt64(max(1, network.dialTimeout.saturatedNanoseconds))
            return queue.push(at: time &+ timeout, peer: UInt32(place), .dialFailed(to: peer))
        }
        queue.push(at: time &+ latency, peer: peer, .dialled(from: UInt32(place), life: cells[place].life))
    }

    mutating func release(_ place: Int, _ peer: UInt32) {
        guard usesLinks, let index = linkPlace(place, with: peer) else { return }
        let link = links[place].remove(at: index)
        let arrival = max(time &+ drawLatency(place, to: peer), link.lastArrival)
        queue.push(at: arrival, peer: peer, .linkDown(with: UInt32(place), life: cells[place].life))
        // Told as an event, so that nobody is called from within its own call.
        queue.push(at: time, peer: UInt32(place), .released(peer))
    }

    /// As a reset answers bytes for a socket that is gone.
    mutating func refuse(_ place: Int, _ from: UInt32) {
        guard usesLinks, cells[place].isAlive || !cells[place].isSilent else { return }
        queue.push(at: time &+ drawLatency(place, to: from), peer: from, .reset(by: UInt32(place)))
    }

    mutating func takeLink(_ happening: Happening, _ place: Int) {
        switch happening {
        case .dialled(let from, let life): accept(place, from: from, life: life)
        case .accepted(let by, let life, let own): established(place, by, life, own)
        case .dialFailed(let to):
            if cells[place].isAlive { tell(.failed, place, with: to) }
        case .linkDown(let peer, let life):
            guard let index = linkPlace(place, with: peer), links[place][index].life == life else { return }
            links[place].remove(at: index)
            if cells[place].isAlive { tell(.down, place, with: peer) }
        case .released(let peer):
            if cells[place].isAlive, linkPlace(place, with: peer) == nil { tell(.down, place, with: peer) }
        case .reset(let by):
            // Unless there is a new link by now.
            guard let index = linkPlace(place, with: by),
                links[place][index].life != cells[Int(by)].life
                    || !hasLink(Int(by), with: UInt32(place), life: cells[place].life)
            else { return }
            links[place].remove(at: index)
            if cells[place].isAlive { tell(.down, place, with: by) }
        case .timer, .message, .command, .churn: break
        }
    }

    private mutating func accept(_ place: Int, from: UInt32, life: UInt16) {
        let latency = drawLatency(place, to: from)
        guard cells[place].isAlive, cells[Int(from)].life == life, cells[Int(from)].isAlive else {
            return queue.push(at: time &+ latency, peer: from, .dialFailed(to: UInt32(place)))
        }
        let isNew = addLink(place, from, life)
        queue.push(
            at: time &+ latency, peer: from,
            .accepted(by: UInt32(place), life: cells[place].life, own: life))
        if let link = linkPlace(place, with: from) {
            links[place][link].lastArrival = max(links[place][link].lastArrival, time &+ latency)
        }
        if isNew { tell(.up(.inbound), place, with: from) }
    }

    private mutating func established(_ place: Int, _ by: UInt32, _ life: UInt16, _ own: UInt16) {
        guard cells[place].isAlive, cells[place].life == own else {
            // The dialler is gone: what the other end holds is half a link.
            let at = time &+ drawLatency(place, to: by)
            return queue.push(at: at, peer: by, .linkDown(with: UInt32(place), life: own))
        }
        guard cells[Int(by)].life == life, cells[Int(by)].isAlive else { return tell(.failed, place, with: by) }
        if addLink(place, by, life) { tell(.up(.outbound), place, with: by) }
    }

    /// False when there is one of that life already; one of an earlier life is replaced.
    private mutating func addLink(_ place: Int, _ peer: UInt32, _ life: UInt16) -> Bool {
        if let index = linkPlace(place, with: peer) {
            guard links[place][index].life != life else { return false }
            links[place][index] = Link(peer: peer, life: life)
            return true
        }
        links[place].append(Link(peer: peer, life: life))
        return true
    }
}

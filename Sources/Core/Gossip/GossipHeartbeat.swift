// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What is done once per heartbeat: broken promises, scores, meshes, gossip, caches.
extension GossipCore {
    mutating func beat(at now: Instant) {
        stats.heartbeats &+= 1
        breakPromises(at: now)
        decayScores(at: now)
        let slots = peers.connected
        for slot in slots { resetCounts(slot, at: now) }
        let isOpportunistic = (heartbeat &+ 1) % UInt32(mesh.opportunisticGraftHeartbeats) == 0
        for number in topics.indices where topics[number].isLive {
            expireBackoffs(number, at: now)
            if topics[number].isSubscribed {
                keepMesh(number, isOpportunistic: isOpportunistic, at: now)
            } else if let until = topics[number].fanoutUntil {
                if until <= now { endFanout(number) } else { fillFanout(number) }
            }
        }
        if !cache.isEmpty { gossip() }
        heartbeat &+= 1
        expireRecords(at: now)
        seen.advance(to: now)
        for number in topics.indices { releaseTopic(number) }
    }

    // MARK: Upkeep

    private mutating func resetCounts(_ slot: Int, at now: Instant) {
        peers[slot].ihaveMessages = 0
        peers[slot].asked = 0
        peers[slot].iwantIDs = 0
        peers[slot].servedBytes = 0
        peers[slot].idontwantMessages = 0
        if !peers[slot].unwanted.isEmpty {
            let (heartbeat, lifetime) = (heartbeat, UInt32(mesh.idontwantHeartbeats))
            peers[slot].unwanted.removeAll { heartbeat &- $0.heartbeat >= lifetime }
        }
        refreshScore(slot, at: now)
    }

    /// Each penalty is the same number, so the order of a dictionary can't show in the sums; the peers are sorted for
    /// what follows from them.
    private mutating func breakPromises(at now: Instant) {
        guard promiseCount > 0 else { return }
        var broken: [PeerIndex] = []
        for (digest, list) in promises {
            let kept = list.filter { $0.until > now }
            guard kept.count < list.count else { continue }
            for promise in list where promise.until <= now { broken.append(promise.peer) }
            promiseCount -= list.count - kept.count
            promises[digest] = kept.isEmpty ? nil : kept
        }
        for peer in broken.sorted() {
            stats.promisesBroken &+= 1
            if let slot = peers.slot(of: peer) { penalise(slot, by: 1, at: now) }
        }
    }

    private mutating func expireBackoffs(_ number: Int, at now: Instant) {
        guard !topics[number].backoffs.isEmpty else { return }
        let slack = mesh.heartbeatInterval * mesh.backoffSlackHeartbeats
        topics[number].backoffs.removeAll { $0.until + slack <= now }
    }

    private mutating func expireRecords(at now: Instant) {
        let length = UInt32(mesh.historyLength)
        while let first = cache.first {
            switch first.state {
            case .pending:
                guard now - first.receivedAt >= mesh.validationTimeout else { return }
                stats.validationTimeouts &+= 1
            case .valid, .rejected, .ignored:
                guard heartbeat &- first.heartbeat >= length else { return }
            }
            dropFirstRecord()
        }
    }

    mutating func dropFirstRecord() {
        guard let first = cache.first else { return }
        if first.state == .pending {
            pendingCount -= 1
            pendingBytes -= first.message.byteCount
        }
        cache.removeFirst()
        topics[first.topic].recordCount -= 1
    }

    // MARK: Meshes

    private mutating func keepMesh(_ number: Int, isOpportunistic: Bool, at now: Instant) {
        for slot in topics[number].mesh where peers[slot].score < 0 {
            leaveMesh(slot, number, at: now)
            prune(slot, number, isUnsubscribe: false, exchange: false, at: now)
        }
        if topics[number].mesh.count < mesh.dLow {
            let missing = mesh.d - topics[number].mesh.count
            for slot in candidates(number, at: now).prefix(missing) { graft(slot, number, at: now) }
        }
        makeRoom(for: 0, number, at: now)
        if topics[number].mesh.count >= mesh.dLow { graftOutbound(number, at: now) }
        if isOpportunistic, topics[number].mesh.count > 1 { graftBetter(number, at: now) }
    }

    /// So that what a heartbeat grafts does not take a mesh beyond dHigh.
    private mutating func makeRoom(for count: Int, _ number: Int, at now: Instant) {
        if topics[number].mesh.count + count > mesh.dHigh { shrinkMesh(number, at: now) }
    }

    private mutating func graftOutbound(_ number: Int, at now: Instant) {
        func missing() -> Int { mesh.dOut - topics[number].mesh.count(where: { peers[$0].isOutbound }) }
        guard missing() > 0 else { return }
        let more = candidates(number, at: now).filter { peers[$0].isOutbound }
        makeRoom(for: min(missing(), more.count), number, at: now)
        for slot in more.prefix(max(0, missing())) { graft(slot, number, at: now) }
    }

    /// Keeps the best by score, of the rest some at random, and among all of these enough that we dialled.
    private mutating func shrinkMesh(_ number: Int, at now: Instant) {
        var order = topics[number].mesh
        order.shuffle(using: &generator)
        // Stable: equals stay in their random order.
        var best = order.enumerated().sorted {
            let (l, r) = (peers[$0.element].score, peers[$1.element].score)
            return l != r ? l > r : $0.offset < $1.offset
        }.map(\.element)
        var others = Array(best[min(mesh.dScore, best.count)...])
        others.shuffle(using: &generator)
        best = Array(best.prefix(mesh.dScore)) + others
        var kept = Array(best.prefix(mesh.d))
        var dropped = Array(best.dropFirst(mesh.d))
        var missing = mesh.dOut - kept.count(where: { peers[$0].isOutbound })
        // From the end: what was chosen at random goes before what was chosen by score.
        while missing > 0, let incoming = dropped.firstIndex(where: { peers[$0].isOutbound }),
            let outgoing = kept.lastIndex(where: { !peers[$0].isOutbound })
        {
            let slot = kept[outgoing]
            kept[outgoing] = dropped[incoming]
            dropped[incoming] = slot
            missing -= 1
        }
        for slot in dropped {
            leaveMesh(slot, number, at: now)
            prune(slot, number, isUnsubscribe: false, exchange: true, at: now)
        }
    }

    private mutating func graftBetter(_ number: Int, at now: Instant) {
        guard configuration.score.isEnabled else { return }
        let scores = topics[number].mesh.map { peers[$0].score }.sorted()
        let median = scores[scores.count / 2]
        guard median < configuration.score.opportunisticGraftThreshold else { return }
        let better = candidates(number, at: now).filter { peers[$0].score > median }
        makeRoom(for: min(mesh.opportunisticGraftPeers, better.count), number, at: now)
        for slot in better.prefix(mesh.opportunisticGraftPeers) {
            stats.opportunisticGrafts &+= 1
            graft(slot, number, at: now)
        }
    }

    /// Drops peers that left or misbehaved, and fills up to D.
    mutating func fillFanout(_ number: Int) {
        let threshold = configuration.score.publishThreshold
        var fanout = topics[number].fanout.filter { peers[$0].score >= threshold }
        if fanout.count < mesh.d {
            var others = topics[number].members.filter {
                !fanout.contains($0) && peers[$0].score >= threshold && !peers[$0].isDirect
                    && peers[$0].version != .floodsub
            }
            others.shuffle(using: &generator)
            fanout += others.prefix(mesh.d - fanout.count)
        }
        topics[number].fanout = fanout
    }

    // MARK: Gossip

    private mutating func gossip() {
        var ids: [Int: [MessageID]] = [:]
        let (heartbeat, history) = (heartbeat, UInt32(mesh.historyGossip))
        cache.forEachRecent { record in
            if record.state == .valid, heartbeat &- record.heartbeat < history {
                ids[record.topic, default: []].append(record.id)
            }
            return true
        }
        for number in topics.indices {
            guard topics[number].isSubscribed || topics[number].fanoutUntil != nil, var list = ids[number] else {
                continue
            }
            gossip(number, &list)
        }
    }

    private mutating func gossip(_ number: Int, _ ids: inout [MessageID]) {
        let threshold = configuration.score.gossipThreshold
        let told = topics[number].isSubscribed ? topics[number].mesh : topics[number].fanout
        var targets = topics[number].members.filter {
            !told.contains($0) && !peers[$0].isDirect && peers[$0].version != .floodsub && peers[$0].score >= threshold
        }
        targets.shuffle(using: &generator)
        let share = Int(Double(targets.count) * mesh.gossipFactor)
        let topic = topics[number].topic
        for slot in targets.prefix(max(mesh.dLazy, share)) {
            if ids.count > mesh.ihaveLengthMax { ids.shuffle(using: &generator) }
            let chosen = ids.count > mesh.ihaveLengthMax ? Array(ids.prefix(mesh.ihaveLengthMax)) : ids
            let bytes = topic.name.utf8.count + 16 + chosen.count * (MessageID.bytesMax + 2)
            enqueue(slot, bytes: bytes) { $0.ihave.append((topic, chosen)) }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What peers tell each other about topics, meshes and messages.
extension GossipCore {
    mutating func receiveControl(_ rpc: GossipRPC, from slot: Int, at now: Instant) {
        let gossips = peers[slot].isDirect || peers[slot].score >= configuration.score.gossipThreshold
        if gossips {
            for (topic, ids) in rpc.ihave.prefix(limits.controlEntriesPerRPCMax) {
                receiveIHave(topic, ids, from: slot, at: now)
            }
            if !rpc.iwant.isEmpty { receiveIWant(rpc.iwant, from: slot) }
        } else if !rpc.ihave.isEmpty || !rpc.iwant.isEmpty {
            stats.refusals &+= 1
        }
        for topic in rpc.graft.prefix(limits.controlEntriesPerRPCMax) { receiveGraft(topic, from: slot, at: now) }
        for prune in rpc.prune.prefix(limits.controlEntriesPerRPCMax) { receivePrune(prune, from: slot, at: now) }
        if !rpc.idontwant.isEmpty { receiveIDontWant(rpc.idontwant, from: slot) }
    }

    // MARK: Subscriptions

    mutating func noteSubscription(_ slot: Int, _ topic: Topic, _ isSubscribed: Bool, at now: Instant) {
        guard isSubscribed else {
            guard let number = number(of: topic), let place = peers[slot].place(of: number),
                peers[slot].topics[place].isSubscribed
            else { return }
            leaveMesh(slot, number, at: now)
            peers[slot].topics[place].isSubscribed = false
            removeMember(slot, number)
            if peers[slot].topics[place].isIdle { peers[slot].topics.remove(at: place) }
            return releaseTopic(number)
        }
        guard topic.name.utf8.count <= limits.topicBytesMax, peers[slot].topics.count < limits.topicsPerPeerMax,
            let number = ensureNumber(of: topic, isOurs: false)
        else {
            stats.refusals &+= 1
            return
        }
        let place = peers[slot].ensurePlace(of: number)
        guard !peers[slot].topics[place].isSubscribed else { return }
        peers[slot].topics[place].isSubscribed = true
        topics[number].members.append(slot)
        if peers[slot].isDirect || peers[slot].version == .floodsub { topics[number].flooded.append(slot) }
        // Not at the next heartbeat only: a young mesh loses what is published meanwhile.
        if topics[number].isSubscribed, topics[number].mesh.count < mesh.dLow, isGraftable(slot, number, at: now) {
            graft(slot, number, at: now)
        }
    }

    // MARK: Gossip

    private mutating func receiveIHave(_ topic: Topic, _ ids: [MessageID], from slot: Int, at now: Instant) {
        guard peers[slot].ihaveMessages < mesh.ihaveMessagesMax, peers[slot].asked < mesh.ihaveLengthMax else {
            stats.refusals &+= 1
            return
        }
        peers[slot].ihaveMessages += 1
        guard let number = number(of: topic), topics[number].isSubscribed else { return }
        var wanted: [MessageID] = []
        for id in ids.prefix(limits.idsPerRPCMax) where seen.find(hash(id)) == nil { wanted.append(id) }
        guard !wanted.isEmpty, promiseCount < limits.promisesMax else { return }
        let room = mesh.ihaveLengthMax - peers[slot].asked
        if wanted.count > room {
            wanted.shuffle(using: &generator)
            wanted.removeLast(wanted.count - room)
        }
        peers[slot].asked += wanted.count
        stats.idsAsked &+= UInt64(wanted.count)
        // One of them, at random, is held against the peer if it never comes.
        let promised = hash(wanted[Int(generator.next() % UInt64(wanted.count))])
        let promise = Promise(peer: peers[slot].index, until: now + mesh.iwantFollowUp)
        if !(promises[promised]?.contains { $0.peer == promise.peer } ?? false) {
            promises[promised, default: []].append(promise)
            promiseCount += 1
        }
        enqueue(slot, bytes: wanted.count * (MessageID.bytesMax + 2) + 8) { $0.iwant.append(contentsOf: wanted) }
    }

    mutating func keepPromise(_ digest: UInt64) {
        guard promiseCount > 0, let kept = promises.removeValue(forKey: digest) else { return }
        promiseCount -= kept.count
    }

    private mutating func receiveIWant(_ ids: [MessageID], from slot: Int) {
        let index = peers[slot].index
        for id in ids {
            guard peers[slot].iwantIDs / max(1, mesh.gossipRetransmission) < mesh.ihaveLengthMax,
                peers[slot].servedBytes < limits.servedBytesPerHeartbeatMax
            else {
                stats.refusals &+= 1
                return
            }
            peers[slot].iwantIDs += 1
            let digest = hash(id)
            guard let number = seen.find(digest), cache.contains(number), cache[number].digest == digest,
                cache[number].state == .valid, cache[number].from != index,
                heartbeat &- cache[number].heartbeat < UInt32(mesh.historyLength)
            else { continue }
            let place: Int
            if let known = cache[number].holder(index) {
                place = known
            } else {
                place = cache[number].holders.count
                let served: UInt8 = isPushed(cache[number], to: slot) ? 1 : 0
                cache[number].holders.append(
                    GossipRecord.Holder(peer: index, hasDelivered: false, served: served))
            }
            guard Int(cache[number].holders[place].served) < mesh.gossipRetransmission,
                !peers[slot].unwanted.contains(where: { $0.digest == digest })
            else { continue }
            cache[number].holders[place].served += 1
            let message = cache[number].message
            peers[slot].servedBytes += message.byteCount
            stats.idsServed &+= 1
            stats.messagesSent &+= 1
            enqueue(slot, bytes: message.byteCount + 6) { $0.messages.append(message) }
        }
    }

    /// Whether the message may have gone to the peer when it came: that copy counts among those served.
    private func isPushed(_ record: GossipRecord, to slot: Int) -> Bool {
        if record.from == nil, mesh.floodPublish { return true }
        guard let place = peers[slot].place(of: record.topic) else { return false }
        let entry = peers[slot].topics[place]
        return entry.meshSince != nil || entry.meshLeftAt.map { $0 >= record.validatedAt } ?? false
    }

    /// Tells the mesh at once, before the verdict, that a large message need not be sent to us again.
    mutating func sendIDontWant(_ id: MessageID, _ message: GossipMessage, _ topic: Int, from sender: Int) {
        guard Int(message.dataPart.count) >= mesh.idontwantThresholdBytes else { return }
        for slot in topics[topic].mesh where slot != sender && peers[slot].version >= .v1_2 {
            guard peers[slot].author != peers[sender].author || peers[slot].author == 0 else { continue }
            enqueue(slot, bytes: id.count + 4) { $0.idontwant.append(id) }
        }
    }

    private mutating func receiveIDontWant(_ ids: [MessageID], from slot: Int) {
        guard peers[slot].idontwantMessages < mesh.idontwantMessagesMax else {
            stats.refusals &+= 1
            return
        }
        peers[slot].idontwantMessages += 1
        let index = peers[slot].index
        for id in ids.prefix(mesh.idontwantLengthMax) {
            let digest = hash(id)
            if let number = seen.find(digest) {
                guard cache.contains(number), cache[number].digest == digest, cache[number].from != index,
                    cache[number].holder(index) == nil
                else { continue }
                cache[number].holders.append(GossipRecord.Holder(peer: index, hasDelivered: false))
            } else {
                if peers[slot].unwanted.count >= limits.idontwantPerPeerMax {
                    peers[slot].unwanted.removeFirst(limits.idontwantPerPeerMax / 2 + 1)
                }
                peers[slot].unwanted.append(GossipPeer.Unwanted(digest: digest, heartbeat: heartbeat))
            }
        }
    }

    // MARK: Mesh

    private mutating func receiveGraft(_ topic: Topic, from slot: Int, at now: Instant) {
        // A topic that we are not in: no answer, so that made-up topics cost nobody but their sender.
        guard let number = number(of: topic), topics[number].isSubscribed else { return }
        let place = peers[slot].ensurePlace(of: number)
        guard peers[slot].topics[place].meshSince == nil else { return }
        var exchange = true
        let isRefused: Bool
        if peers[slot].isDirect {
            isRefused = true
            exchange = false
        } else if let until = topics[number].backoff(of: peers[slot].index), now < until {
            stats.backoffViolations &+= 1
            var penalty = 1.0
            // Within the first seconds of the backoff it can't have been a difference between clocks.
            if now < until + (mesh.graftFloodThreshold - mesh.pruneBackoff) { penalty = 2 }
            penalise(slot, by: penalty, at: now)
            isRefused = true
            exchange = false
        } else if configuration.score.isEnabled, peers[slot].score < 0 {
            isRefused = true
            exchange = false
        } else {
            isRefused = topics[number].mesh.count >= mesh.dHigh && !peers[slot].isOutbound
        }
        guard isRefused else { return joinMesh(slot, number, at: now) }
        stats.graftsRefused &+= 1
        prune(slot, number, isUnsubscribe: false, exchange: exchange, at: now)
    }

    private mutating func receivePrune(_ prune: GossipRPC.Prune, from slot: Int, at now: Instant) {
        guard let number = number(of: prune.topic), topics[number].isSubscribed else { return }
        leaveMesh(slot, number, at: now)
        var backoff = mesh.pruneBackoff
        if let seconds = prune.backoffSeconds, seconds > 0 {
            // The peer's number: compared before it is converted.
            let most = mesh.backoffMax.components.seconds
            backoff = .seconds(seconds > UInt64(max(0, most)) ? most : Int64(seconds))
        }
        setBackoff(slot, number, backoff, at: now)
        guard !prune.exchanged.isEmpty, mesh.exchangedPeers > 0 else { return }
        guard peers[slot].score >= configuration.score.acceptPXThreshold else {
            stats.refusals &+= 1
            return
        }
        var exchanged = prune.exchanged
        if exchanged.count > mesh.exchangedPeers {
            exchanged.shuffle(using: &generator)
            exchanged.removeLast(exchanged.count - mesh.exchangedPeers)
        }
        emit(.peersExchanged(exchanged, from: peers[slot].index))
    }

    func isGraftable(_ slot: Int, _ number: Int, at now: Instant) -> Bool {
        guard peers[slot].version != .floodsub, !peers[slot].isDirect, !peers[slot].isGraylisted,
            peers[slot].score >= 0, let place = peers[slot].place(of: number),
            peers[slot].topics[place].isSubscribed, peers[slot].topics[place].meshSince == nil
        else { return false }
        guard let until = topics[number].backoff(of: peers[slot].index) else { return true }
        return now >= until + mesh.heartbeatInterval * mesh.backoffSlackHeartbeats
    }

    /// Peers that may be grafted, in random order.
    mutating func candidates(_ number: Int, at now: Instant) -> [Int] {
        var list = topics[number].members.filter { isGraftable($0, number, at: now) }
        list.shuffle(using: &generator)
        return list
    }

    mutating func graft(_ slot: Int, _ number: Int, at now: Instant) {
        joinMesh(slot, number, at: now)
        stats.graftsSent &+= 1
        let topic = topics[number].topic
        enqueue(slot, bytes: topic.name.utf8.count + 12) { $0.graft.append(topic) }
    }

    private mutating func joinMesh(_ slot: Int, _ number: Int, at now: Instant) {
        let place = peers[slot].ensurePlace(of: number)
        guard peers[slot].topics[place].meshSince == nil else { return }
        peers[slot].topics[place].meshSince = now
        peers[slot].topics[place].meshDeliveries = 0
        topics[number].mesh.append(slot)
    }

    mutating func leaveMesh(_ slot: Int, _ number: Int, at now: Instant) {
        guard let place = peers[slot].place(of: number), peers[slot].topics[place].meshSince != nil else { return }
        let missing = missingDeliveries(peers[slot].topics[place], topics[number].settings.score, at: now)
        peers[slot].topics[place].meshFailures += missing * missing
        peers[slot].topics[place].meshSince = nil
        peers[slot].topics[place].meshLeftAt = now
        topics[number].mesh.removeAll { $0 == slot }
    }

    /// Says so and keeps to it ourselves; the peer must have left the mesh before.
    mutating func prune(_ slot: Int, _ number: Int, isUnsubscribe: Bool, exchange: Bool, at now: Instant) {
        let backoff = isUnsubscribe ? mesh.unsubscribeBackoff : mesh.pruneBackoff
        setBackoff(slot, number, backoff, at: now)
        let topic = topics[number].topic
        // One answer per topic and turn, however many grafts there were.
        guard !peers[slot].outbox.prune.contains(where: { $0.topic == topic }) else { return }
        stats.prunesSent &+= 1
        let isPlain = peers[slot].version < .v1_1
        var exchanged: [ExchangedPeer] = []
        if exchange, !isPlain, mesh.exchangedPeers > 0, peers[slot].score >= 0 {
            var others = topics[number].members.filter { $0 != slot && peers[$0].score >= 0 }
            others.shuffle(using: &generator)
            exchanged = others.prefix(mesh.exchangedPeers).map { .known(peers[$0].index) }
        }
        let entry = GossipRPC.Prune(
            topic: topic, backoffSeconds: isPlain ? nil : UInt64(max(0, backoff.components.seconds)),
            exchanged: exchanged)
        enqueue(slot, bytes: entry.byteCountEstimate) { $0.prune.append(entry) }
    }

    private mutating func setBackoff(_ slot: Int, _ number: Int, _ backoff: Duration, at now: Instant) {
        topics[number].setBackoff(
            peers[slot].index, until: now + backoff, countMax: limits.backoffsPerTopicMax)
    }
}

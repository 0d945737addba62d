// SPDX-License-Identifier: Apache-2.0
import TuttiBase

import struct NIOCore.ByteBuffer

/// Messages: from their arrival over the verdict to the peers that get them; and our own.
extension GossipCore {
    mutating func receive(_ rpc: GossipRPC, from slot: Int, at now: Instant) {
        stats.rpcsReceived &+= 1
        guard peers[slot].isDirect || peers[slot].score >= configuration.score.graylistThreshold else {
            stats.refusals &+= 1
            return graylist(slot)
        }
        for (topic, isSubscribed) in rpc.subscriptions.prefix(limits.subscriptionsPerRPCMax) {
            noteSubscription(slot, topic, isSubscribed, at: now)
        }
        if !rpc.messages.isEmpty { receiveMessages(rpc.messages, from: slot, at: now) }
        if peers[slot].version != .floodsub { receiveControl(rpc, from: slot, at: now) }
    }

    // MARK: Arrival

    private mutating func receiveMessages(_ messages: [GossipMessage], from slot: Int, at now: Instant) {
        var numbers: [UInt32] = []
        var accepted: [GossipMessage] = []
        var judge = GossipJudge.application
        for message in messages.prefix(limits.messagesPerRPCMax) {
            stats.messagesReceived &+= 1
            let topicDigest = message.withBytes(of: message.topicPart) { hash($0) }
            guard let topic = topics.number(topicDigest), topics[topic].isSubscribed else {
                stats.unsubscribedTopics &+= 1
                continue
            }
            guard let id = identify(message, topic) else {
                stats.malformed &+= 1
                blame(slot, topic, at: now)
                continue
            }
            let digest = hash(id)
            if let number = seen.find(digest) {
                receiveDuplicate(number, digest, from: slot, at: now)
                continue
            }
            guard let author = admit(message, topic, slot, at: now) else { continue }
            let number = insert(
                id, digest, compacted(message), topic, from: peers[slot].index, author: author, at: now)
            peers[slot].pending += 1
            if topics[topic].settings.judge != judge {
                validate(&numbers, &accepted, from: slot, by: judge)
                judge = topics[topic].settings.judge
            }
            numbers.append(number)
            accepted.append(cache[number].message)
            keepPromise(digest)
            sendIDontWant(id, message, topic, from: slot)
        }
        validate(&numbers, &accepted, from: slot, by: judge)
    }

    private mutating func validate(
        _ numbers: inout [UInt32], _ messages: inout [GossipMessage], from slot: Int, by judge: GossipJudge
    ) {
        guard !numbers.isEmpty else { return }
        nextRequest &+= 1
        let request = RequestID(nextRequest)
        batches[request] = Batch(numbers: numbers, from: peers[slot].index)
        emit(.validate(request, messages, from: peers[slot].index, by: judge))
        numbers.removeAll()
        messages.removeAll()
    }

    /// The id, if the message has the form that the topic's policy asks for.
    private func identify(_ message: GossipMessage, _ topic: Int) -> MessageID? {
        let settings = topics[topic].settings
        switch settings.signing {
        case .strictSign:
            guard !message.authorPart.isEmpty, message.sequencePart.count == 8, !message.signaturePart.isEmpty else {
                return nil
            }
        case .strictNoSign:
            guard message.authorPart.isEmpty, message.sequencePart.isEmpty, message.signaturePart.isEmpty,
                message.keyPart.isEmpty
            else { return nil }
        }
        return makeID(message, settings)
    }

    private func makeID(_ message: GossipMessage, _ settings: GossipTopicConfiguration) -> MessageID? {
        if let rule = settings.messageID { return rule(message) }
        return settings.signing == .strictSign ? .ofOrigin(message) : .ofData(message)
    }

    /// The digest of the author (zero without one), nil when the message is not taken up.
    private mutating func admit(_ message: GossipMessage, _ topic: Int, _ slot: Int, at now: Instant) -> UInt64? {
        var author: UInt64 = 0
        if let sequence = message.sequenceNumber {
            author = message.withBytes(of: message.authorPart) { hash($0) }
            guard author != ownAuthor else {
                // Ours from an earlier life, or forged: no news to us in either case.
                stats.ignored &+= 1
                return nil
            }
            seen.advance(to: now)
            if authors.isReplay(author: author, sequence: sequence, generation: seen.generation, at: now) {
                stats.replays &+= 1
                return nil
            }
        }
        guard pendingCount < limits.pendingMax, peers[slot].pending < limits.pendingPerPeerMax,
            pendingBytes + message.byteCount <= limits.pendingBytesMax
        else {
            stats.validationOverflows &+= 1
            return nil
        }
        return author
    }

    private mutating func insert(
        _ id: MessageID, _ digest: UInt64, _ message: GossipMessage, _ topic: Int, from: PeerIndex?, author: UInt64,
        at now: Instant
    ) -> UInt32 {
        while !cache.isEmpty,
            cache.count >= limits.cachedMax || cache.byteCount + message.byteCount > limits.cachedBytesMax
        {
            dropFirstRecord()
        }
        let number = cache.nextNumber
        seen.insert(digest, record: number, at: now)
        topics[topic].recordCount += 1
        cache.append(
            GossipRecord(
                state: .pending, id: id, digest: digest, topic: topic, message: message, from: from, author: author,
                receivedAt: now, validatedAt: now, heartbeat: heartbeat))
        pendingCount += 1
        pendingBytes += message.byteCount
        armHeartbeat(at: now)
        return number
    }

    /// A slice of a much larger read buffer is copied: it would keep that buffer for seconds.
    private func compacted(_ message: GossipMessage) -> GossipMessage {
        guard message.encoded.storageCapacity > 2 * message.byteCount + 512 else { return message }
        var copy = message
        copy.encoded = ByteBuffer()
        copy.encoded.reserveCapacity(message.byteCount)
        copy.encoded.writeImmutableBuffer(message.encoded)
        return copy
    }

    private mutating func receiveDuplicate(_ number: UInt32, _ digest: UInt64, from slot: Int, at now: Instant) {
        stats.duplicates &+= 1
        guard cache.contains(number), cache[number].digest == digest else { return }
        guard cache[number].noteCopy(from: peers[slot].index) else { return }
        let topic = cache[number].topic
        switch cache[number].state {
        case .pending, .ignored: return
        case .rejected: blame(slot, topic, at: now)
        case .valid:
            let window = topics[topic].settings.score.meshDeliveriesWindow
            if now - cache[number].validatedAt <= window { countMeshDelivery(slot, topic) }
        }
    }

    // MARK: Verdict

    mutating func conclude(_ request: RequestID, _ verdicts: [GossipVerdict], at now: Instant) {
        guard let batch = batches.removeValue(forKey: request) else { return }
        let sender = peers.slot(of: batch.from)
        for (place, number) in batch.numbers.enumerated() {
            if let sender { peers[sender].pending = max(0, peers[sender].pending - 1) }
            guard cache.contains(number), cache[number].state == .pending else { continue }
            pendingCount -= 1
            pendingBytes -= cache[number].message.byteCount
            cache[number].heartbeat = heartbeat
            cache[number].validatedAt = now
            let verdict = place < verdicts.count ? verdicts[place] : .ignore
            switch verdict {
            case .accept: accept(number, sender, at: now)
            case .reject:
                stats.rejected &+= 1
                cache[number].state = .rejected
                let topic = cache[number].topic
                if let sender { blame(sender, topic, at: now) }
                for holder in cache[number].holders where holder.hasDelivered {
                    if let slot = peers.slot(of: holder.peer) { blame(slot, topic, at: now) }
                }
                cache.empty(number)
            case .ignore:
                stats.ignored &+= 1
                cache[number].state = .ignored
                cache.empty(number)
            }
        }
    }

    private mutating func accept(_ number: UInt32, _ sender: Int?, at now: Instant) {
        cache[number].state = .valid
        let record = cache[number]
        if record.author != 0, let sequence = record.message.sequenceNumber {
            authors.note(author: record.author, sequence: sequence, generation: seen.generation, at: now)
        }
        if let sender { countFirstDelivery(sender, record.topic) }
        for holder in record.holders where holder.hasDelivered {
            if let slot = peers.slot(of: holder.peer) { countMeshDelivery(slot, record.topic) }
        }
        guard topics[record.topic].isSubscribed else { return }
        if let from = record.from {
            stats.messagesDelivered &+= 1
            emit(.deliver(record.message, from: from))
        }
        for slot in topics[record.topic].mesh { send(number, record, to: slot) }
        for slot in topics[record.topic].flooded where isFloodable(slot) { send(number, record, to: slot) }
        holdsForwards = true
    }

    private func isFloodable(_ slot: Int) -> Bool {
        peers[slot].isDirect || peers[slot].score >= configuration.score.publishThreshold
    }

    /// Not to the peer that it came from, to its author, or to a peer that has it. False: not sent.
    @discardableResult
    private mutating func send(_ number: UInt32, _ record: GossipRecord, to slot: Int) -> Bool {
        let index = peers[slot].index
        guard record.from != index, record.author == 0 || peers[slot].author != record.author else { return false }
        if record.holder(index) != nil || peers[slot].unwanted.contains(where: { $0.digest == record.digest }) {
            stats.duplicatesSpared &+= 1
            return false
        }
        stats.messagesSent &+= 1
        if peers[slot].outboxRecords.count == peers[slot].outbox.messages.count {
            peers[slot].outboxRecords.append(number)
        }
        enqueue(slot, bytes: record.message.byteCount + 6) { $0.messages.append(record.message) }
        return true
    }

    // MARK: Publishing

    mutating func publish(_ request: RequestID, _ topic: Topic, _ data: ByteBuffer, at now: Instant) {
        guard topic.name.utf8.count <= limits.topicBytesMax else {
            return emit(.publishFailed(request, .topicTooLong))
        }
        guard data.readableBytes <= limits.messageDataBytesMax else {
            return emit(.publishFailed(request, .messageTooLarge(limit: limits.messageDataBytesMax)))
        }
        guard let number = number(of: topic), topics[number].isSubscribed || !topics[number].members.isEmpty else {
            return emit(.publishFailed(request, .noPeers))
        }
        let settings = topics[number].settings
        let message: GossipMessage
        switch settings.signing {
        case .strictSign:
            message = .signed(
                topic: topic, data: data, author: configuration.author, sequence: sequence,
                by: configuration.identity)
        case .strictNoSign:
            message = GossipMessage(topic: topic, data: data)
        }
        guard let id = makeID(message, settings) else { return emit(.publishFailed(request, .limit)) }
        let digest = hash(id)
        guard seen.find(digest) == nil else { return emit(.publishFailed(request, .duplicate)) }
        guard topics[number].isSubscribed || openFanout(number, at: now) else {
            return emit(.publishFailed(request, .limit))
        }
        if settings.signing == .strictSign { sequence &+= 1 }
        let author = settings.signing == .strictSign ? ownAuthor : 0
        let place = insert(id, digest, message, number, from: nil, author: author, at: now)
        pendingCount -= 1
        pendingBytes -= message.byteCount
        cache[place].state = .valid
        stats.messagesPublished &+= 1
        let record = cache[place]
        var sentTo = 0
        for slot in publishTargets(number) where send(place, record, to: slot) { sentTo += 1 }
        // The embedder may end the node as soon as it was told.
        isPressing = true
        emit(.published(request, id, sentTo: sentTo))
    }

    private func publishTargets(_ number: Int) -> [Int] {
        let topic = topics[number]
        if mesh.floodPublish { return topic.members.filter { isFloodable($0) } }
        let chosen = topic.isSubscribed ? topic.mesh : topic.fanout
        return chosen + topic.flooded.filter { isFloodable($0) }
    }

    /// Remembers for a while which peers get what we publish to a topic without being subscribed.
    private mutating func openFanout(_ number: Int, at now: Instant) -> Bool {
        if topics[number].fanoutUntil == nil {
            guard fanoutCount < limits.fanoutTopicsMax else { return false }
            fanoutCount += 1
        }
        topics[number].fanoutUntil = now + mesh.fanoutLifetime
        fillFanout(number)
        return true
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// The score of peers: version 1.1, "The Score Function". Only sums, products and comparisons of Doubles, so that it is
/// the same on every machine. It is worked out once per heartbeat and after each violation.
extension GossipCore {
    mutating func refreshScore(_ slot: Int, at now: Instant) {
        guard configuration.score.isEnabled, !peers[slot].isDirect else {
            peers[slot].score = 0
            return
        }
        let score = score(slot, at: now)
        // Only a sum of absurd counts could be no number; it is no praise then.
        peers[slot].score = score.isFinite ? score : -.greatestFiniteMagnitude
        if score < configuration.score.graylistThreshold { graylist(slot) }
    }

    private func score(_ slot: Int, at now: Instant) -> Double {
        let parameters = configuration.score
        let peer = peers[slot]
        var sum = 0.0
        for entry in peer.topics {
            sum += topicScore(entry, topics[entry.topic].settings.score, at: now)
        }
        sum = min(sum, parameters.topicScoreCap)
        sum += Double(peer.application) * parameters.applicationWeight
        let surplus = Double((groups[peer.group] ?? 0) - parameters.colocationThreshold)
        if peer.group != .none, surplus > 0 { sum += surplus * surplus * parameters.colocationWeight }
        let excess = peer.behaviour - parameters.behaviourThreshold
        if excess > 0 { sum += excess * excess * parameters.behaviourWeight }
        return sum
    }

    private func topicScore(_ entry: PeerTopic, _ parameters: GossipTopicScoreParameters, at now: Instant) -> Double {
        var score = 0.0
        if let since = entry.meshSince {
            let quantum = Double(max(1, parameters.timeInMeshQuantum.saturatedNanoseconds))
            let time = Double(max(0, (now - since).saturatedNanoseconds)) / quantum
            score += min(time, parameters.timeInMeshCap) * parameters.timeInMeshWeight
        }
        score += entry.firstDeliveries * parameters.firstDeliveriesWeight
        let missing = missingDeliveries(entry, parameters, at: now)
        score += missing * missing * parameters.meshDeliveriesWeight
        score += entry.meshFailures * parameters.meshFailureWeight
        score += entry.invalid * entry.invalid * parameters.invalidWeight
        return score * parameters.topicWeight
    }

    /// P3's deficit of a peer that has been in the mesh for long enough.
    func missingDeliveries(_ entry: PeerTopic, _ parameters: GossipTopicScoreParameters, at now: Instant) -> Double {
        guard let since = entry.meshSince, now - since >= parameters.meshDeliveriesActivation else { return 0 }
        return max(0, parameters.meshDeliveriesThreshold - entry.meshDeliveries)
    }

    // MARK: Events

    mutating func countFirstDelivery(_ slot: Int, _ topic: Int) {
        let parameters = topics[topic].settings.score
        let place = peers[slot].ensurePlace(of: topic)
        let count = peers[slot].topics[place].firstDeliveries + 1
        peers[slot].topics[place].firstDeliveries = min(count, parameters.firstDeliveriesCap)
        countMeshDelivery(slot, topic)
    }

    mutating func countMeshDelivery(_ slot: Int, _ topic: Int) {
        guard let place = peers[slot].place(of: topic), peers[slot].topics[place].meshSince != nil else { return }
        let count = peers[slot].topics[place].meshDeliveries + 1
        peers[slot].topics[place].meshDeliveries = min(count, topics[topic].settings.score.meshDeliveriesCap)
    }

    /// A message of the peer was invalid (P4).
    mutating func blame(_ slot: Int, _ topic: Int, at now: Instant) {
        let place = peers[slot].ensurePlace(of: topic)
        peers[slot].topics[place].invalid += 1
        refreshScore(slot, at: now)
    }

    /// The peer broke a rule of the protocol (P7).
    mutating func penalise(_ slot: Int, by penalty: Double, at now: Instant) {
        peers[slot].behaviour += penalty
        refreshScore(slot, at: now)
    }

    mutating func graylist(_ slot: Int) {
        guard !peers[slot].isGraylisted else { return }
        peers[slot].isGraylisted = true
        stats.graylisted &+= 1
        emit(.disconnect(peers[slot].index))
    }

    // MARK: Decay

    /// Multiplies all counters once for each interval that has passed. A long pause is one step by repeated squaring.
    mutating func decayScores(at now: Instant) {
        let interval = max(1, configuration.score.decayInterval.saturatedNanoseconds)
        let steps = max(0, (now - decayedAt).saturatedNanoseconds / interval)
        guard steps > 0 else { return }
        decayedAt = decayedAt + .nanoseconds(steps * interval)
        let zero = configuration.score.decayToZero
        let behaviour = Self.power(configuration.score.behaviourDecay, steps)
        for slot in peers.connected {
            peers[slot].behaviour = Self.decayed(peers[slot].behaviour, behaviour, zero)
            for place in peers[slot].topics.indices {
                let parameters = topics[peers[slot].topics[place].topic].settings.score
                Self.decay(&peers[slot].topics[place], parameters, steps, zero)
            }
        }
    }

    /// Static: a method would read the whole core while a part of it is changed, and so copy it.
    private static func decay(
        _ entry: inout PeerTopic, _ parameters: GossipTopicScoreParameters, _ steps: Int64, _ zero: Double
    ) {
        if entry.firstDeliveries > 0 {
            let factor = power(parameters.firstDeliveriesDecay, steps)
            entry.firstDeliveries = decayed(entry.firstDeliveries, factor, zero)
        }
        if entry.meshDeliveries > 0 {
            entry.meshDeliveries = decayed(entry.meshDeliveries, power(parameters.meshDeliveriesDecay, steps), zero)
        }
        if entry.meshFailures > 0 {
            entry.meshFailures = decayed(entry.meshFailures, power(parameters.meshFailureDecay, steps), zero)
        }
        if entry.invalid > 0 {
            entry.invalid = decayed(entry.invalid, power(parameters.invalidDecay, steps), zero)
        }
    }

    private static func decayed(_ value: Double, _ factor: Double, _ zero: Double) -> Double {
        let value = value * factor
        return value < zero ? 0 : value
    }

    /// By multiplication only: `pow` differs between machines.
    private static func power(_ base: Double, _ exponent: Int64) -> Double {
        guard exponent > 1 else { return base }
        var (result, square, rest) = (1.0, base, exponent)
        while rest > 0 {
            if rest & 1 == 1 { result *= square }
            square *= square
            rest >>= 1
        }
        return result
    }
}

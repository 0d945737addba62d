// SPDX-License-Identifier: Apache-2.0

/// How peers are judged over all topics: version 1.1, "Peer Scoring". Counters are multiplied by their decay once per
/// `decayInterval`.
package struct GossipScoreParameters: Hashable, Sendable {
    /// Off: every score is zero, nobody is graylisted, pruned or preferred.
    package var isEnabled = true
    /// The most that all topics together can bring.
    package var topicScoreCap = 100.0
    /// P5.
    package var applicationWeight = 1.0
    /// P6: peers of one address group beyond the threshold, squared.
    package var colocationWeight = -5.0
    package var colocationThreshold = 10
    /// P7: broken promises, grafts within a backoff, bytes that are no RPC; beyond the threshold, squared.
    package var behaviourWeight = -10.0
    package var behaviourThreshold = 6.0
    package var behaviourDecay = 0.99
    /// What bytes that are no RPC add to P7's counter.
    package var malformedPenalty = 10.0
    package var decayInterval: Duration = .seconds(1)
    /// Below it a counter is zero.
    package var decayToZero = 0.01
    /// How long the score of a peer that left with one at or below zero is kept.
    package var retention: Duration = .seconds(3_600)

    /// Below: no gossip to or from the peer.
    package var gossipThreshold = -100.0
    /// Below: it does not get what we publish.
    package var publishThreshold = -200.0
    /// Below: what it sends is not read, and it is disconnected.
    package var graylistThreshold = -400.0
    /// From here on the peers that it names in a PRUNE are believed to be worth a dial.
    package var acceptPXThreshold = 5.0
    /// When half of a mesh is below it, better peers are grafted.
    package var opportunisticGraftThreshold = 1.0

    package init() {}

    func validate() -> GossipConfigurationError? {
        let all = [
            topicScoreCap, applicationWeight, colocationWeight, behaviourWeight, behaviourThreshold, behaviourDecay,
            malformedPenalty, decayToZero, gossipThreshold, publishThreshold, graylistThreshold, acceptPXThreshold,
            opportunisticGraftThreshold,
        ]
        if all.contains(where: { !$0.isFinite }) { return "a parameter of the score is not a number" }
        if topicScoreCap < 0 || applicationWeight < 0 { return "a positive weight of the score is negative" }
        if colocationWeight > 0 || behaviourWeight > 0 { return "a penalty of the score is positive" }
        if colocationThreshold < 1 || behaviourThreshold < 0 || malformedPenalty < 0 {
            return "a threshold of a penalty is out of range"
        }
        if !isDecay(behaviourDecay) || decayToZero <= 0 || decayToZero >= 1 { return "a decay is not within 0 to 1" }
        if decayInterval < .milliseconds(10) || retention < .zero { return "decayInterval or retention is too short" }
        if gossipThreshold > 0 || publishThreshold > gossipThreshold || graylistThreshold > publishThreshold {
            return "graylist <= publish <= gossip <= 0 does not hold"
        }
        if acceptPXThreshold < 0 || opportunisticGraftThreshold < 0 { return "a positive threshold is negative" }
        return nil
    }
}

/// How peers are judged in one topic. P3 needs to know how much traffic a topic has, so it is off unless its weight is set.
package struct GossipTopicScoreParameters: Hashable, Sendable {
    package var topicWeight = 1.0
    /// P1: time in the mesh.
    package var timeInMeshWeight = 0.01
    package var timeInMeshQuantum: Duration = .seconds(1)
    package var timeInMeshCap = 300.0
    /// P2: messages that came first from this peer.
    package var firstDeliveriesWeight = 0.5
    package var firstDeliveriesDecay = 0.99
    package var firstDeliveriesCap = 100.0
    /// P3: messages of a mesh peer, first or within the window after the verdict; what is missing to the threshold,
    /// squared. Counts from `meshDeliveriesActivation` after the graft on.
    package var meshDeliveriesWeight = 0.0
    package var meshDeliveriesDecay = 0.9
    package var meshDeliveriesCap = 100.0
    package var meshDeliveriesThreshold = 5.0
    package var meshDeliveriesWindow: Duration = .milliseconds(50)
    package var meshDeliveriesActivation: Duration = .seconds(30)
    /// P3b: what was missing when the peer left the mesh.
    package var meshFailureWeight = 0.0
    package var meshFailureDecay = 0.95
    /// P4: messages that were rejected, squared.
    package var invalidWeight = -50.0
    package var invalidDecay = 0.997

    package init() {}

    func validate() -> GossipConfigurationError? {
        let all = [
            topicWeight, timeInMeshWeight, timeInMeshCap, firstDeliveriesWeight, firstDeliveriesCap,
            meshDeliveriesWeight, meshDeliveriesCap, meshDeliveriesThreshold, meshFailureWeight, invalidWeight,
        ]
        if all.contains(where: { !$0.isFinite }) { return "a parameter of a topic's score is not a number" }
        if topicWeight < 0 || timeInMeshWeight < 0 || timeInMeshCap < 0 || firstDeliveriesWeight < 0
            || firstDeliveriesCap < 0
        {
            return "a positive weight or cap of a topic's score is negative"
        }
        if meshDeliveriesWeight > 0 || meshFailureWeight > 0 || invalidWeight > 0 {
            return "a penalty of a topic's score is positive"
        }
        if meshDeliveriesThreshold < 0 || meshDeliveriesCap < meshDeliveriesThreshold {
            return "meshDeliveriesCap is below its threshold"
        }
        let decays = [firstDeliveriesDecay, meshDeliveriesDecay, meshFailureDecay, invalidDecay]
        if decays.contains(where: { !isDecay($0) }) { return "a decay of a topic's score is not within 0 to 1" }
        if timeInMeshQuantum < .milliseconds(1) { return "timeInMeshQuantum is below 1 ms" }
        if meshDeliveriesWindow < .zero || meshDeliveriesActivation < .seconds(1) {
            return "the window or activation of mesh deliveries is too short"
        }
        return nil
    }
}

private func isDecay(_ value: Double) -> Bool { value > 0 && value < 1 }

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// A slot that a party wants decided. Its owner keeps it on the disk until the outcome is there, and gives it to the client
/// again after a restart: witnesses answer the same question with the same vote.
package struct RegisterTask: Hashable, Sendable, CanonicalBody {
    package static let bytesMax = 131_072

    package let set: WitnessSet
    package let slot: Slot
    /// Nil: NO-EVENT, once the deadline has passed.
    package let request: SlotRequest?
    /// Where the chain stands before the slot; nil where it begins.
    package let evidence: ChainEvidence?
    package let handover: Handover?
    /// Not to be decided here, but closed, so that this set may.
    package let closeTo: WitnessSetID?
    /// Only to learn what is there.
    package let isLook: Bool

    package init(
        set: WitnessSet, slot: Slot, request: SlotRequest?, evidence: ChainEvidence?, handover: Handover? = nil,
        closeTo: WitnessSetID? = nil, isLook: Bool = false
    ) {
        self.set = set
        self.slot = slot
        self.request = request
        self.evidence = evidence
        self.handover = handover
        self.closeTo = closeTo
        self.isLook = isLook
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        let keys = try reader.set(1, countMax: WitnessSet.countMax, "witnesses")
        guard let set = WitnessSet(keys.map { TradeKey($0) }) else { throw .malformed("witnesses") }
        self.set = set
        slot = try reader.body(2, "slot")
        request = try reader.bodyIfThere(3, "request")
        evidence = try reader.bodyIfThere(4, "evidence")
        handover = try reader.bodyIfThere(5, "handover")
        closeTo = try reader.bytes32IfThere(6, "set that takes over").map { WitnessSetID($0) }
        isLook = try reader.flag(7, "look")
    }

    package func write(into buffer: inout ByteBuffer) {
        for key in set.keys { buffer.write(1, key.bytes) }
        buffer.write(2, slot)
        if let request { buffer.write(3, request) }
        if let evidence { buffer.write(4, evidence) }
        if let handover { buffer.write(5, handover) }
        if let closeTo { buffer.write(6, closeTo.bytes) }
        buffer.write(7, isLook ? 1 : 0)
    }

    package var id: SlotID { slot.id(in: set.id) }

    /// Where the chain stands, in a witness's terms. Nil when the evidence isn't of this slot.
    var state: ChainState? {
        var state = ChainState(slot.chain)
        if let evidence {
            let predecessor = handover?.from
            guard state.absorb(evidence, of: set.id, predecessor: predecessor, at: 0) else { return nil }
        }
        return state.number == slot.number ? state : nil
    }
}

package enum RegisterFailure: Hashable, Sendable {
    /// Task, evidence and slot don't fit each other, or there are too many tasks.
    case badTask
    /// More than f witnesses refuse it for this reason, which time doesn't mend.
    case refused(WitnessRefusal)
}

package enum RegisterOutcome: Hashable, Sendable {
    /// What the slot holds, which may be another's event; its request as far as anybody showed it; and where the chain stands
    /// after it, where that is known: after a reservation, the trade's.
    case decided(Certificate, SlotRequest?, ChainEvidence?)
    /// The chain has gone on: this slot and perhaps more are decided.
    case passed(ChainEvidence)
    /// We only looked: a quorum knows of no certificate, and holds these requests.
    case open(held: [SlotRequest])
    /// The set has given the slot up, with the requests that it held for it.
    case closed(Handover, held: [SlotRequest])
    case failed(RegisterFailure)
}

package enum RegisterEffect: Sendable {
    case ask(RequestID, witness: TradeKey, WitnessQuestion)
    /// Then `verified`, with one verdict for each.
    case verify(RequestID, [SignatureCheck])
    case finished(SlotID, RegisterOutcome)
    case fault(WitnessFault)
}

package struct RegisterConfiguration: Hashable, Sendable {
    /// The 2f + 1 asked first get so long before the others are asked too.
    package var hedge = Duration.milliseconds(400)
    /// After 2f + 1 reports the others get so long to add theirs.
    package var grace = Duration.milliseconds(200)
    package var retryMin = Duration.milliseconds(500)
    package var retryMax = Duration.seconds(60)
    package var tasksMax = 4_096

    package init() {}
}

package struct RegisterStats: Hashable, Sendable {
    package var decided = 0
    package var passed = 0
    package var failed = 0
    package var ballots = 0
    package var asked = 0
    package var retries = 0
    package var faults = 0
    /// Answers with a signature that doesn't verify.
    package var forged = 0

    package init() {}
}

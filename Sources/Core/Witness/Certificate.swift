// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// 2f + 1 equal votes of one ballot. No other value can have them in that ballot.
package struct Lock: Hashable, Sendable, CanonicalBody {
    package let ballot: Ballot
    package let value: SlotValue
    package let votes: QuorumProof

    package init(ballot: Ballot, value: SlotValue, votes: QuorumProof) {
        self.ballot = ballot
        self.value = value
        self.votes = votes
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        ballot = try reader.ballot(1)
        value = try reader.body(2, "value of a lock")
        votes = try reader.body(3, "votes")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, Int(ballot.value))
        buffer.write(2, value)
        buffer.write(3, votes)
    }

    package func checks(_ slot: SlotID, in set: WitnessSet) -> [SignatureCheck] {
        votes.checks(of: .vote(slot, ballot, value), in: set)
    }
}

/// 2f + 1 equal commits of one ballot: what the slot holds, for ever. Verifies with the keys of the set alone.
package struct Certificate: Hashable, Sendable, CanonicalBody {
    package static let bytesMax = 2_048

    package let slot: Slot
    package let set: WitnessSetID
    package let ballot: Ballot
    package let value: SlotValue
    package let commits: QuorumProof

    package init(slot: Slot, set: WitnessSetID, ballot: Ballot, value: SlotValue, commits: QuorumProof) {
        self.slot = slot
        self.set = set
        self.ballot = ballot
        self.value = value
        self.commits = commits
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        slot = try reader.body(1, "slot")
        set = WitnessSetID(try reader.bytes32(2, "witness set"))
        ballot = try reader.ballot(3)
        value = try reader.body(4, "value of a certificate")
        commits = try reader.body(5, "commits")
        guard slot.hasDeadline || value != .noEvent else { throw .malformed("certificate") }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, slot)
        buffer.write(2, set.bytes)
        buffer.write(3, Int(ballot.value))
        buffer.write(4, value)
        buffer.write(5, commits)
    }

    /// Nil when no signature could make it a certificate of this set.
    package func checks(in witnesses: WitnessSet) -> [SignatureCheck]? {
        guard set == witnesses.id, commits.isComplete(in: witnesses) else { return nil }
        return commits.checks(of: .commit(slot.id(in: set), ballot, value), in: witnesses)
    }

    /// Verifies at once, for who has time: 2f + 1 times 50 to 100 µs.
    package func isValid(in witnesses: WitnessSet) -> Bool {
        checks(in: witnesses)?.allSatisfy(\.isValid) ?? false
    }
}

extension BodyReader {
    package mutating func ballot(_ number: Int) throws(DecodeError) -> Ballot {
        Ballot(UInt32(try self.number(number, in: 0...Int(WitnessLimits.ballotMax), "ballot")))
    }
}

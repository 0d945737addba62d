// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// Two signatures of one witness that no honest one gives: two votes, or two commits, of one ballot. It convicts whoever
/// sees it, wherever.
package struct WitnessFault: Hashable, Sendable, CanonicalBody {
    package static let bytesMax = 1_024

    package let witness: TradeKey
    package let slot: SlotID
    package let ballot: Ballot
    /// Commits; otherwise votes.
    package let areCommits: Bool
    package let first: SignedValue
    package let second: SignedValue

    package struct SignedValue: Hashable, Sendable, CanonicalBody {
        package let value: SlotValue
        package let signature: [UInt8]

        package init(value: SlotValue, signature: [UInt8]) {
            self.value = value
            self.signature = signature
        }

        package init(from reader: inout BodyReader) throws(DecodeError) {
            value = try reader.body(1, "value")
            signature = try reader.signature(2, "signature of a value")
        }

        package func write(into buffer: inout ByteBuffer) {
            buffer.write(1, value)
            buffer.writeProtobuf(2, bytes: signature)
        }
    }

    /// Nil when the values are equal.
    package init?(
        witness: TradeKey, slot: SlotID, ballot: Ballot, areCommits: Bool, _ one: SignedValue, _ other: SignedValue
    ) {
        guard one.value != other.value else { return nil }
        self.witness = witness
        self.slot = slot
        self.ballot = ballot
        self.areCommits = areCommits
        let isOrdered = SlotValue.precedes(one.value, other.value)
        first = isOrdered ? one : other
        second = isOrdered ? other : one
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        witness = TradeKey(try reader.bytes32(1, "witness"))
        slot = SlotID(try reader.bytes32(2, "slot"))
        ballot = try reader.ballot(3)
        areCommits = try reader.flag(4, "commits")
        first = try reader.body(5, "first value")
        second = try reader.body(6, "second value")
        guard SlotValue.precedes(first.value, second.value) else { throw .malformed("fault of a witness") }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, witness.bytes)
        buffer.write(2, slot.bytes)
        buffer.write(3, Int(ballot.value))
        buffer.write(4, areCommits ? 1 : 0)
        buffer.write(5, first)
        buffer.write(6, second)
    }

    package var checks: [SignatureCheck] {
        [first, second].map { signed in
            let statement: Statement =
                areCommits ? .commit(slot, ballot, signed.value) : .vote(slot, ballot, signed.value)
            return SignatureCheck(key: witness, message: statement.bytes, signature: signed.signature)
        }
    }
}

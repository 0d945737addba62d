// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// A signature that somebody has to verify before the value that carries it counts: at 50 to 100 µs each, that is done in
/// batches, off the loop.
package struct SignatureCheck: Hashable, Sendable {
    package let key: TradeKey
    package let message: [UInt8]
    package let signature: [UInt8]

    package init(key: TradeKey, message: [UInt8], signature: [UInt8]) {
        self.key = key
        self.message = message
        self.signature = signature
    }

    package var isValid: Bool {
        Ed25519Verifier.preferred.isValid(signature, for: message, key: key.bytes.bytes)
    }
}

/// Signs for a witness or a party. A checker puts something cheap in its place.
package struct TradeSigner: Sendable {
    package let key: TradeKey
    private let signing: @Sendable ([UInt8]) -> [UInt8]

    package init(_ pair: KeyPair) {
        key = TradeKey(Bytes32(pair.publicKey.raw) ?? .zero)
        signing = { pair.sign($0) }
    }

    package init(key: TradeKey, signing: @escaping @Sendable ([UInt8]) -> [UInt8]) {
        self.key = key
        self.signing = signing
    }

    package func sign(_ message: [UInt8]) -> [UInt8] { signing(message) }
}

/// What a witness signs about a slot. Each kind has a domain of its own, so that no signature is valid for another.
package enum Statement: Hashable, Sendable {
    case vote(SlotID, Ballot, SlotValue)
    case commit(SlotID, Ballot, SlotValue)

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        switch self {
        case .vote(let slot, let ballot, let value):
            Self.write(domain: "tutti-witness-vote", slot, ballot, value, into: &buffer)
        case .commit(let slot, let ballot, let value):
            Self.write(domain: "tutti-witness-commit", slot, ballot, value, into: &buffer)
        }
        return Array(buffer.readableBytesView)
    }

    private static func write(
        domain: StaticText, _ slot: SlotID, _ ballot: Ballot, _ value: SlotValue, into buffer: inout ByteBuffer
    ) {
        buffer.write(domain: domain)
        buffer.write(1, slot.bytes)
        buffer.write(2, Int(ballot.value))
        buffer.write(3, value)
    }
}

extension SlotValue: CanonicalBody {
    package init(from reader: inout BodyReader) throws(DecodeError) {
        self = try reader.bytes32IfThere(1, "value of a slot").map { .event($0) } ?? .noEvent
    }

    package func write(into buffer: inout ByteBuffer) {
        if case .event(let digest) = self { buffer.write(1, digest) }
    }

    /// NO-EVENT first.
    package static func precedes(_ lhs: Self, _ rhs: Self) -> Bool {
        switch (lhs, rhs) {
        case (.noEvent, .event): true
        case (.event(let left), .event(let right)): left < right
        case (.noEvent, .noEvent), (.event, .noEvent): false
        }
    }
}

/// One witness's signature under a statement that is known from elsewhere.
package struct WitnessSignature: Hashable, Sendable, CanonicalBody {
    /// The place of the witness in its set.
    package let witness: Int
    package let signature: [UInt8]

    package init(witness: Int, signature: [UInt8]) {
        self.witness = witness
        self.signature = signature
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        witness = try reader.number(1, in: 0...WitnessSet.countMax - 1, "witness")
        signature = try reader.signature(2, "signature of a witness")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, witness)
        buffer.writeProtobuf(2, bytes: signature)
    }
}

/// The same statement, signed by a quorum.
package struct QuorumProof: Hashable, Sendable, CanonicalBody {
    /// Ascending by witness, none twice.
    package let signatures: [WitnessSignature]

    /// Takes no more than the quorum, the lowest witnesses first. Nil when there are too few.
    package init?(_ signatures: some Sequence<WitnessSignature>, quorum: Int) {
        let ordered = signatures.sorted { $0.witness < $1.witness }
        guard ordered.count >= quorum, Self.isAscending(ordered) else { return nil }
        self.signatures = Array(ordered.prefix(quorum))
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        signatures = try reader.bodies(1, countMax: WitnessSet.countMax, "signatures of a quorum")
        guard Self.isAscending(signatures) else { throw .malformed("signatures of a quorum") }
    }

    package func write(into buffer: inout ByteBuffer) {
        for signature in signatures { buffer.write(1, signature) }
    }

    private static func isAscending(_ signatures: [WitnessSignature]) -> Bool {
        zip(signatures, signatures.dropFirst()).allSatisfy { $0.witness < $1.witness }
    }

    /// Exactly a quorum of this set; the signatures are still to be verified.
    package func isComplete(in set: WitnessSet) -> Bool {
        signatures.count == set.quorum && signatures.allSatisfy { set.keys.indices.contains($0.witness) }
    }

    package func checks(of statement: Statement, in set: WitnessSet) -> [SignatureCheck] {
        let message = statement.bytes
        return signatures.compactMap { signed in
            guard set.keys.indices.contains(signed.witness) else { return nil }
            return SignatureCheck(key: set.keys[signed.witness], message: message, signature: signed.signature)
        }
    }
}

extension WitnessSet {
    package func index(of key: TradeKey) -> Int? { keys.firstIndex(of: key) }
}

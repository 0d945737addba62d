// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// What travels by gossip on a community's topic: an entry or a fault proof, told apart by the first byte.
package enum JournalMessage: Hashable, Sendable {
    case entry(Entry)
    case proof(FaultProof)

    package static let bytesMax = max(Entry.bytesMax, FaultProof.bytesCount)

    /// Exactly one message and nothing behind it.
    package init(_ bytes: ByteBuffer) throws(DecodeError) {
        guard bytes.readableBytes <= Self.bytesMax else {
            throw .tooLarge("journal message", limit: Self.bytesMax)
        }
        var bytes = bytes
        switch bytes.getInteger(at: bytes.readerIndex, as: UInt8.self) {
        case FaultProof.form: self = .proof(try FaultProof(from: &bytes))
        default: self = .entry(try Entry(from: &bytes))
        }
        guard bytes.readableBytes == 0 else { throw .malformed("journal message (more behind it)") }
    }

    package func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .entry(let entry): entry.encode(into: &buffer)
        case .proof(let proof): proof.encode(into: &buffer)
        }
    }

    /// Gossip's message id.
    package var id: Bytes32 {
        switch self {
        case .entry(let entry): entry.id.bytes
        case .proof(let proof): proof.id
        }
    }
}

/// | bytes | what |
/// |---|---|
/// | 1 | 2 |
/// | 250 | the first entry without its body: 0, header, signature |
/// | 250 | the second |
extension FaultProof {
    package static let form: UInt8 = 2
    package static let bytesCount = 1 + 2 * (1 + EntryHeader.bytesCount + Entry.signatureBytesCount)
    private static let idDomain: [UInt8] = Array("tutti-fault-id".utf8)

    /// Takes one proof from the front. The signatures remain to be checked.
    package init(from buffer: inout ByteBuffer) throws(DecodeError) {
        guard let form: UInt8 = buffer.readInteger() else { throw .truncated("fault proof") }
        guard form == Self.form else { throw .malformed("fault proof form") }
        let first = try Entry(from: &buffer)
        let second = try Entry(from: &buffer)
        guard first.content == nil, second.content == nil, let proof = FaultProof(first, second),
            proof.first.id == first.id
        else { throw .malformed("fault proof") }
        self = proof
    }

    package func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(Self.form)
        first.encode(into: &buffer, withBody: false)
        second.encode(into: &buffer, withBody: false)
    }

    package var id: Bytes32 {
        KeyDerivation.sha256(Self.idDomain + first.id.bytes.bytes + second.id.bytes.bytes)
    }

    /// Where the feed becomes ambiguous: what stands before it still counts.
    package var sequence: EntrySequence { first.header.sequence }

    /// Of two proofs against one device all nodes keep the same: the lower place, then the lower ids.
    package func precedes(_ other: FaultProof) -> Bool {
        if sequence != other.sequence { return sequence < other.sequence }
        return first.id != other.first.id ? first.id < other.first.id : second.id < other.second.id
    }
}

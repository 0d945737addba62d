// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// What an entry says of itself, and all that its author signs. The body stands beside it and is named by its digest, so
/// that it can be dropped after its time while the feed still verifies.
///
/// 185 bytes, every number big-endian, every field of a fixed width: there is one encoding only.
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 1 | flags: bit 0 critical, all others 0 |
/// | 2 | kind |
/// | 1 | retention class; 0 for governance |
/// | 4 | bytes of the body, at most 65,536 |
/// | 8 | sequence, 1 to 2^48 |
/// | 8 | hybrid time |
/// | 32 | community |
/// | 32 | device |
/// | 32 | id of the previous entry of the feed, zero for the first |
/// | 32 | governance head that the author acted under, zero for none |
/// | 32 | SHA-256 of salt and body |
package struct EntryHeader: Hashable, Sendable {
    package static let bytesCount = 185
    package static let version: UInt8 = 1

    package let kind: EntryKind
    package let isCritical: Bool
    package let retention: RetentionClass
    package let bodyBytesCount: Int
    package let sequence: EntrySequence
    package let time: HybridTime
    package let community: CommunityID
    package let device: DeviceID
    package let previous: EntryID
    package let governance: EntryID
    package let bodyDigest: Bytes32

    package init(
        kind: EntryKind, isCritical: Bool, retention: RetentionClass, bodyBytesCount: Int, sequence: EntrySequence,
        time: HybridTime, community: CommunityID, device: DeviceID, previous: EntryID, governance: EntryID,
        bodyDigest: Bytes32
    ) {
        self.kind = kind
        self.isCritical = isCritical
        self.retention = retention
        self.bodyBytesCount = bodyBytesCount
        self.sequence = sequence
        self.time = time
        self.community = community
        self.device = device
        self.previous = previous
        self.governance = governance
        self.bodyDigest = bodyDigest
    }

    /// Takes exactly the header's bytes from the front.
    package init(from buffer: inout ByteBuffer) throws(DecodeError) {
        guard buffer.readableBytes >= Self.bytesCount, let version: UInt8 = buffer.readInteger(),
            let flags: UInt8 = buffer.readInteger(), let kind: UInt16 = buffer.readInteger(),
            let retention: UInt8 = buffer.readInteger(), let count: UInt32 = buffer.readInteger(),
            let sequence: UInt64 = buffer.readInteger(), let time: UInt64 = buffer.readInteger(),
            let community = buffer.readBytes32(), let device = buffer.readBytes32(),
            let previous = buffer.readBytes32(), let governance = buffer.readBytes32(),
            let digest = buffer.readBytes32()
        else { throw .truncated("entry header") }
        guard version == Self.version else { throw .unsupported("entry version") }
        guard flags <= 1 else { throw .malformed("entry flags") }
        guard let retention = RetentionClass(rawValue: retention),
            retention == .permanent || !EntryKind(kind).isGovernance
        else { throw .malformed("entry retention class") }
        guard count <= JournalLimits.bodyBytesMax else {
            throw .tooLarge("entry body", limit: JournalLimits.bodyBytesMax)
        }
        let place = EntrySequence(sequence)
        guard place >= .first, place <= .max else { throw .malformed("entry sequence") }
        guard (place == .first) == (previous == .zero) else { throw .malformed("entry predecessor") }
        self.init(
            kind: EntryKind(kind), isCritical: flags == 1, retention: retention, bodyBytesCount: Int(count),
            sequence: place, time: HybridTime(time), community: CommunityID(community), device: DeviceID(device),
            previous: EntryID(previous), governance: EntryID(governance), bodyDigest: digest)
    }

    package func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(Self.version)
        buffer.writeInteger(UInt8(isCritical ? 1 : 0))
        buffer.writeInteger(kind.rawValue)
        buffer.writeInteger(retention.rawValue)
        buffer.writeInteger(UInt32(clamping: bodyBytesCount))
        buffer.writeInteger(sequence.value)
        buffer.writeInteger(time.value)
        for field in [community.bytes, device.bytes, previous.bytes, governance.bytes, bodyDigest] {
            buffer.writeBytes32(field)
        }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(Self.bytesCount)
        encode(into: &buffer)
        return Array(buffer.readableBytesView)
    }
}

/// What an entry is about. Kinds below 0x0100 are governance: they are fetched first and never dropped.
package struct EntryKind: Hashable, Comparable, Sendable {
    package let rawValue: UInt16

    package init(_ rawValue: UInt16) { self.rawValue = rawValue }
    package var isGovernance: Bool { rawValue < 0x0100 }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
}

/// How long a replica keeps a body after the entry's time; headers stay.
package enum RetentionClass: UInt8, CaseIterable, Sendable {
    case permanent = 0
    case year = 1
    case quarter = 2
    case month = 3
    case day = 4

    /// Nil: for ever.
    package var period: Duration? {
        switch self {
        case .permanent: nil
        case .year: .seconds(366 * 86_400)
        case .quarter: .seconds(92 * 86_400)
        case .month: .seconds(31 * 86_400)
        case .day: .seconds(86_400)
        }
    }
}

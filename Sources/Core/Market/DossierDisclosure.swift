// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiCommunityCore
import TuttiIdentity
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// A part of a dossier's file, for an arbiter: a sealed entry of kind `.disclosure` holds one.
///
/// | bytes | what |
/// |---|---|
/// | 32 | trade |
/// | 32 | SHA-256 of the whole file |
/// | 2 | place of the part, from 0 |
/// | 2 | parts in all |
/// | … | the part |
package struct DossierDisclosure: Hashable, Sendable {
    package static let headBytesCount = 68
    package static let partBytesMax = SealedLimits.payloadBytesMax - headBytesCount
    package static let partsMax = TradeLimits.fileBytesMax / partBytesMax + 1

    package let trade: TradeID
    package let file: Bytes32
    package let index: Int
    package let count: Int
    package let part: [UInt8]

    /// All parts of a file, in order.
    package static func parts(of file: DossierFile) -> [DossierDisclosure] {
        let bytes = file.bytes
        let digest = KeyDerivation.sha256(bytes)
        let starts = Array(stride(from: 0, to: bytes.count, by: partBytesMax))
        return starts.enumerated().map { index, start in
            DossierDisclosure(
                trade: file.acceptance.trade, file: digest, index: index, count: starts.count,
                part: Array(bytes[start..<min(start + partBytesMax, bytes.count)]))
        }
    }

    private init(trade: TradeID, file: Bytes32, index: Int, count: Int, part: [UInt8]) {
        self.trade = trade
        self.file = file
        self.index = index
        self.count = count
        self.part = part
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        var buffer = ByteBuffer(bytes: bytes)
        guard let trade = buffer.readBytes32(), let file = buffer.readBytes32(),
            let index: UInt16 = buffer.readInteger(),
            let count: UInt16 = buffer.readInteger(), buffer.readableBytes > 0
        else { throw .truncated("disclosure") }
        guard count <= Self.partsMax else { throw .tooLarge("disclosure", limit: Self.partsMax) }
        guard index < count, buffer.readableBytes <= Self.partBytesMax else { throw .malformed("disclosure") }
        self.init(
            trade: TradeID(trade), file: file, index: Int(index), count: Int(count),
            part: Array(buffer.readableBytesView))
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeBytes32(trade.bytes)
        buffer.writeBytes32(file)
        buffer.writeInteger(UInt16(clamping: index))
        buffer.writeInteger(UInt16(clamping: count))
        buffer.writeBytes(part)
        return Array(buffer.readableBytesView)
    }

    package var content: SealedContent { SealedContent(kind: .disclosure, payload: bytes) }
}

/// Puts the parts of one disclosed file together, in whatever order and however often they come.
package struct DisclosureAssembly: Hashable, Sendable {
    private var parts: [DossierDisclosure?]
    private let first: DossierDisclosure

    package init(_ first: DossierDisclosure) {
        self.first = first
        parts = Array(repeating: nil, count: first.count)
        add(first)
    }

    /// What belongs to another file changes nothing.
    package mutating func add(_ part: DossierDisclosure) {
        guard part.trade == first.trade, part.file == first.file, part.count == first.count else { return }
        parts[part.index] = part
    }

    /// The whole file, once all parts are here and are what their digest says.
    package var file: DossierFile? {
        let bytes = parts.flatMap { $0?.part ?? [] }
        guard parts.allSatisfy({ $0 != nil }), KeyDerivation.sha256(bytes) == first.file,
            let file = try? DossierFile(bytes: bytes), file.acceptance.trade == first.trade
        else { return nil }
        return file
    }
}

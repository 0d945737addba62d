// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiCommunityCore
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// What travels in a sealed entry of kind `.tradeEvent`, to the other side's mailbox and to one's own. Any letter may be
/// written any number of times by anyone: what it holds speaks for itself.
///
/// | bytes | what |
/// |---|---|
/// | 32 | the trade, by which a mailbox keeps letters together |
/// | … | canonical protobuf: 1 events, 2 certificates, 3 attestations of keys, each at most 64 times; in each: 1 its bytes |
package struct TradeLetter: Hashable, Sendable {
    package static let itemsMax = 64

    package var trade: TradeID
    /// Signed events, as they are.
    package var events: [[UInt8]]
    package var certificates: [[UInt8]]
    /// Whose the keys are, of those who hold them.
    package var attestations: [[UInt8]]

    package init(
        _ trade: TradeID, events: [[UInt8]] = [], certificates: [[UInt8]] = [], attestations: [[UInt8]] = []
    ) {
        self.trade = trade
        self.events = events
        self.certificates = certificates
        self.attestations = attestations
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= SealedLimits.payloadBytesMax else {
            throw .tooLarge("letter of a trade", limit: SealedLimits.payloadBytesMax)
        }
        guard let trade = Bytes32(bytes.prefix(Bytes32.count)) else { throw .truncated("letter of a trade") }
        self.init(TradeID(trade))
        var reader = try BodyReader(Array(bytes.dropFirst(Bytes32.count)))
        events = try reader.items(1)
        certificates = try reader.items(2)
        attestations = try reader.items(3)
        try reader.end("letter of a trade")
        guard self.bytes == bytes else { throw .malformed("letter of a trade") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeBytes32(trade.bytes)
        for event in events { buffer.write(1) { $0.writeProtobuf(1, bytes: event) } }
        for certificate in certificates { buffer.write(2) { $0.writeProtobuf(1, bytes: certificate) } }
        for attestation in attestations { buffer.write(3) { $0.writeProtobuf(1, bytes: attestation) } }
        return Array(buffer.readableBytesView)
    }

    package var content: SealedContent { SealedContent(kind: .tradeEvent, payload: bytes) }
}

extension BodyReader {
    fileprivate mutating func items(_ number: Int) throws(DecodeError) -> [[UInt8]] {
        var items: [[UInt8]] = []
        while var item = try messageIfThere(number, "item of a letter") {
            guard items.count < TradeLetter.itemsMax else {
                throw .tooLarge("letter of a trade", limit: TradeLetter.itemsMax)
            }
            items.append(try item.bytes(1, countMax: SealedLimits.payloadBytesMax, "item of a letter"))
            try item.end("item of a letter")
        }
        return items
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiCommunityCore
package import TuttiIdentity
import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// One side's word that a trade was completed. There is an edge when both sides gave theirs; nobody is named by the other.
///
/// | field | what |
/// |---|---|
/// | 1 | the author's ``PartyCard`` |
/// | 2 | trade |
/// | 3 | the other side's key |
/// | 4 | 1 the author bought, 2 sold |
/// | 5 | units: a band of the charter |
/// | 6 | signature by the author's trade key, domain `tutti-trade-edge`, over fields 1 to 5 |
package struct TradeEdge: Hashable, Sendable {
    package enum Side: Int, CaseIterable, Sendable {
        case bought = 1
        case sold = 2
    }

    package let card: PartyCard
    package let trade: TradeID
    package let other: TradeKey
    package let side: Side
    package let units: Int64
    package let signature: [UInt8]

    private static let domain = "tutti-trade-edge"

    package init(card: PartyCard, trade: TradeID, other: TradeKey, side: Side, units: Int64, key: KeyPair) {
        self.card = card
        self.trade = trade
        self.other = other
        self.side = side
        self.units = units
        signature = key.sign(
            SignedBody.bytes(Self.domain) { Self.write(&$0, card, trade, other, side, units) })
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= StandingLimits.bodyBytesMax else {
            throw .tooLarge("trade edge", limit: StandingLimits.bodyBytesMax)
        }
        var reader = try BodyReader(bytes)
        var message = try reader.message(1, "card")
        card = try PartyCard(from: &message)
        try message.end("card")
        trade = TradeID(try reader.bytes32(2, "trade"))
        other = TradeKey(try reader.bytes32(3, "other side's key"))
        side = try reader.number(4, in: 1...2, "side") == Side.bought.rawValue ? .bought : .sold
        units = Int64(try reader.number(5, in: 1...Int(MarketLimits.unitsMax), "units"))
        signature = try reader.signature(6, "signature of a trade edge")
        try reader.end("trade edge")
        guard self.bytes == bytes else { throw .malformed("trade edge") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        Self.write(&buffer, card, trade, other, side, units)
        buffer.writeProtobuf(6, bytes: signature)
        return Array(buffer.readableBytesView)
    }

    private static func write(
        _ buffer: inout ByteBuffer, _ card: PartyCard, _ trade: TradeID, _ other: TradeKey, _ side: Side,
        _ units: Int64
    ) {
        buffer.write(1) { card.write(into: &$0) }
        buffer.write(2, trade.bytes)
        buffer.write(3, other.bytes)
        buffer.write(4, side.rawValue)
        buffer.write(5, Int(units))
    }

    /// Two signatures, 0.1 ms each.
    package var isAuthentic: Bool {
        card.isSignatureValid
            && SignedBody.isValid(
                signature, by: card.key.bytes,
                for: SignedBody.bytes(Self.domain) { Self.write(&$0, card, trade, other, side, units) })
    }
}

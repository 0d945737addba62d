// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiCommunityCore
package import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// What one side says of a completed trade, for everybody to read. It counts where both sides published the trade
/// (``TradeEdge``), once for each side.
///
/// | field | what |
/// |---|---|
/// | 1 | trade |
/// | 2 | the author's trade key |
/// | 3 | 1 to 5 |
/// | 4 | words, at most 1,000 bytes |
/// | 5 | signature by the key, domain `tutti-rating`, over community and fields 1 to 4 |
package struct Rating: Hashable, Sendable {
    package let trade: TradeID
    package let key: TradeKey
    package let score: Int
    package let text: String
    package let signature: [UInt8]

    private static let domain = "tutti-rating"

    package init(trade: TradeID, score: Int, text: String, in community: CommunityID, key: KeyPair) {
        let tradeKey = TradeKey(key.device.bytes)
        self.trade = trade
        self.key = tradeKey
        self.score = score
        self.text = text
        signature = key.sign(Self.signedBytes(community, trade, tradeKey, score, text))
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= StandingLimits.bodyBytesMax else {
            throw .tooLarge("rating", limit: StandingLimits.bodyBytesMax)
        }
        var reader = try BodyReader(bytes)
        trade = TradeID(try reader.bytes32(1, "trade"))
        key = TradeKey(try reader.bytes32(2, "key of a rating"))
        score = try reader.number(3, in: StandingLimits.scores, "score")
        text = try reader.text(4, bytesMax: StandingLimits.ratingTextBytesMax, lines: true, "words of a rating")
        signature = try reader.signature(5, "signature of a rating")
        try reader.end("rating")
        guard self.bytes == bytes else { throw .malformed("rating") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        Self.write(&buffer, trade, key, score, text)
        buffer.writeProtobuf(5, bytes: signature)
        return Array(buffer.readableBytesView)
    }

    /// For people who type: whether an encoding can hold it.
    package static func isWellFormed(score: Int, text: String) -> Bool {
        StandingLimits.scores.contains(score) && text.utf8.count <= StandingLimits.ratingTextBytesMax
            && text.isPlain(lines: true)
    }

    private static func write(
        _ buffer: inout ByteBuffer, _ trade: TradeID, _ key: TradeKey, _ score: Int, _ text: String
    ) {
        buffer.write(1, trade.bytes)
        buffer.write(2, key.bytes)
        buffer.write(3, score)
        buffer.writeProtobuf(4, string: text)
    }

    private static func signedBytes(
        _ community: CommunityID, _ trade: TradeID, _ key: TradeKey, _ score: Int, _ text: String
    ) -> [UInt8] {
        SignedBody.bytes(domain) { buffer in
            buffer.write(1, community.bytes)
            buffer.write(2) { write(&$0, trade, key, score, text) }
        }
    }

    /// About 0.1 ms.
    package func isAuthentic(in community: CommunityID) -> Bool {
        SignedBody.isValid(signature, by: key.bytes, for: Self.signedBytes(community, trade, key, score, text))
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiCommunityCore
package import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// An arbiter's standing consent: contracts may name the key while it stands, without asking again.
///
/// | field | what |
/// |---|---|
/// | 1 | key with which the arbiter signs |
/// | 2 | fee, in thousandths of the price, 0 to 200 |
/// | 3, to 16 | languages, such as `en` or `pt-br`, ascending |
/// | 4 | the most that a trade may be about, in units |
/// | 5, to 32 | currencies (ISO 4217), ascending; none: all |
/// | 6 | until when contracts may name it, ms since 1970; zero ends it |
/// | 7 | signature by the key, domain `tutti-arbiter-consent`, over community, device and fields 1 to 6 |
package struct ArbiterConsent: Hashable, Sendable {
    package struct Terms: Hashable, Sendable {
        package var feePermille: Int
        package var languages: [String]
        package var cap: Int64
        package var currencies: [String]
        package var validUntil: UInt64

        package init(
            feePermille: Int, languages: [String], cap: Int64, currencies: [String] = [], validUntil: UInt64
        ) {
            self.feePermille = feePermille
            self.languages = languages
            self.cap = cap
            self.currencies = currencies
            self.validUntil = validUntil
        }
    }

    package let key: TradeKey
    package let terms: Terms
    package let proof: [UInt8]

    private static let domain = "tutti-arbiter-consent"

    package init(_ terms: Terms, in community: CommunityID, device: DeviceID, key: KeyPair) {
        let tradeKey = TradeKey(key.device.bytes)
        self.key = tradeKey
        self.terms = terms
        proof = key.sign(Self.signedBytes(tradeKey, terms, community, device))
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= StandingLimits.bodyBytesMax else {
            throw .tooLarge("consent", limit: StandingLimits.bodyBytesMax)
        }
        var reader = try BodyReader(bytes)
        key = TradeKey(try reader.bytes32(1, "key of an arbiter"))
        let fee = try reader.number(2, in: 0...StandingLimits.feePermilleMax, "fee")
        var languages: [String] = []
        while let language = try reader.optional(
            3, "language",
            { reader throws(DecodeError) in try reader.text(1, bytesMax: StandingLimits.languageBytesMax, "language") })
        {
            guard languages.count < StandingLimits.languagesMax else {
                throw .tooLarge("languages", limit: StandingLimits.languagesMax)
            }
            languages.append(language)
        }
        let cap = Int64(try reader.number(4, in: 0...Int(MarketLimits.unitsMax), "cap of an arbiter"))
        var currencies: [String] = []
        while let code = try reader.optional(
            5, "currency",
            { reader throws(DecodeError) in try reader.text(1, bytesMax: MarketLimits.currencyBytesCount, "currency") })
        {
            guard currencies.count < MarketLimits.currenciesMax else {
                throw .tooLarge("currencies", limit: MarketLimits.currenciesMax)
            }
            currencies.append(code)
        }
        let validUntil = UInt64(try reader.number(6, in: 0...1 << 48, "end of a consent"))
        terms = Terms(
            feePermille: fee, languages: languages, cap: cap, currencies: currencies, validUntil: validUntil)
        proof = try reader.signature(7, "proof of a consent")
        try reader.end("consent")
        guard self.bytes == bytes, terms.isWellFormed else { throw .malformed("consent") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        Self.write(&buffer, key, terms)
        buffer.writeProtobuf(7, bytes: proof)
        return Array(buffer.readableBytesView)
    }

    private static func write(_ buffer: inout ByteBuffer, _ key: TradeKey, _ terms: Terms) {
        buffer.write(1, key.bytes)
        buffer.write(2, terms.feePermille)
        for language in terms.languages { buffer.write(3) { $0.writeProtobuf(1, string: language) } }
        buffer.write(4, Int(terms.cap))
        for code in terms.currencies { buffer.write(5) { $0.writeProtobuf(1, string: code) } }
        buffer.writeProtobuf(6, varint: terms.validUntil)
    }

    private static func signedBytes(
        _ key: TradeKey, _ terms: Terms, _ community: CommunityID, _ device: DeviceID
    ) -> [UInt8] {
        SignedBody.bytes(domain) { buffer in
            buffer.write(1, community.bytes)
            buffer.write(2, device.bytes)
            buffer.write(3) { write(&$0, key, terms) }
        }
    }

    /// Whether who holds the key wrote it for this device. About 0.1 ms.
    package func isProofValid(in community: CommunityID, device: DeviceID) -> Bool {
        SignedBody.isValid(proof, by: key.bytes, for: Self.signedBytes(key, terms, community, device))
    }

    /// Whether a contract made at this time may name the key. A consent given holds for the whole trade.
    package func covers(units: Int64, currency: String, at milliseconds: UInt64) -> Bool {
        milliseconds <= terms.validUntil && units <= terms.cap
            && (terms.currencies.isEmpty || terms.currencies.contains(currency))
    }
}

extension ArbiterConsent.Terms {
    /// For people who type: whether an encoding can hold them.
    package var isWellFormed: Bool {
        (0...StandingLimits.feePermilleMax).contains(feePermille) && (0...MarketLimits.unitsMax).contains(cap)
            && languages.count <= StandingLimits.languagesMax && languages.allSatisfy(Self.isLanguage)
            && zip(languages, languages.dropFirst()).allSatisfy { $0 < $1 }
            && currencies.count <= MarketLimits.currenciesMax && currencies.allSatisfy(MarketRules.isCode)
            && zip(currencies, currencies.dropFirst()).allSatisfy { $0 < $1 } && validUntil <= 1 << 48
    }

    /// As BCP 47 writes them, in small letters.
    private static func isLanguage(_ text: String) -> Bool {
        (2...StandingLimits.languageBytesMax).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "-")
            }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

@Suite("From a secret")
struct MarketSecretTests {
    private static func secret(_ seed: UInt64) -> MarketSecret {
        var source = KeySource.seeded(SeededGenerator(seed: seed))
        return MarketSecret(from: &source)
    }

    private static let one = Bytes32(words: (1, 0, 0, 0))
    private static let uses: [TradeKeyUse] = [
        .listing(nonce: one), .buyer(TradeID(one)), .seller(TradeID(one)), .arbiter(CommunityID(one)),
        .listing(nonce: .zero), .buyer(TradeID(.zero)),
    ]

    @Test("come different keys for each use, the same on each device")
    func keys() {
        let keys = Self.uses.map { Self.secret(1).keyPair(for: $0).tradeKey }
        #expect(Set(keys).count == keys.count)
        #expect(keys == Self.uses.map { Self.secret(1).keyPair(for: $0).tradeKey })
        #expect(Set(keys).isDisjoint(with: Self.uses.map { Self.secret(2).keyPair(for: $0).tradeKey }))
    }

    @Test("a key is found by its name, whichever of several secrets it came from")
    func names() throws {
        var keyring = MarketKeyring()
        for seed: UInt64 in [3, 1, 2, 1] { keyring.insert(Self.secret(seed)) }
        #expect(keyring.secrets.count == 3 && keyring.secrets == keyring.secrets.sorted())
        #expect(keyring.current == keyring.secrets.first)
        for seed: UInt64 in 1...3 {
            for use in Self.uses {
                let pair = Self.secret(seed).keyPair(for: use)
                let found = try #require(keyring.keyPair(named: pair.tradeKey, for: use))
                #expect(found.seed == pair.seed)
            }
        }
        #expect(keyring.keyPair(named: Self.secret(4).keyPair(for: Self.uses[0]).tradeKey, for: Self.uses[0]) == nil)
        for seed: UInt64 in 10...40 { keyring.insert(Self.secret(seed)) }
        #expect(keyring.secrets.count == MarketKeyring.secretsMax)
    }

    @Test("and back: only a content of its kind and length is one")
    func content() {
        let secret = Self.secret(5)
        #expect(MarketSecret(secret.content) == secret)
        #expect(MarketSecret(SealedContent(kind: .tradeEvent, payload: secret.bytes.bytes)) == nil)
        #expect(MarketSecret(SealedContent(kind: .marketSecret, payload: secret.bytes.bytes + [0])) == nil)
    }
}

@Suite("A letter of a trade")
struct TradeLetterTests {
    private static let letter = TradeLetter(
        TradeID(Bytes32(words: (1, 2, 3, 4))), events: [[1, 2], []], certificates: [[3]], attestations: [[4], [5], [6]])

    @Test("comes back as it was written, and begins with its trade")
    func roundTrip() throws {
        #expect(try TradeLetter(bytes: Self.letter.bytes) == Self.letter)
        #expect(Bytes32(Self.letter.bytes.prefix(32)) == Self.letter.trade.bytes)
        let empty = TradeLetter(TradeID(.zero))
        #expect(try TradeLetter(bytes: empty.bytes) == empty)
    }

    @Test("cut short, with a changed byte or something behind it is another one or none, and never traps")
    func damage() {
        let bytes = Self.letter.bytes
        for count in bytes.indices where count != 32 {
            if let short = try? TradeLetter(bytes: Array(bytes[..<count])) { #expect(short.bytes.count == count) }
        }
        for place in bytes.indices {
            for bit in 0..<8 {
                var changed = bytes
                changed[place] ^= 1 << UInt8(bit)
                if let other = try? TradeLetter(bytes: changed) {
                    #expect(other.bytes == changed && other != Self.letter)
                }
            }
        }
        #expect(throws: DecodeError.self) { try TradeLetter(bytes: bytes + [0x20, 0]) }
        #expect(throws: DecodeError.self) { try TradeLetter(bytes: Array(bytes.prefix(31))) }
    }

    @Test("with too much in it is refused")
    func bounds() {
        let many = TradeLetter(TradeID(.zero), events: Array(repeating: [1], count: TradeLetter.itemsMax + 1))
        #expect(throws: DecodeError.self) { try TradeLetter(bytes: many.bytes) }
        let long = TradeLetter(TradeID(.zero), events: [Array(repeating: 1, count: SealedLimits.payloadBytesMax)])
        #expect(throws: DecodeError.self) { try TradeLetter(bytes: long.bytes) }
    }
}

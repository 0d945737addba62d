// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiCommunityCore
package import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

/// From which all keys come with which a member trades. It is sealed to the member's own mailbox before anything rests on
/// it, so that every device of the member can go on with every trade, one that began by the recovery code alone too.
///
/// Two devices may make one each at the same time: then there are two for ever, and both are tried (``MarketKeyring``).
package struct MarketSecret: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(from source: inout KeySource) { bytes = source.nextBytes32() }

    /// Nil for what isn't one.
    package init?(_ content: SealedContent) {
        guard content.kind == .marketSecret, let bytes = Bytes32(content.payload) else { return nil }
        self.bytes = bytes
    }

    package var content: SealedContent { SealedContent(kind: .marketSecret, payload: bytes.bytes) }

    package func keyPair(for use: TradeKeyUse) -> KeyPair {
        KeyPair(seed: KeyDerivation.hkdf(bytes.bytes, info: Array("tutti-trade-".utf8) + use.info))
    }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// What a trade key is for. Each has its own, so that nobody but those it is shown to can tell whose trade is whose.
package enum TradeKeyUse: Hashable, Sendable {
    /// Reserves units of a listing, by the nonce of its stub.
    case listing(nonce: Bytes32)
    case buyer(TradeID)
    case seller(TradeID)
    /// An arbiter's, in all trades of the community, as the arbiter's standing consent says.
    case arbiter(CommunityID)

    fileprivate var info: [UInt8] {
        switch self {
        case .listing(let nonce): Array("listing".utf8) + nonce.bytes
        case .buyer(let trade): Array("buyer".utf8) + trade.bytes.bytes
        case .seller(let trade): Array("seller".utf8) + trade.bytes.bytes
        case .arbiter(let community): Array("arbiter".utf8) + community.bytes.bytes
        }
    }
}

/// The secrets that a device of the member holds.
package struct MarketKeyring: Sendable {
    /// Further ones are not taken: a member has as many as it had devices that began at once.
    package static let secretsMax = 16

    /// Ascending.
    package private(set) var secrets: [MarketSecret] = []

    package init() {}

    package mutating func insert(_ secret: MarketSecret) {
        guard secrets.count < Self.secretsMax, !secrets.contains(secret) else { return }
        secrets.append(secret)
        secrets.sort()
    }

    /// With which something new begins: all devices that hold the same take the same. Nil: none is here yet.
    package var current: MarketSecret? { secrets.first }

    /// The key pair that bears this name, whichever secret it came from.
    package func keyPair(named key: TradeKey, for use: TradeKeyUse) -> KeyPair? {
        secrets.lazy.map { $0.keyPair(for: use) }.first { $0.tradeKey == key }
    }
}

extension KeyPair {
    package var tradeKey: TradeKey { TradeKey(Bytes32(publicKey.raw) ?? .zero) }
}

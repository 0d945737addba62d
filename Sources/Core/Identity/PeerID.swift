// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// The name of a peer: a multihash of its public key, or of short keys (Ed25519, secp256k1) the key itself.
///
/// Follows libp2p's peer-ids specification. The bytes are held inline (at most 44), so an id is copied, compared and
/// hashed without touching the heap. Ids are ordered as their bytes are.
public struct PeerID: Hashable, Comparable, Sendable {
    /// The multihash as big-endian words with zeros behind it. Its second byte is its length, so the zeros are not
    /// ambiguous, and comparing words compares bytes.
    private let head: Bytes32
    private let middle: UInt64
    private let end: UInt32

    private static let identityCode: UInt8 = 0x00
    private static let sha256Code: UInt8 = 0x12
    private static let libp2pKeyCode: UInt8 = 0x72

    /// - Throws: `.unsupported` for a hash other than identity and sha2-256.
    package init(multihash: some Collection<UInt8>) throws(DecodeError) {
        guard multihash.count <= IdentityLimits.inlineKeyBytesMax + 2 else {
            throw .tooLarge("peer id", limit: IdentityLimits.inlineKeyBytesMax + 2)
        }
        var words: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0)
        var position = 0
        for byte in multihash {
            let bits = UInt64(byte) << UInt64(56 - 8 * (position & 7))
            switch position >> 3 {
            case 0: words.0 |= bits
            case 1: words.1 |= bits
            case 2: words.2 |= bits
            case 3: words.3 |= bits
            case 4: words.4 |= bits
            default: words.5 |= bits
            }
            position += 1
        }
        guard position >= 2 else { throw .truncated("peer id") }
        let code = UInt8(truncatingIfNeeded: words.0 >> 56)
        let length = UInt8(truncatingIfNeeded: words.0 >> 48)
        switch code {
        case Self.identityCode:
            guard length > 0 else { throw .malformed("peer id") }
        case Self.sha256Code:
            guard length == 32 else { throw .malformed("peer id") }
        default:
            throw .unsupported("peer id hash")
        }
        guard position - 2 >= Int(length) else { throw .truncated("peer id") }
        guard position - 2 == Int(length) else { throw .malformed("peer id") }
        head = Bytes32(words: (words.0, words.1, words.2, words.3))
        middle = words.4
        end = UInt32(truncatingIfNeeded: words.5 >> 32)
    }

    /// The id of an Ed25519 key, without a way to fail.
    init(ed25519 key: Bytes32) {
        let k = key.words
        // 00 24 08 01 12 20: identity, 36 bytes, key type 1, 32 bytes of key.
        head = Bytes32(
            words: (
                0x0024_0801_1220_0000 | k.0 >> 48, k.0 << 16 | k.1 >> 48, k.1 << 16 | k.2 >> 48,
                k.2 << 16 | k.3 >> 48
            ))
        middle = k.3 << 16
        end = 0
    }

    /// The id of a key that is named by the sha2-256 of its protobuf.
    init(sha256 digest: Bytes32) {
        let d = digest.words
        head = Bytes32(
            words: (
                0x1220_0000_0000_0000 | d.0 >> 16, d.0 << 48 | d.1 >> 16, d.1 << 48 | d.2 >> 16, d.2 << 48 | d.3 >> 16
            ))
        middle = d.3 << 48
        end = 0
    }

    /// An id as people write it: base58 (`12D3KooW…`, `Qm…`) or CIDv1 in any supported multibase.
    package init(text: String) throws(DecodeError) {
        let characters = text.utf8
        guard characters.count <= IdentityLimits.peerIDTextBytesMax else {
            throw .tooLarge("peer id text", limit: IdentityLimits.peerIDTextBytesMax)
        }
        if text.hasPrefix("1") || text.hasPrefix("Qm") {
            let bytes = try RadixText.base58btc.decode(
                characters, textBytesMax: IdentityLimits.peerIDTextBytesMax, "peer id text")
            try self.init(multihash: bytes)
        } else {
            let bytes = try Multibase.decode(
                text, textBytesMax: IdentityLimits.peerIDTextBytesMax, "peer id text")
            guard bytes.count >= 2 else { throw .truncated("peer id text") }
            guard bytes[0] == 1 else { throw .unsupported("CID version of a peer id") }
            guard bytes[1] == Self.libp2pKeyCode else { throw .unsupported("CID codec of a peer id") }
            try self.init(multihash: bytes[2...])
        }
    }

    /// Nil unless `text` is a peer id in base58 or as CIDv1.
    public init?(_ text: String) {
        do throws(DecodeError) { try self.init(text: text) } catch { return nil }
    }

    package var byteCount: Int {
        2 + Int(UInt8(truncatingIfNeeded: head.words.0 >> 48))
    }

    /// The multihash, as it stands in messages and addresses.
    package var bytes: [UInt8] {
        let words = head.words
        return withUnsafeBytes(
            of: (
                words.0.bigEndian, words.1.bigEndian, words.2.bigEndian, words.3.bigEndian, middle.bigEndian,
                end.bigEndian
            )
        ) { Array($0.prefix(byteCount)) }
    }

    /// The key itself, when the id holds it (Ed25519 and secp256k1); nil when the id is a hash or holds no key.
    package var publicKey: PublicKey? {
        guard head.words.0 >> 56 == UInt64(Self.identityCode) else { return nil }
        do throws(DecodeError) { return try PublicKey(protobuf: bytes.dropFirst(2)) } catch { return nil }
    }

    /// The id as CIDv1 in base32, the newer way to write it.
    package var cidText: String {
        Multibase.base32.encode([1, Self.libp2pKeyCode] + bytes)
    }

    public static func == (lhs: PeerID, rhs: PeerID) -> Bool {
        lhs.head == rhs.head && lhs.middle == rhs.middle && lhs.end == rhs.end
    }

    public static func < (lhs: PeerID, rhs: PeerID) -> Bool {
        if lhs.head != rhs.head { return lhs.head < rhs.head }
        if lhs.middle != rhs.middle { return lhs.middle < rhs.middle }
        return lhs.end < rhs.end
    }

    /// Every byte goes in: an id is the peer's own choice, and equal hashes at will would make tables slow.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(head)
        hasher.combine(middle)
        hasher.combine(end)
    }
}

extension PeerID: CustomStringConvertible {
    /// The id in base58, the form that every libp2p program reads.
    public var description: String {
        RadixText.base58btc.encode(bytes)
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity

/// Names and the points of the key space that they stand for.
package enum KademliaNames {
    private static let publicKeyPrefix: [UInt8] = Array("/pk/".utf8)

    /// The point that `name` (a peer id, a multihash, the name of a record) stands for.
    package static func target(_ name: [UInt8]) -> KademliaTarget {
        KademliaTarget(key: KademliaKey(KeyDerivation.sha256(name)), name: name)
    }

    /// Whether the value may stand under the name. `/pk/` proves itself: the name is the multihash of the key in it.
    static func accepts(_ value: [UInt8], under target: KademliaTarget, _ configuration: KademliaConfiguration) -> Bool
    {
        let name = target.name
        guard value.count <= configuration.limits.valueBytesMax, name.count <= configuration.limits.nameBytesMax else {
            return false
        }
        guard name.starts(with: publicKeyPrefix) else {
            // Simulated targets have no names.
            if name.isEmpty { return !configuration.areTargetsNamed }
            return configuration.validator.accepts(name, value)
        }
        return isPublicKey(value) && multihash(ofKey: value) == Array(name.dropFirst(publicKeyPrefix.count))
    }

    /// PublicKey{1: type, 2: bytes}, in this order. Whether the point is on its curve is for its user to see.
    private static func isPublicKey(_ value: [UInt8]) -> Bool {
        guard value.count > 4, value[0] == 0x08, value[1] < 4, value[2] == 0x12 else { return false }
        if value[3] < 0x80 { return Int(value[3]) == value.count - 4 }
        guard value.count > 5, value[4] < 0x80 else { return false }
        return Int(value[3] & 0x7F) | Int(value[4]) << 7 == value.count - 5
    }

    private static func multihash(ofKey value: [UInt8]) -> [UInt8] {
        guard value.count > IdentityLimits.inlineKeyBytesMax else { return [0x00, UInt8(value.count)] + value }
        return Multihash(sha256Of: value).bytes
    }

    /// A made-up target that shares the leading `bits` with `word`. On the wire a target needs a name that hashes
    /// to it, so that names are tried; nil when that would take too long.
    static func target(
        sharing bits: Int, with word: UInt64, named: Bool, _ random: inout SeededGenerator
    ) -> KademliaTarget? {
        let free = bits >= 64 ? 0 : UInt64.max >> UInt64(bits)
        guard named else {
            let first = (word & ~free) | (random.next() & free)
            return KademliaTarget(
                key: KademliaKey(Bytes32(words: (first, random.next(), random.next(), random.next()))))
        }
        // 16,000 hashes on average.
        guard bits <= 14 else { return nil }
        // The form of a peer id, because that is what others expect to be asked for.
        var name: [UInt8] = [0x12, 0x20] + Bytes32(words: (random.next(), random.next(), random.next(), 0)).bytes
        for attempt in 0..<(8 << bits) {
            name[31] = UInt8(truncatingIfNeeded: attempt >> 16)
            name[32] = UInt8(truncatingIfNeeded: attempt >> 8)
            name[33] = UInt8(truncatingIfNeeded: attempt)
            let key = KademliaKey(KeyDerivation.sha256(name))
            if (key.word ^ word) & ~free == 0 { return KademliaTarget(key: key, name: name) }
        }
        return nil
    }
}

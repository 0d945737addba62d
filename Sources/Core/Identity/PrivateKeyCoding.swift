// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

// The plain form of a private key, as other libp2p programs store it (peer-ids specification, message PrivateKey):
// type Ed25519, then 64 bytes, seed and public key. Whoever reads these bytes is the node.
extension KeyPair {
    package static let plainBytesCount = 68
    /// Type 1, 64 bytes follow.
    private static let plainHeader: [UInt8] = [0x08, 0x01, 0x12, 0x40]
    /// An older form that repeats the public key.
    private static let oldPlainHeader: [UInt8] = [0x08, 0x01, 0x12, 0x60]

    package var plainBytes: [UInt8] {
        Self.plainHeader + seed.bytes + publicKey.raw
    }

    /// - Throws: `.unsupported` for a key of another type, `.malformed` when the two halves don't belong together.
    package init(plainBytes: [UInt8]) throws(DecodeError) {
        guard plainBytes.count <= Self.plainBytesCount + Bytes32.count else {
            throw .unsupported("private key (not Ed25519)")
        }
        guard plainBytes.count >= 4 else { throw .truncated("private key") }
        guard plainBytes[0] == 0x08, plainBytes[1] < 0x80, plainBytes[2] == 0x12 else {
            throw .malformed("private key")
        }
        guard plainBytes[1] == PublicKey.Kind.ed25519.rawValue else { throw .unsupported("private key (not Ed25519)") }
        let header = plainBytes[..<4]
        let body = plainBytes[4...]
        let length: Int
        if header.elementsEqual(Self.plainHeader) {
            length = 64
        } else if header.elementsEqual(Self.oldPlainHeader) {
            length = 96
        } else {
            throw .malformed("private key")
        }
        guard body.count >= length else { throw .truncated("private key") }
        guard body.count == length, let seed = Bytes32(body.prefix(32)) else { throw .malformed("private key") }
        self.init(seed: seed)
        var copies = body.dropFirst(32)
        while !copies.isEmpty {
            guard copies.prefix(32).elementsEqual(publicKey.raw) else {
                throw .malformed("private key (its public half is another key's)")
            }
            copies = copies.dropFirst(32)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Crypto
package import TuttiBase

/// A node's identity: an Ed25519 private key, its public key and the peer id made of it.
///
/// It has no description and is never logged. To store one, seal it (``SealedKey``) or write its plain form to a file
/// that only its owner can read.
public struct KeyPair: Sendable {
    package let seed: Bytes32
    package let publicKey: PublicKey
    /// The name under which others know the holder of this key.
    public let peerID: PeerID
    /// Kept expanded: making it anew would double the cost of a signature.
    private let signingKey: Curve25519.Signing.PrivateKey

    /// A new identity from the operating system's generator.
    public init() {
        var source = KeySource.system
        self.init(from: &source)
    }

    package init(from source: inout KeySource) {
        self.init(seed: source.nextBytes32())
    }

    package init(seed: Bytes32) {
        let signingKey: Curve25519.Signing.PrivateKey
        do {
            signingKey = try Curve25519.Signing.PrivateKey(rawRepresentation: seed.bytes)
        } catch {
            preconditionFailure("32 bytes are always an Ed25519 seed")
        }
        guard let key = Bytes32(signingKey.publicKey.rawRepresentation) else {
            preconditionFailure("an Ed25519 public key is 32 bytes")
        }
        self.seed = seed
        self.signingKey = signingKey
        publicKey = PublicKey(ed25519: key)
        peerID = PeerID(ed25519: key)
    }

    /// 64 bytes, about 20 µs of processor time.
    package func sign(_ message: [UInt8]) -> [UInt8] {
        do {
            return try Array(signingKey.signature(for: message))
        } catch {
            preconditionFailure("signing fails only when memory is exhausted")
        }
    }
}

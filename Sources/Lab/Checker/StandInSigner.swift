// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiWitness

/// Signatures for explorations: a keyed digest, a hundred times cheaper than Ed25519. Whoever doesn't hold the signer can't make
/// one, as explorations make none but by signers; and what is signed otherwise doesn't verify.
package enum StandInSigner {
    package static func signer(_ number: UInt64) -> TradeSigner {
        TradeSigner(key: key(number)) { signature(of: $0, by: number) }
    }

    package static func key(_ number: UInt64) -> TradeKey { TradeKey(Bytes32(words: (0, 0, 0, number))) }

    package static func isValid(_ check: SignatureCheck) -> Bool {
        check.signature == signature(of: check.message, by: check.key.bytes.words.3)
    }

    private static func signature(of message: [UInt8], by number: UInt64) -> [UInt8] {
        var fingerprint = Fingerprint()
        fingerprint.mix(number)
        fingerprint.mix(bytes: message)
        let (high, low) = fingerprint.words
        return [high, low, ~high, ~low, high &+ low, low, high, ~high].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * UInt64($0))) }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// Signatures of messages: `libp2p-pubsub:` and the message without signature and key.
package enum GossipSignature {
    private static let domain = Array("libp2p-pubsub:".utf8)

    /// Whether the message was signed by the peer that it names as its author. Costs about 0.1 ms: for worker threads.
    package static func isValid(_ message: GossipMessage) -> Bool {
        let author: PeerID
        do throws(DecodeError) {
            author = try PeerID(multihash: message.author)
        } catch { return false }
        guard let key = key(of: message, author) else { return false }
        return key.isValidSignature(message.signature, for: signedBytes(message))
    }

    /// The key in the id; a key beside it must be the same. Where the id is a hash, the key beside it must hash to it.
    private static func key(of message: GossipMessage, _ author: PeerID) -> PublicKey? {
        let beside = message.key
        if let inlined = author.publicKey {
            return beside.isEmpty || beside == inlined.protobuf ? inlined : nil
        }
        do throws(DecodeError) {
            let key = try PublicKey(protobuf: beside)
            return key.peerID == author ? key : nil
        } catch { return nil }
    }

    static func signedBytes(_ message: GossipMessage) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(domain.count + message.byteCount)
        bytes += domain
        message.forEachSignedSpan { bytes.append(contentsOf: $0) }
        return bytes
    }
}

extension GossipMessage {
    /// A message as its author publishes it under `.strictSign`.
    package static func signed(
        topic: Topic, data: ByteBuffer, author: [UInt8], sequence: UInt64, by identity: KeyPair?
    ) -> GossipMessage {
        let sequence = withUnsafeBytes(of: sequence.bigEndian) { Array($0) }
        var message = GossipMessage(topic: topic, data: data, author: author, sequence: sequence)
        message.sign(with: identity.map { $0.sign(GossipSignature.signedBytes(message)) } ?? labSignature)
        return message
    }

    private static let labSignature = [UInt8](repeating: 0x5A, count: 64)
}

extension MessageID {
    /// The rule by default: author, then sequence number. Nil when that is longer than an id may be.
    static func ofOrigin(_ message: GossipMessage) -> MessageID? {
        var packer = MessageIDPacker()
        message.withBytes(of: message.authorPart) { packer.append($0) }
        message.withBytes(of: message.sequencePart) { packer.append($0) }
        return packer.fits ? MessageID(packed: packer) : nil
    }

    /// SHA-256 of the data: the rule by default where there are no authors.
    package static func ofData(_ message: GossipMessage) -> MessageID {
        var packer = MessageIDPacker()
        KeyDerivation.sha256(Array(message.data.readableBytesView)).withUnsafeBytes { packer.append($0) }
        return MessageID(packed: packer)
    }
}

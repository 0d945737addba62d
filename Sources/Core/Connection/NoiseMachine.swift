// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import struct NIOCore.ByteBuffer

/// STUB: bodies follow on branch `h/secure`; the signatures hold.
package struct NoiseMachine {
    package enum OnReceive {
        case needsMoreBytes
        case established(NoiseSession)
    }
    package init(direction: Direction, identity: KeyPair, expectedPeer: PeerID?, muxers: [ProtocolID], keySource: inout KeySource) {}
    /// Dialer: appends message 1, framed. Listener: nothing.
    package mutating func start(into output: inout ByteBuffer) {}
    /// Consumes whole handshake frames from `input`, appends answers; what follows message 3 stays in `input`.
    package mutating func receive(_ input: inout ByteBuffer, into output: inout ByteBuffer) throws(ConnectionViolation) -> OnReceive { .needsMoreBytes }
}

/// What the handshake leaves: two ciphers, and who the peer is.
package struct NoiseSession {
    package let peer: PeerID
    package let publicKey: PublicKey
    /// Agreed by the early-muxer extension.
    package let muxer: ProtocolID?
    package let sealing: RecordCipher
    package let opening: RecordCipher
}

package final class RecordCipher {
    package static let tagBytes = 16
    package init(key: Bytes32) {}
    /// Encrypts `plaintext` to the start of `output` (the same address, or no overlap), tag behind it, under the next
    /// nonce. `output` holds at least `plaintext.count + tagBytes`.
    package func seal(_ plaintext: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) {}
    /// Decrypts in place; the plaintext is `record` without its last `tagBytes`. False: forged or damaged.
    package func open(_ record: UnsafeMutableRawBufferPointer) -> Bool { false }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// What the owner of a `ConnectionCore` must do or know. Drain with `nextEffect()` after every call.
package enum ConnectionEffect {
    /// Make ready for TLS. Write what `produce` gives as it is; a dialer lets the ClientHello follow at once. What arrives
    /// still goes to `receive`.
    case startTLS
    /// `/tls/1.0.0` was agreed, after `.startTLS`. From now on TLS is beneath: feed it `leftover` first, then the socket's
    /// bytes; pass its plaintext to `receive`, and seal what `produce` writes. Report success with `tlsEstablished`.
    case tlsAgreed(leftover: ByteBuffer)
    /// Secured and multiplexed: streams may flow. Emitted once.
    indirect case established(Establishment)
    /// The stream's protocol is agreed. Inbound: a new stream. Outbound: the peer accepted.
    indirect case streamOpened(StreamID, ProtocolID, Direction)
    /// Bytes in order. Call `consumed` when they were used up, else the peer's window stays shut.
    case streamData(StreamID, ByteBuffer)
    /// The peer will send no more on this stream; we still may.
    case streamEnded(StreamID)
    /// Ended early; the id is forgotten, nothing more follows.
    indirect case streamFailed(StreamID, StreamFault)
    /// Fewer than `sendQueueLowWater` bytes are queued after there were `sendQueueHighWater`.
    case streamDrained(StreamID)
    /// Both directions ended in order; the id is forgotten, nothing more follows.
    case streamClosed(StreamID)
    /// A reader keeps up and its window could grow by this many bytes: answer with `grantWindow` if the process pool has
    /// them. Returned with `releaseWindow`.
    case requestWindow(StreamID, bytes: Int)
    /// The stream ended: this many granted bytes go back to the process pool.
    case releaseWindow(bytes: Int)
    case roundTripMeasured(Duration)
    /// The last effect. Write what `produce` still gives, flush, then close the byte stream.
    indirect case closed(CloseReason)
    /// Door `.multiplexed` only: the transport's own streams.
    indirect case external(ExternalStreamEffect)
}

package enum ExternalStreamEffect {
    case open(StreamID)
    case send(StreamID, ByteBuffer)
    case finish(StreamID)
    case reset(StreamID)
    case consumed(StreamID, bytes: Int)
}

/// Who is at the other end, once that is proven.
package struct Establishment: Sendable {
    package let peer: PeerID
    package let publicKey: PublicKey
    package let security: ProtocolID
    /// The muxer was agreed inside the security handshake, which saves a round trip.
    package let hadEarlyMuxer: Bool

    package init(peer: PeerID, publicKey: PublicKey, security: ProtocolID, hadEarlyMuxer: Bool) {
        self.peer = peer
        self.publicKey = publicKey
        self.security = security
        self.hadEarlyMuxer = hadEarlyMuxer
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// A stream of this node: the pair that PeersCore's inputs and effects carry.
package struct StreamKey: Hashable, Comparable, Sendable {
    package let connection: ConnectionID
    package let stream: StreamID

    package init(_ connection: ConnectionID, _ stream: StreamID) {
        self.connection = connection
        self.stream = stream
    }

    package static func < (lhs: Self, rhs: Self) -> Bool {
        (lhs.connection, lhs.stream) < (rhs.connection, rhs.stream)
    }
}

/// What `RequestStreams` and `MessageStreams` want done with connections and streams.
package enum StreamCommand: Sendable {
    /// Connect, or find that we are; `dialed` or `dialFailed` follows.
    case dial(RequestID, PeerID, deadline: Instant)
    /// The messages of `first` go out behind the proposal.
    case open(ConnectionID, ProtocolID, RequestID, first: [ByteBuffer] = [])
    case send(StreamKey, ByteBuffer)
    case closeWriting(StreamKey)
    case reset(StreamKey)
    /// A connection of its own to one address, to see whether it can be made; `dialed` or `dialFailed` follows.
    case dialBack(RequestID, PeerID, Multiaddr, deadline: Instant)
    case close(ConnectionID)
}

/// Numbers for streams and dials that cores ask for: distinct per owner, and from the embedder's and identify's.
package struct RequestNumbers: Sendable {
    private let base: UInt64
    private var last: UInt64 = 0

    /// - Parameter owner: distinguishes the owners within one node.
    package init(owner: UInt8) {
        base = 1 << 62 | UInt64(owner) << 48
    }

    package mutating func next() -> RequestID {
        last = (last + 1) & 0xFFFF_FFFF_FFFF
        return RequestID(base | last)
    }

    package func owns(_ request: RequestID) -> Bool {
        request.value >> 48 == base >> 48
    }
}

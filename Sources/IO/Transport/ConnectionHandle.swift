// SPDX-License-Identifier: Apache-2.0
package import NIOCore
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

/// STUB: bodies follow on branch `h/transport`; the signatures hold.
/// A connection seen from other threads. Every call hops to the connection's loop.
package final class ConnectionHandle: Sendable {
    package let id: ConnectionID
    package let remote: Multiaddr
    package init(id: ConnectionID, remote: Multiaddr) { self.id = id; self.remote = remote }
    /// What the node's cores want done; one hop for the whole batch.
    package func perform(_ commands: [ConnectionCommand]) {}
    /// An application's stream. Optimistic: writing may start at once; a refusal shows at the first read.
    package func openStream(_ protocols: [ProtocolID]) async throws -> StreamMailbox { fatalError("stub") }
}

package enum ConnectionCommand: Sendable {
    case admit
    case close
    case openStream(ProtocolID, request: UInt64)
    /// One whole message; the varint length is put before it.
    case send(StreamID, ByteBuffer)
    case closeWriting(StreamID)
    case resetStream(StreamID)
    case setProtocols(ProtocolTable)
}

/// STUB. One stream between a connection's loop and an application's tasks.
package final class StreamMailbox: Sendable {
    package let connection: ConnectionID
    package let id: StreamID
    package let peer: PeerID
    package let protocolID: ProtocolID
    package init(connection: ConnectionID, id: StreamID, peer: PeerID, protocolID: ProtocolID) {
        self.connection = connection
        self.id = id
        self.peer = peer
        self.protocolID = protocolID
    }
    /// All bytes that have arrived, in order; nil after the peer's half-close. Reading re-credits the peer's window.
    /// Cancelling resets the stream. One reader at a time.
    /// - Throws: `StreamFailure`.
    package func read() async throws -> [ByteBuffer]? { nil }
    /// Queues the bytes; suspends while more than `sendQueueHighWater` are queued.
    package func write(_ bytes: ByteBuffer) async throws {}
    /// Half-close: the peer reads to the end; we may go on reading.
    package func closeWriting() {}
    package func reset() {}
}

package struct StreamFailure: Error, Sendable {
    package let fault: StreamFault
    package init(_ fault: StreamFault) { self.fault = fault }
}

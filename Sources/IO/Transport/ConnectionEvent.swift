// SPDX-License-Identifier: Apache-2.0
package import NIOCore
package import TuttiBase
package import TuttiConnection
package import TuttiPeers

/// What connections tell the node: one batch per connection and read, in one hop.
package enum ConnectionEvent: Sendable {
    /// A socket was accepted; nothing is read before `admit()`.
    case accepted(ConnectionHandle)
    case established(ConnectionHandle, Establishment, Direction)
    /// Right behind `.established`: the table that the connection answers by, and the statement in it (0: none).
    case answering(ConnectionID, tableRevision: UInt64, statementVersion: UInt64)
    case dialFailed(ConnectionID, CloseReason)
    case closed(ConnectionID, CloseReason)
    /// A stream of a protocol that a core owns (`StreamOwner.core`).
    case streamOpened(ConnectionID, StreamID, ProtocolID, Direction, request: UInt64?)
    case openFailed(ConnectionID, request: UInt64)
    /// One whole varint-delimited message, without its prefix, copied out of the read buffer.
    case message(ConnectionID, StreamID, ByteBuffer)
    case streamEnded(ConnectionID, StreamID)
    case streamFailed(ConnectionID, StreamID, StreamFault)
    /// A peer opened a stream of a protocol that an application handles.
    case streamArrived(ConnectionID, StreamMailbox)
    /// How many streams of applications the connection carries. Told when the first comes and when the last is gone.
    case streamsInUse(ConnectionID, count: Int)
    case roundTripMeasured(ConnectionID, Duration)
    /// Share of one core that the connection took, when it is over `TransportLimits.processorPercentReported` and once
    /// more when it no longer is; once a second, or as soon as that share of a second is used up.
    case processorUsed(ConnectionID, percent: Int)
    /// Last in a batch that carries messages. Nothing is to be done with it: when the batch is let go of, the messages
    /// count as handled, and a connection that was stopped for them reads on.
    case receipt(InboxReceipt)
}

/// Takes batches of events, on any event loop; hops to its own.
package protocol ConnectionOwner: AnyObject, Sendable {
    func receive(_ batch: [ConnectionEvent])
}

/// Who gets the bytes of a protocol's streams.
package enum StreamOwner: Hashable, Sendable {
    /// Whole varint-delimited messages of at most this size to the node's cores.
    case core(messageBytesMax: Int)
    /// Answered where the bytes arrive: 32 bytes come back (`/ipfs/ping/1.0.0`).
    case ping
    /// Answered where the stream arrives, with the table's statement (`/ipfs/id/1.0.0`). Each connection is answered once
    /// per interval, with a burst; over it the stream is reset.
    case statement(interval: Duration, burst: Int)
    case application
}

/// Protocol -> owner: a snapshot that every connection holds; replaced as a whole.
package struct ProtocolTable: Sendable {
    package struct Entry: Sendable {
        package var owner: StreamOwner
        /// Inbound streams of this protocol that one connection may hold open.
        package var inboundMax: Int
        package init(owner: StreamOwner, inboundMax: Int) {
            self.owner = owner
            self.inboundMax = inboundMax
        }
    }

    /// A stream for a core that each connection opens as soon as it is up, in the same flush as its last handshake message.
    package struct Query: Sendable {
        package var name: ProtocolID
        package var request: UInt64
        package var messageBytesMax: Int
        package init(name: ProtocolID, request: UInt64, messageBytesMax: Int) {
            self.name = name
            self.request = request
            self.messageBytesMax = messageBytesMax
        }
    }

    /// Grows with each replacement.
    package var revision: UInt64 = 0
    package var query: Query?
    package var statement: IdentifyStatement?
    package var entries: [ProtocolID: Entry] {
        didSet { names = entries.keys.sorted() }
    }
    /// In order. Shared by all connections that hold a copy of this table.
    package private(set) var names: [ProtocolID]

    package init(entries: [ProtocolID: Entry] = [:]) {
        self.entries = entries
        names = entries.keys.sorted()
    }
}

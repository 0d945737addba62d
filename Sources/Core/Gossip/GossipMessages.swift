// SPDX-License-Identifier: Apache-2.0

package import struct NIOCore.ByteBuffer

/// The name of a topic, at most 256 bytes of UTF-8.
package struct Topic: Hashable, Comparable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    package let name: String
    package init(_ name: String) { self.name = name }
    package init(stringLiteral value: String) { name = value }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.name < rhs.name }
    package var description: String { name }
}

/// Names a message: what the topic's rule makes of it; by default author and sequence number.
package struct MessageID: Hashable, Comparable, Sendable {
    package let bytes: [UInt8]
    package init(_ bytes: [UInt8]) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes.lexicographicallyPrecedes(rhs.bytes) }
}

/// A published message as it travels.
package struct GossipMessage: Sendable {
    package let topic: Topic
    /// The protobuf `Message` exactly as it came or was made: forwarded without being encoded again.
    package let encoded: ByteBuffer
    /// Offsets into `encoded` are the codec's affair; these are slices of it.
    package let data: ByteBuffer
    package let author: [UInt8]
    package let sequence: [UInt8]
    package let signature: [UInt8]
    package let key: [UInt8]

    package init(
        topic: Topic, encoded: ByteBuffer, data: ByteBuffer, author: [UInt8] = [], sequence: [UInt8] = [],
        signature: [UInt8] = [], key: [UInt8] = []
    ) {
        self.topic = topic
        self.encoded = encoded
        self.data = data
        self.author = author
        self.sequence = sequence
        self.signature = signature
        self.key = key
    }
}

/// One RPC: everything that one peer tells another at once.
package struct GossipRPC: Sendable {
    package struct Prune: Sendable {
        package let topic: Topic
        /// Seconds; nil in version 1.0.
        package let backoffSeconds: UInt64?
        /// Peers that may be dialled instead: their ids, and signed records where the sender had them.
        package let exchanged: [(id: [UInt8], record: [UInt8])]
        package init(topic: Topic, backoffSeconds: UInt64?, exchanged: [(id: [UInt8], record: [UInt8])] = []) {
            self.topic = topic
            self.backoffSeconds = backoffSeconds
            self.exchanged = exchanged
        }
    }

    package var subscriptions: [(topic: Topic, isSubscribed: Bool)] = []
    package var messages: [GossipMessage] = []
    package var ihave: [(topic: Topic, ids: [MessageID])] = []
    package var iwant: [MessageID] = []
    package var graft: [Topic] = []
    package var prune: [Prune] = []
    package var idontwant: [MessageID] = []

    package init() {}
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// What a request is about: a point of the key space, and the bytes that name it on the wire (none in the lab).
package struct KademliaTarget: Hashable, Sendable {
    package let key: KademliaKey
    package let name: [UInt8]

    package init(key: KademliaKey, name: [UInt8] = []) {
        self.key = key
        self.name = name
    }
}

/// A value under a name. Whether it may stand there is for the validator of its namespace to say.
package struct KademliaRecord: Hashable, Sendable {
    package var value: [UInt8]
    /// When the sender got it, as text of RFC 3339; for people, decides nothing.
    package var received: [UInt8]

    package init(value: [UInt8], received: [UInt8] = []) {
        self.value = value
        self.received = received
    }
}

package enum KademliaRequest: Sendable {
    case ping
    case findNode(KademliaTarget)
    case getValue(KademliaTarget)
    case putValue(KademliaTarget, KademliaRecord)
    case getProviders(KademliaTarget)
    /// The sender provides; it expects no answer.
    case addProvider(KademliaTarget)
}

package struct KademliaResponse: Sendable {
    package var closer: [PeerIndex]
    package var providers: [PeerIndex]
    package var record: KademliaRecord?

    package init(closer: [PeerIndex] = [], providers: [PeerIndex] = [], record: KademliaRecord? = nil) {
        self.closer = closer
        self.providers = providers
        self.record = record
    }
}

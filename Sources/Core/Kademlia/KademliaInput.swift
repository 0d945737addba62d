// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// What happened, as KademliaCore is told.
package enum KademliaInput: Sendable {
    // MARK: Peers

    /// A peer was identified that answers this protocol (`isServer`), or no longer does.
    case peerIdentified(PeerIndex, isServer: Bool, group: AddressGroup)
    /// We became reachable or ceased to be: clients ask, servers also answer and are listed in tables.
    case modeChanged(isServer: Bool)

    // MARK: Calls

    /// Answers to `.call`. To `.addProvider` nobody answers: an empty response as soon as it is sent.
    case answered(RequestID, KademliaResponse)
    /// No connection, a refusal, a time-out of the stream, or an answer that can't be read.
    case callFailed(RequestID)
    /// A peer asks; exactly one `.answer` or `.refuse` follows, also to `.addProvider` (its answer isn't sent).
    case asked(RequestID, by: PeerIndex, group: AddressGroup, KademliaRequest)

    // MARK: The embedder

    case lookupRequested(RequestID, KademliaGoal, deadline: Instant)
    case lookupCancelled(RequestID)
    /// Kept and republished until withdrawn.
    case provideRequested(RequestID, KademliaTarget, deadline: Instant)
    case provideWithdrawn(KademliaTarget)
    /// Kept (when this node is one of the closest or stores its own) and sent to the closest peers.
    case putRequested(RequestID, KademliaTarget, KademliaRecord, deadline: Instant)
    /// Peers of an earlier run (`snapshot`), most useful first; they are asked before they enter the table.
    case peersRemembered([PeerIndex])
}

/// What a lookup wants.
package enum KademliaGoal: Sendable {
    /// The k closest peers.
    case closest(KademliaTarget)
    /// One peer: ends with `.done` as soon as somebody names it; its addresses came with that answer.
    case peer(PeerIndex, KademliaTarget)
    /// A value, from `quorum` peers that agree or the best of those that answer.
    case value(KademliaTarget, quorum: Int)
    /// Ends at `countMax` providers.
    case providers(KademliaTarget, countMax: Int)
}

/// What KademliaCore wants done.
package enum KademliaEffect: Sendable {
    case call(RequestID, PeerIndex, KademliaRequest)
    /// A call that nobody waits for any more.
    case cancelCall(RequestID)
    case answer(RequestID, KademliaResponse)
    /// Not answered: we are no server, the peer asks too often, or the record isn't accepted. Reset its stream.
    case refuse(RequestID)
    /// Ends each `.lookupRequested`, `.provideRequested` and `.putRequested`, exactly once.
    case finished(RequestID, KademliaOutcome)
    /// A provider as soon as it is known, before `.finished`.
    case providerFound(RequestID, PeerIndex)
}

package struct KademliaOutcome: Sendable {
    package enum Status: Hashable, Sendable {
        case done
        case notFound
        case deadline
        case cancelled
        /// We know nobody to ask.
        case noPeers
        /// Too many lookups at once.
        case limit
        /// Nobody took the record.
        case notStored
        /// The record is refused by its namespace's validator.
        case invalidRecord
    }

    package var status: Status
    package var closest: [PeerIndex] = []
    package var providers: [PeerIndex] = []
    package var record: KademliaRecord?
    /// Peers that stored what was put or provided.
    package var storedCount = 0
    /// Calls made, calls that timed out or failed, and the depth at which the closest was found.
    package var callCount = 0
    package var failedCallCount = 0
    package var depth = 0
    /// The nearest peers stood denser than a network of this size has them: somebody may sit around the key.
    package var isDense = false

    package init(status: Status, closest: [PeerIndex] = [], record: KademliaRecord? = nil) {
        self.status = status
        self.closest = closest
        self.record = record
    }
}

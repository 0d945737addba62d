// SPDX-License-Identifier: Apache-2.0
package import DequeModule
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

/// What the parts of PeersCore write to: effects in order, and counters.
package struct PeersOutbox: Sendable {
    package var effects: Deque<PeersEffect> = []
    package var stats = PeersStats()

    package init() {}

    package mutating func append(_ effect: PeersEffect) {
        effects.append(effect)
    }

    package mutating func reject(
        _ request: RequestID, _ code: DialError.Code, _ attempts: [(address: Multiaddr, reason: CloseReason)] = []
    ) {
        stats.dialsRejected += 1
        effects.append(.dialRejected(request, DialError(code: code, attempts: attempts)))
    }

    package mutating func answer(_ request: RequestID, with connection: ConnectionID, to peer: PeerID) {
        stats.dialsSucceeded += 1
        effects.append(.dialed(request, connection, peer))
    }
}

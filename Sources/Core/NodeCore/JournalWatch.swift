// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiJournal

/// What goes wrong around a replica, for whoever keeps the node.
extension JournalPort {
    /// Counts since the replica began.
    package var counts: [JournalCount] { journal.stats.counts + sync.stats.counts }

    /// What came on a stream of sync was no message: too long, or cut off. The peer's fault, as one that can't be read.
    mutating func streamBroken(_ connection: ConnectionID, at now: Instant, _ context: NodeContext) {
        guard let peer = context.peers.peer(on: connection) else { return }
        sync.handle(.requestMalformed(peer), at: now)
    }
}

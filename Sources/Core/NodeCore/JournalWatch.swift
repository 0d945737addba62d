// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
package import TuttiJournal

/// What goes wrong around a replica, for whoever keeps the node.
extension JournalPort {
    /// Counts since the replica began.
    package var counts: [JournalCount] { journal.stats.counts + sync.stats.counts }

    /// Whose node it is; nil for guests, for who is removed, and for who hasn't shown it.
    func member(of peer: PeerID) -> MemberID? { members.member(of: peer, community.roster) }

    /// What came on a stream of sync was no message: too long, or cut off. The peer's fault, as one that can't be read.
    mutating func streamBroken(_ connection: ConnectionID, at now: Instant, _ context: NodeContext) {
        guard let peer = context.peers.peer(on: connection) else { return }
        sync.handle(.requestMalformed(peer), at: now)
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// Names a read that SyncCore asked for.
package struct SyncLoadID: Hashable, Sendable {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }
}

/// Names what SyncCore handed on until it is settled.
package struct SyncBatchID: Hashable, Sendable {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }
}

/// What happened, as SyncCore is told.
package enum SyncInput: Sendable {
    // MARK: Peers

    /// A peer is connected that speaks the protocol. The hello is ours to it, signed for this pair of peers.
    indirect case peerReady(PeerID, SyncHello)
    case peerGone(PeerID)
    /// Answer to `.judge`; nil: the peer may ask and be asked.
    case judged(PeerID, SyncRefusal?, SyncAudience = .all)
    /// The roster changed so that the peer may ask for more or less than before, also if it was refused.
    case audienceChanged(PeerID, SyncAudience)
    /// The roster changed so that the peer no longer may.
    case peerExcluded(PeerID)

    // MARK: What is on disk

    /// Records that are new or changed, in any order; at the start all of them.
    case feedsChanged([FeedRecord])
    /// The canonical proof of each forked feed. Where the record says frozen, the leaf names the proof's sequence.
    case proofsChanged([FaultProof])
    /// Governance entries on our disk. Those added are what replicas should agree on; those removed are held all the
    /// same, but a cut or a fault proof voids them.
    case governanceChanged(added: [EntryID], removed: [EntryID])
    /// All the governance entries that others refer to and that aren't here: asked for by name, of whoever is there.
    case missingChanged([EntryID])
    /// Who belongs is another, and so perhaps what is taken.
    case rosterChanged
    /// Answer to `.received` and `.receivedProofs`, exactly one for each, after the changes that follow from it.
    case settled(SyncBatchID, SyncOutcome)
    case loaded(SyncLoadID, JournalAnswer)

    // MARK: The wire

    /// Answers to `.send`. To receipts nobody answers.
    case answered(RequestID, SyncAnswer)
    /// No stream, a time-out, or the end of the connection.
    case requestFailed(RequestID)
    /// What came can't be read: the peer's fault.
    case answerMalformed(RequestID)
    /// A peer asks; exactly one `.answer` follows, but for receipts, which have none.
    case asked(RequestID, by: PeerID, SyncRequest)
    /// A request that can't be read: the peer's fault. Nothing is answered.
    case requestMalformed(PeerID)

    // MARK: Our own side

    /// Something names an entry of this feed that we don't hold: ask for it now, first whoever named it.
    case wanted(DeviceID, from: PeerID?)
    /// Reconcile with everybody now.
    case syncRequested
    /// Entries that came from this peer are on our disk; sent together a little later.
    case receiptsDue(PeerID, [SyncReceipt])
}

/// What a peer may ask for.
package enum SyncAudience: Hashable, Sendable {
    case all
    /// Who is let in, but not to everything (yet): governance and fault proofs. Of feeds it is told nothing.
    case governance
}

/// What became of a batch.
package enum SyncOutcome: Hashable, Sendable {
    /// On disk, or there already.
    case stored
    /// Some were not taken, and who handed them on isn't to blame: a quota, a stranger's feed.
    case refused
    /// Our own disk refused them.
    case unavailable
    /// A signature is false: the peer's fault.
    case forged
}

/// Entries as a peer handed them on: of the right feed and linked to each other, signatures not checked.
package struct SyncBatch: Hashable, Sendable {
    package var id: SyncBatchID
    package var peer: PeerID
    package var door: JournalSource.Door
    package var entries: [Entry]

    package init(id: SyncBatchID, peer: PeerID, door: JournalSource.Door, entries: [Entry]) {
        self.id = id
        self.peer = peer
        self.door = door
        self.entries = entries
    }
}

/// What SyncCore wants done.
package enum SyncEffect: Sendable {
    /// `.answered`, `.requestFailed` or `.answerMalformed` follows, but for receipts.
    case send(RequestID, PeerID, SyncRequest)
    /// Its answer is no longer waited for.
    case cancel(RequestID)
    case answer(RequestID, SyncAnswer)
    /// May this peer take part? Its signature is not checked yet. `.judged` follows.
    indirect case judge(PeerID, SyncHello)
    case load(JournalQuery, SyncLoadID)
    case received(SyncBatch)
    case receivedProofs(SyncBatchID, [FaultProof], from: PeerID)
    /// The peer says that it holds these.
    case receipted(PeerID, [SyncReceipt])
    case emit(SyncEvent)
}

package enum SyncEvent: Hashable, Sendable {
    /// Both sides accepted each other.
    case opened(PeerID)
    case refused(PeerID, SyncRefusal)
    /// The peer broke a rule. It is left alone for a while that grows with each time.
    case violated(PeerID, SyncViolation)
    /// Nothing is left to take from the peer, for now.
    case caughtUp(PeerID)
}

/// What a peer did wrong. All end the session; none closes the connection, which others use.
package enum SyncViolation: UInt8, Error, Hashable, Sendable, CaseIterable {
    case malformed
    /// An answer of another kind than was asked for.
    case wrongAnswer
    /// Parts that don't fit what their own replica said before.
    case garbageTree
    /// Parts that nobody asked for, or without end.
    case endlessTree
    /// Entries, proofs or feeds that nobody asked for.
    case unasked
    /// Entries of one answer that don't follow each other.
    case unlinked
    /// An answer that says "more" and gives nothing, or less than was asked for and than it had.
    case noProgress
    /// Body left out of an entry that must keep it.
    case bodyMissing
    /// A signature that is false.
    case forged
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// What happened, as JournalCore is told.
package enum JournalInput: Sendable {
    /// Milliseconds since 1970 by this machine's clock. Between two of these the monotonic clock counts on.
    case clockRead(milliseconds: UInt64)
    /// To this device's feed, all or none. `.appended` or `.appendFailed` follows.
    case appendRequested(RequestID, [EntryDraft])
    /// Decoded entries of the same source. `.judged` follows, once, with a verdict for each.
    case received(RequestID, [Entry], from: JournalSource)
    /// Fault proofs of others, neither of whose signatures was checked. `.judged` follows with a verdict for each.
    case proofsReceived(RequestID, [FaultProof], from: JournalSource)
    /// Bytes that are no entry and no proof.
    case malformed(from: JournalSource)
    /// A peer that may sync says that its disk holds a feed up to there.
    case receiptReceived(ReceiptRecord)
    /// The peer's connection is gone: nothing of it waits any longer than it must.
    case peerDisconnected(PeerIndex)
    case rosterChanged(Roster)
    /// All the governance entries that others refer to and that CommunityCore doesn't have. They are taken whatever the
    /// standing of their feeds, beside them if need be.
    case missingChanged([EntryID])
    /// From now on this device writes (a first one, or one in place of a feed that is written elsewhere).
    case deviceStarted(KeyPair)

    // Answers, each to the effect with the same id.
    /// One for each entry of `.verify`, in order; missing ones count as false.
    case verified(RequestID, [Bool])
    /// One for each entry of `.introduce`, in order; missing ones count as false.
    case introduced(RequestID, [Bool])
    case folded(RequestID, rows: [JournalRow])
    case persisted(RequestID)
    /// Nothing of the batch is on disk, as far as the disk knows.
    case persistFailed(RequestID, JournalStorageError)
    case loaded(RequestID, JournalAnswer)
}

/// What JournalCore wants done.
package enum JournalEffect: Sendable {
    /// Check the signatures (`Entry.isSignatureValid`) off the loop; `.verified` follows.
    case verify([Entry], RequestID)
    /// Entries of devices that the roster doesn't name, of the kinds by which a device makes itself known. Signatures
    /// are good. CommunityCore says which are worth keeping (a valid invite, the founding); `.introduced` follows.
    case introduce([Entry], RequestID)
    /// CommunityCore makes rows of these; `.folded` follows in the same turn. Either `.admitted` or `.foldUndone`
    /// comes later, and no other `.fold` before. An entry may come a second time (after a cut was taken back, with a
    /// body that was missing).
    case fold([StoredEntry], RequestID)
    /// These were folded and are not on disk: CommunityCore forgets them.
    case foldUndone([EntryID], RequestID)
    case persist(JournalBatch, RequestID)
    case load(JournalQuery, RequestID)

    /// On disk and in order. What views show, what waits for an entry.
    case admitted([StoredEntry])
    case appended(RequestID, [Entry])
    case appendFailed(RequestID, AppendError)
    /// Own entries, on disk: to everybody by gossip.
    case publish([Entry])
    /// A new fault proof, on disk: to everybody by gossip.
    indirect case publishProof(FaultProof)
    /// A verdict for each entry of a `.received` or `.proofsReceived`; `.accept` means: on our disk.
    case judged(RequestID, from: JournalSource, [EntryVerdict])
    /// The source broke a rule that no honest relay breaks.
    case violation(JournalSource, JournalViolation)
    /// What we hold has changed, on disk: SyncCore hashes it, and from now on serves it.
    case feedsChanged([FeedRecord])
    /// There is more of this feed than we can attach: sync fetches it.
    case wanted(DeviceID)
    /// Tell the peers, and the peer of each device if it is connected, what our disk holds.
    case receiptsDue([JournalReceipt])
    case emit(JournalEvent)
}

package enum JournalEvent: Hashable, Sendable {
    /// Two other nodes have our feed on disk up to this entry.
    case sent(through: EntrySequence)
    /// Our key wrote what this node did not: a copied or restored folder. Nothing more is appended to this device.
    case ownFeedElsewhere(FeedPoint)
    indirect case feedFrozen(DeviceID, FaultProof)
    /// The disk refuses; what comes from others is left alone for a while.
    case diskFailed(JournalStorageError)
}

/// An entry as its author asks for it; number, salt, time and signature are the core's.
package struct EntryDraft: Hashable, Sendable {
    package var kind: EntryKind
    package var isCritical: Bool
    package var retention: RetentionClass
    package var body: [UInt8]
    /// The greatest governance tip that the author knows.
    package var governance: EntryID
    /// For bodies that are bound to their place (sealed ones): another number by now is `.sequencePassed`.
    package var sequence: EntrySequence?

    package init(
        kind: EntryKind, isCritical: Bool = false, retention: RetentionClass = .permanent, body: [UInt8],
        governance: EntryID, sequence: EntrySequence? = nil
    ) {
        self.kind = kind
        self.isCritical = isCritical
        self.retention = retention
        self.body = body
        self.governance = governance
        self.sequence = sequence
    }
}

package enum AppendError: Error, Hashable, Sendable {
    /// This node has no device of its own.
    case noDevice
    /// The device's feed is written elsewhere, frozen, or cut: a new device is needed.
    case deviceEnded
    /// Nobody takes such an entry from this device now: its member waits to be admitted, or holds no role that may write it.
    case kindNotOpen(EntryKind)
    /// Too much waits for the disk.
    case busy
    case bodyTooLarge(limit: Int)
    /// Governance is kept for ever.
    case retentionOfGovernance
    /// Other nodes would not take it today.
    case overQuota
    /// The draft named a place that is taken; this is the next.
    case sequencePassed(next: EntrySequence)
    /// A recipient has no mailbox key that counts, or the content is too large.
    case notSealed
    /// Nothing was written and nothing sent.
    case storage(JournalStorageError)
}

/// From whom, and by which door.
package struct JournalSource: Hashable, Sendable {
    package enum Door: Hashable, Sendable {
        case gossip
        /// Ranges of a feed: what comes must touch what we hold.
        case sync
        /// Single governance entries may come alone.
        case governanceSync
    }

    package var peer: PeerIndex
    package var door: Door

    package init(peer: PeerIndex, door: Door) {
        self.peer = peer
        self.door = door
    }
}

package enum EntryVerdict: Hashable, Sendable {
    /// On disk here.
    case accept
    /// The source is to blame.
    case reject
    /// Known, not wanted now, or not to be judged yet; nobody is to blame.
    case ignore
}

package enum JournalViolation: Hashable, Sendable {
    case malformed
    case wrongCommunity
    case badSignature
}

/// "My disk holds this feed, from its first entry to this one."
package struct JournalReceipt: Hashable, Sendable {
    package var device: DeviceID
    package var head: EntrySequence
    /// Peers that brought us something of it, ordered.
    package var peers: [PeerIndex]

    package init(device: DeviceID, head: EntrySequence, peers: [PeerIndex]) {
        self.device = device
        self.head = head
        self.peers = peers
    }
}

// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

// What replicas of one community say to each other over `/tutti/sync/1` (docs/protocols/sync.md): a request and its
// answer, one message each way on a stream. `SyncWire` has their bytes.

/// What one replica says of one device's feed: a leaf of the hash tree over feeds.
package struct SyncFeed: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        /// Every entry from `low` to `head`; none when `low` is behind it. Only the head enters the leaf's digest.
        case held(low: EntrySequence, head: FeedPoint)
        /// Two entries stand at this sequence, the lowest that is proven; a proof can be asked for.
        case frozen(at: EntrySequence)
    }

    package var device: DeviceID
    package var state: State

    package init(device: DeviceID, state: State) {
        self.device = device
        self.state = state
    }
}

/// The first nibbles of a key: a place in a hash tree.
package struct SyncPrefix: Hashable, Sendable {
    package static let nibblesMax = 64
    package static let root = SyncPrefix(bytes: .zero, count: 0)

    /// Zero behind the prefix.
    package let bytes: Bytes32
    /// In nibbles.
    package let count: Int

    init(bytes: Bytes32, count: Int) {
        self.bytes = bytes
        self.count = count
    }
}

/// What stands at one place of one replica's tree.
package struct SyncPart<Leaf: HashTreeLeaf>: Hashable, Sendable {
    package enum Content: Hashable, Sendable {
        /// The nodes beneath: those that exist, by rising nibble.
        case children(TreeChildren)
        /// All the leaves beneath, by rising key; none: there is nothing.
        case leaves([Leaf])
        /// The same from one who knows the other's leaves there, so that nothing is to be answered.
        case told([Leaf])
    }

    package var prefix: SyncPrefix
    package var content: Content

    package init(prefix: SyncPrefix, content: Content) {
        self.prefix = prefix
        self.content = content
    }
}

/// Both trees of a replica as they stand at one moment.
package struct SyncRoots: Hashable, Sendable {
    /// Changes whenever a tree does; says nothing else. Under one stamp parts must fit their roots.
    package var stamp: UInt64
    package var feeds: Bytes32
    package var feedCount: Int
    package var governance: Bytes32
    package var governanceCount: Int

    package init(stamp: UInt64, feeds: Bytes32, feedCount: Int, governance: Bytes32, governanceCount: Int) {
        self.stamp = stamp
        self.feeds = feeds
        self.feedCount = feedCount
        self.governance = governance
        self.governanceCount = governanceCount
    }
}

/// A step of a reconciliation: where the two replicas are known to differ, and what the sender has there.
package struct SyncParts: Hashable, Sendable {
    package var stamp: UInt64
    package var feeds: [SyncPart<SyncFeed>] = []
    package var governance: [SyncPart<EntryID>] = []
    /// Of an answer: so many parts of the request, from its end, didn't fit and are to be sent again.
    package var deferredCount = 0

    package init(stamp: UInt64) { self.stamp = stamp }

    package var isEmpty: Bool { feeds.isEmpty && governance.isEmpty }
}

/// A stretch of one feed that is asked for.
package struct SyncRange: Hashable, Sendable {
    package var device: DeviceID
    package var sequences: ClosedRange<EntrySequence>
    package var isNewestFirst: Bool
    /// At most so many entries.
    package var countMax: Int

    package init(device: DeviceID, sequences: ClosedRange<EntrySequence>, isNewestFirst: Bool, countMax: Int) {
        self.device = device
        self.sequences = sequences
        self.isNewestFirst = isNewestFirst
        self.countMax = countMax
    }
}

/// "I have this feed on my disk, up to here."
package struct SyncReceipt: Hashable, Sendable {
    package var device: DeviceID
    package var head: EntrySequence

    package init(device: DeviceID, head: EntrySequence) {
        self.device = device
        self.head = head
    }
}

package enum SyncRequest: Hashable, Sendable {
    /// Comes before anything else.
    indirect case hello(SyncHello)
    case roots(SyncRoots)
    case parts(SyncParts)
    /// What the peer holds of these feeds.
    case feeds([DeviceID])
    case entries([SyncRange], bytesMax: Int, withBodies: Bool)
    /// Governance entries in the order in which the peer came to have them.
    case governance(after: UInt64, countMax: Int, bytesMax: Int)
    case named([EntryID], bytesMax: Int)
    /// Of frozen feeds.
    case proofs([DeviceID])
    /// Not answered.
    case receipts([SyncReceipt])

    package var isAnswered: Bool {
        if case .receipts = self { false } else { true }
    }
}

package enum SyncAnswer: Hashable, Sendable {
    /// To `hello`.
    case accepted
    case refused(SyncRefusal)
    /// To `roots`: the peer's own, and where they differ the children of its root.
    case roots(SyncRoots, SyncParts)
    case parts(SyncParts)
    case feeds([SyncFeed])
    /// For each range in turn, until the answer is full; ranges that are missing are to be asked for again.
    case entries([[Entry]])
    case governance([Entry], next: UInt64, isEnd: Bool)
    /// To `named`: those that the peer has, in the order asked, until the answer is full.
    case named([Entry])
    case proofs([FaultProof])
}

/// Why a peer does not answer.
package enum SyncRefusal: UInt8, Hashable, Sendable, CaseIterable {
    /// No hello was accepted yet.
    case notIntroduced = 1
    case unknownCommunity = 2
    /// The signature of the hello is not the device's.
    case badProof = 3
    case notMember = 4
    /// Revoked, removed or frozen.
    case excluded = 5
    /// Too much at once: later.
    case busy = 6
    /// The disk failed.
    case unavailable = 7
    /// A request that breaks a limit or makes no sense.
    case badRequest = 8
}

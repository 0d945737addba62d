// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity

extension SyncFeed: HashTreeLeaf {
    package var key: Bytes32 { device.bytes }

    /// Of the head alone. `low` is left out: replicas that keep different depths of a feed have nothing to tell each
    /// other once their heads agree; who wants to go deeper asks for `feeds`.
    package var digest: TreeDigest {
        var bytes: [UInt8] = [0] + device.bytes.bytes
        switch state {
        case .held(_, let head):
            bytes.append(0)
            bytes.append(bigEndian: head.sequence.value)
            bytes += head.id.bytes.bytes
        case .frozen(let sequence):
            bytes.append(1)
            bytes.append(bigEndian: sequence.value)
        }
        return TreeDigest(truncating: KeyDerivation.sha256(bytes))
    }
}

extension EntryID: HashTreeLeaf {
    package var key: Bytes32 { bytes }
    package var digest: TreeDigest { TreeDigest(truncating: KeyDerivation.sha256([0] + bytes.bytes)) }
}

/// What is on our disk, as far as peers are told: a tree over feeds and one over governance entries.
package struct SyncReplica: Sendable {
    package internal(set) var feeds = HashTree<SyncFeed>()
    package internal(set) var governance = HashTree<EntryID>()
    /// Governance entries that are held and voided: nobody is told of them, and nobody is asked for them.
    private var aside: Set<EntryID> = []
    /// Governance entries that others refer to and that aren't held.
    package private(set) var missing: Set<EntryID> = []
    private var proofs: [DeviceID: FaultProof] = [:]
    private var records: [DeviceID: FeedRecord] = [:]
    package private(set) var stamp: UInt64

    package init(stamp: UInt64) { self.stamp = stamp }

    package func proof(of device: DeviceID) -> FaultProof? { proofs[device] }
    package subscript(device: DeviceID) -> SyncFeed? { feeds[device.bytes] }

    // MARK: Changes

    package mutating func change(_ changed: [FeedRecord]) {
        for record in changed {
            records[record.device] = record
            updateLeaf(of: record.device)
        }
    }

    package mutating func change(_ changed: [FaultProof]) {
        for proof in changed {
            if let held = proofs[proof.device], !proof.precedes(held) { continue }
            proofs[proof.device] = proof
            updateLeaf(of: proof.device)
        }
    }

    package mutating func changeGovernance(added: [EntryID], removed: [EntryID]) {
        for id in removed {
            aside.insert(id)
            if governance.remove(id.key) { stamp &+= 1 }
        }
        for id in added {
            aside.remove(id)
            if governance.set(id) { stamp &+= 1 }
        }
    }

    /// Whether the governance entry is on our disk.
    package func holds(_ id: EntryID) -> Bool { governance[id.bytes] != nil || aside.contains(id) }

    package mutating func changeMissing(_ ids: some Sequence<EntryID>) { missing = Set(ids) }

    private mutating func updateLeaf(of device: DeviceID) {
        let proof = proofs[device]?.sequence
        guard let record = records[device] else {
            if let proof { set(SyncFeed(device: device, state: .frozen(at: proof))) }
            return
        }
        if record.isFrozen {
            set(SyncFeed(device: device, state: .frozen(at: proof ?? record.head.sequence)))
        } else if record.head.sequence == .none {
            if feeds.remove(device.bytes) { stamp &+= 1 }
        } else {
            // A proof that a cut answers freezes nothing.
            set(SyncFeed(device: device, state: .held(low: record.low, head: record.head)))
        }
    }

    private mutating func set(_ feed: SyncFeed) {
        if feeds.set(feed) { stamp &+= 1 }
    }

    // MARK: What peers are told

    package mutating func roots() -> SyncRoots {
        SyncRoots(
            stamp: stamp, feeds: feeds.rootDigest(), feedCount: feeds.count, governance: governance.rootDigest(),
            governanceCount: governance.count)
    }

    /// Our roots, and what stands beneath those that differ from a peer's.
    package mutating func answer(_ theirs: SyncRoots, _ limits: SyncLimits) -> (SyncRoots, SyncParts) {
        let own = roots()
        var parts = SyncParts(stamp: stamp)
        if own.governance != theirs.governance { parts.governance = [governance.part(at: .root, limits)] }
        if own.feeds != theirs.feeds { parts.feeds = [feeds.part(at: .root, limits)] }
        return (own, parts)
    }

    /// Our side of what a peer told, until the message is full.
    package mutating func answer(_ theirs: SyncParts, _ limits: SyncLimits) -> SyncParts {
        var answer = SyncParts(stamp: stamp)
        answer.deferredCount = theirs.count
        var room = limits.partsBytesMax
        for part in theirs.governance {
            guard room > 0 else { return answer }
            answer.governance += governance.answer(part, limits, room: &room)
            answer.deferredCount -= 1
        }
        for part in theirs.feeds {
            guard room > 0 else { return answer }
            answer.feeds += feeds.answer(part, limits, room: &room)
            answer.deferredCount -= 1
        }
        return answer
    }
}

extension HashTree {
    /// What stands at a place, to somebody who has something else there.
    mutating func part(at prefix: SyncPrefix, isNothingThere: Bool = false, _ limits: SyncLimits) -> SyncPart<Leaf> {
        let leavesMax = isNothingThere ? limits.leavesPerPartMax : limits.leavesTold
        if count(at: prefix) > leavesMax, let children = children(at: prefix) {
            return SyncPart(prefix: prefix, content: .children(children))
        }
        return SyncPart(prefix: prefix, content: .leaves(leaves(at: prefix)))
    }

    /// Our side of a peer's part. What is equal isn't mentioned.
    mutating func answer(_ part: SyncPart<Leaf>, _ limits: SyncLimits, room: inout Int) -> [SyncPart<Leaf>] {
        var own: [SyncPart<Leaf>] = []
        switch part.content {
        case .children(let theirs):
            for nibble in 0..<16 {
                guard let child = part.prefix.appending(nibble), digest(at: child) != theirs[nibble] else { continue }
                own.append(self.part(at: child, isNothingThere: theirs[nibble] == nil, limits))
            }
        case .leaves(let theirs):
            let ours = self.part(at: part.prefix, isNothingThere: true, limits)
            if ours.content != .leaves(theirs) { own.append(ours) }
        case .told: break
        }
        for part in own { room -= part.bytesCountMax }
        return own
    }
}

extension SyncParts {
    package var count: Int { governance.count + feeds.count }
}

extension SyncPart {
    /// About what it takes on the wire, rather more.
    var bytesCountMax: Int {
        switch content {
        case .children(let children): 40 + children.digests.count * TreeDigest.bytesCount
        case .leaves(let leaves), .told(let leaves): 40 + leaves.count * 84
        }
    }
}

extension SyncPart {
    /// What the sender holds there, as far as it is said.
    var told: [Leaf] {
        switch content {
        case .children: []
        case .leaves(let leaves), .told(let leaves): leaves
        }
    }
}

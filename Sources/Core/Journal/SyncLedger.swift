// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity

/// What is under way with all peers together: who fetches what, so that nothing is fetched twice at a time, and how many
/// bytes were asked for or received and are not yet on disk.
///
///     free -> claimed by a request -> claimed by a batch -> free
///             (its bytes reserved)    (its bytes unsettled)
///
/// A request that fails or stalls frees its claims. A batch keeps them until it is settled, also when its peer has gone.
struct SyncLedger: Sendable {
    /// What a batch was to bring, and what we held before.
    struct Batch: Sendable {
        let peer: PeerID
        let session: UInt64
        var feeds: [(device: DeviceID, before: SyncFeed?)] = []
        var governance: [EntryID] = []
        var bytes = 0

        init(peer: PeerID, session: UInt64) {
            self.peer = peer
            self.session = session
        }
    }

    private struct Bytes: Sendable {
        var reserved = 0
        var unsettled = 0
    }

    private let limits: SyncLimits
    private var feeds: Set<DeviceID> = []
    private var governance: Set<EntryID> = []
    private var batches: [SyncBatchID: Batch] = [:]
    private var bytes: [PeerID: Bytes] = [:]
    private var bytesTotal = 0
    private var nextBatch: UInt64 = 0
    /// Who lists its governance entries to us, and since when: one peer at a time, and feeds wait for it.
    var listing: (peer: PeerID, since: Instant)?

    init(limits: SyncLimits) { self.limits = limits }

    var bytesUnderWay: Int { bytesTotal }
    var batchCount: Int { batches.count }
    var claimCount: Int { feeds.count + governance.count }

    func isClaimed(_ device: DeviceID) -> Bool { feeds.contains(device) }
    func isClaimed(_ id: EntryID) -> Bool { governance.contains(id) }

    func hasRoom(for count: Int, from peer: PeerID) -> Bool {
        let own = bytes[peer] ?? Bytes()
        return own.reserved + own.unsettled + count <= limits.unsettledBytesPerPeerMax
            && bytesTotal + count <= limits.unsettledBytesMax
    }

    // MARK: Requests

    mutating func claim(_ devices: [DeviceID]) { feeds.formUnion(devices) }
    mutating func claim(_ ids: [EntryID]) { governance.formUnion(ids) }
    mutating func release(_ devices: [DeviceID]) { feeds.subtract(devices) }
    mutating func release(_ ids: [EntryID]) { governance.subtract(ids) }

    mutating func reserve(_ count: Int, from peer: PeerID) {
        bytes[peer, default: Bytes()].reserved += count
        bytesTotal += count
    }

    mutating func unreserve(_ count: Int, from peer: PeerID) {
        bytes[peer]?.reserved -= count
        bytesTotal -= count
        forget(peer)
    }

    // MARK: Batches

    /// Its claims are held already.
    mutating func open(_ batch: Batch) -> SyncBatchID {
        nextBatch += 1
        let id = SyncBatchID(nextBatch)
        batches[id] = batch
        bytes[batch.peer, default: Bytes()].unsettled += batch.bytes
        bytesTotal += batch.bytes
        return id
    }

    mutating func settle(_ id: SyncBatchID) -> Batch? {
        guard let batch = batches.removeValue(forKey: id) else { return nil }
        release(batch.feeds.map(\.device))
        release(batch.governance)
        bytes[batch.peer]?.unsettled -= batch.bytes
        bytesTotal -= batch.bytes
        forget(batch.peer)
        return batch
    }

    private mutating func forget(_ peer: PeerID) {
        if let own = bytes[peer], own.reserved == 0, own.unsettled == 0 { bytes[peer] = nil }
    }
}
